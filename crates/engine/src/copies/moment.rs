//! A store at one moment, pinned so that it can be copied while the store goes on.
//!
//! Memtables are written out into the copy, not flushed in the store, and the log is not looked at: a copy
//! needs none, and segments are used again under other numbers, so that a link to one would change
//! under the copy.
//!
//! 1. Everything up to `seqno` is in the memtables and tables pinned, and nothing newer shows.
//! 2. The catalog names exactly the tables pinned; their files stay as long as this lives.

use std::{path::Path, sync::Arc};

use crate::{
    compaction::VersionKeeper,
    error::{Error, Result},
    iter::{Bounds, Direction, Merge, Source},
    key::SeqNo,
    keyspace::State,
    manifest::Catalog,
    store::{Store, table_name},
    table::{ReadHow, TableCursor, TableInfo, TableWriter},
    version::{LiveTable, Version},
};

/// A store at one moment.
pub(super) struct Moment {
    pub(super) seqno: SeqNo,
    /// As the copy's: without a log, and without what the memtables hold.
    pub(super) catalog: Catalog,
    /// By keyspace; let go of when the memtables are written.
    states: Vec<(u32, Arc<State>)>,
    /// By keyspace.
    versions: Vec<(u32, Arc<Version>)>,
}

impl Store {
    /// The store as it is now. Works also after a failed write has ended all others.
    pub(super) fn moment(&self) -> Result<Moment> {
        // Neither a version nor a memtable changes under both.
        let manifest = self.lock_manifest();
        let committing = self.lock_commit();
        if committing.log.is_none() && self.follower.is_none() {
            return Err(Error::Closed);
        }
        let seqno = committing.next_seqno - 1;
        let mut catalog = manifest.catalog.clone();
        let states: Vec<_> =
            self.trees().iter().map(|tree| (tree.id, Arc::clone(&tree.state()))).collect();
        drop((committing, manifest));
        (catalog.log_start, catalog.log_durable) = (0, None);
        catalog.next_seqno = seqno + 1;
        for record in catalog.keyspaces.values_mut() {
            record.flushed = seqno;
        }
        let versions = states.iter().map(|(id, state)| (*id, Arc::clone(&state.version))).collect();
        Ok(Moment { seqno, catalog, states, versions })
    }
}

impl Moment {
    /// Forgets all keyspaces but one.
    pub(super) fn keep_only(&mut self, keyspace: u32) {
        self.states.retain(|(id, _)| *id == keyspace);
        self.versions.retain(|(id, _)| *id == keyspace);
        self.catalog.keyspaces.retain(|id, _| *id == keyspace);
    }

    /// Writes what the memtables hold within `bounds` into `dir`, a table for each keyspace, and names
    /// the tables in the catalog. Lets go of the memtables.
    pub(super) fn write_memtables(
        &mut self,
        store: &Store,
        bounds: &Bounds,
        dir: &Path,
    ) -> Result<Vec<TableInfo>> {
        let mut written = Vec::new();
        for (keyspace, state) in std::mem::take(&mut self.states) {
            let memtables = state.memtables().filter(|memtable| !memtable.table.is_empty());
            let sources = memtables.map(|memtable| Source::Memtable(memtable.table.cursor()));
            let sources: Vec<_> = sources.collect();
            if let Some(info) = write_within(store, sources, bounds, self.seqno, dir)? {
                self.add(keyspace, 0, info.clone());
                written.push(info);
            }
        }
        self.catalog.next_table = self.catalog.next_table.max(store.draw_table_id());
        Ok(written)
    }

    /// Names a table that was written for the copy.
    pub(super) fn add(&mut self, keyspace: u32, level: u8, info: TableInfo) {
        if let Some(record) = self.catalog.keyspaces.get_mut(&keyspace) {
            record.tables.insert(info.id, (level, info));
        }
    }

    /// The tables of the store, with the keyspace and level of each.
    pub(super) fn tables(&self) -> Vec<(u32, usize, Arc<LiveTable>)> {
        let mut tables = Vec::new();
        for (keyspace, version) in &self.versions {
            for (level, on_level) in version.levels.iter().enumerate() {
                let placed =
                    on_level.tables().iter().map(|table| (*keyspace, level, Arc::clone(table)));
                tables.extend(placed);
            }
        }
        tables
    }
}

/// Writes the part of a table that lies within `bounds` as a table of its own; none when nothing does.
pub(super) fn write_part(
    store: &Store,
    table: &LiveTable,
    bounds: &Bounds,
    seqno: SeqNo,
    dir: &Path,
) -> Result<Option<TableInfo>> {
    let cursor = TableCursor::new(Arc::clone(&table.table), ReadHow::SCAN);
    write_within(store, vec![Source::Table(cursor)], bounds, seqno, dir)
}

/// Writes the newest versions up to `seqno` of what `sources` hold within `bounds`. Contents are
/// durable then, the name is not.
fn write_within(
    store: &Store,
    sources: Vec<Source>,
    bounds: &Bounds,
    seqno: SeqNo,
    dir: &Path,
) -> Result<Option<TableInfo>> {
    let mut merge = Merge::new(sources);
    match bounds.start() {
        Some(start) => merge.seek_all(Direction::Forward, |source| source.seek(start))?,
        None => merge.seek_all(Direction::Forward, Source::seek_first)?,
    }
    let mut keeper = VersionKeeper::new(vec![seqno]);
    let mut writer: Option<TableWriter> = None;
    while merge.valid() && !bounds.is_above(merge.key()) {
        let (key, stamp) = (merge.key(), merge.stamp());
        if stamp.seqno() <= seqno && !bounds.is_below(key) && keeper.keeps(key, stamp) {
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(begin(store, dir)?),
            };
            writer.add(key, stamp, merge.value())?;
        }
        merge.step()?;
    }
    writer.map(TableWriter::finish).transpose()
}

fn begin(store: &Store, dir: &Path) -> Result<TableWriter> {
    let id = store.draw_table_id();
    let (vfs, path) = (store.environment.vfs().as_ref(), dir.join(table_name(id)));
    TableWriter::create(vfs, path, store.id, id, store.table_options())
}
