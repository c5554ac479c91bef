//! Statements are answered, and carried out.
//!
//! 1. A statement that does more than its command says is refused: what somebody may do was decided by that.
//! 2. A query stops when nobody waits for it, or when it has taken as long as it may.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use olivine_command::{Answer, Code, Command, Refusal, Reply, Statement as Asked};
use olivine_engine::Error;
use olivine_query::{
    Class, Dialect, Limits, QueryError, Settings, Source as _, Statement, Stop as Stopped,
    ZoneFile,
    ast::PolicyClauses,
    moment::Zone,
    source::{Place, Series},
};

use olivine_vfs::Open;

use super::{
    PointsWrite, SLICE_UNITS_MAX, SeriesStore, Target,
    alter::{Doomed, PolicyChange},
    read::Reading,
};
use crate::{
    layout::Position,
    refused::{Stop, refused},
};

/// Buckets that `GROUP BY time()` may make, over all groups.
const BUCKETS_MAX: u64 = 10_000_000;

/// What tells a query how late it is.
pub(crate) struct Patience<'a> {
    pub(crate) given_up: &'a AtomicBool,
    /// Whether the time is over.
    pub(crate) is_over: &'a (dyn Fn() -> bool + Sync),
}

impl SeriesStore {
    /// Answers a statement, or carries it out.
    pub(crate) fn answer(
        &self,
        now: u64,
        command: &Command<'_>,
        patience: &Patience<'_>,
    ) -> (Reply, Option<Position>) {
        let (asked, most) = match command {
            Command::Query { statement } => (statement, Class::Reads),
            Command::Alter { statement, defines: false } => (statement, Class::Writes),
            Command::Alter { statement, defines: true } => (statement, Class::Defines),
            _ => {
                let refusal = Refusal::new(Code::Invalid, "the command is not one of time series");
                return (Reply::Refused(refusal), None);
            }
        };
        let reply = match self.try_answer(now, asked, most, patience) {
            Ok(answer) => Reply::Answer(answer),
            Err(Stop::Refused(refusal)) => Reply::Refused(refusal),
            Err(Stop::Failed(error)) => Reply::Refused(refused(&error)),
        };
        (reply, self.shown_at())
    }

    fn try_answer(
        &self,
        now: u64,
        asked: &Asked<'_>,
        most: Class,
        patience: &Patience<'_>,
    ) -> Result<Answer, Stop> {
        let text = |bytes| str::from_utf8(bytes).map_err(|_| invalid("the statement is not UTF-8"));
        let (database, policy) = (text(&asked.database)?, text(&asked.policy)?);
        let dialect = if asked.relaxed { Dialect::Relaxed } else { Dialect::Strict };
        let statements = olivine_query::parse(text(&asked.text)?, dialect)
            .map_err(|error| invalid(error.to_string()))?;
        let [statement] = &statements[..] else {
            return Err(invalid("one statement is carried out at a time").into());
        };
        let is_within = match statement.class() {
            Class::Reads => true,
            Class::Writes => most != Class::Reads,
            Class::Defines => most == Class::Defines,
        };
        if !is_within {
            return Err(invalid("the statement changes more than was asked for").into());
        }
        let stop = || {
            if patience.given_up.load(Relaxed) {
                Some(Stopped::Gone)
            } else {
                (patience.is_over)().then_some(Stopped::TooLong)
            }
        };
        let bytes_max = match asked.bytes_max {
            0 => self.query_bytes_max,
            bytes => bytes.min(self.query_bytes_max),
        };
        let limits = Limits {
            points_max: asked.points_max,
            bytes_max,
            buckets_max: BUCKETS_MAX,
            series_max: 0,
        };
        let settings = Settings {
            now: i64::try_from(now.saturating_mul(1_000_000)).unwrap_or(i64::MAX),
            database,
            policy,
            limits,
            stop: &stop,
            zone: &|name| self.zone(name),
            helpers: Some(&self.helpers),
        };
        let source = Reading { store: self, tags_bytes_max: bytes_max as usize, stop: &stop };
        if statement.class() == Class::Reads {
            return olivine_query::answer(statement, &source, &settings).map_err(unanswered);
        }
        self.carry_out(statement, &source, &settings, now)
    }

    /// The time zone of a name, as the machine's files tell it.
    fn zone(&self, name: &str) -> Option<Box<dyn Zone>> {
        const ZONES: &str = "/usr/share/zoneinfo";
        const BYTES_MAX: u64 = 1 << 16;
        if name == "UTC" || name.is_empty() {
            return Some(Box::new(ZoneFile::utc()));
        }
        let is_name = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphabetic())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte))
        };
        if !name.split('/').all(is_name) {
            return None;
        }
        let file = self.disk.open(&Path::new(ZONES).join(name), Open::Read).ok()?;
        let length = file.len().ok().filter(|length| *length <= BYTES_MAX)?;
        let mut bytes = vec![0; length as usize];
        let mut at = 0;
        while at < bytes.len() {
            match file.read_at(&mut bytes[at..], at as u64) {
                Ok(0) | Err(_) => return None,
                Ok(count) => at += count,
            }
        }
        ZoneFile::read(&bytes).map(|zone| Box::new(zone) as Box<dyn Zone>)
    }

    fn carry_out(
        &self,
        statement: &Statement,
        source: &Reading<'_>,
        settings: &Settings<'_>,
        now: u64,
    ) -> Result<Answer, Stop> {
        match statement {
            Statement::CreateDatabase { name, policy } => {
                let policy =
                    policy.as_ref().map(|(name, clauses)| (name.as_str(), change(clauses)));
                let policy = policy.as_ref().map(|(name, change)| (*name, change));
                self.create_database(name, policy)?;
            }
            Statement::DropDatabase(name) => self.drop_buckets(name, None)?,
            Statement::CreatePolicy { name, database, clauses } => {
                self.set_policy(database, name, &change(clauses), true)?;
            }
            Statement::AlterPolicy { name, database, clauses } => {
                self.set_policy(database, name, &change(clauses), false)?;
            }
            Statement::DropPolicy { name, database } => self.drop_buckets(database, Some(name))?,
            Statement::DropMeasurement(name) => {
                if settings.database.is_empty() {
                    return Err(invalid("database name required").into());
                }
                // One that is not there is no error, as with InfluxDB.
                self.drop_measurement(settings.database, name)?;
            }
            Statement::DropSeries(_) | Statement::Delete(_) => {
                let drops_series = matches!(statement, Statement::DropSeries(_));
                let all = olivine_query::doomed(statement, source, settings).map_err(unanswered)?;
                for doomed in all {
                    self.take_away(&doomed, source, drops_series)?;
                }
            }
            Statement::Select(select) => {
                let answer =
                    olivine_query::answer(statement, source, settings).map_err(unanswered)?;
                let written =
                    olivine_query::written(select, &answer, settings).map_err(unanswered)?;
                let count = self.write_answer(now, &written)?;
                return Ok(olivine_query::written_answer(count));
            }
            _ => return Err(invalid("the statement is none that can be carried out").into()),
        }
        Ok(Answer::default())
    }

    /// Takes away what a statement dooms in one measurement.
    fn take_away(
        &self,
        doomed: &olivine_query::Doomed,
        source: &Reading<'_>,
        drops_series: bool,
    ) -> Result<(), Stop> {
        let olivine_query::Doomed { database, policy, measurement, filter, from, to, rows } =
            doomed;
        let (from, to) = (*from, *to);
        let rows: Vec<Doomed> = if let Some(rows) = rows {
            let doomed = |(series, times): &(Series, Vec<i64>)| {
                let (series, times) = (series.clone(), Some(times.clone()));
                Doomed { series, from, to, times }
            };
            rows.iter().map(doomed).collect()
        } else {
            let place = Place { database, policy };
            let found = source.series(place, measurement, filter, from, to);
            let found = found.map_err(|fault| unanswered(fault.into()))?;
            if drops_series {
                return self.drop_series(database, policy, measurement, &found);
            }
            found.into_iter().map(|series| Doomed { series, from, to, times: None }).collect()
        };
        self.delete_rows(database, policy, measurement, &rows)
    }

    /// Writes what a SELECT has answered. Returns how many points that are.
    fn write_answer(&self, now: u64, written: &olivine_query::Written) -> Result<u64, Stop> {
        let target = Target {
            database: written.database.as_bytes(),
            policy: written.policy.as_bytes(),
            makes_database: false,
            all_or_none: false,
        };
        let mut request = PointsWrite::of(target, &written.points);
        let (reply, _) = loop {
            match self.write_slice(now, &mut request, SLICE_UNITS_MAX, true) {
                Ok(None) => {}
                // Nobody but this thread waits, and it may as well make room.
                Err(Stop::Failed(Error::Busy { .. })) if self.work(now)? => {}
                Ok(Some(written)) => break written,
                Err(stop) => return Err(stop),
            }
        };
        let Reply::Written { stored, rejected } = reply else { return Ok(0) };
        match rejected.first() {
            Some(first) => {
                let text = format!(
                    "partial write: {} dropped={} of the {} points of the answer",
                    first.why,
                    written.count - stored,
                    written.count
                );
                Err(invalid(text).into())
            }
            None => Ok(stored),
        }
    }
}

fn change(clauses: &PolicyClauses) -> PolicyChange {
    let PolicyClauses { duration, partition, is_default, .. } = clauses;
    PolicyChange { duration: *duration, partition: *partition, is_default: *is_default }
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(Code::Invalid, text)
}

/// Why a query was not answered.
fn unanswered(error: QueryError) -> Stop {
    let code = match &error {
        QueryError::NoDatabase(_) | QueryError::NoPolicy(_) => Code::Missing,
        QueryError::Limit(_) | QueryError::Stopped(_) => Code::TooLarge,
        QueryError::Failed(_) => Code::Failed,
        _ => Code::Invalid,
    };
    Stop::Refused(Refusal::new(code, error.to_string()))
}
