//! Tables are merged so that a read has few places to look and what is hidden goes away.
//!
//! `pick` chooses, from a version alone, what to merge; `run` does it. Level 0 is merged when it holds
//! too many tables, another level when it holds too many bytes; each level holds ten times what the
//! one above does.
//!
//! 1. A version of a key that some reader may ask for is never dropped (`fold.rs`).
//! 2. All versions of one key within a level stand in one table.
//! 3. Outputs and directory are durable before the manifest names them, and that before the inputs go.
//! 4. A table that cannot be read stops compaction and nothing else: no key is dropped for it.
//! 5. The number of entries read is what the inputs are said to hold.

mod covered;
mod fold;
mod pick;

pub(crate) use fold::{Fold, FoldSink, Rules};
pub(crate) use pick::{Job, from_level0, pick};

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use crate::{
    apart::{Relocation, ValueOutputs},
    background::Duty,
    error::{Error, Result},
    health::Event,
    iter::{Direction, LevelCursor, Merge, Source},
    key::Stamp,
    keyspace::{State, Tree},
    manifest::Change,
    outputs::{Outputs, Warmth},
    planted::{Bug, planted},
    ranges::RangeDeletes,
    store::Store,
    table::{ReadHow, TableCursor, TableOrigin, TableWriter},
    version::{Level, LiveTable, Version},
};

impl Store {
    /// Does the most urgent compaction of all keyspaces; false when none is due.
    pub(crate) fn compact_one(&self) -> Result<bool> {
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        self.latch.check()?;
        if self.halted().is_some() {
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
        let urgent = |tree: &Arc<Tree>| {
            let state = tree.state();
            let compacted_to = tree.compacted_to.lock().unwrap_or_else(PoisonError::into_inner);
            let (score, job) = pick(&state.version, &self.options, &compacted_to)?;
            Some((score, Arc::clone(tree), Arc::clone(&state.version), job))
        };
        let due = self.trees().iter().filter_map(urgent).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, tree, version, job)) = due else {
            let collected = self.collect_one();
            self.note_room(&self.room.compact, &collected);
            return collected;
        };
        let begun = self.environment.now();
        let run = self.run_job(&tree, &version, &job, &BTreeSet::new());
        if run.is_ok() {
            let took = self.environment.now().saturating_sub(begun);
            self.counters.compaction_times.add(took);
            self.tell(&Event::Compacted { keyspace: tree.name.clone(), took });
        }
        self.note_room(&self.room.compact, &run);
        run?;
        self.measure_pile();
        Ok(true)
    }

    /// Does a job; values in the files `collected` are copied into new ones on the way.
    pub(crate) fn run_job(
        &self,
        tree: &Tree,
        version: &Arc<Version>,
        job: &Job,
        collected: &BTreeSet<u64>,
    ) -> Result<()> {
        let mut outputs = Outputs::new(self, Warmth::WhereRoom, self.origin_below(tree, job));
        let mut values = Relocation::new(self, version, collected);
        if job.is_move() {
            self.counters.tables_moved.fetch_add(job.upper.len() as u64, Relaxed);
        } else {
            match self.merge(tree, version, job, &mut outputs, &mut values) {
                Ok(()) => {}
                Err(Stop::Unread(error)) => {
                    self.halt(error);
                    return Ok(());
                }
                Err(Stop::Unwritten(error)) => return Err(error.or_full(&self.dir)),
            }
            outputs.sync_names()?;
        }
        self.install(tree, job, outputs, values.outputs)?;
        if let Some(last) = job.upper.last() {
            let mut compacted_to = tree.compacted_to.lock().unwrap_or_else(PoisonError::into_inner);
            compacted_to[job.level].clone_from(&last.info.last_key);
        }
        self.counters.compactions.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Where the tables that `job` writes belong.
    fn origin_below(&self, tree: &Tree, job: &Job) -> TableOrigin {
        let keyspaces = &self.lock_manifest().catalog.keyspaces;
        let flushed = keyspaces.get(&tree.id).map_or(0, |record| record.flushed);
        let inputs = job.inputs().map(|(_, file)| file.info.id).collect();
        TableOrigin { inputs, ..tree.origin(job.level + 1, flushed) }
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

    /// Names the outputs instead of the inputs, first durably, then for readers.
    fn install(
        &self,
        tree: &Tree,
        job: &Job,
        outputs: Outputs<'_>,
        values: ValueOutputs<'_>,
    ) -> Result<()> {
        let moved = job.is_move();
        let tables = if moved { job.upper.clone() } else { outputs.live() };
        let mut manifest = self.lock_manifest();
        if tree.is_dropped() {
            return Ok(());
        }
        let keyspace = tree.id;
        let below = job.level + 1;
        let inputs = job.inputs().map(|(level, file)| Change::RemoveTable {
            keyspace,
            level: level as u8,
            table: file.info.id,
        });
        let added = tables.iter().map(|table| Change::AddTable {
            keyspace,
            level: below as u8,
            table: table.info.clone(),
        });
        let apart = values.live();
        let changes = values.changes(keyspace).chain(inputs).chain(added).collect();
        if planted(Bug::InputsRemovedEarly) && !moved {
            for (_, file) in job.inputs() {
                self.environment.vfs().remove_file(&file.path).ok();
            }
        }
        values.settle(outputs.settle(manifest.commit(changes)))?;
        let edit = manifest.last_edit();
        let removed: Vec<_> = job.inputs().map(|(level, file)| (level, Arc::clone(file))).collect();
        let added: Vec<_> = tables.into_iter().map(|table| (below, table)).collect();
        tree.change_state(|state| {
            let version = state.version.edited(&removed, &added).with_values(&[], &apart);
            let version = Arc::new(version);
            State { active: Arc::clone(&state.active), frozen: state.frozen.clone(), version }
        });
        drop(manifest);
        if !moved {
            for (_, file) in &removed {
                file.mark_obsolete();
            }
        }
        drop(removed);
        self.note_edit(edit);
        self.environment.signal(Duty::Prepare);
        Ok(())
    }

    /// Merges the inputs of `job` into new tables of the level below.
    fn merge<'a>(
        &'a self,
        tree: &Tree,
        version: &Arc<Version>,
        job: &Job,
        outputs: &mut Outputs<'a>,
        values: &mut Relocation<'a>,
    ) -> Result<(), Stop> {
        let mut merge = Merge::new(sources_of(job));
        merge.seek_all(Direction::Forward, Source::seek_first).map_err(Stop::Unread)?;
        let boundaries = self.snapshots.boundaries(|| self.visible());
        let ranges = ranges_of(job).map_err(Stop::Unread)?;
        let mut fold = Fold::new(tree.folding_rules(boundaries, ranges));
        let ranges = fold.rules().kept_ranges(|piece| {
            let below = &version.levels[job.level + 2..];
            below.iter().all(|level| level.overlapping(&piece.start, &piece.end).is_empty())
        });
        let mut writing = Writing::new(self, version, job, outputs, values, ranges);
        let mut read = 0u64;
        while merge.valid() {
            read += 1;
            let stamp = merge.stamp();
            let Some(kind) = stamp.kind() else {
                let what = format!("entry of unknown kind {:#x}", stamp.0);
                return Err(Stop::Unread(Error::corrupt(job.path(), 0, what)));
            };
            fold.push(merge.key(), stamp, kind, merge.value(), &mut writing)
                .map_err(Stop::Unwritten)?;
            merge.step().map_err(Stop::Unread)?;
        }
        fold.end(&mut writing).map_err(Stop::Unwritten)?;
        writing.end_all().map_err(Stop::Unwritten)?;
        values.outputs.end().map_err(Stop::Unwritten)?;
        assert!(fold.written() <= read, "versions are written or dropped, and never made");
        let expected: u64 = job.inputs().map(|(_, file)| file.info.entries).sum();
        if read != expected {
            let what = format!("the merged tables hold {expected} entries, and {read} were read");
            return Err(Stop::Unread(Error::corrupt(job.path(), 0, what)));
        }
        let input_bytes: u64 = job.inputs().map(|(_, file)| file.info.bytes).sum();
        self.counters.compacted_bytes_read.fetch_add(input_bytes, Relaxed);
        self.counters.compacted_bytes_written.fetch_add(outputs.bytes(), Relaxed);
        Ok(())
    }
}

/// Why a merge did not end.
enum Stop {
    /// An input could not be read. The store is as it was.
    Unread(Error),
    /// An output could not be written.
    Unwritten(Error),
}

/// The ranges that the inputs of a job say are deleted.
fn ranges_of(job: &Job) -> Result<RangeDeletes> {
    let listing = job.inputs().filter(|(_, file)| file.info.range_deletes != 0);
    let lists: Vec<_> =
        listing.map(|(_, file)| file.table.range_deletes(ReadHow::SCAN)).collect::<Result<_>>()?;
    Ok(RangeDeletes::united(lists.iter().map(AsRef::as_ref)))
}

/// The runs that a job merges.
fn sources_of(job: &Job) -> Vec<Source> {
    let table = |file: &Arc<LiveTable>| {
        Source::Table(TableCursor::new(Arc::clone(&file.table), ReadHow::SCAN))
    };
    let mut sources: Vec<Source> = if job.level == 0 {
        job.upper.iter().map(table).collect()
    } else {
        vec![run_of(&job.upper)]
    };
    if !job.lower.is_empty() {
        sources.push(run_of(&job.lower));
    }
    sources
}

/// Tables that follow one another, as one source.
fn run_of(tables: &[Arc<LiveTable>]) -> Source {
    let level = Arc::new(Level::ordered(tables.to_vec()));
    Source::Level(LevelCursor::new(level, ReadHow::SCAN))
}

/// Where a merge writes to.
struct Writing<'a, 'b> {
    store: &'a Store,
    version: &'a Version,
    job: &'a Job,
    outputs: &'a mut Outputs<'b>,
    values: &'a mut Relocation<'b>,
    writer: Option<TableWriter>,
    /// The deletions of ranges to be listed, and the first key whose are not yet.
    ranges: RangeDeletes,
    ranges_from: Option<Vec<u8>>,
    /// Nothing stands below the level written, anywhere.
    is_bottom: bool,
    /// The table of the level below next that the merge has not passed.
    below_next: usize,
}

impl<'a, 'b> Writing<'a, 'b> {
    fn new(
        store: &'a Store,
        version: &'a Version,
        job: &'a Job,
        outputs: &'a mut Outputs<'b>,
        values: &'a mut Relocation<'b>,
        ranges: RangeDeletes,
    ) -> Writing<'a, 'b> {
        let is_bottom = version.deepest() <= job.level + 1;
        Writing {
            store,
            version,
            job,
            outputs,
            values,
            writer: None,
            ranges,
            ranges_from: None,
            is_bottom,
            below_next: 0,
        }
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

    /// Ends the table being written; the next one begins with `next`. It lists the deletions of
    /// ranges up to there.
    fn end(&mut self, next: Option<&[u8]>) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        if !self.ranges.is_empty() {
            writer.set_range_deletes(self.ranges.clipped(self.ranges_from.as_deref(), next))?;
            self.ranges_from = next.map(<[u8]>::to_vec);
        }
        self.outputs.end(writer)
    }

    /// Ends the last table. Deletions of ranges get one even where no entry is left.
    fn end_all(&mut self) -> Result<()> {
        if self.writer.is_none() && !self.ranges.is_empty() {
            self.writer = Some(self.outputs.begin()?);
        }
        self.end(None)
    }
}

impl FoldSink for Writing<'_, '_> {
    /// A new table may begin only with the first version of a key.
    fn add(&mut self, key: &[u8], is_first: bool, stamp: Stamp, value: &[u8]) -> Result<()> {
        if is_first && self.cuts_before(key) {
            self.end(Some(key))?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.outputs.begin()?),
        };
        match self.values.placed(key, stamp, value)? {
            Some((stamp, pointer)) => writer.add(key, stamp, &pointer),
            None => writer.add(key, stamp, value),
        }
    }

    fn value_apart(&mut self, pointer: &[u8]) -> Option<Vec<u8>> {
        self.values.read(pointer)
    }

    fn nothing_below(&self, key: &[u8]) -> bool {
        let below = &self.version.levels[self.job.level + 2..];
        self.is_bottom
            || planted(Bug::TombstoneDroppedEarly)
            || below.iter().all(|level| level.find(key).is_none())
    }

    fn is_bottom(&self) -> bool {
        self.is_bottom
    }
}
