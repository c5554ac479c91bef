//! Runs a history once for every call that can fail.
//!
//! 1. Which calls there are is counted, not guessed: a run without faults tells.

use super::{Failure, Injected, Outcome, Phase, STORE, Summary, Wrap, faults, history, run_with};
use crate::{caught::caught, drive::Driver, oracle::CommitLog, settings};
use olivine_vfs::{Clock, CrashingVfs, FailingVfs, Kind, ManualClock, Random, RealClock};
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Of every so many single faults, one is tried: 1 for all.
    pub every: u64,
    /// Pairs of faults of each history.
    pub pairs: u64,
    /// Only this one.
    pub only: Option<Injected>,
    /// How many threads share the seeds.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
    /// Single faults and pairs that must be met at least; a run that meets fewer has not passed.
    pub promised: Option<(u64, u64)>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            seed: 0,
            seeds: 40,
            every: 1,
            pairs: 52,
            only: None,
            threads: 2,
            failures_max: 5,
            promised: None,
        }
    }
}

impl Plan {
    /// What a full run promises.
    pub const PROMISED: (u64, u64) = (20_000, 2_000);
}

/// A pair of which neither fault is met is drawn anew, so many times for each that is wanted.
const DRAWS_MAX: u64 = 4;

/// Runs `plan`; `say` is told of progress.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync), wrap: &Wrap) -> Summary {
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
            let outcome = run_seed(plan, seed, wrap);
            outcome.failures.iter().for_each(|failure| say(&failure.to_string()));
            let mut summary = lock();
            summary.add(outcome);
            if summary.seeds.is_multiple_of(5) {
                say(&format!(
                    "{} of {} seeds, {} faults",
                    summary.seeds, plan.seeds, summary.single
                ));
            }
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
    summary.promised = plan.promised;
    summary
}

/// The calls of one kind made by the end of each phase.
type Calls = [u64; Phase::ALL.len()];

/// Counts the calls of a history that meets no fault.
fn count(seed: u64) -> Result<Vec<(Kind, Calls)>, String> {
    let failing = Arc::new(FailingVfs::over_crashing(&CrashingVfs::new()));
    let mut ends = [[0; Kind::ALL.len()]; Phase::ALL.len()];
    let mut note = |phase: Phase| {
        ends[phase as usize] = Kind::ALL.map(|kind| failing.calls(kind));
    };
    let clock = Arc::new(ManualClock::new());
    let told = |stop: crate::drive::Stop| stop.to_string();
    let environment = settings::environment(Arc::clone(&failing) as _, &clock, seed);
    let environment = environment.map_err(|error| error.to_string())?;
    let options = settings::options(seed);
    let log = CommitLog::default();
    let mut driver =
        Driver::open(environment, clock, Path::new(STORE), options, log).map_err(told)?;
    note(Phase::Open);
    for (phase, op) in history(seed) {
        driver.apply(&op).map_err(|stop| format!("{op}: {stop}"))?;
        note(phase);
    }
    driver.close().map_err(told)?;
    note(Phase::Reopen);
    let calls = |kind: Kind| Phase::ALL.map(|phase| ends[phase as usize][kind as usize]);
    Ok(Kind::ALL.into_iter().map(|kind| (kind, calls(kind))).collect())
}

/// Every single fault of one history, and some pairs.
fn run_seed(plan: &Plan, seed: u64, wrap: &Wrap) -> Summary {
    let mut summary = Summary { seeds: 1, ..Summary::default() };
    let counted = caught(|| count(seed)).unwrap_or_else(Err);
    let counted = match counted {
        Ok(counted) => counted,
        Err(what) => {
            summary.fail(seed, &[], super::Wrong::Differs, format!("without any fault: {what}"));
            return summary;
        }
    };
    let mut all = Vec::new();
    for (kind, calls) in &counted {
        for index in 0..calls[Phase::Reopen as usize] {
            for (fault, lasting) in faults(*kind) {
                all.push(Injected { kind: *kind, index, fault: *fault, lasting: *lasting });
            }
        }
    }
    let mut random = Random::new(seed ^ 0xfa17);
    if let Some(only) = plan.only {
        all = vec![only];
    }
    for injected in &all {
        if plan.failures_max <= summary.failures.len() {
            return summary;
        }
        if 1 < plan.every && !random.chance(1, plan.every) {
            continue;
        }
        let calls = counted.iter().find(|(kind, _)| *kind == injected.kind);
        let phase = calls.and_then(|(_, calls)| calls.iter().position(|end| injected.index < *end));
        try_faults(&mut summary, seed, &[*injected], phase, wrap);
    }
    let pairs = if plan.only.is_some() { 0 } else { plan.pairs };
    for _ in 0..DRAWS_MAX * pairs {
        if pairs <= summary.pairs || plan.failures_max <= summary.failures.len() {
            break;
        }
        let pair = [all[random.index(all.len())], all[random.index(all.len())]];
        try_faults(&mut summary, seed, &pair, None, wrap);
    }
    summary
}

fn try_faults(
    summary: &mut Summary,
    seed: u64,
    injected: &[Injected],
    phase: Option<usize>,
    wrap: &Wrap,
) {
    let outcome = run_with(seed, injected, wrap);
    let missed = matches!(outcome, Ok(Outcome::Missed));
    match injected {
        _ if missed => summary.missed += 1,
        [_] => summary.single += 1,
        _ => summary.pairs += 1,
    }
    if let (Some(phase), false) = (phase, missed) {
        summary.phases[phase] += 1;
    }
    match outcome {
        Ok(Outcome::Missed) => {}
        Ok(Outcome::Survived) => summary.survived += 1,
        Ok(Outcome::Refused) => summary.refused += 1,
        Err((wrong, what)) => summary.fail(seed, injected, wrong, what),
    }
    if let ([injected], false) = (injected, missed) {
        summary.kinds[injected.kind as usize] += 1;
    }
}

impl Failure {
    /// The line that repeats it.
    pub(super) fn replay(seed: u64, injected: &[Injected]) -> String {
        let program = "cargo run --release -p olivine-testkit --bin reliability -- faults";
        match injected {
            [injected] => {
                let Injected { kind, index, .. } = injected;
                let fault = super::report::name(injected);
                format!("{program} --seed {seed} --seeds 1 --only {kind:?}:{index}:{fault}")
            }
            _ => format!("{program} --seed {seed} --seeds 1"),
        }
    }
}
