//! Numbers by the crate `pco`: bins and an entropy coder over the values or their differences.
//!
//! Whole numbers are counted from the least of them, in the greatest unit that divides them all, and packed as
//! the narrowest type that holds that: the bins of narrow types are shorter. Whether differences are packed or values
//! is told by a sample, as pco's own way of finding out costs more than packing.
//!
//! 1. What decoding may allocate is bounded by how many values there are, not by what the bytes say.

use super::{
    Damage, Effort,
    bytes::{Bytes, push_varint, unzigzag, zigzag},
    numbers::Value,
};
use ::pco::{
    ChunkConfig, DeltaSpec, FULL_BATCH_N, ModeSpec, PagingSpec,
    data_types::Number,
    metadata::{DeltaEncoding, Mode},
    wrapped::{FileCompressor, FileDecompressor},
};

/// Doubles as they are.
const DOUBLES: u8 = 0;
/// Whole numbers: the least, zigzag; the unit, varint; then offsets of so many bits.
const OFFSETS_16: u8 = 1;
const OFFSETS_32: u8 = 2;
const OFFSETS_64: u8 = 3;

/// How far back a value may point in what we read: pco writes no more for as few values as a chunk has.
const WINDOW_LOG_MAX: u32 = 16;

/// How many places are looked at to tell whether differences are smaller than values.
const SAMPLE: usize = 64;

const DAMAGED: Damage = Damage("the packed values of a chunk are damaged");

/// Appends the values, packed; nothing is appended if pco does not take them.
pub(super) fn encode<T: Value>(values: &[T], effort: Effort, out: &mut Vec<u8>) -> bool {
    if let Some(doubles) = T::doubles(values) {
        out.push(DOUBLES);
        let config = double_config(doubles, effort);
        return pack(doubles, config, out);
    }
    let least =
        values.iter().fold(values[0], |least, value| if *value < least { *value } else { least });
    let least = least.to_bits();
    let (unit, most) = unit(values, least);
    let tick = |value: &T| (value.to_bits().wrapping_sub(least)) / unit;
    let level = match effort {
        Effort::Hot => 5,
        Effort::Cold => 6,
    };
    let width = match most / unit {
        0..=0xffff => OFFSETS_16,
        0x1_0000..=0xffff_ffff => OFFSETS_32,
        _ => OFFSETS_64,
    };
    out.push(width);
    push_varint(out, zigzag(least.cast_signed()));
    push_varint(out, unit);
    let config = ChunkConfig::default()
        .with_compression_level(level)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(delta(values.len(), |at| values[at].to_bits()));
    // One unit is the common case, and a division each is not free.
    match (width, unit) {
        (OFFSETS_16, 1) => {
            pack(&collect(values, |v| v.to_bits().wrapping_sub(least) as u16), config, out)
        }
        (OFFSETS_16, _) => pack(&collect(values, |v| tick(v) as u16), config, out),
        (OFFSETS_32, _) => pack(&collect(values, |v| tick(v) as u32), config, out),
        _ => pack(&collect(values, tick), config, out),
    }
}

fn collect<T, N>(values: &[T], map: impl FnMut(&T) -> N) -> Vec<N> {
    values.iter().map(map).collect()
}

/// The greatest unit of which all values are multiples, counted from the least one, and how far the greatest is
/// from that.
fn unit<T: Value>(values: &[T], least: u64) -> (u64, u64) {
    let (mut unit, mut most) = (0u64, 0u64);
    for value in values {
        let offset = value.to_bits().wrapping_sub(least);
        most = most.max(offset);
        if unit != 1 && (unit == 0 || !offset.is_multiple_of(unit)) {
            unit = super::times::divisor(offset, unit);
        }
    }
    (unit.max(1), most)
}

/// How doubles are packed.
fn double_config(values: &[f64], effort: Effort) -> ChunkConfig {
    // Doubles that were floats of 32 bits have many zeros at their end; what finds them is dear otherwise.
    let step = values.len().div_ceil(SAMPLE);
    let narrow = values.iter().step_by(step).all(|value| value.to_bits() & ((1 << 29) - 1) == 0);
    let (level, mode) = match effort {
        Effort::Hot if !narrow => (4, ModeSpec::Classic),
        Effort::Hot => (4, ModeSpec::Auto),
        Effort::Cold => (7, ModeSpec::Auto),
    };
    // Doubles in their order, as pco numbers them.
    let place = |at: usize| {
        let bits = values[at].to_bits();
        if bits >> 63 == 1 { !bits } else { bits ^ 1 << 63 }
    };
    ChunkConfig::default()
        .with_compression_level(level)
        .with_mode_spec(mode)
        .with_delta_spec(delta(values.len(), place))
}

/// Whether values, their differences, or the differences of those are smallest, as a sample tells it.
fn delta(count: usize, value: impl Fn(usize) -> u64) -> DeltaSpec {
    if count < 4 {
        return DeltaSpec::NoOp;
    }
    let size = |number: u64| u64::from(64 - zigzag(number.cast_signed()).leading_zeros());
    let middle = value(count / 2);
    let (mut plain, mut first, mut second) = (0, 0, 0);
    let step = count.div_ceil(SAMPLE);
    let mut looked = 0;
    for at in (2..count).step_by(step) {
        let [before, last, this] = [value(at - 2), value(at - 1), value(at)];
        let [difference, earlier] = [this.wrapping_sub(last), last.wrapping_sub(before)];
        plain += size(this.wrapping_sub(middle));
        first += size(difference);
        second += size(difference.wrapping_sub(earlier));
        looked += 1;
    }
    // Half a bit a value more is within what a sample tells.
    if second + looked / 2 < first && second + looked < plain {
        DeltaSpec::TryConsecutive(2)
    } else if first + looked / 2 < plain {
        DeltaSpec::TryConsecutive(1)
    } else {
        DeltaSpec::Auto
    }
}

fn pack<N: Number>(values: &[N], config: ChunkConfig, out: &mut Vec<u8>) -> bool {
    let config = config.with_paging_spec(PagingSpec::Exact(vec![values.len()]));
    let files = FileCompressor::default();
    let written = files.chunk_compressor(values, &config).and_then(|mut chunk| {
        files.write_header(&mut *out)?;
        chunk.write_meta(&mut *out)?;
        chunk.write_page(0, &mut *out)?;
        Ok(())
    });
    written.is_ok()
}

/// Appends `count` values.
pub(super) fn decode<T: Value>(bytes: &[u8], count: usize, out: &mut Vec<T>) -> Result<(), Damage> {
    let mut bytes = Bytes(bytes);
    let width = bytes.byte()?;
    if width == DOUBLES {
        let doubles = T::doubles_mut(out).ok_or(DAMAGED)?;
        return unpack(bytes.0, count, |values: &[f64]| doubles.extend_from_slice(values));
    }
    if T::doubles(&[]).is_some() {
        return Err(DAMAGED);
    }
    let least = unzigzag(bytes.varint()?).cast_unsigned();
    let unit = bytes.varint()?;
    let value = |offset: u64| T::of_bits(least.wrapping_add(offset.wrapping_mul(unit)));
    let bytes = bytes.0;
    match width {
        OFFSETS_16 => unpack(bytes, count, |offsets: &[u16]| {
            out.extend(offsets.iter().map(|offset| value(u64::from(*offset))));
        }),
        OFFSETS_32 => unpack(bytes, count, |offsets: &[u32]| {
            out.extend(offsets.iter().map(|offset| value(u64::from(*offset))));
        }),
        OFFSETS_64 => unpack(bytes, count, |offsets: &[u64]| {
            out.extend(offsets.iter().map(|offset| value(*offset)));
        }),
        _ => Err(DAMAGED),
    }
}

/// Hands out `count` values, some at a time.
fn unpack<N: Number + Default>(
    bytes: &[u8],
    count: usize,
    mut take: impl FnMut(&[N]),
) -> Result<(), Damage> {
    let damaged = |_| DAMAGED;
    let (files, bytes) = FileDecompressor::new(bytes).map_err(damaged)?;
    let (mut chunk, bytes) = files.chunk_decompressor::<N, _>(bytes).map_err(damaged)?;
    match &chunk.meta().delta_encoding {
        DeltaEncoding::Lookback { config, .. } if WINDOW_LOG_MAX < config.window_n_log => {
            return Err(DAMAGED);
        }
        _ => {}
    }
    if matches!(chunk.meta().mode, Mode::Dict(_)) {
        return Err(DAMAGED);
    }
    let mut page = chunk.page_decompressor(bytes, count).map_err(damaged)?;
    let (mut values, mut left) = ([N::default(); FULL_BATCH_N], count);
    while 0 < left {
        let progress = page.read(&mut values).map_err(damaged)?;
        if progress.n_processed == 0 || left < progress.n_processed {
            return Err(DAMAGED);
        }
        take(&values[..progress.n_processed]);
        left -= progress.n_processed;
    }
    if page.into_src().is_empty() { Ok(()) } else { Err(DAMAGED) }
}
