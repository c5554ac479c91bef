//! `olivine load`: entries that were written down, put into a store.
//!
//! 1. What is wrong is told with its line; everything before the batch with that line is in the store,
//!    and it is told from which line to go on.
//! 2. When it ends well, everything is durable.
//! 3. Loading the same again changes nothing.
//! 4. A signal ends it as a wrong line does: what was read whole is in the store, durably.

use std::{
    io::{self, BufRead, BufReader, Write as _},
    path::Path,
};

use olivine_engine::{Batch, Db, Durability, Keyspace, Options};
use olivine_vfs::{Interrupt, Interrupts};

use crate::{
    call::{Call, Command, DB, MEMORY, Opt, QUIET},
    check::environment,
    ending::{Ending, Failure, interrupts},
    files::Sequential,
    progress::{Progress, Unit},
    shown::counted,
    transfer::{Form, Reader},
};

pub(crate) const COMMAND: Command = Command {
    name: "load",
    what: "put entries into a store that dump, or rocksdb_dump, wrote down",
    about: "Load puts entries into a store: JSON lines as `olivine dump` writes them, or what rocksdb_dump writes, \
        told apart by the first bytes. The store and its keyspaces are made when they are not there; a key \
        that is there gets the new value.",
    operands: &["DIR", "[FILE]"],
    options: &[&[
        DB,
        Opt::value(
            "--keyspace",
            "NAME",
            "put everything here, whatever the lines say; needed for lines \
             that say nothing (default)",
        ),
        Opt::value("--batch", "N", "entries that are written together (1000)"),
        Opt::value("--from-line", "N", "pass over the lines before this one"),
        QUIET,
        MEMORY,
    ]],
    notes: "Without FILE, or with -, the standard input is read. Everything is durable when it ends well. A line \
        that makes no sense ends it with exit code 1, a signal with 130 or 143; both say from which line to go on.",
    examples: &[
        "olivine load data/new users.jsonl",
        "olivine dump data/store | olivine load data/new",
        "olivine load data/new olivedb_dump.txt --keyspace olivedb",
    ],
    run,
};

/// Bytes of keys and values that are written together at most.
const BATCH_BYTES_MAX: usize = 4 << 20;

fn run(call: &Call) -> Result<Ending, Failure> {
    let dir = call.dir()?;
    let interrupts = interrupts()?;
    if let Some(file) = call.operand(1).filter(|file| *file != "-") {
        let file = Sequential::open(Path::new(file))?;
        let progress = (Progress::new(call, Unit::Bytes, false), file.bytes());
        return load(call, &dir, BufReader::new(file), &progress, &interrupts);
    }
    // Nobody knows how much will come.
    let progress = (Progress::new(call, Unit::Bytes, false), 0);
    load(call, &dir, interrupts.input(), &progress, &interrupts)
}

fn load(
    call: &Call,
    dir: &Path,
    input: impl BufRead,
    progress: &(Progress, u64),
    interrupts: &Interrupts,
) -> Result<Ending, Failure> {
    let environment = environment(call)?;
    let from_line = call.count("--from-line")?.unwrap_or(1);
    let failed = |what: String| match interrupts.asked() {
        Some(asked) => {
            let text = Failure::asked(asked).text().to_owned();
            let go_on = format!("{text}; nothing is loaded, go on with --from-line {from_line}");
            Failure::new(asked.into(), go_on)
        }
        None => Failure::new(Ending::Failed, what),
    };
    let mut reader = Reader::new(input).map_err(failed)?;
    if reader.form() == Form::Rocksdb && from_line != 1 {
        return Err(Failure::misused("`--from-line` is for JSON lines; this input has none"));
    }
    while reader.place() + 1 < from_line {
        if !reader.skip().map_err(failed)? {
            break;
        }
    }
    let entries_max = call.count("--batch")?.unwrap_or(1000) as usize;
    let into = call.text("--keyspace")?;
    let db = Db::open(&environment, dir, Options::default())?;
    let mut loading = Loading {
        db: &db,
        into,
        entries_max,
        batch: Batch::new(),
        waiting: 0,
        bytes: 0,
        loaded: 0,
        known: None,
        next_line: from_line,
    };
    let outcome = loading.all(&mut reader, progress, interrupts);
    let (loaded, next_line) = (loading.loaded, loading.next_line);
    progress.0.wipe();
    drop(loading);
    // What was loaded is kept, however it ended.
    let closed = db.close();
    if let Err(failure) = outcome {
        let go_on = match reader.form() {
            Form::Json => format!(
                "; {} loaded, go on with --from-line {next_line}",
                counted(loaded, "entry is", "entries are")
            ),
            Form::Rocksdb => format!("; {} loaded", counted(loaded, "entry is", "entries are")),
        };
        return Err(Failure::new(failure.ending(), format!("{}{go_on}", failure.text())));
    }
    closed?;
    writeln!(io::stdout(), "{} loaded", counted(loaded, "entry", "entries"))?;
    Ok(Ending::Good)
}

struct Loading<'a> {
    db: &'a Db,
    into: Option<String>,
    entries_max: usize,
    batch: Batch,
    /// Entries and bytes in the batch.
    waiting: usize,
    bytes: usize,
    loaded: u64,
    /// The keyspace of the entry before.
    known: Option<Keyspace>,
    /// The first line that is not in the store.
    next_line: u64,
}

impl Loading<'_> {
    fn all<R: BufRead>(
        &mut self,
        reader: &mut Reader<R>,
        progress: &(Progress, u64),
        interrupts: &Interrupts,
    ) -> Result<(), Failure> {
        loop {
            if let Some(asked) = interrupts.asked() {
                return self.stop(reader.place() + 1, asked);
            }
            let next = match (reader.next(), interrupts.asked()) {
                // It came while a line was waited for, which is not whole.
                (Err(_), Some(asked)) => return self.stop(reader.place(), asked),
                (next, _) => next.map_err(|what| Failure::new(Ending::Failed, what))?,
            };
            let Some(entry) = next else { break };
            let name = self.into.as_deref().or(entry.keyspace.as_deref()).unwrap_or("default");
            let known = self.known.take().filter(|known| known.name() == name);
            let keyspace = match known {
                Some(keyspace) => keyspace,
                None => self.db.keyspace(name)?,
            };
            self.batch.put(&keyspace, &entry.key, &entry.value)?;
            self.known = Some(keyspace);
            self.waiting += 1;
            self.bytes += entry.key.len() + entry.value.len();
            if self.entries_max <= self.waiting || BATCH_BYTES_MAX <= self.bytes {
                self.write(reader.place() + 1)?;
                progress.0.at(reader.bytes(), progress.1);
            }
        }
        self.write(reader.place())?;
        self.db.sync()?;
        Ok(())
    }

    /// Puts what waits into the store, and says why there will be no more.
    fn stop(&mut self, next_line: u64, asked: Interrupt) -> Result<(), Failure> {
        self.write(next_line)?;
        self.db.sync()?;
        Err(Failure::asked(asked))
    }

    /// Writes the batch, which ends before `next_line`.
    fn write(&mut self, next_line: u64) -> Result<(), Failure> {
        let batch = std::mem::replace(&mut self.batch, Batch::new());
        self.db.write_with(batch, Durability::Os)?;
        self.loaded += self.waiting as u64;
        (self.waiting, self.bytes, self.next_line) = (0, 0, next_line);
        Ok(())
    }
}
