//! The tree of nodes over the arena: descending past an inserter without a lock, and inserting.
//!
//! A reader goes from node to child and takes the child's view before it looks whether the parent
//! is still what it was. A split keeps the parent in change until the new child is in it, so a key
//! that was routed to a node is between the fences of the view. The root never moves: when it is
//! full, its entries move into a new only child.
//!
//! 1. All leaves are at one depth, and each child's fences are its parent's keys around it.
//! 2. On the way down the inserter splits every full inner node, so a parent always has room.
//! 3. A record is complete before a slot points at it.
#![expect(unsafe_code, reason = "attaches to what the arena and nodes hold")]

use std::{
    ptr::NonNull,
    sync::{Mutex, MutexGuard, OnceLock, TryLockError},
};

use super::{
    arena::Arena,
    filter::Filter,
    node::{Changed, FANOUT, Node, Toward, View},
    record::Record,
};
use crate::{
    digest::quick_digest,
    key::{KEY_BYTES_MAX, Stamp, VALUE_BYTES_MAX},
    sync::{AtomicU64, Ordering},
};

/// The filter takes that part of the memory the memtable is to have: ten bits for each entry of
/// some 150 bytes.
const FILTER_PART: u64 = 128;

/// The filter is made when the memtable is so many times larger.
const FILTER_AFTER: u64 = 4;

const FILTER_BYTES_MAX: u64 = 4 << 20;

/// Versions by key.
///
/// Its `unsafe` is sound because (a) the arena and the nodes are freed only with the tree, from
/// which everything is borrowed; and (b) the writer is in a mutex, so there is one inserter.
pub(super) struct Tree {
    root: Box<Node>,
    versions: AtomicU64,
    digests: AtomicU64,
    bytes: AtomicU64,
    filter: OnceLock<Filter>,
    /// The size that the filter will have; 0 for none.
    filter_bytes: u64,
    writer: Mutex<Writer>,
}

struct Writer {
    arena: Arena,
    nodes: u64,
    /// The leaf that the last new key went to, and its record.
    last: Option<(NonNull<Node>, NonNull<u8>)>,
    /// The last two new keys went to one leaf, so the next may too.
    again: bool,
}

// SAFETY: by (a) what it points at lives where the writer does, and nodes may be shared.
unsafe impl Send for Writer {}

/// A leaf and, unless it is the root or was guessed, the parent that it is a child of.
struct Place<'a> {
    parent: Option<(&'a Node, usize)>,
    leaf: &'a Node,
}

/// Why the inserter's own views stay current.
const ALONE: &str = "there is one inserter";

/// The right to insert. There is one at a time.
pub(super) struct Inserter<'a> {
    tree: &'a Tree,
    writer: MutexGuard<'a, Writer>,
}

impl Tree {
    pub(super) fn new(filter_bytes: u64) -> Tree {
        let tree = Tree {
            root: Node::new_leaf(),
            versions: AtomicU64::new(0),
            digests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            filter: OnceLock::new(),
            filter_bytes,
            writer: Mutex::new(Writer { arena: Arena::new(), nodes: 1, last: None, again: false }),
        };
        tree.inserter().account();
        tree
    }

    /// The size of a filter for a memtable of `bytes`.
    pub(super) fn filter_bytes(bytes: u64) -> u64 {
        (bytes / FILTER_PART).min(FILTER_BYTES_MAX)
    }

    /// The nodes, from the root down: how many entries each has.
    #[cfg(all(test, loom))]
    pub(super) fn shape(&self) -> String {
        fn of(node: &Node) -> String {
            let view = node.view();
            if view.is_leaf() {
                return view.count().to_string();
            }
            let children = (0..view.count()).map(|child| of(view.child(child).expect(ALONE)));
            format!("[{}]", children.collect::<Vec<_>>().join(" "))
        }
        of(&self.root)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn versions(&self) -> u64 {
        self.versions.load(Ordering::Relaxed)
    }

    pub(super) fn digests(&self) -> u64 {
        self.digests.load(Ordering::Relaxed)
    }

    pub(super) fn inserter(&self) -> Inserter<'_> {
        let writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("two inserters of one memtable"),
        };
        Inserter { tree: self, writer }
    }

    /// The newest version of `key`.
    pub(super) fn newest(&self, key: &[u8]) -> Option<Record<'_>> {
        if self.filter.get().is_some_and(|filter| !filter.may_contain(key)) {
            return None;
        }
        self.descend(Toward::At(key), |leaf| match leaf.locate(key)? {
            Ok(index) => Ok(Some(leaf.record(index)?)),
            Err(_) => Ok(None),
        })
    }

    /// Calls `call` for every key, in order. For the inserter: keys that come meanwhile are missed.
    fn each_key(&self, mut call: impl FnMut(&[u8])) {
        let mut leaf = Some(self.descend(Toward::At(&[]), |leaf| Ok(*leaf)));
        while let Some(view) = leaf {
            for index in 0..view.count() {
                call(view.record(index).expect(ALONE).key());
            }
            leaf = view.right().expect(ALONE).map(Node::view);
        }
    }

    /// Goes down to a leaf and answers what `read` finds in it, as often as it takes.
    pub(super) fn descend<'a, T>(
        &'a self,
        toward: Toward<'_>,
        read: impl Fn(&View<'a>) -> Result<T, Changed>,
    ) -> T {
        let mut parent: Option<View<'a>> = None;
        let mut node: &'a Node = &self.root;
        loop {
            let view = node.view();
            if parent.is_some_and(|parent| !parent.is_current()) {
                (parent, node) = (None, &self.root);
                continue;
            }
            if view.is_leaf() {
                if let Ok(found) = read(&view) {
                    return found;
                }
            } else if let Ok(child) = view.route(toward) {
                child.prefetch();
                (parent, node) = (Some(view), child);
            }
        }
    }
}

impl<'a> Inserter<'a> {
    /// Adds a version, newer than the versions of `key` that are there.
    pub(super) fn insert(&mut self, key: &[u8], stamp: Stamp, value: &[u8]) {
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
        let place = self.guess(key).unwrap_or_else(|| self.find(key));
        let view = place.leaf.view();
        match view.locate(key).expect(ALONE) {
            Ok(index) => {
                let older = view.record(index).expect(ALONE);
                assert!(older.stamp() < stamp, "{stamp:?} after {:?}", older.stamp());
                let record = self.write(key, stamp, value, Some(older));
                place.leaf.overwrite(index, record);
            }
            Err(index) => {
                if let Some(filter) = self.tree.filter.get() {
                    filter.insert(key);
                }
                let record = self.write(key, stamp, value, None);
                self.add(&place, index, record);
            }
        }
        let versions = self.tree.versions();
        self.tree.versions.store(versions + 1, Ordering::Relaxed);
        let digests = self.tree.digests().wrapping_add(quick_digest(key, stamp, value));
        self.tree.digests.store(digests, Ordering::Relaxed);
        self.account();
    }

    fn write(
        &mut self,
        key: &[u8],
        stamp: Stamp,
        value: &[u8],
        older: Option<Record<'_>>,
    ) -> Record<'a> {
        let place = Record::write(&mut self.writer.arena, key, stamp, value, older);
        // SAFETY: just written; by (a) it lives as long as the tree is borrowed.
        unsafe { Record::attach(place) }
    }

    /// The leaf of the last new key, if `key` goes there too and two before it did.
    fn guess(&self, key: &[u8]) -> Option<Place<'a>> {
        if !self.writer.again {
            return None;
        }
        let (leaf, last) = self.writer.last?;
        // SAFETY: a complete record; by (a) it lives as long as the tree is borrowed.
        let last: Record<'a> = unsafe { Record::attach(last) };
        // SAFETY: a node of the tree; by (a) it lives as long as the tree is borrowed.
        let leaf: &'a Node = unsafe { leaf.as_ref() };
        let fits = last.key() < key && leaf.reaches(key) && !leaf.view().is_full();
        fits.then_some(Place { parent: None, leaf })
    }

    /// The leaf of `key`, and its parent, in which there is room.
    fn find(&mut self, key: &[u8]) -> Place<'a> {
        let mut node: &'a Node = &self.tree.root;
        if node.view().is_full() {
            node.deepen();
            self.writer.nodes += 1;
            // It may have been the root, which is no leaf any more.
            self.writer.last = None;
        }
        let mut parent = None;
        loop {
            let view = node.view();
            if view.is_leaf() {
                return Place { parent, leaf: node };
            }
            let index = view.route_index(key).expect(ALONE);
            let child = view.child(index).expect(ALONE);
            let below = child.view();
            if below.is_full() && !below.is_leaf() {
                node.split_child(index, child.split_point(), None);
                self.writer.nodes += 1;
                continue;
            }
            child.prefetch();
            (parent, node) = (Some((node, index)), child);
        }
    }

    /// Puts a new key before entry `index` of a leaf, splitting it if it is full.
    fn add(&mut self, place: &Place<'a>, index: usize, record: Record<'a>) {
        let mut leaf = place.leaf;
        leaf.note(index);
        if !leaf.view().is_full() {
            leaf.insert(index, record);
        } else {
            let (parent, child) =
                place.parent.expect("a full root was deepened, and full leaves not guessed");
            let at = leaf.split_point();
            let right = parent.split_child(child, at, Some(record));
            self.writer.nodes += 1;
            if at == FANOUT {
                leaf = right;
            } else if index <= at {
                leaf.insert(index, record);
            } else {
                leaf = right;
                leaf.insert(index - at, record);
            }
        }
        let leaf = NonNull::from(leaf);
        let last = self.writer.last.replace((leaf, record.detach()));
        self.writer.again = last.is_some_and(|(last, _)| last == leaf);
    }

    /// Publishes how much memory is taken, and makes the filter when it is worth its memory.
    fn account(&mut self) {
        let tree = self.tree;
        let nodes = self.writer.nodes * size_of::<Node>() as u64;
        let filter = tree.filter.get().map_or(0, Filter::bytes);
        let bytes = size_of::<Tree>() as u64 + self.writer.arena.bytes() + nodes + filter;
        tree.bytes.store(bytes, Ordering::Relaxed);
        if filter == 0 && tree.filter_bytes > 0 && tree.filter_bytes * FILTER_AFTER <= bytes {
            let filter = Filter::new(tree.filter_bytes);
            tree.each_key(|key| filter.insert(key));
            assert!(tree.filter.set(filter).is_ok(), "{ALONE}");
            self.account();
        }
    }
}
