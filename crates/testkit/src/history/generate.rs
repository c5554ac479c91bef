//! Draws histories.
//!
//! 1. What a history does is decided by its seed and its [`Shape`] alone.
//! 2. Every kind of operation comes in every history of a few hundred.

use super::{Change, KEYSPACES, Move, Op, Range, SLOTS, Value, What};
use olivine_engine::Durability;
use olivine_vfs::Random;

/// Bounds of what a history writes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The usual longest value.
    pub value_bytes_max: u64,
    /// The longest value that comes now and then; meant to be longer than a log segment.
    pub value_bytes_rare: u64,
    /// How many keys come back.
    pub keys: usize,
    /// Whether the store is closed and opened along the way.
    pub reopens: bool,
    /// Whether copies are made of it.
    pub copies: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            value_bytes_max: 300,
            value_bytes_rare: 40_000,
            keys: 120,
            reopens: true,
            copies: true,
        }
    }
}

/// Draws histories, keys and values from a seed.
#[derive(Debug)]
pub struct Gen {
    draw: Random,
    shape: Shape,
    keys: Vec<Vec<u8>>,
    values: u32,
    exists: [bool; KEYSPACES.len()],
}

impl Gen {
    /// Histories of the usual shape.
    pub fn new(seed: u64) -> Gen {
        Gen::shaped(seed, Shape::default())
    }

    /// Histories of `shape`.
    pub fn shaped(seed: u64, shape: Shape) -> Gen {
        let mut seed = Random::new(seed);
        Gen {
            keys: keys(&mut seed.fork(), shape.keys),
            draw: seed.fork(),
            shape,
            values: 0,
            exists: [false; KEYSPACES.len()],
        }
    }

    /// Goes on in a store where these of [`KEYSPACES`] exist, with values that no earlier history of
    /// fewer than `values` operations wrote.
    pub fn resumed(mut self, exists: [bool; KEYSPACES.len()], values: u32) -> Gen {
        self.exists = exists;
        self.values = values;
        self
    }

    /// The next `len` operations.
    pub fn history(&mut self, len: usize) -> Vec<Op> {
        (0..len).map(|_| self.op()).collect()
    }

    /// The next operation.
    pub fn op(&mut self) -> Op {
        if !self.exists.contains(&true) {
            return self.create();
        }
        match self.draw.below(1_000) {
            0..470 => self.write(),
            470..480 => self.replace(),
            480..488 => {
                let (keyspace, key) = (self.keyspace(), self.key());
                Op::Stream { keyspace, key, value: self.value() }
            }
            488..500 => Op::Sync,
            500..512 => Op::Flush,
            512..518 => Op::Settle,
            518..620 => Op::Step(self.draw.between(1, 4) as usize),
            620..635 => Op::Wait(self.draw.between(1, 200)),
            635..650 => self.create(),
            650..656 => self.drop_keyspace(),
            656..680 => Op::Snapshot(self.draw.index(SLOTS)),
            680..700 => Op::Release(self.draw.index(SLOTS)),
            700..830 => self.get(),
            830..890 => self.scan(),
            890..920 => self.cursor(),
            980..982 if self.shape.copies => Op::Checkpoint,
            982..984 if self.shape.copies => Op::Backup,
            984..988 if self.shape.copies => self.ingest(),
            988..992 if self.shape.copies => Op::Follow,
            920..992 => self.moves(),
            _ if self.shape.reopens => Op::Reopen,
            _ => Op::Sync,
        }
    }

    /// A write of some changes.
    pub fn write(&mut self) -> Op {
        let changes = match self.draw.below(20) {
            0..12 => 1,
            12..18 => self.draw.between(2, 6),
            18 => self.draw.between(7, 40),
            _ => 0,
        };
        let changes = (0..changes).map(|_| self.change()).collect();
        let durability = match self.draw.below(16) {
            0..8 => None,
            8..10 => Some(Durability::Sync),
            10..14 => Some(Durability::Os),
            _ => Some(Durability::Interval),
        };
        Op::Write { changes, durability, ticketed: self.draw.chance(1, 6) }
    }

    /// A put, a delete or another change.
    pub fn change(&mut self) -> Change {
        let (keyspace, key) = (self.keyspace(), self.key());
        let what = match self.draw.below(100) {
            0..22 => What::Delete,
            22..34 => What::Append(self.value()),
            34..39 => What::PutExpiring(self.value(), self.draw.chance(1, 3)),
            39..43 => {
                let end = self.key();
                let (key, end) = if key <= end { (key, end) } else { (end, key) };
                return Change { keyspace, key, what: What::DeleteTo(end) };
            }
            _ => What::Put(self.value()),
        };
        Change { keyspace, key, what }
    }

    /// A range that is replaced by some of the keys in it, by others, or by nothing.
    fn replace(&mut self) -> Op {
        let keyspace = self.keyspace();
        let (one, two) = match self.draw.below(3) {
            0 => (Vec::new(), vec![0xff; 12]),
            _ => (self.key(), self.key()),
        };
        let (from, to) = if one <= two { (one, two) } else { (two, one) };
        let mut keys: Vec<Vec<u8>> = match self.draw.below(4) {
            0 => Vec::new(),
            _ => (0..self.draw.below(200)).map(|_| self.key()).collect(),
        };
        keys.retain(|key| from <= *key && *key < to);
        keys.sort_unstable();
        keys.dedup();
        let entries = keys.into_iter().map(|key| (key, self.value())).collect();
        Op::Replace { keyspace, from, to, entries }
    }

    /// Some entries past log and memtables.
    pub fn ingest(&mut self) -> Op {
        let keyspace = self.keyspace();
        let entries = (0..self.draw.between(1, 30)).map(|_| (self.key(), self.value()));
        Op::Ingest { keyspace, entries: entries.collect() }
    }

    fn value(&mut self) -> Value {
        self.values += 1;
        let bytes = match self.draw.below(400) {
            0 => self.draw.between(self.shape.value_bytes_max, self.shape.value_bytes_rare),
            1..30 => 0,
            30..200 => self.draw.between(1, 24),
            _ => self.draw.between(1, self.shape.value_bytes_max),
        };
        Value { id: self.values, bytes: bytes as u32 }
    }

    fn key(&mut self) -> Vec<u8> {
        if self.draw.chance(1, 40) {
            return key(&mut self.draw);
        }
        let place = skewed(&mut self.draw, self.keys.len());
        self.keys[place].clone()
    }

    /// A keyspace that exists, if one does.
    fn keyspace(&mut self) -> usize {
        let first = skewed(&mut self.draw, KEYSPACES.len());
        (first..first + KEYSPACES.len())
            .map(|keyspace| keyspace % KEYSPACES.len())
            .find(|keyspace| self.exists[*keyspace])
            .unwrap_or(first)
    }

    fn create(&mut self) -> Op {
        let keyspace = self.draw.index(KEYSPACES.len());
        self.exists[keyspace] = true;
        Op::Create(keyspace)
    }

    fn drop_keyspace(&mut self) -> Op {
        let keyspace = self.draw.index(KEYSPACES.len());
        self.exists[keyspace] = false;
        Op::Drop(keyspace)
    }

    fn at(&mut self) -> Option<usize> {
        self.draw.chance(1, 3).then(|| self.draw.index(SLOTS))
    }

    fn get(&mut self) -> Op {
        let (at, keyspace) = (self.at(), self.keyspace());
        let keys = (0..self.draw.between(1, 4)).map(|_| self.key()).collect();
        Op::Get { at, keyspace, keys }
    }

    fn scan(&mut self) -> Op {
        let (at, keyspace, range) = (self.at(), self.keyspace(), self.range());
        Op::Scan { at, keyspace, range, backward: self.draw.chance(1, 2) }
    }

    fn range(&mut self) -> Range {
        match self.draw.below(6) {
            0..2 => Range::All,
            2 => {
                let (one, two) = (self.key(), self.key());
                Range::Between(one.clone().min(two.clone()), one.max(two))
            }
            3 => Range::After(self.key()),
            4 => Range::To(self.key()),
            _ => {
                let mut prefix = self.key();
                prefix.truncate(self.draw.index(prefix.len().min(12) + 1));
                Range::Prefix(prefix)
            }
        }
    }

    fn cursor(&mut self) -> Op {
        let (slot, at) = (self.draw.index(SLOTS), self.at());
        Op::Cursor { slot, at, keyspace: self.keyspace(), range: self.range() }
    }

    fn moves(&mut self) -> Op {
        let slot = self.draw.index(SLOTS);
        let moves = (0..self.draw.between(1, 8))
            .map(|_| match self.draw.below(16) {
                0 => Move::First,
                1 => Move::Last,
                2..5 => Move::Seek(self.key()),
                5..8 => Move::SeekBack(self.key()),
                8..13 => Move::Next,
                _ => Move::Prev,
            })
            .collect();
        Op::Move(slot, moves)
    }
}

/// The keys of one history: most of the plain kinds, the odd ones among the often used.
fn keys(draw: &mut Random, len: usize) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = (0..len).map(|_| key(draw)).collect();
    let odd = [vec![], vec![0], vec![0, 0], vec![0xff], vec![0xff; 9], vec![b'k'; 1_000]];
    for odd in odd {
        let place = draw.index(len);
        keys[place] = odd;
    }
    keys
}

/// Any key.
fn key(draw: &mut Random) -> Vec<u8> {
    match draw.below(8) {
        0..3 => format!("user:{:06}", draw.below(1_000)).into_bytes(),
        3..5 => draw.next_u64().to_be_bytes().to_vec(),
        5 => {
            let mut key = b"a/prefix/that/many/keys/share/".to_vec();
            key.extend((0..draw.below(4)).map(|_| [0, b'a', b'b', 0xff][draw.index(4)]));
            key
        }
        6 => (0..draw.below(12)).map(|_| [0, 1, 0xfe, 0xff][draw.index(4)]).collect(),
        _ => (0..draw.below(40)).map(|_| draw.next_u64() as u8).collect(),
    }
}

/// An index below `bound` where low ones come much more often, as in real traffic.
fn skewed(draw: &mut Random, bound: usize) -> usize {
    let doublings = u64::from(bound.ilog2()) + 2;
    let reach = 1 << draw.below(doublings);
    draw.index(bound.min(reach))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, mem::discriminant};

    #[test]
    fn a_seed_decides_a_history() {
        assert_eq!(Gen::new(3).history(200), Gen::new(3).history(200));
        assert_ne!(Gen::new(3).history(200), Gen::new(4).history(200));
    }

    #[test]
    fn every_kind_of_operation_comes() {
        let mut kinds = Vec::new();
        for op in Gen::new(1).history(3_000) {
            if !kinds.contains(&discriminant(&op)) {
                kinds.push(discriminant(&op));
            }
        }
        assert_eq!(kinds.len(), 21);
    }

    #[test]
    fn keys_come_back_and_values_do_not() {
        let (mut keys, mut values, mut changes) = (BTreeSet::new(), BTreeSet::new(), 0);
        for op in Gen::new(1).history(3_000) {
            let Op::Write { changes: written, .. } = op else { continue };
            for change in written {
                changes += 1;
                keys.insert(change.key);
                let (What::Put(value) | What::Append(value)) = change.what else { continue };
                if 16 < value.bytes {
                    assert!(values.insert(value.spell()));
                }
            }
        }
        assert!(keys.len() * 8 < changes, "{} keys in {changes} changes", keys.len());
        assert!(keys.contains(&vec![]));
    }
}
