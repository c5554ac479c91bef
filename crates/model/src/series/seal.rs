//! Chunks are made of the rows in memory.
//!
//! Either of one series that has many rows, or of all: then the log lets go of their records. Rows are frozen
//! first, which is quick; making chunks of them goes on while others write and read.
//!
//! 1. Frozen rows go from memory only after the batch with their chunk was taken by the engine.
//! 2. Records are let go of in a batch behind all chunks that have their rows.

use std::sync::{Arc, PoisonError};

use olivine_command::points::split_key;
use olivine_engine::{Batch, Error, Result, SeqNo};
use olivine_query::source::Column;

use super::{
    RECORD_BYTES_MAX, SeriesStore, State, bad_chunk,
    catalog::Policy,
    chunk::{self, Effort, Unfit},
    head::{Layout, Part},
    layout::{ChunkKey, posting},
    slots::Frozen,
};

/// Rows of a chunk at most.
pub(crate) const ROWS_MAX: usize = 16_384;
/// Bytes of chunks that go to the engine at once.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// All rows are being made chunks of.
#[derive(Debug)]
pub(crate) struct Sealing {
    /// The last record whose rows are among them.
    position: SeqNo,
    /// Slots to go, the last first.
    slots: Vec<u32>,
}

impl SeriesStore {
    /// Does some of the work that is due; false if there was none.
    pub(crate) fn work(&self, now: u64) -> Result<bool> {
        let mut settling = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seal_some()? {
            return Ok(true);
        }
        if self.drop_expired(now)? {
            return Ok(true);
        }
        self.settle_some(&mut settling)
    }

    /// Makes chunks of all rows that are there now.
    pub(crate) fn seal_all(&self) -> Result<()> {
        let _working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        self.finish_sealing()?;
        self.begin_sealing();
        self.finish_sealing()
    }

    /// Begins to make chunks of all rows that are there now. Whoever calls holds `working`, so that slots stay where
    /// they are; they are looked through a few at a time, because writers wait meanwhile.
    pub(crate) fn begin_sealing(&self) {
        /// Slots that are looked at before somebody else may come.
        const LOOKED_AT: usize = 4_096;
        let (position, count) = {
            let mut state = self.lock();
            state.record_bytes = 0;
            (state.position, state.slots.all.len())
        };
        let mut found = Vec::new();
        for start in (0..count).step_by(LOOKED_AT) {
            let state = self.lock_behind_others();
            let slots = state.slots.all.iter().zip(0_u32..).skip(start).take(LOOKED_AT);
            found.extend(slots.filter_map(|(slot, number)| {
                let has_rows = !slot.head.is_empty() || !slot.frozen.is_empty();
                has_rows.then_some((slot.bucket, slot.table, slot.series, number))
            }));
        }
        // The last is taken first; chunks come in the order of their keys, as far as that is known here.
        found.sort_unstable_by(|a, b| b.cmp(a));
        let slots = found.into_iter().map(|(.., number)| number).collect();
        self.lock().sealing = Some(Sealing { position, slots });
    }

    pub(crate) fn finish_sealing(&self) -> Result<()> {
        while self.lock().sealing.is_some() {
            self.seal_some()?;
        }
        Ok(())
    }

    /// Makes some chunks, if any are due. Whoever calls holds `working`.
    fn seal_some(&self) -> Result<bool> {
        let is_due = {
            let state = self.lock();
            let is_much = self.heads_bytes_max < state.bytes();
            state.sealing.is_none() && (is_much || RECORD_BYTES_MAX < state.record_bytes)
        };
        if is_due {
            self.begin_sealing();
        }
        let (slots, layouts, whole) = {
            let mut guard = self.lock_behind_others();
            let state = &mut *guard;
            let (from, whole) = match &mut state.sealing {
                Some(sealing) => (&mut sealing.slots, Some(sealing.position)),
                None => (&mut state.full, None),
            };
            let slots = from.split_off(from.len().saturating_sub(SLOTS));
            for slot in &slots {
                state.freeze(*slot);
            }
            (slots, Arc::clone(&state.layouts), whole)
        };
        if slots.is_empty() {
            return match whole {
                Some(position) => self.cover(position).map(|()| true),
                None => Ok(false),
            };
        }
        self.seal(&slots, &layouts).inspect_err(|_| {
            // They are frozen, and wait for the next attempt.
            let mut state = self.lock();
            match &mut state.sealing {
                Some(sealing) => sealing.slots.extend(&slots),
                None => state.full.extend(&slots),
            }
        })?;
        Ok(true)
    }

    /// Lets the log go of records up to a position.
    fn cover(&self, position: SeqNo) -> Result<()> {
        if self.chunks.applied_to() < position {
            let mut batch = Batch::new();
            batch.applied_to(&self.chunks, position)?;
            self.put_behind(batch)?;
        }
        let mut state = self.lock();
        state.sealing = None;
        if self.heads_bytes_max / 2 < state.slots.bytes() && self.has_stored(&mut state)? {
            // Series that still come are met again; the others cost nothing any more.
            let forgotten = state.slots.forget();
            let slots = state.slots.all.iter().zip(0..);
            state.full = slots.filter_map(|(slot, n)| slot.is_queued.then_some(n)).collect();
            state.charge();
            drop(state);
            // Letting go of that much memory takes a while.
            drop(forgotten);
            return Ok(());
        }
        state.charge();
        Ok(())
    }

    /// Stores what waits for the next batch; false if the store is behind. Series of which the rows are nowhere yet
    /// are known by their slots alone: forgotten, they would be made a second time.
    fn has_stored(&self, state: &mut State) -> Result<bool> {
        if state.unstored.is_empty() && state.postings.is_empty() {
            return Ok(true);
        }
        let mut batch = Batch::new();
        self.add_unstored(state, &mut batch)?;
        match self.put(batch) {
            Ok(position) => state.stored(position, 0),
            Err(Error::Busy { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Makes chunks of the frozen rows of some slots.
    fn seal(&self, slots: &[u32], layouts: &[Layout]) -> Result<()> {
        let mut batch = Batch::new();
        let (mut bytes, mut sealed, mut made) = (0, Vec::new(), Vec::new());
        for slot in slots {
            let Some((place, frozen)) = self.lock().frozen(*slot) else { continue };
            let partition_of = |time| place.policy.partition_of(time);
            for frozen in frozen {
                let part = frozen.head.part(layouts, None, i64::MIN, i64::MAX);
                let chunks = chunks_of(&place, &part, frozen.position, Effort::Hot, &partition_of)
                    .map_err(|Unfit(what)| bad_chunk(&self.chunks, &place.key, what))?;
                for (key, value) in chunks {
                    self.see_to_postings(&place, &key, &mut batch)?;
                    bytes += value.len();
                    batch.put(&self.chunks, &key.encode(), &value)?;
                    made.push((key.bucket, key.partition));
                }
                sealed.push((*slot, frozen));
            }
            if BATCH_BYTES < bytes {
                self.put_behind(std::mem::take(&mut batch))?;
                self.lock().thaw(&mut sealed);
                bytes = 0;
            }
        }
        self.put_behind(batch)?;
        let mut state = self.lock();
        state.thaw(&mut sealed);
        for place in made {
            *state.unsettled.entry(place).or_default() += 1;
        }
        Ok(())
    }

    /// Sees to it that the partition of a chunk has the postings of its series: the policy may have got other
    /// partitions since the rows came.
    fn see_to_postings(&self, place: &Place, key: &ChunkKey, batch: &mut Batch) -> Result<()> {
        let all = posting(key.bucket, key.partition, key.table, ("", ""), key.series);
        if place.posted == Some(key.partition) || self.postings.contains(&all)? {
            return Ok(());
        }
        let mut noted = Vec::new();
        if let Some(bucket) = self.lock().catalog.bucket_mut(key.bucket) {
            bucket.note_partition(key.partition, &mut noted);
        }
        for (row, value) in noted {
            batch.put(&self.series, &row, &value)?;
        }
        batch.put(&self.postings, &all, &[])?;
        if let Ok(split) = split_key(&place.key) {
            for (tag, value) in &split.tags {
                let tag = posting(key.bucket, key.partition, key.table, (tag, value), key.series);
                batch.put(&self.postings, &tag, &[])?;
            }
        }
        Ok(())
    }
}

/// Slots whose rows are made chunks of before somebody else may ask for memory.
const SLOTS: usize = 64;

/// Where the rows of a series belong.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) bucket: u32,
    pub(crate) table: u32,
    pub(crate) series: u32,
    pub(crate) policy: Policy,
    /// Measurement and tags.
    pub(crate) key: Arc<[u8]>,
    /// A partition that is known to have its postings.
    pub(crate) posted: Option<i64>,
}

/// The chunks of some rows: none reaches over the end of a partition.
pub(crate) fn chunks_of(
    place: &Place,
    part: &Part,
    precedence: SeqNo,
    effort: Effort,
    partition_of: &dyn Fn(i64) -> i64,
) -> Result<Vec<(ChunkKey, Vec<u8>)>, Unfit> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < part.times.len() {
        let partition = partition_of(part.times[start]);
        let rows = part.times[start..].partition_point(|time| partition_of(*time) == partition);
        // Evenly, so that none is small.
        let pieces = rows.div_ceil(ROWS_MAX);
        for piece in 0..pieces {
            let (from, to) = (start + rows * piece / pieces, start + rows * (piece + 1) / pieces);
            add_chunks(place, partition, part, (from, to), (precedence, effort), &mut chunks)?;
        }
        start += rows;
    }
    Ok(chunks)
}

/// Adds the chunk of some rows; two of half as many where their texts are too much for one.
fn add_chunks(
    place: &Place,
    partition: i64,
    part: &Part,
    (from, to): (usize, usize),
    (precedence, effort): (SeqNo, Effort),
    chunks: &mut Vec<(ChunkKey, Vec<u8>)>,
) -> Result<(), Unfit> {
    match chunk_of(place, partition, part, (from, to), precedence, effort) {
        Err(_) if 1 < to - from => {
            let middle = from.midpoint(to);
            for rows in [(from, middle), (middle, to)] {
                add_chunks(place, partition, part, rows, (precedence, effort), chunks)?;
            }
        }
        chunk => chunks.push(chunk?),
    }
    Ok(())
}

fn chunk_of(
    place: &Place,
    partition: i64,
    part: &Part,
    (from, to): (usize, usize),
    precedence: SeqNo,
    effort: Effort,
) -> Result<(ChunkKey, Vec<u8>), Unfit> {
    let times = &part.times[from..to];
    let is_whole = times.len() == part.times.len();
    let cut: Vec<(u32, Column)> = if is_whole {
        Vec::new()
    } else {
        part.columns
            .iter()
            .map(|(field, column)| (*field, super::merge::cut(column, from, to)))
            .collect()
    };
    let columns = if is_whole { &part.columns } else { &cut };
    let columns: Vec<(u32, &Column)> =
        columns.iter().map(|(field, column)| (*field, column)).collect();
    let key = ChunkKey {
        bucket: place.bucket,
        partition,
        table: place.table,
        series: place.series,
        first: times[0],
        last: times[times.len() - 1],
        rows: times.len() as u32,
        precedence,
    };
    Ok((key, chunk::encode(times, &columns, effort)?))
}

impl State {
    /// Freezes the rows of a slot.
    fn freeze(&mut self, slot: u32) {
        let position = self.position;
        let slot = &mut self.slots.all[slot as usize];
        slot.is_queued = false;
        if !slot.head.is_empty() {
            let head = std::mem::take(&mut slot.head);
            let bytes = head.bytes();
            slot.frozen.push(Arc::new(Frozen { head, position, bytes }));
        }
    }

    /// The frozen rows of a slot, and where they belong; nothing if that is gone.
    fn frozen(&mut self, slot: u32) -> Option<(Place, Vec<Arc<Frozen>>)> {
        let slot = self.slots.all.get(slot as usize)?;
        let policy = self.catalog.bucket(slot.bucket)?.policy.clone();
        let place = Place {
            bucket: slot.bucket,
            table: slot.table,
            series: slot.series,
            policy,
            key: Arc::clone(&slot.key),
            posted: slot.partition,
        };
        Some((place, slot.frozen.clone()))
    }

    /// Forgets frozen rows that are in chunks.
    fn thaw(&mut self, sealed: &mut Vec<(u32, Arc<Frozen>)>) {
        for (slot, frozen) in sealed.drain(..) {
            let slot = &mut self.slots.all[slot as usize];
            slot.frozen.retain(|other| !Arc::ptr_eq(other, &frozen));
            self.head_bytes = self.head_bytes.saturating_sub(frozen.bytes);
        }
        self.charge();
    }
}
