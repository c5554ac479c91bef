//! Keyspaces whose log is off, and the positions that their owner applies.

use std::{collections::BTreeMap, sync::Arc};

use olivine_engine::{
    Backups, Batch, Db, Durability, Environment, Error, Keyspace, KeyspaceOptions, check,
};
use olivine_vfs::{CrashingVfs, MemoryVfs, Random, Survival};

use crate::scene::{STORE, files, fill, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn unlogged() -> KeyspaceOptions {
    KeyspaceOptions { unlogged: true, ..KeyspaceOptions::default() }
}

fn open(environment: &Environment) -> (Db, Keyspace) {
    let db = Db::open(environment, STORE, small()).unwrap();
    let rows = db.keyspace_with("rows", &unlogged()).unwrap();
    (db, rows)
}

fn contents(keyspace: &Keyspace) -> Map {
    keyspace.iter().unwrap().map(Result::unwrap).collect()
}

/// Position and durable position of the one range.
fn position(keyspace: &Keyspace) -> (u64, u64) {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    match keyspace.applied_positions().unwrap().as_slice() {
        [] => (0, 0),
        [one] => {
            assert_eq!(one.range, b"range");
            (number(&one.position), one.durable.as_deref().map_or(0, number))
        }
        several => panic!("{several:?}"),
    }
}

fn apply(db: &Db, keyspace: &Keyspace, number: u64, changes: &[(u8, Option<u8>)]) {
    let mut batch = Batch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(keyspace, &[*key], &[*value; 60]).unwrap(),
            None => batch.delete(keyspace, &[*key]).unwrap(),
        }
    }
    batch.applied(keyspace, b"range", &number.to_be_bytes()).unwrap();
    db.write(batch).unwrap();
}

#[test]
fn writes_go_to_no_log_and_a_flush_makes_them_durable_with_their_position() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, rows) = open(&environment);
    let (syncs, log_bytes) = (db.stats().syncs, db.stats().log_bytes);
    for number in 1..=20 {
        apply(&db, &rows, number, &[(number as u8, Some(1))]);
    }
    assert_eq!((db.stats().syncs, db.stats().log_bytes), (syncs, log_bytes));
    assert_eq!(position(&rows), (20, 0));
    db.flush().unwrap();
    assert_eq!(position(&rows), (20, 20));
    let mut batch = Batch::new();
    batch.applied(&rows, b"range", &21_u64.to_be_bytes()).unwrap();
    db.write(batch).unwrap();
    assert_eq!(position(&rows), (21, 20), "a position alone moves on, too");
    db.close().unwrap();
    let (db, rows) = open(&environment);
    assert_eq!((position(&rows), contents(&rows).len()), ((21, 21), 20), "closing flushes");
    let mut batch = Batch::new();
    batch.applied(&rows, b"range", b"").unwrap();
    db.write(batch).unwrap();
    assert_eq!(position(&rows), (0, 0), "an empty position forgets the range");
    drop((db, rows));
    assert!(check(&environment, STORE, &mut |_, _| ()).unwrap().is_sound());
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, rows) = open(&environment);
    let logged = db.keyspace("logged").unwrap();
    let text = |error: Error| error.to_string();
    let mut mixed = Batch::new();
    mixed.put(&logged, b"k", b"v").unwrap();
    let refused = text(mixed.put(&rows, b"k", b"v").unwrap_err());
    assert!(refused.contains("\"rows\" has its log off and \"logged\" has it on"), "{refused}");
    let mut mixed = Batch::new();
    mixed.put(&rows, b"k", b"v").unwrap();
    let refused = text(mixed.put(&logged, b"k", b"v").unwrap_err());
    assert!(refused.contains("\"rows\" has its log off and \"logged\" has it on"), "{refused}");
    assert_eq!(mixed.len(), 1, "nothing was added");
    let refused = text(db.write_with(mixed, Durability::Sync).unwrap_err());
    assert!(refused.contains("a flush makes it durable"), "{refused}");
    let mut batch = Batch::new();
    batch.put(&rows, b"k", b"v").unwrap();
    assert!(text(db.write_ticketed(batch).unwrap_err()).contains("a flush makes it durable"));
    assert!(text(rows.append(b"record").unwrap_err()).contains("takes no appended records"));
    let refused = text(Batch::new().applied(&logged, b"range", b"1").unwrap_err());
    assert!(refused.contains("\"logged\" has its log on"), "{refused}");
    let long = Batch::new().applied(&rows, b"range", &[0; 1025]).unwrap_err();
    assert!(matches!(long, Error::Invalid { field: "position", .. }));
    assert!(contents(&rows).is_empty());
    // Reopened as logged it is another keyspace.
    assert!(db.keyspace_with("rows", &KeyspaceOptions::default()).is_err());
}

/// Whatever a crash leaves: of the keyspace without a log exactly what was applied up to the position
/// that it tells; of the others what they promise.
#[test]
fn after_every_crash_the_effects_are_those_up_to_the_position() {
    for seed in 0..24 {
        let survival = Survival::ALL[(seed % 4) as usize];
        let mut random = Random::new(seed);
        let mut disk = CrashingVfs::new();
        let (mut states, mut reached) = (vec![Map::new()], 0);
        for life in 0..3 {
            let environment = stepped(&Arc::new(disk.clone()));
            let (db, rows) = open(&environment);
            let (found, durable) = position(&rows);
            assert_eq!(found, durable, "seed {seed}, life {life}");
            assert!(reached <= found, "seed {seed}, life {life}: {reached} were flushed");
            assert_eq!(
                contents(&rows),
                states[found as usize],
                "seed {seed}, life {life}, at {found}"
            );
            states.truncate(found as usize + 1);
            let logged = db.keyspace("logged").unwrap();
            let survived = logged.get(b"synced").unwrap().map(|value| value.to_vec());
            let mut synced = survived.unwrap_or_default();
            for _ in 0..random.between(20, 200) {
                let mut state = states.last().unwrap().clone();
                let changes: Vec<_> = (0..random.between(1, 5))
                    .map(|_| {
                        let value = random.chance(3, 4).then(|| random.below(256) as u8);
                        (random.below(40) as u8, value)
                    })
                    .collect();
                for (key, value) in &changes {
                    match value {
                        Some(value) => drop(state.insert(vec![*key], vec![*value; 60])),
                        None => drop(state.remove(&vec![*key])),
                    }
                }
                apply(&db, &rows, states.len() as u64, &changes);
                states.push(state);
                match random.below(30) {
                    0 => db.flush().unwrap(),
                    1 => db.settle().unwrap(),
                    2..6 => drop(environment.step()),
                    6..12 => {
                        synced.push(random.below(256) as u8);
                        logged.put(b"synced", &synced).unwrap();
                    }
                    _ => {}
                }
            }
            reached = position(&rows).1;
            assert_eq!(contents(&rows), *states.last().unwrap());
            let image = disk.crash(survival, random.next_u64());
            let after = stepped(&Arc::new(image.clone()));
            let again = Db::open(&after, STORE, small()).unwrap();
            let found = again.find_keyspace("logged").unwrap().get(b"synced").unwrap();
            assert_eq!(
                found.map(|value| value.to_vec()).unwrap_or_default(),
                synced,
                "seed {seed}"
            );
            drop(again);
            disk = image;
        }
    }
}

#[test]
fn logged_writes_beside_it_keep_their_numbers_and_the_log_gets_no_longer() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, rows) = open(&environment);
    rows.put(b"first", b"x").unwrap();
    let logged = db.keyspace("logged").unwrap();
    let since = db.visible();
    let mut last = since;
    for number in 0..50u8 {
        assert_eq!(rows.put(&[number], b"v").unwrap(), last + 1);
        last = logged.put(&[number], b"v").unwrap();
    }
    let updates: Vec<_> = db.updates_since(since).unwrap().map(Result::unwrap).collect();
    assert_eq!(updates.len(), 50, "what is not logged does not come");
    assert_eq!(updates.last().unwrap().last, last);
    db.sync().unwrap();
    assert_eq!(db.durable(), last);
    fill(&db, "logged", 2000);
    db.flush().unwrap();
    while environment.step() {}
    assert!(files(vfs.as_ref(), "log-").len() < 6, "{:?}", files(vfs.as_ref(), "log-"));
    let stored = db.visible();
    db.close().unwrap();
    let (db, rows) = open(&environment);
    assert!(stored <= db.visible());
    assert!(rows.contains(b"first").unwrap());
    assert!(stored < db.keyspace("logged").unwrap().put(b"k", b"v").unwrap());
}

#[test]
fn copies_have_the_positions_of_their_moment() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, rows) = open(&environment);
    apply(&db, &rows, 1, &[(1, Some(1))]);
    db.flush().unwrap();
    apply(&db, &rows, 2, &[(2, Some(2))]);
    db.checkpoint("/copy").unwrap();
    let backups = Backups::new(&environment, "/backups");
    backups.take(&db, &mut |_| ()).unwrap();
    backups.restore(None, "/restored", &mut |_| ()).unwrap();
    apply(&db, &rows, 3, &[(3, Some(3))]);
    for path in ["/copy", "/restored"] {
        let copy = Db::open(&environment, path, small()).unwrap();
        let rows = copy.keyspace_with("rows", &unlogged()).unwrap();
        assert_eq!((position(&rows), contents(&rows).len()), ((2, 2), 2), "{path}");
    }
}
