//! A memtable against an ordered map, alone and beside readers on other threads.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{Cursor, Memtable};
use crate::{
    digest::quick_digest,
    key::{KEY_BYTES_MAX, Kind, Stamp},
};

/// Numbers that look random and are the same every time.
struct Gen(u64);

impl Gen {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

fn mix(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

/// Ways for keys to be alike.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// Few bytes of few kinds: keys that begin with other keys, and end in zeros.
    Short,
    /// One or two bytes, all 256 of them.
    Bytes,
    /// Sixteen bytes of noise.
    Hashed,
    /// `user:` and a number among its like.
    User,
    /// Forty bytes, of which thirty are those of one of three groups.
    Grouped,
    /// As long as keys may be, different at the end or in the middle.
    Long,
}

const ALL_KEYS: [Keys; 6] =
    [Keys::Short, Keys::Bytes, Keys::Hashed, Keys::User, Keys::Grouped, Keys::Long];

impl Keys {
    /// The key of number `n`.
    fn key(self, n: u64) -> Vec<u8> {
        let mut draw = Gen(n);
        match self {
            Keys::Short => {
                (0..draw.below(7)).map(|_| draw.pick(&[0, 0, 1, b'a', b'b', 0xff])).collect()
            }
            Keys::Bytes => (0..=draw.below(2)).map(|_| draw.next() as u8).collect(),
            Keys::Hashed => [draw.next().to_be_bytes(), draw.next().to_be_bytes()].concat(),
            Keys::User => format!("user:{n:012}").into_bytes(),
            Keys::Grouped => {
                let group = draw.pick(&["left", "middle", "right"]);
                format!("{group:.<30}{n:010}").into_bytes()
            }
            Keys::Long => {
                let mut key = vec![b'k'; draw.pick(&[100, 30_000, 65_000, KEY_BYTES_MAX])];
                let at = draw.pick(&[0, key.len() / 2, key.len() - 8]);
                key[at..at + 8].copy_from_slice(&(n % 50).to_be_bytes());
                key
            }
        }
    }
}

fn stamp(seqno: u64) -> Stamp {
    Stamp::new(seqno, if seqno.is_multiple_of(7) { Kind::Delete } else { Kind::Put })
}

#[derive(Default)]
struct Oracle(BTreeMap<(Vec<u8>, Reverse<Stamp>), Vec<u8>>);

impl Oracle {
    fn get(&self, key: &[u8], newest: Stamp) -> Option<(Stamp, &[u8])> {
        let (found, value) = self.0.range((key.to_vec(), Reverse(newest))..).next()?;
        (found.0 == key).then_some((found.1.0, value))
    }

    fn entries(&self) -> Vec<(&[u8], Stamp, &[u8])> {
        self.0.iter().map(|((key, stamp), value)| (&key[..], stamp.0, &value[..])).collect()
    }
}

/// A memtable and a map with the same `inserts` of keys out of `distinct`.
fn filled(seed: u64, keys: Keys, distinct: u64, inserts: u64) -> (Arc<Memtable>, Oracle) {
    let mut draw = Gen(seed);
    let memtable = Memtable::new(draw.pick(&[0, 64 << 10, 1 << 20]));
    let mut oracle = Oracle::default();
    let mut inserter = memtable.inserter();
    let ascending = draw.below(4) == 0;
    for seqno in 1..=inserts {
        let n = if ascending { seqno % distinct } else { draw.below(distinct) };
        let key = keys.key(n);
        let len = if draw.below(200) == 0 { 20_000 } else { draw.below(40) };
        let value = vec![draw.next() as u8; len as usize];
        inserter.insert(&key, stamp(seqno), &value);
        oracle.0.insert((key, Reverse(stamp(seqno))), value);
    }
    drop(inserter);
    (Arc::new(memtable), oracle)
}

/// Histories of all kinds of keys, with many versions of a few or few of many.
fn histories() -> impl Iterator<Item = (u64, Keys, Arc<Memtable>, Oracle)> {
    let sizes = [(3, 300), (60, 800), (400, 400), (3_000, 6_000), (20_000, 30_000)];
    ALL_KEYS.into_iter().flat_map(move |keys| {
        (0..10).filter_map(move |seed| {
            let (distinct, inserts) = sizes[seed as usize % sizes.len()];
            if matches!(keys, Keys::Long) && inserts > 800 {
                return None;
            }
            let (memtable, oracle) = filled(seed, keys, distinct, inserts);
            Some((seed, keys, memtable, oracle))
        })
    })
}

fn entry(cursor: &Cursor) -> Option<(&[u8], Stamp, &[u8])> {
    cursor.valid().then(|| (cursor.key(), cursor.stamp(), cursor.value()))
}

/// Any history of inserts reads like an ordered map, at any snapshot.
#[test]
fn reads_like_a_map() {
    for (seed, keys, memtable, oracle) in histories() {
        assert_eq!(memtable.len(), oracle.0.len() as u64);
        let mut draw = Gen(seed ^ 0xfeed);
        for _ in 0..2_000.min(memtable.len() * 2) {
            let key = keys.key(draw.below(25_000));
            let bound = Stamp::upper_bound(draw.below(memtable.len() + 2));
            let expected = oracle.get(&key, bound);
            assert_eq!(memtable.get(&key, bound), expected, "seed {seed}, {keys:?} {key:?}");
        }
        for (key, stamp, value) in oracle.entries() {
            assert_eq!(memtable.get(key, stamp), Some((stamp, value)), "seed {seed}, {keys:?}");
        }
    }
}

#[test]
fn cursor_walks_like_a_map() {
    for (seed, keys, memtable, oracle) in histories() {
        let entries = oracle.entries();
        let mut cursor = memtable.cursor();
        cursor.seek_first();
        for expected in &entries {
            assert_eq!(entry(&cursor), Some(*expected), "forward, seed {seed}, {keys:?}");
            cursor.next();
        }
        assert!(!cursor.valid());
        cursor.seek_last();
        for expected in entries.iter().rev() {
            assert_eq!(entry(&cursor), Some(*expected), "backward, seed {seed}, {keys:?}");
            cursor.prev();
        }
        assert!(!cursor.valid());
    }
}

#[test]
fn cursor_seeks_and_turns_like_a_map() {
    for (seed, keys, memtable, oracle) in histories() {
        let entries = oracle.entries();
        let mut draw = Gen(seed ^ 0xbeef);
        let mut cursor = memtable.cursor();
        for _ in 0..300 {
            let key = keys.key(draw.below(25_000));
            let mut index = if draw.below(2) == 0 {
                cursor.seek(&key);
                Some(entries.partition_point(|entry| entry.0 < &key[..]))
            } else {
                cursor.seek_back(&key);
                entries.partition_point(|entry| entry.0 <= &key[..]).checked_sub(1)
            };
            for _ in 0..draw.below(30) {
                let expected = index.and_then(|index| entries.get(index).copied());
                assert_eq!(entry(&cursor), expected, "seed {seed}, {keys:?} {key:?}");
                let Some((key, ..)) = expected else { break };
                let bound = Stamp::upper_bound(draw.below(memtable.len() + 2));
                assert_eq!(cursor.version_at(bound), oracle.get(key, bound));
                let at = index.expect("it is valid");
                index = match draw.below(4) {
                    0 => {
                        cursor.next();
                        Some(at + 1)
                    }
                    1 => {
                        cursor.prev();
                        at.checked_sub(1)
                    }
                    2 => {
                        cursor.next_key();
                        Some(entries.partition_point(|entry| entry.0 <= key))
                    }
                    _ => {
                        cursor.prev_key();
                        entries.partition_point(|entry| entry.0 < key).checked_sub(1)
                    }
                };
            }
        }
    }
}

#[test]
fn an_empty_memtable_has_nothing_and_is_small() {
    let memtable = Arc::new(Memtable::new(64 << 20));
    assert!(memtable.is_empty() && memtable.bytes() < 2 << 10, "{} bytes", memtable.bytes());
    assert_eq!(memtable.get(b"", Stamp::upper_bound(1)), None);
    let mut cursor = memtable.cursor();
    cursor.seek_first();
    assert!(!cursor.valid());
    cursor.seek_last();
    assert!(!cursor.valid());
    cursor.seek_back(b"a");
    assert!(!cursor.valid());
    memtable.insert(b"a", stamp(1), b"b");
    assert!(memtable.bytes() < 7 << 10, "{} bytes", memtable.bytes());
}

/// What is taken beyond keys and values stays in proportion, in any order of inserts.
#[test]
fn memory_stays_near_what_is_stored() {
    let orders: [fn(u64) -> u64; 4] =
        [|n| n, |n| 1_000_000 - n, mix, |n| (n % 50) * 1_000_000 + n / 50];
    for (order, number) in orders.iter().enumerate() {
        let memtable = Memtable::new(8 << 20);
        let mut stored = 0;
        for n in 1..=40_000 {
            let key = format!("series/{:020}", number(n));
            memtable.insert(key.as_bytes(), stamp(n), &[7; 100]);
            stored += key.len() as u64 + 100;
        }
        let percent = memtable.bytes() * 100 / stored;
        let most = if order == 2 { 160 } else { 145 };
        assert!(percent < most, "order {order}: {percent} % of what is stored");
    }
}

#[test]
#[should_panic(expected = "two inserters of one memtable")]
fn a_second_inserter_is_refused() {
    let memtable = Memtable::new(0);
    let _first = memtable.inserter();
    memtable.insert(b"a", stamp(1), b"b");
}

/// The value that `key` has at `seqno`, which tells on itself when either is wrong.
fn told(key: &[u8], seqno: u64) -> Vec<u8> {
    let sum = key.iter().fold(mix(seqno), |sum, byte| mix(sum ^ u64::from(*byte)));
    sum.to_le_bytes().repeat(1 + (seqno % 5) as usize)
}

/// One writer and readers of all kinds, until the writer has inserted so much.
fn torture(keys: Keys, distinct: u64, inserts: u64, pin: fn()) {
    let memtable = Arc::new(Memtable::new(1 << 20));
    let (visible, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let check = |key: &[u8], found: Stamp, value: &[u8]| {
        assert_eq!(value, told(key, found.seqno()), "{keys:?} {key:?} at {found:?}");
    };
    // The last number that a key got up to `seqno`, when keys are written in turn.
    let last = |n: u64, seqno: u64| seqno.checked_sub((seqno + distinct - n) % distinct);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin();
            for seqno in 1..=inserts {
                let key = keys.key(mix(seqno % distinct));
                memtable.insert(&key, stamp(seqno), &told(&key, seqno));
                visible.store(seqno, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            pin();
            let mut draw = Gen(1);
            while !done.load(Ordering::Acquire) {
                let (n, seqno) = (draw.below(distinct), visible.load(Ordering::Acquire));
                let key = keys.key(mix(n));
                let found = memtable.get(&key, Stamp::upper_bound(seqno));
                let expected = last(n, seqno).filter(|last| *last > 0);
                assert_eq!(found.map(|found| found.0.seqno()), expected, "{keys:?} {n} at {seqno}");
                if let Some((stamp, value)) = found {
                    check(&key, stamp, value);
                }
            }
        });
        scope.spawn(|| {
            pin();
            let mut draw = Gen(2);
            let mut cursor = memtable.cursor();
            while !done.load(Ordering::Acquire) {
                let seqno = visible.load(Ordering::Acquire);
                let bound = Stamp::upper_bound(seqno);
                let forward = draw.below(2) == 0;
                if forward {
                    cursor.seek_first();
                } else {
                    cursor.seek_last();
                }
                let (mut seen, mut before) = (0, None::<Vec<u8>>);
                while cursor.valid() {
                    if let Some((stamp, value)) = cursor.version_at(bound) {
                        check(cursor.key(), stamp, value);
                        seen += 1;
                    }
                    let ordered =
                        before.is_none_or(|before| (before[..] < *cursor.key()) == forward);
                    assert!(ordered, "{keys:?}: keys do not ascend");
                    before = Some(cursor.key().to_vec());
                    if forward { cursor.next_key() } else { cursor.prev_key() }
                }
                assert_eq!(seen, seqno.min(distinct), "{keys:?} at {seqno}");
            }
        });
    });
}

#[test]
fn readers_beside_the_writer_see_what_is_visible() {
    for keys in [Keys::Hashed, Keys::User] {
        torture(keys, 40_000, 100_000, || ());
        torture(keys, 100, 50_000, || ());
    }
}

/// What a memtable says its versions come to is what a walk over them comes to.
#[test]
fn digests_are_those_of_all_versions() {
    let mut random = Gen(77);
    let memtable = Arc::new(Memtable::new(0));
    for seqno in 1..3000 {
        let key = random.below(500).to_be_bytes();
        let value = vec![random.below(256) as u8; random.below(300) as usize];
        memtable.insert(&key, Stamp::new(seqno, Kind::Put), &value);
    }
    let (mut cursor, mut sum) = (memtable.cursor(), 0_u64);
    cursor.seek_first();
    while cursor.valid() {
        sum = sum.wrapping_add(quick_digest(cursor.key(), cursor.stamp(), cursor.value()));
        cursor.next();
    }
    assert_eq!(sum, memtable.digests());
}
