//! The series that were met since the store was opened, and their rows that are in no chunk yet.
//!
//! A request names a series by the bytes its line begins with; most are known by them. Only what is not is taken
//! apart, put in order, and looked for among all series there are.
//!
//! 1. A slot is forgotten only while it has no rows; it is met again then as if for the first time.
//! 2. The number of a slot is good until slots are forgotten, which only who makes chunks has done.

use std::sync::Arc;

use olivine_engine::SeqNo;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{head::Head, memo::Memo};

/// A series that was met.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) bucket: u32,
    pub(crate) table: u32,
    pub(crate) series: u32,
    /// Measurement and tags, in order.
    pub(crate) key: Arc<[u8]>,
    /// The partition that it was last seen in to have postings.
    pub(crate) partition: Option<i64>,
    /// Its newest rows.
    pub(crate) head: Head,
    /// Rows that are being made chunks of.
    pub(crate) frozen: Vec<Arc<Frozen>>,
    /// Whether it waits for that.
    pub(crate) is_queued: bool,
    /// The series was dropped: nothing means this slot any more.
    pub(crate) is_gone: bool,
}

/// Rows that are being made chunks of.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) head: Head,
    /// The number of the last record that they may be of.
    pub(crate) position: SeqNo,
    pub(crate) bytes: usize,
}

/// The series that were met.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) all: Vec<Slot>,
    /// What lines began with, and which slot that means.
    raws: Vec<(Box<[u8]>, u32, u32)>,
    by_raw: Memo,
    by_key: Memo,
    by_number: Memo,
    bytes: usize,
}

fn number_hash(bucket: u32, series: u32) -> u64 {
    // Fibonacci hashing; the low bits are what counts.
    let number = u64::from(bucket) << 32 | u64::from(series);
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

impl Slots {
    /// The slot that the beginning of a line means, if it was met.
    #[inline]
    pub(crate) fn find_raw(&self, bucket: u32, raw: &[u8]) -> Option<u32> {
        let hash = xxh3_64_with_seed(raw, bucket.into());
        let raws = &self.raws;
        let is = |number: u32| {
            let (known, of, _) = &raws[number as usize];
            *of == bucket && **known == *raw && !self.all[raws[number as usize].2 as usize].is_gone
        };
        self.by_raw.find(hash, is).map(|number| raws[number as usize].2)
    }

    /// The slot of measurement and tags, if it was met.
    pub(crate) fn find_key(&self, bucket: u32, key: &[u8]) -> Option<u32> {
        let is = |number: u32| {
            let slot = &self.all[number as usize];
            slot.bucket == bucket && *slot.key == *key && !slot.is_gone
        };
        self.by_key.find(xxh3_64_with_seed(key, bucket.into()), is)
    }

    /// The slot of a series, if it was met.
    pub(crate) fn find_number(&self, bucket: u32, series: u32) -> Option<u32> {
        let is = |number: u32| {
            let slot = &self.all[number as usize];
            slot.bucket == bucket && slot.series == series && !slot.is_gone
        };
        self.by_number.find(number_hash(bucket, series), is)
    }

    /// Notes that the beginning of a line means a slot.
    pub(crate) fn note_raw(&mut self, bucket: u32, raw: &[u8], slot: u32) {
        self.by_raw.insert(xxh3_64_with_seed(raw, bucket.into()), self.raws.len() as u32);
        self.raws.push((raw.into(), bucket, slot));
        self.bytes += raw.len() + size_of::<(Box<[u8]>, u32, u32)>();
    }

    /// Adds a series that was met.
    pub(crate) fn add(&mut self, bucket: u32, table: u32, series: u32, key: &[u8]) -> u32 {
        let number = self.all.len() as u32;
        self.by_key.insert(xxh3_64_with_seed(key, bucket.into()), number);
        self.by_number.insert(number_hash(bucket, series), number);
        self.all.push(Slot {
            bucket,
            table,
            series,
            key: key.into(),
            partition: None,
            head: Head::default(),
            frozen: Vec::new(),
            is_queued: false,
            is_gone: false,
        });
        self.bytes += key.len() + size_of::<Slot>();
        number
    }

    /// Forgets a slot whose series was dropped. Returns the memory that its rows took.
    pub(crate) fn drop_slot(&mut self, slot: u32) -> usize {
        let slot = &mut self.all[slot as usize];
        slot.is_gone = true;
        let head = std::mem::take(&mut slot.head).bytes();
        let frozen: usize = slot.frozen.drain(..).map(|frozen| frozen.bytes).sum();
        head + frozen
    }

    /// Memory it takes, but for rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.by_raw.bytes() + self.by_key.bytes() + self.by_number.bytes()
    }

    /// Forgets the slots that have no rows; the others get other numbers. Returns what was there before.
    pub(crate) fn forget(&mut self) -> Slots {
        let mut before = std::mem::take(self);
        let has_rows = |slot: &&mut Slot| !slot.head.is_empty() || !slot.frozen.is_empty();
        for slot in before.all.iter_mut().filter(has_rows) {
            let Slot { bucket, table, series, .. } = *slot;
            let number = self.add(bucket, table, series, &slot.key);
            let kept = &mut self.all[number as usize];
            let (partition, is_queued, is_gone) = (slot.partition, slot.is_queued, slot.is_gone);
            (kept.partition, kept.is_queued, kept.is_gone) = (partition, is_queued, is_gone);
            kept.head = std::mem::take(&mut slot.head);
            kept.frozen = std::mem::take(&mut slot.frozen);
        }
        before
    }
}
