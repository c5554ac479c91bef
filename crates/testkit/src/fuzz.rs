//! Tier G: parsers are fed what nobody wrote.
//!
//! The engine's parsers of what lies on disk, the program's of what people and programs type, and the doors' of
//! what comes over sockets.
//! Inputs are drawn from a corpus, changed in one to four places as bits, bytes, numbers and pieces, and
//! their checksums are mended most of the time, so that the parsers behind the checksums see them.
//! An input whose answer was never given before (another error, another count of things) joins the
//! corpus of its run: that leads deeper without measuring coverage.
//!
//! 1. Every input is an answer of the parser, never a panic, and within `PATIENCE`; one that never
//!    answers is told and left behind.
//! 2. A run depends on its seed alone, but for the time it takes.
//! 3. A failing input is made shorter and written to a file, and the line that repeats it is printed.
//! 4. A corpus that the parsers no longer take is a failure: it would prove nothing.

use crate::{
    caught::caught,
    report::{count, duration},
};
use olivine_vfs::{Clock, Open, RealClock, RealVfs, Vfs};
use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

mod doors;
mod mutate;
mod target;
mod watch;
mod work;

pub use mutate::mutate;
pub use target::Target;

/// How long one input may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides every input.
    pub seed: u64,
    /// Executions of all targets together, at least.
    pub executions: u64,
    /// How many threads work.
    pub threads: u64,
    /// Where the corpus lies, and where failing inputs are written.
    pub corpus: PathBuf,
}

/// What one target came to.
#[derive(Clone, Debug, Default)]
struct Tally {
    executions: u64,
    parsed: u64,
    /// Different answers: errors without their numbers, and counts of things.
    answers: BTreeSet<String>,
    joined: usize,
    panics: u64,
    hangs: u64,
    failures: Vec<String>,
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    targets: usize,
    corpus: usize,
    tally: Tally,
    elapsed: Duration,
}

impl Summary {
    /// Whether nothing failed, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.tally.failures.is_empty() && 0 < self.tally.executions && 0 < self.tally.parsed
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { targets, corpus, tally, elapsed } = self;
        let Tally { executions, parsed, answers, joined, panics, hangs, .. } = tally;
        let rate = *executions as f64 / elapsed.as_secs_f64().max(0.001);
        write!(f, "G fuzz     targets {targets} corpus {corpus} joined {joined} ")?;
        write!(f, "execs {} ({}/s) ", count(*executions), count(rate as u64))?;
        write!(f, "parsed {} answers {} | ", count(*parsed), answers.len())?;
        write!(f, "panics={panics} hangs={hangs} | {}", duration(*elapsed))
    }
}

/// Writes a new corpus, of what the engine writes now.
pub fn renew(corpus: &Path) -> Result<(), String> {
    for target in Target::all() {
        for number in 0..target.samples() {
            write(&corpus.join(format!("{}-{number}", target.name())), &target.sample(number)?)?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    RealVfs.remove_file(path).ok();
    RealVfs
        .open(path, Open::Create)
        .and_then(|file| file.write_at(bytes, 0))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error| format!("cannot read {}: {error}", path.display());
    let file = RealVfs.open(path, Open::Read).map_err(told)?;
    let mut bytes = vec![0; file.len().map_err(told)? as usize];
    file.read_at(&mut bytes, 0).map_err(told)?;
    Ok(bytes)
}

/// An input of a corpus, and where its checksums stand.
#[derive(Clone)]
struct Input {
    bytes: Vec<u8>,
    seams: Vec<(usize, usize)>,
}

/// The inputs of a target that lie in `corpus`.
fn load(corpus: &Path, target: Target) -> Result<Vec<Input>, String> {
    let told = |error| format!("cannot list {}: {error}", corpus.display());
    let mut names: Vec<_> = RealVfs.list(corpus).map_err(told)?;
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let prefix = format!("{}-", target.name());
    let mut inputs = Vec::new();
    for entry in names.iter().filter(|entry| entry.name.to_string_lossy().starts_with(&prefix)) {
        let bytes = read(&corpus.join(&entry.name))?;
        let seams = target.seams(&bytes);
        inputs.push(Input { bytes, seams });
    }
    if !inputs.iter().any(|input| target.parse(&input.bytes).is_ok()) {
        return Err(format!(
            "no parser takes what lies in {} for {}: `cargo xtask rel fuzz --renew`, and commit it",
            corpus.display(),
            target.name()
        ));
    }
    Ok(inputs)
}

/// Runs `plan`; `say` is told of every target.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Result<Summary, String> {
    let watch = RealClock::new();
    let began = watch.now();
    let mut summary = Summary::default();
    for target in Target::all() {
        let inputs = load(&plan.corpus, target)?;
        let executions = plan.executions * target.share() / 100 + 1;
        let begun = watch.now();
        let tally = watch::fuzz(plan, target, &inputs, executions / plan.threads + 1);
        let took = watch.now().saturating_sub(begun);
        let rate = tally.executions as f64 / took.as_secs_f64().max(0.001);
        say(&format!(
            "  {:<9} execs {:>7} ({:>7}/s) parsed {:>7} answers {:>4} joined {:>4} failures {}",
            target.name(),
            count(tally.executions),
            count(rate as u64),
            count(tally.parsed),
            tally.answers.len(),
            tally.joined,
            tally.failures.len()
        ));
        tally.failures.iter().for_each(|failure| say(failure));
        summary.targets += 1;
        summary.corpus += inputs.len();
        let answers = tally.answers.iter().map(|answer| format!("{}: {answer}", target.name()));
        let answers = answers.collect();
        summary.tally.add(Tally { answers, ..tally });
    }
    summary.elapsed = watch.now().saturating_sub(began);
    Ok(summary)
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.executions += other.executions;
        self.parsed += other.parsed;
        self.answers.extend(other.answers);
        self.joined += other.joined;
        self.panics += other.panics;
        self.hangs += other.hangs;
        self.failures.extend(other.failures);
    }
}

/// Writes a failing input, and says what to do.
fn tell(plan: &Plan, target: Target, bytes: &[u8], what: &str) -> String {
    let hash = bytes.iter().fold(0u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5)
    });
    let path = plan.corpus.join(format!("failed-{}-{hash:016x}", target.name()));
    let written = match write(&path, bytes) {
        Ok(()) => format!("{} bytes in {}", bytes.len(), path.display()),
        Err(error) => error,
    };
    format!(
        "FAILED {}: {what}\n  input: {written}\n  replay: cargo xtask rel fuzz --input {}",
        target.name(),
        path.display()
    )
}

/// Cuts pieces out, halves first, for as long as it fails.
fn shorter(mut bytes: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut piece = bytes.len() / 2;
    while 0 < piece {
        let mut at = 0;
        while at < bytes.len() {
            let mut less = bytes.clone();
            less.drain(at..(at + piece).min(less.len()));
            if fails(&less) { bytes = less } else { at += piece }
        }
        piece /= 2;
    }
    bytes
}

/// Parses one input that a failure named. Answers what came of it.
pub fn replay(path: &Path) -> Result<String, String> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of = |target: &Target| file.split('-').any(|part| part == target.name());
    let target = Target::all().find(of);
    let target = target.ok_or_else(|| format!("{file:?} names no target"))?;
    let bytes = read(path)?;
    match caught(|| target.parse(&bytes)) {
        Ok(Ok(things)) => Ok(format!("{things} things parsed")),
        Ok(Err(what)) => Ok(format!("refused: {what}")),
        Err(what) => Err(format!("panicked: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_inputs_are_made_shorter() {
        let bytes: Vec<u8> = (0..200).collect();
        let fails = |bytes: &[u8]| bytes.contains(&7) && bytes.contains(&150);
        assert_eq!(shorter(bytes, fails), [7, 150]);
    }

    /// The corpus that is committed is one that the parsers take.
    #[test]
    fn the_corpus_is_of_this_format() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in Target::all() {
            let inputs = load(&corpus, target).unwrap();
            assert_eq!(inputs.len() as u64, target.samples(), "{target:?}");
        }
    }
}
