//! Keyspaces of time-ordered data: what is rewritten, what is not, and that reads never differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use olivine_vfs::{Clock, ManualClock, MemoryVfs, Random, Vfs};

use super::super::pick::LAST;
use crate::{
    CompactionStyle, Db, Environment, EnvironmentOptions, Keyspace, KeyspaceOptions, Options,
    Parts, Work, version::Version,
};

const STORE: &str = "/store";
const TABLE_BYTES: u64 = 16 << 10;

struct Scene {
    clock: Arc<ManualClock>,
    environment: Environment,
    table_bytes: u64,
    db: Option<Db>,
    oracle: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Scene {
    fn new() -> (Scene, Keyspace) {
        Scene::with(4 << 20, TABLE_BYTES)
    }

    fn with(memory_bytes: u64, table_bytes: u64) -> (Scene, Keyspace) {
        let clock = Arc::new(ManualClock::new());
        let parts = Parts {
            vfs: Arc::new(MemoryVfs::new()) as Arc<dyn Vfs>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            work: Work::Stepped { seed: 5 },
        };
        let options = EnvironmentOptions { memory_bytes };
        let environment = Environment::with(parts, options).unwrap();
        let mut scene =
            Scene { clock, environment, table_bytes, db: None, oracle: BTreeMap::new() };
        let keyspace = scene.open();
        (scene, keyspace)
    }

    fn open(&mut self) -> Keyspace {
        let options = Options {
            memtable_bytes_max: 16 << 10,
            segment_bytes: 16 << 10,
            table_bytes_max: self.table_bytes,
            level_bytes_base: 16 << 10,
            block_bytes: 512,
            ..Options::default()
        };
        let db = self.db.insert(Db::open(&self.environment, STORE, options).unwrap());
        let named =
            KeyspaceOptions { style: CompactionStyle::TimeWindow, ..KeyspaceOptions::default() };
        db.keyspace_with("rows", &named).unwrap()
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn put(&mut self, keyspace: &Keyspace, time: u64, random: &mut Random) {
        let (key, value) = (time.to_be_bytes(), random.bytes(60));
        keyspace.put(&key, &value).unwrap();
        self.oracle.insert(key.to_vec(), value);
        while random.chance(1, 20) && self.environment.step() {}
    }

    /// Has everything done that is due, and what pays while nobody writes; both must come to an end.
    fn idle(&self) {
        for _ in 0..3 {
            let steps = (0..20_000).take_while(|_| self.environment.step()).count();
            assert!(steps < 20_000, "there is always something to do");
            self.clock.advance(Duration::from_secs(2));
        }
    }

    fn check(&self, keyspace: &Keyspace, when: &str) {
        let found: Vec<_> = keyspace.iter().unwrap().map(Result::unwrap).collect();
        let expected: Vec<_> = self.oracle.clone().into_iter().collect();
        assert!(found == expected, "{when}: {} rows of {}", found.len(), expected.len());
        for (key, value) in self.oracle.iter().step_by(37) {
            assert_eq!(keyspace.get(key).unwrap().as_deref(), Some(value.as_slice()), "{when}");
        }
    }

    /// Bytes written to tables for each byte flushed.
    fn amplification(&self) -> f64 {
        let stats = self.db().stats();
        let dropped = stats.compacted_entries_dropped.all();
        assert_eq!(stats.compacted_entries_read, stats.compacted_entries_written + dropped);
        1.0 + stats.compacted_bytes_written as f64 / stats.flushed_bytes as f64
    }
}

fn version(keyspace: &Keyspace) -> Arc<Version> {
    Arc::clone(&keyspace.tree().state().version)
}

fn last_tables(keyspace: &Keyspace) -> BTreeSet<u64> {
    version(keyspace).levels[LAST].tables().iter().map(|file| file.info.id).collect()
}

/// Rows in order are written once by the flush, and at most once more to have tables of sensible size.
#[test]
fn rows_in_order_are_hardly_rewritten() {
    let (mut scene, keyspace) = Scene::new();
    let mut random = Random::new(1);
    for time in 0..20_000 {
        scene.put(&keyspace, 3 * time, &mut random);
    }
    scene.db().flush().unwrap();
    scene.idle();
    scene.check(&keyspace, "loaded");
    let written = scene.amplification();
    assert!(written <= 2.1, "{written}");
    let now = version(&keyspace);
    assert!(now.levels[..LAST].iter().all(|level| level.tables().is_empty()));
    let tables = now.levels[LAST].tables();
    assert!(tables.len() as u64 <= 4 * now.levels[LAST].bytes() / TABLE_BYTES, "{}", tables.len());
}

/// Rows that come late cost what they are merged into, and leave all other windows as they are.
#[test]
fn late_rows_rewrite_only_where_they_belong() {
    let (mut scene, keyspace) = Scene::new();
    let mut random = Random::new(2);
    for time in 0..12_000 {
        scene.put(&keyspace, 4 * time, &mut random);
    }
    scene.db().settle().unwrap();
    let before = last_tables(&keyspace);
    // Late rows of one stretch only, among many new ones.
    for time in 12_000..20_000 {
        let late = random.chance(1, 20);
        let time = if late { 4 * random.between(2000, 2400) + 1 } else { 4 * time };
        scene.put(&keyspace, time, &mut random);
    }
    scene.db().flush().unwrap();
    scene.idle();
    scene.check(&keyspace, "late rows waiting or merged");
    let written = scene.amplification();
    assert!(written <= 3.5, "{written}");
    scene.db().settle().unwrap();
    scene.check(&keyspace, "settled");
    let now = version(&keyspace);
    assert!(now.levels[..LAST].iter().all(|level| level.tables().is_empty()));
    let kept = last_tables(&keyspace).intersection(&before).count();
    assert!(before.len() * 8 / 10 <= kept, "{kept} of {} windows are as they were", before.len());
}

/// Whatever is done to such a keyspace, also what it is not made for, it shows what a map would.
#[test]
fn reads_like_a_map() {
    for seed in 0..6 {
        let (mut scene, mut keyspace) = Scene::new();
        let mut random = Random::new(100 + seed);
        let mut time = 0;
        for round in 0..40 {
            for _ in 0..random.between(20, 300) {
                time += random.below(4);
                let at = if random.chance(1, 12) { random.below(time + 1) } else { time };
                match random.below(40) {
                    0 => {
                        let end = at + random.below(400);
                        let (from, to) = (at.to_be_bytes(), end.to_be_bytes());
                        keyspace.delete_range(&from, &to).unwrap();
                        scene.oracle.retain(|key, _| *key < from.to_vec() || to.to_vec() <= *key);
                    }
                    1..5 => {
                        keyspace.delete(&at.to_be_bytes()).unwrap();
                        scene.oracle.remove(&at.to_be_bytes()[..]);
                    }
                    _ => scene.put(&keyspace, at, &mut random),
                }
            }
            let held = random.chance(1, 3).then(|| scene.db().snapshot());
            match random.below(6) {
                0 => scene.db().settle().unwrap(),
                1 => scene.idle(),
                2 => {
                    drop(held);
                    drop(keyspace);
                    scene.db.take().unwrap().close().unwrap();
                    keyspace = scene.open();
                }
                _ => {}
            }
            scene.check(&keyspace, &format!("seed {seed} round {round}"));
        }
        scene.db().settle().unwrap();
        scene.idle();
        scene.check(&keyspace, &format!("seed {seed} at the end"));
        let now = version(&keyspace);
        assert!(now.levels[..LAST].iter().all(|level| level.tables().is_empty()), "seed {seed}");
    }
}

/// Windows that have expired, or that a deleted range takes in, go by an edit: nobody reads them.
#[test]
fn old_windows_go_unread() {
    let (scene, keyspace) = Scene::new();
    let mut random = Random::new(4);
    for time in 0..10_000u64 {
        let key = time.to_be_bytes();
        keyspace.put_with_expiry(&key, &random.bytes(60), 1 + time).unwrap();
        while random.chance(1, 20) && scene.environment.step() {}
    }
    scene.db().settle().unwrap();
    let (tables, stats) = (last_tables(&keyspace).len() as u64, scene.db().stats());
    assert!(20 < tables, "{tables}");
    keyspace.advance_expiry_mark(5_000).unwrap();
    scene.idle();
    let expired = scene.db().stats();
    let dropped = expired.tables_dropped - stats.tables_dropped;
    assert!(tables * 4 / 10 <= dropped, "{dropped} of {tables}");
    assert_eq!(expired.compacted_entries_read, stats.compacted_entries_read);
    keyspace.delete_range(&0u64.to_be_bytes(), &9_000u64.to_be_bytes()).unwrap();
    scene.db().flush().unwrap();
    scene.idle();
    let deleted = scene.db().stats();
    let dropped = deleted.tables_dropped - stats.tables_dropped;
    assert!(tables * 8 / 10 <= dropped, "{dropped} of {tables}");
    assert_eq!(keyspace.at(0).iter().unwrap().count(), 1_000);
    let read = deleted.compacted_entries_read - stats.compacted_entries_read;
    assert!(read < 1_500, "{read} entries were read");
}

/// A table that has expired whole hides what is older: that does not come back.
#[test]
fn what_an_expired_table_hides_does_not_come_back() {
    let (scene, keyspace) = Scene::new();
    for number in 0..100u64 {
        keyspace.put(&number.to_be_bytes(), b"for ever").unwrap();
    }
    scene.db().settle().unwrap();
    for number in 40..60u64 {
        keyspace.put_with_expiry(&number.to_be_bytes(), b"for a while", 10).unwrap();
    }
    scene.db().flush().unwrap();
    keyspace.advance_expiry_mark(10).unwrap();
    for _ in 0..4 {
        for number in 0..100u64 {
            let found = keyspace.get(&number.to_be_bytes()).unwrap();
            let shows = !(40..60).contains(&number);
            assert_eq!(found.as_deref(), shows.then_some(b"for ever".as_slice()), "{number}");
        }
        scene.idle();
    }
    scene.db().settle().unwrap();
    assert_eq!(keyspace.iter().unwrap().count(), 80);
    assert_eq!(scene.db().stats().table_entries, 80);
}

/// As long as tables were small whatever there was memory for, putting them together had no end here.
#[test]
fn putting_together_ends_where_memory_makes_no_larger_tables() {
    let (scene, keyspace) = Scene::with(1 << 20, 4 << 20);
    for time in 0..20_000_u64 {
        keyspace.put(&time.to_be_bytes(), &[7; 8]).unwrap();
    }
    scene.db().flush().unwrap();
    let steps = (0..2000).take_while(|_| scene.environment.step()).count();
    assert!(steps < 2000, "there is always something to do");
    scene.db().settle().unwrap();
    assert_eq!(keyspace.iter().unwrap().count(), 20_000);
}
