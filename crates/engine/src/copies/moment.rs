//! A store at one moment, pinned so that it can be copied while the store goes on.
//!
//! Memtables are written out into the copy, not flushed in the store, and the log is not looked at: a copy
//! needs none, and segments are used again under other numbers, so that a link to one would change
//! under the copy.
//!
//! 1. Everything up to `seqno` is in the memtables and tables pinned, and nothing newer shows.
//! 2. The catalog names exactly the tables pinned; their files stay as long as this lives.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    allotment::{Allotment, Need},
    appended::Carrying,
    compaction::{Fold, FoldSink},
    digest::Digest,
    error::{Error, Result},
    iter::{Bounds, Direction, FileCursor, Merge, Source},
    key::{Kind, SeqNo, Stamp},
    keyspace::{State, Tree},
    manifest::Catalog,
    pointer::{POINTER_BYTES, Pointer},
    ranges::RangeDeletes,
    store::{Store, table_name},
    table::{ReadHow, TableInfo, TableOrigin, TableWriter, key_memory_bytes},
    values::{LiveValues, ValuesInfo, ValuesWriter, values_name},
    version::{LiveTable, Version},
};

/// A store at one moment.
pub(super) struct Moment {
    pub(super) seqno: SeqNo,
    /// As the copy's: without a log, and without what the memtables hold.
    pub(super) catalog: Catalog,
    /// Let go of when the memtables are written.
    states: Vec<(Arc<Tree>, Arc<State>)>,
    versions: Vec<(Arc<Tree>, Arc<Version>)>,
    /// Appended records that no batch covers.
    carrying: Option<Carrying>,
}

impl Store {
    /// The store as it is now. Works also after a failed write has ended all others.
    pub(super) fn moment(&self) -> Result<Moment> {
        // Neither a version nor a memtable changes under both.
        let manifest = self.lock_manifest();
        let mut committing = self.lock_commit();
        if committing.log.is_none() && self.follower.is_none() {
            return Err(Error::Closed);
        }
        let seqno = committing.next_seqno - 1;
        let mut catalog = manifest.catalog.clone();
        let states: Vec<_> = self
            .trees()
            .into_iter()
            .map(|tree| {
                let state = Arc::clone(&tree.state());
                (tree, state)
            })
            .collect();
        let trees: Vec<_> = states.iter().map(|(tree, _)| Arc::clone(tree)).collect();
        let carrying = self.carrying(&mut committing, &trees)?;
        for tree in trees {
            if let Some(record) = catalog.keyspaces.get_mut(&tree.id) {
                record.applied = tree.appended.applied();
                record.positions = tree.shown_positions();
            }
        }
        drop((committing, manifest));
        (catalog.log_start, catalog.log_durable) = (0, None);
        catalog.next_seqno = seqno + 1;
        for record in catalog.keyspaces.values_mut() {
            record.flushed = seqno;
        }
        let versions = states
            .iter()
            .map(|(tree, state)| (Arc::clone(tree), Arc::clone(&state.version)))
            .collect();
        Ok(Moment { seqno, catalog, states, versions, carrying })
    }
}

impl Moment {
    /// Forgets all keyspaces but one.
    pub(super) fn keep_only(&mut self, keyspace: u32) {
        self.states.retain(|(tree, _)| tree.id == keyspace);
        self.versions.retain(|(tree, _)| tree.id == keyspace);
        self.catalog.keyspaces.retain(|id, _| *id == keyspace);
    }

    /// Writes what the memtables hold within `bounds` into `dir`, a table for each keyspace, and the
    /// appended records that no batch covers, and names the tables in the catalog. Lets go of the memtables. `relocates`: see `write_part`.
    pub(super) fn write_memtables(
        &mut self,
        store: &Store,
        bounds: &Bounds,
        relocates: bool,
        dir: &Path,
    ) -> Result<Vec<TableInfo>> {
        let mut written = Vec::new();
        if let Some(carrying) = self.carrying.take() {
            written.extend(carrying.write(store, &mut self.catalog, self.seqno, dir)?);
        }
        for (tree, state) in std::mem::take(&mut self.states) {
            let memtables: Vec<_> =
                state.memtables().filter(|memtable| !memtable.is_empty()).collect();
            let lists: Vec<_> =
                memtables.iter().filter_map(|memtable| memtable.range_deletes()).collect();
            let part = Part {
                tree: &tree,
                level: 0,
                values: &state.version.values,
                relocates,
                entries: memtables.iter().map(|memtable| memtable.table.len()).sum(),
                sources: memtables
                    .iter()
                    .map(|memtable| Source::Memtable(memtable.table.cursor()))
                    .collect(),
                ranges: RangeDeletes::united(lists.iter().map(Arc::as_ref)),
            };
            if let Some(made) = part.write(store, bounds, self.seqno, dir)? {
                written.push(made.table.clone());
                self.add(tree.id, 0, made);
            }
        }
        self.catalog.next_table = self.catalog.next_table.max(store.draw_table_id());
        Ok(written)
    }

    /// Names a table that was written for the copy.
    pub(super) fn add(&mut self, keyspace: u32, level: u8, made: Made) {
        if let Some(record) = self.catalog.keyspaces.get_mut(&keyspace) {
            self.catalog.next_table = self.catalog.next_table.max(made.table.id + 1);
            record.tables.insert(made.table.id, (level, made.table));
            record.values.extend(made.values.map(|values| (values.file, values)));
        }
    }

    /// The tables of the store, with the keyspace and level of each.
    pub(super) fn tables(&self) -> Vec<(Arc<Tree>, usize, Arc<LiveTable>)> {
        let mut tables = Vec::new();
        for (tree, version) in &self.versions {
            for (level, on_level) in version.levels.iter().enumerate() {
                let placed = on_level.tables().iter();
                tables.extend(placed.map(|table| (Arc::clone(tree), level, Arc::clone(table))));
            }
        }
        tables
    }

    /// The value files of the store.
    pub(super) fn values(&self) -> Vec<Arc<LiveValues>> {
        let files = self.versions.iter().flat_map(|(_, version)| version.values.values());
        files.cloned().collect()
    }
}

/// What was written for a copy.
pub(super) struct Made {
    pub(super) table: TableInfo,
    /// The values that the table points to, if they were copied along.
    pub(super) values: Option<ValuesInfo>,
}

/// Writes the part of a table that lies within `bounds` as a table of its own, and the values that it points
/// to into a file of their own; none when nothing does.
pub(super) fn write_part(
    store: &Store,
    (tree, level, table): (&Tree, usize, &Arc<LiveTable>),
    values: &BTreeMap<u64, Arc<LiveValues>>,
    bounds: &Bounds,
    seqno: SeqNo,
    dir: &Path,
) -> Result<Option<Made>> {
    let cursor = FileCursor::new(Arc::clone(table), ReadHow::SCAN);
    let ranges = match table.info.range_deletes {
        0 => RangeDeletes::default(),
        _ => table.range_deletes(ReadHow::SCAN)?.as_ref().clone(),
    };
    let sources = vec![Source::Table(cursor)];
    let entries = table.info.entries;
    let part = Part { tree, level, values, relocates: true, sources, entries, ranges };
    part.write(store, bounds, seqno, dir)
}

/// What becomes a table of a copy.
struct Part<'a> {
    tree: &'a Tree,
    level: usize,
    /// The value files that entries may point into.
    values: &'a BTreeMap<u64, Arc<LiveValues>>,
    /// Whether what is pointed to is copied along, because the files do not come as a whole.
    relocates: bool,
    sources: Vec<Source>,
    /// Entries there may be.
    entries: u64,
    ranges: RangeDeletes,
}

impl Part<'_> {
    /// Writes what readers of `seqno` need of it within `bounds`. Contents are durable then, the name is
    /// not.
    fn write(
        self,
        store: &Store,
        bounds: &Bounds,
        seqno: SeqNo,
        dir: &Path,
    ) -> Result<Option<Made>> {
        let (from, to) = bounds.clip();
        let ranges = self.ranges.clipped(from.as_deref(), to.as_deref());
        let ranges =
            ranges.thinned(|piece| piece.seqnos.iter().copied().filter(|s| *s <= seqno).collect());
        let mut merge = Merge::new(self.sources);
        match bounds.lower() {
            Some(start) => merge.seek_all(Direction::Forward, |source| source.seek(start))?,
            None => merge.seek_all(Direction::Forward, Source::seek_first)?,
        }
        let mut fold = Fold::new(self.tree.folding_rules(vec![seqno], ranges));
        let origin = self.tree.origin(self.level, seqno);
        let (values, relocates) = (self.values, self.relocates);
        let options = store.table_options();
        let need = Need {
            buffers: 1 + u64::from(relocates),
            keys_bytes: self.entries * key_memory_bytes(options),
            ..Need::default()
        };
        let allotment = Allotment::of_copy(store.environment.budget(), need);
        let mut sink =
            Sink { store, dir, origin, values, relocates, allotment, writer: None, apart: None };
        let mut read = 0;
        while merge.valid() && !bounds.is_above(merge.key()) {
            let (key, stamp) = (merge.key(), merge.stamp());
            if stamp.seqno() <= seqno && !bounds.is_below(key) {
                let Some(kind) = stamp.kind() else {
                    let what = format!("entry of unknown kind {:#x}", stamp.0);
                    return Err(Error::corrupt(&store.dir, 0, what));
                };
                let value = merge.value();
                fold.push(key, stamp, kind, value, Digest::of(key, value), &mut sink)?;
                read += 1;
            }
            merge.step()?;
        }
        fold.end(&mut sink)?;
        let written = sink.writer.as_ref().map_or(0, TableWriter::entries);
        fold.dropped().prove(read, written, dir)?;
        let ranges = fold.rules().kept_ranges(|_| false);
        if !ranges.is_empty() {
            sink.writer()?.set_range_deletes(ranges)?;
        }
        let Some(writer) = sink.writer else { return Ok(None) };
        let values = sink.apart.map(ValuesWriter::finish).transpose()?;
        Ok(Some(Made { table: writer.finish()?, values }))
    }
}

/// A table of a copy, begun with its first entry.
struct Sink<'a> {
    store: &'a Store,
    dir: &'a Path,
    origin: TableOrigin,
    values: &'a BTreeMap<u64, Arc<LiveValues>>,
    relocates: bool,
    allotment: Allotment,
    writer: Option<TableWriter>,
    apart: Option<ValuesWriter>,
}

impl Sink<'_> {
    /// Copies what a pointer leads to. Returns the pointer to the copy.
    fn relocate(&mut self, pointer: &[u8]) -> Result<[u8; POINTER_BYTES]> {
        let store = self.store;
        let pointer = Pointer::decode(pointer);
        let file = pointer.and_then(|pointer| self.values.get(&pointer.file));
        let (Some(pointer), Some(file)) = (pointer, file) else {
            let what = "an entry points into a value file that is not there";
            return Err(Error::corrupt(&store.dir, 0, what));
        };
        let record = file.record(&pointer)?;
        let apart = match &mut self.apart {
            Some(apart) => apart,
            none => {
                let id = store.draw_table_id();
                let (vfs, path) = (store.environment.vfs(), self.dir.join(values_name(id)));
                let codec = store.table_options().codec;
                let buffer_bytes = self.allotment.buffer_bytes;
                let vfs = vfs.as_ref();
                none.insert(ValuesWriter::create(vfs, path, store.id, id, codec, buffer_bytes)?)
            }
        };
        Ok(apart.add_record(&record)?.encode())
    }

    fn writer(&mut self) -> Result<&mut TableWriter> {
        let store = self.store;
        Ok(match &mut self.writer {
            Some(writer) => writer,
            none => {
                let id = store.draw_table_id();
                let (vfs, path) = (store.environment.vfs().as_ref(), self.dir.join(table_name(id)));
                let options = store.table_options();
                let mut writer = TableWriter::create(vfs, path, store.id, id, options)?;
                writer.belongs_to(self.origin.clone());
                writer.stay_within(self.allotment.buffer_bytes, self.allotment.keys_bytes);
                none.insert(writer)
            }
        })
    }
}

impl FoldSink for Sink<'_> {
    fn add(
        &mut self,
        key: &[u8],
        _is_first: bool,
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
    ) -> Result<()> {
        if self.relocates && stamp.kind() == Some(Kind::Pointer) {
            let pointer = self.relocate(value)?;
            return self.writer()?.add_known(key, stamp, &pointer, digest.with_value(&pointer));
        }
        self.writer()?.add_known(key, stamp, value, digest)
    }

    fn value_apart(&mut self, pointer: &[u8]) -> Option<Vec<u8>> {
        let pointer = Pointer::decode(pointer)?;
        self.values.get(&pointer.file)?.read(&pointer).ok()
    }

    fn nothing_below(&self, _key: &[u8]) -> bool {
        false
    }

    fn is_bottom(&self) -> bool {
        false
    }
}
