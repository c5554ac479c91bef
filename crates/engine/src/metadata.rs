//! Keeps the indexes and filters of tables within their share of the budget.
//!
//! Tables load them on first touch and report it here; when the share is used up, those of tables
//! that nobody touched lately go, and are loaded again when needed.
//!
//! 1. The charge is exact: taken before the memory is, given back when the last reader lets go.
//! 2. A table whose index is in memory has its file open; no more are than a part of what the process
//!    may open, so that flushes and the log always find a descriptor.
//! 3. The hand goes around all tables; a touched one is passed over once.

use std::sync::{
    Arc, PoisonError, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    budget::{Budget, Share},
    sync::Mutex,
    table::{MetaCharge, Table},
};

/// Keeps the indexes and filters of tables within their share of the budget.
#[derive(Debug)]
pub(crate) struct MetadataKeeper {
    budget: Budget,
    open_files: AtomicU64,
    open_files_max: u64,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    tables: Vec<Weak<Table>>,
    hand: usize,
}

impl MetadataKeeper {
    pub(crate) fn new(budget: Budget) -> MetadataKeeper {
        let open_files_max = (olivine_vfs::open_files_max() / 4).clamp(4, 4096);
        MetadataKeeper {
            budget,
            open_files: AtomicU64::new(0),
            open_files_max,
            watched: Mutex::default(),
        }
    }

    /// Counts `table` among those that may be asked to let go.
    pub(crate) fn watch(&self, table: &Arc<Table>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.tables.push(Arc::downgrade(table));
    }

    /// Whether memory or descriptors are used beyond their bounds.
    fn is_over(&self) -> bool {
        self.budget.share_bytes_max(Share::Metadata) < self.budget.used_bytes(Share::Metadata)
            || self.open_files_max < self.open_files.load(Relaxed)
    }

    /// Evicts until the bounds are kept, or nothing more can go.
    fn make_room(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.tables.retain(|table| table.strong_count() > 0);
        for _ in 0..2 * watched.tables.len() {
            if !self.is_over() {
                return;
            }
            watched.hand = (watched.hand + 1) % watched.tables.len();
            if let Some(table) = watched.tables[watched.hand].upgrade()
                && !table.take_touched()
            {
                table.evict_meta();
            }
        }
    }
}

impl MetaCharge for MetadataKeeper {
    fn take(&self, bytes: u64) {
        self.budget.take(Share::Metadata, bytes);
        if self.is_over() {
            self.make_room();
        }
    }

    fn give(&self, bytes: u64) {
        self.budget.give(Share::Metadata, bytes);
    }

    fn open_file(&self) {
        self.open_files.fetch_add(1, Relaxed);
    }

    fn close_file(&self) {
        self.open_files.fetch_sub(1, Relaxed);
    }
}
