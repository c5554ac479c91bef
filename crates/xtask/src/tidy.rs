//! `cargo xtask tidy`: the rules of this repository that no other tool checks.
//!
//! 1. A rule is a function from the files to findings, and has a test that breaks it.
//! 2. A rule with exceptions lists them, and the list only shrinks: an exception that is no longer
//!    needed is a finding too.
//! 3. A finding says where and what to do.

mod arrows;
mod documents;
mod sources;

use crate::{Outcome, misused, packages, packages::Package, tree::Tree};
use std::{fmt, path::Path};

const HELP: &str = "\
Checks the rules of this repository that no other tool checks.

usage: cargo xtask tidy

rules:
  crate arrows    a crate uses only what its row in ARCHITECTURE.md allows
  module arrows   so does a module of the engine
  seams           only the crates that may name the system's files, clock and threads
  headers         every source file opens with `//!`
  names           no mod.rs, nothing called utils, common, helpers
  sizes           no source file beyond 900 lines, but for a shrinking list
  words           no unfinished work, no path of somebody's machine
  links           every relative link and anchor in a document leads somewhere
  dependencies    every dependency has a row in docs/dependencies.md that gives its reason
";

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// `cargo xtask tidy`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    match arguments.first().map(String::as_str) {
        None => {}
        Some("--help" | "-h") => {
            print!("{HELP}");
            return Outcome::Good;
        }
        Some(unknown) => return misused(&format!("no option `{unknown}`; there is none"), HELP),
    }
    match findings(root) {
        Ok(findings) if findings.is_empty() => {
            println!("tidy");
            Outcome::Good
        }
        Ok(findings) => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} findings", findings.len());
            Outcome::Bad
        }
        Err(error) => {
            eprintln!("error: {error}");
            Outcome::Bad
        }
    }
}

/// Everything that breaks a rule.
pub(crate) fn findings(root: &Path) -> Result<Vec<Finding>, String> {
    let tree = Tree::read(root).map_err(|error| format!("cannot read the sources: {error}"))?;
    let packages = packages::read(root, &tree)?;
    Ok(check(&tree, &packages))
}

fn check(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let mut findings = arrows::crates(tree, packages);
    findings.extend(arrows::modules(tree));
    findings.extend(sources::seams(tree));
    findings.extend(sources::headers(tree));
    findings.extend(sources::names(tree));
    findings.extend(sources::sizes(tree, sources::LARGE_FILES));
    findings.extend(sources::words(tree));
    findings.extend(documents::links(tree));
    findings.extend(documents::mentions(tree));
    findings.extend(documents::dependencies(tree, packages));
    findings
}

/// The findings as text, for the tests of the rules.
#[cfg(test)]
fn told(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}
