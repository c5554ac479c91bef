//! What is known of a damaged store, from whatever tells of it.
//!
//! 1. A manifest that reads whole, and that neither log nor tables contradict, is believed in
//!    everything.
//! 2. Of any other, the frames that verify are believed in what they say of keyspaces; which tables
//!    count is then told by the tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use olivine_vfs::Vfs;

use super::numbers;
use crate::{
    error::{Error, Result},
    key::SeqNo,
    log::{FrameKind, Head, salvage},
    manifest::{
        self, Catalog, Change, Current, Edit, KeyspaceRecord, manifest_name, read_current,
        salvage::Found,
    },
    store::table_name,
    table::{Examiner, Part, identity},
};

/// What is known of a damaged store.
pub(super) struct Sources {
    pub(super) store: u64,
    /// Everything in the directory.
    pub(super) names: Vec<String>,
    pub(super) tables: Vec<u64>,
    pub(super) values: Vec<u64>,
    pub(super) segments: Vec<u64>,
    pub(super) manifests: Vec<u64>,
    pub(super) current_is_damaged: bool,
    /// The manifest, where it is believed.
    pub(super) known: Option<Catalog>,
    /// Whether it is not, so that tables must tell what counts.
    pub(super) is_rebuilt: bool,
    /// What the frames of a damaged manifest say of keyspaces.
    pub(super) keyspaces: BTreeMap<u32, KeyspaceRecord>,
    /// Where those frames last had each table: keyspace and level.
    pub(super) places: BTreeMap<u64, u32>,
    /// The number of each table all of whose entries have the same one, as those frames say.
    pub(super) numbers: BTreeMap<u64, SeqNo>,
    pub(super) dropped: BTreeSet<u32>,
    /// Tables that those frames gave up.
    pub(super) removed: BTreeSet<u64>,
    /// The visible parts of tables that those frames cut.
    pub(super) cuts: BTreeMap<u64, Part>,
    /// The highest edit that anything tells of.
    pub(super) edit: u64,
    next_table: u64,
    pub(super) next_keyspace: u32,
}

impl Sources {
    pub(super) fn read(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        sizes: &BTreeMap<String, Option<u64>>,
    ) -> Result<Sources> {
        let current = match read_current(vfs.as_ref(), dir) {
            Err(error @ Error::Format { .. }) => return Err(error),
            outcome => outcome.ok(),
        };
        let mut sources = Sources {
            store: 0,
            names: sizes.keys().cloned().collect(),
            tables: numbers(sizes, "table-"),
            values: numbers(sizes, "values-"),
            segments: numbers(sizes, "log-"),
            manifests: numbers(sizes, "manifest-"),
            current_is_damaged: current.is_none() && sizes.contains_key(manifest::CURRENT),
            known: None,
            is_rebuilt: false,
            keyspaces: BTreeMap::new(),
            places: BTreeMap::new(),
            numbers: BTreeMap::new(),
            dropped: BTreeSet::new(),
            removed: BTreeSet::new(),
            cuts: BTreeMap::new(),
            edit: 0,
            next_table: 1,
            next_keyspace: 1,
        };
        let store = current.map(|current| current.store);
        let Some(store) = store.or_else(|| sources.store_of_files(vfs, dir)) else {
            let what = "no file in it names its store, so nothing in it can be verified; restore it \
                        from a copy";
            return Err(Error::Unusable { path: dir.into(), what: what.into() });
        };
        sources.store = store;
        sources.read_log_heads(vfs, dir)?;
        // Without CURRENT, the newest manifest that reads whole is the one that counted.
        let mut candidates = match current {
            Some(current) => vec![current.manifest],
            None => sources.manifests.clone(),
        };
        candidates.sort_unstable();
        for number in candidates.into_iter().rev() {
            let current = Current { store: sources.store, manifest: number };
            if let Ok(read) = manifest::read(vfs.as_ref(), dir, current)
                && sources.edit <= read.catalog.edit
                && !sources.is_stale(vfs.as_ref(), dir, &read.catalog)
            {
                sources.edit = read.catalog.edit;
                sources.next_table = read.catalog.next_table;
                sources.known = Some(read.catalog);
                return Ok(sources);
            }
        }
        sources.is_rebuilt = true;
        sources.read_frames(vfs, dir)?;
        Ok(sources)
    }

    /// Whether `catalog` lacks its last edits: it needs a segment of the log that is not there, and a
    /// table that it does not name says that later writes were in tables.
    fn is_stale(&self, vfs: &dyn Vfs, dir: &Path, catalog: &Catalog) -> bool {
        if catalog.log_start == 0 || self.segments.contains(&catalog.log_start) {
            return false;
        }
        let named: BTreeSet<u64> = catalog.tables().map(|(.., table)| table.id).collect();
        self.tables.iter().filter(|table| !named.contains(table)).any(|table| {
            let path = dir.join(table_name(*table));
            let Ok(mut examiner) = Examiner::open(vfs, &path, self.store, *table) else {
                return false;
            };
            let layout = examiner.layout(&mut |_| {});
            let keyspace = layout.number::<4>("keyspace").map(|id| id as u32);
            let record = keyspace.and_then(|keyspace| catalog.keyspaces.get(&keyspace));
            let flushed = layout.number::<8>("flushed").unwrap_or(0);
            record.map_or(flushed != 0, |record| record.flushed < flushed)
        })
    }

    /// A number above those of all tables.
    pub(super) fn next_table(&self) -> u64 {
        self.tables.iter().chain(&self.values).max().map_or(1, |file| file + 1).max(self.next_table)
    }

    /// The number of the store that most files say they belong to.
    fn store_of_files(&self, vfs: &Arc<dyn Vfs>, dir: &Path) -> Option<u64> {
        let mut votes: BTreeMap<u64, u64> = BTreeMap::new();
        for table in &self.tables {
            if let Ok(Some((store, _, proven))) =
                identity(vfs.as_ref(), &dir.join(table_name(*table)))
            {
                *votes.entry(store).or_default() += if proven { 16 } else { 1 };
            }
        }
        for segment in &self.segments {
            let path = dir.join(format!("log-{segment:012}"));
            if let Ok(Head::Ours(header, _)) = salvage::head(vfs.as_ref(), &path, None, *segment) {
                *votes.entry(header.store).or_default() += 16;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(store, _)| store)
    }

    /// Learns from the log's headers which edit of the manifest there must have been.
    fn read_log_heads(&mut self, vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<()> {
        for segment in &self.segments {
            let path = dir.join(format!("log-{segment:012}"));
            match salvage::head(vfs.as_ref(), &path, Some(self.store), *segment) {
                Ok(head) => {
                    let edit = head.header().map_or(0, |header| header.manifest_edit);
                    self.edit = self.edit.max(edit);
                }
                Err(error @ Error::Format { .. }) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Learns what the frames of the manifests say of keyspaces.
    fn read_frames(&mut self, vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<()> {
        for number in self.manifests.clone() {
            let path = dir.join(manifest_name(number));
            let store = self.store;
            manifest::salvage::walk(vfs.as_ref(), &path, store, number, &mut |_, found| {
                if let Found::Frame(frame, payload) = found
                    && frame.kind == FrameKind::Edit
                    && let Some(edit) = Edit::decode(payload)
                {
                    self.edit = self.edit.max(edit.number);
                    edit.changes.iter().for_each(|change| self.learn(change));
                }
            })?;
        }
        Ok(())
    }

    fn learn(&mut self, change: &Change) {
        match change {
            Change::CreateKeyspace { keyspace, name } => {
                self.keyspaces.entry(*keyspace).or_default().name.clone_from(name);
                self.next_keyspace = self.next_keyspace.max(keyspace.saturating_add(1));
            }
            Change::DropKeyspace { keyspace } => {
                self.keyspaces.remove(keyspace);
                self.dropped.insert(*keyspace);
            }
            Change::AddTable { keyspace, table, .. } => {
                // One that goes to another level leaves and joins in one edit.
                self.removed.remove(&table.id);
                self.places.insert(table.id, *keyspace);
                if let Some(number) = table.one_number() {
                    self.numbers.insert(table.id, number);
                }
                self.next_table = self.next_table.max(table.id.saturating_add(1));
            }
            Change::Flushed { keyspace, seqno } => {
                if let Some(record) = self.keyspaces.get_mut(keyspace) {
                    record.flushed = record.flushed.max(*seqno);
                }
            }
            Change::SetOptions { keyspace, options } => {
                if let Some(record) = self.keyspaces.get_mut(keyspace) {
                    record.options = options.clone();
                }
            }
            Change::ExpiryMark { keyspace, mark } => {
                if let Some(record) = self.keyspaces.get_mut(keyspace) {
                    record.expiry_mark = record.expiry_mark.max(*mark);
                }
            }
            Change::Applied { keyspace, seqno } => {
                if let Some(record) = self.keyspaces.get_mut(keyspace) {
                    record.applied = record.applied.max(*seqno);
                }
            }
            Change::NextTable { table } => self.next_table = self.next_table.max(*table),
            Change::NextKeyspace { keyspace } => {
                self.next_keyspace = self.next_keyspace.max(*keyspace);
            }
            Change::AddValues { values, .. } => {
                self.next_table = self.next_table.max(values.file.saturating_add(1));
            }
            Change::RemoveTable { table, .. } => {
                self.removed.insert(*table);
                self.cuts.remove(table);
            }
            Change::CutTable { table, part, .. } => {
                self.cuts.insert(*table, part.clone());
            }
            // Which positions the tables that are left have reached is not known.
            Change::Position { .. }
            | Change::RemoveValues { .. }
            | Change::LogStart { .. }
            | Change::LogDurable { .. }
            | Change::NextSeqno { .. } => {}
        }
    }
}
