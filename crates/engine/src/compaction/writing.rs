//! Where a merge writes to: tables of the target level, one after the other.
//!
//! 1. A table begins and ends between two keys, never between versions of one.
//! 2. No table is written across one of the target level that the job leaves as it is.

use std::sync::Arc;

use super::{
    job::Job,
    pick::{debt, table_bytes},
};
use crate::{
    error::Result,
    key::Stamp,
    options::Options,
    outputs::Outputs,
    table::TableWriter,
    version::{Level, Version},
};

/// What stands around the tables that a job writes. Holds none of the job's inputs.
pub(super) struct Surroundings {
    /// The levels below the target that hold something.
    below: Vec<Arc<Level>>,
    /// First keys of the tables of the target level that are no inputs, ascending.
    untouched: Vec<Vec<u8>>,
    /// Length at which another table begins.
    table_bytes: u64,
    /// How far the merge into the last level was due.
    pub(super) debt: f64,
}

impl Surroundings {
    pub(super) fn of(version: &Version, job: &Job, options: &Options) -> Surroundings {
        let below = version.levels[job.target + 1..].iter();
        let below = below.filter(|level| !level.tables().is_empty()).cloned().collect();
        let target = version.levels[job.target].tables().iter();
        let is_input = |id: u64| job.inputs.iter().any(|(_, file)| file.info.id == id);
        let untouched = target.filter(|file| !is_input(file.info.id));
        let untouched = untouched.map(|file| file.info.first_key.clone()).collect();
        let (table_bytes, debt) = (table_bytes(version, options), debt(version));
        Surroundings { below, untouched, table_bytes, debt }
    }
}

/// Where a merge writes to.
pub(super) struct Writing<'a, 'b> {
    around: Surroundings,
    pub(super) outputs: &'a mut Outputs<'b>,
    writer: Option<TableWriter>,
    is_warm: bool,
    /// The table of the level below that the merge has not passed.
    below_next: usize,
    /// The table of the target level that is no input and that the merge has not passed.
    untouched_next: usize,
}

impl<'a, 'b> Writing<'a, 'b> {
    pub(super) fn new(around: Surroundings, outputs: &'a mut Outputs<'b>) -> Writing<'a, 'b> {
        let (below_next, untouched_next) = (0, 0);
        Writing { around, outputs, writer: None, is_warm: false, below_next, untouched_next }
    }

    /// Whether nothing stands below the level written, anywhere.
    pub(super) fn is_bottom(&self) -> bool {
        self.around.below.is_empty()
    }

    /// Whether no level below the one written can hold `key`.
    pub(super) fn nothing_below(&self, key: &[u8]) -> bool {
        self.around.below.iter().all(|level| level.find(key).is_none())
    }

    /// Adds an entry to the table being written.
    pub(super) fn add(&mut self, key: &[u8], stamp: Stamp, value: &[u8]) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.outputs.begin()?),
        };
        writer.add(key, stamp, value)?;
        writer.heat(self.is_warm);
        Ok(())
    }

    /// Whether what is added from here on was in the cache.
    pub(super) fn set_warm(&mut self, is_warm: bool) {
        self.is_warm = is_warm;
    }

    /// Whether the table should end before `key`, a new one: it is full, or it is well filled and the
    /// level below has a boundary here, so that later merges touch fewer tables; or a table that stays
    /// as it is comes between.
    pub(super) fn ends_before(&mut self, key: &[u8]) -> bool {
        let mut passes_untouched = false;
        while self.around.untouched.get(self.untouched_next).is_some_and(|first| &**first < key) {
            self.untouched_next += 1;
            passes_untouched = true;
        }
        let Some(writer) = &self.writer else { return false };
        let bytes = writer.estimated_bytes();
        let full = self.around.table_bytes;
        if passes_untouched || full <= bytes {
            return true;
        }
        let Some(below) = self.around.below.first().filter(|_| full / 2 <= bytes) else {
            return false;
        };
        let mut passes = false;
        let tables = below.tables();
        while tables.get(self.below_next).is_some_and(|file| file.info.last_key.as_slice() < key) {
            self.below_next += 1;
            passes = true;
        }
        passes
    }

    /// Ends the table being written.
    pub(super) fn end(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(writer) => self.outputs.end(writer),
            None => Ok(()),
        }
    }
}
