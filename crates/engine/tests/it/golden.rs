//! Every call to the disk of open, write, flush and compaction, as text to be read in review: the
//! order of syncs and renames is what durability rests on.

use std::{path::PathBuf, sync::Arc};

use olivine_engine::{Db, Environment, EnvironmentOptions, Options, Parts, Work};
use olivine_vfs::{ManualClock, MemoryVfs, RecordingVfs, Vfs};

use crate::scene::{STORE, small};

/// Compares with the file of this name in `testdata/io`; `REWRITE=1` writes it instead.
fn matches_golden(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/io").join(name);
    let disk = olivine_vfs::RealVfs::new();
    if std::env::var_os("REWRITE").is_some() {
        disk.remove_file(&path).ok();
        let file = disk.open(&path, olivine_vfs::Open::Create).unwrap();
        file.write_at(found.as_bytes(), 0).unwrap();
        return;
    }
    let file = disk.open(&path, olivine_vfs::Open::Read).unwrap();
    let mut expected = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut expected, 0).unwrap();
    let expected = String::from_utf8(expected).unwrap();
    assert!(expected == found, "{name} differs; REWRITE=1 shows how:\n{found}");
}

#[test]
fn the_calls_of_open_write_flush_compact_and_close() {
    let disk = Arc::new(RecordingVfs::new(Arc::new(MemoryVfs::new()), STORE));
    let vfs: Arc<dyn Vfs> = Arc::<RecordingVfs>::clone(&disk);
    let work = Work::Stepped { seed: 3 };
    let parts = Parts { vfs, clock: Arc::new(ManualClock::new()), work };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 4 << 20 }).unwrap();
    let options = Options { level0_tables_max: 2, ..small() };

    disk.note("open a new store");
    let db = Db::open(&environment, STORE, options.clone()).unwrap();
    disk.note("create a keyspace");
    let keyspace = db.keyspace("a").unwrap();
    disk.note("put, synced");
    keyspace.put(b"apple", b"red").unwrap();
    disk.note("flush");
    db.flush().unwrap();
    disk.note("put again, flush, compact");
    keyspace.put(b"apple", b"green").unwrap();
    db.settle().unwrap();
    disk.note("drop the keyspace");
    db.drop_keyspace(&keyspace).unwrap();
    drop(keyspace);
    while environment.step() {}
    disk.note("close");
    db.close().unwrap();
    disk.note("open again");
    let db = Db::open(&environment, STORE, options).unwrap();
    disk.note("end");
    drop(db);
    let log = disk.take();
    matches_golden("life_of_a_store", log.split("# end").next().unwrap());
}
