//! What a query is asked under, and why it is not answered.
//!
//! 1. A limit of 0 is none.
//! 2. An error that a limit is the cause of names the limit.

use crate::{moment::Zone, share::Helpers, source::Fault};
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// How much one query may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many points it may read.
    pub points_max: u64,
    /// How many bytes its answer and what it keeps on the way to it may take.
    pub bytes_max: u64,
    /// How many buckets `GROUP BY time()` may make, over all groups.
    pub buckets_max: u64,
    /// How many series it may read.
    pub series_max: u64,
}

/// Why a query is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Whoever asked has gone.
    Gone,
    /// It has taken as long as a query may.
    TooLong,
}

/// What a query is asked under.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// What `now()` means.
    pub now: i64,
    /// The database where none is named; empty for none.
    pub database: &'a str,
    /// The policy where none is named; empty for the default one of the database.
    pub policy: &'a str,
    /// How much it may take.
    pub limits: Limits,
    /// Asked again and again whether to go on.
    pub stop: &'a (dyn Fn() -> Option<Stop> + Sync),
    /// Finds a time zone by its name.
    pub zone: &'a (dyn Fn(&str) -> Option<Box<dyn Zone>> + Sync),
    /// Threads that it may have besides its own; nothing for none.
    pub helpers: Option<&'a Helpers>,
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { now, database, policy, limits, .. } = self;
        f.debug_struct("Settings")
            .field("now", now)
            .field("database", database)
            .field("policy", policy)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

/// Why a query is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// It asks for what cannot be; the text says why.
    Wrong(String),
    /// There is no such database.
    NoDatabase(String),
    /// There is no such retention policy.
    NoPolicy(String),
    /// It would take, or took, more than it may; the text names the limit.
    Limit(String),
    /// It was stopped.
    Stopped(Stop),
    /// Reading failed.
    Failed(String),
}

impl QueryError {
    pub(crate) fn wrong<T>(text: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError::Wrong(text.into()))
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Wrong(text) | QueryError::Limit(text) | QueryError::Failed(text) => {
                f.write_str(text)
            }
            QueryError::NoDatabase(name) => write!(f, "database not found: {name}"),
            QueryError::NoPolicy(name) => write!(f, "retention policy not found: {name}"),
            QueryError::Stopped(Stop::Gone) => f.write_str("query interrupted"),
            QueryError::Stopped(Stop::TooLong) => {
                f.write_str("query-timeout limit exceeded: the query took too long")
            }
        }
    }
}

impl std::error::Error for QueryError {}

impl From<Fault> for QueryError {
    fn from(fault: Fault) -> QueryError {
        match fault {
            Fault::NoDatabase(name) => QueryError::NoDatabase(name),
            Fault::NoPolicy(name) => QueryError::NoPolicy(name),
            Fault::Cancelled => QueryError::Stopped(Stop::Gone),
            Fault::Failed(text) => QueryError::Failed(text),
        }
    }
}

/// What a query has taken so far.
pub(crate) struct Budget<'a> {
    pub(crate) settings: &'a Settings<'a>,
    points: AtomicU64,
    bytes: AtomicU64,
    buckets: AtomicU64,
    series: AtomicU64,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(settings: &'a Settings<'a>) -> Budget<'a> {
        Budget {
            settings,
            points: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            buckets: AtomicU64::new(0),
            series: AtomicU64::new(0),
        }
    }

    /// How many points were read.
    pub(crate) fn points(&self) -> u64 {
        self.points.load(Relaxed)
    }

    /// Whether the query may go on.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        match (self.settings.stop)() {
            Some(stop) => Err(QueryError::Stopped(stop)),
            None => Ok(()),
        }
    }

    pub(crate) fn take_points(&self, count: usize) -> Result<(), QueryError> {
        self.check()?;
        let limit = self.settings.limits.points_max;
        taken(&self.points, count as u64, limit, "max-select-point")
    }

    pub(crate) fn take_bytes(&self, count: usize) -> Result<(), QueryError> {
        let limit = self.settings.limits.bytes_max;
        taken(&self.bytes, count as u64, limit, "max-select-bytes")
    }

    /// Gives back what was taken and is there no longer.
    pub(crate) fn give_bytes(&self, count: usize) {
        self.bytes.fetch_sub(count as u64, Relaxed);
    }

    pub(crate) fn take_buckets(&self, count: u64) -> Result<(), QueryError> {
        let limit = self.settings.limits.buckets_max;
        taken(&self.buckets, count, limit, "max-select-buckets")
    }

    pub(crate) fn take_series(&self, count: usize) -> Result<(), QueryError> {
        let limit = self.settings.limits.series_max;
        taken(&self.series, count as u64, limit, "max-select-series")
    }
}

fn taken(sum: &AtomicU64, count: u64, limit: u64, name: &str) -> Result<(), QueryError> {
    let now = sum.fetch_add(count, Relaxed).saturating_add(count);
    if limit != 0 && limit < now {
        return Err(QueryError::Limit(format!("{name} limit exceeded: ({now}/{limit})")));
    }
    Ok(())
}
