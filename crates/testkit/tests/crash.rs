//! The crash tier finds nothing where nothing is wrong, and finds what is made wrong.

use olivine_testkit::{
    crash::{self, Kind, Plan, Summary},
    lying::{Lie, LyingVfs},
    oracle::Loss,
};
use olivine_vfs as vfs;
use std::sync::Arc;

fn plan() -> Plan {
    Plan { seeds: 6, ops: 300, images: 60, threads: 1, failures_max: 1, ..Plan::default() }
}

fn run_lying(lie: Lie) -> Summary {
    let wrap = move |disk| -> Arc<dyn vfs::Vfs> { Arc::new(LyingVfs::new(Arc::new(disk), lie)) };
    crash::run(&plan(), &|_| {}, &wrap)
}

#[test]
fn nothing_is_lost_in_any_crash() {
    let summary = crash::run(&plan(), &|line| println!("{line}"), &crash::honest);
    assert!(summary.passed(), "{summary}");
    assert!(0 < summary.tally.double && 0 < summary.tally.later, "{summary}");
    assert!(summary.tally.images.iter().all(|images| 0 < *images), "{summary}");
}

#[test]
fn syncs_that_do_nothing_are_found() {
    for every in [1, 7] {
        let summary = run_lying(Lie::Skip { kind: vfs::Kind::Sync, every });
        assert!(!summary.passed(), "every {every}: {summary}");
    }
}

#[test]
fn syncs_of_directories_that_do_nothing_are_found() {
    let summary = run_lying(Lie::Skip { kind: vfs::Kind::SyncDir, every: 1 });
    assert!(!summary.passed(), "{summary}");
}

#[test]
fn writes_that_do_nothing_are_found() {
    let summary = run_lying(Lie::Skip { kind: vfs::Kind::Write, every: 40 });
    assert!(!summary.passed(), "{summary}");
}

#[test]
fn a_failure_tells_how_to_see_it_again() {
    let summary = run_lying(Lie::Skip { kind: vfs::Kind::Sync, every: 1 });
    let text = summary.failures[0].to_string();
    assert!(text.contains("reliability -- crash --seed"), "{text}");
    assert!(summary.to_string().starts_with("A crashfs  seeds "));
}

/// A disk that hides missing syncs would let every test pass.
#[test]
fn a_disk_that_does_not_forget_fails_the_run() {
    let summary = run_lying(Lie::SyncOnClose);
    assert!(!summary.passed());
    let lost = |kind| kind == Kind::Loss(Loss::Lost);
    assert!(!summary.failures.iter().any(|failure| lost(failure.trouble.kind)));
}

/// A run that looked at less than it promised must not look like one that kept its word.
#[test]
fn less_than_promised_is_said_and_fails() {
    let few = Plan { seeds: 1, promised: Some((60, 1_000)), ..plan() };
    let summary = crash::run(&few, &|_| {}, &crash::honest);
    assert!(!summary.passed() && summary.failures.is_empty(), "{summary}");
    assert!(summary.to_string().contains("SHORT of the promised images 60 and double 1000"));
}

/// In a keyspace of windows a collection that was left off between two tables, and small tables being put
/// together again behind it, undid each other's work for ever (226); and small tables were put
/// together again and again where there was no memory for a larger one, because half of what the
/// table seemed to come to was more than it did (272).
#[test]
fn settling_comes_to_an_end() {
    for seed in [226, 272] {
        let plan = Plan { seed, seeds: 1, threads: 1, ..Plan::default() };
        let summary = crash::run(&plan, &|_| {}, &crash::honest);
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    }
}
