//! What the values of a column come to, so that they need not be decoded to be counted or summed.
//!
//! 1. A column with a value that is no number has no summary but its count: what the least of them is, is
//!    decided where it is asked.

use super::{
    Damage,
    bytes::{Bytes, push_varint, unzigzag, zigzag},
};
use olivine_query::source::{FieldSummary, FieldType, SummaryValues};

/// What is known about the values of a field without decoding them.
#[derive(Clone, Debug, PartialEq)]
pub enum Summary {
    /// It has no values in this chunk.
    Absent,
    /// What they come to.
    Known(FieldSummary),
    /// There are values that are not numbers (NaN) among them: they must be decoded.
    Unknown,
}

/// The least and the greatest value and where they stand, and the sum.
struct Extremes<T> {
    min: (usize, T),
    max: (usize, T),
    sum: T,
}

/// Of values, one at least; `add` sums.
fn extremes<T: Copy + PartialOrd>(
    values: &[T],
    mut sum: T,
    add: impl Fn(T, T) -> T,
) -> Extremes<T> {
    let first = (0, values[0]);
    let (mut min, mut max) = (first, first);
    for (at, value) in values.iter().enumerate() {
        if *value < min.1 {
            min = (at, *value);
        }
        if max.1 < *value {
            max = (at, *value);
        }
        sum = add(sum, *value);
    }
    Extremes { min, max, sum }
}

/// What the values of a column are; one at least, and all that are there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dense<'a> {
    Float(&'a [f64]),
    Integer(&'a [i64]),
    Unsigned(&'a [u64]),
    /// Texts and booleans: how many.
    Counted(usize),
}

/// What they come to; `time` is the time of a value.
pub(super) fn summarize(values: Dense<'_>, time: impl Fn(usize) -> i64) -> Option<FieldSummary> {
    let (count, at_min, at_max, values) = match values {
        Dense::Float(values) => {
            if values.iter().any(|value| value.is_nan()) {
                return None;
            }
            // Adding to -0 leaves any value as it is; the sum of one -0 is that.
            let Extremes { min, max, sum } = extremes(values, -0.0, |sum, value| sum + value);
            let (first, last) = (values[0], values[values.len() - 1]);
            let told = SummaryValues::Float { min: min.1, max: max.1, sum, first, last };
            (values.len(), min.0, max.0, told)
        }
        Dense::Integer(values) => {
            let Extremes { min, max, sum } = extremes(values, 0, i64::wrapping_add);
            let (first, last) = (values[0], values[values.len() - 1]);
            let told = SummaryValues::Integer { min: min.1, max: max.1, sum, first, last };
            (values.len(), min.0, max.0, told)
        }
        Dense::Unsigned(values) => {
            let Extremes { min, max, sum } = extremes(values, 0, u64::wrapping_add);
            let (first, last) = (values[0], values[values.len() - 1]);
            let told = SummaryValues::Unsigned { min: min.1, max: max.1, sum, first, last };
            (values.len(), min.0, max.0, told)
        }
        Dense::Counted(count) => (count, 0, 0, SummaryValues::Counted),
    };
    Some(FieldSummary {
        count: count as u64,
        values,
        min_time: time(at_min),
        max_time: time(at_max),
        first_time: time(0),
        last_time: time(count - 1),
    })
}

/// The times of a chunk, as far as a summary needs them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) first: i64,
    pub(super) span: u64,
    pub(super) grain: u64,
}

impl Frame {
    fn push(self, time: i64, out: &mut Vec<u8>) {
        push_varint(out, time.wrapping_sub(self.first) as u64 / self.grain);
    }

    fn take(self, bytes: &mut Bytes<'_>) -> Result<i64, Damage> {
        let ticks = bytes.varint()?;
        match ticks.checked_mul(self.grain) {
            Some(span) if span <= self.span => Ok(self.first.wrapping_add(span.cast_signed())),
            _ => Err(Damage("a time in a summary of a chunk is outside of it")),
        }
    }
}

/// Appends a summary, whose count the reader knows.
pub(super) fn push(summary: &FieldSummary, frame: Frame, out: &mut Vec<u8>) {
    match &summary.values {
        SummaryValues::Float { min, max, sum, first, last } => {
            for value in [min, max, sum, first, last] {
                out.extend(value.to_bits().to_le_bytes());
            }
        }
        SummaryValues::Integer { min, max, sum, first, last } => {
            for value in [min, max, sum, first, last] {
                push_varint(out, zigzag(*value));
            }
        }
        SummaryValues::Unsigned { min, max, sum, first, last } => {
            for value in [min, max, sum, first, last] {
                push_varint(out, *value);
            }
        }
        SummaryValues::Counted => {}
    }
    let times = [summary.min_time, summary.max_time, summary.first_time, summary.last_time];
    for time in times {
        frame.push(time, out);
    }
}

/// Reads a summary.
pub(super) fn take(
    bytes: &mut Bytes<'_>,
    kind: FieldType,
    count: usize,
    frame: Frame,
) -> Result<FieldSummary, Damage> {
    let values = match kind {
        FieldType::Float => {
            let mut next = || bytes.u64().map(f64::from_bits);
            SummaryValues::Float {
                min: next()?,
                max: next()?,
                sum: next()?,
                first: next()?,
                last: next()?,
            }
        }
        FieldType::Integer => {
            let mut next = || bytes.varint().map(unzigzag);
            SummaryValues::Integer {
                min: next()?,
                max: next()?,
                sum: next()?,
                first: next()?,
                last: next()?,
            }
        }
        FieldType::Unsigned => {
            let mut next = || bytes.varint();
            SummaryValues::Unsigned {
                min: next()?,
                max: next()?,
                sum: next()?,
                first: next()?,
                last: next()?,
            }
        }
        FieldType::Text | FieldType::Boolean => SummaryValues::Counted,
    };
    let mut next = || frame.take(bytes);
    Ok(FieldSummary {
        count: count as u64,
        values,
        min_time: next()?,
        max_time: next()?,
        first_time: next()?,
        last_time: next()?,
    })
}
