//! Keyspaces whose last level is compressed by zstd.

use olivine_engine::{CompressionLast, KeyspaceOptions};

fn packed() -> KeyspaceOptions {
    KeyspaceOptions { compression_last: CompressionLast::Zstd, ..KeyspaceOptions::default() }
}

/// Without the code for it, neither a keyspace nor a table is begun that would need it.
#[cfg(not(feature = "zstd"))]
#[test]
fn a_build_without_zstd_names_the_feature() {
    let db = crate::scene::Scene::new().open();
    let error = db.keyspace_with("packed", &packed()).unwrap_err().to_string();
    assert!(error.contains("cargo feature `zstd`"), "{error}");
}

#[cfg(feature = "zstd")]
mod with_zstd {
    use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

    use olivine_engine::{
        Db, Depth, Detail, Environment, EnvironmentOptions, Keyspace, Options, Parts, Work, check,
        inspect, repair,
    };
    use olivine_vfs::{Clock, ManualClock, MemoryVfs, Open, RealClock, RealVfs, Vfs};
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::{
        repair::{bytes_of, contents, path},
        scene::{STORE, files, small},
    };

    /// With the memory that training takes.
    fn stepped(vfs: &Arc<MemoryVfs>) -> Environment {
        let vfs = Arc::clone(vfs) as Arc<dyn Vfs>;
        let parts =
            Parts { vfs, clock: Arc::new(ManualClock::new()), work: Work::Stepped { seed: 1 } };
        Environment::with(parts, EnvironmentOptions { memory_bytes: 256 << 20 }).unwrap()
    }

    fn options() -> Options {
        Options { table_bytes_max: 64 << 10, ..small() }
    }

    /// Rows in no order.
    fn fill(keyspace: &Keyspace, count: u32) {
        for n in (0..count).map(|n| n * 1237 % count) {
            keyspace.put(format!("user:{n:08}").as_bytes(), &value(n)).unwrap();
        }
    }

    fn value(n: u32) -> Vec<u8> {
        let word = xxh3_64(&n.to_be_bytes());
        let (city, score) = (word % 500, word >> 44);
        format!("{{\"city\":\"city-{city:04}\",\"score\":{score},\"active\":true}}").into_bytes()
    }

    /// What the parts of a table's file are, and the bytes of each.
    fn parts(vfs: &Arc<MemoryVfs>, name: &str) -> BTreeMap<String, u64> {
        let mut parts = BTreeMap::new();
        inspect(&stepped(vfs), path(name), Depth { blocks: true, entries: true }, &mut |fact| {
            assert_eq!(fact.damage, None, "{name}");
            if let [(_, Detail::Text(part)), (_, Detail::Number(bytes))] = fact.details.as_slice()
                && fact.what == "part"
            {
                parts.insert(part.clone(), *bytes);
            }
        })
        .unwrap();
        parts
    }

    /// A closed store with a keyspace of the ordinary kind, or the other.
    fn store(with: &KeyspaceOptions, count: u32) -> Arc<MemoryVfs> {
        let vfs = Arc::new(MemoryVfs::new());
        let db = Db::open(&stepped(&vfs), STORE, options()).unwrap();
        fill(&db.keyspace_with("rows", with).unwrap(), count);
        db.settle().unwrap();
        db.close().unwrap();
        vfs
    }

    fn table_bytes(vfs: &Arc<MemoryVfs>) -> usize {
        files(&**vfs, "table-").iter().map(|name| bytes_of(&**vfs, &path(name)).len()).sum()
    }

    #[test]
    fn the_last_level_takes_less_room_and_reads_the_same() {
        let (ordinary, vfs) = (store(&KeyspaceOptions::default(), 4000), store(&packed(), 4000));
        let (less, more) = (table_bytes(&vfs), table_bytes(&ordinary));
        assert!(less < more * 4 / 5, "{less} bytes, {more} by lz4");
        let tables = files(&*vfs, "table-");
        assert!(1 < tables.len());
        assert!(tables.iter().all(|name| parts(&vfs, name).contains_key("dictionary")));
        assert!(check(&stepped(&vfs), STORE, &mut |_, _| {}).unwrap().is_sound());
        let db = Db::open(&stepped(&vfs), STORE, options()).unwrap();
        let rows = db.find_keyspace("rows").unwrap();
        assert_eq!(rows.options().compression_last, CompressionLast::Zstd);
        let other = Db::open(&stepped(&ordinary), STORE, options()).unwrap();
        let expected = contents(&other);
        assert_eq!(contents(&db), expected);
        for ((_, key), value) in &expected {
            assert_eq!(rows.get(key).unwrap().as_deref(), Some(&value[..]));
        }
    }

    #[test]
    fn upper_levels_are_as_they_were() {
        let vfs = Arc::new(MemoryVfs::new());
        let db = Db::open(&stepped(&vfs), STORE, options()).unwrap();
        let rows = db.keyspace_with("rows", &packed()).unwrap();
        rows.put(b"a", &[b'a'; 3000]).unwrap();
        db.flush().unwrap();
        let tables = files(&*vfs, "table-");
        assert!(tables.iter().all(|name| !parts(&vfs, name).contains_key("dictionary")));
    }

    /// Whichever byte of a dictionary is damaged, the repaired store has all that the damaged one had.
    #[test]
    fn a_store_with_damaged_dictionaries_is_repaired_whole() {
        let vfs = store(&packed(), 4000);
        let expected = contents(&Db::open(&stepped(&vfs), STORE, options()).unwrap());
        for name in files(&*vfs, "table-") {
            let parts = parts(&vfs, &name);
            let at = parts["header"] + parts["data blocks"] + parts["filter blocks"];
            let file = vfs.open(&path(&name), Open::Write).unwrap();
            file.write_at(b"damaged", at + parts["dictionary"] / 2).unwrap();
        }
        let environment = stepped(&vfs);
        assert!(!check(&environment, STORE, &mut |_, _| {}).unwrap().is_sound());
        repair(&environment, STORE, false, &mut |_, _| {}).unwrap();
        let db = Db::open(&environment, STORE, options()).unwrap();
        assert_eq!(contents(&db), expected);
    }

    /// Files of a store with such tables, made when they were first written. zstd may choose other bytes one
    /// day, so what is written today need not be the same; it must be read. `REWRITE=1` makes them anew.
    #[test]
    fn what_was_written_when_the_format_was_frozen_is_read() {
        let folder =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/format-1/zstd");
        let made = store(&packed(), 600);
        if std::env::var_os("REWRITE").is_some() {
            for name in files(&*made, "").iter().filter(|name| *name != "LOCK") {
                RealVfs.remove_file(&folder.join(name)).ok();
                let file = RealVfs.open(&folder.join(name), Open::Create).unwrap();
                file.write_at(&bytes_of(&*made, &path(name)), 0).unwrap();
            }
            return;
        }
        let vfs = Arc::new(MemoryVfs::new());
        vfs.create_dir(STORE.as_ref()).unwrap();
        for entry in RealVfs.list(&folder).unwrap() {
            let file = vfs.open(&path(entry.name.to_str().unwrap()), Open::Create).unwrap();
            file.write_at(&bytes_of(&RealVfs, &folder.join(&entry.name)), 0).unwrap();
        }
        let tables = files(&*vfs, "table-");
        assert!(tables.iter().any(|name| parts(&vfs, name).contains_key("dictionary")));
        assert!(check(&stepped(&vfs), STORE, &mut |_, _| {}).unwrap().is_sound());
        let db = Db::open(&stepped(&vfs), STORE, options()).unwrap();
        assert_eq!(contents(&db), contents(&Db::open(&stepped(&made), STORE, options()).unwrap()));
    }

    /// Bytes on disk, and the time to write, to get what is not in the cache, and to walk, of 300,000 rows:
    /// `cargo nextest run -p olivine-engine --features zstd --run-ignored only --no-capture last_levels_compared`.
    #[test]
    #[ignore = "measures"]
    fn last_levels_compared() {
        const ROWS: u32 = 300_000;
        const GETS: u32 = 100_000;
        let clock = RealClock::new();
        println!("last level  bytes/row  write ns/row  get ns  walk ns/row");
        for last in [CompressionLast::Same, CompressionLast::Zstd] {
            let vfs = Arc::new(MemoryVfs::new());
            let with = KeyspaceOptions { compression_last: last, ..KeyspaceOptions::default() };
            let since = |began, count: u32| {
                clock.now().saturating_sub(began).as_nanos() as f64 / f64::from(count)
            };
            let began = clock.now();
            // Several flushes: a table that is alone needs no merge, and is what it was flushed as.
            let in_parts =
                Options { memtable_entries_max: Some(u64::from(ROWS / 6)), ..Options::default() };
            let db = Db::open(&stepped(&vfs), STORE, in_parts).unwrap();
            fill(&db.keyspace_with("rows", &with).unwrap(), ROWS);
            db.settle().unwrap();
            db.close().unwrap();
            let write = since(began, ROWS);
            let bytes = table_bytes(&vfs) as f64 / f64::from(ROWS);
            // A cache of a tenth or so.
            let db = Db::open(&crate::scene::stepped(&vfs), STORE, Options::default()).unwrap();
            let rows = db.find_keyspace("rows").unwrap();
            let began = clock.now();
            for n in (0..GETS).map(|n| n * 7919 % ROWS) {
                assert!(rows.get(format!("user:{n:08}").as_bytes()).unwrap().is_some());
            }
            let get = since(began, GETS);
            let began = clock.now();
            assert_eq!(rows.iter().unwrap().count(), ROWS as usize);
            let walk = since(began, ROWS);
            println!("{:10}  {bytes:9.1}  {write:12.0}  {get:6.0}  {walk:11.0}", last.to_string());
        }
    }
}
