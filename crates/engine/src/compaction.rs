//! Tables are merged so that a read has few places to look and what is hidden goes away.
//!
//! `pick` chooses, from a version alone, what to merge; `run` does it. Level 0 is merged when it holds
//! too many tables, another level when it holds too many bytes; each level holds ten times what the
//! one above does.
//!
//! 1. A version of a key that some reader may ask for is never dropped (`keep.rs`).
//! 2. All versions of one key within a level stand in one table.
//! 3. Outputs and directory are durable before the manifest names them, and that before the inputs go.
//! 4. The number of entries read is the number written plus the number dropped for a reason.

mod keep;
mod pick;

pub(crate) use keep::VersionKeeper;
pub(crate) use pick::{Job, pick};

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use crate::{
    error::{Error, Result},
    iter::{Direction, LevelCursor, Merge, Source},
    key::{Kind, Stamp},
    keyspace::{State, Tree},
    manifest::Change,
    store::Store,
    table::{ReadHow, TableCursor, TableInfo, TableWriter},
    version::{Level, LiveTable, Version},
};

impl Store {
    /// Does the most urgent compaction of all keyspaces; false when none is due.
    pub(crate) fn compact_one(&self) -> Result<bool> {
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let urgent = |tree: &Arc<Tree>| {
            let state = tree.state();
            let compacted_to = tree.compacted_to.lock().unwrap_or_else(PoisonError::into_inner);
            let (score, job) = pick(&state.version, &self.options, &compacted_to)?;
            Some((score, Arc::clone(tree), Arc::clone(&state.version), job))
        };
        let due = self.trees().iter().filter_map(urgent).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, tree, version, job)) = due else { return Ok(false) };
        self.run_job(&tree, &version, &job)?;
        self.measure_pile();
        Ok(true)
    }

    fn run_job(&self, tree: &Tree, version: &Arc<Version>, job: &Job) -> Result<()> {
        let outputs = if job.is_move() {
            self.counters.tables_moved.fetch_add(job.upper.len() as u64, Relaxed);
            job.upper.iter().map(|file| file.info.clone()).collect()
        } else {
            let outputs = self.merge(version, job)?;
            self.sync_dir()?;
            outputs
        };
        self.install(tree, job, outputs)?;
        if let Some(last) = job.upper.last() {
            let mut compacted_to = tree.compacted_to.lock().unwrap_or_else(PoisonError::into_inner);
            compacted_to[job.level].clone_from(&last.info.last_key);
        }
        self.counters.compactions.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Names the outputs instead of the inputs, first durably, then for readers.
    fn install(&self, tree: &Tree, job: &Job, outputs: Vec<TableInfo>) -> Result<()> {
        let mut manifest = self.lock_manifest();
        if tree.is_dropped() {
            drop(manifest);
            if !job.is_move() {
                outputs.iter().for_each(|info| self.discard_table(Some(info)));
            }
            return Ok(());
        }
        let keyspace = tree.id;
        let mut changes = Vec::with_capacity(job.upper.len() + job.lower.len() + outputs.len());
        for (level, file) in job.inputs() {
            changes.push(Change::RemoveTable { keyspace, level: level as u8, table: file.info.id });
        }
        for info in &outputs {
            let level = job.level as u8 + 1;
            changes.push(Change::AddTable { keyspace, level, table: info.clone() });
        }
        manifest.commit(changes)?;
        let edit = manifest.last_edit();
        let removed: Vec<_> = job.inputs().map(|(level, file)| (level, Arc::clone(file))).collect();
        let added: Vec<_> = if job.is_move() {
            job.upper.iter().map(|file| (job.level + 1, Arc::clone(file))).collect()
        } else {
            outputs.into_iter().map(|info| (job.level + 1, self.table_file(info))).collect()
        };
        tree.change_state(|state| {
            let version = Arc::new(state.version.edited(&removed, &added));
            State { active: Arc::clone(&state.active), frozen: state.frozen.clone(), version }
        });
        drop(manifest);
        if !job.is_move() {
            removed.iter().for_each(|(_, file)| file.mark_obsolete());
        }
        drop(removed);
        self.note_edit(edit);
        self.environment.signal(crate::background::Duty::Prepare);
        Ok(())
    }

    /// Merges the inputs of `job` into new tables of the level below.
    fn merge(&self, version: &Arc<Version>, job: &Job) -> Result<Vec<TableInfo>> {
        let mut sources: Vec<Source> = Vec::new();
        if job.level == 0 {
            let cursor = |file: &Arc<LiveTable>| {
                Source::Table(TableCursor::new(Arc::clone(&file.table), ReadHow::SCAN))
            };
            sources.extend(job.upper.iter().map(cursor));
        } else {
            sources.push(run_of(&job.upper));
        }
        if !job.lower.is_empty() {
            sources.push(run_of(&job.lower));
        }
        let mut merge = Merge::new(sources);
        merge.seek_all(Direction::Forward, Source::seek_first)?;
        let mut output = Output::new(self, version, job);
        let mut keeper = VersionKeeper::new(self.snapshots.boundaries(|| self.visible()));
        let (mut read, mut written) = (0u64, 0u64);
        let mut dropped = 0u64;
        while merge.valid() {
            read += 1;
            let stamp = merge.stamp();
            let kept = keeper.keeps(merge.key(), stamp)
                && !(keeper.is_final(stamp) && self.is_void(merge.key(), stamp, &output)?);
            if kept {
                let stamp = if output.is_bottom && keeper.is_final(stamp) {
                    Stamp::new(0, stamp.kind().unwrap_or(Kind::Put))
                } else {
                    stamp
                };
                output.add(merge.key(), keeper.is_first(), stamp, merge.value())?;
                written += 1;
            } else {
                dropped += 1;
            }
            merge.step()?;
        }
        let expected: u64 = job.inputs().map(|(_, file)| file.info.entries).sum();
        if read != expected {
            let path = &job.upper[0].path;
            let what = format!("its tables say they hold {expected} entries, and {read} were read");
            return Err(Error::corrupt(path, 0, what));
        }
        assert!(read == written + dropped, "every entry read is written or dropped");
        let outputs = output.finish()?;
        let bytes = |files: &[TableInfo]| files.iter().map(|info| info.bytes).sum::<u64>();
        let input_bytes: u64 = job.inputs().map(|(_, file)| file.info.bytes).sum();
        self.counters.compacted_bytes_read.fetch_add(input_bytes, Relaxed);
        self.counters.compacted_bytes_written.fetch_add(bytes(&outputs), Relaxed);
        Ok(outputs)
    }

    /// Whether this entry says only that there is nothing, and nothing lies below it.
    fn is_void(&self, key: &[u8], stamp: Stamp, output: &Output<'_>) -> Result<bool> {
        match stamp.kind() {
            Some(Kind::Put) => Ok(false),
            Some(Kind::Delete) => Ok(output.nothing_below(key)),
            None => {
                Err(Error::corrupt(&self.dir, 0, format!("entry of unknown kind {:#x}", stamp.0)))
            }
        }
    }
}

/// Tables that follow one another, as one source.
fn run_of(tables: &[Arc<LiveTable>]) -> Source {
    let level = Arc::new(Level::ordered(tables.to_vec()));
    Source::Level(LevelCursor::new(level, ReadHow::SCAN))
}

/// The tables that a merge writes.
struct Output<'a> {
    store: &'a Store,
    version: &'a Version,
    job: &'a Job,
    writer: Option<TableWriter>,
    finished: Vec<TableInfo>,
    /// Nothing stands below the level written, anywhere.
    is_bottom: bool,
    /// The table of the level below next that the merge has not passed.
    below_next: usize,
}

impl<'a> Output<'a> {
    fn new(store: &'a Store, version: &'a Version, job: &'a Job) -> Output<'a> {
        let is_bottom = version.deepest() <= job.level + 1;
        Output { store, version, job, writer: None, finished: Vec::new(), is_bottom, below_next: 0 }
    }

    /// Whether no level below the one written can hold `key`.
    fn nothing_below(&self, key: &[u8]) -> bool {
        self.is_bottom
            || self.version.levels[self.job.level + 2..]
                .iter()
                .all(|level| level.find(key).is_none())
    }

    /// Adds an entry; a new table may begin only with the first version of a key.
    fn add(&mut self, key: &[u8], is_first: bool, stamp: Stamp, value: &[u8]) -> Result<()> {
        if is_first && self.cuts_before(key) {
            self.finish_one()?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.store.table_writer()?),
        };
        writer.add(key, stamp, value)
    }

    /// Whether a new table should begin with `key`: this one is full, or it is well filled and the
    /// level below has a boundary here, so that later merges touch fewer tables.
    fn cuts_before(&mut self, key: &[u8]) -> bool {
        let below = self.version.levels.get(self.job.level + 2).map_or(&[][..], |l| l.tables());
        let mut passes = false;
        while below.get(self.below_next).is_some_and(|file| file.info.last_key.as_slice() < key) {
            self.below_next += 1;
            passes = true;
        }
        let Some(writer) = &self.writer else { return false };
        let bytes = writer.estimated_bytes();
        let full = self.store.options.table_bytes_max;
        full <= bytes || (passes && full / 2 <= bytes)
    }

    fn finish_one(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            self.finished.push(writer.finish()?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<TableInfo>> {
        self.finish_one()?;
        Ok(self.finished)
    }
}
