//! `cargo xtask package`: what is handed to people who run Olivine, and the proof that it works.
//!
//! The program goes into a Debian package with the units of systemd, and, linked statically, into an image;
//! each is then taken apart again and what is in it is run.
//!
//! 1. Nothing counts as packaged that was not run as it was packaged: the program in the image's root as
//!    the image's user, the units' command lines with the program of the unpacked package.
//! 2. What is handed out passed its trial; what did not stays behind.
//! 3. Nothing of the machine is changed: no package is installed, no image goes into its own storage.
//! 4. A program that is missing is told with the Debian package that has it.

mod deb;
mod image;
mod program;
mod served;
mod units;

use crate::{Outcome, misused};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const HELP: &str = "\
Builds what is handed to people who run Olivine, and tries it.

usage: cargo xtask package [units] [deb] [image] [--quick]

parts, all of them when none is named:
  units   the units of systemd, verified, with the exposure that systemd-analyze finds
  deb     a Debian package: checked by lintian, unpacked, its units' command lines run
  image   an image of one file, for docker load or podman load: run in its root as its user

options:
  --quick   as the tests do, into target/package-quick: the program of the image is optimised less

The Debian packages systemd, dpkg-dev, lintian, buildah, binutils and file have what is needed; cargo-deb is built
once into target/tools. What comes of it is in target/package. The image is built and tried as root.

examples:
  cargo xtask package
  cargo xtask package deb
  cargo xtask package units image --quick
";

/// Lines that are shown of what a failed program printed.
const LINES_SHOWN: usize = 60;

/// Why something was not packaged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A program is not there, or may not do here what it has to.
    Missing { why: String, remedy: String },
    /// Something is wrong; what there is to say about it.
    Failed(Vec<String>),
}

impl Trouble {
    fn failed(what: impl Into<String>) -> Trouble {
        Trouble::Failed(vec![what.into()])
    }

    fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Trouble + use<> {
        let what = format!("cannot {what} {}", path.display());
        move |error| Trouble::failed(format!("{what}: {error}"))
    }
}

/// What is packaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Units,
    Deb,
    Image,
}

impl Part {
    pub(crate) const ALL: [Part; 3] = [Part::Units, Part::Deb, Part::Image];

    fn name(self) -> &'static str {
        match self {
            Part::Units => "units",
            Part::Deb => "deb",
            Part::Image => "image",
        }
    }
}

/// Where things are, for all parts.
pub(crate) struct Site<'a> {
    root: &'a Path,
    /// What is handed out.
    out: PathBuf,
    /// What is needed on the way.
    scratch: PathBuf,
    quick: bool,
}

impl Site<'_> {
    /// Puts what was made and tried where it is handed out; the place is the answer.
    fn hand_out(&self, made: &Path) -> Result<PathBuf, Trouble> {
        let place = self.out.join(made.file_name().unwrap_or_default());
        fs::rename(made, &place).map_err(Trouble::io("hand out", made))?;
        Ok(place)
    }
}

/// `cargo xtask package`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return Outcome::Good;
    }
    let (parts, quick) = match wished(arguments) {
        Ok(wished) => wished,
        Err(what) => return misused(&what, HELP),
    };
    match make(root, &parts, quick) {
        Ok(lines) => {
            println!("{}", lines.join("\n"));
            Outcome::Good
        }
        Err(Trouble::Missing { why, remedy }) => {
            eprintln!("error: {why}\nto have it: {remedy}");
            Outcome::Bad
        }
        Err(Trouble::Failed(lines)) => {
            eprintln!("error: {}", lines.join("\n"));
            Outcome::Bad
        }
    }
}

fn wished(arguments: &[String]) -> Result<(Vec<Part>, bool), String> {
    let (mut parts, mut quick) = (Vec::new(), false);
    for argument in arguments {
        match Part::ALL.into_iter().find(|part| part.name() == argument) {
            Some(part) => parts.push(part),
            None if argument == "--quick" => quick = true,
            None => return Err(format!("no part `{argument}`; there are units, deb, image")),
        }
    }
    Ok((if parts.is_empty() { Part::ALL.to_vec() } else { parts }, quick))
}

/// Builds and tries `parts`; the lines say what came of it.
pub(crate) fn make(root: &Path, parts: &[Part], quick: bool) -> Result<Vec<String>, Trouble> {
    for (_, program, package) in NEEDED.iter().filter(|(part, ..)| parts.contains(part)) {
        needed(program, package)?;
    }
    let folder = if quick { "target/package-quick" } else { "target/package" };
    let out = root.join(folder);
    let site = Site { root, scratch: out.join("scratch"), out, quick };
    empty(&site.scratch)?;
    let mut lines = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| parts.contains(part)) {
        lines.extend(match part {
            Part::Units => units::check(&site)?,
            Part::Deb => deb::make(&site)?,
            Part::Image => image::make(&site)?,
        });
    }
    Ok(lines)
}

/// Programs that have to be there, and the Debian packages that have them.
const NEEDED: &[(Part, &str, &str)] = &[
    (Part::Units, "systemd-analyze", "systemd"),
    (Part::Deb, "dpkg-deb", "dpkg"),
    (Part::Deb, "dpkg-shlibdeps", "dpkg-dev"),
    (Part::Deb, "lintian", "lintian"),
    (Part::Image, "buildah", "buildah"),
    (Part::Image, "file", "file"),
    (Part::Image, "nm", "binutils"),
];

fn needed(program: &str, package: &str) -> Result<(), Trouble> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    Err(Trouble::Missing {
        why: format!("`{program}` is not installed"),
        remedy: format!("apt-get install {package}"),
    })
}

/// Makes `folder`, or empties it.
fn empty(folder: &Path) -> Result<(), Trouble> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Trouble::io("empty", folder)(error));
        }
        _ => {}
    }
    fs::create_dir_all(folder).map_err(Trouble::io("make", folder))
}

/// Runs a program to its end, and returns what it printed; whatever it says when it fails is told.
fn ran(command: &mut Command) -> Result<String, Trouble> {
    let (good, text) = tried(command)?;
    if good { Ok(text) } else { Err(said(command, &text)) }
}

/// Runs a program to its end, however that is: whether it was good, and what it printed.
fn tried(command: &mut Command) -> Result<(bool, String), Trouble> {
    let output = command.stdin(Stdio::null()).output();
    let output = output
        .map_err(|error| Trouble::failed(format!("cannot run {}: {error}", typed(command))))?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((output.status.success(), text.concat()))
}

fn said(command: &Command, text: &str) -> Trouble {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let shown = lines.len().saturating_sub(LINES_SHOWN);
    let head = format!("{} failed:", typed(command));
    Trouble::Failed([head].into_iter().chain(lines.into_iter().skip(shown)).collect())
}

fn typed(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_by_name() {
        let wish =
            |text: &str| wished(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(wish(""), Ok((Part::ALL.to_vec(), false)));
        assert_eq!(wish("image --quick deb"), Ok((vec![Part::Image, Part::Deb], true)));
        let said = "no part `rpm`; there are units, deb, image";
        assert_eq!(wish("rpm"), Err(said.to_owned()));
    }

    #[test]
    fn what_is_missing_is_told_with_its_package() {
        let missing = Trouble::Missing {
            why: "`no-such-program` is not installed".to_owned(),
            remedy: "apt-get install no-such-package".to_owned(),
        };
        assert_eq!(needed("no-such-program", "no-such-package"), Err(missing));
    }
}
