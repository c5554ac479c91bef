//! Doubles that people wrote with a few decimals: as whole numbers and where the point is (the idea of ALP).
//!
//! 21.37 is the double nearest to 2137 / 100, and a division of two doubles that are exact gives the nearest double
//! to what it comes to. So the digits and the number of decimals give back the very bits that parsing the text
//! gave, and digits pack far better than the bits of doubles. Doubles for which that does not hold (results of
//! computing, infinities, -0) are exceptions and stand there bit by bit.
//!
//! 1. What is decoded is what was encoded, bit for bit: encoding tries each value.

use super::{
    Damage, Effort,
    bytes::{Bytes, push_varint},
    numbers,
};
use std::ops::Range;

/// Powers of ten that are exact as doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Whole numbers up to here are exact as doubles.
const DIGITS_MAX: f64 = 9_007_199_254_740_992.0;

/// How many values are looked at before all are.
const SAMPLE: usize = 48;
/// One exception in so many is worth its twelve bytes.
const EXCEPTION_ONE_IN: usize = 16;

/// The digits of the value with so many decimals, if they give the value back.
fn digits(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    if !(-DIGITS_MAX..=DIGITS_MAX).contains(&scaled) {
        return None;
    }
    // Rounds to the nearest whole number without a call; a half either way is tried by what follows.
    let digits = (scaled + 0.5_f64.copysign(scaled)) as i64;
    (join(digits, power).to_bits() == value.to_bits()).then_some(digits)
}

/// The value of digits.
fn join(digits: i64, power: f64) -> f64 {
    digits as f64 / power
}

/// How many decimals most of the sample has, if most of it has as few as that is worth.
fn pick(values: &[f64]) -> Option<usize> {
    let step = values.len().div_ceil(SAMPLE);
    let (mut most, mut seen, mut exceptions) = (0, 0, 0);
    for value in values.iter().step_by(step) {
        seen += 1;
        let decimals = (most..POWERS.len()).find(|at| digits(*value, POWERS[*at]).is_some());
        match decimals {
            // Sixteen digits and more are doubles in full: their digits are no shorter than their bits.
            Some(decimals) if value.abs() * POWERS[decimals] < 1e15 => most = most.max(decimals),
            _ => exceptions += 1,
        }
        if 2 < exceptions && seen < exceptions * 4 {
            return None;
        }
    }
    (exceptions * EXCEPTION_ONE_IN <= seen * 2).then_some(most)
}

/// Appends the values as decimals, if they are; otherwise nothing.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> bool {
    let Some(decimals) = pick(values) else { return false };
    let power = POWERS[decimals];
    let mut exceptions = Vec::new();
    let mut all = Vec::with_capacity(values.len());
    let mut before = 0;
    for (at, value) in values.iter().enumerate() {
        before = digits(*value, power).unwrap_or_else(|| {
            exceptions.push(at);
            before
        });
        all.push(before);
    }
    if values.len() < exceptions.len() * EXCEPTION_ONE_IN {
        return false;
    }
    out.push(decimals as u8);
    push_varint(out, exceptions.len() as u64);
    let mut next = 0;
    for at in exceptions {
        push_varint(out, (at - next) as u64);
        out.extend(values[at].to_bits().to_le_bytes());
        next = at + 1;
    }
    let place = out.len();
    out.push(0);
    out[place] = numbers::encode_flat(&all, effort, out);
    true
}

/// The form of the digits, and their bytes.
pub(super) fn digits_of(bytes: &[u8]) -> Result<(u8, &[u8]), Damage> {
    let mut bytes = Bytes(bytes);
    bytes.byte()?;
    for _ in 0..bytes.varint()? {
        bytes.varint()?;
        bytes.u64()?;
    }
    Ok((bytes.byte()?, bytes.0))
}

/// Appends those of `count` values that are wanted.
pub(super) fn decode(
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<f64>,
) -> Result<(), Damage> {
    let (codec, digits) = digits_of(bytes)?;
    let mut bytes = Bytes(bytes);
    let power = POWERS.get(usize::from(bytes.byte()?));
    let power = *power.ok_or(Damage("a column of a chunk has too many decimals"))?;
    let exceptions = bytes.count(count)?;
    let mut all: Vec<i64> = Vec::with_capacity(wanted.len());
    numbers::decode_flat(codec, digits, count, wanted.clone(), &mut all)?;
    let start = out.len();
    out.extend(all.iter().map(|digits| join(*digits, power)));
    let mut next = 0;
    for _ in 0..exceptions {
        let at = next + bytes.count(count)?;
        if count <= at {
            return Err(Damage("an exception of a chunk is out of place"));
        }
        let value = f64::from_bits(bytes.u64()?);
        if wanted.contains(&at) {
            out[start + at - wanted.start] = value;
        }
        next = at + 1;
    }
    Ok(())
}
