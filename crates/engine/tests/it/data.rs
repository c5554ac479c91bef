//! Ranges deleted, values merged, values that expire, filters: what users see of them.

use std::sync::Arc;

use olivine_engine::{Batch, CompactionFilter, Error, KeyspaceOptions, MergeOperator, Options};

use crate::scene::{Scene, keys_of, small};

fn merging(operator: &str) -> KeyspaceOptions {
    KeyspaceOptions { merge: Some(operator.into()), ..KeyspaceOptions::default() }
}

#[test]
fn a_range_is_gone_wherever_its_keys_stand_and_later_puts_show() {
    let scene = Scene::new();
    let db = scene.open();
    let fruit = db.keyspace("fruit").unwrap();
    for (round, key) in [b"a", b"b", b"c", b"d"].into_iter().enumerate() {
        fruit.put(key, b"old").unwrap();
        if round % 2 == 0 {
            db.flush().unwrap();
        }
    }
    let before = db.snapshot();
    fruit.delete_range(b"b", b"d").unwrap();
    fruit.put(b"c", b"new").unwrap();
    for _ in 0..2 {
        assert_eq!(keys_of(fruit.iter().unwrap()), ["a", "c", "d"]);
        assert_eq!(keys_of(fruit.iter().unwrap().rev()), ["d", "c", "a"]);
        assert_eq!(fruit.get(b"b").unwrap(), None);
        assert_eq!(fruit.get(b"c").unwrap().unwrap(), b"new"[..]);
        assert_eq!(keys_of(before.iter(&fruit).unwrap()), ["a", "b", "c", "d"]);
        db.settle().unwrap();
    }
    drop(before);
    drop((fruit, db));
    let db = scene.open();
    let fruit = db.keyspace("fruit").unwrap();
    assert_eq!(keys_of(fruit.iter().unwrap()), ["a", "c", "d"]);
}

#[test]
fn tables_that_a_range_hides_go_unread() {
    let scene = Scene::new();
    let db = scene.open_with(Options { table_bytes_max: 4096, ..small() });
    let fruit = db.keyspace("fruit").unwrap();
    for number in 0..3000 {
        fruit.put(format!("key{number:05}").as_bytes(), &[7; 50]).unwrap();
    }
    db.settle().unwrap();
    let tables: usize = db.stats().level_tables.iter().sum();
    assert!(6 < tables, "{tables} tables");
    fruit.delete_range(b"key00100", b"key02900").unwrap();
    db.settle().unwrap();
    let stats = db.stats();
    assert!(tables as u64 / 2 < stats.tables_dropped, "{stats:?}");
    assert_eq!(fruit.iter().unwrap().count(), 200);
}

#[test]
fn a_range_is_refused_backwards_and_nothing_when_empty() {
    let scene = Scene::new();
    let db = scene.open();
    let fruit = db.keyspace("fruit").unwrap();
    fruit.put(b"a", b"1").unwrap();
    let refused = fruit.delete_range(b"b", b"a").unwrap_err();
    assert!(matches!(refused, Error::Invalid { field: "end", .. }), "{refused}");
    fruit.delete_range(b"a", b"a").unwrap();
    assert!(fruit.contains(b"a").unwrap());
}

#[test]
fn numbers_add_up_over_memtable_tables_and_reopening() {
    let scene = Scene::new();
    let db = scene.open();
    let counters = db.keyspace_with("counters", &merging("add-i64")).unwrap();
    let value = || {
        let value = counters.get(b"hits").unwrap().map(|value| value.to_vec());
        value.map(|value| i64::from_le_bytes(value.try_into().unwrap()))
    };
    for round in 1..=10i64 {
        counters.merge(b"hits", &round.to_le_bytes()).unwrap();
        if round % 3 == 0 {
            db.flush().unwrap();
        }
    }
    assert_eq!(value(), Some(55));
    let walked: Vec<_> = counters.iter().unwrap().map(|entry| entry.unwrap().1).collect();
    assert_eq!(walked, [55i64.to_le_bytes()]);
    let walked: Vec<_> = counters.iter().unwrap().rev().map(|entry| entry.unwrap().1).collect();
    assert_eq!(walked, [55i64.to_le_bytes()]);
    db.settle().unwrap();
    assert_eq!(value(), Some(55));
    counters.delete(b"hits").unwrap();
    assert_eq!(value(), None);
    counters.merge(b"hits", &4i64.to_le_bytes()).unwrap();
    assert_eq!(value(), Some(4));
    counters.put(b"hits", &10i64.to_le_bytes()).unwrap();
    counters.merge(b"hits", &1i64.to_le_bytes()).unwrap();
    db.settle().unwrap();
    assert_eq!(value(), Some(11));
    drop((counters, db));
    let db = scene.open();
    let counters = db.keyspace("counters").unwrap();
    assert_eq!(counters.get(b"hits").unwrap().unwrap(), &11i64.to_le_bytes());
}

#[test]
fn what_an_operator_cannot_fold_is_told_and_lost_nowhere() {
    let scene = Scene::new();
    let db = scene.open();
    let counters = db.keyspace_with("counters", &merging("add-i64")).unwrap();
    let refused = counters.merge(b"hits", b"three").unwrap_err().to_string();
    assert!(refused.contains("add-i64 takes 8 bytes"), "{refused}");
    counters.put(b"hits", b"text").unwrap();
    counters.merge(b"hits", &1i64.to_le_bytes()).unwrap();
    for _ in 0..2 {
        let refused = counters.get(b"hits").unwrap_err().to_string();
        assert!(refused.contains("\"hits\" cannot be folded"), "{refused}");
        db.settle().unwrap();
    }
    counters.put(b"hits", &1i64.to_le_bytes()).unwrap();
    assert_eq!(counters.get(b"hits").unwrap().unwrap(), &1i64.to_le_bytes());
    let plain = db.keyspace("plain").unwrap();
    let refused = plain.merge(b"hits", b"").unwrap_err().to_string();
    assert!(refused.contains("has no merge operator"), "{refused}");
}

#[derive(Debug)]
struct Longest(&'static str);

impl MergeOperator for Longest {
    fn name(&self) -> &str {
        self.0
    }

    fn fold(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String> {
        let all = base.into_iter().chain(operands.iter().copied());
        Ok(all.max_by_key(|value| value.len()).unwrap_or_default().to_vec())
    }
}

#[test]
fn an_operator_of_ones_own_must_be_there_again() {
    let scene = Scene::new();
    let given = |name| Options { merge_operators: vec![Arc::new(Longest(name))], ..small() };
    let db = scene.open_with(given("longest"));
    let words = db.keyspace_with("words", &merging("longest")).unwrap();
    for word in ["apple", "fig", "banana", "kiwi"] {
        words.merge(b"word", word.as_bytes()).unwrap();
        db.flush().unwrap();
    }
    assert_eq!(words.get(b"word").unwrap().unwrap(), b"banana");
    let changed = db.keyspace_with("words", &merging("append")).unwrap_err().to_string();
    assert!(changed.contains("was made with"), "{changed}");
    drop((words, db));
    for options in [small(), given("longest-2")] {
        let refused = scene.try_open(options).unwrap_err().to_string();
        assert!(
            refused.contains("\"longest\"") && refused.contains("merge_operators"),
            "{refused}"
        );
    }
    let db = scene.open_with(given("longest"));
    assert_eq!(db.keyspace("words").unwrap().get(b"word").unwrap().unwrap(), b"banana");
    let unknown = db.keyspace_with("more", &merging("shortest")).unwrap_err().to_string();
    assert!(unknown.contains("\"shortest\""), "{unknown}");
}

#[test]
fn a_value_shows_until_its_time() {
    let scene = Scene::new();
    let db = scene.open();
    let sessions = db.keyspace("sessions").unwrap();
    sessions.put_with_expiry(b"a", b"first", 100).unwrap();
    sessions.put_with_expiry(b"b", b"second", 200).unwrap();
    sessions.put(b"c", b"for ever").unwrap();
    for _ in 0..2 {
        assert_eq!(keys_of(sessions.iter().unwrap()), ["a", "b", "c"]);
        assert_eq!(sessions.at(99).get(b"a").unwrap().unwrap(), b"first"[..]);
        assert_eq!(sessions.at(100).get(b"a").unwrap(), None);
        assert_eq!(keys_of(sessions.at(100).iter().unwrap()), ["b", "c"]);
        assert_eq!(keys_of(sessions.at(500).iter().unwrap().rev()), ["c"]);
        let entries = sessions.at(100).iter().unwrap().map(Result::unwrap);
        assert_eq!(entries.map(|(_, value)| value).next().unwrap(), b"second");
        db.settle().unwrap();
    }
}

#[test]
fn the_mark_lets_compaction_drop_and_never_goes_back() {
    let scene = Scene::new();
    let db = scene.open();
    let sessions = db.keyspace("sessions").unwrap();
    for number in 0..100u64 {
        let key = format!("s{number:03}");
        sessions.put_with_expiry(key.as_bytes(), &[1; 100], 1 + number).unwrap();
    }
    db.settle().unwrap();
    assert_eq!(db.stats().table_entries, 100);
    assert_eq!(sessions.advance_expiry_mark(50).unwrap(), 50);
    assert_eq!(sessions.advance_expiry_mark(20).unwrap(), 50);
    // Reads by an earlier time go by the mark.
    assert_eq!(sessions.at(1).iter().unwrap().count(), 50);
    sessions.put(b"s", b"so that there is something to merge").unwrap();
    sessions.put(b"t", b"and the other end").unwrap();
    db.settle().unwrap();
    drop((sessions, db));
    let db = scene.open();
    let sessions = db.keyspace("sessions").unwrap();
    assert_eq!(sessions.expiry_mark(), 50);
    assert_eq!(sessions.iter().unwrap().count(), 52);
}

#[test]
fn a_keyspace_with_a_ttl_wants_to_know_the_time() {
    let scene = Scene::new();
    let db = scene.open();
    let options = KeyspaceOptions { ttl: Some(60), ..KeyspaceOptions::default() };
    let cache = db.keyspace_with("cache", &options).unwrap();
    let refused = cache.put(b"page", b"text").unwrap_err().to_string();
    assert!(refused.contains("Keyspace::at"), "{refused}");
    cache.at(1000).put(b"page", b"text").unwrap();
    assert!(cache.at(1059).contains(b"page").unwrap());
    assert!(!cache.at(1060).contains(b"page").unwrap());
}

#[derive(Debug)]
struct NoTemporary;

impl CompactionFilter for NoTemporary {
    fn name(&self) -> &'static str {
        "no-temporary"
    }

    fn wants(&self, key: &[u8], _value: &[u8]) -> bool {
        !key.starts_with(b"tmp/")
    }
}

#[test]
fn compaction_drops_what_a_filter_does_not_want() {
    let scene = Scene::new();
    let options = Options {
        compaction_filters: vec![Arc::new(NoTemporary)],
        level0_tables_max: 1,
        ..small()
    };
    let db = scene.open_with(options);
    let filtered =
        KeyspaceOptions { filter: Some("no-temporary".into()), ..KeyspaceOptions::default() };
    let files = db.keyspace_with("files", &filtered).unwrap();
    let mut batch = Batch::new();
    for number in 0..50 {
        batch.put(&files, format!("tmp/{number}").as_bytes(), b"x").unwrap();
        batch.put(&files, format!("var/{number}").as_bytes(), b"x").unwrap();
    }
    db.write(batch).unwrap();
    db.flush().unwrap();
    files.put(b"var/last", b"x").unwrap();
    files.put(b"tmp/last", b"x").unwrap();
    db.settle().unwrap();
    assert_eq!(files.iter().unwrap().count(), 51);
    drop((files, db));
    let refused = scene.try_open(small()).unwrap_err().to_string();
    assert!(refused.contains("no-temporary"), "{refused}");
}

#[test]
fn the_size_of_a_range_follows_its_entries() {
    let scene = Scene::new();
    let db = scene.open();
    let fruit = db.keyspace("fruit").unwrap();
    let size = |from: u32, to: u32| {
        let key = |number: u32| format!("key{number:05}");
        fruit.size_of_range(key(from)..key(to)).unwrap()
    };
    let mut random = olivine_vfs::Random::new(1);
    for number in 0..5000 {
        let value: Vec<u8> = (0..50).map(|_| random.next_u64() as u8).collect();
        fruit.put(format!("key{number:05}").as_bytes(), &value).unwrap();
    }
    assert_eq!(size(6000, 7000), 0);
    db.settle().unwrap();
    let all = fruit.size_of_range::<Vec<u8>>(..).unwrap();
    assert!(5000 * 50 < all, "{all}");
    let tenth = size(1000, 1500);
    assert!((all / 12..all / 8).contains(&tenth), "{tenth} of {all}");
    assert!(size(1000, 1001) < 4096);
    assert_eq!(size(6000, 7000), 0);
}
