//! What was written and is not yet in a table: every version of every key, in order, in memory.
//!
//! A B+tree of wide nodes over an append-only arena. One inserter at a time; readers and cursors run
//! beside it without locks, and never wait for it longer than it takes to change a node. Nothing is
//! removed or moved: what a reader was given stays valid as long as it borrows the memtable.
//!
//! 1. Of each key, every version is kept; they are ordered newest first.
//! 2. A version whose insert happened before a read, a seek or a step is seen by it.
//! 3. `bytes` is all the memory taken, by capacity.
//! 4. `digests` comes from what was handed in, not from the copy that the arena keeps.

use std::sync::Arc;

mod arena;
mod cursor;
mod filter;
mod node;
mod record;
mod tree;

#[cfg(all(test, loom))]
mod loom;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

pub(crate) use cursor::Cursor;

use self::tree::Tree;
use crate::key::Stamp;

/// The versions of a keyspace's keys that are not yet in a table.
pub(crate) struct Memtable {
    tree: Tree,
}

/// The right to insert into a memtable; there is one at a time.
pub(crate) struct Inserter<'a>(tree::Inserter<'a>);

impl Memtable {
    /// An empty memtable that is going to take about `bytes_hint` of memory, and then has a filter
    /// of that part of it that makes reading absent keys cheap.
    pub(crate) fn new(bytes_hint: u64) -> Memtable {
        Memtable { tree: Tree::new(Tree::filter_bytes(bytes_hint)) }
    }

    /// An empty memtable that will not have a filter.
    #[cfg(all(test, loom))]
    pub(crate) fn without_filter() -> Memtable {
        Memtable { tree: Tree::new(0) }
    }

    /// Takes the right to insert, for many versions at a time.
    ///
    /// # Panics
    /// Somebody else has it.
    pub(crate) fn inserter(&self) -> Inserter<'_> {
        Inserter(self.tree.inserter())
    }

    /// Adds one version; see [`Inserter::insert`].
    pub(crate) fn insert(&self, key: &[u8], stamp: Stamp, value: &[u8]) {
        self.inserter().insert(key, stamp, value);
    }

    /// The newest version of `key` up to the stamp `newest`.
    pub(crate) fn get(&self, key: &[u8], newest: Stamp) -> Option<(Stamp, &[u8])> {
        let record = self.tree.newest(key)?.version_at(newest)?;
        Some((record.stamp(), record.value()))
    }

    /// All the memory taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.tree.bytes()
    }

    /// How many versions there are.
    pub(crate) fn len(&self) -> u64 {
        self.tree.versions()
    }

    /// The sum of the quick digests of all versions, from what was given to be inserted.
    pub(crate) fn digests(&self) -> u64 {
        self.tree.digests()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cursor over all versions, at none yet. It keeps the memtable alive.
    pub(crate) fn cursor(self: &Arc<Self>) -> Cursor {
        Cursor::new(Arc::clone(self))
    }
}

impl Inserter<'_> {
    /// Adds a version of `key`.
    ///
    /// # Panics
    /// `stamp` is not above the stamps of `key` so far, or key or value are longer than a store takes.
    pub(crate) fn insert(&mut self, key: &[u8], stamp: Stamp, value: &[u8]) {
        self.0.insert(key, stamp, value);
    }
}
