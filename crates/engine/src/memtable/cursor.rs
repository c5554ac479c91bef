//! Walks all versions of a memtable in order, beside its inserter.
//!
//! The cursor takes a few entries of a leaf at a time and asks for their records before it comes to
//! them. Between calls it keeps records, which stay valid as long as the memtable does, and the leaf
//! with its version: as long as the leaf has not changed it goes on there, and otherwise looks for
//! its key again.
//!
//! 1. Keys ascend, and versions of a key go from newest to oldest; backward the reverse of it.
//! 2. A seek sees what was inserted before it; later inserts may be seen or not, but never out of
//!    order, and nothing that was there at the seek is missed or repeated.
#![expect(unsafe_code, reason = "keeps pointers into the memtable it owns a share of")]

use std::{ptr::NonNull, sync::Arc};

use super::{
    Memtable,
    node::{Changed, DetachedView, Node, Toward, View},
    record::Record,
};
use crate::key::Stamp;

/// Entries taken from a leaf at a time. Fewer than a leaf has, where its nodes are small, too.
const BATCH: usize = if cfg!(any(loom, shuttle)) { 2 } else { 8 };

/// A place among the versions of a memtable.
///
/// Its `unsafe` is sound because (a) whatever it points at belongs to the memtable it holds a share
/// of, and lives as long; nothing borrowed from it outlives a borrow of the cursor; and (b) every
/// pointer was detached from what this thread, or one that handed the cursor over, had read.
pub(crate) struct Cursor {
    memtable: Arc<Memtable>,
    /// Where the cursor is; `None` before a seek, and behind either end.
    at: Option<At>,
    batch: Option<Batch>,
}

// SAFETY: what it points at may be shared between threads, as the memtable may.
unsafe impl Send for Cursor {}

#[derive(Clone, Copy)]
struct At {
    record: NonNull<u8>,
    /// The newest version of the key when the cursor came to the key.
    newest: NonNull<u8>,
}

/// Entries of a leaf that come next, in one direction.
struct Batch {
    forward: bool,
    /// The newest versions of the keys; those from `next` to `len` are still to come.
    newest: [NonNull<u8>; BATCH],
    next: usize,
    len: usize,
    /// The leaf, and where its other entries begin: at this index or, backward, before it.
    leaf: DetachedView,
    index: usize,
    /// The leaf after, when the batch ends with this one.
    right: Option<NonNull<Node>>,
}

impl Cursor {
    pub(super) fn new(memtable: Arc<Memtable>) -> Cursor {
        Cursor { memtable, at: None, batch: None }
    }

    /// Goes to the first entry.
    pub(crate) fn seek_first(&mut self) {
        self.seek(&[]);
    }

    /// Goes to the last entry: the oldest version of the greatest key.
    pub(crate) fn seek_last(&mut self) {
        let tree = &self.memtable.tree;
        let batch = tree.descend(Toward::Last, |leaf| Batch::before(leaf, leaf.count()));
        self.start(batch);
        self.step_back();
    }

    /// Goes to the first entry at or above `key`: the newest version of the least such key.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        let batch = self.memtable.tree.descend(Toward::At(key), |leaf| match leaf.locate(key)? {
            Ok(index) | Err(index) => Batch::from(leaf, index),
        });
        self.start(batch);
        self.step_on();
    }

    /// Goes to the last entry at or below `key`: the oldest version of the greatest such key.
    pub(crate) fn seek_back(&mut self, key: &[u8]) {
        let batch = self.memtable.tree.descend(Toward::At(key), |leaf| match leaf.locate(key)? {
            Ok(index) => Batch::before(leaf, index + 1),
            Err(index) => Batch::before(leaf, index),
        });
        self.start(batch);
        self.step_back();
    }

    /// Whether the cursor is at an entry; what follows needs it to be.
    pub(crate) fn valid(&self) -> bool {
        self.at.is_some()
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.record().key()
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.record().stamp()
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.record().value()
    }

    /// The newest version of this key up to `bound`, wherever among its versions the cursor is.
    /// Versions inserted since the last seek may be missing.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(crate) fn version_at(&self, bound: Stamp) -> Option<(Stamp, &[u8])> {
        let record = self.newest().version_at(bound)?;
        Some((record.stamp(), record.value()))
    }

    /// Goes to the next entry: an older version of the key, or the newest of the next key.
    pub(crate) fn next(&mut self) {
        match self.record().previous() {
            Some(older) => self.at = Some(At { record: older.detach(), ..self.here() }),
            None => self.next_key(),
        }
    }

    /// Goes to the entry before: a newer version of the key, or the oldest of the key before.
    pub(crate) fn prev(&mut self) {
        let (stamp, newest) = (self.stamp(), self.newest());
        if stamp < newest.stamp() {
            let newer = newest.version_after(stamp);
            self.at = Some(At { record: newer.detach(), ..self.here() });
        } else {
            self.prev_key();
        }
    }

    /// Goes to the newest version of this key up to `bound`; to the next key when there is none.
    pub(crate) fn skip_newer(&mut self, bound: Stamp) {
        match self.record().version_at(bound) {
            Some(record) => self.at = Some(At { record: record.detach(), ..self.here() }),
            None => self.next_key(),
        }
    }

    /// Goes to the newest version of the next key.
    pub(crate) fn next_key(&mut self) {
        if self.batch.as_ref().is_none_or(|batch| !batch.forward) {
            self.batch = Some(self.batch_above());
        }
        self.step_on();
    }

    /// Goes to the oldest version of the key before.
    pub(crate) fn prev_key(&mut self) {
        if self.batch.as_ref().is_none_or(|batch| batch.forward) {
            self.batch = Some(self.batch_below());
        }
        self.step_back();
    }

    /// Leaves where the cursor was for a batch found anew.
    fn start(&mut self, batch: Batch) {
        self.at = None;
        self.batch = Some(batch);
    }

    fn here(&self) -> At {
        self.at.expect("the cursor is at an entry")
    }

    fn record(&self) -> Record<'_> {
        // SAFETY: by (b) a record's place, and by (a) it lives while the cursor is borrowed.
        unsafe { Record::attach(self.here().record) }
    }

    fn newest(&self) -> Record<'_> {
        // SAFETY: by (b) a record's place, and by (a) it lives while the cursor is borrowed.
        unsafe { Record::attach(self.here().newest) }
    }

    /// The entries behind the key that the cursor is at.
    fn batch_above(&self) -> Batch {
        let key = self.newest().key();
        self.memtable.tree.descend(Toward::At(key), |leaf| match leaf.locate(key)? {
            Ok(index) => Batch::from(leaf, index + 1),
            Err(index) => Batch::from(leaf, index),
        })
    }

    /// The entries before the key that the cursor is at.
    fn batch_below(&self) -> Batch {
        let key = self.newest().key();
        self.memtable.tree.descend(Toward::Below(key), |leaf| match leaf.locate(key)? {
            Ok(index) | Err(index) => Batch::before(leaf, index),
        })
    }

    /// Goes on to the next of the forward batch, or of those that follow it.
    fn step_on(&mut self) {
        loop {
            let batch = self.batch.as_mut().expect("a direction was chosen");
            if let Some(newest) = batch.take() {
                self.at = Some(At { record: newest, newest });
                return;
            }
            self.batch = self.batch_after();
            if self.batch.is_none() {
                self.at = None;
                return;
            }
        }
    }

    /// The batch after the exhausted one; `None` at the end.
    fn batch_after(&self) -> Option<Batch> {
        let batch = self.batch.as_ref()?;
        // SAFETY: by (a) the tree lives while the cursor is borrowed.
        let leaf = unsafe { batch.leaf.attach() };
        if batch.index < leaf.count() {
            return Some(
                Batch::from(&leaf, batch.index).unwrap_or_else(|Changed| self.batch_above()),
            );
        }
        // SAFETY: by (b) a node of the tree, and by (a) it lives while the cursor is borrowed.
        let right = unsafe { batch.right?.as_ref() };
        loop {
            // Its low fence never changes, so it begins where the exhausted leaf ended.
            if let Ok(after) = Batch::from(&right.view(), 0) {
                return Some(after);
            }
        }
    }

    /// Goes back to the next of the backward batch, or of those before it.
    fn step_back(&mut self) {
        let batch = self.batch.as_mut().expect("a direction was chosen");
        let mut newest = batch.take();
        if newest.is_none() && self.at.is_some() {
            let mut batch = self.batch_before();
            // A leaf holds its low fence, so only in front of all keys is there nothing.
            newest = batch.take();
            self.batch = Some(batch);
        }
        self.at = newest.map(|newest| At { record: newest, newest });
        if newest.is_some() {
            self.at = Some(At { record: self.newest().oldest().detach(), ..self.here() });
        }
    }

    /// The batch before the exhausted one.
    fn batch_before(&self) -> Batch {
        if let Some(batch) = self.batch.as_ref().filter(|batch| batch.index > 0) {
            // SAFETY: by (a) the tree lives while the cursor is borrowed.
            let leaf = unsafe { batch.leaf.attach() };
            if let Ok(before) = Batch::before(&leaf, batch.index) {
                return before;
            }
        }
        self.batch_below()
    }
}

impl Batch {
    /// The entries of `leaf` from `index` on.
    fn from(leaf: &View<'_>, index: usize) -> Result<Batch, Changed> {
        let end = leaf.count().min(index + BATCH);
        let mut batch = Batch::empty(leaf, true, end - index, end);
        for (place, index) in batch.newest.iter_mut().zip(index..end) {
            let record = leaf.record(index)?;
            record.prefetch();
            *place = record.detach();
        }
        for index in end..leaf.count().min(end + BATCH) {
            leaf.record(index)?.prefetch();
        }
        if end == leaf.count() {
            batch.right = leaf.right()?.map(NonNull::from);
        }
        Ok(batch)
    }

    /// The entries of `leaf` before `end`, backward.
    fn before(leaf: &View<'_>, end: usize) -> Result<Batch, Changed> {
        let start = end.saturating_sub(BATCH);
        let mut batch = Batch::empty(leaf, false, end - start, start);
        for (place, index) in batch.newest.iter_mut().zip((start..end).rev()) {
            let record = leaf.record(index)?;
            record.prefetch();
            *place = record.detach();
        }
        for index in start.saturating_sub(BATCH)..start {
            leaf.record(index)?.prefetch();
        }
        Ok(batch)
    }

    fn empty(leaf: &View<'_>, forward: bool, len: usize, index: usize) -> Batch {
        let newest = [NonNull::dangling(); BATCH];
        Batch { forward, newest, next: 0, len, leaf: leaf.detach(), index, right: None }
    }

    fn take(&mut self) -> Option<NonNull<u8>> {
        let newest = *self.newest[..self.len].get(self.next)?;
        self.next += 1;
        Some(newest)
    }
}
