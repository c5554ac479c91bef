//! A queue in a store: new records behind the last one, and the first one taken away.
//!
//! Whoever takes from the head leaves a deleted record there, so the head moves behind a growing field
//! of them, until compaction takes it away.
//!
//! 1. What is popped is what was pushed first and not popped yet.

use crate::{
    drive::Actor,
    keys::{KeyBuf, Records},
    store::{Result, Store},
};

/// Where a consumer looks for the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// From the record it popped last: a consumer that remembers.
    Remembered,
    /// From the smallest key: a consumer that knows nothing.
    Unknown,
}

/// Pushes one record and pops one; the depth stays.
pub(crate) struct Queue<'a> {
    pub(crate) store: &'a dyn Store,
    /// Ascending ones.
    pub(crate) records: &'a Records,
    pub(crate) look: Head,
    pub(crate) tail: u64,
    pub(crate) head: u64,
    ready: Vec<(KeyBuf, &'a [u8])>,
}

impl<'a> Queue<'a> {
    /// A queue of the records from `head` to before `tail`.
    pub(crate) fn new(
        store: &'a dyn Store,
        records: &'a Records,
        look: Head,
        (head, tail): (u64, u64),
    ) -> Queue<'a> {
        Queue { store, records, look, tail, head, ready: Vec::new() }
    }

    fn pop(&mut self) -> Result<()> {
        let expected = self.records.key(self.head);
        let from = match (self.look, self.head.checked_sub(1)) {
            (Head::Remembered, Some(popped)) => self.records.key(popped).as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let mut right = false;
        self.store.range(&from, 1, &mut |key, value| {
            right = key == expected.as_bytes() && value == self.records.value(self.head, 0);
        })?;
        if !right {
            return Err(format!("record {} is not the head of the queue", self.head).into());
        }
        self.head += 1;
        self.store.delete_once(expected.as_bytes())
    }
}

impl Actor for Queue<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            self.ready.push((self.records.key(self.tail), self.records.value(self.tail, 0)));
            self.tail += 1;
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let (key, value) = &self.ready[slot];
        self.store.put(key.as_bytes(), value)?;
        self.pop()
    }
}
