//! A node of the tree: up to `FANOUT` keys in order, as words to search and pointers to follow.
//!
//! A leaf's slots point at the newest version of each key; an inner node's slots point at children,
//! and the key of a child is its low fence, so both kinds have one layout. The words hold the eight
//! bytes of each key that follow `skip` bytes which all keys of the node share: `user:000017` and
//! its neighbours differ in their words. Of these, the first `fence` bytes are shared by both
//! fences, so whoever is routed here has them; the rest is compared when a key arrives.
//!
//! Readers take no lock. The version is odd while the one inserter changes the node; a reader notes
//! an even version, reads, and looks at the version again **before it follows any pointer**.
//!
//! 1. Keys ascend; every key is at or above `low` and below `high`; `low` never changes.
//! 2. Every key has the node's first `skip` bytes, and every key between the fences has `fence`.
//! 3. What a view returns was in the node, together, at the moment the view was taken; only the
//!    newest version of a key may be newer.
//! 4. A node is freed by its parent's drop and by nothing else.
#![expect(unsafe_code, reason = "follows pointers read from atomics")]
#![expect(clippy::cast_ptr_alignment, reason = "a slot's pointer is that of a node in inner nodes")]

use std::{array, cmp::Ordering as Order, hint, ptr, ptr::NonNull};

use super::record::{Record, prefetch};
use crate::{
    key::shared_len,
    sync::{self, AtomicPtr, AtomicU64, Ordering, fence},
};

/// Entries of a node. Must be a power of two.
pub(super) const FANOUT: usize = if cfg!(any(loom, shuttle)) { 4 } else { 64 };

/// Words are made anew when that many bytes of them turn out to be shared by all keys of a node.
const SKIP_GAIN_MIN: usize = 4;

/// After so many inserts side by side the node is split where they go on, not in the middle.
const RUN_MIN: u64 = (FANOUT / 4) as u64;

/// Why the inserter's own views stay current.
const HELD: &str = "only the inserter changes nodes";

/// How long to spin for the inserter before the processor is given away: it may be waiting for it.
const SPINS_MAX: u32 = 64;

/// A node.
///
/// Its `unsafe` is sound because (a) `slots` below `count` hold, in a leaf, places of records that
/// were complete before, and in an inner node pointers made by `Box::into_raw`; (b) a view follows
/// a slot only if the version has not changed since the view was taken, so level and slot belong
/// together and what is pointed at was written before; a slot that is overwritten without a change
/// of version is stored with release and loaded with acquire; (c) nodes and records live until the
/// tree is dropped, and a node is borrowed only from the tree; and (d) `low`, `high` and `skipped`
/// are null or places of complete records, under the same rule.
#[repr(C, align(64))]
pub(super) struct Node {
    version: AtomicU64,
    meta: AtomicU64,
    /// A record whose key begins with the bytes that all keys of the node share.
    skipped: AtomicPtr<u8>,
    /// The smallest key that may be here; null in the leftmost node of a level.
    low: AtomicPtr<u8>,
    /// The smallest key that may not; null in the rightmost node of a level.
    high: AtomicPtr<u8>,
    /// The next node of the level.
    right: AtomicPtr<Node>,
    /// Where the last insert went, and how many before it went beside each other. For the inserter.
    run: AtomicU64,
    words: [AtomicU64; FANOUT],
    slots: [AtomicPtr<u8>; FANOUT],
}

/// What of a node must be read together, in one word.
#[derive(Clone, Copy)]
struct Meta {
    count: u16,
    level: u16,
    skip: u16,
    fence: u16,
}

impl Meta {
    fn load(word: &AtomicU64) -> Meta {
        let bytes = word.load(Ordering::Relaxed);
        Meta {
            count: bytes as u16,
            level: (bytes >> 16) as u16,
            skip: (bytes >> 32) as u16,
            fence: (bytes >> 48) as u16,
        }
    }

    fn store(self, word: &AtomicU64) {
        let (high, low) = (
            u64::from(self.fence) << 16 | u64::from(self.skip),
            u64::from(self.level) << 16 | u64::from(self.count),
        );
        word.store(high << 32 | low, Ordering::Relaxed);
    }
}

/// Which way to descend.
#[derive(Clone, Copy)]
pub(super) enum Toward<'k> {
    /// To where this key is or would be.
    At(&'k [u8]),
    /// To where the greatest key below this one is.
    Below(&'k [u8]),
    /// To the greatest key.
    Last,
}

/// The inserter has changed the node since the view was taken: look again.
#[derive(Debug)]
pub(super) struct Changed;

/// A node as it was at one moment.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    node: &'a Node,
    version: u64,
    meta: Meta,
}

/// A view without its lifetime, for a cursor.
#[derive(Clone, Copy)]
pub(super) struct DetachedView {
    node: NonNull<Node>,
    version: u64,
    meta: Meta,
}

impl<'a> View<'a> {
    pub(super) fn detach(&self) -> DetachedView {
        DetachedView { node: self.node.into(), version: self.version, meta: self.meta }
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.meta.level == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count() == FANOUT
    }

    pub(super) fn count(&self) -> usize {
        usize::from(self.meta.count)
    }

    /// The first entry that has a key: a child's own fence is its parent's when it comes first.
    fn first(&self) -> usize {
        usize::from(!self.is_leaf())
    }

    /// Whether all that was read of the node since the view was taken belongs together.
    pub(super) fn is_current(&self) -> bool {
        fence(Ordering::Acquire);
        self.node.version.load(Ordering::Relaxed) == self.version
    }

    /// `found`, if all that it was found by belongs together.
    fn checked<T>(&self, found: T) -> Result<T, Changed> {
        if self.is_current() { Ok(found) } else { Err(Changed) }
    }

    /// The newest version of the key at `index` of this leaf.
    pub(super) fn record(&self, index: usize) -> Result<Record<'a>, Changed> {
        assert!(self.is_leaf() && index < self.count(), "no record {index}");
        let place = self.node.slots[index].load(Ordering::Acquire);
        let place = self.followed(place)?;
        // SAFETY: by (a) a record's place, since by (b) this was a leaf then; (c) makes it last.
        Ok(unsafe { Record::attach(place) })
    }

    pub(super) fn child(&self, index: usize) -> Result<&'a Node, Changed> {
        assert!(!self.is_leaf() && index < self.count(), "no child {index}");
        let node = self.node.slots[index].load(Ordering::Acquire);
        let node = self.followed(node)?;
        // SAFETY: by (a) a node, since by (b) this was an inner node then; (c) makes it last.
        Ok(unsafe { node.cast::<Node>().as_ref() })
    }

    /// The next leaf: `Ok(None)` behind the last one.
    pub(super) fn right(&self) -> Result<Option<&'a Node>, Changed> {
        let right = self.node.right.load(Ordering::Acquire);
        if !self.is_current() {
            return Err(Changed);
        }
        // SAFETY: null, or by (b) a node that was complete before; (c) makes it last.
        Ok(unsafe { right.as_ref() })
    }

    /// `pointer`, read from this node, if it may be followed.
    fn followed(&self, pointer: *mut u8) -> Result<NonNull<u8>, Changed> {
        if !self.is_current() {
            return Err(Changed);
        }
        Ok(NonNull::new(pointer).expect("entries below the count are set"))
    }

    /// The key of the record at `pointer`, read from this node.
    fn fence_key(&self, pointer: &AtomicPtr<u8>) -> Result<Option<&'a [u8]>, Changed> {
        let place = pointer.load(Ordering::Acquire);
        if !self.is_current() {
            return Err(Changed);
        }
        // SAFETY: by (d) a record's place; (c) makes it last.
        Ok(NonNull::new(place).map(|place| unsafe { Record::attach(place) }.key()))
    }

    /// A record with the key at `index`; an inner node's first entry has none.
    fn keyed(&self, index: usize) -> Result<Record<'a>, Changed> {
        if self.is_leaf() {
            return self.record(index);
        }
        // A low fence never changes, so whatever happens to the child is no matter.
        let low = self.child(index)?.low.load(Ordering::Acquire);
        let place = NonNull::new(low).expect("all but the leftmost node have a low fence");
        // SAFETY: by (d) a record's place; (c) makes it last.
        Ok(unsafe { Record::attach(place) })
    }

    fn key(&self, index: usize) -> Result<&'a [u8], Changed> {
        Ok(self.keyed(index)?.key())
    }

    /// Where `key` stands among the keys of the node: at an entry, or before one.
    pub(super) fn locate(&self, key: &[u8]) -> Result<Result<usize, usize>, Changed> {
        let (first, count) = (self.first(), self.count());
        let word = match self.word(key)? {
            Ok(word) => word,
            Err(Order::Less) => return self.checked(Err(first)),
            Err(_) => return self.checked(Err(count)),
        };
        let mut low = self.rank(first, count, word);
        let mut high = low;
        while high < count && self.node.word(high) == word {
            high += 1;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            match key.cmp(self.key(middle)?) {
                Order::Less => high = middle,
                Order::Equal => return Ok(Ok(middle)),
                Order::Greater => low = middle + 1,
            }
        }
        self.checked(Err(low))
    }

    /// The child to go on to.
    pub(super) fn route(&self, toward: Toward<'_>) -> Result<&'a Node, Changed> {
        let index = match toward {
            // Keys stand at the begin of what they separate.
            Toward::At(key) => match self.locate(key)? {
                Ok(index) => index,
                Err(index) => index - 1,
            },
            Toward::Below(key) => match self.locate(key)? {
                Ok(index) | Err(index) => index - 1,
            },
            Toward::Last => self.count() - 1,
        };
        self.child(index)
    }

    /// The index of the child that `route` goes on to at `key`.
    pub(super) fn route_index(&self, key: &[u8]) -> Result<usize, Changed> {
        Ok(match self.locate(key)? {
            Ok(index) => index,
            Err(index) => index - 1,
        })
    }

    /// The word of `key` in this node, or on which side of all keys it is.
    fn word(&self, key: &[u8]) -> Result<Result<u64, Order>, Changed> {
        let skip = usize::from(self.meta.skip);
        if self.meta.skip > self.meta.fence {
            let skipped = self.fence_key(&self.node.skipped)?.expect("set with a skip");
            let order = key[..key.len().min(skip)].cmp(&skipped[..skip]);
            if order != Order::Equal {
                return Ok(Err(order));
            }
        }
        // Shorter only if the node is not what it was when the key was routed here.
        Ok(Ok(if skip <= key.len() { word_behind(key, skip) } else { 0 }))
    }

    /// How many entries from `first` to `count` have smaller words, plus `first`.
    fn rank(&self, first: usize, count: usize, word: u64) -> usize {
        let mut base = first;
        let mut len = count - first;
        while len > 1 {
            let half = len / 2;
            let less = self.node.word(base + half - 1) < word;
            base = hint::select_unpredictable(less, base + half, base);
            len -= half;
        }
        base + usize::from(len == 1 && self.node.word(base) < word)
    }
}

impl DetachedView {
    /// The view again.
    ///
    /// # Safety
    /// The tree that the view is of lives through `'a`.
    pub(super) unsafe fn attach<'a>(self) -> View<'a> {
        // SAFETY: by (c) and the caller's promise the node lives.
        let node = unsafe { self.node.as_ref() };
        View { node, version: self.version, meta: self.meta }
    }
}

impl Node {
    pub(super) fn new_leaf() -> Box<Node> {
        Node::boxed(0)
    }

    fn boxed(level: u16) -> Box<Node> {
        let meta = AtomicU64::new(0);
        Meta { count: 0, level, skip: 0, fence: 0 }.store(&meta);
        Box::new(Node {
            version: AtomicU64::new(0),
            meta,
            skipped: AtomicPtr::new(ptr::null_mut()),
            low: AtomicPtr::new(ptr::null_mut()),
            high: AtomicPtr::new(ptr::null_mut()),
            right: AtomicPtr::new(ptr::null_mut()),
            run: AtomicU64::new(0),
            words: array::from_fn(|_| AtomicU64::new(0)),
            slots: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        })
    }

    /// The node as it is now; waits while the inserter is changing it.
    pub(super) fn view(&self) -> View<'_> {
        let mut spins = 0;
        loop {
            let version = self.version.load(Ordering::Acquire);
            if version.is_multiple_of(2) {
                return View { node: self, version, meta: Meta::load(&self.meta) };
            }
            spins += 1;
            if spins < SPINS_MAX && !cfg!(any(loom, shuttle)) {
                sync::spin_hint();
            } else {
                sync::yield_now();
            }
        }
    }

    /// Asks the processor for what a search reads.
    pub(super) fn prefetch(&self) {
        prefetch(&raw const *self);
        for word in self.words.iter().step_by(8) {
            prefetch(word);
        }
    }

    // The mask saves a check of bounds in the search.
    fn word(&self, index: usize) -> u64 {
        self.words[index & (FANOUT - 1)].load(Ordering::Relaxed)
    }
}

/// Changes. Only the inserter calls these, so what it reads does not change under it.
impl Node {
    /// The node as it is, in the middle of a change too.
    fn held(&self) -> View<'_> {
        let version = self.version.load(Ordering::Relaxed);
        View { node: self, version, meta: Meta::load(&self.meta) }
    }

    /// What readers see from here on until `end` they will not use.
    fn begin(&self) {
        let version = self.version.load(Ordering::Relaxed);
        assert!(version.is_multiple_of(2), "two changes of one node at once");
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    fn end(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Release);
    }

    /// Whether `key`, which is not below the node, is not above it either.
    pub(super) fn reaches(&self, key: &[u8]) -> bool {
        self.held().fence_key(&self.high).expect(HELD).is_none_or(|high| key < high)
    }

    /// Replaces the newest version at `index` by a newer one of the same key.
    pub(super) fn overwrite(&self, index: usize, record: Record<'_>) {
        assert!(self.held().is_leaf(), "a record in an inner node");
        self.slots[index].store(record.detach().as_ptr(), Ordering::Release);
    }

    /// Puts `record` before entry `index` of this leaf, which has room for it.
    pub(super) fn insert(&self, index: usize, record: Record<'_>) {
        assert!(self.held().is_leaf(), "a record in an inner node");
        self.admit(record.key());
        self.begin();
        self.open(index, record.key(), record.detach().as_ptr());
        self.end();
    }

    /// Notes that an insert goes before entry `index`.
    pub(super) fn note(&self, index: usize) {
        let (last, len) = self.run();
        let beside = index == last || index == last + 1;
        let len = if beside { (len + 1).min(RUN_MIN) } else { 0 };
        self.run.store((index as u64) << 32 | len, Ordering::Relaxed);
    }

    fn run(&self) -> (usize, u64) {
        let run = self.run.load(Ordering::Relaxed);
        ((run >> 32) as usize, run & 0xffff_ffff)
    }

    /// Before which entry to split the node, which is full. For a leaf the insert that finds it so
    /// was noted.
    pub(super) fn split_point(&self) -> usize {
        let view = self.held();
        let (last, len) = self.run();
        match (len == RUN_MIN, view.is_leaf()) {
            (false, _) => FANOUT / 2,
            (true, true) => last.clamp(1, FANOUT),
            (true, false) => (last + 1).clamp(1, FANOUT - 1),
        }
    }

    /// Moves everything into a new child, the only one, and so makes room here. For the root.
    pub(super) fn deepen(&self) {
        let meta = self.held().meta;
        let child = Node::boxed(meta.level);
        child.take_entries(self, 0);
        child.run.store(self.run.load(Ordering::Relaxed), Ordering::Relaxed);
        self.run.store(0, Ordering::Relaxed);
        self.begin();
        self.slots[0].store(Box::into_raw(child).cast(), Ordering::Relaxed);
        Meta { count: 1, level: meta.level + 1, skip: 0, fence: 0 }.store(&self.meta);
        self.end();
    }

    /// Moves the entries from `at` on of the full child at `index` into a new child behind it. When
    /// there is no such entry, `behind` becomes the first of the new child.
    ///
    /// This node, which has room, is in change until the new child is in it, so that nobody who
    /// looks for a moved key takes the old way.
    pub(super) fn split_child(&self, index: usize, at: usize, behind: Option<Record<'_>>) -> &Node {
        let child = self.held().child(index).expect(HELD);
        let old = child.held();
        let cut = if at < old.count() {
            old.keyed(at).expect(HELD)
        } else {
            behind.expect("something goes to the new child")
        };
        let right = Node::boxed(old.meta.level);
        right.take_entries(child, at);
        right.low.store(cut.detach().as_ptr(), Ordering::Relaxed);
        right.high.store(child.high.load(Ordering::Relaxed), Ordering::Relaxed);
        right.right.store(child.right.load(Ordering::Relaxed), Ordering::Relaxed);
        right.run.store(child.run.load(Ordering::Relaxed) & 0xffff_ffff, Ordering::Relaxed);
        if at == old.count() {
            right.admit(cut.key());
            right.open(0, cut.key(), cut.detach().as_ptr());
        }
        right.refit();
        let right = Box::into_raw(right);
        self.admit(cut.key());
        self.note(index + 1);

        self.begin();
        child.begin();
        Meta { count: at as u16, ..old.meta }.store(&child.meta);
        child.high.store(cut.detach().as_ptr(), Ordering::Relaxed);
        child.right.store(right, Ordering::Relaxed);
        child.refit();
        child.end();
        self.open(index + 1, cut.key(), right.cast());
        self.end();
        // SAFETY: just made; by (c) it lives as long as this node is borrowed from the tree.
        unsafe { &*right }
    }

    /// Copies the entries of `other` from `at` on. This node is new.
    fn take_entries(&self, other: &Node, at: usize) {
        let meta = other.held().meta;
        let count = usize::from(meta.count);
        for (to, from) in (at..count).enumerate() {
            self.words[to].store(other.word(from), Ordering::Relaxed);
            self.slots[to].store(other.slots[from].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.skipped.store(other.skipped.load(Ordering::Relaxed), Ordering::Relaxed);
        Meta { count: (count - at) as u16, ..meta }.store(&self.meta);
    }

    /// Puts an entry before entry `index`. The node is in change, or new.
    fn open(&self, index: usize, key: &[u8], pointer: *mut u8) {
        let mut meta = Meta::load(&self.meta);
        let count = usize::from(meta.count);
        assert!(index <= count && count < FANOUT, "no room at {index} of {count}");
        for to in (index + 1..=count).rev() {
            self.words[to].store(self.word(to - 1), Ordering::Relaxed);
        }
        for to in (index + 1..=count).rev() {
            self.slots[to].store(self.slots[to - 1].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let word = word_behind(key, usize::from(meta.skip));
        self.words[index].store(word, Ordering::Relaxed);
        self.slots[index].store(pointer, Ordering::Relaxed);
        meta.count += 1;
        meta.store(&self.meta);
    }

    /// Lets words begin early enough for `key`, which is between the fences, to share what is
    /// skipped.
    fn admit(&self, key: &[u8]) {
        let view = self.held();
        let skip = usize::from(view.meta.skip);
        if view.meta.skip <= view.meta.fence {
            return;
        }
        let skipped = view.fence_key(&self.skipped).expect(HELD).expect("set with a skip");
        let shared = shared_len(&skipped[..skip], key);
        if shared < skip {
            self.begin();
            self.skip(shared);
            self.end();
        }
    }

    /// After the entries or fences of the node have become fewer or nearer: lets words begin later
    /// where that tells more keys apart. The node is in change, or new.
    fn refit(&self) {
        let view = self.held();
        let (first, count) = (view.first(), view.count());
        let low = view.fence_key(&self.low).expect(HELD);
        let high = view.fence_key(&self.high).expect(HELD);
        let fence = low.zip(high).map_or(0, |(low, high)| shared_len(low, high));
        let old = usize::from(view.meta.skip);
        let shared = if first + 1 < count {
            let last = view.key(count - 1).expect(HELD);
            shared_len(view.key(first).expect(HELD), last)
        } else {
            old.max(fence)
        };
        Meta { fence: fence as u16, ..view.meta }.store(&self.meta);
        // What is skipped beyond the fence costs every search a comparison.
        let skip = if shared < fence + SKIP_GAIN_MIN { fence } else { shared };
        if old + SKIP_GAIN_MIN <= skip {
            self.skip(skip);
        }
    }

    /// Makes all words anew. The node is in change, or new.
    fn skip(&self, skip: usize) {
        let view = self.held();
        for index in view.first()..view.count() {
            let record = view.keyed(index).expect(HELD);
            self.words[index].store(word_behind(record.key(), skip), Ordering::Relaxed);
            self.skipped.store(record.detach().as_ptr(), Ordering::Relaxed);
        }
        Meta { skip: skip as u16, ..view.meta }.store(&self.meta);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let meta = Meta::load(&self.meta);
        if meta.level == 0 {
            return;
        }
        for slot in &self.slots[..usize::from(meta.count)] {
            let child = slot.load(Ordering::Relaxed).cast::<Node>();
            // SAFETY: by (a) made by `Box::into_raw`; by (c) nobody looks any more, and a child has
            // one parent.
            drop(unsafe { Box::from_raw(child) });
        }
    }
}

/// The eight bytes of `key` behind its first `skip` as a number in their order, zeros where it ends.
fn word_behind(key: &[u8], skip: usize) -> u64 {
    let rest = &key[skip..];
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    // The last eight bytes of a longer key hold them all.
    if let (Some(bytes), false) = (key.last_chunk(), rest.is_empty()) {
        return u64::from_be_bytes(*bytes) << (8 * (8 - rest.len()));
    }
    rest.iter()
        .zip((0..8).rev())
        .fold(0, |word, (byte, place)| word | u64::from(*byte) << (8 * place))
}
