//! What statements that change points come to: points to be deleted, and points to be written.
//!
//! 1. Nothing is changed here; whoever has the points carries it out.

use crate::{
    ast::{Deletion, Expr, Measurement, Select, Statement},
    feed::{Flow, Origin, Part, Want, residual, tag_filter},
    moment::{TIME_MAX, TIME_MIN},
    plan::{Lookup, Table},
    reduce::{Known, split},
    select::Context,
    settings::{Budget, QueryError, Settings},
    source::{Series, Source, TagFilter},
    types::Type,
};
use olivine_command::{
    Answer, Cell, Table as Rows,
    points::{FieldValue, PointWriter, write_key},
};

/// Points of one measurement in one policy that are to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Doomed {
    /// The database.
    pub database: String,
    /// The policy.
    pub policy: String,
    /// The measurement.
    pub measurement: String,
    /// Which series.
    pub filter: TagFilter,
    /// The first moment.
    pub from: i64,
    /// The last moment.
    pub to: i64,
    /// Where it depends on the values of fields: which rows of which series, and no others. The times go up.
    pub rows: Option<Vec<(Series, Vec<i64>)>>,
}

/// What `DELETE`, `DROP SERIES` or `DROP MEASUREMENT` deletes.
///
/// Beyond InfluxDB, a `DELETE` may ask about fields; then the rows are looked up, which reads them.
pub fn doomed(
    statement: &Statement,
    source: &dyn Source,
    settings: &Settings<'_>,
) -> Result<Vec<Doomed>, QueryError> {
    let whole;
    let (deletion, series) = match statement {
        Statement::Delete(deletion) => (&**deletion, false),
        Statement::DropSeries(deletion) => (&**deletion, true),
        Statement::DropMeasurement(name) => {
            let from = vec![Measurement { name: name.clone(), ..Measurement::default() }];
            whole = Deletion { from, condition: None };
            (&whole, true)
        }
        other => return QueryError::wrong(format!("not a statement that deletes: {other}")),
    };
    let budget = Budget::new(settings);
    let lookup = Lookup { source, budget: &budget };
    let known = Known { now: Some(settings.now), zone: None };
    let (condition, stretch) = split(deletion.condition.as_ref(), known)?;
    if series && (stretch.from.is_some() || stretch.to.is_some()) {
        return QueryError::wrong("DROP SERIES doesn't support time in WHERE clause");
    }
    let (from, to) = (stretch.from.unwrap_or(TIME_MIN), stretch.to.unwrap_or(TIME_MAX));
    let database = lookup.database("")?;
    let all =
        [Measurement { pattern: crate::pattern::Pattern::new("").ok(), ..Measurement::default() }];
    let meant = if deletion.from.is_empty() { &all[..] } else { &deletion.from };
    let mut found: Vec<Doomed> = Vec::new();
    for policy in source.policies(&database)? {
        for one in meant {
            let one = Measurement {
                database: database.clone(),
                policy: policy.name.clone(),
                ..one.clone()
            };
            for table in lookup.tables(&one)? {
                let twice = found
                    .iter()
                    .any(|other| other.policy == table.policy && other.measurement == table.name);
                if !twice {
                    let context = Context { source, budget: &budget };
                    found.push(of_table(&context, table, condition.as_ref(), from, to, series)?);
                }
            }
        }
    }
    Ok(found)
}

fn of_table(
    context: &Context<'_>,
    table: Table,
    condition: Option<&Expr>,
    from: i64,
    to: i64,
    series: bool,
) -> Result<Doomed, QueryError> {
    let (filter, exact) = condition.map_or((TagFilter::All, true), |it| tag_filter(it, &table));
    if series && !exact {
        return QueryError::wrong("fields not supported in WHERE clause during deletion");
    }
    let rows = match condition {
        Some(condition) if !exact => Some(matching(context, &table, condition, &filter, from, to)?),
        _ => None,
    };
    let Table { database, policy, name: measurement, .. } = table;
    Ok(Doomed { database, policy, measurement, filter, from, to, rows })
}

/// The rows of a measurement for which a condition holds.
fn matching(
    context: &Context<'_>,
    table: &Table,
    condition: &Expr,
    filter: &TagFilter,
    from: i64,
    to: i64,
) -> Result<Vec<(Series, Vec<i64>)>, QueryError> {
    let mut found = Vec::new();
    let all_fields: Vec<_> = table
        .fields
        .iter()
        .map(|field| {
            let sort = crate::ast::Sort::Field;
            let reference = crate::ast::Ref { name: field.name.clone(), sort };
            (reference, Type::Field(field.kind))
        })
        .collect();
    for series in context.source.series(table.place(), &table.name, filter, from, to)? {
        let Some(filter) = residual(condition, table, &series) else {
            continue;
        };
        let origin = Origin::Series { table, series: series.clone(), filter };
        let want = Want {
            refs: &all_fields,
            from,
            to,
            backward: false,
            newest: false,
            summaries: None,
            valued: true,
        };
        let mut times = Vec::new();
        origin.read(context, &want, &mut |part| {
            if let Part::Block(block) = part {
                context.budget.take_bytes(block.rows.len() * 8)?;
                times.extend(block.rows.iter().map(|row| block.times[row]));
            }
            Ok(Flow::More)
        })?;
        if !times.is_empty() {
            found.push((series, times));
        }
    }
    Ok(found)
}

/// Points that a SELECT writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The database.
    pub database: String,
    /// The policy; empty for the default one.
    pub policy: String,
    /// The points, as a point writer has them.
    pub points: Vec<u8>,
    /// How many.
    pub count: u64,
}

/// The points that the answer to a SELECT with `INTO` comes to. Columns become fields, what it is grouped by becomes
/// tags; values that are not there, and numbers that are none, are left out, and rows without any value too.
pub fn written(
    select: &Select,
    answer: &Answer,
    settings: &Settings<'_>,
) -> Result<Written, QueryError> {
    let Some(into) = &select.into else {
        return QueryError::wrong("a SELECT without INTO writes nothing");
    };
    let database = if into.database.is_empty() { settings.database } else { &into.database };
    if database.is_empty() {
        return QueryError::wrong("database name required");
    }
    let mut writer = PointWriter::new();
    let (mut line, mut key) = (0, Vec::new());
    for table in &answer.tables {
        let name = if into.name.is_empty() { &table.name } else { &into.name };
        let tags: Vec<&(String, String)> =
            table.tags.iter().filter(|(_, value)| !value.is_empty()).collect();
        let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
        key.clear();
        write_key(name, &tags, &mut key);
        for row in table.rows() {
            let Some(Cell::Time(time)) = row.first() else {
                continue;
            };
            line += 1;
            writer.begin(line, &key);
            for (column, cell) in table.columns.iter().zip(row).skip(1) {
                let value = match cell {
                    Cell::Float(value) if value.is_finite() => FieldValue::Float(*value),
                    Cell::Integer(value) => FieldValue::Integer(*value),
                    Cell::Unsigned(value) => FieldValue::Unsigned(*value),
                    Cell::Text(text) => FieldValue::Text(text),
                    Cell::Boolean(yes) => FieldValue::Boolean(*yes),
                    Cell::Null | Cell::Time(_) | Cell::Float(_) => continue,
                };
                writer.field(column.as_bytes(), value);
            }
            if writer.fields() != 0 {
                writer.end(*time);
            }
        }
    }
    let (database, policy) = (database.to_owned(), into.policy.clone());
    let count = writer.points();
    Ok(Written { database, policy, points: writer.finish(), count })
}

/// What a SELECT with `INTO` is answered with, once its points are written.
pub fn written_answer(count: u64) -> Answer {
    let columns = vec!["time".to_owned(), "written".to_owned()];
    let cells = vec![Cell::Time(0), Cell::Integer(count.cast_signed())];
    let table = Rows { name: "result".to_owned(), tags: Vec::new(), columns, cells };
    Answer { tables: vec![table], notices: Vec::new() }
}
