//! Writers that do not wait, and readers that must not.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use olivine_engine::{Batch, Db, Durability, Error, Keyspace};
use olivine_vfs::{FailingVfs, Fault, Kind, MemoryVfs};

use crate::scene::{STORE, fill, small, stepped};

fn one(keyspace: &Keyspace, key: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(keyspace, key, b"value").unwrap();
    batch
}

#[test]
fn tickets_are_visible_at_once_and_durable_after_one_sync_for_all() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    db.on_durable(move |durable| {
        assert!(durable.is_ok());
        counter.fetch_add(1, Relaxed);
    });
    let syncs = db.stats().syncs;
    let tickets: Vec<_> =
        (0..10u8).map(|number| db.write_ticketed(one(&keyspace, &[number])).unwrap()).collect();
    assert!(keyspace.contains(&[9]).unwrap());
    assert!(tickets.iter().all(|ticket| !ticket.is_durable()));
    assert_eq!(db.stats().syncs, syncs, "a ticketed write never syncs on its caller");
    while environment.step() {}
    assert!(tickets.iter().all(|ticket| ticket.is_durable()));
    assert_eq!(db.stats().syncs, syncs + 1);
    assert_eq!(told.load(Relaxed), 1, "one notification for the group");
}

#[test]
fn a_failed_sync_is_told_to_those_who_hold_tickets() {
    let disk = Arc::new(FailingVfs::new(Arc::new(MemoryVfs::new())));
    let environment = stepped(&disk);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    db.on_durable(move |durable| listener.lock().unwrap().push(durable.is_ok()));
    let ticket = db.write_ticketed(one(&keyspace, b"k")).unwrap();
    disk.fail(Kind::Sync, disk.calls(Kind::Sync), Fault::Eio);
    while environment.step() {}
    assert_eq!(*told.lock().unwrap(), [false]);
    assert!(!ticket.is_durable());
    assert!(matches!(ticket.wait(), Err(Error::Poisoned { .. })));
    assert!(matches!(keyspace.put(b"x", b"y"), Err(Error::Poisoned { .. })));
    assert!(keyspace.contains(b"k").unwrap(), "reads go on");
}

#[test]
fn a_read_tells_what_it_saw_so_that_a_reply_can_wait_for_it() {
    let vfs = Arc::new(MemoryVfs::new());
    let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let written = db.write_with(one(&keyspace, b"k"), Durability::Os).unwrap();
    let (value, seen) = keyspace.get_seen(b"k").unwrap();
    assert!(value.is_some() && written <= seen && db.durable() < seen);
    db.sync().unwrap();
    assert!(seen <= db.durable());
}

#[test]
fn a_read_that_must_not_wait_answers_from_memory_or_says_so() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    fill(&db, "a", 1000);
    db.settle().unwrap();
    db.close().unwrap();
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let key = 500u32.to_be_bytes();
    assert!(matches!(keyspace.get_if_cached(&key), Err(Error::WouldBlock)));
    keyspace.get(&key).unwrap().unwrap();
    assert!(keyspace.get_if_cached(&key).unwrap().is_some());
    keyspace.put(b"fresh", b"x").unwrap();
    assert!(keyspace.get_if_cached(b"fresh").unwrap().is_some());
}

#[test]
fn an_interval_writer_is_synced_when_its_time_has_come() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let seqno = db.write_with(one(&keyspace, b"k"), Durability::Interval).unwrap();
    while environment.step() {}
    assert!(db.durable() < seqno, "it is not due yet");
    environment.clock().sleep(small().interval);
    while environment.step() {}
    assert!(seqno <= db.durable());
}
