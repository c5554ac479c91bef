//! What was written, batch by batch, read from the log while writes go on.
//!
//! Reading holds nothing back: neither writers nor the log's recycling. Who is too slow, or asks for what is
//! too old, is told so, with the oldest write that is still there, and takes the store as it is instead.
//!
//! 1. Batches come whole, in order, each once, and only when readers of the store see them.
//! 2. None is passed over: the answer is `Error::LogGone` before that.
//! 3. The commit lock is taken once for each stretch of the log, to hand it over and to note its end.

use std::{fmt, io::ErrorKind, sync::Arc};

use crate::{
    appended::applied_number,
    batch::{Operation, Operations},
    db::Db,
    error::{Error, Result},
    ingest::naming_edit,
    key::{Kind, SeqNo, split_expiry},
    log::{Begun, Extent, LogDir, LoggedRecord, Tail, oldest_whole},
    pointer::Pointer,
    store::{OpenStore, Store},
};

/// How often a read begins anew because the log moved under it.
const BEGIN_TRIES_MAX: u32 = 10;

/// A batch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The sequence number of its first operation.
    pub first: SeqNo,
    /// That of its last one.
    pub last: SeqNo,
    /// What it does, in order; without what it does to keyspaces that are gone.
    pub operations: Vec<UpdateOperation>,
}

/// One operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateOperation {
    /// Its sequence number.
    pub seqno: SeqNo,
    /// The name of the keyspace; empty for `UpdateKind::Ingest`.
    pub keyspace: String,
    /// What it does.
    pub kind: UpdateKind,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateKind {
    /// A key got a value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// A key got a value that expires.
    PutWithExpiry {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// When.
        expiry: u64,
    },
    /// A key got a value as a stream: read it from the store, which may hold a later one by now.
    PutStream {
        /// The key.
        key: Vec<u8>,
        /// Length of the value.
        bytes: u64,
    },
    /// An operand was merged into the value of a key.
    Merge {
        /// The key.
        key: Vec<u8>,
        /// The operand.
        operand: Vec<u8>,
    },
    /// A key went.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// The keys of a range went.
    DeleteRange {
        /// The first key of the range.
        start: Vec<u8>,
        /// The key behind it.
        end: Vec<u8>,
    },
    /// A record was appended to the log only.
    Append {
        /// The record.
        record: Vec<u8>,
    },
    /// Appended records up to this number are covered.
    AppliedTo {
        /// The number.
        seqno: SeqNo,
    },
    /// A bulk ingest took this number; what it brought is in tables only.
    Ingest,
}

impl Db {
    /// The batches written after the write `since`, oldest first, from the log. The iterator ends where the
    /// store is; asked again later it goes on with what was written meanwhile. What it has answered is
    /// visible, and durable as far as `Db::durable` says. Writes to keyspaces whose log is off do not come.
    ///
    /// `Error::LogGone`, here or later, says that the log no longer has what comes next.
    pub fn updates_since(&self, since: SeqNo) -> Result<Updates> {
        let reading = self.store().read_log(since)?;
        Ok(Updates { store: Arc::clone(self.store()), reading: Some(reading) })
    }
}

/// The batches written after some write.
pub struct Updates {
    store: Arc<OpenStore>,
    /// `None` once an error was answered.
    reading: Option<Reading>,
}

impl Iterator for Updates {
    type Item = Result<Update>;

    fn next(&mut self) -> Option<Result<Update>> {
        loop {
            let update = match self.store.next_logged(self.reading.as_mut()?) {
                Ok(None) => return None,
                // Its numbers were taken by what is not logged.
                Ok(Some(record)) if record.payload.is_empty() => continue,
                Ok(Some(record)) => self.store.update_of(&record),
                Err(error) => Err(error),
            };
            if update.is_err() {
                self.reading = None;
            }
            return Some(update);
        }
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("ended", &self.reading.is_none()).finish_non_exhaustive()
    }
}

/// A place in the log that is being read.
pub(crate) struct Reading {
    tail: Box<Tail>,
    /// A record that is not visible yet.
    held_back: Option<LoggedRecord>,
}

impl Reading {
    pub(crate) fn of(tail: Box<Tail>) -> Reading {
        Reading { tail, held_back: None }
    }
}

impl Store {
    pub(crate) fn log_home(&self) -> LogDir {
        let vfs = Arc::clone(self.environment.vfs());
        LogDir { vfs, path: self.dir.clone(), store: self.id }
    }

    /// Begins to read the log behind the write `since`.
    pub(crate) fn read_log(&self, since: SeqNo) -> Result<Reading> {
        let visible = self.visible();
        if visible < since {
            let what = format!("is {since}, and the last write is {visible}");
            return Err(Error::Invalid { field: "since", what });
        }
        let mut tries = 0;
        loop {
            let (extent, mut at) = (self.handed_over()?, 0);
            tries += 1;
            match Tail::begin(self.log_home(), extent, since, &mut at) {
                Ok(Begun::Tail(tail)) => return Ok(Reading::of(tail)),
                Ok(Begun::Gone(oldest)) => return Err(Error::LogGone { oldest }),
                // The log moved on meanwhile.
                Err(error) if tries < BEGIN_TRIES_MAX && self.has_moved(at, &error)? => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next record of the log that is visible, if there is one.
    pub(crate) fn next_logged(&self, reading: &mut Reading) -> Result<Option<LoggedRecord>> {
        if reading.held_back.is_none() {
            reading.held_back = self.next_handed_over(&mut reading.tail)?;
        }
        let visible = self.visible();
        let shows =
            |record: &LoggedRecord| record.first_seq + u64::from(record.count) <= visible + 1;
        Ok(reading.held_back.take_if(|record| shows(record)))
    }

    fn next_handed_over(&self, tail: &mut Tail) -> Result<Option<LoggedRecord>> {
        loop {
            match tail.next() {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => {
                    let extent = self.handed_over()?;
                    if !extent.holds(tail.segment()) {
                        return Err(self.gone(&extent));
                    }
                    if !tail.extend(extent) {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    let moved = self.has_moved(tail.segment(), &error)?;
                    return Err(if moved { self.gone(&self.handed_over()?) } else { error });
                }
            }
        }
    }

    /// Hands the log over to the kernel, and says what there is of it.
    pub(crate) fn handed_over(&self) -> Result<Extent> {
        if self.follower.is_some() {
            return Err(Error::ReadOnly { path: self.dir.clone() });
        }
        let mut committing = self.lock_commit();
        let log = committing.log()?;
        log.hand_over().map_err(|error| self.fail(error))?;
        Ok(log.extent())
    }

    /// Whether an error comes of reading a segment that was given up meanwhile.
    fn has_moved(&self, segment: u64, error: &Error) -> Result<bool> {
        let may_come_of_it = match error {
            Error::Corrupt { .. } => true,
            Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
            _ => false,
        };
        Ok(may_come_of_it && !self.handed_over()?.holds(segment))
    }

    /// The error that names the oldest write that there is.
    fn gone(&self, extent: &Extent) -> Error {
        // It may go at this moment; the number is then one that was there.
        let oldest = oldest_whole(&self.log_home(), extent.oldest());
        oldest.map_or_else(|error| error, |oldest| Error::LogGone { oldest })
    }

    fn update_of(&self, record: &LoggedRecord) -> Result<Update> {
        let (first, last) = (record.first_seq, record.first_seq + u64::from(record.count) - 1);
        if naming_edit(&record.payload).is_some() {
            let kind = UpdateKind::Ingest;
            let operations = vec![UpdateOperation { seqno: first, keyspace: String::new(), kind }];
            return Ok(Update { first, last, operations });
        }
        let trees = self.lock_trees().clone();
        let mut operations = Vec::new();
        for (seqno, operation) in (first..).zip(Operations::new(&record.payload)) {
            let decoded =
                operation.ok().and_then(|operation| Some((operation, kind_of(&operation)?)));
            let Some((operation, kind)) = decoded else {
                let what = format!("write {seqno} of the log does not decode");
                return Err(Error::corrupt(&self.dir, 0, what));
            };
            if let Some(tree) = trees.get(&operation.keyspace) {
                operations.push(UpdateOperation { seqno, keyspace: tree.name.clone(), kind });
            }
        }
        Ok(Update { first, last, operations })
    }
}

/// What an operation of the log does; `None` when it cannot stand there.
fn kind_of(operation: &Operation<'_>) -> Option<UpdateKind> {
    let (key, value) = (operation.key.to_vec(), operation.value.to_vec());
    Some(match operation.kind {
        Kind::Put => UpdateKind::Put { key, value },
        Kind::Delete => UpdateKind::Delete { key },
        Kind::Merge => UpdateKind::Merge { key, operand: value },
        Kind::RangeDelete => UpdateKind::DeleteRange { start: key, end: value },
        Kind::PutExpiring => {
            let (expiry, value) = split_expiry(operation.value)?;
            UpdateKind::PutWithExpiry { key, value: value.to_vec(), expiry }
        }
        Kind::Pointer => UpdateKind::PutStream { key, bytes: Pointer::decode(&value)?.value_bytes },
        Kind::Append => UpdateKind::Append { record: value },
        Kind::Applied => UpdateKind::AppliedTo { seqno: applied_number(&value) },
        Kind::Position => return None,
    })
}
