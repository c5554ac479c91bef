//! Drives a store through a history, beside the oracle.
//!
//! The driver is the one place that knows the engine's calls. Every operation is done to the store
//! and told to the log of commits; every answer is compared with what the log says.
//!
//! 1. An entry is in the log before its operation begins, so a crash in its midst finds it there.
//! 2. Acknowledgements are noted only after the call that gave them returned.
//! 3. An answer that differs ends the drive; so does an error, told apart from it ([`Stop`]).

use crate::{
    history::{Change, KEYSPACES, Op, SLOTS, Value, What},
    oracle::{Bytes, CommitLog, Event},
};
use olivine_engine::{
    Batch, CompactionStyle, CompressionLast, Db, Durability, Environment, Error, KeyPrefix,
    Keyspace, KeyspaceOptions, Options, SeqNo, Snapshot, Ticket,
};
use olivine_vfs::ManualClock;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

mod appended;
mod applied;
mod copies;
mod read;
mod replace;

use appended::Noted;
pub(crate) use appended::is_record;
pub use appended::{Opened, Records};
pub(crate) use applied::UNLOGGED;
pub use applied::{AppliedState, read_applied};
pub use copies::Copies;
use read::OpenCursor;
pub use read::read_all;

/// Why a drive ended.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The store answered an error.
    Refused(Error),
    /// The store answered something else than it should have.
    Differs(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Refused(error) => write!(f, "refused: {}", full_text(error)),
            Stop::Differs(what) => write!(f, "differs: {what}"),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

/// An error's text with its causes.
pub(crate) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether an operation answers from what the store shows.
fn reads(op: &Op) -> bool {
    let reads = matches!(op, Op::Get { .. } | Op::Scan { .. } | Op::Cursor { .. } | Op::Move(..));
    reads || matches!(op, Op::Snapshot(_))
}

/// How the keyspaces of histories behave. Every other one is of either style, and which ones follows
/// from the store's options, as they do from the seed; most have filters for prefixes, by rules that fit
/// some of the keys. Of a third of the stores, tables of the last level are compressed by zstd in two of them.
fn keyspace_options(name: &str, options: &Options) -> KeyspaceOptions {
    let place = KEYSPACES.iter().position(|known| *known == name).unwrap_or(0) as u32;
    let style = match (place + options.table_bytes_max.trailing_zeros()) % 2 {
        0 => CompactionStyle::Leveled,
        _ => CompactionStyle::TimeWindow,
    };
    let prefix = match name {
        "main" => Some(KeyPrefix::Length(1)),
        "a" => Some(KeyPrefix::Delimiter(b'/', 2)),
        "users-2" => Some(KeyPrefix::Length(6)),
        _ => None,
    };
    let merge = Some("append".into());
    let compression_last = match name {
        "main" | "a" if options.block_bytes == 256 => CompressionLast::Zstd,
        _ => CompressionLast::Same,
    };
    KeyspaceOptions { merge, style, prefix, compression_last, ..KeyspaceOptions::default() }
}

/// What a batch comes to: keyspace, key, and value or none.
type Effects = Vec<(String, Vec<u8>, Option<Bytes>)>;

/// Adds one change to a batch.
fn add_to(batch: &mut Batch, keyspace: &Keyspace, change: &Change) -> Result<(), Error> {
    let key = &change.key;
    match &change.what {
        What::Put(value) => batch.put(keyspace, key, &value.spell()),
        What::Delete => batch.delete(keyspace, key),
        What::Append(value) => batch.merge(keyspace, key, &value.spell()),
        What::PutExpiring(value, expired) => {
            let expiry = if *expired { 0 } else { u64::MAX };
            batch.put_with_expiry(keyspace, key, &value.spell(), expiry)
        }
        What::DeleteTo(end) => batch.delete_range(keyspace, key, end),
        What::Record(_) | What::Seal(_) => unreachable!("the driver adds these itself"),
    }
}

/// Up to where the log was acknowledged; shared with whoever takes images meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    lasting: Arc<AtomicUsize>,
    handed: Arc<AtomicUsize>,
    /// Up to where the keyspace without a log was called durable.
    applied: Arc<AtomicU64>,
}

impl Acknowledged {
    /// Up to where a power cut must leave everything.
    pub fn lasting(&self) -> usize {
        self.lasting.load(Acquire)
    }

    /// Up to where the end of the process must leave everything.
    pub fn handed(&self) -> usize {
        self.handed.load(Acquire).max(self.lasting())
    }

    /// Up to where the keyspace without a log was called durable.
    pub fn applied(&self) -> u64 {
        self.applied.load(Acquire)
    }

    fn is_applied(&self, position: u64) {
        self.applied.fetch_max(position, Release);
    }

    fn is_lasting(&self, position: usize) {
        self.lasting.fetch_max(position, Release);
    }

    fn begin_anew(&self) {
        self.lasting.store(0, Release);
        self.handed.store(0, Release);
    }

    fn is_handed(&self, position: usize) {
        self.handed.fetch_max(position, Release);
    }
}

/// A store, its oracle, and everything held open between operations.
pub struct Driver {
    environment: Environment,
    clock: Arc<ManualClock>,
    path: PathBuf,
    options: Options,
    db: Option<Db>,
    /// The keyspaces that stand, and the position at which each was created.
    handles: BTreeMap<String, (Keyspace, usize)>,
    snapshots: [Option<(Snapshot, usize)>; SLOTS],
    cursors: [Option<OpenCursor>; SLOTS],
    /// Writes that were not waited for, and where they stand in the log.
    tickets: Vec<(Ticket, usize)>,
    /// The last durable write that the store told its listener of.
    told_durable: Arc<AtomicU64>,
    /// The last sequence number at each position of the log.
    seqnos: Vec<SeqNo>,
    /// Whether the store said that it takes no more writes until it is opened again.
    latched: bool,
    /// Entries whose operation failed and of which it is not known whether they show.
    undecided: Vec<usize>,
    /// The appended records that the next opening must hand out.
    records: Records,
    log: Arc<Mutex<CommitLog>>,
    acknowledged: Acknowledged,
    copies: Copies,
}

impl Driver {
    /// Opens the store at `path`, which holds what `log` says.
    pub fn open(
        environment: Environment,
        clock: Arc<ManualClock>,
        path: &Path,
        options: Options,
        log: CommitLog,
    ) -> Result<Driver, Stop> {
        let opened = Opened::open(&environment, path, options.clone())?;
        Driver::resume(environment, clock, path, options, log, opened)
    }

    /// Goes on in a store that is open already and holds what `log` says.
    pub fn resume(
        environment: Environment,
        clock: Arc<ManualClock>,
        path: &Path,
        options: Options,
        log: CommitLog,
        opened: Opened,
    ) -> Result<Driver, Stop> {
        let mut driver = Driver {
            environment,
            clock,
            path: path.to_owned(),
            options,
            db: None,
            handles: BTreeMap::new(),
            snapshots: Default::default(),
            cursors: Default::default(),
            tickets: Vec::new(),
            told_durable: Arc::default(),
            seqnos: vec![0; log.position() + 1],
            latched: false,
            undecided: Vec::new(),
            records: Records::default(),
            log: Arc::new(Mutex::new(log)),
            acknowledged: Acknowledged::default(),
            copies: Copies::default(),
        };
        driver.take(opened)?;
        Ok(driver)
    }

    /// The log of commits, shared with whoever takes images meanwhile.
    pub fn log(&self) -> Arc<Mutex<CommitLog>> {
        Arc::clone(&self.log)
    }

    /// What was acknowledged, shared likewise.
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.clone()
    }

    /// The position after the last entry of the log.
    pub fn position(&self) -> usize {
        self.with_log(|log| log.position())
    }

    fn with_log<T>(&self, read: impl FnOnce(&mut CommitLog) -> T) -> T {
        read(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the store is open; it is not after closing or opening it failed.
    pub fn is_open(&self) -> bool {
        self.db.is_some()
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the store is open between operations")
    }

    /// Takes over a store just opened: opens its keyspaces and notes where it stands.
    fn take(&mut self, opened: Opened) -> Result<(), Stop> {
        self.take_applied(read_applied(&opened.db)?)?;
        let Opened { db, records } = opened;
        self.records = records;
        let (position, names) = self.with_log(|log| (log.position(), log.names(log.position())));
        let mut found = db.keyspaces();
        found.retain(|name| name != UNLOGGED);
        found.sort();
        if found != names {
            return Err(Stop::Differs(format!("keyspaces: expected {names:?}, found {found:?}")));
        }
        for name in names {
            let keyspace = db.keyspace(&name)?;
            self.handles.insert(name, (keyspace, 0));
        }
        *self.seqnos.last_mut().expect("position 0 has a number") = db.visible();
        let told = Arc::new(AtomicU64::new(0));
        self.told_durable = Arc::clone(&told);
        db.on_durable(move |durable| {
            if let Ok(durable) = durable {
                told.fetch_max(*durable, Release);
            }
        });
        self.acknowledged.is_lasting(position);
        self.db = Some(db);
        self.latched = false;
        Ok(())
    }

    /// Does one operation and compares its answers.
    pub fn apply(&mut self, op: &Op) -> Result<(), Stop> {
        if !self.undecided.is_empty() && self.is_open() {
            match self.decide() {
                Err(Stop::Refused(_)) if reads(op) => return Ok(()),
                Ok(()) | Err(Stop::Refused(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        let (latched, position) = (self.latched, self.position());
        let outcome = self.act(op).and_then(|()| self.note_durable());
        if let Err(Stop::Refused(error)) = &outcome {
            let writes = matches!(op, Op::Write { .. } | Op::Sync);
            self.latched |= match error {
                // A stream that found no room gave up its own file and nothing else.
                Error::Full { .. } if matches!(op, Op::Stream { .. }) => false,
                _ if *op == Op::Reopen => false,
                // A full disk refuses and goes on by itself.
                Error::Busy { .. }
                | Error::Invalid { .. }
                | Error::Dropped { .. }
                | Error::Full { .. } => false,
                Error::Poisoned { .. } => true,
                _ => writes,
            };
        }
        let acknowledged = position < self.position() || *op == Op::Sync;
        if outcome.is_ok() && latched && self.latched && acknowledged {
            let what = "acknowledged after a write was refused, without being opened again";
            return Err(Stop::Differs(what.to_owned()));
        }
        outcome
    }

    fn act(&mut self, op: &Op) -> Result<(), Stop> {
        match op {
            Op::Write { changes, durability, ticketed } => {
                self.write(changes, *durability, *ticketed)?;
            }
            Op::Stream { keyspace, key, value } => {
                self.stream(KEYSPACES[*keyspace], key, *value)?;
            }
            Op::Replace { keyspace, from, to, entries } => {
                self.replace(KEYSPACES[*keyspace], from, to, entries)?;
            }
            Op::Apply(changes) => self.apply_next(changes)?,
            Op::Sync => {
                let position = self.position();
                self.db().sync()?;
                self.acknowledged.is_lasting(position);
            }
            Op::Flush => self.db().flush()?,
            Op::Settle => self.db().settle()?,
            Op::Step(units) => {
                for _ in 0..*units {
                    if !self.environment.step() {
                        break;
                    }
                }
            }
            Op::Wait(millis) => self.clock.advance(Duration::from_millis(*millis)),
            Op::Create(keyspace) => self.create(KEYSPACES[*keyspace])?,
            Op::Drop(keyspace) => self.drop_keyspace(KEYSPACES[*keyspace])?,
            Op::Snapshot(slot) => {
                self.snapshots[*slot] = Some((self.db().snapshot(), self.position()));
            }
            Op::Release(slot) => self.snapshots[*slot] = None,
            Op::Get { at, keyspace, keys } => self.get(*at, KEYSPACES[*keyspace], keys)?,
            Op::Scan { at, keyspace, range, backward } => {
                self.scan(*at, KEYSPACES[*keyspace], range, *backward)?;
            }
            Op::Cursor { slot, at, keyspace, range } => {
                self.cursors[*slot] = self.cursor(*at, KEYSPACES[*keyspace], range)?;
            }
            Op::Move(slot, moves) => {
                if let Some(cursor) = &mut self.cursors[*slot] {
                    cursor.go(moves)?;
                }
            }
            Op::Reopen => self.reopen()?,
            Op::Checkpoint => self.checkpoint()?,
            Op::Backup => self.backup()?,
            Op::Ingest { keyspace, entries } => self.ingest(*keyspace, entries)?,
            Op::Follow => self.follow()?,
        }
        Ok(())
    }

    /// Notes what the store itself says is durable, by its watermark and by its tickets.
    fn note_durable(&mut self) -> Result<(), Stop> {
        let (durable, visible) = (self.db().durable(), self.db().visible());
        let told = self.told_durable.load(Acquire);
        if visible < durable || durable < told {
            let what = format!("durable is {durable}, told as {told}, and visible is {visible}");
            return Err(Stop::Differs(what));
        }
        self.acknowledged.is_lasting(self.position_of(durable));
        let (answered, open) = std::mem::take(&mut self.tickets)
            .into_iter()
            .partition(|(ticket, _)| ticket.is_durable());
        self.tickets = open;
        let answered: Vec<(Ticket, usize)> = answered;
        for (_, position) in &answered {
            self.acknowledged.is_lasting(*position);
        }
        self.note_applied()
    }

    /// The position of the log that the sequence number `durable` proves. Entries without a number of
    /// their own (keyspaces) have that of the write before them, which says nothing of them.
    fn position_of(&self, durable: SeqNo) -> usize {
        let place = self.seqnos.partition_point(|seqno| *seqno < durable);
        if self.seqnos.get(place) == Some(&durable) { place } else { place.saturating_sub(1) }
    }

    fn write(
        &mut self,
        changes: &[Change],
        durability: Option<Durability>,
        ticketed: bool,
    ) -> Result<(), Stop> {
        let (mut batch, mut written, mut noted) = (Batch::new(), Vec::new(), Noted::default());
        for change in changes {
            self.add(&mut batch, change, &mut written, &mut noted)?;
        }
        let (visible, last) = (self.db().visible(), self.db().visible() + batch.len() as u64);
        let before = self.position();
        let position = if written.is_empty() { before } else { before + 1 };
        if position != before {
            self.with_log(|log| log.push(Event::Write(written)));
        }
        let handed_over = self.hand_over(batch, durability, ticketed, position);
        if visible < self.db().visible() {
            noted.apply(&mut self.records);
        }
        match handed_over {
            Ok(seqno) if position != before && seqno != last => Err(Stop::Differs(format!(
                "a batch ends with write {seqno}, and should with {last}"
            ))),
            Ok(seqno) => {
                if position != before {
                    self.seqnos.push(seqno);
                }
                self.check_seqno(before, position, seqno)?;
                let durability = durability.unwrap_or(self.options.durability);
                match durability {
                    // A ticket acknowledges when it is answered, and an empty batch acknowledges nothing.
                    _ if ticketed || position == before => {}
                    Durability::Sync => self.acknowledged.is_lasting(position),
                    Durability::Os | Durability::Interval => self.acknowledged.is_handed(position),
                }
                Ok(())
            }
            Err(error) => {
                self.failed(before, position, &error)?;
                // A store that is behind may say so to those who do not wait.
                let may_refuse = ticketed && matches!(error, Error::Busy { .. })
                    || matches!(error, Error::LogHeld { .. });
                if may_refuse { Ok(()) } else { Err(error.into()) }
            }
        }
    }

    /// Puts a value as a stream.
    fn stream(&mut self, name: &str, key: &[u8], value: Value) -> Result<(), Stop> {
        let Some((handle, _)) = self.handles.get(name) else { return Ok(()) };
        let handle = handle.clone();
        let spelled: Bytes = value.spell().into();
        let before = self.position();
        let written = vec![(name.to_owned(), key.to_vec(), Some(Bytes::clone(&spelled)))];
        let position = self.with_log(|log| log.push(Event::Write(written)));
        match handle.put_stream(key, spelled.len() as u64, &*spelled) {
            Ok(seqno) => {
                self.seqnos.push(seqno);
                self.check_seqno(before, position, seqno)?;
                match self.options.durability {
                    Durability::Sync => self.acknowledged.is_lasting(position),
                    Durability::Os | Durability::Interval => self.acknowledged.is_handed(position),
                }
                Ok(())
            }
            Err(error) => {
                self.failed(before, position, &error)?;
                if matches!(error, Error::LogHeld { .. }) { Ok(()) } else { Err(error.into()) }
            }
        }
    }

    /// Adds what `change` comes to, for each key it touches, to what its batch `written` so far.
    fn effects(&self, name: &str, change: &Change, written: &mut Effects) {
        let key = &change.key;
        let value = match &change.what {
            What::Put(value) | What::PutExpiring(value, false) => Some(value.spell().into()),
            What::Delete | What::PutExpiring(_, true) => None,
            What::Append(value) => {
                let mut bytes = self.stands(name, key, written).map_or(vec![], |it| it.to_vec());
                bytes.extend(value.spell());
                Some(bytes.into())
            }
            What::DeleteTo(end) => {
                let position = self.position();
                let within = |known: &[u8]| key.as_slice() <= known && known < end.as_slice();
                let holds = |known: &[u8]| within(known) && !is_record(known);
                let mut gone: BTreeSet<Vec<u8>> = self.with_log(|log| {
                    let keys = log.range(position, name).map(|(known, _)| known.to_vec());
                    keys.filter(|known| holds(known)).collect()
                });
                let here =
                    written.iter().filter(|(keyspace, known, _)| keyspace == name && holds(known));
                gone.extend(here.map(|(_, known, _)| known.clone()));
                if key < end {
                    // Also where it finds nothing, the write is an entry of the log.
                    gone.insert(key.clone());
                }
                written.extend(gone.into_iter().map(|key| (name.to_owned(), key, None)));
                return;
            }
            What::Record(_) | What::Seal(_) => unreachable!("the driver adds these itself"),
        };
        written.push((name.to_owned(), key.clone(), value));
    }

    /// What stands under `key` after the last entry and what its batch has `written` since.
    fn stands(&self, name: &str, key: &[u8], written: &Effects) -> Option<Bytes> {
        let mut here = written.iter().rev();
        match here.find(|(keyspace, known, _)| keyspace == name && known == key) {
            Some((_, _, value)) => value.clone(),
            None => self.with_log(|log| log.get(log.position(), name, key).cloned()),
        }
    }

    /// Writes the batch in the way asked for.
    fn hand_over(
        &mut self,
        batch: Batch,
        durability: Option<Durability>,
        ticketed: bool,
        position: usize,
    ) -> Result<SeqNo, Error> {
        if !ticketed {
            return match durability {
                None => self.db().write(batch),
                Some(durability) => self.db().write_with(batch, durability),
            };
        }
        let ticket = self.db().write_ticketed(batch)?;
        let seqno = ticket.seqno();
        self.tickets.push((ticket, position));
        Ok(seqno)
    }

    /// Sequence numbers grow with every write, and what is written is visible.
    fn check_seqno(&self, before: usize, position: usize, seqno: SeqNo) -> Result<(), Stop> {
        let last = self.seqnos[before];
        let grows = if position == before { last <= seqno } else { last < seqno };
        if !grows || self.db().visible() < seqno {
            let visible = self.db().visible();
            let what = format!("a write is {seqno} after {last}, and visible is {visible}");
            return Err(Stop::Differs(what));
        }
        Ok(())
    }

    fn create(&mut self, name: &str) -> Result<(), Stop> {
        if self.handles.contains_key(name) {
            self.db().keyspace(name)?;
            return Ok(());
        }
        let before = self.position();
        let position = self.with_log(|log| log.push(Event::Create(name.to_owned())));
        match self.db().keyspace_with(name, &keyspace_options(name, &self.options)) {
            Ok(keyspace) => {
                self.records.forget(name);
                self.handles.insert(name.to_owned(), (keyspace, position));
                self.changed_keyspaces(position);
                Ok(())
            }
            Err(error) => {
                self.failed(before, position, &error)?;
                Err(error.into())
            }
        }
    }

    fn drop_keyspace(&mut self, name: &str) -> Result<(), Stop> {
        let Some((keyspace, _)) = self.handles.get(name).cloned() else { return Ok(()) };
        let before = self.position();
        let position = self.with_log(|log| log.push(Event::Drop(name.to_owned())));
        match self.db().drop_keyspace(&keyspace) {
            Ok(()) => {
                self.handles.remove(name);
                self.records.forget(name);
                self.changed_keyspaces(position);
                match keyspace.get(b"any") {
                    Err(Error::Dropped { .. }) => Ok(()),
                    found => Err(Stop::Differs(format!(
                        "keyspace {name} was dropped, and reads {found:?}"
                    ))),
                }
            }
            Err(error) => {
                self.failed(before, position, &error)?;
                Err(error.into())
            }
        }
    }

    /// Keyspaces come and go durably.
    fn changed_keyspaces(&mut self, position: usize) {
        self.seqnos.push(self.db().visible());
        self.acknowledged.is_lasting(position);
    }

    /// An operation that was to be the entry at `position` failed. What was refused untouched leaves
    /// the log again; anything else is in doubt, and must be visible whole or not at all.
    fn failed(&mut self, before: usize, position: usize, error: &Error) -> Result<(), Stop> {
        if position == before {
            return Ok(());
        }
        let untouched = match error {
            Error::Busy { .. }
            | Error::Invalid { .. }
            | Error::Dropped { .. }
            | Error::LogHeld { .. }
            | Error::Full { .. } => true,
            Error::Poisoned { .. } => self.latched,
            _ => false,
        };
        if untouched {
            self.with_log(|log| log.pop());
            return Ok(());
        }
        self.with_log(|log| log.doubt(position));
        self.undecided.push(position);
        self.seqnos.push(self.db().visible());
        match self.decide() {
            // Reading may be what fails; then it is decided later.
            Err(Stop::Refused(_)) => Ok(()),
            decided => decided,
        }
    }

    /// Reads the store to see which of the entries in doubt it shows.
    fn decide(&mut self) -> Result<(), Stop> {
        let found = self.contents()?;
        let undecided = std::mem::take(&mut self.undecided);
        self.with_log(|log| log.decide(&undecided, &found))
            .map_err(|verdict| Stop::Differs(format!("after a failed write: {verdict}")))?;
        self.refresh(self.position())
    }

    /// Opens the keyspaces again that the store says it has, after a failure left that open.
    fn refresh(&mut self, position: usize) -> Result<(), Stop> {
        let mut names = self.db().keyspaces();
        names.retain(|name| name != UNLOGGED);
        self.handles.retain(|name, _| names.contains(name));
        self.records.retain(&names);
        for name in names {
            if !self.handles.contains_key(&name) {
                let keyspace = self.db().keyspace(&name)?;
                self.handles.insert(name, (keyspace, position));
            }
        }
        Ok(())
    }

    /// Lets go of everything that holds the store open, and closes it.
    pub fn close(&mut self) -> Result<(), Stop> {
        self.cursors = Default::default();
        self.snapshots = Default::default();
        self.handles.clear();
        self.tickets.clear();
        let position = self.position();
        let db = self.db.take().expect("the store is open between operations");
        db.close()?;
        self.acknowledged.is_lasting(position);
        Ok(())
    }

    /// Closes and opens. After a failure the oracle goes on from what is found, if that may be; what
    /// closing was refused for is told after that.
    fn reopen(&mut self) -> Result<(), Stop> {
        let sound = !self.latched && !self.with_log(|log| log.has_doubts());
        let closed = self.close();
        if let Err(Stop::Differs(_)) = &closed {
            return closed;
        }
        let opened = Opened::open(&self.environment, &self.path, self.options.clone())?;
        if !sound || closed.is_err() {
            self.rebase(&opened)?;
        }
        self.take(opened)?;
        closed?;
        self.check_all()
    }

    /// Begins a log of commits anew with what a store holds after a failure.
    fn rebase(&mut self, opened: &Opened) -> Result<(), Stop> {
        let found = opened.contents()?;
        let handed = self.acknowledged.handed();
        self.with_log(|log| log.check_recovered(&found, handed))
            .map_err(|verdict| Stop::Differs(format!("opened after a failure: {verdict}")))?;
        let mut begun = CommitLog::from_contents(found);
        self.with_log(|log| {
            begun.applied = std::mem::take(&mut log.applied);
            *log = begun;
        });
        self.acknowledged.begin_anew();
        self.undecided.clear();
        self.seqnos = vec![0];
        Ok(())
    }

    /// Everything the store holds is what the log says.
    pub fn check_all(&self) -> Result<(), Stop> {
        let found = self.contents()?;
        self.with_log(|log| log.check_live(&found, log.position()))?;
        self.check_applied()
    }

    /// Does every operation; tells the first that stopped.
    pub fn run(&mut self, history: &[Op]) -> Result<(), (usize, Stop)> {
        history.iter().enumerate().try_for_each(|(n, op)| self.apply(op).map_err(|stop| (n, stop)))
    }
}
