//! The one way of a write: into the log, into the memtables, then visible, then durable.
//!
//! Encoding and hashing happen in the caller, outside every lock. Under the commit lock a write gets
//! its sequence numbers and its place in the log, is handed to the kernel if its durability asks for
//! that, enters the memtables, and becomes visible.
//!
//! 1. The order of records in the log is the order of sequence numbers is the order of visibility.
//! 2. A write enters a memtable only after its record is in the log's buffer whole, and, unless it
//!    waits for a sync, after the kernel has every byte up to its end.
//! 3. A write that returned an error is not visible. It may be found after a restart only if the
//!    error was a failure of the disk.

mod group;

pub(crate) use group::{Group, Listener};

use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    appended::Holding,
    background::Duty,
    batch::{Batch, Operations, check_sizes, encode_operation},
    error::{Error, Result},
    footprint::{Footprint, Watch},
    key::{Kind, SeqNo},
    keyspace::{LoggedMemtable, State, Tree},
    log::LogWriter,
    options::Durability,
    planted::{Bug, planted},
    positions::unlogged,
    stats::Counters,
    store::Store,
    sync,
};

/// What the commit lock guards.
pub(crate) struct Committing {
    /// `None` once the store is closed.
    pub(crate) log: Option<LogWriter>,
    /// The next write's number.
    pub(crate) next_seqno: SeqNo,
    /// The segment in which the log's bound was last looked at.
    pub(crate) bounded_at: u64,
    /// What is written while a transaction looks whether it may commit.
    pub(crate) watch: Watch,
    /// What keeps segments of the log.
    pub(crate) holding: Holding,
}

impl Committing {
    pub(crate) fn log(&mut self) -> Result<&mut LogWriter> {
        self.log.as_mut().ok_or(Error::Closed)
    }

    /// The segment that the next record goes to, at the earliest.
    pub(crate) fn log_end(&self) -> u64 {
        self.log.as_ref().map_or(u64::MAX, LogWriter::current_segment)
    }

    /// The last segment of which a power cut leaves at least the header.
    pub(crate) fn log_durable_segment(&self) -> u64 {
        self.log.as_ref().map_or(u64::MAX, |log| log.durable().segment())
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, LogWriter::bytes)
    }
}

/// What a write to these keyspaces can wait for.
fn durability_of(trees: &[Arc<Tree>], asked: Durability) -> Durability {
    if trees.iter().any(|tree| tree.is_unlogged()) { Durability::Os } else { asked }
}

sync::thread_local! {
    /// The payload of a write of one operation, kept for its memory.
    static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Payload buffers beyond this size are not kept.
const PAYLOAD_KEPT_BYTES_MAX: usize = 64 << 10;

impl Store {
    /// Writes one operation with the store's durability.
    pub(crate) fn write_one(
        &self,
        tree: &Arc<Tree>,
        kind: Kind,
        key: &[u8],
        value: &[u8],
    ) -> Result<SeqNo> {
        check_sizes(key, value)?;
        PAYLOAD.with(|payload| {
            let payload = &mut *payload.borrow_mut();
            payload.clear();
            encode_operation(payload, tree.id, kind, key, value);
            let written =
                self.write(payload, 1, std::slice::from_ref(tree), self.options.durability);
            if PAYLOAD_KEPT_BYTES_MAX < payload.capacity() {
                *payload = Vec::new();
            }
            written
        })
    }

    /// Writes a batch and waits for `durability`. Returns its last sequence number.
    pub(crate) fn write_batch(&self, batch: &Batch, durability: Durability) -> Result<SeqNo> {
        if batch.is_empty() {
            self.latch.check()?;
            return Ok(self.visible());
        }
        self.write(batch.payload(), batch.len() as u64, batch.trees(), durability)
    }

    fn write(
        &self,
        payload: &[u8],
        count: u64,
        trees: &[Arc<Tree>],
        durability: Durability,
    ) -> Result<SeqNo> {
        self.admit(payload.len())?;
        let durability = durability_of(trees, durability);
        let last = self.append(payload, count, trees, durability != Durability::Sync)?;
        self.tell_held();
        self.make_durable(last, durability)
    }

    /// Waits until the write of `last` is as durable as it should be, or sees to it.
    fn make_durable(&self, last: SeqNo, durability: Durability) -> Result<SeqNo> {
        match durability {
            Durability::Os => {}
            Durability::Sync if planted(Bug::AckBeforeSync) => {}
            Durability::Sync => self.wait_durable(last)?,
            Durability::Interval => {
                let due = self.environment.now() + self.options.interval;
                if self.group.sync_by(due) {
                    self.environment.signal(Duty::Sync);
                }
            }
        }
        Ok(last)
    }

    /// Puts a write into log and memtables and makes it visible; `hand_over` also gives it to the
    /// kernel.
    pub(crate) fn append(
        &self,
        payload: &[u8],
        count: u64,
        trees: &[Arc<Tree>],
        hand_over: bool,
    ) -> Result<SeqNo> {
        let payload_hash = xxh3_64(payload);
        let mut committing = self.lock_commit();
        self.append_locked(&mut committing, payload, payload_hash, count, trees, hand_over)
    }

    /// Writes a batch unless something that was `read` has been written to after `since`.
    pub(crate) fn write_if(
        &self,
        batch: &Batch,
        read: &[Footprint],
        since: SeqNo,
        durability: Durability,
    ) -> Result<SeqNo> {
        self.admit(batch.bytes())?;
        let durability = durability_of(batch.trees(), durability);
        let payload_hash = xxh3_64(batch.payload());
        self.lock_commit().watch.begin();
        let looked = read.iter().try_for_each(|footprint| footprint.check(since));
        let mut committing = self.lock_commit();
        let last = looked.and_then(|()| committing.watch.check(read, since)).and_then(|()| {
            let (payload, count) = (batch.payload(), batch.len() as u64);
            let hand_over = durability != Durability::Sync;
            let committing = &mut committing;
            self.append_locked(committing, payload, payload_hash, count, batch.trees(), hand_over)
        });
        committing.watch.end();
        drop(committing);
        self.tell_held();
        self.make_durable(last?, durability)
    }

    fn append_locked(
        &self,
        committing: &mut Committing,
        payload: &[u8],
        payload_hash: u64,
        count: u64,
        trees: &[Arc<Tree>],
        hand_over: bool,
    ) -> Result<SeqNo> {
        self.latch.check()?;
        for tree in trees {
            tree.check_there()?;
        }
        let first = committing.next_seqno;
        let segment = if trees.iter().any(|tree| tree.is_unlogged()) {
            committing.log()?.current_segment()
        } else {
            self.check_held(committing, payload)?;
            self.log_record(committing, first, count, payload, payload_hash, hand_over)?
        };
        committing.watch.note(first, payload);
        let mut seqno = first;
        if planted(Bug::VisibleEarly) {
            self.set_visible(first + count - 1);
            sync::yield_now();
        }
        for operation in Operations::new(payload) {
            let operation = operation.expect("a payload is what `encode_operation` made");
            let tree = match trees {
                [tree] => tree,
                trees => trees
                    .iter()
                    .find(|tree| tree.id == operation.keyspace)
                    .expect("a batch lists its keyspaces"),
            };
            let state = tree.state();
            if operation.kind == Kind::Pointer {
                let held = state.hold_values_of(operation.value);
                assert!(held, "a stream's file is known before its pointer is written");
            }
            tree.apply(&state.active, segment, &operation, seqno);
            if operation.kind.is_of_entries() && operation.kind != Kind::Delete {
                tree.gaps.cut(operation.key);
            }
            seqno += 1;
        }
        let last = first + count - 1;
        assert!(seqno == last + 1, "a batch counts its operations");
        committing.next_seqno = last + 1;
        let unlogged = trees.iter().any(|tree| tree.is_unlogged());
        let Counters { appended_bytes, unlogged_bytes, .. } = &self.counters;
        let counter = if unlogged { unlogged_bytes } else { appended_bytes };
        counter.fetch_add(payload.len() as u64, Relaxed);
        self.set_visible(last);
        for tree in trees {
            self.freeze_if_full(tree);
        }
        if committing.bounded_at != segment || committing.holding.is_held() {
            committing.bounded_at = segment;
            self.bound_log(committing);
        }
        Ok(last)
    }

    /// Adds the record to the log. Returns the segment in which it begins, or one before.
    pub(crate) fn log_record(
        &self,
        committing: &mut Committing,
        first: SeqNo,
        count: u64,
        payload: &[u8],
        payload_hash: u64,
        hand_over: bool,
    ) -> Result<u64> {
        let log = committing.log()?;
        let segment = log.current_segment();
        let appended = log
            .pass(first)
            .and_then(|()| log.append(first, count as u32, &[payload], payload_hash));
        if appended.is_err() || self.room.log.is_missing() {
            self.room.log.note(&appended, self.environment.now());
        }
        // `Full` if there was no room for another segment: the log is as it was.
        appended.map_err(|error| self.fail(error))?;
        let hand_over = hand_over && !planted(Bug::AckBeforeHandOver);
        if hand_over && let Err(error) = log.hand_over() {
            if planted(Bug::PartialWriteForgotten) {
                committing.next_seqno += count;
                return Err(error);
            }
            return Err(self.fail(error));
        }
        if self.log_pool.is_due() {
            self.environment.signal(Duty::Prepare);
        }
        Ok(segment)
    }

    /// Freezes the active memtable of `tree` when it has grown enough. Under the commit lock.
    fn freeze_if_full(&self, tree: &Tree) {
        let state = tree.state();
        let active = &state.active;
        let entries_max = self.options.memtable_entries_max.unwrap_or(u64::MAX);
        let full = self.memtable_bytes_max.load(Relaxed) <= active.bytes()
            || entries_max <= active.table.len();
        if full || active.has_many_ranges() {
            self.freeze(tree);
        }
    }

    /// Puts a new memtable in front of the active one. Under the commit lock.
    pub(crate) fn freeze(&self, tree: &Tree) {
        if tree.state().active.holds_nothing() {
            return;
        }
        self.split_memory(tree.state().active.table.len());
        let fresh = Arc::new(self.fresh_memtable());
        tree.change_state(|state| {
            let mut frozen = Vec::with_capacity(state.frozen.len() + 1);
            frozen.push(Arc::clone(&state.active));
            frozen.extend(state.frozen.iter().cloned());
            State { active: fresh, frozen, version: Arc::clone(&state.version) }
        });
        self.environment.signal(Duty::Flush);
    }

    pub(crate) fn fresh_memtable(&self) -> LoggedMemtable {
        LoggedMemtable::new(&self.environment, self.memtable_bytes_max.load(Relaxed))
    }

    /// Has the next memtables as large as memory allows. Two of them fit into their share, one that is
    /// written to and one that is being flushed.
    fn split_memory(&self, entries: u64) {
        let share = self.environment.split_memory(entries);
        self.memtable_bytes_max.store(self.options.memtable_bytes_within(share), Relaxed);
    }

    /// Appends without waiting: for writers that are told later, or that ask for no sync. Who works for
    /// it is called by `want_durable`.
    pub(crate) fn write_unwaited(&self, batch: &Batch, hand_over: bool) -> Result<SeqNo> {
        if batch.is_empty() {
            self.latch.check()?;
            return Ok(self.visible());
        }
        if let Some(tree) = batch.trees().iter().find(|tree| tree.is_unlogged()) {
            return Err(unlogged(&tree.name));
        }
        self.admit_ticket(batch.bytes())?;
        let last = self.append(batch.payload(), batch.len() as u64, batch.trees(), hand_over)?;
        self.tell_held();
        Ok(last)
    }

    /// Has the sync thread make everything up to `seqno` durable.
    pub(crate) fn want_durable(&self, seqno: SeqNo) {
        if self.durable() < seqno && self.group.ticket(seqno) {
            self.environment.signal(Duty::Sync);
        }
    }

    /// Everything visible now is durable when this returns.
    pub(crate) fn sync(&self) -> Result<SeqNo> {
        self.latch.check()?;
        self.wait_durable(self.visible())?;
        Ok(self.durable())
    }

    /// Writes down in the log, without a sync, how far it is durable, unless a frame says so already:
    /// then what was acknowledged last is told from a torn tail, too.
    pub(crate) fn mark_durable(&self) -> Result<()> {
        let mut committing = self.lock_commit();
        self.latch.check()?;
        let log = committing.log()?;
        if !log.durable_marker_is_due() {
            return Ok(());
        }
        match log.append_durable_marker().and_then(|_| log.hand_over()) {
            // No room for another segment, and none is needed yet.
            Ok(()) | Err(Error::Full { .. }) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Refuses keyspaces' names that are empty or too long.
    pub(crate) fn check_name(name: &str) -> Result<()> {
        let most = crate::keyspace::KEYSPACE_NAME_BYTES_MAX;
        if name.is_empty() || most < name.len() {
            let what = format!("has {} bytes, and must have 1 to {most}", name.len());
            return Err(Error::Invalid { field: "keyspace", what });
        }
        Ok(())
    }
}
