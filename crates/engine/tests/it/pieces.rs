//! Merges of tables that point to values apart, installed piece by piece: after each piece every count is
//! exact, and whoever opens the store there goes on from it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use olivine_engine::{Db, Depth, Detail, Environment, Options, Snapshot, inspect};
use olivine_vfs::{MemoryVfs, Random};

use crate::scene::{STORE, files, small, stepped};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> Options {
    Options { value_apart_bytes_min: 30, ..small() }
}

/// Cuts of tables that point to values, among the edits of the manifest.
fn cuts(environment: &Environment, vfs: &MemoryVfs) -> usize {
    let manifest = Path::new(STORE).join(files(vfs, "manifest-").remove(0));
    let mut cuts = 0;
    inspect(environment, manifest, Depth::default(), &mut |fact| {
        let points = |(name, value): &(&str, Detail)| {
            *name == "value_bytes_used" && *value != Detail::Number(0)
        };
        cuts += usize::from(fact.what == "cut table" && fact.details.iter().any(points));
    })
    .unwrap();
    cuts
}

/// Writes some keys of many: values apart and others, some of them several times or deleted.
fn write(db: &Db, map: &mut Map, random: &mut Random) {
    let keyspace = db.keyspace("a").unwrap();
    for _ in 0..120 {
        let key = format!("{:05}", random.below(2500)).into_bytes();
        if random.chance(1, 6) {
            keyspace.delete(&key).unwrap();
            map.remove(&key);
        } else {
            let len = random.between(1, 120) as usize;
            let value = random.bytes(len);
            keyspace.put(&key, &value).unwrap();
            map.insert(key, value);
        }
    }
}

fn assert_reads(db: &Db, map: &Map, view: Option<&(Snapshot, Map)>) {
    let keyspace = db.keyspace("a").unwrap();
    assert!(keyspace.iter().unwrap().map(Result::unwrap).eq(map.clone()));
    if let Some((snapshot, then)) = view {
        assert!(snapshot.iter(&keyspace).unwrap().map(Result::unwrap).eq(then.clone()));
    }
    let report = db.check(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{report:#?}");
}

#[test]
fn tables_that_point_to_values_are_given_up_piece_by_piece() {
    for seed in 0..2 {
        let mut random = Random::new(seed);
        let vfs = Arc::new(MemoryVfs::new());
        let environment = stepped(&vfs);
        let mut db = Db::open(&environment, STORE, options()).unwrap();
        let (mut map, mut view) = (Map::new(), None);
        let mut cut = 0;
        for round in 0..45 {
            write(&db, &mut map, &mut random);
            match random.below(6) {
                0 => view = Some((db.snapshot(), map.clone())),
                1 => view = None,
                _ => {}
            }
            for _ in 0..random.below(3) {
                environment.step();
                cut += cuts(&environment, &vfs);
            }
            assert_reads(&db, &map, view.as_ref());
            if round % 17 == 16 {
                // Opened where a merge was left off.
                view = None;
                db.close().unwrap();
                db = Db::open(&environment, STORE, options()).unwrap();
            }
        }
        assert!(cut != 0, "seed {seed}: no table was ever cut");
        drop(view);
        db.settle().unwrap();
        assert_reads(&db, &map, None);
        let stats = db.stats();
        let pointed: u64 =
            map.values().map(|value| value.len() as u64).filter(|len| 30 <= *len).sum();
        assert!(pointed <= stats.value_bytes_used, "{stats:?}");
        assert_eq!(stats.table_entries as usize, map.len(), "everything is settled");
    }
}
