//! Ranges of keys that are replaced as a whole, whatever lies in them and across their ends.

use std::{collections::BTreeMap, sync::Arc};

use olivine_engine::{Db, Environment, Error, Keyspace, Options, Snapshot, check};
use olivine_vfs::{MemoryVfs, Random};

use crate::scene::{STORE, files, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(options: Options) -> (Arc<MemoryVfs>, Environment, Db) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, options).unwrap();
    (vfs, environment, db)
}

fn key(number: u32) -> Vec<u8> {
    format!("{number:06}").into_bytes()
}

fn numbered(range: std::ops::Range<u32>, value: &str) -> Map {
    range.map(|number| (key(number), value.repeat(8).into())).collect()
}

fn replace(keyspace: &Keyspace, from: &[u8], to: &[u8], entries: &Map) -> u64 {
    let mut ingest = keyspace.replace_range(from, to).unwrap();
    for (key, value) in entries {
        ingest.add(key, value).unwrap();
    }
    ingest.finish().unwrap()
}

/// What `map` is once the range is replaced.
fn replaced(map: &Map, from: &[u8], to: &[u8], entries: &Map) -> Map {
    let outside = map.iter().filter(|(key, _)| key.as_slice() < from || to <= key.as_slice());
    outside.chain(entries).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn put_all(keyspace: &Keyspace, entries: &Map) {
    for (key, value) in entries {
        keyspace.put(key, value).unwrap();
    }
}

/// What a keyspace holds, walked both ways and read key by key.
fn contents(keyspace: &Keyspace, snapshot: Option<&Snapshot>) -> Map {
    let walk = || match snapshot {
        Some(snapshot) => snapshot.iter(keyspace).unwrap(),
        None => keyspace.iter().unwrap(),
    };
    let forward: Vec<_> = walk().map(Result::unwrap).collect();
    let backward: Vec<_> = walk().rev().map(Result::unwrap).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    let map: Map = forward.into_iter().collect();
    for number in (0..400).step_by(3) {
        let key = key(number);
        let got = match snapshot {
            Some(snapshot) => snapshot.get(keyspace, &key).unwrap(),
            None => keyspace.get(&key).unwrap(),
        };
        assert_eq!(got.as_deref(), map.get(&key).map(Vec::as_slice));
    }
    map
}

fn assert_sound(environment: &Environment) {
    let report = check(environment, STORE, &mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

/// One table with the keys 100 to 199, at the bottom or on level 0, and a range that lies to it in
/// every way: apart, across either end, within, around, the same, and by one key next to it.
#[test]
fn a_table_may_lie_to_the_range_in_every_way() {
    let ranges = [
        (0, 50),
        (0, 100),
        (0, 101),
        (50, 150),
        (100, 150),
        (120, 130),
        (150, 200),
        (150, 250),
        (100, 200),
        (100, 199),
        (99, 201),
        (0, 400),
        (199, 200),
        (199, 250),
        (200, 250),
        (250, 300),
    ];
    for (nth, (from, to)) in ranges.into_iter().enumerate() {
        for (place, come) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 2), (2, 3)] {
            let options = Options { memtable_bytes_max: 1 << 20, ..small() };
            let (_, environment, db) = open(options.clone());
            let keyspace = db.keyspace("a").unwrap();
            let old = numbered(100..200, "old");
            put_all(&keyspace, &old);
            match place {
                0 => {}
                1 => db.flush().unwrap(),
                _ => db.settle().unwrap(),
            }
            let entries: Map = numbered(from..to, "new")
                .into_iter()
                .enumerate()
                .filter(|(nth, _)| come != 0 && nth.is_multiple_of(come))
                .map(|(_, entry)| entry)
                .collect();
            let before = db.snapshot();
            replace(&keyspace, &key(from), &key(to), &entries);
            let after = db.snapshot();
            let new = replaced(&old, &key(from), &key(to), &entries);
            let which = format!("range {nth}, place {place}, come {come}");
            assert_eq!(contents(&keyspace, None), new, "{which}");
            assert_eq!(contents(&keyspace, Some(&before)), old, "{which}");
            keyspace.put(&key(from), b"later").unwrap();
            let mut last = new.clone();
            last.insert(key(from), b"later".to_vec());
            db.settle().unwrap();
            assert_eq!(contents(&keyspace, None), last, "{which}");
            assert_eq!(contents(&keyspace, Some(&before)), old, "{which}");
            assert_eq!(contents(&keyspace, Some(&after)), new, "{which}");
            drop((before, after));
            db.settle().unwrap();
            assert_eq!(contents(&keyspace, None), last, "{which}");
            drop((keyspace, db));
            assert_sound(&environment);
            let db = Db::open(&environment, STORE, options).unwrap();
            assert_eq!(contents(&db.keyspace("a").unwrap(), None), last, "{which}");
        }
    }
}

#[test]
fn a_range_that_is_emptied_gives_its_room_back_without_being_read() {
    let (vfs, _, db) = open(small());
    let keyspace = db.keyspace("a").unwrap();
    let mut random = Random::new(1);
    for number in 0..2000 {
        let value: Vec<u8> = (0..200).map(|_| random.next_u64() as u8).collect();
        keyspace.put(&key(number), &value).unwrap();
    }
    db.settle().unwrap();
    let before = db.stats();
    let seqno = replace(&keyspace, &key(0), &key(2000), &Map::new());
    assert_eq!((db.visible(), db.durable()), (seqno, seqno));
    assert_eq!(keyspace.iter().unwrap().count(), 0);
    db.settle().unwrap();
    let after = db.stats();
    assert_eq!(after.tables_dropped, before.tables_dropped + before.level_tables[6] as u64);
    assert!(after.compacted_bytes_read - before.compacted_bytes_read < 8 << 10, "{after:?}");
    assert_eq!(after.table_entries, 0);
    assert_eq!(files(vfs.as_ref(), "table-").len(), 0);
}

#[test]
fn keys_outside_of_the_range_are_refused_and_change_nothing() {
    let (_, _, db) = open(small());
    let keyspace = db.keyspace("a").unwrap();
    put_all(&keyspace, &numbered(0..10, "old"));
    let mut ingest = keyspace.replace_range(&key(3), &key(6)).unwrap();
    for refused in [key(2), vec![], key(6), key(7), vec![0xff; 80]] {
        let error = ingest.add(&refused, b"").unwrap_err();
        assert!(matches!(error, Error::Invalid { field: "key", .. }), "{error}");
        assert!(error.to_string().contains("of the range that is replaced"), "{error}");
    }
    ingest.add(&key(4), b"new").unwrap();
    ingest.add(&key(6), b"").unwrap_err();
    assert_eq!(ingest.entries(), 1);
    ingest.finish().unwrap();
    let found = contents(&keyspace, None);
    assert_eq!(found.len(), 8);
    assert_eq!(found[&key(4)], b"new");

    let backwards = keyspace.replace_range(b"b", b"a").unwrap_err();
    assert!(matches!(backwards, Error::Invalid { field: "end", .. }), "{backwards}");
    let mut nothing = keyspace.replace_range(b"a", b"a").unwrap();
    nothing.add(b"a", b"").unwrap_err();
    assert_eq!(nothing.finish().unwrap(), db.visible(), "an empty range is replaced by nothing");
    drop(keyspace.replace_range(&key(0), &key(9)).unwrap());
    assert_eq!(contents(&keyspace, None), found, "one that is given up is none");
}

/// What was read in the range before it was replaced is not what is there any more.
#[test]
fn a_transaction_that_read_in_the_range_conflicts_and_one_beside_it_does_not() {
    let (_, _, db) = open(small());
    let keyspace = db.keyspace("a").unwrap();
    put_all(&keyspace, &numbered(0..10, "old"));
    for (read, conflicts) in [(2, false), (3, true), (5, true), (6, false)] {
        for flushed in [false, true] {
            let mut transaction = db.transaction();
            transaction.get(&keyspace, &key(read)).unwrap();
            replace(&keyspace, &key(3), &key(6), &Map::new());
            if flushed {
                db.settle().unwrap();
            }
            transaction.put(&keyspace, b"other", b"").unwrap();
            let committed = transaction.commit();
            assert_eq!(committed.is_err(), conflicts, "read {read}: {committed:?}");
        }
    }
}

/// Ranges are replaced among all other writes, with snapshots and values apart; what they point to is
/// counted to the byte.
#[test]
fn ranges_replaced_among_writes_read_like_a_map() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let apart = [0, 20][random.index(2)];
        let options = Options { value_apart_bytes_min: apart, ..small() };
        let (_, environment, mut db) = open(options.clone());
        let mut map = Map::new();
        let mut views: Vec<(Snapshot, Map)> = Vec::new();
        for step in 0..90 {
            let keyspace = db.keyspace("a").unwrap();
            let (one, two) = (random.below(400) as u32, random.below(400) as u32);
            let (from, to) = (one.min(two), one.max(two));
            match random.below(20) {
                0..9 => {
                    for number in from..to.min(from + 60) {
                        let value = format!("put {step} ").repeat(8).into_bytes();
                        keyspace.put(&key(number), &value).unwrap();
                        map.insert(key(number), value);
                    }
                }
                9 => {
                    keyspace.delete_range(&key(from), &key(to)).unwrap();
                    map = replaced(&map, &key(from), &key(to), &Map::new());
                }
                10..14 => {
                    let every = 1 + random.index(3);
                    let entries = numbered(from..to, &format!("new {step} "));
                    let entries: Map = entries.into_iter().step_by(every).collect();
                    replace(&keyspace, &key(from), &key(to), &entries);
                    map = replaced(&map, &key(from), &key(to), &entries);
                }
                14 => views.push((db.snapshot(), map.clone())),
                15 if !views.is_empty() => drop(views.swap_remove(random.index(views.len()))),
                16 => db.settle().unwrap(),
                17 => {
                    views.clear();
                    drop((keyspace, db));
                    assert_sound(&environment);
                    db = Db::open(&environment, STORE, options.clone()).unwrap();
                    continue;
                }
                _ => {
                    environment.step();
                }
            }
            assert_eq!(contents(&keyspace, None), map, "seed {seed} step {step}");
            for (snapshot, then) in &views {
                assert_eq!(contents(&keyspace, Some(snapshot)), *then, "seed {seed} step {step}");
            }
        }
    }
}
