//! The calls of a store, each in its plainest use.

use std::{collections::BTreeMap, sync::Arc};

use olivine_engine::{
    BATCH_BYTES_MAX, Batch, Db, Durability, Error, KEY_BYTES_MAX, VALUE_BYTES_MAX,
};
use olivine_vfs::{MemoryVfs, Random};

use crate::scene::{STORE, files, fill, small, stepped};

#[test]
fn what_was_put_is_got_scanned_and_found_again_after_reopening() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let mut oracle = BTreeMap::new();
    let mut random = Random::new(7);
    for round in 0..4 {
        let db = Db::open(&environment, STORE, small()).unwrap();
        let keyspace = db.keyspace("things").unwrap();
        for _ in 0..3000 {
            let key = format!("key{:05}", random.below(2000)).into_bytes();
            if random.chance(1, 5) {
                keyspace.delete(&key).unwrap();
                oracle.remove(&key);
            } else {
                let len = random.below(200) as usize;
                let value = random.bytes(len);
                keyspace.put(&key, &value).unwrap();
                oracle.insert(key, value);
            }
            if random.chance(1, 10) {
                environment.step();
            }
        }
        for number in 0..2000 {
            let key = format!("key{number:05}").into_bytes();
            let found = keyspace.get(&key).unwrap().map(|value| value.to_vec());
            assert_eq!(found.as_ref(), oracle.get(&key), "round {round} key {number}");
        }
        let forward: Vec<_> = keyspace.iter().unwrap().map(Result::unwrap).collect();
        let expected: Vec<_> = oracle.clone().into_iter().collect();
        assert!(forward == expected, "round {round}");
        let mut backward: Vec<_> = keyspace.iter().unwrap().rev().map(Result::unwrap).collect();
        backward.reverse();
        assert!(backward == expected, "round {round} backward");
        if round % 2 == 0 {
            db.settle().unwrap();
        }
        drop(keyspace);
        db.close().unwrap();
    }
}

#[test]
fn a_batch_spans_keyspaces_and_a_snapshot_does_not_see_it() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    a.put(b"k", b"old").unwrap();
    let snapshot = db.snapshot();
    let mut batch = Batch::new();
    batch.put(&a, b"k", b"new").unwrap();
    batch.put(&b, b"k", b"other").unwrap();
    db.write_with(batch, Durability::Os).unwrap();
    db.flush().unwrap();
    db.settle().unwrap();
    assert_eq!(snapshot.get(&a, b"k").unwrap().unwrap(), b"old");
    assert_eq!(snapshot.get(&b, b"k").unwrap(), None);
    assert_eq!(a.get(b"k").unwrap().unwrap(), b"new");
    assert_eq!(b.get(b"k").unwrap().unwrap(), b"other");
}

#[test]
fn a_dropped_keyspace_is_gone_and_its_files_with_it() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    fill(&db, "a", 5000);
    db.settle().unwrap();
    assert!(!files(&*vfs, "table-").is_empty());
    let keyspace = db.keyspace("a").unwrap();
    db.drop_keyspace(&keyspace).unwrap();
    while environment.step() {}
    assert!(files(&*vfs, "table-").is_empty());
    assert!(matches!(keyspace.get(b"x"), Err(Error::Dropped { .. })));
    assert!(matches!(keyspace.put(b"x", b"y"), Err(Error::Dropped { .. })));
    assert_eq!(db.keyspace("a").unwrap().iter().unwrap().count(), 0);
}

/// A reader that does nothing holds nothing: what it read before does not keep a dropped keyspace's
/// files or memory.
#[test]
fn an_idle_reader_keeps_nothing_of_a_dropped_keyspace() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    fill(&db, "a", 5000);
    db.settle().unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let (asked, answer) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::Builder::new().spawn(move || {
        let value = keyspace.get(&1u32.to_be_bytes()).unwrap();
        asked.send(value.is_some()).unwrap();
        ended.recv().ok();
        drop(keyspace);
    });
    assert!(answer.recv().unwrap());
    let cached_bytes = db.stats().cache_bytes;
    db.drop_keyspace(&db.find_keyspace("a").unwrap()).unwrap();
    while environment.step() {}
    assert!(files(&*vfs, "table-").is_empty());
    let left_bytes = db.stats().cache_bytes;
    assert!(
        left_bytes < cached_bytes / 4,
        "{left_bytes} of {cached_bytes} are left: more than slots"
    );
    assert_eq!(db.stats().metadata_bytes, 0);
    drop(end);
    reader.unwrap().join().unwrap();
}

#[test]
fn keys_and_values_of_every_size_come_back_and_larger_ones_are_refused() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    let (highest, lowest) = (vec![0xff; KEY_BYTES_MAX], vec![0; KEY_BYTES_MAX]);
    let keys: [&[u8]; 6] = [b"", b"\0", b"\r\n", &every_byte, &highest, &lowest];
    for key in keys {
        keyspace.put(key, key).unwrap();
    }
    let value = vec![5; 3 << 20];
    keyspace.put(b"large", &value).unwrap();
    for _ in 0..2 {
        for key in keys {
            assert_eq!(&*keyspace.get(key).unwrap().unwrap(), key);
        }
        assert_eq!(&*keyspace.get(b"large").unwrap().unwrap(), value.as_slice());
        assert_eq!(keyspace.iter().unwrap().count(), 7);
        db.settle().unwrap();
    }
    let invalid = |outcome| matches!(outcome, Err(Error::Invalid { .. }));
    assert!(invalid(keyspace.put(&vec![0; KEY_BYTES_MAX + 1], b"").map(drop)));
    let mut batch = Batch::new();
    let largest = vec![0; VALUE_BYTES_MAX];
    batch.put(&keyspace, b"k", &largest).unwrap();
    assert!(batch.bytes() <= BATCH_BYTES_MAX);
    assert!(invalid(batch.put(&keyspace, b"k", &largest)));
    assert_eq!(batch.len(), 1);
    assert!(invalid(keyspace.put(b"k", &[largest.as_slice(), b"x"].concat()).map(drop)));
}

#[test]
fn a_batch_larger_than_a_segment_is_whole_after_reopening() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let mut batch = Batch::new();
    for number in 0..3000u32 {
        batch.put(&keyspace, &number.to_be_bytes(), &[1; 40]).unwrap();
    }
    assert!(64 << 10 < batch.bytes());
    db.write(batch).unwrap();
    let copy = Arc::new(vfs.image());
    let db = Db::open(&stepped(&copy), STORE, small()).unwrap();
    assert_eq!(db.keyspace("a").unwrap().iter().unwrap().count(), 3000);
}

#[test]
fn several_keys_are_read_at_one_moment() {
    let vfs = Arc::new(MemoryVfs::new());
    let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    fill(&db, "a", 100);
    let keyspace = db.keyspace("a").unwrap();
    let keys = [1u32.to_be_bytes(), 1000u32.to_be_bytes(), 99u32.to_be_bytes()];
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
    let values = keyspace.multi_get(&keys).unwrap();
    assert_eq!(values[0].as_deref(), Some(&[1; 50][..]));
    assert_eq!(values[1], None);
    assert_eq!(values[2].as_deref(), Some(&[99; 50][..]));
    assert!(keyspace.contains(keys[0]).unwrap());
    assert!(!keyspace.contains(keys[1]).unwrap());
}

#[test]
fn walks_keep_to_their_bounds_from_both_ends() {
    let vfs = Arc::new(MemoryVfs::new());
    let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    for key in ["a", "b", "ba", "bb", "c"] {
        keyspace.put(key.as_bytes(), b"").unwrap();
    }
    let keys = |iter: olivine_engine::Iter| -> Vec<String> {
        iter.map(|entry| String::from_utf8(entry.unwrap().0).unwrap()).collect()
    };
    assert_eq!(keys(keyspace.prefix(b"b").unwrap()), ["b", "ba", "bb"]);
    assert_eq!(keys(keyspace.range("b"..).unwrap()), ["b", "ba", "bb", "c"]);
    assert_eq!(keys(keyspace.range("b"..="bb").unwrap()), ["b", "ba", "bb"]);
    assert_eq!(keys(keyspace.range("aa".."c").unwrap()), ["b", "ba", "bb"]);
    let mut iter = keyspace.range("a".."c").unwrap();
    let mut take = |back: bool| {
        let entry = if back { iter.next_back() } else { iter.next() };
        entry.map(|entry| String::from_utf8(entry.unwrap().0).unwrap())
    };
    let taken: Vec<_> = [false, true, false, true, false, true].map(&mut take).into();
    let some = |key: &str| Some(key.to_owned());
    assert_eq!(taken, [some("a"), some("bb"), some("b"), some("ba"), None, None]);
    let mut cursor = keyspace.cursor().unwrap();
    cursor.seek(b"b\0").unwrap();
    assert_eq!(cursor.key(), b"ba");
    cursor.prev().unwrap();
    assert_eq!(cursor.key(), b"b");
    cursor.next().unwrap();
    cursor.next().unwrap();
    assert_eq!(cursor.key(), b"bb");
    cursor.seek_back(b"b\xff").unwrap();
    assert_eq!(cursor.key(), b"bb");
    cursor.seek(b"d").unwrap();
    assert!(!cursor.valid());
}
