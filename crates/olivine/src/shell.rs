//! `olivine shell`: a store, one line at a time.
//!
//! 1. The store is opened before the first line is read, and closed after the last.
//! 2. A signal ends it between two lines: the one at work is done, one that came in part is not begun.
//! 3. The exit code is 1 when a line from a pipe failed; a person at a terminal has seen it.

mod command;
mod dialogue;
mod store;

use crate::{
    call::{Call, Command, DB, MEMORY, Opt},
    check::environment_of,
    ending::{Ending, Failure, interrupts},
};
use dialogue::{Dialogue, End};
use olivine_engine::Durability;
use olivine_vfs::Interrupts;
use std::{
    io::{self, BufWriter, IsTerminal as _},
    path::PathBuf,
};
use store::Store;

pub(crate) const COMMAND: Command = Command {
    name: "shell",
    what: "a line shell on a store in a directory",
    about: "A line shell on a store in a directory. Reads commands from standard input; HELP lists them.",
    operands: &["DIR"],
    options: &[&[
        DB,
        Opt::value("--keyspace", "NAME", "the keyspace to work in (default)"),
        Opt::value("--capacity", "N", "flush a memtable after N entries (no limit but its bytes)"),
        Opt::value("--memtable-size", "N", "the same by another name"),
        MEMORY,
        Opt::value(
            "--durability",
            "LEVEL",
            "when a write is acknowledged (sync):\n  \
             sync      the disk has it\n  \
             os        the kernel has it: survives a killed process, no power cut\n  \
             interval  as os, and synced every so often",
        ),
    ]],
    notes: "The store is made when it is not there. The exit code is 1 when a command from a pipe failed.",
    examples: &[
        "olivine shell data/try",
        "olivine shell --db data/try --capacity 1000 --durability os",
        "printf 'SET apple red\\nGET apple\\n' | olivine shell data/try",
    ],
    run,
};

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

fn run(call: &Call) -> Result<Ending, Failure> {
    let settings = settings(call)?;
    let interrupts = interrupts()?;
    let end = converse(&settings, &interrupts);
    match (interrupts.asked(), end?) {
        (Some(asked), _) => Ok(asked.into()),
        (None, End::Good) => Ok(Ending::Good),
        (None, End::SomeFailed) => Ok(Ending::Failed),
    }
}

fn settings(call: &Call) -> Result<Settings, Failure> {
    let (capacity, same) = (call.count("--capacity")?, call.count("--memtable-size")?);
    if capacity.is_some() && same.is_some() && capacity != same {
        let what = "`--capacity` and `--memtable-size` mean the same, and differ";
        return Err(Failure::misused(what));
    }
    let durability = match call.one_of("--durability", &["sync", "os", "interval"])? {
        "os" => Durability::Os,
        "interval" => Durability::Interval,
        _ => Durability::Sync,
    };
    Ok(Settings {
        db: call.dir()?,
        keyspace: call.text("--keyspace")?.unwrap_or_else(|| "default".to_owned()),
        capacity: capacity.or(same),
        memory_bytes: call.bytes("--memory")?,
        durability,
    })
}

fn converse(settings: &Settings, interrupts: &Interrupts) -> Result<End, Failure> {
    let environment = environment_of(settings.memory_bytes)?;
    let store = Store::open_in(&environment, settings)?;
    let (input, output) = (io::stdin(), io::stdout());
    let interactive = input.is_terminal();
    let mut dialogue = Dialogue {
        store: &store,
        answers: BufWriter::new(output.lock()),
        errors: io::stderr().lock(),
        interactive,
    };
    let talked = dialogue.run(interrupts.input());
    drop(dialogue);
    // Closed whatever became of the conversation: what was acknowledged stays so.
    let closed = store.close();
    let end = match interrupts.asked() {
        // The line that was waited for will not come.
        Some(_) => End::Good,
        None => talked?,
    };
    closed?;
    Ok(if interactive { End::Good } else { end })
}

/// Reads a line as the shell does: whether it holds a command, or what is wrong with it.
pub(crate) fn parse_line(line: &[u8]) -> Result<bool, String> {
    command::Command::parse(line).map(|command| command.is_some())
}

#[cfg(test)]
mod tests;
