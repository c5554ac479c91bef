//! The tests of the tests: each tier must find the bugs that it claims, in an engine built with them.
//!
//! 1. Every bug that can be planted is claimed by exactly one tier.
//! 2. One bug at a time; the tiers run as they are, with small budgets, and end at the first failure.
//! 3. A bug that was not found is a failure, whatever the others came to.

use crate::{
    blobs, crash, faults, full, kill,
    report::{count, duration},
    rot, schedules, served,
};
use olivine_engine::{Bug, plant};
use olivine_vfs::{Clock, RealClock};
use std::{fmt, path::PathBuf, process::ExitCode, time::Duration};

/// A tier that finds bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Crash,
    Faults,
    Full,
    Rot,
    Kill,
    Served,
    Blobs,
    Schedules,
}

/// Who finds what.
const CLAIMS: [(Bug, Tier); Bug::ALL.len()] = [
    (Bug::AckBeforeSync, Tier::Crash),
    (Bug::AckBeforeHandOver, Tier::Kill),
    (Bug::AnsweredBeforeKept, Tier::Served),
    (Bug::ObjectToldEarly, Tier::Blobs),
    (Bug::TableNameUnsynced, Tier::Crash),
    (Bug::SegmentNameUnsynced, Tier::Crash),
    (Bug::TableUnsynced, Tier::Crash),
    (Bug::TableBeforeLog, Tier::Crash),
    (Bug::EditUnsynced, Tier::Crash),
    (Bug::CurrentUnsynced, Tier::Crash),
    (Bug::InputsRemovedEarly, Tier::Crash),
    (Bug::SegmentsReleasedEarly, Tier::Crash),
    (Bug::TombstoneDroppedEarly, Tier::Crash),
    (Bug::SnapshotIgnored, Tier::Crash),
    (Bug::FilterOnWrongKeys, Tier::Crash),
    (Bug::PrefixFilterOnWrongKeys, Tier::Crash),
    (Bug::CloseUnsynced, Tier::Crash),
    (Bug::RecoveredUnsynced, Tier::Faults),
    (Bug::SeqnosReused, Tier::Crash),
    (Bug::DropUnrecorded, Tier::Crash),
    (Bug::LeftoversKept, Tier::Faults),
    (Bug::CutAtRot, Tier::Rot),
    (Bug::PayloadUnverified, Tier::Rot),
    (Bug::BlockUnverified, Tier::Rot),
    (Bug::SyncRetried, Tier::Faults),
    (Bug::PartialWriteForgotten, Tier::Faults),
    (Bug::TableWriteUnchecked, Tier::Faults),
    (Bug::TornEditKept, Tier::Full),
    (Bug::RoomNotTriedAgain, Tier::Full),
    (Bug::VisibleEarly, Tier::Schedules),
    (Bug::ValuesUnsynced, Tier::Crash),
    (Bug::CollectedEarly, Tier::Crash),
    (Bug::ValueUnverified, Tier::Rot),
    (Bug::ReplacedHalf, Tier::Crash),
    (Bug::CompactionByteFlipped, Tier::Crash),
    (Bug::AppendedReleasedEarly, Tier::Crash),
    (Bug::DeletedRangeCarried, Tier::Crash),
    (Bug::TouchedBlockCarried, Tier::Crash),
];

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed of every tier.
    pub seed: u64,
    /// How much more than the least is looked at before a bug counts as missed.
    pub effort: u64,
    /// How many threads share the seeds.
    pub threads: usize,
    /// Only the bug of this name.
    pub only: Option<String>,
    /// Where stores on the real disk lie.
    pub dir: PathBuf,
    /// This program, for the tiers that kill it.
    pub program: PathBuf,
}

/// What became of one bug.
#[derive(Clone, Debug)]
struct Found {
    bug: Bug,
    tier: Tier,
    /// What was looked at until it was found, in words.
    looked_at: String,
    /// The first line of what was found.
    what: Option<String>,
    elapsed: Duration,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bug, tier) = (format!("{:?}", self.bug), format!("{:?}", self.tier).to_lowercase());
        let time = duration(self.elapsed);
        write!(f, "  {bug:<22} {tier:<7} {:<28} {time:>6}  ", self.looked_at)?;
        match &self.what {
            Some(what) => write!(f, "{what}"),
            None => write!(f, "NOT FOUND; again: cargo xtask rel planted --only {bug}"),
        }
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    bugs: usize,
    missed: usize,
    elapsed: Duration,
}

impl Summary {
    /// Whether every bug was found, and there was one.
    pub fn passed(&self) -> bool {
        0 < self.bugs && self.missed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { bugs, missed, elapsed } = self;
        let found = bugs - missed;
        write!(f, "P planted  bugs {bugs} found {found} | missed={missed} | {}", duration(*elapsed))
    }
}

/// Makes the bug of this name in this process.
pub fn plant_named(name: &str) -> Result<(), String> {
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    let bug = bug.ok_or_else(|| format!("{name:?} is none of the bugs {:?}", Bug::ALL))?;
    if plant(Some(bug)) { Ok(()) } else { Err(NOT_BUILT_IN.to_owned()) }
}

/// Where a tier asks for a node with a bug, this process is that node, as `olivine` would be.
pub fn as_node(words: &[String]) -> Option<ExitCode> {
    let is_node =
        ["serve", "storage", "coordinator", "master", "volume"].contains(&words.first()?.as_str());
    let bug = std::env::var(kill::PLANTED).ok().filter(|_| is_node)?;
    match plant_named(&bug) {
        Ok(()) => Some(olivine::run_program()),
        Err(_) => Some(ExitCode::from(2)),
    }
}

const NOT_BUILT_IN: &str =
    "this program was built without bugs; `cargo xtask rel planted` builds it with them";

/// Runs `plan`; `say` is told of every bug. An error when no bug was built in.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Result<Summary, String> {
    if !plant(None) {
        return Err(NOT_BUILT_IN.to_owned());
    }
    let claims: Vec<_> = CLAIMS
        .into_iter()
        .filter(|(bug, _)| plan.only.as_ref().is_none_or(|only| *only == format!("{bug:?}")))
        .collect();
    if claims.is_empty() {
        return Err(format!("no such bug; there are {:?}", Bug::ALL));
    }
    let watch = RealClock::new();
    let mut summary = Summary::default();
    for (bug, tier) in claims {
        let began = watch.now();
        let (looked_at, what) = hunt(plan, bug, tier);
        let elapsed = watch.now().saturating_sub(began);
        summary.bugs += 1;
        summary.missed += usize::from(what.is_none());
        summary.elapsed += elapsed;
        say(&Found { bug, tier, looked_at, what, elapsed }.to_string());
    }
    Ok(summary)
}

/// Runs a tier against a bug. Returns what was looked at, and what was found.
fn hunt(plan: &Plan, bug: Bug, tier: Tier) -> (String, Option<String>) {
    let quiet = |_: &str| {};
    // Children plant it themselves; the oracle beside them must be sound.
    plant((!matches!(tier, Tier::Kill | Tier::Served | Tier::Blobs)).then_some(bug));
    let found = match tier {
        Tier::Crash => {
            let plan = crash::Plan {
                seed: plan.seed,
                seeds: 30 * plan.effort,
                ops: 600,
                images: 60,
                threads: plan.threads,
                failures_max: 1,
                shrink: Duration::ZERO,
                ..crash::Plan::default()
            };
            let summary = crash::run(&plan, &quiet, &crash::honest);
            let images: u64 = summary.tally.images.iter().sum();
            let looked_at = format!("seeds {} images {}", summary.seeds, count(images));
            let what = summary.failures.first().map(|failure| failure.trouble.to_string());
            (looked_at, what)
        }
        Tier::Faults => {
            let plan = faults::Plan {
                seed: plan.seed,
                seeds: 6 * plan.effort,
                every: 2,
                pairs: 0,
                threads: plan.threads,
                failures_max: 1,
                ..faults::Plan::default()
            };
            let summary = faults::run(&plan, &quiet, &faults::honest);
            let looked_at = format!("seeds {} faults {}", summary.seeds, count(summary.single));
            (looked_at, summary.failures.first().map(ToString::to_string))
        }
        Tier::Full => {
            let plan = full::Plan {
                seed: plan.seed,
                seeds: 6 * plan.effort,
                every: 2,
                threads: plan.threads,
                failures_max: 1,
                ..full::Plan::default()
            };
            let summary = full::run(&plan, &quiet);
            let looked_at = format!("seeds {} disks {}", summary.seeds, count(summary.disks));
            (looked_at, summary.failures.first().cloned())
        }
        Tier::Schedules => {
            let plan = schedules::Plan {
                seed: plan.seed,
                schedules: 2_000 * plan.effort,
                threads: plan.threads,
                failures_max: 1,
            };
            let summary = schedules::run(&plan, &quiet);
            let looked_at = format!("schedules {}", summary.schedules);
            (looked_at, summary.failures.first().cloned())
        }
        Tier::Rot => {
            let plan = rot::Plan {
                seed: plan.seed,
                mutations: 3_000 * plan.effort,
                every: 40,
                threads: plan.threads,
                failures_max: 1,
                ..rot::Plan::default()
            };
            let summary = rot::run(&plan, &quiet);
            let looked_at = format!("mutations {}", count(summary.mutations));
            (looked_at, summary.failures.first().map(|failure| failure.text.clone()))
        }
        Tier::Kill => {
            let plan = kill::Plan {
                seed: plan.seed,
                kills: 5 * plan.effort,
                threads: 2,
                millis_max: 100,
                early: false,
                planted: Some(format!("{bug:?}")),
                dir: plan.dir.clone(),
                program: plan.program.clone(),
            };
            let summary = kill::run(&plan, &quiet);
            let looked_at = format!("kills {}", summary.kills);
            (looked_at, summary.failures.first().map(ToString::to_string))
        }
        Tier::Served => {
            let plan = served::Plan {
                seed: plan.seed,
                kills: 2 * plan.effort,
                millis_max: 300,
                planted: Some(format!("{bug:?}")),
                dir: plan.dir.join("served"),
                program: plan.program.clone(),
                promised: 0,
            };
            let summary = served::run(&plan, &quiet);
            served::remove(&plan.dir);
            (format!("kills {}", summary.kills), summary.failures.first().cloned())
        }
        Tier::Blobs => {
            let plan = blobs::Plan {
                seed: plan.seed,
                kills: 10 * plan.effort,
                millis_max: 300,
                planted: Some(format!("{bug:?}")),
                dir: plan.dir.join("blobs"),
                program: plan.program.clone(),
                promised: 0,
            };
            let summary = blobs::run(&plan, &quiet);
            served::remove(&plan.dir);
            (format!("kills {}", summary.kills), summary.failures.first().cloned())
        }
    };
    plant(None);
    (found.0, found.1.map(|what| first_line(&what)))
}

/// How much of what was found is shown.
const SHOWN_CHARS: usize = 110;

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(SHOWN_CHARS).collect();
    if shown.len() < line.len() { format!("{shown} ...") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_claimed_once() {
        for bug in Bug::ALL {
            assert_eq!(CLAIMS.iter().filter(|(claimed, _)| *claimed == bug).count(), 1, "{bug:?}");
        }
    }

    /// An engine as it is shipped has no bug to plant.
    #[test]
    #[cfg(not(feature = "planted"))]
    fn without_the_feature_nothing_is_planted() {
        assert!(!plant(None));
        assert!(plant_named("AckBeforeSync").is_err());
    }
}
