//! Tier E: threads of a real store, pushed out of step at every call to the disk and the clock.
//!
//! A seed decides what two writers, a reader and a meddler do in a small store whose background has its
//! own threads, and at which calls a thread lets others go first or sleeps a few microseconds. The
//! kernel decides the rest: unlike everything else here, a schedule is pushed by its seed and not
//! replayed by it. What memory order allows is loom's matter (`cargo xtask test --only loom`), and what
//! the order of turns allows is shuttle's: `turns` runs the same, and more, on its threads.
//!
//! 1. Both keys of a batch are seen together or not at all, and what was seen never goes back.
//! 2. What was acknowledged as lasting is there after a power cut taken at any moment.
//! 3. Whoever writes beside a close is answered, rightly; nothing waits for ever.

mod push;
mod stage;
#[cfg(shuttle)]
pub mod turns;

use crate::{
    caught::caught,
    report::{count, duration},
};
use olivine_vfs::{Clock, RealClock};
use stage::{Outcome, schedule};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// How long one schedule may take before it is told as a hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many schedules.
    pub schedules: u64,
    /// How many run at a time.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { seed: 0, schedules: 50_000, threads: 2, failures_max: 5 }
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Schedules that ended.
    pub schedules: u64,
    /// Writes that were acknowledged as lasting.
    pub acknowledged: u64,
    /// Power cuts that were looked at.
    pub cuts: u64,
    /// Schedules in which the store was closed beside its users.
    pub closed: u64,
    /// What failed.
    pub failures: Vec<String>,
    /// Schedules that did not end.
    pub hangs: u64,
    elapsed: Duration,
}

impl Summary {
    /// Whether nothing failed, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.hangs == 0 && 0 < self.acknowledged && 0 < self.cuts
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { schedules, cuts, closed, failures, hangs, elapsed, .. } = self;
        let acknowledged = count(self.acknowledged);
        write!(
            f,
            "E schedules {schedules} acked {acknowledged} cuts {cuts} closed-beside {closed} | "
        )?;
        write!(f, "wrong-or-lost={} hangs={hangs} | {}", failures.len(), duration(*elapsed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the runners share with who watches them.
#[derive(Default)]
struct Progress {
    next: AtomicU64,
    summary: Mutex<Summary>,
    /// For each runner the schedule it is at and since when; none when it ended.
    at: Mutex<Vec<Option<(u64, Duration)>>>,
}

/// Runs `plan`; `say` is told of failures. After a hang its threads are still there.
pub fn run(plan: &Plan, say: &dyn Fn(&str)) -> Summary {
    let watch = Arc::new(RealClock::new());
    let began = watch.now();
    let progress = Arc::new(Progress::default());
    *lock(&progress.at) = vec![Some((plan.seed, began)); plan.threads];
    for runner in 0..plan.threads {
        let (plan, progress, watch) = (plan.clone(), Arc::clone(&progress), Arc::clone(&watch));
        let work = move || {
            loop {
                let seed = plan.seed + progress.next.fetch_add(1, SeqCst);
                let enough = plan.failures_max <= lock(&progress.summary).failures.len();
                if plan.seed + plan.schedules <= seed || enough {
                    break;
                }
                lock(&progress.at)[runner] = Some((seed, watch.now()));
                let outcome = caught(|| schedule(seed)).unwrap_or_else(Err);
                lock(&progress.summary).add(seed, outcome);
            }
            lock(&progress.at)[runner] = None;
        };
        // Not scoped: one that hangs must not hold up who tells of it.
        thread::Builder::new().name("schedules".into()).spawn(work).expect("a thread");
    }
    let mut told = 0;
    loop {
        watch.sleep(Duration::from_millis(20));
        let mut summary = lock(&progress.summary);
        summary.failures[told..].iter().for_each(|failure| say(failure));
        told = summary.failures.len();
        let at = lock(&progress.at).clone();
        let late = |since: &Duration| PATIENCE < watch.now().saturating_sub(*since);
        for (seed, _) in at.iter().flatten().filter(|(_, since)| late(since)) {
            summary.hangs += 1;
            say(&format!("HANGS seed {seed}: {}", replay(*seed)));
        }
        if 0 < summary.hangs || at.iter().all(Option::is_none) {
            summary.elapsed = watch.now().saturating_sub(began);
            return summary.clone();
        }
    }
}

fn replay(seed: u64) -> String {
    format!("cargo xtask rel schedules --seed {seed} --schedules 200 pushes as this one was")
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, String>) {
        self.schedules += 1;
        match outcome {
            Ok(outcome) => {
                self.acknowledged += outcome.acknowledged;
                self.cuts += outcome.cuts;
                self.closed += u64::from(outcome.closed);
            }
            Err(what) => {
                self.failures.push(format!("FAILED seed {seed}: {what}\n  {}", replay(seed)));
            }
        }
    }
}
