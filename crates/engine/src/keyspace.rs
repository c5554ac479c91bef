//! A keyspace: a named, ordered map of its own within a store, and the handle that users hold.
//!
//! 1. `State` never changes; whoever freezes, flushes or compacts swaps in another one, and no swap is lost
//!    (`swap.rs`).
//! 2. The memtables of a state, newest first, then its version, are newer to older for every key.
//! 3. A dropped keyspace keeps its handle working: every call answers `Error::Dropped`.

mod swap;

use std::{
    fmt,
    io::Read,
    ops::RangeBounds,
    sync::{
        Arc, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

use arc_swap::ArcSwapOption;

use swap::Swap;

use crate::{
    appended::Appended,
    batch::{Batch, Operation},
    budget::{Reservation, Share},
    compaction::{Crawls, Rules},
    environment::Environment,
    error::{Error, Result},
    gaps::Gaps,
    iter::{Bounds, Cursor, Iter, View},
    key::{Kind, SeqNo, Stamp},
    memtable::Memtable,
    operator::{CompactionFilter, MergeOperator, find_filter, find_operator},
    options::{KeyspaceOptions, Options},
    pointer::Pointer,
    positions::Positions,
    ranges::RangeDeletes,
    read::{ReadFrom, get_stream},
    store::OpenStore,
    sync::Mutex,
    sync::Swapped,
    table::TableOrigin,
    value::Value,
    values::{LiveValues, ValueReader},
    version::Version,
};

/// The longest name of a keyspace, in bytes.
pub const KEYSPACE_NAME_BYTES_MAX: usize = 255;

/// Pieces of deleted ranges at which a memtable is flushed.
const RANGES_MANY: usize = 1024;

/// A memtable, and which part of the log it answers for.
pub(crate) struct LoggedMemtable {
    pub(crate) table: Arc<Memtable>,
    /// The segment with the first record in here; `u64::MAX` while there is none.
    oldest_segment: AtomicU64,
    newest_seqno: AtomicU64,
    charge: Mutex<Reservation>,
    charged_bytes: AtomicU64,
    /// The value files that entries in here point into.
    values: Mutex<Vec<Arc<LiveValues>>>,
    /// The ranges deleted; newer than anything older memtables and tables hold.
    range_deletes: ArcSwapOption<RangeDeletes>,
    range_bytes: AtomicU64,
    /// Appended records up to here are covered by what is in here and below.
    applied: AtomicU64,
    /// Up to where ranges have been applied with what is in here.
    positions: Mutex<Positions>,
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
            charged_bytes: AtomicU64::new(bytes),
            table,
            oldest_segment: AtomicU64::new(u64::MAX),
            newest_seqno: AtomicU64::new(0),
            values: Mutex::default(),
            range_deletes: ArcSwapOption::empty(),
            range_bytes: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            positions: Mutex::default(),
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
            charged_bytes: AtomicU64::new(0),
            table: Arc::clone(&whole.table),
            values: Mutex::new(whole.values()),
            range_deletes: ArcSwapOption::new(whole.range_deletes()),
            range_bytes: AtomicU64::new(whole.range_bytes.load(Relaxed)),
            applied: AtomicU64::new(whole.applied()),
            positions: Mutex::new(whole.positions()),
            oldest_segment: AtomicU64::new(whole.oldest_segment()),
            newest_seqno: AtomicU64::new(whole.newest_seqno()),
            seen_up_to: seqno,
            whole: Some(Arc::clone(whole)),
        }
    }

    /// Takes an operation of a batch whose record lies in `segment`. One caller at a time.
    pub(crate) fn apply(&self, segment: u64, operation: &Operation<'_>, seqno: SeqNo) {
        match operation.kind {
            Kind::Append | Kind::Applied | Kind::Position => {
                unreachable!("the keyspace takes these itself")
            }
            Kind::RangeDelete => {
                self.delete_range(segment, operation.key, operation.value, seqno);
            }
            kind => {
                self.insert(segment, operation.key, Stamp::new(seqno, kind), operation.value);
            }
        }
    }

    /// Holds the value file of a pointer that is about to be inserted.
    pub(crate) fn hold(&self, file: Arc<LiveValues>) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// The value files that entries in here point into.
    pub(crate) fn values(&self) -> Vec<Arc<LiveValues>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds an entry whose record lies in `segment`. One caller at a time.
    fn insert(&self, segment: u64, key: &[u8], stamp: Stamp, value: &[u8]) {
        self.table.insert(key, stamp, value);
        self.note(segment, stamp.seqno());
    }

    fn delete_range(&self, segment: u64, start: &[u8], end: &[u8], seqno: SeqNo) {
        let known = self.range_deletes.load();
        let nothing = RangeDeletes::default();
        let list = known.as_deref().unwrap_or(&nothing).with(start, end, seqno);
        self.range_bytes.store(list.bytes(), Relaxed);
        self.range_deletes.store(Some(Arc::new(list)));
        self.note(segment, seqno);
    }

    /// Notes that appended records up to `up_to` are covered.
    pub(crate) fn note_applied(&self, segment: u64, seqno: SeqNo, up_to: SeqNo) {
        self.applied.fetch_max(up_to, AcqRel);
        self.note(segment, seqno);
    }

    /// Appended records up to here are covered by what is in here and below; 0 when it says nothing.
    pub(crate) fn applied(&self) -> SeqNo {
        self.applied.load(Acquire)
    }

    /// Notes up to where a range has been applied; empty forgets it.
    pub(crate) fn note_position(&self, segment: u64, seqno: SeqNo, range: &[u8], position: &[u8]) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert(range.to_vec(), position.to_vec());
        drop(positions);
        self.note(segment, seqno);
    }

    /// Up to where ranges have been applied with what is in here.
    pub(crate) fn positions(&self) -> Positions {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, segment: u64, seqno: SeqNo) {
        if self.oldest_segment.load(Relaxed) == u64::MAX {
            self.oldest_segment.store(segment, Release);
        }
        self.newest_seqno.store(seqno, Release);
        let bytes = self.bytes();
        if bytes != self.charged_bytes.load(Relaxed) {
            self.charged_bytes.store(bytes, Relaxed);
            self.charge.lock().unwrap_or_else(PoisonError::into_inner).set(bytes);
        }
    }

    /// The ranges deleted, if any.
    pub(crate) fn range_deletes(&self) -> Option<Arc<RangeDeletes>> {
        self.range_deletes.load_full()
    }

    /// The newest deletion of a range with `key` that a reader of `seqno` sees; 0 for none.
    pub(crate) fn covering(&self, key: &[u8], seqno: SeqNo) -> SeqNo {
        if self.range_bytes.load(Relaxed) == 0 {
            return 0;
        }
        self.range_deletes.load().as_deref().map_or(0, |list| list.covering(key, seqno))
    }

    /// All the memory taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.table.bytes() + self.range_bytes.load(Relaxed)
    }

    /// Whether the list of ranges is long enough to be flushed: adding to it gets slow.
    pub(crate) fn has_many_ranges(&self) -> bool {
        let ranges = self.range_deletes.load();
        ranges.as_deref().is_some_and(|list| RANGES_MANY <= list.pieces().len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty() && self.range_deletes.load().is_none()
    }

    /// Whether a flush would change nothing.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.newest_seqno() == 0
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

    /// Has the active memtable hold the value file of a pointer that goes into it; false when the
    /// pointer does not decode or names no file.
    pub(crate) fn hold_values_of(&self, pointer: &[u8]) -> bool {
        let file = Pointer::decode(pointer).and_then(|pointer| self.find_values(pointer.file));
        let held = file.map(|file| self.active.hold(file));
        held.is_some()
    }

    /// The value file of this number, into which something in this state points.
    pub(crate) fn find_values(&self, file: u64) -> Option<Arc<LiveValues>> {
        // A pointer in a memtable may be younger than the version beside it.
        let held = |memtable: &Arc<LoggedMemtable>| {
            memtable.values().into_iter().find(|values| values.info.file == file)
        };
        let known = self.version.values.get(&file).cloned();
        known.or_else(|| self.memtables().find_map(held))
    }
}

/// How a keyspace behaves, with the code that its options name.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeRules {
    pub(crate) options: KeyspaceOptions,
    pub(crate) operator: Option<Arc<dyn MergeOperator>>,
    pub(crate) filter: Option<Arc<dyn CompactionFilter>>,
}

impl TreeRules {
    /// Finds what `named` names among what the store was given.
    pub(crate) fn resolve(named: &KeyspaceOptions, given: &Options) -> Result<TreeRules> {
        named.validate()?;
        let operator = |name: &String| find_operator(&given.merge_operators, name);
        let filter = |name: &String| find_filter(&given.compaction_filters, name);
        Ok(TreeRules {
            options: named.clone(),
            operator: named.merge.as_ref().map(operator).transpose()?,
            filter: named.filter.as_ref().map(filter).transpose()?,
        })
    }
}

/// One ordered map.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) rules: TreeRules,
    /// What expires up to here may be gone; it only grows.
    expiry_mark: AtomicU64,
    state: Swap<State>,
    dropped: AtomicBool,
    /// Where walks met many deletions.
    pub(crate) crawls: Arc<Crawls>,
    /// Tables of so many bytes are not put together any more: there was no memory to make larger ones.
    pub(crate) joined_bytes: AtomicU64,
    pub(crate) gaps: Gaps,
    /// Records that went to the log only.
    pub(crate) appended: Appended,
    /// Up to where ranges have been applied, as the manifest says.
    pub(crate) positions: Mutex<Positions>,
}

impl Tree {
    pub(crate) fn new(
        id: u32,
        name: String,
        rules: TreeRules,
        expiry_mark: u64,
        state: State,
    ) -> Tree {
        Tree {
            id,
            name,
            rules,
            expiry_mark: AtomicU64::new(expiry_mark),
            state: Swap::new(state),
            dropped: AtomicBool::new(false),
            crawls: Arc::default(),
            joined_bytes: AtomicU64::new(u64::MAX),
            gaps: Gaps::default(),
            appended: Appended::default(),
            positions: Mutex::default(),
        }
    }

    /// Where a table of this keyspace belongs that is written for `level`.
    pub(crate) fn origin(&self, level: usize, flushed: SeqNo) -> TableOrigin {
        let (name, options) = (self.name.clone(), self.rules.options.clone());
        let (keyspace, level, inputs) = (self.id, level as u8, Vec::new());
        TableOrigin { keyspace, name, level, flushed, options, inputs }
    }

    /// The state of this moment, for the length of one call.
    pub(crate) fn state(&self) -> Swapped<Arc<State>> {
        self.state.load()
    }

    /// Swaps in what `change` makes of the state.
    pub(crate) fn change_state(&self, change: impl FnOnce(&State) -> State) {
        self.state.change(change);
    }

    pub(crate) fn check_there(&self) -> Result<()> {
        if self.dropped.load(Acquire) {
            return Err(Error::Dropped { keyspace: self.name.clone() });
        }
        Ok(())
    }

    /// What expires up to here may be gone.
    pub(crate) fn expiry_mark(&self) -> u64 {
        self.expiry_mark.load(Acquire)
    }

    pub(crate) fn raise_expiry_mark(&self, mark: u64) {
        self.expiry_mark.fetch_max(mark, AcqRel);
    }

    /// What folding versions of this keyspace needs to know.
    pub(crate) fn folding_rules(&self, boundaries: Vec<SeqNo>, ranges: RangeDeletes) -> Rules<'_> {
        Rules {
            boundaries,
            ranges,
            operator: self.rules.operator.as_deref(),
            filter: self.rules.filter.as_deref(),
            expiry_mark: self.expiry_mark(),
        }
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Acquire)
    }

    /// Takes the mark back: dropping it found no room.
    pub(crate) fn mark_there(&self) {
        self.dropped.store(false, Release);
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
    /// The time that this handle's reads and writes go by.
    now: u64,
}

impl Keyspace {
    pub(crate) fn new(store: Arc<OpenStore>, tree: Arc<Tree>) -> Keyspace {
        Keyspace { store, tree, now: 0 }
    }

    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    pub(crate) fn store(&self) -> &Arc<OpenStore> {
        &self.store
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// The keyspace's name.
    pub fn name(&self) -> &str {
        &self.tree.name
    }

    /// How the keyspace behaves.
    pub fn options(&self) -> &KeyspaceOptions {
        &self.tree.rules.options
    }

    /// This keyspace at the time `now`, in whatever unit the caller counts: values that have expired by
    /// then do not show, and in a keyspace with a TTL values put expire that much later. Without it,
    /// values show until the expiry mark has passed them.
    pub fn at(&self, now: u64) -> Keyspace {
        Keyspace { store: Arc::clone(&self.store), tree: Arc::clone(&self.tree), now }
    }

    /// Lets compaction drop what has expired by `mark`, durably. The mark never goes back, and no read
    /// goes by an earlier time any more. Returns the mark that holds now.
    pub fn advance_expiry_mark(&self, mark: u64) -> Result<u64> {
        self.store.advance_expiry_mark(&self.tree, mark)
    }

    /// What expires up to here may be gone.
    pub fn expiry_mark(&self) -> u64 {
        self.tree.expiry_mark()
    }

    /// Sets the value of `key`, with the store's durability. Returns the write's sequence number.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<SeqNo> {
        if self.tree.rules.options.ttl.is_none() {
            return self.store.write_one(&self.tree, Kind::Put, key, value);
        }
        let mut batch = Batch::new();
        batch.put(self, key, value)?;
        self.store.write_batch(&batch, self.store.options.durability)
    }

    /// Sets the value of `key` until the time `expiry`: from then on it does not show.
    pub fn put_with_expiry(&self, key: &[u8], value: &[u8], expiry: u64) -> Result<SeqNo> {
        let mut batch = Batch::new();
        batch.put_with_expiry(self, key, value, expiry)?;
        self.store.write_batch(&batch, self.store.options.durability)
    }

    /// Merges `operand` into the value of `key` by the keyspace's operator, without reading it.
    pub fn merge(&self, key: &[u8], operand: &[u8]) -> Result<SeqNo> {
        let mut batch = Batch::new();
        batch.merge(self, key, operand)?;
        self.store.write_batch(&batch, self.store.options.durability)
    }

    /// Removes `key`, whether or not it is there, with the store's durability.
    pub fn delete(&self, key: &[u8]) -> Result<SeqNo> {
        self.store.write_one(&self.tree, Kind::Delete, key, &[])
    }

    /// Removes every key from `start` up to `end`, which stays: one small write however many there are.
    pub fn delete_range(&self, start: &[u8], end: &[u8]) -> Result<SeqNo> {
        let mut batch = Batch::new();
        batch.delete_range(self, start, end)?;
        self.store.write_batch(&batch, self.store.options.durability)
    }

    /// The value of `key`, or `None`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.get_seen(key)?.0)
    }

    /// The value of `key`, and a sequence number up to which it was read: once `Db::durable` has
    /// reached it, nothing that this read saw can be lost.
    pub fn get_seen(&self, key: &[u8]) -> Result<(Option<Value>, SeqNo)> {
        self.store.get_latest(&self.tree, key, self.now, ReadFrom::Disk)
    }

    /// As `get`, but answers `Error::WouldBlock` instead of reading the disk.
    pub fn get_if_cached(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.store.get_latest(&self.tree, key, self.now, ReadFrom::Memory)?.0)
    }

    /// The values of several keys, all of one moment.
    pub fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.store.multi_get(&self.tree, keys, self.now)
    }

    /// Sets the value of `key` to the next `bytes` bytes of `source`, up to 1 GiB, with the store's
    /// durability. They go to disk as they come and are never in memory together. Returns the write's
    /// sequence number.
    pub fn put_stream(&self, key: &[u8], bytes: u64, mut source: impl Read) -> Result<SeqNo> {
        self.store.put_stream(self, key, bytes, &mut source)
    }

    /// A reader of the value of `key`, or `None`. What it reads stays as it is, whatever happens to the
    /// key; its file stays on disk as long as the reader is open.
    pub fn get_stream(&self, key: &[u8]) -> Result<Option<ValueReader>> {
        get_stream(&self.store, &self.tree, key, None, self.now)
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        self.store.contains(&self.tree, key, self.now)
    }

    /// Walks all entries, as of now.
    pub fn iter(&self) -> Result<Iter> {
        Ok(Iter::open(self.view()?, Bounds::all()))
    }

    /// Walks the entries whose keys lie within `bounds`, as of now.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Iter> {
        Ok(Iter::open(self.view()?, Bounds::of(bounds)))
    }

    /// Walks the entries whose keys begin with `prefix`, as of now.
    pub fn prefix(&self, prefix: &[u8]) -> Result<Iter> {
        Ok(Iter::open(self.view()?, Bounds::of_prefix(prefix)))
    }

    /// A cursor over all entries, as of now; quicker than an iterator, since nothing is copied.
    pub fn cursor(&self) -> Result<Cursor> {
        Ok(Cursor::open(self.view()?, Bounds::all()))
    }

    /// A cursor over the entries whose keys lie within `bounds`, as of now.
    pub fn cursor_within<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<Cursor> {
        Ok(Cursor::open(self.view()?, Bounds::of(bounds)))
    }

    /// About how many bytes of tables hold the keys within `bounds`: to a block at each end, with
    /// versions and deletions that are on their way out, without what is still in memory.
    pub fn size_of_range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Result<u64> {
        self.tree.check_there()?;
        let bounds = Bounds::of(bounds);
        let version = Arc::clone(&self.tree.state().version);
        let mut bytes = 0;
        for file in version.tables().filter(|file| bounds.meets_table(&file.info)) {
            bytes += if bounds.holds_table(&file.info) {
                file.info.bytes
            } else {
                file.table.bytes_between(bounds.lower(), bounds.upper())?
            };
        }
        Ok(bytes)
    }

    fn view(&self) -> Result<View> {
        View::open(&self.store, &self.tree, None, self.now)
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.tree.name).finish_non_exhaustive()
    }
}
