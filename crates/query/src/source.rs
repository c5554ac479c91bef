//! What queries read: series of points, by measurement and tags, column by column.
//!
//! A database has retention policies, a policy measurements, a measurement series: one for each set of tags.
//! A row of a series has a time and a value for one field or more. A field of a measurement has one type.
//!
//! 1. Times are nanoseconds since 1970, and both ends of a stretch belong to it.
//! 2. A cursor hands out each row once; pieces come in the order that was asked for, rows within a piece always
//!    oldest first. No two pieces of a cursor overlap.
//! 3. What a source hands out is of one moment for each cursor.

use std::fmt;

pub use olivine_command::points::FieldType;

/// A field of a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: FieldType,
}

/// A retention policy of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// How long points are kept, in nanoseconds; 0 is for ever.
    pub duration: i64,
    /// How long a partition is, in nanoseconds.
    pub partition: i64,
    /// Whether it is the one that is meant when none is named.
    pub is_default: bool,
}

/// One series: a measurement with one set of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// By which the source knows it.
    pub id: u64,
    /// Its tags, in the order of their keys; none is empty.
    pub tags: Vec<(String, String)>,
}

/// What must be so of the tags of a series. A tag that a series does not have is the empty string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// Of any series.
    All,
    /// All of these hold.
    And(Vec<TagFilter>),
    /// One of these holds.
    Or(Vec<TagFilter>),
    /// The tag has this value.
    Is(String, String),
    /// The tag has another value.
    IsNot(String, String),
    /// The value of the tag matches (`true`) or does not match (`false`); `matches` tells, and the source may
    /// ask it once for each value that there is.
    Matches(String, Matcher, bool),
}

/// Tells whether a text matches, by a regular expression that somebody compiled.
#[derive(Clone)]
pub struct Matcher {
    /// The expression as it was written.
    pub text: String,
    /// The expression.
    pub matches: std::sync::Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        self.text == other.text
    }
}

impl Eq for Matcher {}

/// Where a measurement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The database.
    pub database: &'a str,
    /// The policy; empty for the default one.
    pub policy: &'a str,
}

/// What is asked of one series.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The names of the fields that are wanted, in the order of the columns. A field that the series does not
    /// have is a column without values; rows that have none of the fields do not come.
    pub fields: &'a [&'a str],
    /// The first moment.
    pub from: i64,
    /// The last moment.
    pub to: i64,
    /// Newest pieces first.
    pub backward: bool,
    /// Only the newest row is wanted: others may be left out. Only with `backward`.
    pub newest: bool,
    /// Summaries will do for stretches that lie within one bucket.
    pub summaries: Option<Buckets>,
}

/// Stretches of time of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Where one of them begins.
    pub origin: i64,
    /// How long each is; `i64::MAX` for one of everything.
    pub length: i64,
}

/// What there is for one stretch of a series.
#[derive(Debug)]
pub enum Piece<'a> {
    /// The rows themselves.
    Rows(Rows<'a>),
    /// What they come to; only where the whole stretch lies within one bucket.
    Summary(Summary<'a>),
}

/// Rows, column by column.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The time of each, ascending, no two alike.
    pub times: &'a [i64],
    /// The columns, as they were asked for.
    pub columns: &'a [Column],
}

/// The values of one field in some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// A value for each row; where there is none, whatever stands there means nothing.
    pub values: Values,
    /// Which rows have a value, a bit each, lowest first; nothing if all have. A column of no values at all
    /// is [`Values::None`].
    pub present: Option<Vec<u64>>,
}

impl Column {
    /// Whether the row has a value.
    pub fn has(&self, row: usize) -> bool {
        match (&self.values, &self.present) {
            (Values::None, _) => false,
            (_, None) => true,
            (_, Some(bits)) => bits[row / 64] >> (row % 64) & 1 == 1,
        }
    }
}

/// Values of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Values {
    /// None at all.
    #[default]
    None,
    /// f64.
    Float(Vec<f64>),
    /// i64.
    Integer(Vec<i64>),
    /// u64.
    Unsigned(Vec<u64>),
    /// Texts.
    Text(Vec<Box<str>>),
    /// Yes or no.
    Boolean(Vec<bool>),
}

/// What some rows come to.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    /// The time of the first row.
    pub first: i64,
    /// The time of the last row.
    pub last: i64,
    /// For each field that was asked for; nothing if it has no values there.
    pub fields: &'a [Option<FieldSummary>],
}

/// What the values of one field come to.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSummary {
    /// How many there are.
    pub count: u64,
    /// The least and the greatest, and of those alike the oldest; their sum; the first and the last value.
    pub values: SummaryValues,
    /// The time of the least.
    pub min_time: i64,
    /// The time of the greatest.
    pub max_time: i64,
    /// The time of the first.
    pub first_time: i64,
    /// The time of the last.
    pub last_time: i64,
}

/// The least, the greatest, the sum, the first and the last of some values.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the same five for every type")]
pub enum SummaryValues {
    Float {
        min: f64,
        max: f64,
        sum: f64,
        first: f64,
        last: f64,
    },
    /// The sum wraps around, as the sum of the values one by one does.
    Integer {
        min: i64,
        max: i64,
        sum: i64,
        first: i64,
        last: i64,
    },
    Unsigned {
        min: u64,
        max: u64,
        sum: u64,
        first: u64,
        last: u64,
    },
    /// Texts and booleans are counted only.
    Counted,
}

/// Hands out a series, piece by piece.
pub trait Cursor {
    /// The next piece, nothing at the end.
    fn next(&mut self) -> Result<Option<Piece<'_>>, Fault>;
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such database.
    NoDatabase(String),
    /// There is no such policy.
    NoPolicy(String),
    /// The query was given up: whoever asked has gone.
    Cancelled,
    /// Reading it failed; the text says why.
    Failed(String),
}

/// Has series, and may be asked by several threads at once.
pub trait Source: Sync {
    /// The databases, sorted.
    fn databases(&self) -> Result<Vec<String>, Fault>;

    /// The policies of a database, oldest first.
    fn policies(&self, database: &str) -> Result<Vec<Policy>, Fault>;

    /// The measurements of a database (of all its policies), sorted.
    fn measurements(&self, database: &str) -> Result<Vec<String>, Fault>;

    /// The fields of a measurement, sorted by name; none if there is no such measurement in the policy.
    fn fields(&self, place: Place<'_>, measurement: &str) -> Result<Vec<Field>, Fault>;

    /// The keys of the tags of a measurement, sorted; none if there is no such measurement in the policy.
    fn tag_keys(&self, place: Place<'_>, measurement: &str) -> Result<Vec<String>, Fault>;

    /// The series of a measurement that the filter lets through and that may have rows in the stretch, sorted by
    /// their tags.
    fn series(
        &self,
        place: Place<'_>,
        measurement: &str,
        filter: &TagFilter,
        from: i64,
        to: i64,
    ) -> Result<Vec<Series>, Fault>;

    /// How many series a measurement has in a policy; nothing if that takes looking at each.
    fn series_count(&self, _: Place<'_>, _: &str) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    /// How many different values some tags of a measurement have together; nothing if that takes looking at each
    /// series.
    fn value_count(&self, _: Place<'_>, _: &str, _: &[String]) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    /// The rows of a series.
    fn read<'a>(
        &'a self,
        place: Place<'_>,
        measurement: &str,
        series: &Series,
        ask: &Ask<'_>,
    ) -> Result<Box<dyn Cursor + 'a>, Fault>;
}
