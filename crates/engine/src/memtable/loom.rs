//! Schedules of one inserter and one reader, tried one after the other, with nodes of four entries.
//!
//! loom tries every schedule with at most so many switches away from a thread that could go on as
//! each model says (`TWICE`, or `ONCE` where two take minutes), and every value that a relaxed load may see in it. The arena's bytes are no atomics; a cell in
//! each record has loom complain when they are read without having been handed over.

use std::sync::Arc;

use loom::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::Memtable;
use crate::key::{Kind, Stamp};

const ONCE: usize = 1;
const TWICE: usize = 2;

fn stamp(seqno: u64) -> Stamp {
    Stamp::new(seqno, Kind::Put)
}

/// Runs `read` beside an insert of `new`, which gets stamp 100, into a memtable of `old`, whose
/// stamps are 1 and on. Values are keys.
fn beside_insert(
    preemptions: usize,
    old: &'static [&str],
    new: &'static str,
    read: fn(&Arc<Memtable>),
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(move || {
        let memtable = Arc::new(Memtable::without_filter());
        for (seqno, key) in (1..).zip(old) {
            memtable.insert(key.as_bytes(), stamp(seqno), key.as_bytes());
        }
        let reader = thread::spawn({
            let memtable = Arc::clone(&memtable);
            move || read(&memtable)
        });
        memtable.insert(new.as_bytes(), stamp(100), new.as_bytes());
        reader.join().unwrap();
        let found = memtable.get(new.as_bytes(), stamp(100));
        assert_eq!(found, Some((stamp(100), new.as_bytes())));
    });
}

/// The stamp of the newest version of `key`, whose value must be the key.
fn get(memtable: &Memtable, key: &str) -> Option<u64> {
    let (stamp, value) = memtable.get(key.as_bytes(), stamp(100))?;
    assert_eq!(value, key.as_bytes());
    Some(stamp.seqno())
}

/// The keys that a cursor comes by, of those that were there before.
fn walked(memtable: &Arc<Memtable>, forward: bool) -> String {
    let mut cursor = memtable.cursor();
    let mut seen = String::new();
    if forward {
        cursor.seek_first();
    } else {
        cursor.seek_last();
    }
    while cursor.valid() {
        assert_eq!(cursor.key(), cursor.value());
        if cursor.stamp() < stamp(100) {
            seen += str::from_utf8(cursor.key()).unwrap();
        }
        if forward {
            cursor.next();
        } else {
            cursor.prev();
        }
    }
    seen
}

#[test]
fn insert_beside_get() {
    beside_insert(TWICE, &["b", "d"], "c", |memtable| {
        assert_eq!(get(memtable, "d"), Some(2));
        assert!(matches!(get(memtable, "c"), None | Some(100)));
        assert_eq!(get(memtable, "b"), Some(1));
    });
}

#[test]
fn overwrite_beside_get() {
    beside_insert(TWICE, &["b", "d"], "b", |memtable| {
        assert!(matches!(get(memtable, "b"), Some(1 | 100)));
        assert_eq!(memtable.get(b"b", stamp(99)), Some((stamp(1), &b"b"[..])));
    });
}

/// The root splits: everything moves into a child, and half of it into another.
#[test]
fn root_split_beside_get() {
    beside_insert(ONCE, &["a", "c", "e", "g"], "d", |memtable| {
        assert_eq!(get(memtable, "g"), Some(4));
        assert!(matches!(get(memtable, "d"), None | Some(100)));
    });
    beside_insert(ONCE, &["a", "c", "e", "g"], "d", |memtable| {
        assert_eq!(get(memtable, "a"), Some(1))
    });
}

/// A leaf splits under a root that has room: keys move away behind the reader's back.
#[test]
fn leaf_split_beside_get() {
    const OLD: &[&str] = &["a", "c", "i", "k", "e", "g"];
    beside_insert(TWICE, OLD, "d", |memtable| assert_eq!(get(memtable, "g"), Some(6)));
    beside_insert(TWICE, OLD, "d", |memtable| assert_eq!(get(memtable, "e"), Some(5)));
    beside_insert(TWICE, OLD, "d", |memtable| assert_eq!(get(memtable, "i"), Some(3)));
}

/// The root is full of full leaves: it gets a level, an inner node splits, and a leaf.
#[test]
fn inner_split_beside_get() {
    const OLD: &[&str] =
        &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
    beside_insert(TWICE, OLD, "ff", |memtable| assert_eq!(get(memtable, "h"), Some(8)));
    beside_insert(TWICE, OLD, "ff", |memtable| assert_eq!(get(memtable, "p"), Some(16)));
}

/// The words of a node are made anew because a key comes that shares less with the others.
#[test]
fn other_words_beside_get() {
    const OLD: &[&str] = &["prefix/a", "prefix/c", "prefix/e", "prefix/g", "prefix/i"];
    beside_insert(TWICE, OLD, "present", |memtable| {
        assert_eq!(get(memtable, "prefix/a"), Some(1));
        assert!(matches!(get(memtable, "present"), None | Some(100)));
    });
    beside_insert(TWICE, OLD, "q", |memtable| assert_eq!(get(memtable, "prefix/i"), Some(5)));
}

/// A step over the place where the root splits.
#[test]
fn root_split_beside_cursor() {
    beside_insert(ONCE, &["a", "c", "e", "g"], "d", |memtable| {
        let mut cursor = memtable.cursor();
        cursor.seek(b"e");
        assert_eq!(cursor.key(), b"e");
        cursor.next();
        assert_eq!(cursor.key(), b"g");
    });
}

#[test]
fn leaf_split_beside_cursor() {
    const OLD: &[&str] = &["a", "c", "i", "k", "e", "g"];
    beside_insert(ONCE, OLD, "d", |memtable| assert_eq!(walked(memtable, true), "acegik"));
    beside_insert(ONCE, OLD, "d", |memtable| assert_eq!(walked(memtable, false), "kigeca"));
}

/// What was inserted before a number was published is there for whoever read the number.
#[test]
fn published_is_found() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(TWICE);
    builder.check(|| {
        let memtable = Arc::new(Memtable::without_filter());
        let visible = Arc::new(AtomicU64::new(0));
        let reader = thread::spawn({
            let (memtable, visible) = (Arc::clone(&memtable), Arc::clone(&visible));
            move || {
                let seqno = visible.load(Ordering::Acquire);
                assert!(get(&memtable, "key").unwrap_or(0) >= seqno);
            }
        });
        for seqno in 1..=2 {
            memtable.insert(b"key", stamp(seqno), b"key");
            visible.store(seqno, Ordering::Release);
        }
        reader.join().unwrap();
    });
}
