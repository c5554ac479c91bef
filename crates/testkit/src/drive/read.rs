//! The reading half of the driver: gets, scans and cursors, compared with the log of commits.
//!
//! 1. A view (now, a snapshot, a cursor) reads the state of the moment it was taken, whatever was
//!    written, flushed or compacted since.
//! 2. Forward and backward, one by one and together, the same entries are read.

use super::{Driver, Stop, UNLOGGED, is_record};
use crate::{
    history::{Move, Range},
    oracle::{Bytes, Contents, described},
};
use olivine_engine::{Cursor, Db, Error, Keyspace};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

/// Everything in the store, by one scan of each keyspace but the one without a log.
pub fn read_all(db: &Db) -> Result<Contents, Error> {
    let mut contents = Contents::new();
    for name in db.keyspaces().into_iter().filter(|name| name != UNLOGGED) {
        let mut keys = BTreeMap::new();
        let mut cursor = db.keyspace(&name)?.cursor()?;
        cursor.seek_first()?;
        while cursor.valid() {
            keys.insert(cursor.key().to_vec(), cursor.value()?.into());
            cursor.next()?;
        }
        contents.insert(name, keys);
    }
    Ok(contents)
}

/// A cursor held open, and what it must find.
pub(super) struct OpenCursor {
    cursor: Cursor,
    entries: Vec<(Vec<u8>, Bytes)>,
    /// Where it stands among the entries; `None` beside them all.
    place: Option<usize>,
}

impl OpenCursor {
    /// Moves the cursor, comparing after every step. One on a keyspace dropped meanwhile may say so.
    pub(super) fn go(&mut self, moves: &[Move]) -> Result<(), Stop> {
        for step in moves {
            match self.step(step) {
                Ok(()) => {}
                Err(Error::Dropped { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            self.compare(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Move) -> Result<(), Error> {
        let entries = &self.entries;
        match step {
            Move::First => {
                self.place = (!entries.is_empty()).then_some(0);
                self.cursor.seek_first()?;
            }
            Move::Last => {
                self.place = entries.len().checked_sub(1);
                self.cursor.seek_last()?;
            }
            Move::Seek(target) => {
                let place = entries.partition_point(|(key, _)| key < target);
                self.place = (place < entries.len()).then_some(place);
                self.cursor.seek(target)?;
            }
            Move::SeekBack(target) => {
                self.place = entries.partition_point(|(key, _)| key <= target).checked_sub(1);
                self.cursor.seek_back(target)?;
            }
            Move::Next | Move::Prev if self.place.is_none() => {}
            Move::Next => {
                self.place = self.place.map(|place| place + 1).filter(|p| *p < entries.len());
                self.cursor.next()?;
            }
            Move::Prev => {
                self.place = self.place.and_then(|place| place.checked_sub(1));
                self.cursor.prev()?;
            }
        }
        Ok(())
    }

    fn compare(&self, step: &Move) -> Result<(), Stop> {
        let expected = self.place.map(|place| &self.entries[place]);
        let found = if self.cursor.valid() {
            Some((self.cursor.key(), self.cursor.value()?))
        } else {
            None
        };
        same_entry(expected, found)
            .map_err(|what| Stop::Differs(format!("cursor {step:?}: {what}")))
    }
}

/// Compares an entry with the expected one.
fn same_entry(
    expected: Option<&(Vec<u8>, Bytes)>,
    found: Option<(&[u8], &[u8])>,
) -> Result<(), String> {
    match (expected, found) {
        (None, None) => Ok(()),
        (Some((key, value)), Some((found_key, found_value))) if key[..] == *found_key => {
            if value[..] == *found_value {
                return Ok(());
            }
            let what = described(Some(value), Some(found_value));
            Err(format!("key {}: {what}", key.escape_ascii()))
        }
        (expected, found) => {
            let told = |key: Option<&[u8]>| {
                key.map_or("the end".to_owned(), |key| format!("key {}", key.escape_ascii()))
            };
            let expected = told(expected.map(|(key, _)| &key[..]));
            Err(format!("expected {expected}, found {}", told(found.map(|(key, _)| key))))
        }
    }
}

impl Driver {
    /// The handle of a keyspace, and what a view of it must find; nothing when there is no such
    /// keyspace or snapshot.
    fn view(&self, at: Option<usize>, name: &str) -> Option<(&Keyspace, usize, bool)> {
        let (keyspace, born) = self.handles.get(name)?;
        match at {
            None => Some((keyspace, self.position(), true)),
            Some(slot) => {
                let (_, position) = self.snapshots[slot].as_ref()?;
                // A keyspace younger than the snapshot had nothing then, whatever an older one of the
                // same name had.
                Some((keyspace, *position, born <= position))
            }
        }
    }

    pub(super) fn get(&self, at: Option<usize>, name: &str, keys: &[Vec<u8>]) -> Result<(), Stop> {
        let Some((keyspace, position, born)) = self.view(at, name) else { return Ok(()) };
        let mut all = Vec::new();
        for key in keys {
            let found = match at.and_then(|slot| self.snapshots[slot].as_ref()) {
                None => keyspace.get(key)?,
                Some((snapshot, _)) => snapshot.get(keyspace, key)?,
            };
            let expected = self.with_log(|log| log.get(position, name, key).cloned());
            let expected = expected.filter(|_| born);
            if expected.as_deref() != found.as_deref() {
                let what = described(expected.as_deref(), found.as_deref());
                return Err(Stop::Differs(format!("get {name}[{}]: {what}", key.escape_ascii())));
            }
            all.push(found);
        }
        if at.is_none() {
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let together = keyspace.multi_get(&keys)?;
            let contains = keyspace.contains(keys.first().copied().unwrap_or_default())?;
            if together != all || all.first().is_some_and(|first| first.is_some() != contains) {
                let what = format!("{name}: multi_get of {} keys, or contains", keys.len());
                return Err(Stop::Differs(what));
            }
        }
        Ok(())
    }

    /// What a view of `range` must find.
    fn entries(&self, name: &str, position: usize, range: &Range) -> Vec<(Vec<u8>, Bytes)> {
        self.with_log(|log| {
            let within =
                log.range(position, name).filter(|(key, _)| range.holds(key) && !is_record(key));
            within.map(|(key, value)| (key.to_vec(), value.clone())).collect()
        })
    }

    pub(super) fn cursor(
        &self,
        at: Option<usize>,
        name: &str,
        range: &Range,
    ) -> Result<Option<OpenCursor>, Stop> {
        let Some((keyspace, position, born)) = self.view(at, name) else { return Ok(None) };
        let snapshot = at.and_then(|slot| self.snapshots[slot].as_ref());
        // A snapshot's cursor has no bounds.
        let range = if snapshot.is_some() { &Range::All } else { range };
        let entries = if born { self.entries(name, position, range) } else { Vec::new() };
        let cursor = match (snapshot, range) {
            (Some((snapshot, _)), _) => snapshot.cursor(keyspace)?,
            (None, Range::All) => keyspace.cursor()?,
            (None, range) => keyspace.cursor_within(bounds(range))?,
        };
        Ok(Some(OpenCursor { cursor, entries, place: None }))
    }

    pub(super) fn scan(
        &self,
        at: Option<usize>,
        name: &str,
        range: &Range,
        backward: bool,
    ) -> Result<(), Stop> {
        let Some((keyspace, position, born)) = self.view(at, name) else { return Ok(()) };
        let entries = if born { self.entries(name, position, range) } else { Vec::new() };
        let snapshot = at.and_then(|slot| self.snapshots[slot].as_ref());
        let mut iter = match (snapshot, range) {
            (None, Range::All) => keyspace.iter()?,
            (None, Range::Prefix(prefix)) => keyspace.prefix(prefix)?,
            (None, range) => keyspace.range(bounds(range))?,
            (Some((snapshot, _)), Range::All) => snapshot.iter(keyspace)?,
            (Some((snapshot, _)), Range::Prefix(prefix)) => snapshot.prefix(keyspace, prefix)?,
            (Some((snapshot, _)), range) => snapshot.range(keyspace, bounds(range))?,
        };
        // From one end, or by turns from both until they meet.
        let mut found = VecDeque::new();
        let mut turns = 0..;
        let mut ends = Vec::new();
        loop {
            let front =
                if backward { turns.next().is_some_and(|turn| turn % 3 == 2) } else { true };
            match if front { iter.next() } else { iter.next_back() } {
                None => break,
                Some(entry) if front => found.push_back(entry?),
                Some(entry) => ends.push(entry?),
            }
        }
        found.extend(ends.into_iter().rev());
        for place in 0..entries.len().max(found.len()) {
            let found = found.get(place).map(|(key, value)| (&key[..], &value[..]));
            same_entry(entries.get(place), found)
                .map_err(|what| Stop::Differs(format!("scan of {name}, entry {place}: {what}")))?;
        }
        Ok(())
    }
}

/// The ends of a range.
fn bounds(range: &Range) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    match range.clone() {
        Range::All => (Bound::Unbounded, Bound::Unbounded),
        Range::Between(low, high) => (Bound::Included(low), Bound::Excluded(high)),
        Range::After(low) => (Bound::Excluded(low), Bound::Unbounded),
        Range::To(high) => (Bound::Unbounded, Bound::Included(high)),
        Range::Prefix(prefix) => {
            let behind = (0..prefix.len()).rev().find(|place| prefix[*place] != 0xff);
            let behind = behind.map(|place| {
                let mut behind = prefix[..=place].to_vec();
                behind[place] += 1;
                behind
            });
            (Bound::Included(prefix), behind.map_or(Bound::Unbounded, Bound::Excluded))
        }
    }
}
