//! What a store consists of, as the edits of its manifest say.
//!
//! 1. Applying the same edits in the same order gives the same catalog.
//! 2. An edit that contradicts the catalog (a table added twice, removed while absent, out of place)
//!    is refused: on disk it is damage.
//! 3. Levels from 1 on hold tables that do not overlap.
//! 4. A table points into value files of its keyspace only, and those are there.

use std::collections::BTreeMap;

use super::edit::{Change, Edit};
use crate::{
    key::SeqNo,
    log::Position,
    options::KeyspaceOptions,
    pointer::ValueUse,
    table::{Part, TableInfo},
    values::ValuesInfo,
    version::LEVELS,
};

/// One keyspace in the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyspaceRecord {
    pub(crate) name: String,
    /// Every write up to here is in tables.
    pub(crate) flushed: SeqNo,
    /// By id; with the level each stands on.
    pub(crate) tables: BTreeMap<u64, (u8, TableInfo)>,
    /// By number.
    pub(crate) values: BTreeMap<u64, ValuesInfo>,
    pub(crate) options: KeyspaceOptions,
    /// What expires up to here may be gone.
    pub(crate) expiry_mark: u64,
    /// Appended records up to here are contained in what has been written.
    pub(crate) applied: SeqNo,
    /// Up to where each range has been applied.
    pub(crate) positions: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a store consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// Number of the last edit applied.
    pub(crate) edit: u64,
    pub(crate) next_table: u64,
    pub(crate) next_keyspace: u32,
    pub(crate) next_seqno: SeqNo,
    pub(crate) log_start: u64,
    pub(crate) log_durable: Option<Position>,
    pub(crate) keyspaces: BTreeMap<u32, KeyspaceRecord>,
}

impl Catalog {
    /// Applies `edit`, or says what in it contradicts the catalog; then the catalog is unusable.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        if edit.number <= self.edit && self.edit != 0 {
            return Err(format!("edit {} follows edit {}", edit.number, self.edit));
        }
        for change in &edit.changes {
            self.apply_change(change)?;
        }
        self.edit = edit.number;
        Ok(())
    }

    fn apply_change(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::CreateKeyspace { keyspace, name } => {
                let record = KeyspaceRecord { name: name.clone(), ..KeyspaceRecord::default() };
                let taken = self.keyspaces.values().any(|known| known.name == *name);
                if taken || self.keyspaces.insert(*keyspace, record).is_some() {
                    return Err(format!("keyspace {keyspace} {name:?} is created twice"));
                }
                self.next_keyspace = self.next_keyspace.max(keyspace.saturating_add(1));
            }
            Change::DropKeyspace { keyspace } => {
                if self.keyspaces.remove(keyspace).is_none() {
                    return Err(format!("keyspace {keyspace} is dropped and does not exist"));
                }
            }
            Change::AddTable { keyspace, level, table } => {
                self.next_table = self.next_table.max(table.id.saturating_add(1));
                self.record(*keyspace)?.add(*level, table)?;
            }
            Change::RemoveTable { keyspace, level, table } => {
                match self.record(*keyspace)?.tables.remove(table) {
                    Some((found, _)) if found == *level => {}
                    _ => {
                        return Err(format!(
                            "table {table} is removed from level {level}, where it is not"
                        ));
                    }
                }
            }
            Change::CutTable { keyspace, level, table, part } => {
                self.record(*keyspace)?.cut(*level, *table, part)?;
            }
            Change::AddValues { keyspace, values } => {
                self.next_table = self.next_table.max(values.file.saturating_add(1));
                let record = self.record(*keyspace)?;
                if record.values.insert(values.file, values.clone()).is_some() {
                    return Err(format!("value file {} is added twice", values.file));
                }
            }
            Change::RemoveValues { keyspace, file } => {
                if self.record(*keyspace)?.values.remove(file).is_none() {
                    return Err(format!("value file {file} is removed and does not exist"));
                }
            }
            Change::Flushed { keyspace, seqno } => {
                let record = self.record(*keyspace)?;
                record.flushed = record.flushed.max(*seqno);
            }
            Change::LogStart { segment } => self.log_start = self.log_start.max(*segment),
            Change::LogDurable { position } => {
                self.log_durable = self.log_durable.max(Some(*position));
            }
            Change::NextTable { table } => self.next_table = self.next_table.max(*table),
            Change::NextKeyspace { keyspace } => {
                self.next_keyspace = self.next_keyspace.max(*keyspace);
            }
            Change::NextSeqno { seqno } => self.next_seqno = self.next_seqno.max(*seqno),
            Change::SetOptions { keyspace, options } => {
                self.record(*keyspace)?.options = options.clone();
            }
            Change::ExpiryMark { keyspace, mark } => {
                let record = self.record(*keyspace)?;
                record.expiry_mark = record.expiry_mark.max(*mark);
            }
            Change::Position { keyspace, range, position } => {
                let record = self.record(*keyspace)?;
                if position.is_empty() {
                    record.positions.remove(range);
                } else {
                    record.positions.insert(range.clone(), position.clone());
                }
            }
            Change::Applied { keyspace, seqno } => {
                let record = self.record(*keyspace)?;
                record.applied = record.applied.max(*seqno);
            }
        }
        Ok(())
    }

    fn record(&mut self, keyspace: u32) -> Result<&mut KeyspaceRecord, String> {
        self.keyspaces
            .get_mut(&keyspace)
            .ok_or_else(|| format!("keyspace {keyspace} does not exist"))
    }

    /// The whole catalog as the changes that make it from nothing.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            Change::NextTable { table: self.next_table },
            Change::NextKeyspace { keyspace: self.next_keyspace },
            Change::NextSeqno { seqno: self.next_seqno },
            Change::LogStart { segment: self.log_start },
        ];
        changes.extend(self.log_durable.map(|position| Change::LogDurable { position }));
        for (id, record) in &self.keyspaces {
            let keyspace = *id;
            changes.push(Change::CreateKeyspace { keyspace, name: record.name.clone() });
            if record.options != KeyspaceOptions::default() {
                changes.push(Change::SetOptions { keyspace, options: record.options.clone() });
            }
            if record.expiry_mark != 0 {
                changes.push(Change::ExpiryMark { keyspace, mark: record.expiry_mark });
            }
            changes.push(Change::Flushed { keyspace, seqno: record.flushed });
            if record.applied != 0 {
                changes.push(Change::Applied { keyspace, seqno: record.applied });
            }
            changes.extend(record.positions.iter().map(|(range, position)| Change::Position {
                keyspace,
                range: range.clone(),
                position: position.clone(),
            }));
            for values in record.values.values() {
                changes.push(Change::AddValues { keyspace, values: values.clone() });
            }
            for (level, table) in record.tables.values() {
                changes.extend(Change::join(keyspace, *level, table));
            }
        }
        changes
    }

    /// Says which tables overlap on a level where none may, or point into a file that is not there.
    pub(crate) fn verify(&self) -> Result<(), String> {
        for record in self.keyspaces.values() {
            for (_, table) in record.tables.values() {
                let missing = |used: &&ValueUse| !record.values.contains_key(&used.file);
                if let Some(used) = table.values.files.iter().find(missing) {
                    let (table, file) = (table.id, used.file);
                    return Err(format!(
                        "table {table} points into value file {file}, which is gone"
                    ));
                }
            }
            let mut tables: Vec<_> =
                record.tables.values().filter(|(level, _)| *level != 0).collect();
            tables.sort_by(|(a_level, a), (b_level, b)| {
                (a_level, &a.first_key).cmp(&(b_level, &b.first_key))
            });
            for pair in tables.windows(2) {
                let ((level, table), (next_level, next)) = (pair[0], pair[1]);
                if level == next_level && !table.ends_before(&next.first_key) {
                    return Err(format!(
                        "tables {} and {} overlap on level {level}",
                        table.id, next.id
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every value file.
    pub(crate) fn values(&self) -> impl Iterator<Item = &ValuesInfo> {
        self.keyspaces.values().flat_map(|record| record.values.values())
    }

    /// Every table with the keyspace and level it belongs to.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (u32, u8, &TableInfo)> {
        self.keyspaces.iter().flat_map(|(id, record)| {
            record.tables.values().map(|(level, table)| (*id, *level, table))
        })
    }
}

impl KeyspaceRecord {
    fn cut(&mut self, level: u8, table: u64, part: &Part) -> Result<(), String> {
        let known = self.tables.get_mut(&table).filter(|(known, _)| *known == level);
        let Some((_, known)) = known else {
            return Err(format!("table {table} is cut on level {level}, where it is not"));
        };
        let within = known.first_key <= part.first_key && part.last_key <= known.last_key;
        let counted = (part.entries != 0 || known.range_deletes != 0)
            && part.entries <= known.entries
            && part.tombstones <= part.entries.min(known.tombstones)
            && part.values.count() <= part.entries
            && known.values.without(&part.values).is_some();
        if !within || !counted || part.last_key < part.first_key {
            return Err(format!("table {table} is cut to what it does not hold"));
        }
        *known = known.cut_to(part);
        Ok(())
    }

    fn add(&mut self, level: u8, table: &TableInfo) -> Result<(), String> {
        if LEVELS <= usize::from(level) {
            return Err(format!("table {} stands on level {level}", table.id));
        }
        if table.last_key < table.first_key || table.entries == 0 {
            return Err(format!("table {} has no keys", table.id));
        }
        match self.tables.insert(table.id, (level, table.clone())) {
            None => Ok(()),
            Some(_) => Err(format!("table {} is added twice", table.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pointer::ValueUses;

    fn table(first: &str, last: &str) -> TableInfo {
        TableInfo {
            id: 7,
            bytes: 1000,
            entries: 10,
            tombstones: 3,
            seqno_min: 1,
            seqno_max: 9,
            checksum: 5,
            range_deletes: 0,
            last_is_excluded: false,
            first_key: first.into(),
            last_key: last.into(),
            values: uses(10),
            whole: None,
        }
    }

    /// What so many entries point to of value file 3.
    fn uses(entries: u64) -> ValueUses {
        ValueUses::from_words(&[0, 3, entries, 100 * entries]).unwrap()
    }

    fn part(entries: u64, first: &str, last: &str) -> Part {
        let (first_key, last_key) = (first.into(), last.into());
        let values = uses(entries);
        Part { entries, tombstones: 1, first_key, last_key, last_is_excluded: false, values }
    }

    fn catalog(changes: Vec<Change>) -> Result<Catalog, String> {
        let mut catalog = Catalog::default();
        let made = Change::CreateKeyspace { keyspace: 1, name: "a".into() };
        let joined = Change::AddTable { keyspace: 1, level: 2, table: table("b", "y") };
        let changes = [made, joined].into_iter().chain(changes).collect();
        catalog.apply(&Edit { number: 1, changes })?;
        Ok(catalog)
    }

    fn cut(level: u8, part: Part) -> Change {
        Change::CutTable { keyspace: 1, level, table: 7, part }
    }

    #[test]
    fn a_cut_table_counts_as_what_is_left_and_comes_back_from_the_changes() {
        let cut_twice = vec![cut(2, part(8, "c", "y")), cut(2, part(4, "m", "x"))];
        let catalog = catalog(cut_twice).unwrap();
        let (_, _, left) = catalog.tables().next().unwrap();
        assert_eq!((left.entries, &*left.first_key, &*left.last_key), (4, &b"m"[..], &b"x"[..]));
        assert_eq!((left.visible_bytes(), left.uncut()), (400, table("b", "y")));
        assert_eq!(left.values, uses(4));
        let mut again = Catalog::default();
        again.apply(&Edit { number: 1, changes: catalog.changes() }).unwrap();
        assert_eq!(again.keyspaces, catalog.keyspaces);
    }

    #[test]
    fn a_cut_that_shows_what_was_not_visible_is_refused() {
        for (level, part) in [
            (1, part(4, "m", "x")),
            (2, part(11, "m", "x")),
            (2, part(0, "m", "x")),
            (2, part(4, "a", "x")),
            (2, part(4, "m", "z")),
            (2, part(4, "x", "m")),
        ] {
            assert!(catalog(vec![cut(level, part.clone())]).is_err(), "{level} {part:?}");
        }
        let beyond = Part { values: uses(11), ..part(10, "m", "x") };
        assert!(catalog(vec![cut(2, beyond)]).is_err(), "it points to more than it did");
        let grown = vec![cut(2, part(4, "m", "x")), cut(2, part(4, "l", "x"))];
        assert!(catalog(grown).is_err(), "a later cut lies within");
    }
}
