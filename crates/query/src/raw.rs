//! SELECT of the points themselves.
//!
//! 1. Rows of a group come in the order of their times; those of one time in the order of the tags of their series.
//! 2. With a limit, no series is read beyond it.

use crate::{
    ast::{Expr, Fill, Ref},
    code::Code,
    feed::{Flow, Key, Origin, Part, Want, groups},
    plan::Plan,
    select::{Context, Frame, Scope, filled},
    settings::QueryError,
    share,
    types::Type,
    vector::{Rows, Vector},
};
use olivine_command::Cell;
use std::collections::BTreeMap;

/// Points of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Points {
    pub(crate) times: Vec<i64>,
    pub(crate) columns: Vec<Vector>,
}

impl Points {
    /// The points in these places, in this order.
    pub(crate) fn picked(&self, places: &[u32]) -> Points {
        Points {
            times: places.iter().map(|place| self.times[*place as usize]).collect(),
            columns: self.columns.iter().map(|column| column.picked(places)).collect(),
        }
    }

    /// Those from one place up to another.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Points {
        if from == 0 && to == self.times.len() {
            return self.clone();
        }
        let places: Vec<u32> = (from as u32..to as u32).collect();
        self.picked(&places)
    }
}

/// The points of some origins, in the order that is asked for.
pub(crate) fn gather(
    context: &Context<'_>,
    origins: &[Origin<'_>],
    want: &Want<'_>,
    at_most: usize,
) -> Result<Points, QueryError> {
    let mut points = Points { times: Vec::new(), columns: vec![Vector::new(); want.refs.len()] };
    for origin in origins {
        let mut taken = 0;
        origin.read(context, want, &mut |part| {
            let Part::Block(block) = part else {
                return Ok(Flow::More);
            };
            let count = block.rows.len().min(at_most - taken);
            // The newest rows of a piece are its last ones.
            let first = if want.backward { block.rows.len() - count } else { 0 };
            let rows = block.rows.slice(first, first + count);
            match &rows {
                Rows::Range(from, to) => points.times.extend(&block.times[*from..*to]),
                Rows::List(list) => {
                    points.times.extend(list.iter().map(|row| block.times[*row as usize]));
                }
            }
            for (column, col) in points.columns.iter_mut().zip(block.cols) {
                column.extend(col, &rows);
            }
            context.budget.take_bytes(count * 8 * (1 + block.cols.len()))?;
            taken += count;
            Ok(if taken == at_most { Flow::Enough } else { Flow::More })
        })?;
    }
    let times = &points.times;
    let by_group = !origins.is_empty() && origins.iter().all(Origin::is_ordered_by_group);
    let in_order = match want.backward {
        _ if by_group => true,
        true => times.is_sorted_by(|a, b| a >= b),
        false => times.is_sorted(),
    };
    if in_order && times.len() <= at_most {
        return Ok(points);
    }
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    if by_group {
        order.truncate(at_most);
    } else if want.backward {
        order.sort_by_key(|place| std::cmp::Reverse(times[*place as usize]));
    } else {
        order.sort_by_key(|place| times[*place as usize]);
    }
    order.truncate(at_most);
    Ok(points.picked(&order))
}

pub(crate) fn run(
    context: &Context<'_>,
    plan: &Plan,
    scope: &Scope,
    dims: &[String],
) -> Result<Vec<Frame>, QueryError> {
    if plan.refs.iter().all(|(_, kind)| *kind == Type::Unknown) {
        return Ok(Vec::new());
    }
    let groups = groups(context, plan, scope, dims)?;
    let limit = if plan.limit == 0 { usize::MAX } else { plan.limit as usize };
    let offset = plan.offset as usize;
    let want = Want {
        refs: &plan.refs,
        from: scope.from,
        to: scope.to,
        backward: !plan.checked.ascending,
        newest: !plan.checked.ascending && limit.saturating_add(offset) == 1,
        summaries: None,
        valued: true,
    };
    let mut keys: Vec<(&Key, &[Origin<'_>])> =
        groups.iter().map(|(key, origins)| (key, &origins[..])).collect();
    if !plan.checked.ascending {
        keys.reverse();
    }
    let mut frames = share::over(context, keys.len(), &|number| {
        context.budget.check()?;
        let (key, origins) = keys[number];
        let points = gather(context, origins, &want, limit.saturating_add(offset))?;
        let count = points.times.len();
        let points = if plan.relaxed { points } else { points.slice(offset.min(count), count) };
        if points.times.is_empty() {
            return Ok(None);
        }
        let Points { times, columns: inputs } = points;
        let columns = columns(plan, inputs, times.len());
        Ok(Some(Frame::new(key, dims, times, columns)))
    })?;
    if plan.relaxed && (plan.limit != 0 || plan.offset != 0) {
        frames = over_all(frames, plan.checked.ascending, offset, limit);
    }
    Ok(frames)
}

/// The columns of the answer.
fn columns(plan: &Plan, mut inputs: Vec<Vector>, rows: usize) -> Vec<Vector> {
    if !matches!(plan.checked.fill, Fill::Null | Fill::None | Fill::Linear) {
        inputs = inputs.iter().map(|column| without_gaps(column, plan.checked.fill)).collect();
    }
    let known = plan.refs.iter().map(|(reference, _)| reference).zip(0_usize..);
    let known: BTreeMap<&Ref, usize> = known.collect();
    let place = |expr: &Expr| match expr {
        Expr::Ref(reference) => known.get(reference).copied(),
        _ => None,
    };
    // What is reckoned comes first, so that the columns themselves can then be handed on.
    let mut out: Vec<Option<Vector>> = plan
        .columns
        .iter()
        .map(|expr| {
            if place(expr).is_some() {
                return None;
            }
            let code = Code::new(expr, &mut |expr| place(expr).map(Code::Column));
            let of = |row: usize| code.of(&|column| inputs[column].get(row), true);
            Some((0..rows).map(of).collect())
        })
        .collect();
    let mut last = vec![0; inputs.len()];
    for (number, expr) in plan.columns.iter().enumerate() {
        if let Some(column) = place(expr) {
            last[column] = number;
        }
    }
    for (number, made) in out.iter_mut().enumerate() {
        let Some(column) = place(&plan.columns[number]) else {
            continue;
        };
        let again = number < last[column];
        let vector =
            if again { inputs[column].clone() } else { std::mem::take(&mut inputs[column]) };
        *made = Some(vector);
    }
    out.into_iter().flatten().collect()
}

/// A column with something in place of values that are not there.
pub(crate) fn without_gaps(column: &Vector, fill: Fill) -> Vector {
    let like = (0..column.len()).map(|row| column.get(row)).find(|cell| *cell != Cell::Null);
    let like = like.unwrap_or(Cell::Null);
    let mut before = filled(fill, &like).unwrap_or(Cell::Null);
    (0..column.len())
        .map(|row| match column.get(row) {
            Cell::Null => before.clone(),
            cell => {
                if fill == Fill::Previous {
                    before = cell.clone();
                }
                cell
            }
        })
        .collect()
}

/// The rows of a stretch of all rows in the order of their times, still apart by groups.
fn over_all(frames: Vec<Frame>, ascending: bool, offset: usize, limit: usize) -> Vec<Frame> {
    let mut all: Vec<(i64, usize, u32)> = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let rows = frame.times.iter().zip(0u32..);
        all.extend(rows.map(|(time, row)| (*time, number, row)));
    }
    if ascending {
        all.sort_by_key(|(time, ..)| *time);
    } else {
        all.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
    }
    let mut kept: Vec<Vec<u32>> = vec![Vec::new(); frames.len()];
    for (_, number, row) in all.into_iter().skip(offset).take(limit) {
        kept[number].push(row);
    }
    let picked = frames.into_iter().zip(kept).filter(|(_, rows)| !rows.is_empty());
    picked
        .map(|(frame, rows)| Frame {
            times: rows.iter().map(|row| frame.times[*row as usize]).collect(),
            columns: frame.columns.iter().map(|column| column.picked(&rows)).collect(),
            ..frame
        })
        .collect()
}
