//! A keyspace: a named, ordered map of its own within a store, and the handle that users hold.
//!
//! 1. `State` never changes; whoever freezes, flushes or compacts swaps in another one under
//!    `state_change`, so that no swap is lost.
//! 2. The memtables of a state, newest first, then its version, are newer to older for every key.
//! 3. A dropped keyspace keeps its handle working: every call answers `Error::Dropped`.

use std::{
    fmt,
    ops::RangeBounds,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use arc_swap::ArcSwap;

use crate::{
    budget::{Reservation, Share},
    cache::BlockCache,
    environment::Environment,
    error::{Error, Result},
    iter::{Bounds, Cursor, Iter, View},
    key::{Kind, SeqNo, Stamp},
    memtable::Memtable,
    read::ReadFrom,
    store::OpenStore,
    value::Value,
    version::Version,
};

/// The longest name of a keyspace, in bytes.
pub const KEYSPACE_NAME_BYTES_MAX: usize = 255;

/// A memtable, and which part of the log it answers for.
pub(crate) struct LoggedMemtable {
    pub(crate) table: Arc<Memtable>,
    /// The segment with the first record in here; `u64::MAX` while there is none.
    oldest_segment: AtomicU64,
    newest_seqno: AtomicU64,
    charge: Mutex<Reservation>,
    charged_bytes: AtomicU64,
    /// Lives in what memtables leave free.
    cache: Arc<BlockCache>,
    /// The last write that readers of this may see.
    seen_up_to: SeqNo,
    /// The one that inserts go to and that pays for the memory, if this is a view of it.
    whole: Option<Arc<LoggedMemtable>>,
}

impl LoggedMemtable {
    pub(crate) fn new(environment: &Environment, bytes_hint: u64) -> LoggedMemtable {
        let table = Arc::new(Memtable::new(bytes_hint));
        let bytes = table.bytes();
        LoggedMemtable {
            charge: Mutex::new(environment.budget().charge(Share::Memtables, bytes)),
            cache: Arc::clone(environment.cache()),
            charged_bytes: AtomicU64::new(bytes),
            table,
            oldest_segment: AtomicU64::new(u64::MAX),
            newest_seqno: AtomicU64::new(0),
            seen_up_to: SeqNo::MAX,
            whole: None,
        }
    }

    /// What `whole` holds up to `seqno`, for readers; it may be inserted into meanwhile.
    pub(crate) fn view(
        environment: &Environment,
        whole: &Arc<LoggedMemtable>,
        seqno: SeqNo,
    ) -> LoggedMemtable {
        LoggedMemtable {
            charge: Mutex::new(environment.budget().charge(Share::Memtables, 0)),
            cache: Arc::clone(environment.cache()),
            charged_bytes: AtomicU64::new(0),
            table: Arc::clone(&whole.table),
            oldest_segment: AtomicU64::new(whole.oldest_segment()),
            newest_seqno: AtomicU64::new(whole.newest_seqno()),
            seen_up_to: seqno,
            whole: Some(Arc::clone(whole)),
        }
    }

    /// Adds an entry whose record lies in `segment`. One caller at a time.
    pub(crate) fn insert(&self, segment: u64, key: &[u8], stamp: Stamp, value: &[u8]) {
        if self.oldest_segment.load(Relaxed) == u64::MAX {
            self.oldest_segment.store(segment, Release);
        }
        self.table.insert(key, stamp, value);
        self.newest_seqno.store(stamp.seqno(), Release);
        let bytes = self.table.bytes();
        if bytes != self.charged_bytes.load(Relaxed) {
            self.charged_bytes.store(bytes, Relaxed);
            self.charge.lock().unwrap_or_else(PoisonError::into_inner).set(bytes);
            self.cache.trim();
        }
    }

    pub(crate) fn oldest_segment(&self) -> u64 {
        self.oldest_segment.load(Acquire)
    }

    pub(crate) fn newest_seqno(&self) -> SeqNo {
        self.newest_seqno.load(Acquire)
    }
}

impl fmt::Debug for LoggedMemtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedMemtable")
            .field("entries", &self.table.len())
            .field("is_view", &self.whole.is_some())
            .finish_non_exhaustive()
    }
}

/// Everything a keyspace holds at one moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) active: Arc<LoggedMemtable>,
    /// Newest first.
    pub(crate) frozen: Vec<Arc<LoggedMemtable>>,
    pub(crate) version: Arc<Version>,
}

impl State {
    /// The last write that readers of this state may see when `visible` is the store's.
    pub(crate) fn seen(&self, visible: SeqNo) -> SeqNo {
        visible.min(self.active.seen_up_to)
    }

    /// The memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<LoggedMemtable>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }
}

/// One ordered map.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) id: u32,
    pub(crate) name: String,
    state: ArcSwap<State>,
    state_change: Mutex<()>,
    dropped: AtomicBool,
    /// Where the last compaction out of each level ended.
    pub(crate) compacted_to: Mutex<[Vec<u8>; crate::version::LEVELS]>,
}

impl Tree {
    pub(crate) fn new(id: u32, name: String, state: State) -> Tree {
        Tree {
            id,
            name,
            state: ArcSwap::from_pointee(state),
            state_change: Mutex::new(()),
            dropped: AtomicBool::new(false),
            compacted_to: Mutex::default(),
        }
    }

    /// The state of this moment, for the length of one call.
    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Swaps in what `change` makes of the state.
    pub(crate) fn change_state(&self, change: impl FnOnce(&State) -> State) {
        let _guard = self.state_change.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(&self.state.load());
        self.state.store(Arc::new(next));
    }

    pub(crate) fn check_there(&self) -> Result<()> {
        if self.dropped.load(Acquire) {
            return Err(Error::Dropped { keyspace: self.name.clone() });
        }
        Ok(())
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Acquire)
    }

    pub(crate) fn mark_dropped(&self) {
        self.dropped.store(true, Release);
    }
}

/// A named, ordered map within a store. Clones are the same keyspace.
#[derive(Clone)]
pub struct Keyspace {
    store: Arc<OpenStore>,
    tree: Arc<Tree>,
}

impl Keyspace {
    pub(crate) fn new(store: Arc<OpenStore>, tree: Arc<Tree>) -> Keyspace {
        Keyspace { store, tree }
    }

    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    pub(crate) fn store(&self) -> &Arc<OpenStore> {
        &self.store
    }

    /// The keyspace's name.
    pub fn name(&self) -> &str {
        &self.tree.name
    }

    /// Sets the value of `key`, with the store's durability. Returns the write's sequence number.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<SeqNo> {
        self.store.write_one(&self.tree, Kind::Put, key, value)
    }

    /// Removes `key`, whether or not it is there, with the store's durability.
    pub fn delete(&self, key: &[u8]) -> Result<SeqNo> {
        self.store.write_one(&self.tree, Kind::Delete, key, &[])
    }

    /// The value of `key`, or `None`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.get_seen(key)?.0)
    }

    /// The value of `key`, and a sequence number up to which it was read: once `Db::durable` has
    /// reached it, nothing that this read saw can be lost.
    pub fn get_seen(&self, key: &[u8]) -> Result<(Option<Value>, SeqNo)> {
        self.store.get_latest(&self.tree, key, ReadFrom::Disk)
    }

    /// As `get`, but answers `Error::WouldBlock` instead of reading the disk.
    pub fn get_if_cached(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.store.get_latest(&self.tree, key, ReadFrom::Memory)?.0)
    }

    /// The values of several keys, all of one moment.
    pub fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.store.multi_get(&self.tree, keys)
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Walks all entries, as of now.
    pub fn iter(&self) -> Result<Iter> {
        Iter::open(&self.store, &self.tree, None, Bounds::all())
    }

    /// Walks the entries whose keys lie within `bounds`, as of now.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Iter> {
        Iter::open(&self.store, &self.tree, None, Bounds::of(bounds))
    }

    /// Walks the entries whose keys begin with `prefix`, as of now.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Iter> {
        Iter::open(&self.store, &self.tree, None, Bounds::of_prefix(prefix))
    }

    /// A cursor over all entries, as of now; quicker than an iterator, since nothing is copied.
    pub fn cursor(&self) -> Result<Cursor> {
        Ok(Cursor::open(View::open(&self.store, &self.tree, None)?, Bounds::all()))
    }

    /// A cursor over the entries whose keys lie within `bounds`, as of now.
    pub fn cursor_within<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Cursor> {
        Ok(Cursor::open(View::open(&self.store, &self.tree, None)?, Bounds::of(bounds)))
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.tree.name).finish_non_exhaustive()
    }
}
