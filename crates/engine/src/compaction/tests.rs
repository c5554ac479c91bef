//! Merges that are left off, found again, and cut short by closing; runs and what becomes of them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use olivine_vfs::{ManualClock, MemoryVfs, Random, Vfs};

use super::{crawl::CRAWL_LEAST, pick::LAST};
use crate::{
    Db, Environment, EnvironmentOptions, Keyspace, Options, Parts, Work, version::Version,
};

const STORE: &str = "/store";

struct Scene {
    vfs: Arc<MemoryVfs>,
    environment: Environment,
    oracle: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with_memory(4 << 20)
    }

    fn with_memory(memory_bytes: u64) -> Scene {
        let vfs = Arc::new(MemoryVfs::new());
        let parts = Parts {
            vfs: Arc::clone(&vfs) as Arc<dyn Vfs>,
            clock: Arc::new(ManualClock::new()),
            work: Work::Stepped { seed: 3 },
        };
        let options = EnvironmentOptions { memory_bytes };
        let environment = Environment::with(parts, options).unwrap();
        Scene { vfs, environment, oracle: BTreeMap::new() }
    }

    fn open(&self) -> (Db, Keyspace) {
        let options = Options {
            memtable_bytes_max: 16 << 10,
            segment_bytes: 16 << 10,
            table_bytes_max: 8 << 10,
            level_bytes_base: 16 << 10,
            block_bytes: 512,
            ..Options::default()
        };
        let db = Db::open(&self.environment, STORE, options).unwrap();
        let keyspace = db.keyspace("things").unwrap();
        (db, keyspace)
    }

    fn write(&mut self, keyspace: &Keyspace, random: &mut Random, count: u64) {
        for _ in 0..count {
            let key = random.below(4000).to_be_bytes().to_vec();
            if random.chance(1, 4) {
                keyspace.delete(&key).unwrap();
                self.oracle.remove(&key);
            } else {
                let value = random.bytes(40);
                keyspace.put(&key, &value).unwrap();
                self.oracle.insert(key, value);
            }
        }
    }

    fn check(&self, keyspace: &Keyspace, random: &mut Random, when: &str) {
        let expected: Vec<_> = self.oracle.clone().into_iter().collect();
        let forward: Vec<_> = keyspace.iter().unwrap().map(Result::unwrap).collect();
        assert!(forward == expected, "{when}: forward");
        let mut backward: Vec<_> = keyspace.iter().unwrap().rev().map(Result::unwrap).collect();
        backward.reverse();
        assert!(backward == expected, "{when}: backward");
        for _ in 0..200 {
            let key = random.below(4000).to_be_bytes();
            let found = keyspace.get(&key).unwrap().map(|value| value.to_vec());
            assert_eq!(found.as_ref(), self.oracle.get(&key[..]), "{when}: {key:?}");
            let mut cursor = keyspace.cursor().unwrap();
            cursor.seek(&key).unwrap();
            let next = self.oracle.range(key.to_vec()..).next();
            assert_eq!(next.map(|(key, _)| &**key), cursor.valid().then(|| cursor.key()), "{when}");
            cursor.seek_back(&key).unwrap();
            let before = self.oracle.range(..=key.to_vec()).next_back();
            assert_eq!(before.map(|(key, _)| &**key), cursor.valid().then(|| cursor.key()));
        }
    }

    fn table_bytes(&self) -> u64 {
        let entries = self.vfs.list(Path::new(STORE)).unwrap();
        let is_table = |name: &str| name.starts_with("table-");
        let tables = entries.iter().filter(|entry| is_table(&entry.name.to_string_lossy()));
        tables.map(|entry| entry.bytes).sum()
    }
}

fn version(keyspace: &Keyspace) -> Arc<Version> {
    Arc::clone(&keyspace.tree().state().version)
}

fn has_cut(version: &Version) -> bool {
    version.tables().any(|file| file.info.is_cut())
}

/// Between any two outputs of a merge, and after opening the store again there, reads are right; and
/// settling ends with one run.
#[test]
fn a_merge_that_is_left_off_loses_nothing() {
    let mut scene = Scene::new();
    let mut random = Random::new(11);
    let (mut db, mut keyspace) = scene.open();
    let (mut cut, mut reopened, mut runs_most) = (0, 0, 0);
    for round in 0..60 {
        let count = random.between(50, 600);
        scene.write(&keyspace, &mut random, count);
        for step in 0..random.below(12) {
            scene.environment.step();
            let now = version(&keyspace);
            let runs = now.levels[1..].iter().filter(|level| !level.tables().is_empty()).count();
            runs_most = runs.max(runs_most);
            if has_cut(&now) {
                cut += 1;
                scene.check(&keyspace, &mut random, &format!("round {round} step {step}"));
                if random.chance(1, 8) {
                    drop((now, keyspace));
                    db.close().unwrap();
                    (db, keyspace) = scene.open();
                    assert!(has_cut(&version(&keyspace)), "a cut is in the manifest");
                    scene.check(&keyspace, &mut random, &format!("round {round} reopened"));
                    reopened += 1;
                }
            }
        }
    }
    assert!(30 < cut && 3 < reopened && 2 < runs_most, "{cut} {reopened} {runs_most}");
    // So much that settling has it all in one run: a small run would be left beside a large one.
    scene.write(&keyspace, &mut random, 600);
    db.settle().unwrap();
    scene.check(&keyspace, &mut random, "settled");
    let now = version(&keyspace);
    assert!(now.levels[..LAST].iter().all(|level| level.tables().is_empty()));
    assert!(!has_cut(&now));
    assert_eq!(db.stats().table_tombstones, 0);
    let stats = db.stats();
    assert_eq!(stats.table_entries, scene.oracle.len() as u64);
    let dropped = stats.compacted_entries_dropped;
    assert!(0 < dropped.hidden && 0 < dropped.deletions, "{dropped:?}");
    assert_eq!(
        stats.compacted_entries_read,
        stats.compacted_entries_written + dropped.all(),
        "{dropped:?}"
    );
}

/// What a merge has read goes while the merge goes on: it takes the room of some tables, not that of
/// everything it reads.
#[test]
fn a_merge_needs_little_room() {
    let mut scene = Scene::new();
    let mut random = Random::new(12);
    let (db, keyspace) = scene.open();
    for _ in 0..6 {
        scene.write(&keyspace, &mut random, 4000);
        db.settle().unwrap();
    }
    let settled = scene.table_bytes();
    assert!(10 * (8 << 10) < settled, "{settled} bytes are too few to tell");
    scene.write(&keyspace, &mut random, 200);
    db.flush().unwrap();
    let start = scene.table_bytes();
    let mut most = 0;
    while db.store_for_tests().compact_one(super::Urge::Settle).unwrap() {
        db.store_for_tests().empty_trash().unwrap();
        most = most.max(scene.table_bytes());
    }
    assert!(most <= start + 4 * (8 << 10), "{most} bytes after {start}");
}

/// What would only pay while nobody writes is left for then.
#[test]
fn catching_up_does_what_is_due_and_no_more() {
    let mut scene = Scene::new();
    let mut random = Random::new(14);
    let (db, keyspace) = scene.open();
    scene.write(&keyspace, &mut random, 9000);
    db.catch_up().unwrap();
    let level0 = version(&keyspace).levels[0].tables().len();
    assert!(level0 < Options::default().level0_tables_max, "{level0} tables");
    assert!(0 < db.stats().compacted_bytes_written, "much was due");
    db.settle().unwrap();
    scene.write(&keyspace, &mut random, 200);
    let settled = db.stats().compacted_bytes_written;
    db.catch_up().unwrap();
    assert_eq!(db.stats().memtable_entries, 0, "what is in memory is flushed");
    assert_eq!(db.stats().compacted_bytes_written, settled, "one table more is nothing due");
    db.settle().unwrap();
    assert!(settled < db.stats().compacted_bytes_written);
}

/// While writes alone ask for memory, memtables are larger; when reads ask for the cache, they are not.
#[test]
fn who_asks_for_memory_has_it() {
    let scene = Scene::with_memory(16 << 20);
    let options = Options::default();
    let db = Db::open(&scene.environment, STORE, options).unwrap();
    let keyspace = db.keyspace("things").unwrap();
    let full =
        || db.store_for_tests().memtable_bytes_max.load(std::sync::atomic::Ordering::Relaxed);
    let fill = || {
        let flushes = db.stats().flushes;
        for number in 0..u32::MAX {
            keyspace.put(&number.to_be_bytes(), &[7; 400]).unwrap();
            scene.environment.step();
            if flushes != db.stats().flushes {
                return number;
            }
        }
        unreachable!("a memtable is full some time");
    };
    let own = full();
    fill();
    assert!(own * 3 / 2 < full(), "{own} bytes, then {}", full());
    let entries = fill();
    (0..entries).for_each(|number| drop(keyspace.get(&number.to_be_bytes()).unwrap()));
    fill();
    assert_eq!(full(), own);
}

/// A snapshot that was taken in the midst of a merge shows the same behind it, and an iterator opened
/// there goes on over tables that the merge has given up.
#[test]
fn readers_keep_what_a_merge_gives_up() {
    let mut scene = Scene::new();
    let mut random = Random::new(13);
    let (db, keyspace) = scene.open();
    scene.write(&keyspace, &mut random, 6000);
    while !has_cut(&version(&keyspace)) {
        scene.write(&keyspace, &mut random, 100);
        scene.environment.step();
    }
    let snapshot = db.snapshot();
    let expected: Vec<_> = scene.oracle.clone().into_iter().collect();
    let mut walk = keyspace.iter().unwrap();
    let mut seen: Vec<_> = walk.by_ref().take(5).map(Result::unwrap).collect();
    scene.write(&keyspace, &mut random, 3000);
    db.settle().unwrap();
    seen.extend(walk.map(Result::unwrap));
    assert!(seen == expected);
    let shown: Vec<_> = snapshot.iter(&keyspace).unwrap().map(Result::unwrap).collect();
    assert!(shown == expected);
}

/// Rows that come in the order of their keys are never rewritten: their tables go down as they are.
#[test]
fn rows_in_order_are_not_rewritten() {
    let scene = Scene::new();
    let (db, keyspace) = scene.open();
    for number in 0..8000u32 {
        keyspace.put(&number.to_be_bytes(), &[7; 40]).unwrap();
        while number % 100 == 0 && scene.environment.step() {}
    }
    db.settle().unwrap();
    let stats = db.stats();
    assert!(10 < stats.tables_moved);
    assert_eq!(stats.compacted_bytes_written, 0);
    assert_eq!(keyspace.iter().unwrap().count(), 8000);
}

/// Walks that step over the same deletions again and again have them gone, without a write.
#[test]
fn deletions_that_walks_meet_go() {
    let scene = Scene::new();
    let (db, keyspace) = scene.open();
    for number in 0..4000u32 {
        keyspace.put(&number.to_be_bytes(), &[7; 40]).unwrap();
    }
    db.settle().unwrap();
    for number in 0..1000u32 {
        keyspace.delete(&number.to_be_bytes()).unwrap();
    }
    for _ in 0..10 * CRAWL_LEAST / 1000 {
        // As if there were more stretches of deletions than are kept in mind.
        keyspace.tree().gaps.forget();
        let mut cursor = keyspace.cursor().unwrap();
        cursor.seek_first().unwrap();
        assert_eq!(cursor.key(), 1000u32.to_be_bytes());
        scene.environment.step();
    }
    assert_eq!(db.stats().table_tombstones + db.stats().memtable_entries, 0);
    assert_eq!(db.stats().table_entries, 3000);
    // With nothing left to step over, nothing more is done.
    let compactions = db.stats().compactions;
    keyspace.iter().unwrap().for_each(|entry| drop(entry.unwrap()));
    while scene.environment.step() {}
    assert_eq!(db.stats().compactions, compactions);
}
