//! Functions that take points one by one and keep little: count, sum, mean, min, max, first, last, spread.
//!
//! 1. What a stretch comes to does not depend on how it was cut into blocks, but for the last bits of sums of numbers
//!    with fractions: those of a series are added in the order of time, then those of the next.
//! 2. Of equal values the oldest is the least and the greatest; of equal times the greater value is first and last.

use crate::{
    feed::Block,
    math,
    source::{FieldSummary, SummaryValues},
    token::Op,
    vector::{Col, Rows},
};
use olivine_command::Cell;
use std::cmp::Ordering;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simple {
    Count,
    Sum,
    Mean,
    Min,
    Max,
    First,
    Last,
    Spread,
}

/// What the points so far come to.
#[derive(Clone, Debug, Default)]
pub(crate) enum State {
    #[default]
    None,
    Count(u64),
    /// The sum, and of how many.
    Sum(Cell, u64),
    /// A value, its time, and the other columns of its row.
    Best(Cell, i64, Vec<Cell>),
    /// The least and the greatest.
    Span(Cell, Cell),
}

/// The order of two values of one type.
pub(crate) fn order(a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Cell::Integer(a), Cell::Integer(b)) => a.cmp(b),
        (Cell::Unsigned(a), Cell::Unsigned(b)) => a.cmp(b),
        (Cell::Boolean(a), Cell::Boolean(b)) => a.cmp(b),
        (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
        _ => {
            let (a, b) = (math::float(a), math::float(b));
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        }
    }
}

impl Simple {
    /// The function of this name.
    pub(crate) fn named(name: &str) -> Option<Simple> {
        Some(match name {
            "count" => Simple::Count,
            "sum" => Simple::Sum,
            "mean" => Simple::Mean,
            "min" => Simple::Min,
            "max" => Simple::Max,
            "first" => Simple::First,
            "last" => Simple::Last,
            "spread" => Simple::Spread,
            _ => return None,
        })
    }

    /// What some rows of a block come to.
    pub(crate) fn of(self, block: &Block<'_>, place: usize, rows: &Rows, aux: usize) -> State {
        let col = &block.cols[place];
        let best = |row: Option<usize>| match row {
            Some(row) => State::Best(
                col.get(row),
                block.times[row],
                block.cols[aux..].iter().map(|col| col.get(row)).collect(),
            ),
            None => State::None,
        };
        match self {
            Simple::Count => {
                let count = if col.floats().is_some() || col.integers().is_some() {
                    rows.len()
                } else {
                    rows.iter().filter(|row| col.has(*row)).count()
                };
                if count == 0 { State::None } else { State::Count(count as u64) }
            }
            Simple::Sum | Simple::Mean => sum(col, rows),
            Simple::Min => best(extreme(col, rows, Ordering::Less)),
            Simple::Max => best(extreme(col, rows, Ordering::Greater)),
            Simple::First => best(rows.iter().find(|row| col.has(*row))),
            Simple::Last => {
                let places = (0..rows.len()).rev().map(|place| rows.get(place));
                best({ places }.find(|row| col.has(*row)))
            }
            Simple::Spread => {
                let low = extreme(col, rows, Ordering::Less);
                let high = extreme(col, rows, Ordering::Greater);
                match low.zip(high) {
                    Some((low, high)) => State::Span(col.get(low), col.get(high)),
                    None => State::None,
                }
            }
        }
    }

    /// What a summary comes to.
    pub(crate) fn of_summary(self, summary: &FieldSummary) -> State {
        if self == Simple::Count {
            return State::Count(summary.count);
        }
        let [min, max, sum, first, last] = match &summary.values {
            SummaryValues::Float { min, max, sum, first, last } => {
                [min, max, sum, first, last].map(|value| Cell::Float(*value))
            }
            SummaryValues::Integer { min, max, sum, first, last } => {
                [min, max, sum, first, last].map(|value| Cell::Integer(*value))
            }
            SummaryValues::Unsigned { min, max, sum, first, last } => {
                [min, max, sum, first, last].map(|value| Cell::Unsigned(*value))
            }
            SummaryValues::Counted => return State::None,
        };
        match self {
            Simple::Sum | Simple::Mean | Simple::Count => State::Sum(sum, summary.count),
            Simple::Min => State::Best(min, summary.min_time, Vec::new()),
            Simple::Max => State::Best(max, summary.max_time, Vec::new()),
            Simple::First => State::Best(first, summary.first_time, Vec::new()),
            Simple::Last => State::Best(last, summary.last_time, Vec::new()),
            Simple::Spread => State::Span(min, max),
        }
    }

    /// What both come to together.
    pub(crate) fn join(self, state: &mut State, other: State) {
        match (&mut *state, other) {
            (_, State::None) => {}
            (State::None, other) => *state = other,
            (State::Count(sum), State::Count(more)) => *sum += more,
            (State::Sum(sum, count), State::Sum(more, others)) => {
                *sum = math::binary(Op::Add, sum, &more, true);
                *count += others;
            }
            (State::Span(low, high), State::Span(lower, higher)) => {
                if order(&lower, low) == Ordering::Less {
                    *low = lower;
                }
                if order(&higher, high) == Ordering::Greater {
                    *high = higher;
                }
            }
            (State::Best(value, time, _), State::Best(other, at, aux)) => {
                let order = order(&other, value);
                let better = match self {
                    Simple::Min => order == Ordering::Less || order.is_eq() && at < *time,
                    Simple::Max => order == Ordering::Greater || order.is_eq() && at < *time,
                    Simple::First => at < *time || at == *time && first_of(&other, value, order),
                    _ => at > *time || at == *time && order == Ordering::Greater,
                };
                if better {
                    *state = State::Best(other, at, aux);
                }
            }
            _ => {}
        }
    }

    /// The value that a state is the end of, its time where it has one, and the other columns.
    pub(crate) fn end(self, state: State) -> Option<(Cell, Option<i64>, Vec<Cell>)> {
        Some(match state {
            State::None => return None,
            State::Count(count) => (Cell::Integer(count.cast_signed()), None, Vec::new()),
            State::Sum(sum, count) if self == Simple::Mean => {
                let sum = math::float(&sum).unwrap_or_default();
                (Cell::Float(sum / count as f64), None, Vec::new())
            }
            State::Sum(sum, _) => (sum, None, Vec::new()),
            State::Best(value, time, aux) => (value, Some(time), aux),
            State::Span(low, high) => {
                (math::binary(Op::Subtract, &high, &low, true), None, Vec::new())
            }
        })
    }
}

/// Of two values of one time, which is first: the greater number, but no before yes.
fn first_of(other: &Cell, value: &Cell, order: Ordering) -> bool {
    match (other, value) {
        (Cell::Boolean(other), Cell::Boolean(value)) => !other && *value,
        _ => order == Ordering::Greater,
    }
}

fn sum(col: &Col<'_>, rows: &Rows) -> State {
    let count = rows.len() as u64;
    if count == 0 {
        return State::None;
    }
    if let Some(values) = col.floats() {
        let sum = match rows {
            Rows::Range(from, to) => values[*from..*to].iter().sum(),
            Rows::List(rows) => rows.iter().map(|row| values[*row as usize]).sum(),
        };
        return State::Sum(Cell::Float(sum), count);
    }
    if let Some(values) = col.integers() {
        let add = |sum: i64, value: &i64| sum.wrapping_add(*value);
        let sum = match rows {
            Rows::Range(from, to) => values[*from..*to].iter().fold(0, add),
            Rows::List(rows) => rows.iter().map(|row| &values[*row as usize]).fold(0, add),
        };
        return State::Sum(Cell::Integer(sum), count);
    }
    let mut found: Option<(Cell, u64)> = None;
    for row in rows.iter().filter(|row| col.has(*row)) {
        let value = col.get(row);
        found = Some(match found {
            Some((sum, count)) => (math::binary(Op::Add, &sum, &value, true), count + 1),
            None => (value, 1),
        });
    }
    found.map_or(State::None, |(sum, count)| State::Sum(sum, count))
}

/// The row of the first of the least or of the greatest values.
fn extreme(col: &Col<'_>, rows: &Rows, wanted: Ordering) -> Option<usize> {
    if let Some(values) = col.floats() {
        return extreme_of(values, rows, wanted);
    }
    if let Some(values) = col.integers() {
        return extreme_of(values, rows, wanted);
    }
    let mut best: Option<(usize, Cell)> = None;
    for row in rows.iter().filter(|row| col.has(*row)) {
        let value = col.get(row);
        if best.as_ref().is_none_or(|(_, best)| order(&value, best) == wanted) {
            best = Some((row, value));
        }
    }
    best.map(|(row, _)| row)
}

fn extreme_of<T: PartialOrd + Copy>(values: &[T], rows: &Rows, wanted: Ordering) -> Option<usize> {
    let Rows::Range(from, to) = rows else {
        return rows.iter().reduce(|best, row| {
            if values[row].partial_cmp(&values[best]) == Some(wanted) { row } else { best }
        });
    };
    // The value first, in a loop without a branch that is hard to foresee; then where it is.
    let values = &values[*from..*to];
    let first = *values.first()?;
    let best = if wanted == Ordering::Greater {
        values.iter().fold(first, |best, value| if *value > best { *value } else { best })
    } else {
        values.iter().fold(first, |best, value| if *value < best { *value } else { best })
    };
    values.iter().position(|value| *value == best).map(|place| from + place)
}
