//! The process that kills, and knows what was acknowledged.
//!
//! 1. An acknowledgement counts once it is in the pipe, whether or not the child lived to see it read.

use super::{Failure, Held, KEYSPACES, Mode, OPENED, Orders, PLANTED, Progress, Summary, open};
use crate::{caught::caught, drive::full_text};
use olivine_vfs::{Clock, EntryKind, Interrupt, Random, RealClock, RealVfs, Vfs};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what is written and when it ends.
    pub seed: u64,
    /// How many children are killed in each mode while they write. Half as many are asked to end.
    pub kills: u64,
    /// How many threads of a child write.
    pub threads: usize,
    /// The longest time that a child writes.
    pub millis_max: u64,
    /// Whether children lie, and tell of a write before they make it.
    pub early: bool,
    /// The name of a bug that children make, to see that the parent notices.
    pub planted: Option<String>,
    /// Where the stores lie.
    pub dir: PathBuf,
    /// This program, and what makes it a child (`kill-child`).
    pub program: PathBuf,
}

/// Runs `plan`; `say` is told of progress.
pub fn run(plan: &Plan, say: &dyn Fn(&str)) -> Summary {
    let watch = RealClock::new();
    let began = watch.now();
    let mut summary = Summary::default();
    for mode in [Mode::Sync, Mode::Os] {
        let dir = plan.dir.join(mode.name());
        let outcome = remove(&dir)
            .and_then(|()| make(&dir))
            .map_err(|error| format!("cannot prepare {}: {error}", dir.display()))
            .and_then(|()| run_mode(plan, mode, &dir, &mut summary, say));
        match outcome {
            // What is left of a failure is kept to be looked at.
            Err(what) => {
                let failure = Failure::new(plan, mode, what);
                say(&failure.to_string());
                summary.failures.push(failure);
            }
            Ok(()) => {
                remove(&dir).ok();
            }
        }
    }
    RealVfs.remove_dir(&plan.dir).ok();
    summary.elapsed = watch.now().saturating_sub(began);
    summary
}

fn run_mode(
    plan: &Plan,
    mode: Mode,
    dir: &Path,
    summary: &mut Summary,
    say: &dyn Fn(&str),
) -> Result<(), String> {
    let seed = plan.seed;
    let mut random = Random::new(seed ^ mode as u64);
    let mut threads = vec![Progress::default(); plan.threads];
    for kill in 0..plan.kills {
        let from = threads.iter().map(|progress| progress.next).collect();
        let orders = Orders { dir: dir.to_owned(), mode, seed, early: plan.early, from };
        let life = Life::Writing(random.between(1, plan.millis_max));
        let died = live_and_die(plan, &orders, life)?;
        summary.kills += 1;
        advance(seed, &mut threads, &died, summary);
        // The next ones die while they recover what this one left.
        while random.chance(1, 8) {
            let within = random.below(2 * died.opened_after.as_micros() as u64 + 1);
            let orders = Orders { from: vec![], ..orders.clone() };
            let died = live_and_die(plan, &orders, Life::Opening(within))?;
            summary.kills += 1;
            summary.recovering += u64::from(!died.opened);
        }
        verify(mode, dir, seed, &mut threads, summary)
            .map_err(|what| format!("after kill {kill}: {what}"))?;
        if kill.is_multiple_of(2) {
            let from = threads.iter().map(|progress| progress.next).collect();
            let orders = Orders { from, ..orders };
            let life = Life::Asked(random.between(1, plan.millis_max));
            live_and_die(plan, &orders, life)
                .and_then(|died| {
                    summary.asked += 1;
                    advance(seed, &mut threads, &died, summary);
                    verify_end(mode, dir, seed, &mut threads, summary)
                })
                .map_err(|what| format!("asked to end after kill {kill}: {what}"))?;
        }
        if (kill + 1).is_multiple_of(10) {
            say(&format!("{}: {} kills, {}", mode.name(), kill + 1, summary.acknowledged));
        }
    }
    Ok(())
}

/// Goes on to what a child told.
fn advance(seed: u64, threads: &mut [Progress], died: &Died, summary: &mut Summary) {
    for (thread, progress) in threads.iter_mut().enumerate() {
        let before = progress.next;
        progress.advance(seed, thread as u32, died.acknowledged[thread]);
        summary.acknowledged += progress.next - before;
    }
}

/// How long one that is asked to end may take.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long a child lives.
enum Life {
    /// So many milliseconds after it opened the store; then it is asked to end, and ends by itself.
    Asked(u64),
    /// So many milliseconds after it opened the store.
    Writing(u64),
    /// So many microseconds after it was started.
    Opening(u64),
}

/// What a dead child had done.
struct Died {
    /// For each thread, the number after the last write acknowledged.
    acknowledged: Vec<u64>,
    opened: bool,
    opened_after: Duration,
}

/// Ends a child whatever happens here.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that is dead already needs no killing.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts a child, lets it live, kills it, and reads what it told.
fn live_and_die(plan: &Plan, orders: &Orders, life: Life) -> Result<Died, String> {
    let watch = RealClock::new();
    let began = watch.now();
    let child = Command::new(&plan.program)
        .arg("kill-child")
        .arg(&orders.dir)
        .args(orders.arguments())
        .envs(plan.planted.as_ref().map(|bug| (PLANTED, bug)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", plan.program.display()))?;
    let mut child = Ended(child);
    let mut pipe = child.0.stdout.take().ok_or("a child without a pipe")?;
    let opened = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| listen(&mut pipe, orders, &opened, &watch));
        match life {
            Life::Opening(micros) => watch.sleep(Duration::from_micros(micros)),
            Life::Writing(millis) | Life::Asked(millis) => {
                while !opened.load(Relaxed) && !reader.is_finished() {
                    watch.sleep(Duration::from_millis(1));
                }
                watch.sleep(Duration::from_millis(millis));
            }
        }
        let ended = child.0.try_wait().map_err(|error| error.to_string())?;
        if let Some(status) = ended {
            return Err(format!("the writing process ended by itself: {status}"));
        }
        if let Life::Asked(_) = life {
            ask_to_end(&mut child.0, &watch)?;
        }
        drop(child);
        let heard = reader.join().map_err(|_| "the reader of the pipe panicked".to_owned())?;
        let (acknowledged, opened_at) = heard?;
        Ok(Died {
            acknowledged,
            opened: opened_at.is_some(),
            opened_after: opened_at.unwrap_or_else(|| watch.now()).saturating_sub(began),
        })
    })
}

/// Asks a child to end, and waits until it has done so, in time and without an error.
fn ask_to_end(child: &mut Child, watch: &RealClock) -> Result<(), String> {
    Interrupt::Term.send(child.id()).map_err(|error| error.to_string())?;
    let asked = watch.now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("it ended with {status}")),
            None if END_WITHIN < watch.now().saturating_sub(asked) => {
                return Err(format!("it has not ended after {END_WITHIN:?}"));
            }
            None => watch.sleep(Duration::from_millis(1)),
        }
    }
}

/// Reads acknowledgements until the child is dead and the pipe empty.
fn listen(
    pipe: &mut impl Read,
    orders: &Orders,
    opened: &AtomicBool,
    watch: &RealClock,
) -> Result<(Vec<u64>, Option<Duration>), String> {
    let mut next = orders.from.clone();
    let mut opened_at = None;
    let mut bytes = vec![0; 64 << 10];
    let mut held = 0;
    loop {
        let read = pipe.read(&mut bytes[held..]).map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok((next, opened_at));
        }
        held += read;
        let whole = held - held % 12;
        for message in bytes[..whole].chunks_exact(12) {
            let (thread, number) = message.split_at(4);
            let thread = u32::from_le_bytes(thread.try_into().map_err(|_| "a short message")?);
            let number = u64::from_le_bytes(number.try_into().map_err(|_| "a short message")?);
            if thread == OPENED {
                opened_at = Some(watch.now());
                opened.store(true, Relaxed);
                continue;
            }
            let next = next.get_mut(thread as usize).ok_or("a message of no thread")?;
            if *next != number {
                return Err(format!("thread {thread} told of write {number} after {next}"));
            }
            *next = number + 1;
        }
        bytes.copy_within(whole..held, 0);
        held -= whole;
    }
}

/// Opens the store and compares everything in it with what was acknowledged.
fn verify(
    mode: Mode,
    dir: &Path,
    seed: u64,
    threads: &mut [Progress],
    summary: &mut Summary,
) -> Result<(), String> {
    compare(mode, dir, seed, threads, summary).map(|_| ())
}

/// The same after a child that was asked to end: it told of every write, closed the store, and left nothing
/// half made.
fn verify_end(
    mode: Mode,
    dir: &Path,
    seed: u64,
    threads: &mut [Progress],
    summary: &mut Summary,
) -> Result<(), String> {
    let extra = summary.extra;
    let clean = compare(mode, dir, seed, threads, summary)?;
    if !clean || extra != summary.extra {
        let extra = summary.extra - extra;
        return Err(format!(
            "the store was closed cleanly: {clean}; {extra} writes were not told of"
        ));
    }
    for entry in RealVfs.list(dir).map_err(|error| error.to_string())? {
        let name = entry.name.to_string_lossy();
        if name.starts_with("draft-") || Path::new(&entry.name).extension().is_some() {
            return Err(format!("{name} was left"));
        }
    }
    Ok(())
}

/// Opens the store, compares, and closes it. Answers whether it had been closed cleanly.
fn compare(
    mode: Mode,
    dir: &Path,
    seed: u64,
    threads: &mut [Progress],
    summary: &mut Summary,
) -> Result<bool, String> {
    let watch = RealClock::new();
    let began = watch.now();
    let told = |error: olivine_engine::Error| full_text(&error);
    let opened = caught(|| open(dir, mode)).map_err(|what| format!("panicked: {what}"))?;
    let (db, keyspaces) = opened.map_err(told)?;
    summary.reopened.push(watch.now().saturating_sub(began));
    let mut found = vec![Held::new(); threads.len()];
    for (place, keyspace) in keyspaces.iter().enumerate() {
        for entry in keyspace.iter().map_err(told)? {
            let (key, value) = entry.map_err(told)?;
            let thread = std::str::from_utf8(&key[..2.min(key.len())]).ok();
            let thread = thread.and_then(|text| text.parse::<usize>().ok());
            let held = thread.and_then(|thread| found.get_mut(thread)).ok_or_else(|| {
                format!("{}[{}] is nobody's key", KEYSPACES[place], key.escape_ascii())
            })?;
            held.insert((place, key), value);
        }
    }
    for (thread, progress) in threads.iter_mut().enumerate() {
        let extra = progress.compare(seed, thread as u32, &found[thread])?;
        summary.extra += u64::from(extra);
    }
    summary.verified = summary.acknowledged;
    let clean = db.recovery().clean;
    drop(keyspaces);
    db.close().map_err(told).map(|()| clean)
}

/// Makes a directory and those above it.
fn make(dir: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for dir in dir.ancestors() {
        if dir == Path::new("") || RealVfs.entry(dir)?.is_some() {
            break;
        }
        missing.push(dir);
    }
    missing.into_iter().rev().try_for_each(|dir| RealVfs.create_dir(dir))
}

/// Removes a directory and the files in it, if it is there.
fn remove(dir: &Path) -> io::Result<()> {
    if RealVfs.entry(dir)?.is_none() {
        return Ok(());
    }
    for entry in RealVfs.list(dir)? {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir => remove(&path)?,
            EntryKind::File | EntryKind::Other => RealVfs.remove_file(&path)?,
        }
    }
    RealVfs.remove_dir(dir)
}
