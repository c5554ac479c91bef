//! Whole stores, and a memtable alone, on shuttle's threads: who goes on at each lock, atomic and call
//! to disk or clock is drawn from a seed.
//!
//! Built with `--cfg shuttle` only. The schedules of one seed are of one model and one scheduler: by
//! turns one that draws every turn, and one that draws priorities and a few places where they change
//! (PCT), which finds bugs that need few switches at the right places sooner. The order of turns is
//! all that differs: memory is as if every access were in one order.
//!
//! 1. A seed does the same in every process, so that it replays what failed.
//! 2. A schedule in which all threads wait is told, and so is one that does not end.

mod models;

use super::{lock, stage};
use crate::{
    caught::caught,
    report::{count, duration},
};
use olivine_vfs::{Clock, Random, RealClock};
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// Schedules of one seed. PCT learns from the first how long they are.
const SCHEDULES_OF_SEED: u64 = 10;
/// Places at which PCT changes priorities, and one.
const PCT_DEPTHS: [usize; 3] = [2, 3, 5];
/// More turns than any schedule takes that ends.
const STEPS_MAX: usize = 5_000_000;
const STACK_BYTES: usize = 512 << 10;
/// Schedules that a full run promises.
const PROMISED: u64 = 50_000;

/// What is run: its name, how many of `SHARES` seeds are its, and one schedule of it.
struct Model {
    name: &'static str,
    share: u64,
    run: fn(u64),
}

const SHARES: u64 = 20;

const MODELS: [Model; 5] = [
    Model { name: "memtable", share: 4, run: olivine_engine::turns::memtable },
    Model { name: "commit", share: 4, run: models::commit },
    Model { name: "versions", share: 4, run: models::versions },
    Model { name: "shutdown", share: 4, run: models::shutdown },
    Model { name: "store", share: 4, run: store },
];

/// A schedule of the tier, as threads of the system have it.
fn store(seed: u64) {
    if let Err(what) = stage::schedule(seed) {
        panic!("{what}");
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many schedules, at least.
    pub schedules: u64,
    /// How many run at a time.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
    /// Whether fewer than promised are a failure.
    pub full: bool,
    /// Whether to tell of each seed, with its turns.
    pub each: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        let schedules = PROMISED;
        Plan { seed: 0, schedules, threads: 2, failures_max: 5, full: true, each: false }
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Schedules of each model that ended well.
    schedules: [u64; MODELS.len()],
    /// Turns taken.
    steps: u64,
    wrong: u64,
    deadlocks: u64,
    full: bool,
    elapsed: Duration,
}

impl Summary {
    /// Schedules that ended well.
    pub fn schedules(&self) -> u64 {
        self.schedules.iter().sum()
    }

    fn failed(&self) -> u64 {
        self.wrong + self.deadlocks
    }

    fn is_short(&self) -> bool {
        self.full && self.schedules() < PROMISED
    }

    /// Whether nothing failed, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.failed() == 0 && 0 < self.schedules() && !self.is_short()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E shuttle schedules {} (", self.schedules())?;
        for (place, (model, schedules)) in MODELS.iter().zip(self.schedules).enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{} {schedules}", model.name)?;
        }
        let Summary { steps, wrong, deadlocks, elapsed, .. } = self;
        write!(f, ") turns {} | wrong={wrong} deadlocks={deadlocks} | ", count(*steps))?;
        write!(f, "{}{}", duration(*elapsed), if self.is_short() { " SHORT" } else { "" })
    }
}

/// Runs `plan`; `say` is told of failures.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Summary {
    let watch = RealClock::new();
    let began = watch.now();
    let summary = Mutex::new(Summary { full: plan.full, ..Summary::default() });
    let (next, seeds) = (AtomicU64::new(0), plan.schedules.div_ceil(SCHEDULES_OF_SEED));
    thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, SeqCst);
                    if seeds <= turn || plan.failures_max as u64 <= lock(&summary).failed() {
                        return;
                    }
                    let seed = plan.seed + turn;
                    let ran = run_seed(seed);
                    if plan.each {
                        say(&format!(
                            "seed {seed}: {} {} turns",
                            MODELS[ran.model].name, ran.steps
                        ));
                    }
                    lock(&summary).add(seed, ran, say);
                }
            });
        }
    });
    let mut summary = lock(&summary).clone();
    summary.elapsed = watch.now().saturating_sub(began);
    summary
}

/// What the schedules of a seed came to.
struct Ran {
    model: usize,
    schedules: u64,
    steps: u64,
    failure: Option<String>,
}

fn run_seed(seed: u64) -> Ran {
    let mut random = Random::new(seed);
    let mut drawn = random.below(SHARES);
    let model = MODELS.iter().position(|model| {
        let chosen = drawn < model.share;
        drawn = drawn.wrapping_sub(model.share);
        chosen
    });
    let model = model.expect("the shares are all there is");
    let (schedules, steps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let scheduler_seed = random.next_u64();
    let times = SCHEDULES_OF_SEED as usize;
    let scheduler: Box<dyn Scheduler + Send> = if random.chance(1, 2) {
        Box::new(RandomScheduler::new_from_seed(scheduler_seed, times))
    } else {
        let depth = PCT_DEPTHS[random.index(PCT_DEPTHS.len())];
        Box::new(PctScheduler::new_from_seed(scheduler_seed, depth, times))
    };
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    // The seed says it all.
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let failure = caught(|| {
        let (schedules, steps) = (Arc::clone(&schedules), Arc::clone(&steps));
        Runner::new(scheduler, config).run(move || {
            // Each its own history, too.
            (MODELS[model].run)(seed * SCHEDULES_OF_SEED + schedules.load(SeqCst));
            schedules.fetch_add(1, SeqCst);
            steps.fetch_add(shuttle::current::context_switches() as u64, SeqCst);
        });
    });
    let (schedules, steps) = (schedules.load(SeqCst), steps.load(SeqCst));
    Ran { model, schedules, steps, failure: failure.err() }
}

impl Summary {
    fn add(&mut self, seed: u64, ran: Ran, say: &dyn Fn(&str)) {
        self.schedules[ran.model] += ran.schedules;
        self.steps += ran.steps;
        let Some(what) = ran.failure else { return };
        let endless = what.contains("deadlock") || what.contains("exceeded max_steps");
        if endless {
            self.deadlocks += 1;
        } else {
            self.wrong += 1;
        }
        say(&format!(
            "FAILED {} seed {seed}, schedule {}: {what}\n  cargo xtask rel schedules --shuttle --seed {seed} --schedules {SCHEDULES_OF_SEED}",
            MODELS[ran.model].name, ran.schedules
        ));
    }
}
