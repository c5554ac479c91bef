//! Backups: what is stored once, what comes back, and what is said of damage.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use olivine_engine::{
    Backups, Batch, Db, Durability, Environment, EnvironmentOptions, Error, Options, Parts, Work,
};
use olivine_vfs::{MemoryVfs, Open, Random, RealClock, Vfs};

use crate::scene::{Ended, STORE, fill, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const BACKUPS: &str = "/backups";

fn open(environment: &Environment, path: &str) -> Db {
    Db::open(environment, path, small()).unwrap()
}

fn contents(db: &Db, keyspace: &str) -> Map {
    let keyspace = db.find_keyspace(keyspace).unwrap();
    keyspace.iter().unwrap().map(Result::unwrap).collect()
}

fn names(vfs: &dyn Vfs, prefix: &str) -> Vec<String> {
    let entries = vfs.list(Path::new(BACKUPS)).unwrap();
    let names = entries.iter().map(|entry| entry.name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn flip(vfs: &dyn Vfs, name: &str, at: u64) {
    let file = vfs.open(&Path::new(BACKUPS).join(name), Open::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 4], at).unwrap();
}

/// A store with three backups; the contents of keyspace `a` at each.
fn three() -> (Arc<MemoryVfs>, Environment, Backups, Vec<Map>) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = open(&environment, STORE);
    let backups = Backups::new(&environment, BACKUPS);
    let mut then = Vec::new();
    for round in 0..3u32 {
        let keyspace = db.keyspace("a").unwrap();
        for number in 0..1500u32 {
            let key = 2000 * round + number;
            keyspace.put(&key.to_be_bytes(), &[round as u8; 60]).unwrap();
        }
        db.settle().unwrap();
        keyspace.put(b"in memory", &[round as u8]).unwrap();
        let info = backups.take(&db, &mut |_| ()).unwrap();
        assert_eq!((info.number, info.seqno), (u64::from(round) + 1, db.visible()));
        then.push(contents(&db, "a"));
    }
    (vfs, environment, backups, then)
}

#[test]
fn what_several_backups_need_is_stored_once_and_each_comes_back() {
    let (vfs, environment, backups, then) = three();
    let infos: Vec<_> =
        backups.list().unwrap().into_iter().map(|(_, info)| info.unwrap()).collect();
    assert!(infos[2].bytes_new < infos[2].bytes / 2, "{:?}", infos[2]);
    assert!(infos.is_sorted_by_key(|info| info.seqno));
    let stored: u64 = infos.iter().map(|info| info.bytes_new).sum();
    let entries = vfs.list(Path::new(BACKUPS)).unwrap();
    let data = entries.iter().filter(|entry| !entry.name.to_string_lossy().starts_with("backup-"));
    let data: u64 = data.filter(|entry| entry.name != "LOCK").map(|entry| entry.bytes).sum();
    assert_eq!(stored, data);
    for (number, then) in (1u64..).zip(&then) {
        let path = format!("/restored-{number}");
        let mut bytes = 0;
        let info = backups
            .restore(Some(number), &path, &mut |progress| bytes = progress.bytes_done)
            .unwrap();
        assert_eq!(info, infos[number as usize - 1]);
        assert!(bytes <= info.bytes && info.bytes / 2 < bytes);
        let db = open(&environment, &path);
        assert!(contents(&db, "a") == *then, "backup {number}");
        assert_eq!(db.keyspace("a").unwrap().put(b"on", b"").unwrap(), info.seqno + 1);
    }
    let newest = backups.restore(None, "/newest", &mut |_| ()).unwrap();
    assert_eq!(newest.number, 3);
    let verified = backups.verify(None, &mut |_| ()).unwrap();
    assert_eq!((verified.backups, verified.damages), (vec![1, 2, 3], vec![]));
    assert_eq!(verified.bytes, stored);
}

#[test]
fn pruning_keeps_what_the_newest_need() {
    let (vfs, environment, backups, then) = three();
    let before = names(&*vfs, "table-").len();
    assert!(matches!(backups.prune(0), Err(Error::Invalid { field: "keep", .. })));
    assert_eq!(backups.prune(3).unwrap().backups, []);
    let pruned = backups.prune(1).unwrap();
    assert_eq!(pruned.backups, [1, 2]);
    assert!(2 < pruned.files && names(&*vfs, "table-").len() < before);
    assert_eq!(names(&*vfs, "backup-"), ["backup-000000000003"]);
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages, []);
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
    assert!(contents(&open(&environment, "/restored"), "a") == then[2]);
    let error = backups.restore(Some(1), "/other", &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("1 is not in /backups; there are 3"), "{error}");
    let db = open(&environment, STORE);
    assert_eq!(backups.take(&db, &mut |_| ()).unwrap().number, 4, "numbers are never used again");
}

#[test]
fn a_damaged_file_is_named_with_the_backups_it_harms() {
    let (vfs, environment, backups, then) = three();
    let count = |name: &str| {
        let text = |number: u64| {
            let path = Path::new(BACKUPS).join(format!("backup-{number:012}"));
            let file = vfs.open(&path, Open::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        (1..=3).filter(|number| text(*number).contains(name)).collect::<Vec<u64>>()
    };
    let shared = names(&*vfs, "table-").into_iter().find(|name| count(name) == [2, 3]);
    let shared = shared.expect("some table is in the last two");
    flip(&*vfs, &shared, 1000);
    let verified = backups.verify(None, &mut |_| ()).unwrap();
    let [damage] = verified.damages.as_slice() else { panic!("{verified:?}") };
    assert!(damage.path.ends_with(&shared) && damage.backups == [2, 3], "{damage:?}");
    assert_eq!(backups.verify(Some(1), &mut |_| ()).unwrap().damages, []);
    for number in [2, 3] {
        let error = backups.restore(Some(number), "/restored", &mut |_| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&shared) && text.contains("need it: 2, 3"), "{text}");
        assert_eq!(vfs.entry(Path::new("/restored")).unwrap(), None);
        assert_eq!(vfs.entry(Path::new("/restored.draft")).unwrap(), None);
    }
    backups.restore(Some(1), "/restored", &mut |_| ()).unwrap();
    assert!(contents(&open(&environment, "/restored"), "a") == then[0]);

    flip(&*vfs, "backup-000000000002", 30);
    let listed = backups.list().unwrap();
    assert!(listed[0].1.is_ok() && listed[1].1.is_err() && listed[2].1.is_ok());
    let files = names(&*vfs, "");
    assert_eq!(
        backups.prune(2).unwrap().backups,
        [],
        "two can be read, and it stands between them"
    );
    assert_eq!(names(&*vfs, ""), files, "what a set needs that cannot be read is not known");
    let verified = backups.verify(Some(2), &mut |_| ()).unwrap();
    assert!(verified.damages[0].path.ends_with("backup-000000000002"));
    assert_eq!(backups.prune(1).unwrap().backups, [1, 2]);
}

/// Every byte of every file of a small backup, one bit of each: verifying notices each, and restoring
/// never gives anything but what was there.
#[test]
fn no_flipped_bit_is_restored() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = open(&environment, STORE);
    fill(&db, "a", 40);
    Backups::new(&environment, BACKUPS).take(&db, &mut |_| ()).unwrap();
    let mut draw = Random::new(1);
    for name in names(&*vfs, "").into_iter().filter(|name| name != "LOCK") {
        let path = Path::new(BACKUPS).join(&name);
        let bytes = vfs.open(&path, Open::Read).unwrap().len().unwrap();
        for at in 0..bytes {
            let image = Arc::new(vfs.image());
            let file = image.open(&path, Open::Write).unwrap();
            let mut byte = [0];
            file.read_at(&mut byte, at).unwrap();
            file.write_at(&[byte[0] ^ 1 << draw.index(8)], at).unwrap();
            let backups = Backups::new(&stepped(&image), BACKUPS);
            let verified = backups.verify(None, &mut |_| ()).unwrap();
            assert_eq!(verified.damages.len(), 1, "{name} at {at}");
            let error = backups.restore(None, "/restored", &mut |_| ()).unwrap_err();
            let told = matches!(error, Error::Corrupt { .. } | Error::Format { .. });
            assert!(told, "{name} at {at}: {error}");
        }
    }
}

#[test]
fn a_file_that_is_gone_or_cut_is_stored_again() {
    let (vfs, environment, backups, then) = three();
    let tables = names(&*vfs, "table-");
    vfs.remove_file(&Path::new(BACKUPS).join(&tables[0])).unwrap();
    let cut = vfs.open(&Path::new(BACKUPS).join(&tables[1]), Open::Write).unwrap();
    cut.set_len(100).unwrap();
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages.len(), 2);
    let db = open(&environment, STORE);
    backups.take(&db, &mut |_| ()).unwrap();
    assert_eq!(backups.verify(Some(4), &mut |_| ()).unwrap().damages, []);
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
    assert!(contents(&open(&environment, "/restored"), "a") == then[2]);
}

#[test]
fn a_directory_of_something_else_or_of_another_store_is_refused() {
    let (vfs, environment, backups, _) = three();
    let other = open(&environment, "/other");
    let error = backups.take(&other, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("holds backups of store"), "{error}");
    let db = open(&environment, STORE);
    let in_store = Backups::new(&environment, STORE);
    let error = in_store.take(&db, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("is not a directory of backups"), "{error}");
    assert!(matches!(Backups::new(&environment, "/none").list(), Err(Error::Unusable { .. })));
    let error = backups.restore(None, STORE, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("it is not empty"), "{error}");
    let lock = vfs.lock(&Path::new(BACKUPS).join("LOCK")).unwrap();
    assert!(matches!(backups.take(&db, &mut |_| ()), Err(Error::Locked { .. })));
    assert!(matches!(backups.prune(1), Err(Error::Locked { .. })));
    drop(lock);
}

/// What a writer did, in its order.
type Written = Vec<(u64, Vec<u8>, Option<Vec<u8>>)>;

/// Three threads put and delete, flushes and compactions run, twenty backups are made, and each, when
/// restored, holds exactly what was written up to its sequence number.
#[test]
fn twenty_backups_under_load_come_back_exactly() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let parts = Parts { vfs, clock: Arc::new(RealClock::new()), work: Work::Threads };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 32 << 20 }).unwrap();
    let options = Options {
        durability: Durability::Os,
        memtable_bytes_max: 64 << 10,
        segment_bytes: 1 << 20,
        ..small()
    };
    let db = Db::open(&environment, STORE, options).unwrap();
    let keyspaces = [db.keyspace("a").unwrap(), db.keyspace("b").unwrap()];
    let (ended, all) = (Ended::default(), Mutex::new(Written::new()));
    let write = |seed: u64| {
        let (mut draw, mut written) = (Random::new(seed), Written::new());
        while !ended.is() {
            let mut batch = Batch::new();
            let mut operations = Vec::new();
            for keyspace in &keyspaces {
                let key = format!("{}{:05}", keyspace.name(), draw.index(20_000)).into_bytes();
                let value =
                    (draw.index(5) != 0).then(|| vec![draw.index(256) as u8; draw.index(200)]);
                match &value {
                    Some(value) => batch.put(keyspace, &key, value).unwrap(),
                    None => batch.delete(keyspace, &key).unwrap(),
                }
                operations.push((key, value));
            }
            let last = db.write(batch).unwrap();
            for (index, (key, value)) in operations.into_iter().enumerate() {
                written.push((last - 1 + index as u64, key, value));
            }
        }
        all.lock().unwrap().extend(written);
    };
    let backups = Backups::new(&environment, BACKUPS);
    thread::scope(|scope| {
        let ending = ended.when_dropped();
        let write = &write;
        let writers: Vec<_> = (0..3).map(|seed| scope.spawn(move || write(seed))).collect();
        for number in 1..=20 {
            let goal = db.visible() + 2000;
            while db.visible() < goal {
                assert!(!writers.iter().any(|writer| writer.is_finished()), "a writer failed");
                thread::yield_now();
            }
            let info = backups.take(&db, &mut |_| ()).unwrap();
            assert_eq!(info.number, number);
        }
        drop(ending);
    });
    assert!(10 < db.stats().flushes && 0 < db.stats().compactions, "{:?}", db.stats());
    let mut written = all.into_inner().unwrap();
    written.sort();
    assert_eq!(backups.verify(None, &mut |_| ()).unwrap().damages, []);
    for (number, info) in backups.list().unwrap() {
        let seqno = info.unwrap().seqno;
        let mut expected = Map::new();
        for (_, key, value) in written.iter().take_while(|(written, ..)| *written <= seqno) {
            match value {
                Some(value) => drop(expected.insert(key.clone(), value.clone())),
                None => drop(expected.remove(key)),
            }
        }
        let path = format!("/restored-{number}");
        backups.restore(Some(number), &path, &mut |_| ()).unwrap();
        let restored = Db::open(&environment, &path, small()).unwrap();
        let mut found = contents(&restored, "a");
        found.extend(contents(&restored, "b"));
        assert!(found == expected, "backup {number} of write {seqno}");
    }
}
