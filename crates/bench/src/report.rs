//! The table a run ends with: every workload, every engine, what it did and what it used.

use std::{fmt::Write as _, time::Duration};

use crate::{
    args::Args,
    bars,
    row::{IN_MEMORY, Row, Unit},
    run::{EngineRows, Findings},
};

/// The engines whose better one is the measure, with the ways in which one of them is set up.
pub(crate) const MEASURE: [&str; 3] = ["rocksdb", "rocksdb-blob", "fjall"];

const HEAD: [&str; 14] = [
    "workload",
    "engine",
    "median (min..max)",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "CPU s/M",
    "RSS MB",
    "disk MB",
    "written MB",
    "others",
    "ratio",
    "CPU ratio",
];

/// Everything, as text.
pub(crate) fn render(args: &Args, findings: &Findings, took: Duration) -> String {
    let mut text = head(args, findings);
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    let mut notes = vec![String::from("note")];
    for row in &findings.machine {
        let cells = vec![row.workload.clone(), "machine".into()];
        lines.push(cells.into_iter().chain(figures(std::slice::from_ref(row))).collect());
        notes.push(row.note.clone());
    }
    for workload in &findings.workloads {
        for (engine, rows) in &findings.engines {
            let Some(rows) = rows.get(workload) else { continue };
            let mut cells = vec![workload.clone(), engine.clone()];
            cells.extend(figures(rows));
            if engine == "olivine" {
                for ratio in [ratio(findings, workload), cpu_ratio(findings, workload)] {
                    cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x")));
                }
            }
            lines.push(cells);
            notes.push(rows[0].note.clone());
        }
    }
    align(&mut text, &lines, &notes);
    if !findings.kills.is_empty() {
        text.push_str("\nafter kill -9, looked for by another process:\n");
        for kill in &findings.kills {
            writeln!(text, "  {kill}").expect(IN_MEMORY);
        }
    }
    text.push_str(&bars::render(findings));
    writeln!(text, "\ntook {:.0} s", took.as_secs_f64()).expect(IN_MEMORY);
    text
}

fn head(args: &Args, findings: &Findings) -> String {
    let mut text = String::new();
    for about in &findings.about {
        text.push_str(about);
        text.push('\n');
    }
    write!(text,
        "all: {} records, keys of 16 bytes in hashed order (/user: `user:%012d`, /shared: 40 bytes \
         of which 30 are the same), values of 100 bytes that lz4 halves, {} MiB of memory \
         (4/5 cache, 1/5 memtable), {} rounds, one process and directory each, engines in turns.\n\
         Rates count the operations alone; one operation in eight is timed by itself where it takes \
         about a microsecond, all of them elsewhere, and a latency holds one clock read. CPU, RSS \
         and bytes written of rows that write hold the settling after them. `others`: processors held by other processes; above 0.2 the row is \
         noise. `ratio` is the median \
         over the rounds of Olivine against the better of RocksDB and fjall; above 1 Olivine is \
         better. `CPU ratio` is the same for processor time, which other processes disturb less.\n\n",
        args.records,
        args.memory_bytes >> 20,
        args.rounds
    ).expect(IN_MEMORY);
    text
}

fn figures(rows: &[Row]) -> Vec<String> {
    let mut values: Vec<f64> = rows.iter().map(|row| row.value).collect();
    values.sort_by(f64::total_cmp);
    let show = match rows[0].unit {
        Unit::PerSecond => rate,
        Unit::Millis => millis,
    };
    let value = match values.as_slice() {
        [only] => show(*only),
        [least, .., most] => {
            format!("{} ({}..{})", show(median(&values)), show(*least), show(*most))
        }
        [] => String::new(),
    };
    let mut cells = vec![value];
    let columns = [
        ("p50_us", 2),
        ("p99_us", 2),
        ("p999_us", 2),
        ("max_us", 0),
        ("cpu_s_per_m", 2),
        ("rss_mb", 0),
        ("disk_mb", 0),
        ("written_mb", 0),
        ("others_cores", 1),
    ];
    for (name, digits) in columns {
        let figure = median_of(rows, name);
        cells.push(figure.map_or(String::new(), |figure| format!("{figure:.digits$}")));
    }
    cells
}

fn align(text: &mut String, lines: &[Vec<String>], notes: &[String]) {
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0)
        })
        .collect();
    for (line, note) in lines.iter().zip(notes) {
        let mut row = String::new();
        for (column, width) in widths.iter().enumerate() {
            let cell = line.get(column).map_or("", String::as_str);
            if column < 2 {
                write!(row, "{cell:<width$}  ").expect(IN_MEMORY);
            } else {
                write!(row, "{cell:>width$}  ").expect(IN_MEMORY);
            }
        }
        row.push_str(note);
        text.push_str(row.trim_end());
        text.push('\n');
    }
}

/// The median over the rounds of Olivine's figure against the better rival's of the same round.
pub(crate) fn ratio(findings: &Findings, workload: &str) -> Option<f64> {
    ratio_to(findings, workload, &MEASURE, |row| Some(goodness(row)))
}

/// The same against one engine, whatever it is.
pub(crate) fn ratio_to_one(findings: &Findings, workload: &str, rival: &str) -> Option<f64> {
    ratio_to(findings, workload, &[rival], |row| Some(goodness(row)))
}

/// More is better.
fn goodness(row: &Row) -> f64 {
    match row.unit {
        Unit::PerSecond => row.value,
        Unit::Millis => 1.0 / row.value,
    }
}

/// The same for the processor time of an operation, which other processes disturb less.
fn cpu_ratio(findings: &Findings, workload: &str) -> Option<f64> {
    ratio_to(findings, workload, &MEASURE, |row| Some(1.0 / row.figures.get("cpu_s_per_m")?))
}

/// The median over the rounds of Olivine's goodness against the best one of `rivals`.
pub(crate) fn ratio_to(
    findings: &Findings,
    workload: &str,
    rivals: &[&str],
    goodness: impl Fn(&Row) -> Option<f64>,
) -> Option<f64> {
    let ours = rows(findings, "olivine", workload)?;
    let rivals: Vec<&Vec<Row>> =
        rivals.iter().filter_map(|rival| rows(findings, rival, workload)).collect();
    let mut ratios = Vec::new();
    for (round, row) in ours.iter().enumerate() {
        let of_rivals = rivals.iter().filter_map(|rows| goodness(rows.get(round)?));
        ratios.push(goodness(row)? / of_rivals.reduce(f64::max)?);
    }
    ratios.sort_by(f64::total_cmp);
    Some(median(&ratios))
}

/// The rows of an engine's workload, unless there are none.
pub(crate) fn rows<'a>(
    findings: &'a Findings,
    engine: &str,
    workload: &str,
) -> Option<&'a Vec<Row>> {
    let (_, rows): &(String, EngineRows) =
        findings.engines.iter().find(|(name, _)| name == engine)?;
    rows.get(workload).filter(|rows| !rows.is_empty())
}

/// The median of a figure over the rounds.
pub(crate) fn median_of(rows: &[Row], figure: &str) -> Option<f64> {
    let mut values: Vec<f64> =
        rows.iter().filter_map(|row| row.figures.get(figure)).copied().collect();
    values.sort_by(f64::total_cmp);
    if values.is_empty() { None } else { Some(median(&values)) }
}

/// Of sorted values, at least one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn rate(value: f64) -> String {
    match value {
        v if 10e6 <= v => format!("{:.1} M/s", v / 1e6),
        v if 1e6 <= v => format!("{:.2} M/s", v / 1e6),
        v if 100e3 <= v => format!("{:.0} k/s", v / 1e3),
        v if 1e3 <= v => format!("{:.1} k/s", v / 1e3),
        v => format!("{v:.1} /s"),
    }
}

fn millis(value: f64) -> String {
    if value < 10.0 { format!("{value:.2} ms") } else { format!("{value:.0} ms") }
}
