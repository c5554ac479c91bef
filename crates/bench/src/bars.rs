//! What Olivine wants to reach, beside what it reached in this run.

use std::fmt::Write as _;

use crate::{
    report::{MEASURE, median, median_of, ratio, ratio_to, ratio_to_one, rows},
    row::{IN_MEMORY, Row},
    run::Findings,
};

/// Wanted at least, against the better of RocksDB and fjall, by the row's name or by what stands
/// before its `/`; every other row wants 1.
const RATIOS: [(&str, f64); 17] = [
    ("put_os", 2.0),
    ("put_sync/16", 1.5),
    ("get_hot", 2.0),
    ("seek_next10", 2.0),
    ("get_missing", 1.5),
    ("scan_full", 1.5),
    ("overwrite_zipf", 1.5),
    ("put_sustained", 1.3),
    ("ycsb_a", 1.2),
    ("ycsb_b", 1.2),
    ("ycsb_c", 1.2),
    ("ycsb_e", 1.2),
    ("ycsb_f", 1.2),
    ("seek_deleted", 5.0),
    ("bulk_load", 1.0),
    ("queue", 1.0),
    ("reopen_kill9", 4.0),
];

/// Rows after which the bytes on disk may not be more than the better rival's.
const DISK: [&str; 4] = ["fill_settle", "overwrite_zipf", "put_sustained", "put_16k"];

fn wanted(workload: &str) -> f64 {
    let base = workload.split('/').next();
    let bar = |(name, _): &&(&str, f64)| *name == workload || Some(*name) == base;
    RATIOS.iter().find(bar).map_or(1.0, |(_, ratio)| *ratio)
}

/// Whether each bar is reached, a line each; nothing without Olivine's own rows.
pub(crate) fn render(findings: &Findings) -> String {
    let mut lines = Vec::new();
    for workload in &findings.workloads {
        // Opening an empty log has little to do, and every engine does it at once.
        let is_bar = !matches!(workload.as_str(), "reopen_clean" | "reopen_big_clean");
        if let (true, Some(reached)) = (is_bar, ratio(findings, workload)) {
            let what = format!("{workload} against the better of RocksDB and fjall");
            lines.push(at_least(&what, reached, wanted(workload), "x"));
        }
    }
    if let Some(reached) = ratio_to_one(findings, "get_hot", "lmdb") {
        lines.push(at_least("get_hot against LMDB", reached, 0.8, "x"));
    }
    for workload in DISK {
        let small = |row: &Row| Some(1.0 / row.figures.get("disk_mb")?);
        if let Some(reached) = ratio_to(findings, workload, &MEASURE, small) {
            let what = format!("bytes on disk after {workload} against the better's");
            lines.push(at_most(&what, 1.0 / reached, 1.0, "x"));
        }
    }
    let amplification = |row: &Row| Some(1.0 / row.figures.get("write_amp")?);
    if let Some(reached) = ratio_to(findings, "put_sustained", &["rocksdb"], amplification) {
        let what = "bytes written by put_sustained against RocksDB's";
        lines.push(at_most(what, 1.0 / reached, 1.0, "x"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, time::Duration};

    fn findings(figures: &[(&str, &str, f64, f64)]) -> Findings {
        let mut findings = Findings::default();
        for (engine, workload, value, disk) in figures {
            let mut row = Row::duration(*workload, Duration::ZERO);
            row.unit = crate::row::Unit::PerSecond;
            row.value = *value;
            row.set("disk_mb", *disk);
            let rows = BTreeMap::from([((*workload).to_owned(), vec![row])]);
            findings.engines.push(((*engine).to_owned(), rows));
            findings.workloads = vec![(*workload).to_owned()];
        }
        findings
    }

    #[test]
    fn a_row_is_held_against_the_better_rival() {
        let text = render(&findings(&[
            ("olivine", "get_hot/user", 300.0, 1.0),
            ("rocksdb", "get_hot/user", 100.0, 1.0),
            ("fjall", "get_hot/user", 200.0, 1.0),
            ("lmdb", "get_hot/user", 900.0, 1.0),
        ]));
        assert!(text.contains("short get_hot/user"), "{text}");
        assert!(text.contains("1.50x, wanted at least 2x"), "{text}");
    }

    #[test]
    fn bytes_on_disk_are_held_against_the_smaller_rival() {
        let text = render(&findings(&[
            ("olivine", "put_16k", 300.0, 50.0),
            ("rocksdb", "put_16k", 100.0, 80.0),
            ("rocksdb-blob", "put_16k", 310.0, 40.0),
        ]));
        assert!(text.contains("short bytes on disk after put_16k"), "{text}");
        assert!(text.contains("1.25x, wanted at most 1x"), "{text}");
        assert!(text.contains("short put_16k against"), "{text}");
    }
}
