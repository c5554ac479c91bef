//! Points as they come to a SELECT, whether from series or from the answer of a subquery.
//!
//! 1. Each point comes once, in blocks; within a block times go up.
//! 2. Only points for which the condition holds come.

use crate::{
    ast::{Expr, FieldType, Ref, Sort},
    code::{Code, refs},
    plan::{Feed, Plan, Table},
    select::{Context, Frame, Scope},
    settings::QueryError,
    source::{Ask, Buckets, Column, FieldSummary, Piece, Series, TagFilter, Values},
    token::Op,
    types::Type,
    vector::{Col, Rows, Vector},
};
use olivine_command::Cell;
use std::collections::BTreeMap;

/// Which points belong together: the measurement, and the values of the tags of `GROUP BY` in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

/// Where points come from.
pub(crate) enum Origin<'p> {
    Series { table: &'p Table, series: Series, filter: Filter },
    Frame { plan: &'p Plan, frame: Frame, filter: Option<Expr> },
}

/// What must hold of a point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    code: Option<Code>,
    /// The fields it looks at, as its columns are numbered.
    fields: Vec<String>,
}

/// Points of one origin.
pub(crate) struct Block<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) cols: &'a [Col<'a>],
    pub(crate) rows: Rows,
}

/// What comes of an origin.
pub(crate) enum Part<'a> {
    Block(Block<'a>),
    Summary(Summed<'a>),
}

/// What the columns that are wanted come to over some rows.
pub(crate) struct Summed<'a> {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) columns: &'a [Option<&'a FieldSummary>],
}

/// Whether more is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

/// What is wanted of an origin.
pub(crate) struct Want<'a> {
    pub(crate) refs: &'a [(Ref, Type)],
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) backward: bool,
    /// Of each series only the newest point is wanted.
    pub(crate) newest: bool,
    pub(crate) summaries: Option<Buckets>,
    /// Points that have a value in none of the columns that are wanted do not come.
    pub(crate) valued: bool,
}

/// What each group consists of.
pub(crate) type Groups<'p> = BTreeMap<Key, Vec<Origin<'p>>>;

/// Lists what a plan reads, by groups.
pub(crate) fn groups<'p>(
    context: &Context<'_>,
    plan: &'p Plan,
    scope: &Scope,
    dims: &[String],
) -> Result<Groups<'p>, QueryError> {
    let mut groups = Groups::new();
    for feed in &plan.feeds {
        match feed {
            Feed::Table(table) => of_table(context, plan, table, scope, dims, &mut groups)?,
            Feed::Plan(inner) => {
                let inner_scope = scope.within(inner, dims, context.settings().now);
                for frame in crate::select::run(context, inner, &inner_scope)? {
                    let values = dims.iter().map(|dim| {
                        let tag = frame.tags.iter().find(|(key, _)| key == dim);
                        tag.map_or(String::new(), |(_, value)| value.clone())
                    });
                    let key = Key { name: frame.name.clone(), values: values.collect() };
                    let filter = plan.checked.condition.clone();
                    let origin = Origin::Frame { plan: inner, frame, filter };
                    groups.entry(key).or_default().push(origin);
                }
            }
        }
    }
    Ok(groups)
}

/// Series that are put into groups before it is asked whether to go on.
const LOOKED_AT: usize = 1_024;

fn of_table<'p>(
    context: &Context<'_>,
    plan: &Plan,
    table: &'p Table,
    scope: &Scope,
    dims: &[String],
    groups: &mut Groups<'p>,
) -> Result<(), QueryError> {
    let condition = plan.checked.condition.as_ref();
    let (filter, exact) = condition.map_or((TagFilter::All, true), |it| tag_filter(it, table));
    let all = context.source.series(table.place(), &table.name, &filter, scope.from, scope.to)?;
    context.budget.take_series(all.len())?;
    let mut found = Groups::new();
    for (number, series) in all.into_iter().enumerate() {
        if number.is_multiple_of(LOOKED_AT) {
            context.budget.check()?;
        }
        let filter = match condition {
            Some(condition) if !exact => match residual(condition, table, &series) {
                Some(filter) => filter,
                None => continue,
            },
            _ => Filter::default(),
        };
        let values = dims.iter().map(|dim| tag(&series, dim).unwrap_or_default().to_owned());
        let key = Key { name: table.name.clone(), values: values.collect() };
        // The tags of the series are the source's to count.
        let values = key.values.iter().map(|value| size_of::<String>() + value.len());
        let bytes = key.name.len() + values.sum::<usize>();
        context.budget.take_bytes(size_of::<(Key, Vec<Origin<'_>>, Origin<'_>)>() + bytes)?;
        found.entry(key).or_default().push(Origin::Series { table, series, filter });
    }
    let limit = if scope.series_limit == 0 { u64::MAX } else { scope.series_limit };
    let kept = found.into_iter().skip(scope.series_offset as usize).take(limit as usize);
    for (key, origins) in kept {
        groups.entry(key).or_default().extend(origins);
    }
    Ok(())
}

pub(crate) fn tag<'s>(series: &'s Series, key: &str) -> Option<&'s str> {
    let place = series.tags.binary_search_by(|(other, _)| other.as_str().cmp(key)).ok()?;
    Some(&series.tags[place].1)
}

/// Whether a name stands for a tag of a measurement, or for one that it does not have.
fn is_tag(reference: &Ref, table: &Table) -> bool {
    match reference.sort {
        Sort::Tag => true,
        Sort::Any => !matches!(table.column(&reference.name), Type::Field(_)),
        Sort::Field | Sort::Typed(_) => false,
    }
}

/// What a condition says of tags alone; false if it says more.
pub(crate) fn tag_filter(condition: &Expr, table: &Table) -> (TagFilter, bool) {
    match condition {
        Expr::Paren(inner) => tag_filter(inner, table),
        Expr::Boolean(true) => (TagFilter::All, true),
        Expr::Boolean(false) => (TagFilter::Or(Vec::new()), true),
        Expr::Binary { op: op @ (Op::And | Op::Or), left, right } => {
            let (left, left_exact) = tag_filter(left, table);
            let (right, right_exact) = tag_filter(right, table);
            let exact = left_exact && right_exact;
            let both = match (op, left, right) {
                (Op::And, TagFilter::All, other) | (Op::And, other, TagFilter::All) => other,
                (Op::And, left, right) => TagFilter::And(vec![left, right]),
                (_, TagFilter::All, _) | (_, _, TagFilter::All) => TagFilter::All,
                (_, TagFilter::Or(mut all), right) if !all.is_empty() => {
                    all.push(right);
                    TagFilter::Or(all)
                }
                (_, left, right) => TagFilter::Or(vec![left, right]),
            };
            (both, exact)
        }
        Expr::Binary { op, left, right } => {
            let ((Expr::Ref(reference), value) | (value, Expr::Ref(reference))) =
                (left.bare(), right.bare())
            else {
                return (TagFilter::All, false);
            };
            if !is_tag(reference, table) {
                return (TagFilter::All, false);
            }
            let key = reference.name.clone();
            match (op, value) {
                (Op::Equal, Expr::Text(text)) => (TagFilter::Is(key, text.clone()), true),
                (Op::NotEqual, Expr::Text(text)) => (TagFilter::IsNot(key, text.clone()), true),
                (Op::Matches, Expr::Pattern(pattern)) => {
                    (TagFilter::Matches(key, pattern.matcher(), true), true)
                }
                (Op::MatchesNot, Expr::Pattern(pattern)) => {
                    (TagFilter::Matches(key, pattern.matcher(), false), true)
                }
                _ => (TagFilter::All, false),
            }
        }
        _ => (TagFilter::All, false),
    }
}

/// What a condition leaves to be asked of the points of a series; nothing if no point can fulfil it.
pub(crate) fn residual(condition: &Expr, table: &Table, series: &Series) -> Option<Filter> {
    let mut fields: Vec<String> = Vec::new();
    let code = Code::new(condition, &mut |expr| match expr {
        Expr::Ref(reference) if is_tag(reference, table) => {
            let value = tag(series, &reference.name).unwrap_or_default();
            Some(Code::Value(Cell::Text(value.to_owned())))
        }
        Expr::Ref(reference) => {
            let known = fields.iter().position(|name| *name == reference.name);
            Some(Code::Column(known.unwrap_or_else(|| {
                fields.push(reference.name.clone());
                fields.len() - 1
            })))
        }
        _ => None,
    });
    match code.folded() {
        Code::Value(Cell::Boolean(true)) => Some(Filter::default()),
        Code::Value(_) => None,
        code => Some(Filter { code: Some(code), fields }),
    }
}

impl Origin<'_> {
    /// Whether its points are asked about one by one.
    pub(crate) fn is_filtered(&self) -> bool {
        match self {
            Origin::Series { filter, .. } => filter.code.is_some(),
            Origin::Frame { filter, .. } => filter.is_some(),
        }
    }

    /// Whether its points keep the order of the groups of a subquery, as those do that stand for a group each.
    pub(crate) fn is_ordered_by_group(&self) -> bool {
        match self {
            Origin::Series { .. } => false,
            Origin::Frame { plan, .. } => {
                plan.interval().length == 0 && plan.calls.iter().any(crate::calls::reduces)
            }
        }
    }

    /// Hands out what is wanted, until it is enough.
    pub(crate) fn read(
        &self,
        context: &Context<'_>,
        want: &Want<'_>,
        take: &mut dyn FnMut(Part<'_>) -> Result<Flow, QueryError>,
    ) -> Result<(), QueryError> {
        match self {
            Origin::Series { table, series, filter } => {
                read_series(context, table, series, filter, want, take)
            }
            Origin::Frame { plan, frame, filter } => {
                read_frame(plan, frame, filter.as_ref(), want, take)
            }
        }
    }
}

/// Where the values of a column that is wanted come from.
enum Wanted {
    Nowhere,
    Label(String),
    Field(usize, FieldType, FieldType),
}

fn read_series(
    context: &Context<'_>,
    table: &Table,
    series: &Series,
    filter: &Filter,
    want: &Want<'_>,
    take: &mut dyn FnMut(Part<'_>) -> Result<Flow, QueryError>,
) -> Result<(), QueryError> {
    let mut asked = Asked::default();
    let mut wanted = Vec::new();
    for (reference, kind) in want.refs {
        let found = table.field(&reference.name);
        wanted.push(match (found, kind) {
            (Some(field), Type::Field(kind))
                if reference.sort != Sort::Tag && casts(field.kind, *kind) =>
            {
                Wanted::Field(asked.place(&field.name), field.kind, *kind)
            }
            (Some(_), _) if reference.sort != Sort::Tag => Wanted::Nowhere,
            _ if matches!(reference.sort, Sort::Field | Sort::Typed(_)) => Wanted::Nowhere,
            _ => match tag(series, &reference.name) {
                Some(text) => Wanted::Label(text.to_owned()),
                None => Wanted::Nowhere,
            },
        });
    }
    let selected = asked.names.len();
    if selected == 0 {
        return Ok(());
    }
    let tests: Vec<Option<usize>> = filter
        .fields
        .iter()
        .map(|name| {
            let field = table.field(name)?;
            Some(asked.place(&field.name))
        })
        .collect();
    let only_selected = asked.names.len() == selected;
    let ask = Ask {
        fields: &asked.names,
        from: want.from,
        to: want.to,
        backward: want.backward,
        newest: want.newest && want.backward && filter.code.is_none(),
        // What numbers come to is of their own type, so those that are taken as of another are needed themselves.
        summaries: want.summaries.filter(|_| {
            wanted.iter().all(|wanted| !matches!(wanted, Wanted::Field(_, from, to) if from != to))
        }),
    };
    if want.to < want.from {
        return Ok(());
    }
    let mut cursor = context.source.read(table.place(), &table.name, series, &ask)?;
    while let Some(piece) = cursor.next()? {
        let rows = match piece {
            Piece::Summary(summary) => {
                context.budget.take_points(1)?;
                let columns: Vec<Option<&FieldSummary>> = wanted
                    .iter()
                    .map(|wanted| match wanted {
                        Wanted::Field(place, ..) => summary.fields.get(*place)?.as_ref(),
                        _ => None,
                    })
                    .collect();
                let (first, last) = (summary.first, summary.last);
                let summed = Summed { first, last, columns: &columns };
                if take(Part::Summary(summed))? == Flow::Enough {
                    return Ok(());
                }
                continue;
            }
            Piece::Rows(rows) => rows,
        };
        context.budget.take_points(rows.times.len())?;
        let mut kept = Rows::Range(0, rows.times.len());
        if let Some(code) = &filter.code {
            let cols: Vec<Col<'_>> = tests
                .iter()
                .map(|test| test.map_or(Col::None, |test| Col::Column(&rows.columns[test])))
                .collect();
            kept = code.filter(&cols, kept);
        }
        if want.valued && !only_selected {
            let has = |row: usize| rows.columns[..selected].iter().any(|column| column.has(row));
            let list = kept.iter().filter(|row| has(*row)).map(|row| row as u32).collect();
            kept = Rows::List(list);
        }
        if kept.len() == 0 {
            continue;
        }
        let cast: Vec<Option<Column>> = wanted
            .iter()
            .map(|wanted| match wanted {
                Wanted::Field(place, from, to) if from != to => {
                    Some(cast(&rows.columns[*place], *to))
                }
                _ => None,
            })
            .collect();
        let cols: Vec<Col<'_>> = wanted
            .iter()
            .zip(&cast)
            .map(|(wanted, cast)| match (wanted, cast) {
                (_, Some(column)) => Col::Column(column),
                (Wanted::Nowhere, _) => Col::None,
                (Wanted::Label(text), _) => Col::Label(text),
                (Wanted::Field(place, ..), _) => Col::Column(&rows.columns[*place]),
            })
            .collect();
        let block = Block { times: rows.times, cols: &cols, rows: kept };
        if take(Part::Block(block))? == Flow::Enough {
            return Ok(());
        }
    }
    Ok(())
}

/// The names of the fields that are asked for, each once.
#[derive(Default)]
struct Asked<'n> {
    names: Vec<&'n str>,
    places: BTreeMap<&'n str, usize>,
}

impl<'n> Asked<'n> {
    /// The number of a name among them.
    fn place(&mut self, name: &'n str) -> usize {
        *self.places.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }
}

/// Whether values of one type can be taken as of another.
fn casts(from: FieldType, to: FieldType) -> bool {
    let is_number =
        |kind| matches!(kind, FieldType::Float | FieldType::Integer | FieldType::Unsigned);
    from == to || is_number(from) && is_number(to)
}

/// Numbers as numbers of another type; others are no values of it.
fn cast(column: &Column, kind: FieldType) -> Column {
    let values = match (&column.values, kind) {
        (Values::Integer(values), FieldType::Float) => {
            Values::Float(values.iter().map(|value| *value as f64).collect())
        }
        (Values::Unsigned(values), FieldType::Float) => {
            Values::Float(values.iter().map(|value| *value as f64).collect())
        }
        (Values::Float(values), FieldType::Integer) => {
            Values::Integer(values.iter().map(|value| *value as i64).collect())
        }
        (Values::Unsigned(values), FieldType::Integer) => {
            Values::Integer(values.iter().map(|value| value.cast_signed()).collect())
        }
        (Values::Float(values), FieldType::Unsigned) => {
            Values::Unsigned(values.iter().map(|value| *value as u64).collect())
        }
        (Values::Integer(values), FieldType::Unsigned) => {
            Values::Unsigned(values.iter().map(|value| *value as u64).collect())
        }
        _ => Values::None,
    };
    Column { values, present: column.present.clone() }
}

/// Where the values of a name are in the answer of a subquery.
enum Found {
    Nowhere,
    Column(usize),
    Tag(String),
}

fn find(plan: &Plan, frame: &Frame, name: &str) -> Found {
    if let Some(place) = plan.names.iter().position(|other| other == name) {
        return Found::Column(place);
    }
    match frame.tags.iter().find(|(key, _)| key == name) {
        Some((_, value)) => Found::Tag(value.clone()),
        None => Found::Nowhere,
    }
}

fn read_frame(
    plan: &Plan,
    frame: &Frame,
    filter: Option<&Expr>,
    want: &Want<'_>,
    take: &mut dyn FnMut(Part<'_>) -> Result<Flow, QueryError>,
) -> Result<(), QueryError> {
    let labels: Vec<Found> =
        want.refs.iter().map(|(reference, _)| find(plan, frame, &reference.name)).collect();
    let cols: Vec<Col<'_>> = labels
        .iter()
        .map(|found| match found {
            Found::Nowhere => Col::None,
            Found::Column(place) => Col::Vector(&frame.columns[*place]),
            Found::Tag(text) => Col::Label(text),
        })
        .collect();
    let mut rows = Rows::Range(0, frame.times.len());
    if let Some(filter) = filter {
        let mut names = Vec::new();
        refs(filter, &mut names);
        let tests: Vec<Found> =
            names.iter().map(|reference| find(plan, frame, &reference.name)).collect();
        let tests: Vec<Col<'_>> = tests
            .iter()
            .map(|found| match found {
                Found::Nowhere => Col::None,
                Found::Column(place) => Col::Vector(&frame.columns[*place]),
                Found::Tag(text) => Col::Label(text),
            })
            .collect();
        let code = Code::new(filter, &mut |expr| match expr {
            Expr::Ref(reference) => {
                names.iter().position(|other| other == reference).map(Code::Column)
            }
            _ => None,
        });
        rows = code.filter(&tests, rows);
    }
    if rows.len() == 0 {
        return Ok(());
    }
    // The points of a subquery come in its order; a block has them oldest first.
    let sorted = frame.times.is_sorted();
    if sorted {
        let block = Block { times: &frame.times, cols: &cols, rows };
        take(Part::Block(block))?;
        return Ok(());
    }
    let mut order: Vec<u32> = rows.iter().map(|row| row as u32).collect();
    order.reverse();
    order.sort_by_key(|row| frame.times[*row as usize]);
    let times: Vec<i64> = order.iter().map(|row| frame.times[*row as usize]).collect();
    let vectors: Vec<Vector> = cols
        .iter()
        .map(|col| {
            let mut vector = Vector::new();
            vector.extend(col, &Rows::List(order.clone()));
            vector
        })
        .collect();
    let cols: Vec<Col<'_>> = vectors.iter().map(Col::Vector).collect();
    let rows = Rows::Range(0, times.len());
    take(Part::Block(Block { times: &times, cols: &cols, rows }))?;
    Ok(())
}
