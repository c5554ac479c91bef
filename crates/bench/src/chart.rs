//! `olivine-bench chart`: draws the rows of a run, as `--json` wrote them, into a few SVG files.
//!
//! 1. Every axis begins at zero and says its unit; every bar carries its figure.
//! 2. A row has an axis of its own, so that bars are compared where comparing them means something.
//! 3. The same lines give the same bytes.

mod lines;
mod svg;

use std::{fs, path::PathBuf, process::ExitCode};

use crate::store::Result;

use lines::{Figure, Lines};
use svg::{Bar, Panel};

const HELP: &str = "\
Draws a run of the benchmarks as SVG.

usage: olivine-bench chart FILE [--out DIR]

  FILE         the rows of a run, from `olivine-bench engine --json FILE`
  --out DIR    where the charts go (docs/img)

example:
  olivine-bench chart target/bench.json --out docs/img
";

/// The engines, in the order of their bars: as the lines name them, as people do.
const ENGINES: [(&str, &str); 5] = [
    ("olivine", "Olivine"),
    ("rocksdb", "RocksDB"),
    ("rocksdb-blob", "RocksDB, blob files"),
    ("fjall", "fjall"),
    ("lmdb", "LMDB"),
];

/// One file.
struct Chart {
    file: &'static str,
    title: &'static str,
    panels: &'static [Wanted],
}

/// One panel: its title, the row, and which of its figures.
struct Wanted(&'static str, &'static str, Figure);

const RATE: Figure = Figure::Rate;
const P99: Figure = Figure::Named("p99_us", "us");
const P999: Figure = Figure::Named("p999_us", "us");
const DISK: Figure = Figure::Named("disk_mb", "MB");

const CHARTS: [Chart; 5] = [
    Chart {
        file: "bench-reads.svg",
        title: "Reads a second: more is better",
        panels: &[
            Wanted("get, in the cache", "get_hot", RATE),
            Wanted("the same, two threads", "get_hot/2", RATE),
            Wanted("get, a key that is not there", "get_missing", RATE),
            Wanted("seek and read ten", "seek_next10", RATE),
            Wanted("whole scan, records", "scan_full", RATE),
            Wanted("seek among deleted records", "seek_deleted", RATE),
        ],
    },
    Chart {
        file: "bench-writes.svg",
        title: "Writes a second: more is better",
        panels: &[
            Wanted("put, handed to the kernel", "put_os", RATE),
            Wanted("put, synced, 16 threads", "put_sync/16", RATE),
            Wanted("put ten times the memory", "put_sustained", RATE),
            Wanted("overwrite, zipfian", "overwrite_zipf", RATE),
            Wanted("bulk load of sorted input", "bulk_load", RATE),
            Wanted("put of 16 KiB", "put_16k", RATE),
        ],
    },
    Chart {
        file: "bench-ycsb.svg",
        title: "YCSB, operations a second: more is better",
        panels: &[
            Wanted("A: half updates", "ycsb_a", RATE),
            Wanted("B: 5 % updates", "ycsb_b", RATE),
            Wanted("C: reads", "ycsb_c", RATE),
            Wanted("E: scans", "ycsb_e", RATE),
            Wanted("F: half read-modify-writes", "ycsb_f", RATE),
            Wanted("queue: push and pop", "queue", RATE),
        ],
    },
    Chart {
        file: "bench-latency.svg",
        title: "Waiting, microseconds: less is better",
        panels: &[
            Wanted("get, in the cache, p99", "get_hot", P99),
            Wanted("get beside flushes, p99.9", "get_during_flush", P999),
            Wanted("put, handed to the kernel, p99", "put_os", P99),
            Wanted("put, synced, p99", "put_sync/1", P99),
            Wanted("YCSB A, p99", "ycsb_a", P99),
            Wanted("YCSB E, p99", "ycsb_e", P99),
        ],
    },
    Chart {
        file: "bench-disk.svg",
        title: "Disk: less is better",
        panels: &[
            Wanted("on disk after random puts", "fill_settle", DISK),
            Wanted("on disk, values of 16 KiB", "put_16k", DISK),
            Wanted(
                "bytes written for a byte put",
                "put_sustained",
                Figure::Named("write_amp", "times"),
            ),
        ],
    },
];

/// What the command does.
pub(crate) fn main(words: impl IntoIterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.into_iter().collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("olivine-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let (file, out) = match words {
        [file] => (file, PathBuf::from("docs/img")),
        [file, option, out] if option == "--out" => (file, PathBuf::from(out)),
        _ => return Err(format!("which file?\n\n{HELP}").into()),
    };
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let lines = Lines::parse(&text).map_err(|error| format!("{file}: {error}"))?;
    fs::create_dir_all(&out)?;
    let mut drawn = 0;
    for chart in &CHARTS {
        if let Some(svg) = draw(chart, &lines) {
            let path = out.join(chart.file);
            fs::write(&path, svg)?;
            println!("{}", path.display());
            drawn += 1;
        }
    }
    if drawn == 0 { Err(format!("{file} has no row that a chart shows").into()) } else { Ok(()) }
}

/// The chart as SVG, with the panels of which there is anything; `None` if there are none.
fn draw(chart: &Chart, lines: &Lines) -> Option<String> {
    let panels: Vec<Panel> =
        chart.panels.iter().filter_map(|wanted| panel(wanted, lines)).collect();
    if panels.is_empty() { None } else { Some(svg::render(chart.title, &lines.about(), &panels)) }
}

fn panel(Wanted(title, row, figure): &Wanted, lines: &Lines) -> Option<Panel> {
    let bars = ENGINES.iter().enumerate().filter_map(|(place, (engine, _))| {
        let value = lines.median(engine, row, *figure)?;
        Some(Bar { place, value })
    });
    let bars: Vec<Bar> = bars.collect();
    let unit = match figure {
        Figure::Rate => "/s",
        Figure::Named(_, unit) => unit,
    };
    if bars.is_empty() { None } else { Some(Panel { title, row, unit, bars }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::CHAINS;

    const TEXT: &str = "\
{\"records\":2000,\"rounds\":2,\"memory_bytes\":4194304}
{\"engine\":\"olivine\",\"round\":0,\"workload\":\"get_hot\",\"per_second\":1000,\"p99_us\":2.5}
{\"engine\":\"olivine\",\"round\":1,\"workload\":\"get_hot\",\"per_second\":3000,\"note\":\"a \\\"b\\\"\"}
{\"engine\":\"fjall\",\"round\":0,\"workload\":\"get_hot\",\"per_second\":500}
";

    #[test]
    fn bars_have_heights_in_proportion_and_stand_on_zero() {
        let lines = Lines::parse(TEXT).unwrap();
        let panel = panel(&Wanted("get", "get_hot", Figure::Rate), &lines).unwrap();
        assert_eq!(panel.bars.iter().map(|bar| bar.value).collect::<Vec<_>>(), [2000.0, 500.0]);
        let svg = draw(&CHARTS[0], &lines).unwrap();
        let heights: Vec<f64> = svg
            .split("<rect class=\"e")
            .skip(1)
            .filter_map(|rect| rect.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .filter(|height| *height != svg::SWATCH)
            .collect();
        assert_eq!(heights.len(), 2, "{svg}");
        assert!((heights[0] / heights[1] - 4.0).abs() < 0.05, "{heights:?}");
        assert!(svg.contains("2000 records") && svg.contains(">2.0 k/s<"), "{svg}");
    }

    #[test]
    fn every_charted_row_is_measured() {
        let measured: Vec<&str> = CHAINS
            .iter()
            .flat_map(|chain| chain.stages)
            .flat_map(|part| part.rows.iter().copied())
            .collect();
        for Wanted(_, row, _) in CHARTS.iter().flat_map(|chart| chart.panels) {
            assert!(measured.contains(row), "nothing measures {row}");
        }
    }
}
