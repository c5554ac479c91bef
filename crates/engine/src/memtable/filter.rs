//! Tells that a key is not in a memtable, mostly, in one cache line.
//!
//! A Bloom filter over whole keys: a hash chooses a block of 512 bits and a few bits in it. Bits
//! are only ever set, so a reader beside the inserter sees each key or not yet.
//!
//! 1. A key whose insert happened before the question is never denied.

use xxhash_rust::xxh3::xxh3_64;

use crate::sync::{AtomicU64, Ordering};

/// Bits set for a key.
const PROBES: u32 = 6;

/// One cache line.
#[repr(align(64))]
struct Block([AtomicU64; 8]);

pub(super) struct Filter {
    blocks: Box<[Block]>,
}

impl Filter {
    pub(super) fn new(bytes: u64) -> Filter {
        let blocks = bytes.div_ceil(size_of::<Block>() as u64).max(1);
        let empty = || Block(std::array::from_fn(|_| AtomicU64::new(0)));
        Filter { blocks: (0..blocks).map(|_| empty()).collect() }
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&*self.blocks) as u64
    }

    /// Adds `key`. One thread at a time.
    pub(super) fn insert(&self, key: &[u8]) {
        let (block, bits) = self.place(key);
        for (word, bit) in probes(bits) {
            let word = &block.0[word];
            // One thread adds, so nothing is lost between load and store.
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }

    pub(super) fn may_contain(&self, key: &[u8]) -> bool {
        let (block, bits) = self.place(key);
        probes(bits).all(|(word, bit)| block.0[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// The block of a key, and the bits that choose within it.
    fn place(&self, key: &[u8]) -> (&Block, u64) {
        let hash = xxh3_64(key);
        let block = ((hash >> 32) * self.blocks.len() as u64) >> 32;
        // The block took the upper bits; the product mixes the lower ones upwards again.
        (&self.blocks[block as usize], (hash & 0xffff_ffff).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// Nine bits choose one of 512, from the top.
fn probes(bits: u64) -> impl Iterator<Item = (usize, u64)> {
    (1..=PROBES).map(move |probe| {
        let nine = bits >> (64 - 9 * probe);
        ((nine >> 6 & 7) as usize, 1 << (nine & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denies_nothing_inserted_and_most_else() {
        let keys = 10_000_u32;
        let filter = Filter::new(u64::from(keys) * 10 / 8);
        let key = |n: u32| n.to_be_bytes();
        (0..keys).for_each(|n| filter.insert(&key(n)));
        assert!((0..keys).all(|n| filter.may_contain(&key(n))));
        let wrong = (keys..2 * keys).filter(|n| filter.may_contain(&key(*n))).count();
        assert!(wrong < 200, "{wrong} of {keys} absent keys pass");
    }
}
