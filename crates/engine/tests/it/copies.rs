//! Whatever call fails, and wherever the machine dies, during an ingest, a checkpoint, a backup, a
//! pruning or a restore: the store is whole, earlier copies are, and what was cut short leaves nothing
//! that stands in the way.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use olivine_engine::{Backups, Batch, Db, Environment, Error, Options};
use olivine_vfs::{
    CrashingVfs, EntryKind, FailingVfs, Fault, Kind, MemoryVfs, Phase, Survival, Vfs,
};

use crate::scene::{STORE, fill, lend_and_receive, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const COPY: &str = "/copy";
const BACKUPS: &str = "/backups";
const RESTORED: &str = "/restored";

fn options() -> Options {
    Options { value_apart_bytes_min: 300, ..small() }
}

fn open(environment: &Environment, path: &str) -> Db {
    Db::open(environment, path, options()).unwrap()
}

fn contents(db: &Db) -> Map {
    let keyspace = db.find_keyspace("a").unwrap();
    keyspace.iter().unwrap().map(Result::unwrap).collect()
}

fn names(vfs: &dyn Vfs, dir: &str) -> Vec<String> {
    let entries = vfs.list(Path::new(dir)).unwrap_or_default();
    entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect()
}

/// A name with this ending.
fn ending(vfs: &dyn Vfs, dir: &str, end: &str) -> Option<String> {
    let ends = |name: &String| Path::new(name).extension().is_some_and(|found| found == end);
    names(vfs, dir).into_iter().find(ends)
}

fn exists(vfs: &dyn Vfs, path: &str) -> bool {
    vfs.entry(Path::new(path)).unwrap().is_some_and(|entry| entry.kind == EntryKind::Dir)
}

/// A store with tables, value files and something in memory.
fn prepare(environment: &Environment) -> Db {
    let db = open(environment, STORE);
    fill(&db, "a", 400);
    let keyspace = db.keyspace("a").unwrap();
    for number in 0..10u32 {
        keyspace.put(&number.to_be_bytes(), &[number as u8; 400]).unwrap();
    }
    db.settle().unwrap();
    fill(&db, "a", 20);
    db
}

fn ingest(db: &Db) -> Result<(), Error> {
    let keyspace = db.keyspace("a")?;
    let mut ingest = keyspace.ingest()?;
    for number in 10..900u32 {
        ingest.add(&number.to_be_bytes(), &number.to_le_bytes().repeat(20))?;
    }
    ingest.finish().map(drop)
}

fn write(db: &Db, value: u8) {
    let keyspace = db.keyspace("a").unwrap();
    let mut batch = Batch::new();
    for number in 0..60u32 {
        batch.put(&keyspace, &(7 * number).to_be_bytes(), &[value; 90]).unwrap();
    }
    db.write(batch).unwrap();
}

/// What must be there when the machine dies now.
#[derive(Clone, Default)]
struct Acked {
    /// The store is one of these.
    store: Vec<Map>,
    copy: Option<Map>,
    /// Taken, and not asked to be pruned.
    backups: BTreeMap<u64, Map>,
    /// What any backup holds, should it be there.
    ever: BTreeMap<u64, Map>,
    restored: Option<Map>,
}

/// What a crash left, and everything that is done with it afterwards.
fn survive(disk: CrashingVfs, acked: &Acked, which: &str) {
    let disk = Arc::new(disk);
    let environment = stepped(&disk);
    let db = open(&environment, STORE);
    let found = contents(&db);
    assert!(acked.store.contains(&found), "{which}: the store differs");
    assert!(exists(&*disk, COPY) || acked.copy.is_none(), "{which}: the checkpoint is gone");
    if exists(&*disk, COPY) {
        let copy = contents(&open(&environment, COPY));
        let expected = acked.copy.as_ref().or(acked.store.last());
        assert!(Some(&copy) == expected, "{which}: the checkpoint differs");
    } else {
        db.checkpoint(COPY).unwrap();
    }
    let backups = Backups::new(&environment, BACKUPS);
    let listed = if exists(&*disk, BACKUPS) { backups.list().unwrap() } else { Vec::new() };
    let numbers: Vec<u64> = listed.iter().map(|(number, _)| *number).collect();
    for number in acked.backups.keys() {
        assert!(numbers.contains(number), "{which}: backup {number} is gone");
    }
    for (number, info) in listed {
        info.unwrap();
        let path = format!("/again-{number}");
        backups.restore(Some(number), &path, &mut |_| ()).unwrap();
        let restored = contents(&open(&environment, &path));
        assert!(restored == acked.ever[&number], "{which}: backup {number} differs");
    }
    assert!(exists(&*disk, RESTORED) || acked.restored.is_none(), "{which}: it is gone");
    if exists(&*disk, RESTORED) {
        let restored = contents(&open(&environment, RESTORED));
        assert!(acked.ever.values().any(|then| *then == restored), "{which}: it differs");
    }
    let info = backups.take(&db, &mut |_| ()).unwrap();
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages, [], "{which}");
    assert_eq!(ending(&*disk, BACKUPS, "next"), None, "{which}");
    backups.restore(Some(info.number), "/last", &mut |_| ()).unwrap();
    assert!(contents(&open(&environment, "/last")) == found, "{which}");
    assert_eq!(db.check(&mut |_, _| ()).unwrap().damages, 0, "{which}");
}

/// The machine dies before and after every call, losing nothing, all or some of what was not synced.
#[test]
fn copies_survive_every_crash() {
    let disk = Arc::new(CrashingVfs::new());
    let environment = stepped(&disk);
    let db = prepare(&environment);
    let acked = Arc::new(Mutex::new(Acked { store: vec![contents(&db)], ..Acked::default() }));
    let images: Arc<Mutex<Vec<(CrashingVfs, Acked, String)>>> = Arc::default();
    let (taken, known) = (Arc::clone(&images), Arc::clone(&acked));
    disk.on_event(move |event, disk| {
        if event.phase == Phase::Middle {
            return;
        }
        let survivals =
            [Survival::Nothing, Survival::Torn, Survival::Reordered, Survival::Everything];
        let survival = survivals[event.index as usize % survivals.len()];
        let which = format!("{:?} {:?} {:?} {}", survival, event.phase, event.kind, event.index);
        let image = disk.crash(survival, event.index);
        taken.lock().unwrap().push((image, known.lock().unwrap().clone(), which));
    });
    let ack = |change: &dyn Fn(&mut Acked)| change(&mut acked.lock().unwrap());

    let mut ingested = contents(&db);
    for number in 10..900u32 {
        ingested.insert(number.to_be_bytes().to_vec(), number.to_le_bytes().repeat(20));
    }
    ack(&|acked| acked.store.push(ingested.clone()));
    ingest(&db).unwrap();
    assert!(contents(&db) == ingested);
    ack(&|acked| acked.store = vec![ingested.clone()]);
    db.checkpoint(COPY).unwrap();
    ack(&|acked| acked.copy = Some(ingested.clone()));
    let backups = Backups::new(&environment, BACKUPS);
    ack(&|acked| drop(acked.ever.insert(1, ingested.clone())));
    assert_eq!(backups.take(&db, &mut |_| ()).unwrap().number, 1);
    ack(&|acked| drop(acked.backups.insert(1, ingested.clone())));
    let mut written = ingested.clone();
    written.extend((0..60u32).map(|number| ((7 * number).to_be_bytes().to_vec(), vec![5; 90])));
    ack(&|acked| acked.store.push(written.clone()));
    write(&db, 5);
    ack(&|acked| acked.store = vec![written.clone()]);
    db.settle().unwrap();
    ack(&|acked| drop(acked.ever.insert(2, written.clone())));
    assert_eq!(lend_and_receive(&environment, &db, BACKUPS).unwrap().number, 2);
    ack(&|acked| drop(acked.backups.insert(2, written.clone())));
    backups.restore(Some(1), RESTORED, &mut |_| ()).unwrap();
    ack(&|acked| acked.restored = Some(ingested.clone()));
    ack(&|acked| drop(acked.backups.remove(&1)));
    assert_eq!(backups.prune(1).unwrap().backups, [1]);
    disk.clear_on_event();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(200 < images.len(), "{}", images.len());
    for (image, acked, which) in images {
        survive(image, &acked, &which);
    }
}

/// Something that is done to a store.
type Work = fn(&Environment, &Db) -> Result<(), Error>;

const WORKS: [(&str, Work); 6] = [
    ("ingest", |_, db| ingest(db)),
    ("checkpoint", |_, db| db.checkpoint(COPY).map(drop)),
    ("backup", |environment, db| {
        Backups::new(environment, BACKUPS).take(db, &mut |_| ()).map(drop)
    }),
    ("receive", |environment, db| lend_and_receive(environment, db, BACKUPS).map(drop)),
    ("prune", |environment, _| Backups::new(environment, BACKUPS).prune(1).map(drop)),
    ("restore", |environment, _| {
        Backups::new(environment, BACKUPS).restore(Some(1), RESTORED, &mut |_| ()).map(drop)
    }),
];

/// A store and two backups of it.
fn scene() -> MemoryVfs {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = prepare(&environment);
    let backups = Backups::new(&environment, BACKUPS);
    backups.take(&db, &mut |_| ()).unwrap();
    write(&db, 3);
    db.settle().unwrap();
    backups.take(&db, &mut |_| ()).unwrap();
    db.close().unwrap();
    vfs.image()
}

/// One call fails in the middle of `work`. False when there was no such call.
fn fail(scene: &MemoryVfs, (name, work): (&str, Work), kind: Kind, nth: u64, fault: Fault) -> bool {
    let which = format!("{name}, {kind:?} {nth}, {fault:?}");
    let failing = Arc::new(FailingVfs::new(Arc::new(scene.image())));
    let environment = stepped(&failing);
    let mut db = open(&environment, STORE);
    let before = contents(&db);
    let from = failing.calls(kind) + nth;
    match fault {
        Fault::Enospc => failing.fail_from(kind, from, fault),
        _ => failing.fail(kind, from, fault),
    }
    let outcome = work(&environment, &db);
    let met = failing.failed() != 0;
    failing.clear();
    if let Err(told) = outcome {
        // What a failed removal leaves is swept by the next try.
        let cleans = matches!(kind, Kind::RemoveFile | Kind::RemoveDir | Kind::List | Kind::Entry);
        let debris = ending(&*failing, "/", "draft");
        assert!(cleans || debris.is_none(), "{which}: {debris:?} is left ({told})");
        let debris = ending(&*failing, BACKUPS, "next");
        assert!(cleans || debris.is_none(), "{which}: {debris:?} is left ({told})");
    }
    if name != "ingest" {
        db.check_writable().unwrap_or_else(|error| panic!("{which}: {error}"));
    } else if db.check_writable().is_err() {
        // Its record or its edit may be half on the disk; what was written before is not.
        drop(db);
        db = open(&environment, STORE);
    }
    let mut after = before.clone();
    for number in 10..900u32 {
        after.insert(number.to_be_bytes().to_vec(), number.to_le_bytes().repeat(20));
    }
    let found = contents(&db);
    assert!(found == before || (name == "ingest" && found == after), "{which}: the store differs");
    assert!(!exists(&*failing, COPY) || name == "checkpoint", "{which}");
    for target in [COPY, RESTORED] {
        if exists(&*failing, target) {
            contents(&open(&environment, target));
        } else if [("checkpoint", COPY), ("restore", RESTORED)].contains(&(name, target)) {
            work(&environment, &db).unwrap_or_else(|error| panic!("{which}, again: {error}"));
        }
    }
    if matches!(name, "ingest" | "backup" | "receive" | "prune") {
        work(&environment, &db).unwrap_or_else(|error| panic!("{which}, again: {error}"));
    }
    let backups = Backups::new(&environment, BACKUPS);
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages, [], "{which}");
    write(&db, 9);
    assert_eq!(db.check(&mut |_, _| ()).unwrap().damages, 0, "{which}");
    met
}

#[test]
fn copies_survive_every_fault() {
    let scene = scene();
    let mut met = 0;
    for work in WORKS {
        for kind in Kind::ALL {
            let grows = matches!(
                kind,
                Kind::Create | Kind::CreateDir | Kind::HardLink | Kind::Write | Kind::Sync
            );
            let faults = [Fault::Eio, Fault::Enospc];
            for fault in faults.into_iter().take(if grows { 2 } else { 1 }) {
                let mut nth = 0;
                while fail(&scene, work, kind, nth, fault) {
                    nth += if kind == Kind::Read { 7 } else { 1 };
                    met += 1;
                }
            }
        }
    }
    assert!(150 < met, "only {met} calls were failed");
}
