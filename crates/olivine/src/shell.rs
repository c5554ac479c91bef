//! `olivine shell`: a store, one line at a time.
//!
//! 1. The store is opened before the first line is read, and closed after the last.
//! 2. The exit code is 1 when a line from a pipe failed; a person at a terminal has seen it.

mod command;
mod dialogue;
mod store;

use crate::{flags::Flags, misused, said};
use dialogue::{Dialogue, End};
use olivine_engine::Durability;
use std::{
    error::Error,
    ffi::OsString,
    io::{self, BufWriter, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};
use store::Store;

const HELP: &str = "\
A line shell on a store in a directory. Reads commands from standard input; HELP lists them.

usage: olivine shell --db DIR [options]

options:
  --db DIR              the store's directory; made when it is not there
  --keyspace NAME       the keyspace to work in (default)
  --capacity N          flush a memtable after N entries (no limit but its bytes)
  --memtable-size N     the same by another name
  --memory BYTES        what the store may use: 67108864, 64MiB (a quarter of the machine)
  --durability LEVEL    when a write is acknowledged (sync):
                          sync      the disk has it
                          os        the kernel has it: survives a killed process, no power cut
                          interval  as os, and synced every so often

The exit code is 0 when all went well, 1 when the store could not be opened or a command from a pipe
failed, 2 when the call made no sense.

examples:
  olivine shell --db data/try
  olivine shell --db data/try --capacity 1000 --durability os
  printf 'SET apple red\\nGET apple\\n' | olivine shell --db data/try
";

const KNOWN: &str = "--db DIR, --keyspace NAME, --capacity N, --memtable-size N, --memory BYTES, --durability LEVEL";

/// How the store is opened.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    db: PathBuf,
    keyspace: String,
    capacity: Option<u64>,
    /// `None` leaves it to the engine.
    memory_bytes: Option<u64>,
    durability: Durability,
}

/// `olivine shell`.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return said(HELP);
    }
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(what) => return misused(&what, HELP),
    };
    match converse(&settings) {
        Ok(End::Good) => ExitCode::SUCCESS,
        Ok(End::SomeFailed) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::FAILURE
        }
    }
}

fn settings(arguments: &[OsString]) -> Result<Settings, String> {
    let mut flags = Flags::new(arguments);
    let mut db = None;
    let mut settings = Settings {
        db: PathBuf::new(),
        keyspace: "default".to_owned(),
        capacity: None,
        memory_bytes: None,
        durability: Durability::Sync,
    };
    while let Some(name) = flags.next() {
        match name.as_str() {
            "--db" => db = Some(PathBuf::from(flags.value("a directory")?)),
            "--keyspace" => settings.keyspace = flags.text("a name")?,
            "--capacity" | "--memtable-size" => {
                let count = flags.count()?;
                if settings.capacity.is_some_and(|known| known != count) {
                    return Err(
                        "`--capacity` and `--memtable-size` mean the same, and differ".into()
                    );
                }
                settings.capacity = Some(count);
            }
            "--memory" => settings.memory_bytes = Some(flags.bytes()?),
            "--durability" => {
                settings.durability = durability(&flags.text("sync, os or interval")?)?;
            }
            _ => return Err(format!("no option `{name}`; there are {KNOWN}")),
        }
    }
    settings.db = db.ok_or("`--db DIR` says where the store is, and is missing")?;
    Ok(settings)
}

fn durability(name: &str) -> Result<Durability, String> {
    match name {
        "sync" => Ok(Durability::Sync),
        "os" => Ok(Durability::Os),
        "interval" => Ok(Durability::Interval),
        _ => Err(format!("`--durability` wants sync, os or interval, not `{name}`")),
    }
}

fn converse(settings: &Settings) -> Result<End, String> {
    let store = Store::open(settings).map_err(|error| with_causes(&error))?;
    let (input, output) = (io::stdin(), io::stdout());
    let interactive = input.is_terminal();
    let mut dialogue = Dialogue {
        store: &store,
        answers: BufWriter::new(output.lock()),
        errors: io::stderr().lock(),
        interactive,
    };
    let talked = dialogue.run(input.lock());
    drop(dialogue);
    // Closed whatever became of the conversation: what was acknowledged stays so.
    let closed = store.close();
    let end = talked.map_err(|error| format!("cannot go on: {error}"))?;
    closed.map_err(|error| with_causes(&error))?;
    Ok(if interactive { End::Good } else { end })
}

/// An error and what it came from, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
