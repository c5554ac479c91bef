//! Functions that need all points of a stretch at once: median, mode, stddev, percentile, distinct, sample, top, bottom.
//!
//! 1. They are given the points of one stretch in the order of their times, and answer places in it or one value.

use crate::{fold, math};
use olivine_command::Cell;
use std::{cmp::Ordering, collections::BTreeMap};

/// Which function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Median,
    Mode,
    Stddev,
    Percentile(f64),
    Distinct,
    CountDistinct,
    Sample(usize),
    /// The greatest (`true`) or the least ones, so many of them.
    Ranked(bool, usize),
}

/// What a stretch comes to.
pub(crate) enum Shaped {
    Nothing,
    /// One value, without a time of its own.
    Value(Cell),
    /// Some of its points.
    Places(Vec<u32>),
}

impl Shape {
    /// What a stretch comes to whose points have these times and values, none of which is missing.
    pub(crate) fn of(&self, times: &[i64], values: &[Cell]) -> Shaped {
        if values.is_empty() {
            return Shaped::Nothing;
        }
        match self {
            Shape::Median => Shaped::Value(median(values)),
            Shape::Mode => Shaped::Value(mode(times, values)),
            Shape::Stddev => Shaped::Value(Cell::Float(stddev(values))),
            Shape::Percentile(percentile) => {
                let sorted = by_value(values);
                let place = (values.len() as f64 * percentile / 100.0 + 0.5).floor() - 1.0;
                if place < 0.0 || values.len() as f64 <= place {
                    return Shaped::Nothing;
                }
                Shaped::Places(vec![sorted[place as usize]])
            }
            Shape::Distinct => Shaped::Places(distinct(times, values)),
            Shape::CountDistinct => {
                let count = distinct(times, values).len() as u64;
                Shaped::Value(Cell::Integer(count.cast_signed()))
            }
            Shape::Sample(size) => Shaped::Places(sample(values.len(), *size)),
            Shape::Ranked(greatest, count) => {
                Shaped::Places(ranked(times, values, *greatest, *count))
            }
        }
    }
}

fn by_value(values: &[Cell]) -> Vec<u32> {
    let mut places: Vec<u32> = (0..values.len() as u32).collect();
    places.sort_by(|a, b| fold::order(&values[*a as usize], &values[*b as usize]));
    places
}

fn median(values: &[Cell]) -> Cell {
    let sorted = by_value(values);
    let value = |place: usize| &values[sorted[place] as usize];
    let middle = values.len() / 2;
    let high = math::float(value(middle)).unwrap_or_default();
    if values.len() % 2 == 1 {
        return Cell::Float(high);
    }
    let low = math::float(value(middle - 1)).unwrap_or_default();
    let half = match (value(middle - 1), value(middle)) {
        (Cell::Integer(a), Cell::Integer(b)) => b.wrapping_sub(*a) as f64,
        _ => high - low,
    };
    Cell::Float(low + half / 2.0)
}

/// The most frequent value; of those alike the one whose first time is the oldest.
fn mode(times: &[i64], values: &[Cell]) -> Cell {
    if values.iter().all(|value| matches!(value, Cell::Boolean(_))) {
        let yes = values.iter().filter(|value| **value == Cell::Boolean(true)).count();
        return Cell::Boolean(
            1 < values.len() && values.len() <= 2 * yes || yes == 1 && values.len() == 1,
        );
    }
    let sorted = by_value(values);
    let (mut most, mut most_at, mut best) = (0, times[sorted[0] as usize], sorted[0]);
    let (mut count, mut first) = (0, sorted[0]);
    for place in sorted {
        if values[place as usize] != values[first as usize] {
            // As InfluxDB counts: only a value that comes again is looked at anew.
            count = 1;
            first = place;
            continue;
        }
        count += 1;
        let at = times[first as usize];
        if count < most || count == most && most_at < at {
            continue;
        }
        (most, most_at, best) = (count, times[place as usize], place);
    }
    values[best as usize].clone()
}

fn stddev(values: &[Cell]) -> f64 {
    if values.len() < 2 {
        return f64::NAN;
    }
    let floats = || values.iter().filter_map(math::float).filter(|value| !value.is_nan());
    let (mut mean, mut count) = (0.0, 0.0);
    for value in floats() {
        count += 1.0;
        mean += (value - mean) / count;
    }
    let variance: f64 = floats().map(|value| (value - mean).powi(2)).sum();
    (variance / (count - 1.0)).sqrt()
}

/// A value as something that can be looked up; zeros are one, whatever their sign.
fn lookup(value: &Cell) -> (u8, u64, &str) {
    match value {
        Cell::Null => (0, 0, ""),
        Cell::Time(value) | Cell::Integer(value) => (1, *value as u64, ""),
        Cell::Unsigned(value) => (2, *value, ""),
        Cell::Float(value) => (3, (value + 0.0).to_bits(), ""),
        Cell::Boolean(value) => (4, u64::from(*value), ""),
        Cell::Text(text) => (5, 0, text),
    }
}

/// The first point of each value, in the order of their times.
fn distinct(times: &[i64], values: &[Cell]) -> Vec<u32> {
    let mut known = BTreeMap::new();
    for (value, place) in values.iter().zip(0u32..) {
        known.entry(lookup(value)).or_insert(place);
    }
    let mut places: Vec<u32> = known.into_values().collect();
    places.sort_by(|a, b| {
        let (a, b) = (*a as usize, *b as usize);
        times[a].cmp(&times[b]).then_with(|| fold::order(&values[a], &values[b]))
    });
    places
}

/// So many of so many points, every choice as likely as another, and the same for the same query.
fn sample(count: usize, size: usize) -> Vec<u32> {
    let mut kept: Vec<u32> = (0..count.min(size) as u32).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for place in kept.len()..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let drawn = ((u128::from(state) * (place as u128 + 1)) >> 64) as usize;
        if drawn < kept.len() {
            kept[drawn] = place as u32;
        }
    }
    kept.sort_unstable();
    kept
}

/// The greatest or the least points, in the order of their times; of equal ones the oldest.
fn ranked(times: &[i64], values: &[Cell], greatest: bool, count: usize) -> Vec<u32> {
    let mut places: Vec<u32> = (0..values.len() as u32).collect();
    places.sort_by(|a, b| {
        let (a, b) = (*a as usize, *b as usize);
        let order = fold::order(&values[a], &values[b]);
        let order = if greatest { order.reverse() } else { order };
        order.then(times[a].cmp(&times[b])).then(Ordering::Equal)
    });
    places.truncate(count);
    places.sort_by_key(|place| times[*place as usize]);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[i64]) -> Vec<Cell> {
        values.iter().map(|value| Cell::Integer(*value)).collect()
    }

    fn places(shape: Shape, values: &[i64]) -> Vec<u32> {
        let times: Vec<i64> = (0i64..).take(values.len()).collect();
        match shape.of(&times, &cells(values)) {
            Shaped::Places(places) => places,
            _ => Vec::new(),
        }
    }

    #[test]
    fn stretches_come_to_what_they_should() {
        assert_eq!(median(&cells(&[1, 4, 2])), Cell::Float(2.0));
        assert_eq!(median(&cells(&[1, 4])), Cell::Float(2.5));
        assert_eq!(mode(&[0, 1, 2], &cells(&[7, 3, 3])), Cell::Integer(3));
        assert!(stddev(&cells(&[1])).is_nan());
        assert_eq!(places(Shape::Distinct, &[5, 3, 5, 4]), [0, 1, 3]);
        assert_eq!(places(Shape::Ranked(true, 2), &[5, 3, 5, 4]), [0, 2]);
        assert_eq!(places(Shape::Ranked(false, 2), &[5, 3, 5, 4]), [1, 3]);
        assert_eq!(places(Shape::Percentile(50.0), &[5, 3, 9, 4]), [3]);
        assert_eq!(places(Shape::Percentile(0.0), &[5, 3]), [0u32; 0]);
        assert_eq!(places(Shape::Sample(9), &[5, 3]), [0, 1]);
        assert_eq!(places(Shape::Sample(3), &[0; 100]).len(), 3);
    }
}
