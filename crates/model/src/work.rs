//! Carries out one command after the other, gathering what they write.
//!
//! 1. A command sees what those before it wrote, though the engine does not have it yet.
//! 2. A command that is refused has added nothing; where it had begun to, nothing of the stretch is
//!    written.

use std::{collections::BTreeMap, ops::Bound as Range};

use olivine_command::{
    Bound, Code, Command, Condition, Entry, Expiry, Found, Look, Refusal, Reply,
};
use olivine_engine::{BATCH_BYTES_MAX, Batch, Error, Keyspace, VALUE_BYTES_MAX};

use crate::{
    layout::{DATABASE, KEY_BYTES_MAX, ROWS_END, count_key, deadline_key, row_key, user_key},
    model::Model,
    refused::refused,
    row::{Row, revision},
};

/// The longest value of a row: what the engine takes, less what stands before it.
const ROW_VALUE_BYTES_MAX: usize = VALUE_BYTES_MAX - 32;
/// What an entry of a batch may take beside its key and value, its deadline included but for the key.
const ENTRY_BYTES: usize = 64;
/// A page holds about so many bytes at most; who asked for more entries is told that there are more.
const PAGE_BYTES_MAX: usize = 32 << 20;

type Outcome<T = Reply> = Result<T, Refusal>;

/// What a stretch of commands has come to.
pub(crate) struct Work<'a> {
    model: &'a Model,
    now: u64,
    /// Rows as they are now.
    live: Keyspace,
    batch: Batch,
    /// Whether a command may follow that must see what was written.
    tracks: bool,
    /// Rows that were written by this stretch; nothing for those it took away.
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// By how much the number of rows changes.
    counted: i64,
    /// Why nothing can be written: a command was refused that had added a part of what it should.
    broken: Option<Refusal>,
}

/// A row that was read.
enum Held<'a> {
    Pending(&'a [u8]),
    Stored(olivine_engine::Value),
}

impl Held<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Held::Pending(bytes) => bytes,
            Held::Stored(value) => value,
        }
    }
}

impl<'a> Work<'a> {
    pub(crate) fn new(model: &'a Model, now: u64, tracks: bool) -> Work<'a> {
        let live = model.rows.at(now);
        let pending = BTreeMap::new();
        Work { model, now, live, batch: Batch::new(), tracks, pending, counted: 0, broken: None }
    }

    /// What is to be written.
    pub(crate) fn finish(mut self) -> Outcome<Batch> {
        if let Some(refusal) = self.broken {
            return Err(refusal);
        }
        if self.counted != 0 {
            let counted = self.counted.to_le_bytes();
            let merged = self.batch.merge(&self.model.numbers, &count_key(), &counted);
            merged.map_err(|error| refused(&error))?;
        }
        Ok(self.batch)
    }

    /// Carries out one command.
    pub(crate) fn run(&mut self, command: &Command<'_>) -> Reply {
        let before = self.batch.len();
        self.outcome(command).unwrap_or_else(|refusal| {
            if self.batch.len() != before {
                self.broken = Some(refusal.clone());
            }
            Reply::Refused(refusal)
        })
    }

    fn outcome(&mut self, command: &Command<'_>) -> Outcome {
        match command {
            Command::Get { key } => Ok(Reply::Value(self.found(key)?)),
            Command::GetMany { keys } => {
                let found: Outcome<Vec<_>> = keys.iter().map(|key| self.found(key)).collect();
                found.map(Reply::Values)
            }
            Command::Look { key } => Ok(Reply::Look(self.look(key)?)),
            Command::Put { entry, condition, expiry } => self.put_if(entry, *condition, *expiry),
            Command::PutMany { entries, expiry } => self.put_many(entries, *expiry),
            Command::Delete { key, condition } => {
                let row_key = checked(key)?;
                let done = self.holds(&row_key, *condition)? && self.delete(&row_key)?;
                Ok(Reply::Done(done))
            }
            Command::DeleteMany { keys } => self.delete_many(keys),
            Command::Expire { key, expiry } => self.expire(key, *expiry),
            Command::Scan { start, end, limit, backward } => {
                self.scan(start, end, *limit, *backward)
            }
            Command::Count => self.model.count().map(Reply::Count).map_err(|e| refused(&e)),
            Command::Numbers => {
                let numbers = self.model.numbers_of_store();
                numbers.map(Reply::Numbers).map_err(|e| refused(&e))
            }
            Command::Copy(_) => {
                let text = "copies are made by who has the files, and not among other commands";
                Err(Refusal::new(Code::Invalid, text))
            }
            command => unreachable!("{command:?} is carried out alone"),
        }
    }

    /// The row under a key, if it is there now.
    fn row(&self, row_key: &[u8]) -> Outcome<Option<Held<'_>>> {
        let held = match self.pending.get(row_key) {
            Some(pending) => pending.as_deref().map(Held::Pending),
            None => self.live.get(row_key).map_err(|e| refused(&e))?.map(Held::Stored),
        };
        match held {
            Some(held) if Row::decode(held.bytes())?.has_expired(self.now) => Ok(None),
            held => Ok(held),
        }
    }

    /// Whether there is a row under a key, expired or not.
    fn is_stored(&self, row_key: &[u8]) -> Outcome<bool> {
        match self.pending.get(row_key) {
            Some(pending) => Ok(pending.is_some()),
            None => self.model.rows.contains(row_key).map_err(|e| refused(&e)),
        }
    }

    fn found(&self, key: &[u8]) -> Outcome<Option<Found>> {
        match self.row(&checked(key)?)? {
            Some(held) => Ok(Some(found(held.bytes())?)),
            None => Ok(None),
        }
    }

    fn look(&self, key: &[u8]) -> Outcome<Option<Look>> {
        let Some(held) = self.row(&checked(key)?)? else {
            return Ok(None);
        };
        let Row { form, expiry, value } = Row::decode(held.bytes())?;
        let (bytes, revision) = (value.len() as u64, revision(held.bytes()));
        Ok(Some(Look { form, bytes, expiry, revision }))
    }

    /// Whether what is under a key is as it must be.
    fn holds(&self, row_key: &[u8], condition: Condition) -> Outcome<bool> {
        Ok(match condition {
            Condition::Always => true,
            Condition::Absent => self.row(row_key)?.is_none(),
            Condition::Present => self.row(row_key)?.is_some(),
            Condition::Revision(wanted) => {
                self.row(row_key)?.is_some_and(|held| revision(held.bytes()) == wanted)
            }
        })
    }

    fn put_if(&mut self, entry: &Entry<'_>, condition: Condition, expiry: Expiry) -> Outcome {
        let row_key = checked_entry(entry)?;
        let done = self.holds(&row_key, condition)?;
        if done {
            self.put(row_key, entry, expiry)?;
        }
        Ok(Reply::Done(done))
    }

    fn put_many(&mut self, entries: &[Entry<'_>], expiry: Expiry) -> Outcome {
        let mut bytes = 0;
        for entry in entries {
            checked_entry(entry)?;
            bytes += 2 * entry.key.len() + entry.value.bytes.len() + ENTRY_BYTES;
        }
        // What came before in the stretch is no more than its bound.
        if BATCH_BYTES_MAX - (8 << 20) < bytes {
            let text = format!("the batch comes to {bytes} bytes; split it");
            return Err(Refusal::new(Code::TooLarge, text));
        }
        self.tracks = true;
        for entry in entries {
            self.put(row_key(&entry.key), entry, expiry)?;
        }
        Ok(Reply::Count(entries.len() as u64))
    }

    /// Adds: the row under a key.
    fn put(&mut self, row_key: Vec<u8>, entry: &Entry<'_>, expiry: Expiry) -> Outcome<()> {
        let expiry = match expiry {
            Expiry::Never => None,
            Expiry::At(time) => Some(time),
            Expiry::Kept => match self.row(&row_key)? {
                Some(held) => Row::decode(held.bytes())?.expiry,
                None => None,
            },
        };
        let row = Row { form: entry.value.form, expiry, value: &entry.value.bytes };
        self.put_row(row_key, row)
    }

    fn put_row(&mut self, row_key: Vec<u8>, row: Row<'_>) -> Outcome<()> {
        if row.has_expired(self.now) {
            self.delete(&row_key)?;
            return Ok(());
        }
        let is_new = !self.is_stored(&row_key)?;
        let bytes = row.encode();
        let Model { rows, deadlines, .. } = self.model;
        match row.expiry {
            None => self.batch.put(rows, &row_key, &bytes),
            Some(expiry) => self
                .batch
                .put_with_expiry(rows, &row_key, &bytes, expiry)
                .and_then(|()| self.batch.put(deadlines, &deadline_key(expiry, &row_key), b"")),
        }
        .map_err(|error| refused(&error))?;
        self.counted += i64::from(is_new);
        if self.tracks {
            self.pending.insert(row_key, Some(bytes));
        }
        Ok(())
    }

    /// Adds: there is no row under a key. Returns whether there was one that had not expired.
    fn delete(&mut self, row_key: &[u8]) -> Outcome<bool> {
        if !self.is_stored(row_key)? {
            return Ok(false);
        }
        let was_live = self.is_live(row_key)?;
        self.batch.delete(&self.model.rows, row_key).map_err(|error| refused(&error))?;
        self.counted -= 1;
        if self.tracks {
            self.pending.insert(row_key.to_vec(), None);
        }
        Ok(was_live)
    }

    /// Whether there is a row under a key now; its value is not read for that.
    fn is_live(&self, row_key: &[u8]) -> Outcome<bool> {
        match self.pending.get(row_key) {
            Some(_) => Ok(self.row(row_key)?.is_some()),
            None => self.live.contains(row_key).map_err(|error| refused(&error)),
        }
    }

    fn delete_many(&mut self, keys: &[olivine_command::Bytes<'_>]) -> Outcome {
        let row_keys: Vec<Vec<u8>> = keys.iter().map(|key| checked(key)).collect::<Outcome<_>>()?;
        self.tracks = true;
        let mut count = 0;
        for row_key in &row_keys {
            count += u64::from(self.delete(row_key)?);
        }
        Ok(Reply::Count(count))
    }

    fn expire(&mut self, key: &[u8], expiry: Expiry) -> Outcome {
        let row_key = checked(key)?;
        let Some(held) = self.row(&row_key)? else {
            return Ok(Reply::Done(false));
        };
        let row = Row::decode(held.bytes())?;
        let (form, value, before) = (row.form, row.value.to_vec(), row.expiry);
        let expiry = match expiry {
            Expiry::Never => None,
            Expiry::At(time) => Some(time),
            Expiry::Kept => before,
        };
        if expiry != before {
            self.put_row(row_key, Row { form, expiry, value: &value })?;
        }
        Ok(Reply::Done(true))
    }

    fn scan(&self, start: &Bound<'_>, end: &Bound<'_>, limit: u64, backward: bool) -> Outcome {
        let first = match start {
            Bound::Included(key) => Range::Included(row_key(key)),
            Bound::Excluded(key) => Range::Excluded(row_key(key)),
            Bound::Open => Range::Included(vec![DATABASE]),
        };
        let last = match end {
            Bound::Included(key) => Range::Included(row_key(key)),
            Bound::Excluded(key) => Range::Excluded(row_key(key)),
            Bound::Open => Range::Excluded(ROWS_END.to_vec()),
        };
        let page = |error: Error| refused(&error);
        let mut cursor = self.live.cursor_within::<Vec<u8>>((first, last)).map_err(page)?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        if backward {
            cursor.seek_last().map_err(page)?;
        } else {
            cursor.seek_first().map_err(page)?;
        }
        while cursor.valid() {
            if limit <= entries.len() as u64 || PAGE_BYTES_MAX <= bytes {
                return Ok(Reply::Page { entries, more: true });
            }
            let key = user_key(cursor.key()).to_vec();
            let found = found(cursor.value().map_err(page)?)?;
            bytes += key.len() + found.bytes.len() + ENTRY_BYTES;
            entries.push((key, found));
            if backward { cursor.prev().map_err(page)? } else { cursor.next().map_err(page)? }
        }
        Ok(Reply::Page { entries, more: false })
    }
}

fn found(bytes: &[u8]) -> Outcome<Found> {
    let Row { form, value, .. } = Row::decode(bytes)?;
    Ok(Found { form, bytes: value.to_vec(), revision: revision(bytes) })
}

/// The key of the row under `key`, if it is none that is too long.
fn checked(key: &[u8]) -> Outcome<Vec<u8>> {
    if KEY_BYTES_MAX < key.len() {
        let text = format!("the key has {} bytes, and may have {KEY_BYTES_MAX}", key.len());
        return Err(Refusal::new(Code::TooLarge, text));
    }
    Ok(row_key(key))
}

fn checked_entry(entry: &Entry<'_>) -> Outcome<Vec<u8>> {
    let bytes = entry.value.bytes.len();
    if ROW_VALUE_BYTES_MAX < bytes {
        let text = format!("the value has {bytes} bytes, and may have {ROW_VALUE_BYTES_MAX}");
        return Err(Refusal::new(Code::TooLarge, text));
    }
    checked(&entry.key)
}
