//! Where a merge writes to: tables of the target level, one after the other.
//!
//! 1. A table begins and ends between two keys, never between versions of one.
//! 2. A table ends when it is full, or when what is kept of its keys takes what was set aside for that.
//! 3. No table is written across one of the target level that the job leaves as it is.

use std::sync::Arc;

use super::fold::FoldSink;
use super::{
    job::Job,
    pick::{debt, table_bytes},
    window::LATE,
};
use crate::{
    apart::{Relocation, ValueOutputs},
    digest::Digest,
    error::Result,
    key::Stamp,
    options::{CompactionStyle, Options},
    outputs::Outputs,
    planted::{Bug, planted},
    ranges::{Piece, RangeDeletes},
    table::{Carried, TableWriter},
    version::{Level, Version},
};

/// What stands around the tables that a job writes. Holds none of the job's inputs.
pub(super) struct Surroundings {
    /// The levels below the target that hold something.
    below: Vec<Arc<Level>>,
    /// First keys of the tables of the target level that are no inputs, ascending.
    untouched: Vec<Vec<u8>>,
    /// Length at which another table begins.
    pub(super) table_bytes: u64,
    /// A table ends wherever one of the level below does, so that each overlaps one.
    follows_below: bool,
    /// How far the merge into the last level was due.
    pub(super) debt: f64,
}

impl Surroundings {
    pub(super) fn of(
        version: &Version,
        job: &Job,
        options: &Options,
        style: CompactionStyle,
    ) -> Surroundings {
        let below = version.levels[job.target + 1..].iter();
        let below = below.filter(|level| !level.tables().is_empty()).cloned().collect();
        let target = version.levels[job.target].tables().iter();
        let is_input = |id: u64| job.inputs.iter().any(|(_, file)| file.info.id == id);
        let untouched = target.filter(|file| !is_input(file.info.id));
        let untouched = untouched.map(|file| file.info.first_key.clone()).collect();
        let (table_bytes, debt) = (table_bytes(version, options, style), debt(version));
        let follows_below = style == CompactionStyle::TimeWindow && job.target == LATE;
        Surroundings { below, untouched, table_bytes, follows_below, debt }
    }

    /// Whether no level below the target can hold a key that a deletion of a range deletes.
    pub(super) fn nothing_below(&self, piece: &Piece) -> bool {
        self.below.iter().all(|level| level.overlapping(&piece.start, &piece.end).is_empty())
    }
}

/// Where a merge writes to.
pub(super) struct Writing<'a, 'b> {
    around: Surroundings,
    outputs: &'a mut Outputs<'b>,
    values: &'a mut Relocation<'b>,
    writer: Option<TableWriter>,
    is_warm: bool,
    /// The deletions of ranges to be listed, and the first key whose are not yet.
    ranges: RangeDeletes,
    ranges_from: Option<Vec<u8>>,
    /// The table of the level below that the merge has not passed.
    below_next: usize,
    /// The table of the target level that is no input and that the merge has not passed.
    untouched_next: usize,
    /// Entries of the tables that were ended.
    entries: u64,
}

impl<'a, 'b> Writing<'a, 'b> {
    pub(super) fn new(
        around: Surroundings,
        outputs: &'a mut Outputs<'b>,
        values: &'a mut Relocation<'b>,
        ranges: RangeDeletes,
    ) -> Writing<'a, 'b> {
        Writing {
            around,
            outputs,
            values,
            writer: None,
            is_warm: false,
            ranges,
            ranges_from: None,
            below_next: 0,
            untouched_next: 0,
            entries: 0,
        }
    }

    /// What is written and not named yet, all of it durable. No table is being written.
    pub(super) fn written(&mut self) -> Result<(&mut Outputs<'b>, &mut ValueOutputs<'b>)> {
        assert!(self.writer.is_none(), "a table is named when it is ended");
        self.values.outputs.end()?;
        Ok((self.outputs, &mut self.values.outputs))
    }

    /// Entries handed on to tables that were ended since the job began.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether what is added from here on was in the cache.
    pub(super) fn set_warm(&mut self, is_warm: bool) {
        self.is_warm = is_warm;
    }

    /// Whether it is worth asking where the table ends.
    pub(super) fn may_end(&self) -> bool {
        let half = self.around.table_bytes / 2;
        self.around.follows_below
            || self.untouched_next < self.around.untouched.len()
            || self
                .writer
                .as_ref()
                .is_some_and(|writer| half <= writer.estimated_bytes() || writer.is_out_of_room())
    }

    /// Where the table being written should end, if that is before `key`, which is the next one: it is
    /// full, or it is well filled and the level below has a boundary here, so that later merges touch
    /// fewer tables; or a table that stays as it is comes between. There is nothing to be written
    /// between that place and `key`.
    pub(super) fn end_before(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(first) = self.next_untouched(Some(key)) {
            return Some(first);
        }
        let follows = self.around.follows_below;
        let passes = follows && self.passes_below(key);
        let writer = self.writer.as_ref()?;
        let bytes = writer.estimated_bytes();
        let full = self.around.table_bytes;
        if passes || full <= bytes || writer.is_out_of_room() {
            return Some(key.to_vec());
        }
        let well_filled = !follows && full / 2 <= bytes;
        (well_filled && self.passes_below(key)).then(|| key.to_vec())
    }

    /// The first key from `key` on, where the merge stands, at which an output may have to end, whatever
    /// it holds by then.
    pub(super) fn next_boundary(&self, key: &[u8]) -> Option<&[u8]> {
        let untouched = self.around.untouched.get(self.untouched_next).map(Vec::as_slice);
        let below =
            self.around.below.first().and_then(|level| {
                Some(level.tables().get(level.seek(key))?.info.last_key.as_slice())
            });
        untouched.into_iter().chain(below).min()
    }

    /// Whether so many blocks in a row may be carried into the table being written.
    pub(super) fn may_carry(&self, blocks: usize) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.may_carry(blocks))
    }

    /// Whether a block of so many bytes and entries is as long as those that are written here.
    pub(super) fn is_full_block(&self, bytes: usize, entries: usize) -> bool {
        let full = self.outputs.block_bytes();
        full / 2 <= bytes && (bytes <= full || entries == 1)
    }

    /// Takes over a block; false, and nothing is done, when it cannot be.
    pub(super) fn carry(&mut self, block: &Carried<'_>) -> Result<bool> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.outputs.begin()?),
        };
        writer.carry(block)
    }

    /// Whether there is no memory for more of the table being written.
    pub(super) fn is_out_of_room(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.is_out_of_room())
    }

    /// Bytes of the table that was ended last.
    pub(super) fn ended_bytes(&self) -> u64 {
        self.outputs.infos().last().map_or(0, |info| info.bytes)
    }

    /// Whether a table of the level below ends between here and where this was asked before.
    fn passes_below(&mut self, key: &[u8]) -> bool {
        let Some(below) = self.around.below.first() else { return false };
        let mut passes = false;
        let tables = below.tables();
        while tables.get(self.below_next).is_some_and(|file| file.info.ends_before(key)) {
            self.below_next += 1;
            passes = true;
        }
        passes
    }

    /// The first key of the next table that stays as it is, before `key`, if something must end there.
    fn next_untouched(&mut self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        while let Some(first) = self.around.untouched.get(self.untouched_next)
            && key.is_none_or(|key| first.as_slice() < key)
        {
            self.untouched_next += 1;
            let owes = !self.ranges.clipped(self.ranges_from.as_deref(), Some(first)).is_empty();
            if self.writer.is_some() || owes {
                return Some(first.clone());
            }
        }
        None
    }

    /// Ends the table being written; the next one begins at `next` or later. It lists the deletions of
    /// ranges up to there; they get a table even where there is no entry.
    pub(super) fn end(&mut self, next: Option<&[u8]>) -> Result<()> {
        let ranges = self.ranges.clipped(self.ranges_from.as_deref(), next);
        if self.writer.is_none() && !ranges.is_empty() {
            self.writer = Some(self.outputs.begin()?);
        }
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        self.entries += writer.entries();
        if !ranges.is_empty() {
            writer.set_range_deletes(ranges)?;
        }
        self.ranges_from = next.map(<[u8]>::to_vec);
        self.outputs.end(writer)
    }

    /// Ends the last table.
    pub(super) fn end_all(&mut self) -> Result<()> {
        while let Some(first) = self.next_untouched(None) {
            self.end(Some(&first))?;
        }
        self.end(None)
    }
}

impl FoldSink for Writing<'_, '_> {
    fn add(
        &mut self,
        key: &[u8],
        _: bool,
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
    ) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.outputs.begin()?),
        };
        match self.values.placed(key, stamp, value)? {
            Some((stamp, pointer)) => {
                writer.add_known(key, stamp, &pointer, digest.with_value(&pointer))?;
            }
            None => writer.add_known(key, stamp, value, digest)?,
        }
        writer.heat(self.is_warm);
        Ok(())
    }

    fn value_apart(&mut self, pointer: &[u8]) -> Option<Vec<u8>> {
        self.values.read(pointer)
    }

    fn nothing_below(&self, key: &[u8]) -> bool {
        planted(Bug::TombstoneDroppedEarly)
            || self.around.below.iter().all(|level| level.find(key).is_none())
    }

    fn is_bottom(&self) -> bool {
        self.around.below.is_empty()
    }
}
