//! Time series: points by measurement, tags and time.
//!
//! A request of points, or a slice of a large one, becomes one record of the log, and rows in memory; from there they go into chunks,
//! column by column, which are values of the engine, and small chunks into larger ones. Databases, fields, series
//! and postings are rows of the engine, in the batch of the record that needs them first.
//!
//! Modules in reading order: `layout` draws the rows; `catalog` is what there is; `memo`, `head` and `slots` are
//! what is in memory of each series; `record` is what the log has; `request` is what points come in, `write` takes them; `seal` makes chunks of
//! rows, `settle` larger ones of small ones; `find` tells which series have some tags, `offenders` who has too many;
//! `read` is the source that queries read; `alter` carries out statements that change something.
//!
//! 1. A row is seen from when its record is in the log, and shown when that is durable.
//! 2. A row is in memory or in a chunk, or both for a moment, and never in none: who reads looks at memory
//!    first.
//! 3. Chunks and rows of a series that have the same time are told apart by precedence, which grows with the
//!    log: field by field the latest value counts.
//! 4. The log lets go of a record when all of its rows are in chunks.

mod alter;
mod answer;
mod catalog;
pub mod chunk;
mod find;
mod head;
mod layout;
mod memo;
mod merge;
mod offenders;
mod read;
mod record;
mod request;
mod seal;
mod settle;
mod slots;
mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use olivine_command::points::FieldType;
use olivine_engine::{
    Batch, Db, Durability, Environment, Error, Keyspace, KeyspaceOptions, Reservation, Result,
    SeqNo,
};
use olivine_query::Helpers;
use olivine_vfs::Vfs;

use self::{
    catalog::{Catalog, Unstored, damage},
    head::Layout,
    layout::{CHUNKS, POSTINGS, SERIES, row, take},
    record::RecordReader,
    seal::Sealing,
    settle::Settling,
    slots::Slots,
};

pub(crate) use answer::Patience;
pub(crate) use request::SLICE_UNITS_MAX;
pub use request::{PointsWrite, Progress};
pub(crate) use write::Target;

/// Rows of a series in memory from which on a chunk is made of them.
const HEAD_ROWS_MAX: usize = 4_096;
/// Bytes of records that no chunk covers from which on chunks are made of all rows.
const RECORD_BYTES_MAX: usize = 96 << 20;
/// Of the memory that callers of the engine may reserve, the part that rows and series may take before
/// chunks are made of all rows.
const HEADS_PART: u64 = 3;

/// Points that a query is expected to read still before another thread helps it: fewer are read while that starts.
const HELPED_POINTS_MIN: u64 = 1 << 16;

/// The part of all memory that one query may take.
const QUERY_PART: u64 = 8;

/// The time series of a store.
pub(crate) struct SeriesStore {
    db: Db,
    durability: Durability,
    series: Keyspace,
    postings: Keyspace,
    chunks: Keyspace,
    state: Mutex<State>,
    /// Who waits for it.
    waiting: AtomicUsize,
    /// Held by who makes chunks, or rewrites them.
    working: Mutex<Option<Settling>>,
    heads_bytes_max: usize,
    series_max: u64,
    /// Memory that one query may take, whatever it says.
    query_bytes_max: u64,
    /// Threads that queries may have besides those that ask them.
    helpers: Helpers,
    /// Where the time zones of `tz()` are read from.
    disk: Arc<dyn Vfs>,
}

/// Numbers and types of fields.
type Fields = Box<[(u32, FieldType)]>;

/// What is in memory.
pub(crate) struct State {
    catalog: Catalog,
    slots: Slots,
    layouts: Arc<Vec<Layout>>,
    layout_numbers: BTreeMap<(u32, Fields), u32>,
    /// Memory that layouts take, which no chunk frees.
    layout_bytes: usize,
    /// Rows of the catalog that the next batch must have, and postings.
    unstored: Unstored,
    postings: Vec<Vec<u8>>,
    /// Counts rows, so that it is known which came later.
    arrivals: u64,
    head_bytes: usize,
    /// Bytes of records since all rows were last made chunks of.
    record_bytes: usize,
    /// The number of the last record.
    position: SeqNo,
    /// Slots with so many rows that a chunk is due.
    full: Vec<u32>,
    /// Chunks that were made in each partition since it was settled.
    unsettled: BTreeMap<(u32, i64), u64>,
    /// All rows are being made chunks of.
    sealing: Option<Sealing>,
    /// Who had all the series when a bucket got no more of them, and when that was.
    offenders: BTreeMap<u32, (u64, String)>,
    /// The part of the budget that all this takes.
    reservation: Reservation,
}

/// How time series behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeriesOptions {
    pub(crate) durability: Durability,
    pub(crate) series_max: u64,
}

impl SeriesStore {
    /// The time series of a store, without the rows that are in its log only: `replay` is given those.
    pub(crate) fn open(
        db: &Db,
        environment: &Environment,
        options: SeriesOptions,
    ) -> Result<SeriesStore> {
        let budget = environment.budget();
        let series = db.keyspace(SERIES)?;
        let postings = db.keyspace(POSTINGS)?;
        let chunks = db.keyspace_with(CHUNKS, &KeyspaceOptions::default())?;
        let catalog = Catalog::open(&series)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = budget.share_bytes_max(olivine_engine::Share::Reserved);
        let state = State {
            catalog,
            slots: Slots::default(),
            layouts: Arc::default(),
            layout_numbers: BTreeMap::new(),
            layout_bytes: 0,
            unstored: Unstored::new(),
            postings: Vec::new(),
            arrivals: 0,
            head_bytes: 0,
            record_bytes: 0,
            position: 0,
            full: Vec::new(),
            unsettled: BTreeMap::new(),
            sealing: None,
            offenders: BTreeMap::new(),
            reservation: budget.reserve(0)?,
        };
        Ok(SeriesStore {
            db: db.clone(),
            durability: options.durability,
            series,
            postings,
            chunks,
            state: Mutex::new(state),
            waiting: AtomicUsize::new(0),
            working: Mutex::default(),
            heads_bytes_max: (share / HEADS_PART) as usize,
            series_max: options.series_max,
            query_bytes_max: budget.bytes_max() / QUERY_PART,
            helpers: Helpers::new(cores.saturating_sub(1), HELPED_POINTS_MIN),
            disk: Arc::clone(environment.vfs()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        if let Some(guard) = self.lock_if_free() {
            return guard;
        }
        self.waiting.fetch_add(1, Relaxed);
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Relaxed);
        guard
    }

    /// The same if nobody has it.
    fn lock_if_free(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The same for who comes again and again: whoever waits for a lock is not awake when it is let go of, and would
    /// find it taken every time.
    fn lock_behind_others(&self) -> MutexGuard<'_, State> {
        /// More than anybody takes to wake up; and nobody is let pass for ever.
        const TURNS_MAX: usize = 1_000;
        for _ in 0..TURNS_MAX {
            if self.waiting.load(Relaxed) == 0 {
                break;
            }
            std::thread::yield_now();
        }
        self.lock()
    }

    /// Takes the rows of a record that the log has.
    pub(crate) fn replay(&self, position: SeqNo, record: &[u8]) -> Result<()> {
        let damaged = || damage(&self.chunks, &record[..record.len().min(32)]);
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut reader = RecordReader::new(record).map_err(|_| damaged())?;
        let (mut layouts, mut layout) = (0, 0);
        while reader.next().map_err(|_| damaged())? {
            let Some(known) = &reader.layout else { return Err(damaged()) };
            if layouts != reader.layouts {
                layouts = reader.layouts;
                layout = state.layout(known.clone());
            }
            // What was dropped since has no such row any more.
            let Some(slot) = self.slot(state, reader.bucket, reader.series)? else { continue };
            let number = (layout, &state.layouts[layout as usize]);
            state.arrivals += 1;
            let moment = (reader.time, state.arrivals);
            let head = &mut state.slots.all[slot as usize].head;
            state.head_bytes += head.push(number, moment, &reader.values, &mut reader.texts);
        }
        state.position = position;
        state.record_bytes += record.len();
        let is_much = self.heads_bytes_max < state.bytes();
        state.charge();
        drop(guard);
        if is_much {
            self.seal_all()?;
        }
        Ok(())
    }

    /// The slot of a series; nothing if there is no such series.
    fn slot(&self, state: &mut State, bucket: u32, series: u32) -> Result<Option<u32>> {
        if let Some(slot) = state.slots.find_number(bucket, series) {
            return Ok(Some(slot));
        }
        let Some((table, key)) = self.key_of(bucket, series)? else { return Ok(None) };
        Ok(Some(state.slots.add(bucket, table, series, &key)))
    }

    /// Table and key of a series, as it is stored.
    fn key_of(&self, bucket: u32, series: u32) -> Result<Option<(u32, Vec<u8>)>> {
        let by_number = row(b'r', &[bucket, series], &[]);
        let Some(value) = self.series.get(&by_number)? else { return Ok(None) };
        let mut bytes: &[u8] = &value;
        let Some(table) = take(&mut bytes) else { return Err(damage(&self.series, &by_number)) };
        Ok(Some((u32::from_be_bytes(table), bytes.to_vec())))
    }

    /// Adds to a batch what must be in the next one.
    fn add_unstored(&self, state: &State, batch: &mut Batch) -> Result<()> {
        for (key, value) in &state.unstored {
            batch.put(&self.series, key, value)?;
        }
        for key in &state.postings {
            batch.put(&self.postings, key, &[])?;
        }
        Ok(())
    }

    /// Hands a batch to the engine, and leaves it to others to make it durable.
    fn put(&self, batch: Batch) -> Result<SeqNo> {
        if self.durability == Durability::Sync {
            return Ok(self.db.write_unled(batch)?.seqno());
        }
        Ok(self.db.write_ticketed_with(batch, self.durability)?.seqno())
    }

    /// Hands a batch to the engine that nobody waits for, and waits itself while the store is behind. Whoever tells of
    /// what it did waits for all that is visible.
    fn put_behind(&self, batch: Batch) -> Result<()> {
        if !batch.is_empty() {
            self.db.write_with(batch, Durability::Os)?;
        }
        Ok(())
    }

    /// Up to where the store must be durable before what was written there is told to last.
    fn must_last(&self, position: SeqNo) -> Option<SeqNo> {
        (self.durability == Durability::Sync && self.db.durable() < position).then_some(position)
    }

    /// What must be durable before what was read now is shown.
    pub(crate) fn shown_at(&self) -> Option<SeqNo> {
        if self.db.check_writable().is_err() {
            return None;
        }
        self.must_last(self.db.visible())
    }
}

impl State {
    /// Memory that rows and series take.
    fn bytes(&self) -> usize {
        self.head_bytes + self.slots.bytes()
    }

    /// Corrects what is charged to the budget.
    fn charge(&mut self) {
        const STEP: u64 = 1 << 20;
        let bytes = (self.bytes() + self.layout_bytes) as u64;
        if STEP < bytes.abs_diff(self.reservation.bytes()) {
            self.reservation.set(bytes);
        }
    }

    /// What was to be in the next batch is in this one.
    fn stored(&mut self, position: SeqNo, record_bytes: usize) {
        self.unstored.clear();
        self.postings.clear();
        if record_bytes != 0 {
            self.position = position;
            self.record_bytes += record_bytes;
        }
    }
}

/// The error of the engine that an impossible chunk is.
fn bad_chunk(keyspace: &Keyspace, key: &[u8], what: &str) -> Error {
    let what = format!("the chunk {} is damaged: {what}", key.escape_ascii());
    Error::Unusable { path: keyspace.name().into(), what }
}
