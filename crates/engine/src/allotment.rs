//! What work that writes tables may take of memory, and how it is dealt out.
//!
//! Whoever is about to write tables says what it would like: write buffers, what is kept of the keys of
//! a table, and what is read ahead of its inputs. It gets that, or less in proportion, or at least so
//! much that it can go on: then buffers are small, tables end sooner, and nothing is read ahead.
//!
//! 1. What is dealt out is together what was set aside, beside entries longer than a block.
//! 2. No part is less than what the work needs to go on.

use crate::{
    budget::{Budget, Reservation, Share},
    error::Result,
    table::{BUFFER_BYTES, SCAN_WINDOW_BYTES, WINDOW_BYTES_LEAST},
};

/// The smallest write buffer.
const BUFFER_BYTES_LEAST: u64 = 16 << 10;
/// What write buffers are multiples of.
const PAGE_BYTES: usize = 4 << 10;
/// The least that is kept of keys before a table ends.
const KEYS_BYTES_LEAST: u64 = 16 << 10;

/// What some work would like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// Files that are written at once.
    pub(crate) buffers: u64,
    /// What is kept of the keys of a table while it is written.
    pub(crate) keys_bytes: u64,
    /// Whether tables may end sooner where there is less.
    pub(crate) may_cut: bool,
    /// Tables that are read at once.
    pub(crate) sources: u64,
    /// Bytes of a block of those.
    pub(crate) block_bytes: u64,
}

impl Need {
    fn buffers_bytes(&self, each: u64) -> u64 {
        self.buffers * (each + each / 8)
    }

    /// The blocks that the inputs stand in, as stored and as read.
    fn blocks_bytes(&self) -> u64 {
        2 * self.sources * self.block_bytes
    }

    fn keys_bytes_least(&self) -> u64 {
        if self.may_cut { KEYS_BYTES_LEAST.min(self.keys_bytes) } else { self.keys_bytes }
    }

    fn least(&self) -> u64 {
        self.buffers_bytes(BUFFER_BYTES_LEAST) + self.keys_bytes_least() + self.blocks_bytes()
    }

    fn most(&self) -> u64 {
        let most = self.buffers_bytes(BUFFER_BYTES as u64)
            + self.keys_bytes
            + self.blocks_bytes()
            + self.sources * SCAN_WINDOW_BYTES;
        most.max(self.least())
    }
}

/// What some work got, until it ends.
#[derive(Debug)]
pub(crate) struct Allotment {
    _held: Reservation,
    /// Bytes gathered before they are handed to the disk.
    pub(crate) buffer_bytes: usize,
    /// What may be kept of the keys of a table.
    pub(crate) keys_bytes: u64,
    /// What may be read ahead of each input.
    pub(crate) ahead_bytes: u32,
}

impl Allotment {
    /// For work that must go on: it gets its minimum whatever others hold, and leaves half of what there
    /// is to others.
    pub(crate) fn of_background(budget: &Budget, need: Need) -> Allotment {
        let half = budget.share_bytes_max(Share::Writing) / 2;
        let most = need.most().min(half).max(need.least());
        Allotment::deal(budget.grant(Share::Writing, need.least(), most), need)
    }

    /// For what a caller does: refused when there is not even the minimum.
    pub(crate) fn of_caller(budget: &Budget, need: Need) -> Result<Allotment> {
        let half = budget.share_bytes_max(Share::Loading) / 2;
        let most = need.most().min(half).max(need.least());
        let held = match budget.allow(Share::Loading, need.least(), most) {
            Some(held) => held,
            None => budget.hold(Share::Loading, need.least())?,
        };
        Ok(Allotment::deal(held, need))
    }

    /// For what a caller has begun, which must go on.
    pub(crate) fn of_copy(budget: &Budget, need: Need) -> Allotment {
        let half = budget.share_bytes_max(Share::Loading) / 2;
        let most = need.most().min(half).max(need.least());
        Allotment::deal(budget.grant(Share::Loading, need.least(), most), need)
    }

    /// Each gets its minimum, and of the rest its part.
    fn deal(held: Reservation, need: Need) -> Allotment {
        let (least, most) = (need.least(), need.most());
        let rest = held.bytes().saturating_sub(least) as f64 / (most - least).max(1) as f64;
        let part = |least: u64, most: u64| least + ((most - least) as f64 * rest) as u64;
        // Whole pages, which is what sources and disks like to be asked for.
        let buffer_bytes =
            part(BUFFER_BYTES_LEAST, BUFFER_BYTES as u64) as usize / PAGE_BYTES * PAGE_BYTES;
        let keys_bytes =
            if need.may_cut { part(need.keys_bytes_least(), need.keys_bytes) } else { u64::MAX };
        let ahead_bytes = part(0, SCAN_WINDOW_BYTES);
        let ahead_bytes = if ahead_bytes < WINDOW_BYTES_LEAST { 0 } else { ahead_bytes as u32 };
        Allotment { _held: held, buffer_bytes, keys_bytes, ahead_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need() -> Need {
        Need { buffers: 2, keys_bytes: 5 << 20, may_cut: true, sources: 12, block_bytes: 4096 }
    }

    fn sum(need: Need, got: &Allotment) -> u64 {
        need.buffers_bytes(got.buffer_bytes as u64)
            + got.keys_bytes
            + need.blocks_bytes()
            + need.sources * u64::from(got.ahead_bytes)
    }

    #[test]
    fn what_is_dealt_out_was_set_aside() {
        for shift in 20..34 {
            let budget = Budget::new(1 << shift);
            let need = need();
            let got = Allotment::of_background(&budget, need);
            let used = budget.used_bytes(Share::Writing);
            assert!(sum(need, &got) <= used, "{got:?} of {used}");
            assert!(BUFFER_BYTES_LEAST <= got.buffer_bytes as u64);
            assert!(KEYS_BYTES_LEAST <= got.keys_bytes);
            drop(got);
            assert_eq!(budget.used_bytes(Share::Writing), 0);
        }
    }

    #[test]
    fn with_a_large_budget_all_is_as_wished() {
        let got = Allotment::of_background(&Budget::new(1 << 30), need());
        assert_eq!(got.buffer_bytes, BUFFER_BYTES);
        assert_eq!(u64::from(got.ahead_bytes), SCAN_WINDOW_BYTES);
        assert_eq!(got.keys_bytes, 5 << 20);
    }

    /// A caller is refused where background work still gets its minimum.
    #[test]
    fn a_caller_is_refused_and_told_what_to_change() {
        let budget = Budget::new(1 << 20);
        let _full = budget.allow(Share::Loading, 1, u64::MAX);
        let error = Allotment::of_caller(&budget, need()).unwrap_err().to_string();
        assert!(error.contains("memory_bytes") && error.contains("raise"), "{error}");
        assert!(0 < Allotment::of_background(&budget, need()).buffer_bytes);
    }
}
