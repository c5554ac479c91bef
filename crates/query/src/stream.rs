//! Functions that go over points in their order and answer points: difference, derivative, moving_average, and so on.
//!
//! 1. A point whose time is that of the point before it is left out where two points are compared.

use crate::{math, raw::Points, token::Op, vector::Vector, window::Window};
use olivine_command::Cell;

/// Which function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stream {
    /// Per so many nanoseconds; nothing below zero if told so.
    Derivative(i64, bool),
    /// Nothing below zero if told so.
    Difference(bool),
    CumulativeSum,
    MovingAverage(usize),
    /// In so many nanoseconds.
    Elapsed(i64),
    /// Over so many nanoseconds.
    Integral(i64),
}

impl Stream {
    /// What points come to.
    pub(crate) fn of(&self, points: &Points, ascending: bool, window: Window<'_>) -> Points {
        let rows = (0..points.times.len())
            .map(|row| (points.times[row], points.columns[0].get(row)))
            .filter(|(_, cell)| *cell != Cell::Null);
        let found = match self {
            Stream::Derivative(unit, positive) => pairs(rows, |(before, a), (at, b)| {
                let elapsed = at.wrapping_sub(before);
                let elapsed = if ascending { elapsed } else { -elapsed };
                let rise = rise(a, b);
                let value = rise / (elapsed as f64 / *unit as f64);
                (!*positive || rise >= 0.0).then_some(Cell::Float(value))
            }),
            Stream::Difference(positive) => pairs(rows, |(_, a), (_, b)| {
                let value = math::binary(Op::Subtract, b, a, true);
                let below = match &value {
                    Cell::Integer(value) => *value < 0,
                    Cell::Float(value) => *value < 0.0,
                    // Whole numbers that cannot be negative are compared before they wrap around.
                    _ => matches!((a, b), (Cell::Unsigned(a), Cell::Unsigned(b)) if b < a),
                };
                (!(*positive && below)).then_some(value)
            }),
            Stream::Elapsed(unit) => pairs(rows, |(before, _), (at, _)| {
                Some(Cell::Integer(at.wrapping_sub(before) / unit))
            }),
            Stream::CumulativeSum => {
                let mut sum: Option<Cell> = None;
                rows.map(|(time, cell)| {
                    let now = match &sum {
                        Some(sum) => math::binary(Op::Add, sum, &cell, true),
                        None => cell,
                    };
                    sum = Some(now.clone());
                    (time, now)
                })
                .collect()
            }
            Stream::MovingAverage(size) => moving_average(rows, *size),
            Stream::Integral(unit) => integral(rows, *unit, ascending, window),
        };
        let (times, values): (Vec<i64>, Vector) = {
            let (times, cells): (Vec<i64>, Vec<Cell>) = found.into_iter().unzip();
            (times, cells.into_iter().collect())
        };
        Points { times, columns: vec![values] }
    }
}

/// By how much one value is above another.
fn rise(a: &Cell, b: &Cell) -> f64 {
    match (a, b) {
        (Cell::Integer(a), Cell::Integer(b)) => b.wrapping_sub(*a) as f64,
        (Cell::Unsigned(a), Cell::Unsigned(b)) => {
            let distance = a.abs_diff(*b) as f64;
            if a < b { distance } else { -distance }
        }
        _ => math::float(b).unwrap_or_default() - math::float(a).unwrap_or_default(),
    }
}

/// What each point and the one before it come to.
fn pairs(
    rows: impl Iterator<Item = (i64, Cell)>,
    of: impl Fn((i64, &Cell), (i64, &Cell)) -> Option<Cell>,
) -> Vec<(i64, Cell)> {
    let mut found = Vec::new();
    let mut before: Option<(i64, Cell)> = None;
    for (time, cell) in rows {
        if let Some((at, value)) = &before {
            if *at == time {
                continue;
            }
            found.extend(of((*at, value), (time, &cell)).map(|cell| (time, cell)));
        }
        before = Some((time, cell));
    }
    found
}

fn moving_average(rows: impl Iterator<Item = (i64, Cell)>, size: usize) -> Vec<(i64, Cell)> {
    let (mut kept, mut next, mut found) = (Vec::new(), 0, Vec::new());
    let mut sum: Option<Cell> = None;
    for (time, cell) in rows {
        if kept.len() == size {
            let old: Cell = std::mem::replace(&mut kept[next], cell.clone());
            sum = sum.map(|sum| math::binary(Op::Subtract, &sum, &old, true));
        } else {
            kept.push(cell.clone());
        }
        sum = Some(match sum {
            Some(sum) => math::binary(Op::Add, &sum, &cell, true),
            None => cell,
        });
        next = (next + 1) % size;
        if let (true, Some(sum)) = (kept.len() == size, &sum) {
            let sum = math::float(sum).unwrap_or_default();
            found.push((time, Cell::Float(sum / size as f64)));
        }
    }
    found
}

/// The value at a moment on the line between two points.
fn line(at: i64, before: i64, behind: i64, a: f64, b: f64) -> f64 {
    (b - a) / behind.wrapping_sub(before) as f64 * at.wrapping_sub(before) as f64 + a
}

fn integral(
    rows: impl Iterator<Item = (i64, Cell)>,
    unit: i64,
    ascending: bool,
    window: Window<'_>,
) -> Vec<(i64, Cell)> {
    let cut = window.interval.length != 0;
    let stretch = |at: i64| {
        let (start, end) = window.of(at);
        if ascending { (start, end) } else { (end, start) }
    };
    let (mut found, mut sum) = (Vec::new(), 0.0);
    let mut before: Option<(i64, f64)> = None;
    let (mut start, mut end) = (0, 0);
    for (time, cell) in rows {
        let value = math::float(&cell).unwrap_or_default();
        let Some((mut at, mut old)) = before else {
            before = Some((time, value));
            if cut {
                (start, end) = stretch(time);
            }
            continue;
        };
        if at == time {
            before = Some((time, value));
            continue;
        }
        if cut && (if ascending { end <= time } else { time <= end }) {
            if at != end {
                let there = line(end, at, time, old, value);
                sum += 0.5 * (there + old) * (end.wrapping_sub(at) as f64 / unit as f64);
                (at, old) = (end, there);
            }
            found.push((start, Cell::Float(sum)));
            (start, end) = stretch(time);
            sum = 0.0;
        }
        sum += 0.5 * (value + old) * (time.wrapping_sub(at) as f64 / unit as f64);
        before = Some((time, value));
    }
    if before.is_some_and(|(time, _)| time != start) {
        found.push((start, Cell::Float(sum)));
    }
    found
}
