//! Every workload on a small store, in the processes and with the kills of a real run: the answers
//! are checked by the workloads themselves, the figures mean nothing.

#![expect(clippy::disallowed_methods, reason = "the stores of the run are real directories")]

use std::process::Command;

#[test]
fn every_workload_runs_and_answers_right() {
    let dir = std::env::temp_dir().join(format!("olivine-bench-smoke-{}", std::process::id()));
    let (json, charts) = (dir.with_extension("json"), dir.with_extension("charts"));
    let bench = || Command::new(env!("CARGO_BIN_EXE_olivine-bench"));
    let output = bench()
        .args(["engine", "--smoke", "--dir"])
        .arg(&dir)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let (table, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}\n{log}");
    let last_of_each_chain = [
        "put_os/shared",
        "seek_deleted",
        "ycsb_f",
        "bulk_load",
        "get_16k",
        "queue_unknown_head",
        "put_sync/16",
        "batch100",
        "put_sustained",
        "reopen_big_clean",
    ];
    for row in last_of_each_chain {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
    assert_eq!(table.matches("lost=0").count(), 2, "{table}");

    let drawn = bench().arg("chart").arg(&json).arg("--out").arg(&charts).output().unwrap();
    let names = String::from_utf8_lossy(&drawn.stdout);
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    for chart in names.lines() {
        let svg = std::fs::read_to_string(chart).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{chart}");
    }
    assert_eq!(names.lines().count(), 5, "{names}");
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::remove_dir_all(&charts).unwrap();
    std::fs::remove_file(&json).unwrap();
}
