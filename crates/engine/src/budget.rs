//! One budget for the memory of every store in a process.
//!
//! Whoever holds memory that grows with the data or with what callers do charges it here, to one of the
//! shares. A share has a part that nobody else may take, and beyond it takes what is free of a part
//! common to all, up to a bound; so what is measured decides the split. The cache has what the others
//! leave, and gives it back at once when they need it. Memtables take of the common part only while far
//! more is written than is looked up in the cache, as a memtable twice as large saves merges (`lend`).
//!
//! What is charged, and how exactly: memtables to the arena's chunk, the cache and metadata to the
//! byte, blocks that were evicted while somebody holds them to the byte until the next look, a
//! transaction by what its keys and values take and 64 bytes each, a cursor by its window and the
//! largest block outside of the cache that it stood in. Flushes, compactions, ingests, streams and
//! copies declare what they will need before they begin, and do with what they get.
//!
//! 1. The parts that nobody else may take, and the common one, are together at most the whole.
//! 2. A reservation is given back when its guard is dropped, and only then.
//! 3. `reserve` and `allow` never exceed the share they draw from; they refuse, or give less.
//! 4. Only what must go on whatever happens charges without asking (`charge`, `take`): memtables, which
//!    admission bounds; metadata, which evicts; the minimum of a flush or a compaction, of which there
//!    are as many as there are threads that do it.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::error::{Error, Result};

/// What a part of the budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Share {
    /// Entries not yet in tables.
    Memtables,
    /// Decompressed blocks of tables, those included that were evicted while somebody holds them.
    Cache,
    /// Indexes and filters of tables.
    Metadata,
    /// Buffers of flushes and compactions.
    Writing,
    /// Buffers of ingests, streams, checkpoints and backups.
    Loading,
    /// What cursors have read ahead, and the blocks they hold that are not in the cache.
    Walks,
    /// What transactions have read and written.
    Transactions,
    /// Whatever callers reserve for themselves.
    Reserved,
}

impl Share {
    /// All shares.
    pub const ALL: [Share; SHARES] = [
        Share::Memtables,
        Share::Cache,
        Share::Metadata,
        Share::Writing,
        Share::Loading,
        Share::Walks,
        Share::Transactions,
        Share::Reserved,
    ];

    /// Its name in statistics, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Share::Memtables => "memtables",
            Share::Cache => "cache",
            Share::Metadata => "metadata",
            Share::Writing => "writing",
            Share::Loading => "loading",
            Share::Walks => "walks",
            Share::Transactions => "transactions",
            Share::Reserved => "reserved",
        }
    }
}

const SHARES: usize = 8;
/// Parts in a hundred that nobody else may take, in the order of `Share`. Those of memtables and the
/// cache are lent to the cache while they are free; the others are there at once when needed.
const LEAST: [u64; SHARES] = [30, 10, 8, 4, 1, 2, 1, 4];
/// And with what a share takes of the common part, at most.
const MOST: [u64; SHARES] = [50, 80, 38, 24, 11, 12, 11, 24];
/// What is common to all: whoever needs it has it, and the cache meanwhile.
const COMMON: u64 = 40;

/// The smallest budget of which memtables are lent something: below, what the others have of their own does
/// not go far, and they would be refused for what memtables cannot give back at once.
const LEND_BYTES_MIN: u64 = 16 << 20;

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
    /// Parts in a hundred that memtables may have at the moment.
    memtables_most: AtomicU64,
    /// Who has what the others leave.
    rest: OnceLock<Weak<dyn GiveBack>>,
}

/// Has what others leave, and gives it back.
pub(crate) trait GiveBack: Send + Sync {
    /// What the others leave has become less.
    fn give_back(&self);
}

/// What one share holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareUse {
    /// Which share.
    pub share: Share,
    /// Bytes charged to it.
    pub bytes: u64,
    /// What it may hold at this moment.
    pub bytes_max: u64,
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
        Budget {
            inner: Arc::new(Inner {
                bytes_max,
                used,
                memtables_most: AtomicU64::new(LEAST[Share::Memtables as usize]),
                rest: OnceLock::new(),
            }),
        }
    }

    /// Names who has what the others leave; the first one named is it.
    pub(crate) fn set_rest(&self, rest: Weak<dyn GiveBack>) {
        self.inner.rest.set(rest).ok();
    }

    /// The whole budget in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.inner.bytes_max
    }

    /// What one share may hold at this moment, in bytes: what the others leave it of the common part
    /// comes to what is its own.
    pub fn share_bytes_max(&self, share: Share) -> u64 {
        if share == Share::Cache {
            return self.rest_bytes();
        }
        let others = Share::ALL.into_iter().filter(|other| *other != share);
        let free = self.part(COMMON).saturating_sub(others.map(|s| self.beyond(s)).sum());
        let least = self.part(LEAST[share as usize]);
        self.part(self.most(share)).min(least + free)
    }

    /// Bytes charged to one share now.
    pub fn used_bytes(&self, share: Share) -> u64 {
        self.inner.used[share as usize].load(Relaxed)
    }

    /// What every share holds and may hold.
    pub fn shares(&self) -> Vec<ShareUse> {
        let share_use = |share| ShareUse {
            share,
            bytes: self.used_bytes(share),
            bytes_max: self.share_bytes_max(share),
        };
        Share::ALL.into_iter().map(share_use).collect()
    }

    /// Lets memtables take of the common part from now on, or no longer; that ends once they hold no more
    /// than what is their own. Returns what they are to aim at together.
    pub(crate) fn lend_memtables(&self, more: bool) -> u64 {
        let (share, place) = (Share::Memtables, Share::Memtables as usize);
        let own = self.part(LEAST[place]);
        let more = more && LEND_BYTES_MIN <= self.inner.bytes_max;
        if more {
            self.inner.memtables_most.store(MOST[place], Relaxed);
        } else if self.used_bytes(share) <= own {
            self.inner.memtables_most.store(LEAST[place], Relaxed);
        }
        if more { self.share_bytes_max(share) } else { own }
    }

    /// Whether memtables hold so many quarters of all that they may. Every write asks, and mostly one look tells.
    #[inline]
    pub(crate) fn is_full_of_memtables(&self, quarters: u64) -> bool {
        let used = self.used_bytes(Share::Memtables);
        self.part(LEAST[Share::Memtables as usize]) / 4 * quarters <= used
            && self.share_bytes_max(Share::Memtables) / 4 * quarters <= used
    }

    /// Parts in a hundred that a share may have.
    fn most(&self, share: Share) -> u64 {
        match share {
            Share::Memtables => self.inner.memtables_most.load(Relaxed),
            _ => MOST[share as usize],
        }
    }

    fn part(&self, percent: u64) -> u64 {
        self.inner.bytes_max / 100 * percent
    }

    /// What a share holds of the common part.
    fn beyond(&self, share: Share) -> u64 {
        match share {
            Share::Cache => 0,
            // What goes beyond what they were lent, as recovery may, is nobody's to miss.
            Share::Memtables => {
                let lent = self.used_bytes(share).min(self.part(self.most(share)));
                lent.saturating_sub(self.part(LEAST[share as usize]))
            }
            _ => self.used_bytes(share).saturating_sub(self.part(LEAST[share as usize])),
        }
    }

    /// What the others leave.
    fn rest_bytes(&self) -> u64 {
        let held = |share: Share| match share {
            Share::Memtables => self.used_bytes(share),
            Share::Cache => 0,
            _ => self.used_bytes(share).max(self.part(LEAST[share as usize])),
        };
        self.inner.bytes_max.saturating_sub(Share::ALL.into_iter().map(held).sum())
    }

    /// Has the cache give back what it holds beyond what the others leave.
    fn settle(&self, share: Share) {
        if share != Share::Cache
            && self.rest_bytes() < self.used_bytes(Share::Cache)
            && let Some(rest) = self.inner.rest.get().and_then(Weak::upgrade)
        {
            rest.give_back();
        }
    }

    /// Adds to a share what fits into it: all or nothing.
    fn add(&self, share: Share, bytes: u64) -> bool {
        let used = &self.inner.used[share as usize];
        let bytes_max = self.share_bytes_max(share);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= bytes_max);
        let added = used.fetch_update(Relaxed, Relaxed, fits).is_ok();
        // Two that draw on the common part at once have both seen it free.
        if added && self.share_bytes_max(share) < used.load(Relaxed) {
            used.fetch_sub(bytes, Relaxed);
            return false;
        }
        if added {
            self.settle(share);
        }
        added
    }

    /// Sets `bytes` aside for the caller (series heads, connections), or says that there is no room.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        self.hold(Share::Reserved, bytes)
    }

    /// Charges `bytes` to a share, or says that there is no room.
    pub(crate) fn hold(&self, share: Share, bytes: u64) -> Result<Reservation> {
        if self.add(share, bytes) {
            return Ok(Reservation { budget: self.clone(), share, bytes });
        }
        Err(self.refusal(share, bytes))
    }

    fn refusal(&self, share: Share, bytes: u64) -> Error {
        let left = self.share_bytes_max(share).saturating_sub(self.used_bytes(share));
        let name = match share {
            Share::Reserved => "reserve",
            Share::Transactions => "transactions",
            Share::Loading => "ingests, streams and copies",
            _ => share.name(),
        };
        let to = if share == Share::Reserved { "to" } else { "for" };
        let what = format!(
            "leaves {left} bytes {to} {name}, and {bytes} were asked for; raise the memory budget"
        );
        Error::Invalid { field: "memory_bytes", what }
    }

    /// As much as the share has, between `least` and `most`; `None` when not even `least` is left.
    pub(crate) fn allow(&self, share: Share, least: u64, most: u64) -> Option<Reservation> {
        let mut bytes = most;
        loop {
            let free = self.share_bytes_max(share).saturating_sub(self.used_bytes(share));
            bytes = bytes.min(free);
            if bytes < least.max(1) {
                return None;
            }
            if self.add(share, bytes) {
                return Some(Reservation { budget: self.clone(), share, bytes });
            }
            // Somebody was quicker: with less it may work.
            bytes /= 2;
        }
    }

    /// As `allow` for work that must go on: it gets `least` in any case.
    pub(crate) fn grant(&self, share: Share, least: u64, most: u64) -> Reservation {
        self.allow(share, least, most).unwrap_or_else(|| self.charge(share, least))
    }

    /// Charges what is already allocated; the charge follows the owner through `Reservation::set`.
    pub(crate) fn charge(&self, share: Share, bytes: u64) -> Reservation {
        self.take(share, bytes);
        Reservation { budget: self.clone(), share, bytes }
    }

    /// Charges a share without a guard; who does keeps count.
    pub(crate) fn take(&self, share: Share, bytes: u64) {
        self.inner.used[share as usize].fetch_add(bytes, Relaxed);
        self.settle(share);
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
    pub fn set(&mut self, bytes: u64) {
        if self.bytes < bytes {
            self.budget.take(self.share, bytes - self.bytes);
        } else {
            self.budget.give(self.share, self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Charges `bytes` more, or says that there is no room.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<()> {
        if !self.budget.add(self.share, bytes) {
            return Err(self.budget.refusal(self.share, bytes));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give(self.share, self.bytes);
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
        assert_eq!(LEAST.iter().sum::<u64>() + COMMON, 100);
        for share in Share::ALL {
            let (least, most) = (LEAST[share as usize], MOST[share as usize]);
            assert!(least <= most && most <= 80, "{share:?}");
        }
    }

    /// What one share takes of the common part, the others do not have, but what is theirs they have.
    #[test]
    fn a_share_never_takes_what_is_another_s_own() {
        let budget = Budget::new(100 << 20);
        let greedy = [Share::Metadata, Share::Loading, Share::Walks, Share::Transactions];
        let held: Vec<_> =
            greedy.into_iter().filter_map(|share| budget.allow(share, 1, u64::MAX)).collect();
        assert_eq!(held.len(), greedy.len());
        let own = budget.part(LEAST[Share::Writing as usize]);
        let flush = budget.allow(Share::Writing, own, own).expect("a share's own part is there");
        budget.lend_memtables(true);
        budget.take(Share::Memtables, budget.share_bytes_max(Share::Memtables));
        let all: u64 = Share::ALL.into_iter().map(|share| budget.used_bytes(share)).sum();
        let cache = budget.share_bytes_max(Share::Cache);
        assert!(budget.part(LEAST[Share::Cache as usize]) <= cache, "{cache} bytes");
        assert!(all + cache <= budget.bytes_max());
        drop((held, flush));
    }

    /// Memtables give back what was lent to them when they have it no longer, and nobody stops for it.
    #[test]
    fn what_is_lent_to_memtables_goes_back_when_they_are_flushed() {
        let budget = Budget::new(100 << 20);
        let own = budget.share_bytes_max(Share::Memtables);
        assert_eq!(budget.lend_memtables(false), own);
        let lent = budget.lend_memtables(true);
        assert_eq!(lent, budget.part(MOST[Share::Memtables as usize]));
        let mut held = budget.charge(Share::Memtables, lent);
        assert_eq!(budget.lend_memtables(false), own, "they aim lower at once");
        assert_eq!(budget.share_bytes_max(Share::Memtables), lent, "but keep what they hold");
        held.set(own);
        budget.lend_memtables(false);
        assert_eq!(budget.share_bytes_max(Share::Memtables), own);
        // Where others hold the common part, there is less to lend.
        let _metadata = budget.charge(Share::Metadata, budget.part(LEAST[2] + COMMON));
        assert_eq!(budget.lend_memtables(true), own);
    }

    /// Who must go on gets its minimum, whatever the others hold.
    #[test]
    fn what_must_go_on_gets_its_minimum() {
        let budget = Budget::new(1 << 20);
        let full = budget.grant(Share::Writing, 1, u64::MAX);
        assert!(budget.allow(Share::Writing, 1, 1).is_none());
        assert_eq!(budget.grant(Share::Writing, 40_000, u64::MAX).bytes(), 40_000);
        let nothing = budget.grant(Share::Writing, 0, 0);
        assert_eq!(nothing.bytes(), 0);
        drop((full, nothing));
        let error = budget.hold(Share::Transactions, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("memory_bytes") && error.contains("transactions"), "{error}");
    }

    /// Threads that draw on the common part at once never hold more of it than there is.
    #[test]
    fn threads_do_not_overdraw_the_common_part() {
        let budget = Budget::new(10 << 20);
        let shares = [Share::Loading, Share::Walks, Share::Transactions, Share::Reserved];
        std::thread::scope(|scope| {
            for share in shares {
                let budget = &budget;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let held = budget.allow(share, 1, 100_000 + round);
                        let used: u64 = shares.into_iter().map(|s| budget.beyond(s)).sum();
                        // The others may have added, and not yet looked.
                        assert!(used <= budget.part(COMMON) + 3 * 102_000, "{used} bytes");
                        drop(held);
                    }
                });
            }
        });
        assert!(shares.into_iter().all(|share| budget.used_bytes(share) == 0));
    }
}
