//! The calls of a store, each in its plainest use.

use std::{path::Path, sync::Arc};

use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Options, Parts, Work,
};
use olivine_vfs::{ManualClock, MemoryVfs, Random, Vfs};

fn stepped(vfs: &Arc<MemoryVfs>, seed: u64) -> Environment {
    let vfs: Arc<dyn Vfs> = Arc::<MemoryVfs>::clone(vfs);
    let parts = Parts { vfs, clock: Arc::new(ManualClock::new()), work: Work::Stepped { seed } };
    Environment::with(parts, EnvironmentOptions { memory_bytes: 4 << 20 }).unwrap()
}

fn small() -> Options {
    Options {
        memtable_bytes_max: 16 << 10,
        segment_bytes: 16 << 10,
        table_bytes_max: 16 << 10,
        level_bytes_base: 32 << 10,
        block_bytes: 512,
        ..Options::default()
    }
}

const STORE: &str = "/store";

#[test]
fn what_was_put_is_got_scanned_and_found_again_after_reopening() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs, 1);
    let mut oracle = std::collections::BTreeMap::new();
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
    assert!(vfs.entry(Path::new(STORE)).unwrap().is_some());
}

#[test]
fn a_batch_spans_keyspaces_and_a_snapshot_does_not_see_it() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs, 1);
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
    let environment = stepped(&vfs, 1);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    for number in 0..5000u32 {
        keyspace.put(&number.to_be_bytes(), &[7; 50]).unwrap();
    }
    db.settle().unwrap();
    let tables = || {
        let entries = vfs.list(Path::new(STORE)).unwrap();
        entries.iter().filter(|entry| entry.name.to_string_lossy().starts_with("table-")).count()
    };
    assert!(0 < tables());
    db.drop_keyspace(&keyspace).unwrap();
    while environment.step() {}
    assert_eq!(tables(), 0);
    assert!(matches!(keyspace.get(b"x"), Err(Error::Dropped { .. })));
    assert_eq!(db.keyspace("a").unwrap().iter().unwrap().count(), 0);
}
