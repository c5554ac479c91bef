//! Numbers of a column, whichever way is smallest.
//!
//! 1. What is decoded is what was encoded, bit for bit; a stretch of it is that stretch of the whole.
//! 2. Ways are nested two deep at most: runs of decimals of packed digits.

use super::{
    Damage, Effort,
    bytes::{Bytes, push_varint, unzigzag, zigzag},
    decimal, pco, run,
};
use std::ops::Range;

/// Eight bytes each.
const PLAIN: u8 = 0;
/// One value, for all.
const CONSTANT: u8 = 1;
/// Differences, as numbers of variable length.
const STEPS: u8 = 2;
/// Packed by `pco`.
const PACKED: u8 = 3;
/// Digits and where the point is.
const DECIMAL: u8 = 4;
/// Values and how often each stands there.
const RUNS: u8 = 5;

/// Fewer values than this are not worth packing: the bins of pco take some twenty bytes.
const PACKED_VALUES_MIN: usize = 24;
/// From how many values a run on runs are better than what pco makes of them.
const RUN_LENGTH_HOT: usize = 8;
const RUN_LENGTH_COLD: usize = 2;

/// A number of 64 bits.
pub(super) trait Value: Copy + Default + PartialOrd {
    fn to_bits(self) -> u64;
    fn of_bits(bits: u64) -> Self;
    /// The values, if they are doubles.
    fn doubles(_: &[Self]) -> Option<&[f64]> {
        None
    }
    /// Where to put them, if they are doubles.
    fn doubles_mut(_: &mut Vec<Self>) -> Option<&mut Vec<f64>> {
        None
    }
    /// Appends the values as decimals, if that is what they are.
    fn encode_decimal(_: &[Self], _: Effort, _: &mut Vec<u8>) -> bool {
        false
    }
    /// Appends those of the decimals that are wanted.
    fn decode_decimal(
        _: &[u8],
        _: usize,
        _: Range<usize>,
        _: &mut Vec<Self>,
    ) -> Result<(), Damage> {
        Err(UNKNOWN)
    }
}

impl Value for i64 {
    fn to_bits(self) -> u64 {
        self.cast_unsigned()
    }
    fn of_bits(bits: u64) -> i64 {
        bits.cast_signed()
    }
}

impl Value for u64 {
    fn to_bits(self) -> u64 {
        self
    }
    fn of_bits(bits: u64) -> u64 {
        bits
    }
}

impl Value for f64 {
    fn to_bits(self) -> u64 {
        self.to_bits()
    }
    fn of_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn doubles(values: &[f64]) -> Option<&[f64]> {
        Some(values)
    }
    fn doubles_mut(values: &mut Vec<f64>) -> Option<&mut Vec<f64>> {
        Some(values)
    }
    fn encode_decimal(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> bool {
        decimal::encode(values, effort, out)
    }
    fn decode_decimal(
        bytes: &[u8],
        count: usize,
        wanted: Range<usize>,
        out: &mut Vec<f64>,
    ) -> Result<(), Damage> {
        decimal::decode(bytes, count, wanted, out)
    }
}

const UNKNOWN: Damage = Damage("the values of a chunk have a form that this release does not know");

/// Appends one value or more; says in which form.
pub(super) fn encode<T: Value>(values: &[T], effort: Effort, out: &mut Vec<u8>) -> u8 {
    let runs = 1 + values.windows(2).filter(|pair| pair[0].to_bits() != pair[1].to_bits()).count();
    if runs == 1 {
        out.extend(values[0].to_bits().to_le_bytes());
        return CONSTANT;
    }
    match effort {
        Effort::Hot if runs * RUN_LENGTH_HOT <= values.len() => {
            run::encode(values, effort, out);
            RUNS
        }
        Effort::Cold if runs * RUN_LENGTH_COLD <= values.len() => {
            let start = out.len();
            let codec = encode_each(values, effort, out);
            let mut other = Vec::new();
            run::encode(values, effort, &mut other);
            if out.len() - start <= other.len() {
                return codec;
            }
            out.truncate(start);
            out.append(&mut other);
            RUNS
        }
        _ => encode_each(values, effort, out),
    }
}

/// Appends the values, each for itself.
pub(super) fn encode_each<T: Value>(values: &[T], effort: Effort, out: &mut Vec<u8>) -> u8 {
    if T::encode_decimal(values, effort, out) { DECIMAL } else { encode_flat(values, effort, out) }
}

/// Appends the values without looking for more than small differences.
pub(super) fn encode_flat<T: Value>(values: &[T], effort: Effort, out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    if PACKED_VALUES_MIN <= values.len() {
        if pco::encode(values, effort, out) && out.len() - start < values.len() * 8 {
            return PACKED;
        }
    } else if push_steps(values, out) && out.len() - start < values.len() * 8 {
        return STEPS;
    }
    out.truncate(start);
    out.extend(values.iter().flat_map(|value| value.to_bits().to_le_bytes()));
    PLAIN
}

/// Appends the differences, but those of doubles, which are none.
fn push_steps<T: Value>(values: &[T], out: &mut Vec<u8>) -> bool {
    if T::doubles(values).is_some() {
        return false;
    }
    let mut before = 0u64;
    for value in values {
        let bits = value.to_bits();
        push_varint(out, zigzag(bits.wrapping_sub(before).cast_signed()));
        before = bits;
    }
    true
}

/// Whether a stretch of the values costs no more than it has values, and at most what one page more does.
pub(super) fn is_piecewise(codec: u8, bytes: &[u8]) -> bool {
    match codec {
        PLAIN | CONSTANT => true,
        PACKED => pco::is_paged(bytes),
        DECIMAL => decimal::digits_of(bytes)
            .is_ok_and(|(codec, digits)| codec != DECIMAL && is_piecewise(codec, digits)),
        _ => false,
    }
}

/// Appends those of `count` values, of which there is one at least, that are wanted.
pub(super) fn decode<T: Value>(
    codec: u8,
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), Damage> {
    out.reserve(wanted.len());
    match codec {
        CONSTANT => {
            let mut bytes = Bytes(bytes);
            let value = T::of_bits(bytes.u64()?);
            bytes.end()?;
            out.resize(out.len() + wanted.len(), value);
            Ok(())
        }
        RUNS => run::decode(bytes, count, wanted, out),
        _ => decode_each(codec, bytes, count, wanted, out),
    }
}

/// Appends those values that are wanted, which stand there each for itself.
pub(super) fn decode_each<T: Value>(
    codec: u8,
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), Damage> {
    match codec {
        DECIMAL => T::decode_decimal(bytes, count, wanted, out),
        _ => decode_flat(codec, bytes, count, wanted, out),
    }
}

/// Appends what is wanted of what [`encode_flat`] was given.
pub(super) fn decode_flat<T: Value>(
    codec: u8,
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), Damage> {
    match codec {
        PACKED => pco::decode(bytes, count, wanted, out),
        PLAIN => {
            let (values, rest) = bytes.as_chunks::<8>();
            if values.len() != count || !rest.is_empty() {
                return Err(Damage("a column of a chunk is not as long as its values"));
            }
            let values = values[wanted].iter();
            out.extend(values.map(|value| T::of_bits(u64::from_le_bytes(*value))));
            Ok(())
        }
        STEPS => {
            let mut bytes = Bytes(bytes);
            let mut bits = 0u64;
            for at in 0..count {
                bits = bits.wrapping_add(unzigzag(bytes.varint()?) as u64);
                if wanted.contains(&at) {
                    out.push(T::of_bits(bits));
                }
            }
            bytes.end()
        }
        _ => Err(UNKNOWN),
    }
}
