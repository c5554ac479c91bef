//! The tasks of this repository, as `cargo xtask <task>`; every check that a machine can make starts here.
//!
//! 1. There is one list of checks, in `test.rs`; continuous integration calls it and adds nothing.
//! 2. No task needs more than a Rust toolchain. What else a step could use is told when it is missing.
//! 3. Nothing is silently accepted: an unknown task or option is an error that says what is known.
//! 4. The exit code is 0 when all went well, 1 when something failed, 2 when the call made no sense.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tasks read the sources and take real time; they are not part of the product"
)]

mod counts;
mod json;
mod markdown;
mod package;
mod packages;
mod passthrough;
mod python;
mod rust;
mod test;
mod tidy;
mod tree;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

const HELP: &str = "\
The tasks of this repository.

usage: cargo xtask <task> [options]

tasks:
  test    formats, lints, tidy rules, all tests, a slice of each reliability tier
  tidy    the rules that no other tool checks: arrows, headers, names, links
  rel     the reliability tiers: crash, faults, full, rot, kill, served, blobs, memory, schedules, fuzz, planted
  counts  instructions an operation takes, compared with docs/counts.txt
  bench   the benchmarks, alone or beside rivals
  python  the package for Python as a wheel, installed and tried
  package the statically linked program as units, a Debian package and an image, each of them tried

`cargo xtask <task> --help` tells more of each.

examples:
  cargo xtask test
  cargo xtask test --only clippy --only tidy
  cargo xtask rel crash --images 100000
  cargo xtask bench engine --rivals all
";

/// What a task came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    Bad,
    /// The call made no sense; help was printed.
    Misused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(match outcome {
            Outcome::Good => 0,
            Outcome::Bad => 1,
            Outcome::Misused => 2,
        })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("--help", &[][..]),
    };
    let root = root();
    let outcome = match task {
        "test" => test::run(&root, rest),
        "tidy" => tidy::run(&root, rest),
        "rel" => passthrough::reliability(&root, rest),
        "counts" => counts::run(&root, rest),
        "bench" => passthrough::bench(&root, rest),
        "package" => package::run(&root, rest),
        "python" => python::run(&root, rest),
        "--help" | "-h" | "help" => {
            print!("{HELP}");
            Outcome::Good
        }
        unknown => misused(
            &format!(
                "no task `{unknown}`; there are test, tidy, rel, counts, bench, python, package"
            ),
            HELP,
        ),
    };
    outcome.into()
}

/// Says what is wrong with a call and how a right one looks.
fn misused(what: &str, help: &str) -> Outcome {
    eprint!("error: {what}\n\n{help}");
    Outcome::Misused
}

/// The folder that holds the whole repository.
fn root() -> PathBuf {
    let package =
        env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&package).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}
