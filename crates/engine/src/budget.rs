//! One budget for the memory of every store in a process.
//!
//! Memtables, cached blocks, tables' metadata and whatever a caller reserves are charged here. The
//! split is fixed: each share has its own bound, so that none can starve another. Only the cache, which
//! can give back at once, lives in what memtables leave free.
//!
//! 1. The sum of the shares is at most the whole.
//! 2. A reservation is given back when its guard is dropped, and only then.
//! 3. `reserve` never exceeds the share it draws from; it refuses instead.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::error::{Error, Result};

/// What a part of the budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Entries not yet in tables.
    Memtables,
    /// Decompressed blocks of tables.
    Cache,
    /// Indexes and filters of tables.
    Metadata,
    /// Buffers of flushes and compactions, and whatever callers reserve for themselves.
    Reserved,
}

const SHARES: usize = 4;
/// Parts in a hundred, in the order of `Share`.
const PERCENT: [u64; SHARES] = [30, 50, 12, 8];

/// The smallest budget: below it a single block, index and memtable would not fit together.
pub(crate) const BUDGET_BYTES_MIN: u64 = 1 << 20;

/// The memory that all stores of an environment share.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes_max: u64,
    used: [AtomicU64; SHARES],
}

/// Memory set aside until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    share: Share,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Budget {
        let used = [const { AtomicU64::new(0) }; SHARES];
        Budget { inner: Arc::new(Inner { bytes_max, used }) }
    }

    /// The whole budget in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.inner.bytes_max
    }

    /// The bound of one share in bytes.
    pub fn share_bytes_max(&self, share: Share) -> u64 {
        self.inner.bytes_max / 100 * PERCENT[share as usize]
    }

    /// Bytes charged to one share now.
    pub fn used_bytes(&self, share: Share) -> u64 {
        self.inner.used[share as usize].load(Relaxed)
    }

    /// What is free of one share.
    pub(crate) fn free_bytes(&self, share: Share) -> u64 {
        self.share_bytes_max(share).saturating_sub(self.used_bytes(share))
    }

    /// Sets `bytes` aside for the caller (series heads, connections), or says that there is no room.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let share = Share::Reserved;
        let bytes_max = self.share_bytes_max(share);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= bytes_max);
        match self.inner.used[share as usize].fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => Ok(Reservation { budget: self.clone(), share, bytes }),
            Err(used) => Err(Error::Invalid {
                field: "memory_bytes",
                what: format!(
                    "leaves {} bytes to reserve, and {bytes} were asked for; raise the memory budget",
                    bytes_max.saturating_sub(used)
                ),
            }),
        }
    }

    /// Charges what is already allocated; the charge follows the owner through `Reservation::set`.
    pub(crate) fn charge(&self, share: Share, bytes: u64) -> Reservation {
        self.inner.used[share as usize].fetch_add(bytes, Relaxed);
        Reservation { budget: self.clone(), share, bytes }
    }
}

impl Budget {
    /// Charges a share without a guard; who does keeps count.
    pub(crate) fn take(&self, share: Share, bytes: u64) {
        self.inner.used[share as usize].fetch_add(bytes, Relaxed);
    }

    /// Takes back what `take` charged.
    pub(crate) fn give(&self, share: Share, bytes: u64) {
        self.inner.used[share as usize].fetch_sub(bytes, Relaxed);
    }
}

impl Reservation {
    /// Bytes set aside.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Corrects the charge to what is allocated now.
    pub(crate) fn set(&mut self, bytes: u64) {
        let used = &self.budget.inner.used[self.share as usize];
        if self.bytes <= bytes {
            used.fetch_add(bytes - self.bytes, Relaxed);
        } else {
            used.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_beyond_the_share_is_refused_and_a_dropped_one_makes_room() {
        let budget = Budget::new(100 << 20);
        let bytes_max = budget.share_bytes_max(Share::Reserved);
        let held = budget.reserve(bytes_max).unwrap();
        assert!(budget.reserve(1).is_err());
        drop(held);
        assert_eq!(budget.used_bytes(Share::Reserved), 0);
        budget.reserve(1).unwrap();
    }

    #[test]
    fn the_shares_fit_into_the_whole() {
        assert_eq!(PERCENT.iter().sum::<u64>(), 100);
    }
}
