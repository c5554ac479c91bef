//! Makes a store of what is still readable of a damaged one. Never by itself.
//!
//! ```text
//! what is wrong (check) ─▶ manifest, or what its frames and the tables say ─▶ tables: sound ones stay,
//! the readable rest of others is written anew ─▶ log: as it is, or its whole records into tables
//!   ─▶ damaged files move aside ─▶ new manifest ─▶ CURRENT
//! ```
//!
//! It must survive a power cut at any call: until CURRENT is replaced, what was there is there, in
//! place or in the folder aside, and the next repair puts it back before it begins.
//!
//! 1. A sound store is left as it is. A dry run changes nothing.
//! 2. No file is removed: what is not used any more is moved into `damaged-…`.
//! 3. Every key that may not read as it was written lies in a range that the report names.
//! 4. The repaired store passes check, and opens.

mod aside;
mod maker;
mod readable;
mod rebuild;
mod records;
mod replayed;
mod report;
mod sources;

pub use report::{Loss, RepairReport};

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use olivine_vfs::{Guard, Lock, Vfs};

use crate::{
    check::{LOCK, examine, is_sound_table, numbered, survey},
    environment::Environment,
    error::{Error, Result},
    key::SeqNo,
    log::{self, LogDir, Name, Proof},
    manifest::{Catalog, KeyspaceRecord, Manifest, manifest_name},
    ranges::RangeDeletes,
    store::table_name,
    table::{TableInfo, TableOrigin},
    values::{ValuesExaminer, values_name},
};
use aside::Aside;
use maker::Maker;
use readable::Readable;
use records::{Expected, salvage_records};
use replayed::Replayed;
use sources::Sources;

/// Repairs the store in the directory `path`, which nobody has open: what is readable stays, what is not
/// is moved aside, and the report says which keys may not read as they should any more. A store that is
/// sound is left as it is; with `dry_run` every store is, and the report says what would be done.
/// `progress` is told how many bytes of how many were looked at.
pub fn repair(
    environment: &Environment,
    path: impl AsRef<Path>,
    dry_run: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RepairReport> {
    let (vfs, dir) = (environment.vfs(), path.as_ref());
    survey(vfs.as_ref(), dir)?;
    let _guard = lock(vfs.as_ref(), dir)?;
    let mut report = RepairReport::default();
    if let Some(aside) = Aside::unfinished(vfs, dir)? {
        report.needed = true;
        report.steps.push(format!(
            "put back what a repair that was cut short had moved to {}",
            aside.dir().display()
        ));
        if dry_run {
            report.steps.push("look again what is wrong then".to_owned());
            return Ok(report);
        }
        aside.put_back()?;
    }
    let sizes = survey(vfs.as_ref(), dir)?;
    let check = examine(vfs, dir, &sizes, progress)?;
    if check.is_sound() {
        report.done = report.needed;
        return Ok(report);
    }
    report.needed = true;
    let sources = Sources::read(vfs, dir, &sizes)?;
    let next_table = sources.next_table();
    let maker = Maker::new(vfs, dir.to_path_buf(), sources.store, next_table, dry_run);
    let repair = Repair {
        vfs: Arc::clone(vfs),
        dir: dir.to_path_buf(),
        maker,
        report,
        moves: BTreeSet::new(),
        sources,
        settled: BTreeMap::new(),
    };
    repair.run(environment, dry_run)
}

fn lock(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn Guard>> {
    let path = dir.join(LOCK);
    match vfs.lock(&path).map_err(Error::io("lock", &path))? {
        Lock::Held(guard) => Ok(guard),
        Lock::Busy { holder } => Err(Error::Locked { path, holder }),
    }
}

/// Whether older versions of keys between two bounds may stand elsewhere.
type Older<'a> = &'a dyn Fn(Option<&[u8]>, Option<&[u8]>) -> bool;

/// A repair under way.
struct Repair {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    maker: Maker,
    report: RepairReport,
    /// Names of the files that move aside.
    moves: BTreeSet<String>,
    sources: Sources,
    /// By keyspace, ranges of keys of which tables, not the log, tell everything up to a write.
    settled: BTreeMap<u32, RangeDeletes>,
}

impl Repair {
    fn run(mut self, environment: &Environment, dry_run: bool) -> Result<RepairReport> {
        let mut catalog = match self.sources.known.take() {
            Some(catalog) => {
                self.report.steps.push("keep what the manifest says".to_owned());
                self.keep_tables(catalog)?
            }
            None => self.rebuild_tables()?,
        };
        self.salvage_log(&mut catalog)?;
        self.keep_values(&mut catalog);
        catalog.edit = catalog.edit.max(self.sources.edit) + 1;
        catalog.next_table = catalog.next_table.max(self.maker.next_table);
        self.report.tables_made = self.maker.tables;
        self.report.entries_salvaged = self.maker.entries;
        self.moves.extend(self.sources.manifests.iter().map(|number| manifest_name(*number)));
        if self.sources.current_is_damaged {
            self.moves.insert(crate::manifest::CURRENT.to_owned());
        }
        let seconds = environment.clock().wall().as_secs();
        let aside = Aside::planned(&self.vfs, &self.dir, seconds)?;
        let moved = self.moves.iter().map(|name| aside.dir().join(name)).collect();
        if !self.moves.is_empty() {
            let step = format!("move {} files to {}", self.moves.len(), aside.dir().display());
            self.report.steps.push(step);
            self.report.aside = Some(aside.dir().to_path_buf());
            self.report.moved = moved;
        }
        self.report.steps.push("write a new manifest, and name it in CURRENT".to_owned());
        if dry_run {
            return Ok(self.report);
        }
        let number = self.sources.manifests.iter().max().map_or(1, |number| number + 1);
        self.maker.sync_names()?;
        aside.take(&self.moves, number)?;
        Manifest::create(&self.vfs, &self.dir, self.sources.store, number, catalog)?;
        aside.finish()?;
        self.report.done = true;
        Ok(self.report)
    }

    /// Goes through the tables that the manifest names: sound ones stay, of others the readable rest.
    fn keep_tables(&mut self, mut catalog: Catalog) -> Result<Catalog> {
        for (keyspace, record) in &mut catalog.keyspaces {
            record.values.retain(|file, info| {
                let entry = self.vfs.entry(&self.dir.join(values_name(*file)));
                entry.ok().flatten().is_some_and(|entry| entry.bytes == info.bytes)
            });
            let values = Rc::new(self.examiner_of(record));
            let tables = std::mem::take(&mut record.tables);
            let all: Vec<(u8, TableInfo)> = tables.values().cloned().collect();
            for (id, (level, info)) in tables {
                let path = self.dir.join(table_name(id));
                if is_sound_table(
                    &self.vfs,
                    &self.dir,
                    self.sources.store,
                    usize::from(level),
                    &info,
                    &values,
                ) {
                    self.report.tables_kept += 1;
                    record.tables.insert(id, (level, info));
                    continue;
                }
                let older = |from: Option<&[u8]>, to: Option<&[u8]>| {
                    all.iter().any(|(other, table)| {
                        let below = level < *other || level == 0 && *other == 0;
                        let apart = to.is_some_and(|to| to < table.first_key.as_slice())
                            || from.is_some_and(|from| table.last_key.as_slice() < from);
                        below && table.id != id && !apart
                    })
                };
                let origin = TableOrigin {
                    keyspace: *keyspace,
                    name: record.name.clone(),
                    level,
                    flushed: record.flushed,
                    options: record.options.clone(),
                    inputs: vec![id],
                };
                for table in self.salvage_table(&path, &info, origin, &values, &older)? {
                    record.tables.insert(table.id, (level, table));
                }
            }
        }
        Ok(catalog)
    }

    /// What reads the values that stand apart of a keyspace.
    fn examiner_of(&self, record: &KeyspaceRecord) -> ValuesExaminer {
        ValuesExaminer::new(&self.vfs, &self.dir, self.sources.store, record.values.values())
    }

    /// Forgets value files that no table points into any more, and moves them aside.
    fn keep_values(&mut self, catalog: &mut Catalog) {
        if self.maker.is_dry_run() {
            // The tables that would tell are not there.
            return;
        }
        let mut kept = BTreeSet::new();
        for record in catalog.keyspaces.values_mut() {
            let tables: Vec<&TableInfo> = record.tables.values().map(|(_, table)| table).collect();
            // With a log that is kept, its records may point there too.
            record.values.retain(|file, _| {
                catalog.log_start != 0
                    || tables.iter().any(|table| table.values.names(|f| f == *file))
            });
            kept.extend(record.values.keys().copied());
        }
        let gone = self.sources.values.iter().filter(|file| !kept.contains(file));
        self.moves.extend(gone.map(|file| values_name(*file)));
    }

    /// Writes the readable rest of a table anew.
    fn salvage_table(
        &mut self,
        path: &Path,
        info: &TableInfo,
        origin: TableOrigin,
        values: &ValuesExaminer,
        older: Older<'_>,
    ) -> Result<Vec<TableInfo>> {
        let name = Some(origin.name.clone());
        let lose = |report: &mut RepairReport,
                    from: Option<Vec<u8>>,
                    to: Option<Vec<u8>>,
                    why: String| {
            let may_be_stale = older(from.as_deref(), to.as_deref());
            let path = path.to_path_buf();
            report.losses.push(Loss { keyspace: name.clone(), from, to, may_be_stale, path, why });
        };
        let (first, last) = (Some(info.first_key.clone()), Some(info.last_key.clone()));
        if self.vfs.entry(path).map_err(Error::io("look at", path))?.is_none() {
            self.report.steps.push(format!("do without {}, which is missing", path.display()));
            lose(&mut self.report, first, last, "the table is missing".to_owned());
            return Ok(Vec::new());
        }
        self.moves.insert(table_name(info.id));
        let opened =
            Readable::open(self.vfs.as_ref(), path, self.sources.store, info.id, Some(info));
        let mut table = match opened {
            Ok(table) => table,
            Err(error) => {
                lose(&mut self.report, first, last, error.to_string());
                return Ok(Vec::new());
            }
        };
        let mut run = Maker::begin(origin, RangeDeletes::default(), false);
        let mut entries = 0_u64;
        while table.advance_with(values) {
            if info.is_cut() && !info.spans(&table.key) {
                continue;
            }
            entries += 1;
            self.maker.add(&mut run, &table.key, table.stamp, table.value())?;
        }
        // Where nothing told where it is, the list was found while the table was searched.
        run.set_ranges(table.range_deletes());
        let listed = table.layout.range_deletes.count();
        let made = self.maker.end(run)?;
        for gap in table.take_gaps() {
            let from = gap.from.or_else(|| first.clone());
            let to = gap.to.or_else(|| last.clone());
            lose(&mut self.report, from, to, gap.why);
        }
        if listed != info.range_deletes {
            let why = "the list of ranges that it deletes cannot be read".to_owned();
            lose(&mut self.report, first, last, why);
        }
        let why = table.damages.first().map(|error| format!(": {error}")).unwrap_or_default();
        let step = format!("write {entries} readable entries of {} anew{why}", path.display());
        self.report.steps.push(step);
        Ok(made)
    }

    /// Keeps the log when it is sound, and puts the whole records of a damaged one into tables.
    fn salvage_log(&mut self, catalog: &mut Catalog) -> Result<()> {
        let home = LogDir {
            vfs: Arc::clone(&self.vfs),
            path: self.dir.clone(),
            store: self.sources.store,
        };
        let rebuilt = self.sources.is_rebuilt;
        if !rebuilt && catalog.log_start == 0 {
            // A store that begins its log anew; segments there are of no use to it.
            self.move_log();
            return Ok(());
        }
        if !rebuilt && log_is_sound(&home, catalog) {
            return Ok(());
        }
        let segments: Vec<u64> =
            self.sources.segments.iter().copied().filter(|n| catalog.log_start <= *n).collect();
        let flushed = catalog.keyspaces.values().map(|record| record.flushed);
        let (least, most) = (flushed.clone().min(), flushed.max().unwrap_or(0));
        // With its first segment the log begins where the manifest needs it; else no one knows.
        let begins = !rebuilt && segments.first() == Some(&catalog.log_start);
        let seqno = if rebuilt { most + 1 } else { least.unwrap_or(0) + 1 };
        let expected = Expected { seqno, begins };
        let mut replayed = Replayed::default();
        if !rebuilt {
            let gone = |id: &u32| !catalog.keyspaces.contains_key(id);
            replayed.dropped = (0..catalog.next_keyspace).filter(gone).collect();
        }
        replayed.dropped.extend(&self.sources.dropped);
        replayed.settled = std::mem::take(&mut self.settled);
        let maker = &mut self.maker;
        let proven = catalog.log_durable;
        let (vfs, dir, store) = (&self.vfs, &self.dir, self.sources.store);
        let salvaged =
            salvage_records(&home, &segments, expected, proven, &mut |first, payload| {
                replayed.take(catalog, maker, first, payload, &|record, value| {
                    let values = ValuesExaminer::new(vfs, dir, store, record.values.values());
                    values.verify(value).map(drop)
                })
            })?;
        replayed.flush(catalog, maker)?;
        self.report.records_salvaged = salvaged.records;
        self.report.steps.push(format!("put {} records of the log into tables", salvaged.records));
        for (first, last, segment) in salvaged.missing {
            let why = format!("writes {first} to {last} of the log cannot be read");
            self.lose_writes(home.segment_path(segment), why);
        }
        if let Some(segment) = salvaged.cut_in {
            let why = "the end of the log cannot be read, and what stood there was durable";
            self.lose_writes(home.segment_path(segment), why.to_owned());
        }
        for (keyspace, key, why) in std::mem::take(&mut replayed.unread) {
            let (from, to, path) = (Some(key.clone()), Some(key), self.dir.clone());
            let keyspace = Some(keyspace);
            self.report.losses.push(Loss { keyspace, from, to, may_be_stale: true, path, why });
        }
        if replayed.senseless != 0 {
            let why = format!("{} records of the log make no sense", replayed.senseless);
            self.lose_writes(self.dir.clone(), why);
        }
        for keyspace in &replayed.unnamed {
            self.report.steps.push(format!(
                "name keyspace {keyspace}, of which only the log tells, recovered-{keyspace}"
            ));
        }
        self.move_log();
        begin_log_anew(catalog, salvaged.next_seqno.max(most + 1));
        Ok(())
    }

    /// Moves all segments aside, so that no number of theirs is found in a new one.
    fn move_log(&mut self) {
        let all = self.sources.names.iter();
        self.moves.extend(all.filter(|name| Name::parse(OsStr::new(name)).is_some()).cloned());
    }

    fn lose_writes(&mut self, path: PathBuf, why: String) {
        let (from, to) = (None, None);
        self.report.losses.push(Loss { keyspace: None, from, to, may_be_stale: true, path, why });
    }
}

/// Everything there is stands in tables; the next write gets at least this number.
fn begin_log_anew(catalog: &mut Catalog, next_seqno: SeqNo) {
    let in_tables = catalog.tables().map(|(.., table)| table.seqno_max).max().unwrap_or(0);
    catalog.next_seqno = catalog.next_seqno.max(next_seqno).max(in_tables + 1);
    catalog.log_start = 0;
    catalog.log_durable = None;
    for record in catalog.keyspaces.values_mut() {
        record.flushed = catalog.next_seqno - 1;
    }
}

/// Whether opening would take the log as it is.
fn log_is_sound(home: &LogDir, catalog: &Catalog) -> bool {
    let proof = Proof { oldest: catalog.log_start, durable: catalog.log_durable };
    let recovered =
        log::recover(home, proof, &mut |record| crate::check::check_record(home, catalog, record));
    let flushed = catalog.keyspaces.values().map(|record| record.flushed).max().unwrap_or(0);
    recovered.is_ok_and(|recovered| {
        let next = recovered.next_seq.unwrap_or(catalog.next_seqno);
        recovered.manifest_edit <= catalog.edit && flushed < next && catalog.next_seqno <= next
    })
}

/// Numbers of the files whose names begin with `prefix`.
fn numbers(sizes: &BTreeMap<String, Option<u64>>, prefix: &str) -> Vec<u64> {
    sizes.keys().filter_map(|name| numbered(name, prefix)).collect()
}
