//! Opening a store to be read only, beside the process that writes it, and following that.
//!
//! There is no lock and no word between the two. The reader takes the manifest that CURRENT names and
//! reads the log behind it to its last whole frame. The writer may at any moment name another manifest,
//! drop tables and use segments again; what moved while it was read is read anew, and only what stays
//! wrong is told.
//!
//! 1. Nothing is written, locked, renamed or removed.
//! 2. Each keyspace shows one moment: tables and memtables change together, and so does what is visible.
//! 3. What is shown is a prefix of what was written, and never goes back, unless the writer died and what
//!    was shown had not been durable.
//! 4. Tables' files are held open, so that what is shown stays readable when the writer drops them. Beyond
//!    what a process may open, a table that is gone makes a point read go on to a newer moment.
//! 5. Memtables hold exactly what is in the log and not in the tables.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use olivine_vfs::EntryKind;

use crate::{
    appended::Holding,
    commit::Committing,
    environment::Environment,
    error::{Error, Result},
    footprint::Watch,
    ingest::naming_edit,
    key::SeqNo,
    keyspace::{LoggedMemtable, State, Tree},
    log::{self, Followed, LogDir, Pool, Record},
    manifest::{self, CURRENT, Catalog, Current, Manifest, manifest_name},
    options::Options,
    outputs::live_table,
    recovery::{RecoveryReport, Trees},
    store::{OpenStore, Parts, Store, table_name},
    sync::Mutex,
    table::TableInfo,
    version::{LiveTable, Version},
};

/// How often what moves is read again before it is told.
const TRIES_MAX: u32 = 12;

/// The first pause between two tries; each further one is twice as long, up to `PAUSE_MAX`.
const PAUSE_FIRST: Duration = Duration::from_micros(500);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Times that a point read goes on to a newer moment because a table is gone.
const GONE_TRIES_MAX: u32 = 4;

/// What a store that is only read knows of its writer.
pub(crate) struct Follower {
    reading: Mutex<Reading>,
    /// How many tables may be held open.
    pins_max: usize,
}

/// How far manifest and log were read.
#[derive(Default)]
struct Reading {
    /// The manifest, and the length it had.
    manifest: Option<(Current, u64)>,
    catalog: Catalog,
    log: Option<Followed>,
    /// Memtables with what the log holds beyond the tables.
    trees: Option<Trees>,
    /// The last write that may be shown.
    seen: SeqNo,
    /// The last record read, if it is a number that was taken for tables: that and the edit that names
    /// them.
    awaited: Option<(SeqNo, u64)>,
    /// The highest such number that a record was seen behind before the manifest was read.
    passed: SeqNo,
    records: u64,
}

/// A keyspace as the log alone makes it, and what it shows.
type Shown = (Arc<Tree>, State);

/// Opens the store in `dir` to be read only.
pub(crate) fn open(
    environment: &Environment,
    dir: &Path,
    options: Options,
) -> Result<Arc<OpenStore>> {
    let pins_max = usize::try_from(olivine_vfs::open_files_max() / 2).unwrap_or(usize::MAX);
    open_with(environment, dir, options, pins_max)
}

fn open_with(
    environment: &Environment,
    dir: &Path,
    options: Options,
    pins_max: usize,
) -> Result<Arc<OpenStore>> {
    options.validate()?;
    let vfs = environment.vfs();
    let entry = vfs.entry(dir).map_err(Error::io("look at", dir))?;
    let is_dir = entry.is_some_and(|entry| entry.kind == EntryKind::Dir);
    let current = dir.join(CURRENT);
    if !is_dir || vfs.entry(&current).map_err(Error::io("look at", &current))?.is_none() {
        let what = "there is no store there; name the directory of a store".into();
        return Err(Error::Unusable { path: dir.to_path_buf(), what });
    }
    let mut reading = Reading::default();
    let store = again(environment, || {
        let current = manifest::read_current(vfs.as_ref(), dir)?;
        let manifest = Manifest::of_another(vfs, dir, current, Catalog::default())?;
        Ok((current.store, manifest))
    });
    let (id, manifest) = store?;
    let home = LogDir { vfs: Arc::clone(vfs), path: dir.to_path_buf(), store: id };
    again(environment, || reading.read(environment, &options, &home))?;
    let report = RecoveryReport { records: reading.records, ..RecoveryReport::default() };
    let follower = Follower { reading: Mutex::new(reading), pins_max };
    let store = Store::new(Parts {
        environment: environment.clone(),
        dir: dir.to_path_buf(),
        memtable_bytes_max: options.memtable_bytes_max,
        options,
        id,
        committing: Committing {
            log: None,
            next_seqno: 1,
            bounded_at: 0,
            watch: Watch::default(),
            holding: Holding::default(),
        },
        log_pool: Arc::new(Pool::idle(home)),
        last_seqno: 0,
        next_table: 1,
        trees: BTreeMap::new(),
        manifest,
        trash: Arc::default(),
        guard: None,
        follower: Some(follower),
        report,
    });
    store.latch.shut(Error::ReadOnly { path: dir.to_path_buf() });
    store.refresh()?;
    Ok(OpenStore::new(Arc::new(store)))
}

/// Whether this may come of reading what is being changed.
fn may_have_moved(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. }) || is_gone(error)
}

/// Whether a file was not there.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// Tries `read` until nothing moves under it; what stays wrong is told.
fn again<T>(environment: &Environment, mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = PAUSE_FIRST;
    for _ in 1..TRIES_MAX {
        match read() {
            Err(error) if may_have_moved(&error) => {
                environment.clock().sleep(pause);
                pause = PAUSE_MAX.min(2 * pause);
            }
            outcome => return outcome,
        }
    }
    read()
}

impl Reading {
    /// Reads manifest and log as they are now.
    fn read(&mut self, environment: &Environment, options: &Options, home: &LogDir) -> Result<()> {
        let read =
            self.read_manifest(home).and_then(|()| self.read_log(environment, options, home));
        if read.is_err() {
            // Whatever was read on may be half of something.
            self.forget_log();
            self.manifest = None;
        }
        read
    }

    fn forget_log(&mut self) {
        (self.log, self.trees, self.awaited) = (None, None, None);
    }

    fn read_manifest(&mut self, home: &LogDir) -> Result<()> {
        let (vfs, dir) = (home.vfs.as_ref(), home.path.as_path());
        let current = manifest::read_current(vfs, dir)?;
        if current.store != home.store {
            let what = "another store is there than before; open it anew".into();
            return Err(Error::Unusable { path: dir.to_path_buf(), what });
        }
        let path = dir.join(manifest_name(current.manifest));
        let entry = vfs.entry(&path).map_err(Error::io("look at", &path))?;
        let bytes = entry.map_or(0, |entry| entry.bytes);
        if self.manifest == Some((current, bytes)) {
            return Ok(());
        }
        let catalog = manifest::read(vfs, dir, current)?.catalog;
        let same = flushed(&self.catalog).eq(flushed(&catalog))
            && value_files(&self.catalog).eq(value_files(&catalog));
        if !same {
            // The memtables are made for other tables, or point into other files.
            self.forget_log();
        }
        self.catalog = catalog;
        self.manifest = Some((current, bytes));
        Ok(())
    }

    /// Reads the log on from where it was read to, or from where the tables end.
    fn read_log(
        &mut self,
        environment: &Environment,
        options: &Options,
        home: &LogDir,
    ) -> Result<()> {
        let catalog = &self.catalog;
        let trees = match &mut self.trees {
            Some(trees) => trees,
            none => none.insert(Trees::of_log(environment, options, home, catalog)?),
        };
        let in_tables = flushed(catalog).map(|(_, seqno)| seqno).max().unwrap_or(0);
        let least = in_tables.max(catalog.next_seqno.saturating_sub(1));
        if catalog.log_start == 0 {
            // A copy that nobody has opened for writing: it has no log.
            self.seen = least;
            return Ok(());
        }
        let (awaited, passed, records) = (&mut self.awaited, &mut self.passed, &mut self.records);
        let mut visit = |record: Record<'_>| {
            if let Some((seqno, edit)) = *awaited
                && catalog.edit < edit
                && *passed < seqno
            {
                // The writer went on, so the edit is there by now, or it never will be.
                *passed = seqno;
                let what = "it is older than the log, which knows of an ingest";
                return Err(Error::corrupt(home.path.join(CURRENT), 0, what));
            }
            *awaited = naming_edit(record.payload).map(|edit| (record.first_seq, edit));
            *records += 1;
            trees.replay(home, catalog, record)
        };
        self.log = log::follow(home, catalog.log_start, self.log, &mut visit)?;
        let last = self.log.map_or(least, |log| log.next_seq - 1);
        let waits = self.awaited.is_some_and(|(_, edit)| catalog.edit < edit);
        self.seen = if waits { last - 1 } else { last };
        Ok(())
    }
}

/// A table that is shown already, as `info` has it now: it may have been cut since.
fn same_table(known: &Arc<LiveTable>, info: &TableInfo) -> Option<Arc<LiveTable>> {
    if known.info == *info {
        return Some(Arc::clone(known));
    }
    let part = info.part()?;
    let within = known.info.first_key <= part.first_key && part.last_key <= known.info.last_key;
    let same = within && known.info.uncut() == info.uncut();
    same.then(|| Arc::new(known.cut_to(&part)))
}

/// The keyspace `tree`, with a state that changes no more with its own.
fn detached(tree: &Tree, state: State) -> Arc<Tree> {
    let (name, rules) = (tree.name.clone(), tree.rules.clone());
    Arc::new(Tree::new(tree.id, name, rules, tree.expiry_mark(), state))
}

/// Up to where each keyspace stands in tables.
fn flushed(catalog: &Catalog) -> impl Iterator<Item = (u32, SeqNo)> {
    catalog.keyspaces.iter().map(|(id, record)| (*id, record.flushed))
}

/// The value files that the memtables may point into.
fn value_files(catalog: &Catalog) -> impl Iterator<Item = (u32, u64)> {
    let keyspaces = catalog.keyspaces.iter();
    keyspaces.flat_map(|(id, record)| record.values.keys().map(move |file| (*id, *file)))
}

impl Store {
    /// Shows what the writer has written meanwhile.
    pub(crate) fn refresh(&self) -> Result<SeqNo> {
        let Some(follower) = &self.follower else { return Ok(self.visible()) };
        let mut reading = follower.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (vfs, path) = (Arc::clone(self.environment.vfs()), self.dir.clone());
        let home = LogDir { vfs, path, store: self.id };
        again(&self.environment, || {
            reading.read(&self.environment, &self.options, &home)?;
            self.show(&mut reading, follower.pins_max)
        })?;
        Ok(self.visible())
    }

    /// Makes what was read what readers see.
    fn show(&self, reading: &mut Reading, pins_max: usize) -> Result<()> {
        let made = self.states_of(reading, pins_max);
        let (manifest, states) = made.inspect_err(|_| reading.manifest = None)?;
        let in_tables = flushed(&reading.catalog).map(|(_, seqno)| seqno).max().unwrap_or(0);
        // Copies and snapshots are made under these.
        let (mut shown, mut committing) = (self.lock_manifest(), self.lock_commit());
        *shown = manifest;
        committing.next_seqno = reading.seen + 1;
        self.next_table.fetch_max(reading.catalog.next_table, Relaxed);
        // Before the states, each of which shows no more than it was made for.
        self.set_visible(reading.seen);
        self.raise_durable(in_tables);
        let mut before = self.lock_trees().clone();
        let mut after = BTreeMap::new();
        for (made, state) in states {
            let tree = match before.remove(&made.id) {
                Some(tree) => {
                    // Before: what the state shows moves with it. No walk notes one before the lock is free.
                    tree.gaps.forget();
                    tree.change_state(|_| state);
                    tree
                }
                None => detached(&made, state),
            };
            tree.raise_expiry_mark(reading.catalog.keyspaces[&made.id].expiry_mark);
            after.insert(made.id, tree);
        }
        *self.lock_trees() = after;
        for dropped in before.values() {
            dropped.mark_dropped();
        }
        Ok(())
    }

    /// The states that show what was read, and the manifest they are made for.
    fn states_of(&self, reading: &Reading, pins_max: usize) -> Result<(Manifest, Vec<Shown>)> {
        let (Some((current, _)), Some(trees)) = (reading.manifest, &reading.trees) else {
            unreachable!("it was just read");
        };
        let vfs = self.environment.vfs();
        let manifest = Manifest::of_another(vfs, &self.dir, current, reading.catalog.clone())?;
        let shown = self.lock_trees().clone();
        let mut pins = 0;
        let mut states = Vec::new();
        for (id, record) in &reading.catalog.keyspaces {
            let known: BTreeMap<u64, Arc<LiveTable>> = shown
                .get(id)
                .map(|tree| tree.state().version.tables().cloned().collect::<Vec<_>>())
                .unwrap_or_default()
                .into_iter()
                .map(|table| (table.info.id, table))
                .collect();
            let mut tables = Vec::new();
            for (level, info) in record.tables.values() {
                let known = known.get(&info.id).and_then(|known| same_table(known, info));
                let table = known.unwrap_or_else(|| self.live(info));
                if pins < pins_max {
                    table.table.pin()?;
                    pins += 1;
                }
                tables.push((usize::from(*level), table));
            }
            let made = &trees.by_id[id];
            let whole = Arc::clone(&made.state().active);
            let active = LoggedMemtable::view(&self.environment, &whole, reading.seen);
            // Those of the memtables, which hold them already.
            let values: Vec<_> = made.state().version.values.values().cloned().collect();
            for file in values.iter().take(pins_max - pins) {
                file.pin()?;
                pins += 1;
            }
            let version = Arc::new(Version::new(tables).with_values(&[], &values));
            let state = State { active: Arc::new(active), frozen: Vec::new(), version };
            states.push((Arc::clone(made), state));
        }
        Ok((manifest, states))
    }

    fn live(&self, info: &TableInfo) -> Arc<LiveTable> {
        let path = self.dir.join(table_name(info.id));
        live_table(&self.environment, self.id, path, info.clone(), None, &self.trash)
    }

    /// Of a store that is only read, what it shows now, kept apart from what it shows later.
    pub(crate) fn pin_states(&self) -> Option<(SeqNo, BTreeMap<u32, Arc<Tree>>)> {
        self.follower.as_ref()?;
        let _unchanging = self.lock_commit();
        let pin = |tree: Arc<Tree>| (tree.id, detached(&tree, State::clone(&tree.state())));
        Some((self.visible(), self.trees().into_iter().map(pin).collect()))
    }

    /// Reads, and where a table is gone that was not held open, goes on to a newer moment.
    #[inline]
    pub(crate) fn following<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
        if self.follower.is_none() {
            return read();
        }
        self.following_on(read)
    }

    #[cold]
    fn following_on<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
        let mut outcome = read();
        for _ in 0..GONE_TRIES_MAX {
            if !outcome.as_ref().is_err_and(is_gone) {
                break;
            }
            self.refresh()?;
            outcome = read();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use olivine_vfs::{ManualClock, MemoryVfs, Vfs};

    use super::*;
    use crate::{Db, EnvironmentOptions, Keyspace, Work, environment};

    /// Tables that are not held open are dropped by the writer: a point read goes on to what is there.
    #[test]
    fn a_table_that_is_gone_makes_a_read_go_on() {
        let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
        let clock = Arc::new(ManualClock::new());
        let parts = environment::Parts { vfs, clock, work: Work::Stepped { seed: 1 } };
        let environment =
            Environment::with(parts, EnvironmentOptions { memory_bytes: 4 << 20 }).unwrap();
        let dir = Path::new("/store");
        let writer = Db::open(&environment, dir, Options::default()).unwrap();
        let write = |value: &[u8]| {
            let keyspace = writer.keyspace("a").unwrap();
            for number in 0..100u8 {
                keyspace.put(&[number], value).unwrap();
            }
            writer.settle().unwrap();
        };
        for pins_max in [0, 100] {
            write(b"first");
            let reader = open_with(&environment, dir, Options::default(), pins_max).unwrap();
            let tree = Arc::clone(&reader.trees()[0]);
            let keyspace = Keyspace::new(Arc::clone(&reader), tree);
            write(b"second");
            for _ in 0..4 {
                write(b"third");
            }
            assert!(environment.vfs().list(dir).unwrap().len() < 10, "old tables are removed");
            let found = keyspace.get(&[7]).unwrap().unwrap().to_vec();
            assert_eq!(found, if pins_max == 0 { b"third".as_slice() } else { b"first" });
            let found = keyspace.multi_get(&[&[7], &[200]]).unwrap();
            assert!(found[0].is_some() && found[1].is_none());
        }
    }
}
