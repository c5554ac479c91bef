//! What the bytes of an entry come to, taken where they are known to be right and compared where they
//! leave memory again.
//!
//! An entry's digest is taken when it enters a memtable, out of the batch that its frame's checksum
//! covers, and when a compaction reads it out of a block. It is carried beside the entry; the sum of a
//! block's digests is compared with that of the block as it was laid out, right before it is sealed.
//!
//! ```text
//!  batch ──▶ memtable ─────────▶ fold ─▶ writer ─▶ block ─▶ sealed, from here on its checksum
//!    └─ digest: one sum ─ compared ─┘└─ digest ─ compared ─┘
//!  block, verified ─▶ merge ──▶ fold ─▶ writer ─▶ block ─▶ sealed
//!                       └─────────── digest ─ compared ─┘
//! ```
//!
//! A block that a compaction carries as it is stored has no digest: the checksum it was sealed with is compared
//! where its bytes lie by then, behind the sealing for their new place (`table/copied.rs`).
//!
//! Not noticed is a byte that changes in a block of the cache before a merge reads it there, in a value
//! between its memtable and its value file, within an operator that folds, or in a list of deleted
//! ranges.
//!
//! 1. A byte of key, stamp or value that differs changes the sum, but for a few cases in 2^64.
//! 2. A sum does not depend on the order of its entries, so a memtable keeps one for all of its own.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::key::Stamp;

const HASH_SEED: u64 = 0x6f6c_6976_696e_6531;
/// Odd, so that multiplying by it loses nothing.
const VALUE_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const STAMP_STEP: u64 = 0xd6e8_feb8_6659_fd93;

/// The hash of a user key, from which filter and blocks take different bits. Computed once a get.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, HASH_SEED)
}

/// What key and value of an entry come to. Its stamp joins them in the sum, so a fold may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    key: u64,
    value: u64,
}

impl Digest {
    pub(crate) fn of(key: &[u8], value: &[u8]) -> Digest {
        Digest { key: key_hash(key), value: xxh3_64(value) }
    }

    /// The same key with another value.
    pub(crate) fn with_value(self, value: &[u8]) -> Digest {
        Digest { value: xxh3_64(value), ..self }
    }

    /// The key's hash, as `key_hash` gives it.
    pub(crate) fn key_hash(self) -> u64 {
        self.key
    }
}

/// What several entries come to, in whatever order they were added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DigestSum(pub(crate) u64);

impl DigestSum {
    pub(crate) fn add(&mut self, digest: Digest, stamp: Stamp) {
        let Digest { key, value } = digest;
        let joined = key ^ value.wrapping_mul(VALUE_STEP) ^ stamp.0.wrapping_mul(STAMP_STEP);
        // Without a product at the end two entries could trade their stamps.
        let mixed = (joined ^ joined >> 32).wrapping_mul(VALUE_STEP);
        self.0 = self.0.wrapping_add(mixed ^ mixed >> 32);
    }
}

/// What an entry comes to on its way through a memtable: less work than a `Digest`, as every put pays for
/// it, and kept nowhere but there.
#[inline]
pub(crate) fn quick_digest(key: &[u8], stamp: Stamp, value: &[u8]) -> u64 {
    join_bytes(join_bytes(stamp.0 ^ STAMP_STEP, key), value)
}

/// The halves of a product joined, which every bit of all three words moves.
#[inline]
fn join(sum: u64, first: u64, second: u64) -> u64 {
    let product = u128::from(first ^ sum) * u128::from(second ^ VALUE_STEP);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn join_bytes(mut sum: u64, bytes: &[u8]) -> u64 {
    let halves = |pair: &[u8; 16]| {
        let pair = u128::from_le_bytes(*pair);
        (pair as u64, (pair >> 64) as u64)
    };
    let (pairs, rest) = bytes.as_chunks::<16>();
    for (first, second) in pairs.iter().map(halves) {
        sum = join(sum, first, second);
    }
    // Some bytes come twice.
    match bytes.last_chunk() {
        _ if rest.is_empty() => sum,
        Some(last) => {
            let (first, second) = halves(last);
            join(sum, first, second)
        }
        None => join_few(sum, bytes),
    }
}

fn join_few(sum: u64, bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
    let length = bytes.len() as u64;
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return join(sum ^ length, word(first), word(last));
    }
    let few = bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    join(sum ^ length, few, STAMP_STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    fn sum(entries: &[(&[u8], u64, &[u8])]) -> DigestSum {
        let mut sum = DigestSum::default();
        for (key, seqno, value) in entries {
            sum.add(Digest::of(key, value), Stamp::new(*seqno, Kind::Put));
        }
        sum
    }

    #[test]
    fn order_does_not_matter_and_every_bit_does() {
        let (one, two): ([u8; 3], [u8; 5]) = (*b"one", *b"value");
        let right = sum(&[(&one, 7, &two), (b"two", 8, b"")]);
        assert_eq!(sum(&[(b"two", 8, b""), (&one, 7, &two)]), right);
        for bit in 0..24 {
            let mut key = one;
            key[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum(&[(&key, 7, &two), (b"two", 8, b"")]), right);
        }
        for bit in 0..40 {
            let mut value = two;
            value[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum(&[(&one, 7, &value), (b"two", 8, b"")]), right);
        }
        for bit in 0..56 {
            assert_ne!(sum(&[(&one, 7 ^ (1 << bit), &two), (b"two", 8, b"")]), right);
        }
        assert_ne!(sum(&[(&one, 8, &two), (b"two", 7, b"")]), right);
        assert_ne!(sum(&[(b"two", 7, &two), (&one, 8, b"")]), right);
    }

    #[test]
    fn a_quick_digest_knows_every_bit() {
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let of = |key: &[u8], value: &[u8]| quick_digest(key, Stamp(700), value);
            let right = (of(&bytes, b"v"), of(b"key", &bytes));
            assert_ne!(quick_digest(&bytes, Stamp(701), b"v"), right.0);
            for bit in 0..8 * length {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(of(&flipped, b"v"), right.0, "bit {bit} of a key of {length}");
                assert_ne!(of(b"key", &flipped), right.1, "bit {bit} of a value of {length}");
            }
        }
    }
}
