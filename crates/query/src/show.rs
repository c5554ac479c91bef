//! Lists and counts: databases, policies, measurements, series, tags, fields.
//!
//! 1. A list is sorted, and the same for the same data.
//! 2. Counts are exact, also where InfluxDB estimates.

use crate::{
    ast::{Asked, Expr, KeyTest, Listed, Measurement, Narrowed, Order, Statement},
    feed::{self, tag_filter},
    moment::{self, TIME_MAX, TIME_MIN},
    plan::{Lookup, Table as Read},
    reduce::{Known, split},
    settings::QueryError,
    source::{Series, TagFilter},
};
use olivine_command::{Answer, Cell, Table, points::write_key};
use std::collections::{BTreeMap, BTreeSet};

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn table(name: &str, columns: &[&str], cells: Vec<Cell>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { name: name.to_owned(), tags: Vec::new(), columns, cells }
}

fn of(tables: impl IntoIterator<Item = Table>) -> Answer {
    Answer { tables: tables.into_iter().collect(), notices: Vec::new() }
}

/// Answers one of the statements that list.
pub(crate) fn answer(statement: &Statement, lookup: &Lookup<'_>) -> Result<Answer, QueryError> {
    match statement {
        Statement::ShowDatabases => {
            let names = lookup.source.databases()?;
            Ok(of([table("databases", &["name"], names.iter().map(|name| text(name)).collect())]))
        }
        Statement::ShowPolicies(database) => policies(lookup, database),
        Statement::Show(listed, narrowed) => {
            let listing = Listing::new(lookup, *listed, narrowed)?;
            listing.list()
        }
        Statement::ShowCardinality { listed, exact, narrowed, group } => {
            if !group.is_empty() {
                return QueryError::wrong("GROUP BY is not supported in SHOW ... CARDINALITY");
            }
            let listing = Listing::new(lookup, *listed, narrowed)?;
            listing.count(*exact)
        }
        Statement::Ask(asked) => ask(lookup, asked),
        other => QueryError::wrong(format!("not a statement that reads: {other}")),
    }
}

fn policies(lookup: &Lookup<'_>, database: &str) -> Result<Answer, QueryError> {
    let database = lookup.database(database)?;
    let mut cells = Vec::new();
    for policy in lookup.source.policies(&database)? {
        cells.push(text(&policy.name));
        cells.push(text(&moment::clock_text(policy.duration)));
        cells.push(text(&moment::clock_text(policy.partition)));
        cells.push(Cell::Integer(1));
        cells.push(Cell::Boolean(policy.is_default));
    }
    let columns = ["name", "duration", "shardGroupDuration", "replicaN", "default"];
    Ok(of([table("", &columns, cells)]))
}

fn ask(lookup: &Lookup<'_>, asked: &Asked) -> Result<Answer, QueryError> {
    match asked {
        // There are none, and a program that asks may go on.
        Asked::Subscriptions => Ok(Answer::default()),
        Asked::ContinuousQueries => {
            let names = lookup.source.databases()?;
            Ok(of(names.iter().map(|name| table(name, &["name", "query"], Vec::new()))))
        }
        Asked::Users => Ok(of([table("", &["user", "admin"], Vec::new())])),
        other => QueryError::wrong(format!(
            "{other} is not supported: the server tells about itself with `olivine stats`"
        )),
    }
}

/// What a key or a value of a tag takes, about, twice: as it was found, and as it is looked up.
fn bytes_of_pair((key, value): &(String, String)) -> usize {
    2 * (2 * size_of::<String>() + key.len() + value.len())
}

/// What a series takes.
fn bytes_of(series: &Series) -> usize {
    size_of::<Series>() + series.tags.iter().map(bytes_of_pair).sum::<usize>()
}

/// A list that is to be made.
struct Listing<'a> {
    lookup: &'a Lookup<'a>,
    listed: Listed,
    narrowed: &'a Narrowed,
    /// What is asked of tags.
    condition: Option<Expr>,
    from: i64,
    to: i64,
    /// The measurements that it is made of, sorted, each for every policy in which it is.
    reads: BTreeMap<String, Vec<Read>>,
}

impl<'a> Listing<'a> {
    fn new(
        lookup: &'a Lookup<'a>,
        listed: Listed,
        narrowed: &'a Narrowed,
    ) -> Result<Listing<'a>, QueryError> {
        let known = Known { now: Some(lookup.budget.settings.now), zone: None };
        let (condition, stretch) = split(narrowed.condition.as_ref(), known)?;
        let timed = stretch.from.is_some() || stretch.to.is_some();
        if timed && listed == Listed::Measurements {
            return QueryError::wrong("SHOW MEASUREMENTS doesn't support time in WHERE clause");
        }
        let database = match lookup.database(&narrowed.database) {
            // As InfluxDB has it, a database that is not there has no measurements.
            Err(QueryError::NoDatabase(_)) if listed == Listed::Measurements => {
                let reads = BTreeMap::new();
                let (from, to) = (TIME_MIN, TIME_MAX);
                return Ok(Listing { lookup, listed, narrowed, condition, from, to, reads });
            }
            other => other?,
        };
        let all = [Measurement {
            pattern: crate::pattern::Pattern::new("").ok(),
            ..Measurement::default()
        }];
        let meant = if narrowed.from.is_empty() { &all[..] } else { &narrowed.from };
        let mut reads: BTreeMap<String, Vec<Read>> = BTreeMap::new();
        for one in meant {
            let database =
                if one.database.is_empty() { database.clone() } else { one.database.clone() };
            let policies = match &*one.policy {
                // A list is of all policies, unless one is named.
                "" => lookup.source.policies(&database)?.into_iter().map(|p| p.name).collect(),
                policy => vec![policy.to_owned()],
            };
            for policy in policies {
                let one = Measurement { database: database.clone(), policy, ..one.clone() };
                for read in lookup.tables(&one)? {
                    let known = reads.entry(read.name.clone()).or_default();
                    if !known.iter().any(|other| other.place() == read.place()) {
                        known.push(read);
                    }
                }
            }
        }
        let from = stretch.from.unwrap_or(TIME_MIN);
        let to = stretch.to.unwrap_or(TIME_MAX);
        Ok(Listing { lookup, listed, narrowed, condition, from, to, reads })
    }

    /// The series of a measurement that are meant. Whoever does not keep them gives back what they take (`let_go`).
    fn series(&self, reads: &[Read]) -> Result<Vec<Series>, QueryError> {
        let mut found: BTreeMap<Vec<(String, String)>, Series> = BTreeMap::new();
        for read in reads {
            self.lookup.budget.check()?;
            // Only tags can be asked about here, so every name is one.
            let tags_only = Read { fields: Vec::new(), ..read.clone() };
            let (filter, exact) = match &self.condition {
                Some(condition) => tag_filter(condition, &tags_only),
                None => (TagFilter::All, true),
            };
            let all =
                self.lookup.source.series(read.place(), &read.name, &filter, self.from, self.to)?;
            for series in all {
                let fits = exact
                    || self.condition.as_ref().is_none_or(|condition| {
                        feed::residual(condition, &tags_only, &series).is_some()
                    });
                if fits {
                    self.lookup.budget.take_bytes(bytes_of(&series))?;
                    found.insert(series.tags.clone(), series);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Series that were found are there no longer.
    fn let_go(&self, found: &[Series]) {
        self.lookup.budget.give_bytes(found.iter().map(bytes_of).sum());
    }

    /// Whether all series are meant.
    fn is_open(&self) -> bool {
        self.condition.is_none() && self.from == TIME_MIN && self.to == TIME_MAX
    }

    fn cut<T>(&self, mut items: Vec<T>) -> Vec<T> {
        if self.narrowed.order == Order::Descending {
            items.reverse();
        }
        let limit = if self.narrowed.limit == 0 { u64::MAX } else { self.narrowed.limit };
        let offset = usize::try_from(self.narrowed.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        items.into_iter().skip(offset).take(limit).collect()
    }

    fn tag_keys(&self, reads: &[Read]) -> Result<Vec<String>, QueryError> {
        let mut keys = BTreeSet::new();
        if self.is_open() {
            keys.extend(reads.iter().flat_map(|read| read.tags.iter().cloned()));
        } else {
            let found = self.series(reads)?;
            self.let_go(&found);
            for series in found {
                keys.extend(series.tags.into_iter().map(|(key, _)| key));
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// Keys with values, and what they take.
    fn tag_values(&self, reads: &[Read]) -> Result<(Vec<(String, String)>, usize), QueryError> {
        let admits =
            |key: &str| self.narrowed.key.as_ref().is_none_or(|test: &KeyTest| test.admits(key));
        let mut pairs = BTreeSet::new();
        let found = self.series(reads)?;
        self.let_go(&found);
        for series in found {
            pairs.extend(series.tags.into_iter().filter(|(key, _)| admits(key)));
        }
        let bytes = pairs.iter().map(bytes_of_pair).sum();
        self.lookup.budget.take_bytes(bytes)?;
        Ok((pairs.into_iter().collect(), bytes))
    }

    fn field_keys(reads: &[Read]) -> Vec<(String, &'static str)> {
        let mut fields = BTreeMap::new();
        for field in reads.iter().flat_map(|read| &read.fields) {
            fields.entry(field.name.clone()).or_insert(field.kind.name());
        }
        fields.into_iter().collect()
    }

    fn measurements(&self) -> Result<Vec<String>, QueryError> {
        let mut names = Vec::new();
        for (name, reads) in &self.reads {
            let is_meant = self.is_open() || {
                let found = self.series(reads)?;
                self.let_go(&found);
                !found.is_empty()
            };
            if is_meant {
                names.push(name.clone());
            }
        }
        Ok(names)
    }

    fn list(&self) -> Result<Answer, QueryError> {
        let tables = match self.listed {
            Listed::Measurements => {
                let names = self.cut(self.measurements()?);
                let cells = names.iter().map(|name| text(name)).collect();
                vec![table("measurements", &["name"], cells)]
            }
            Listed::Series => {
                let mut keys = Vec::new();
                for (name, reads) in &self.reads {
                    let found = self.series(reads)?;
                    self.let_go(&found);
                    for series in found {
                        let mut key = Vec::new();
                        write_key(name, &series.tags, &mut key);
                        self.lookup.budget.take_bytes(size_of::<Cell>() + key.len())?;
                        keys.push(Cell::Text(String::from_utf8_lossy(&key).into_owned()));
                    }
                }
                vec![table("", &["key"], self.cut(keys))]
            }
            Listed::TagKeys => self.each(&["tagKey"], |reads| {
                Ok(self.cut(self.tag_keys(reads)?).iter().map(|key| text(key)).collect())
            })?,
            Listed::TagValues => self.each(&["key", "value"], |reads| {
                let pairs = self.cut(self.tag_values(reads)?.0);
                Ok(pairs.iter().flat_map(|(key, value)| [text(key), text(value)]).collect())
            })?,
            Listed::FieldKeys => self.each(&["fieldKey", "fieldType"], |reads| {
                let pairs = self.cut(Self::field_keys(reads));
                Ok(pairs.iter().flat_map(|(name, kind)| [text(name), text(kind)]).collect())
            })?,
        };
        Ok(of(tables.into_iter().filter(|table| !table.cells.is_empty())))
    }

    fn each(
        &self,
        columns: &[&str],
        cells: impl Fn(&[Read]) -> Result<Vec<Cell>, QueryError>,
    ) -> Result<Vec<Table>, QueryError> {
        let reads = self.reads.iter();
        reads.map(|(name, reads)| Ok(table(name, columns, cells(reads)?))).collect()
    }

    /// How many series of a measurement are meant. All of those in one policy need not be looked at.
    fn series_count(&self, reads: &[Read]) -> Result<usize, QueryError> {
        if let (true, [read]) = (self.is_open(), reads)
            && let Some(count) = self.lookup.source.series_count(read.place(), &read.name)?
        {
            return Ok(count as usize);
        }
        let found = self.series(reads)?;
        self.let_go(&found);
        Ok(found.len())
    }

    /// How many values of its tags are meant.
    fn value_count(&self, reads: &[Read]) -> Result<usize, QueryError> {
        if let (true, [read]) = (self.is_open(), reads) {
            let admits =
                |key: &&String| self.narrowed.key.as_ref().is_none_or(|test| test.admits(key));
            let keys: Vec<String> = read.tags.iter().filter(admits).cloned().collect();
            let counted = self.lookup.source.value_count(read.place(), &read.name, &keys)?;
            if let Some(count) = counted {
                return Ok(count as usize);
            }
        }
        let (pairs, bytes) = self.tag_values(reads)?;
        self.lookup.budget.give_bytes(bytes);
        Ok(pairs.into_iter().map(|(_, value)| value).collect::<BTreeSet<_>>().len())
    }

    fn count(&self, exact: bool) -> Result<Answer, QueryError> {
        let plain = !exact
            && self.narrowed.from.is_empty()
            && self.narrowed.condition.is_none()
            && self.narrowed.limit == 0
            && self.narrowed.offset == 0;
        let column = if plain { "cardinality estimation" } else { "count" };
        let one = |name: &str, column: &str, count: usize| {
            table(name, &[column], vec![Cell::Integer((count as u64).cast_signed())])
        };
        if self.listed == Listed::Measurements {
            let count = self.measurements()?.len();
            return Ok(of([one("", column, count)].into_iter().filter(|_| plain || count != 0)));
        }
        let mut tables = Vec::new();
        let mut sum = 0;
        for (name, reads) in &self.reads {
            let count = match self.listed {
                Listed::Series => self.series_count(reads)?,
                Listed::TagKeys => self.tag_keys(reads)?.len(),
                Listed::TagValues => self.value_count(reads)?,
                _ => Self::field_keys(reads).len(),
            };
            sum += count;
            if count != 0 {
                tables.push(one(name, "count", count));
            }
        }
        if plain && self.listed == Listed::Series {
            return Ok(of([one("", column, sum)]));
        }
        Ok(of(tables))
    }
}
