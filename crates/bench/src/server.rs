//! `olivine-bench server`: Olivine's JSON door beside a plain Python server and a server that only
//! sends back what it gets, all in one run.
//!
//! 1. Servers are asked in turns, in every round again; figures are medians of the rounds.
//! 2. What the server used of the processors is told with what it answered.

mod load;
mod manners;
pub(crate) mod process;

use std::{
    collections::BTreeMap, fs, io::Write as _, path::PathBuf, process::ExitCode, time::Duration,
};

use crate::store::Result;
use load::{Load, Questions, run};
use manners::{Manners, Sizes};
use process::Server;

pub(crate) const HELP: &str = "\
Measures Olivine's JSON door over loopback, beside a plain Python server and an echo.

usage: olivine-bench server [options]

  --rounds R      repetitions; servers take turns (3)
  --seconds S     length of a phase (2)
  --dir DIR       where the stores are made (target/bench-servers)
  --json FILE     also write every figure there, one JSON object a line
  --smoke         one round, everything short: checks answers, not speed

rows are `server operation connections x depth`; depth is how many requests a connection has under way.
Answered requests a second, times from sending a group of requests to its last answer, and processor
time of the server for a request.

examples:
  olivine-bench server
  olivine-bench server --rounds 1 --seconds 1
";

/// Keys that are read and overwritten.
const KEYS: u64 = 100_000;
/// Connections and depth.
const LOADS: [(usize, usize); 6] = [(1, 1), (1, 16), (1, 64), (50, 1), (50, 16), (50, 64)];
/// What Python is asked; more connections make it slower only.
const PLAIN_LOADS: [(usize, usize); 3] = [(1, 1), (1, 16), (50, 1)];

struct Args {
    rounds: u32,
    seconds: f64,
    dir: PathBuf,
    json: Option<PathBuf>,
    smoke: bool,
}

/// A figure of one phase.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    cpu_micros: f64,
}

/// Figures by row, in the order of the rounds.
type Figures = BTreeMap<String, Vec<Figure>>;

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
    let dir = PathBuf::from("target/bench-servers");
    let mut args = Args { rounds: 3, seconds: 2.0, dir, json: None, smoke: false };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--smoke" {
            (args.rounds, args.seconds, args.smoke) = (1, 0.05, true);
            continue;
        }
        let value = words.next().ok_or_else(|| format!("`{word}` wants a value"))?;
        match word.as_str() {
            "--rounds" => args.rounds = value.parse()?,
            "--seconds" => args.seconds = value.parse()?,
            "--dir" => args.dir = value.into(),
            "--json" => args.json = Some(value.into()),
            other => return Err(format!("no option `{other}`\n\n{HELP}").into()),
        }
    }
    Ok(args)
}

fn measure(args: &Args) -> Result<()> {
    let mut figures = Figures::new();
    for round in 0..args.rounds {
        let mut turns = [echoes, plain, olivine, split];
        turns.rotate_left(round as usize % 4);
        for turn in turns {
            drop(fs::remove_dir_all(&args.dir));
            fs::create_dir_all(&args.dir)?;
            turn(args, &mut figures)?;
        }
    }
    fs::create_dir_all(&args.dir)?;
    let strangers = strangers(args)?;
    drop(fs::remove_dir_all(&args.dir));
    print(&figures);
    bars(&figures);
    print_strangers(&strangers);
    if let Some(path) = &args.json {
        write_json(path, &figures)?;
    }
    Ok(())
}

/// One phase of one process.
fn phase(
    args: &Args,
    figures: &mut Figures,
    name: &str,
    server: &Server,
    load: (usize, usize),
    questions: &mut dyn Questions,
) -> Result<()> {
    both(args, figures, name, &[server], load, questions)
}

/// One phase of the processes of a server, of which the first is asked; warmed up for a fifth of its length.
fn both(
    args: &Args,
    figures: &mut Figures,
    name: &str,
    servers: &[&Server],
    (connections, depth): (usize, usize),
    questions: &mut dyn Questions,
) -> Result<()> {
    let length = Duration::from_secs_f64(args.seconds);
    let port = servers[0].port;
    let cpu = || servers.iter().map(|server| server.cpu()).sum::<Result<Duration>>();
    run(port, Load { connections, depth, length: length / 5 }, questions)?;
    let before = cpu()?;
    let outcome = run(port, Load { connections, depth, length }, questions)?;
    let cpu = cpu()?.saturating_sub(before);
    let operations = outcome.operations as f64;
    let figure = Figure {
        per_second: operations / outcome.elapsed.as_secs_f64(),
        p50: outcome.times.quantile(0.5).unwrap_or_default(),
        p99: outcome.times.quantile(0.99).unwrap_or_default(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / operations,
    };
    let row = format!("{name} {connections}x{depth}");
    eprintln!("{row}: {:.0}/s", figure.per_second);
    figures.entry(row).or_default().push(figure);
    Ok(())
}

fn echoes(args: &Args, figures: &mut Figures) -> Result<()> {
    for (name, arguments) in [("echo", &[][..]), ("echo-multi", &["multi"])] {
        let server = Server::echo(arguments)?;
        for load in LOADS {
            phase(args, figures, &format!("{name} get"), &server, load, &mut Echo)?;
        }
    }
    let file = args.dir.join("synced");
    let server = Server::echo(&["sync", &file.to_string_lossy()])?;
    phase(args, figures, "echo-sync put", &server, (1, 1), &mut Echo)
}

fn plain(args: &Args, figures: &mut Figures) -> Result<()> {
    let server = Server::plain(&args.dir)?;
    fill(&server)?;
    for load in PLAIN_LOADS {
        phase(args, figures, "python put", &server, load, &mut Put)?;
        phase(args, figures, "python get", &server, load, &mut Get)?;
    }
    Ok(())
}

fn olivine(args: &Args, figures: &mut Figures) -> Result<()> {
    for durability in ["sync", "os", "interval"] {
        let server = Server::olivine(&args.dir.join(durability), durability)?;
        fill(&server)?;
        for load in LOADS {
            phase(args, figures, &format!("olivine put-{durability}"), &server, load, &mut Put)?;
        }
        if durability == "sync" {
            for load in LOADS {
                phase(args, figures, "olivine get", &server, load, &mut Get)?;
            }
        }
    }
    Ok(())
}

fn split(args: &Args, figures: &mut Figures) -> Result<()> {
    let (storage, doors) = Server::split(&args.dir.join("split"), "sync")?;
    fill(&doors)?;
    for load in LOADS {
        both(args, figures, "split put-sync", &[&doors, &storage], load, &mut Put)?;
        both(args, figures, "split get", &[&doors, &storage], load, &mut Get)?;
    }
    Ok(())
}

/// What connections cost that want nothing, or everything.
fn strangers(args: &Args) -> Result<Manners> {
    let server = Server::olivine(&args.dir.join("strangers"), "sync")?;
    fill(&server)?;
    let length = Duration::from_secs_f64(args.seconds);
    let sizes = if args.smoke {
        Sizes { idle: 100, endless_bytes: 32 << 20, slow: 20, length }
    } else {
        Sizes { idle: 9_900, endless_bytes: 1 << 30, slow: 1_000, length }
    };
    manners::measure(&server, sizes)
}

fn print_strangers(manners: &Manners) {
    let Manners { idle_bytes, idle, endless_bytes, sent_bytes, alone, beside, slow } = manners;
    let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
    println!("\n{idle} connections that say nothing: {:.1} KiB each", *idle_bytes as f64 / 1024.0);
    println!(
        "a line that never ends: {:.1} MiB more memory; {:.1} MiB were taken before it was cut off",
        mib(endless_bytes),
        mib(sent_bytes)
    );
    println!(
        "p99 of gets: {} us alone, {} us beside {slow} peers that dribble ({:.2}x)",
        alone.as_micros(),
        beside.as_micros(),
        beside.as_secs_f64() / alone.as_secs_f64().max(1e-9)
    );
}

/// Stores all keys.
fn fill(server: &Server) -> Result<()> {
    struct Fill;
    impl Questions for Fill {
        fn ask(&mut self, number: u64, out: &mut Vec<u8>) {
            let quoted = |text: String| format!("\"{text}\"");
            let numbers = || (number * 1_000)..(number + 1) * 1_000;
            let keys: Vec<String> = numbers().map(|number| quoted(key(number))).collect();
            let values: Vec<String> = numbers().map(|number| quoted(value(number))).collect();
            let (keys, values) = (keys.join(","), values.join(","));
            let line =
                format!("{{\"command\":\"batch_put\",\"keys\":[{keys}],\"values\":[{values}]}}\n");
            out.extend_from_slice(line.as_bytes());
        }

        fn is_right(&self, answer: &[u8]) -> bool {
            is_ok(answer)
        }
    }
    let load = Load { connections: 1, depth: (KEYS / 1_000) as usize, length: Duration::ZERO };
    run(server.port, load, &mut Fill).map(|_| ())
}

fn key(number: u64) -> String {
    // An odd factor visits all keys in an order that is none.
    format!("user:{:08}", number.wrapping_mul(0x9e37_79b1) % KEYS)
}

fn value(number: u64) -> String {
    format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(6)
}

/// Both ways in which answers begin.
fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"{\"status\":\"ok\"") || answer.starts_with(b"{\"status\": \"ok\"")
}

struct Put;

impl Questions for Put {
    fn ask(&mut self, number: u64, out: &mut Vec<u8>) {
        let (key, value) = (key(number), value(number));
        let line = format!("{{\"command\":\"put\",\"key\":\"{key}\",\"value\":\"{value}\"}}\n");
        out.extend_from_slice(line.as_bytes());
    }

    fn is_right(&self, answer: &[u8]) -> bool {
        is_ok(answer)
    }
}

struct Get;

impl Questions for Get {
    fn ask(&mut self, number: u64, out: &mut Vec<u8>) {
        let line = format!("{{\"command\":\"get\",\"key\":\"{}\"}}\n", key(number));
        out.extend_from_slice(line.as_bytes());
    }

    fn is_right(&self, answer: &[u8]) -> bool {
        is_ok(answer) && 96 < answer.len()
    }
}

/// A line as long as a get.
struct Echo;

impl Questions for Echo {
    fn ask(&mut self, number: u64, out: &mut Vec<u8>) {
        Get.ask(number, out);
    }

    fn is_right(&self, answer: &[u8]) -> bool {
        answer.starts_with(b"{\"command\":\"get\"") && answer.ends_with(b"}")
    }
}

fn median(figures: &[Figure], of: impl Fn(&Figure) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(figures: &Figures) {
    println!(
        "{:32} {:>12} {:>10} {:>10} {:>12}",
        "row", "a second", "p50 us", "p99 us", "CPU us each"
    );
    for (row, figures) in figures {
        let micros = |of: fn(&Figure) -> Duration| median(figures, |f| of(f).as_secs_f64() * 1e6);
        println!(
            "{row:32} {:12.0} {:10.0} {:10.0} {:12.2}",
            median(figures, |f| f.per_second),
            micros(|f| f.p50),
            micros(|f| f.p99),
            median(figures, |f| f.cpu_micros),
        );
    }
}

/// Median of the ratios of two rows, round by round.
fn ratio(figures: &Figures, one: &str, other: &str) -> Option<f64> {
    let (one, other) = (figures.get(one)?, figures.get(other)?);
    let mut ratios: Vec<f64> =
        one.iter().zip(other).map(|(one, other)| one.per_second / other.per_second).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// What is wanted, and what was reached.
fn bars(figures: &Figures) {
    println!("\n{:64} {:>8} {:>8}", "ratio", "wanted", "is");
    for (one, other, wanted) in [
        ("olivine put-sync 1x16", "python put 1x16", 25.0),
        ("olivine get 1x16", "python get 1x16", 25.0),
        ("olivine get 1x1", "echo get 1x1", 0.9),
        ("olivine put-sync 1x1", "echo-sync put 1x1", 0.8),
        ("olivine put-sync 50x1", "olivine put-sync 1x1", 8.0),
        ("olivine get 1x64", "echo get 1x64", 0.8),
        ("olivine get 50x16", "echo get 50x16", 0.8),
        ("echo get 50x1", "echo-multi get 50x1", 1.0),
        ("split get 50x16", "olivine get 50x16", 0.6),
        ("split put-sync 50x16", "olivine put-sync 50x16", 0.85),
        ("split get 1x1", "olivine get 1x1", 0.0),
        ("split put-sync 1x1", "olivine put-sync 1x1", 0.0),
    ] {
        if let Some(ratio) = ratio(figures, one, other) {
            let mark = if ratio < wanted { "  below" } else { "" };
            println!("{:64} {wanted:8.2} {ratio:8.2}{mark}", format!("{one} / {other}"));
        }
    }
    let plain = |row| figures.get(row).map_or(0.0, |figures| median(figures, |f| f.per_second));
    if plain("python put 1x1") < 1_500.0 || plain("python get 1x1") < 6_000.0 {
        println!(
            "the machine is too busy: Python answered fewer than 1,500 puts or 6,000 gets a second"
        );
    }
}

fn write_json(path: &PathBuf, figures: &Figures) -> Result<()> {
    let mut file = fs::File::create(path)?;
    for (row, figures) in figures {
        for (round, figure) in figures.iter().enumerate() {
            let Figure { per_second, p50, p99, cpu_micros } = figure;
            let (p50, p99) = (p50.as_nanos(), p99.as_nanos());
            writeln!(
                file,
                "{{\"row\":\"{row}\",\"round\":{round},\"per_second\":{per_second:.1},\"p50_ns\":{p50},\
                 \"p99_ns\":{p99},\"cpu_us\":{cpu_micros:.3}}}"
            )?;
        }
    }
    Ok(())
}
