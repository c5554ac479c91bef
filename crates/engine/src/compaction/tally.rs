//! Counts what a fold does not hand on, by reason, so that a compaction can prove that it lost nothing.
//!
//! ```text
//!   entries read  =  entries written  +  entries dropped, each for one reason
//! ```
//!
//! Read is what cursors stood on, which is compared with what the tables are said to hold; written is
//! what the writers of tables count; dropped is what the fold says. None is worked out from another.
//!
//! 1. An entry that goes in comes out or is counted here, once.

use std::path::Path;

use crate::error::{Error, Result};

/// Why an entry did not come out of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Hidden,
    RangeDeleted,
    Deletion,
    Expired,
    Filtered,
    Folded,
}

/// Entries that compactions dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// A newer version of the key hid them from every reader.
    pub hidden: u64,
    /// A deletion of a range hid them from every reader.
    pub range_deleted: u64,
    /// They were deletions with nothing below to delete.
    pub deletions: u64,
    /// They had expired, and nothing was below that they hid.
    pub expired: u64,
    /// The keyspace's filter did not want them.
    pub filtered: u64,
    /// They became part of another entry by the keyspace's merge operator.
    pub folded: u64,
}

impl Dropped {
    /// All of them.
    pub fn all(&self) -> u64 {
        let Dropped { hidden, range_deleted, deletions, expired, filtered, folded } = *self;
        hidden + range_deleted + deletions + expired + filtered + folded
    }

    pub(crate) fn count(&mut self, reason: Reason, entries: usize) {
        let counter = match reason {
            Reason::Hidden => &mut self.hidden,
            Reason::RangeDeleted => &mut self.range_deleted,
            Reason::Deletion => &mut self.deletions,
            Reason::Expired => &mut self.expired,
            Reason::Filtered => &mut self.filtered,
            Reason::Folded => &mut self.folded,
        };
        *counter += entries as u64;
    }

    fn add(&mut self, now: &Dropped, before: &Dropped) {
        self.hidden += now.hidden - before.hidden;
        self.range_deleted += now.range_deleted - before.range_deleted;
        self.deletions += now.deletions - before.deletions;
        self.expired += now.expired - before.expired;
        self.filtered += now.filtered - before.filtered;
        self.folded += now.folded - before.folded;
    }

    /// Refuses what does not add up; `path` is where the written entries are.
    pub(crate) fn prove(&self, read: u64, written: u64, path: &Path) -> Result<()> {
        if read == written + self.all() {
            return Ok(());
        }
        let what =
            format!("of {read} entries read, {written} were written and {} dropped", self.all());
        Err(Error::Altered { path: path.to_path_buf(), what })
    }
}

/// How far the entries of a job add up; or of all jobs of a store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Proven {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) dropped: Dropped,
}

impl Proven {
    /// Adds what a job came to between two places.
    pub(crate) fn add(&mut self, now: &Proven, before: &Proven) {
        self.read += now.read - before.read;
        self.written += now.written - before.written;
        self.dropped.add(&now.dropped, &before.dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_add_up_is_refused() {
        let mut dropped = Dropped::default();
        dropped.count(Reason::Hidden, 2);
        dropped.count(Reason::Folded, 1);
        dropped.prove(10, 7, Path::new("/store")).unwrap();
        for (read, written) in [(10, 6), (10, 8), (9, 7)] {
            let refused = dropped.prove(read, written, Path::new("/store")).unwrap_err();
            assert!(matches!(refused, Error::Altered { .. }), "{refused}");
        }
    }
}
