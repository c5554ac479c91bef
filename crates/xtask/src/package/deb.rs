//! The Debian package.
//!
//! 1. cargo-deb makes it of the program that was built, as `crates/olivine/Cargo.toml` says.
//! 2. Each unit's command line is run with the program that was unpacked: what a unit asks for is what the
//!    program in the same package takes.

use super::{Site, Trouble, empty, program, ran, served::Served, units};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The cargo-deb that packages are made with.
const CARGO_DEB: &str = "3.8.0";

/// What must be in a package, beside the units.
const CONTENTS: &[&str] = &[
    "./usr/bin/olivine",
    "./etc/olivine/olivine.toml",
    "./usr/share/doc/olivine/copyright",
    "./usr/share/doc/olivine/changelog.gz",
    "./usr/share/doc/olivine/operating.md",
    "./usr/share/man/man1/olivine.1.gz",
];

/// Where the units have their settings.
const SETTINGS: &str = "/etc/olivine/olivine.toml";

/// Ports that a node takes where it is tried, whoever has the usual ones.
const FREE_PORTS: [&str; 6] = ["--json-port", "0", "--line-port", "0", "--http-port", "0"];

pub(super) fn make(site: &Site<'_>) -> Result<Vec<String>, Trouble> {
    let package = package(site)?;
    listed(&package)?;
    let mut lintian = Command::new("lintian");
    ran(lintian.args(["--fail-on", "error,warning", "--allow-root"]).arg(&package))?;
    let unpacked = site.scratch.join("deb");
    empty(&unpacked)?;
    ran(Command::new("dpkg-deb").arg("-x").args([&package, &unpacked]))?;
    let tried = tried(site, &unpacked)?;
    let package = site.hand_out(&package)?;
    let bytes = fs::metadata(&package).map_err(Trouble::io("look at", &package))?.len();
    let name = package.strip_prefix(site.root).unwrap_or(&package).display();
    Ok(vec![format!("{name}: {} KiB, {tried} units run", bytes >> 10)])
}

fn package(site: &Site<'_>) -> Result<PathBuf, Trouble> {
    let cargo_deb = cargo_deb(site.root)?;
    program::shared(site)?;
    empty(&site.scratch.join("made"))?;
    let mut command = Command::new(cargo_deb);
    command
        .current_dir(site.root)
        .args(["--no-build", "--strip", "--package", "olivine"])
        .arg("--output")
        .arg(site.scratch.join("made/"))
        .env("CARGO_TARGET_DIR", site.root.join("target"));
    let said = ran(&mut command)?;
    if let Some(warning) = said.lines().find(|line| line.starts_with("warning")) {
        return Err(Trouble::failed(format!("cargo-deb: {warning}")));
    }
    let made =
        said.lines().map(Path::new).find(|line| line.extension().is_some_and(|x| x == "deb"));
    let made =
        made.ok_or_else(|| Trouble::failed(format!("cargo-deb names no package: {said}")))?;
    Ok(site.root.join(made))
}

/// The program cargo-deb, which is built where it is not there yet.
fn cargo_deb(root: &Path) -> Result<PathBuf, Trouble> {
    let tools = root.join("target/tools");
    let program = tools.join("bin/cargo-deb");
    let version = Command::new(&program).arg("--version").output();
    if version.is_ok_and(|known| String::from_utf8_lossy(&known.stdout).trim() == CARGO_DEB) {
        return Ok(program);
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", "cargo-deb", "--version", CARGO_DEB, "--locked", "--force", "--root"])
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"))
        // It is run once a package: what it takes to build counts, and not how fast it is.
        .envs([("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"), ("CARGO_PROFILE_RELEASE_LTO", "off")]);
    ran(&mut cargo)?;
    Ok(program)
}

/// Whether everything is in the package that should be, under the version that its changelog has.
fn listed(package: &Path) -> Result<(), Trouble> {
    let contents = ran(Command::new("dpkg-deb").arg("-c").arg(package))?;
    let units = units::UNITS.iter().map(|(name, _)| format!("./usr/lib/systemd/system/{name}"));
    for path in CONTENTS.iter().map(|path| (*path).to_owned()).chain(units) {
        if !contents.lines().any(|line| line.ends_with(&format!(" {path}"))) {
            return Err(Trouble::failed(format!("{} has no {path}", package.display())));
        }
    }
    let conffiles = ran(Command::new("dpkg-deb").arg("-I").arg(package).arg("conffiles"))?;
    if conffiles.trim() != SETTINGS {
        let what = format!("{} has as conffiles: {conffiles}", package.display());
        return Err(Trouble::failed(what));
    }
    let version = ran(Command::new("dpkg-deb").arg("-f").args([package, Path::new("Version")]))?;
    let changelog = include_str!("../../../../packaging/debian/changelog");
    let newest = format!("olivine ({}) ", version.trim());
    if changelog.starts_with(&newest) {
        return Ok(());
    }
    Err(Trouble::failed(format!("packaging/debian/changelog does not begin with `{newest}`")))
}

/// Runs what the units run, in places of their own: a node in one process, and one in four.
fn tried(site: &Site<'_>, unpacked: &Path) -> Result<usize, Trouble> {
    let places = site.scratch.join("places");
    empty(&places)?;
    let settings = settings(unpacked, &places)?;
    let start = |unit: &str, ports: &[&str]| {
        let path = unpacked.join("usr/lib/systemd/system").join(unit);
        let text = units::read(&path)?;
        let line = units::command_line(&text)
            .ok_or_else(|| Trouble::failed(format!("{} has no ExecStart", path.display())))?;
        let line = line
            .replace(units::PROGRAM, &unpacked.join("usr/bin/olivine").to_string_lossy())
            .replace(SETTINGS, &settings.to_string_lossy());
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(ports);
        Served::start(&mut command)
    };
    let node = start("olivine.service", &FREE_PORTS)?;
    node.keeps_what_it_is_given()?;
    node.end()?;
    let storage = start("olivine-storage.service", &["--no-ingest"])?;
    let coordinator = start("olivine-coordinator.service", &FREE_PORTS)?;
    coordinator.keeps_what_it_is_given()?;
    let insert = start("olivine-insert.service", &["--influx-port", "0"])?;
    let select = start("olivine-select.service", &["--select-port", "0"])?;
    insert.takes_points_for(&select)?;
    insert.end()?;
    select.end()?;
    coordinator.end()?;
    storage.end()?;
    Ok(units::UNITS.len())
}

/// The settings of the package, with the place of the data moved; the program must find nothing wrong there.
fn settings(unpacked: &Path, places: &Path) -> Result<PathBuf, Trouble> {
    let data_dir = |place: &str| format!("data-dir = \"{place}\"\n");
    let text = units::read(&unpacked.join(&SETTINGS[1..]))?;
    let usual = data_dir("/var/lib/olivine");
    if !text.contains(&usual) {
        return Err(Trouble::failed(format!("{SETTINGS} of the package does not say {usual}")));
    }
    let text = text.replace(&usual, &data_dir(&places.join("data").to_string_lossy()));
    let path = places.join("olivine.toml");
    fs::write(&path, text).map_err(Trouble::io("write", &path))?;
    let mut check = Command::new(unpacked.join("usr/bin/olivine"));
    ran(check.args(["config", "check", "--config"]).arg(&path))?;
    Ok(path)
}
