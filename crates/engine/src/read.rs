//! Point reads.
//!
//! 1. The state is taken before the watermark, so that whatever a compaction dropped from that state
//!    was hidden by something the read sees.
//! 2. Memtables newest first, then level 0 newest first, then the levels: the first version found at
//!    or below the watermark is the newest one.
//! 3. No lock is taken that a writer, a flush or a compaction holds while it works.

use crate::{
    error::{Error, Result},
    key::{Kind, SeqNo, Stamp},
    keyspace::{State, Tree},
    pointer::Pointer,
    store::Store,
    table::{ReadHow, key_hash},
    value::Value,
    values::ValueReader,
    version::LiveTable,
};

/// Where a read may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    /// In memory, and on disk where that is not enough.
    Disk,
    /// In memory only.
    Memory,
}

impl ReadFrom {
    fn how(self) -> ReadHow {
        match self {
            ReadFrom::Disk => ReadHow::DISK,
            ReadFrom::Memory => ReadHow::MEMORY,
        }
    }
}

impl Store {
    /// The newest value of `key`, and a watermark that covers what was seen.
    pub(crate) fn get_latest(
        &self,
        tree: &Tree,
        key: &[u8],
        from: ReadFrom,
    ) -> Result<(Option<Value>, SeqNo)> {
        tree.check_there()?;
        let state = tree.state();
        let seqno = self.visible();
        let found = get_in(&state, key, seqno, from)?;
        Ok((self.resolve(&state, found, from)?, seqno))
    }

    /// Whether `key` has a value; one that stands apart is not looked at.
    pub(crate) fn contains(&self, tree: &Tree, key: &[u8]) -> Result<bool> {
        tree.check_there()?;
        let state = tree.state();
        let found = get_in(&state, key, self.visible(), ReadFrom::Disk)?;
        Ok(found.is_some())
    }

    /// A reader of the value of `key`, now or at a snapshot that the caller holds.
    pub(crate) fn get_stream(
        &self,
        tree: &Tree,
        key: &[u8],
        seqno: Option<SeqNo>,
    ) -> Result<Option<ValueReader>> {
        tree.check_there()?;
        let state = tree.state();
        let seqno = seqno.unwrap_or_else(|| self.visible());
        let found = get_in(&state, key, seqno, ReadFrom::Disk)?;
        self.resolve_stream(&state, found)
    }

    /// The newest values of `keys`, all at one watermark.
    pub(crate) fn multi_get(&self, tree: &Tree, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        tree.check_there()?;
        let state = tree.state();
        let seqno = self.visible();
        let value = |key: &&[u8]| {
            let found = get_in(&state, key, seqno, ReadFrom::Disk)?;
            self.resolve(&state, found, ReadFrom::Disk)
        };
        keys.iter().map(value).collect()
    }

    /// The value of `key` at a snapshot that the caller holds.
    pub(crate) fn get_at(
        &self,
        tree: &Tree,
        key: &[u8],
        seqno: SeqNo,
        from: ReadFrom,
    ) -> Result<Option<Value>> {
        tree.check_there()?;
        let state = tree.state();
        let found = get_in(&state, key, seqno, from)?;
        self.resolve(&state, found, from)
    }
}

/// The newest version of `key` in `state` that `seqno` may see.
fn get_in(state: &State, key: &[u8], seqno: SeqNo, from: ReadFrom) -> Result<Option<Found>> {
    let bound = Stamp::upper_bound(seqno);
    for memtable in state.memtables() {
        if let Some((stamp, value)) = memtable.table.get(key, bound) {
            return Ok(match memtable_kind(stamp) {
                Kind::Put => Some(Found::Value(Value::copied(value))),
                Kind::Delete => None,
                Kind::Pointer => Some(Found::Apart(own_pointer(value))),
            });
        }
    }
    let hash = key_hash(key);
    let how = from.how();
    let levels = &state.version.levels;
    for table in levels[0].tables().iter().filter(|table| table.holds(key)) {
        if let Some(found) = look(table, key, hash, bound, how)? {
            return Ok(found.shown());
        }
    }
    for level in &levels[1..] {
        let Some(table) = level.find(key) else { continue };
        if let Some(found) = look(table, key, hash, bound, how)? {
            return Ok(found.shown());
        }
    }
    Ok(None)
}

/// What a read found: a value, or where it lies.
#[derive(Debug)]
pub(crate) enum Found {
    Value(Value),
    Apart(Pointer),
}

/// What a table says of a key that it holds.
enum Held {
    Found(Found),
    Deleted,
}

impl Held {
    fn shown(self) -> Option<Found> {
        match self {
            Held::Found(found) => Some(found),
            Held::Deleted => None,
        }
    }
}

/// What `file` says of `key`, if anything.
fn look(
    file: &LiveTable,
    key: &[u8],
    hash: u64,
    bound: Stamp,
    how: ReadHow,
) -> Result<Option<Held>> {
    let Some((stamp, value)) = file.table.get(key, hash, bound, how)? else { return Ok(None) };
    Ok(Some(match table_kind(file, stamp)? {
        Kind::Put => Held::Found(Found::Value(Value::shared(value))),
        Kind::Delete => Held::Deleted,
        Kind::Pointer => {
            let pointer = Pointer::decode(&value);
            let no_pointer = || Error::corrupt(&file.path, 0, "a pointer does not decode");
            Held::Found(Found::Apart(pointer.ok_or_else(no_pointer)?))
        }
    }))
}

/// A pointer out of a memtable, which was checked when it went in.
fn own_pointer(bytes: &[u8]) -> Pointer {
    Pointer::decode(bytes).expect("memtables hold pointers that decode")
}

/// The kind of a stamp that we made ourselves.
fn memtable_kind(stamp: Stamp) -> Kind {
    stamp.kind().expect("memtables hold stamps made from kinds")
}

/// The kind of a stamp that came from disk.
fn table_kind(file: &LiveTable, stamp: Stamp) -> Result<Kind> {
    let unknown = || Error::corrupt(&file.path, 0, format!("entry of unknown kind {:#x}", stamp.0));
    stamp.kind().ok_or_else(unknown)
}
