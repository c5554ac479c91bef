//! Which tables a store without a manifest consists of, told by the tables.
//!
//! Each says which keyspace it belongs to, but not how it stood to the others: a level is only the one
//! that it was written for. So the tables of a keyspace are merged into one run.
//!
//! 1. For a key that stands in several tables the newest version wins, and of equal ones that of the
//!    table made later: stamps that became zero at the bottom are older than all others.
//! 2. A table that another one took over may be a leftover, and deleted keys of it may show again: its
//!    range is reported.
//! 3. The entries of a bulk ingest have the number that the manifest gave them. Where no frame of it
//!    tells, they count as what was written next when the ingest began, and their range is reported.
//! 4. Memory: of each table an index, a filter, a block and a window.

use std::collections::{BTreeMap, BTreeSet};

use super::{Loss, Repair, maker::Maker, readable::Readable};
use crate::{
    error::Result,
    key::{SeqNo, Stamp},
    manifest::{Catalog, KeyspaceRecord},
    options::KeyspaceOptions,
    ranges::RangeDeletes,
    store::table_name,
    table::{Layout, OPTION, TableOrigin},
    values::{self, ValuesInfo, values_name},
    version::LEVELS,
};

/// The tables found of one keyspace.
#[derive(Default)]
struct Found {
    tables: Vec<Readable>,
    name: Option<String>,
    options: KeyspaceOptions,
    flushed: SeqNo,
    inputs: BTreeSet<u64>,
}

impl Repair {
    /// Makes a catalog of what tables, and frames of a damaged manifest, say.
    pub(super) fn rebuild_tables(&mut self) -> Result<Catalog> {
        self.report.steps.push("make a manifest of what the tables say".to_owned());
        let mut found = self.find_tables();
        let mut catalog = Catalog {
            next_table: self.sources.next_table(),
            next_keyspace: self.sources.next_keyspace,
            next_seqno: 1,
            ..Catalog::default()
        };
        let mut ids: BTreeSet<u32> = found.keys().copied().collect();
        ids.extend(self.sources.keyspaces.keys());
        for keyspace in ids {
            let tables = found.remove(&keyspace).unwrap_or_default();
            let known = self.sources.keyspaces.remove(&keyspace);
            let name = known.as_ref().map(|record| record.name.clone()).or(tables.name.clone());
            let mut record = KeyspaceRecord {
                name: name.unwrap_or_else(|| format!("recovered-{keyspace}")),
                flushed: tables.flushed,
                options: tables.options.clone(),
                ..known.unwrap_or_default()
            };
            record.flushed = record.flushed.max(tables.flushed);
            self.rebuild_keyspace(keyspace, &mut record, tables)?;
            catalog.next_keyspace = catalog.next_keyspace.max(keyspace.saturating_add(1));
            catalog.keyspaces.insert(keyspace, record);
        }
        Ok(catalog)
    }

    /// Every value file whose footer is sound.
    fn value_files(&self) -> BTreeMap<u64, ValuesInfo> {
        let describe = |number: &u64| {
            let path = self.dir.join(values_name(*number));
            let info = values::describe(self.vfs.as_ref(), &path, self.sources.store, *number);
            Some((*number, info.ok()?))
        };
        self.sources.values.iter().filter_map(describe).collect()
    }

    /// Opens every table there is, by the keyspace it belongs to.
    fn find_tables(&mut self) -> BTreeMap<u32, Found> {
        let mut found: BTreeMap<u32, Found> = BTreeMap::new();
        for id in self.sources.tables.clone() {
            let path = self.dir.join(table_name(id));
            self.moves.insert(table_name(id));
            let opened = Readable::open(self.vfs.as_ref(), &path, self.sources.store, id, None);
            let mut table = match opened {
                Ok(table) => table,
                Err(error) => {
                    self.lose_writes(path, error.to_string());
                    continue;
                }
            };
            if table.layout.properties.is_none() {
                table.find_properties();
            }
            let place = table.layout.number::<4>("keyspace").map(|id| id as u32);
            let Some(keyspace) = place.or(self.sources.places.get(&id).copied()) else {
                let why = "nothing tells which keyspace the table belongs to".to_owned();
                self.lose_writes(path, why);
                continue;
            };
            let given_up = self.sources.removed.contains(&id);
            if given_up || self.sources.dropped.contains(&keyspace) {
                continue;
            }
            table.part = self.sources.cuts.get(&id).cloned();
            table.number = self.sources.numbers.get(&id).copied();
            self.settle(keyspace, &table);
            let tables = found.entry(keyspace).or_default();
            let of_keyspace = table.layout.properties.as_ref();
            if let Some(properties) = of_keyspace {
                if let Some(name) = properties.get("keyspace_name") {
                    tables.name = Some(String::from_utf8_lossy(name).into_owned());
                }
                let (words, _) = properties.get("inputs").map_or(&[][..], |i| i).as_chunks::<8>();
                tables.inputs.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
            }
            tables.options = options_of(&table.layout).unwrap_or(tables.options.clone());
            let flushed = table.layout.number::<8>("flushed").unwrap_or(0);
            tables.flushed = tables.flushed.max(flushed);
            tables.tables.push(table);
        }
        found
    }

    /// Notes what a table that was written past the log says of the log: all writes to its keys before
    /// were in tables.
    fn settle(&mut self, keyspace: u32, table: &Readable) {
        if let (Some(number), Some((first, behind))) = (table.later_number(), table.extent()) {
            let settled = self.settled.entry(keyspace).or_default();
            *settled = settled.with(&first, &behind, number);
        }
    }

    /// Merges all tables of a keyspace into one run on the last level.
    fn rebuild_keyspace(
        &mut self,
        keyspace: u32,
        record: &mut KeyspaceRecord,
        mut found: Found,
    ) -> Result<()> {
        let level = (LEVELS - 1) as u8;
        let origin = TableOrigin {
            keyspace,
            name: record.name.clone(),
            level,
            flushed: record.flushed,
            options: record.options.clone(),
            inputs: found.tables.iter().map(|table| table.table).collect(),
        };
        let several = 1 < found.tables.len();
        let lists: Vec<_> = found.tables.iter().map(Readable::range_deletes).collect();
        let mut run = Maker::begin(origin, RangeDeletes::united(&lists), true);
        // Any value file may be any keyspace's; what none points to is moved aside in the end.
        record.values = self.value_files();
        let values = self.examiner_of(record);
        let mut standing: Vec<bool> =
            found.tables.iter_mut().map(|table| table.advance_with(&values)).collect();
        let mut last: Option<(Vec<u8>, Stamp)> = None;
        loop {
            let place = |at: usize| {
                let table: &Readable = &found.tables[at];
                (
                    table.key.as_slice(),
                    std::cmp::Reverse(table.stamp),
                    std::cmp::Reverse(table.table),
                )
            };
            let next = (0..standing.len()).filter(|at| standing[*at]);
            let Some(at) = next.min_by(|a, b| place(*a).cmp(&place(*b))) else { break };
            let table = &mut found.tables[at];
            let again = last.as_ref().is_some_and(|(k, s)| *k == table.key && *s == table.stamp);
            if !again {
                self.maker.add(&mut run, &table.key, table.stamp, table.value())?;
                last = Some((table.key.clone(), table.stamp));
            }
            standing[at] = table.advance_with(&values);
        }
        for table in self.maker.end(run)? {
            record.tables.insert(table.id, (level, table));
        }
        for table in &mut found.tables {
            self.report_gaps(&record.name, table, several, found.inputs.contains(&table.table));
        }
        let step = format!("merge {} tables of keyspace {:?}", found.tables.len(), record.name);
        self.report.steps.push(step);
        Ok(())
    }

    fn report_gaps(&mut self, name: &str, table: &mut Readable, several: bool, taken_over: bool) {
        let path = table.path.clone();
        let mut lose = |from, to, may_be_stale, why| {
            let (keyspace, path) = (Some(name.to_owned()), path.clone());
            self.report.losses.push(Loss { keyspace, from, to, may_be_stale, path, why });
        };
        for gap in table.take_gaps() {
            lose(gap.from, gap.to, several, gap.why);
        }
        if table.layout.properties.is_none() {
            let why = "the list of ranges that it deletes cannot be read".to_owned();
            lose(None, None, several, why);
        }
        if table.is_unnumbered() {
            let why = "the table was written past the log, and nothing tells as which write, nor \
                       whether all of it was written";
            let (from, to) = table.extent().unzip();
            lose(from, to, true, why.to_owned());
        }
        if taken_over {
            let properties = table.layout.properties.as_ref();
            let bound = |name: &str| properties.and_then(|all| all.get(name)).cloned();
            let why = "another table took it over, and it may be a leftover of that".to_owned();
            lose(bound("first_key"), bound("last_key"), true, why);
        }
    }
}

/// The options of its keyspace that a table names.
fn options_of(layout: &Layout) -> Option<KeyspaceOptions> {
    let named = layout.properties.as_ref()?.iter();
    let named: Vec<(String, Vec<u8>)> = named
        .filter_map(|(name, value)| Some((name.strip_prefix(OPTION)?.to_owned(), value.clone())))
        .collect();
    KeyspaceOptions::decode(&named)
}
