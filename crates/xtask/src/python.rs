//! `cargo xtask python`: the package for Python, built as a wheel and tried in an environment that has nothing else.
//!
//! 1. What is tried is the wheel, as it would be installed, and not the sources beside it.
//! 2. Tools of PyPI are installed into a folder of their own.

use crate::{Outcome, misused};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const HELP: &str = "\
Builds the package for Python as a wheel in target/python/wheels, installs it into an environment of its own, and runs
its tests there, with the node of this tree as the server.

usage: cargo xtask python [--no-tests]

options:
  --no-tests   build the wheel only

examples:
  cargo xtask python
  pip install target/python/wheels/olivine-*.whl
";

/// What builds wheels.
const MATURIN: &str = "maturin==1.16.0";

/// Why there is no package, or none that is any good.
pub(crate) enum Trouble {
    /// Something is not there to build it with.
    Missing {
        why: String,
        remedy: String,
    },
    Failed(Vec<String>),
}

/// `cargo xtask python`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    let tests = match arguments {
        [] => true,
        [option] if option == "--no-tests" => false,
        [option] if option == "--help" || option == "-h" => {
            print!("{HELP}");
            return Outcome::Good;
        }
        _ => return misused("python takes --no-tests, or nothing", HELP),
    };
    match made(root, tests) {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            Outcome::Good
        }
        Err(trouble) => trouble.told(),
    }
}

impl Trouble {
    fn told(self) -> Outcome {
        match self {
            Trouble::Missing { why, remedy } => eprintln!("error: {why}; {remedy}"),
            Trouble::Failed(lines) => eprintln!("{}", lines.join("\n")),
        }
        Outcome::Bad
    }
}

/// The bindings that the package is measured beside.
const RIVALS: [&str; 3] = ["rocksdict==0.3.29", "plyvel==1.5.1", "lmdb==3.0.0"];

/// `cargo xtask bench python`: the store in process beside other bindings, where PyPI has them.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Outcome {
    let place = root.join("target/python/bench");
    let python = place.join("bin/python");
    let built = made(root, false).and_then(|_| {
        if !python.is_file() {
            said(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        said(Command::new(&python).args(pip).args(RIVALS))?;
        let mut wheel = Command::new(&python);
        wheel.args(pip).args(["--no-index", "--force-reinstall", "--no-deps", "--find-links"]);
        said(wheel.arg(root.join("target/python/wheels")).arg("olivine"))
    });
    if let Err(trouble) = built {
        return trouble.told();
    }
    let mut bench = Command::new(python);
    bench.arg(root.join("python/bench/bench.py")).args(arguments).current_dir(root);
    match bench.status() {
        Ok(status) if status.success() => Outcome::Good,
        Ok(_) => Outcome::Bad,
        Err(error) => Trouble::Failed(vec![format!("python: {error}")]).told(),
    }
}

/// Builds the wheel and tries it; what is worth showing of that.
pub(crate) fn made(root: &Path, tests: bool) -> Result<Vec<String>, Trouble> {
    let folder = root.join("target/python");
    let maturin = maturin(&folder)?;
    let wheels = folder.join("wheels");
    fs::remove_dir_all(&wheels).ok();
    let mut build = Command::new(maturin);
    build.current_dir(root.join("python")).args(["build", "--release", "--locked", "--out"]);
    // One wheel is for all versions: it is asked for by the oldest, whichever is here.
    said(build.arg(&wheels).env("CARGO_TARGET_DIR", &folder))?;
    let failed = |what: String| Trouble::Failed(vec![what]);
    let entries = fs::read_dir(&wheels).map_err(|error| failed(error.to_string()))?;
    let wheel = entries.flatten().map(|entry| entry.path()).next();
    let wheel = wheel.ok_or_else(|| failed("no wheel was built".to_owned()))?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains("-cp310-abi3-") {
        return Err(failed(format!("{name} is not for all versions from 3.10 on")));
    }
    let bytes = fs::metadata(&wheel).map_err(|error| failed(error.to_string()))?.len();
    let mut lines = vec![format!("{name}: {} KiB", bytes >> 10)];
    if tests {
        lines.push(tried(root, &folder, &wheel)?);
    }
    Ok(lines)
}

/// The program maturin, which is installed where it is not there yet.
fn maturin(folder: &Path) -> Result<PathBuf, Trouble> {
    let tools = folder.join("tools");
    let program = tools.join("bin/maturin");
    let version = Command::new(&program).arg("--version").output();
    let wanted = MATURIN.replace("==", " ");
    if version.is_ok_and(|known| String::from_utf8_lossy(&known.stdout).trim() == wanted) {
        return Ok(program);
    }
    let remedy = "let pip reach PyPI, and apt-get install python3-venv".to_owned();
    let missing = |_| Trouble::Missing {
        why: "maturin cannot be installed from PyPI".to_owned(),
        remedy: remedy.clone(),
    };
    said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&tools)).map_err(missing)?;
    let mut pip = Command::new(tools.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MATURIN]);
    said(&mut pip).map_err(missing)?;
    Ok(program)
}

/// Installs the wheel where nothing else is, and runs the tests, warnings being errors.
fn tried(root: &Path, folder: &Path, wheel: &Path) -> Result<String, Trouble> {
    let mut cargo = Command::new("cargo");
    said(cargo.current_dir(root).args(["build", "--quiet", "--locked", "--package", "olivine"]))?;
    let place = folder.join("venv");
    said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
    let python = place.join("bin/python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
    said(pip.arg(wheel))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let mut tests = Command::new(&python);
    tests.current_dir(root.join("python/tests")).args(["-W", "error", "-m", "unittest"]);
    let lines = said(tests.env("NODE_PROGRAM", root.join(target).join("debug/olivine")))?;
    let ran = lines.iter().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next());
    match ran.and_then(|count| count.parse::<u32>().ok()) {
        None | Some(0) => Err(Trouble::Failed(vec!["no test of the package ran".to_owned()])),
        Some(count) => Ok(format!("{count} tests")),
    }
}

/// Runs something; the lines that it prints.
fn said(command: &mut Command) -> Result<Vec<String>, Trouble> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|error| Trouble::Failed(vec![format!("{program}: {error}")]))?;
    let text = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    if output.status.success() { Ok(lines) } else { Err(Trouble::Failed(lines)) }
}
