//! What opening does with directories that are not as they should be: a clear error, nothing lost.

use std::{path::Path, sync::Arc};

use olivine_engine::{Db, Environment, EnvironmentOptions, Error, Options, Parts, Work};
use olivine_vfs::{MemoryVfs, Open, RealClock, Vfs};

use crate::scene::{STORE, files, fill, small, stepped};

/// A closed store with tables and a log, on a disk of its own.
fn store() -> (Arc<MemoryVfs>, Environment) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    fill(&db, "a", 2000);
    db.settle().unwrap();
    fill(&db, "b", 10);
    db.close().unwrap();
    (vfs, environment)
}

/// Everything in the store's directory, to see that nothing changed.
fn contents(vfs: &dyn Vfs) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let file = vfs.open(&Path::new(STORE).join(&name), Open::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        (name, bytes)
    };
    files(vfs, "").into_iter().filter(|name| name != "LOCK").map(read).collect()
}

/// Opening fails, says `parts`, and changes nothing.
fn refuses(vfs: &Arc<MemoryVfs>, environment: &Environment, parts: &[&str]) -> Error {
    let before = contents(&**vfs);
    let error = Db::open(environment, STORE, small()).unwrap_err();
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    assert!(before == contents(&**vfs), "opening changed the directory");
    error
}

fn write(vfs: &dyn Vfs, name: &str, bytes: &[u8]) {
    let path = Path::new(STORE).join(name);
    vfs.remove_file(&path).ok();
    vfs.open(&path, Open::Create).unwrap().write_at(bytes, 0).unwrap();
}

fn remove(vfs: &dyn Vfs, name: &str) {
    vfs.remove_file(&Path::new(STORE).join(name)).unwrap();
}

#[test]
fn a_second_opening_is_refused_until_the_first_ends() {
    let (_, environment) = store();
    let db = Db::open(&environment, STORE, small()).unwrap();
    let error = Db::open(&environment, STORE, small()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(db);
    Db::open(&environment, STORE, small()).unwrap();
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let vfs = Arc::new(MemoryVfs::new());
    vfs.create_dir(Path::new(STORE)).unwrap();
    write(&*vfs, "photo.jpg", b"not ours");
    let environment = stepped(&vfs);
    let error = refuses(&vfs, &environment, &["photo.jpg", "empty or new directory"]);
    assert!(matches!(error, Error::Unusable { .. }));
    assert_eq!(files(&*vfs, ""), ["photo.jpg"], "not even a lock file was left");
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let vfs = Arc::new(MemoryVfs::new());
    vfs.open(Path::new(STORE), Open::Create).unwrap();
    let error = Db::open(&stepped(&vfs), STORE, small()).unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
}

#[test]
fn a_missing_store_is_not_made_when_it_must_not_be() {
    let vfs = Arc::new(MemoryVfs::new());
    let options = Options { create_if_missing: false, ..small() };
    let error = Db::open(&stepped(&vfs), STORE, options).unwrap_err();
    assert!(error.to_string().contains("create_if_missing"), "{error}");
    assert_eq!(vfs.entry(Path::new(STORE)).unwrap(), None);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (vfs, environment) = store();
    write(&*vfs, "CURRENT", b"olivine store, format 7\nwhatever comes then\n");
    let error = refuses(&vfs, &environment, &["format 7", "up to 1"]);
    assert!(matches!(error, Error::Format { found: 7, newest: 1, .. }));
}

#[test]
fn a_missing_table_is_named() {
    let (vfs, environment) = store();
    let table = files(&*vfs, "table-").remove(0);
    remove(&*vfs, &table);
    let error = refuses(&vfs, &environment, &[&table, "missing"]);
    assert!(matches!(error, Error::Corrupt { .. }));
}

#[test]
fn an_empty_table_is_named() {
    let (vfs, environment) = store();
    let table = files(&*vfs, "table-").remove(0);
    write(&*vfs, &table, b"");
    refuses(&vfs, &environment, &[&table, "0 bytes long"]);
}

#[test]
fn a_missing_current_manifest_or_log_is_told() {
    for prefix in ["CURRENT", "manifest-", "log-"] {
        let (vfs, environment) = store();
        let name = files(&*vfs, prefix).remove(0);
        remove(&*vfs, &name);
        let error = refuses(&vfs, &environment, &["missing"]);
        assert!(matches!(error, Error::Corrupt { .. }), "{prefix}: {error}");
    }
}

#[test]
fn a_table_that_nobody_names_goes_and_a_stranger_stays() {
    let (vfs, environment) = store();
    write(&*vfs, "table-000000999999", b"left by a crash");
    write(&*vfs, "notes.txt", b"somebody's");
    let db = Db::open(&environment, STORE, small()).unwrap();
    assert_eq!(db.keyspace("a").unwrap().iter().unwrap().count(), 2000);
    assert_eq!(db.keyspace("b").unwrap().iter().unwrap().count(), 10);
    assert!(files(&*vfs, "table-000000999999").is_empty());
    assert_eq!(files(&*vfs, "notes"), ["notes.txt"]);
}

#[test]
fn a_clean_end_is_seen_and_an_abrupt_one_too() {
    let (vfs, environment) = store();
    let db = Db::open(&environment, STORE, small()).unwrap();
    assert!(db.recovery().clean);
    let copy = Arc::new(vfs.image());
    let db = Db::open(&stepped(&copy), STORE, small()).unwrap();
    assert!(!db.recovery().clean);
    assert_eq!(db.keyspace("a").unwrap().iter().unwrap().count(), 2000);
}

#[test]
fn opening_again_and_again_leaves_no_segments_behind() {
    let (vfs, environment) = store();
    for _ in 0..8 {
        let db = Db::open(&environment, STORE, small()).unwrap();
        db.flush().unwrap();
        while environment.step() {}
        db.close().unwrap();
    }
    assert_eq!(files(&*vfs, "log-").len(), 1);
    assert_eq!(files(&*vfs, "manifest-").len(), 1);
    assert!(files(&*vfs, "spare-").is_empty() && files(&*vfs, "draft-").is_empty());
}

/// Dropping the last handle closes the store although threads work behind it at that moment.
#[test]
fn the_last_handle_dropped_closes_the_store() {
    let vfs = Arc::new(MemoryVfs::new());
    let parts = Parts {
        vfs: Arc::<MemoryVfs>::clone(&vfs),
        clock: Arc::new(RealClock::new()),
        work: Work::Threads,
    };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 16 << 20 }).unwrap();
    for round in 0..20u32 {
        let db = Db::open(&environment, STORE, small()).unwrap();
        assert!(db.recovery().clean, "round {round}");
        fill(&db, "a", 500);
        let keyspace = db.keyspace("a").unwrap();
        drop(db);
        keyspace.put(b"still", b"open").unwrap();
        drop(keyspace);
        // Nothing works behind a closed store: somebody else may have it by now.
        let closed = files(&*vfs, "");
        environment.clock().sleep(std::time::Duration::from_millis(2));
        assert_eq!(files(&*vfs, ""), closed, "round {round}");
    }
}

#[test]
fn options_out_of_bounds_are_refused_before_anything_is_touched() {
    let vfs = Arc::new(MemoryVfs::new());
    let options = Options { segment_bytes: 3, ..small() };
    let error = Db::open(&stepped(&vfs), STORE, options).unwrap_err();
    assert!(error.to_string().contains("`segment_bytes` is 3"), "{error}");
    assert_eq!(vfs.entry(Path::new(STORE)).unwrap(), None);
}
