//! What Olivine wants to reach, beside what it reached in this run.

use std::fmt::Write as _;

use crate::{
    report::{median, median_of, ratio, rows},
    row::{IN_MEMORY, Row},
    run::Findings,
};

/// Wanted at least, against the better of RocksDB and fjall; every other row wants 1.
const RATIOS: [(&str, f64); 6] = [
    ("put_os", 2.0),
    ("put_os/2", 2.0),
    ("put_sync/16", 1.5),
    ("get_hot", 1.3),
    ("get_hot/2", 1.3),
    ("reopen_kill9", 4.0),
];

/// Whether each bar is reached, a line each; nothing without Olivine's own rows.
pub(crate) fn render(findings: &Findings) -> String {
    let mut lines = Vec::new();
    for workload in &findings.workloads {
        let wanted = RATIOS.iter().find(|(name, _)| name == workload).map_or(1.0, |bar| bar.1);
        // Opening an empty log has little to do, and every engine does it at once.
        let is_bar = !matches!(workload.as_str(), "reopen_clean" | "reopen_big_clean");
        if let (true, Some(reached)) = (is_bar, ratio(findings, workload)) {
            let what = format!("{workload} against the better of RocksDB and fjall");
            lines.push(at_least(&what, reached, wanted, "x"));
        }
    }
    let ours = |workload: &str| rows(findings, "olivine", workload);
    if let (Some(eight), Some(one)) = (ours("put_sync/8"), ours("put_sync/1")) {
        lines.push(at_least("8 sync threads against one", value(eight) / value(one), 4.0, "x"));
    }
    for base in ["put_os", "get_hot", "seek_next10"] {
        for kind in ["user", "shared"] {
            let other = format!("{base}/{kind}");
            if let (Some(hashed), Some(rows)) = (ours(base), ours(&other)) {
                let slower = value(hashed) / value(rows);
                lines.push(at_most(&format!("{base} against {other}"), slower, 1.4, "x"));
            }
        }
    }
    let tail = |workload: &str| median_of(ours(workload)?, "p999_us");
    if let (Some(with), Some(without)) = (tail("get_during_flush"), tail("get_beside_puts")) {
        lines.push(at_most("p99.9 of gets with flushes against without", with / without, 1.5, "x"));
    }
    if let Some(hits) = ours("get_hot").and_then(|rows| median_of(rows, "hit_percent")) {
        lines.push(at_least("hit rate of get_hot", hits, 99.9, " %"));
    }
    for (workload, limit) in [("reopen_big_clean", 50.0), ("reopen_big_kill9", 1000.0)] {
        if let Some(rows) = ours(workload) {
            lines.push(at_most(workload, value(rows), limit, " ms"));
        }
    }
    if let Some(longest) = ours("stall_puts").and_then(|rows| median_of(rows, "max_us")) {
        lines.push(at_most("longest wait of a put", longest / 1e3, 1000.0, " ms"));
    }
    let mut text = String::new();
    if !lines.is_empty() {
        text.push_str("\nbars:\n");
    }
    for line in lines {
        writeln!(text, "  {line}").expect(IN_MEMORY);
    }
    text
}

fn value(rows: &[Row]) -> f64 {
    let mut values: Vec<f64> = rows.iter().map(|row| row.value).collect();
    values.sort_by(f64::total_cmp);
    median(&values)
}

fn at_least(what: &str, reached: f64, wanted: f64, unit: &str) -> String {
    let verdict = if wanted <= reached { "ok   " } else { "short" };
    format!("{verdict} {what}: {reached:.2}{unit}, wanted at least {wanted}{unit}")
}

fn at_most(what: &str, reached: f64, wanted: f64, unit: &str) -> String {
    let verdict = if reached <= wanted { "ok   " } else { "short" };
    format!("{verdict} {what}: {reached:.2}{unit}, wanted at most {wanted}{unit}")
}
