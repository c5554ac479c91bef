//! `olivine-bench series`: time series of Olivine beside VictoriaMetrics and InfluxDB, in one run.
//!
//! Rows are those of TSBS for processors, in line protocol over one connection; then its questions are asked, and
//! a hundred thousand hosts send a few rows each. Each database is a process of its own, one at a time.
//!
//! 1. All get the same lines in the same batches, and the same questions.
//! 2. Answers to InfluxQL of two databases are compared row by row, and how many are alike is told.
//! 3. Processor time is what the process of the database took, merging included.

mod ask;
pub(crate) mod client;
mod peer;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    shapes::{FIELDS, Hosts, START, STEP, Shape},
    store::Result,
};
use ask::{About, SHAPES};
use client::Client;
use peer::{Disk, Kind, Peer};

const HELP: &str = "\
Measures time series of Olivine beside VictoriaMetrics and InfluxDB, which Debian has (packages victoria-metrics and
influxdb; neither has to run as a service).

usage: olivine-bench series [options]

  --samples N       values that each database is sent, of each shape (10000000)
  --hosts N         hosts that they are of, ten fields each (100)
  --many N          hosts of the run that measures memory; 0 leaves it out (100000)
  --rounds R        repetitions; databases take turns (1)
  --questions N     questions of each kind; 0 leaves them out (50)
  --shapes LIST     integers, decimals, full (all)
  --only LIST       olivine (or `ours`), victoria, influx (all)
  --dir DIR         where their data lies (target/bench-series)

examples:
  olivine-bench series
  olivine-bench series --only ours --samples 2000000 --shapes integers
";

/// Rows of one request.
const BATCH_ROWS: usize = 10_000;
/// Rows of each of many hosts.
const MANY_ROWS: usize = 2;

struct Args {
    samples: usize,
    hosts: usize,
    many: usize,
    rounds: usize,
    questions: u64,
    shapes: Vec<Shape>,
    only: Vec<Kind>,
    dir: PathBuf,
}

/// What sending rows came to.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Processor time for a million samples, until the last was acknowledged, and until all was merged.
    acked: f64,
    merged: f64,
    /// Million samples a second of the clock.
    rate: f64,
    /// Bytes a sample.
    data: f64,
    index: f64,
    /// Whether the database was told to merge.
    told: bool,
}

/// How long the questions of one kind took, and what was answered.
#[derive(Clone, Debug)]
struct Answered {
    median: Duration,
    answers: Vec<u64>,
}

/// All that was found.
#[derive(Default)]
struct Findings {
    sent: BTreeMap<(usize, Kind), Vec<Sent>>,
    /// By the number of the kind of question; with whether it was PromQL.
    answered: BTreeMap<(usize, Kind), Vec<Answered>>,
    /// Memory of each tag set and field.
    memory: BTreeMap<Kind, Vec<f64>>,
}

pub(crate) fn main(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match args(words).and_then(|args| measure(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("olivine-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn args(words: Vec<String>) -> Result<Args> {
    let mut args = Args {
        samples: 10_000_000,
        hosts: 100,
        many: 100_000,
        rounds: 1,
        questions: 50,
        shapes: Shape::ALL.to_vec(),
        only: Kind::ALL.to_vec(),
        dir: "target/bench-series".into(),
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` wants a value"))?;
        match word.as_str() {
            "--samples" => args.samples = value.parse()?,
            "--hosts" => args.hosts = value.parse()?,
            "--many" => args.many = value.parse()?,
            "--rounds" => args.rounds = value.parse()?,
            "--questions" => args.questions = value.parse()?,
            "--shapes" => args.shapes = list(&value, &Shape::ALL, Shape::name)?,
            "--only" => {
                let value = value.replace("ours", Kind::Olivine.name());
                args.only = list(&value, &Kind::ALL, Kind::name)?;
            }
            "--dir" => args.dir = value.into(),
            other => return Err(format!("no option `{other}`\n\n{HELP}").into()),
        }
    }
    if args.hosts == 0 || args.samples < args.hosts * FIELDS.len() {
        return Err("`--samples` is at least ten a host, and `--hosts` at least 1".into());
    }
    Ok(args)
}

/// Those of `all` that a list names.
fn list<T: Copy>(value: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>> {
    let find = |word: &str| {
        let found = all.iter().copied().find(|one| name(*one) == word);
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        found.ok_or_else(|| format!("{word:?} is none of {}", names.join(", ")).into())
    };
    value.split(',').map(find).collect()
}

fn measure(args: &Args) -> Result<()> {
    for kind in &args.only {
        kind.program()?;
    }
    let mut findings = Findings::default();
    for round in 0..args.rounds {
        let mut turns = args.only.clone();
        turns.rotate_left(round % args.only.len());
        for kind in turns {
            for (number, shape) in args.shapes.iter().enumerate() {
                let peer = Peer::start(kind, &args.dir.join(kind.name()))?;
                let sent = send(&peer, args, *shape)?;
                eprintln!("{} {}: {sent:.3?}", kind.name(), shape.name());
                findings.sent.entry((number, kind)).or_default().push(sent);
                // TSBS asks about integers; the first shape stands for them where they are left out.
                if number == 0 && 0 < args.questions {
                    ask_all(&peer, args, &mut findings)?;
                }
            }
            if 0 < args.many {
                let peer = Peer::start(kind, &args.dir.join(kind.name()))?;
                let bytes = many(&peer, args.many)?;
                eprintln!("{} {} hosts: {bytes:.0} B a tag set and field", kind.name(), args.many);
                findings.memory.entry(kind).or_default().push(bytes);
            }
        }
    }
    drop(std::fs::remove_dir_all(&args.dir));
    print!("{}", report(args, &findings));
    Ok(())
}

/// Where points are written.
fn write_target(kind: Kind) -> &'static str {
    match kind {
        Kind::VictoriaMetrics => "/write?precision=ns",
        Kind::Olivine | Kind::Influx => "/write?db=bench&precision=ns",
    }
}

/// Sends rows of hosts that take turns; the clock stands still while lines are made.
fn send_rows(peer: &Peer, hosts: &mut Hosts, rows: usize, shape: Shape) -> Result<Duration> {
    let mut client = Client::connect(peer.port)?;
    let (target, count) = (write_target(peer.kind), hosts.count());
    let (mut elapsed, mut body) = (Duration::ZERO, String::new());
    for start in (0..rows).step_by(BATCH_ROWS) {
        body.clear();
        for row in start..rows.min(start + BATCH_ROWS) {
            let time = START + (row / count).cast_signed() as i64 * STEP;
            hosts.push_line(row % count, time, shape, &mut body);
        }
        let began = Instant::now();
        client.post(target, body.as_bytes())?.good("a write")?;
        elapsed += began.elapsed();
    }
    Ok(elapsed)
}

fn send(peer: &Peer, args: &Args, shape: Shape) -> Result<Sent> {
    let rows = args.samples / FIELDS.len();
    let mut hosts = Hosts::new(args.hosts, 1);
    let before = peer.cpu()?;
    let elapsed = send_rows(peer, &mut hosts, rows, shape)?;
    let acked = peer.cpu()?.saturating_sub(before);
    let told = peer.settle()?;
    let merged = peer.cpu()?.saturating_sub(before);
    let Disk { data_bytes, index_bytes } = peer.disk()?;
    let samples = (rows * FIELDS.len()) as f64;
    Ok(Sent {
        acked: acked.as_secs_f64() * 1e6 / samples,
        merged: merged.as_secs_f64() * 1e6 / samples,
        rate: samples / elapsed.as_secs_f64() / 1e6,
        data: data_bytes as f64 / samples,
        index: index_bytes as f64 / samples,
        told,
    })
}

/// Memory that each tag set and field of many hosts takes.
fn many(peer: &Peer, hosts: usize) -> Result<f64> {
    let before = peer.resident_bytes()?;
    send_rows(peer, &mut Hosts::new(hosts, 2), hosts * MANY_ROWS, Shape::Integers)?;
    let grown = peer.resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / (hosts * FIELDS.len()) as f64)
}

/// Asks everything that TSBS asks.
fn ask_all(peer: &Peer, args: &Args, findings: &mut Findings) -> Result<()> {
    let steps = (args.samples / FIELDS.len()).div_ceil(args.hosts);
    let about = About { hosts: args.hosts as u64, end: START + steps.cast_signed() as i64 * STEP };
    let mut client = Client::connect(peer.port)?;
    for (number, shape) in SHAPES.iter().enumerate() {
        let (mut times, mut answers) = (Vec::new(), Vec::new());
        for question in 0..args.questions {
            let question = shape.question(about, question);
            let target = match peer.kind {
                Kind::VictoriaMetrics => question.prom_target(),
                Kind::Olivine | Kind::Influx => Some(question.influx_target()),
            };
            let Some(target) = target else { break };
            let began = Instant::now();
            let body = client.get(&target)?.good(shape.name)?;
            times.push(began.elapsed());
            if body.len() < 120 {
                let body = body.escape_ascii();
                return Err(format!("{}: {} answers {body}", peer.kind.name(), shape.name).into());
            }
            answers.push(digest(&body));
        }
        times.sort_unstable();
        let Some(median) = times.get(times.len() / 2).copied() else { continue };
        eprintln!("{} {}: {median:.2?}", peer.kind.name(), shape.name);
        let answered = Answered { median, answers };
        findings.answered.entry((number, peer.kind)).or_default().push(answered);
    }
    Ok(())
}

/// What the rows of an answer come to, whatever their order: that of rows of one time is nobody's promise.
fn digest(body: &[u8]) -> u64 {
    let rows = body.trim_ascii().split(|byte| matches!(byte, b'[' | b']'));
    rows.map(xxh3_64).fold(0, u64::wrapping_add)
}

/// The middle one of what was measured in all rounds.
fn median<T>(figures: Option<&Vec<T>>, of: impl Fn(&T) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = figures?.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn report(args: &Args, findings: &Findings) -> String {
    let mut out = String::new();
    report_sent(args, findings, &mut out);
    report_answers(args, findings, &mut out);
    report_memory(args, findings, &mut out);
    report_bars(args, findings, &mut out);
    out
}

fn report_sent(args: &Args, findings: &Findings, out: &mut String) {
    let _infallible = writeln!(
        out,
        "{} samples of {} hosts, {BATCH_ROWS} rows a request over one connection\n\n\
         {:10} {:10} {:>14} {:>14} {:>10} {:>10} {:>10}",
        args.samples,
        args.hosts,
        "shape",
        "database",
        "CPU s/M acked",
        "CPU s/M merged",
        "M/s",
        "B/sample",
        "index B",
    );
    for (number, shape) in args.shapes.iter().enumerate() {
        for kind in &args.only {
            let figures = findings.sent.get(&(number, *kind));
            let of = |of: fn(&Sent) -> f64| median(figures, of).unwrap_or(f64::NAN);
            let told = figures.is_some_and(|figures| figures.iter().all(|figure| figure.told));
            let _infallible = writeln!(
                out,
                "{:10} {:10} {:14.3} {:14.3} {:10.2} {:10.3} {:10.3}{}",
                shape.name(),
                kind.name(),
                of(|sent| sent.acked),
                of(|sent| sent.merged),
                of(|sent| sent.rate),
                of(|sent| sent.data),
                of(|sent| sent.index),
                if told { "" } else { "  not told to merge" },
            );
        }
    }
}

fn report_answers(args: &Args, findings: &Findings, out: &mut String) {
    if args.questions == 0 {
        return;
    }
    let _infallible = write!(out, "\n{:24}", "question, median ms");
    for kind in &args.only {
        let _infallible = write!(out, " {:>10}", kind.name());
    }
    out.push_str("  answers alike\n");
    for (number, shape) in SHAPES.iter().enumerate() {
        let _infallible = write!(out, "{:24}", shape.name);
        for kind in &args.only {
            let _infallible = match latency(findings, number, *kind) {
                Some(seconds) => write!(out, " {:10.3}", seconds * 1e3),
                None => write!(out, " {:>10}", "-"),
            };
        }
        let of = |kind| Some(&findings.answered.get(&(number, kind))?.first()?.answers);
        if let (Some(ours), Some(theirs)) = (of(Kind::Olivine), of(Kind::Influx)) {
            let alike = ours.iter().zip(theirs).filter(|(ours, theirs)| ours == theirs).count();
            let _infallible = write!(out, "  {alike} of {}", ours.len());
        }
        out.push('\n');
    }
}

fn latency(findings: &Findings, number: usize, kind: Kind) -> Option<f64> {
    median(findings.answered.get(&(number, kind)), |answered| answered.median.as_secs_f64())
}

fn report_memory(args: &Args, findings: &Findings, out: &mut String) {
    if findings.memory.is_empty() {
        return;
    }
    let _infallible = writeln!(out, "\n{} hosts, B of memory a tag set and field", args.many);
    for kind in &args.only {
        if let Some(bytes) = median(findings.memory.get(kind), |bytes| *bytes) {
            let _infallible = writeln!(out, "{:24} {bytes:10.0}", kind.name());
        }
    }
}

/// What is wanted, and what was reached.
fn report_bars(args: &Args, findings: &Findings, out: &mut String) {
    let mut bars: Vec<(String, f64, Option<f64>)> = Vec::new();
    for (number, shape) in args.shapes.iter().enumerate() {
        let of = |kind, of: fn(&Sent) -> f64| median(findings.sent.get(&(number, kind)), of);
        let ratio = |value: fn(&Sent) -> f64| {
            Some(of(Kind::Olivine, value)? / of(Kind::VictoriaMetrics, value)?)
        };
        let name = shape.name();
        let bytes_max = if *shape == Shape::Integers { 0.8 } else { 1.0 };
        bars.push((
            format!("CPU until acknowledged, of victoria's, {name}"),
            0.4,
            ratio(|s| s.acked),
        ));
        bars.push((format!("CPU until merged, of victoria's, {name}"), 0.4, ratio(|s| s.merged)));
        bars.push((format!("bytes, of victoria's, {name}"), bytes_max, ratio(|s| s.data)));
    }
    for (number, shape) in SHAPES.iter().enumerate() {
        let ours = latency(findings, number, Kind::Olivine);
        for kind in [Kind::Influx, Kind::VictoriaMetrics] {
            let ratio =
                ours.zip(latency(findings, number, kind)).map(|(ours, theirs)| ours / theirs);
            bars.push((format!("{}, of {}'s time", shape.name, kind.name()), 1.0, ratio));
        }
    }
    let memory = median(findings.memory.get(&Kind::Olivine), |bytes| *bytes);
    bars.push(("B of memory a tag set and field".to_owned(), 700.0, memory));
    bars.retain(|(_, _, is)| is.is_some());
    if bars.is_empty() {
        return;
    }
    let _infallible = writeln!(out, "\n{:56} {:>10} {:>10}", "bar", "at most", "is");
    for (name, most, is) in bars {
        let is = is.unwrap_or(f64::NAN);
        let mark = if most < is { "  above" } else { "" };
        let _infallible = writeln!(out, "{name:56} {most:10.2} {is:10.2}{mark}");
    }
}
