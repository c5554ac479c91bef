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
    store::Store,
    table::{ReadHow, Slice, key_hash},
    value::Value,
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
        self.following(|| {
            tree.check_there()?;
            let state = tree.state();
            let seqno = state.seen(self.visible());
            Ok((get_in(&state, key, seqno, from)?, seqno))
        })
    }

    /// The newest values of `keys`, all at one watermark.
    pub(crate) fn multi_get(&self, tree: &Tree, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.following(|| {
            tree.check_there()?;
            let state = tree.state();
            let seqno = state.seen(self.visible());
            keys.iter().map(|key| get_in(&state, key, seqno, ReadFrom::Disk)).collect()
        })
    }
}

/// The value of `key` at a snapshot that the caller holds.
pub(crate) fn get_at(
    tree: &Tree,
    key: &[u8],
    seqno: SeqNo,
    from: ReadFrom,
) -> Result<Option<Value>> {
    tree.check_there()?;
    get_in(&tree.state(), key, seqno, from)
}

/// The newest version of `key` in `state` that `seqno` may see.
fn get_in(state: &State, key: &[u8], seqno: SeqNo, from: ReadFrom) -> Result<Option<Value>> {
    let bound = Stamp::upper_bound(seqno);
    for memtable in state.memtables() {
        if let Some((stamp, value)) = memtable.table.get(key, bound) {
            return Ok((memtable_kind(stamp) == Kind::Put).then(|| Value::copied(value)));
        }
    }
    let hash = key_hash(key);
    let how = from.how();
    let levels = &state.version.levels;
    for table in levels[0].tables().iter().filter(|table| table.holds(key)) {
        if let Some(found) = look(table, key, hash, bound, how)? {
            return Ok(found.value());
        }
    }
    for level in &levels[1..] {
        let Some(table) = level.find(key) else { continue };
        if let Some(found) = look(table, key, hash, bound, how)? {
            return Ok(found.value());
        }
    }
    Ok(None)
}

/// What a table says of a key that it holds.
enum Found {
    Value(Slice),
    Deleted,
}

impl Found {
    fn value(self) -> Option<Value> {
        match self {
            Found::Value(slice) => Some(Value::shared(slice)),
            Found::Deleted => None,
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
) -> Result<Option<Found>> {
    let Some((stamp, value)) = file.table.get(key, hash, bound, how)? else { return Ok(None) };
    Ok(Some(match table_kind(file, stamp)? {
        Kind::Put => Found::Value(value),
        Kind::Delete => Found::Deleted,
    }))
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
