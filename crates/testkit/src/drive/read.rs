//! The reading half of the driver: gets, scans and cursors, compared with the log of commits.
//!
//! 1. A view (now, a snapshot, a cursor) reads the state of the moment it was taken, whatever was
//!    written, flushed or compacted since.
//! 2. Forward and backward, one by one and together, the same entries are read.

use super::{Driver, Stop};
use crate::{
    history::{Move, Range},
    oracle::{Bytes, Contents, described},
};
use olivine_engine::{Db, Error, Iter, Keyspace};
use std::{collections::BTreeMap, ops::Bound};

/// Everything in the store, by one scan of each keyspace.
pub fn read_all(db: &Db) -> Result<Contents, Error> {
    let mut contents = Contents::new();
    for name in db.keyspaces() {
        let mut keys = BTreeMap::new();
        let mut iter = db.keyspace(&name)?.iter::<&[u8]>(..)?;
        iter.seek_first()?;
        while iter.valid() {
            keys.insert(iter.key().to_vec(), iter.value().into());
            iter.next()?;
        }
        contents.insert(name, keys);
    }
    Ok(contents)
}

/// A cursor held open, and what it must find.
pub(super) struct OpenCursor {
    iter: Iter,
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
                self.iter.seek_first()?;
            }
            Move::Last => {
                self.place = entries.len().checked_sub(1);
                self.iter.seek_last()?;
            }
            Move::Seek(target) => {
                let place = entries.partition_point(|(key, _)| key < target);
                self.place = (place < entries.len()).then_some(place);
                self.iter.seek(target)?;
            }
            Move::SeekBack(target) => {
                self.place = entries.partition_point(|(key, _)| key <= target).checked_sub(1);
                self.iter.seek_back(target)?;
            }
            Move::Next | Move::Prev if self.place.is_none() => {}
            Move::Next => {
                self.place = self.place.map(|place| place + 1).filter(|p| *p < entries.len());
                self.iter.next()?;
            }
            Move::Prev => {
                self.place = self.place.and_then(|place| place.checked_sub(1));
                self.iter.prev()?;
            }
        }
        Ok(())
    }

    fn compare(&self, step: &Move) -> Result<(), Stop> {
        let expected = self.place.map(|place| &self.entries[place]);
        let found = self.iter.valid().then(|| (self.iter.key(), self.iter.value()));
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
            let within = log.range(position, name).filter(|(key, _)| range.holds(key));
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
        let entries = if born { self.entries(name, position, range) } else { Vec::new() };
        let snapshot = at.and_then(|slot| self.snapshots[slot].as_ref());
        let iter = match (snapshot, bounds(range)) {
            (None, None) => keyspace.prefix(prefix(range))?,
            (None, Some(bounds)) => keyspace.iter::<&[u8]>(bounds)?,
            (Some((snapshot, _)), None) => snapshot.prefix(keyspace, prefix(range))?,
            (Some((snapshot, _)), Some(bounds)) => snapshot.iter::<&[u8]>(keyspace, bounds)?,
        };
        Ok(Some(OpenCursor { iter, entries, place: None }))
    }

    pub(super) fn scan(
        &self,
        at: Option<usize>,
        name: &str,
        range: &Range,
        backward: bool,
    ) -> Result<(), Stop> {
        let Some(mut cursor) = self.cursor(at, name, range)? else { return Ok(()) };
        let (start, step) =
            if backward { (Move::Last, Move::Prev) } else { (Move::First, Move::Next) };
        cursor.step(&start)?;
        cursor.compare(&start)?;
        while cursor.place.is_some() {
            cursor.step(&step)?;
            cursor.compare(&step)?;
        }
        Ok(())
    }
}

/// The ends of a range; `None` for one told by its prefix.
fn bounds(range: &Range) -> Option<(Bound<&[u8]>, Bound<&[u8]>)> {
    match range {
        Range::All => Some((Bound::Unbounded, Bound::Unbounded)),
        Range::Between(low, high) => Some((Bound::Included(low), Bound::Excluded(high))),
        Range::After(low) => Some((Bound::Excluded(low), Bound::Unbounded)),
        Range::To(high) => Some((Bound::Unbounded, Bound::Included(high))),
        Range::Prefix(_) => None,
    }
}

fn prefix(range: &Range) -> &[u8] {
    match range {
        Range::Prefix(prefix) => prefix,
        _ => &[],
    }
}
