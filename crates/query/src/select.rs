//! Carries SELECT out.
//!
//! 1. Groups come sorted by measurement and tags, the other way round where the newest come first.

use crate::{
    ast::{Fill, Select},
    calls,
    feed::Key,
    moment::{TIME_MAX, TIME_MIN},
    plan::{Lookup, Plan},
    raw,
    settings::{Budget, QueryError, Settings},
    source::Source,
    vector::Vector,
};
use olivine_command::{Answer, Cell, Table};

/// What everything in a query has at hand.
pub(crate) struct Context<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) budget: &'a Budget<'a>,
}

impl<'a> Context<'a> {
    pub(crate) fn settings(&self) -> &'a Settings<'a> {
        self.budget.settings
    }
}

/// Rows of one group, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) times: Vec<i64>,
    pub(crate) columns: Vec<Vector>,
}

impl Frame {
    pub(crate) fn new(key: &Key, dims: &[String], times: Vec<i64>, columns: Vec<Vector>) -> Frame {
        let tags = dims.iter().cloned().zip(key.values.iter().cloned()).collect();
        Frame { name: key.name.clone(), tags, times, columns }
    }
}

/// What a SELECT within another is narrowed to by it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The tags that the SELECT around it groups by.
    pub(crate) dims: Vec<String>,
    pub(crate) series_limit: u64,
    pub(crate) series_offset: u64,
}

impl Scope {
    pub(crate) fn outermost(plan: &Plan, now: i64) -> Scope {
        let (from, to) = plan.checked.bounds(now);
        let (series_limit, series_offset) = (plan.series_limit, plan.series_offset);
        Scope { from, to, dims: Vec::new(), series_limit, series_offset }
    }

    /// That of a SELECT within.
    pub(crate) fn within(&self, inner: &Plan, dims: &[String], now: i64) -> Scope {
        let stretch = inner.checked.stretch;
        let from = stretch.from.unwrap_or(TIME_MIN).max(self.from);
        let mut to = stretch.to.unwrap_or(TIME_MAX).min(self.to);
        if inner.interval().length != 0 && to == TIME_MAX {
            to = now;
        }
        Scope {
            from,
            to,
            dims: dims.to_vec(),
            series_limit: self.series_limit + inner.series_limit,
            series_offset: self.series_offset + inner.series_offset,
        }
    }
}

/// Carries out a plan.
pub(crate) fn run(
    context: &Context<'_>,
    plan: &Plan,
    scope: &Scope,
) -> Result<Vec<Frame>, QueryError> {
    let mut dims: Vec<String> = plan.dims.iter().chain(&scope.dims).cloned().collect();
    dims.sort();
    dims.dedup();
    let frames = if plan.calls.is_empty() {
        raw::run(context, plan, scope, &dims)?
    } else {
        calls::run(context, plan, scope, &dims)?
    };
    for frame in &frames {
        let bytes: usize = frame.columns.iter().map(Vector::bytes).sum();
        context.budget.take_bytes(bytes + frame.times.len() * 8)?;
    }
    Ok(frames)
}

/// Answers a SELECT.
pub(crate) fn answer(
    select: &Select,
    source: &dyn Source,
    budget: &Budget<'_>,
) -> Result<Answer, QueryError> {
    let plan = Lookup { source, budget }.plan(select, None)?;
    let plan = if plan.into && plan.checked.fill == Fill::Null {
        let mut plan = plan;
        plan.checked.fill = Fill::None;
        plan
    } else {
        plan
    };
    let context = Context { source, budget };
    let scope = Scope::outermost(&plan, budget.settings.now);
    let frames = run(&context, &plan, &scope)?;
    let mut columns = vec![plan.checked.time_name.clone()];
    columns.extend(plan.names.iter().cloned());
    let mut tables = Vec::with_capacity(frames.len());
    for frame in frames {
        budget.check()?;
        budget.take_bytes(frame.times.len() * columns.len() * size_of::<Cell>())?;
        let mut cells = Vec::with_capacity(frame.times.len() * columns.len());
        for (row, time) in frame.times.iter().enumerate() {
            cells.push(Cell::Time(*time));
            cells.extend(frame.columns.iter().map(|column| match column.get(row) {
                Cell::Float(value) if value.is_nan() => Cell::Null,
                cell => cell,
            }));
        }
        let (columns, mut tags) = (columns.clone(), frame.tags);
        if plan.relaxed {
            // A series is shown with the tags that it has.
            tags.retain(|(_, value)| !value.is_empty());
        }
        tables.push(Table { name: frame.name, tags, columns, cells });
    }
    Ok(Answer { tables, notices: Vec::new() })
}

/// What stands in place of a value that a row has not, by `fill()`; nothing if it stays so.
pub(crate) fn filled(fill: Fill, like: &Cell) -> Option<Cell> {
    let cell = match fill {
        Fill::Integer(number) => Cell::Integer(number),
        Fill::Number(number) => Cell::Float(number),
        _ => return None,
    };
    Some(cast(cell, like))
}

/// A number as one of the type of another value.
pub(crate) fn cast(cell: Cell, like: &Cell) -> Cell {
    match (like, cell) {
        (Cell::Float(_), Cell::Integer(number)) => Cell::Float(number as f64),
        (Cell::Integer(_), Cell::Float(number)) => Cell::Integer(number as i64),
        (Cell::Unsigned(_), Cell::Integer(number)) => Cell::Unsigned(number as u64),
        (Cell::Unsigned(_), Cell::Float(number)) => Cell::Unsigned(number as u64),
        (_, cell) => cell,
    }
}
