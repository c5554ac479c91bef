//! Numbers by the crate `pco`: bins and an entropy coder over the values or their differences.
//!
//! Whole numbers are counted from the least of them, in the greatest unit that divides them all, and packed as
//! the narrowest type that holds that: the bins of narrow types are shorter. Whether differences are packed or values
//! is told by a sample, as pco's own way of finding out costs more than packing.
//!
//! Many values are packed in pages, which share their bins and are read each for itself: who wants an hour of a week
//! does not decode the days before.
//!
//! 1. What decoding may allocate is bounded by how many values there are, not by what the bytes say.
//! 2. A stretch of the values is the same as that stretch of all of them.

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
use std::ops::Range;

/// Doubles as they are.
const DOUBLES: u8 = 0;
/// Whole numbers: the least, zigzag; the unit, varint; then offsets of so many bits.
const OFFSETS_16: u8 = 1;
const OFFSETS_32: u8 = 2;
const OFFSETS_64: u8 = 3;
/// What is added where there is more than one page.
const PAGED: u8 = 4;

/// Values of a page. Each costs some eight bytes, and who wants a value decodes those before it in its page.
pub(super) const PAGE_VALUES: usize = 2_048;
/// What pco decodes at once; pages that we read have no fewer values.
const PAGE_VALUES_MIN: usize = FULL_BATCH_N;

/// How far back a value may point in what we read: pco writes no more for as few values as a chunk has.
const WINDOW_LOG_MAX: u32 = 16;

/// How many places are looked at to tell whether differences are smaller than values.
const SAMPLE: usize = 64;

const DAMAGED: Damage = Damage("the packed values of a chunk are damaged");

/// Appends the values, packed; nothing is appended if pco does not take them.
pub(super) fn encode<T: Value>(values: &[T], effort: Effort, out: &mut Vec<u8>) -> bool {
    let paged = if PAGE_VALUES < values.len() { PAGED } else { 0 };
    if let Some(doubles) = T::doubles(values) {
        out.push(DOUBLES | paged);
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
    out.push(width | paged);
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

/// Appends what pco makes of values, behind how long its pages are where there is more than one.
fn pack<N: Number>(values: &[N], config: ChunkConfig, out: &mut Vec<u8>) -> bool {
    let pages: Vec<usize> = values.chunks(PAGE_VALUES).map(<[N]>::len).collect();
    let count = pages.len();
    let config = config.with_paging_spec(PagingSpec::Exact(pages));
    let files = FileCompressor::default();
    let written = files.chunk_compressor(values, &config).and_then(|mut chunk| {
        let mut body = Vec::new();
        if 1 < count {
            push_varint(out, PAGE_VALUES as u64);
        }
        for page in 0..count {
            let start = body.len();
            chunk.write_page(page, &mut body)?;
            if page + 1 < count {
                push_varint(out, (body.len() - start) as u64);
            }
        }
        files.write_header(&mut *out)?;
        chunk.write_meta(&mut *out)?;
        out.append(&mut body);
        Ok(())
    });
    written.is_ok()
}

/// Whether packed values are in pages.
pub(super) fn is_paged(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|width| width & PAGED != 0)
}

/// Appends those of `count` values that are wanted.
pub(super) fn decode<T: Value>(
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<T>,
) -> Result<(), Damage> {
    let mut bytes = Bytes(bytes);
    let byte = bytes.byte()?;
    let (width, paged) = (byte & !PAGED, byte & PAGED != 0);
    if width == DOUBLES {
        let doubles = T::doubles_mut(out).ok_or(DAMAGED)?;
        let pages = Pages::take(&mut bytes, count, paged)?;
        return pages.unpack(wanted, |values: &[f64]| doubles.extend_from_slice(values));
    }
    if T::doubles(&[]).is_some() {
        return Err(DAMAGED);
    }
    let least = unzigzag(bytes.varint()?).cast_unsigned();
    let unit = bytes.varint()?;
    let pages = Pages::take(&mut bytes, count, paged)?;
    let value = |offset: u64| T::of_bits(least.wrapping_add(offset.wrapping_mul(unit)));
    match width {
        // One unit is the common case, and a multiplication each is not free.
        OFFSETS_16 if unit == 1 => pages.unpack(wanted, |offsets: &[u16]| {
            let value = |offset: &u16| T::of_bits(least.wrapping_add(u64::from(*offset)));
            out.extend(offsets.iter().map(value));
        }),
        OFFSETS_16 => pages.unpack(wanted, |offsets: &[u16]| {
            out.extend(offsets.iter().map(|offset| value(u64::from(*offset))));
        }),
        OFFSETS_32 => pages.unpack(wanted, |offsets: &[u32]| {
            out.extend(offsets.iter().map(|offset| value(u64::from(*offset))));
        }),
        OFFSETS_64 => pages.unpack(wanted, |offsets: &[u64]| {
            out.extend(offsets.iter().map(|offset| value(*offset)));
        }),
        _ => Err(DAMAGED),
    }
}

/// Where pages lie.
struct Pages<'a> {
    /// All values.
    count: usize,
    /// Values of each page but the last.
    page_values: usize,
    /// Bytes of each page but the last.
    lengths: Vec<usize>,
    /// What pco wrote.
    packed: &'a [u8],
}

impl<'a> Pages<'a> {
    fn take(bytes: &mut Bytes<'a>, count: usize, paged: bool) -> Result<Pages<'a>, Damage> {
        let (mut page_values, mut lengths) = (count.max(1), Vec::new());
        if paged {
            page_values = bytes.count(count)?;
            if page_values < PAGE_VALUES_MIN {
                return Err(DAMAGED);
            }
            for _ in 1..count.div_ceil(page_values) {
                lengths.push(bytes.count(bytes.0.len())?);
            }
        }
        Ok(Pages { count, page_values, lengths, packed: bytes.0 })
    }

    /// Hands out the values that are wanted, some at a time.
    fn unpack<N: Number + Default>(
        &self,
        wanted: Range<usize>,
        mut take: impl FnMut(&[N]),
    ) -> Result<(), Damage> {
        let damaged = |_| DAMAGED;
        let (files, bytes) = FileDecompressor::new(self.packed).map_err(damaged)?;
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
        let (mut rest, mut start) = (Bytes(bytes), 0);
        for number in 0..=self.lengths.len() {
            let page = match self.lengths.get(number) {
                Some(length) => rest.take(*length)?,
                None => rest.0,
            };
            let values = self.page_values.min(self.count - start);
            let (from, to) = (wanted.start.max(start), wanted.end.min(start + values));
            if from < to {
                let mut page = chunk.page_decompressor(page, values).map_err(damaged)?;
                let (mut batch, mut at) = ([N::default(); FULL_BATCH_N], start);
                while at < to {
                    let read = page.read(&mut batch).map_err(damaged)?.n_processed;
                    if read == 0 || start + values < at + read {
                        return Err(DAMAGED);
                    }
                    let (first, last) = (from.max(at), to.min(at + read));
                    if first < last {
                        take(&batch[first - at..last - at]);
                    }
                    at += read;
                }
                if at == start + values && !page.into_src().is_empty() {
                    return Err(DAMAGED);
                }
            }
            start += values;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As releases did that knew no pages.
    #[test]
    fn many_values_in_one_page_are_read() {
        let values: Vec<u16> = (0..5000u32).map(|at| (at * at % 977) as u16).collect();
        let config = ChunkConfig::default().with_paging_spec(PagingSpec::Exact(vec![values.len()]));
        let files = FileCompressor::default();
        let mut chunk = files.chunk_compressor(&values, &config).unwrap();
        let mut bytes = vec![OFFSETS_16, zigzag(7) as u8, 3];
        files.write_header(&mut bytes).unwrap();
        chunk.write_meta(&mut bytes).unwrap();
        chunk.write_page(0, &mut bytes).unwrap();
        let right: Vec<i64> = values.iter().map(|value| 7 + i64::from(*value) * 3).collect();
        for wanted in [0..5000, 4999..5000, 1000..3000, 10..10] {
            let mut read: Vec<i64> = Vec::new();
            decode(&bytes, 5000, wanted.clone(), &mut read).unwrap();
            assert_eq!(read, right[wanted]);
        }
        assert!(!is_paged(&bytes));
        let mut paged = Vec::new();
        assert!(encode(&right, Effort::Cold, &mut paged) && is_paged(&paged));
        // A page of so few values, or one less of bytes, was never written.
        let (at, _) = paged.iter().enumerate().find(|(_, byte)| **byte == 0x80).unwrap();
        assert_eq!(paged[at..at + 2], [0x80, 0x10]);
        let mut small = paged.clone();
        small.splice(at..at + 2, [0x80, 1]);
        assert!(decode::<i64>(&small, 5000, 0..5000, &mut Vec::new()).is_err());
        small.splice(at..at + 2, [0xff - 0x80]);
        assert!(decode::<i64>(&small, 5000, 0..5000, &mut Vec::new()).is_err());
        assert!(decode::<i64>(&paged[..paged.len() - 1], 5000, 0..5000, &mut Vec::new()).is_err());
    }
}
