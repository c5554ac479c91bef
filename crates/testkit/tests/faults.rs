//! The fault tier finds nothing where nothing is wrong, and finds failures that are hidden.

use olivine_testkit::{
    faults::{self, Injected, Plan, Summary},
    lying::{Lie, LyingVfs},
};
use olivine_vfs::{FailingVfs, Kind, Vfs};
use std::sync::Arc;

fn plan() -> Plan {
    Plan { seeds: 2, every: 8, pairs: 10, threads: 1, ..Plan::default() }
}

fn run_hiding(kind: Kind, only: &str) -> Summary {
    let wrap = move |disk: Arc<FailingVfs>| -> Arc<dyn Vfs> {
        Arc::new(LyingVfs::new(disk, Lie::Hide { kind }))
    };
    let mut failed = Summary::default();
    // Some calls do not matter to what was acknowledged; one of these must.
    for index in 0..60 {
        let only = Injected::parse(&format!("{kind:?}:{index}:{only}")).expect("a fault");
        let plan = Plan { seeds: 1, only: Some(only), ..plan() };
        failed.failures.extend(faults::run(&plan, &|_| {}, &wrap).failures);
    }
    failed
}

#[test]
fn every_fault_is_a_clean_error_or_survived() {
    let summary = faults::run(&plan(), &|line| println!("{line}"), &faults::honest);
    assert!(summary.passed(), "{summary}");
    assert!(summary.phases.iter().all(|faults| 0 < *faults), "{summary}");
}

#[test]
fn failed_syncs_that_are_hidden_from_the_store_are_found() {
    assert!(!run_hiding(Kind::Sync, "lost").failures.is_empty());
}

#[test]
fn failed_writes_that_are_hidden_from_the_store_are_found() {
    assert!(!run_hiding(Kind::Write, "eio").failures.is_empty());
    assert!(!run_hiding(Kind::Write, "short40").failures.is_empty());
}

/// A run that looked at less than it promised must not look like one that kept its word.
#[test]
fn less_than_promised_is_said_and_fails() {
    let few = Plan { seeds: 1, every: 40, pairs: 3, promised: Some((1, 4)), ..plan() };
    let summary = faults::run(&few, &|_| {}, &faults::honest);
    assert!(!summary.passed() && summary.failures.is_empty(), "{summary}");
    assert!(summary.to_string().contains("SHORT of the promised single 1 and pairs 4"));
    assert_eq!(summary.pairs, 3, "a pair that is not met is drawn anew");
    let kept = Plan { promised: Some((1, 3)), ..few };
    assert!(faults::run(&kept, &|_| {}, &faults::honest).passed());
}
