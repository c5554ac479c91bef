//! Reads backups back: proves them, and turns one into a store again.
//!
//! 1. A restored directory gets its name after every file matched its hash, every table its entries, and
//!    all of it is durable.
//! 2. A file that does not match is named, with every backup that needs it.
//! 3. Nothing in the directory of backups is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::Open;

use super::{
    BackupInfo, Backups, Found, OnProgress, Progress,
    set::{Set, Stored, set_name, stored_table, stored_values},
};
use crate::{
    copies::{draft::Draft, file::Whole},
    error::{Error, Result},
    manifest::{Catalog, Edit, Manifest},
    outputs::live_table,
    store::table_name,
    table::{ReadHow, TableCursor, TableInfo},
    values::{ValuesInfo, ValuesWalk, values_name},
};

/// A file that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// The backups that cannot be restored for it.
    pub backups: Vec<u64>,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The backups that were looked at.
    pub backups: Vec<u64>,
    /// Files read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is not as it should be; nothing, if all is well.
    pub damages: Vec<Damage>,
}

/// A file that a catalog names.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Table(&'a TableInfo),
    Values(&'a ValuesInfo),
}

/// The files that a catalog names, by the names they are stored under.
pub(super) fn wanted(store: u64, catalog: &Catalog) -> BTreeMap<String, Wanted<'_>> {
    let tables = catalog.tables();
    let tables = tables.map(|(_, _, table)| (stored_table(store, table), Wanted::Table(table)));
    let values = catalog.values();
    tables
        .chain(values.map(|values| (stored_values(store, values), Wanted::Values(values))))
        .collect()
}

impl Wanted<'_> {
    /// The name it has in a store.
    fn name(self) -> String {
        match self {
            Wanted::Table(table) => table_name(table.id),
            Wanted::Values(values) => values_name(values.file),
        }
    }

    pub(super) fn bytes(self) -> u64 {
        match self {
            Wanted::Table(table) => table.bytes,
            Wanted::Values(values) => values.bytes,
        }
    }
}

/// The number of a restored store's manifest.
const MANIFEST: u64 = 1;

impl Backups {
    /// Reads every file of one backup, or of all, and compares it with what was stored.
    pub fn verify(&self, which: Option<u64>, progress: OnProgress<'_>) -> Result<Verified> {
        let found = self.find()?;
        let mut verified = Verified::default();
        let mut files: BTreeMap<&str, &Stored> = BTreeMap::new();
        if let Some(number) = which.filter(|number| !found.sets.contains_key(number)) {
            found.set(&self.dir, number)?;
        }
        for (number, set) in &found.sets {
            if which.is_some_and(|which| which != *number) {
                continue;
            }
            verified.backups.push(*number);
            match set {
                Ok(set) => files.extend(set.files.iter().map(|file| (file.name.as_str(), file))),
                Err(error) => verified.damages.push(Damage {
                    path: self.dir.join(set_name(*number)),
                    what: what_of(error),
                    backups: vec![*number],
                }),
            }
        }
        let bytes = files.values().map(|file| file.bytes).sum();
        let mut told = Progress { bytes_done: 0, bytes };
        for stored in files.into_values() {
            let read = self.read(stored, &mut |piece, _| {
                told.bytes_done += piece.len() as u64;
                progress(told);
                Ok(())
            });
            verified.files += 1;
            verified.bytes += stored.bytes;
            match read {
                Ok(()) => {}
                Err(error @ Error::Corrupt { .. }) => verified.damages.push(Damage {
                    path: self.dir.join(&stored.name),
                    what: what_of(&error),
                    backups: found.users(&stored.name),
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(verified)
    }

    /// Makes the directory `target`, which must be new or empty, the store that the backup `which` holds,
    /// the newest if it is `None`. Everything is verified before the directory gets its name.
    pub fn restore(
        &self,
        which: Option<u64>,
        target: impl AsRef<Path>,
        progress: OnProgress<'_>,
    ) -> Result<BackupInfo> {
        let found = self.find()?;
        let number = which.or(found.sets.keys().next_back().copied()).unwrap_or(0);
        let set = found.set(&self.dir, number)?;
        let draft = Draft::begin(self.environment.vfs(), target.as_ref())?;
        let catalog = self.read_catalog(&found, set)?;
        let wanted = wanted(set.info.store, &catalog);
        self.check_complete(set, &catalog, &wanted)?;
        let mut told = Progress { bytes_done: 0, bytes: set.info.bytes };
        for stored in &set.files[1..] {
            let wanted = wanted[&stored.name];
            let path = draft.dir().join(wanted.name());
            self.copy_out(stored, &path, &mut |bytes| {
                told.bytes_done += bytes;
                progress(told);
            })
            .and_then(|()| match wanted {
                Wanted::Table(table) => self.check_entries(set.info.store, table, &path),
                Wanted::Values(_) => Ok(()),
            })
            .map_err(|error| found.harmed(&self.dir, stored, error))?;
        }
        Manifest::create(self.environment.vfs(), draft.dir(), set.info.store, MANIFEST, catalog)?;
        draft.finish()?;
        Ok(set.info)
    }

    /// Hands over a stored file in pieces, and compares it with what was stored.
    fn read(&self, stored: &Stored, each: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        let path = self.dir.join(&stored.name);
        let file = self.open(stored, &path)?;
        let budget = self.environment.budget();
        let hash = Whole { file: &file, path: &path, bytes: stored.bytes, budget }.pieces(each)?;
        check_hash(&path, hash, stored)
    }

    /// Opens a stored file, which must have the length it was stored with.
    fn open(&self, stored: &Stored, path: &Path) -> Result<Arc<dyn olivine_vfs::File>> {
        let vfs = self.environment.vfs();
        if vfs.entry(path).map_err(Error::io("look at", path))?.is_none() {
            return Err(Error::corrupt(path, 0, "it is missing"));
        }
        let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
        let bytes = file.len().map_err(Error::io("measure", path))?;
        if bytes != stored.bytes {
            let what = format!("it is {bytes} bytes long and should be {}", stored.bytes);
            return Err(Error::corrupt(path, bytes.min(stored.bytes), what));
        }
        Ok(file)
    }

    fn copy_out(&self, stored: &Stored, target: &Path, copied: &mut dyn FnMut(u64)) -> Result<()> {
        let path = self.dir.join(&stored.name);
        let file = self.open(stored, &path)?;
        let budget = self.environment.budget();
        let from = Whole { file: &file, path: &path, bytes: stored.bytes, budget };
        let hash = from.copy_to(self.environment.vfs().as_ref(), target, copied)?;
        check_hash(&path, hash, stored)
    }

    /// What the store consisted of.
    fn read_catalog(&self, found: &Found, set: &Set) -> Result<Catalog> {
        let path = self.dir.join(set_name(set.info.number));
        let Some(stored) = set.files.first() else {
            return Err(Error::corrupt(path, 0, "it names no file"));
        };
        let mut bytes = Vec::new();
        self.read(stored, &mut |piece, _| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .map_err(|error| found.harmed(&self.dir, stored, error))?;
        let path = self.dir.join(&stored.name);
        let edit = Edit::decode(&bytes);
        let edit = edit.ok_or_else(|| Error::corrupt(&path, 0, "it does not decode"))?;
        let mut catalog = Catalog::default();
        let applied = catalog.apply(&edit).and_then(|()| catalog.verify());
        applied.map_err(|what| Error::corrupt(path, 0, what))?;
        Ok(catalog)
    }

    /// Refuses a set whose files are not the tables of its catalog, or whose numbers are not theirs.
    fn check_complete(
        &self,
        set: &Set,
        catalog: &Catalog,
        wanted: &BTreeMap<String, Wanted<'_>>,
    ) -> Result<()> {
        let stored: BTreeSet<&str> = set.files[1..].iter().map(|file| file.name.as_str()).collect();
        let fits = stored.iter().copied().eq(wanted.keys().map(String::as_str))
            && stored.len() + 1 == set.files.len()
            && set.files[1..].iter().all(|file| file.bytes == wanted[&file.name].bytes())
            && set.info.entries == catalog.tables().map(|(_, _, table)| table.entries).sum::<u64>()
            && set.info.keyspaces == catalog.keyspaces.len() as u64
            && set.info.seqno + 1 == catalog.next_seqno;
        if fits {
            return Ok(());
        }
        let what = "the files it names are not those of its catalog";
        Err(Error::corrupt(self.dir.join(set_name(set.info.number)), 0, what))
    }

    /// Walks a restored table: every block verifies, and it holds the entries it should, as many of which
    /// show as should where the table was cut.
    pub(super) fn check_entries(&self, store: u64, info: &TableInfo, path: &Path) -> Result<()> {
        let live = live_table(
            &self.environment,
            store,
            path.to_path_buf(),
            info.uncut(),
            None,
            &Arc::default(),
        );
        let mut cursor = TableCursor::new(Arc::clone(&live.table), ReadHow::SCAN);
        cursor.seek_first()?;
        let (mut entries, mut shown) = (0u64, 0u64);
        while cursor.valid() {
            entries += 1;
            shown += u64::from(info.spans(cursor.key()));
            if !live.holds(cursor.key()) {
                return Err(Error::corrupt(path, 0, "it holds a key beyond its range"));
            }
            cursor.next()?;
        }
        if (entries, shown) != (live.info.entries, info.entries) {
            let what = format!(
                "it holds {entries} entries, {shown} of which show, and should hold {} and show {}",
                live.info.entries, info.entries
            );
            return Err(Error::corrupt(path, 0, what));
        }
        Ok(())
    }

    /// Walks a value file: header, footer and every record verify, and it is the one that the catalog names.
    pub(super) fn check_records(&self, store: u64, info: &ValuesInfo, path: &Path) -> Result<()> {
        let vfs = self.environment.vfs();
        let walk = ValuesWalk::open(vfs.as_ref(), path, store, info.file)?;
        if (info.records, info.checksum) != walk.footer()? {
            return Err(Error::corrupt(path, 0, "it is not the value file that the catalog names"));
        }
        let mut first = None;
        walk.verify(&mut |_| (), &mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(()), Err)
    }
}

fn check_hash(path: &Path, hash: u64, stored: &Stored) -> Result<()> {
    if hash == stored.hash {
        return Ok(());
    }
    Err(Error::corrupt(path, 0, "it does not match the hash it was stored with"))
}

fn what_of(error: &Error) -> String {
    match error {
        Error::Corrupt { what, .. } => what.clone(),
        error => error.to_string(),
    }
}

impl Found {
    /// The backup of this number.
    fn set(&self, dir: &Path, number: u64) -> Result<&Set> {
        match self.sets.get(&number) {
            Some(Ok(set)) => Ok(set),
            Some(Err(error)) => Err(error.clone()),
            None => {
                let dir = dir.display();
                let what = if self.sets.is_empty() {
                    format!("is in vain: there are no backups in {dir}; take one first")
                } else {
                    let there = listed(self.sets.keys().copied());
                    format!("{number} is not in {dir}; there are {there}")
                };
                Err(Error::Invalid { field: "backup", what })
            }
        }
    }

    /// The backups that need a file.
    fn users(&self, name: &str) -> Vec<u64> {
        let needs = |set: &Set| set.files.iter().any(|file| file.name == name);
        let sets = self.sets.iter().filter(|(_, set)| set.as_ref().is_ok_and(needs));
        sets.map(|(number, _)| *number).collect()
    }

    /// Damage in a restored or stored file, told as damage of the stored one and of whom it harms.
    fn harmed(&self, dir: &Path, stored: &Stored, error: Error) -> Error {
        match error {
            Error::Corrupt { offset, what, .. } => {
                let users = listed(self.users(&stored.name).into_iter());
                let what = format!("{what}; backups that need it: {users}");
                Error::Corrupt { path: dir.join(&stored.name), offset, what }
            }
            error => error,
        }
    }
}

fn listed(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}
