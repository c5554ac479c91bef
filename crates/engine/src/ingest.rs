//! Bulk ingest: sorted entries go straight into tables, past log and memtables.
//!
//! Tables are written while entries come; at the end one edit of the manifest names them all, under
//! one sequence number that is taken then. The log gets a record without operations for that number,
//! so that its order has no gap, and who follows it knows which edit to wait for. The entries in the blocks cannot know the number: such tables are
//! *numbered later*, by the manifest.
//!
//! An ingest may replace a range of keys. Its tables then also list that all of the range is deleted, each
//! its stretch of it, under the same number: what was there before is older, what is ingested is not.
//!
//! ```text
//!  ingested    [a ----- table 1 ----- m)[m ----- table 2 ----- t)    deleted at 9, entries at 9
//!  before     ▪▪▪▪▪▪▪▪  ▪▪▪▪▪▪▪▪▪▪▪  ▪▪▪▪▪▪▪▪▪    ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪    up to 8
//! ```
//!
//! It must survive a power cut at any call, a full disk, and writers to the same keys meanwhile.
//!
//! 1. What is ingested is newer than every write before its end and older than every one after.
//! 2. No reader sees a part of it, and no snapshot sees it come.
//! 3. A table goes to the lowest level at which nothing on it or above overlaps. No memtable overlaps:
//!    those that did were flushed before the number was taken.
//! 4. Everything before is durable when the edit is, and so is the number.
//! 5. What it takes of memory is set aside when it begins; with little its tables are small.
//! 6. Given up or cut short, an ingest leaves nothing: its files go with it, or at the next opening.
//! 7. Where a range is replaced, its tables cover it without a gap, so readers see all that was there, or
//!    all that was ingested, and snapshots taken before what they saw.

use std::{
    fmt,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    allotment::{Allotment, Need},
    background::Duty,
    batch::{check_range, check_sizes, encode_operation},
    commit::Committing,
    error::{Error, Result},
    key::{Kind, SEQNO_MAX, SeqNo, Stamp},
    keyspace::{Keyspace, State, Tree},
    log::Position,
    manifest::{Change, Manifest},
    outputs::{Outputs, Warmth},
    planted::{Bug, planted},
    ranges::{Piece, RangeDeletes},
    store::Store,
    table::{TableInfo, TableWriter, key_memory_bytes},
    version::{LEVELS, Version},
};

/// Tries after which writers are held up, so that a busy range can be ingested into.
const TRIES_BESIDE_WRITERS: usize = 3;

/// What an entry takes in a table, for a guess how many keys one will hold.
const ENTRY_BYTES_USUAL: u64 = 64;

/// Takes sorted entries straight into tables. Nothing is seen of them before `finish`.
pub struct Ingest<'a> {
    keyspace: &'a Keyspace,
    outputs: Outputs<'a>,
    writer: Option<TableWriter>,
    /// The stamp in the blocks; only repair, which has lost the manifest, looks at it.
    stamp: Stamp,
    /// The last key of the tables that are ended.
    last_key: Vec<u8>,
    entries: u64,
    /// What is left of the range that is replaced behind the tables that are ended.
    replaced: Option<Replaced>,
}

/// A range of keys whose entries go.
struct Replaced {
    start: Vec<u8>,
    /// The first key behind.
    end: Vec<u8>,
}

impl Keyspace {
    /// Begins a bulk ingest: entries in order of their keys that go straight into tables, several
    /// times quicker than as writes. Refused where the memory budget has no room for its buffers, because
    /// many run at once.
    pub fn ingest(&self) -> Result<Ingest<'_>> {
        self.begin_ingest(None)
    }

    /// Begins a bulk ingest that replaces the keys from `start` up to `end`, which is excluded: when it
    /// is finished, what was there before is gone and what was added is there, in one step for readers,
    /// snapshots and crashes. Without entries the range is emptied.
    pub fn replace_range(&self, start: &[u8], end: &[u8]) -> Result<Ingest<'_>> {
        check_range(start, end)?;
        self.begin_ingest(Some(Replaced { start: start.to_vec(), end: end.to_vec() }))
    }

    fn begin_ingest(&self, replaced: Option<Replaced>) -> Result<Ingest<'_>> {
        let store: &Store = self.store();
        store.latch.check()?;
        self.tree().check_there()?;
        let options = store.table_options();
        let keys = store.options.table_bytes_max / ENTRY_BYTES_USUAL;
        let keys_bytes = keys * key_memory_bytes(options);
        let need = Need { buffers: 1, keys_bytes, may_cut: true, ..Need::default() };
        let allotment = Allotment::of_caller(store.environment.budget(), need)?;
        Ok(Ingest {
            keyspace: self,
            outputs: Outputs::new(store, Warmth::Cold, self.tree().origin(0, 0), allotment)
                .loaded(),
            writer: None,
            // The number it gets is this one, if nothing is written meanwhile.
            stamp: Stamp::new((store.visible() + 1).min(SEQNO_MAX), Kind::Put),
            last_key: Vec::new(),
            entries: 0,
            replaced,
        })
    }
}

impl Ingest<'_> {
    /// Adds an entry. Its key must come after the one before, and lie within the range that is replaced,
    /// if one is; one that does not is refused and changes nothing.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_sizes(key, value)?;
        let last = self.writer.as_ref().map_or(self.last_key.as_slice(), TableWriter::last_key);
        if 0 < self.entries && key <= last {
            return Err(out_of_order(key, last));
        }
        if let Some(Replaced { start, end }) = &self.replaced
            && (key < start.as_slice() || end.as_slice() <= key)
        {
            return Err(out_of_range(key, end));
        }
        let table_bytes_max = self.keyspace.store().options.table_bytes_max;
        if self.writer.as_ref().is_some_and(|writer| {
            table_bytes_max <= writer.estimated_bytes() || writer.is_out_of_room()
        }) {
            self.end_table(Some(key))?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(begin_table(&mut self.outputs)?),
        };
        let added = writer.add(key, self.stamp, value);
        added.map_err(|error| error.or_full(&self.keyspace.store().dir))?;
        self.entries += 1;
        Ok(())
    }

    /// Entries added.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Makes everything added visible and durable, all at once. Returns its sequence number.
    pub fn finish(mut self) -> Result<SeqNo> {
        let store: &Store = self.keyspace.store();
        let empties = self.replaced.as_ref().is_some_and(|replaced| !replaced.is_empty());
        if self.entries == 0 && !empties {
            store.latch.check()?;
            return Ok(store.visible());
        }
        self.end_table(None)?;
        self.outputs.sync_names()?;
        store.install_ingest(self.keyspace.tree(), self.outputs)
    }

    /// Ends the table being written; the next one begins with the key `next`. It lists what is deleted
    /// up to there, also where it has no entry.
    fn end_table(&mut self, next: Option<&[u8]>) -> Result<()> {
        let seqno = self.stamp.seqno();
        let deleted = self.replaced.as_mut().map(|replaced| replaced.take_up_to(next, seqno));
        let deleted = deleted.filter(|list| !list.is_empty());
        if self.writer.is_none() && deleted.is_some() {
            self.writer = Some(begin_table(&mut self.outputs)?);
        }
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        self.last_key.clear();
        self.last_key.extend_from_slice(writer.last_key());
        if let Some(deleted) = deleted {
            let set = writer.set_range_deletes(deleted);
            set.map_err(|error| error.or_full(&self.keyspace.store().dir))?;
        }
        self.outputs.end(writer)
    }
}

impl Replaced {
    fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// The part of it before `next`, or all, as a deletion; what is behind is left.
    fn take_up_to(&mut self, next: Option<&[u8]>, seqno: SeqNo) -> RangeDeletes {
        let end = next.unwrap_or(&self.end).to_vec();
        let start = std::mem::replace(&mut self.start, end.clone());
        RangeDeletes::default().with(&start, &end, seqno)
    }
}

/// Begins a table whose entries get their number at the end.
fn begin_table(outputs: &mut Outputs<'_>) -> Result<TableWriter> {
    let mut writer = outputs.begin()?;
    writer.number_later();
    Ok(writer)
}

/// A key as errors show it.
fn shown(key: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&key[..key.len().min(64)]).into_owned();
    if key.len() <= 64 { format!("{shown:?}") } else { format!("{shown:?}...") }
}

fn out_of_range(key: &[u8], end: &[u8]) -> Error {
    let side = if key < end { "before the start" } else { "at or behind the end" };
    let what = format!("{} lies {side} of the range that is replaced", shown(key));
    Error::Invalid { field: "key", what }
}

fn out_of_order(key: &[u8], last: &[u8]) -> Error {
    let what = if key == last {
        format!("{} was added already; an ingest takes each key once", shown(key))
    } else {
        format!("{} comes after {}; an ingest takes keys in order", shown(key), shown(last))
    };
    Error::Invalid { field: "key", what }
}

impl fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Store {
    /// Names the tables of an ingest, whose files and names are durable.
    fn install_ingest(&self, tree: &Arc<Tree>, mut outputs: Outputs<'_>) -> Result<SeqNo> {
        let mut held = None;
        for tried in 0.. {
            if TRIES_BESIDE_WRITERS <= tried && held.is_none() {
                held = Some(self.hold_writers());
            }
            self.flush_overlapping(tree, &outputs)?;
            // So that little is left to sync while writers wait for the lock.
            self.sync()?;
            // A compaction under way may write across the place that a table is given.
            let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
            let mut manifest = self.lock_manifest();
            let mut committing = self.lock_commit();
            self.latch.check()?;
            tree.check_there()?;
            if overlaps(&tree.state(), &outputs) {
                continue;
            }
            let seqno = committing.next_seqno;
            let durable = self.log_number(&mut committing, manifest.last_edit() + 1)?;
            outputs.number(seqno);
            committing.watch.note(seqno, &spans(tree, &outputs));
            let tables = outputs.live_cold();
            let version = Arc::clone(&tree.state().version);
            let added: Vec<_> =
                tables.into_iter().map(|live| (level_for(&version, &live.info), live)).collect();
            let mut changes: Vec<_> = added
                .iter()
                .map(|(level, live)| Change::AddTable {
                    keyspace: tree.id,
                    level: *level as u8,
                    table: live.info.clone(),
                })
                .collect();
            changes.push(Change::LogDurable { position: durable });
            if planted(Bug::ReplacedHalf) {
                name_each(&mut manifest, &mut changes)?;
            }
            if let Err(error) = outputs.settle(manifest.commit(changes)) {
                // Without room for the edit the number was taken for nothing, and nothing else has happened.
                self.set_visible(seqno);
                self.raise_durable(seqno);
                return Err(self.fail(error));
            }
            committing.log()?.set_manifest_edit(manifest.last_edit());
            tree.change_state(|state| State {
                version: Arc::new(state.version.edited(&[], &added)),
                ..state.clone()
            });
            tree.gaps.forget();
            self.set_visible(seqno);
            self.raise_durable(seqno);
            drop((committing, manifest));
            self.announce(&Ok(self.durable()));
            for (_, live) in &added {
                live.table.warm();
            }
            self.measure_pile();
            self.environment.signal(Duty::Compact);
            return Ok(seqno);
        }
        unreachable!("held writers end, and then nothing overlaps")
    }

    /// Takes a sequence number for the tables that `edit` will name: a record without operations, durable
    /// with all before it.
    fn log_number(&self, committing: &mut Committing, edit: u64) -> Result<Position> {
        let (seqno, payload) = (committing.next_seqno, edit.to_le_bytes());
        self.log_record(committing, seqno, 1, &payload, xxh3_64(&payload), true)?;
        committing.next_seqno = seqno + 1;
        let synced = committing.log()?.begin_sync().and_then(|job| job.run());
        let position = synced.map_err(|error| self.fail(error))?;
        committing.log()?.finish_sync(position);
        self.counters.syncs.fetch_add(1, Relaxed);
        Ok(position)
    }

    /// Flushes the memtables of `tree` if the tables overlap one.
    fn flush_overlapping(&self, tree: &Tree, outputs: &Outputs<'_>) -> Result<()> {
        if !overlaps(&tree.state(), outputs) {
            return Ok(());
        }
        {
            let _committing = self.lock_commit();
            self.freeze(tree);
        }
        while !tree.state().frozen.is_empty() {
            if !self.flush_one().map_err(|error| self.fail(error))? {
                self.latch.check()?;
            }
        }
        Ok(())
    }
}

/// The edit that names the tables for which a record with this payload took a number, if it did that:
/// no operation is as short.
pub(crate) fn naming_edit(payload: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(payload).ok().map(u64::from_le_bytes)
}

/// Whether a memtable of `state` holds a key, or a deleted range, within the range of one of the tables.
fn overlaps(state: &State, outputs: &Outputs<'_>) -> bool {
    let ranges: Vec<_> =
        state.memtables().filter_map(|memtable| memtable.range_deletes()).collect();
    let mut pieces = ranges.iter().flat_map(|list| list.pieces());
    if pieces.any(|piece| outputs.infos().any(|info| meets(piece, info))) {
        return true;
    }
    let mut cursors: Vec<_> = state.memtables().map(|memtable| memtable.table.cursor()).collect();
    outputs.infos().any(|info| {
        cursors.iter_mut().any(|cursor| {
            cursor.seek(&info.first_key);
            cursor.valid() && cursor.key() <= info.last_key.as_slice()
        })
    })
}

/// Names the tables in an edit each, but for the last.
fn name_each(manifest: &mut Manifest, changes: &mut Vec<Change>) -> Result<()> {
    let rest = changes.split_off(changes.len().saturating_sub(2));
    for change in std::mem::replace(changes, rest) {
        manifest.commit(vec![change])?;
    }
    Ok(())
}

/// The tables as an operation each that touches all their keys, for transactions that look.
fn spans(tree: &Tree, outputs: &Outputs<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    for info in outputs.infos() {
        let mut behind = info.last_key.clone();
        if !info.last_is_excluded {
            behind.push(0);
        }
        encode_operation(&mut payload, tree.id, Kind::RangeDelete, &info.first_key, &behind);
    }
    payload
}

fn meets(piece: &Piece, info: &TableInfo) -> bool {
    piece.start <= info.last_key && info.first_key < piece.end
}

/// The lowest level at which nothing on it or above overlaps the table; 0 when there is none.
fn level_for(version: &Version, info: &TableInfo) -> usize {
    let overlaps = |level: &usize| {
        !version.levels[*level].overlapping(&info.first_key, &info.last_key).is_empty()
    };
    (0..LEVELS).find(overlaps).map_or(LEVELS - 1, |level| level.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_order_shows_both_keys() {
        let text = out_of_order(b"apple", b"banana").to_string();
        assert_eq!(text, "`key` \"apple\" comes after \"banana\"; an ingest takes keys in order");
        let text = out_of_order(&[b'x'; 70], &[b'x'; 70]).to_string();
        assert!(text.contains("x...") || text.contains("\"..."), "{text}");
        assert!(text.contains("was added already"), "{text}");
    }
}
