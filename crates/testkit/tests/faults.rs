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
