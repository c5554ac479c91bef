//! Numbers of which many in a row are alike: each once, and how often it stands there.
//!
//! 1. The runs come to as many values as the column has, whatever the bytes say.

use super::{
    Damage, Effort,
    bytes::{Bytes, push_varint},
    numbers::{self, Value},
};
use std::ops::Range;

/// Appends the values as runs.
pub(super) fn encode<T: Value>(values: &[T], effort: Effort, out: &mut Vec<u8>) {
    let mut each = Vec::new();
    let mut lengths: Vec<u64> = Vec::new();
    for run in values.chunk_by(|one, next| one.to_bits() == next.to_bits()) {
        each.push(run[0]);
        lengths.push(run.len() as u64 - 1);
    }
    push_varint(out, each.len() as u64);
    let mut body = Vec::new();
    let codec = numbers::encode_flat(&lengths, effort, &mut body);
    out.push(codec);
    push_varint(out, body.len() as u64);
    out.append(&mut body);
    let codec = numbers::encode_each(&each, effort, &mut body);
    out.push(codec);
    out.append(&mut body);
}

/// Appends those of `count` values that are wanted.
pub(super) fn decode<T: Value>(
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), Damage> {
    let mut bytes = Bytes(bytes);
    let runs = bytes.count(count)?;
    let codec = bytes.byte()?;
    let length = bytes.count(bytes.0.len())?;
    let (mut lengths, mut each) = (Vec::<u64>::new(), Vec::<T>::new());
    numbers::decode_flat(codec, bytes.take(length)?, runs, 0..runs, &mut lengths)?;
    let codec = bytes.byte()?;
    numbers::decode_each(codec, bytes.0, runs, 0..runs, &mut each)?;
    let mut at = 0;
    for (value, length) in each.iter().zip(lengths) {
        if ((count - at) as u64) <= length {
            return Err(Damage("the runs of a chunk are longer than its column"));
        }
        let end = at + length as usize + 1;
        let here = end.min(wanted.end).saturating_sub(at.max(wanted.start));
        out.resize(out.len() + here, *value);
        at = end;
    }
    if at == count { Ok(()) } else { Err(Damage("the runs of a chunk are too short")) }
}
