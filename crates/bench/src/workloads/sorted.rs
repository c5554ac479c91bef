//! Sorted input, made ready in chunks outside of the time that counts.

use std::time::{Duration, Instant};

use crate::{
    keys::{KeyBuf, Records},
    store::Sorted,
};

const CHUNK: usize = 256;

/// The first `count` of records whose keys ascend.
pub(crate) struct SortedRecords<'a> {
    records: &'a Records,
    next: u64,
    count: u64,
    ready: Vec<KeyBuf>,
    /// Time that making keys took, which is not the store's.
    pub(crate) preparing: Duration,
}

impl<'a> SortedRecords<'a> {
    pub(crate) fn new(records: &'a Records, count: u64) -> SortedRecords<'a> {
        SortedRecords { records, next: 0, count, ready: Vec::new(), preparing: Duration::ZERO }
    }

    fn prepare(&mut self) {
        let start = Instant::now();
        let until = self.count.min(self.next + CHUNK as u64);
        self.ready.clear();
        self.ready.extend((self.next..until).map(|index| self.records.key(index)));
        self.preparing += start.elapsed();
    }
}

impl Sorted for SortedRecords<'_> {
    fn next(&mut self) -> Option<(&[u8], &[u8])> {
        if self.next == self.count {
            return None;
        }
        let place = (self.next % CHUNK as u64) as usize;
        if place == 0 {
            self.prepare();
        }
        let key = &self.ready[place];
        let value = self.records.value(self.next, 0);
        self.next += 1;
        Some((key.as_bytes(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_record_once_and_in_order() {
        let records = Records::ascending();
        let mut sorted = SortedRecords::new(&records, 1000);
        for index in 0..1000 {
            let (key, value) = sorted.next().unwrap();
            assert_eq!(key, records.key(index).as_bytes());
            assert_eq!(value, records.value(index, 0));
        }
        assert!(sorted.next().is_none());
    }
}
