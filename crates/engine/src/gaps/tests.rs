//! What a gap tells, and what it no longer tells.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use olivine_vfs::{MemoryVfs, Random};

use super::{GAP_KEYS_MIN, GAPS_MAX, IDLE_INSERTS_MAX, Walked};
use crate::{Db, Environment, EnvironmentOptions, Keyspace, Options, Parts, Work, keyspace::Tree};

fn open() -> (Environment, Db, Keyspace) {
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()),
        clock: Arc::new(olivine_vfs::ManualClock::new()),
        work: Work::Stepped { seed: 1 },
    };
    let options = EnvironmentOptions { memory_bytes: 16 << 20 };
    let environment = Environment::with(parts, options).unwrap();
    let db = Db::open(&environment, "/store", Options::default()).unwrap();
    let keyspace = db.keyspace("things").unwrap();
    (environment, db, keyspace)
}

fn note(tree: &Arc<Tree>, low: &str, high: &str, seqno: u64) {
    Walked::begin(tree, low.as_bytes(), seqno).unwrap().end(high.as_bytes());
}

fn behind(tree: &Tree, key: &str, seqno: u64) -> Option<String> {
    tree.gaps.behind(key.as_bytes(), seqno).map(|high| String::from_utf8(high).unwrap())
}

#[test]
fn a_gap_is_told_within_it_and_from_its_moment_on() {
    let (_environment, _db, keyspace) = open();
    let tree = keyspace.tree();
    note(tree, "d", "m", 10);
    assert_eq!(behind(tree, "d", 10).as_deref(), Some("m"));
    assert_eq!(behind(tree, "lz", 11).as_deref(), Some("m"));
    for (key, seqno) in [("c", 10), ("m", 10), ("d", 9)] {
        assert_eq!(behind(tree, key, seqno), None, "{key} at {seqno}");
    }
}

#[test]
fn an_insert_cuts_what_is_noted_and_what_is_being_walked() {
    let (_environment, _db, keyspace) = open();
    let tree = keyspace.tree();
    note(tree, "d", "m", 10);
    tree.gaps.cut(b"g");
    assert_eq!(behind(tree, "e", 20).as_deref(), Some("g"));
    assert_eq!(behind(tree, "g", 20), None);
    let walked = Walked::begin(tree, b"p", 10).unwrap();
    assert_eq!(behind(tree, "q", 20), None, "its end is not known");
    tree.gaps.cut(b"s");
    tree.gaps.cut(b"z");
    walked.end(b"x");
    assert_eq!(behind(tree, "q", 20).as_deref(), Some("s"));
    tree.gaps.cut(b"p");
    assert_eq!(behind(tree, "p", 20), None);
    let walked = Walked::begin(tree, b"p", 10).unwrap();
    tree.gaps.cut(b"p");
    walked.end(b"x");
    assert_eq!(behind(tree, "q", 20), None);
}

/// As long as such a walk noted what it passed, a walk after it jumped over the key.
#[test]
fn a_walk_that_was_opened_while_nothing_was_in_memory_does_not_hide_what_is_put_after_it() {
    let (_environment, db, keyspace) = open();
    let key = |number: u32| number.to_be_bytes();
    let deletes = 4 * GAP_KEYS_MIN;
    for number in 0..=deletes {
        keyspace.put(&key(number), b"old").unwrap();
    }
    let snapshot = db.snapshot();
    for number in 0..deletes {
        keyspace.delete(&key(number)).unwrap();
    }
    db.flush().unwrap();
    let mut cursor = keyspace.cursor().unwrap();
    keyspace.put(&key(2 * GAP_KEYS_MIN), b"new").unwrap();
    cursor.seek_first().unwrap();
    assert_eq!(cursor.key(), key(deletes), "it shows the moment at which it was opened");
    let keys: Vec<_> = keyspace.iter().unwrap().map(|entry| entry.unwrap().0).collect();
    assert_eq!(keys, [key(2 * GAP_KEYS_MIN), key(deletes)]);
    drop(snapshot);
}

#[test]
fn gaps_that_touch_become_one_of_the_later_moment() {
    let (_environment, _db, keyspace) = open();
    let tree = keyspace.tree();
    note(tree, "d", "g", 10);
    note(tree, "m", "p", 12);
    note(tree, "g", "n", 11);
    assert_eq!(behind(tree, "e", 11), None);
    assert_eq!(behind(tree, "e", 12).as_deref(), Some("p"));
}

#[test]
fn a_walk_given_up_and_a_keyspace_filled_from_elsewhere_leave_none() {
    let (_environment, _db, keyspace) = open();
    let tree = keyspace.tree();
    drop(Walked::begin(tree, b"d", 10));
    assert_eq!(behind(tree, "d", 10), None);
    note(tree, "d", "m", 10);
    let walked = Walked::begin(tree, b"p", 10).unwrap();
    tree.gaps.forget();
    walked.end(b"x");
    assert_eq!((behind(tree, "d", 10), behind(tree, "q", 10)), (None, None));
}

#[test]
fn the_least_used_gap_makes_room_and_an_idle_one_goes() {
    let (_environment, _db, keyspace) = open();
    let tree = keyspace.tree();
    for number in 0..=GAPS_MAX {
        note(tree, &format!("{number}d"), &format!("{number}m"), 10);
        assert!(behind(tree, "0e", 10).is_some(), "used all the time");
    }
    assert_eq!(behind(tree, "1e", 10), None);
    assert!(behind(tree, "2e", 10).is_some());
    let idle = tree.gaps.count.load(Relaxed);
    for _ in 0..IDLE_INSERTS_MAX {
        tree.gaps.cut(b"zzz");
    }
    let left = tree.gaps.count.load(Relaxed);
    assert_eq!((idle, left), (GAPS_MAX, 0));
}

fn key(number: u32) -> Vec<u8> {
    format!("key{number:06}").into_bytes()
}

/// The number of the first key at or behind `from` that shows.
fn first_from(keyspace: &Keyspace, from: u32) -> Option<u32> {
    let mut cursor = keyspace.cursor().unwrap();
    cursor.seek(&key(from)).unwrap();
    cursor.valid().then(|| std::str::from_utf8(&cursor.key()[3..]).unwrap().parse().unwrap())
}

#[test]
fn a_walk_over_deleted_keys_notes_them_for_the_next_wherever_they_lie() {
    let (environment, db, keyspace) = open();
    let count = 100 * GAP_KEYS_MIN;
    for number in 0..=count {
        keyspace.put(&key(number), b"value").unwrap();
    }
    db.settle().unwrap();
    let before = db.snapshot();
    for number in 0..count {
        keyspace.delete(&key(number)).unwrap();
    }
    assert_eq!(first_from(&keyspace, 5), Some(count));
    let seqno = db.snapshot().seqno();
    let told = || keyspace.tree().gaps.behind(&key(count / 2), seqno);
    assert_eq!(told(), Some(key(count)));
    assert_eq!(first_from(&keyspace, 0), Some(count));
    assert_eq!(keyspace.tree().gaps.behind(&key(0), seqno), Some(key(count)));
    let mut cursor = before.cursor(&keyspace).unwrap();
    cursor.seek(&key(7)).unwrap();
    assert_eq!(cursor.key(), key(7), "an older moment shows them all");
    // Neither a flush nor a compaction changes what shows.
    drop(before);
    db.settle().unwrap();
    while environment.step() {}
    assert!(told().is_some());
    assert_eq!(first_from(&keyspace, 1), Some(count));
    keyspace.put(&key(count / 2), b"back").unwrap();
    assert_eq!(first_from(&keyspace, 1), Some(count / 2));
    assert_eq!(first_from(&keyspace, count / 2 + 1), Some(count));
    keyspace.delete(&key(count)).unwrap();
    keyspace.delete(&key(count / 2)).unwrap();
    assert_eq!(first_from(&keyspace, 1), None);
    assert_eq!(first_from(&keyspace, count - 1), None);
}

#[test]
fn what_is_put_while_a_walk_is_under_way_shows_to_the_next() {
    let (_environment, db, keyspace) = open();
    for number in 0..100 * GAP_KEYS_MIN {
        keyspace.delete(&key(number)).unwrap();
    }
    // This view is of before the put; it may pass the key, and must not say that it is dead.
    let mut old = keyspace.cursor().unwrap();
    keyspace.put(&key(50), b"new").unwrap();
    old.seek_first().unwrap();
    assert!(!old.valid());
    assert_eq!(first_from(&keyspace, 0), Some(50));
    // The same with the put in a memtable that the view does not have.
    keyspace.delete(&key(50)).unwrap();
    let mut old = keyspace.cursor().unwrap();
    db.flush().unwrap();
    keyspace.put(&key(60), b"new").unwrap();
    old.seek_first().unwrap();
    assert!(!old.valid());
    assert_eq!(first_from(&keyspace, 0), Some(60));
}

/// Deletes keys one by one and by ranges, and reads with clocks that do not agree on what expired.
#[test]
fn random_histories_with_long_stretches_walk_like_a_map() {
    for seed in 0..8 {
        let (environment, db, keyspace) = open();
        let mut oracle: BTreeMap<u32, u64> = BTreeMap::new();
        let mut random = Random::new(seed);
        for step in 0..1500 {
            let at = random.below(2000) as u32;
            let many = at..at + random.below(300) as u32;
            let few = at..at + random.below(20) as u32;
            match random.below(12) {
                0 => {
                    many.clone().for_each(|number| {
                        keyspace.delete(&key(number)).unwrap();
                    });
                    oracle.retain(|number, _| !many.contains(number));
                }
                1 => {
                    keyspace.delete_range(&key(many.start), &key(many.end)).unwrap();
                    oracle.retain(|number, _| !many.contains(number));
                }
                2 => few.for_each(|number| {
                    keyspace.put(&key(number), b"value").unwrap();
                    oracle.insert(number, u64::MAX);
                }),
                3 => few.for_each(|number| {
                    let expiry = 1 + random.below(100);
                    keyspace.put_with_expiry(&key(number), b"value", expiry).unwrap();
                    oracle.insert(number, expiry);
                }),
                4 if random.chance(1, 10) => db.flush().unwrap(),
                5 => drop(environment.step()),
                _ => {
                    let now = random.below(100);
                    let shows = |(_, expiry): &(&u32, &u64)| now < **expiry;
                    let expected = oracle.range(at..).find(shows).map(|(number, _)| *number);
                    let found = first_from(&keyspace.at(now), at);
                    assert_eq!(found, expected, "seed {seed} step {step} from {at} at time {now}");
                }
            }
        }
        let shown: Vec<_> = keyspace.iter().unwrap().map(|entry| entry.unwrap().0).collect();
        let expected: Vec<_> = oracle.keys().map(|number| key(*number)).collect();
        assert!(shown == expected, "seed {seed}");
    }
}

#[test]
fn a_writer_finds_its_own_puts_while_others_walk_and_note() {
    let (_environment, _db, keyspace) = open();
    let keys = 5 * GAP_KEYS_MIN;
    for number in 0..keys {
        keyspace.delete(&key(number)).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for walker in 0..2 {
            let (keyspace, done) = (&keyspace, &done);
            scope.spawn(move || {
                let mut random = Random::new(walker);
                while !done.load(Relaxed) {
                    first_from(keyspace, random.below(u64::from(keys)) as u32);
                    // So that there is something to note again.
                    keyspace.tree().gaps.forget();
                }
            });
        }
        let mut random = Random::new(9);
        for step in 0..8000 {
            let number = random.below(u64::from(keys)) as u32;
            keyspace.put(&key(number), b"mine").unwrap();
            let from = number.saturating_sub(random.below(40) as u32);
            assert_eq!(first_from(&keyspace, from), Some(number), "step {step} from {from}");
            keyspace.delete(&key(number)).unwrap();
            assert_eq!(first_from(&keyspace, from), None, "step {step} from {from}");
        }
        done.store(true, Relaxed);
    });
}
