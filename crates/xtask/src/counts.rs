//! `cargo xtask counts`: how many instructions an operation of the engine takes, compared with before.
//!
//! Valgrind's callgrind counts them in a program that does one operation many times, in memory and
//! without threads. A count moves only when the code does, so a small loss is seen that no clock on a
//! shared machine would show.
//!
//! 1. A figure more than 3 % above the accepted one is red, and told with how to accept it.
//! 2. Figures of another compiler say nothing; they are told apart and not compared.

use crate::{Outcome, misused};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const HELP: &str = "\
Counts the instructions of put, hot get, missing get, next and of the merge of overwritten keys, all over a
table or beside each other, with valgrind's callgrind, and compares them with docs/counts.txt: more than
3 % above is an error.

usage: cargo xtask counts [--accept]

options:
  --accept   write the figures into docs/counts.txt as those to compare with from now on

examples:
  cargo xtask counts
  cargo xtask counts --accept
";

const FILE: &str = "docs/counts.txt";
const OPERATIONS: [&str; 6] = ["put", "get_hot", "get_missing", "next", "merge", "merge_beside"];
/// By how much a figure may grow, in per mille.
const GROWTH_MAX: u64 = 30;

/// `cargo xtask counts`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    let accept = match arguments {
        [] => false,
        [option] if option == "--accept" => true,
        [option] if option == "--help" || option == "-h" => {
            print!("{HELP}");
            return Outcome::Good;
        }
        _ => return misused("counts takes --accept, or nothing", HELP),
    };
    match built(root).and_then(|program| counts(root, &program, accept)) {
        Ok(Compared { lines, worse }) => {
            for line in lines {
                println!("{line}");
            }
            if worse.is_empty() { Outcome::Good } else { Outcome::Bad }
        }
        Err(what) => {
            eprintln!("error: {what}");
            Outcome::Bad
        }
    }
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// What to show.
    pub(crate) lines: Vec<String>,
    /// The operations that take too many instructions more.
    pub(crate) worse: Vec<String>,
}

/// Builds the program to count.
fn built(root: &Path) -> Result<PathBuf, String> {
    let build = "build --quiet --release --locked --package olivine-testkit --bin counts";
    let built = Command::new("cargo").current_dir(root).args(build.split(' ')).status();
    let built = built.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !built.success() {
        return Err("the program to count does not build".to_owned());
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    Ok(Path::new(&target).join("release/counts"))
}

/// Counts and compares; with `accept`, writes the new figures.
pub(crate) fn counts(root: &Path, program: &Path, accept: bool) -> Result<Compared, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        let line = "SKIPPED: valgrind is not installed (apt-get install valgrind)".to_owned();
        return Ok(Compared { lines: vec![line], worse: Vec::new() });
    }
    let compiler = compiler()?;
    let figures = OPERATIONS
        .into_iter()
        .map(|operation| Ok((operation, count(root, program, operation)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let path = root.join(FILE);
    let known = fs::read_to_string(&path).unwrap_or_default();
    if accept {
        let text = written(&compiler, &figures);
        fs::write(&path, text).map_err(|error| format!("cannot write {FILE}: {error}"))?;
        return Ok(Compared { lines: vec![format!("wrote {FILE}")], worse: Vec::new() });
    }
    Ok(compare(&known, &compiler, &figures))
}

fn compiler() -> Result<String, String> {
    let output = Command::new("rustc").arg("--version").output();
    let output = output.map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// What the C library is told of the processor, so that counts are the same on another one.
const PLAIN_PROCESSOR: &str =
    "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-RTM,-BMI2,-EVEX";

/// Instructions that one such operation takes, on average.
fn count(root: &Path, program: &Path, operation: &str) -> Result<u64, String> {
    let output = Command::new("valgrind")
        .current_dir(root)
        // The C library chooses its copying by the processor; the oldest way is there on all of them.
        .env("GLIBC_TUNABLES", PLAIN_PROCESSOR)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*counted*"])
        .arg(program)
        .arg(operation)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|number| 0 < *number);
    let collected = told.lines().find_map(|line| number(line.split_once("Collected :")?.1));
    let times = number(&String::from_utf8_lossy(&output.stdout));
    match (collected, times) {
        (Some(collected), Some(times)) => Ok(collected / times),
        _ => Err(format!("counting {operation} failed:\n{told}")),
    }
}

fn written(compiler: &str, figures: &[(&str, u64)]) -> String {
    let mut text = format!(
        "Instructions an operation takes, by callgrind: `cargo xtask counts` compares, with --accept \
         writes.\n{compiler}\n"
    );
    for (operation, count) in figures {
        // Writing to a string cannot fail.
        writeln!(text, "{operation:<12} {count:>6}").ok();
    }
    text
}

/// The figures beside those in `known`.
fn compare(known: &str, compiler: &str, figures: &[(&str, u64)]) -> Compared {
    let mut compared = Compared::default();
    let same = known.lines().any(|line| line == compiler);
    if !same {
        let line = format!("SKIPPED: {FILE} has figures of another compiler than {compiler}");
        compared.lines.push(line);
    }
    for (operation, count) in figures {
        let before = known.lines().find_map(|line| {
            let (name, figure) = line.split_once(' ')?;
            (name == *operation).then(|| figure.trim().parse::<u64>().ok())?
        });
        let Some(before) = before.filter(|_| same) else {
            compared.lines.push(format!("{operation:<12} {count:>6}"));
            continue;
        };
        let percent = (*count as f64 / before as f64 - 1.0) * 100.0;
        compared.lines.push(format!("{operation:<12} {count:>6} {percent:+.1} % of {before}"));
        if before * (1000 + GROWTH_MAX) < count * 1000 {
            compared.worse.push((*operation).to_owned());
        }
    }
    if !compared.worse.is_empty() {
        compared.lines.push(format!(
            "{} takes more than 3 % more instructions than {FILE} says; if that is worth it, say why in \
             the commit and run: cargo xtask counts --accept",
            compared.worse.join(", ")
        ));
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_per_cent_more_is_too_much() {
        let known = written("rustc 1.95.0", &[("put", 1000), ("next", 100)]);
        let worse =
            |put, next| compare(&known, "rustc 1.95.0", &[("put", put), ("next", next)]).worse;
        assert!(worse(1030, 90).is_empty());
        assert_eq!(worse(1031, 103), ["put"]);
        assert_eq!(worse(1000, 104), ["next"]);
    }

    #[test]
    fn figures_of_another_compiler_are_not_compared() {
        let known = written("rustc 1.95.0", &[("put", 1000)]);
        let compared = compare(&known, "rustc 1.96.0", &[("put", 2000)]);
        assert!(compared.worse.is_empty() && compared.lines[0].starts_with("SKIPPED"));
    }
}
