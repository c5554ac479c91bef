//! The fuzz tier with the assertions of a test build on, arithmetic included.

use olivine_testkit::fuzz::{self, Plan};
use std::path::Path;

/// The corpus is not written to but when something is found.
fn plan(executions: u64) -> Plan {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    Plan { seed: 1, executions, threads: 2, corpus }
}

#[test]
fn every_parser_answers_what_nobody_wrote() {
    let summary = fuzz::run(&plan(400_000), &|line| println!("{line}")).expect("a corpus");
    assert!(summary.passed(), "{summary}");
    let line = summary.to_string();
    assert!(line.contains("targets 28 ") && line.contains("panics=0 hangs=0"), "{line}");
}
