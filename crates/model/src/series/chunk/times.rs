//! The times of the rows of a chunk.
//!
//! Times count from the first one, in the greatest unit that divides them all, their *grain*: a clock that tells
//! milliseconds costs no bits for nanoseconds. Most are a grid with some noise, so what is written is either
//! nothing (all steps are alike), the steps, or how far each time lies off an even grid.
//!
//! 1. What is decoded ascends, begins with the first time and ends with the last one.

use super::{
    Damage, Effort,
    bytes::{Bytes, push_varint},
    pco,
};
use std::ops::Range;

/// All steps are one grain.
const EVEN: u8 = 0;
/// The steps, in grains, as numbers of variable length.
const STEPS: u8 = 1;
/// The steps, in grains, packed.
const PACKED_STEPS: u8 = 2;
/// How far each time lies off the grid: the grid's step, then packed what to add.
const PACKED_OFFSETS: u8 = 3;

/// Fewer times than this are not worth packing.
const PACKED_ROWS_MIN: usize = 24;

/// The greatest unit of which all times are multiples, counted from the first one; 1 for a single row.
pub(super) fn grain(times: &[i64]) -> u64 {
    let mut grain = 0;
    for pair in times.windows(2) {
        let step = pair[1].wrapping_sub(pair[0]) as u64;
        if step != grain {
            grain = divisor(step, grain);
            if grain == 1 {
                break;
            }
        }
    }
    grain.max(1)
}

/// The greatest common divisor.
pub(super) fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Appends the times but for the first one, which the caller writes.
pub(super) fn encode(times: &[i64], grain: u64, effort: Effort, out: &mut Vec<u8>) {
    let first = times[0];
    let ticks = |time: i64| time.wrapping_sub(first) as u64 / grain;
    let span = times.last().map_or(0, |last| ticks(*last));
    if span == times.len() as u64 - 1 {
        out.push(EVEN);
        return;
    }
    let steps: Vec<u64> =
        times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as u64 / grain).collect();
    let start = out.len();
    out.push(STEPS);
    for step in &steps {
        push_varint(out, *step);
    }
    if times.len() < PACKED_ROWS_MIN {
        return;
    }
    let mut packed = vec![PACKED_STEPS];
    if pco::encode(&steps, effort, &mut packed) && packed.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut packed);
    }
    let step = grid_step(&steps, span);
    let offsets: Vec<i64> = (0u64..)
        .zip(times)
        .map(|(row, time)| ticks(*time).wrapping_sub(row.wrapping_mul(step)).cast_signed())
        .collect();
    packed.clear();
    packed.push(PACKED_OFFSETS);
    push_varint(&mut packed, step);
    if pco::encode(&offsets, effort, &mut packed) && packed.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut packed);
    }
}

/// The step of the grid that these steps are around: nearly their mean, but as round as the noise lets it be, as
/// whoever sends every ten seconds does so whatever the mean of a few thousand steps is.
fn grid_step(steps: &[u64], span: u64) -> u64 {
    let count = steps.len() as u64;
    let mean = span / count;
    let noise: u64 = steps.iter().fold(0, |sum, step| sum.saturating_add(step.abs_diff(mean)));
    let most_off = noise / count * 2;
    let mut best = mean + u64::from(count <= span % count * 2);
    let mut unit = 10;
    while unit <= mean {
        let round = (mean + unit / 2) / unit * unit;
        if most_off < round.abs_diff(mean).saturating_mul(count) {
            break;
        }
        best = round;
        unit = unit.saturating_mul(10);
    }
    best
}

/// The times of the rows of a chunk, which ascend.
#[derive(Clone, Debug)]
pub enum Times {
    /// Each so much later than the one before.
    Even {
        /// The first time.
        first: i64,
        /// From each to the next, in nanoseconds.
        step: u64,
        /// How many there are.
        rows: usize,
    },
    /// These.
    Listed(Vec<i64>),
}

impl Times {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Times::Even { rows, .. } => *rows,
            Times::Listed(times) => times.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many come before a moment.
    pub fn before(&self, moment: i64) -> usize {
        match self {
            Times::Even { first, .. } if moment <= *first => 0,
            Times::Even { first, step, rows } => {
                let past = moment.wrapping_sub(*first).cast_unsigned();
                past.div_ceil(*step).min(*rows as u64) as usize
            }
            Times::Listed(times) => times.partition_point(|time| *time < moment),
        }
    }

    /// Appends those of some rows.
    pub fn extend(&self, rows: Range<usize>, out: &mut Vec<i64>) {
        match self {
            Times::Even { first, step, .. } => {
                let time =
                    |row: usize| first.wrapping_add((row as u64).wrapping_mul(*step).cast_signed());
                out.extend(rows.map(time));
            }
            Times::Listed(times) => out.extend_from_slice(&times[rows]),
        }
    }
}

/// `rows` times, one at least, of which the first and the last are known.
pub(super) fn decode(
    bytes: &[u8],
    rows: usize,
    [first, last]: [i64; 2],
    grain: u64,
) -> Result<Times, Damage> {
    const UNORDERED: Damage =
        Damage("the times of a chunk do not ascend from its first to its last");
    let mut bytes = Bytes(bytes);
    let mut times = Vec::new();
    // Where they would not ascend the sums wrap around, and that is seen below.
    let mut add =
        |ticks: u64| times.push(first.wrapping_add(ticks.wrapping_mul(grain).cast_signed()));
    match bytes.byte()? {
        EVEN => {
            bytes.end()?;
            let span = last.wrapping_sub(first).cast_unsigned();
            return match (rows as u64 - 1).checked_mul(grain) {
                Some(reached) if first <= last && reached == span => {
                    Ok(Times::Even { first, step: grain, rows })
                }
                _ => Err(UNORDERED),
            };
        }
        STEPS => {
            let mut ticks = 0u64;
            add(ticks);
            for _ in 1..rows {
                ticks = ticks.wrapping_add(bytes.varint()?);
                add(ticks);
            }
            bytes.end()?;
        }
        PACKED_STEPS => {
            let mut steps: Vec<u64> = Vec::new();
            pco::decode(bytes.0, rows - 1, 0..rows - 1, &mut steps)?;
            let mut ticks = 0u64;
            add(ticks);
            for step in steps {
                ticks = ticks.wrapping_add(step);
                add(ticks);
            }
        }
        PACKED_OFFSETS => {
            let step = bytes.varint()?;
            let mut offsets: Vec<i64> = Vec::new();
            pco::decode(bytes.0, rows, 0..rows, &mut offsets)?;
            for (row, offset) in (0u64..).zip(offsets) {
                add(row.wrapping_mul(step).wrapping_add(offset as u64));
            }
        }
        _ => {
            return Err(Damage("the times of a chunk have a form that this release does not know"));
        }
    }
    let ends = times.first() == Some(&first) && times.last() == Some(&last);
    if ends && times.is_sorted_by(|one, next| one < next) {
        Ok(Times::Listed(times))
    } else {
        Err(UNORDERED)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_wrap, reason = "small numbers of tests")]

    use super::*;
    use olivine_vfs::Random;

    fn bytes_of(times: &[i64]) -> usize {
        let grain = grain(times);
        let mut bytes = Vec::new();
        encode(times, grain, Effort::Hot, &mut bytes);
        let ends = [times[0], times[times.len() - 1]];
        let read = decode(&bytes, times.len(), ends, grain).unwrap();
        let (mut all, mut some) = (Vec::new(), Vec::new());
        read.extend(0..times.len(), &mut all);
        assert_eq!(all, times);
        let middle = times.len() / 2;
        read.extend(middle..times.len(), &mut some);
        assert_eq!(some, times[middle..]);
        for row in [0, middle, times.len() - 1] {
            for moment in [times[row].saturating_sub(1), times[row], times[row].saturating_add(1)] {
                let before = times.iter().filter(|time| **time < moment).count();
                assert_eq!(read.before(moment), before, "{moment}");
            }
        }
        let cut = &bytes[..bytes.len() - 1];
        assert!(decode(cut, times.len(), ends, grain).is_err());
        bytes.len()
    }

    #[test]
    fn times_come_back() {
        let mut random = Random::new(3);
        for rows in [1, 2, 3, 23, 24, 25, 300, 1000] {
            for bits in 0..56 {
                let mut time = random.next_u64() as i64 >> (random.below(20) + 4);
                let times: Vec<i64> = (0..rows)
                    .map(|_| {
                        time += 1 + (random.next_u64() & ((1 << bits) - 1)) as i64 / rows;
                        time
                    })
                    .collect();
                bytes_of(&times);
            }
        }
        bytes_of(&[i64::MIN, i64::MAX]);
        bytes_of(&[i64::MIN, -1, 0, i64::MAX]);
        bytes_of(&[i64::MAX]);
    }

    #[test]
    fn regular_times_cost_a_byte_and_noise_its_entropy() {
        let (second, rows) = (1_000_000_000, 4320);
        let even: Vec<i64> = (0..rows).map(|row| row * 10 * second).collect();
        assert_eq!(bytes_of(&even), 1);
        let mut random = Random::new(1);
        let mut noisy = |unit: i64| -> usize {
            let noise = 5_000_000 / unit;
            let times: Vec<i64> = (0..rows)
                .map(|row| row * 10 * second + (random.below(2 * noise as u64) as i64) * unit)
                .collect();
            bytes_of(&times)
        };
        let bytes = [1_000_000, 1_000, 1].map(|unit| noisy(unit) as f64 / rows as f64);
        println!("B a time with 5 ms of noise at ms, us, ns: {bytes:.3?}");
        assert!(bytes[0] < 0.5 && bytes[1] < 1.75 && bytes[2] < 3.0, "{bytes:?}");
    }
}
