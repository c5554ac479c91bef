//! The questions of TSBS, as its code asks them: in InfluxQL, and of VictoriaMetrics in PromQL where that can be said.
//!
//! 1. The same number gives the same question to everybody.

use std::fmt::Write as _;

use super::client::escaped;
use crate::{
    keys::Random,
    shapes::{FIELDS, START},
};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The greatest of so many fields of so many hosts, for hours, in so many seconds each.
    Max { fields: usize, hosts: u64, hours: i64, bucket: i64 },
    /// The mean of so many fields of each host for every hour of twelve.
    MeanByHost { fields: usize },
    /// Rows of twelve hours in which a processor is busy.
    HighCpu,
    /// The last row of each host.
    LastPoint,
    /// The greatest of all hosts, of five minutes.
    FiveMinutes,
}

pub(crate) const SHAPES: [Shape; 9] = [
    Shape {
        name: "single-groupby-1-1-1",
        what: What::Max { fields: 1, hosts: 1, hours: 1, bucket: 60 },
    },
    Shape {
        name: "single-groupby-5-8-1",
        what: What::Max { fields: 5, hosts: 8, hours: 1, bucket: 60 },
    },
    Shape {
        name: "cpu-max-all-1",
        what: What::Max { fields: 10, hosts: 1, hours: 8, bucket: 3600 },
    },
    Shape {
        name: "cpu-max-all-8",
        what: What::Max { fields: 10, hosts: 8, hours: 8, bucket: 3600 },
    },
    Shape { name: "double-groupby-1", what: What::MeanByHost { fields: 1 } },
    Shape { name: "double-groupby-all", what: What::MeanByHost { fields: 10 } },
    Shape { name: "high-cpu-all", what: What::HighCpu },
    Shape { name: "lastpoint", what: What::LastPoint },
    Shape { name: "groupby-orderby-limit", what: What::FiveMinutes },
];

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) hosts: u64,
    /// The time behind the last row.
    pub(crate) end: i64,
}

/// One question.
pub(crate) struct Question {
    what: What,
    hosts: Vec<u64>,
    from: i64,
    to: i64,
}

impl Shape {
    /// Question number `number` of this shape.
    pub(crate) fn question(self, about: About, number: u64) -> Question {
        let mut random = Random::new(number + 1);
        let hours = match self.what {
            What::Max { hours, .. } => hours,
            _ => 12,
        };
        let room = (about.end - START - hours * HOUR).max(0) / SECOND;
        let from = START + random.below(room as u64 + 1).cast_signed() * SECOND;
        let count =
            if let What::Max { hosts, .. } = self.what { hosts.min(about.hosts) } else { 0 };
        let mut hosts = Vec::new();
        while (hosts.len() as u64) < count {
            let host = random.below(about.hosts);
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        Question { what: self.what, hosts, from, to: (from + hours * HOUR).min(about.end) }
    }
}

impl Question {
    /// Where InfluxQL is asked.
    pub(crate) fn influx_target(&self) -> String {
        format!("/query?db=bench&epoch=ns&q={}", escaped(&self.influx()))
    }

    fn influx(&self) -> String {
        let Question { what, hosts, from, to } = self;
        let aggregates = |name: &str, fields: usize| -> String {
            let fields = FIELDS[..fields].iter().map(|field| format!("{name}({field})"));
            fields.collect::<Vec<_>>().join(", ")
        };
        let (from, to) = (text(*from), text(*to));
        match what {
            What::Max { fields, bucket, .. } => {
                let hosts: Vec<String> =
                    hosts.iter().map(|host| format!("hostname = 'host_{host}'")).collect();
                format!(
                    "SELECT {} FROM cpu WHERE ({}) AND time >= '{from}' AND time < '{to}' GROUP BY time({}m)",
                    aggregates("max", *fields),
                    hosts.join(" OR "),
                    bucket / 60
                )
            }
            What::MeanByHost { fields } => format!(
                "SELECT {} FROM cpu WHERE time >= '{from}' AND time < '{to}' GROUP BY time(1h), hostname",
                aggregates("mean", *fields)
            ),
            What::HighCpu => format!(
                "SELECT * FROM cpu WHERE usage_user > 90.0 AND time >= '{from}' AND time < '{to}'"
            ),
            What::LastPoint => {
                "SELECT * FROM cpu GROUP BY hostname ORDER BY time DESC LIMIT 1".to_owned()
            }
            What::FiveMinutes => format!(
                "SELECT max(usage_user) FROM cpu WHERE time < '{to}' GROUP BY time(1m) LIMIT 5"
            ),
        }
    }

    /// Where PromQL is asked, if it can say this.
    pub(crate) fn prom_target(&self) -> Option<String> {
        let Question { what, hosts, from, to } = self;
        let names = |fields: usize| format!("cpu_({})", FIELDS[..fields].join("|"));
        let (query, step) = match what {
            What::Max { fields, bucket, .. } => {
                let mut list = String::new();
                for host in hosts {
                    let bar = if list.is_empty() { "" } else { "|" };
                    let _infallible = write!(list, "{bar}host_{host}");
                }
                let names = names(*fields);
                let window = bucket / 60;
                (
                    format!(
                        "max(max_over_time({{__name__=~'{names}', hostname=~'{list}'}}[{window}m])) by (__name__)"
                    ),
                    bucket,
                )
            }
            What::MeanByHost { fields } => {
                let names = names(*fields);
                (
                    format!(
                        "avg(avg_over_time({{__name__=~'{names}'}}[1h])) by (__name__, hostname)"
                    ),
                    &3600,
                )
            }
            _ => return None,
        };
        let query = escaped(&query);
        let (from, to) = (from / SECOND, to / SECOND);
        Some(format!(
            "/api/v1/query_range?query={query}&start={from}&end={to}&step={step}&nocache=1"
        ))
    }
}

/// A time within January and February 2016, as queries write it.
fn text(time: i64) -> String {
    let seconds = (time - START) / SECOND;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (month, day) = if days < 31 { (1, days + 1) } else { (2, days - 30) };
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("2016-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_those_of_tsbs() {
        let about = About { hosts: 100, end: START + 24 * HOUR };
        let question = SHAPES[0].question(about, 0);
        let asked = question.influx();
        assert!(asked.starts_with("SELECT max(usage_user) FROM cpu WHERE (hostname = 'host_"));
        assert!(asked.ends_with("GROUP BY time(1m)"), "{asked}");
        assert_eq!(question.to - question.from, HOUR);
        assert!(question.prom_target().is_some_and(|target| target.contains("step=60")));
        assert_eq!(text(START + 31 * 24 * HOUR + 61 * SECOND), "2016-02-01T00:01:01Z");
    }
}
