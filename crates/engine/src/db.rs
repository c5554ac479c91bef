//! A store as its users hold it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError},
};

use crate::{
    appended::CARRIED,
    background::Duty,
    batch::Batch,
    compaction::Urge,
    environment::Environment,
    error::{Error, Result},
    follow,
    key::SeqNo,
    keyspace::{Keyspace, State, Tree, TreeRules},
    manifest::Change,
    options::{Durability, KeyspaceOptions, Options},
    planted::{Bug, planted},
    recovery::{self, RecoveryReport},
    snapshot::Snapshot,
    stats::Stats,
    store::{OpenStore, Store},
    version::Version,
};

/// Log bytes up to which closing leaves what is in memtables to the log.
const CLOSE_LOG_BYTES_MAX: u64 = 1 << 20;

/// Compactions in a row that no store needs which a test steps through.
const STEPPED_ROUNDS_MAX: u64 = 20_000;

/// A store: named keyspaces, written together in one order. Clones are the same store.
///
/// The store is closed when its last handle is dropped, or by `close`. Handles are the clones of this one,
/// keyspaces, snapshots, iterators, cursors, transactions and tickets: each of them keeps the store open and
/// its directory locked, and does all that it can do, whichever of the others are gone. Opening the directory
/// meanwhile answers `Error::Locked`, which names this process. Values and readers of values are no handles:
/// they stay readable, and keep nothing open but their file. A listener that owns a handle is owned by the
/// store itself and keeps it open for ever, but for `close`.
///
/// The environment lives as long as a store in it does; whoever made it may drop it.
#[derive(Clone)]
pub struct Db {
    store: Arc<OpenStore>,
}

impl Db {
    /// Opens the store in the directory `path`, making it if there is none. Appended records that no batch
    /// covers stay where they are; `open_with` hands them out.
    pub fn open(environment: &Environment, path: impl AsRef<Path>, options: Options) -> Result<Db> {
        let db = Db { store: recovery::open(environment, path.as_ref(), options)? };
        db.note_unreplayed()?;
        Ok(db)
    }

    /// Opens the store in the directory `path` to be read only, beside the process that may have it open
    /// for writing. Nothing is written, locked or removed. It shows the store as it was at opening;
    /// `refresh` goes on to what is there by then.
    pub fn open_read_only(
        environment: &Environment,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Db> {
        Ok(Db { store: follow::open(environment, path.as_ref(), options)? })
    }

    /// Lets a store that is only read show what its writer has written meanwhile, and returns the last
    /// write of that. Iterators and snapshots stay at their moment. In a store open for writing
    /// everything shows at once, and this does nothing.
    pub fn refresh(&self) -> Result<SeqNo> {
        self.store.refresh()
    }

    /// Whether the store was opened to be read only.
    pub fn is_read_only(&self) -> bool {
        self.store.follower.is_some()
    }

    /// The store that `keyspace` belongs to.
    pub(crate) fn of(keyspace: &Keyspace) -> Db {
        Db { store: Arc::clone(keyspace.store()) }
    }

    pub(crate) fn store(&self) -> &Arc<OpenStore> {
        &self.store
    }

    /// The keyspace of this name, made durably with the default options if there is none.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        Store::check_name(name)?;
        let tree = match self.store.find_tree(name) {
            Some(tree) => tree,
            None => self.store.create_tree(name, &KeyspaceOptions::default())?,
        };
        Ok(Keyspace::new(Arc::clone(&self.store), tree))
    }

    /// The keyspace of this name, made durably with these options if there is none. One that was made
    /// with others is refused.
    pub fn keyspace_with(&self, name: &str, options: &KeyspaceOptions) -> Result<Keyspace> {
        Store::check_name(name)?;
        let tree = match self.store.find_tree(name) {
            Some(tree) => tree,
            None => self.store.create_tree(name, options)?,
        };
        let made_with = &tree.rules.options;
        if made_with != options {
            return Err(Error::Invalid {
                field: "keyspace options",
                what: format!("are {options:?}, and keyspace {name:?} was made with {made_with:?}"),
            });
        }
        Ok(Keyspace::new(Arc::clone(&self.store), tree))
    }

    /// The keyspace of this name, if there is one.
    pub fn find_keyspace(&self, name: &str) -> Option<Keyspace> {
        let tree = self.store.find_tree(name).filter(|tree| tree.name != CARRIED)?;
        Some(Keyspace::new(Arc::clone(&self.store), tree))
    }

    /// The names of all keyspaces, in order.
    pub fn keyspaces(&self) -> Vec<String> {
        let mut names: Vec<_> = self.store.trees().iter().map(|tree| tree.name.clone()).collect();
        names.retain(|name| name != CARRIED);
        names.sort();
        names
    }

    /// Removes a keyspace and everything in it, durably. Its memory and its files are given back as
    /// soon as the reads on it that are under way have ended.
    pub fn drop_keyspace(&self, keyspace: &Keyspace) -> Result<()> {
        self.check_own(keyspace)?;
        self.store.drop_tree(keyspace.tree())
    }

    /// Refuses keyspaces of other stores.
    pub(crate) fn check_own(&self, keyspace: &Keyspace) -> Result<()> {
        if Arc::ptr_eq(keyspace.store(), &self.store) {
            return Ok(());
        }
        Err(Error::Invalid { field: "keyspace", what: "belongs to another store".into() })
    }

    /// Writes a batch with the store's durability. Returns its last sequence number.
    pub fn write(&self, batch: Batch) -> Result<SeqNo> {
        self.store.write_batch(&batch, self.store.options.durability)
    }

    /// Writes a batch with a durability of its own.
    pub fn write_with(&self, batch: Batch, durability: Durability) -> Result<SeqNo> {
        batch.check_durability(durability)?;
        self.store.write_batch(&batch, durability)
    }

    /// Writes a batch without waiting for anything: it is visible when this returns, and durable when
    /// the ticket says so. A sync thread works for those who do not wait. Answers `Error::Busy` when
    /// the store is behind.
    pub fn write_ticketed(&self, batch: Batch) -> Result<Ticket> {
        self.write_ticketed_with(batch, Durability::Sync)
    }

    /// As `write_ticketed`, with a durability of its own: only under `Sync` somebody works for the
    /// ticket, and otherwise the batch was handed to the kernel when this returns.
    pub fn write_ticketed_with(&self, batch: Batch, durability: Durability) -> Result<Ticket> {
        batch.check_durability(durability)?;
        let sync = durability == Durability::Sync;
        let seqno = self.store.write_unwaited(&batch, !sync)?;
        if sync {
            self.store.want_durable(seqno);
        }
        Ok(Ticket { store: Arc::clone(&self.store), seqno })
    }

    /// As `write_ticketed`, but nobody works for the write before somebody waits for it
    /// (`Ticket::wait`, `wait_durable`) or asks for it (`want_durable`): for callers who find out later
    /// whether they have anything better to do than to sync.
    pub fn write_unled(&self, batch: Batch) -> Result<Ticket> {
        let seqno = self.store.write_unwaited(&batch, false)?;
        Ok(Ticket { store: Arc::clone(&self.store), seqno })
    }

    /// Whether who writes much may go on; [`Error::Busy`] if it had better come back later. To be asked before each of many
    /// batches that belong together: what room is left is for others then, who would have to wait as well once there is none.
    pub fn admit_bulk(&self) -> Result<()> {
        self.store.admit_bulk()
    }

    /// Returns when everything up to `seqno` is durable. Who finds nobody syncing does it.
    pub fn wait_durable(&self, seqno: SeqNo) -> Result<()> {
        self.store.wait_durable(seqno)
    }

    /// Has a thread of the environment make everything up to `seqno` durable; `on_durable` tells when.
    pub fn want_durable(&self, seqno: SeqNo) {
        self.store.want_durable(seqno);
    }

    /// Calls `listener` after every sync with the write up to which everything is durable, or with the
    /// reason why there will be no more. It is called on the thread that led the sync and must not
    /// wait.
    pub fn on_durable(&self, listener: impl Fn(&Result<SeqNo>) + Send + Sync + 'static) {
        let mut listeners = self.store.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::new(listener));
    }

    /// Makes everything visible durable. Returns the last durable write.
    pub fn sync(&self) -> Result<SeqNo> {
        let durable = self.store.sync()?;
        self.store.mark_durable()?;
        Ok(durable)
    }

    /// The last write that reads see.
    pub fn visible(&self) -> SeqNo {
        self.store.visible()
    }

    /// The last write that a power cut cannot take; of writes to keyspaces whose log is off it says nothing.
    pub fn durable(&self) -> SeqNo {
        self.store.durable()
    }

    /// A view of this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.store)
    }

    /// Writes every memtable to a table. Returns when that is done.
    pub fn flush(&self) -> Result<()> {
        self.store.flush_all()
    }

    /// Flushes, and returns when no compaction is due: what pays only while nobody writes is left for then,
    /// or for `settle`.
    pub fn catch_up(&self) -> Result<()> {
        self.store.flush_all()?;
        self.compact_all(Urge::Due)?;
        self.store.halted().map_or(Ok(()), Err)
    }

    /// Flushes, and returns when no compaction would pay any more: all tables of a keyspace are one sorted
    /// run, or beside a large one there is a small one. Room that was kept ready for the log is given back.
    pub fn settle(&self) -> Result<()> {
        self.store.flush_all()?;
        self.compact_all(Urge::Settle)?;
        self.store.empty_trash()?;
        self.store.trim_log()?;
        self.store.halted().map_or(Ok(()), Err)
    }

    /// Compacts until nothing is left to do.
    fn compact_all(&self, urge: Urge) -> Result<()> {
        let mut rounds = 0_u64;
        while self.store.compact_one_or_fail(urge)? {
            rounds += 1;
            // Jobs that undo each other would go on for ever; small stores that are stepped through show it.
            let stepped = self.store.environment.is_stepped();
            assert!(!stepped || rounds < STEPPED_ROUNDS_MAX, "compaction does not come to an end");
        }
        Ok(())
    }

    /// What the store has done and holds.
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }

    #[cfg(test)]
    pub(crate) fn store_for_tests(&self) -> &Store {
        &self.store
    }

    /// What opening found.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.store.report
    }

    /// Why the store takes no more writes until it is opened again, if so. A full disk is no such reason:
    /// `Stats::disk_full` tells of that.
    pub fn check_writable(&self) -> Result<()> {
        self.store.latch.check()
    }

    /// Ends the store cleanly: everything written is durable, and opening will be quick. The directory is no
    /// longer locked when this returns. Other handles answer `Error::Closed` to writes from now on, and
    /// tickets that they are durable. Reads go on while nobody opens the store again; whoever does may merge
    /// away what they look for, which they answer as an error, never as other contents.
    pub fn close(self) -> Result<()> {
        self.store.shut_down()
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("dir", &self.store.dir).finish_non_exhaustive()
    }
}

/// A write that was not waited for.
#[derive(Debug)]
pub struct Ticket {
    store: Arc<OpenStore>,
    seqno: SeqNo,
}

impl Ticket {
    /// The write's last sequence number.
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// Whether a power cut can no longer take the write.
    pub fn is_durable(&self) -> bool {
        self.seqno <= self.store.durable()
    }

    /// Returns when the write is durable.
    pub fn wait(&self) -> Result<()> {
        self.store.wait_durable(self.seqno)
    }
}

impl Store {
    pub(crate) fn find_tree(&self, name: &str) -> Option<Arc<Tree>> {
        self.lock_trees().values().find(|tree| tree.name == name).cloned()
    }

    fn create_tree(&self, name: &str, options: &KeyspaceOptions) -> Result<Arc<Tree>> {
        self.latch.check()?;
        let rules = TreeRules::resolve(options, &self.options)?;
        let mut manifest = self.lock_manifest();
        if let Some(tree) = self.find_tree(name) {
            return Ok(tree);
        }
        // What was written before must not be lost while this edit is kept.
        self.sync()?;
        let id = manifest.catalog.next_keyspace;
        let proof = Change::LogDurable { position: self.log_durable()? };
        let mut changes = vec![proof, Change::CreateKeyspace { keyspace: id, name: name.into() }];
        if *options != KeyspaceOptions::default() {
            changes.push(Change::SetOptions { keyspace: id, options: options.clone() });
        }
        manifest.commit(changes).map_err(|error| self.fail(error))?;
        self.note_edit(manifest.last_edit());
        let version = Arc::new(Version::default());
        let state = State { active: Arc::new(self.fresh_memtable()), frozen: Vec::new(), version };
        let tree = Arc::new(Tree::new(id, name.into(), rules, 0, state));
        self.lock_trees().insert(id, Arc::clone(&tree));
        Ok(tree)
    }

    /// Raises the expiry mark of a keyspace durably, unless it is that high already.
    pub(crate) fn advance_expiry_mark(&self, tree: &Tree, mark: u64) -> Result<u64> {
        self.latch.check()?;
        let mut manifest = self.lock_manifest();
        tree.check_there()?;
        if tree.expiry_mark() < mark {
            let change = Change::ExpiryMark { keyspace: tree.id, mark };
            manifest.commit(vec![change]).map_err(|error| self.fail(error))?;
            self.note_edit(manifest.last_edit());
            tree.raise_expiry_mark(mark);
            self.environment.signal(Duty::Compact);
        }
        Ok(tree.expiry_mark())
    }

    pub(crate) fn drop_tree(&self, tree: &Arc<Tree>) -> Result<()> {
        self.latch.check()?;
        let mut manifest = self.lock_manifest();
        tree.check_there()?;
        {
            // No write comes in between its mark and the sync.
            let _committing = self.lock_commit();
            tree.mark_dropped();
        }
        self.sync()?;
        let proof = Change::LogDurable { position: self.log_durable()? };
        let mut changes = vec![proof, Change::DropKeyspace { keyspace: tree.id }];
        if planted(Bug::DropUnrecorded) {
            changes.pop();
        }
        if let Err(error) = manifest.commit(changes) {
            if matches!(error, Error::Full { .. }) {
                tree.mark_there();
            }
            return Err(self.fail(error));
        }
        self.note_edit(manifest.last_edit());
        self.lock_trees().remove(&tree.id);
        let fresh = Arc::new(self.fresh_memtable());
        tree.change_state(|state| {
            state.version.tables().for_each(|file| file.mark_obsolete());
            state.version.values.values().for_each(|file| file.mark_obsolete());
            State { active: fresh, frozen: Vec::new(), version: Arc::new(Version::default()) }
        });
        tree.gaps.forget();
        self.bound_log(&mut self.lock_commit());
        drop(manifest);
        self.measure_pile();
        self.environment.signal(Duty::Prepare);
        Ok(())
    }

    /// Freezes every memtable and flushes until none is left.
    fn flush_all(&self) -> Result<()> {
        self.flush_those(|_| true)
    }

    /// Freezes the memtables of some keyspaces, and flushes until none is left that is frozen.
    fn flush_those(&self, which: impl Fn(&Tree) -> bool) -> Result<()> {
        self.latch.check()?;
        {
            let _committing = self.lock_commit();
            let trees = self.trees();
            trees.iter().filter(|tree| which(tree)).for_each(|tree| self.freeze(tree));
        }
        loop {
            match self.flush_one() {
                Ok(true) => {}
                Ok(false) => return self.latch.check(),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    fn compact_one_or_fail(&self, urge: Urge) -> Result<bool> {
        self.latch.check()?;
        self.compact_one(urge).map_err(|error| self.fail(error))
    }

    /// Ends the store cleanly if it may still write, and gives up the lock.
    pub(crate) fn shut_down(&self) -> Result<()> {
        self.begin_closing();
        let outcome = match self.latch.check() {
            Err(Error::Closed | Error::ReadOnly { .. }) => return Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.end_cleanly(),
        };
        self.latch.shut(Error::Closed);
        // Whatever works behind the store sees the latch, or ends, before another may open it.
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock_commit().log = None;
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = None;
        outcome
    }

    fn end_cleanly(&self) -> Result<()> {
        let is_long = CLOSE_LOG_BYTES_MAX < self.lock_commit().log_bytes();
        let in_memory = |tree: &Tree| {
            // What is in no log.
            tree.is_unlogged() && tree.state().memtables().any(|memtable| !memtable.holds_nothing())
        };
        if is_long || self.trees().iter().any(|tree| in_memory(tree)) {
            match self.flush_those(|tree| is_long || tree.is_unlogged()) {
                // The log keeps what found no room, and opening will take longer.
                Ok(()) | Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Whatever runs behind the store ends before the log does.
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let _compacting = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        self.empty_trash()?;
        let mut manifest = self.lock_manifest();
        let reached = self.visible();
        let log = self.lock_commit().log.take();
        let Some(log) = log else { return Ok(()) };
        // The manifest repeats where the log ended, so that a log gone missing is noticed.
        let closed = log
            .close()
            .and_then(|position| match manifest.commit(vec![Change::LogDurable { position }]) {
                // The log's own clean end says it, too.
                Err(Error::Full { .. }) => Ok(()),
                committed => committed,
            })
            .map_err(|error| self.fail(error));
        self.latch.shut(Error::Closed);
        closed?;
        self.raise_durable(reached);
        Ok(())
    }
}
