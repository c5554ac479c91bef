//! `olivine-bench chunks`: how small chunks of time series are, and what making and reading them costs.
//!
//! 1. What is decoded is compared with what was encoded.

use crate::{
    shapes::{FIELDS, Hosts, START, STEP, Shape},
    store::Result,
};
use olivine_model::series::chunk::{Chunk, Effort, encode};
use olivine_query::source::{Column, Values};
use rustix::time::{ClockId, clock_gettime};
use std::process::ExitCode;

const HELP: &str = "\
Measures chunks of time series: bytes a sample with their share of the times and the directory, and processor time.

usage: olivine-bench chunks [options]

  --rows N      rows of a chunk (4320)
  --hosts N     chunks, of ten fields each (20)
  --rounds R    repetitions; the fastest counts (5)

Shapes are the walks of TSBS as integers, with two decimals, and as doubles in full; then more of what is measured:
counters, gauges, values that rarely change, texts, booleans.
";

/// What is wanted of bytes a sample, times included, with the effort of chunks that are written once more.
const BYTES_MAX: [(&str, f64); 3] = [("integers", 0.30), ("decimals", 1.22), ("full", 6.38)];

pub(crate) fn main(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match measure(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("olivine-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Rows of one series.
struct Rows {
    times: Vec<i64>,
    columns: Vec<Column>,
}

fn measure(words: &[String]) -> Result<()> {
    let (mut rows, mut hosts, mut rounds) = (4320, 20, 5);
    for pair in words.chunks(2) {
        let [name, value] = pair else { return Err(format!("`{}` wants a value", pair[0]).into()) };
        match name.as_str() {
            "--rows" => rows = value.parse()?,
            "--hosts" => hosts = value.parse()?,
            "--rounds" => rounds = value.parse()?,
            other => return Err(format!("no option `{other}`\n\n{HELP}").into()),
        }
    }
    println!(
        "{:10} {:5} {:>10} {:>10} {:>12} {:>12}",
        "shape", "", "B/sample", "wanted", "encode ns", "decode ns"
    );
    for shape in Shape::ALL {
        let series = walks(shape, hosts, rows);
        let wanted =
            BYTES_MAX.iter().find(|(name, _)| *name == shape.name()).map(|(_, most)| *most);
        for effort in [Effort::Hot, Effort::Cold] {
            report(shape.name(), effort, wanted, &series, rounds)?;
        }
    }
    for (name, column) in others(rows) {
        let series = [Rows { times: even(rows), columns: vec![column] }];
        report(name, Effort::Hot, None, &series, rounds)?;
    }
    Ok(())
}

/// The walks of hosts.
fn walks(shape: Shape, hosts: usize, rows: usize) -> Vec<Rows> {
    let mut walking = Hosts::new(hosts, 1);
    let series = (0..walking.count()).map(|host| {
        let mut columns = vec![Vec::with_capacity(rows); FIELDS.len()];
        for _ in 0..rows {
            for (column, value) in columns.iter_mut().zip(walking.walk(host)) {
                column.push(value);
            }
        }
        let column = |values: Vec<f64>| -> Column {
            let values = match shape {
                Shape::Integers => {
                    Values::Integer(values.iter().map(|value| *value as i64).collect())
                }
                Shape::Decimals => {
                    let rounded = values.iter().map(|value| (value * 100.0).round() / 100.0);
                    Values::Float(rounded.collect())
                }
                Shape::Full => Values::Float(values),
            };
            Column { values, present: None }
        };
        Rows { times: even(rows), columns: columns.into_iter().map(column).collect() }
    });
    series.collect()
}

fn even(rows: usize) -> Vec<i64> {
    (0..).map(|row| START + row * STEP).take(rows).collect()
}

/// Processor time of this thread: what others do on the machine counts less than with a clock.
fn nanoseconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What else there is to measure.
fn others(rows: usize) -> Vec<(&'static str, Column)> {
    let mut draw = Hosts::new(1, 7);
    let mut walk =
        |factor: f64| -> Vec<f64> { (0..rows).map(|_| draw.walk(0)[0] * factor).collect() };
    let column = |values| Column { values, present: None };
    let mut total = 0;
    let counter = walk(1.0).into_iter().map(|value| {
        total += value as i64;
        total
    });
    let counter = counter.collect();
    let gauge = walk(1.0).into_iter().map(|value| (value * 10.0).round() / 10.0).collect();
    let rare = walk(1.0).into_iter().step_by(60).flat_map(|value| [value.round(); 60]).take(rows);
    let rare = rare.collect();
    let states =
        walk(0.05).into_iter().map(|value| ["up", "down", "unknown"][value as usize % 3].into());
    let states = states.collect();
    let lines = walk(100.0).into_iter().map(|value| format!("GET /item/{value:.0} 200").into());
    let lines = lines.collect();
    let flags = walk(1.0).into_iter().map(|value| 50.0 < value).collect();
    let constant = vec![100; rows];
    vec![
        ("counter", column(Values::Integer(counter))),
        ("gauge", column(Values::Float(gauge))),
        ("rare", column(Values::Float(rare))),
        ("constant", column(Values::Integer(constant))),
        ("states", column(Values::Text(states))),
        ("lines", column(Values::Text(lines))),
        ("flags", column(Values::Boolean(flags))),
    ]
}

fn report(
    name: &str,
    effort: Effort,
    wanted: Option<f64>,
    series: &[Rows],
    rounds: u32,
) -> Result<()> {
    let samples: usize = series.iter().map(|rows| rows.times.len() * rows.columns.len()).sum();
    let (mut encoding, mut decoding) = (f64::MAX, f64::MAX);
    let mut bytes = 0;
    let numbered: Vec<Vec<(u32, &Column)>> =
        series.iter().map(|rows| (0..).zip(&rows.columns).collect()).collect();
    for _ in 0..rounds {
        let began = nanoseconds();
        let chunks = series.iter().zip(&numbered);
        let chunks = chunks.map(|(rows, columns)| encode(&rows.times, columns, effort));
        let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
        encoding = encoding.min((nanoseconds() - began) / samples as f64);
        bytes = chunks.iter().map(Vec::len).sum::<usize>();
        decoding = decoding.min(decode(&chunks, series)? / samples as f64);
    }
    let size = bytes as f64 / samples as f64;
    let effort = format!("{effort:?}").to_lowercase();
    let wanted = wanted.map_or(String::new(), |most| {
        format!("{most:.2}{}", if most < size { " above" } else { "" })
    });
    println!("{name:10} {effort:5} {size:10.3} {wanted:>10} {encoding:12.1} {decoding:12.2}");
    Ok(())
}

/// Nanoseconds that decoding all of it took; what it comes to is compared once it is over.
fn decode(chunks: &[Vec<u8>], series: &[Rows]) -> Result<f64> {
    let (mut times, mut column, mut spent) = (Vec::new(), Column::default(), 0.0);
    for (bytes, rows) in chunks.iter().zip(series) {
        let began = nanoseconds();
        let chunk = Chunk::parse(bytes)?;
        times.clear();
        chunk.times()?.extend(0..chunk.rows(), &mut times);
        spent += nanoseconds() - began;
        if times != rows.times {
            return Err("times came back differently".into());
        }
        for (field, expected) in (0..).zip(&rows.columns) {
            let began = nanoseconds();
            chunk.column(field, &mut column)?;
            spent += nanoseconds() - began;
            if column != *expected {
                return Err("a column came back differently".into());
            }
        }
    }
    Ok(spent)
}
