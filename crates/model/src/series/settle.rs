//! Small chunks are made into larger ones, and what is out of date is dropped.
//!
//! Chunks of few rows cost more bytes a row, and more work to read. A partition in which many were made is
//! walked through, series by series: what overlaps is put together, and so are small neighbours.
//!
//! 1. Old chunks go in the batch that has the new ones.
//! 2. A chunk of many rows is rewritten only for rows that overlap it.

use std::sync::PoisonError;

use olivine_engine::{Batch, Result, Snapshot};
use olivine_query::source::Column;

use super::{
    SeriesStore, bad_chunk,
    chunk::{Chunk, Effort, Unfit},
    head::Part,
    layout::{ChunkKey, after, partition_prefix, row, time_bytes},
    merge::{self, Sourced},
    seal::{BATCH_BYTES, Place, ROWS_MAX, chunks_of},
};

/// Chunks of a series that are made in a partition, on average, before it is settled.
const CHUNKS_MADE_MAX: u64 = 4;
/// Rows from which on a chunk is large.
const LARGE: u32 = ROWS_MAX as u32 / 2;

/// A partition that is being walked through.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    bucket: u32,
    partition: i64,
    /// The first key that was not looked at.
    from: Vec<u8>,
    /// Whether neighbours are put together even where there are only two.
    whole: bool,
}

impl SeriesStore {
    /// Makes chunks of all rows, and as few of all chunks as there can be.
    pub(crate) fn settle_all(&self) -> Result<()> {
        self.seal_all()?;
        let mut settling = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions: Vec<(u32, i64)> = {
            let state = self.lock();
            let of = |bucket: &super::catalog::Bucket| {
                let id = bucket.id;
                bucket.partitions.keys().map(move |start| (id, *start)).collect::<Vec<_>>()
            };
            state.catalog.buckets().flat_map(of).collect()
        };
        for (bucket, partition) in partitions {
            self.begin_settling(&mut settling, bucket, partition, true);
            while settling.is_some() {
                self.settle_some(&mut settling)?;
            }
        }
        Ok(())
    }

    fn begin_settling(
        &self,
        settling: &mut Option<Settling>,
        bucket: u32,
        partition: i64,
        whole: bool,
    ) {
        self.lock().unsettled.remove(&(bucket, partition));
        let from = partition_prefix(bucket, partition);
        *settling = Some(Settling { bucket, partition, from, whole });
    }

    /// Settles some series of a partition in which that is due, if there is one. Whoever calls holds `working`.
    pub(crate) fn settle_some(&self, settling: &mut Option<Settling>) -> Result<bool> {
        if settling.is_none() {
            let due = {
                let state = self.lock();
                let due = state.unsettled.iter().find(|((bucket, _), made)| {
                    let series = state.catalog.bucket(*bucket).map_or(0, |bucket| bucket.series);
                    CHUNKS_MADE_MAX * series.max(1) <= **made
                });
                due.map(|(place, _)| *place)
            };
            let Some((bucket, partition)) = due else { return Ok(false) };
            self.begin_settling(settling, bucket, partition, false);
        }
        let Some(at) = settling else { return Ok(false) };
        let next = self.settle_stretch(at)?;
        match next {
            Some(from) => at.from = from,
            None => *settling = None,
        }
        Ok(true)
    }

    /// Settles series until a batch is full. Returns where to go on.
    fn settle_stretch(&self, at: &Settling) -> Result<Option<Vec<u8>>> {
        let snapshot = self.db.snapshot();
        let prefix = partition_prefix(at.bucket, at.partition);
        let mut cursor = snapshot.cursor(&self.chunks)?;
        cursor.seek(&at.from)?;
        let (mut batch, mut bytes, mut looked) = (Batch::new(), 0, 0);
        let mut series: Vec<ChunkKey> = Vec::new();
        let mut next = None;
        loop {
            let key = if cursor.valid() && cursor.key().starts_with(&prefix) {
                let key = ChunkKey::decode(cursor.key());
                Some(key.ok_or_else(|| bad_chunk(&self.chunks, cursor.key(), "its key is none"))?)
            } else {
                None
            };
            let is_other = |key: &ChunkKey| {
                series
                    .first()
                    .is_some_and(|first| (first.table, first.series) != (key.table, key.series))
            };
            if key.as_ref().is_none_or(is_other) {
                bytes += self.settle_series(&snapshot, &series, at.whole, &mut batch)?;
                series.clear();
                if let Some(key) = &key
                    && (BATCH_BYTES < bytes || LOOKED_MAX < looked)
                {
                    next = Some(key.encode());
                    break;
                }
            }
            let Some(key) = key else { break };
            series.push(key);
            looked += 1;
            cursor.next()?;
        }
        self.put_behind(batch)?;
        Ok(next)
    }

    /// Puts together the chunks of one series in a partition, where that is worth it. Returns how many bytes
    /// that took.
    fn settle_series(
        &self,
        snapshot: &Snapshot,
        chunks: &[ChunkKey],
        whole: bool,
        batch: &mut Batch,
    ) -> Result<usize> {
        let mut bytes = 0;
        for group in worthwhile(chunks, whole) {
            bytes += self.rewrite(snapshot, group, batch, &|_| true)?;
        }
        Ok(bytes)
    }

    /// Rewrites chunks of one series: those rows of them that are kept.
    pub(crate) fn rewrite(
        &self,
        snapshot: &Snapshot,
        group: &[ChunkKey],
        batch: &mut Batch,
        kept: &dyn Fn(i64) -> bool,
    ) -> Result<usize> {
        let (mut sources, mut precedence) = (Vec::with_capacity(group.len()), 0);
        for key in group {
            let part = self.whole_chunk(snapshot, key)?;
            precedence = precedence.max(key.precedence);
            sources.push(Sourced { precedence: key.precedence, part });
        }
        let Some(first) = group.first() else { return Ok(0) };
        let policy = self.lock().catalog.bucket(first.bucket).map(|bucket| bucket.policy.clone());
        // Of what was dropped meanwhile nothing is written any more.
        let Some(policy) = policy else { return Ok(0) };
        let mut part = merge::merge(sources).map_err(|what| bad_chunk(&self.chunks, &[], what))?;
        let rows: Vec<usize> = (0..part.times.len()).filter(|row| kept(part.times[*row])).collect();
        if rows.len() < part.times.len() {
            part.times = rows.iter().map(|row| part.times[*row]).collect();
            for (_, column) in &mut part.columns {
                *column = merge::pick(column, &rows);
            }
        }
        let (bucket, table, series) = (first.bucket, first.table, first.series);
        let (key, posted) = ([].into(), Some(first.partition));
        let place = Place { bucket, table, series, policy, key, posted };
        let effort = if (part.times.len() as u32) < LARGE { Effort::Hot } else { Effort::Cold };
        // Where they are their postings are, whatever partitions the policy has by now.
        let chunks = chunks_of(&place, &part, precedence, effort, &|_| first.partition)
            .map_err(|Unfit(what)| bad_chunk(&self.chunks, &first.encode(), what))?;
        let mut bytes = 0;
        for key in group {
            batch.delete(&self.chunks, &key.encode())?;
        }
        for (key, value) in chunks {
            bytes += value.len();
            batch.put(&self.chunks, &key.encode(), &value)?;
        }
        Ok(bytes)
    }

    /// All rows of a chunk.
    fn whole_chunk(&self, snapshot: &Snapshot, key: &ChunkKey) -> Result<Part> {
        let bytes = key.encode();
        let bad = |what| bad_chunk(&self.chunks, &bytes, what);
        let value = snapshot.get(&self.chunks, &bytes)?.ok_or_else(|| bad("it is gone"))?;
        let chunk = Chunk::parse(&value).map_err(|damage| bad(damage.0))?;
        let mut part = Part::default();
        let times = chunk.times().map_err(|damage| bad(damage.0))?;
        times.extend(0..times.len(), &mut part.times);
        for (field, _) in chunk.fields() {
            let mut column = Column::default();
            chunk.column(field, &mut column).map_err(|damage| bad(damage.0))?;
            part.columns.push((field, column));
        }
        Ok(part)
    }

    /// Drops a partition whose points are no longer kept, if there is one.
    pub(crate) fn drop_expired(&self, now: u64) -> Result<bool> {
        let now = i64::try_from(now.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let state = self.lock();
        let expired = state.catalog.buckets().find_map(|bucket| {
            let policy = &bucket.policy;
            let oldest = now.saturating_sub(policy.duration);
            let is_over = |(start, length): &(&i64, &i64)| start.saturating_add(**length) <= oldest;
            let (start, _) =
                bucket.partitions.iter().find(is_over).filter(|_| 0 < policy.duration)?;
            Some((bucket.id, *start))
        });
        let Some((bucket, start)) = expired else { return Ok(false) };
        // Rows of it that are still in memory would be left behind.
        drop(state);
        self.finish_sealing()?;
        self.begin_sealing();
        self.finish_sealing()?;
        let mut batch = Batch::new();
        let prefix = partition_prefix(bucket, start);
        for keyspace in [&self.chunks, &self.postings] {
            batch.delete_range(keyspace, &prefix, &after(&prefix))?;
        }
        batch.delete(&self.series, &row(b'w', &[bucket], &time_bytes(start)))?;
        let mut state = self.lock();
        self.put_behind(batch)?;
        if let Some(bucket) = state.catalog.bucket_mut(bucket) {
            bucket.partitions.remove(&start);
        }
        state.unsettled.remove(&(bucket, start));
        for slot in &mut state.slots.all {
            if slot.bucket == bucket && slot.partition == Some(start) {
                slot.partition = None;
            }
        }
        Ok(true)
    }
}

/// Chunks that are looked at before somebody else may work.
const LOOKED_MAX: usize = 4_096;

/// The chunks of one series, in the order of time, that are worth putting together.
fn worthwhile(chunks: &[ChunkKey], whole: bool) -> Vec<&[ChunkKey]> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < chunks.len() {
        let (mut end, mut last, mut rows) = (start + 1, chunks[start].last, chunks[start].rows);
        let (mut overlaps, mut largest) = (false, rows);
        while let Some(next) = chunks.get(end) {
            let meets = next.first <= last;
            let fits = rows.saturating_add(next.rows) <= ROWS_MAX as u32;
            let is_small = next.rows < LARGE && largest < LARGE && fits;
            if !meets && !is_small {
                break;
            }
            overlaps |= meets;
            last = last.max(next.last);
            rows = rows.saturating_add(next.rows);
            largest = largest.max(next.rows);
            end += 1;
        }
        let count = end - start;
        if overlaps || (1 < count && whole) || CHUNKS_MADE_MAX as usize <= count {
            groups.push(&chunks[start..end]);
        }
        start = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: i64, last: i64, rows: u32) -> ChunkKey {
        ChunkKey { bucket: 0, partition: 0, table: 0, series: 0, first, last, rows, precedence: 0 }
    }

    fn told(chunks: &[ChunkKey], whole: bool) -> Vec<Vec<i64>> {
        let groups = worthwhile(chunks, whole);
        groups.iter().map(|group| group.iter().map(|chunk| chunk.first).collect()).collect()
    }

    #[test]
    fn what_overlaps_is_put_together_and_small_neighbours_are() {
        let none: Vec<Vec<i64>> = vec![];
        assert_eq!(told(&[chunk(0, 9, 10), chunk(10, 19, 10)], false), none);
        assert_eq!(told(&[chunk(0, 9, 10), chunk(10, 19, 10)], true), [[0, 10]]);
        assert_eq!(told(&[chunk(0, 9, 10), chunk(9, 19, 10)], false), [[0, 9]]);
        let small: Vec<ChunkKey> = (0..6).map(|at| chunk(at, at, 1)).collect();
        assert_eq!(told(&small, false), [[0, 1, 2, 3, 4, 5]]);
        // As they are made of rows in memory: none is large, and all fit into one.
        let made: Vec<ChunkKey> =
            (0..5).map(|at| chunk(at, at, super::super::HEAD_ROWS_MAX as u32)).collect();
        assert_eq!(told(&made, false), [[0, 1, 2, 3]]);
        assert_eq!(told(&made[..3], false), none);
        assert_eq!(told(&made[..3], true), [[0, 1, 2]]);
        let large = [chunk(0, 9, LARGE), chunk(10, 19, 1), chunk(20, 29, 1), chunk(30, 39, LARGE)];
        assert_eq!(told(&large, true), [[10, 20]]);
        let inside =
            [chunk(0, 99, LARGE), chunk(10, 19, 1), chunk(90, 120, LARGE), chunk(130, 140, 1)];
        assert_eq!(told(&inside, false), [[0, 10, 90]]);
    }
}
