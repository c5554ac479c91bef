//! The operations that are measured, as actors: each makes its keys ready, then acts.
//!
//! 1. A read checks length and contents of what it got; a range read checks order and number.

mod queue;
mod sorted;
mod ycsb;

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    drive::Actor,
    keys::{KeyBuf, Random, Records, Zipf},
    store::{Result, Store},
};

pub(crate) use queue::{Head, Queue};
pub(crate) use sorted::SortedRecords;
pub(crate) use ycsb::{Mix, THETA, Ycsb};

/// Puts records one after the other; threads take strides.
pub(crate) struct Put<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) records: &'a Records,
    pub(crate) next: u64,
    pub(crate) stride: u64,
    pub(crate) ready: Vec<(KeyBuf, &'a [u8])>,
}

impl<'a> Put<'a> {
    /// Thread `thread` of `threads`, beginning at record `first`.
    pub(crate) fn new(
        store: &'a dyn Store,
        records: &'a Records,
        first: u64,
        thread: u32,
        threads: u32,
    ) -> Put<'a> {
        let (next, stride) = (first + u64::from(thread), u64::from(threads));
        Put { store, records, next, stride, ready: Vec::new() }
    }
}

impl Actor for Put<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            self.ready.push((self.records.key(self.next), self.records.value(self.next, 0)));
            self.next += self.stride;
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let (key, value) = &self.ready[slot];
        self.store.put(key.as_bytes(), value)
    }
}

/// Which records are overwritten.
#[derive(Clone, Copy)]
pub(crate) enum Draw<'a> {
    /// Few of them often.
    Zipf(&'a Zipf),
    /// All of so many alike.
    Evenly(u64),
}

/// Overwrites random records.
pub(crate) struct Overwrite<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) records: &'a Records,
    pub(crate) draw: Draw<'a>,
    pub(crate) random: Random,
    pub(crate) version: u64,
    pub(crate) ready: Vec<(KeyBuf, &'a [u8])>,
}

impl Actor for Overwrite<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            self.version += 1;
            let index = match self.draw {
                Draw::Zipf(zipf) => zipf.draw(&mut self.random),
                Draw::Evenly(count) => self.random.below(count),
            };
            self.ready.push((self.records.key(index), self.records.value(index, self.version)));
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let (key, value) = &self.ready[slot];
        self.store.put(key.as_bytes(), value)
    }
}

/// Puts batches of `size` new records.
pub(crate) struct BatchPut<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) records: &'a Records,
    pub(crate) next: u64,
    pub(crate) size: usize,
    pub(crate) keys: Vec<KeyBuf>,
    pub(crate) values: Vec<&'a [u8]>,
}

impl<'a> BatchPut<'a> {
    pub(crate) fn new(store: &'a dyn Store, records: &'a Records, size: usize) -> BatchPut<'a> {
        BatchPut { store, records, next: 0, size, keys: Vec::new(), values: Vec::new() }
    }
}

impl Actor for BatchPut<'_> {
    fn prepare(&mut self, count: usize) {
        self.keys.clear();
        self.values.clear();
        for _ in 0..count * self.size {
            self.keys.push(self.records.key(self.next));
            self.values.push(self.records.value(self.next, 0));
            self.next += 1;
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let range = slot * self.size..(slot + 1) * self.size;
        let keys = self.keys[range.clone()].iter().map(KeyBuf::as_bytes);
        let batch: Vec<(&[u8], &[u8])> = keys.zip(self.values[range].iter().copied()).collect();
        self.store.batch(&batch)
    }
}

/// What a reader looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Present,
    Absent,
}

/// Reads random records.
pub(crate) struct Get<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) records: &'a Records,
    pub(crate) count: u64,
    pub(crate) target: Target,
    /// Whether values are those of the first writing.
    pub(crate) pristine: bool,
    pub(crate) random: Random,
    pub(crate) ready: Vec<(KeyBuf, u64)>,
}

impl<'a> Get<'a> {
    pub(crate) fn new(
        store: &'a dyn Store,
        records: &'a Records,
        count: u64,
        target: Target,
        seed: u64,
    ) -> Get<'a> {
        let random = Random::new(seed);
        Get { store, records, count, target, pristine: true, random, ready: Vec::new() }
    }
}

impl Actor for Get<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            let index = self.random.below(self.count);
            let key = match self.target {
                Target::Present => self.records.key(index),
                Target::Absent => self.records.absent_key(index),
            };
            self.ready.push((key, index));
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let (key, index) = &self.ready[slot];
        let mut right = true;
        let found = self.store.get(key.as_bytes(), &mut |value| {
            right = if self.pristine {
                value == self.records.value(*index, 0)
            } else {
                self.records.is_plausible(value)
            };
        })?;
        if found != (self.target == Target::Present) || !right {
            let what = if right { "presence" } else { "value" };
            return Err(format!("wrong {what} of record {index}: {found}").into());
        }
        Ok(())
    }
}

/// Opens an iterator at a random record and reads ten.
pub(crate) struct SeekTen<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) records: &'a Records,
    pub(crate) count: u64,
    pub(crate) random: Random,
    pub(crate) ready: Vec<KeyBuf>,
}

impl Actor for SeekTen<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            self.ready.push(self.records.key(self.random.below(self.count)));
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let from = self.ready[slot].as_bytes();
        let (mut first, mut bytes) = (false, 0);
        let seen = self.store.range(from, 10, &mut |key, value| {
            first |= key == from;
            bytes += value.len();
        })?;
        // Near the end of the keys there are fewer.
        if !first || bytes as u64 != seen * self.records.value_bytes() as u64 {
            return Err(format!("a range read gave {seen} records, first right: {first}").into());
        }
        Ok(())
    }
}

/// Reads everything in order; the number of records.
pub(crate) fn scan(store: &dyn Store) -> Result<u64> {
    let mut bytes = 0;
    let mut last = [0_u8; 8];
    let mut ordered = true;
    let seen = store.range(&[], u64::MAX, &mut |key, value| {
        let mut head = [0; 8];
        let len = key.len().min(8);
        head[..len].copy_from_slice(&key[..len]);
        ordered &= last <= head;
        last = head;
        bytes += value.len();
    })?;
    black_box(bytes);
    if !ordered {
        return Err("a scan was out of order".into());
    }
    Ok(seen)
}

/// Deletes runs of neighbouring records, then reads ten from inside of such a run.
pub(crate) struct SeekDeleted<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) deleted: &'a [Vec<u8>],
    pub(crate) random: Random,
    pub(crate) ready: Vec<usize>,
}

impl Actor for SeekDeleted<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            self.ready.push(self.random.below(self.deleted.len() as u64) as usize);
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let from = &self.deleted[self.ready[slot]];
        let mut right = true;
        self.store.range(from, 10, &mut |key, _| {
            right &= self.deleted.last().is_some_and(|last| last.as_slice() < key);
        })?;
        if right { Ok(()) } else { Err("a range read showed a deleted record".into()) }
    }
}

/// Puts at a steady rate until told to stop, or as fast as it can with `per_second` 0; counts in
/// `done`.
pub(crate) struct Background<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) records: &'a Records,
    pub(crate) count: u64,
    pub(crate) per_second: u64,
    /// Forces a flush that often.
    pub(crate) flush_every: Option<Duration>,
}

impl Background<'_> {
    pub(crate) fn run(
        &self,
        stop: &AtomicBool,
        done: &AtomicU64,
        flushes: &AtomicU64,
    ) -> Result<()> {
        let start = Instant::now();
        let mut random = Random::new(77);
        let mut flushed = start;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..64 {
                let index = random.below(self.count);
                let (key, value) = (self.records.key(index), self.records.value(index, 0));
                self.store.put(key.as_bytes(), value)?;
            }
            let puts = done.fetch_add(64, Ordering::Relaxed) + 64;
            if self.flush_every.is_some_and(|every| every <= flushed.elapsed()) {
                self.store.flush()?;
                flushes.fetch_add(1, Ordering::Relaxed);
                flushed = Instant::now();
            }
            if self.per_second != 0 {
                let due = Duration::from_secs_f64(puts as f64 / self.per_second as f64);
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        Ok(())
    }
}
