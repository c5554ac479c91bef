//! Schedules of one inserter and one reader, tried one after the other, with nodes of four entries.
//!
//! loom tries every schedule with at most so many switches away from a thread that could go on as each
//! model says, and every value that a relaxed load may see in it. Three switches are exhausted for
//! each thing that an insert does to the tree, taken alone, beside one get or one step of a cursor;
//! what was there before is built, and the cursor brought to its place, before there are two threads.
//! Inserts that do several of these things, and whole walks, are tried with one switch. The arena's
//! bytes are no atomics; a cell in each record has loom complain when they are read without having
//! been handed over.
//!
//! 1. A model says which nodes there are before and after, so that what it is about does happen.
//! 2. A model in which no schedule differs from another is no model, and fails.

use std::sync::{
    Arc,
    atomic::{AtomicU64 as Plain, Ordering::Relaxed},
};

use loom::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{Cursor, Memtable};
use crate::key::{Kind, Stamp};

const ONCE: usize = 1;
const THRICE: usize = 3;

fn stamp(seqno: u64) -> Stamp {
    Stamp::new(seqno, Kind::Put)
}

/// What is in a memtable, what comes, and the counts of its nodes' entries before and after.
#[derive(Clone, Copy)]
struct Case {
    old: &'static [&'static str],
    new: &'static str,
    shapes: [&'static str; 2],
}

/// A leaf with room.
const INSERT: Case = Case { old: &["b", "d", "f"], new: "e", shapes: ["3", "4"] };

/// The second of two leaves, with room.
const INSERT_BEHIND: Case =
    Case { old: &["a", "c", "i", "k", "e", "g"], new: "j", shapes: ["[4 2]", "[4 3]"] };

/// A new version of a key that is there.
const OVERWRITE: Case = Case { old: &["b", "d"], new: "b", shapes: ["2", "2"] };

/// The root is full, so that it gets a level: everything moves into a child.
const DEEPEN: Case = Case { old: &["a", "c", "e", "g"], new: "c", shapes: ["4", "[4]"] };

/// A leaf splits under a root that has room: keys move away behind the reader's back.
const SPLIT: Case =
    Case { old: &["a", "c", "i", "k", "e", "g"], new: "d", shapes: ["[4 2]", "[3 2 2]"] };

/// The only leaf splits: before, the root had got a level.
const SPLIT_ONLY: Case =
    Case { old: &["a", "c", "e", "g", "c"], new: "d", shapes: ["[4]", "[3 2]"] };

/// The root gets a level, and its child splits.
const ROOT: Case = Case { old: &["a", "c", "e", "g"], new: "d", shapes: ["4", "[3 2]"] };

/// An inner node splits under a root that has room, on the way to a key that is there.
const SPLIT_INNER: Case = Case {
    old: &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "ff"],
    new: "a",
    shapes: ["[[4 3 2 4] [1]]", "[[4 3] [2 4] [1]]"],
};

impl Case {
    fn build(self) -> Arc<Memtable> {
        let memtable = Arc::new(Memtable::without_filter());
        for (seqno, key) in (1..).zip(self.old) {
            memtable.insert(key.as_bytes(), stamp(seqno), key.as_bytes());
        }
        assert_eq!(memtable.tree.shape(), self.shapes[0]);
        memtable
    }

    /// Runs `read`, with what was `prepared` before, beside the insert of what is new, which gets stamp
    /// 100. The stamps of what is old are 1 and on. Values are keys.
    fn beside<T: Send + 'static>(
        self,
        preemptions: usize,
        prepare: impl Fn(&Arc<Memtable>) -> T + Send + Sync + 'static,
        read: fn(&Arc<Memtable>, T),
    ) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        let schedules = Arc::new(Plain::new(0));
        let count = Arc::clone(&schedules);
        builder.check(move || {
            count.fetch_add(1, Relaxed);
            let memtable = self.build();
            let prepared = prepare(&memtable);
            let reader = thread::spawn({
                let memtable = Arc::clone(&memtable);
                move || read(&memtable, prepared)
            });
            memtable.insert(self.new.as_bytes(), stamp(100), self.new.as_bytes());
            reader.join().unwrap();
            assert_eq!(get(&memtable, self.new), Some(100));
            assert_eq!(memtable.tree.shape(), self.shapes[1]);
        });
        assert!(1 < schedules.load(Relaxed), "the two threads have nothing to do with each other");
    }

    fn beside_get(self, preemptions: usize, read: fn(&Memtable)) {
        self.beside(preemptions, move |_| read, |memtable, read| read(memtable));
    }

    /// A step forward, from `from` to `to` or to what is new.
    fn beside_next(self, preemptions: usize, from: &'static str, to: &'static str) {
        let prepare = move |memtable: &Arc<Memtable>| {
            let mut cursor = memtable.cursor();
            cursor.seek_first();
            while cursor.key() < from.as_bytes() {
                cursor.next_key();
            }
            (cursor, to)
        };
        self.beside(preemptions, prepare, |_, (mut cursor, to)| {
            cursor.next_key();
            came_to(&cursor, to);
        });
    }

    /// A step backward.
    fn beside_prev(self, preemptions: usize, from: &'static str, to: &'static str) {
        let prepare = move |memtable: &Arc<Memtable>| {
            let mut cursor = memtable.cursor();
            cursor.seek_last();
            while from.as_bytes() < cursor.key() {
                cursor.prev_key();
            }
            (cursor, to)
        };
        self.beside(preemptions, prepare, |_, (mut cursor, to)| {
            cursor.prev_key();
            came_to(&cursor, to);
        });
    }
}

/// The entry is that of `to`, or what was inserted meanwhile.
fn came_to(cursor: &Cursor, to: &str) {
    assert_eq!(cursor.key(), cursor.value());
    assert!(cursor.stamp() == stamp(100) || cursor.key() == to.as_bytes());
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
    INSERT.beside_get(THRICE, |memtable| {
        assert_eq!(get(memtable, "f"), Some(3));
        assert!(matches!(get(memtable, "e"), None | Some(100)));
        assert_eq!(get(memtable, "b"), Some(1));
    });
}

#[test]
fn overwrite_beside_get() {
    OVERWRITE.beside_get(THRICE, |memtable| {
        assert!(matches!(get(memtable, "b"), Some(1 | 100)));
        assert_eq!(memtable.get(b"b", stamp(99)), Some((stamp(1), &b"b"[..])));
    });
}

#[test]
fn a_new_level_beside_get() {
    DEEPEN.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "a"), Some(1)));
    DEEPEN.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "g"), Some(4)));
    DEEPEN.beside_get(THRICE, |memtable| assert!(matches!(get(memtable, "c"), Some(2 | 100))));
}

#[test]
fn leaf_split_beside_get() {
    SPLIT.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "g"), Some(6)));
    SPLIT.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "i"), Some(3)));
}

#[test]
fn leaf_split_beside_get_of_the_first_moved() {
    SPLIT.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "e"), Some(5)));
}

#[test]
fn only_leaf_split_beside_get_of_what_is_new() {
    SPLIT_ONLY
        .beside_get(THRICE, |memtable| assert!(matches!(get(memtable, "d"), None | Some(100))));
}

#[test]
fn only_leaf_split_beside_get() {
    SPLIT_ONLY.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "g"), Some(4)));
}

#[test]
fn inner_node_split_beside_get() {
    SPLIT_INNER.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "i"), Some(9)));
    SPLIT_INNER.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "m"), Some(13)));
}

#[test]
fn inner_node_split_beside_get_of_the_first_moved() {
    SPLIT_INNER.beside_get(THRICE, |memtable| assert_eq!(get(memtable, "g"), Some(7)));
}

#[test]
fn root_split_beside_get() {
    ROOT.beside_get(ONCE, |memtable| assert_eq!(get(memtable, "g"), Some(4)));
    ROOT.beside_get(ONCE, |memtable| assert!(matches!(get(memtable, "d"), None | Some(100))));
}

#[test]
fn root_split_beside_get_of_the_first() {
    ROOT.beside_get(ONCE, |memtable| assert_eq!(get(memtable, "a"), Some(1)));
}

/// The words of a node are made anew because a key comes that shares less with the others.
#[test]
fn other_words_beside_get() {
    const OLD: &[&str] = &["prefix/a", "prefix/c", "prefix/e", "prefix/g", "prefix/i"];
    let case = |new| Case { old: OLD, new, shapes: ["[4 1]", "[4 2]"] };
    case("present").beside_get(THRICE, |memtable| {
        assert_eq!(get(memtable, "prefix/a"), Some(1));
        assert!(matches!(get(memtable, "present"), None | Some(100)));
    });
    case("q").beside_get(THRICE, |memtable| assert_eq!(get(memtable, "prefix/i"), Some(5)));
}

#[test]
fn insert_beside_a_step() {
    INSERT.beside_next(THRICE, "d", "f");
    INSERT.beside_prev(THRICE, "d", "b");
}

#[test]
fn a_new_level_beside_a_step() {
    DEEPEN.beside_next(THRICE, "c", "e");
    DEEPEN.beside_prev(THRICE, "e", "c");
}

/// Within the leaf that splits, to what moved away.
#[test]
fn leaf_split_beside_a_step() {
    SPLIT_ONLY.beside_next(THRICE, "c", "e");
}

#[test]
fn leaf_split_beside_a_step_back() {
    SPLIT_ONLY.beside_prev(THRICE, "e", "c");
}

/// From one leaf into another, which changes.
#[test]
fn insert_beside_a_step_into_the_leaf() {
    INSERT_BEHIND.beside_next(THRICE, "g", "i");
}

#[test]
fn leaf_split_beside_a_step_back_into_it() {
    SPLIT.beside_prev(THRICE, "i", "g");
}

#[test]
fn leaf_split_beside_a_walk() {
    SPLIT.beside(ONCE, |_| (), |memtable, ()| assert_eq!(walked(memtable, true), "acegik"));
    SPLIT.beside(ONCE, |_| (), |memtable, ()| assert_eq!(walked(memtable, false), "kigeca"));
}

/// A step, and the way to where it begins.
#[test]
fn root_split_beside_seek_and_step() {
    ROOT.beside(
        ONCE,
        |_| (),
        |memtable, ()| {
            let mut cursor = memtable.cursor();
            cursor.seek(b"e");
            assert_eq!(cursor.key(), b"e");
            cursor.next();
            assert_eq!(cursor.key(), b"g");
        },
    );
}

/// What was inserted before a number was published is there for whoever read the number.
#[test]
fn published_is_found() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(THRICE);
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
