//! One measured figure on its way from a child process to the table.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{drive::Tally, resources::Spent};

/// Why writing to a `String` cannot fail.
pub(crate) const IN_MEMORY: &str = "a string takes everything";

/// What `Row::value` counts, and so which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations a second: more is better.
    PerSecond,
    /// Milliseconds: less is better.
    Millis,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::PerSecond => "per_second",
            Unit::Millis => "millis",
        }
    }
}

/// One line of the table in one round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
    /// Further figures by name: `p50_us`, `cpu_s_per_m`, ...
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) note: String,
}

impl Row {
    /// A rate, with its latencies.
    pub(crate) fn rate(workload: impl Into<String>, tally: &Tally) -> Row {
        let mut row = Row {
            workload: workload.into(),
            unit: Unit::PerSecond,
            value: tally.per_second,
            figures: BTreeMap::new(),
            note: String::new(),
        };
        row.set("operations", tally.operations as f64);
        for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
            if let Some(duration) = tally.histogram.quantile(quantile) {
                row.set(name, micros(duration));
            }
        }
        row.set("max_us", micros(tally.histogram.max()));
        row
    }

    /// A duration that was measured once.
    pub(crate) fn duration(workload: impl Into<String>, duration: Duration) -> Row {
        Row {
            workload: workload.into(),
            unit: Unit::Millis,
            value: duration.as_secs_f64() * 1e3,
            figures: BTreeMap::new(),
            note: String::new(),
        }
    }

    /// The same row with what the phase used.
    pub(crate) fn spent(mut self, spent: &Spent) -> Row {
        if let Some(operations) = self.figures.get("operations") {
            let per_million = spent.cpu.as_secs_f64() * 1e6 / operations.max(1.0);
            self.set("cpu_s_per_m", per_million);
        }
        self.set("others_cores", spent.others_cores);
        self.set("rss_mb", spent.peak_bytes as f64 / 1e6);
        self.set("cpu_ms", spent.cpu.as_secs_f64() * 1e3);
        if let Some(bytes) = spent.written_bytes {
            self.set("written_mb", bytes as f64 / 1e6);
            if let Some(handed) = spent.handed_bytes {
                self.set("handed_mb", handed as f64 / 1e6);
            }
        }
        self
    }

    /// The same row with a remark.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self.note.truncate(self.note.trim_end_matches("; ").len());
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// One line, fields between tabs.
    pub(crate) fn encode(&self) -> String {
        let mut line = format!("row\t{}\t{}\t{}", self.workload, self.unit.name(), self.value);
        write!(line, "\t{}", self.note).expect(IN_MEMORY);
        for (name, value) in &self.figures {
            write!(line, "\t{name}={value}").expect(IN_MEMORY);
        }
        line
    }

    /// The row of such a line; `None` for any other line.
    pub(crate) fn decode(line: &str) -> Option<Row> {
        let mut fields = line.strip_prefix("row\t")?.split('\t');
        let workload = fields.next()?.to_owned();
        let unit = match fields.next()? {
            "per_second" => Unit::PerSecond,
            _ => Unit::Millis,
        };
        let value = fields.next()?.parse().ok()?;
        let note = fields.next()?.to_owned();
        let mut figures = BTreeMap::new();
        for field in fields {
            let (name, value) = field.split_once('=')?;
            figures.insert(name.to_owned(), value.parse().ok()?);
        }
        Some(Row { workload, unit, value, figures, note })
    }

    /// One line of JSON, for programs that compare runs.
    pub(crate) fn json(&self, engine: &str, round: u32) -> String {
        let mut line = format!(
            "{{\"engine\":\"{engine}\",\"round\":{round},\"workload\":\"{}\",\"{}\":{}",
            self.workload,
            self.unit.name(),
            self.value
        );
        for (name, value) in &self.figures {
            write!(line, ",\"{name}\":{value}").expect(IN_MEMORY);
        }
        if !self.note.is_empty() {
            write!(line, ",\"note\":{:?}", self.note).expect(IN_MEMORY);
        }
        line.push('}');
        line
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_the_pipe() {
        let mut row = Row::duration("reopen", Duration::from_millis(3)).note("three tables");
        row.set("rss_mb", 12.5);
        let back = Row::decode(&row.encode()).unwrap();
        assert_eq!(format!("{row:?}"), format!("{back:?}"));
        assert!(Row::decode("ready").is_none());
    }
}
