//! Rows of one series that lie in several places, as one: what is newer wins, field by field.
//!
//! Rows that came late, or were written twice, lie in parts of their own. A row of the result has for each field
//! the value of the part with the greatest precedence that has one: two writes to one time are one row, as in
//! InfluxDB.
//!
//! 1. Times of the result ascend, no two alike, and each of its rows has a value.

use super::head::Part;
use olivine_query::source::{Column, Values};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Rows of one series from one place.
#[derive(Clone, Debug)]
pub(crate) struct Sourced {
    /// The greater wins; of the same, what comes later.
    pub(crate) precedence: u64,
    pub(crate) part: Part,
}

/// Merges rows from several places, whose values of one field are of one type. Columns of the result are by the
/// number of their field, ascending, and those without values are left out.
pub(crate) fn merge(mut sources: Vec<Sourced>) -> Result<Part, &'static str> {
    sources.retain(|source| !source.part.times.is_empty());
    if sources.len() < 2 {
        return Ok(sources.pop().map(|source| source.part).unwrap_or_default());
    }
    sources.sort_by_key(|source| source.precedence);
    let order: Vec<&Part> = sources.iter().map(|source| &source.part).collect();
    for part in &order {
        check(part)?;
    }
    let (times, places) = places(&order);
    let rows = times.len();
    let mut fields: BTreeMap<u32, Built> = BTreeMap::new();
    for (part, place) in order.iter().zip(&places) {
        for (field, column) in &part.columns {
            if matches!(column.values, Values::None) {
                continue;
            }
            let built = fields.entry(*field).or_insert_with(|| Built::new(&column.values, rows));
            built.put(&column.values, column.present.as_deref(), place)?;
        }
    }
    Ok(finish(times, fields))
}

/// The rows of a column from `from` to before `to`.
pub(crate) fn cut(column: &Column, from: usize, to: usize) -> Column {
    let values = match &column.values {
        Values::None => return Column::default(),
        Values::Float(values) => Values::Float(values[from..to].to_vec()),
        Values::Integer(values) => Values::Integer(values[from..to].to_vec()),
        Values::Unsigned(values) => Values::Unsigned(values[from..to].to_vec()),
        Values::Text(values) => Values::Text(values[from..to].to_vec()),
        Values::Boolean(values) => Values::Boolean(values[from..to].to_vec()),
    };
    let rows: Vec<usize> = (from..to).collect();
    let present = column.present.as_ref().map(|bits| pick_bits(bits, &rows));
    Column { values, present }
}

/// These rows of a column.
pub(crate) fn pick(column: &Column, rows: &[usize]) -> Column {
    let values = pick_values(&column.values, rows);
    if matches!(values, Values::None) {
        return Column::default();
    }
    let present = column.present.as_ref().map(|bits| pick_bits(bits, rows));
    Column { values, present }
}

/// That a part is what it says.
fn check(part: &Part) -> Result<(), &'static str> {
    let rows = part.times.len();
    let fits = |column: &Column| {
        let long = column.present.as_ref().is_none_or(|bits| rows.div_ceil(64) <= bits.len());
        long && length(&column.values).is_none_or(|length| length == rows)
    };
    if !part.times.is_sorted_by(|one, next| one < next) {
        return Err("times of a series do not ascend");
    }
    if part.columns.iter().all(|(_, column)| fits(column)) {
        Ok(())
    } else {
        Err("a column of a series is not as long as its times")
    }
}

fn length(values: &Values) -> Option<usize> {
    match values {
        Values::None => None,
        Values::Float(values) => Some(values.len()),
        Values::Integer(values) => Some(values.len()),
        Values::Unsigned(values) => Some(values.len()),
        Values::Text(values) => Some(values.len()),
        Values::Boolean(values) => Some(values.len()),
    }
}

/// Where the rows of a part stand in the result.
enum Place {
    /// Behind each other, from here on.
    From(usize),
    /// Each for itself.
    At(Vec<usize>),
}

impl Place {
    fn of(&self, row: usize) -> usize {
        match self {
            Place::From(start) => start + row,
            Place::At(rows) => rows[row],
        }
    }
}

/// All times, and where each part's stand among them.
fn places(parts: &[&Part]) -> (Vec<i64>, Vec<Place>) {
    let mut times: Vec<i64> = Vec::with_capacity(parts.iter().map(|part| part.times.len()).sum());
    let mut laid: Vec<&Part> = parts.to_vec();
    laid.sort_by_key(|part| part.times.first().copied());
    for part in laid {
        times.extend_from_slice(&part.times);
    }
    if !times.is_sorted_by(|one, next| one < next) {
        #[expect(
            clippy::stable_sort_primitive,
            reason = "it merges stretches that ascend already"
        )]
        times.sort();
        times.dedup();
    }
    let place = |part: &&Part| {
        let rows = part.times.len();
        let start = times.partition_point(|time| *time < part.times[0]);
        if times.get(start + rows - 1) == part.times.last() {
            return Place::From(start);
        }
        let mut at = start;
        let find = |time: &i64| {
            while times[at] < *time {
                at += 1;
            }
            at
        };
        Place::At(part.times.iter().map(find).collect())
    };
    let places = parts.iter().map(place).collect();
    (times, places)
}

/// A column that is being put together.
struct Built {
    values: Values,
    present: Vec<u64>,
}

impl Built {
    fn new(model: &Values, rows: usize) -> Built {
        let values = match model {
            Values::None => Values::None,
            Values::Float(_) => Values::Float(vec![0.0; rows]),
            Values::Integer(_) => Values::Integer(vec![0; rows]),
            Values::Unsigned(_) => Values::Unsigned(vec![0; rows]),
            Values::Text(_) => Values::Text(vec![Box::default(); rows]),
            Values::Boolean(_) => Values::Boolean(vec![false; rows]),
        };
        Built { values, present: vec![0; rows.div_ceil(64)] }
    }

    /// Puts the values of a part over those of the parts before it.
    fn put(
        &mut self,
        values: &Values,
        present: Option<&[u64]>,
        place: &Place,
    ) -> Result<(), &'static str> {
        let bits = &mut self.present;
        match (&mut self.values, values) {
            (Values::Float(into), Values::Float(from)) => put(into, bits, from, present, place),
            (Values::Integer(into), Values::Integer(from)) => put(into, bits, from, present, place),
            (Values::Unsigned(into), Values::Unsigned(from)) => {
                put(into, bits, from, present, place);
            }
            (Values::Text(into), Values::Text(from)) => put(into, bits, from, present, place),
            (Values::Boolean(into), Values::Boolean(from)) => put(into, bits, from, present, place),
            _ => return Err("a field of a series has values of two types"),
        }
        Ok(())
    }
}

fn put<T: Clone>(
    into: &mut [T],
    bits: &mut [u64],
    from: &[T],
    present: Option<&[u64]>,
    place: &Place,
) {
    if let (None, Place::From(start)) = (present, place) {
        into[*start..start + from.len()].clone_from_slice(from);
        for row in *start..start + from.len() {
            bits[row / 64] |= 1 << (row % 64);
        }
        return;
    }
    for (row, value) in from.iter().enumerate() {
        if present.is_none_or(|present| present[row / 64] >> (row % 64) & 1 == 1) {
            let at = place.of(row);
            into[at].clone_from(value);
            bits[at / 64] |= 1 << (at % 64);
        }
    }
}

/// The result without rows and columns that have no values.
fn finish(mut times: Vec<i64>, mut fields: BTreeMap<u32, Built>) -> Part {
    fields.retain(|_, built| built.present.iter().any(|word| *word != 0));
    let mut some = vec![0u64; times.len().div_ceil(64)];
    for built in fields.values() {
        for (word, more) in some.iter_mut().zip(&built.present) {
            *word |= more;
        }
    }
    let has = |bits: &[u64], row: usize| bits[row / 64] >> (row % 64) & 1 == 1;
    let kept: Vec<usize> = (0..times.len()).filter(|row| has(&some, *row)).collect();
    let all = kept.len() == times.len();
    if !all {
        times = kept.iter().map(|row| times[*row]).collect();
    }
    let columns = fields.into_iter().map(|(field, built)| {
        let (values, present) = if all {
            (built.values, built.present)
        } else {
            (pick_values(&built.values, &kept), pick_bits(&built.present, &kept))
        };
        let set: u32 = present.iter().map(|word| word.count_ones()).sum();
        let present = if set as usize == times.len() { None } else { Some(present) };
        (field, Column { values, present })
    });
    let columns = columns.collect();
    Part { times, columns }
}

/// The values of these rows.
fn pick_values(values: &Values, rows: &[usize]) -> Values {
    fn those<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
        rows.iter().map(|row| values[*row].clone()).collect()
    }
    match values {
        Values::None => Values::None,
        Values::Float(values) => Values::Float(those(values, rows)),
        Values::Integer(values) => Values::Integer(those(values, rows)),
        Values::Unsigned(values) => Values::Unsigned(those(values, rows)),
        Values::Text(values) => Values::Text(those(values, rows)),
        Values::Boolean(values) => Values::Boolean(those(values, rows)),
    }
}

/// The bits of these rows.
fn pick_bits(bits: &[u64], rows: &[usize]) -> Vec<u64> {
    let mut kept = vec![0; rows.len().div_ceil(64)];
    for (at, row) in rows.iter().enumerate() {
        kept[at / 64] |= (bits[row / 64] >> (row % 64) & 1) << (at % 64);
    }
    kept
}
