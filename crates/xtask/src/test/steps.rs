//! The steps of `cargo xtask test`, in the order they run: the quick ones first.
//!
//! 1. A step that ran nothing has not passed: a filter that matches no test is a failure.
//! 2. Nothing is built twice: whatever steps run in release mode comes from the one build of [`RELEASE`], and flags
//!    for our own crates do not reach those of others. A build with flags for all has a target folder of its own.

use super::{Call, Verdict};
use crate::{counts, package, python, tidy};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Path) -> Verdict,
}

/// What builds everything as it is shipped, and what breaks and measures it.
pub(crate) const RELEASE: [&str; 5] = ["build", "--workspace", "--release", "--locked", "--bins"];

/// Every check there is.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "fmt", what: "sources are formatted", run: fmt },
    Step { name: "tidy", what: "arrows, headers, names, links", run: tidy_rules },
    Step { name: "clippy", what: "no lint speaks, in any target", run: clippy },
    Step { name: "tests", what: "the tests of all crates", run: tests },
    Step {
        name: "clients",
        what: "the node, asked by curl, influx, promtool and PyPI's libraries, watched by strace",
        run: clients,
    },
    Step {
        name: "doctests",
        what: "the examples in the documentation of what others embed",
        run: doctests,
    },
    Step { name: "portable", what: "the disk as systems other than Linux have it", run: portable },
    Step { name: "loom", what: "the engine's lock-free parts under every schedule", run: loom },
    Step { name: "asan", what: "the engine's unsafe parts under AddressSanitizer", run: asan },
    Step { name: "release", what: "everything builds as it is shipped", run: release },
    Step { name: "crash", what: "a slice of the power cuts", run: |root| tier(root, "crash") },
    Step { name: "faults", what: "a slice of the failing disks", run: |root| tier(root, "faults") },
    Step { name: "full", what: "a slice of the full disks", run: |root| tier(root, "full") },
    Step { name: "rot", what: "a slice of the damaged files", run: |root| tier(root, "rot") },
    Step { name: "kill", what: "a slice of the killed processes", run: |root| tier(root, "kill") },
    Step { name: "killed", what: "a slice of the killed nodes", run: |root| tier(root, "served") },
    Step {
        name: "blobs",
        what: "a slice of the killed stores of blobs",
        run: |root| tier(root, "blobs"),
    },
    Step { name: "memory", what: "memory within its budget", run: |root| tier(root, "memory") },
    Step {
        name: "schedules",
        what: "threads pushed out of step",
        run: |root| tier(root, "schedules"),
    },
    Step { name: "shuttle", what: "threads that take turns as a seed says", run: shuttle },
    Step { name: "fuzz", what: "a slice of the mutated inputs", run: |root| tier(root, "fuzz") },
    Step { name: "planted", what: "bugs made on purpose are found", run: planted },
    Step {
        name: "influxql",
        what: "InfluxQL beside InfluxDB: the language, and a node",
        run: influxql,
    },
    Step { name: "counts", what: "operations take no more instructions", run: counts },
    Step { name: "bench", what: "the benchmarks, at a tiny size", run: bench },
    Step { name: "served", what: "the benchmarks of the node, at a tiny size", run: served },
    Step { name: "python", what: "the package for Python, installed and tried", run: of_python },
    Step { name: "packages", what: "units, Debian package and image, tried", run: packages },
];

fn fmt(root: &Path) -> Verdict {
    if let Some(skipped) = without_tool("fmt", "rustup component add rustfmt") {
        return skipped;
    }
    let ours = ["fmt", "--all", "--check"];
    let rivals = ["fmt", "--check", "--manifest-path", "crates/rivals/Cargo.toml"];
    let python = ["fmt", "--check", "--manifest-path", "python/Cargo.toml"];
    let calls = [&ours[..], &rivals, &python].map(|line| Call::cargo(root, line.iter().copied()));
    let outcomes: Result<Vec<_>, Verdict> = calls.iter().map(|call| call.run("fmt")).collect();
    quiet(outcomes.map(|lines| lines.concat()))
}

fn tidy_rules(root: &Path) -> Verdict {
    match tidy::findings(root) {
        Ok(findings) if findings.is_empty() => Verdict::Passed(Vec::new()),
        Ok(findings) => Verdict::Failed {
            output: findings.iter().map(ToString::to_string).collect(),
            repeat: "cargo xtask tidy".to_owned(),
        },
        Err(error) => {
            Verdict::Failed { output: vec![error], repeat: "cargo xtask tidy".to_owned() }
        }
    }
}

fn clippy(root: &Path) -> Verdict {
    if let Some(skipped) = without_tool("clippy", "rustup component add clippy") {
        return skipped;
    }
    let line = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    quiet(Call::cargo(root, line).run("clippy"))
}

fn tests(root: &Path) -> Verdict {
    let nextest = without_tool("nextest", "").is_none();
    let call = if nextest {
        Call::cargo(root, ["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])
    } else {
        let line = ["test", "--workspace", "--locked", "--no-fail-fast"];
        Call::cargo(root, line.into_iter().chain(["--lib", "--bins", "--tests"]))
    };
    counted(call.run("tests"), &call)
}

/// Tests with programs that are not part of every machine.
fn clients(root: &Path) -> Verdict {
    let programs = [
        ("curl", "curl"),
        ("influx", "influxdb-client"),
        ("nc", "netcat-openbsd"),
        ("openssl", "openssl"),
        ("python3", "python3"),
        ("promtool", "prometheus"),
        ("rclone", "rclone"),
        ("strace", "strace"),
    ];
    for (program, package) in programs {
        if let Some(skipped) = without_program(program, package) {
            return skipped;
        }
    }
    let call = |more: &[&'static str]| {
        let line = ["test", "--locked", "--package", "olivine", "--test", "it", "--", "--ignored"];
        Call::cargo(root, line.into_iter().chain(more.iter().copied()))
    };
    // What can run here does, whether or not the libraries can be had.
    let programs = call(&["--skip", "libraries::"]);
    let of_programs = match programs.run("clients") {
        Ok(lines) if 0 < tests_run(&lines) => lines,
        outcome => return counted(outcome, &programs),
    };
    let python = match libraries(root) {
        Ok(python) => python,
        Err(why) => {
            let remedy = "let pip reach PyPI, and apt-get install python3-venv".to_owned();
            return Verdict::Skipped { why, remedy };
        }
    };
    let with_libraries = call(&["libraries::"]).with("LIBRARIES_PYTHON", python);
    match with_libraries.run("libraries") {
        Ok(lines) if 0 < tests_run(&lines) => {
            let count = tests_run(&of_programs) + tests_run(&lines);
            Verdict::Passed(vec![format!("{count} tests")])
        }
        outcome => counted(outcome, &with_libraries),
    }
}

/// The Python that has the client libraries, which are installed into a folder of their own unless they are there.
fn libraries(root: &Path) -> Result<String, String> {
    let wanted = root.join("crates/olivine/tests/libraries/requirements.txt");
    let folder = root.join("target/xtask/libraries");
    let (python, there) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let shown = python.display().to_string();
    let text = fs::read_to_string(&wanted).map_err(|error| error.to_string())?;
    if python.is_file() && fs::read_to_string(&there).is_ok_and(|there| there == text) {
        return Ok(shown);
    }
    let run = |program: &Path, arguments: &[&str], path: &Path| {
        let output = Command::new(program).args(arguments).arg(path).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(format!("the client libraries of PyPI cannot be installed: {last}"))
    };
    run(Path::new("python3"), &["-m", "venv", "--clear"], &folder)?;
    let line =
        ["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:", "-r"];
    run(&python, &line, &wanted)?;
    fs::write(&there, text).map_err(|error| error.to_string())?;
    Ok(shown)
}

fn doctests(root: &Path) -> Verdict {
    let packages = ["--package", "olivine-engine", "--package", "olivine-client"];
    let call = Call::cargo(root, ["test", "--doc", "--locked"].into_iter().chain(packages));
    counted(call.run("doctests"), &call)
}

/// What is compiled on other systems, compiled here: the disk's tests run on it, and all above it builds.
fn portable(root: &Path) -> Verdict {
    let check = Call::cargo(root, ["check", "--locked", "--package", "olivine"]);
    let tests =
        Call::cargo(root, ["test", "--locked", "--package", "olivine-vfs", "--lib", "real"]);
    let check = check.with_cfg("olivine_portable").and_then(|check| check.run("portable-check"));
    match check.and_then(|_| tests.with_cfg("olivine_portable")) {
        Ok(tests) => counted(tests.run("portable"), &tests),
        Err(verdict) => verdict,
    }
}

fn loom(root: &Path) -> Verdict {
    let line = ["test", "--locked", "--package", "olivine-engine", "--lib", "loom"];
    match Call::cargo(root, line).with_cfg("loom") {
        Ok(call) => counted(call.run("loom"), &call),
        Err(verdict) => verdict,
    }
}

fn asan(root: &Path) -> Verdict {
    let Some(host) = host_with_sanitizer() else {
        return Verdict::Skipped {
            why: "this compiler comes without the runtime of AddressSanitizer".to_owned(),
            remedy: "install Rust with rustup, for x86_64 or aarch64 Linux".to_owned(),
        };
    };
    let line = ["test", "--locked", "--package", "olivine-engine", "--lib", "--target", &host];
    // The flag is unstable, and the compiler is told to take it all the same.
    let call = Call::cargo(root, line.into_iter().chain(["memtable"]))
        .with("RUSTC_BOOTSTRAP", "1")
        .with("RUSTFLAGS", "-Zsanitizer=address")
        .with("CARGO_TARGET_DIR", "target/asan");
    counted(call.run("asan"), &call)
}

fn release(root: &Path) -> Verdict {
    quiet(Call::cargo(root, RELEASE).run("release"))
}

/// A program as it is shipped.
fn released(root: &Path, name: &str) -> Result<PathBuf, Verdict> {
    Call::cargo(root, RELEASE).run("release")?;
    Ok(target(root).join("release").join(name))
}

/// Where cargo puts what it builds.
fn target(root: &Path) -> PathBuf {
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn tier(root: &Path, tier: &'static str) -> Verdict {
    match released(root, "reliability") {
        Ok(program) => sliced(root, &program, tier, ""),
        Err(verdict) => verdict,
    }
}

/// A slice of a tier, which one would type with `more` behind its name.
fn sliced(root: &Path, program: &Path, tier: &'static str, more: &str) -> Verdict {
    let log = format!("{tier}{more}");
    match Call::program(root, program, [tier, "--slice"]).run(&log) {
        Ok(lines) => Verdict::Passed(lines),
        // The same, as one would type it.
        Err(Verdict::Failed { output, .. }) => {
            Verdict::Failed { output, repeat: format!("cargo xtask rel {tier}{more} --slice") }
        }
        Err(other) => other,
    }
}

/// The tier whose engine has bugs.
fn planted(root: &Path) -> Verdict {
    let line = ["build", "--workspace", "--release", "--locked", "--bin", "reliability"];
    let build =
        Call::cargo(root, line.into_iter().chain(["--features", "olivine-testkit/planted"]));
    match build.run("planted-build") {
        Ok(_) => sliced(root, &target(root).join("release/reliability"), "planted", ""),
        Err(verdict) => verdict,
    }
}

/// The other half of the tier `schedules`, which is built in its own way.
fn shuttle(root: &Path) -> Verdict {
    let line = ["build", "--locked", "--package", "olivine-testkit", "--bin", "reliability"];
    let build = Call::cargo(root, line).with_cfg("shuttle");
    match build.and_then(|build| build.run("shuttle-build")) {
        Ok(_) => sliced(root, &target(root).join("debug/reliability"), "schedules", " --shuttle"),
        Err(verdict) => verdict,
    }
}

fn counts(root: &Path) -> Verdict {
    let program = match released(root, "counts") {
        Ok(program) => program,
        Err(verdict) => return verdict,
    };
    let repeat = "cargo xtask counts".to_owned();
    match counts::counts(root, &program, false) {
        Ok(compared) if compared.worse.is_empty() => Verdict::Passed(compared.lines),
        Ok(compared) => Verdict::Failed { output: compared.lines, repeat },
        Err(what) => Verdict::Failed { output: vec![what], repeat },
    }
}

fn bench(root: &Path) -> Verdict {
    quiet(benched(root, "engine"))
}

/// A benchmark at a tiny size.
fn benched(root: &Path, name: &str) -> Result<Vec<String>, Verdict> {
    let program = released(root, "olivine-bench")?;
    Call::program(root, &program, [name, "--smoke"]).run(&format!("bench-{name}"))
}

fn served(root: &Path) -> Verdict {
    if let Some(skipped) = without_program("python3", "python3") {
        return skipped;
    }
    match benched(root, "server").and_then(|_| benched(root, "blobs")) {
        Ok(lines) => {
            Verdict::Passed(lines.into_iter().filter(|line| line.starts_with("LEFT OUT")).collect())
        }
        Err(verdict) => verdict,
    }
}

fn of_python(root: &Path) -> Verdict {
    if let Some(skipped) = without_program("python3", "python3") {
        return skipped;
    }
    let line =
        ["clippy", "--locked", "--manifest-path", "python/Cargo.toml", "--", "-D", "warnings"];
    let lints = Call::cargo(root, line).with("CARGO_TARGET_DIR", "target/python");
    if let Err(verdict) = lints.run("python-clippy") {
        return verdict;
    }
    match python::made(root, true) {
        Ok(lines) => Verdict::Passed(lines),
        Err(python::Trouble::Missing { why, remedy }) => Verdict::Skipped { why, remedy },
        Err(python::Trouble::Failed(output)) => {
            Verdict::Failed { output, repeat: "cargo xtask python".to_owned() }
        }
    }
}

/// What is handed to people who run it, built quickly.
fn packages(root: &Path) -> Verdict {
    match package::make(root, &package::Part::ALL, true) {
        Ok(lines) => Verdict::Passed(lines),
        Err(package::Trouble::Missing { why, remedy }) => Verdict::Skipped { why, remedy },
        Err(package::Trouble::Failed(output)) => {
            Verdict::Failed { output, repeat: "cargo xtask package --quick".to_owned() }
        }
    }
}

/// The same questions to InfluxDB and to our language.
fn influxql(root: &Path) -> Verdict {
    if let Some(skipped) = without_program("influxd", "influxdb") {
        return skipped;
    }
    if let Err(verdict) =
        Call::cargo(root, ["build", "--locked", "--package", "olivine"]).run("influxql")
    {
        return verdict;
    }
    // With the program beside it, whose features are then those of the other steps' builds.
    let line = ["test", "--locked", "--package", "olivine-query", "--package", "olivine"];
    let rest = ["--test", "it", "--", "--ignored", "beside_influxdb", "--nocapture"];
    let call = || Call::cargo(root, line.into_iter().chain(rest));
    let program = target(root).join("debug/olivine");
    let node = call().with("NODE_PROGRAM", program.display().to_string());
    let mut shown = Vec::new();
    for (name, call) in [("influxql", call()), ("influxql-node", node)] {
        match call.run(name) {
            Ok(lines) if 0 < tests_run(&lines) => {
                shown.extend(lines.into_iter().filter(|line| line.contains(" questions: ")));
            }
            outcome => return counted(outcome, &call),
        }
    }
    Verdict::Passed(shown)
}

/// Nothing to show after success.
fn quiet(outcome: Result<Vec<String>, Verdict>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Passed(Vec::new()),
        Err(verdict) => verdict,
    }
}

/// Shows how many tests ran; none is a failure.
fn counted(outcome: Result<Vec<String>, Verdict>, call: &Call<'_>) -> Verdict {
    match outcome {
        Ok(lines) => match tests_run(&lines) {
            0 => Verdict::Failed {
                output: vec!["it ran no test at all".to_owned()],
                repeat: call.typed(),
            },
            count => Verdict::Passed(vec![format!("{count} tests")]),
        },
        Err(verdict) => verdict,
    }
}

/// How many tests passed, by the closing lines of cargo's test runner or of nextest.
fn tests_run(lines: &[String]) -> u64 {
    let count = |line: &String| {
        let (head, _) = line.split_once(" passed")?;
        let summary = line.starts_with("test result:") || line.trim_start().starts_with("Summary");
        summary.then_some(head.rsplit(' ').next()?.parse::<u64>().ok()?)
    };
    lines.iter().filter_map(count).sum()
}

/// Tells that `cargo <tool>` is not there; `None` when it is.
fn without_tool(tool: &str, remedy: &str) -> Option<Verdict> {
    let output = Command::new("cargo").args([tool, "--version"]).output();
    let there = output.is_ok_and(|output| output.status.success());
    (!there).then(|| Verdict::Skipped {
        why: format!("`cargo {tool}` is not installed"),
        remedy: remedy.to_owned(),
    })
}

/// Tells that a program is not there; `None` when it is.
fn without_program(program: &str, package: &str) -> Option<Verdict> {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    (!there).then(|| Verdict::Skipped {
        why: format!("`{program}` is not installed"),
        remedy: format!("apt-get install {package}"),
    })
}

/// The machine's own target, if the compiler can instrument code for it.
fn host_with_sanitizer() -> Option<String> {
    let rustc = |argument: &[&str]| {
        let output = Command::new("rustc").args(argument).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = rustc(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
    let sysroot = rustc(&["--print", "sysroot"])?;
    let folder = Path::new(sysroot.trim()).join("lib/rustlib").join(&host).join("lib");
    let mut runtimes = fs::read_dir(folder).ok()?.flatten();
    runtimes.any(|entry| entry.file_name().to_string_lossy().contains("_rt.asan")).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_either_runner_ran() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let cargo = "test result: ok. 12 passed; 0 failed; 0 ignored\nrunning 0 tests\n\
            test result: ok. 3 passed; 0 failed";
        assert_eq!(tests_run(&lines(cargo)), 15);
        let nextest = "     Summary [   1.234s] 45 tests run: 45 passed, 2 skipped";
        assert_eq!(tests_run(&lines(nextest)), 45);
        assert_eq!(tests_run(&lines("test result: ok. 0 passed; 0 failed")), 0);
    }

    /// A filter that matches nothing must not look like a success.
    #[test]
    fn a_step_without_tests_has_failed() {
        let call = Call::cargo(Path::new("."), ["test"]);
        let none = Ok(vec!["test result: ok. 0 passed; 0 failed".to_owned()]);
        assert!(matches!(counted(none, &call), Verdict::Failed { .. }));
    }
}
