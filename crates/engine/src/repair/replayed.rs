//! Records of a log, gathered in memory until they are worth a table.
//!
//! 1. Tables made later hold later writes, so on level 0 they stand above those made before.
//! 2. Memory is one batch of a few tens of megabytes, and one record.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::maker::Maker;
use crate::{
    appended::{applied_number, carried_in, encode_key},
    batch::Operations,
    error::Result,
    ingest::naming_edit,
    key::{Kind, SeqNo, Stamp},
    manifest::{Catalog, KeyspaceRecord},
    ranges::RangeDeletes,
    table::TableOrigin,
};

const GATHERED_BYTES_MAX: usize = 32 << 20;

/// Reads the value that an operation's bytes point to, in the files of a keyspace.
pub(super) type Verify<'a> = &'a dyn Fn(&KeyspaceRecord, &[u8]) -> Result<()>;

/// Writes of one keyspace that wait for their table.
#[derive(Default)]
struct Waiting {
    entries: BTreeMap<(Vec<u8>, Reverse<Stamp>), Vec<u8>>,
    ranges: RangeDeletes,
}

/// Puts the records of a log into tables of level 0.
#[derive(Default)]
pub(super) struct Replayed {
    waiting: BTreeMap<u32, Waiting>,
    bytes: usize,
    /// The last write that was taken.
    last: SeqNo,
    /// Keyspaces that records name and nothing else does.
    pub(super) unnamed: BTreeSet<u32>,
    /// Keyspaces that were dropped.
    pub(super) dropped: BTreeSet<u32>,
    /// Keys whose values stand apart and cannot be read: keyspace, key and why.
    pub(super) unread: Vec<(String, Vec<u8>, String)>,
    /// By keyspace, ranges whose keys were in tables up to a write, whatever became of these tables
    /// since.
    pub(super) settled: BTreeMap<u32, RangeDeletes>,
    /// Records of which some operations made no sense.
    pub(super) senseless: u64,
}

impl Replayed {
    /// Takes the operations of a record that no table holds.
    pub(super) fn take(
        &mut self,
        catalog: &mut Catalog,
        maker: &mut Maker,
        first: SeqNo,
        payload: &[u8],
        verify: Verify<'_>,
    ) -> Result<()> {
        if naming_edit(payload).is_some() {
            self.last = self.last.max(first);
            return Ok(()); // its number was taken for tables that were written past the log
        }
        for (nth, operation) in Operations::new(payload).enumerate() {
            let Ok(operation) = operation else {
                self.senseless += 1;
                break;
            };
            let (seqno, keyspace) = (first + nth as u64, operation.keyspace);
            self.last = self.last.max(seqno);
            if self.dropped.contains(&keyspace) {
                continue;
            }
            if !catalog.keyspaces.contains_key(&keyspace) {
                // Whatever made it is lost.
                self.unnamed.insert(keyspace);
                let name = format!("recovered-{keyspace}");
                let fresh = KeyspaceRecord { name, ..KeyspaceRecord::default() };
                catalog.next_keyspace = catalog.next_keyspace.max(keyspace.saturating_add(1));
                catalog.keyspaces.insert(keyspace, fresh);
            }
            match operation.kind {
                Kind::Append => {
                    self.carry(catalog, keyspace, seqno, operation.value);
                    continue;
                }
                Kind::Applied => {
                    if let Some(record) = catalog.keyspaces.get_mut(&keyspace) {
                        record.applied = record.applied.max(applied_number(operation.value));
                    }
                    continue;
                }
                Kind::Position => {
                    self.senseless += 1;
                    continue;
                }
                _ => {}
            }
            let record = &catalog.keyspaces[&keyspace];
            if seqno <= record.flushed || self.is_settled(keyspace, seqno, operation.key) {
                continue;
            }
            if operation.kind == Kind::Pointer
                && let Err(error) = verify(record, operation.value)
            {
                let name = record.name.clone();
                self.unread.push((name, operation.key.to_vec(), error.to_string()));
                continue;
            }
            let waiting = self.waiting.entry(keyspace).or_default();
            self.bytes += operation.key.len() + operation.value.len() + 64;
            if operation.kind == Kind::RangeDelete {
                waiting.ranges = waiting.ranges.with(operation.key, operation.value, seqno);
            } else {
                let place = (operation.key.to_vec(), Reverse(Stamp::new(seqno, operation.kind)));
                waiting.entries.insert(place, operation.value.to_vec());
            }
        }
        if GATHERED_BYTES_MAX <= self.bytes {
            self.flush(catalog, maker)?;
        }
        Ok(())
    }

    /// Whether a write to `key` was in a table when one that was written past the log was named.
    fn is_settled(&self, keyspace: u32, seqno: SeqNo, key: &[u8]) -> bool {
        let settled = self.settled.get(&keyspace);
        settled.is_some_and(|settled| seqno <= settled.covering(key, SeqNo::MAX))
    }

    /// Takes a record that went to the log only.
    fn carry(&mut self, catalog: &mut Catalog, keyspace: u32, seqno: SeqNo, record: &[u8]) {
        if seqno <= catalog.keyspaces[&keyspace].applied {
            return;
        }
        let waiting = self.waiting.entry(carried_in(catalog)).or_default();
        let key = encode_key(seqno, keyspace).to_vec();
        self.bytes += key.len() + record.len() + 64;
        waiting.entries.insert((key, Reverse(Stamp::new(seqno, Kind::Put))), record.to_vec());
    }

    /// Makes tables of what waits.
    pub(super) fn flush(&mut self, catalog: &mut Catalog, maker: &mut Maker) -> Result<()> {
        self.bytes = 0;
        for (keyspace, waiting) in std::mem::take(&mut self.waiting) {
            let Some(record) = catalog.keyspaces.get_mut(&keyspace) else { continue };
            let origin = TableOrigin {
                keyspace,
                name: record.name.clone(),
                level: 0,
                // So that a repair that is cut short and done again does not take them twice.
                flushed: record.flushed.max(self.last),
                options: record.options.clone(),
                inputs: Vec::new(),
            };
            let mut run = Maker::begin(origin, waiting.ranges, false);
            for ((key, Reverse(stamp)), value) in &waiting.entries {
                maker.add(&mut run, key, *stamp, value)?;
            }
            for table in maker.end(run)? {
                record.tables.insert(table.id, (0, table));
            }
        }
        // A later table says that all before it are there.
        maker.sync_names()
    }
}
