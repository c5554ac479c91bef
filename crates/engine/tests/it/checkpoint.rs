//! Checkpoints: a store of one moment, apart from its origin from then on.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread};

use olivine_engine::{
    Backups, Batch, Db, Durability, Environment, EnvironmentOptions, Error, Options, Parts, Work,
    check,
};
use olivine_vfs::{FailingVfs, Fault, Kind, MemoryVfs, Open, RealClock, Vfs};

use crate::scene::{Ended, STORE, files, fill, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

const COPY: &str = "/copy";

fn open(environment: &Environment, path: &str) -> Db {
    Db::open(environment, path, small()).unwrap()
}

fn contents(db: &Db, keyspace: &str) -> Map {
    let keyspace = db.find_keyspace(keyspace).unwrap();
    keyspace.iter().unwrap().map(Result::unwrap).collect()
}

fn names(vfs: &dyn Vfs, dir: &str) -> Vec<String> {
    let entries = vfs.list(Path::new(dir)).unwrap();
    entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_checkpoint_is_the_store_of_its_moment() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = open(&environment, STORE);
    fill(&db, "a", 2000);
    db.settle().unwrap();
    fill(&db, "b", 100);
    db.keyspace("empty").unwrap();
    db.keyspace("a").unwrap().delete(&3u32.to_be_bytes()).unwrap();
    let before = files(&*vfs, "");
    let made = db.checkpoint(COPY).unwrap();
    assert_eq!(files(&*vfs, ""), before, "the store itself is as it was");
    assert_eq!(made.seqno, db.visible());
    assert_eq!(made.tables, made.tables_shared + 2, "{made:?}");
    assert!(!names(&*vfs, "/").contains(&"copy.draft".into()));
    let (a, b) = (contents(&db, "a"), contents(&db, "b"));
    fill(&db, "a", 100);
    fill(&db, "c", 10);
    db.drop_keyspace(&db.keyspace("b").unwrap()).unwrap();
    db.settle().unwrap();

    let copy = open(&environment, COPY);
    assert_eq!(copy.keyspaces(), ["a", "b", "empty"]);
    assert!(contents(&copy, "a") == a && contents(&copy, "b") == b);
    assert_eq!(copy.keyspace("b").unwrap().put(b"key", b"").unwrap(), made.seqno + 1);
    fill(&copy, "a", 300);
    copy.settle().unwrap();
    let then = contents(&copy, "a");
    drop(copy);
    assert!(contents(&open(&environment, COPY), "a") == then);
    assert_eq!(contents(&db, "a").len(), 2000, "the origin does not see what the copy does");
}

#[test]
fn a_checkpoint_of_a_range_has_nothing_beside_it() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = open(&environment, STORE);
    fill(&db, "a", 3000);
    db.settle().unwrap();
    fill(&db, "b", 100);
    let keyspace = db.keyspace("a").unwrap();
    for number in (0..3000u32).step_by(7) {
        keyspace.put(&number.to_be_bytes(), b"newer").unwrap();
    }
    keyspace.delete_range(&400u32.to_be_bytes(), &510u32.to_be_bytes()).unwrap();
    keyspace.delete_range(&1490u32.to_be_bytes(), &1600u32.to_be_bytes()).unwrap();
    db.flush().unwrap();
    keyspace.delete_range(&700u32.to_be_bytes(), &720u32.to_be_bytes()).unwrap();
    let (first, last) = (500u32.to_be_bytes(), 1500u32.to_be_bytes());
    let made = db.checkpoint_range(&keyspace, first..last, COPY).unwrap();
    assert!(0 < made.tables_shared && made.tables_shared < made.tables, "{made:?}");
    assert_eq!(check(&environment, COPY, &mut |_, _| ()).unwrap().findings, []);
    let copy = open(&environment, COPY);
    assert_eq!(copy.keyspaces(), ["a"]);
    let mut expected = contents(&db, "a");
    expected.retain(|key, _| (first.as_slice()..last.as_slice()).contains(&key.as_slice()));
    assert!(contents(&copy, "a") == expected);
    copy.settle().unwrap();
    assert!(contents(&copy, "a") == expected);
    let outside = db.keyspace("b").unwrap();
    assert!(matches!(
        copy.checkpoint_range(&outside, first..last, "/other"),
        Err(Error::Invalid { field: "keyspace", .. })
    ));
}

#[test]
fn a_target_that_holds_something_is_refused_and_left_alone() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = open(&environment, STORE);
    fill(&db, "a", 10);
    vfs.create_dir(Path::new(COPY)).unwrap();
    db.checkpoint(COPY).expect("an empty directory is as good as none");
    let before = names(&*vfs, COPY);
    for target in [COPY, STORE] {
        let error = db.checkpoint(target).unwrap_err();
        assert!(error.to_string().contains("it is not empty"), "{error}");
    }
    vfs.open(Path::new("/file"), Open::Create).unwrap();
    let error = db.checkpoint("/file").unwrap_err();
    assert!(error.to_string().contains("it is not a directory"), "{error}");
    assert!(matches!(db.checkpoint("/"), Err(Error::Unusable { .. })));
    assert!(matches!(db.checkpoint("/none/copy"), Err(Error::Io { .. })));
    vfs.create_dir(Path::new("/new.draft")).unwrap();
    vfs.open(Path::new("/new.draft/photo"), Open::Create).unwrap();
    let error = db.checkpoint("/new").unwrap_err();
    assert!(error.to_string().contains("left unfinished"), "{error}");
    assert_eq!(names(&*vfs, COPY), before);
    assert_eq!(names(&*vfs, "/new.draft"), ["photo"]);
}

/// A user restores by copying the checkpoint over the directory of its origin, which still holds newer
/// tables, log segments and a newer manifest: what opens is the checkpoint, and nothing is mixed in.
#[test]
fn a_checkpoint_copied_over_its_origin_is_the_checkpoint() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = open(&environment, STORE);
    fill(&db, "a", 1000);
    db.settle().unwrap();
    fill(&db, "b", 50);
    db.checkpoint(COPY).unwrap();
    let (a, b) = (contents(&db, "a"), contents(&db, "b"));
    fill(&db, "a", 700);
    fill(&db, "c", 300);
    db.settle().unwrap();
    fill(&db, "b", 900);
    db.close().unwrap();
    let copied = Arc::new(vfs.image());
    for name in names(&*copied, COPY) {
        let (source, target) = (Path::new(COPY).join(&name), Path::new(STORE).join(&name));
        copied.remove_file(&target).ok();
        copied.hard_link(&source, &target).unwrap();
    }
    let environment = stepped(&copied);
    let db = open(&environment, STORE);
    assert_eq!(db.keyspaces(), ["a", "b"]);
    assert!(contents(&db, "a") == a && contents(&db, "b") == b);
    fill(&db, "b", 100);
    drop(db);
    assert_eq!(contents(&open(&environment, STORE), "b").len(), 100);
}

#[test]
fn where_no_link_is_possible_tables_are_copied() {
    let failing = Arc::new(FailingVfs::new(Arc::new(MemoryVfs::new())));
    let environment = stepped(&failing);
    let db = open(&environment, STORE);
    fill(&db, "a", 2000);
    db.settle().unwrap();
    failing.fail_from(Kind::HardLink, 0, Fault::Refused);
    let made = db.checkpoint(COPY).unwrap();
    failing.clear();
    assert_eq!((made.tables_shared, made.bytes_written), (0, made.bytes));
    assert!(1 < made.tables);
    assert!(contents(&open(&environment, COPY), "a") == contents(&db, "a"));
}

/// A store that takes no more writes, because a sync failed, can still be copied away.
#[test]
fn a_poisoned_store_can_be_copied() {
    let failing = Arc::new(FailingVfs::new(Arc::new(MemoryVfs::new())));
    let environment = stepped(&failing);
    let db = open(&environment, STORE);
    fill(&db, "a", 500);
    failing.fail(Kind::Sync, failing.calls(Kind::Sync), Fault::Eio);
    db.keyspace("a").unwrap().put(b"key", b"value").unwrap_err();
    assert!(db.check_writable().is_err());
    db.checkpoint(COPY).unwrap();
    assert!(500 <= contents(&open(&environment, COPY), "a").len());
    let clone = db.clone();
    db.close().unwrap_err();
    assert!(matches!(clone.checkpoint("/late"), Err(Error::Closed)));
}

/// Batches reach across two keyspaces while checkpoints are made: in each copy every batch is there
/// whole, and the batches there are the first ones.
#[test]
fn checkpoints_under_load_cut_between_batches() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let parts = Parts { vfs, clock: Arc::new(RealClock::new()), work: Work::Threads };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 16 << 20 }).unwrap();
    let options = Options { durability: Durability::Os, segment_bytes: 1 << 20, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let (left, right) = (db.keyspace("left").unwrap(), db.keyspace("right").unwrap());
    let ended = Ended::default();
    thread::scope(|scope| {
        let ending = ended.when_dropped();
        scope.spawn(|| {
            for number in 0u32.. {
                let mut batch = Batch::new();
                batch.put(&left, &number.to_be_bytes(), &[1; 60]).unwrap();
                batch.put(&right, &number.to_be_bytes(), &[2; 200]).unwrap();
                db.write(batch).unwrap();
                if ended.is() {
                    break;
                }
            }
        });
        let mut least = 0;
        for round in 0..8 {
            let path = format!("/copy-{round}");
            let made = db.checkpoint(&path).unwrap();
            let copy = open(&environment, &path);
            let (left, right) = (contents(&copy, "left"), contents(&copy, "right"));
            assert!(left.keys().eq(right.keys()), "round {round}: a batch was cut");
            let numbers = (0..left.len() as u32).map(|number| number.to_be_bytes().to_vec());
            assert!(left.keys().cloned().eq(numbers), "round {round}: a hole");
            assert_eq!(made.seqno, 2 * left.len() as u64);
            assert!(least <= left.len());
            least = left.len();
        }
        drop(ending);
    });
}

/// Values that stand apart come along: whole files with a store, of a range only what it points to, and
/// who only reads finds them.
#[test]
fn values_apart_come_along() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let options = Options { value_apart_bytes_min: 1000, ..small() };
    let db = Db::open(&environment, STORE, options.clone()).unwrap();
    let reader = Db::open_read_only(&environment, STORE, options.clone()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    for number in 0..200u32 {
        let value = vec![number as u8; 500 + 40 * number as usize];
        keyspace.put(&number.to_be_bytes(), &value).unwrap();
    }
    db.settle().unwrap();
    let streamed = vec![7; 300_000];
    keyspace.put_stream(&60u32.to_be_bytes(), 300_000, &mut streamed.as_slice()).unwrap();
    keyspace.put_stream(b"outside", 300_000, &mut streamed.as_slice()).unwrap();
    reader.refresh().unwrap();
    let all = contents(&db, "a");
    assert!(contents(&reader, "a") == all);
    let backups = Backups::new(&environment, "/backups");
    let restored = |name: &str, db: &Db| {
        backups.take(db, &mut |_| ()).unwrap();
        backups.restore(None, name, &mut |_| ()).unwrap();
    };
    restored("/restored", &db);
    db.checkpoint(COPY).unwrap();
    let (first, last) = (50u32.to_be_bytes(), 90u32.to_be_bytes());
    let part = db.checkpoint_range(&keyspace, first..last, "/part").unwrap();
    let mut inside = all.clone();
    inside.retain(|key, _| (first.as_slice()..last.as_slice()).contains(&key.as_slice()));
    let bytes: usize = inside.values().map(Vec::len).sum();
    assert!(part.bytes < 2 * bytes as u64, "{part:?} for {bytes}");
    for number in 0..200u32 {
        keyspace.put(&number.to_be_bytes(), &[0; 2000]).unwrap();
    }
    db.settle().unwrap();
    assert!(contents(&reader, "a") == all, "the files it reads are gone from the directory");
    restored("/restored-later", &reader);
    reader.refresh().unwrap();
    assert!(contents(&reader, "a") == contents(&db, "a"));
    let copies = [(COPY, &all), ("/restored", &all), ("/restored-later", &all), ("/part", &inside)];
    for (path, expected) in copies {
        assert_eq!(check(&environment, path, &mut |_, _| ()).unwrap().damages, 0, "{path}");
        let copy = Db::open(&environment, path, options.clone()).unwrap();
        assert!(contents(&copy, "a") == *expected, "{path}");
        copy.settle().unwrap();
        assert!(contents(&copy, "a") == *expected, "{path}");
    }
}
