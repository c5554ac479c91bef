//! Bulk ingest: entries that go straight into tables, between everything before and everything after.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, thread};

use olivine_engine::{
    Db, Environment, EnvironmentOptions, Error, Keyspace, Options, Parts, Snapshot, Work,
};
use olivine_vfs::{MemoryVfs, Random, RealClock, Vfs};

use crate::scene::{Ended, STORE, files, fill, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn open() -> (Arc<MemoryVfs>, Environment, Db) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    (vfs, environment, db)
}

fn ingest(keyspace: &Keyspace, entries: &Map) -> u64 {
    let mut ingest = keyspace.ingest().unwrap();
    for (key, value) in entries {
        ingest.add(key, value).unwrap();
    }
    ingest.finish().unwrap()
}

fn numbered(range: std::ops::Range<u32>, value: &str) -> Map {
    range.map(|number| (format!("{number:06}").into_bytes(), value.into())).collect()
}

fn contents(keyspace: &Keyspace) -> Map {
    keyspace.iter().unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_ingested_stands_at_the_bottom_and_is_read_everywhere() {
    let (_, environment, db) = open();
    let keyspace = db.keyspace("a").unwrap();
    let entries = numbered(0..12000, "ingested");
    let seqno = ingest(&keyspace, &entries);
    assert_eq!((seqno, db.visible(), db.durable()), (1, 1, 1));
    let stats = db.stats();
    assert!(2 < stats.level_tables[6], "{:?}", stats.level_tables);
    assert_eq!(stats.table_entries, 12000);
    assert_eq!(contents(&keyspace), entries);
    let backward: Vec<_> = keyspace.iter().unwrap().rev().map(|entry| entry.unwrap().0).collect();
    assert!(backward.iter().eq(entries.keys().rev()));
    assert_eq!(keyspace.get(b"011999").unwrap().unwrap(), b"ingested"[..]);
    assert_eq!(keyspace.get(b"012000").unwrap(), None);
    drop((keyspace, db));
    let db = Db::open(&environment, STORE, small()).unwrap();
    assert_eq!(contents(&db.keyspace("a").unwrap()), entries);
    assert_eq!(db.keyspace("a").unwrap().put(b"x", b"").unwrap(), 2);
}

#[test]
fn it_is_newer_than_all_before_and_older_than_all_after() {
    let (_, _, db) = open();
    let keyspace = db.keyspace("a").unwrap();
    keyspace.put(b"000001", b"before").unwrap();
    keyspace.put(b"000002", b"before").unwrap();
    keyspace.put(b"zzz", b"apart").unwrap();
    let snapshot = db.snapshot();
    ingest(&keyspace, &numbered(1..4, "ingested"));
    let between = db.snapshot();
    keyspace.put(b"000002", b"after").unwrap();
    keyspace.delete(b"000003").unwrap();
    let expect = |snapshot: Option<&Snapshot>, expected: [Option<&str>; 4]| {
        for (key, expected) in ["000001", "000002", "000003", "zzz"].iter().zip(expected) {
            let found = match snapshot {
                Some(snapshot) => snapshot.get(&keyspace, key.as_bytes()).unwrap(),
                None => keyspace.get(key.as_bytes()).unwrap(),
            };
            let found = found.map(|value| String::from_utf8(value.to_vec()).unwrap());
            assert_eq!(found.as_deref(), expected, "{key}");
        }
    };
    for settled in [false, true] {
        if settled {
            db.settle().unwrap();
        }
        expect(Some(&snapshot), [Some("before"), Some("before"), None, Some("apart")]);
        expect(
            Some(&between),
            [Some("ingested"); 3]
                .into_iter()
                .chain([Some("apart")])
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
        );
        expect(None, [Some("ingested"), Some("after"), None, Some("apart")]);
    }
}

#[test]
fn unsorted_input_is_refused_and_changes_nothing() {
    let (_, _, db) = open();
    let keyspace = db.keyspace("a").unwrap();
    let mut ingest = keyspace.ingest().unwrap();
    ingest.add(b"b", b"1").unwrap();
    for (key, said) in [(b"a", "comes after"), (b"b", "was added already")] {
        let error = ingest.add(key, b"").unwrap_err();
        assert!(matches!(error, Error::Invalid { field: "key", .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    ingest.add(b"c", b"2").unwrap();
    assert_eq!(ingest.entries(), 2);
    ingest.finish().unwrap();
    assert_eq!(contents(&keyspace).len(), 2);
}

#[test]
fn one_that_is_given_up_leaves_nothing() {
    let (vfs, _, db) = open();
    let keyspace = db.keyspace("a").unwrap();
    let mut ingest = keyspace.ingest().unwrap();
    for (key, value) in numbered(0..12000, "x") {
        ingest.add(&key, &value).unwrap();
    }
    assert!(1 < files(&*vfs, "table-").len());
    drop(ingest);
    assert!(files(&*vfs, "table-").is_empty());
    assert_eq!(keyspace.ingest().unwrap().finish().unwrap(), db.visible(), "an empty one is none");
    assert!(contents(&keyspace).is_empty());
}

#[test]
fn a_dropped_keyspace_and_a_closed_store_take_none() {
    let (vfs, _, db) = open();
    let keyspace = db.keyspace("a").unwrap();
    let mut ingest = keyspace.ingest().unwrap();
    ingest.add(b"key", b"").unwrap();
    db.drop_keyspace(&keyspace).unwrap();
    assert!(matches!(ingest.finish(), Err(Error::Dropped { .. })));
    assert!(matches!(keyspace.ingest(), Err(Error::Dropped { .. })));
    assert!(files(&*vfs, "table-").is_empty());
    let keyspace = db.keyspace("b").unwrap();
    let mut ingest = keyspace.ingest().unwrap();
    ingest.add(b"key", b"").unwrap();
    db.close().unwrap();
    assert!(matches!(ingest.finish(), Err(Error::Closed)));
}

/// Ranges lie between tables, above, below and across them; whatever is done, the store reads like a
/// map, and snapshots of it like copies of that map.
#[test]
fn ingests_among_writes_read_like_a_map() {
    for seed in 0..30 {
        let (_, environment, mut db) = open();
        let mut draw = Random::new(seed);
        let mut map = Map::new();
        let mut snapshots: Vec<(Snapshot, Map)> = Vec::new();
        for step in 0..150u32 {
            let keyspace = db.keyspace("a").unwrap();
            let key = |draw: &mut Random| format!("{:04}", draw.index(400)).into_bytes();
            match draw.index(12) {
                0..=4 => {
                    let (key, value) = (key(&mut draw), vec![step as u8; draw.index(300)]);
                    keyspace.put(&key, &value).unwrap();
                    map.insert(key, value);
                }
                5 if draw.index(2) == 0 => {
                    let mut ends = [key(&mut draw), key(&mut draw)];
                    ends.sort();
                    let [first, last] = ends;
                    keyspace.delete_range(&first, &last).unwrap();
                    map.retain(|key, _| *key < first || last <= *key);
                }
                5 => {
                    let key = key(&mut draw);
                    keyspace.delete(&key).unwrap();
                    map.remove(&key);
                }
                6..=7 => {
                    let first = draw.index(400);
                    let last = first + draw.index(120);
                    let keys = (first..last).filter(|_| draw.index(3) != 0);
                    let value = format!("ingest {step}").repeat(20).into_bytes();
                    let entries: Map = keys
                        .map(|number| (format!("{number:04}").into_bytes(), value.clone()))
                        .collect();
                    ingest(&keyspace, &entries);
                    map.extend(entries);
                }
                8 => drop(environment.step()),
                9 => db.settle().unwrap(),
                10 if snapshots.len() < 3 => snapshots.push((db.snapshot(), map.clone())),
                10 => drop(snapshots.remove(0)),
                _ => {
                    snapshots.clear();
                    drop((keyspace, db));
                    db = Db::open(&environment, STORE, small()).unwrap();
                    continue;
                }
            }
            for (snapshot, then) in &snapshots {
                let found: Map = snapshot.iter(&keyspace).unwrap().map(Result::unwrap).collect();
                assert!(found == *then, "seed {seed}, step {step}: a snapshot changed");
            }
            assert!(contents(&keyspace) == map, "seed {seed}, step {step}");
            if step % 16 == 0 {
                let report = db.check(&mut |_, _| ()).unwrap();
                assert_eq!(report.findings, [], "seed {seed}, step {step}");
            }
            let key = key(&mut draw);
            let found = keyspace.get(&key).unwrap().map(|value| value.to_vec());
            assert_eq!(found.as_ref(), map.get(&key), "seed {seed}, step {step}");
            let from = (Bound::Excluded(key.clone()), Bound::Unbounded);
            let next = keyspace.range(from.clone()).unwrap().next().map(Result::unwrap);
            let expected = map.range(from).next();
            assert_eq!(next.as_ref().map(|(key, value)| (key, value)), expected);
        }
    }
}

/// Threads write into the range all the time: the ingest ends, and each key is as the last writer in
/// the order of sequence numbers left it.
#[test]
fn writers_to_the_same_keys_go_on() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let parts = Parts { vfs, clock: Arc::new(RealClock::new()), work: Work::Threads };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 16 << 20 }).unwrap();
    let db = Db::open(&environment, STORE, Options { segment_bytes: 1 << 20, ..small() }).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    fill(&db, "b", 10);
    let ended = Ended::default();
    let (written, ingested) = thread::scope(|scope| {
        let ending = ended.when_dropped();
        let write = |number: usize| {
            let mut written = Vec::new();
            let mut round = 0u32;
            while !ended.is() || round < 10 {
                round += 1;
                let key = format!("{:06}", 7 * number as u32 % 100 + round % 50 * 10);
                let value = format!("{number} {round}");
                let seqno = keyspace.put(key.as_bytes(), value.as_bytes()).unwrap();
                written.push((seqno, key.into_bytes(), value.into_bytes()));
            }
            written
        };
        let writers: Vec<_> = (0..3).map(|number| scope.spawn(move || write(number))).collect();
        let ingested: Vec<_> = (0..10)
            .map(|round| {
                let entries = numbered(0..600, &format!("ingest {round}"));
                (ingest(&keyspace, &entries), entries)
            })
            .collect();
        drop(ending);
        let written = writers.into_iter().flat_map(|writer| writer.join().unwrap());
        (written.collect::<Vec<_>>(), ingested)
    });
    let mut newest: BTreeMap<Vec<u8>, (u64, Vec<u8>)> = BTreeMap::new();
    let puts = ingested.into_iter().flat_map(|(seqno, entries)| {
        entries.into_iter().map(move |(key, value)| (seqno, key, value))
    });
    for (seqno, key, value) in puts.chain(written) {
        let slot = newest.entry(key).or_default();
        assert!(slot.0 != seqno, "two writes have one number");
        if slot.0 < seqno {
            *slot = (seqno, value);
        }
    }
    let expected: Map = newest.into_iter().map(|(key, (_, value))| (key, value)).collect();
    assert!(contents(&keyspace) == expected);
    db.settle().unwrap();
    assert!(contents(&keyspace) == expected);
}
