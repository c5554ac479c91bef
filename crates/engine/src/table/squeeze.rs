//! lz4 for blocks: the keys and what stands before them are compressed by themselves, the values by
//! themselves, and the two are joined to one lz4 block that every decoder reads.
//!
//! A matcher that has found nothing for some hundred bytes begins to leap, so that it gets through
//! bytes that do not compress. Behind hashed keys it would leap over most of what values repeat.
//!
//! 1. What comes out is one block of the lz4 block format, and decodes to the payload.
//! 2. Keys that did not compress in one block are taken as they are in the next few.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

/// Blocks whose keys are not tried after one whose keys saved nothing.
const TRUST: u32 = 15;
/// The keys must save this part of their bytes to be worth the trying.
const WORTH: usize = 32;
/// Shorter parts are compressed together.
const PART_BYTES_MIN: usize = 64;

/// A run of literals longer than this, or of a match, goes on in further bytes.
const NIBBLE_MAX: usize = 15;

/// Buffers larger than this are given back after the block that needed them.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A compressor and what it learnt of the blocks before.
pub(super) struct Squeezer {
    table: CompressTable,
    /// Blocks to come whose keys are taken as they are.
    trusted: u32,
    front: Vec<u8>,
    back: Vec<u8>,
}

impl Squeezer {
    pub(super) fn new() -> Squeezer {
        let table = CompressTable::small();
        Squeezer { table, trusted: 0, front: Vec::new(), back: Vec::new() }
    }

    /// Appends `payload` to `out` as an lz4 block. Its values begin at `values_at`.
    pub(super) fn squeeze(&mut self, payload: &[u8], values_at: usize, out: &mut Vec<u8>) {
        let (front, back) = payload.split_at(values_at);
        if front.len() < PART_BYTES_MIN || back.len() < PART_BYTES_MIN {
            return compress(&mut self.table, payload, out);
        }
        self.back.clear();
        self.back.shrink_to(KEPT_BYTES_MAX);
        compress(&mut self.table, back, &mut self.back);
        if 0 < self.trusted {
            self.trusted -= 1;
            return join(&[], front, &self.back, out);
        }
        self.front.clear();
        self.front.shrink_to(KEPT_BYTES_MAX);
        compress(&mut self.table, front, &mut self.front);
        if front.len() - front.len() / WORTH < self.front.len() {
            self.trusted = TRUST;
            return join(&[], front, &self.back, out);
        }
        let last = last_sequence(&self.front);
        let (_, literals) = literals(&self.front, last);
        join(&self.front[..last], &self.front[literals..], &self.back, out);
    }
}

fn compress(table: &mut CompressTable, bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + get_maximum_output_size(bytes.len()), 0);
    let stored = compress_into_with_table(bytes, &mut out[start..], table)
        .expect("the output has room for the worst case");
    out.truncate(start + stored);
}

/// Appends whole `sequences`, then the sequences of the block `back` with `before` in front of the
/// literals of its first.
fn join(sequences: &[u8], before: &[u8], back: &[u8], out: &mut Vec<u8>) {
    let (count, at) = literals(back, 0);
    let total = before.len() + count;
    out.extend_from_slice(sequences);
    let first = total.min(NIBBLE_MAX) as u8;
    out.push(first << 4 | (back[0] & 15));
    if NIBBLE_MAX <= total {
        let rest = total - NIBBLE_MAX;
        out.extend(std::iter::repeat_n(u8::MAX, rest / 255));
        out.push((rest % 255) as u8);
    }
    out.extend_from_slice(before);
    out.extend_from_slice(&back[at..]);
}

/// How many literals the sequence at `at` has, and where they begin.
fn literals(block: &[u8], at: usize) -> (usize, usize) {
    extended(block, usize::from(block[at] >> 4), at + 1)
}

/// A length that begins with `nibble` and goes on at `at`, and what follows it.
fn extended(block: &[u8], nibble: usize, mut at: usize) -> (usize, usize) {
    let mut length = nibble;
    if nibble == NIBBLE_MAX {
        loop {
            let more = block[at];
            (length, at) = (length + usize::from(more), at + 1);
            if more != u8::MAX {
                break;
            }
        }
    }
    (length, at)
}

/// Where the last sequence begins, the one without a match.
fn last_sequence(block: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let (count, start) = literals(block, at);
        let offset = start + count;
        if offset == block.len() {
            return at;
        }
        at = extended(block, usize::from(block[at] & 15), offset + 2).1;
    }
}

#[cfg(test)]
mod tests {
    use lz4_flex::block::decompress_into;
    use olivine_vfs::Random;

    use super::*;

    /// Bytes of which some repeat what was before.
    fn part(random: &mut Random, repeats: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = random.index(2000);
        while bytes.len() < length {
            if repeats && 8 < bytes.len() && random.index(2) == 0 {
                let from = random.index(bytes.len() - 4);
                let to = (from + 4 + random.index(300)).min(bytes.len());
                bytes.extend_from_within(from..to);
            } else {
                let count = 1 + random.index(40);
                bytes.extend((0..count).map(|_| random.index(256) as u8));
            }
        }
        bytes
    }

    #[test]
    fn parts_of_all_kinds_decode_to_what_they_were() {
        let mut random = Random::new(11);
        let mut squeezer = Squeezer::new();
        for _ in 0..3000 {
            let repeats = (random.index(2) == 0, random.index(2) == 0);
            let mut payload = part(&mut random, repeats.0);
            let values_at = payload.len();
            payload.extend(part(&mut random, repeats.1));
            let mut out = vec![7; random.index(3)];
            let start = out.len();
            squeezer.squeeze(&payload, values_at, &mut out);
            let mut decoded = vec![0; payload.len()];
            assert_eq!(decompress_into(&out[start..], &mut decoded).ok(), Some(payload.len()));
            assert_eq!(decoded, payload);
        }
    }

    /// As long as one matcher went through both, this took 2,900 bytes.
    #[test]
    fn values_behind_hashed_keys_compress() {
        let mut random = Random::new(5);
        let mut payload: Vec<u8> = (0..600).map(|_| random.index(256) as u8).collect();
        for _ in 0..35 {
            let half: Vec<u8> = (0..50).map(|_| random.index(256) as u8).collect();
            payload.extend_from_slice(&half);
            payload.extend_from_slice(&half);
        }
        let mut squeezer = Squeezer::new();
        for _ in 0..20 {
            let mut out = Vec::new();
            squeezer.squeeze(&payload, 600, &mut out);
            assert!(out.len() < 600 + 35 * 56, "{} bytes", out.len());
        }
    }

    #[test]
    fn keys_that_compress_do() {
        let mut payload = Vec::new();
        (0..100).for_each(|n| payload.extend_from_slice(format!("user:{n:012}").as_bytes()));
        let values_at = payload.len();
        payload.extend_from_slice(&[5; 1000]);
        let (mut out, mut squeezer) = (Vec::new(), Squeezer::new());
        squeezer.squeeze(&payload, values_at, &mut out);
        assert!(out.len() < 700, "{} bytes", out.len());
    }
}
