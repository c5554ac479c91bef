//! Tables that deleted ranges hide whole, or that have expired whole: they go without being read.
//!
//! 1. A table goes only when no reader, of a snapshot or of now, can see any version in it.
//! 2. One that expired goes only when nothing older overlaps it, which it may hide.
//! 3. It goes by an edit of the manifest alone, durable before the file is given up.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::{
    background::Duty,
    error::Result,
    key::SeqNo,
    keyspace::{State, Tree},
    manifest::Change,
    ranges::RangeDeletes,
    store::Store,
    table::ReadHow,
    version::{LEVELS, LiveTable, Version},
};

impl Store {
    /// Gives up the tables of `tree` that deleted ranges hide whole, and those that have expired whole;
    /// false when there are none.
    pub(super) fn drop_covered(&self, tree: &Tree) -> Result<bool> {
        let version = Arc::clone(&tree.state().version);
        let mark = tree.expiry_mark();
        if !version.has_range_deletes && mark == 0 {
            return Ok(false);
        }
        let covered = match self.covered(&version) {
            Ok(covered) if covered.is_empty() && mark != 0 => expired(&version, mark),
            Ok(covered) => covered,
            Err(error) => {
                self.halt(error);
                return Ok(false);
            }
        };
        if covered.is_empty() {
            return Ok(false);
        }
        let mut manifest = self.lock_manifest();
        if tree.is_dropped() {
            return Ok(false);
        }
        let keyspace = tree.id;
        let removal = |(level, file): &(usize, Arc<LiveTable>)| Change::RemoveTable {
            keyspace,
            level: *level as u8,
            table: file.info.id,
        };
        manifest.commit(covered.iter().map(removal).collect())?;
        let edit = manifest.last_edit();
        tree.change_state(|state| {
            let version = Arc::new(state.version.edited(&covered, &[]));
            State { active: Arc::clone(&state.active), frozen: state.frozen.clone(), version }
        });
        drop(manifest);
        for (_, file) in &covered {
            file.mark_obsolete();
        }
        self.counters.tables_dropped.fetch_add(covered.len() as u64, Relaxed);
        self.note_edit(edit);
        self.environment.signal(Duty::Prepare);
        Ok(true)
    }

    fn covered(&self, version: &Version) -> Result<Vec<(usize, Arc<LiveTable>)>> {
        if !version.has_range_deletes {
            return Ok(Vec::new());
        }
        let listing = version.tables().filter(|file| file.info.range_deletes != 0);
        let lists: Vec<_> =
            listing.map(|file| file.range_deletes(ReadHow::SCAN)).collect::<Result<_>>()?;
        let ranges = RangeDeletes::united(lists.iter().map(AsRef::as_ref));
        let boundaries = self.snapshots.boundaries(|| self.visible());
        let mut covered = Vec::new();
        for (level, tables) in version.levels.iter().enumerate() {
            let hidden =
                tables.tables().iter().filter(|file| is_hidden(file, &ranges, &boundaries));
            covered.extend(hidden.map(|file| (level, Arc::clone(file))));
        }
        Ok(covered)
    }
}

/// Tables all of whose values expired before `mark`, with nothing older where they are.
fn expired(version: &Version, mark: u64) -> Vec<(usize, Arc<LiveTable>)> {
    let mut older: Vec<&Arc<LiveTable>> = Vec::new();
    let mut expired = Vec::new();
    for level in (0..LEVELS).rev() {
        // Level 0 lists its newest first.
        for file in version.levels[level].tables().iter().rev() {
            let info = &file.info;
            let meets = |other: &&Arc<LiveTable>| {
                !info.ends_before(&other.info.first_key) && !other.info.ends_before(&info.first_key)
            };
            if info.range_deletes == 0 && file.is_expired(mark) && !older.iter().any(meets) {
                expired.push((level, Arc::clone(file)));
            } else {
                older.push(file);
            }
        }
    }
    expired
}

/// Whether no reader sees anything of the table.
fn is_hidden(file: &LiveTable, ranges: &RangeDeletes, boundaries: &[SeqNo]) -> bool {
    let info = &file.info;
    let extent = (info.first_key.as_slice(), info.last_key.as_slice());
    let hidden_at = ranges.hides_all(extent, info.last_is_excluded, info.seqno_max);
    hidden_at.is_some_and(|hidden_at| {
        let sees = |boundary: &SeqNo| info.seqno_min <= *boundary && *boundary < hidden_at;
        !boundaries.iter().any(sees)
    })
}
