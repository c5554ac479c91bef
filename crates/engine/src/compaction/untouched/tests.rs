//! Stores that carry blocks beside stores that merge every entry, and which blocks may be carried.

use std::sync::Arc;

use olivine_vfs::{ManualClock, MemoryVfs, Open, Random, Vfs};

use super::*;
use crate::{
    CompactionFilter, Compression, Db, Environment, EnvironmentOptions, Error, Keyspace,
    KeyspaceOptions, Options, Parts, Snapshot, Work, ranges::RangeDeletes,
};

const STORE: &str = "/store";
/// A memory that holds every block, and one that holds hardly any.
const MUCH: u64 = 64 << 20;
const LITTLE: u64 = 1 << 20;

/// Wants everything, so it changes nothing but that no block is carried.
#[derive(Debug)]
struct Everything;

impl CompactionFilter for Everything {
    fn name(&self) -> &'static str {
        "everything"
    }

    fn wants(&self, _key: &[u8], _value: &[u8]) -> bool {
        true
    }
}

struct Scene {
    vfs: Arc<MemoryVfs>,
    environment: Environment,
    db: Db,
    keyspace: Keyspace,
    snapshots: Vec<Snapshot>,
}

impl Scene {
    fn new(memory_bytes: u64, carries: bool, options: Options) -> Scene {
        let vfs = Arc::new(MemoryVfs::new());
        let parts = Parts {
            vfs: Arc::clone(&vfs) as Arc<dyn Vfs>,
            clock: Arc::new(ManualClock::new()),
            work: Work::Stepped { seed: 3 },
        };
        let environment = Environment::with(parts, EnvironmentOptions { memory_bytes }).unwrap();
        let options = Options { compaction_filters: vec![Arc::new(Everything)], ..options };
        let db = Db::open(&environment, STORE, options).unwrap();
        let named = KeyspaceOptions {
            filter: (!carries).then(|| "everything".to_owned()),
            merge: Some("append".to_owned()),
            ..KeyspaceOptions::default()
        };
        let keyspace = db.keyspace_with("things", &named).unwrap();
        Scene { vfs, environment, db, keyspace, snapshots: Vec::new() }
    }

    /// `count` keys from `first` on, one in `every`.
    fn put(&self, first: u32, count: u32, every: u32, byte: u8) {
        for number in (first..first + count).step_by(every as usize) {
            self.keyspace.put(&number.to_be_bytes(), &[byte; 40]).unwrap();
        }
    }

    fn contents(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.keyspace.iter().unwrap().map(Result::unwrap).collect()
    }

    fn carried(&self) -> u64 {
        self.db.stats().compacted_blocks_carried
    }

    fn check(&self) {
        let report = self.db.check(&mut |_, _| {}).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

fn small() -> Options {
    Options {
        memtable_bytes_max: 16 << 10,
        segment_bytes: 16 << 10,
        table_bytes_max: 8 << 10,
        level_bytes_base: 16 << 10,
        block_bytes: 512,
        ..Options::default()
    }
}

/// One table at the bottom, of 2,000 keys, all of them final.
fn filled(memory_bytes: u64, options: Options) -> Scene {
    let scene = Scene::new(memory_bytes, true, options);
    scene.put(0, 2000, 1, 7);
    scene.db.settle().unwrap();
    // What goes down without being merged keeps its numbers; they become 0 here.
    for part in 0..20 {
        scene.put(100 * part, 100, 9, 8);
    }
    scene.db.settle().unwrap();
    scene
}

#[test]
fn blocks_with_no_new_key_among_theirs_are_carried() {
    // With little memory there are several tables, and most are not read at all.
    for (memory_bytes, least) in [(LITTLE, 10), (MUCH, 100)] {
        let scene = filled(memory_bytes, Options { table_bytes_max: 1 << 20, ..small() });
        let before = scene.db.stats();
        scene.put(1000, 60, 1, 9);
        scene.db.settle().unwrap();
        let stats = scene.db.stats();
        let carried = stats.compacted_blocks_carried - before.compacted_blocks_carried;
        // Some ten entries have room in a block.
        assert!((least..240).contains(&carried), "{carried} blocks were carried");
        assert_eq!(stats.table_entries, 2000);
        assert_eq!(
            stats.compacted_entries_read,
            stats.compacted_entries_written + stats.compacted_entries_dropped.all()
        );
        scene.check();
        for number in 0..2000u32 {
            let byte = match number {
                1000..1060 => 9,
                _ if number % 100 % 9 == 0 => 8,
                _ => 7,
            };
            let found = scene.keyspace.get(&number.to_be_bytes()).unwrap();
            assert_eq!(found.as_deref(), Some([byte; 40].as_slice()));
        }
    }
}

/// Blocks stay about as long as they were, however often a run is interrupted.
#[test]
fn carrying_does_not_make_blocks_small() {
    let scene = filled(MUCH, Options { table_bytes_max: 1 << 20, ..small() });
    let blocks = || {
        let version = Arc::clone(&scene.keyspace.tree().state().version);
        let blocks = version.tables().map(|file| file.table.data_blocks().unwrap());
        blocks.sum::<u64>()
    };
    let start = blocks();
    let mut random = Random::new(5);
    for _ in 0..40 {
        for _ in 0..10 {
            scene.put(random.below(2000) as u32, 1, 1, 9);
        }
        scene.db.settle().unwrap();
    }
    assert!(500 < scene.carried(), "{} blocks were carried", scene.carried());
    assert!(blocks() < start + start / 4, "{start} blocks became {}", blocks());
    scene.check();
}

#[test]
fn a_store_whose_compression_was_changed_gets_what_it_asks_for() {
    let scene = filled(MUCH, Options { table_bytes_max: 1 << 20, ..small() });
    let Scene { environment, db, keyspace, .. } = scene;
    drop(keyspace);
    db.close().unwrap();
    let options = Options { compression: Compression::None, table_bytes_max: 1 << 20, ..small() };
    let db = Db::open(
        &environment,
        STORE,
        Options { compaction_filters: vec![Arc::new(Everything)], ..options },
    )
    .unwrap();
    let keyspace = db.find_keyspace("things").unwrap();
    let before = db.stats().level_bytes.iter().sum::<u64>();
    keyspace.put(&5u32.to_be_bytes(), &[1; 40]).unwrap();
    db.settle().unwrap();
    assert_eq!(db.stats().compacted_blocks_carried, 0);
    assert!(before * 2 < db.stats().level_bytes.iter().sum::<u64>());
}

/// Whatever is written, a store that carries blocks shows what one shows that merges every entry, now and
/// to every snapshot.
#[test]
fn carrying_shows_what_merging_shows() {
    let mut carried = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let options = Options {
            block_bytes: 128 << random.below(3),
            table_bytes_max: (8 << 10) << random.below(4),
            compression: [Compression::Lz4, Compression::None][random.index(2)],
            value_apart_bytes_min: [0, 60, 4096][random.index(3)],
            filter_bits_per_key: [0, 10][random.index(2)],
            ..small()
        };
        let memory = [LITTLE, MUCH][random.index(2)];
        let mut pair = [true, false].map(|carries| Scene::new(memory, carries, options.clone()));
        for round in 0..12 {
            write_some(&mut pair, &mut random);
            for scene in &pair {
                match round % 3 {
                    0 => scene.db.settle().unwrap(),
                    1 => scene.db.flush().unwrap(),
                    _ => assert!((0..4).all(|_| scene.environment.step()) || round != 0),
                }
            }
            compare(&pair, &format!("seed {seed} round {round}"));
        }
        pair.iter().for_each(Scene::check);
        assert_eq!(pair[1].carried(), 0);
        carried += pair[0].carried();
    }
    assert!(2_000 < carried, "{carried} blocks were carried");
}

/// The same to both stores.
fn write_some(pair: &mut [Scene; 2], random: &mut Random) {
    let start = random.below(3000) as u32;
    // Neighbours mostly, so that most blocks lie untouched.
    let (what, count) = (random.below(9), random.between(1, 300) as u32);
    let (spread, bytes) = (random.chance(1, 3), random.index(70));
    let mut draw = random.fork();
    for number in 0..count {
        let place = if spread { draw.below(3000) as u32 } else { start + number };
        let (key, value) = (place.to_be_bytes(), vec![draw.below(256) as u8; bytes]);
        for Scene { keyspace, .. } in pair.iter() {
            match what {
                0 => keyspace.delete(&key).map(drop).unwrap(),
                1 => keyspace.merge(&key, &value[..bytes.min(3)]).map(drop).unwrap(),
                2 => keyspace
                    .put_with_expiry(&key, &value, 1 + u64::from(place % 3))
                    .map(drop)
                    .unwrap(),
                _ => keyspace.put(&key, &value).map(drop).unwrap(),
            }
        }
    }
    let (takes, lets_go, deletes) = (random.chance(1, 4), random.chance(1, 3), random.chance(1, 4));
    let end = start + random.between(1, 400) as u32;
    for scene in pair {
        if deletes {
            scene.keyspace.delete_range(&start.to_be_bytes(), &end.to_be_bytes()).unwrap();
        }
        if takes {
            scene.snapshots.push(scene.db.snapshot());
        }
        if lets_go && !scene.snapshots.is_empty() {
            scene.snapshots.remove(0);
        }
    }
}

fn compare([one, other]: &[Scene; 2], when: &str) {
    assert!(one.contents() == other.contents(), "{when}");
    for (a, b) in one.snapshots.iter().zip(&other.snapshots) {
        let shown = |snapshot: &Snapshot, keyspace: &Keyspace| -> Vec<_> {
            snapshot.iter(keyspace).unwrap().map(Result::unwrap).collect()
        };
        assert!(shown(a, &one.keyspace) == shown(b, &other.keyspace), "{when}: a snapshot");
    }
    for (key, value) in one.contents().iter().step_by(19) {
        assert_eq!(one.keyspace.get(key).unwrap().as_deref(), Some(value.as_slice()), "{when}");
    }
}

/// A block that has rotten on the disk is not carried: compaction stops with everything as it was. Where the
/// block is in the cache still, it is written anew from there.
#[test]
fn a_rotten_block_stops_the_merge_or_is_made_good() {
    for is_cached in [false, true] {
        let scene = filled(MUCH, Options { table_bytes_max: 1 << 20, ..small() });
        scene.put(1000, 60, 1, 9);
        scene.db.flush().unwrap();
        let version = Arc::clone(&scene.keyspace.tree().state().version);
        let last = &version.levels[crate::version::LEVELS - 1].tables()[0];
        let store = scene.db.store_for_tests();
        if !is_cached {
            store.cache().remove_tables(&[last.table.cache_id()]);
        }
        let file = scene.vfs.open(&last.path, Open::Write).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, last.info.bytes / 4).unwrap();
        file.write_at(&[byte[0] ^ 4], last.info.bytes / 4).unwrap();
        let tables = scene.db.stats().level_tables;
        scene.db.settle().ok();
        if is_cached {
            assert!(100 < scene.carried(), "{} blocks were carried", scene.carried());
            scene.check();
        } else {
            assert!(matches!(store.halted(), Some(Error::Corrupt { .. })));
            assert_eq!(scene.db.stats().level_tables, tables);
        }
    }
}

fn rules(boundaries: &[u64]) -> Rules<'static> {
    Rules {
        boundaries: boundaries.to_vec(),
        ranges: RangeDeletes::default(),
        operator: None,
        filter: None,
        expiry_mark: 0,
    }
}

#[test]
fn only_what_a_fold_would_hand_on_as_it_is_stays() {
    let facts = |seqno, has_one_stamp| BlockFacts {
        is_plain: true,
        bytes: 500,
        entries: 10,
        stamp_least: Stamp::new(seqno, Kind::Put),
        has_one_stamp,
    };
    let at = rules(&[5, 9]);
    assert!(stays(&facts(0, true), &at, true));
    assert!(stays(&facts(6, false), &at, true), "a snapshot tells such numbers apart");
    assert!(!stays(&facts(5, true), &at, true), "their numbers become 0");
    assert!(!stays(&facts(0, false), &at, true), "some numbers become 0");
    assert!(stays(&facts(3, false), &at, false), "above the bottom numbers stay");
    assert!(!stays(&BlockFacts { is_plain: false, ..facts(0, true) }, &at, true));
    let filter = Rules { filter: Some(&Everything), ..at };
    assert!(!stays(&facts(0, true), &filter, true));
}
