//! Yes and no, a bit each or as runs; which rows have a value is written in the same way.
//!
//! 1. A bitmap has no bits above its count.

use super::{
    Damage,
    bytes::{Bytes, push_varint},
};
use std::ops::Range;

/// A bit each, lowest first.
const PLAIN: u8 = 0;
/// How many are alike, in turn, beginning with how many are no.
const RUNS: u8 = 1;

/// How many words `count` bits take.
pub(super) fn words(count: usize) -> usize {
    count.div_ceil(64)
}

/// The bits of these booleans.
pub(super) fn pack(values: impl Iterator<Item = bool>, count: usize) -> Vec<u64> {
    let mut bits = vec![0; words(count)];
    for (index, value) in values.enumerate() {
        bits[index / 64] |= u64::from(value) << (index % 64);
    }
    bits
}

/// Appends `count` bits in whatever is shorter.
pub(super) fn encode(bits: &[u64], count: usize, out: &mut Vec<u8>) {
    let plain = count.div_ceil(8);
    let start = out.len();
    out.push(RUNS);
    let (mut at, mut value) = (0, false);
    while at < count && out.len() - start <= plain {
        let next = end_of_run(bits, count, at, value);
        push_varint(out, (next - at) as u64);
        (at, value) = (next, !value);
    }
    if at < count || plain < out.len() - start {
        out.truncate(start);
        out.push(PLAIN);
        let bytes = bits.iter().flat_map(|word| word.to_le_bytes());
        out.extend(bytes.take(plain));
    }
}

/// Where bits that are `value` end, from `at` on.
fn end_of_run(bits: &[u64], count: usize, mut at: usize, value: bool) -> usize {
    while at < count {
        let word = if value { !bits[at / 64] } else { bits[at / 64] };
        let ahead = word >> (at % 64);
        if ahead != 0 {
            return count.min(at + ahead.trailing_zeros() as usize);
        }
        at = (at / 64 + 1) * 64;
    }
    count
}

/// `count` bits.
pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Vec<u64>, Damage> {
    let mut bytes = Bytes(bytes);
    let mut bits = vec![0u64; words(count)];
    match bytes.byte()? {
        PLAIN => {
            for (index, byte) in bytes.take(count.div_ceil(8))?.iter().enumerate() {
                bits[index / 8] |= u64::from(*byte) << (index % 8 * 8);
            }
            let last = bits.last().copied().unwrap_or(0);
            if !count.is_multiple_of(64) && last >> (count % 64) != 0 {
                return Err(Damage("a bitmap of a chunk has bits too many"));
            }
        }
        RUNS => {
            let (mut at, mut value) = (0, false);
            while at < count {
                let length = bytes.count(count - at)?;
                if length == 0 && at != 0 {
                    return Err(Damage("a run of a chunk is empty"));
                }
                if value {
                    fill(&mut bits, at, at + length);
                }
                (at, value) = (at + length, !value);
            }
        }
        _ => return Err(Damage("a bitmap of a chunk has a form that this release does not know")),
    }
    bytes.end()?;
    Ok(bits)
}

/// Sets the bits from `from` to before `to`.
fn fill(bits: &mut [u64], from: usize, to: usize) {
    let mut at = from;
    while at < to {
        let end = to.min((at / 64 + 1) * 64);
        bits[at / 64] |= (u64::MAX >> (64 - (end - at))) << (at % 64);
        at = end;
    }
}

/// Whether the bit is set.
pub(super) fn is_set(bits: &[u64], index: usize) -> bool {
    bits[index / 64] >> (index % 64) & 1 == 1
}

/// The bits of a stretch, counted from its beginning.
pub(super) fn cut(bits: &[u64], stretch: Range<usize>) -> Vec<u64> {
    let (skipped, shift, count) = (stretch.start / 64, stretch.start % 64, stretch.len());
    let word = |at: usize| bits.get(skipped + at).copied().unwrap_or(0);
    let mut cut: Vec<u64> = (0..words(count))
        .map(|at| match shift {
            0 => word(at),
            _ => word(at) >> shift | word(at + 1) << (64 - shift),
        })
        .collect();
    if let Some(last) = cut.last_mut().filter(|_| !count.is_multiple_of(64)) {
        *last &= u64::MAX >> (64 - count % 64);
    }
    cut
}

/// How many of the first `count` bits are set, whatever stands above them.
pub(super) fn count_set(bits: &[u64], count: usize) -> usize {
    let whole: u32 = bits[..count / 64].iter().map(|word| word.count_ones()).sum();
    let rest = match count % 64 {
        0 => 0,
        rest => (bits[count / 64] << (64 - rest)).count_ones(),
    };
    (whole + rest) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::Random;

    #[test]
    fn bits_come_back() {
        let mut random = Random::new(1);
        for count in [1usize, 7, 8, 63, 64, 65, 128, 1000] {
            for stay in [1, 2, 100, 2000] {
                let mut value = random.chance(1, 2);
                let values: Vec<bool> = (0..count)
                    .map(|_| {
                        value ^= random.chance(1, stay);
                        value
                    })
                    .collect();
                let bits = pack(values.iter().copied(), count);
                assert_eq!(count_set(&bits, count), values.iter().filter(|value| **value).count());
                let mut bytes = Vec::new();
                encode(&bits, count, &mut bytes);
                assert!(bytes.len() <= 1 + count.div_ceil(8));
                let read = decode(&bytes, count).unwrap();
                assert_eq!(read, bits);
                assert!(values.iter().enumerate().all(|(at, value)| is_set(&read, at) == *value));
                assert!(decode(&bytes[..bytes.len() - 1], count).is_err());
                let from = random.index(count);
                let to = from + random.index(count - from + 1);
                let some = values[from..to].iter().copied();
                assert_eq!(cut(&bits, from..to), pack(some, to - from));
            }
        }
    }

    #[test]
    fn bits_above_the_count_are_damage() {
        assert!(decode(&[PLAIN, 0b1000], 3).is_err());
        assert!(decode(&[RUNS, 4], 3).is_err());
        assert!(decode(&[2, 0], 3).is_err());
        assert_eq!(decode(&[RUNS, 0, 3], 3), Ok(vec![0b111]));
    }
}
