//! Proves that a store is what it should be: every table, block and reference, and the log.
//!
//! It must survive whatever lies in the directory; whatever is wrong becomes a finding, and the rest
//! is checked all the same.
//!
//! ```text
//! CURRENT ─▶ manifest ─▶ tables it names: length, footer, every block, order across levels ─▶ log
//!                    ─▶ files that nobody names
//! ```
//!
//! 1. Nothing is changed, but for the lock file. Where that cannot be written, the check goes on.
//! 2. A store that is checked without a finding of damage opens, and every read of it is right, as far
//!    as checksums tell.
//! 3. Memory: for each run of tables an index, a filter, a block and a window of the file.
//! 4. What a crash leaves behind, and opening clears away, is noted and is no damage.

mod report;
mod walk;

pub use report::{CheckReport, Finding, Severity};

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use olivine_vfs::{EntryKind, Guard, Lock, Vfs};

use crate::{
    batch::Operations,
    db::Db,
    environment::Environment,
    error::{Error, Result},
    ingest::naming_edit,
    key::Kind,
    log::{self, LogDir, Name, Proof, Record},
    manifest::{self, CURRENT, CURRENT_NEXT, Catalog, Current, manifest_name},
    pointer::Pointer,
    store::{Store, table_name},
    table::{Examiner, TableInfo},
    values::{self, ValuesExaminer, ValuesInfo, values_name},
    version::LEVELS,
};
use walk::{Walk, runs_of, walk};

/// What a store is locked by.
pub(crate) const LOCK: &str = "LOCK";
/// Folders that repair puts things aside in begin like this.
pub(crate) const ASIDE: &str = "damaged-";

const SALVAGE: &str =
    "restore the store from a copy, or salvage the rest of it with `olivine repair`";
const LEFT: &str = "nothing; the next opening removes it";

/// Tells how many bytes of how many were checked.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Checks the store in the directory `path`, which nobody has open. `progress` is told how many bytes
/// of how many are done. An error is one of the way there: no store, no permission, somebody else has
/// it open; what is wrong with the store itself is in the report.
pub fn check(
    environment: &Environment,
    path: impl AsRef<Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CheckReport> {
    let (vfs, dir) = (environment.vfs(), path.as_ref());
    let sizes = survey(vfs.as_ref(), dir)?;
    let mut checking = Checking::new(vfs, dir, progress);
    checking.report.bytes = sizes.values().filter_map(|size| *size).sum();
    let _guard = checking.lock()?;
    checking.store(&sizes)?;
    Ok(checking.report)
}

/// Checks a store whose lock the caller has.
pub(crate) fn examine(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    sizes: &BTreeMap<String, Option<u64>>,
    progress: Progress<'_>,
) -> Result<CheckReport> {
    let mut checking = Checking::new(vfs, dir, progress);
    checking.store(sizes)?;
    Ok(checking.report)
}

/// Whether a table reads whole, and is what the manifest says.
pub(crate) fn is_sound_table(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    store: u64,
    level: usize,
    info: &TableInfo,
    values: &Rc<ValuesExaminer>,
) -> bool {
    let mut report = CheckReport::default();
    let walks = vec![Walk::new(vfs, dir, store, level, vec![info.clone()], values)];
    walk(walks, &mut report, &mut |_| {});
    report.is_sound()
}

/// Bytes that are read to check a table, and the values that it points to.
fn work_of(table: &TableInfo) -> u64 {
    table.bytes + table.values.bytes()
}

impl Db {
    /// Checks every table of the store while it serves, and that the manifest on disk says what the
    /// store believes. The log is being written and is not looked at.
    pub fn check(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport> {
        self.store().check(progress)
    }
}

impl Store {
    fn check(&self, progress: Progress<'_>) -> Result<CheckReport> {
        self.latch.check()?;
        let vfs = self.environment.vfs();
        let mut checking = Checking::new(vfs, &self.dir, progress);
        {
            let manifest = self.lock_manifest();
            let current = Current { store: self.id, manifest: manifest.number() };
            match manifest::read(vfs.as_ref(), &self.dir, current) {
                Err(error) => checking.report.damage(&self.dir, &error, SALVAGE),
                Ok(read) if read.catalog != manifest.catalog => {
                    let path = self.dir.join(manifest_name(current.manifest));
                    let what = "it does not say what the open store believes";
                    let error = Error::corrupt(path, 0, what);
                    checking.report.damage(&self.dir, &error, SALVAGE);
                }
                Ok(_) => {}
            }
        }
        // A version keeps its tables' files.
        let versions: Vec<_> =
            self.trees().iter().map(|tree| Arc::clone(&tree.state().version)).collect();
        let tables = versions.iter().flat_map(|version| version.tables());
        checking.total = tables.map(|file| work_of(&file.info)).sum();
        checking.report.keyspaces = versions.len() as u64;
        for version in &versions {
            let levels = version
                .levels
                .each_ref()
                .map(|level| level.tables().iter().map(|file| file.info.clone()).collect());
            let values: Vec<_> = version.values.values().map(|file| file.info.clone()).collect();
            checking.keyspace(self.id, levels, &values);
        }
        Ok(checking.report)
    }
}

/// Everything in the directory by name, with the lengths of files; an error if it is no store.
pub(crate) fn survey(vfs: &dyn Vfs, dir: &Path) -> Result<BTreeMap<String, Option<u64>>> {
    let unusable = |what: &str| Error::Unusable { path: dir.into(), what: what.into() };
    match vfs.entry(dir).map_err(Error::io("look at", dir))? {
        None => return Err(unusable("there is nothing there; name the directory of a store")),
        // A link is followed by whoever lists it.
        Some(entry) if entry.kind == EntryKind::File => {
            return Err(unusable("it is a file; name the directory of a store"));
        }
        Some(_) => {}
    }
    let entries = vfs.list(dir).map_err(Error::io("list", dir))?;
    let names = entries.into_iter().map(|entry| {
        let bytes = (entry.kind == EntryKind::File).then_some(entry.bytes);
        (entry.name.to_string_lossy().into_owned(), bytes)
    });
    let sizes: BTreeMap<_, _> = names.collect();
    let ours = |name: &String| {
        let numbered = |prefix| numbered(name, prefix).is_some();
        name == CURRENT || numbered("manifest-") || numbered("values-") || is_table_or_log(name)
    };
    if !sizes.keys().any(ours) {
        return Err(unusable("it holds no store; name the directory of one"));
    }
    Ok(sizes)
}

pub(crate) fn is_table_or_log(name: &str) -> bool {
    numbered(name, "table-").is_some() || Name::parse(OsStr::new(name)).is_some()
}

/// The number behind `prefix`, when that is all there is.
pub(crate) fn numbered(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A check under way.
struct Checking<'a> {
    vfs: &'a Arc<dyn Vfs>,
    dir: &'a Path,
    report: CheckReport,
    progress: Progress<'a>,
    done: u64,
    total: u64,
}

impl<'a> Checking<'a> {
    fn new(vfs: &'a Arc<dyn Vfs>, dir: &'a Path, progress: Progress<'a>) -> Checking<'a> {
        Checking { vfs, dir, report: CheckReport::default(), progress, done: 0, total: 0 }
    }

    /// Takes the lock, so that nobody opens the store meanwhile.
    fn lock(&mut self) -> Result<Option<Box<dyn Guard>>> {
        let path = self.dir.join(LOCK);
        match self.vfs.lock(&path) {
            Ok(Lock::Held(guard)) => Ok(Some(guard)),
            Ok(Lock::Busy { holder }) => Err(Error::Locked { path, holder }),
            Err(error) => {
                let what =
                    format!("the lock cannot be taken ({error}), so the check goes on without it");
                self.report.note(path, None, what, "be sure that nobody has the store open");
                Ok(None)
            }
        }
    }

    fn store(&mut self, sizes: &BTreeMap<String, Option<u64>>) -> Result<()> {
        let current = match manifest::read_current(self.vfs.as_ref(), self.dir) {
            Err(error @ Error::Format { .. }) => return Err(error),
            outcome => outcome,
        };
        let read = current.clone().and_then(|current| {
            let read = manifest::read(self.vfs.as_ref(), self.dir, current)?;
            Ok((current, read))
        });
        let (current, read) = match read {
            Ok(read) => read,
            Err(error) => {
                self.report.damage(self.dir, &error, SALVAGE);
                let store = current.ok().map(|current| current.store);
                self.tables_alone(store, sizes);
                return Ok(());
            }
        };
        self.report.store = Some(current.store);
        if let Some(at) = read.cut {
            let path = self.dir.join(manifest_name(current.manifest));
            let what = "an edit was never finished, as after a crash".to_owned();
            self.report.note(path, Some(at), what, "nothing; the next opening cuts it off");
        }
        let catalog = read.catalog;
        self.report.keyspaces = catalog.keyspaces.len() as u64;
        self.total = catalog.tables().map(|(.., table)| work_of(table)).sum();
        let log = log_bytes(sizes, catalog.log_start);
        self.total += log;
        for record in catalog.keyspaces.values() {
            let mut levels: [Vec<TableInfo>; LEVELS] = Default::default();
            for (level, table) in record.tables.values() {
                if self.is_there(table, sizes) {
                    levels[usize::from(*level)].push(table.clone());
                }
            }
            let values: Vec<ValuesInfo> = record.values.values().cloned().collect();
            for info in &values {
                let name = values_name(info.file);
                self.has_length(&name, "value file", info.bytes, sizes);
            }
            self.keyspace(current.store, levels, &values);
        }
        self.log(&catalog, current);
        self.done += log;
        self.tick();
        self.orphans(&catalog, current, sizes);
        Ok(())
    }

    fn tick(&mut self) {
        (self.progress)(self.done, self.total);
    }

    /// Whether the file of a table that the manifest names is there to be looked at.
    fn is_there(&mut self, table: &TableInfo, sizes: &BTreeMap<String, Option<u64>>) -> bool {
        let name = table_name(table.id);
        self.has_length(&name, "table", table.bytes, sizes);
        // One of another length is looked at nevertheless: it may be readable in part.
        matches!(sizes.get(&name), Some(Some(_)))
    }

    /// Tells when a file that the manifest names is not there, or not as long as it must be.
    fn has_length(
        &mut self,
        name: &str,
        what: &str,
        expected: u64,
        sizes: &BTreeMap<String, Option<u64>>,
    ) {
        let path = self.dir.join(name);
        let wrong = match sizes.get(name) {
            Some(Some(bytes)) if *bytes == expected => return,
            Some(Some(bytes)) => {
                let what = format!("the {what} is {bytes} bytes long and should be {expected}");
                Error::corrupt(path, expected.min(*bytes), what)
            }
            Some(None) => {
                Error::corrupt(path, 0, format!("there is no file where the {what} should be"))
            }
            None => Error::corrupt(path, 0, format!("the {what} is missing")),
        };
        self.report.damage(self.dir, &wrong, SALVAGE);
    }

    /// Checks the tables of one keyspace, each and against each other.
    fn keyspace(&mut self, store: u64, levels: [Vec<TableInfo>; LEVELS], values: &[ValuesInfo]) {
        let values = Rc::new(ValuesExaminer::new(self.vfs, self.dir, store, values));
        let mut walks = Vec::new();
        for (level, tables) in levels.into_iter().enumerate() {
            let runs = runs_of(level, tables);
            if 0 < level && 1 < runs.len() {
                let what = format!("tables of level {level} overlap");
                let path = self.dir.join(table_name(runs[1][0].id));
                self.report.damage(self.dir, &Error::corrupt(path, 0, what), SALVAGE);
            }
            for run in runs {
                walks.push(Walk::new(self.vfs, self.dir, store, level, run, &values));
            }
        }
        let (progress, total) = (&mut self.progress, self.total);
        let done = &mut self.done;
        walk(walks, &mut self.report, &mut |bytes| {
            *done += bytes;
            progress(*done, total);
        });
    }

    /// Checks tables of which no manifest says what they must be.
    fn tables_alone(&mut self, store: Option<u64>, sizes: &BTreeMap<String, Option<u64>>) {
        let tables = sizes.iter().filter_map(|(name, bytes)| {
            Some((numbered(name, "table-")?, self.dir.join(name), (*bytes)?))
        });
        let tables: Vec<(u64, PathBuf, u64)> = tables.collect();
        self.total = tables.iter().map(|(.., bytes)| bytes).sum();
        for (table, path, bytes) in tables {
            let found = crate::table::identity(self.vfs.as_ref(), &path).ok().flatten();
            let store = store.or(found.map(|(store, ..)| store)).unwrap_or(0);
            let info = Examiner::open(self.vfs.as_ref(), &path, store, table)
                .and_then(|mut examiner| examiner.describe(table));
            match info {
                Ok(info) => {
                    let mut levels: [Vec<TableInfo>; LEVELS] = Default::default();
                    levels[0].push(info);
                    let values: Vec<ValuesInfo> = sizes
                        .keys()
                        .filter_map(|name| Some((name, numbered(name, "values-")?)))
                        .filter_map(|(name, number)| {
                            let path = self.dir.join(name);
                            values::describe(self.vfs.as_ref(), &path, store, number).ok()
                        })
                        .collect();
                    self.keyspace(store, levels, &values);
                }
                Err(error) => {
                    self.report.damage(self.dir, &error, SALVAGE);
                    self.done += bytes;
                    self.tick();
                }
            }
        }
    }

    /// Reads the log as opening would, without keeping anything of it.
    fn log(&mut self, catalog: &Catalog, current: Current) {
        if catalog.log_start == 0 {
            return;
        }
        let home = LogDir {
            vfs: Arc::clone(self.vfs),
            path: self.dir.to_path_buf(),
            store: current.store,
        };
        let proof = Proof { oldest: catalog.log_start, durable: catalog.log_durable };
        let mut records = 0;
        let recovered = log::recover(&home, proof, &mut |record| {
            records += 1;
            check_record(&home, catalog, record)
        });
        self.report.log_records = records;
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(error) => return self.report.damage(self.dir, &error, SALVAGE),
        };
        self.report.log_segments = recovered.segments.len() as u64;
        if let Some(cut) = recovered.cut {
            let what = format!(
                "{}, as after a crash; {} bytes behind it are not of the log",
                cut.why, cut.bytes_dropped
            );
            self.report.note(
                cut.path,
                Some(cut.offset),
                what,
                "nothing; the next opening cuts it off",
            );
        }
        if catalog.edit < recovered.manifest_edit {
            let path = self.dir.join(manifest_name(current.manifest));
            let what = format!(
                "it ends with edit {}, and the log knows edit {} to have been durable",
                catalog.edit, recovered.manifest_edit
            );
            self.report.damage(self.dir, &Error::corrupt(path, 0, what), SALVAGE);
        }
        let flushed = catalog.keyspaces.values().map(|record| record.flushed).max().unwrap_or(0);
        let next = recovered.next_seq.unwrap_or(catalog.next_seqno);
        if next <= flushed || next < catalog.next_seqno {
            let path = home.segment_path(recovered.end.segment());
            let what = format!("the log ends before write {flushed}, which a table holds");
            let error = Error::corrupt(path, recovered.end.offset().into(), what);
            self.report.damage(self.dir, &error, SALVAGE);
        }
    }

    /// Notes what is there and nobody names.
    fn orphans(
        &mut self,
        catalog: &Catalog,
        current: Current,
        sizes: &BTreeMap<String, Option<u64>>,
    ) {
        let tables: Vec<u64> = catalog.tables().map(|(.., table)| table.id).collect();
        for (name, bytes) in sizes {
            let path = self.dir.join(name);
            let size = bytes.unwrap_or(0);
            if name.starts_with(ASIDE) && bytes.is_none() {
                let what = "an earlier repair put files aside here".to_owned();
                self.report.note(
                    path,
                    None,
                    what,
                    "remove it when nothing of it is needed any more",
                );
            } else if let Some(number) = numbered(name, "table-") {
                if !tables.contains(&number) {
                    let what = format!("no manifest names this table of {size} bytes");
                    self.report.orphan(path, what, LEFT);
                }
            } else if let Some(number) = numbered(name, "values-") {
                if catalog.values().all(|values| values.file != number) {
                    let what = format!("no manifest names this value file of {size} bytes");
                    self.report.orphan(path, what, LEFT);
                }
            } else if let Some(number) = numbered(name, "manifest-") {
                if number != current.manifest {
                    self.report.orphan(path, "CURRENT names another manifest".into(), LEFT);
                }
            } else if name == CURRENT_NEXT {
                self.report.orphan(path, "a manifest was not made current any more".into(), LEFT);
            } else if name != LOCK && name != CURRENT && !is_table_or_log(name) {
                let what = "it is no file of a store".to_owned();
                self.report.orphan(
                    path,
                    what,
                    "move it elsewhere; a store's directory belongs to it alone",
                );
            }
        }
    }
}

/// Bytes of the log's segments from `oldest` on.
fn log_bytes(sizes: &BTreeMap<String, Option<u64>>, oldest: u64) -> u64 {
    let needed = |(name, bytes): (&String, &Option<u64>)| match Name::parse(OsStr::new(name)) {
        Some(Name::Segment(number)) if oldest <= number => *bytes,
        _ => None,
    };
    sizes.iter().filter_map(needed).sum()
}

/// Refuses a record that opening would refuse.
pub(crate) fn check_record(home: &LogDir, catalog: &Catalog, record: Record<'_>) -> Result<()> {
    let corrupt = |what: &str| {
        let path = home.segment_path(record.start.segment());
        Error::corrupt(path, u64::from(record.start.offset()), what)
    };
    if naming_edit(record.payload).is_some() {
        return Ok(());
    }
    let mut count = 0;
    for operation in Operations::new(record.payload) {
        let operation = operation.map_err(|()| corrupt("a batch does not decode"))?;
        count += 1;
        let known = catalog.keyspaces.get(&operation.keyspace);
        if operation.kind == Kind::Position || known.is_some_and(|known| known.options.unlogged) {
            return Err(corrupt("a batch holds what is never logged"));
        }
        if catalog.next_keyspace <= operation.keyspace {
            return Err(corrupt("a batch writes to a keyspace that was never made"));
        }
        if operation.kind == Kind::Pointer
            && let Some(known) = catalog.keyspaces.get(&operation.keyspace)
            && known.flushed < record.first_seq + count - 1
            && Pointer::decode(operation.value)
                .is_none_or(|pointer| !known.values.contains_key(&pointer.file))
        {
            return Err(corrupt("a batch points into a value file that is not there"));
        }
    }
    // Without operations it says that its numbers were taken by what is not logged.
    if count != u64::from(record.count) && !record.payload.is_empty() {
        return Err(corrupt("a batch holds another number of operations than it says"));
    }
    Ok(())
}
