//! Killed processes lose nothing, and a process that tells of writes before it makes them is found.

use olivine_testkit::kill::{self, Plan};
use std::path::PathBuf;

fn plan(name: &str) -> Plan {
    let name = format!("olivine-kill-test-{name}-{}", std::process::id());
    Plan {
        seed: 1,
        kills: 4,
        threads: 3,
        millis_max: 60,
        early: false,
        planted: None,
        dir: std::env::temp_dir().join(name),
        program: PathBuf::from(env!("CARGO_BIN_EXE_reliability")),
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let summary = kill::run(&plan("honest"), &|line| println!("{line}"));
    assert!(summary.passed(), "{summary}");
    assert!(8 <= summary.kills, "{summary}");
}

#[test]
fn acknowledgements_given_too_early_are_found() {
    let summary = kill::run(&Plan { early: true, kills: 20, ..plan("early") }, &|_| {});
    assert!(!summary.passed(), "{summary}");
}
