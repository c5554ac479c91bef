//! A blocked Bloom filter: a few bits of one cache line for every key.
//!
//! Its bits are on disk, so the choice of bits may not change within a format.
//!
//! 1. A key that was added is never denied.
//! 2. A lookup touches one line of 64 bytes.
//! 3. A filter without lines denies nothing.

use super::format::{LINE_BYTES, u64_at};

const PROBE_STEP: u32 = 0x9e37_79b9;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u64; LINE_BYTES / 8]);

/// A filter in memory.
#[derive(Debug)]
pub(super) struct Bloom {
    lines: Box<[Line]>,
    probes: u32,
}

impl Bloom {
    /// An empty filter for `keys` keys; with no bits per key it has no lines.
    pub(super) fn new(keys: u64, bits_per_key: u8) -> Bloom {
        let bits = keys * u64::from(bits_per_key);
        let lines = bits.div_ceil(8 * LINE_BYTES as u64);
        Bloom::with_lines(lines as usize, probes(bits_per_key))
    }

    /// An empty filter of known size.
    pub(super) fn with_lines(lines: usize, probes: u32) -> Bloom {
        Bloom { lines: vec![Line([0; LINE_BYTES / 8]); lines].into_boxed_slice(), probes }
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn probes(&self) -> u32 {
        self.probes
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let at = self.line_of(hash);
        let Some(Line(words)) = self.lines.get_mut(at) else { return };
        let mut probe = hash as u32;
        for _ in 0..self.probes {
            words[(probe >> 29) as usize] |= 1 << (probe >> 23 & 63);
            probe = probe.wrapping_mul(PROBE_STEP);
        }
    }

    /// Whether the key of this hash may have been added.
    #[inline]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let Some(Line(words)) = self.lines.get(self.line_of(hash)) else { return true };
        let mut probe = hash as u32;
        let mut all = 1;
        for _ in 0..self.probes {
            all &= words[(probe >> 29) as usize] >> (probe >> 23 & 63);
            probe = probe.wrapping_mul(PROBE_STEP);
        }
        all & 1 == 1
    }

    /// The upper half of the hash picks the line, the lower one the bits in it.
    fn line_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    /// Appends lines `from..to` as they are on disk.
    pub(super) fn encode(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        for word in self.lines[from..to].iter().flat_map(|Line(words)| words) {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Takes lines from `from` on out of `bytes`; false when they are not whole lines of ours.
    pub(super) fn decode(&mut self, from: usize, bytes: &[u8]) -> bool {
        let lines = bytes.len() / LINE_BYTES;
        if !bytes.len().is_multiple_of(LINE_BYTES) || self.lines.len().saturating_sub(from) < lines
        {
            return false;
        }
        for (Line(words), line) in self.lines[from..].iter_mut().zip(bytes.chunks(LINE_BYTES)) {
            for (at, word) in words.iter_mut().enumerate() {
                *word = u64_at(line, 8 * at);
            }
        }
        true
    }
}

/// The number of bits set per key that lets through the fewest absent keys, lines of 512 bits
/// considered.
fn probes(bits_per_key: u8) -> u32 {
    match bits_per_key {
        0..=2 => 1,
        3 => 2,
        4..=5 => 3,
        6 => 4,
        7..=8 => 5,
        9..=10 => 6,
        11..=12 => 7,
        13..=14 => 8,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::key_hash;

    fn key(n: u64) -> u64 {
        key_hash(&n.to_be_bytes())
    }

    fn filled(keys: u64, bits_per_key: u8) -> Bloom {
        let mut filter = Bloom::new(keys, bits_per_key);
        (0..keys).for_each(|n| filter.insert(key(n)));
        filter
    }

    /// Ten bits a key let through about one absent key in a hundred.
    #[test]
    fn false_positives() {
        for (bits, permille_max) in [(6, 75), (10, 12), (16, 3)] {
            let filter = filled(100_000, bits);
            assert!((0..100_000).all(|n| filter.may_contain(key(n))));
            let positives = (100_000..300_000).filter(|n| filter.may_contain(key(*n))).count();
            assert!(positives <= 200 * permille_max, "{bits} bits: {positives} of 200000");
        }
    }

    #[test]
    fn no_lines_deny_nothing() {
        assert!(filled(10, 0).may_contain(key(99)));
        assert_eq!(filled(10, 0).lines(), 0);
    }

    /// The filter is on disk: its bits must not change.
    #[test]
    fn stable_bits() {
        let mut bytes = Vec::new();
        filled(20, 10).encode(0, 1, &mut bytes);
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), 2824055258965710363);
    }
}
