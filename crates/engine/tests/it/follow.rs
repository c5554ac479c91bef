//! A store opened to be read only, beside the one that writes it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use olivine_engine::{
    Backups, Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Options,
    Parts, Snapshot, Work,
};
use olivine_vfs::{
    CrashingVfs, FailingVfs, Fault, Kind, MemoryVfs, Phase, Random, RealClock, Survival, Vfs,
};

use crate::scene::{Ended, STORE, fill, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn read_only(environment: &Environment) -> Db {
    Db::open_read_only(environment, STORE, small()).unwrap()
}

fn contents(db: &Db, keyspace: &str) -> Map {
    match db.find_keyspace(keyspace) {
        Some(keyspace) => keyspace.iter().unwrap().map(Result::unwrap).collect(),
        None => Map::new(),
    }
}

/// A disk on which everything that changes anything is refused.
fn sealed(disk: &Arc<MemoryVfs>) -> Arc<FailingVfs> {
    let sealed = FailingVfs::new(Arc::<MemoryVfs>::clone(disk));
    for kind in Kind::ALL {
        let reads = matches!(kind, Kind::Open | Kind::Read | Kind::Len | Kind::Entry | Kind::List);
        if !reads {
            sealed.fail_from(kind, 0, Fault::Refused);
        }
    }
    Arc::new(sealed)
}

#[test]
fn a_reader_touches_nothing_and_follows() {
    let vfs = Arc::new(MemoryVfs::new());
    let writer = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    fill(&writer, "a", 1000);
    let disk = sealed(&vfs);
    let reader = read_only(&stepped(&disk));
    assert!(reader.is_read_only() && !writer.is_read_only());
    assert_eq!(reader.visible(), writer.visible());
    assert!(contents(&reader, "a") == contents(&writer, "a"));
    let keyspace = reader.keyspace("a").unwrap();
    let (snapshot, mut walk) = (reader.snapshot(), keyspace.iter().unwrap());
    let then = contents(&writer, "a");
    for number in 0..1500u32 {
        writer.keyspace("a").unwrap().put(&number.to_be_bytes(), b"newer").unwrap();
    }
    writer.settle().unwrap();
    fill(&writer, "b", 100);
    assert!(contents(&reader, "a") == then, "nothing shows before it is asked for");
    assert_eq!(reader.refresh().unwrap(), writer.visible());
    for name in ["a", "b"] {
        assert!(contents(&reader, name) == contents(&writer, name), "{name}");
    }
    assert_eq!(keyspace.get(&7u32.to_be_bytes()).unwrap().unwrap(), b"newer"[..]);
    let of_snapshot: Map = snapshot.iter(&keyspace).unwrap().map(Result::unwrap).collect();
    assert!(of_snapshot == then, "a snapshot stays");
    assert!(walk.by_ref().map(Result::unwrap).collect::<Map>() == then, "a walk stays");
    assert_eq!(snapshot.get(&keyspace, &7u32.to_be_bytes()).unwrap().unwrap(), [7; 50][..]);
    writer.drop_keyspace(&writer.keyspace("b").unwrap()).unwrap();
    let dropped = reader.find_keyspace("b").unwrap();
    reader.refresh().unwrap();
    assert!(matches!(dropped.get(b"x"), Err(Error::Dropped { .. })));
    assert_eq!(reader.keyspaces(), ["a"]);
    drop((snapshot, walk, dropped, keyspace));
    reader.close().unwrap();
    assert_eq!(disk.failed(), 0, "a reader tried to change something");
}

#[test]
fn every_write_is_refused() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    fill(&Db::open(&environment, STORE, small()).unwrap(), "a", 10);
    let reader = read_only(&environment);
    let keyspace = reader.keyspace("a").unwrap();
    let mut batch = Batch::new();
    batch.put(&keyspace, b"key", b"").unwrap();
    let refused = [
        keyspace.put(b"key", b"").err(),
        keyspace.delete(b"key").err(),
        reader.write(batch).err(),
        reader.write(Batch::new()).err(),
        reader.keyspace("new").err(),
        reader.drop_keyspace(&keyspace).err(),
        keyspace.ingest().err(),
        reader.flush().err(),
        reader.settle().err(),
        reader.sync().err(),
        reader.check_writable().err(),
    ];
    for (index, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(Error::ReadOnly { .. })), "{index}: {error:?}");
    }
    while environment.step() {}
    drop((keyspace, reader));
    Db::open(&environment, STORE, small()).expect("a reader held no lock");
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    for _ in 0..2 {
        let error = Db::open_read_only(&environment, STORE, small()).unwrap_err();
        assert!(error.to_string().contains("there is no store there"), "{error}");
        vfs.create_dir(Path::new(STORE)).ok();
    }
    assert!(vfs.list(Path::new(STORE)).unwrap().is_empty());
}

#[test]
fn damage_is_told_when_it_stays() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let writer = Db::open(&environment, STORE, small()).unwrap();
    fill(&writer, "a", 2000);
    writer.settle().unwrap();
    let table = crate::scene::files(&*vfs, "table-").pop().unwrap();
    vfs.remove_file(&Path::new(STORE).join(table)).unwrap();
    assert!(matches!(
        Db::open_read_only(&environment, STORE, small()),
        Err(Error::Io { operation: "open", .. })
    ));
}

/// A checkpoint has no log before it was opened for writing; reading it does not make one.
#[test]
fn a_copy_without_a_log_is_read() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let writer = Db::open(&environment, "/origin", small()).unwrap();
    fill(&writer, "a", 300);
    writer.checkpoint(STORE).unwrap();
    let reader = read_only(&stepped(&sealed(&vfs)));
    assert_eq!(reader.visible(), writer.visible());
    assert!(contents(&reader, "a") == contents(&writer, "a"));
    let copy = Db::open(&environment, STORE, small()).unwrap();
    fill(&copy, "b", 20);
    reader.refresh().unwrap();
    assert!(contents(&reader, "b") == contents(&copy, "b"));
}

/// Whatever the writer does, also ending and dying, the reader shows the same when it refreshes, and its
/// snapshots stay.
#[test]
fn a_reader_shows_what_the_writer_does() {
    for seed in 0..25 {
        let vfs = Arc::new(MemoryVfs::new());
        let environment = stepped(&vfs);
        let mut draw = Random::new(seed);
        let mut writer = Db::open(&environment, STORE, small()).unwrap();
        let reader = read_only(&stepped(&sealed(&vfs)));
        let mut snapshots: Vec<(Snapshot, Keyspace, Map)> = Vec::new();
        for step in 0..300u32 {
            let name = ["a", "b"][draw.index(2)];
            let keyspace = writer.keyspace(name).unwrap();
            let key = format!("{:04}", draw.index(300)).into_bytes();
            match draw.index(20) {
                0..=8 => {
                    let value = vec![step as u8; draw.index(400)];
                    keyspace.put(&key, &value).unwrap();
                }
                9 => drop(keyspace.delete(&key).unwrap()),
                10 => {
                    let first = draw.index(300);
                    let mut ingest = keyspace.ingest().unwrap();
                    for number in first..first + draw.index(100) {
                        ingest.add(format!("{number:04}").as_bytes(), &[step as u8; 30]).unwrap();
                    }
                    ingest.finish().unwrap();
                }
                11..=13 => drop(environment.step()),
                14 => writer.settle().unwrap(),
                15 if draw.index(4) == 0 => writer.drop_keyspace(&keyspace).unwrap(),
                15 | 16 if snapshots.len() < 3 => {
                    if let Some(keyspace) = reader.find_keyspace("a") {
                        snapshots.push((reader.snapshot(), keyspace, contents(&reader, "a")));
                    }
                }
                17 => {
                    drop((keyspace, writer));
                    writer = Db::open(&environment, STORE, small()).unwrap();
                    continue;
                }
                _ => {
                    assert_eq!(reader.refresh().unwrap(), writer.visible());
                    for name in ["a", "b"] {
                        let same = contents(&reader, name) == contents(&writer, name);
                        assert!(same, "seed {seed}, step {step}: {name} differs");
                    }
                }
            }
            if draw.index(10) == 0 {
                for (snapshot, keyspace, then) in snapshots.drain(..) {
                    let found: Map =
                        snapshot.iter(&keyspace).unwrap().map(Result::unwrap).collect();
                    assert!(found == then, "seed {seed}, step {step}: a snapshot changed");
                }
            }
        }
    }
}

/// A writer with threads of its own works at full speed, flushing, compacting and using segments again,
/// while a reader refreshes: what it shows is always a first part of what was written, never less than
/// before, and every batch whole.
#[test]
fn a_reader_follows_a_writer_at_full_speed() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let environment = |vfs: &Arc<dyn Vfs>| {
        let vfs = Arc::clone(vfs);
        let parts = Parts { vfs, clock: Arc::new(RealClock::new()), work: Work::Threads };
        Environment::with(parts, EnvironmentOptions { memory_bytes: 32 << 20 }).unwrap()
    };
    let options = Options {
        durability: Durability::Os,
        memtable_bytes_max: 64 << 10,
        segment_bytes: 64 << 10,
        ..small()
    };
    let writer = Db::open(&environment(&vfs), STORE, options.clone()).unwrap();
    let (left, right) = (writer.keyspace("left").unwrap(), writer.keyspace("right").unwrap());
    let ended = Ended::default();
    thread::scope(|scope| {
        let ending = ended.when_dropped();
        scope.spawn(|| {
            for number in 0u32.. {
                let mut batch = Batch::new();
                batch.put(&left, &(number % 5000).to_be_bytes(), &number.to_be_bytes()).unwrap();
                batch.put(&right, &(number % 5000).to_be_bytes(), &[number as u8; 90]).unwrap();
                match number % 3 {
                    0 => writer.write_with(batch, Durability::Sync).unwrap(),
                    _ => writer.write(batch).unwrap(),
                };
                if ended.is() {
                    break;
                }
            }
        });
        let reader = Db::open_read_only(&environment(&vfs), STORE, options).unwrap();
        let mut least = 0;
        let mut rounds = 0;
        while least < 120_000 {
            rounds += 1;
            let seqno = reader.refresh().unwrap();
            assert!(least <= seqno, "it went back from {least} to {seqno}");
            assert!(seqno.is_multiple_of(2), "a batch is cut");
            least = seqno;
            let snapshot = reader.snapshot();
            let numbers = (seqno / 2) as u32;
            let expected = |key: u32| (key..numbers).rev().find(|number| number % 5000 == key);
            for keyspace in
                [reader.find_keyspace("left"), reader.find_keyspace("right")].iter().flatten()
            {
                let mut draw = Random::new(seqno);
                for _ in 0..20 {
                    let key = draw.index(5000) as u32;
                    let found = snapshot.get(keyspace, &key.to_be_bytes()).unwrap();
                    let expected = expected(key).map(|number| match keyspace.name() {
                        "left" => number.to_be_bytes().to_vec(),
                        _ => vec![number as u8; 90],
                    });
                    assert_eq!(found.map(|value| value.to_vec()), expected, "{key} at {seqno}");
                }
                let count = snapshot.iter(keyspace).unwrap().map(Result::unwrap).count();
                assert_eq!(count, 5000.min(numbers as usize));
            }
        }
        drop(ending);
        assert!(5 < rounds);
    });
    assert!(0 < writer.stats().compactions);
}

/// Images of the disk between any two calls of an ingest: who opens one to read sees all of it or
/// nothing, and one who follows sees it come as a whole.
#[test]
fn an_ingest_is_seen_whole_or_not_at_all() {
    let disk = Arc::new(CrashingVfs::new());
    let environment = stepped(&disk);
    let writer = Db::open(&environment, STORE, small()).unwrap();
    fill(&writer, "a", 100);
    let before = contents(&writer, "a");
    let images: Arc<Mutex<Vec<CrashingVfs>>> = Arc::default();
    let taken = Arc::clone(&images);
    disk.on_event(move |event, disk| {
        if event.phase != Phase::Middle {
            taken.lock().unwrap().push(disk.crash(Survival::Everything, event.index));
        }
    });
    let keyspace = writer.keyspace("a").unwrap();
    let mut ingest = keyspace.ingest().unwrap();
    for number in 50..9000u32 {
        ingest.add(&number.to_be_bytes(), b"ingested").unwrap();
    }
    let seqno = ingest.finish().unwrap();
    keyspace.put(b"after", b"").unwrap();
    disk.clear_on_event();
    let after = contents(&writer, "a");
    let mut ingested = after.clone();
    ingested.remove(b"after".as_slice());
    let mut seen = [0; 3];
    for image in images.lock().unwrap().drain(..) {
        let reader = read_only(&stepped(&Arc::new(image)));
        let found = contents(&reader, "a");
        let which = [&before, &ingested, &after].iter().position(|known| **known == found);
        let which = which.expect("something else is seen");
        assert_eq!(reader.visible(), seqno - 1 + which as u64);
        seen[which] += 1;
    }
    assert!(seen.iter().all(|count| 0 < *count), "{seen:?}");
}

/// Backups of a store that another process has open are made by reading it only.
#[test]
fn a_reader_can_be_backed_up() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let writer = Db::open(&environment, STORE, small()).unwrap();
    fill(&writer, "a", 900);
    writer.settle().unwrap();
    fill(&writer, "b", 20);
    let reader = read_only(&environment);
    let then = contents(&writer, "a");
    for number in 0..900u32 {
        writer.keyspace("a").unwrap().put(&number.to_be_bytes(), b"newer").unwrap();
    }
    writer.settle().unwrap();
    let backups = Backups::new(&environment, "/backups");
    backups.take(&reader, &mut |_| ()).unwrap();
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
    let restored = Db::open(&environment, "/restored", small()).unwrap();
    assert!(contents(&restored, "a") == then, "its tables are gone from the store's directory");
    assert_eq!(contents(&restored, "b").len(), 20);
    drop(writer);
    let writer = Db::open(&environment, STORE, small()).unwrap();
    let info = backups.take(&writer, &mut |_| ()).unwrap();
    assert_eq!(info.number, 2);
}
