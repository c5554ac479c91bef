//! Blocks of an input that nothing else touches are carried to the output as they are stored.
//!
//! ```text
//!  older   ▓▓▓▓┃▓▓▓▓┃▓▓▓▓┃▓▓▓▓┃▓▓▓▓┃▓▓▓▓┃▓▓▓▓       ┃ ends of blocks
//!  newer     ▪▪                        ▪ ▪
//!  output  merged   ┃ carried as they are ┃ merged
//! ```
//!
//! Whether a run of blocks begins here is one comparison for each block that is read: of the least key of
//! the other inputs with the separator of a block some blocks ahead.
//!
//! 1. Between the first and the last key of a block that is carried there is no key of another input, no
//!    deleted range, no first key of a table that stays, and no place where an output may have to end.
//! 2. All its entries would have been handed on by the fold as they are, with the stamps that they have.
//! 3. Blocks that are carried have about the length of others: short ones are merged with what is beside them.
//! 4. Each block was verified as it was read, and is verified again as it lies in the output (`copied.rs`);
//!    its entries count as read and as written.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{
    Stop,
    fold::{Fold, FoldSink, Rules},
    job::Inputs,
    writing::Writing,
};
use crate::{
    key::{Kind, Stamp},
    planted::{Bug, planted},
    table::BlockFacts,
};

/// Blocks in a row that are worth carrying: for them the block before ends sooner than it would.
const RUN_BLOCKS_MIN: usize = 4;

/// What a merge knows of the run of blocks it is in.
pub(super) struct Untouched<'a> {
    /// Blocks to come of the run.
    left: usize,
    /// All keys of the run are below this one, if there is one.
    limit: Option<Vec<u8>>,
    /// Values at least this long do not stay in tables; 0 for none.
    value_apart_bytes_min: u64,
    /// Counts the blocks that were carried.
    carried: &'a AtomicU64,
}

impl<'a> Untouched<'a> {
    pub(super) fn new(value_apart_bytes_min: u64, carried: &'a AtomicU64) -> Untouched<'a> {
        Untouched { left: 0, limit: None, value_apart_bytes_min, carried }
    }

    /// Carries the block that `merge` stands at the beginning of, if it may be, and steps behind it.
    /// Returns how many entries that were; 0 when the one it stands on is to be merged.
    pub(super) fn carry(
        &mut self,
        merge: &mut Inputs,
        fold: &mut Fold<'_>,
        writing: &mut Writing<'_, '_>,
    ) -> Result<u64, Stop> {
        let left = std::mem::take(&mut self.left);
        if !fold.is_new(merge.key()) {
            return Ok(0);
        }
        let Some(facts) = merge.block_facts() else { return Ok(0) };
        if !stays(&facts, fold.rules(), writing.is_bottom())
            || !writing.is_full_block(facts.bytes, facts.entries)
        {
            return Ok(0);
        }
        let blocks = if left == 0 { self.find_run(merge, fold.rules(), writing)? } else { left };
        if blocks == 0 || !self.keeps_values(merge, &facts) {
            return Ok(0);
        }
        let Some(block) = merge.carried().map_err(Stop::Unread)? else { return Ok(0) };
        // The index said so; this is what the block says.
        if self.limit.as_deref().is_some_and(|limit| limit <= block.last_key()) {
            return Ok(0);
        }
        fold.end(writing).map_err(Stop::of_writing)?;
        if !writing.carry(&block).map_err(Stop::of_writing)? {
            return Ok(0);
        }
        let entries = block.entries();
        merge.skip_block(entries).map_err(Stop::Unread)?;
        self.carried.fetch_add(1, Relaxed);
        self.left = blocks - 1;
        Ok(entries)
    }

    /// How many blocks may be carried from here on; 0 for too few to be worth it.
    fn find_run(
        &mut self,
        merge: &Inputs,
        rules: &Rules<'_>,
        writing: &Writing<'_, '_>,
    ) -> Result<usize, Stop> {
        let below = |bound: Option<&[u8]>| {
            let blocks = merge.blocks_below(bound, RUN_BLOCKS_MIN);
            blocks.map_err(Stop::Unread)
        };
        let rival = merge.rival_key();
        // Mostly this is all.
        if below(rival)? == 0 {
            return Ok(0);
        }
        let key = merge.key();
        let deleted = rules.ranges.next_from(key).filter(|_| !planted(Bug::DeletedRangeCarried));
        let limits = rival.into_iter().chain(writing.next_boundary(key)).chain(deleted);
        let limit = limits.min();
        let mut blocks = below(limit)?;
        self.limit = limit.map(<[u8]>::to_vec);
        if planted(Bug::TouchedBlockCarried) {
            (blocks, self.limit) = (blocks + 1, None);
        }
        Ok(if writing.may_carry(blocks) { blocks } else { 0 })
    }

    /// Whether no value of the block is so long that it should stand apart.
    fn keeps_values(&self, merge: &Inputs, facts: &BlockFacts) -> bool {
        let least = self.value_apart_bytes_min;
        least == 0 || (facts.bytes as u64) < least || (merge.value_bytes_most() as u64) < least
    }
}

/// Whether a fold hands on all entries of a block as they are, where no other version of their keys is and
/// no deletion of a range.
fn stays(facts: &BlockFacts, rules: &Rules<'_>, is_bottom: bool) -> bool {
    // At the bottom the numbers of final versions become 0.
    let is_numbered_right = !is_bottom
        || !rules.is_final(facts.stamp_least.seqno())
        || facts.has_one_stamp && facts.stamp_least == Stamp::new(0, Kind::Put);
    facts.is_plain && is_numbered_right && rules.filter.is_none()
}

#[cfg(test)]
mod tests;
