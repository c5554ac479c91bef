//! With a tiny budget everything goes on, in less memory; who asks for too much is told.

use std::{io::Read, path::Path, sync::Arc};

use olivine_engine::{
    Backups, Db, Environment, EnvironmentOptions, Error, Options, Parts, Share, Work,
};
use olivine_vfs::{ManualClock, MemoryVfs, Vfs};

use crate::scene::STORE;

fn environment(memory_bytes: u64) -> Environment {
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()) as Arc<dyn Vfs>,
        clock: Arc::new(ManualClock::new()),
        work: Work::Stepped { seed: 1 },
    };
    Environment::with(parts, EnvironmentOptions { memory_bytes }).unwrap()
}

/// The shares together hold no more than there is.
#[track_caller]
fn within(environment: &Environment) {
    let shares = environment.budget().shares();
    let sum: u64 = shares.iter().map(|share| share.bytes).sum();
    assert!(sum <= environment.budget().bytes_max(), "{sum} bytes: {shares:?}");
}

fn key(number: u32) -> [u8; 8] {
    (u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()
}

/// Writes, reads, walks, merges, bulk loads, streams and backs up a store of many times the budget.
fn work(memory_bytes: u64) {
    let environment = environment(memory_bytes);
    let options = Options { value_apart_bytes_min: 8 << 10, ..Options::default() };
    let db = Db::open(&environment, Path::new(STORE), options).unwrap();
    let keyspace = db.keyspace("main").unwrap();
    let mut most_writing = 0;
    for number in 0..40_000 {
        keyspace.put(&key(number), &[number as u8; 100]).unwrap();
        if number % 500 == 0 {
            keyspace.put(&key(number), &vec![number as u8; 20_000]).unwrap();
        }
        if number % 64 == 0 {
            within(&environment);
            most_writing = most_writing.max(environment.budget().used_bytes(Share::Writing));
            while number % 1024 == 0 && environment.step() {
                within(&environment);
            }
        }
    }
    let bulk = db.keyspace("bulk").unwrap();
    let mut ingest = bulk.ingest().unwrap();
    for number in 0..40_000u32 {
        ingest.add(&number.to_be_bytes(), &[7; 60]).unwrap();
        if number % 1000 == 0 {
            within(&environment);
        }
    }
    ingest.finish().unwrap();
    keyspace.put_stream(b"film", 3 << 20, std::io::repeat(5).take(3 << 20)).unwrap();
    within(&environment);
    let mut cursors: Vec<_> = (0..4).map(|_| keyspace.cursor().unwrap()).collect();
    for cursor in &mut cursors {
        cursor.seek_first().unwrap();
    }
    let mut walked = 0;
    while cursors[0].valid() {
        for cursor in &mut cursors {
            cursor.next().unwrap();
        }
        walked += 1;
        if walked % 512 == 0 {
            within(&environment);
        }
    }
    assert_eq!(walked, 40_001);
    drop(cursors);
    assert_eq!(environment.budget().used_bytes(Share::Walks), 0);
    db.settle().unwrap();
    within(&environment);
    let backups = Backups::new(&environment, Path::new("/backups"));
    backups.take(&db, &mut |_| within(&environment)).unwrap();
    for number in (0..40_000).step_by(97) {
        let value = keyspace.get(&key(number)).unwrap().unwrap();
        assert_eq!(value[0], number as u8);
    }
    within(&environment);
    for share in [Share::Writing, Share::Loading, Share::Walks, Share::Transactions] {
        assert_eq!(environment.budget().used_bytes(share), 0, "{share:?}");
    }
    let stats = db.stats();
    assert_eq!(stats.memory.len(), Share::ALL.len());
    assert_eq!(db.health().memory.len(), Share::ALL.len());
}

#[test]
fn all_goes_on_within_one_mebibyte() {
    work(1 << 20);
}

#[test]
fn all_goes_on_within_four_mebibytes() {
    work(4 << 20);
}

/// A transaction that would remember too much is told so, is as it was, and commits what it has.
#[test]
fn a_transaction_beyond_its_share_is_refused_and_stays() {
    let environment = environment(1 << 20);
    let db = Db::open(&environment, Path::new(STORE), Options::default()).unwrap();
    let keyspace = db.keyspace("main").unwrap();
    let mut transaction = db.transaction();
    let mut put = 0;
    let error = loop {
        match transaction.put(&keyspace, &key(put), &[0; 1000]) {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::Invalid { field: "memory_bytes", .. }), "{error}");
    assert!(20 < put && put < 200, "{put} puts");
    // Writing to the same keys again takes no more.
    for number in 0..put {
        transaction.put(&keyspace, &key(number), &[1; 900]).unwrap();
    }
    // Reads of other keys are refused by and by as well.
    let refused = (0..10_000).any(|number| transaction.get(&keyspace, &key(put + number)).is_err());
    assert!(refused);
    transaction.commit().unwrap();
    assert_eq!(environment.budget().used_bytes(Share::Transactions), 0);
    assert_eq!(keyspace.iter().unwrap().count(), put as usize);
}

/// Values in a caller's hands keep their blocks, which count as the cache's until they are let go of.
#[test]
fn values_in_a_caller_s_hands_are_told() {
    let environment = environment(4 << 20);
    let db = Db::open(&environment, Path::new(STORE), Options::default()).unwrap();
    let keyspace = db.keyspace("main").unwrap();
    for number in 0..60_000 {
        keyspace.put(&key(number), &[number as u8; 100]).unwrap();
    }
    db.settle().unwrap();
    let read = |number| keyspace.get(&key(number)).unwrap().unwrap();
    let held: Vec<_> = (0..60_000).step_by(300).map(read).collect();
    for number in 0..60_000 {
        read(number);
    }
    let stats = db.stats();
    let blocks = held.len() as u64 * 3000;
    assert!(blocks <= stats.pinned_bytes, "{} bytes for {} values", stats.pinned_bytes, held.len());
    within(&environment);
    drop(held);
    assert_eq!(db.stats().pinned_bytes, 0);
}

/// Ingests beyond the share are refused by name; the one there is goes on.
#[test]
fn too_many_ingests_at_once_are_refused() {
    let environment = environment(1 << 20);
    let db = Db::open(&environment, Path::new(STORE), Options::default()).unwrap();
    let keyspace = db.keyspace("main").unwrap();
    let mut ingests = Vec::new();
    let error = loop {
        match keyspace.ingest() {
            Ok(ingest) => ingests.push(ingest),
            Err(error) => break error.to_string(),
        }
    };
    assert!(!ingests.is_empty() && ingests.len() < 20, "{}", ingests.len());
    assert!(error.contains("memory_bytes") && error.contains("ingests"), "{error}");
    let mut last = ingests.pop().unwrap();
    last.add(b"a", b"b").unwrap();
    last.finish().unwrap();
    assert_eq!(*keyspace.get(b"a").unwrap().unwrap(), *b"b");
}
