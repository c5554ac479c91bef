//! What a check found, as values that a program can act on.
//!
//! 1. A finding names the file, and the place in it where there is one, and says what to do.
//! 2. However much is wrong, the report stays small: findings beyond a bound are counted only.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Findings that are kept; more of them are counted.
const FINDINGS_MAX: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// A file that nobody names. Nothing is lost, but room.
    Orphan,
    /// Something is not what was written.
    Damage,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or directory concerned.
    pub path: PathBuf,
    /// Where in it, when it is a place.
    pub offset: Option<u64>,
    /// What does not fit.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What a check looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What was found, in the order of the looking.
    pub findings: Vec<Finding>,
    /// Findings beyond those kept.
    pub findings_left_out: u64,
    /// How many findings of damage there are.
    pub damages: u64,
    /// The number drawn when the store was made, when it could be read.
    pub store: Option<u64>,
    /// Keyspaces there are.
    pub keyspaces: u64,
    /// Tables looked at.
    pub tables: u64,
    /// Data blocks that verified.
    pub blocks: u64,
    /// Entries in them, versions and deletions counted.
    pub entries: u64,
    /// Deletions among them.
    pub tombstones: u64,
    /// Bytes of the tables looked at.
    pub table_bytes: u64,
    /// Segments of the log that count.
    pub log_segments: u64,
    /// Records in them.
    pub log_records: u64,
    /// Bytes of all files of the directory.
    pub bytes: u64,
}

impl CheckReport {
    /// Whether nothing is damaged. There may be findings of other kinds.
    pub fn is_sound(&self) -> bool {
        self.damages == 0
    }

    fn add(&mut self, finding: Finding) {
        self.damages += u64::from(finding.severity == Severity::Damage);
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }

    pub(super) fn note(
        &mut self,
        path: PathBuf,
        offset: Option<u64>,
        what: String,
        remedy: &'static str,
    ) {
        self.add(Finding { severity: Severity::Note, path, offset, what, remedy });
    }

    pub(super) fn orphan(&mut self, path: PathBuf, what: String, remedy: &'static str) {
        self.add(Finding { severity: Severity::Orphan, path, offset: None, what, remedy });
    }

    /// Adds what `error` says, once; `dir` is named when it names no file.
    pub(super) fn damage(&mut self, dir: &Path, error: &Error, remedy: &'static str) {
        let (path, offset, what) = match error {
            Error::Corrupt { path, offset, what } => (path.clone(), Some(*offset), what.clone()),
            Error::Io { operation, path, source } => {
                (path.clone(), None, format!("the disk refused to {operation} it: {source}"))
            }
            Error::Unusable { path, what } => (path.clone(), None, what.clone()),
            Error::Format { path, .. } => (path.clone(), None, error.to_string()),
            _ => (dir.to_path_buf(), None, error.to_string()),
        };
        let finding = Finding { severity: Severity::Damage, path, offset, what, remedy };
        if self.findings.last() != Some(&finding) {
            self.add(finding);
        }
    }
}
