//! Carries batches of commands out.
//!
//! A batch is cut where one command needs what those before it wrote to be in the engine; each stretch
//! takes the locks of the keys it writes, reads, hands one batch to the engine, and lets go.
//!
//! 1. A reply may be shown when the store is durable up to the position that came with it: nothing in
//!    it can be lost then, whoever wrote it.
//! 2. When the engine refuses a stretch's writes, none of them happened, and what only reads is
//!    answered as if they had never been asked for.
//! 3. A store that is behind is the only error of `apply`: nothing has happened then, and the caller may
//!    come again.
//! 4. Replies of one stretch come to no more memory than `REPLY_BYTES_MAX` and the last of them.

use std::{path::Path, sync::atomic::AtomicBool, time::Duration};

use olivine_command::{Command, Reply};
use olivine_engine::{Db, Durability, Environment, Error, Keyspace, Options, Result, SeqNo};

use crate::{
    access::{Accounts, is_about_access, refusing},
    layout::{self, ACCESS, BACKUP, DEADLINES, NUMBERS, Position, ROWS, TIME, count_key, number},
    locks::Locks,
    numbers,
    refused::{Stop, refused},
    series::{Patience, PointsWrite, SLICE_UNITS_MAX, SeriesOptions, SeriesStore, Target},
    work::Work,
};

/// A stretch ends when what it writes comes to this much.
const STRETCH_BYTES_MAX: usize = 4 << 20;
/// A stretch ends when what it answers comes to this much.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// How a model behaves.
#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// When writes may be acknowledged.
    pub durability: Durability,
    /// Series that a database may have under one retention policy.
    pub series_max: u64,
}

impl Default for ModelOptions {
    fn default() -> ModelOptions {
        ModelOptions { durability: Durability::Sync, series_max: 1_000_000 }
    }
}

/// The key-values of a store.
pub struct Model {
    pub(crate) db: Db,
    pub(crate) rows: Keyspace,
    pub(crate) deadlines: Keyspace,
    pub(crate) numbers: Keyspace,
    pub(crate) locks: Locks,
    pub(crate) accounts: Accounts,
    pub(crate) series: SeriesStore,
    options: ModelOptions,
}

/// What came of the first commands of a batch.
#[derive(Debug)]
pub struct Applied {
    /// Their replies, at least one; bring the commands that have none again.
    pub replies: Vec<Reply>,
    /// Up to where the store must be durable before they are shown; nothing if they may be at once. Nobody
    /// works for that yet.
    pub durable_at: Option<SeqNo>,
}

/// The store is behind its work, and nothing happened. Come again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// How long to wait.
    pub retry_after: Duration,
}

impl Model {
    /// Opens the store at `path`, and the models of what it holds.
    pub fn open(
        environment: &Environment,
        path: impl AsRef<Path>,
        store: Options,
        options: ModelOptions,
    ) -> Result<Model> {
        let open_series = |db: &Db| {
            let ModelOptions { durability, series_max } = options;
            SeriesStore::open(db, environment, SeriesOptions { durability, series_max })
        };
        let mut series = None;
        let db = Db::open_with(environment, path, store, |db, _, position, record| {
            if series.is_none() {
                series = Some(open_series(db)?);
            }
            // Nobody else leaves records.
            series.as_ref().map_or(Ok(()), |series| series.replay(position, record))
        })?;
        let series = match series {
            Some(series) => series,
            None => open_series(&db)?,
        };
        let rows = db.keyspace(ROWS)?;
        let deadlines = db.keyspace(DEADLINES)?;
        let numbers = db.keyspace_with(NUMBERS, &layout::numbers_options())?;
        let accounts = Accounts::open(db.keyspace(ACCESS)?)?;
        Ok(Model { db, rows, deadlines, numbers, locks: Locks::new(), accounts, series, options })
    }

    /// The store that the rows lie in.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Closes the store that the rows lie in.
    pub fn close(self) -> Result<()> {
        // What is in no chunk is in the log; this only makes the next opening quicker.
        self.series.seal_all().ok();
        self.db.close()
    }

    /// Does some of the work that is due behind the writes of time series; false if there was none.
    pub fn work(&self, now: u64) -> Result<bool> {
        self.series.work(now)
    }

    /// Answers a statement about time series, which may take long. Whoever sets `given_up` wants no answer any
    /// more; `is_over` tells when it has taken as long as it may.
    pub fn query(
        &self,
        now: u64,
        command: &Command<'_>,
        given_up: &AtomicBool,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Applied {
        if *command == Command::Settle {
            return match self.series.settle_all().and_then(|()| self.db.settle()) {
                Ok(()) => Applied { replies: vec![Reply::Done(true)], durable_at: None },
                Err(error) => refusing(refused(&error)),
            };
        }
        let patience = Patience { given_up, is_over };
        let (reply, durable_at) = self.series.answer(now, command, &patience);
        Applied { replies: vec![reply], durable_at }
    }

    /// Writes the next slice of points; returns what came of all of them when it was the last. Where the store is
    /// behind, the slice has not happened; so it is for who does not wait while others are at the series.
    pub fn write_slice(
        &self,
        now: u64,
        request: &mut PointsWrite<'_>,
        waits: bool,
    ) -> Result<Option<Applied>, Behind> {
        match self.series.write_slice(now, request, SLICE_UNITS_MAX, waits) {
            Ok(None) => Ok(None),
            Ok(Some(written)) => outcome(Ok(written)).map(Some),
            Err(stop) => outcome(Err(stop)).map(Some),
        }
    }

    /// A time that has passed already. Batches must not be accepted at an earlier one, whatever the clock
    /// says, lest something that has expired comes back.
    pub fn time(&self) -> Result<u64> {
        let time = self.numbers.get(TIME)?.and_then(|value| number(&value));
        Ok(time.map_or(0, |time| time as u64))
    }

    /// When the last backup was made, in seconds since 1970; 0 if none was.
    pub fn last_backup(&self) -> Result<u64> {
        let time = self.numbers.get(BACKUP)?.and_then(|value| number(&value));
        Ok(time.map_or(0, |time| time as u64))
    }

    /// Writes down when the last backup was made. Returns up to where the store must be durable for that to last.
    pub fn set_last_backup(&self, seconds: u64) -> Result<Option<SeqNo>> {
        let mut batch = olivine_engine::Batch::new();
        batch.put(&self.numbers, BACKUP, &seconds.to_le_bytes())?;
        self.write(batch)
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> Result<u64> {
        let count = self.numbers.get(&count_key())?.and_then(|value| number(&value));
        Ok(count.map_or(0, |count| count.max(0) as u64))
    }

    /// Numbers about the store, by name.
    pub(crate) fn numbers_of_store(&self) -> Result<Vec<(String, u64)>> {
        Ok(numbers::of(&self.db, self.count()?))
    }

    /// Carries out the first commands of a batch: all of them, or up to where it had to be cut.
    pub fn apply(&self, now: u64, commands: &[Command<'_>]) -> Result<Applied, Behind> {
        let length = stretch(commands);
        let commands = &commands[..length];
        if let [Command::Sweep { limit }] = commands {
            return self.sweep(now, *limit);
        }
        if let [Command::WritePoints { database, policy, points, makes_database, all_or_none }] =
            commands
        {
            let target = Target {
                database,
                policy,
                makes_database: *makes_database,
                all_or_none: *all_or_none,
            };
            return outcome(self.series.write(now, target, points));
        }
        if let [command] = commands
            && is_about_access(command)
        {
            return self.apply_to_access(now, command);
        }
        let _held = self.locks.hold(commands.iter().filter(|c| c.writes()).flat_map(keys_of));
        let mut work = Work::new(self, now, 1 < commands.len());
        let (mut replies, mut bytes) = (Vec::with_capacity(commands.len()), 0);
        for command in commands {
            let reply = work.run(command);
            bytes += reply_bytes(&reply);
            replies.push(reply);
            if REPLY_BYTES_MAX < bytes {
                break;
            }
        }
        let outcome = match work.finish() {
            Ok(batch) => match self.write(batch) {
                Err(Error::Busy { retry_after }) => return Err(Behind { retry_after }),
                outcome => outcome.map_err(|error| refused(&error)),
            },
            Err(refusal) => Err(refusal),
        };
        let durable_at = match outcome {
            Ok(position) => position,
            Err(refusal) => {
                let mut work = Work::new(self, now, false);
                for (command, reply) in commands.iter().zip(&mut replies) {
                    *reply = if command.writes() {
                        Reply::Refused(refusal.clone())
                    } else {
                        work.run(command)
                    };
                }
                self.shown_at()
            }
        };
        Ok(Applied { replies, durable_at })
    }

    /// Hands a batch to the engine. Returns what must be durable before that is told, and what was read.
    pub(crate) fn write(&self, batch: olivine_engine::Batch) -> Result<Option<Position>> {
        if batch.is_empty() {
            return Ok(self.shown_at());
        }
        if self.options.durability != Durability::Sync {
            self.db.write_ticketed_with(batch, self.options.durability)?;
            return Ok(None);
        }
        // Who shows the reply sees to it.
        let ticket = self.db.write_unled(batch)?;
        Ok((!ticket.is_durable()).then(|| ticket.seqno().max(self.db.visible())))
    }

    /// What must be durable before what was read now is shown. Once a sync has failed nothing more will be,
    /// and reads go on: what they see that was never acknowledged may be gone when the store is opened again.
    pub(crate) fn shown_at(&self) -> Option<Position> {
        if self.options.durability != Durability::Sync || self.db.check_writable().is_err() {
            return None;
        }
        let seen = self.db.visible();
        (self.db.durable() < seen).then_some(seen)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("db", &self.db).finish_non_exhaustive()
    }
}

/// What came of points.
fn outcome(written: Result<(Reply, Option<Position>), Stop>) -> Result<Applied, Behind> {
    match written {
        Ok((reply, durable_at)) => Ok(Applied { replies: vec![reply], durable_at }),
        Err(Stop::Failed(Error::Busy { retry_after })) => Err(Behind { retry_after }),
        Err(Stop::Failed(Error::LogHeld { .. })) => {
            Err(Behind { retry_after: Duration::from_millis(10) })
        }
        Err(Stop::Failed(error)) => Ok(refusing(refused(&error))),
        Err(Stop::Refused(refusal)) => Ok(refusing(refusal)),
    }
}

/// How many of the commands are carried out together.
fn stretch(commands: &[Command<'_>]) -> usize {
    let mut bytes = 0;
    let mut writes = false;
    for (place, command) in commands.iter().enumerate() {
        let alone = matches!(command, Command::Sweep { .. } | Command::WritePoints { .. })
            || is_about_access(command);
        let reads_all = matches!(command, Command::Scan { .. } | Command::Count | Command::Numbers);
        bytes += bytes_of(command);
        if 0 < place && (alone || (writes && reads_all) || STRETCH_BYTES_MAX < bytes) {
            return place;
        }
        if alone {
            return 1;
        }
        writes |= command.writes();
    }
    commands.len()
}

/// About how many bytes a command writes.
fn bytes_of(command: &Command<'_>) -> usize {
    match command {
        Command::Put { entry, .. } => entry.key.len() + entry.value.bytes.len(),
        Command::PutMany { entries, .. } => {
            entries.iter().map(|entry| entry.key.len() + entry.value.bytes.len()).sum()
        }
        _ => 0,
    }
}

/// About how many bytes a reply takes.
fn reply_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Value(Some(found)) => found.bytes.len(),
        Reply::Values(values) => values.iter().flatten().map(|found| found.bytes.len()).sum(),
        Reply::Page { entries, .. } => {
            entries.iter().map(|(key, found)| key.len() + found.bytes.len()).sum()
        }
        _ => 0,
    }
}

/// The keys that a command names, where it names them one by one.
fn keys_of<'a>(command: &'a Command<'_>) -> Vec<&'a [u8]> {
    match command {
        Command::Get { key }
        | Command::Look { key }
        | Command::Delete { key, .. }
        | Command::Expire { key, .. } => vec![&**key],
        Command::Put { entry, .. } => vec![&*entry.key],
        Command::PutMany { entries, .. } => entries.iter().map(|entry| &*entry.key).collect(),
        Command::GetMany { keys } | Command::DeleteMany { keys } => {
            keys.iter().map(|key| &**key).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_command::{Bound, Condition, Entry, Expiry, Form, Value};

    fn put(bytes: usize) -> Command<'static> {
        let value = Value { form: Form::Bytes, bytes: vec![0; bytes].into() };
        let entry = Entry { key: b"k".as_slice().into(), value };
        Command::Put { entry, condition: Condition::Always, expiry: Expiry::Never }
    }

    fn get() -> Command<'static> {
        Command::Get { key: b"k".as_slice().into() }
    }

    fn scan() -> Command<'static> {
        Command::Scan { start: Bound::Open, end: Bound::Open, limit: 1, backward: false }
    }

    #[test]
    fn a_batch_is_cut_where_it_must_be() {
        assert_eq!(stretch(&[put(1), get(), put(1)]), 3);
        assert_eq!(stretch(&[scan(), get(), scan()]), 3);
        assert_eq!(stretch(&[scan(), put(1), scan()]), 2);
        assert_eq!(stretch(&[put(1), Command::Count]), 1);
        assert_eq!(stretch(&[get(), Command::Sweep { limit: 1 }]), 1);
        assert_eq!(stretch(&[Command::Sweep { limit: 1 }, get()]), 1);
        assert_eq!(stretch(&[put(STRETCH_BYTES_MAX), get(), get()]), 1);
        assert_eq!(stretch(&[put(STRETCH_BYTES_MAX - 1), get(), get()]), 3);
        assert_eq!(
            stretch(&[put(1), put(STRETCH_BYTES_MAX), get()]),
            1,
            "a large one stands alone"
        );
    }
}
