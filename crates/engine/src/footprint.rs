//! What a transaction read, and whether somebody has written there since.
//!
//! Most of the looking happens without a lock, in a state that writers go on changing. Whatever they
//! write meanwhile is kept aside for those who look ([`Watch`]) and compared under the commit lock,
//! so that nobody writes between the last look and the commit.
//!
//! 1. A write newer than the snapshot that touches what was read is always found.
//! 2. Under the commit lock only what was written during the look is compared, never a table read.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use crate::{
    batch::{Operation, Operations},
    error::{Error, Result},
    iter::Bounds,
    key::{Kind, SEQNO_MAX, SeqNo, Stamp},
    keyspace::{LoggedMemtable, State, Tree},
    ranges::RangeDeletes,
    table::{ReadHow, TableCursor, key_hash},
    version::LiveTable,
};

/// What a transaction read of one keyspace.
#[derive(Debug)]
pub(crate) struct Footprint {
    pub(crate) tree: Arc<Tree>,
    keys: BTreeSet<Vec<u8>>,
    ranges: Vec<Bounds>,
}

impl Footprint {
    pub(crate) fn new(tree: Arc<Tree>) -> Footprint {
        Footprint { tree, keys: BTreeSet::new(), ranges: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    pub(crate) fn add_key(&mut self, key: &[u8]) {
        self.keys.insert(key.to_vec());
    }

    pub(crate) fn has_key(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub(crate) fn add_range(&mut self, bounds: Bounds) {
        self.ranges.push(bounds);
    }

    /// The error of a transaction that read what somebody has written since.
    fn conflict(&self, key: &[u8]) -> Error {
        Error::Conflict { keyspace: self.tree.name.clone(), key: key.escape_ascii().to_string() }
    }

    /// Refuses when something that was read has a version newer than `since`.
    pub(crate) fn check(&self, since: SeqNo) -> Result<()> {
        self.tree.check_there()?;
        let state = Arc::clone(&self.tree.state());
        for key in &self.keys {
            if key_changed(&state, key, since)? {
                return Err(self.conflict(key));
            }
        }
        for range in &self.ranges {
            if let Some(key) = range_changed(&state, range, since)? {
                return Err(self.conflict(&key));
            }
        }
        Ok(())
    }

    /// Refuses when the operation, of a newer write, touches what was read.
    fn check_operation(&self, operation: &Operation<'_>) -> Result<()> {
        if !operation.kind.changes_keys() {
            return Ok(());
        }
        let key = operation.key;
        let touched = if operation.kind == Kind::RangeDelete {
            let span = (Bound::Included(key), Bound::Excluded(operation.value));
            self.keys.range::<[u8], _>(span).next().is_some()
                || self.ranges.iter().any(|range| range.meets(key, operation.value))
        } else {
            self.keys.contains(key) || self.ranges.iter().any(|range| range.contains(key))
        };
        if touched { Err(self.conflict(key)) } else { Ok(()) }
    }
}

/// Whether `key` has a version newer than `since`.
fn key_changed(state: &State, key: &[u8], since: SeqNo) -> Result<bool> {
    let newest = Stamp::upper_bound(SEQNO_MAX);
    for memtable in state.memtables().filter(|memtable| since < memtable.newest_seqno()) {
        let written = memtable.table.get(key, newest).map_or(0, |(stamp, _)| stamp.seqno());
        if since < written.max(memtable.covering(key, SEQNO_MAX)) {
            return Ok(true);
        }
    }
    let hash = key_hash(key);
    for file in newer_tables(state, since).filter(|file| file.holds(key)) {
        let found = file.table.get(key, hash, newest, ReadHow::DISK)?;
        let written = found.map_or(0, |(stamp, _)| stamp.seqno());
        if since < written.max(deletes_of(file)?.covering(key, SEQNO_MAX)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A key within `range` that has a version newer than `since`, if one has.
fn range_changed(state: &State, range: &Bounds, since: SeqNo) -> Result<Option<Vec<u8>>> {
    for memtable in state.memtables().filter(|memtable| since < memtable.newest_seqno()) {
        let deletes = memtable.range_deletes().unwrap_or_default();
        if let Some(key) = deleted_within(&deletes, range, since)
            .or_else(|| written_within(memtable, range, since))
        {
            return Ok(Some(key));
        }
    }
    for file in newer_tables(state, since) {
        let deletes = deletes_of(file)?;
        if let Some(key) = deleted_within(&deletes, range, since) {
            return Ok(Some(key));
        }
        if let Some(key) = stored_within(file, range, since)? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn newer_tables(state: &State, since: SeqNo) -> impl Iterator<Item = &Arc<LiveTable>> {
    state.version.tables().filter(move |file| since < file.info.seqno_max)
}

fn deletes_of(file: &LiveTable) -> Result<Arc<RangeDeletes>> {
    if file.info.range_deletes == 0 {
        return Ok(Arc::default());
    }
    file.table.range_deletes(ReadHow::DISK)
}

fn deleted_within(deletes: &RangeDeletes, range: &Bounds, since: SeqNo) -> Option<Vec<u8>> {
    let newer = deletes.pieces().iter().filter(|piece| since < piece.seqnos[0]);
    let mut meeting = newer.filter(|piece| range.meets(&piece.start, &piece.end));
    meeting.next().map(|piece| piece.start.clone())
}

fn written_within(memtable: &LoggedMemtable, range: &Bounds, since: SeqNo) -> Option<Vec<u8>> {
    let mut cursor = memtable.table.cursor();
    match range.lower() {
        Some(lower) => cursor.seek(lower),
        None => cursor.seek_first(),
    }
    while cursor.valid() && !range.is_above(cursor.key()) {
        if since < cursor.stamp().seqno() && range.contains(cursor.key()) {
            return Some(cursor.key().to_vec());
        }
        cursor.next_key();
    }
    None
}

fn stored_within(file: &LiveTable, range: &Bounds, since: SeqNo) -> Result<Option<Vec<u8>>> {
    let mut cursor = TableCursor::new(Arc::clone(&file.table), ReadHow::DISK);
    match range.lower() {
        Some(lower) => cursor.seek(lower)?,
        None => cursor.seek_first()?,
    }
    while cursor.valid() && !range.is_above(cursor.key()) {
        if since < cursor.stamp().seqno() && range.contains(cursor.key()) {
            return Ok(Some(cursor.key().to_vec()));
        }
        cursor.next()?;
    }
    Ok(None)
}

/// What was written while somebody looked whether what they had read still holds.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    watchers: usize,
    written: Vec<(SeqNo, Box<[u8]>)>,
}

impl Watch {
    pub(crate) fn begin(&mut self) {
        self.watchers += 1;
    }

    pub(crate) fn end(&mut self) {
        self.watchers -= 1;
        if self.watchers == 0 {
            self.written = Vec::new();
        }
    }

    /// Keeps a write whose first number is `first`, if somebody looks.
    pub(crate) fn note(&mut self, first: SeqNo, payload: &[u8]) {
        if self.watchers != 0 {
            self.written.push((first, payload.into()));
        }
    }

    /// Refuses when a write kept here, newer than `since`, touches what was read.
    pub(crate) fn check(&self, footprints: &[Footprint], since: SeqNo) -> Result<()> {
        for (_, payload) in self.written.iter().filter(|(first, _)| since < *first) {
            for operation in Operations::new(payload) {
                let operation = operation.expect("a payload is what `encode_operation` made");
                let read = footprints.iter().filter(|read| read.tree.id == operation.keyspace);
                for footprint in read {
                    footprint.check_operation(&operation)?;
                }
            }
        }
        Ok(())
    }
}
