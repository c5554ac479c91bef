//! Views of a store at one moment.
//!
//! A snapshot is a sequence number that compaction respects; it holds no table and no memtable.
//!
//! 1. While a snapshot lives, the newest version at or below its number of every key stays readable.
//! 2. Taking one and asking for the list of them exclude each other: compaction never misses one that
//!    is at or below the watermark it saw.

use std::{
    collections::BTreeMap,
    fmt,
    ops::RangeBounds,
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    error::Result,
    iter::{Bounds, Cursor, Iter, View},
    key::SeqNo,
    keyspace::{Keyspace, Tree},
    planted::{Bug, planted},
    read::{get_at, get_stream},
    store::OpenStore,
    sync::Mutex,
    value::Value,
    values::ValueReader,
};

/// The snapshots of a store that are alive.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    alive: Mutex<BTreeMap<SeqNo, (usize, Taken)>>,
}

/// When a snapshot was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) at: Duration,
    /// Bytes that had been written by then.
    pub(crate) written_bytes: u64,
}

impl Snapshots {
    /// Takes one at whatever `visible` says under the lock.
    pub(crate) fn take(&self, taken: Taken, visible: impl FnOnce() -> SeqNo) -> SeqNo {
        let mut counts = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let seqno = visible();
        counts.entry(seqno).or_insert((0, taken)).0 += 1;
        seqno
    }

    /// The one that shows least, and when it was first taken.
    pub(crate) fn oldest(&self) -> Option<(SeqNo, Taken)> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.first_key_value().map(|(seqno, (_, taken))| (*seqno, *taken))
    }

    pub(crate) fn release(&self, seqno: SeqNo) {
        let mut counts = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = counts.get_mut(&seqno) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&seqno);
            }
        }
    }

    /// The numbers that readers may ask for, ascending: every snapshot, and last the watermark.
    pub(crate) fn boundaries(&self, visible: impl FnOnce() -> SeqNo) -> Vec<SeqNo> {
        let counts = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let visible = visible();
        if planted(Bug::SnapshotIgnored) {
            return vec![visible];
        }
        let mut seqnos: Vec<SeqNo> = counts.keys().copied().collect();
        if seqnos.last() != Some(&visible) {
            seqnos.push(visible);
        }
        seqnos
    }

    pub(crate) fn len(&self) -> usize {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.values().map(|(count, _)| count).sum()
    }
}

/// A view of a store at one moment. What is written later does not show; what it shows stays.
pub struct Snapshot {
    store: Arc<OpenStore>,
    seqno: SeqNo,
    /// Of a store that is only read: the states of then, since its writer does not know of us.
    pinned: BTreeMap<u32, Arc<Tree>>,
}

impl Snapshot {
    pub(crate) fn take(store: &Arc<OpenStore>) -> Snapshot {
        let pinned = store.pin_states();
        let taken =
            Taken { at: store.environment.now(), written_bytes: store.counters.written_bytes() };
        let seqno = store.snapshots.take(taken, || match &pinned {
            Some((seqno, _)) => *seqno,
            None => store.visible(),
        });
        let pinned = pinned.map(|(_, trees)| trees).unwrap_or_default();
        Snapshot { store: Arc::clone(store), seqno, pinned }
    }

    /// Where to look for what `keyspace` held then.
    fn tree<'a>(&'a self, keyspace: &'a Keyspace) -> &'a Arc<Tree> {
        self.pinned.get(&keyspace.tree().id).unwrap_or(keyspace.tree())
    }

    /// The last write that this view shows.
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// The value `key` had then.
    pub fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Value>> {
        get_at(&self.store, self.tree(keyspace), key, self.seqno, keyspace.now())
    }

    /// A reader of the value `key` had then.
    pub fn get_stream(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<ValueReader>> {
        get_stream(&self.store, self.tree(keyspace), key, Some(self.seqno), keyspace.now())
    }

    /// Walks all entries of then.
    pub fn iter(&self, keyspace: &Keyspace) -> Result<Iter> {
        Ok(Iter::open(self.view(keyspace)?, Bounds::all()))
    }

    /// Walks the entries of then whose keys lie within `bounds`.
    pub fn range<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        bounds: impl RangeBounds<K>,
    ) -> Result<Iter> {
        Ok(Iter::open(self.view(keyspace)?, Bounds::of(bounds)))
    }

    /// Walks the entries of then whose keys begin with `prefix`.
    pub fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Result<Iter> {
        Ok(Iter::open(self.view(keyspace)?, Bounds::of_prefix(prefix)))
    }

    /// A cursor over all entries of then.
    pub fn cursor(&self, keyspace: &Keyspace) -> Result<Cursor> {
        Ok(Cursor::open(self.view(keyspace)?, Bounds::all()))
    }

    /// Walks the entries of then within `bounds`.
    pub(crate) fn walk(&self, keyspace: &Keyspace, bounds: Bounds) -> Result<Iter> {
        Ok(Iter::open(self.view(keyspace)?, bounds))
    }

    fn view(&self, keyspace: &Keyspace) -> Result<View> {
        View::open(&self.store, self.tree(keyspace), Some(self.seqno), keyspace.now())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.store.snapshots.release(self.seqno);
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("seqno", &self.seqno).finish_non_exhaustive()
    }
}
