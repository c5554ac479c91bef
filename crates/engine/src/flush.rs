//! Frozen memtables become tables.
//!
//! 1. The log is synced up to a table's highest sequence number before the table is named by the
//!    manifest: a crash never leaves a table newer than the log.
//! 2. File, directory, manifest, in this order, are durable before readers see the table.
//! 3. A keyspace's memtables are flushed oldest first.
//! 4. Large values go into a value file, which is durable before the table that points into it; one
//!    edit names both.
//! 5. A memtable leaves memory, and its part of the log its duty, only after that.
//! 6. What the memtable holds is what was put into it, to the byte, and all of it is in the table or
//!    counted as dropped; otherwise the latch shuts, and the log still has everything.

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

use crate::{
    allotment::{Allotment, Need},
    apart::ValueOutputs,
    background::Duty,
    compaction::{Fold, FoldSink},
    digest::{Digest, quick_digest},
    error::{Error, Result},
    health::Event,
    key::Stamp,
    keyspace::{LoggedMemtable, State, Tree},
    log::Position,
    manifest::Change,
    outputs::{Outputs, Warmth},
    planted::{Bug, planted},
    store::Store,
    table::{TableWriter, key_memory_bytes},
};

/// The table that a memtable becomes; older ones may hold anything.
struct Level0<'a, 'b> {
    writer: TableWriter,
    values: &'a mut ValueOutputs<'b>,
}

impl FoldSink for Level0<'_, '_> {
    fn add(
        &mut self,
        key: &[u8],
        _is_first: bool,
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
    ) -> Result<()> {
        match self.values.separate(key, stamp, value)? {
            Some((stamp, pointer)) => {
                let digest = digest.with_value(&pointer);
                self.writer.add_known(key, stamp, &pointer, digest)
            }
            None => self.writer.add_known(key, stamp, value, digest),
        }
    }

    /// Only a stream has put a pointer into a memtable; what it points to may be very long.
    fn value_apart(&mut self, _pointer: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn nothing_below(&self, _key: &[u8]) -> bool {
        false
    }

    fn is_bottom(&self) -> bool {
        false
    }
}

impl Store {
    /// Flushes the frozen memtable that holds the oldest part of the log; false when there is none.
    pub(crate) fn flush_one(&self) -> Result<bool> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        self.latch.check()?;
        let oldest = |tree: &Arc<Tree>| {
            let memtable = tree.state().frozen.last().map(Arc::clone)?;
            Some((memtable.oldest_segment(), Arc::clone(tree), memtable))
        };
        let next = self.trees().iter().filter_map(oldest).min_by_key(|(segment, ..)| *segment);
        let Some((_, tree, memtable)) = next else {
            self.note_room(&self.room.flush, &Ok(()));
            return Ok(false);
        };
        let begun = self.environment.now();
        let flushed = self.flush(&tree, &memtable);
        if let Ok(bytes) = flushed {
            let took = self.environment.now().saturating_sub(begun);
            self.counters.flush_times.add(took);
            self.tell(&Event::Flushed { keyspace: tree.name.clone(), bytes, took });
        }
        self.note_room(&self.room.flush, &flushed);
        flushed.map(|_| true)
    }

    /// Makes tables of a memtable; returns their bytes.
    fn flush(&self, tree: &Tree, memtable: &Arc<LoggedMemtable>) -> Result<u64> {
        let allotment = self.allot_flush(memtable);
        let mut values = ValueOutputs::new(self, allotment.buffer_bytes);
        let origin = tree.origin(0, memtable.newest_seqno());
        let mut outputs = Outputs::new(self, Warmth::Warm, origin, allotment);
        self.write_memtable(tree, memtable, &mut outputs, &mut values)?;
        if !planted(Bug::TableBeforeLog) {
            self.wait_durable(memtable.newest_seqno())?;
            if self.durable() < memtable.newest_seqno() {
                // The log had no room to say that the numbers of what it does not hold were taken.
                return Err(Error::Full { path: self.dir.clone() });
            }
        }
        let tables = outputs.live();
        let mut manifest = self.lock_manifest();
        if tree.is_dropped() {
            return Ok(0);
        }
        let bytes = outputs.bytes();
        let mut changes =
            vec![Change::Flushed { keyspace: tree.id, seqno: memtable.newest_seqno() }];
        if memtable.applied() != 0 {
            changes.push(Change::Applied { keyspace: tree.id, seqno: memtable.applied() });
        }
        let positions = memtable.positions();
        changes.extend(positions.iter().map(|(range, position)| Change::Position {
            keyspace: tree.id,
            range: range.clone(),
            position: position.clone(),
        }));
        let apart = values.live();
        changes.extend(values.changes(tree.id));
        for table in &tables {
            changes.push(Change::AddTable {
                keyspace: tree.id,
                level: 0,
                table: table.info.clone(),
            });
        }
        let log_start = self.log_start_without(memtable);
        changes.push(Change::LogStart { segment: log_start });
        changes.push(Change::LogDurable { position: self.log_durable()? });
        values.settle(outputs.settle(manifest.commit(changes)))?;
        let edit = manifest.last_edit();
        tree.appended.cover(memtable.applied());
        tree.advance_positions(&positions);
        let added: Vec<_> = tables.into_iter().map(|table| (0, table)).collect();
        tree.change_state(|state| {
            let mut frozen = state.frozen.clone();
            frozen.retain(|known| !Arc::ptr_eq(known, memtable));
            let version = Arc::new(state.version.edited(&[], &added).with_values(&[], &apart));
            State { active: Arc::clone(&state.active), frozen, version }
        });
        drop(manifest);
        self.counters.flushes.fetch_add(1, Relaxed);
        self.release_log(log_start, edit)?;
        self.measure_pile();
        self.environment.signal(Duty::Compact);
        Ok(bytes)
    }

    /// Sets aside what the flush takes of memory. It makes one table, so all keys count.
    fn allot_flush(&self, memtable: &LoggedMemtable) -> Allotment {
        let options = self.table_options_of(0);
        let need = Need {
            buffers: self.files_at_once(),
            keys_bytes: memtable.table.len() * key_memory_bytes(options),
            ..Need::default()
        };
        Allotment::of_background(self.environment.budget(), need)
    }

    /// Writes the table of a memtable and makes file and name durable. Writes none when nothing is
    /// in it.
    fn write_memtable(
        &self,
        tree: &Tree,
        memtable: &LoggedMemtable,
        outputs: &mut Outputs<'_>,
        values: &mut ValueOutputs<'_>,
    ) -> Result<()> {
        if memtable.is_empty() {
            return Ok(());
        }
        let boundaries = self.snapshots.boundaries(|| self.visible());
        let ranges = memtable.range_deletes().as_deref().cloned().unwrap_or_default();
        let mut fold = Fold::new(tree.folding_rules(boundaries, ranges));
        let mut writing = Level0 { writer: outputs.begin()?, values };
        let mut cursor = memtable.table.cursor();
        cursor.seek_first();
        let (mut read, mut digests) = (0, 0_u64);
        while cursor.valid() {
            let stamp = cursor.stamp();
            let kind = stamp.kind().expect("memtables hold stamps made from kinds");
            let (key, value) = (cursor.key(), cursor.value());
            let digest = Digest::of(key, value);
            digests = digests.wrapping_add(quick_digest(key, stamp, value));
            read += 1;
            let added = fold.push(key, stamp, kind, value, digest, &mut writing);
            added.map_err(|error| error.or_full(&self.dir))?;
            cursor.next();
        }
        fold.end(&mut writing).map_err(|error| error.or_full(&self.dir))?;
        if (read, digests) != (memtable.table.len(), memtable.table.digests()) {
            let what = "the memtable holds other entries than were put into it".to_owned();
            return Err(Error::Altered { path: self.dir.clone(), what });
        }
        fold.dropped().prove(read, writing.writer.entries(), &self.dir)?;
        let listed = writing.writer.set_range_deletes(fold.rules().kept_ranges(|_| false));
        listed.map_err(|error| error.or_full(&self.dir))?;
        writing.values.end()?;
        outputs.end(writing.writer)?;
        self.counters.flushed_bytes.fetch_add(outputs.bytes(), Relaxed);
        outputs.sync_names()
    }

    /// The oldest segment that is needed once `flushed` is in a table.
    pub(crate) fn log_start_without(&self, flushed: &Arc<LoggedMemtable>) -> u64 {
        // The log's end first: who enters an empty memtable from here on does so at or behind it. And it must
        // be there after a power cut: a segment begun since the last sync may be gone, and with it what it
        // says of all before it.
        let (end, durable) = {
            let committing = self.lock_commit();
            (committing.log_end(), committing.log_durable_segment())
        };
        if planted(Bug::SegmentsReleasedEarly) {
            return end;
        }
        let oldest = |tree: &Arc<Tree>| tree.oldest_segment(Some(flushed));
        let oldest = self.trees().iter().map(oldest).min().unwrap_or(u64::MAX);
        oldest.min(end).min(durable)
    }

    /// Tells the log which of its segments the manifest needs, and that it says so durably.
    fn release_log(&self, log_start: u64, edit: u64) -> Result<()> {
        let mut committing = self.lock_commit();
        let pinned = committing.holding.pinned();
        let log = committing.log()?;
        log.set_manifest_edit(edit);
        log.release_below(log_start.min(pinned));
        self.counters.log_bytes.store(committing.log_bytes(), Relaxed);
        if committing.holding.is_held() {
            self.bound_log(&mut committing);
        }
        drop(committing);
        self.environment.signal(Duty::Prepare);
        Ok(())
    }

    /// How far the log is known to be durable: what an edit records, so that a log that ends before it
    /// is told from one that was torn.
    pub(crate) fn log_durable(&self) -> Result<Position> {
        Ok(self.lock_commit().log()?.durable())
    }

    /// Tells the log that this edit of the manifest is durable.
    pub(crate) fn note_edit(&self, edit: u64) {
        if let Ok(log) = self.lock_commit().log() {
            log.set_manifest_edit(edit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use olivine_vfs::{CrashingVfs, ManualClock, Survival, Vfs};

    use crate::{Batch, Db, Durability, Environment, EnvironmentOptions, Options, Parts, Work};

    const STORE: &str = "/store";

    fn open(disk: &CrashingVfs) -> (Environment, Db) {
        let vfs = Arc::new(disk.clone()) as Arc<dyn Vfs>;
        let parts =
            Parts { vfs, clock: Arc::new(ManualClock::new()), work: Work::Stepped { seed: 1 } };
        let environment =
            Environment::with(parts, EnvironmentOptions { memory_bytes: 4 << 20 }).unwrap();
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        let db = Db::open(&environment, STORE, options).unwrap();
        (environment, db)
    }

    /// As long as the manifest named such a segment as the first that is needed, the store was refused after a
    /// power cut. Here only the frame stands in it that says what is durable.
    #[test]
    fn a_segment_that_is_not_synced_is_never_the_first_that_is_needed() {
        let mut begun = 0;
        for bytes in (15_900..16_400).step_by(8) {
            let disk = CrashingVfs::new();
            let (_environment, db) = open(&disk);
            let keyspace = db.keyspace("things").unwrap();
            let store = db.store_for_tests();
            let mut batch = Batch::new();
            batch.put(&keyspace, b"key", &vec![7; bytes]).unwrap();
            db.write_with(batch, Durability::Sync).unwrap();
            store.freeze(keyspace.tree());
            let before = store.lock_commit().log_end();
            store.mark_durable().unwrap();
            if before == store.lock_commit().log_end() {
                continue;
            }
            begun += 1;
            assert!(store.flush_one().unwrap());
            let (_environment, db) = open(&disk.crash(Survival::Nothing, 0));
            let keyspace = db.keyspace("things").unwrap();
            assert!(keyspace.get(b"key").unwrap().is_some());
        }
        assert!(0 < begun, "no frame needed a segment of its own");
    }
}
