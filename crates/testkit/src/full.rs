//! Tier C, a part of its own: the disk is full from some moment on, until there is room again.
//!
//! A seed decides a history. It runs once to count the calls that take room (files created, bytes
//! written beyond the end of one), and then once for each of them, which finds none, nor does any later
//! one. Some operations later there is room again; the same open store must then do everything.
//!
//! 1. While there is no room, operations are done or refused with `Full`; reads answer rightly.
//! 2. What was refused did not happen; what was acknowledged is there, also after a power cut.
//! 3. Once there is room and the clock went on, nothing is refused, without opening the store anew.
//! 4. No file is left that belongs to nothing.

use crate::{
    caught::caught,
    drive::{Driver, Stop},
    faults::{self, STORE},
    history::{Gen, Op, Shape},
    oracle::CommitLog,
    report::{count, duration},
    settings,
};
use olivine_engine::{Environment, Error};
use olivine_vfs::{Clock, CrashingVfs, FailingVfs, ManualClock, Random, RealClock, Vfs};
use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

mod tmpfs;

pub use tmpfs::{Answer, fill_and_free};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Of every so many calls that take room, one is the first to find none: 1 for all.
    pub every: u64,
    /// Only this one.
    pub only: Option<u64>,
    /// How many threads share the seeds.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { seed: 0, seeds: 60, every: 1, only: None, threads: 2, failures_max: 5 }
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Histories run.
    pub seeds: u64,
    /// Disks that became full.
    pub disks: u64,
    /// Operations refused with `Full`.
    pub refused: u64,
    /// Disks whose lack of room no operation was told of.
    pub unnoticed: u64,
    /// What failed, with the line that repeats it.
    pub failures: Vec<String>,
    elapsed: Duration,
}

impl Summary {
    /// Whether nothing failed, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && 0 < self.disks && 0 < self.refused
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seeds, disks, refused, unnoticed, failures, elapsed } = self;
        let (refused, failures) = (count(*refused), failures.len());
        write!(
            f,
            "C full     seeds {seeds} disks {disks} | refused {refused} unnoticed {unnoticed} | "
        )?;
        write!(f, "wrong-or-stuck={failures} | {}", duration(*elapsed))
    }
}

/// Runs `plan`; `say` is told of failures.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Summary {
    let watch = RealClock::new();
    let began = watch.now();
    let summary = Mutex::new(Summary::default());
    let lock = || summary.lock().unwrap_or_else(PoisonError::into_inner);
    let next = AtomicU64::new(plan.seed);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if plan.seed + plan.seeds <= seed || plan.failures_max <= lock().failures.len() {
                return;
            }
            let outcome = run_seed(plan, seed);
            outcome.failures.iter().for_each(|failure| say(failure));
            let mut summary = lock();
            summary.seeds += 1;
            summary.disks += outcome.disks;
            summary.refused += outcome.refused;
            summary.unnoticed += outcome.unnoticed;
            summary.failures.extend(outcome.failures);
        }
    };
    thread::scope(|scope| {
        for _ in 1..plan.threads {
            scope.spawn(work);
        }
        work();
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.elapsed = watch.now().saturating_sub(began);
    summary
}

fn run_seed(plan: &Plan, seed: u64) -> Summary {
    let mut summary = Summary::default();
    let mut random = Random::new(seed ^ 0xf011);
    let calls = match caught(|| attempt(seed, None)) {
        Ok(Ok(run)) => run.calls,
        Ok(Err(what)) | Err(what) => {
            summary.failures.push(format!("FAILED seed {seed}, with room enough: {what}"));
            return summary;
        }
    };
    for index in 0..calls {
        let chosen = match plan.only {
            Some(only) => only == index,
            None => plan.every <= 1 || random.chance(1, plan.every),
        };
        if !chosen || plan.failures_max <= summary.failures.len() {
            continue;
        }
        summary.disks += 1;
        match caught(|| attempt(seed, Some(index))) {
            Ok(Ok(run)) => {
                summary.refused += run.refused;
                summary.unnoticed += u64::from(run.refused == 0);
            }
            Ok(Err(what)) | Err(what) => summary.failures.push(format!(
                "FAILED seed {seed}, no room from call {index}: {what}\n  replay: cargo run --release \
                 -p olivine-testkit --bin reliability -- full --seed {seed} --seeds 1 --only {index}"
            )),
        }
    }
    summary
}

/// Writes, with flushes, compactions and keyspaces that come and go.
fn history(seed: u64) -> Vec<Op> {
    let shape = Shape {
        value_bytes_rare: 20_000,
        keys: 40,
        reopens: false,
        copies: false,
        ..Shape::default()
    };
    let mut draw = Gen::shaped(seed, shape);
    let mut history = vec![Op::Create(0), Op::Create(1)];
    for _ in 0..5 {
        history.extend(draw.history(14));
        history.extend((0..6).map(|_| draw.write()));
        history.extend([Op::Flush, Op::Step(3)]);
    }
    history.push(Op::Settle);
    history.extend(draw.history(6));
    history
}

/// What one run came to.
struct Run {
    /// Calls that took room or were to.
    calls: u64,
    refused: u64,
}

/// A store, its disk and its clock.
struct Bench {
    failing: Arc<FailingVfs>,
    clock: Arc<ManualClock>,
    environment: Environment,
    refused: u64,
}

/// Longer than any try waits.
const LONG: Duration = Duration::from_secs(10);

fn attempt(seed: u64, no_room_from: Option<u64>) -> Result<Run, String> {
    let disk = CrashingVfs::new();
    let failing = Arc::new(FailingVfs::over_crashing(&disk));
    if let Some(index) = no_room_from {
        failing.no_room_from(index);
    }
    let clock = Arc::new(ManualClock::new());
    let vfs: Arc<dyn Vfs> = Arc::clone(&failing) as _;
    let environment =
        settings::environment(vfs, &clock, seed).map_err(|error| error.to_string())?;
    let mut bench = Bench { failing, clock, environment, refused: 0 };
    let mut random = Random::new(seed ^ no_room_from.unwrap_or(u64::MAX));
    let (mut patience, mut room) = (random.below(16), no_room_from.is_none());
    let mut driver = bench.open(seed)?;
    for op in history(seed) {
        if 0 < bench.failing.failed() && !room {
            room = patience == 0;
            match patience {
                0 => bench.make_room(),
                _ => patience -= 1,
            }
        }
        bench.apply(&mut driver, &op, room).map_err(|what| format!("{op}: {what}"))?;
    }
    bench.make_room();
    for op in [Op::Settle, Op::Sync, Op::Create(2), Op::Drop(2), Op::Flush] {
        bench.apply(&mut driver, &op, true).map_err(|what| format!("{op}: {what}"))?;
    }
    driver.check_all().map_err(|stop| format!("in the end: {stop}"))?;
    let calls = bench.failing.growing();
    faults::finish(seed, driver, &disk).map_err(|(wrong, what)| format!("{wrong:?}: {what}"))?;
    Ok(Run { calls, refused: bench.refused })
}

impl Bench {
    /// Opens the store; without room that may be refused, and then must do with it.
    fn open(&mut self, seed: u64) -> Result<Driver, String> {
        let open = || {
            let (environment, clock) = (self.environment.clone(), Arc::clone(&self.clock));
            let options = settings::options(seed);
            Driver::open(environment, clock, Path::new(STORE), options, CommitLog::default())
        };
        match open() {
            Ok(driver) => Ok(driver),
            Err(Stop::Refused(_)) if 0 < self.failing.failed() => {
                self.refused += 1;
                self.failing.clear();
                open().map_err(|stop| format!("opened again, with room: {stop}"))
            }
            Err(stop) => Err(format!("opened: {stop}")),
        }
    }

    /// There is room again, and time for the next try.
    fn make_room(&self) {
        self.failing.clear();
        self.clock.advance(LONG);
    }

    /// Does one operation, which may be refused only while there is no room.
    fn apply(&mut self, driver: &mut Driver, op: &Op, room: bool) -> Result<(), String> {
        match driver.apply(op) {
            Ok(()) => Ok(()),
            Err(Stop::Refused(Error::Full { .. })) if !room => {
                self.refused += 1;
                Ok(())
            }
            Err(stop) => Err(stop.to_string()),
        }
    }
}
