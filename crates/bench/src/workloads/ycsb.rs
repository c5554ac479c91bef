//! The mixes of the Yahoo Cloud Serving Benchmark, on this benchmark's records.
//!
//! Which record an operation takes is drawn by a Zipf distribution over the records' numbers, and a
//! number's key is hashed, so the hot records lie scattered over the keys ("scrambled zipfian").
//!
//! 1. A read of a record that was loaded finds it, with a value some writer may have put there.
//! 2. A read-modify-write is one operation, a scan of up to a hundred records too.

use crate::{
    drive::Actor,
    keys::{KeyBuf, Random, Records, Zipf},
    store::{Result, Store},
};

/// The exponent YCSB draws with.
pub(crate) const THETA: f64 = 0.99;

const SCAN_RECORDS_MAX: u64 = 100;

/// Of a hundred operations, how many are what; the rest are reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) updates: u64,
    pub(crate) modifies: u64,
    pub(crate) inserts: u64,
    pub(crate) scans: u64,
}

impl Mix {
    const NONE: Mix = Mix { name: "", updates: 0, modifies: 0, inserts: 0, scans: 0 };
    pub(crate) const A: Mix = Mix { name: "ycsb_a", updates: 50, ..Mix::NONE };
    pub(crate) const B: Mix = Mix { name: "ycsb_b", updates: 5, ..Mix::NONE };
    pub(crate) const C: Mix = Mix { name: "ycsb_c", ..Mix::NONE };
    pub(crate) const E: Mix = Mix { name: "ycsb_e", inserts: 5, scans: 95, ..Mix::NONE };
    pub(crate) const F: Mix = Mix { name: "ycsb_f", modifies: 50, ..Mix::NONE };

    fn draw(&self, random: &mut Random) -> Action {
        let bounds = [
            (self.updates, Action::Update),
            (self.modifies, Action::Modify),
            (self.inserts, Action::Insert),
            (self.scans, Action::Scan(1 + random.below(SCAN_RECORDS_MAX))),
        ];
        let mut left = random.below(100);
        for (share, action) in bounds {
            if left < share {
                return action;
            }
            left -= share;
        }
        Action::Read
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Update,
    /// Reads the value, then writes another.
    Modify,
    Insert,
    /// Up to so many records from the key on.
    Scan(u64),
}

/// One thread of a mix.
pub(crate) struct Ycsb<'a> {
    store: &'a dyn Store,
    records: &'a Records,
    zipf: &'a Zipf,
    mix: Mix,
    random: Random,
    /// The next record to insert, and the way to the one after.
    insert: u64,
    stride: u64,
    version: u64,
    ready: Vec<(Action, KeyBuf, &'a [u8])>,
}

impl<'a> Ycsb<'a> {
    /// Thread `thread` of `threads`, over the `count` records that `zipf` draws from.
    pub(crate) fn new(
        store: &'a dyn Store,
        records: &'a Records,
        zipf: &'a Zipf,
        mix: Mix,
        (thread, threads): (u32, u32),
        count: u64,
    ) -> Ycsb<'a> {
        Ycsb {
            store,
            records,
            zipf,
            mix,
            random: Random::new(u64::from(thread) + 40),
            insert: count + u64::from(thread),
            stride: u64::from(threads),
            version: u64::from(thread) << 20,
            ready: Vec::new(),
        }
    }

    fn read(&self, key: &[u8]) -> Result<()> {
        let mut right = false;
        self.store.get(key, &mut |value| right = self.records.is_plausible(value))?;
        if right { Ok(()) } else { Err("a loaded record is absent or has a wrong value".into()) }
    }

    fn scan(&self, from: &[u8], limit: u64) -> Result<()> {
        let (mut first, mut plausible) = (false, true);
        let seen = self.store.range(from, limit, &mut |key, value| {
            first |= key == from;
            plausible &= self.records.is_plausible(value);
        })?;
        if !first || !plausible {
            return Err(format!("a scan gave {seen} records, values right: {plausible}").into());
        }
        Ok(())
    }
}

impl Actor for Ycsb<'_> {
    fn prepare(&mut self, count: usize) {
        self.ready.clear();
        for _ in 0..count {
            let action = self.mix.draw(&mut self.random);
            self.version += 1;
            let index = match action {
                Action::Insert => {
                    self.insert += self.stride;
                    self.insert - self.stride
                }
                _ => self.zipf.draw(&mut self.random),
            };
            let value = self.records.value(index, self.version);
            self.ready.push((action, self.records.key(index), value));
        }
    }

    fn act(&mut self, slot: usize) -> Result<()> {
        let (action, key, value) = &self.ready[slot];
        let key = key.as_bytes();
        match action {
            Action::Read => self.read(key),
            Action::Update | Action::Insert => self.store.put(key, value),
            Action::Modify => {
                self.read(key)?;
                self.store.put(key, value)
            }
            Action::Scan(limit) => self.scan(key, *limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_drawn_as_it_says() {
        for (mix, reads) in [(Mix::A, 50), (Mix::B, 95), (Mix::C, 100), (Mix::E, 0), (Mix::F, 50)] {
            let mut random = Random::new(1);
            let drawn: Vec<Action> = (0..10_000).map(|_| mix.draw(&mut random)).collect();
            let found = drawn.iter().filter(|action| **action == Action::Read).count();
            assert!(found.abs_diff(reads * 100) < 200, "{}: {found} reads", mix.name);
            let long = drawn.iter().any(|action| matches!(action, Action::Scan(0 | 101..)));
            assert!(!long, "{}: a scan of no record, or of more than a hundred", mix.name);
        }
    }
}
