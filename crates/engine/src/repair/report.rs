//! What a repair did, or would do, and what is lost by it.
//!
//! 1. Every key whose value may not be the one that was written lies in a range that is reported.
//! 2. A range says whether keys are missing, or older values may show.

use std::path::PathBuf;

/// Keys that may not read as they should any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The keyspace; `None` when it is not known, so that it may be any.
    pub keyspace: Option<String>,
    /// The first key concerned; `None` is from the first of all.
    pub from: Option<Vec<u8>>,
    /// The last key concerned, included; `None` is to the last of all.
    pub to: Option<Vec<u8>>,
    /// Whether older values may show, and deleted keys again, where something is missing; otherwise
    /// what is missing is simply not there.
    pub may_be_stale: bool,
    /// The file whose damage is the reason.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Whether something was wrong; otherwise nothing was done.
    pub needed: bool,
    /// Whether anything was changed; a dry run changes nothing.
    pub done: bool,
    /// What was done, or would be, in words, in order.
    pub steps: Vec<String>,
    /// What is lost.
    pub losses: Vec<Loss>,
    /// Where files were moved that are not used any more.
    pub aside: Option<PathBuf>,
    /// The files moved there.
    pub moved: Vec<PathBuf>,
    /// Tables that stay as they are.
    pub tables_kept: u64,
    /// Tables written anew.
    pub tables_made: u64,
    /// Entries in them.
    pub entries_salvaged: u64,
    /// Records of the log that were put into tables.
    pub records_salvaged: u64,
}

impl Loss {
    /// Whether the key of the keyspace may not read as it should.
    pub fn concerns(&self, keyspace: &str, key: &[u8]) -> bool {
        self.keyspace.as_deref().is_none_or(|name| name == keyspace)
            && self.from.as_deref().is_none_or(|from| from <= key)
            && self.to.as_deref().is_none_or(|to| key <= to)
    }
}
