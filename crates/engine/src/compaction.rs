//! Tables are merged so that a read has few places to look and what is hidden goes away.
//!
//! `pick` chooses, from a version alone, what to merge; `run_job` does it, and names what it has
//! written table by table, giving up what it has read so far of its inputs each time. So a merge of any
//! size needs room for one more table, on disk and in the cache, and can be left off after each.
//!
//! 1. A version of a key that some reader may ask for is never dropped (`fold.rs`).
//! 2. All versions of one key within a level stand in one table.
//! 3. Outputs and directory are durable before the manifest names them, and that before the inputs go.
//! 4. A table that cannot be read stops compaction and nothing else: no key is dropped for it.
//! 5. The number of entries read of a table is what it is said to hold, and each is written or counted
//!    as dropped: before an edit names outputs, that adds up, and their blocks hold what was read
//!    (`tally.rs`, `digest.rs`). A sum that does not leaves everything in place and stops compaction.
//! 6. A block of puts that nothing else in the job touches may be carried as it is stored (`untouched.rs`).
//! 7. A job that was left off between two outputs has lost nothing; what is left of it is found again
//!    from the version.

mod covered;
mod crawl;
mod fold;
mod install;
mod job;
mod pace;
mod pick;
mod tally;
mod untouched;
mod window;
mod writing;

#[cfg(test)]
mod tests;

pub(crate) use crawl::{CRAWL_NOTED, Crawls};
pub(crate) use fold::{Fold, FoldSink, Rules};
pub(crate) use job::Job;
pub(crate) use pick::{Urge, bring_down, overload, rewrite};
pub use tally::Dropped;
pub(crate) use tally::Proven;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use self::{
    crawl::CRAWL_LEAST,
    job::{How, Inputs},
    pace::Pace,
    pick::{CONVERGE_SCORE, NoSweep, Situation, level0_is_due, pick, sweep},
    untouched::Untouched,
    writing::{Surroundings, Writing},
};
use crate::{
    allotment::{Allotment, Need},
    apart::Relocation,
    background::Duty,
    digest::Digest,
    error::{Error, Result},
    health::Event,
    key::SeqNo,
    keyspace::{State, Tree},
    options::KeyspaceOptions,
    outputs::{Outputs, Warmth},
    store::Store,
    table::{TableInfo, TableOrigin, key_memory_bytes, packing_bytes},
    values::LiveValues,
    version::Version,
};

/// How urgent it is to have deletions gone that walks meet: less than level 0, more than all else.
const SWEEP_SCORE: f64 = 95.0;
/// Entries read between two looks at whether the store is being closed.
const ENTRIES_BETWEEN_LOOKS: u64 = 4096;

impl Store {
    /// Does the most urgent compaction of all keyspaces; false when none is due.
    pub(crate) fn compact_one(&self, urge: Urge) -> Result<bool> {
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.latch.check()?;
        if self.halted().is_some() || self.is_closing() {
            self.note_room(&self.room.compact, &Ok(()));
            return Ok(false);
        }
        for tree in self.trees() {
            let dropped = self.drop_covered(&tree);
            if dropped.is_err() {
                self.note_room(&self.room.compact, &dropped);
            }
            if dropped? {
                self.measure_pile();
                return Ok(true);
            }
        }
        let oldest = self.oldest_boundary();
        let urgent = |tree: &Arc<Tree>| {
            let state = tree.state();
            let picked = pick(&state.version, self.situation(tree, urge, oldest));
            let swept = self.pick_sweep(tree, &state, oldest).map(|job| (SWEEP_SCORE, job));
            let (score, job) =
                picked.into_iter().chain(swept).max_by(|a, b| a.0.total_cmp(&b.0))?;
            Some((score, self.task(tree, &state.version, urge, job, BTreeSet::new())))
        };
        let due = self.trees().iter().filter_map(urgent).max_by(|a, b| a.0.total_cmp(&b.0));
        // What pays less comes behind the space of values.
        let idle = due.as_ref().is_none_or(|(score, _)| *score <= CONVERGE_SCORE);
        if idle {
            let collected = self.collect_one();
            if due.is_none() || !matches!(collected, Ok(false)) {
                self.note_room(&self.room.compact, &collected);
                return collected;
            }
        }
        let Some((_, task)) = due else { return Ok(false) };
        let (begun, keyspace) = (self.environment.now(), task.tree.name.clone());
        let run = self.run_task(task);
        if run.is_ok() {
            let took = self.environment.now().saturating_sub(begun);
            self.counters.compaction_times.add(took);
            self.tell(&Event::Compacted { keyspace, took });
        }
        self.note_room(&self.room.compact, &run);
        run?;
        self.measure_pile();
        Ok(true)
    }

    /// The job that has deletions gone which many walks met. If they are in memory still, sees to it that
    /// they get to a table.
    fn pick_sweep(&self, tree: &Arc<Tree>, state: &State, oldest: SeqNo) -> Option<Job> {
        let crawl = tree.crawls.get()?;
        for memtable in state.memtables() {
            let mut cursor = memtable.table.cursor();
            cursor.seek(&crawl.first);
            if !cursor.valid() || crawl.last.as_slice() < cursor.key() {
                continue;
            }
            let cost = memtable.table.len() + CRAWL_LEAST;
            if Arc::ptr_eq(memtable, &state.active) && cost <= crawl.steps {
                tree.crawls.pay(cost);
                let _committing = self.lock_commit();
                self.freeze(tree);
            }
            self.environment.signal(Duty::Flush);
            return None;
        }
        match sweep(&state.version, &crawl, oldest) {
            Ok(job) => Some(job),
            Err(NoSweep::Early) => None,
            Err(NoSweep::Useless) => {
                tree.crawls.merged(None);
                None
            }
        }
    }

    /// Whether there is a compaction that pays while nobody writes.
    pub(crate) fn could_converge(&self) -> bool {
        let oldest = self.oldest_boundary();
        let pays = |tree: &Arc<Tree>| {
            pick(&tree.state().version, self.situation(tree, Urge::Idle, oldest)).is_some()
        };
        self.trees().iter().any(pays)
    }

    fn situation(&self, tree: &Tree, urge: Urge, oldest: SeqNo) -> Situation<'_> {
        let style = tree.rules.options.style;
        let joined_bytes = tree.joined_bytes.load(Relaxed);
        Situation { options: &self.options, style, urge, oldest, joined_bytes }
    }

    /// The oldest write that some reader, one of today or of later, may ask for.
    fn oldest_boundary(&self) -> SeqNo {
        self.snapshots.boundaries(|| self.visible()).first().copied().unwrap_or(0)
    }

    /// A job of a keyspace; values in the files `collected` are copied into new ones on the way.
    pub(crate) fn task(
        &self,
        tree: &Arc<Tree>,
        version: &Version,
        urge: Urge,
        job: Job,
        collected: BTreeSet<u64>,
    ) -> Task {
        let around = Surroundings::of(version, &job, &self.options, tree.rules.options.style);
        let values = Arc::clone(&version.values);
        Task { tree: Arc::clone(tree), urge, job, around, values, collected }
    }

    pub(crate) fn run_task(&self, task: Task) -> Result<()> {
        match task.job.how {
            How::Move => self.move_tables(&task.tree, &task.job)?,
            How::Merge => match self.merge(task) {
                Ok(()) => {}
                Err(Stop::Unread(error)) => {
                    self.halt(error);
                    return Ok(());
                }
                Err(Stop::Unwritten(error)) => return Err(error.or_full(&self.dir)),
            },
        }
        self.counters.compactions.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Where tables that are written for level `target` belong.
    fn origin_of(&self, tree: &Tree, target: usize, inputs: Vec<u64>) -> TableOrigin {
        let keyspaces = &self.lock_manifest().catalog.keyspaces;
        let flushed = keyspaces.get(&tree.id).map_or(0, |record| record.flushed);
        TableOrigin { inputs, ..tree.origin(target, flushed) }
    }

    /// Why there is no more compaction, if so: a table could not be read. Nothing is lost by that and
    /// writes go on, until too many tables pile up.
    pub(crate) fn halted(&self) -> Option<Error> {
        self.compaction_halted.get().cloned()
    }

    fn halt(&self, error: Error) {
        if self.compaction_halted.set(error.clone()).is_ok() {
            self.tell(&Event::CompactionHalted(error));
        }
    }

    /// Merges the inputs of `job` into new tables of its target level, as far as it is not left off.
    fn merge(&self, task: Task) -> Result<(), Stop> {
        let Task { tree, urge, job, around, values, collected } = task;
        let (in_pieces, joins) = (!job.rewrites_between(), job.joins_small());
        let (target, is_deep) = (job.target, job.is_deep);
        let names = job.inputs.iter().map(|(_, file)| file.info.id).collect();
        let allotment = self.allot_merge(&job, &around, &tree.rules.options);
        let mut merge = Inputs::open(&job, allotment.ahead_bytes).map_err(Stop::Unread)?;
        let ranges = Inputs::range_deletes(&job).map_err(Stop::Unread)?;
        // From here on only what was not read yet keeps its table.
        drop(job);
        let mut values = Relocation::new(self, values, collected, allotment.buffer_bytes);
        let origin = self.origin_of(&tree, target, names);
        let mut outputs = Outputs::new(self, Warmth::AsBefore, origin, allotment);
        let mut pace = Pace::new(self, is_deep && urge != Urge::Settle, around.debt);
        let boundaries = self.snapshots.boundaries(|| self.visible());
        let mut fold = Fold::new(tree.folding_rules(boundaries, ranges));
        let ranges = fold.rules().kept_ranges(|piece| around.nothing_below(piece));
        let mut writing = Writing::new(around, &mut outputs, &mut values, ranges);
        let carried = &self.counters.compacted_blocks_carried;
        let mut untouched = Untouched::new(self.options.value_apart_bytes_min, carried);
        let (mut read, mut looked_at, mut proven) = (0, 0, Proven::default());
        while merge.valid() {
            if writing.may_end() && fold.is_new(merge.key()) {
                fold.end(&mut writing).map_err(Stop::of_writing)?;
                while let Some(end) = writing.end_before(merge.key()) {
                    let is_short = joins && writing.is_out_of_room();
                    writing.end(Some(&end)).map_err(Stop::of_writing)?;
                    if is_short {
                        tree.joined_bytes.fetch_min(writing.ended_bytes() / 2, Relaxed);
                    }
                    if in_pieces {
                        self.prove(&mut proven, read, &fold, &writing)?;
                        let written = writing.written().map_err(Stop::Unwritten)?;
                        let there = self.install(&tree, target, &mut merge, written, Some(&end))?;
                        if !there || self.leaves_off(is_deep) {
                            return Ok(());
                        }
                    }
                }
            }
            if looked_at + ENTRIES_BETWEEN_LOOKS <= read {
                looked_at = read;
                if self.is_closing() {
                    return Ok(());
                }
                pace.rest(self);
            }
            let carried = if merge.begins_block() {
                untouched.carry(&mut merge, &mut fold, &mut writing)?
            } else {
                0
            };
            if carried == 0 {
                merge_one(&mut merge, &mut fold, &mut writing)?;
            }
            read += carried.max(1);
        }
        fold.end(&mut writing).map_err(Stop::of_writing)?;
        writing.end_all().map_err(Stop::of_writing)?;
        self.prove(&mut proven, read, &fold, &writing)?;
        let written = writing.written().map_err(Stop::Unwritten)?;
        self.install(&tree, target, &mut merge, written, None)?;
        Ok(())
    }

    /// Proves that all entries read so far were written or dropped, and counts those not counted yet.
    fn prove(
        &self,
        proven: &mut Proven,
        read: u64,
        fold: &Fold<'_>,
        writing: &Writing<'_, '_>,
    ) -> Result<(), Stop> {
        let now = Proven { read, written: writing.entries(), dropped: *fold.dropped() };
        now.dropped.prove(now.read, now.written, &self.dir).map_err(Stop::of_writing)?;
        self.counters.compacted.lock().unwrap_or_else(PoisonError::into_inner).add(&now, proven);
        *proven = now;
        Ok(())
    }

    /// Sets aside what a merge takes of memory. With less its tables are smaller.
    fn allot_merge(&self, job: &Job, around: &Surroundings, named: &KeyspaceOptions) -> Allotment {
        let infos = || job.inputs.iter().map(|(_, file)| &file.info);
        let entries: u64 = infos().map(|info| info.entries).sum();
        let bytes: u64 = infos().map(TableInfo::visible_bytes).sum();
        // A quarter more than the mean: keys are not spread evenly.
        let keys = around.table_bytes as f64 * entries as f64 / bytes.max(1) as f64 * 1.25;
        let options = self.table_options_for(job.target, named);
        let keys_bytes =
            (keys as u64).min(entries) * key_memory_bytes(options) + around.table_bytes / 32;
        let need = Need {
            buffers: self.files_at_once(),
            keys_bytes: keys_bytes.max(packing_bytes(options)),
            may_cut: true,
            sources: Inputs::sources(job) as u64,
            block_bytes: u64::from(self.options.block_bytes),
        };
        Allotment::of_background(self.environment.budget(), need)
    }

    /// Whether a job should not go on behind the output that was just named: something more urgent
    /// waits. Whoever takes the steps of a stepped environment sees what is between two outputs.
    fn leaves_off(&self, is_deep: bool) -> bool {
        self.is_closing()
            || self.latch.is_shut()
            || self.environment.is_stepped()
            || is_deep && self.level0_waits()
    }

    /// Whether level 0 of some keyspace should be merged.
    fn level0_waits(&self) -> bool {
        let due = |tree: &Arc<Tree>| level0_is_due(&tree.state().version, &self.options);
        self.trees().iter().any(due)
    }
}

/// Hands the entry that `merge` stands on to the fold, and steps on.
#[inline]
fn merge_one(
    merge: &mut Inputs,
    fold: &mut Fold<'_>,
    writing: &mut Writing<'_, '_>,
) -> Result<(), Stop> {
    let stamp = merge.stamp();
    let Some(kind) = stamp.kind() else {
        return Err(Stop::Unread(merge.unknown_kind()));
    };
    writing.set_warm(merge.was_cached());
    let (key, value) = (merge.key(), merge.value());
    fold.push(key, stamp, kind, value, Digest::of(key, value), writing)
        .map_err(Stop::of_writing)?;
    merge.step().map_err(Stop::Unread)
}

/// A job of a keyspace.
pub(crate) struct Task {
    tree: Arc<Tree>,
    urge: Urge,
    job: Job,
    around: Surroundings,
    /// The value files that its inputs may point into, and those whose records are copied.
    values: Arc<BTreeMap<u64, Arc<LiveValues>>>,
    collected: BTreeSet<u64>,
}

/// Why a merge did not end.
enum Stop {
    /// An input could not be read, or what was made of it is not what was read. The store is as it was.
    Unread(Error),
    /// An output could not be written.
    Unwritten(Error),
}

impl Stop {
    fn of_writing(error: Error) -> Stop {
        match error {
            Error::Altered { .. } => Stop::Unread(error),
            _ => Stop::Unwritten(error),
        }
    }
}
