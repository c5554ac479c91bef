//! The stretches of time that `GROUP BY time()` makes, and what stands in those without points.
//!
//! 1. A moment belongs to exactly one stretch.

use crate::{
    ast::Fill,
    check::Interval,
    math,
    moment::{TIME_MAX, TIME_MIN, Zone},
    raw::Points,
    select::filled,
    settings::{Budget, QueryError},
    vector::Vector,
};
use olivine_command::Cell;

/// How time is cut.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) interval: Interval,
    pub(crate) zone: Option<&'a dyn Zone>,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Window<'_> {
    /// Where the stretch of a moment begins, and where the next one does.
    pub(crate) fn of(&self, at: i64) -> (i64, i64) {
        let Interval { length, offset } = self.interval;
        if length == 0 {
            return (self.from, self.to.saturating_add(1));
        }
        let at = at.saturating_sub(offset);
        let ahead = self.zone.map_or(0, |zone| zone.ahead(at));
        let into = at.saturating_add(ahead).rem_euclid(length);
        let mut start = if TIME_MIN.saturating_add(into) >= at { TIME_MIN } else { at - into };
        let left = length - into;
        let mut end = if TIME_MAX - left <= at { TIME_MAX } else { at + left };
        if let Some(zone) = self.zone {
            for moment in [&mut start, &mut end] {
                let shift = ahead - zone.ahead(*moment);
                if shift != 0 && shift.abs() < length {
                    *moment += shift;
                }
            }
        }
        (start.saturating_add(offset), end.saturating_add(offset))
    }

    /// What the time of a stretch is shown as.
    pub(crate) fn shown(start: i64) -> i64 {
        if start == TIME_MIN { 0 } else { start }
    }

    /// How many stretches there are, if it begins somewhere.
    pub(crate) fn count(&self) -> Option<u64> {
        if self.interval.length == 0 || self.from == TIME_MIN || self.to < self.from {
            return None;
        }
        let (first, last) = (self.of(self.from).0, self.of(self.to - 1).0.max(self.from));
        Some((last.abs_diff(first) / self.interval.length as u64).saturating_add(1))
    }
}

/// How the stretches without points are filled.
pub(crate) struct Filling<'a> {
    pub(crate) window: Window<'a>,
    pub(crate) fill: Fill,
    pub(crate) ascending: bool,
    /// More rows than these are not looked at.
    pub(crate) at_most: usize,
    pub(crate) budget: &'a Budget<'a>,
}

impl Filling<'_> {
    /// The points with one row for each stretch, or more where there were more.
    pub(crate) fn filled(&self, points: &Points, counts: bool) -> Result<Points, QueryError> {
        if points.times.is_empty() || self.fill == Fill::None {
            return Ok(points.clone());
        }
        let fill = if counts && self.fill == Fill::Null { Fill::Integer(0) } else { self.fill };
        let Window { from, to, interval, zone } = self.window;
        let (mut start, end) = if self.ascending {
            (self.window.of(from).0, self.window.of(to).0)
        } else {
            (self.window.of(to).0, self.window.of(from).0)
        };
        if start == TIME_MIN {
            start = self.window.of(points.times[0]).0;
        }
        let open = !self.ascending && end == TIME_MIN;
        let last = points.times.last().copied().unwrap_or_default();
        let goal = if open { last } else { end };
        let count = goal.abs_diff(start) / interval.length as u64;
        let count = count.saturating_add(1).min(self.at_most as u64);
        self.budget.take_buckets(count)?;
        let (mut at, mut next, mut out) = (start, 0, Points::default());
        let mut values = Vector::new();
        let mut ahead = zone.map_or(0, |zone| zone.ahead(at));
        let like = points.columns[0].get(0);
        let mut before: Option<(i64, Cell)> = None;
        let mut made = Vec::new();
        while out.times.len() < self.at_most {
            let inside = if self.ascending { at <= end } else { at >= end && !open };
            let time = points.times.get(next).copied();
            if time.is_none() && !inside {
                break;
            }
            let beyond = time.is_none_or(|time| if self.ascending { time > at } else { time < at });
            if beyond {
                let ahead_of = time.map(|time| (time, points.columns[0].get(next)));
                values.push(self.between(fill, at, before.as_ref(), ahead_of, &like));
                out.times.push(at);
                made.push(None);
            } else {
                let time = time.unwrap_or_default();
                let cell = points.columns[0].get(next);
                before = Some((time, cell.clone()));
                values.push(cell);
                out.times.push(time);
                made.push(Some(next));
                next += 1;
            }
            at = if self.ascending {
                at.saturating_add(interval.length)
            } else {
                at.saturating_sub(interval.length)
            };
            if let Some(zone) = zone {
                let now = zone.ahead(at.saturating_sub(1));
                if now != ahead {
                    if (ahead - now).abs() < interval.length {
                        at += ahead - now;
                    }
                    ahead = now;
                }
            }
        }
        out.columns.push(values);
        for column in &points.columns[1..] {
            let cells = made.iter().map(|row| row.map_or(Cell::Null, |row| column.get(row)));
            out.columns.push(cells.collect());
        }
        Ok(out)
    }

    /// What stands in a stretch without points.
    fn between(
        &self,
        fill: Fill,
        at: i64,
        before: Option<&(i64, Cell)>,
        behind: Option<(i64, Cell)>,
        like: &Cell,
    ) -> Cell {
        match fill {
            Fill::Null | Fill::None => Cell::Null,
            Fill::Previous => before.map_or(Cell::Null, |(_, cell)| cell.clone()),
            // A number is no text and no yes or no: the emptiest of their kind stand for it.
            Fill::Integer(_) | Fill::Number(_) => match like {
                Cell::Text(_) => Cell::Text(String::new()),
                Cell::Boolean(_) => Cell::Boolean(false),
                _ => filled(fill, like).unwrap_or(Cell::Null),
            },
            Fill::Linear => {
                let (Some((before_at, a)), Some((behind_at, b))) = (before, behind) else {
                    return Cell::Null;
                };
                let length = self.window.interval.length;
                let (Some(from), Some(to)) = (math::float(a), math::float(&b)) else {
                    // What is no number has no line between two of it.
                    return Cell::Null;
                };
                let place = |at: i64| at / length;
                let steps = (place(behind_at) - place(*before_at)) as f64;
                let rise = match (a, &b) {
                    (Cell::Integer(a), Cell::Integer(b)) => b.wrapping_sub(*a) as f64,
                    _ => to - from,
                };
                let value = rise / steps * (place(at) - place(*before_at)) as f64 + from;
                crate::select::cast(Cell::Float(value), a)
            }
        }
    }
}
