//! Appended records in a copy of a store.
//!
//! A copy has no log, so the records that no batch covers come along as entries of a keyspace of their own,
//! whose name nobody can give: the empty one. Its keys are the record's sequence number and the number of
//! its keyspace, its values the records. `Db::open_with` on the copy hands them out before those of its log;
//! once all are covered, an opening drops the keyspace.
//!
//! 1. A copy holds every record up to its moment that no batch up to its moment covers, and says of every
//!    keyspace what is covered as of its moment.
//! 2. The segments that hold them stay as long as they are being copied.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    batch::Operations,
    commit::Committing,
    error::{Error, Result},
    key::{Kind, SeqNo, Stamp},
    keyspace::Tree,
    log::{Begun, Extent, Tail},
    manifest::{Catalog, KeyspaceRecord},
    options::KeyspaceOptions,
    store::{Store, table_name},
    table::{TableInfo, TableOrigin, TableWriter},
};

/// The name of the keyspace that holds appended records in copies.
pub(crate) const CARRIED: &str = "";

const KEY_BYTES: usize = 12;

/// The key of a record: in the order of writing.
pub(crate) fn encode_key(seqno: SeqNo, keyspace: u32) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&seqno.to_be_bytes());
    key[8..].copy_from_slice(&keyspace.to_be_bytes());
    key
}

/// Sequence number and keyspace of a record that was carried into the store in `dir`.
pub(super) fn decode_key(dir: &Path, key: &[u8]) -> Result<(SeqNo, u32)> {
    let parts = key.split_first_chunk::<8>();
    let parts = parts.and_then(|(seqno, id)| Some((*seqno, <[u8; 4]>::try_from(id).ok()?)));
    let Some((seqno, id)) = parts else {
        return Err(Error::corrupt(dir, 0, "a carried record has no number"));
    };
    Ok((SeqNo::from_be_bytes(seqno), u32::from_be_bytes(id)))
}

/// The number of the keyspace for carried records in `catalog`, which gets one if it has none.
pub(crate) fn carried_in(catalog: &mut Catalog) -> u32 {
    let known = catalog.keyspaces.iter().find(|(_, record)| record.name == CARRIED);
    if let Some((id, _)) = known {
        return *id;
    }
    let id = catalog.next_keyspace.max(1);
    catalog.next_keyspace = id + 1;
    let flushed = catalog.next_seqno.saturating_sub(1);
    let record = KeyspaceRecord { name: CARRIED.into(), flushed, ..KeyspaceRecord::default() };
    catalog.keyspaces.insert(id, record);
    id
}

/// Records to be carried into a copy.
pub(crate) struct Carrying {
    extent: Extent,
    /// The first of them, or a number before it.
    first: SeqNo,
    /// What is covered, for each keyspace that has some.
    applied: BTreeMap<u32, SeqNo>,
    /// Keeps the segments.
    _pin: Arc<u64>,
}

impl Store {
    /// What must be carried into a copy of this moment, if anything. Under the commit lock.
    pub(crate) fn carrying(
        &self,
        committing: &mut Committing,
        trees: &[Arc<Tree>],
    ) -> Result<Option<Carrying>> {
        let unapplied: Vec<_> = trees
            .iter()
            .filter_map(|tree| Some((tree, tree.appended.first_unapplied()?)))
            .collect();
        let Some(first) = unapplied.iter().map(|(_, first)| *first).min() else { return Ok(None) };
        if self.follower.is_some() {
            let what = "has appended records that no batch covers; copy the store where it is open for \
                        writing";
            return Err(Error::Invalid { field: "store", what: what.into() });
        }
        let log = committing.log()?;
        log.hand_over().map_err(|error| self.fail(error))?;
        let extent = log.extent();
        let pin = committing.holding.pin(extent.oldest());
        let applied =
            unapplied.iter().map(|(tree, _)| (tree.id, tree.appended.applied())).collect();
        Ok(Some(Carrying { extent, first, applied, _pin: pin }))
    }
}

impl Carrying {
    /// Writes the records up to `seqno` as a table in `dir`. Contents are durable then, the name is not.
    pub(crate) fn write(
        self,
        store: &Store,
        catalog: &mut Catalog,
        seqno: SeqNo,
        dir: &Path,
    ) -> Result<Option<TableInfo>> {
        let keyspace = carried_in(catalog);
        let (name, options) = (CARRIED.to_owned(), KeyspaceOptions::default());
        let (flushed, inputs) = (seqno, Vec::new());
        let origin = TableOrigin { keyspace, name, level: 0, flushed, options, inputs };
        let begun = Tail::begin(store.log_home(), self.extent, self.first - 1, &mut 0)?;
        let Begun::Tail(mut tail) = begun else {
            return Err(Error::corrupt(&store.dir, 0, "the log lacks appended records"));
        };
        let mut writer: Option<TableWriter> = None;
        while let Some(record) = tail.next()? {
            if seqno < record.first_seq {
                break;
            }
            for (number, operation) in (record.first_seq..).zip(Operations::new(&record.payload)) {
                let Ok(operation) = operation else { break };
                let applied = self.applied.get(&operation.keyspace);
                let wanted = applied.is_some_and(|applied| *applied < number);
                if operation.kind != Kind::Append || !wanted {
                    continue;
                }
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => {
                        let id = store.draw_table_id();
                        let (vfs, path) = (store.environment.vfs(), dir.join(table_name(id)));
                        let options = store.table_options();
                        let mut writer =
                            TableWriter::create(vfs.as_ref(), path, store.id, id, options)?;
                        writer.belongs_to(origin.clone());
                        none.insert(writer)
                    }
                };
                let key = encode_key(number, operation.keyspace);
                writer.add(&key, Stamp::new(number, Kind::Put), operation.value)?;
            }
        }
        let Some(writer) = writer else { return Ok(None) };
        let table = writer.finish()?;
        catalog.next_table = catalog.next_table.max(table.id + 1);
        if let Some(record) = catalog.keyspaces.get_mut(&keyspace) {
            record.tables.insert(table.id, (0, table.clone()));
        }
        Ok(Some(table))
    }
}
