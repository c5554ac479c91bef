//! Opening: from what lies in a directory to a store that serves.
//!
//! It must survive whatever a crash, a full disk or a careless hand left there, and must not make it
//! worse: nothing is written before everything was read and found sound.
//!
//! ```text
//! LOCK ─▶ CURRENT ─▶ manifest ─▶ tables' sizes ─▶ log, into memtables ─▶ new log segment
//!                                                                    ─▶ new manifest ─▶ leftovers go
//! ```
//!
//! 1. A directory that is not a store, or is one of a newer format, is left as it is.
//! 2. What the manifest or the log prove to have been there and is not there is refused.
//! 3. Opening twice in a row, crashed in between or not, finds the same.
//! 4. No table is read; the work is in the length of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{Entry, EntryKind, Guard, Lock, Vfs};

use crate::{
    apart::live_values,
    appended::{Appended, Holding},
    batch::Operations,
    budget::Share,
    commit::Committing,
    environment::Environment,
    error::{Error, Result},
    footprint::Watch,
    ingest::naming_edit,
    key::{Kind, SEQNO_MAX, SeqNo},
    keyspace::{LoggedMemtable, State, Tree, TreeRules},
    log::{self, LogDir, LogOptions, LogWriter, Proof, Record, Recovered},
    manifest::{self, CURRENT, CURRENT_NEXT, Catalog, Change, Current, Manifest, manifest_name},
    options::Options,
    outputs::live_table,
    planted::{Bug, planted},
    store::{OpenStore, Parts, Store, table_name},
    sync::Mutex,
    values::values_name,
    version::{Trash, Version},
};

/// The file whose lock says that a process has the store open.
pub(crate) const LOCK: &str = "LOCK";

/// What opening a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the store was made by this opening.
    pub created: bool,
    /// Whether it had been closed cleanly.
    pub clean: bool,
    /// Records read back from the log.
    pub records: u64,
    /// What was cut off the end of the log: written, never durable, and not whole.
    pub cut: Option<Cut>,
    /// Where an edit of the manifest was cut off that was never finished.
    pub manifest_cut: Option<u64>,
}

/// The end of a log that was never fully written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment in which the log ends now.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// Bytes behind it that were discarded.
    pub bytes_dropped: u64,
    /// What is wrong with the first of them.
    pub why: &'static str,
}

/// Opens the store in `dir`, making it if there is none and `options` allow that.
pub(crate) fn open(
    environment: &Environment,
    dir: &Path,
    options: Options,
) -> Result<Arc<OpenStore>> {
    options.validate()?;
    let opening = Opening { environment: environment.clone(), dir: dir.to_path_buf(), options };
    let store = opening.open()?;
    environment.add_store(&store);
    store.measure_pile();
    for duty in crate::background::Duty::ALL {
        environment.signal(duty);
    }
    Ok(OpenStore::new(store))
}

struct Opening {
    environment: Environment,
    dir: PathBuf,
    options: Options,
}

impl Opening {
    fn vfs(&self) -> &Arc<dyn Vfs> {
        self.environment.vfs()
    }

    fn open(self) -> Result<Arc<Store>> {
        let entries = self.survey()?;
        let has = |name: &str| entries.iter().any(|entry| entry.name == OsStr::new(name));
        let is_store = has(CURRENT);
        if !is_store {
            self.check_unused(&entries)?;
        }
        let guard = self.lock()?;
        let current = if is_store {
            Some(manifest::read_current(self.vfs().as_ref(), &self.dir)?)
        } else {
            None
        };
        match current {
            Some(current) => self.recover(current, guard),
            None => self.create(guard),
        }
    }

    /// What lies in the directory; makes it when it is missing.
    fn survey(&self) -> Result<Vec<Entry>> {
        let entry = self.vfs().entry(&self.dir).map_err(Error::io("look at", &self.dir))?;
        match entry {
            Some(entry) if entry.kind == EntryKind::Dir => {
                self.vfs().list(&self.dir).map_err(Error::io("list", &self.dir))
            }
            Some(_) => Err(self.unusable("it is not a directory; name a directory")),
            None if !self.options.create_if_missing => {
                Err(self.unusable("there is nothing there, and `create_if_missing` is off; name the directory of a store"))
            }
            None => {
                self.vfs()
                    .create_dir(&self.dir)
                    .map_err(Error::io("create directory", &self.dir))?;
                Ok(Vec::new())
            }
        }
    }

    fn unusable(&self, what: impl Into<String>) -> Error {
        Error::Unusable { path: self.dir.clone(), what: what.into() }
    }

    /// Refuses a directory without `CURRENT` that holds more than a making that was cut short.
    fn check_unused(&self, entries: &[Entry]) -> Result<()> {
        let names: Vec<_> = entries.iter().map(|entry| entry.name.to_string_lossy()).collect();
        if let Some(table) = names.iter().find(|name| is_numbered(name, "table-")) {
            let what = format!("{CURRENT} is missing beside {table}");
            return Err(Error::corrupt(self.dir.join(CURRENT), 0, what));
        }
        if let Some(values) = names.iter().find(|name| is_numbered(name, "values-")) {
            let what = format!("{CURRENT} is missing beside {values}");
            return Err(Error::corrupt(self.dir.join(CURRENT), 0, what));
        }
        if let Some(log) = names.iter().find(|name| is_numbered(name, "log-")) {
            let what = format!("{CURRENT} is missing beside {log}");
            return Err(Error::corrupt(self.dir.join(CURRENT), 0, what));
        }
        let ours = |name: &str| name == LOCK || name == CURRENT_NEXT || name == manifest_name(1);
        if let Some(foreign) = names.iter().find(|name| !ours(name)) {
            let what = format!("it holds {foreign:?} and no store; name an empty or new directory");
            return Err(self.unusable(what));
        }
        if !self.options.create_if_missing {
            return Err(self.unusable(
                "it is empty, and `create_if_missing` is off; name the directory of a store",
            ));
        }
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Guard>> {
        let path = self.dir.join(LOCK);
        match self.vfs().lock(&path).map_err(Error::io("lock", &path))? {
            Lock::Held(guard) => Ok(guard),
            Lock::Busy { holder } => Err(Error::Locked { path, holder }),
        }
    }

    fn log_dir(&self, store: u64) -> LogDir {
        LogDir { vfs: Arc::clone(self.vfs()), path: self.dir.clone(), store }
    }

    fn log_options(&self) -> LogOptions {
        let segment_bytes = self.options.segment_bytes as u32;
        LogOptions { segment_bytes, first_bytes: segment_bytes.min(256 << 10), recycle: true }
    }

    /// Makes an empty store.
    fn create(self, guard: Box<dyn Guard>) -> Result<Arc<Store>> {
        // Always: the directory may be there because an earlier try made it and got no further.
        let parent = match self.dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        self.vfs().sync_dir(parent).map_err(Error::io("sync", parent))?;
        let id = self.environment.draw_id();
        let catalog = Catalog {
            edit: 1,
            next_table: 1,
            next_keyspace: 1,
            next_seqno: 1,
            ..Catalog::default()
        };
        let manifest = Manifest::create(self.vfs(), &self.dir, id, 1, catalog)?;
        let report = RecoveryReport { created: true, clean: true, ..RecoveryReport::default() };
        self.begin(id, manifest, guard, report)
    }

    /// Makes the log of a store that has none, and with it the store.
    fn begin(
        self,
        id: u64,
        mut manifest: Manifest,
        guard: Box<dyn Guard>,
        report: RecoveryReport,
    ) -> Result<Arc<Store>> {
        // A store that was copied or repaired has writes already.
        let next_seqno = manifest.catalog.next_seqno.max(1);
        let log = LogWriter::create(self.log_dir(id), self.log_options(), next_seqno)?;
        manifest.commit(vec![Change::LogStart { segment: log.current_segment() }])?;
        let trees = Trees::of(&self, id, &manifest.catalog, &Arc::default())?;
        Ok(self.finish(id, manifest, log, trees, next_seqno - 1, Arc::default(), guard, report))
    }

    /// Opens the store that `current` names.
    fn recover(self, current: Current, guard: Box<dyn Guard>) -> Result<Arc<Store>> {
        let id = current.store;
        let read = manifest::read(self.vfs().as_ref(), &self.dir, current)?;
        let mut catalog = read.catalog;
        let leftovers = self.check_tables(&catalog, current)?;
        let mut report = RecoveryReport { manifest_cut: read.cut, ..RecoveryReport::default() };
        if catalog.log_start == 0 {
            let manifest = self.next_manifest(current, catalog)?;
            self.remove(&leftovers)?;
            return self.begin(id, manifest, guard, report);
        }
        let trash = Arc::default();
        let mut trees = Trees::of(&self, id, &catalog, &trash)?;
        let mut recovered = self.replay(id, &catalog, &mut trees, &mut report)?;
        self.check_edit(&catalog, current, &recovered)?;
        let mut next_seqno = recovered.next_seq.unwrap_or(catalog.next_seqno);
        let flushed = catalog.keyspaces.values().map(|record| record.flushed).max().unwrap_or(0);
        if next_seqno <= flushed || next_seqno < catalog.next_seqno {
            let path = self.log_dir(id).segment_path(recovered.end.segment());
            let what = format!("the log ends before write {flushed}, which a table holds");
            return Err(Error::corrupt(path, recovered.end.offset().into(), what));
        }
        let durable = recovered.end;
        if planted(Bug::SeqnosReused) {
            next_seqno = (next_seqno - next_seqno.min(3)).max(flushed + 1);
            recovered.next_seq = Some(next_seqno);
        }
        let mut log =
            LogWriter::create_after(self.log_dir(id), self.log_options(), recovered, next_seqno)?;
        let log_start = trees.oldest_segment().min(log.current_segment());
        catalog.log_start = catalog.log_start.max(log_start);
        catalog.log_durable = catalog.log_durable.max(Some(durable));
        catalog.next_seqno = next_seqno;
        catalog.edit += 1;
        let manifest = self.next_manifest(current, catalog)?;
        self.remove(&leftovers)?;
        log.release_below(log_start);
        Ok(self.finish(id, manifest, log, trees, next_seqno - 1, trash, guard, report))
    }

    /// Checks that every table is there and as long as it must be. Returns what nobody names.
    fn check_tables(&self, catalog: &Catalog, current: Current) -> Result<Vec<PathBuf>> {
        let entries = self.vfs().list(&self.dir).map_err(Error::io("list", &self.dir))?;
        let mut sizes = BTreeMap::new();
        for entry in entries {
            sizes.insert(entry.name.to_string_lossy().into_owned(), entry.bytes);
        }
        // The next manifest replaces what a crash may have left under its name.
        let mut named = BTreeSet::from([0, 1].map(|step| manifest_name(current.manifest + step)));
        for (_, _, table) in catalog.tables() {
            let name = table_name(table.id);
            let path = self.dir.join(&name);
            match sizes.get(&name) {
                None => return Err(Error::corrupt(path, 0, "the table is missing")),
                Some(bytes) if *bytes != table.bytes => {
                    let what =
                        format!("the table is {bytes} bytes long and should be {}", table.bytes);
                    return Err(Error::corrupt(path, table.bytes.min(*bytes), what));
                }
                Some(_) => named.insert(name),
            };
        }
        for values in catalog.values() {
            let name = values_name(values.file);
            let path = self.dir.join(&name);
            match sizes.get(&name) {
                None => return Err(Error::corrupt(path, 0, "the value file is missing")),
                Some(bytes) if *bytes != values.bytes => {
                    let expected = values.bytes;
                    let what =
                        format!("the value file is {bytes} bytes long and should be {expected}");
                    return Err(Error::corrupt(path, expected.min(*bytes), what));
                }
                Some(_) => named.insert(name),
            };
        }
        let prefixes = ["table-", "values-", "manifest-"];
        let ours = |name: &str| prefixes.iter().any(|prefix| is_numbered(name, prefix));
        let leftover =
            |name: &&String| ours(name) && !named.contains(*name) || *name == CURRENT_NEXT;
        Ok(sizes.keys().filter(leftover).map(|name| self.dir.join(name)).collect())
    }

    /// Reads the log into the memtables.
    fn replay(
        &self,
        id: u64,
        catalog: &Catalog,
        trees: &mut Trees,
        report: &mut RecoveryReport,
    ) -> Result<Recovered> {
        let proof = Proof { oldest: catalog.log_start, durable: catalog.log_durable };
        let home = self.log_dir(id);
        let recovered = log::recover(&home, proof, &mut |record| {
            report.records += 1;
            trees.replay(&home, catalog, record)
        })?;
        report.clean = recovered.clean;
        report.cut = recovered.cut.as_ref().map(|cut| Cut {
            path: cut.path.clone(),
            offset: cut.offset,
            bytes_dropped: cut.bytes_dropped,
            why: cut.why,
        });
        Ok(recovered)
    }

    /// Refuses a manifest that ends before the edit that the log knows to have been durable.
    fn check_edit(&self, catalog: &Catalog, current: Current, recovered: &Recovered) -> Result<()> {
        if recovered.manifest_edit <= catalog.edit {
            return Ok(());
        }
        let what = format!(
            "it ends with edit {}, and the log knows edit {} to have been durable",
            catalog.edit, recovered.manifest_edit
        );
        Err(Error::corrupt(self.dir.join(manifest_name(current.manifest)), 0, what))
    }

    /// Writes what was found as a manifest of its own: one that was read is never appended to.
    fn next_manifest(&self, current: Current, catalog: Catalog) -> Result<Manifest> {
        let number = current.manifest + 1;
        let manifest = Manifest::create(self.vfs(), &self.dir, current.store, number, catalog)?;
        self.remove(&[self.dir.join(manifest_name(current.manifest))])?;
        Ok(manifest)
    }

    fn remove(&self, paths: &[PathBuf]) -> Result<()> {
        if planted(Bug::LeftoversKept) {
            return Ok(());
        }
        paths.iter().try_for_each(|path| manifest::remove_if_there(self.vfs().as_ref(), path))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a store, each found by another step"
    )]
    fn finish(
        self,
        id: u64,
        manifest: Manifest,
        mut log: LogWriter,
        trees: Trees,
        last_seqno: SeqNo,
        trash: Arc<Trash>,
        guard: Box<dyn Guard>,
        report: RecoveryReport,
    ) -> Arc<Store> {
        log.set_manifest_edit(manifest.last_edit());
        let log_pool = Arc::clone(log.pool());
        let bounded_at = log.current_segment();
        Arc::new(Store::new(Parts {
            memtable_bytes_max: self.memtable_bytes_max(),
            id,
            committing: Committing {
                log: Some(log),
                next_seqno: last_seqno + 1,
                bounded_at,
                watch: Watch::default(),
                holding: Holding::default(),
            },
            log_pool,
            last_seqno,
            next_table: manifest.catalog.next_table.max(1),
            trees: trees.by_id,
            manifest,
            trash,
            guard: Some(guard),
            follower: None,
            report,
            environment: self.environment,
            dir: self.dir,
            options: self.options,
        }))
    }

    /// Bytes at which a memtable is frozen: two of them fit into the share, one that is written to and one
    /// that is being flushed. The fewer there are, the less is merged later.
    fn memtable_bytes_max(&self) -> u64 {
        let share = self.environment.budget().share_bytes_max(Share::Memtables);
        self.options.memtable_bytes_within(share / 2)
    }
}

/// Whether `name` is `prefix` and a number.
fn is_numbered(name: &str, prefix: &str) -> bool {
    let number = name.strip_prefix(prefix);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The keyspaces being brought back.
pub(crate) struct Trees {
    pub(crate) by_id: BTreeMap<u32, Arc<Tree>>,
    environment: Environment,
    /// Memory that a memtable is going to take.
    memtable_bytes_hint: u64,
    /// Memory at which one is frozen.
    memtable_bytes_max: u64,
}

impl Trees {
    /// Keyspaces without tables, whose memtables take whatever the log holds.
    pub(crate) fn of_log(
        environment: &Environment,
        options: &Options,
        home: &LogDir,
        catalog: &Catalog,
    ) -> Result<Trees> {
        let mut trees = Trees {
            by_id: BTreeMap::new(),
            environment: environment.clone(),
            memtable_bytes_hint: options.memtable_bytes_max.min(8 << 20),
            memtable_bytes_max: u64::MAX,
        };
        let trash = Arc::default();
        for (id, record) in &catalog.keyspaces {
            let values = record.values.values();
            let values: Vec<_> = values
                .map(|info| live_values(environment, home.store, &home.path, info, &trash))
                .collect();
            let version = Arc::new(Version::default().with_values(&[], &values));
            let state = State { active: trees.memtable(), frozen: Vec::new(), version };
            let rules = TreeRules::resolve(&record.options, options)?;
            let mut tree = Tree::new(*id, record.name.clone(), rules, record.expiry_mark, state);
            tree.appended = Appended::covered_to(record.applied);
            tree.positions = Mutex::new(record.positions.clone());
            trees.by_id.insert(*id, Arc::new(tree));
        }
        Ok(trees)
    }

    fn of(opening: &Opening, id: u64, catalog: &Catalog, trash: &Arc<Trash>) -> Result<Trees> {
        let mut trees = Trees {
            by_id: BTreeMap::new(),
            environment: opening.environment.clone(),
            memtable_bytes_hint: opening.memtable_bytes_max(),
            memtable_bytes_max: opening.memtable_bytes_max(),
        };
        for (keyspace, record) in &catalog.keyspaces {
            let tables = record.tables.values().map(|(level, info)| {
                let path = opening.dir.join(table_name(info.id));
                (
                    usize::from(*level),
                    live_table(&opening.environment, id, path, info.clone(), None, trash),
                )
            });
            let values: Vec<_> = record
                .values
                .values()
                .map(|info| live_values(&opening.environment, id, &opening.dir, info, trash))
                .collect();
            let version = Arc::new(Version::new(tables).with_values(&[], &values));
            let state = State { active: trees.memtable(), frozen: Vec::new(), version };
            let rules = TreeRules::resolve(&record.options, &opening.options)?;
            let mut tree =
                Tree::new(*keyspace, record.name.clone(), rules, record.expiry_mark, state);
            tree.appended = Appended::covered_to(record.applied);
            tree.positions = Mutex::new(record.positions.clone());
            trees.by_id.insert(*keyspace, Arc::new(tree));
        }
        Ok(trees)
    }

    /// The oldest segment with a record that is in no table; `u64::MAX` when there is none.
    fn oldest_segment(&self) -> u64 {
        let oldest = |tree: &Arc<Tree>| tree.oldest_segment(None);
        self.by_id.values().map(oldest).min().unwrap_or(u64::MAX)
    }

    fn memtable(&self) -> Arc<LoggedMemtable> {
        Arc::new(LoggedMemtable::new(&self.environment, self.memtable_bytes_hint))
    }

    /// Puts the operations of a record where they belong, unless tables have them.
    pub(crate) fn replay(
        &mut self,
        home: &LogDir,
        catalog: &Catalog,
        record: Record<'_>,
    ) -> Result<()> {
        if naming_edit(record.payload).is_some() {
            return Ok(()); // its number was taken for tables that were written past the log
        }
        let segment = record.start.segment();
        let corrupt = |what: &str| {
            let path = home.segment_path(segment);
            Error::corrupt(path, u64::from(record.start.offset()), what)
        };
        let last = record.first_seq.checked_add(u64::from(record.count));
        if last.is_none_or(|last| SEQNO_MAX < last) {
            return Err(corrupt("a record's sequence numbers are out of range"));
        }
        let mut seqno = record.first_seq;
        for operation in Operations::new(record.payload) {
            let operation = operation.map_err(|()| corrupt("a batch does not decode"))?;
            let number = seqno;
            seqno += 1;
            if operation.kind == Kind::Position {
                return Err(corrupt("a batch holds a position, which is never logged"));
            }
            let Some(known) = catalog.keyspaces.get(&operation.keyspace) else {
                if operation.keyspace < catalog.next_keyspace {
                    continue; // dropped since
                }
                return Err(corrupt("a batch writes to a keyspace that was never made"));
            };
            let tree = &self.by_id[&operation.keyspace];
            if tree.is_unlogged() {
                return Err(corrupt("a batch writes to a keyspace whose log is off"));
            }
            if operation.kind == Kind::Append {
                // Whatever tables hold, it is in none of them.
                tree.apply(&tree.state().active, segment, &operation, number);
            } else if known.flushed < number {
                let active = Arc::clone(&tree.state().active);
                if operation.kind == Kind::Pointer && !tree.state().hold_values_of(operation.value)
                {
                    return Err(corrupt("a batch points into a value file that is not there"));
                }
                tree.apply(&active, segment, &operation, number);
                if self.memtable_bytes_max <= active.bytes() {
                    self.freeze(tree);
                }
            }
        }
        // Without operations it says that its numbers were taken by what is not logged.
        let counts = seqno == record.first_seq + u64::from(record.count);
        if !counts && !record.payload.is_empty() {
            return Err(corrupt("a batch holds another number of operations than it says"));
        }
        Ok(())
    }

    fn freeze(&self, tree: &Tree) {
        let fresh = self.memtable();
        tree.change_state(|state| {
            let mut frozen = vec![Arc::clone(&state.active)];
            frozen.extend(state.frozen.iter().cloned());
            State { active: fresh, frozen, version: Arc::clone(&state.version) }
        });
    }
}
