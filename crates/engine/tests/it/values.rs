//! Large values apart from the tables: put, read, streamed, hidden, collected.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use olivine_engine::{
    Compression, Db, Depth, Environment, Error, Fact, FileKind, Keyspace, KeyspaceOptions, Options,
    Severity, VALUE_BYTES_MAX, VALUE_STREAM_BYTES_MAX, check, inspect,
};
use olivine_vfs::{MemoryVfs, Open, Random, Vfs};

use crate::scene::{STORE, files, small, stepped};

const APART_BYTES_MIN: usize = 64;

fn options() -> Options {
    Options { value_apart_bytes_min: APART_BYTES_MIN as u64, ..small() }
}

fn open(environment: &Environment) -> (Db, Keyspace) {
    let db = Db::open(environment, STORE, options()).unwrap();
    let keyspace = db.keyspace("things").unwrap();
    (db, keyspace)
}

fn key(number: u64) -> Vec<u8> {
    format!("key{number:05}").into_bytes()
}

fn value_bytes(vfs: &dyn Vfs) -> u64 {
    let entries = vfs.list(Path::new(STORE)).unwrap();
    let values = entries.iter().filter(|entry| entry.name.to_string_lossy().starts_with("values-"));
    values.map(|entry| entry.bytes).sum()
}

#[test]
fn values_on_either_side_of_the_threshold_come_back() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let lens = [0, 1, APART_BYTES_MIN - 1, APART_BYTES_MIN, 5000, 1 << 20, (2 << 20) + 1];
    let mut random = Random::new(1);
    let values = lens.map(|len| random.bytes(len));
    for (number, value) in values.iter().enumerate() {
        keyspace.put(&key(number as u64), value).unwrap();
    }
    for round in 0..3 {
        for (number, value) in values.iter().enumerate() {
            let found = keyspace.get(&key(number as u64)).unwrap().unwrap();
            assert!(*found == **value, "round {round}, {} bytes", value.len());
        }
        let walked: Vec<_> = keyspace.iter().unwrap().map(|entry| entry.unwrap().1).collect();
        assert!(walked == values, "round {round}");
        let back: Vec<_> = keyspace.iter().unwrap().rev().map(|entry| entry.unwrap().1).collect();
        assert!(back.into_iter().rev().eq(values.iter().cloned()), "round {round}");
        db.settle().unwrap();
    }
    assert!(!files(&*vfs, "values-").is_empty());
    assert_eq!(keyspace.get_if_cached(&key(2)).unwrap().unwrap().len(), APART_BYTES_MIN - 1);
    assert!(matches!(keyspace.get_if_cached(&key(3)), Err(Error::WouldBlock)));
    let found = keyspace.multi_get(&[&key(0), &key(4), &key(99)]).unwrap();
    let lens: Vec<_> = found.iter().map(|value| value.as_ref().map(|value| value.len())).collect();
    assert_eq!(lens, [Some(0), Some(5000), None]);
}

#[test]
fn the_longest_value_put_whole_comes_back_whole_and_as_a_stream() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let value: Vec<u8> = (0..VALUE_BYTES_MAX as u32).map(|at| (at ^ at >> 9) as u8).collect();
    keyspace.put(b"largest", &value).unwrap();
    db.settle().unwrap();
    assert!(*keyspace.get(b"largest").unwrap().unwrap() == *value);
    let mut reader = keyspace.get_stream(b"largest").unwrap().unwrap();
    assert_eq!(reader.len(), VALUE_BYTES_MAX as u64);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == value);
    drop((reader, read));
    keyspace.delete(b"largest").unwrap();
    db.settle().unwrap();
    assert_eq!(files(&*vfs, "values-"), [""; 0]);
}

#[test]
fn a_stream_is_read_from_any_place_and_stays_while_it_is_read() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let value = Random::new(3).bytes((3 << 20) + 17);
    keyspace.put_stream(b"film", value.len() as u64, &*value).unwrap();
    for flushed in [false, true] {
        assert!(*keyspace.get(b"film").unwrap().unwrap() == *value, "flushed: {flushed}");
        let mut reader = keyspace.get_stream(b"film").unwrap().unwrap();
        let mut random = Random::new(4);
        for _ in 0..50 {
            let at = random.index(value.len() + 10);
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut part = vec![0; random.index(5000)];
            let read = reader.read(&mut part).unwrap();
            let rest = value.get(at..).unwrap_or_default();
            assert_eq!(part[..read], rest[..read], "at {at}");
            assert!(0 < read || rest.is_empty() || part.is_empty(), "at {at}");
        }
        db.flush().unwrap();
    }
    let mut reader = keyspace.get_stream(b"film").unwrap().unwrap();
    keyspace.delete(b"film").unwrap();
    db.settle().unwrap();
    while environment.step() {}
    assert_eq!(files(&*vfs, "values-").len(), 1, "the reader holds the file");
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == value);
    drop(reader);
    while environment.step() {}
    assert_eq!(files(&*vfs, "values-"), [""; 0]);
}

#[test]
fn a_stream_that_is_only_in_the_log_is_there_after_reopening() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let value = Random::new(3).bytes(3000);
    keyspace.put_stream(b"film", 3000, &*value).unwrap();
    while environment.step() {}
    assert_eq!(db.stats().value_files, 1, "what only a memtable points to stays");
    drop(keyspace);
    db.close().unwrap();
    let (db, keyspace) = open(&environment);
    while environment.step() {}
    assert!(*keyspace.get(b"film").unwrap().unwrap() == *value);
    keyspace.put(b"film", b"short").unwrap();
    db.settle().unwrap();
    assert_eq!(files(&*vfs, "values-"), [""; 0], "hidden before it was flushed");
}

#[test]
fn a_stream_is_refused_when_it_is_too_long_or_ends_early() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let invalid = |outcome| matches!(outcome, Err(Error::Invalid { .. }));
    for bytes in [10, 5000] {
        assert!(invalid(keyspace.put_stream(b"k", bytes, &[0; 9][..]).map(drop)));
    }
    assert!(invalid(keyspace.put_stream(b"k", VALUE_STREAM_BYTES_MAX + 1, &[][..]).map(drop)));
    assert_eq!(files(&*vfs, "values-"), [""; 0]);
    assert_eq!(keyspace.get(b"k").unwrap(), None);
    keyspace.put_stream(b"k", 0, &[][..]).unwrap();
    keyspace.put_stream(b"l", 9, &[7; 10][..]).unwrap();
    assert_eq!(keyspace.get(b"k").unwrap().unwrap(), b"");
    assert_eq!(keyspace.get(b"l").unwrap().unwrap(), &[7; 9]);
    db.drop_keyspace(&keyspace).unwrap();
    let dropped = keyspace.put_stream(b"k", 500, &[7; 500][..]);
    assert!(matches!(dropped, Err(Error::Dropped { .. })));
    while environment.step() {}
    assert_eq!(files(&*vfs, "values-"), [""; 0]);
}

#[test]
fn a_value_beyond_what_get_hands_out_names_the_call_that_does() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let bytes = VALUE_BYTES_MAX as u64 + 1;
    keyspace.put_stream(b"film", bytes, std::io::repeat(7)).unwrap();
    keyspace.put(b"z", b"small").unwrap();
    db.flush().unwrap();
    let told = keyspace.get(b"film").unwrap_err().to_string();
    assert!(told.contains("get_stream"), "{told}");
    assert!(keyspace.contains(b"film").unwrap());
    let mut cursor = keyspace.cursor().unwrap();
    cursor.seek_first().unwrap();
    assert!(matches!(cursor.value(), Err(Error::Invalid { .. })));
    assert_eq!(cursor.value_stream().unwrap().len(), bytes);
    cursor.next().unwrap();
    assert_eq!(cursor.value().unwrap(), b"small");
}

#[test]
fn a_walk_over_keys_touches_no_value_file() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    for number in 0..50 {
        keyspace.put(&key(number), &[number as u8; 500]).unwrap();
    }
    db.settle().unwrap();
    for name in files(&*vfs, "values-") {
        vfs.remove_file(&Path::new(STORE).join(name)).unwrap();
    }
    let mut cursor = keyspace.cursor().unwrap();
    cursor.seek_first().unwrap();
    let mut count = 0;
    while cursor.valid() {
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, 50);
    assert!(keyspace.contains(&key(3)).unwrap());
    assert!(matches!(keyspace.get(&key(3)), Err(Error::Io { .. })));
}

/// Whatever is put, overwritten and deleted: once idle, value files hold at most 1.3 times what is
/// there, and everything reads as it should.
#[test]
fn space_is_at_most_one_and_three_tenths_once_idle() {
    for seed in 0..12 {
        let vfs = Arc::new(MemoryVfs::new());
        let environment = stepped(&vfs);
        let (mut db, mut keyspace) = open(&environment);
        let mut random = Random::new(seed);
        let mut oracle = BTreeMap::new();
        let keys = random.between(20, 300);
        for round in 0..6 {
            let mut snapshot = None;
            for _ in 0..random.between(1, 800) {
                let number = random.below(keys);
                match random.below(10) {
                    0..2 => {
                        keyspace.delete(&key(number)).unwrap();
                        oracle.remove(&number);
                    }
                    2 => {
                        keyspace.put(&key(number), b"short").unwrap();
                        oracle.insert(number, b"short".to_vec());
                    }
                    3 => {
                        let len = random.between(64, 4000) as usize;
                        let value = random.bytes(len);
                        keyspace.put_stream(&key(number), len as u64, &*value).unwrap();
                        oracle.insert(number, value);
                    }
                    _ => {
                        let len = random.between(200, 2000) as usize;
                        let value = random.bytes(len);
                        keyspace.put(&key(number), &value).unwrap();
                        oracle.insert(number, value);
                    }
                }
                if random.chance(1, 20) {
                    environment.step();
                }
                if random.chance(1, 100) {
                    snapshot = Some(db.snapshot());
                }
                if random.chance(1, 100) {
                    db.flush().unwrap();
                }
            }
            db.settle().unwrap();
            drop(snapshot);
            if round % 2 == 1 {
                drop(keyspace);
                db.close().unwrap();
                (db, keyspace) = open(&environment);
            }
            db.settle().unwrap();
            let live: usize =
                oracle.values().map(Vec::len).filter(|len| APART_BYTES_MIN <= *len).sum();
            let total = value_bytes(&*vfs);
            assert!(
                total * 10 <= live as u64 * 13 + 2000,
                "seed {seed}, round {round}: {total} bytes for {live}"
            );
            assert_eq!(db.stats().value_bytes, total);
            for number in 0..keys {
                let found = keyspace.get(&key(number)).unwrap().map(|value| value.to_vec());
                assert!(found.as_ref() == oracle.get(&number), "seed {seed} key {number}");
            }
        }
    }
}

#[test]
fn a_snapshot_and_a_cursor_keep_what_they_show_through_a_collection() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    for number in 0..100 {
        keyspace.put(&key(number), &[1; 700]).unwrap();
    }
    let snapshot = db.snapshot();
    let mut cursor = keyspace.cursor().unwrap();
    for number in 0..100 {
        if number % 7 != 0 {
            keyspace.put(&key(number), &[2; 700]).unwrap();
        }
    }
    db.settle().unwrap();
    let mut before = keyspace.cursor().unwrap();
    for number in 0..100 {
        if number % 3 != 0 {
            keyspace.delete(&key(number)).unwrap();
        }
    }
    db.settle().unwrap();
    cursor.seek_first().unwrap();
    before.seek_last().unwrap();
    for number in 0..100 {
        assert_eq!(snapshot.get(&keyspace, &key(number)).unwrap().unwrap(), &[1; 700]);
        assert_eq!(cursor.value().unwrap(), [1; 700]);
        let last = 99 - number;
        assert_eq!(before.value().unwrap(), [if last % 7 == 0 { 1 } else { 2 }; 700]);
        cursor.next().unwrap();
        before.prev().unwrap();
    }
    drop((snapshot, cursor, before));
    db.settle().unwrap();
    while environment.step() {}
    assert!(value_bytes(&*vfs) <= 34 * 700 * 13 / 10, "{}", value_bytes(&*vfs));
}

/// A bit that flipped anywhere in a value file is told with file and offset, or was not needed; a wrong
/// value is never handed out.
#[test]
fn a_flipped_bit_is_found_and_named() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let values: Vec<_> = (0..10).map(|n| Random::new(n).bytes(100 + n as usize)).collect();
    for (number, value) in values.iter().enumerate() {
        keyspace.put(&key(number as u64), value).unwrap();
    }
    db.settle().unwrap();
    drop(keyspace);
    db.close().unwrap();
    let [name] = &files(&*vfs, "values-")[..] else { panic!("one flush, one file") };
    let path = Path::new(STORE).join(name);
    let file = vfs.open(&path, Open::Write).unwrap();
    let len = file.len().unwrap();
    let mut told = 0;
    for at in (0..len).step_by(3) {
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
        let (db, keyspace) = open(&environment);
        for (number, value) in values.iter().enumerate() {
            match keyspace.get(&key(number as u64)) {
                Ok(found) => assert!(*found.unwrap() == **value, "byte {at}"),
                Err(Error::Corrupt { path: named, offset, .. }) => {
                    assert_eq!(named, path);
                    assert!(offset <= len);
                    told += 1;
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
            let streamed = keyspace.get_stream(&key(number as u64)).map(|reader| {
                let mut read = Vec::new();
                let outcome = reader.unwrap().read_to_end(&mut read);
                outcome.map(|_| read)
            });
            if let Ok(Ok(read)) = streamed {
                assert!(read == *value, "byte {at}");
            }
        }
        drop((db, keyspace));
        file.write_at(&byte, at).unwrap();
    }
    assert!(len / 3 / 2 < told, "{told} told of {len} bytes");
}

/// A value that cannot be read stays where it is, and holds up nothing else.
#[test]
fn a_damaged_value_does_not_stop_collecting_the_others() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    for number in 0..20 {
        keyspace.put(&key(number), &Random::new(number).bytes(600)).unwrap();
    }
    db.settle().unwrap();
    let name = files(&*vfs, "values-").remove(0);
    let file = vfs.open(&Path::new(STORE).join(name), Open::Write).unwrap();
    file.write_at(&[0; 4], 100).unwrap();
    for number in 5..20 {
        keyspace.put(&key(number), &Random::new(100 + number).bytes(600)).unwrap();
    }
    db.settle().unwrap();
    assert!(matches!(keyspace.get(&key(0)), Err(Error::Corrupt { .. })));
    for number in 1..20 {
        let seed = if number < 5 { number } else { 100 + number };
        assert!(*keyspace.get(&key(number)).unwrap().unwrap() == *Random::new(seed).bytes(600));
    }
    keyspace.put(&key(0), b"mended").unwrap();
    db.settle().unwrap();
    assert_eq!(keyspace.get(&key(0)).unwrap().unwrap(), b"mended");
}

#[test]
fn a_missing_or_shorter_value_file_is_refused_at_opening() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    keyspace.put(b"k", &[1; 500]).unwrap();
    db.settle().unwrap();
    drop(keyspace);
    db.close().unwrap();
    let path = Path::new(STORE).join(files(&*vfs, "values-").remove(0));
    let file = vfs.open(&path, Open::Write).unwrap();
    let len = file.len().unwrap();
    file.set_len(len - 1).unwrap();
    let refused = Db::open(&environment, STORE, options());
    assert!(matches!(refused, Err(Error::Corrupt { path: named, .. }) if named == path));
    vfs.remove_file(&path).unwrap();
    let refused = Db::open(&environment, STORE, options());
    assert!(matches!(refused, Err(Error::Corrupt { path: named, .. }) if named == path));
    // One that nobody names is swept.
    let stray = Path::new("/other/values-000000000099");
    let db = Db::open(&environment, "/other", options()).unwrap();
    drop(db);
    vfs.open(stray, Open::Create).unwrap();
    let db = Db::open(&environment, "/other", options()).unwrap();
    assert!(vfs.entry(stray).unwrap().is_none());
    drop(db);
}

#[test]
fn values_stay_in_tables_when_separation_is_off() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let options = Options { value_apart_bytes_min: 0, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let keyspace = db.keyspace("things").unwrap();
    keyspace.put(b"k", &vec![1; 100_000]).unwrap();
    keyspace.put_stream(b"l", 5000, std::io::repeat(2)).unwrap();
    db.settle().unwrap();
    assert_eq!(files(&*vfs, "values-"), [""; 0]);
    keyspace.put_stream(b"m", 2 << 20, std::io::repeat(2)).unwrap();
    assert_eq!(files(&*vfs, "values-").len(), 1);
    assert_eq!(keyspace.get(b"m").unwrap().unwrap().len(), 2 << 20);
}

/// A check verifies every byte of value files and every pointer into them.
#[test]
fn a_check_finds_what_is_wrong_with_value_files() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    for number in 0..40 {
        keyspace.put(&key(number), &Random::new(number).bytes(300)).unwrap();
    }
    db.settle().unwrap();
    keyspace.put_stream(b"film", 3000, std::io::repeat(1)).unwrap();
    assert_eq!(db.check(&mut |_, _| {}).unwrap().damages, 0);
    drop(keyspace);
    db.close().unwrap();
    let checked = || check(&environment, STORE, &mut |done, total| assert!(done <= total));
    let sound = checked().unwrap();
    assert_eq!((sound.damages, sound.findings.len()), (0, 0), "{:?}", sound.findings);
    let path = Path::new(STORE).join(files(&*vfs, "values-").remove(0));
    let file = vfs.open(&path, Open::Write).unwrap();
    let len = file.len().unwrap();
    // The header is there for people and tools alone.
    for at in (32..len).step_by(97).chain([len - 1, len - 40, len - 80]) {
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 4], at).unwrap();
        let report = checked().unwrap();
        assert!(0 < report.damages, "byte {at}");
        assert_eq!(report.findings[0].path, path, "byte {at}");
        let mut told = 0;
        let mut visit = |fact: Fact| told += u64::from(fact.damage.is_some());
        let kind = inspect(&environment, &path, Depth::default(), &mut visit).unwrap();
        assert_eq!(kind, FileKind::Values);
        assert!(0 < told, "byte {at}");
        file.write_at(&byte, at).unwrap();
    }
    vfs.open(&Path::new(STORE).join("values-000000000999"), Open::Create).unwrap();
    let report = checked().unwrap();
    assert_eq!((report.damages, report.findings.len()), (0, 1));
    assert_eq!(report.findings[0].severity, Severity::Orphan);
}

/// Operands on a large value: read over it, folded into it by a merge of tables, and kept apart again.
#[test]
fn operands_fold_into_a_value_that_stands_apart() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, options()).unwrap();
    let named = KeyspaceOptions { merge: Some("append".into()), ..KeyspaceOptions::default() };
    let keyspace = db.keyspace_with("lists", &named).unwrap();
    let mut oracle = BTreeMap::new();
    let mut random = Random::new(5);
    for number in 0..30 {
        let value = random.bytes(400);
        if number % 3 == 0 {
            keyspace.put_stream(&key(number), 400, &*value).unwrap();
        } else {
            keyspace.put(&key(number), &value).unwrap();
        }
        oracle.insert(key(number), value);
    }
    let holds = |oracle: &BTreeMap<Vec<u8>, Vec<u8>>| {
        for (key, value) in oracle {
            assert!(*keyspace.get(key).unwrap().unwrap() == **value);
            let mut read = Vec::new();
            let mut reader = keyspace.get_stream(key).unwrap().unwrap();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == *value);
        }
        let forward: BTreeMap<_, _> = keyspace.iter().unwrap().map(Result::unwrap).collect();
        let backward: BTreeMap<_, _> = keyspace.iter().unwrap().rev().map(Result::unwrap).collect();
        assert!(forward == *oracle && backward == *oracle);
    };
    for round in 0..6 {
        let snapshot = (round % 2 == 0).then(|| db.snapshot());
        for number in (round % 3..30).step_by(3) {
            let more = random.bytes(40);
            keyspace.merge(&key(number), &more).unwrap();
            oracle.get_mut(&key(number)).unwrap().extend(more);
        }
        holds(&oracle);
        db.flush().unwrap();
        holds(&oracle);
        db.settle().unwrap();
        holds(&oracle);
        assert_eq!(db.check(&mut |_, _| {}).unwrap().findings, []);
        drop(snapshot);
    }
    db.settle().unwrap();
    let live: usize = oracle.values().map(Vec::len).sum();
    assert!(value_bytes(&*vfs) * 10 <= live as u64 * 13, "{} for {live}", value_bytes(&*vfs));
    keyspace.delete_range(&key(5), &key(25)).unwrap();
    oracle.retain(|known, _| *known < key(5) || key(25) <= *known);
    db.settle().unwrap();
    holds(&oracle);
    let live: usize = oracle.values().map(Vec::len).sum();
    assert!(value_bytes(&*vfs) * 10 <= live as u64 * 13, "{} for {live}", value_bytes(&*vfs));
}

/// A keyspace that lags holds the log back, with pointers whose files went long ago.
#[test]
fn a_log_may_point_into_files_that_went() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, keyspace) = open(&environment);
    let lagging = db.keyspace("lagging").unwrap();
    lagging.put(b"k", b"v").unwrap();
    keyspace.put_stream(b"film", 3000, std::io::repeat(1)).unwrap();
    let mut random = Random::new(1);
    while db.stats().flushes == 0 {
        keyspace.put(b"film", &random.bytes(1000)).unwrap();
        environment.step();
    }
    while environment.step() {}
    assert_eq!(db.stats().memtables_frozen, 0);
    drop((keyspace, lagging));
    db.close().unwrap();
    let report = check(&environment, STORE, &mut |_, _| {}).unwrap();
    assert_eq!(report.findings, []);
    let (db, keyspace) = open(&environment);
    assert_eq!(keyspace.get(b"film").unwrap().unwrap().len(), 1000);
    assert_eq!(db.keyspace("lagging").unwrap().get(b"k").unwrap().unwrap(), b"v");
}

/// A merge of tables that is named table by table may itself make values that stand apart.
#[test]
fn values_that_grow_beyond_the_threshold_in_a_merge_of_tables_stand_apart() {
    for left_off_after in 1..12 {
        let vfs = Arc::new(MemoryVfs::new());
        let environment = stepped(&vfs);
        let options =
            Options { table_bytes_max: 4 << 10, compression: Compression::None, ..options() };
        let named = KeyspaceOptions { merge: Some("append".into()), ..KeyspaceOptions::default() };
        let db = Db::open(&environment, STORE, options.clone()).unwrap();
        let keyspace = db.keyspace_with("lists", &named).unwrap();
        let mut oracle = BTreeMap::new();
        for round in 0..4 {
            for number in 0..200 {
                let more = Random::new(round * 1000 + number).bytes(20);
                keyspace.merge(&key(number), &more).unwrap();
                let list: &mut Vec<u8> = oracle.entry(key(number)).or_default();
                list.extend(more);
            }
            db.flush().unwrap();
        }
        for _ in 0..left_off_after {
            environment.step();
        }
        drop(keyspace);
        db.close().unwrap();
        let report = check(&environment, STORE, &mut |_, _| {}).unwrap();
        assert_eq!(report.findings, [], "left off after {left_off_after}");
        let db = Db::open(&environment, STORE, options).unwrap();
        let keyspace = db.keyspace_with("lists", &named).unwrap();
        let found: BTreeMap<_, _> = keyspace.iter().unwrap().map(Result::unwrap).collect();
        assert!(found == oracle, "left off after {left_off_after}");
        db.settle().unwrap();
        assert!(!files(&*vfs, "values-").is_empty());
        let found: BTreeMap<_, _> = keyspace.iter().unwrap().map(Result::unwrap).collect();
        assert!(found == oracle, "left off after {left_off_after}, and settled");
    }
}
