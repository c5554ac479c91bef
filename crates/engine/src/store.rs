//! One open store: what all its handles share.
//!
//! Locks, in the order in which one thread may hold several:
//!
//! ```text
//! flushing, compacting, preparing   one unit of that work at a time; closing takes all three
//!   manifest             which tables exist; held while an edit is synced
//!     commit             the log's end and the next sequence number; held for microseconds
//!       trees, the change of a Tree's state, Tree::gaps, snapshots, group: leaves, nothing is taken under them
//! ```
//!
//! 1. Readers wait for none of the upper four.
//! 2. `durable <= visible < next`, and each only grows.
//! 3. Every write to the disk that fails shuts the latch; afterwards nothing is acknowledged. What found
//!    no room is no such failure (`room.rs`).

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};

use olivine_vfs::Guard;

use crate::{
    background::Duty,
    cache::BlockCache,
    commit::{Committing, Group, Listener},
    compaction::Urge,
    environment::Environment,
    error::{Error, Result},
    follow::Follower,
    health::{Event, EventListener},
    key::SeqNo,
    keyspace::Tree,
    latch::Latch,
    log::Pool,
    manifest::{Manifest, remove_if_there},
    options::Options,
    recovery::RecoveryReport,
    room::Room,
    snapshot::Snapshots,
    stats::Counters,
    sync::{
        AtomicBool, AtomicU64, Mutex, MutexGuard,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    version::Trash,
};

/// One open store.
pub(crate) struct Store {
    pub(crate) environment: Environment,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    /// Memtable bytes at which one is frozen: the option, or what the budget leaves; split anew with each.
    pub(crate) memtable_bytes_max: AtomicU64,
    /// Drawn when the store was made; every checksum is bound to it.
    pub(crate) id: u64,
    pub(crate) latch: Latch,
    pub(crate) commit: Mutex<Committing>,
    /// The log's segments that wait, for the background: worked on without the commit lock.
    pub(crate) log_pool: Arc<Pool>,
    pub(crate) group: Group,
    pub(crate) listeners: Mutex<Vec<Listener>>,
    pub(crate) event_listeners: Mutex<Vec<EventListener>>,
    visible: AtomicU64,
    durable: AtomicU64,
    pub(crate) next_table: AtomicU64,
    pub(crate) trees: Mutex<BTreeMap<u32, Arc<Tree>>>,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) snapshots: Snapshots,
    pub(crate) flushing: Mutex<()>,
    pub(crate) compacting: Mutex<()>,
    /// Long work in the background ends where it can.
    closing: AtomicBool,
    /// When writes were last seen to go on.
    restless: Mutex<Restless>,
    pub(crate) preparing: Mutex<()>,
    /// How many ask writers to wait, so that they can get a word in.
    pub(crate) holds: AtomicU64,
    /// Why there is no more compaction.
    pub(crate) compaction_halted: OnceLock<Error>,
    pub(crate) room: Room,
    /// Whether it is to be told who holds the log.
    pub(crate) held_news: AtomicBool,
    pub(crate) trash: Arc<Trash>,
    pub(crate) guard: Mutex<Option<Box<dyn Guard>>>,
    /// How a store that is only read follows its writer.
    pub(crate) follower: Option<Follower>,
    pub(crate) counters: Counters,
    pub(crate) report: RecoveryReport,
}

/// The last write that was seen, and since when it is the last.
#[derive(Debug, Default)]
struct Restless {
    visible: SeqNo,
    since: Duration,
}

/// Without a write for so long, nobody is thought to write.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// What opening found; the rest of a store is made from it.
pub(crate) struct Parts {
    pub(crate) environment: Environment,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) memtable_bytes_max: u64,
    pub(crate) id: u64,
    pub(crate) committing: Committing,
    pub(crate) log_pool: Arc<Pool>,
    pub(crate) last_seqno: SeqNo,
    pub(crate) next_table: u64,
    pub(crate) trees: BTreeMap<u32, Arc<Tree>>,
    pub(crate) manifest: Manifest,
    pub(crate) trash: Arc<Trash>,
    /// None if the store is only read.
    pub(crate) guard: Option<Box<dyn Guard>>,
    pub(crate) follower: Option<Follower>,
    pub(crate) report: RecoveryReport,
}

impl Store {
    pub(crate) fn new(parts: Parts) -> Store {
        Store {
            environment: parts.environment,
            dir: parts.dir,
            options: parts.options,
            memtable_bytes_max: AtomicU64::new(parts.memtable_bytes_max),
            id: parts.id,
            latch: Latch::default(),
            commit: Mutex::new(parts.committing),
            log_pool: parts.log_pool,
            group: Group::default(),
            listeners: Mutex::default(),
            event_listeners: Mutex::default(),
            visible: AtomicU64::new(parts.last_seqno),
            durable: AtomicU64::new(parts.last_seqno),
            next_table: AtomicU64::new(parts.next_table),
            trees: Mutex::new(parts.trees),
            manifest: Mutex::new(parts.manifest),
            snapshots: Snapshots::default(),
            flushing: Mutex::new(()),
            compacting: Mutex::new(()),
            closing: AtomicBool::new(false),
            restless: Mutex::default(),
            preparing: Mutex::new(()),
            holds: AtomicU64::new(0),
            compaction_halted: OnceLock::new(),
            room: Room::default(),
            held_news: AtomicBool::new(false),
            trash: parts.trash,
            guard: Mutex::new(parts.guard),
            follower: parts.follower,
            counters: Counters::default(),
            report: parts.report,
        }
    }

    /// The last write that reads see.
    pub(crate) fn visible(&self) -> SeqNo {
        self.visible.load(Acquire)
    }

    /// The last write that a power cut cannot take.
    pub(crate) fn durable(&self) -> SeqNo {
        self.durable.load(Acquire)
    }

    pub(crate) fn set_visible(&self, seqno: SeqNo) {
        self.visible.store(seqno, Release);
    }

    pub(crate) fn raise_durable(&self, seqno: SeqNo) {
        self.durable.fetch_max(seqno, AcqRel);
    }

    pub(crate) fn cache(&self) -> &Arc<BlockCache> {
        self.environment.cache()
    }

    pub(crate) fn lock_commit(&self) -> MutexGuard<'_, Committing> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_trees(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Tree>>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every keyspace there is, by id.
    pub(crate) fn trees(&self) -> Vec<Arc<Tree>> {
        self.lock_trees().values().cloned().collect()
    }

    pub(crate) fn table_path(&self, table: u64) -> PathBuf {
        self.dir.join(table_name(table))
    }

    pub(crate) fn draw_table_id(&self) -> u64 {
        self.next_table.fetch_add(1, Relaxed)
    }

    /// No more writes, because of `error`; those who wait are told. A disk without room is no reason.
    pub(crate) fn fail(&self, error: Error) -> Error {
        if matches!(error, Error::Full { .. }) {
            return error;
        }
        let (told, first) = self.latch.shut(error);
        if first {
            self.group.wake_all();
            self.announce(&Err(told.clone()));
            self.tell(&Event::Refused(told.clone()));
        }
        told
    }

    /// Tells the listeners how far the log is durable, or that it will not be. No lock of the commit
    /// path is held.
    pub(crate) fn announce(&self, durable: &Result<SeqNo>) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for listener in listeners {
            listener(durable);
        }
    }

    /// One unit of background work; false when there is none, or none before there is room on the disk.
    /// Other failures shut the latch.
    pub(crate) fn work(&self, duty: Duty) -> bool {
        let waits = self.room_due_in(duty).is_some_and(|wait| !wait.is_zero());
        if self.latch.is_shut() || waits {
            return false;
        }
        let outcome = match duty {
            Duty::Flush => self.flush_one(),
            Duty::Compact => self.compact_some(),
            Duty::Prepare => self.prepare_one(),
            Duty::Sync => self.sync_one(),
        };
        outcome.unwrap_or_else(|error| {
            self.fail(error);
            false
        })
    }

    /// A compaction that is due, or one that pays while nobody writes.
    fn compact_some(&self) -> Result<bool> {
        let due = self.compact_one(Urge::Due)?;
        Ok(due || (self.is_idle() && self.compact_one(Urge::Idle)?))
    }

    /// Whether no write became visible for a while.
    fn is_idle(&self) -> bool {
        let mut restless = self.restless.lock().unwrap_or_else(PoisonError::into_inner);
        let (visible, now) = (self.visible(), self.environment.now());
        if restless.visible != visible {
            *restless = Restless { visible, since: now };
        }
        IDLE_AFTER <= now.saturating_sub(restless.since)
    }

    /// How long until it is worth looking for compactions again that pay while nobody writes; `None`
    /// when there are none.
    fn idle_due_in(&self) -> Option<Duration> {
        let useful = !self.latch.is_shut() && self.halted().is_none() && self.could_converge();
        useful.then_some(IDLE_AFTER)
    }

    /// Long work in the background ends where it can, and no more begins.
    pub(crate) fn begin_closing(&self) {
        self.closing.store(true, Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Acquire)
    }

    /// Makes a log segment ahead of need, or removes what nobody needs.
    fn prepare_one(&self) -> Result<bool> {
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        self.latch.check()?;
        if !self.trash.is_empty() {
            self.empty_trash()?;
            return Ok(true);
        }
        if !self.log_pool.is_due() {
            return Ok(false);
        }
        match self.log_pool.step() {
            // A writer that needs the segment will say so to its caller.
            Err(Error::Full { .. }) => Ok(false),
            outcome => outcome,
        }
    }

    /// Takes back what the log is done with, and removes what waits to be written again.
    pub(crate) fn trim_log(&self) -> Result<()> {
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match self.log_pool.step() {
                // A segment that is made in vain finds no room: so be it.
                Ok(false) | Err(Error::Full { .. }) => return self.log_pool.trim(),
                Ok(true) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the files that the last reader has left.
    pub(crate) fn empty_trash(&self) -> Result<()> {
        let vfs = self.environment.vfs();
        let files = self.trash.take();
        let cached: Vec<u64> = files.iter().filter_map(|file| file.cache_id).collect();
        if !cached.is_empty() {
            self.cache().remove_tables(&cached);
        }
        for file in files {
            remove_if_there(vfs.as_ref(), &file.path)?;
        }
        Ok(())
    }

    /// How long until `duty` must look again although nobody signals; `None` when it need not.
    pub(crate) fn due_in(&self, duty: Duty) -> Option<Duration> {
        match duty {
            Duty::Sync => self.sync_due_in(),
            Duty::Compact => self.room_due_in(duty).or_else(|| self.idle_due_in()),
            Duty::Flush | Duty::Prepare => self.room_due_in(duty),
        }
    }

    /// How long until the next interval sync is due; `None` when nothing waits for one.
    pub(crate) fn sync_due_in(&self) -> Option<Duration> {
        if self.latch.is_shut() {
            return None;
        }
        self.group.interval_due_in(self.environment.now())
    }
}

/// The name of a table's file.
pub(crate) fn table_name(table: u64) -> String {
    format!("table-{table:012}")
}

/// What users hold of a store: when the last of these goes, the store is closed, although a thread in
/// the background may still hold the store itself.
#[derive(Debug)]
pub(crate) struct OpenStore(Arc<Store>);

impl OpenStore {
    pub(crate) fn new(store: Arc<Store>) -> Arc<OpenStore> {
        Arc::new(OpenStore(store))
    }
}

impl Deref for OpenStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.0.shut_down().ok();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}
