//! Backups: a directory of numbered sets of files, each the whole store at one moment.
//!
//! Tables never change, so one that several backups need is stored once: a backup copies what is new.
//! The bytes are copied, never linked: a disk that damages the store's file must not reach them.
//! Bytes on disk: `docs/format/backup.md`.
//!
//! It must survive a power cut, a full disk or an error at any call, in the middle of any of this:
//!
//! 1. A set is renamed into place after all its files are durable; a set that is there is whole.
//! 2. What no set names is swept before the next backup, or used only after it was verified anew (`receive`).
//! 3. Pruning takes a set's name away, durably, before any file that only it needs.
//! 4. As long as a set cannot be read, no file goes: it might need it.

mod receive;
mod restore;
mod set;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{EntryKind, Guard, Lock, Open, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use self::set::{Name, Set, Stored, catalog_name, set_name};
pub(super) use self::set::{stored_table, stored_values};
pub use self::{
    receive::{Lender, Offer, Offered, OnPiece},
    restore::{Damage, Verified},
    set::BackupInfo,
};
use super::{
    draft::sync_parent,
    file::{Whole, write_small},
    lent::Original,
    moment::Moment,
};
use crate::{
    db::Db,
    environment::Environment,
    error::{Error, Result},
    iter::Bounds,
    manifest::{Catalog, Edit},
    recovery::LOCK,
    store::{Store, table_name},
};

/// Longer than any set or catalog we write; what claims more is damaged.
const SMALL_BYTES_MAX: u64 = 4 << 30;

/// How far a backup, a verification or a restore has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes there are to do.
    pub bytes: u64,
}

/// Is told how far a work has come; a caller who does not care hands in `|_| ()`.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress);

/// What pruning removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The backups that are gone.
    pub backups: Vec<u64>,
    /// Files that nobody needed any more.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A directory of backups of one store.
#[derive(Clone)]
pub struct Backups {
    environment: Environment,
    dir: PathBuf,
}

/// What lies in the directory.
struct Found {
    /// By number; those that cannot be read say why.
    sets: BTreeMap<u64, Result<Set>>,
    /// Every other file of ours, and its length.
    files: BTreeMap<String, u64>,
}

impl Backups {
    /// The backups in the directory `path`; `take` makes it when it is missing.
    pub fn new(environment: &Environment, path: impl AsRef<Path>) -> Backups {
        Backups { environment: environment.clone(), dir: path.as_ref().to_path_buf() }
    }

    /// Makes one backup more: everything in `db` at this moment, while its writers go on. It is durable
    /// when this returns.
    pub fn take(&self, db: &Db, progress: OnProgress<'_>) -> Result<BackupInfo> {
        let _guard = self.lock()?;
        let found = self.find()?;
        let store: &Store = db.store();
        self.check_same_store(&found, store.id)?;
        self.sweep(&found, &BTreeSet::new())?;
        let mut taking = Taking { backups: self, created: Vec::new(), kept: false };
        taking.run(store, &found, progress)
    }

    /// Every backup, the oldest first; one whose set cannot be read says why.
    pub fn list(&self) -> Result<Vec<(u64, Result<BackupInfo>)>> {
        let sets = self.find()?.sets.into_iter();
        Ok(sets.map(|(number, set)| (number, set.map(|set| set.info))).collect())
    }

    /// Removes all backups but the newest `keep` that can be read, and the files that only they needed.
    pub fn prune(&self, keep: usize) -> Result<Pruned> {
        if keep == 0 {
            let what = "is 0, and must be at least 1; to remove all, remove the directory".into();
            return Err(Error::Invalid { field: "keep", what });
        }
        let _guard = self.lock()?;
        let mut found = self.find()?;
        let vfs = self.environment.vfs().as_ref();
        let readable = found.sets.iter().filter(|(_, set)| set.is_ok()).map(|(number, _)| *number);
        let Some(oldest_kept) = readable.rev().take(keep).last() else {
            return Ok(Pruned::default());
        };
        let newer = found.sets.split_off(&oldest_kept);
        let gone = std::mem::replace(&mut found.sets, newer);
        let mut pruned = Pruned::default();
        for number in gone.into_keys() {
            let path = self.dir.join(set_name(number));
            vfs.remove_file(&path).map_err(Error::io("remove", path))?;
            pruned.backups.push(number);
        }
        if !pruned.backups.is_empty() {
            vfs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        }
        (pruned.files, pruned.bytes) = self.sweep(&found, &BTreeSet::new())?;
        Ok(pruned)
    }

    fn lock(&self) -> Result<Box<dyn Guard>> {
        let vfs = self.environment.vfs();
        if vfs.entry(&self.dir).map_err(Error::io("look at", &self.dir))?.is_none() {
            vfs.create_dir(&self.dir).map_err(Error::io("create directory", &self.dir))?;
        }
        // Whatever is in there is not ours to lock.
        self.find()?;
        // Always: an earlier try may have made it and got no further.
        sync_parent(vfs.as_ref(), &self.dir)?;
        let path = self.dir.join(LOCK);
        match vfs.lock(&path).map_err(Error::io("lock", &path))? {
            Lock::Held(guard) => Ok(guard),
            Lock::Busy { holder } => Err(Error::Locked { path, holder }),
        }
    }

    /// Looks at everything in the directory.
    fn find(&self) -> Result<Found> {
        let vfs = self.environment.vfs().as_ref();
        let mut found = Found { sets: BTreeMap::new(), files: BTreeMap::new() };
        let unusable = |what: String| Error::Unusable { path: self.dir.clone(), what };
        match vfs.entry(&self.dir).map_err(Error::io("look at", &self.dir))? {
            Some(entry) if entry.kind == EntryKind::Dir => {}
            Some(_) => return Err(unusable("it is not a directory; name a directory".into())),
            None => return Err(unusable("there is nothing there; name a directory".into())),
        }
        for entry in vfs.list(&self.dir).map_err(Error::io("list", &self.dir))? {
            let name = entry.name.to_string_lossy().into_owned();
            match Name::parse(&name) {
                Some(Name::Set(number)) => {
                    let path = self.dir.join(&name);
                    let set = read_small(&self.environment, &path)
                        .and_then(|bytes| Set::decode(&path, number, &bytes));
                    match set {
                        // What the disk refuses now, it may give later.
                        Err(error @ Error::Io { .. }) => return Err(error),
                        set => drop(found.sets.insert(number, set)),
                    }
                }
                Some(Name::Data | Name::Unfinished) => {
                    found.files.insert(name, entry.bytes);
                }
                None if name == LOCK => {}
                None => {
                    let what = "and is not a directory of backups; name an empty or new directory";
                    return Err(unusable(format!("it holds {name:?} {what}")));
                }
            }
        }
        Ok(found)
    }

    fn check_same_store(&self, found: &Found, store: u64) -> Result<()> {
        let other = found.sets.values().flatten().find(|set| set.info.store != store);
        match other {
            None => Ok(()),
            Some(set) => Err(Error::Unusable {
                path: self.dir.clone(),
                what: format!(
                    "it holds backups of store {:016x}, and this is store {store:016x}; name \
                     another directory",
                    set.info.store
                ),
            }),
        }
    }

    /// Removes what no set names and nobody wants; nothing while a set cannot be read. Returns how many files
    /// that were, and their bytes.
    fn sweep(&self, found: &Found, wanted: &BTreeSet<&str>) -> Result<(u64, u64)> {
        let (mut files, mut bytes) = (0, 0);
        if !found.sets.values().all(Result::is_ok) {
            return Ok((files, bytes));
        }
        let named: BTreeSet<&str> = found.stored().map(|stored| stored.name.as_str()).collect();
        for (name, length) in &found.files {
            if !named.contains(name.as_str()) && !wanted.contains(name.as_str()) {
                let path = self.dir.join(name);
                let vfs = self.environment.vfs();
                vfs.remove_file(&path).map_err(Error::io("remove", path))?;
                files += 1;
                bytes += length;
            }
        }
        Ok((files, bytes))
    }
}

impl Found {
    /// Every file that a readable set names; one that several name comes several times.
    fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.sets.values().flatten().flat_map(|set| &set.files)
    }

    /// The files that a set names and that are there in full length, by name.
    fn known(&self) -> BTreeMap<&str, &Stored> {
        let is_there = |stored: &&Stored| self.files.get(&stored.name) == Some(&stored.bytes);
        self.stored().filter(is_there).map(|stored| (stored.name.as_str(), stored)).collect()
    }
}

impl fmt::Debug for Backups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backups").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A backup being made.
struct Taking<'a> {
    backups: &'a Backups,
    /// Files made for this backup, to be removed if it is given up.
    created: Vec<PathBuf>,
    /// The set is there, or may be: nothing is removed.
    kept: bool,
}

/// What a backup has of which store, and when it was so.
struct Contents<'a> {
    store: u64,
    time: u64,
    catalog: &'a Catalog,
    /// All files but the one of the catalog.
    files: Vec<Stored>,
    bytes_new: u64,
}

impl Taking<'_> {
    fn run(
        &mut self,
        store: &Store,
        found: &Found,
        progress: OnProgress<'_>,
    ) -> Result<BackupInfo> {
        let mut moment = store.moment()?;
        let mut files = Vec::new();
        let mut bytes_new = self.take_memtables(store, &mut moment, &mut files)?;
        let known = found.known();
        let mut told = Progress::default();
        let mut missing = Vec::new();
        for file in Original::all_of(&moment) {
            let name = file.stored_name(store.id);
            if let Some(stored) = known.get(name.as_str()) {
                files.push(Stored::clone(stored));
            } else {
                told.bytes += file.bytes();
                missing.push((name, file));
            }
        }
        for (name, file) in missing {
            bytes_new += file.bytes();
            files.push(self.copy(name, &file, &mut told, progress)?);
        }
        let time = store.environment.clock().wall().as_secs();
        let catalog = &moment.catalog;
        self.publish(found, Contents { store: store.id, time, catalog, files, bytes_new })
    }

    /// Writes catalog and set, and gives the set its name.
    fn publish(&mut self, found: &Found, contents: Contents<'_>) -> Result<BackupInfo> {
        let (vfs, dir) = (self.vfs(), self.backups.dir.clone());
        let Contents { store, time, catalog, mut files, bytes_new } = contents;
        let number = found.sets.keys().next_back().map_or(1, |last| last + 1);
        let edit = encoded(catalog);
        let name = catalog_name(number);
        self.create(&name, |path| write_small(vfs.as_ref(), path, &edit))?;
        let (bytes, hash) = (edit.len() as u64, xxh3_64(&edit));
        files.insert(0, Stored { name, bytes, hash });
        let info = BackupInfo {
            number,
            store,
            seqno: catalog.next_seqno - 1,
            time,
            keyspaces: catalog.keyspaces.len() as u64,
            tables: catalog.tables().count() as u64,
            entries: catalog.tables().map(|(_, _, table)| table.entries).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            bytes_new: bytes_new + bytes,
        };
        let text = Set { info, files }.encode();
        let next = format!("{}.next", set_name(number));
        self.create(&next, |path| write_small(vfs.as_ref(), path, text.as_bytes()))?;
        vfs.sync_dir(&dir).map_err(Error::io("sync", &dir))?;
        let next = dir.join(next);
        vfs.rename(&next, &dir.join(set_name(number))).map_err(Error::io("rename", &next))?;
        // Whether its name lasts is not known before the sync; what it names must last anyhow.
        self.kept = true;
        vfs.sync_dir(&dir).map_err(Error::io("sync", &dir))?;
        Ok(info)
    }

    fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::clone(self.backups.environment.vfs())
    }

    /// Makes the file `name`.
    fn create<T>(&mut self, name: &str, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let path = self.backups.dir.join(name);
        self.created.push(path.clone());
        make(&path)
    }

    /// Writes what memtables hold as tables of the backup. Returns the bytes.
    fn take_memtables(
        &mut self,
        store: &Store,
        moment: &mut Moment,
        files: &mut Vec<Stored>,
    ) -> Result<u64> {
        let dir = self.backups.dir.clone();
        let vfs = self.vfs();
        let budget = store.environment.budget();
        let mut bytes = 0;
        let written = moment.write_memtables(store, &Bounds::all(), false, &dir)?;
        for info in written {
            let path = dir.join(table_name(info.id));
            let file = vfs.open(&path, Open::Read).map_err(Error::io("open", &path))?;
            let from = Whole { file: &file, path: &path, bytes: info.bytes, budget };
            let hash = from.pieces(&mut |_, _| Ok(()))?;
            let name = stored_table(store.id, &info);
            self.create(&name, |target| {
                vfs.rename(&path, target).map_err(Error::io("rename", &path))
            })?;
            files.push(Stored { name, bytes: info.bytes, hash });
            bytes += info.bytes;
        }
        Ok(bytes)
    }

    /// Copies a file of the store under the name it is stored by.
    fn copy(
        &mut self,
        name: String,
        file: &Original,
        told: &mut Progress,
        progress: OnProgress<'_>,
    ) -> Result<Stored> {
        let vfs = self.vfs();
        let (open, bytes) = (file.open()?, file.bytes());
        let budget = self.backups.environment.budget();
        let from = Whole { file: &open, path: file.path(), bytes, budget };
        let next = format!("{name}.next");
        let hash = self.create(&next, |path| {
            from.copy_to(vfs.as_ref(), path, &mut |bytes| {
                told.bytes_done += bytes;
                progress(*told);
            })
        })?;
        let next = self.backups.dir.join(next);
        // Over a file of this name that was cut or lost its end, if there is one.
        self.create(&name, |path| vfs.rename(&next, path).map_err(Error::io("rename", &next)))?;
        Ok(Stored { name, bytes, hash })
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let vfs = self.vfs();
        let unfinished = vfs.list(&self.backups.dir).unwrap_or_default().into_iter();
        let unfinished = unfinished.map(|entry| entry.name).filter(|name| {
            name.to_str().is_some_and(|name| Name::parse(name) == Some(Name::Unfinished))
        });
        self.created.extend(unfinished.map(|name| self.backups.dir.join(name)));
        for path in &self.created {
            // What cannot be removed now, or is not there, is swept by the next backup.
            vfs.remove_file(path).ok();
        }
    }
}

/// A catalog as the edit that makes it of nothing.
pub(super) fn encoded(catalog: &Catalog) -> Vec<u8> {
    Edit { number: catalog.edit, changes: catalog.changes() }.encode()
}

/// Reads a small file whole.
fn read_small(environment: &Environment, path: &Path) -> Result<Vec<u8>> {
    let vfs = environment.vfs();
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let bytes = file.len().map_err(Error::io("measure", path))?;
    if SMALL_BYTES_MAX < bytes {
        let what = format!("it is {bytes} bytes long, at most {SMALL_BYTES_MAX}");
        return Err(Error::corrupt(path, 0, what));
    }
    let mut read = Vec::with_capacity(bytes as usize);
    Whole { file: &file, path, bytes, budget: environment.budget() }.pieces(&mut |piece, _| {
        read.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(read)
}
