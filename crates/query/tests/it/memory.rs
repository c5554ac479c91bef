//! Points in memory, read from lines of the line protocol.
//!
//! 1. Rows are handed out in pieces of a few, so that answers that depend on where pieces end are noticed.

use olivine_command::points::{FieldType, split_key};
use olivine_query::source::{
    Ask, Buckets, Column, Cursor, Fault, Field, FieldSummary, Piece, Place, Policy, Rows, Series,
    Source, Summary, SummaryValues, TagFilter, Values,
};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Float(f64),
    Integer(i64),
    Text(String),
    Boolean(bool),
}

type Points = BTreeMap<i64, BTreeMap<String, Value>>;

#[derive(Default)]
struct Measurement {
    fields: BTreeMap<String, FieldType>,
    series: BTreeMap<Vec<(String, String)>, Points>,
}

/// Databases of measurements.
#[derive(Default)]
pub(crate) struct Memory {
    databases: BTreeMap<String, BTreeMap<String, Measurement>>,
    /// How many rows a piece has at most.
    pub(crate) piece: usize,
    /// Whether summaries are handed out where they would do.
    pub(crate) summaries: bool,
}

impl Memory {
    pub(crate) fn new(piece: usize, summaries: bool) -> Memory {
        Memory { databases: BTreeMap::new(), piece, summaries }
    }

    /// Writes lines of the line protocol, times in nanoseconds.
    pub(crate) fn write(&mut self, database: &str, lines: &str) {
        let database = self.databases.entry(database.to_owned()).or_default();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let parts = split(line, ' ');
            let [key, fields, time] = &parts[..] else { panic!("not a point: {line}") };
            let key = split_key(key.as_bytes()).expect("a key");
            let tags: Vec<(String, String)> =
                key.tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let measurement = database.entry(key.measurement.to_string()).or_default();
            let points = measurement.series.entry(tags).or_default();
            let row = points.entry(time.parse().expect("a time")).or_default();
            for field in split(fields, ',') {
                let pair = split(&field, '=');
                let value = value(&pair[1]);
                let kind = match value {
                    Value::Float(_) => FieldType::Float,
                    Value::Integer(_) => FieldType::Integer,
                    Value::Text(_) => FieldType::Text,
                    Value::Boolean(_) => FieldType::Boolean,
                };
                let name = pair[0].replace('\\', "");
                measurement.fields.insert(name.clone(), kind);
                row.insert(name, value);
            }
        }
    }

    fn measurement(&self, place: Place<'_>, name: &str) -> Option<&Measurement> {
        if !matches!(place.policy, "" | "autogen") {
            return None;
        }
        self.databases.get(place.database)?.get(name)
    }
}

/// Cuts a line at signs that neither stand in quotes nor behind a backslash.
fn split(line: &str, at: char) -> Vec<String> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for char in line.chars() {
        if char == '"' && !escaped {
            quoted = !quoted;
        }
        if char == at && !quoted && !escaped {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(char);
        }
        escaped = char == '\\' && !escaped;
    }
    parts
}

fn value(text: &str) -> Value {
    if let Some(text) = text.strip_prefix('"') {
        return Value::Text(text.trim_end_matches('"').replace("\\\"", "\""));
    }
    match text {
        "true" | "t" => Value::Boolean(true),
        "false" | "f" => Value::Boolean(false),
        _ => match text.strip_suffix('i') {
            Some(number) => Value::Integer(number.parse().expect("a whole number")),
            None => Value::Float(text.parse().expect("a number")),
        },
    }
}

fn lets_through(filter: &TagFilter, tags: &[(String, String)]) -> bool {
    let get = |key: &String| tags.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v);
    match filter {
        TagFilter::All => true,
        TagFilter::And(all) => all.iter().all(|one| lets_through(one, tags)),
        TagFilter::Or(all) => all.iter().any(|one| lets_through(one, tags)),
        TagFilter::Is(key, value) => get(key) == value,
        TagFilter::IsNot(key, value) => get(key) != value,
        TagFilter::Matches(key, matcher, wanted) => (matcher.matches)(get(key)) == *wanted,
    }
}

struct Rest {
    pieces: Vec<(Vec<i64>, Vec<Column>)>,
    summaries: Option<Buckets>,
    fields: Vec<Option<FieldSummary>>,
    given: (Vec<i64>, Vec<Column>),
}

impl Cursor for Rest {
    fn next(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        let Some((times, columns)) = self.pieces.pop() else {
            return Ok(None);
        };
        let (first, last) = (times[0], times[times.len() - 1]);
        if let Some(buckets) = self.summaries {
            let of = |at: i64| {
                (i128::from(at) - i128::from(buckets.origin)).div_euclid(i128::from(buckets.length))
            };
            if buckets.length == i64::MAX || of(first) == of(last) {
                self.fields = columns.iter().map(|column| summary(&times, column)).collect();
                return Ok(Some(Piece::Summary(Summary { first, last, fields: &self.fields })));
            }
        }
        self.given = (times, columns);
        let (times, columns) = &self.given;
        Ok(Some(Piece::Rows(Rows { times, columns })))
    }
}

fn summary(times: &[i64], column: &Column) -> Option<FieldSummary> {
    let rows: Vec<usize> = (0..times.len()).filter(|row| column.has(*row)).collect();
    let (first, last) = (*rows.first()?, *rows.last()?);
    macro_rules! of {
        ($kind:ident, $values:expr, $zero:expr, $add:expr) => {{
            let (mut min, mut max, mut sum) = (first, first, $zero);
            for row in &rows {
                if $values[*row] < $values[min] {
                    min = *row;
                }
                if $values[*row] > $values[max] {
                    max = *row;
                }
                sum = $add(sum, $values[*row]);
            }
            let values = SummaryValues::$kind {
                min: $values[min],
                max: $values[max],
                sum,
                first: $values[first],
                last: $values[last],
            };
            (values, min, max)
        }};
    }
    let (values, min, max) = match &column.values {
        Values::Float(values) => of!(Float, values, 0.0, |a: f64, b: f64| a + b),
        Values::Integer(values) => of!(Integer, values, 0, i64::wrapping_add),
        _ => (SummaryValues::Counted, first, first),
    };
    Some(FieldSummary {
        count: rows.len() as u64,
        values,
        min_time: times[min],
        max_time: times[max],
        first_time: times[first],
        last_time: times[last],
    })
}

fn column(rows: &[(&i64, &BTreeMap<String, Value>)], name: &str) -> Column {
    let cells: Vec<Option<&Value>> = rows.iter().map(|(_, row)| row.get(name)).collect();
    let Some(like) = cells.iter().flatten().next() else {
        return Column::default();
    };
    macro_rules! of {
        ($kind:ident, $default:expr, $get:expr) => {
            Values::$kind(
                cells
                    .iter()
                    .map(|cell| match cell {
                        Some(Value::$kind(value)) => $get(value),
                        _ => $default,
                    })
                    .collect(),
            )
        };
    }
    let values = match like {
        Value::Float(_) => of!(Float, 0.0, |value: &f64| *value),
        Value::Integer(_) => of!(Integer, 0, |value: &i64| *value),
        Value::Text(_) => of!(Text, Box::default(), |value: &String| value.as_str().into()),
        Value::Boolean(_) => of!(Boolean, false, |value: &bool| *value),
    };
    let present = cells.iter().any(|cell| cell.is_none()).then(|| {
        let mut bits = vec![0u64; cells.len().div_ceil(64)];
        for (row, cell) in cells.iter().enumerate() {
            bits[row / 64] |= u64::from(cell.is_some()) << (row % 64);
        }
        bits
    });
    Column { values, present }
}

impl Source for Memory {
    fn databases(&self) -> Result<Vec<String>, Fault> {
        Ok(self.databases.keys().cloned().collect())
    }

    fn policies(&self, database: &str) -> Result<Vec<Policy>, Fault> {
        if !self.databases.contains_key(database) {
            return Err(Fault::NoDatabase(database.to_owned()));
        }
        let partition = 7 * 86_400 * 1_000_000_000;
        Ok(vec![Policy { name: "autogen".to_owned(), duration: 0, partition, is_default: true }])
    }

    fn measurements(&self, database: &str) -> Result<Vec<String>, Fault> {
        Ok(self.databases.get(database).into_iter().flat_map(|all| all.keys().cloned()).collect())
    }

    fn fields(&self, place: Place<'_>, measurement: &str) -> Result<Vec<Field>, Fault> {
        let fields = self.measurement(place, measurement).into_iter().flat_map(|m| &m.fields);
        Ok(fields.map(|(name, kind)| Field { name: name.clone(), kind: *kind }).collect())
    }

    fn tag_keys(&self, place: Place<'_>, measurement: &str) -> Result<Vec<String>, Fault> {
        let series = self.measurement(place, measurement).into_iter().flat_map(|m| m.series.keys());
        let mut keys: Vec<String> = series.flatten().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    fn series(
        &self,
        place: Place<'_>,
        measurement: &str,
        filter: &TagFilter,
        _: i64,
        _: i64,
    ) -> Result<Vec<Series>, Fault> {
        let series = self.measurement(place, measurement).into_iter().flat_map(|m| m.series.keys());
        let all = series.enumerate().map(|(id, tags)| Series { id: id as u64, tags: tags.clone() });
        Ok(all.filter(|series| lets_through(filter, &series.tags)).collect())
    }

    fn read<'a>(
        &'a self,
        place: Place<'_>,
        measurement: &str,
        series: &Series,
        ask: &Ask<'_>,
    ) -> Result<Box<dyn Cursor + 'a>, Fault> {
        let points = &self.measurement(place, measurement).expect("known").series[&series.tags];
        let rows: Vec<_> = points
            .range(ask.from..=ask.to)
            .filter(|(_, row)| ask.fields.iter().any(|field| row.contains_key(*field)))
            .collect();
        let mut pieces: Vec<_> = rows
            .chunks(self.piece)
            .map(|rows| {
                let times: Vec<i64> = rows.iter().map(|(time, _)| **time).collect();
                (times, ask.fields.iter().map(|name| column(rows, name)).collect())
            })
            .collect();
        if !ask.backward {
            pieces.reverse();
        }
        let summaries = ask.summaries.filter(|_| self.summaries);
        Ok(Box::new(Rest { pieces, summaries, fields: Vec::new(), given: Default::default() }))
    }
}
