//! Tasks that build a program of this repository in release mode and hand it their arguments.
//!
//! 1. Arguments go through as they are: the program knows its options, and this file does not.
//! 2. Standard input, output and the exit code are the program's.

use crate::{Outcome, misused, python};
use std::{path::Path, process::Command};

const RELIABILITY_HELP: &str = "\
Breaks the engine on purpose and counts what it lost.

usage: cargo xtask rel <crash|faults|full|rot|kill|served|blobs|memory|schedules|fuzz|planted|all> [options]

tiers:
  crash    power cuts at every sync of seeded histories: nothing acknowledged is lost, no holes
  faults   every n-th call of every kind fails: no wrong read, no acknowledgement after a latch
  full     no room on the disk from any call on, until there is again: left without reopening
  rot      flips, truncations and swaps in every kind of file: no wrong byte is returned in silence
  kill     kill -9 of a writing process, with an oracle outside of it
  served   kill -9 of a serving node, in one process and in two, with clients of its doors
  blobs    kill -9 of a store of blobs, in one process and in a master and volumes, with an oracle in its clients
  memory   ten times the budget of data: resident memory stays within budget + 64 MiB
  schedules  threads of real stores, pushed out of step at every call to disk and clock, and the same
           and more on threads of shuttle, which take turns as a seed says (`--shuttle` for these alone)
  fuzz     mutated inputs, checksums mended, for the parsers of every file, backups and command lines
  planted  an engine built with bugs: each must be found by the tier that claims it
  all      one after the other, with the options they share: --seed S, --slice, --threads N

Every failure prints the seed that repeats it. `cargo xtask rel crash --help` lists a tier's options.

examples:
  cargo xtask rel crash
  cargo xtask rel crash --seed 7 --images 1000
  cargo xtask rel all --slice
";

const BENCH_HELP: &str = "\
Measures the engine, alone or beside rivals on the same disk in the same run, and the node.

usage: cargo xtask bench engine [--rivals all|NAMES] [options]
       cargo xtask bench server [options]
       cargo xtask bench series [options]
       cargo xtask bench blobs [--minikeyvalue DIR] [options]
       cargo xtask bench python [options]
       cargo xtask bench chunks [options]
       cargo xtask bench chart FILE [--out DIR]

With --rivals the rivals are built first, in a target folder of their own; that takes a C++ compiler,
libclang and some minutes. `cargo xtask bench engine --help` lists the options.
`chart` draws what `--json FILE` wrote. `server` measures the JSON door beside a plain Python server and an
echo; it takes python3. `series` measures time series beside VictoriaMetrics and InfluxDB of
Debian (packages victoria-metrics and influxdb). `blobs` measures the store of blobs beside nginx
(package nginx-light) and minikeyvalue, whose sources `--minikeyvalue DIR` names. `python` measures the package for Python beside other
bindings of PyPI. `chunks` tells how small and how fast chunks of time series are.

examples:
  cargo xtask bench engine --smoke
  cargo xtask bench engine --n 1000000
  cargo xtask bench engine --rivals all --json target/bench.json
  cargo xtask bench chart target/bench.json
  cargo xtask bench server
";

const TIERS: [&str; 11] = [
    "crash",
    "faults",
    "full",
    "rot",
    "kill",
    "served",
    "blobs",
    "memory",
    "schedules",
    "fuzz",
    "planted",
];

/// `cargo xtask rel`.
pub(crate) fn reliability(root: &Path, arguments: &[String]) -> Outcome {
    match arguments.first().map(String::as_str) {
        None => misused("which tier?", RELIABILITY_HELP),
        Some("--help" | "-h" | "help") => {
            print!("{RELIABILITY_HELP}");
            Outcome::Good
        }
        Some("all") => all_tiers(root, &arguments[1..]),
        Some(tier) if TIERS.contains(&tier) => run_tier(root, tier, arguments),
        Some(unknown) => misused(
            &format!("no tier `{unknown}`; there are {}, all", TIERS.join(", ")),
            RELIABILITY_HELP,
        ),
    }
}

/// `cargo xtask bench`.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Outcome {
    match arguments.first().map(String::as_str) {
        None => misused("measure what?", BENCH_HELP),
        Some("--help" | "-h" | "help") => {
            print!("{BENCH_HELP}");
            Outcome::Good
        }
        Some("python") => python::bench(root, &arguments[1..]),
        Some("engine" | "chart" | "chunks") => cargo(root, &bench_command(), arguments),
        Some("server" | "series" | "blobs") => match cargo(root, &SERVED, &[]) {
            Outcome::Good => cargo(root, &bench_command(), arguments),
            bad => bad,
        },
        Some(unknown) => misused(
            &format!(
                "no bench `{unknown}`; there are engine, server, series, blobs, python, chunks, chart"
            ),
            BENCH_HELP,
        ),
    }
}

/// A test of the engine that is a part of the full memory tier: too long for every run of the tests.
const STREAM_TEST: [&str; 10] = [
    "test",
    "--quiet",
    "--release",
    "--package",
    "olivine-engine",
    "--test",
    "it",
    "a_gigabyte_takes_a_few_mib_of_memory",
    "--",
    "--include-ignored",
];

/// What builds for shuttle, in a target folder of its own.
const SHUTTLE: [(&str, &str); 3] = [
    ("RUSTFLAGS", "--cfg shuttle"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_TARGET_DIR", "target/shuttle"),
];

/// The schedules of shuttle's threads alone.
const SHUTTLE_ALONE: &str = "--shuttle";

/// One tier, whose name is the first argument.
fn run_tier(root: &Path, tier: &str, arguments: &[String]) -> Outcome {
    let command = reliability_command(tier);
    let asks = |words: &[&str]| arguments.iter().any(|word| words.contains(&word.as_str()));
    let helps = asks(&["--help", "-h"]);
    if tier == "schedules" && !helps {
        let alone = asks(&[SHUTTLE_ALONE]);
        let shared: Vec<String> =
            arguments.iter().filter(|word| *word != SHUTTLE_ALONE).cloned().collect();
        let pushed = if alone { Outcome::Good } else { cargo(root, &command, &shared) };
        return worse(pushed, cargo_with(root, &SHUTTLE, &command, &shared));
    }
    if matches!(tier, "served" | "blobs") && !helps && cargo(root, &SERVED, &[]) != Outcome::Good {
        return Outcome::Bad;
    }
    let streamed = if tier == "memory" && !helps && !asks(&["--slice"]) {
        cargo(root, &STREAM_TEST, &[])
    } else {
        Outcome::Good
    };
    worse(cargo(root, &command, arguments), streamed)
}

/// The first of the two that is not good.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    if one == Outcome::Good { other } else { one }
}

/// Every tier with the same options, whatever the ones before came to.
fn all_tiers(root: &Path, options: &[String]) -> Outcome {
    let (mut passed, mut failed) = (0, Vec::new());
    for tier in TIERS {
        let arguments: Vec<String> =
            [tier.to_owned()].into_iter().chain(options.iter().cloned()).collect();
        match run_tier(root, tier, &arguments) {
            Outcome::Good => passed += 1,
            _ => failed.push(tier),
        }
    }
    println!("reliability: {passed} passed, {} failed {}", failed.len(), failed.join(" "));
    if failed.is_empty() { Outcome::Good } else { Outcome::Bad }
}

/// What runs a reliability tier, up to its name and arguments.
fn reliability_command(tier: &str) -> Vec<&'static str> {
    let mut command = vec!["run", "--quiet", "--release", "--package", "olivine-testkit"];
    if tier == "planted" {
        command.extend(["--features", "planted"]);
    }
    command.extend(["--bin", "reliability", "--"]);
    command
}

/// What builds the servers that are measured.
const SERVED: [&str; 8] = [
    "build",
    "--quiet",
    "--release",
    "--package",
    "olivine",
    "--package",
    "olivine-server",
    "--bins",
];

/// What runs the benchmarks, up to their arguments.
fn bench_command() -> [&'static str; 6] {
    ["run", "--quiet", "--release", "--package", "olivine-bench", "--"]
}

fn cargo(root: &Path, command: &[&str], arguments: &[String]) -> Outcome {
    cargo_with(root, &[], command, arguments)
}

fn cargo_with(
    root: &Path,
    environment: &[(&str, &str)],
    command: &[&str],
    arguments: &[String],
) -> Outcome {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).envs(environment.iter().copied()).args(command).args(arguments);
    match cargo.status() {
        Ok(status) if status.success() => Outcome::Good,
        Ok(_) => Outcome::Bad,
        Err(error) => {
            eprintln!("error: cannot run cargo: {error}");
            Outcome::Bad
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that no test has would run none, and succeed.
    #[test]
    fn the_test_of_the_memory_tier_is_there() {
        let tests = include_str!("../../engine/tests/it/streaming.rs");
        assert!(tests.contains(&format!("fn {}()", STREAM_TEST[7])));
    }

    #[test]
    fn what_is_unknown_is_not_built_first() {
        let root = Path::new("/nowhere");
        for arguments in [&[][..], &["crush".to_owned()]] {
            assert_eq!(reliability(root, arguments), Outcome::Misused);
            assert_eq!(bench(root, arguments), Outcome::Misused);
        }
    }
}
