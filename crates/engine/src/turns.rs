//! Parts of the engine that no user can reach alone, for shuttle to run under schedules of its choice.
//!
//! Built with `--cfg shuttle` only. Whole stores are run by the tier `schedules` (`crates/testkit`),
//! which runs this, too.
//!
//! 1. What a seed does is the same each time; only the turns of the threads differ.
//! 2. What is wrong panics, within the schedule that shows it.

use std::{collections::BTreeMap, sync::Arc};

use olivine_vfs::Random;
use shuttle::thread;

use crate::{
    key::{Kind, Stamp},
    memtable::{Cursor, Memtable},
    sync::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

/// Bytes that the keys of a memtable begin with: nodes skip them, and make their words anew for a key
/// that has others.
const PREFIXES: [&str; 3] = ["a/long/prefix/", "a/long/proof/", ""];

/// One inserter beside two who get and one who walks, each as of what was published when it looked.
/// Nodes have four entries, so they split often.
///
/// # Panics
/// Somebody reads something else than what had been inserted.
pub fn memtable(seed: u64) {
    let written = Arc::new(draw(&mut Random::new(seed)));
    let memtable = Arc::new(Memtable::new(if seed & 1 == 0 { 0 } else { 4 << 10 }));
    let visible = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..3)
        .map(|reader| {
            let stage = Stage {
                written: Arc::clone(&written),
                memtable: Arc::clone(&memtable),
                visible: Arc::clone(&visible),
                random: Random::new(seed ^ (reader + 1)),
            };
            thread::spawn(move || if reader < 2 { stage.get() } else { stage.walk() })
        })
        .collect();
    let mut random = Random::new(!seed);
    let mut seqno = 0;
    while seqno < written.len() {
        let batch = random.between(1, 3) as usize;
        let mut inserter = memtable.inserter();
        for key in &written[seqno..written.len().min(seqno + batch)] {
            seqno += 1;
            inserter.insert(key.as_bytes(), stamp(seqno as u64), &value(key, seqno as u64));
        }
        drop(inserter);
        visible.store(seqno as u64, Release);
    }
    for thread in threads {
        thread.join().expect("it did not panic");
    }
    assert_eq!(memtable.len(), written.len() as u64);
}

/// The keys that are written, one after the other.
fn draw(random: &mut Random) -> Vec<String> {
    let keys = random.between(3, 40);
    let (prefixes, ascending) = (random.between(1, 3), random.chance(1, 3));
    let drawn = |n: u64, random: &mut Random| {
        let at = if ascending { n % keys } else { random.below(keys) };
        format!("{}{at:02}", PREFIXES[random.below(prefixes) as usize])
    };
    (0..random.between(4, 32)).map(|n| drawn(n, random)).collect()
}

fn stamp(seqno: u64) -> Stamp {
    Stamp::new(seqno, Kind::Put)
}

fn value(key: &str, seqno: u64) -> Vec<u8> {
    format!("{seqno} of {key}").into_bytes()
}

struct Stage {
    written: Arc<Vec<String>>,
    memtable: Arc<Memtable>,
    visible: Arc<AtomicU64>,
    random: Random,
}

impl Stage {
    /// The watermark, and what had been written up to it: the numbers of each key, newest first.
    fn look(&self) -> (u64, BTreeMap<&str, Vec<u64>>) {
        let visible = self.visible.load(Acquire);
        let mut keys = BTreeMap::<&str, Vec<u64>>::new();
        for (seqno, key) in (1..=visible).zip(&*self.written) {
            keys.entry(key).or_default().insert(0, seqno);
        }
        (visible, keys)
    }

    /// Whether all had been written when this reader looked; lets the others go on if not.
    fn is_over(&self, visible: u64) -> bool {
        let over = visible == self.written.len() as u64;
        if !over {
            thread::yield_now();
        }
        over
    }

    fn get(mut self) {
        loop {
            let key = &self.written[self.random.index(self.written.len())];
            let (visible, keys) = self.look();
            let expected = keys.get(&**key).map(|seqnos| (stamp(seqnos[0]), value(key, seqnos[0])));
            let found = self.memtable.get(key.as_bytes(), stamp(visible));
            let found = found.map(|(stamp, value)| (stamp, value.to_vec()));
            assert_eq!(found, expected, "{key} as of {visible}");
            if self.is_over(visible) {
                return;
            }
        }
    }

    /// Walks all there is, now forward, now backward, and turns around on the way.
    fn walk(mut self) {
        loop {
            let (forward, turn_at) = (self.random.chance(1, 2), self.random.index(8));
            let (visible, keys) = self.look();
            let entries = || keys.iter().flat_map(|(key, all)| all.iter().map(move |n| (*key, *n)));
            let mut cursor = self.memtable.cursor();
            let mut found = Vec::new();
            if forward {
                cursor.seek_first()
            } else {
                cursor.seek_last()
            }
            while cursor.valid() {
                if found.len() == turn_at {
                    turn_around(&mut cursor, forward);
                }
                let (key, seqno) = (str::from_utf8(cursor.key()), cursor.stamp().seqno());
                let key = key.expect("a key as it was written").to_owned();
                assert_eq!(cursor.value(), value(&key, seqno), "{key}");
                if seqno <= visible {
                    found.push((key, seqno));
                }
                if forward { cursor.next() } else { cursor.prev() }
            }
            if !forward {
                found.reverse();
            }
            let found: Vec<_> = found.iter().map(|(key, seqno)| (&**key, *seqno)).collect();
            assert_eq!(found, entries().collect::<Vec<_>>(), "a walk as of {visible}");
            if self.is_over(visible) {
                return;
            }
        }
    }
}

/// A step back and one on again, if there is something behind: to the same entry, or to one that came
/// between meanwhile.
fn turn_around(cursor: &mut Cursor, forward: bool) {
    let (key, stamp) = (cursor.key().to_vec(), cursor.stamp());
    if forward {
        cursor.prev()
    } else {
        cursor.next()
    }
    if !cursor.valid() {
        if forward { cursor.seek_first() } else { cursor.seek_last() }
    }
    while (cursor.key(), cursor.stamp()) != (&key[..], stamp) {
        if forward {
            cursor.next()
        } else {
            cursor.prev()
        }
        assert!(cursor.valid(), "an entry is gone");
    }
}
