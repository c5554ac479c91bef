//! Tables are merged so that a read has few places to look and what is hidden goes away.
//!
//! `pick` chooses, from a version alone, what to merge; `run_job` does it, and names what it has
//! written table by table, giving up what it has read so far of its inputs each time. So a merge of any
//! size needs room for one more table, on disk and in the cache, and can be left off after each.
//!
//! 1. A version of a key that some reader may ask for is never dropped (`keep.rs`).
//! 2. All versions of one key within a level stand in one table.
//! 3. Outputs and directory are durable before the manifest names them, and that before the inputs go.
//! 4. A table that cannot be read stops compaction and nothing else: no key is dropped for it.
//! 5. The number of entries read is the number written plus the number dropped for a reason.
//! 6. A job that was left off between two outputs has lost nothing; what is left of it is found again
//!    from the version.

mod crawl;
mod install;
mod job;
mod keep;
mod pace;
mod pick;
mod writing;

#[cfg(test)]
mod tests;

pub(crate) use crawl::{CRAWL_NOTED, Crawls};
pub(crate) use keep::VersionKeeper;
pub(crate) use pick::{Urge, overload};

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use self::{
    crawl::CRAWL_LEAST,
    job::{How, Inputs, Job},
    pace::Pace,
    pick::{LAST, NoSweep, Situation, level0_is_due, pick, sweep},
    writing::{Surroundings, Writing},
};
use crate::{
    background::Duty,
    error::{Error, Result},
    key::{Kind, SeqNo, Stamp},
    keyspace::{State, Tree},
    outputs::{Outputs, Warmth},
    store::Store,
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
            return Ok(false);
        }
        let oldest = self.oldest_boundary();
        let situation = Situation { options: &self.options, urge, oldest };
        let urgent = |tree: &Arc<Tree>| {
            let state = tree.state();
            let picked = pick(&state.version, situation);
            let swept = self.pick_sweep(tree, &state, oldest).map(|job| (SWEEP_SCORE, job));
            let (score, job) =
                picked.into_iter().chain(swept).max_by(|a, b| a.0.total_cmp(&b.0))?;
            let around = Surroundings::of(&state.version, &job, &self.options);
            Some((score, Task { tree: Arc::clone(tree), urge, job, around }))
        };
        let due = self.trees().iter().filter_map(urgent).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, task)) = due else { return Ok(false) };
        self.run_task(task)?;
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
        let situation = Situation { options: &self.options, urge: Urge::Idle, oldest };
        self.trees().iter().any(|tree| pick(&tree.state().version, situation).is_some())
    }

    /// The oldest write that some reader, one of today or of later, may ask for.
    fn oldest_boundary(&self) -> SeqNo {
        self.snapshots.boundaries(|| self.visible()).first().copied().unwrap_or(0)
    }

    fn run_task(&self, task: Task) -> Result<()> {
        match task.job.how {
            How::Move => self.move_tables(&task.tree, &task.job)?,
            How::Drop => self.drop_tables(&task.tree, &task.job)?,
            How::Merge => match self.merge(task) {
                Ok(()) => {}
                Err(Stop::Unread(error)) => {
                    self.halt(error);
                    return Ok(());
                }
                Err(Stop::Unwritten(error)) => return Err(error),
            },
        }
        self.counters.compactions.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Why there is no more compaction, if so: a table could not be read. Nothing is lost by that and
    /// writes go on, until too many tables pile up.
    pub(crate) fn halted(&self) -> Option<Error> {
        self.compaction_halted.get().cloned()
    }

    fn halt(&self, error: Error) {
        self.compaction_halted.get_or_init(|| error);
    }

    /// Merges the inputs of `job` into new tables of its target level, as far as it is not left off.
    fn merge(&self, task: Task) -> Result<(), Stop> {
        let Task { tree, urge, job, around } = task;
        let (target, is_deep) = (job.target, job.is_deep);
        let mut merge = Inputs::open(&job).map_err(Stop::Unread)?;
        // From here on only what was not read yet keeps its table.
        drop(job);
        let mut outputs = Outputs::new(self, Warmth::AsBefore);
        let mut pace = Pace::new(self, is_deep && urge != Urge::Settle, around.debt);
        let mut writing = Writing::new(around, &mut outputs);
        let mut keeper = VersionKeeper::new(self.snapshots.boundaries(|| self.visible()));
        let (mut read, mut written, mut dropped) = (0u64, 0u64, 0u64);
        while merge.valid() {
            if keeper.is_new(merge.key()) && writing.ends_before(merge.key()) {
                writing.end().map_err(Stop::Unwritten)?;
                let next = merge.key().to_vec();
                let there =
                    self.install(&tree, target, &mut merge, writing.outputs, Some(&next))?;
                if target == LAST {
                    tree.crawls.merged(Some(&next));
                }
                if !there || self.leaves_off(is_deep) {
                    assert!(read == written + dropped, "every entry read is written or dropped");
                    return Ok(());
                }
            }
            read += 1;
            if read.is_multiple_of(ENTRIES_BETWEEN_LOOKS) {
                if self.is_closing() {
                    return Ok(());
                }
                pace.rest(self);
            }
            let stamp = merge.stamp();
            let Some(kind) = stamp.kind() else {
                return Err(Stop::Unread(merge.unknown_kind()));
            };
            let kept = keeper.keeps(merge.key(), stamp);
            let is_final = keeper.is_final(stamp);
            let is_void = kind == Kind::Delete && is_final && writing.nothing_below(merge.key());
            if kept && !is_void {
                let bottom = writing.is_bottom() && is_final;
                let stamp = if bottom { Stamp::new(0, kind) } else { stamp };
                writing.set_warm(merge.was_cached());
                writing.add(merge.key(), stamp, merge.value()).map_err(Stop::Unwritten)?;
                written += 1;
            } else {
                dropped += 1;
            }
            merge.step().map_err(Stop::Unread)?;
        }
        writing.end().map_err(Stop::Unwritten)?;
        assert!(read == written + dropped, "every entry read is written or dropped");
        self.install(&tree, target, &mut merge, &mut outputs, None)?;
        if target == LAST {
            tree.crawls.merged(None);
        }
        Ok(())
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

/// A job of a keyspace.
struct Task {
    tree: Arc<Tree>,
    urge: Urge,
    job: Job,
    around: Surroundings,
}

/// Why a merge did not end.
enum Stop {
    /// An input could not be read. The store is as it was.
    Unread(Error),
    /// An output could not be written.
    Unwritten(Error),
}
