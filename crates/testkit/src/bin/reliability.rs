//! `reliability`: runs the tiers that break the engine, in CI and for as long as you like.
//!
//! 1. The last line of every tier is the same in a short run and a long one, and is read by machines.
//! 2. The program fails when a tier found something, or looked at nothing.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use olivine_testkit::{
    Op, blobs, crash, faults,
    full::{self, Answer},
    fuzz, kill, memory, planted,
    rot::{self, Mutation},
    schedules, served,
};
use olivine_vfs::{Open, RealVfs, Vfs};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

const HELP: &str = "\
Breaks the engine on purpose and checks what it must hold all the same.

usage: reliability <tier> [options]

  crash    power cuts between any two calls to the disk and in the midst of writes
             --seeds N      histories (530)           --images N   images of each (200)
             --ops N        operations of each (2000)  --image K    only the K-th image
             --history FILE replays a printed history with every image of its last operation
  faults   every call to the disk fails once, in every way
             --seeds N      histories (40)            --every N    try one fault of so many (1)
             --pairs N      pairs of faults of each (52)
             --only F       one fault, as failures print it: Write:17:eio
  full     the disk has no room from any call on that takes some, until it has again; and a real one
             --seeds N      histories (60)            --every N    try one call of so many (1)
             --only N       the call that finds no room, as failures print it
             --dir DIR      where a disk of 64 MiB is mounted (by root)
  rot      every byte of every file changes; files are cut, swapped, doubled, gone
             --mutations N  at least so many (250000) --every N    make one change of so many (1)
             --only M       one change, as failures print it: flip:/store/CURRENT:3:7
  kill     a writing process is killed (on the real disk)
             --kills N      in each mode (40)         --threads N  that write (4)
             --millis N     longest life (600)        --dir DIR    where the stores lie
  served   a serving node, in one process and in two, is killed under clients of its doors
             --kills N      together (60)             --millis N   longest life (1500)
             --dir DIR      where the stores lie      --program FILE  the program (beside this one)
  blobs    a store of blobs, in one process and in three, is killed under its clients
             --kills N      together (1000)           --millis N   longest life (600)
             --dir DIR      where the stores lie      --program FILE  the program (beside this one)
  memory   writes, reads and scans over ten times the budget stay within budget + 64 MiB resident
             --seconds N    of work (3600)            --mib N      the budget (64)
             --dir DIR      where the store lies
  schedules  threads of real stores, pushed out of step at every call to disk and clock
             --schedules N  how many (50000)
           and, built for shuttle, on its threads: `cargo xtask rel schedules --shuttle`
             --schedules N  how many (50000), ten of each seed
             --each         tells of each seed
  fuzz     the parsers of every file on disk, of backups and of command lines, fed what nobody wrote
             --execs N      inputs (5000000)          --corpus DIR where they begin (crates/testkit/corpus)
             --input FILE   this one alone            --renew      writes the corpus anew
  planted  bugs made on purpose, each of which its tier must find (built with --features planted)
             --effort N     how long each is looked for (4)
             --only BUG     this one alone

  all tiers: --seed S (0), --slice (less than a minute, for CI), --threads N (2), --help

examples
  cargo run --release -p olivine-testkit --bin reliability -- crash
  cargo run --release -p olivine-testkit --bin reliability -- crash --seed 17 --seeds 1 --image 133
  cargo run --release -p olivine-testkit --bin reliability -- faults --seed 3 --seeds 1 --only Sync:12:lost
  cargo run --release -p olivine-testkit --bin reliability -- rot --slice
  cargo run --release -p olivine-testkit --bin reliability -- kill --kills 500
";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = planted::as_node(&words) {
        return code;
    }
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return if words.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let tier = words.remove(0);
    let outcome = match &tier[..] {
        "crash" => crash_tier(words),
        "faults" => faults_tier(words),
        "full" => full_tier(words),
        "rot" => rot_tier(words),
        "kill" => kill_tier(words),
        "served" => served_tier(words),
        "blobs" => blobs_tier(words),
        "memory" => memory_tier(words),
        "memory-child" => memory::run_child(&words).map(|()| true),
        "schedules" => schedules_tier(words),
        "fuzz" => fuzz_tier(words),
        "planted" => planted_tier(words),
        "kill-child" => {
            kill::Orders::parse(&words).and_then(|orders| kill::run_child(&orders)).map(|()| true)
        }
        _ => Err(format!(
            "{tier:?} is no tier; they are crash, faults, full, rot, kill, served, blobs, memory, schedules, fuzz, planted"
        )),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("reliability: {what}");
            ExitCode::from(2)
        }
    }
}

/// The options given and not yet asked for.
struct Given(Vec<String>);

impl Given {
    /// Takes the flag `name` out: whether it was there.
    fn flag(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|word| word == name);
        place.map(|place| self.0.remove(place)).is_some()
    }

    /// Takes the option `name` and its value out.
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(place) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        if self.0.len() <= place + 1 {
            return Err(format!("{name} wants a value"));
        }
        self.0.remove(place);
        Ok(Some(self.0.remove(place)))
    }

    /// Takes the option `name` and its number out, or leaves `value`.
    fn number<N: FromStr>(&mut self, name: &str, value: &mut N) -> Result<(), String> {
        if let Some(text) = self.text(name)? {
            *value = text.parse().map_err(|_| format!("{name} wants a number, not {text:?}"))?;
        }
        Ok(())
    }

    /// Whether nothing was given that makes a run smaller or another one: then what a full run promises
    /// is asked of it.
    fn is_full(&self) -> bool {
        let harmless = ["--seed", "--threads", "--failures"];
        let mut words = self.0.iter();
        while let Some(word) = words.next() {
            if !harmless.contains(&&word[..]) {
                return false;
            }
            words.next();
        }
        true
    }

    /// Nothing may be left over.
    fn end(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is no option here; see --help")),
        }
    }
}

fn say(line: &str) {
    println!("{line}");
}

fn crash_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let promised = given.is_full().then_some(crash::Plan::PROMISED);
    let mut plan = crash::Plan { promised, ..crash::Plan::default() };
    if given.flag("--slice") {
        (plan.seeds, plan.ops, plan.images) = (60, 800, 60);
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--seeds", &mut plan.seeds)?;
    given.number("--ops", &mut plan.ops)?;
    given.number("--images", &mut plan.images)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--failures", &mut plan.failures_max)?;
    if let Some(image) = given.text("--image")? {
        plan.image = Some(image.parse().map_err(|_| format!("{image:?} is no image"))?);
    }
    let history = given.text("--history")?;
    given.end()?;
    if let Some(history) = history {
        return replay(plan.seed, Path::new(&history));
    }
    let summary = crash::run(&plan, &say, &crash::honest);
    println!("{summary}");
    Ok(summary.passed())
}

/// Runs a history kept in a file.
fn replay(seed: u64, path: &Path) -> Result<bool, String> {
    let told = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = RealVfs.open(path, Open::Read).map_err(told)?;
    let mut bytes = vec![0; file.len().map_err(told)? as usize];
    file.read_at(&mut bytes, 0).map_err(told)?;
    let history = Op::parse_all(&String::from_utf8_lossy(&bytes))?;
    match crash::replay_history(seed, &history) {
        Ok(tally) => {
            let images: u64 = tally.images.iter().sum();
            println!("{} operations, {images} images: nothing found", history.len());
            Ok(true)
        }
        Err((step, trouble)) => {
            println!("FAILED seed {seed}, step {step}: {trouble}");
            Ok(false)
        }
    }
}

fn faults_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let promised = given.is_full().then_some(faults::Plan::PROMISED);
    let mut plan = faults::Plan { promised, ..faults::Plan::default() };
    if given.flag("--slice") {
        (plan.seeds, plan.every, plan.pairs) = (12, 4, 20);
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--seeds", &mut plan.seeds)?;
    given.number("--every", &mut plan.every)?;
    given.number("--pairs", &mut plan.pairs)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--failures", &mut plan.failures_max)?;
    if let Some(only) = given.text("--only")? {
        plan.only = Some(faults::Injected::parse(&only)?);
    }
    given.end()?;
    let summary = faults::run(&plan, &say, &faults::honest);
    println!("{summary}");
    Ok(summary.passed())
}

fn full_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let mut plan = full::Plan::default();
    if given.flag("--slice") {
        (plan.seeds, plan.every) = (20, 4);
    }
    let mut dir = std::env::temp_dir().join(format!("olivine-full-{}", std::process::id()));
    given.number("--seed", &mut plan.seed)?;
    given.number("--seeds", &mut plan.seeds)?;
    given.number("--every", &mut plan.every)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--failures", &mut plan.failures_max)?;
    if let Some(only) = given.text("--only")? {
        plan.only = Some(only.parse().map_err(|_| format!("{only:?} is no number"))?);
    }
    if let Some(given) = given.text("--dir")? {
        dir = PathBuf::from(given);
    }
    given.end()?;
    let mut held = true;
    if plan.only.is_none() {
        match full::fill_and_free(&dir, plan.seed) {
            Ok(Answer::Held(what)) => println!("  64 MiB of tmpfs: {what}"),
            Ok(Answer::Skipped(why)) => println!("  64 MiB of tmpfs: SKIPPED, cannot mount: {why}"),
            Err(what) => {
                held = false;
                println!("FAILED 64 MiB of tmpfs: {what}");
            }
        }
    }
    let summary = full::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed() && held)
}

fn rot_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let mut plan = rot::Plan::default();
    if given.flag("--slice") {
        (plan.mutations, plan.every) = (20_000, 10);
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--mutations", &mut plan.mutations)?;
    given.number("--every", &mut plan.every)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--failures", &mut plan.failures_max)?;
    if let Some(only) = given.text("--only")? {
        plan.only = Some(Mutation::parse(&only)?);
    }
    given.end()?;
    let summary = rot::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed())
}

fn kill_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let dir = std::env::temp_dir().join(format!("olivine-kill-{}", std::process::id()));
    let mut plan = kill::Plan {
        seed: 0,
        kills: 40,
        threads: 4,
        millis_max: 600,
        early: false,
        planted: None,
        dir,
        program,
    };
    if given.flag("--slice") {
        (plan.kills, plan.millis_max) = (30, 300);
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--kills", &mut plan.kills)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--millis", &mut plan.millis_max)?;
    if let Some(dir) = given.text("--dir")? {
        plan.dir = PathBuf::from(dir);
    }
    given.end()?;
    let summary = kill::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed())
}

fn served_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let here = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let mut plan = served::Plan {
        seed: 0,
        kills: 60,
        millis_max: 1_500,
        program: here.with_file_name("olivine"),
        planted: None,
        dir: std::env::temp_dir().join(format!("olivine-served-{}", std::process::id())),
        promised: served::Plan::PROMISED,
    };
    if given.flag("--slice") {
        (plan.kills, plan.millis_max, plan.promised) = (12, 600, 20_000);
    }
    let full = (plan.kills, plan.millis_max);
    given.number("--seed", &mut plan.seed)?;
    given.number("--kills", &mut plan.kills)?;
    given.number("--millis", &mut plan.millis_max)?;
    // Taken for the sake of `all`: the threads are what they are here.
    given.number("--threads", &mut 0)?;
    if let Some(dir) = given.text("--dir")? {
        plan.dir = PathBuf::from(dir);
    }
    if let Some(program) = given.text("--program")? {
        plan.program = PathBuf::from(program);
    }
    given.end()?;
    // Who asks for less is not told that it is little.
    if plan.kills < full.0 || plan.millis_max < full.1 {
        plan.promised = 0;
    }
    let summary = served::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed())
}

fn blobs_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let here = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let mut plan = blobs::Plan {
        seed: 0,
        kills: 1_000,
        millis_max: 600,
        program: here.with_file_name("olivine"),
        planted: None,
        dir: std::env::temp_dir().join(format!("olivine-blobs-{}", std::process::id())),
        promised: blobs::Plan::PROMISED,
    };
    if given.flag("--slice") {
        (plan.kills, plan.millis_max, plan.promised) = (60, 400, 2_000);
    }
    let full = (plan.kills, plan.millis_max);
    given.number("--seed", &mut plan.seed)?;
    given.number("--kills", &mut plan.kills)?;
    given.number("--millis", &mut plan.millis_max)?;
    // Taken for the sake of `all`: the threads are what they are here.
    given.number("--threads", &mut 0)?;
    if let Some(dir) = given.text("--dir")? {
        plan.dir = PathBuf::from(dir);
    }
    if let Some(program) = given.text("--program")? {
        plan.program = PathBuf::from(program);
    }
    given.end()?;
    // Who asks for less is not told that it is little.
    if plan.kills < full.0 || plan.millis_max < full.1 {
        plan.promised = 0;
    }
    let summary = blobs::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed())
}

fn memory_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let mut dir = std::env::temp_dir().join(format!("olivine-memory-{}", std::process::id()));
    let (mut seed, mut seconds, mut mib) = (0, 3600, 64u64);
    if given.flag("--slice") {
        seconds = 180;
    }
    given.number("--seed", &mut seed)?;
    given.number("--seconds", &mut seconds)?;
    given.number("--mib", &mut mib)?;
    // Taken for the sake of `all`: the threads are what they are here.
    given.number("--threads", &mut 0)?;
    if let Some(given) = given.text("--dir")? {
        dir = PathBuf::from(given);
    }
    given.end()?;
    let plan = memory::Plan { seed, seconds, budget_bytes: mib << 20, dir, program };
    let summary = memory::run(&plan)?;
    println!("{summary}");
    Ok(summary.passed())
}

/// Built for shuttle, the program has its schedules in place of the pushed ones.
#[cfg(shuttle)]
fn schedules_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let mut plan = schedules::turns::Plan::default();
    if given.flag("--slice") {
        (plan.schedules, plan.full) = (2_000, false);
    }
    plan.each = given.flag("--each");
    let promised = plan.schedules;
    given.number("--seed", &mut plan.seed)?;
    given.number("--schedules", &mut plan.schedules)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--failures", &mut plan.failures_max)?;
    given.end()?;
    // Who asks for fewer is not told that they are few.
    plan.full &= promised <= plan.schedules;
    let summary = schedules::turns::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed())
}

#[cfg(not(shuttle))]
fn schedules_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let mut plan = schedules::Plan::default();
    if given.flag("--slice") {
        plan.schedules = 2_000;
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--schedules", &mut plan.schedules)?;
    given.number("--threads", &mut plan.threads)?;
    given.number("--failures", &mut plan.failures_max)?;
    given.end()?;
    let summary = schedules::run(&plan, &say);
    println!("{summary}");
    Ok(summary.passed())
}

fn fuzz_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let mut plan = fuzz::Plan {
        seed: 0,
        executions: 5_000_000,
        threads: 2,
        corpus: Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"),
    };
    if given.flag("--slice") {
        plan.executions = 500_000;
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--execs", &mut plan.executions)?;
    given.number("--threads", &mut plan.threads)?;
    if let Some(corpus) = given.text("--corpus")? {
        plan.corpus = PathBuf::from(corpus);
    }
    let (input, renew) = (given.text("--input")?, given.flag("--renew"));
    given.end()?;
    if let Some(input) = input {
        let answer = fuzz::replay(Path::new(&input));
        println!("{}", answer.as_ref().unwrap_or_else(|what| what));
        return Ok(answer.is_ok());
    }
    if renew {
        return fuzz::renew(&plan.corpus).map(|()| true);
    }
    let summary = fuzz::run(&plan, &say)?;
    println!("{summary}");
    Ok(summary.passed())
}

fn planted_tier(words: Vec<String>) -> Result<bool, String> {
    let mut given = Given(words);
    let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let dir = std::env::temp_dir().join(format!("olivine-planted-{}", std::process::id()));
    let mut plan = planted::Plan { seed: 0, effort: 4, threads: 2, only: None, dir, program };
    if given.flag("--slice") {
        plan.effort = 1;
    }
    given.number("--seed", &mut plan.seed)?;
    given.number("--effort", &mut plan.effort)?;
    given.number("--threads", &mut plan.threads)?;
    plan.only = given.text("--only")?;
    given.end()?;
    let summary = planted::run(&plan, &say)?;
    println!("{summary}");
    Ok(summary.passed())
}
