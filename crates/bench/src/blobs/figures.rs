//! What was measured, and what is wanted of it.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::load::Outcome;
use crate::{histogram::Histogram, row::IN_MEMORY};

/// What one phase came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) per_second: f64,
    p50: Duration,
    p99: Duration,
    /// Processor time of the servers for one, in microseconds.
    server_micros: f64,
    client_micros: f64,
}

impl Figure {
    pub(crate) fn new(outcome: &Outcome, server: Duration) -> Figure {
        let tasks = outcome.tasks.max(1) as f64;
        Figure {
            per_second: tasks / outcome.elapsed.as_secs_f64(),
            p50: outcome.times.quantile(0.5).unwrap_or_default(),
            p99: outcome.times.quantile(0.99).unwrap_or_default(),
            server_micros: server.as_secs_f64() * 1e6 / tasks,
            client_micros: outcome.client_cpu.as_secs_f64() * 1e6 / tasks,
        }
    }

    /// Of threads that write to a file.
    pub(crate) fn bare(per_second: f64, times: &Histogram) -> Figure {
        let quantile = |quantile| times.quantile(quantile).unwrap_or_default();
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        Figure { per_second, p50, p99, server_micros: f64::NAN, client_micros: f64::NAN }
    }
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Figures {
    /// By what was done and who did it, in the order of the rounds.
    rows: BTreeMap<(&'static str, &'static str), Vec<Figure>>,
    /// What is told once for a store, by what it is and whose.
    pub(crate) sums: BTreeMap<(&'static str, &'static str), f64>,
    pub(crate) left_out: Vec<String>,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
}

/// What is wanted of a sum: its name, its unit, and the most that it may be.
const SUMS: [(&str, &str, f64); 3] = [
    ("disk beyond key and value", "B an object", 48.0),
    ("memory", "B an object", 2.0),
    ("listing", "s a million keys", 1.5),
];

/// What is wanted of ratios: what is done, against whom, and at least how many times as much.
const RATIOS: [(&str, &str, f64); 7] = [
    ("cycles", "mkv", 2.0),
    ("cycles x3", "mkv", 2.0),
    ("missing", "mkv", 1.2),
    ("redirect", "mkv", 2.5),
    ("put 1 KiB", "bare", 0.6),
    ("get 1 KiB", "nginx", 0.9),
    ("get 1 MiB", "nginx", 0.6),
];
/// Durable writes a second that are enough, whatever the bare loop reaches.
const PUTS_ENOUGH: f64 = 20_000.0;
const OURS: [&str; 4] = ["ours", "split", "ours-mkv", "split-mkv"];

impl Figures {
    pub(crate) fn add(&mut self, what: &'static str, who: &'static str, figure: Figure) {
        eprintln!("{what} {who}: {:.0}/s", figure.per_second);
        self.rows.entry((what, who)).or_default().push(figure);
    }

    fn median(&self, what: &str, who: &str, of: impl Fn(&Figure) -> f64) -> Option<f64> {
        let row = self.rows.iter().find(|((its, whose), _)| *its == what && *whose == who)?.1;
        let mut values: Vec<f64> = row.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Median of the ratios of two rows, round by round.
    fn ratio(
        &self,
        what: &'static str,
        (one, other): (&'static str, &'static str),
        of: impl Fn(&Figure) -> f64,
    ) -> Option<f64> {
        let (one, other) = (self.rows.get(&(what, one))?, self.rows.get(&(what, other))?);
        let mut ratios: Vec<f64> = one.iter().zip(other).map(|(a, b)| of(a) / of(b)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }

    pub(crate) fn report(&self) -> String {
        let mut out = format!(
            "load of the machine: {} before, {} after\n\n{:12} {:10} {:>11} {:>10} {:>10} {:>12} {:>12}\n",
            self.load_before,
            self.load_after,
            "what",
            "who",
            "a second",
            "p50 us",
            "p99 us",
            "server us",
            "client us"
        );
        for (what, who) in self.rows.keys() {
            let of = |of: fn(&Figure) -> f64| self.median(what, who, of).unwrap_or(f64::NAN);
            writeln!(
                out,
                "{what:12} {who:10} {:11.0} {:10.0} {:10.0} {:12.1} {:12.1}",
                of(|f| f.per_second),
                of(|f| f.p50.as_secs_f64() * 1e6),
                of(|f| f.p99.as_secs_f64() * 1e6),
                of(|f| f.server_micros),
                of(|f| f.client_micros),
            )
            .expect(IN_MEMORY);
        }
        for ((what, who), is) in &self.sums {
            let unit = SUMS.iter().find(|(name, ..)| name == what).map_or("", |(_, unit, _)| unit);
            writeln!(out, "{what}, {who}: {is:.2} {unit}").expect(IN_MEMORY);
        }
        out.push_str("\nbars:\n");
        for line in self.bars() {
            writeln!(out, "  {line}").expect(IN_MEMORY);
        }
        for line in &self.left_out {
            writeln!(out, "{line}").expect(IN_MEMORY);
        }
        out
    }

    /// What is wanted, and what was reached; nothing of what was not measured.
    fn bars(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, other, wanted) in RATIOS {
            for who in OURS {
                let Some(is) = self.ratio(what, (who, other), |f| f.per_second) else { continue };
                let enough = what == "put 1 KiB"
                    && self.median(what, who, |f| f.per_second).is_some_and(|p| PUTS_ENOUGH <= p);
                let name = format!("{what}, {who} against {other}");
                let or = if what == "put 1 KiB" { ", or 20,000 a second" } else { "" };
                lines.push(format!(
                    "{} {name}: {is:.2}x, at least {wanted}x{or}",
                    verdict(wanted <= is || enough)
                ));
                if what.starts_with("cycles")
                    && let Some(is) = self.ratio(what, (who, other), |f| f.server_micros)
                {
                    let name = format!("processor time of {name}");
                    lines.push(format!(
                        "{} {name}: {is:.2}x, at most 0.33x",
                        verdict(is <= 1.0 / 3.0)
                    ));
                }
            }
        }
        for (what, unit, most) in SUMS {
            for who in OURS {
                if let Some(is) = self.sums.get(&(what, who)) {
                    let verdict = verdict(*is <= most);
                    lines.push(format!("{verdict} {what}, {who}: {is:.2} {unit}, at most {most}"));
                }
            }
        }
        lines
    }

    /// Every figure of every round, an object a line.
    pub(crate) fn json(&self) -> String {
        let mut out = String::new();
        for ((what, who), figures) in &self.rows {
            for (round, figure) in figures.iter().enumerate() {
                let Figure { per_second, p50, p99, server_micros, client_micros } = figure;
                let number =
                    |v: f64| if v.is_nan() { "null".to_owned() } else { format!("{v:.3}") };
                writeln!(
                    out,
                    "{{\"what\":\"{what}\",\"who\":\"{who}\",\"round\":{round},\"per_second\":{per_second:.1},\
                     \"p50_ns\":{},\"p99_ns\":{},\"server_us\":{},\"client_us\":{}}}",
                    p50.as_nanos(),
                    p99.as_nanos(),
                    number(*server_micros),
                    number(*client_micros)
                )
                .expect(IN_MEMORY);
            }
        }
        for ((what, who), is) in &self.sums {
            writeln!(out, "{{\"what\":\"{what}\",\"who\":\"{who}\",\"is\":{is:.3}}}")
                .expect(IN_MEMORY);
        }
        out
    }
}

fn verdict(held: bool) -> &'static str {
    if held { "held    " } else { "NOT HELD" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[(&'static str, &'static str, f64, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (what, who, per_second, server_micros) in rows {
            let (p50, p99) = (Duration::ZERO, Duration::ZERO);
            let figure = Figure {
                per_second: *per_second,
                p50,
                p99,
                server_micros: *server_micros,
                client_micros: 1.0,
            };
            figures.add(what, who, figure);
        }
        figures
    }

    #[test]
    fn bars_are_of_the_same_round() {
        let text = figures(&[
            ("cycles", "ours", 300.0, 10.0),
            ("cycles", "mkv", 100.0, 40.0),
            ("cycles", "ours", 100.0, 10.0),
            ("cycles", "mkv", 90.0, 40.0),
            ("cycles", "ours", 100.0, 10.0),
            ("cycles", "mkv", 90.0, 40.0),
            ("get 1 KiB", "split", 100.0, 1.0),
        ])
        .report();
        assert!(text.contains("NOT HELD cycles, ours against mkv: 1.11x, at least 2x"), "{text}");
        assert!(text.contains("held     processor time of cycles, ours"), "{text}");
        assert!(!text.contains("against nginx"), "{text}");
    }

    #[test]
    fn many_durable_puts_are_enough() {
        let rows =
            |ours| figures(&[("put 1 KiB", "ours", ours, 1.0), ("put 1 KiB", "bare", 9e4, 0.0)]);
        assert!(rows(19_000.0).report().contains("NOT HELD put 1 KiB, ours"));
        assert!(rows(21_000.0).report().contains("held     put 1 KiB, ours"));
    }
}
