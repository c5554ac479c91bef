//! What a text of InfluxQL says, as a tree.
//!
//! 1. A tree is no deeper than the parser allows, so that walking it needs little stack.
//! 2. `Display` writes what is read again as the same tree.

use crate::{pattern::Pattern, token::Op};
pub use olivine_command::points::FieldType;

/// What a name stands for, as far as the text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// It does not say.
    Any,
    /// `::field`
    Field,
    /// `::tag`
    Tag,
    /// `::float` and the like.
    Typed(FieldType),
}

/// A name of a field or of a tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref {
    /// The name.
    pub name: String,
    /// What it is.
    pub sort: Sort,
}

impl Ref {
    /// Whether it is the time.
    pub fn is_time(&self) -> bool {
        self.name.eq_ignore_ascii_case("time")
    }
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Two, joined.
    Binary {
        /// By what.
        op: Op,
        /// The left one.
        left: Box<Expr>,
        /// The right one.
        right: Box<Expr>,
    },
    /// One in parentheses.
    Paren(Box<Expr>),
    /// A field or a tag.
    Ref(Ref),
    /// A function; its name is in lower case.
    Call {
        /// Its name.
        name: String,
        /// What it is applied to.
        args: Vec<Expr>,
    },
    /// `DISTINCT field`
    Distinct(String),
    /// `*`, `*::field`, `*::tag`
    Wildcard(Sort),
    /// `/regex/`
    Pattern(Pattern),
    /// A text.
    Text(String),
    /// A bare word of the relaxed dialect: a column if there is one of this name, otherwise a text.
    Word(String),
    /// A number with a point.
    Number(f64),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond i64.
    Unsigned(u64),
    /// Yes or no.
    Boolean(bool),
    /// Nanoseconds.
    Duration(i64),
    /// A moment; only what was reckoned, no text is read as one.
    Moment(i64),
}

impl Expr {
    /// Two, joined.
    pub(crate) fn binary(op: Op, left: Expr, right: Expr) -> Expr {
        Expr::Binary { op, left: Box::new(left), right: Box::new(right) }
    }

    /// Whether it is a value, and nothing has to be looked up for it.
    pub(crate) fn is_literal(&self) -> bool {
        !matches!(
            self,
            Expr::Binary { .. }
                | Expr::Paren(_)
                | Expr::Ref(_)
                | Expr::Call { .. }
                | Expr::Distinct(_)
                | Expr::Wildcard(_)
                | Expr::Word(_)
        )
    }

    /// Calls something with it and with everything in it, outside first.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        match self {
            Expr::Binary { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
            Expr::Paren(inner) => inner.walk(visit),
            Expr::Call { args, .. } => args.iter().for_each(|arg| arg.walk(visit)),
            _ => {}
        }
    }

    /// Calls something with it and with everything in it, to be changed, inside first.
    pub(crate) fn change(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match self {
            Expr::Binary { left, right, .. } => {
                left.change(visit);
                right.change(visit);
            }
            Expr::Paren(inner) => inner.change(visit),
            Expr::Call { args, .. } => args.iter_mut().for_each(|arg| arg.change(visit)),
            _ => {}
        }
        visit(self);
    }

    /// What it is without the parentheses around it.
    pub(crate) fn bare(&self) -> &Expr {
        match self {
            Expr::Paren(inner) => inner.bare(),
            other => other,
        }
    }
}

/// Something that is selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// What.
    pub expr: Expr,
    /// What its column is called; empty if the text does not say.
    pub alias: String,
}

/// A measurement, or those that match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// The database; empty for the one of the query.
    pub database: String,
    /// The retention policy; empty for the default one.
    pub policy: String,
    /// Its name; empty if there is a pattern.
    pub name: String,
    /// Which ones.
    pub pattern: Option<Pattern>,
}

/// What is selected from.
#[derive(Clone, Debug, PartialEq)]
pub enum From {
    /// Measurements.
    Measurement(Measurement),
    /// What another SELECT answers.
    Select(Box<Select>),
}

/// What stands in buckets without points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Nothing has a value there.
    Null,
    /// There is no row.
    None,
    /// The value before.
    Previous,
    /// What lies on the line from the value before to the one behind.
    Linear,
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
}

/// `ORDER BY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// It is not said.
    #[default]
    None,
    /// `ORDER BY time`
    Ascending,
    /// `ORDER BY time DESC`
    Descending,
}

/// `SELECT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// What is selected.
    pub fields: Vec<Selected>,
    /// `INTO`: where the answer is written to.
    pub into: Option<Measurement>,
    /// `FROM`
    pub from: Vec<From>,
    /// `WHERE`
    pub condition: Option<Expr>,
    /// `GROUP BY`
    pub group: Vec<Expr>,
    /// `fill()`
    pub fill: Fill,
    /// `ORDER BY`
    pub order: Order,
    /// `LIMIT`; 0 for none.
    pub limit: u64,
    /// `OFFSET`
    pub offset: u64,
    /// `SLIMIT`; 0 for none.
    pub series_limit: u64,
    /// `SOFFSET`
    pub series_offset: u64,
    /// `tz()`: the name of a time zone.
    pub zone: Option<String>,
    /// Read in the relaxed dialect.
    pub relaxed: bool,
}

/// What a list is cut down to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Narrowed {
    /// `ON`: the database; empty for the one of the query.
    pub database: String,
    /// `FROM`
    pub from: Vec<Measurement>,
    /// `WITH KEY`, of tag values only.
    pub key: Option<KeyTest>,
    /// `WHERE`
    pub condition: Option<Expr>,
    /// `ORDER BY`
    pub order: Order,
    /// `LIMIT`; 0 for none.
    pub limit: u64,
    /// `OFFSET`
    pub offset: u64,
    /// `SLIMIT`; 0 for none.
    pub series_limit: u64,
    /// `SOFFSET`
    pub series_offset: u64,
}

/// Which keys of tags are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyTest {
    /// `= key`
    Is(String),
    /// `!= key`
    IsNot(String),
    /// `=~ /regex/`
    Matches(Pattern),
    /// `!~ /regex/`
    MatchesNot(Pattern),
    /// `IN (keys)`
    In(Vec<String>),
}

impl KeyTest {
    /// Whether a key is meant.
    pub fn admits(&self, key: &str) -> bool {
        match self {
            KeyTest::Is(wanted) => key == wanted,
            KeyTest::IsNot(unwanted) => key != unwanted,
            KeyTest::Matches(pattern) => pattern.matches(key),
            KeyTest::MatchesNot(pattern) => !pattern.matches(key),
            KeyTest::In(wanted) => wanted.iter().any(|wanted| wanted == key),
        }
    }
}

/// What is listed or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Measurements.
    Measurements,
    /// Series.
    Series,
    /// Keys of tags.
    TagKeys,
    /// Values of tags.
    TagValues,
    /// Fields.
    FieldKeys,
}

/// What only the program around the query language knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `SHOW QUERIES`
    Queries,
    /// `SHOW USERS`
    Users,
    /// `SHOW STATS [FOR 'module']`
    Stats(Option<String>),
    /// `SHOW DIAGNOSTICS [FOR 'module']`
    Diagnostics(Option<String>),
    /// `SHOW CONTINUOUS QUERIES`
    ContinuousQueries,
    /// `SHOW SUBSCRIPTIONS`
    Subscriptions,
    /// `SHOW SHARDS`
    Shards,
    /// `SHOW SHARD GROUPS`
    ShardGroups,
}

/// How a retention policy is made or changed; nothing where the text does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyClauses {
    /// How long points are kept, in nanoseconds; 0 is for ever.
    pub duration: Option<i64>,
    /// How many copies there are to be. One node keeps one, whatever it says.
    pub replication: Option<u32>,
    /// How long a partition is, in nanoseconds.
    pub partition: Option<i64>,
    /// Whether it becomes the default one.
    pub is_default: bool,
}

/// What is deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deletion {
    /// From which measurements; all if there is none.
    pub from: Vec<Measurement>,
    /// Which series and points.
    pub condition: Option<Expr>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `SELECT`
    Select(Box<Select>),
    /// `EXPLAIN`
    Explain {
        /// Whether it is carried out and measured.
        analyze: bool,
        /// Which one.
        select: Box<Select>,
    },
    /// `SHOW DATABASES`
    ShowDatabases,
    /// `SHOW RETENTION POLICIES`; the database is empty for the one of the query.
    ShowPolicies(String),
    /// `SHOW MEASUREMENTS` and the like.
    Show(Listed, Box<Narrowed>),
    /// `SHOW SERIES CARDINALITY` and the like.
    ShowCardinality {
        /// Of what.
        listed: Listed,
        /// Whether it says `EXACT`; ours are exact all the same.
        exact: bool,
        /// Of which.
        narrowed: Box<Narrowed>,
        /// `GROUP BY`
        group: Vec<Expr>,
    },
    /// Something that the program knows.
    Ask(Asked),
    /// `CREATE DATABASE`
    CreateDatabase {
        /// Its name.
        name: String,
        /// Its policy, and what that is called.
        policy: Option<(String, PolicyClauses)>,
    },
    /// `DROP DATABASE`
    DropDatabase(String),
    /// `CREATE RETENTION POLICY`
    CreatePolicy {
        /// Its name.
        name: String,
        /// Of which database.
        database: String,
        /// What it is like.
        clauses: PolicyClauses,
    },
    /// `ALTER RETENTION POLICY`
    AlterPolicy {
        /// Its name.
        name: String,
        /// Of which database.
        database: String,
        /// What becomes different.
        clauses: PolicyClauses,
    },
    /// `DROP RETENTION POLICY`
    DropPolicy {
        /// Its name.
        name: String,
        /// Of which database.
        database: String,
    },
    /// `DROP MEASUREMENT`
    DropMeasurement(String),
    /// `DROP SERIES`
    DropSeries(Box<Deletion>),
    /// `DELETE`
    Delete(Box<Deletion>),
}

/// What a statement does, which is what a right to do it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It only reads.
    Reads,
    /// It changes points.
    Writes,
    /// It changes databases or policies.
    Defines,
}

impl Statement {
    /// What it does.
    pub fn class(&self) -> Class {
        match self {
            Statement::Select(select) if select.into.is_some() => Class::Writes,
            Statement::Select(_)
            | Statement::Explain { .. }
            | Statement::ShowDatabases
            | Statement::ShowPolicies(_)
            | Statement::Show(..)
            | Statement::ShowCardinality { .. }
            | Statement::Ask(_) => Class::Reads,
            Statement::DropMeasurement(_) | Statement::DropSeries(_) | Statement::Delete(_) => {
                Class::Writes
            }
            Statement::CreateDatabase { .. }
            | Statement::DropDatabase(_)
            | Statement::CreatePolicy { .. }
            | Statement::AlterPolicy { .. }
            | Statement::DropPolicy { .. } => Class::Defines,
        }
    }

    /// The databases that it names besides the one of the query, each once: whoever may use a database must be asked
    /// about these too.
    pub fn databases(&self) -> Vec<&str> {
        let mut named: Vec<&str> = Vec::new();
        match self {
            Statement::Select(select) | Statement::Explain { select, .. } => {
                select.databases(&mut named);
            }
            Statement::ShowPolicies(database) | Statement::DropDatabase(database) => {
                named.push(database);
            }
            Statement::Show(_, narrowed) | Statement::ShowCardinality { narrowed, .. } => {
                named.push(&narrowed.database);
                named.extend(narrowed.from.iter().map(|from| &*from.database));
            }
            Statement::CreateDatabase { name, .. } => named.push(name),
            Statement::CreatePolicy { database, .. }
            | Statement::AlterPolicy { database, .. }
            | Statement::DropPolicy { database, .. } => named.push(database),
            Statement::DropSeries(deletion) | Statement::Delete(deletion) => {
                named.extend(deletion.from.iter().map(|from| &*from.database));
            }
            Statement::ShowDatabases | Statement::Ask(_) | Statement::DropMeasurement(_) => {}
        }
        named.retain(|name| !name.is_empty());
        named.sort_unstable();
        named.dedup();
        named
    }
}

impl Select {
    /// Whether nothing is reckoned over several points.
    pub(crate) fn is_raw(&self) -> bool {
        let mut raw = true;
        for field in &self.fields {
            field.expr.walk(&mut |expr| {
                raw &= !matches!(expr, Expr::Call { .. } | Expr::Distinct(_));
            });
        }
        raw
    }

    /// Whether the oldest come first.
    pub(crate) fn is_ascending(&self) -> bool {
        self.order != Order::Descending
    }

    fn databases<'a>(&'a self, named: &mut Vec<&'a str>) {
        named.extend(self.into.iter().map(|into| &*into.database));
        for from in &self.from {
            match from {
                From::Measurement(measurement) => named.push(&measurement.database),
                From::Select(select) => select.databases(named),
            }
        }
    }
}
