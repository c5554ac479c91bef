//! What a store tells of itself.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use olivine_engine::{Db, Environment, EnvironmentOptions, Error, Parts, Stall, Work};
use olivine_vfs::{FailingVfs, Fault, Kind, ManualClock, MemoryVfs, Vfs};

use crate::scene::{STORE, small};

/// A store on `vfs` whose clock is moved by hand.
fn open(vfs: Arc<dyn Vfs>) -> (Db, Environment, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let parts = Parts { vfs, clock: Arc::clone(&clock) as _, work: Work::Stepped { seed: 1 } };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 1 << 20 }).unwrap();
    (Db::open(&environment, Path::new(STORE), small()).unwrap(), environment, clock)
}

#[test]
fn the_oldest_snapshot_is_told_with_its_age_and_what_it_keeps() {
    let (db, _environment, clock) = open(Arc::new(MemoryVfs::new()));
    let fruit = db.keyspace("fruit").unwrap();
    assert!(db.health().oldest_snapshot.is_none());
    fruit.put(b"a", &[0; 1000]).unwrap();
    let old = db.snapshot();
    clock.advance(Duration::from_mins(1));
    fruit.put(b"a", &[1; 5000]).unwrap();
    let newer = db.snapshot();
    let oldest = db.health().oldest_snapshot.unwrap();
    assert_eq!((oldest.seqno, oldest.age), (old.seqno(), Duration::from_mins(1)));
    assert!((5000..6000).contains(&oldest.bytes_since), "{oldest:?}");
    drop(old);
    assert_eq!(db.health().oldest_snapshot.unwrap().seqno, newer.seqno());
}

#[test]
fn what_happens_behind_the_writers_is_told() {
    let (db, environment, _clock) = open(Arc::new(MemoryVfs::new()));
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    db.on_event(move |event| listener.lock().unwrap().push(format!("{event:?}")));
    let fruit = db.keyspace("fruit").unwrap();
    for number in 0..3000u32 {
        fruit.put(&number.to_be_bytes(), &[7; 100]).unwrap();
    }
    while environment.step() {}
    db.settle().unwrap();
    let told = told.lock().unwrap();
    let count = |what: &str| told.iter().filter(|event| event.starts_with(what)).count() as u64;
    let stats = db.stats();
    assert_eq!((count("Flushed"), count("Compacted")), (stats.flushes, stats.compactions));
    assert_eq!(stats.flush_times.count(), stats.flushes);
    assert_eq!(stats.compaction_times.count(), stats.compactions);
    assert_eq!(stats.sync_times.count(), stats.syncs);
    assert!(0 < stats.flushes && 0 < stats.compactions, "{stats:?}");
}

#[test]
fn a_full_disk_and_a_failed_one_are_told_apart() {
    let failing = Arc::new(FailingVfs::new(Arc::new(MemoryVfs::new())));
    let (db, _environment, clock) = open(Arc::clone(&failing) as Arc<dyn Vfs>);
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    db.on_event(move |event| listener.lock().unwrap().push(format!("{event:?}")));
    let fruit = db.keyspace("fruit").unwrap();
    fruit.put(b"a", b"1").unwrap();
    assert_eq!(db.health().stall, None);
    failing.no_room_from(0);
    let refused = db.flush().unwrap_err();
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert_eq!(db.health().stall, Some(Stall::Disk));
    assert!(db.health().refused.is_none());
    failing.clear();
    clock.advance(Duration::from_secs(10));
    db.flush().unwrap();
    assert_eq!(db.health().stall, None);
    failing.fail_from(Kind::Sync, failing.calls(Kind::Sync), Fault::Eio);
    fruit.put(b"b", b"2").unwrap_err();
    assert!(matches!(db.health().refused, Some(Error::Poisoned { .. })), "{:?}", db.health());
    let told = told.lock().unwrap();
    let place = |what: &str| told.iter().position(|event| event.starts_with(what));
    let (full, again, refused) = (place("DiskFull"), place("RoomAgain"), place("Refused"));
    assert!(full.is_some() && full < again && again < refused, "{told:?}");
}
