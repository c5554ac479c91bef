//! Says how a SELECT would be carried out, or was.

use crate::{
    ast::Select,
    feed,
    plan::{Feed, Lookup, Plan},
    select::{self, Context, Scope},
    settings::QueryError,
    window::Window,
};
use olivine_command::{Answer, Cell, Table};
use std::fmt::Write as _;

/// The plan as text; carried out and counted if it is to be analyzed.
pub(crate) fn answer(
    select: &Select,
    analyze: bool,
    lookup: &Lookup<'_>,
) -> Result<Answer, QueryError> {
    let plan = lookup.plan(select, None)?;
    let mut text = String::new();
    let context = Context { source: lookup.source, budget: lookup.budget };
    let scope = Scope::outermost(&plan, lookup.budget.settings.now);
    describe(&context, &plan, &scope, 0, &mut text)?;
    if analyze {
        let answer = select::answer(select, lookup.source, lookup.budget)?;
        let rows: usize = answer.tables.iter().map(|table| table.rows().len()).sum();
        let tables = answer.tables.len();
        writeln!(text, "read: {} points", lookup.budget.points()).ok();
        writeln!(text, "answered: {rows} rows in {tables} tables").ok();
    }
    let cells = text.lines().map(|line| Cell::Text(line.to_owned())).collect();
    let columns = vec!["QUERY PLAN".to_owned()];
    Ok(Answer { tables: vec![Table { columns, cells, ..Table::default() }], notices: Vec::new() })
}

fn describe(
    context: &Context<'_>,
    plan: &Plan,
    scope: &Scope,
    depth: usize,
    text: &mut String,
) -> Result<(), QueryError> {
    let margin = "  ".repeat(depth);
    let list =
        |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let calls = plan.calls.iter().map(ToString::to_string).collect();
    let refs = plan.refs.iter().map(|(reference, _)| reference.to_string()).collect();
    writeln!(text, "{margin}functions: {}", list(calls)).ok();
    writeln!(text, "{margin}columns: {}", list(refs)).ok();
    writeln!(text, "{margin}groups by: {}", list(plan.dims.clone())).ok();
    if let Some(condition) = &plan.checked.condition {
        writeln!(text, "{margin}condition: {condition}").ok();
    }
    writeln!(text, "{margin}time: {} to {}", scope.from, scope.to).ok();
    let interval = plan.interval();
    let window = Window { interval, zone: plan.zone.as_deref(), from: scope.from, to: scope.to };
    match window.count() {
        Some(count) => writeln!(text, "{margin}buckets: {count} for each group").ok(),
        None => None,
    };
    for feed in &plan.feeds {
        match feed {
            Feed::Plan(inner) => {
                writeln!(text, "{margin}subquery:").ok();
                let inner_scope = scope.within(inner, &plan.dims, context.settings().now);
                describe(context, inner, &inner_scope, depth + 1, text)?;
            }
            Feed::Table(table) => {
                let filter = plan.checked.condition.as_ref();
                let filter = filter.map_or(crate::source::TagFilter::All, |condition| {
                    feed::tag_filter(condition, table).0
                });
                let series = context.source.series(
                    table.place(),
                    &table.name,
                    &filter,
                    scope.from,
                    scope.to,
                )?;
                writeln!(text, "{margin}measurement {}: {} series", table.name, series.len()).ok();
            }
        }
    }
    Ok(())
}
