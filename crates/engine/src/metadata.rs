//! Keeps the indexes and filters of tables within their share of the budget.
//!
//! Tables load them on first touch and report it here; when the share is used up, those of tables
//! that nobody touched lately go, and are loaded again when needed.
//!
//! 1. The charge is exact: taken before the memory is, given back when the last reader lets go.
//! 2. The hand goes around all tables; a touched one is passed over once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{
    budget::{Budget, Share},
    table::{MetaCharge, Table},
};

/// Keeps the indexes and filters of tables within their share of the budget.
#[derive(Debug)]
pub(crate) struct MetadataKeeper {
    budget: Budget,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    tables: Vec<Weak<Table>>,
    hand: usize,
}

impl MetadataKeeper {
    pub(crate) fn new(budget: Budget) -> MetadataKeeper {
        MetadataKeeper { budget, watched: Mutex::default() }
    }

    /// Counts `table` among those that may be asked to let go.
    pub(crate) fn watch(&self, table: &Arc<Table>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.tables.push(Arc::downgrade(table));
    }

    /// Evicts until the share is kept, or nothing more can go.
    fn make_room(&self) {
        let most = self.budget.share_bytes_max(Share::Metadata);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.tables.retain(|table| table.strong_count() > 0);
        for _ in 0..2 * watched.tables.len() {
            if self.budget.used_bytes(Share::Metadata) <= most {
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
        if self.budget.share_bytes_max(Share::Metadata) < self.budget.used_bytes(Share::Metadata) {
            self.make_room();
        }
    }

    fn give(&self, bytes: u64) {
        self.budget.give(Share::Metadata, bytes);
    }
}
