//! Every workload on a small store, in the processes and with the kills of a real run: the answers
//! are checked by the workloads themselves, the figures mean nothing.

#![expect(clippy::disallowed_methods, reason = "the stores of the run are real directories")]

use std::process::Command;

#[test]
fn every_workload_runs_and_answers_right() {
    let dir = std::env::temp_dir().join(format!("olivine-bench-smoke-{}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_olivine-bench"))
        .args(["engine", "--smoke", "--dir"])
        .arg(&dir)
        .output()
        .unwrap();
    let (table, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{log}");
    let last_of_each_chain =
        ["put_os/shared", "seek_deleted", "put_sync/16", "batch100", "reopen_big_clean"];
    for row in last_of_each_chain {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
    assert_eq!(table.matches("lost=0").count(), 2, "{table}");
    std::fs::remove_dir_all(&dir).unwrap();
}
