//! One pass over the points of a stretch, which all functions share that take points one by one.
//!
//! 1. A function has one state a stretch, whatever the number of points.
//! 2. Stretches that lie close are found without a search.

use super::Leaf;
use crate::{
    ast::Fill,
    feed::{Block, Summed},
    fold::State,
    moment::TIME_MIN,
    vector::Rows,
    window::Window,
};
use std::collections::BTreeMap;

/// One pass over points.
pub(super) struct Pass<'f> {
    window: Window<'f>,
    pub(super) leaves: &'f [Leaf],
    /// In which column each function finds its values.
    places: &'f [usize],
    /// From which column on there are those that a selector brings with it.
    pub(super) beside: usize,
    /// The number of each stretch, by its beginning.
    pub(super) slots: BTreeMap<i64, usize>,
    /// For each stretch one state for each function.
    pub(super) states: Vec<State>,
    /// The stretch that was used last.
    last: Option<(i64, usize)>,
    /// The numbers of the stretches one behind the other, where there are not too many.
    dense: Vec<u32>,
}

/// What stands for a stretch without a number.
const NO_SLOT: usize = u32::MAX as usize;
/// Stretches that are found without a search.
const DENSE_MAX: u64 = 1 << 14;

/// How many at the beginning are so. Most often they are few, so it looks near first.
fn before<T>(items: &[T], is_so: impl Fn(&T) -> bool) -> usize {
    let mut far = 8;
    while far < items.len() && is_so(&items[far]) {
        far *= 2;
    }
    items[..far.min(items.len())].partition_point(is_so)
}

impl<'f> Pass<'f> {
    /// One that has seen no point yet.
    pub(super) fn new(
        window: Window<'f>,
        leaves: &'f [Leaf],
        places: &'f [usize],
        beside: usize,
    ) -> Pass<'f> {
        let count = window.count().filter(|count| *count <= DENSE_MAX && window.zone.is_none());
        Pass {
            dense: vec![NO_SLOT as u32; count.unwrap_or(0) as usize],
            window,
            leaves,
            places,
            beside,
            slots: BTreeMap::new(),
            states: Vec::new(),
            last: None,
        }
    }

    fn slot(&mut self, start: i64) -> usize {
        if let Some((last, slot)) = self.last
            && last == start
        {
            return slot;
        }
        let near = self.near(start);
        let known = near.map(|near| self.dense[near] as usize).filter(|slot| *slot != NO_SLOT);
        let slot = known.unwrap_or_else(|| {
            let next = self.slots.len();
            let slot = *self.slots.entry(start).or_insert(next);
            if slot == next {
                self.states.resize_with((next + 1) * self.leaves.len(), State::default);
            }
            if let Some(near) = near {
                self.dense[near] = slot as u32;
            }
            slot
        });
        self.last = Some((start, slot));
        slot
    }

    /// The place of a stretch among those that are found without a search.
    fn near(&self, start: i64) -> Option<usize> {
        if self.dense.is_empty() {
            return None;
        }
        let first = self.window.of(self.window.from).0;
        let place = start.checked_sub(first)? / self.window.interval.length;
        usize::try_from(place).ok().filter(|place| *place < self.dense.len())
    }

    pub(super) fn block(&mut self, block: &Block<'_>, seen: &mut [bool]) {
        let cut = self.window.interval.length != 0;
        let mut from = 0;
        while from < block.rows.len() {
            let first = block.times[block.rows.get(from)];
            let (start, end) = self.window.of(first);
            let to = match &block.rows {
                _ if !cut => block.rows.len(),
                Rows::Range(begin, stop) => {
                    from + before(&block.times[begin + from..*stop], |time| *time < end).max(1)
                }
                Rows::List(list) => {
                    let count = before(&list[from..], |row| block.times[*row as usize] < end);
                    from + count.max(1)
                }
            };
            let rows = block.rows.slice(from, to);
            self.rows(block, &rows, start, seen);
            from = to;
        }
    }

    fn rows(&mut self, block: &Block<'_>, rows: &Rows, start: i64, seen: &mut [bool]) {
        let mut slot = None;
        for (number, seen) in seen.iter_mut().enumerate() {
            let simple = self.leaves[number].1;
            let state = simple.of(block, self.places[number], rows, self.beside);
            if matches!(state, State::None) {
                continue;
            }
            *seen = true;
            let slot = *slot.get_or_insert_with(|| self.slot(start));
            simple.join(&mut self.states[slot * self.leaves.len() + number], state);
        }
    }

    pub(super) fn summary(&mut self, summary: &Summed<'_>, seen: &mut [bool]) {
        let (start, _) = self.window.of(summary.first);
        for (number, seen) in seen.iter_mut().enumerate() {
            let Some(Some(field)) = summary.columns.get(self.places[number]) else {
                continue;
            };
            let simple = self.leaves[number].1;
            let state = simple.of_summary(field);
            *seen = true;
            let slot = self.slot(start);
            simple.join(&mut self.states[slot * self.leaves.len() + number], state);
        }
    }

    /// Whether a moment lies beyond all rows that the limit leaves.
    pub(super) fn beyond(&self, at: i64, at_most: usize, fill: Fill, ascending: bool) -> bool {
        let (start, _) = self.window.of(at);
        let length = self.window.interval.length;
        let rows = i64::try_from(at_most).unwrap_or(i64::MAX);
        if fill == Fill::None {
            // Enough stretches before it have points, whatever is found in later ones.
            return if ascending {
                self.slots.keys().nth(at_most).is_some_and(|other| *other <= start)
            } else {
                self.slots.keys().rev().nth(at_most).is_some_and(|other| start <= *other)
            };
        }
        if matches!(fill, Fill::Linear) || self.slots.is_empty() {
            return false;
        }
        let whole = length.saturating_mul(rows);
        if ascending {
            self.window.from != TIME_MIN
                && self.window.of(self.window.from).0.saturating_add(whole) <= start
        } else {
            start <= self.window.of(self.window.to).0.saturating_sub(whole)
        }
    }
}
