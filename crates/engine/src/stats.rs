//! What a store has done and holds, in numbers.

use std::{
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_vfs::Room;

use crate::{
    admission::delay_for,
    budget::{Share, ShareUse},
    compaction::{Dropped, Proven},
    histogram::{Counts, Histogram},
    key::SeqNo,
    store::Store,
    sync::Mutex,
    version::LEVELS,
};

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flushed_bytes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compacted_bytes_read: AtomicU64,
    pub(crate) compacted_bytes_written: AtomicU64,
    pub(crate) compacted: Mutex<Proven>,
    pub(crate) compacted_blocks_carried: AtomicU64,
    pub(crate) tables_moved: AtomicU64,
    pub(crate) tables_dropped: AtomicU64,
    pub(crate) stalled_nanos: AtomicU64,
    pub(crate) sync_times: Counts,
    pub(crate) flush_times: Counts,
    pub(crate) compaction_times: Counts,
    pub(crate) wait_times: Counts,
    /// How high level 0 is piled, as the bits of a float; see `admission.rs`.
    pub(crate) pile: AtomicU64,
    /// Bytes of payload ever appended to the log, and how many of those are durable.
    pub(crate) appended_bytes: AtomicU64,
    pub(crate) durable_bytes: AtomicU64,
    /// Bytes of payload that went to memory only.
    pub(crate) unlogged_bytes: AtomicU64,
    /// Length of the log when it was last looked at: once a segment, and after every flush.
    pub(crate) log_bytes: AtomicU64,
    /// Delay that writers owe and have not paid, in nanoseconds.
    owed_nanos: AtomicU64,
}

impl Counters {
    /// Bytes of payload ever written.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.appended_bytes.load(Relaxed) + self.unlogged_bytes.load(Relaxed)
    }

    /// Adds the delay of one write to what is owed. Returns what to pay now: nothing, or all of it.
    pub(crate) fn delay(&self, bytes: usize, pile: f64) -> Duration {
        if pile <= 0.0 {
            return Duration::ZERO;
        }
        let nanos = delay_for(bytes, pile).as_nanos() as u64;
        let owed = self.owed_nanos.fetch_add(nanos, Relaxed) + nanos;
        if owed < 1_000_000 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.owed_nanos.swap(0, Relaxed))
    }
}

/// What a store has done since it was opened, and what it holds now.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// The last write that reads see.
    pub visible: SeqNo,
    /// The last write that a power cut cannot take.
    pub durable: SeqNo,
    /// Keyspaces there are.
    pub keyspaces: usize,
    /// Snapshots alive.
    pub snapshots: usize,
    /// Entries in memtables, versions and deletions counted.
    pub memtable_entries: u64,
    /// Memory of all memtables of the environment.
    pub memtable_bytes: u64,
    /// Memtables that wait for their flush.
    pub memtables_frozen: usize,
    /// Entries in tables, versions and deletions counted.
    pub table_entries: u64,
    /// Deletions in tables.
    pub table_tombstones: u64,
    /// Tables on each level.
    pub level_tables: [usize; LEVELS],
    /// Bytes of tables on each level.
    pub level_bytes: [u64; LEVELS],
    /// Files of values kept apart from the tables.
    pub value_files: usize,
    /// Bytes of those files.
    pub value_bytes: u64,
    /// Bytes of them that tables point to; the rest is garbage, or not in a table yet.
    pub value_bytes_used: u64,
    /// Bytes of the log from its oldest needed segment on.
    pub log_bytes: u64,
    /// Times the log was synced.
    pub syncs: u64,
    /// Memtables flushed, and the bytes of the tables made of them.
    pub flushes: u64,
    /// Bytes written by flushes.
    pub flushed_bytes: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Bytes read by compactions.
    pub compacted_bytes_read: u64,
    /// Bytes written by compactions.
    pub compacted_bytes_written: u64,
    /// Entries read by compactions: as many as they wrote and dropped, or compaction stops.
    pub compacted_entries_read: u64,
    /// Entries written by compactions.
    pub compacted_entries_written: u64,
    /// Entries dropped by compactions, by reason.
    pub compacted_entries_dropped: Dropped,
    /// Blocks that compactions carried from table to table as they were stored: no key of another table lay
    /// between theirs.
    pub compacted_blocks_carried: u64,
    /// Tables that went a level down without being rewritten.
    pub tables_moved: u64,
    /// Tables given up unread, because deleted ranges hid them whole.
    pub tables_dropped: u64,
    /// Whether something waits for room on the disk: a flush, a compaction, or the log.
    pub disk_full: bool,
    /// Time that writers were made to wait.
    pub stalled: Duration,
    /// How long syncs of the log took.
    pub sync_times: Histogram,
    /// How long flushes took.
    pub flush_times: Histogram,
    /// How long compactions took.
    pub compaction_times: Histogram,
    /// How long writers were made to wait, those that were.
    pub wait_times: Histogram,
    /// Memory of cached blocks, for the whole environment.
    pub cache_bytes: u64,
    /// Blocks found in the cache, for the whole environment.
    pub cache_hits: u64,
    /// Blocks looked for in vain, for the whole environment.
    pub cache_misses: u64,
    /// Memory of tables' indexes and filters, for the whole environment.
    pub metadata_bytes: u64,
    /// Memory of blocks that are in the cache no longer while values or cursors hold them; they count
    /// as the cache's.
    pub pinned_bytes: u64,
    /// What each share of the memory budget holds and may hold, for the whole environment.
    pub memory: Vec<ShareUse>,
    /// The room of the file system that the store is on, where that can be told.
    pub room: Option<Room>,
}

impl Store {
    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let compacted = *counters.compacted.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = self.environment.budget();
        let cache = self.cache().stats();
        let mut stats = Stats {
            visible: self.visible(),
            durable: self.durable(),
            snapshots: self.snapshots.len(),
            memtable_bytes: budget.used_bytes(Share::Memtables),
            log_bytes: self.lock_commit().log_bytes(),
            syncs: counters.syncs.load(Relaxed),
            flushes: counters.flushes.load(Relaxed),
            flushed_bytes: counters.flushed_bytes.load(Relaxed),
            compactions: counters.compactions.load(Relaxed),
            compacted_bytes_read: counters.compacted_bytes_read.load(Relaxed),
            compacted_bytes_written: counters.compacted_bytes_written.load(Relaxed),
            compacted_entries_read: compacted.read,
            compacted_entries_written: compacted.written,
            compacted_entries_dropped: compacted.dropped,
            compacted_blocks_carried: counters.compacted_blocks_carried.load(Relaxed),
            tables_moved: counters.tables_moved.load(Relaxed),
            tables_dropped: counters.tables_dropped.load(Relaxed),
            stalled: Duration::from_nanos(counters.stalled_nanos.load(Relaxed)),
            disk_full: self.is_disk_full(),
            sync_times: counters.sync_times.read(),
            flush_times: counters.flush_times.read(),
            compaction_times: counters.compaction_times.read(),
            wait_times: counters.wait_times.read(),
            cache_bytes: cache.bytes,
            cache_hits: cache.hits,
            cache_misses: cache.misses,
            metadata_bytes: budget.used_bytes(Share::Metadata),
            pinned_bytes: cache.pinned_bytes,
            memory: budget.shares(),
            room: self.environment.vfs().room(&self.dir).unwrap_or(None),
            ..Stats::default()
        };
        for tree in self.trees() {
            let state = tree.state();
            stats.keyspaces += 1;
            let files = &state.version.values;
            stats.value_files += files.len();
            stats.value_bytes += files.values().map(|file| file.info.bytes).sum::<u64>();
            stats.memtables_frozen += state.frozen.len();
            stats.memtable_entries +=
                state.memtables().map(|memtable| memtable.table.len()).sum::<u64>();
            for (level, tables) in state.version.levels.iter().enumerate() {
                stats.level_tables[level] += tables.tables().len();
                stats.level_bytes[level] += tables.bytes();
                for file in tables.tables() {
                    stats.table_entries += file.info.entries;
                    stats.value_bytes_used += file.info.values.bytes();
                    stats.table_tombstones += file.info.tombstones;
                }
            }
        }
        stats
    }
}
