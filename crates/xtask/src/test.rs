//! `cargo xtask test`: the one list of checks.
//!
//! 1. Every step runs, whatever the steps before it came to.
//! 2. A step that cannot run here is told with what to install, and is red under `--require-all`.
//! 3. A step that failed shows the end of its output and the command that repeats it alone.
//! 4. Nothing is asked on standard input.

mod steps;

pub(crate) use steps::RELEASE;

use crate::{Outcome, misused};
use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};
use steps::{STEPS, Step};

const LINES_SHOWN: usize = 60;

/// What one step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well; the lines are worth showing all the same.
    Passed(Vec<String>),
    /// Something is not; the end of what was printed, and the command that repeats it.
    Failed { output: Vec<String>, repeat: String },
    /// It cannot run here.
    Skipped { why: String, remedy: String },
}

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    require_all: bool,
    /// The steps to run; empty for all.
    only: Vec<String>,
}

/// `cargo xtask test`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{}", help());
        return Outcome::Good;
    }
    match wish(arguments) {
        Ok(wish) => {
            let chosen =
                |step: &&Step| wish.only.is_empty() || wish.only.iter().any(|o| o == step.name);
            run_steps(root, STEPS.iter().filter(chosen), wish.require_all)
        }
        Err(what) => misused(&what, &help()),
    }
}

fn help() -> String {
    let width = STEPS.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let steps: Vec<String> =
        STEPS.iter().map(|step| format!("  {:width$}   {}\n", step.name, step.what)).collect();
    format!(
        "\
Runs every check, prints the seconds each took, and goes on when one fails.

usage: cargo xtask test [--require-all] [--only STEP]...

options:
  --require-all   a step that cannot run here counts as failed
  --only STEP     run this step; may be given again

steps:
{}
examples:
  cargo xtask test
  cargo xtask test --only fmt --only clippy
",
        steps.concat()
    )
}

fn wish(arguments: &[String]) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let step = match argument.as_str() {
            "--require-all" => {
                wish.require_all = true;
                continue;
            }
            "--only" => arguments.next().ok_or("`--only` wants the name of a step")?.as_str(),
            _ => argument.strip_prefix("--only=").ok_or_else(|| {
                format!("no option `{argument}`; there are --require-all, --only STEP")
            })?,
        };
        if !STEPS.iter().any(|known| known.name == step) {
            let names: Vec<&str> = STEPS.iter().map(|known| known.name).collect();
            return Err(format!("no step `{step}`; there are {}", names.join(", ")));
        }
        wish.only.push(step.to_owned());
    }
    Ok(wish)
}

fn run_steps<'a>(root: &Path, steps: impl Iterator<Item = &'a Step>, require_all: bool) -> Outcome {
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    let start = Instant::now();
    for step in steps {
        print!("{:<12} ", step.name);
        flush();
        let begun = Instant::now();
        let verdict = (step.run)(root);
        let seconds = begun.elapsed().as_secs_f64();
        match verdict {
            Verdict::Passed(lines) => {
                println!("ok       {seconds:7.1} s");
                show(&lines);
                passed += 1;
            }
            Verdict::Failed { output, repeat } => {
                println!("FAILED   {seconds:7.1} s");
                show(&output);
                println!("    repeat: {repeat}");
                failed.push(step.name);
            }
            Verdict::Skipped { why, remedy } => {
                println!("SKIPPED  {seconds:7.1} s");
                println!("    {why}\n    to run it: {remedy}");
                skipped.push(step.name);
            }
        }
        flush();
    }
    for (what, names) in [("failed", &failed), ("skipped", &skipped)] {
        if !names.is_empty() {
            println!("{what}: {}", names.join(", "));
        }
    }
    println!(
        "{passed} passed, {} failed, {} skipped in {:.1} s",
        failed.len(),
        skipped.len(),
        start.elapsed().as_secs_f64()
    );
    let red = !failed.is_empty() || (require_all && !skipped.is_empty());
    if red && failed.is_empty() {
        println!("a skipped step counts as failed under --require-all");
    }
    if red { Outcome::Bad } else { Outcome::Good }
}

fn show(lines: &[String]) {
    for line in lines {
        println!("    {line}");
    }
}

fn flush() {
    // A terminal that went away is no reason to stop testing.
    drop(io::stdout().flush());
}

/// A command of a step, and how to type it.
pub(crate) struct Call<'a> {
    root: &'a Path,
    /// Cargo, or a program that it has built.
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    arguments: Vec<String>,
}

/// Where what steps printed is kept, and what they write for themselves.
const FOLDER: &str = "target/xtask";

impl<'a> Call<'a> {
    /// `cargo` with `arguments`, in the root.
    pub(crate) fn cargo<'b>(root: &'a Path, arguments: impl IntoIterator<Item = &'b str>) -> Self {
        Call::program(root, Path::new("cargo"), arguments)
    }

    /// A program with `arguments`, in the root.
    pub(crate) fn program<'b>(
        root: &'a Path,
        program: &Path,
        arguments: impl IntoIterator<Item = &'b str>,
    ) -> Self {
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Call { root, program: program.to_owned(), environment: Vec::new(), arguments }
    }

    /// The same with a variable set.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The same with `--cfg NAME` for the crates of the workspace, and for them alone: those of others stay as they
    /// were built.
    pub(crate) fn with_cfg(self, name: &str) -> Result<Self, Verdict> {
        // The name is part of what cargo tells builds apart by.
        let script = self.root.join(FOLDER).join(format!("rustc-with-{name}"));
        let text = format!("#!/bin/sh\nexec \"$@\" --cfg {name}\n");
        let written = fs::create_dir_all(self.root.join(FOLDER)).and_then(|()| {
            if fs::read_to_string(&script).is_ok_and(|there| there == text) {
                return Ok(());
            }
            fs::write(&script, text)?;
            fs::set_permissions(&script, Permissions::from_mode(0o755))
        });
        match written {
            Ok(()) => Ok(self.with("RUSTC_WORKSPACE_WRAPPER", script.display().to_string())),
            Err(error) => {
                let output = vec![format!("cannot write {}: {error}", script.display())];
                Err(Verdict::Failed { output, repeat: self.typed() })
            }
        }
    }

    /// The line that does the same in a shell.
    pub(crate) fn typed(&self) -> String {
        let variables =
            self.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let arguments = self.arguments.iter().map(|argument| quoted(argument));
        let program = quoted(&self.program.display().to_string());
        let words: Vec<String> = variables.chain([program]).chain(arguments).collect();
        words.join(" ")
    }

    /// Runs it; what it printed is kept in `target/xtask/<name>.log`, and its lines are the answer:
    /// all of them after success, the last ones otherwise.
    pub(crate) fn run(&self, name: &str) -> Result<Vec<String>, Verdict> {
        let (succeeded, mut lines) = match self.run_into_log(name) {
            Ok(outcome) => outcome,
            Err(error) => (false, vec![format!("cannot run {}: {error}", self.program.display())]),
        };
        if succeeded {
            return Ok(lines);
        }
        let output = lines.split_off(lines.len().saturating_sub(LINES_SHOWN));
        Err(Verdict::Failed { output, repeat: self.typed() })
    }

    fn run_into_log(&self, name: &str) -> io::Result<(bool, Vec<String>)> {
        let folder = self.root.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.log"));
        let log = fs::File::create(&path)?;
        let status = Command::new(&self.program)
            .current_dir(self.root)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()?;
        let text = fs::read(&path)?;
        let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        Ok((status.success(), lines))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let wished = wish(&arguments("--only fmt --require-all --only=tidy")).unwrap();
        let only = arguments("fmt tidy");
        assert_eq!(wished, Wish { require_all: true, only });
        assert_eq!(wish(&[]), Ok(Wish::default()));
    }

    #[test]
    fn what_is_unknown_is_told_with_what_is_known() {
        let said = wish(&arguments("--only nothing")).unwrap_err();
        assert!(said.starts_with("no step `nothing`; there are fmt, "), "{said}");
        let said = wish(&arguments("--all")).unwrap_err();
        assert_eq!(said, "no option `--all`; there are --require-all, --only STEP");
        assert_eq!(wish(&arguments("--only")).unwrap_err(), "`--only` wants the name of a step");
    }

    #[test]
    fn a_call_can_be_typed_again() {
        let call =
            Call::cargo(Path::new("."), ["test", "--", "a b"]).with("RUSTFLAGS", "--cfg loom");
        assert_eq!(call.typed(), "RUSTFLAGS='--cfg loom' cargo test -- 'a b'");
    }

    /// A step that fails or is skipped does not keep the others from running, and decides the end.
    #[test]
    fn every_step_runs_and_the_worst_decides() {
        fn good(_: &Path) -> Verdict {
            Verdict::Passed(Vec::new())
        }
        fn bad(_: &Path) -> Verdict {
            Verdict::Failed { output: Vec::new(), repeat: String::new() }
        }
        fn absent(_: &Path) -> Verdict {
            Verdict::Skipped { why: String::new(), remedy: String::new() }
        }
        let step = |run| Step { name: "step", what: "", run };
        let outcome = |steps: &[Step], all| run_steps(Path::new("."), steps.iter(), all);
        assert_eq!(outcome(&[step(good), step(good)], true), Outcome::Good);
        assert_eq!(outcome(&[step(bad), step(good)], false), Outcome::Bad);
        assert_eq!(outcome(&[step(absent), step(good)], false), Outcome::Good);
        assert_eq!(outcome(&[step(absent), step(good)], true), Outcome::Bad);
    }
}
