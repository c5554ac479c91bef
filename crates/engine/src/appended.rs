//! Records that go to the log only: for whoever keeps in memory what they say, until it has been written
//! in another form.
//!
//! An appended record has the place in the log and the durability of any write, and is in no memtable. When
//! the store is opened, `Db::open_with` hands out again those that are not covered: a batch covers them by
//! saying up to which number they are contained in what has been written (`Batch::applied_to`). That
//! number stands in the log with the batch, travels with the memtable that takes it, and is named by the
//! edit of the manifest that names the memtable's table.
//!
//! 1. A segment of the log is not given up before the manifest says of every record that begins in it that
//!    it is covered, or a table holds it (`carried.rs`).
//! 2. The number of what is covered is durable exactly when its batch is.
//! 3. What was not handed out again since the store was opened cannot be covered.
//! 4. An owner who does not cover holds up others late, and loses nothing by it (`Held`).

mod carried;
mod replay;

pub(crate) use carried::{CARRIED, Carrying, carried_in, encode_key};

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
};

use crate::{
    batch::{Batch, Operation, Operations},
    commit::Committing,
    error::{Error, Result},
    health::Event,
    key::{Kind, SeqNo},
    keyspace::{Keyspace, LoggedMemtable, Tree},
    planted::{Bug, planted},
    store::Store,
    sync::{Mutex, MutexGuard},
};

/// From this many times its bound on, a log that an owner holds takes no more of that owner's records.
const HELD_OWNER_FACTOR: u64 = 4;
/// And from this many times on nothing but batches by which the owner covers.
const HELD_ALL_FACTOR: u64 = 8;

/// The records of one keyspace that went to the log only.
#[derive(Debug, Default)]
pub(crate) struct Appended(Mutex<Uncovered>);

#[derive(Debug, Default)]
struct Uncovered {
    /// The segments in which records begin that the manifest does not know to be covered: number, first and
    /// last record.
    segments: VecDeque<(u64, SeqNo, SeqNo)>,
    /// What is covered, as the manifest says.
    covered: SeqNo,
    /// What is covered, as all batches say.
    applied: SeqNo,
    /// The last record that came with the store, if it is a copy.
    carried: SeqNo,
    /// The last record that was there at opening, as long as not all have been handed out again; 0
    /// otherwise.
    unreplayed: SeqNo,
    /// The last one that was handed out.
    replayed: SeqNo,
}

impl Appended {
    /// What the manifest says of a keyspace.
    pub(crate) fn covered_to(covered: SeqNo) -> Appended {
        let applied = covered;
        Appended(Mutex::new(Uncovered { covered, applied, ..Uncovered::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Uncovered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a record that begins in `segment`, or in a later one. One caller at a time, in order.
    fn note(&self, segment: u64, seqno: SeqNo) {
        let mut state = self.lock();
        if seqno <= state.covered {
            return;
        }
        match state.segments.back_mut() {
            Some((last, _, newest)) if *last == segment => *newest = seqno,
            _ => state.segments.push_back((segment, seqno, seqno)),
        }
    }

    fn apply(&self, up_to: SeqNo) {
        let mut state = self.lock();
        state.applied = state.applied.max(up_to);
    }

    /// Notes that the manifest says so.
    pub(crate) fn cover(&self, up_to: SeqNo) {
        let mut state = self.lock();
        state.covered = state.covered.max(up_to);
        state.applied = state.applied.max(up_to);
        let covered = state.covered;
        while state.segments.pop_front_if(|(_, _, last)| *last <= covered).is_some() {}
    }

    /// The oldest segment that is needed when the manifest says that records up to `up_to` are covered.
    pub(crate) fn oldest_segment(&self, up_to: SeqNo) -> u64 {
        let state = self.lock();
        let needed = state.segments.iter().find(|(_, _, last)| up_to.max(state.covered) < *last);
        needed.map_or(u64::MAX, |(segment, ..)| *segment)
    }

    /// What is covered, as all batches say.
    pub(crate) fn applied(&self) -> SeqNo {
        self.lock().applied
    }

    /// A number at or below the first record that no batch covers; `None` when there is no such record.
    pub(crate) fn first_unapplied(&self) -> Option<SeqNo> {
        let state = self.lock();
        let found = state.segments.iter().find(|(_, _, last)| state.applied < *last);
        found.map(|(_, first, _)| (*first).max(state.applied + 1))
    }

    /// Whether there are records that no batch covers.
    pub(crate) fn has_unapplied(&self) -> bool {
        let state = self.lock();
        let last = state.segments.back().map_or(0, |(_, _, last)| *last);
        state.applied < last.max(state.carried)
    }

    /// Notes a record that came with a copy. Whether no batch covers it.
    fn note_carried(&self, seqno: SeqNo) -> bool {
        let mut state = self.lock();
        state.carried = state.carried.max(seqno);
        state.applied < seqno
    }

    /// From here on nothing is covered that was not handed out again.
    fn begin_replay(&self) {
        let mut state = self.lock();
        let last = state.segments.back().map_or(0, |(_, _, last)| *last).max(state.carried);
        state.unreplayed = if state.applied < last { last } else { 0 };
        state.replayed = state.applied;
    }

    /// Notes that a record is handed out again.
    fn hand_out(&self, seqno: SeqNo) {
        self.lock().replayed = seqno;
    }

    fn end_replay(&self) {
        self.lock().unreplayed = 0;
    }

    /// The last record that waits to be handed out again; 0 when none does.
    fn unreplayed(&self) -> SeqNo {
        self.lock().unreplayed
    }

    /// Refuses to cover up to `seqno` what was not handed out again.
    fn check_replayed(&self, keyspace: &str, seqno: SeqNo) -> Result<()> {
        let state = self.lock();
        if state.unreplayed == 0 || seqno <= state.replayed {
            return Ok(());
        }
        let what = format!(
            "{keyspace:?} has appended records up to {} that were not handed out again; open the store \
             with `Db::open_with`",
            state.unreplayed
        );
        Err(Error::Invalid { field: "keyspace", what })
    }
}

impl Tree {
    /// Takes an operation of a batch whose record lies in `segment`. One caller at a time.
    pub(crate) fn apply(
        &self,
        active: &LoggedMemtable,
        segment: u64,
        operation: &Operation<'_>,
        seqno: SeqNo,
    ) {
        match operation.kind {
            Kind::Append => self.appended.note(segment, seqno),
            Kind::Applied => {
                let up_to = applied_number(operation.value);
                active.note_applied(segment, seqno, up_to);
                self.appended.apply(up_to);
            }
            Kind::Position => {
                active.note_position(segment, seqno, operation.key, operation.value);
            }
            _ => active.apply(segment, operation, seqno),
        }
    }

    /// The oldest segment of the log that this keyspace needs once `flushed` is in a table; `u64::MAX` when
    /// it needs none.
    pub(crate) fn oldest_segment(&self, flushed: Option<&Arc<LoggedMemtable>>) -> u64 {
        if self.is_unlogged() {
            return u64::MAX;
        }
        let (mut oldest, mut covered) = (u64::MAX, 0);
        for memtable in self.state().memtables() {
            if flushed.is_some_and(|flushed| Arc::ptr_eq(memtable, flushed)) {
                covered = memtable.applied();
            } else {
                oldest = oldest.min(memtable.oldest_segment());
            }
        }
        if planted(Bug::AppendedReleasedEarly) {
            return oldest;
        }
        oldest.min(self.appended.oldest_segment(covered))
    }
}

/// The number in an operation that says what is covered.
pub(crate) fn applied_number(value: &[u8]) -> SeqNo {
    value.first_chunk::<8>().map_or(0, |bytes| SeqNo::from_le_bytes(*bytes))
}

impl Batch {
    /// Adds a record that goes to the log only: nothing reads it but `Db::open_with`, until a batch covers
    /// it (`applied_to`). Its sequence number is that of its place in the batch.
    pub fn append(&mut self, keyspace: &Keyspace, record: &[u8]) -> Result<()> {
        self.add(keyspace, Kind::Append, &[], record)
    }

    /// Says that the records appended to the keyspace up to the number `seqno` are contained in what this
    /// batch and those before it write: they are not handed out again, and the log lets go of them. The
    /// number must have been given out already, and what was there when the store was opened must have been
    /// handed out by `Db::open_with`.
    pub fn applied_to(&mut self, keyspace: &Keyspace, seqno: SeqNo) -> Result<()> {
        let visible = keyspace.store().visible();
        if visible < seqno {
            let what = format!("is {seqno}, and the last write is {visible}");
            return Err(Error::Invalid { field: "seqno", what });
        }
        keyspace.tree().appended.check_replayed(keyspace.name(), seqno)?;
        self.add(keyspace, Kind::Applied, &[], &seqno.to_le_bytes())
    }
}

impl Keyspace {
    /// Appends a record that goes to the log only, with the store's durability. Returns its sequence number.
    /// See `Batch::append`.
    pub fn append(&self, record: &[u8]) -> Result<SeqNo> {
        let mut batch = Batch::new();
        batch.append(self, record)?;
        self.store().write_batch(&batch, self.store().options.durability)
    }

    /// The number up to which appended records are covered, by all batches that were written.
    pub fn applied_to(&self) -> SeqNo {
        self.tree().appended.applied()
    }
}

/// Who keeps the log from getting shorter.
#[derive(Debug)]
pub(crate) struct Held {
    tree: Arc<Tree>,
    /// The first record that is not covered, or a number before it.
    pub(crate) seqno: SeqNo,
}

/// What keeps segments of the log.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// The owner of appended records that the log is too long for, if it is too long.
    held: Option<Held>,
    /// The keyspace of which that was told last.
    told: Option<u32>,
    /// Segments that are being copied.
    pins: Vec<std::sync::Weak<u64>>,
}

impl Holding {
    /// Keeps the segments from `oldest` on as long as what is returned lives.
    pub(crate) fn pin(&mut self, oldest: u64) -> Arc<u64> {
        let pin = Arc::new(oldest);
        self.pins.push(Arc::downgrade(&pin));
        pin
    }

    /// The oldest segment that is being copied; `u64::MAX` when none is.
    pub(crate) fn pinned(&mut self) -> u64 {
        self.pins.retain(|pin| 0 < pin.strong_count());
        self.pins.iter().filter_map(|pin| Some(*pin.upgrade()?)).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

/// The owner of appended records that keep the log longer than its bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHeld {
    /// The keyspace.
    pub keyspace: String,
    /// The first record that is not covered, or a number before it.
    pub seqno: SeqNo,
    /// Bytes of the log.
    pub log_bytes: u64,
}

impl Store {
    /// Freezes the memtable that holds the oldest records when the log is longer than its bound; where
    /// records hold it that their owner has not covered, that is noted. Under the commit lock, once a
    /// segment.
    pub(crate) fn bound_log(&self, committing: &mut Committing) {
        let bytes = committing.log_bytes();
        self.counters.log_bytes.store(bytes, Relaxed);
        let holder = if bytes <= self.options.log_bytes_bound() {
            None
        } else {
            self.shorten_log(committing.log_end())
        };
        let holding = &mut committing.holding;
        let id = holder.as_ref().map(|held| held.tree.id);
        if id.is_some() && holding.told != id {
            self.held_news.store(true, Relaxed);
        }
        holding.told = id;
        holding.held = holder;
    }

    /// Freezes the memtable whose flush lets the log be shorter, or says who keeps it from that.
    fn shorten_log(&self, log_end: u64) -> Option<Held> {
        let oldest = |tree: &Arc<Tree>| tree.oldest_segment(None);
        let laggard = self.trees().into_iter().min_by_key(oldest)?;
        let segment = oldest(&laggard);
        if log_end <= segment {
            return None;
        }
        let applied = laggard.appended.applied();
        if segment < laggard.appended.oldest_segment(applied) {
            // One that is frozen already is on its way.
            if laggard.state().frozen.is_empty() {
                self.freeze(&laggard);
            }
            return None;
        }
        let seqno = laggard.appended.first_unapplied().unwrap_or(applied);
        Some(Held { tree: laggard, seqno })
    }

    /// Refuses what makes a log longer that an owner of appended records holds. Under the commit lock.
    pub(crate) fn check_held(&self, committing: &Committing, payload: &[u8]) -> Result<()> {
        let Some(held) = &committing.holding.held else { return Ok(()) };
        let (bytes, bound) = (committing.log_bytes(), self.options.log_bytes_bound());
        if bytes <= HELD_OWNER_FACTOR * bound {
            return Ok(());
        }
        let (mut appends, mut covers) = (false, false);
        for operation in Operations::new(payload).flatten() {
            let own = operation.keyspace == held.tree.id;
            appends |= own && operation.kind == Kind::Append;
            covers |= own && operation.kind == Kind::Applied;
        }
        if covers || !appends && bytes <= HELD_ALL_FACTOR * bound {
            return Ok(());
        }
        Err(Error::LogHeld { keyspace: held.tree.name.clone(), seqno: held.seqno })
    }

    /// Who holds the log, if it is longer than its bound.
    pub(crate) fn log_held(&self) -> Option<LogHeld> {
        let committing = self.lock_commit();
        let held = committing.holding.held.as_ref()?;
        let keyspace = held.tree.name.clone();
        Some(LogHeld { keyspace, seqno: held.seqno, log_bytes: committing.log_bytes() })
    }

    /// Tells who holds the log, if that is news. No lock is held.
    pub(crate) fn tell_held(&self) {
        if self.held_news.load(Relaxed)
            && self.held_news.swap(false, Relaxed)
            && let Some(held) = self.log_held()
        {
            self.tell(&Event::LogHeld(held));
        }
    }
}
