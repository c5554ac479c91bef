//! What one compaction merges, and how far it is with each of its inputs.
//!
//! 1. Every entry that is read is counted for the table it came from; a table is given up only when all
//!    that it holds below a key were read, and no more than it is said to hold.
//! 2. So is what its entries point to in value files; what is left of a table points to the rest.
//! 3. A table that was read to its end is let go of at once: its file need not wait for the job.

use std::sync::Arc;

use super::pick::LAST;
use crate::{
    error::{Error, Result},
    iter::{Direction, Merge, RunCursor, Source},
    key::{Kind, Stamp},
    pointer::{Pointer, UseCount, ValueUses},
    ranges::RangeDeletes,
    table::{BlockFacts, Carried, Part, ReadHow},
    version::LiveTable,
};

/// Tables to merge, and the level that gets what comes out.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// With the level of each, by level and there in the order of the version.
    pub(crate) inputs: Vec<(usize, Arc<LiveTable>)>,
    pub(crate) target: usize,
    pub(crate) how: How,
    /// What is at the top may interrupt it after each output.
    pub(crate) is_deep: bool,
}

/// What is done with the inputs of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// They are merged into new tables.
    Merge,
    /// They go to the target as they are.
    Move,
}

/// The inputs of a job as one sorted run.
pub(super) struct Inputs {
    merge: Merge,
    tables: Vec<Input>,
    /// Where the tables of each source begin in `tables`.
    starts: Vec<usize>,
}

struct Input {
    level: usize,
    /// None once the manifest has forgotten it.
    file: Option<Arc<LiveTable>>,
    read: u64,
    tombstones_read: u64,
    /// What the entries read point to; `None` where the table points to nothing.
    uses: Option<Followed>,
}

/// Counts what the entries of a table point to as they come by, as they were counted when it was written.
#[derive(Default)]
struct Followed {
    count: UseCount,
    key: Vec<u8>,
    /// Whether an entry was read; `key` is its key.
    stands: bool,
    /// Whether a version of the key hides those that follow it.
    is_hidden: bool,
}

impl Followed {
    /// False when the entry is a pointer that does not decode.
    fn add(&mut self, key: &[u8], stamp: Stamp, value: &[u8]) -> bool {
        let hidden = self.stands && self.key == key && self.is_hidden;
        if !self.stands || self.key != key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.stands = true;
        }
        self.is_hidden = hidden || stamp.kind() != Some(Kind::Merge);
        if stamp.kind() != Some(Kind::Pointer) {
            return true;
        }
        let Some(pointer) = Pointer::decode(value) else { return false };
        self.count.add(&pointer, hidden);
        true
    }
}

/// A table that a job has read as far as some key.
pub(super) struct GivenUp {
    at: usize,
    pub(super) level: usize,
    pub(super) file: Arc<LiveTable>,
    /// What is left of it, if anything.
    pub(super) left: Option<Arc<LiveTable>>,
}

impl GivenUp {
    /// All of a table.
    pub(super) fn whole(level: usize, file: &Arc<LiveTable>) -> GivenUp {
        GivenUp { at: 0, level, file: Arc::clone(file), left: None }
    }
}

impl Job {
    /// Whether tables of a run between level 0 and the last are rewritten where they are: a few, and all
    /// at once. If one were cut there, the run would count as one whose merge downwards was begun.
    pub(super) fn rewrites_between(&self) -> bool {
        let stays = |(level, _): &(usize, Arc<LiveTable>)| *level == self.target;
        self.target != LAST && self.inputs.iter().all(stays)
    }

    /// Whether tables of the last level are put together.
    pub(super) fn joins_small(&self) -> bool {
        1 < self.inputs.len() && self.inputs.iter().all(|(level, _)| *level == LAST)
    }
}

impl Inputs {
    /// Tables of `job` that are read at once.
    pub(super) fn sources(job: &Job) -> usize {
        job.inputs.chunk_by(|(above, _), (level, _)| *above != 0 && above == level).count()
    }

    /// Stands on the first entry of all inputs, of each of which so much may be read ahead.
    pub(super) fn open(job: &Job, ahead_bytes: u32) -> Result<Inputs> {
        let (mut sources, mut starts) = (Vec::new(), Vec::new());
        let runs = job.inputs.chunk_by(|(above, _), (level, _)| *above != 0 && above == level);
        let mut start = 0;
        for run in runs {
            let files = run.iter().map(|(_, file)| Arc::clone(file));
            sources.push(Source::Run(RunCursor::new(files, ReadHow::scan_within(ahead_bytes))));
            starts.push(start);
            start += run.len();
        }
        let input = |(level, file): &(usize, Arc<LiveTable>)| Input {
            level: *level,
            file: Some(Arc::clone(file)),
            read: 0,
            tombstones_read: 0,
            uses: (!file.info.values.is_empty()).then(Followed::default),
        };
        let tables = job.inputs.iter().map(input).collect();
        let mut merge = Merge::new(sources);
        merge.seek_all(Direction::Forward, Source::seek_first)?;
        Ok(Inputs { merge, tables, starts })
    }

    /// The ranges that the inputs say are deleted.
    pub(super) fn range_deletes(job: &Job) -> Result<RangeDeletes> {
        let listing = job.inputs.iter().filter(|(_, file)| file.info.range_deletes != 0);
        let lists: Vec<_> =
            listing.map(|(_, file)| file.range_deletes(ReadHow::SCAN)).collect::<Result<_>>()?;
        Ok(RangeDeletes::united(lists.iter().map(AsRef::as_ref)))
    }

    pub(super) fn valid(&self) -> bool {
        self.merge.valid()
    }

    pub(super) fn key(&self) -> &[u8] {
        self.merge.key()
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.merge.stamp()
    }

    pub(super) fn value(&self) -> &[u8] {
        self.merge.value()
    }

    /// Whether the block of this entry was in the cache.
    pub(super) fn was_cached(&self) -> bool {
        self.merge.was_cached()
    }

    /// Steps to the next entry.
    pub(super) fn step(&mut self) -> Result<()> {
        let (source, table) = self.merge.place();
        let input = &mut self.tables[self.starts[source] + table];
        input.read += 1;
        let stamp = self.merge.stamp();
        input.tombstones_read += u64::from(stamp.kind() == Some(Kind::Delete));
        if let Some(uses) = &mut input.uses
            && !uses.add(self.merge.key(), stamp, self.merge.value())
        {
            return Err(input.wrong("a pointer does not decode".to_owned()));
        }
        self.merge.step()
    }

    /// Whether the merge stands on the first entry of a block.
    pub(super) fn begins_block(&self) -> bool {
        self.merge.run().is_some_and(RunCursor::begins_block)
    }

    /// What the head of the block it stands in tells.
    pub(super) fn block_facts(&self) -> Option<BlockFacts> {
        self.merge.run().map(RunCursor::block_facts)
    }

    /// Bytes of the longest value in that block.
    pub(super) fn value_bytes_most(&self) -> usize {
        self.merge.run().map_or(0, RunCursor::value_bytes_most)
    }

    /// The first key that another input has to come.
    pub(super) fn rival_key(&self) -> Option<&[u8]> {
        self.merge.rival_key()
    }

    /// How many blocks of its table, from the one it stands in on, have only keys below `bound`; 0 for
    /// fewer than `least`.
    pub(super) fn blocks_below(&self, bound: Option<&[u8]>, least: usize) -> Result<usize> {
        self.merge.run().map_or(Ok(0), |run| run.blocks_below(bound, least))
    }

    /// The block it stands at the beginning of, to be carried into another table.
    pub(super) fn carried(&mut self) -> Result<Option<Carried<'_>>> {
        self.merge.run_mut().map_or(Ok(None), RunCursor::carried)
    }

    /// Steps past the block it stands at the beginning of, of so many entries, all of them puts.
    pub(super) fn skip_block(&mut self, entries: u64) -> Result<()> {
        let (source, table) = self.merge.place();
        self.tables[self.starts[source] + table].read += entries;
        self.merge.skip_block()
    }

    /// A stamp that names no kind.
    pub(super) fn unknown_kind(&self) -> Error {
        let (source, table) = self.merge.place();
        let what = format!("entry of unknown kind {:#x}", self.merge.stamp().0);
        self.tables[self.starts[source] + table].wrong(what)
    }

    /// The tables of which something was read once the merge stands on `next`, the first entry of its
    /// key, or all when there is no more; with what is left of each.
    pub(super) fn given_up(&self, next: Option<&[u8]>) -> Result<Vec<GivenUp>> {
        let mut given_up = Vec::new();
        for (at, input) in self.tables.iter().enumerate() {
            let Some(file) = &input.file else { continue };
            let touched = next.is_none_or(|next| file.info.first_key.as_slice() < next);
            if touched {
                let left = input.left(file, next)?;
                given_up.push(GivenUp { at, level: input.level, file: Arc::clone(file), left });
            }
        }
        Ok(given_up)
    }

    /// The manifest knows that these were given up.
    pub(super) fn let_go(&mut self, given_up: &[GivenUp]) {
        for given in given_up {
            let input = &mut self.tables[given.at];
            input.file.clone_from(&given.left);
            (input.read, input.tombstones_read) = (0, 0);
            let points = |left: &&Arc<LiveTable>| !left.info.values.is_empty();
            input.uses = given.left.as_ref().filter(points).map(|_| Followed::default());
        }
    }
}

impl Input {
    fn wrong(&self, what: String) -> Error {
        let path = self.file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
        Error::corrupt(path, 0, what)
    }

    /// What the entries of the table that were not read yet point to.
    fn values_left(&self, file: &LiveTable) -> Result<ValueUses> {
        let Some(uses) = &self.uses else { return Ok(ValueUses::default()) };
        let read = uses.count.uses();
        file.info.values.without(&read).ok_or_else(|| {
            let (held, read) = (file.info.values.bytes(), read.bytes());
            let what =
                format!("the table points to {held} bytes of values, and to {read} were read");
            self.wrong(what)
        })
    }

    /// What is left of the table from `next` on.
    fn left(&self, file: &LiveTable, next: Option<&[u8]>) -> Result<Option<Arc<LiveTable>>> {
        let info = &file.info;
        let wrong = || {
            let (held, read) = (info.entries, self.read);
            self.wrong(format!("the table holds {held} entries, and {read} were read"))
        };
        let left = info.entries.checked_sub(self.read).ok_or_else(wrong)?;
        let values = self.values_left(file)?;
        if left == 0 && !values.is_empty() {
            let bytes = values.bytes();
            return Err(
                self.wrong(format!("nothing points to {bytes} bytes of values that it does"))
            );
        }
        let next = next.filter(|next| !info.ends_before(next));
        match next {
            // The bounds of a cut need not be keys; those of a file without deleted ranges are.
            Some(_) if left == 0 && info.range_deletes == 0 && info.is_cut() => Ok(None),
            Some(_) if left == 0 && info.range_deletes == 0 => Err(wrong()),
            Some(next) => Ok(Some(Arc::new(file.cut_to(&Part {
                entries: left,
                tombstones: info.tombstones.saturating_sub(self.tombstones_read).min(left),
                first_key: next.to_vec(),
                last_key: info.last_key.clone(),
                last_is_excluded: info.last_is_excluded,
                values,
            })))),
            None if left == 0 => Ok(None),
            None => Err(wrong()),
        }
    }
}
