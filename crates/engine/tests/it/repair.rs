//! Stores that are damaged in every kind of file, repaired, and compared with what was written.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use olivine_engine::{
    Db, Depth, Detail, Environment, Loss, Options, RepairReport, check, inspect, repair,
};
use olivine_vfs::{CrashingVfs, MemoryVfs, Open, Phase, Random, Survival, Vfs};

use crate::scene::{STORE, files, small, stepped};

pub(crate) type Contents = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// A closed store with tables on several levels, deleted ranges and a log, and what is in it.
fn store() -> (Arc<MemoryVfs>, Contents) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, apart()).unwrap();
    let mut random = Random::new(11);
    let mut value =
        move || -> Vec<u8> { (0..4).flat_map(|_| random.next_u64().to_le_bytes()).collect() };
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    for number in 0..2500_u32 {
        a.put(&number.to_be_bytes(), &value()).unwrap();
    }
    for number in (0..2500_u32).step_by(9) {
        a.delete(&number.to_be_bytes()).unwrap();
    }
    a.delete_range(&300_u32.to_be_bytes(), &340_u32.to_be_bytes()).unwrap();
    db.settle().unwrap();
    for number in (0..2500_u32).step_by(5) {
        a.put(&number.to_be_bytes(), &value()).unwrap();
    }
    a.delete_range(&800_u32.to_be_bytes(), &820_u32.to_be_bytes()).unwrap();
    for number in 0..100_u32 {
        b.put(&number.to_be_bytes(), &value()).unwrap();
    }
    db.flush().unwrap();
    // No merge is left off: of one, the tables alone do not tell how far it came.
    while environment.step() {}
    for number in 0..30_u32 {
        b.put(&(50 + number).to_be_bytes(), &value()).unwrap();
        a.put(&(2400 + number).to_be_bytes(), &value()).unwrap();
    }
    db.keyspace("empty").unwrap();
    fill_apart(&db, 0..20);
    db.flush().unwrap();
    let contents = contents(&db);
    db.close().unwrap();
    (vfs, contents)
}

/// Small stores in which larger values stand apart.
fn apart() -> Options {
    Options { value_apart_bytes_min: 1000, ..small() }
}

fn fill_apart(db: &Db, numbers: std::ops::Range<u8>) {
    let keyspace = db.keyspace("c").unwrap();
    for number in numbers {
        keyspace.put(&[number], &[number; 1500]).unwrap();
    }
}

pub(crate) fn contents(db: &Db) -> Contents {
    let mut contents = Contents::new();
    for name in db.keyspaces() {
        for entry in db.find_keyspace(&name).unwrap().iter().unwrap() {
            let (key, value) = entry.unwrap();
            contents.insert((name.clone(), key), value);
        }
    }
    contents
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(STORE).join(name)
}

pub(crate) fn bytes_of(vfs: &dyn Vfs, path: &Path) -> Vec<u8> {
    let file = vfs.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

pub(crate) fn is_sound(environment: &Environment) -> bool {
    check(environment, STORE, &mut |_, _| {}).is_ok_and(|report| report.is_sound())
}

/// Repairs, checks and opens; what is not lost must read as it was written, and what is lost reads at
/// worst as it once was.
#[track_caller]
pub(crate) fn repaired(
    environment: &Environment,
    written: &Contents,
    lost: &[Loss],
    what: &str,
) -> RepairReport {
    let report = repair(environment, STORE, false, &mut |_, _| {});
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = check(environment, STORE, &mut |_, _| {}).unwrap();
    assert!(found.is_sound(), "{what}: {report:#?}\n{found:#?}");
    let db =
        Db::open(environment, STORE, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = contents(&db);
    let all: Vec<&Loss> = report.losses.iter().chain(lost).collect();
    for place @ (keyspace, key) in written.keys().chain(found.keys()) {
        if !all.iter().any(|loss| loss.concerns(keyspace, key)) {
            let (written, found) = (written.get(place), found.get(place));
            assert_eq!(written, found, "{what}: {place:?} is not reported: {report:#?}");
        }
    }
    // The store goes on: writes are newer than everything that was found.
    let keyspace = db.keyspace("a").unwrap();
    keyspace.put(&7_u32.to_be_bytes(), b"new").unwrap();
    db.settle().unwrap();
    assert_eq!(keyspace.get(&7_u32.to_be_bytes()).unwrap().as_deref(), Some(&b"new"[..]), "{what}");
    db.close().unwrap();
    assert!(is_sound(environment), "{what}");
    report
}

/// What can happen to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    Flip(u64),
    Zeros(u64),
    Cut(u64),
    Gone,
}

pub(crate) fn harm(vfs: &MemoryVfs, name: &str, harm: Harm) {
    let file = || vfs.open(&path(name), Open::Write).unwrap();
    match harm {
        Harm::Flip(at) => {
            let mut byte = [0];
            file().read_at(&mut byte, at).unwrap();
            file().write_at(&[byte[0] ^ 0x20], at).unwrap();
        }
        Harm::Zeros(at) => {
            let room = file().len().unwrap() - at;
            file().write_at(&vec![0; room.min(700) as usize], at).unwrap();
        }
        Harm::Cut(at) => file().set_len(at).unwrap(),
        Harm::Gone => vfs.remove_file(&path(name)).unwrap(),
    }
}

fn harms(bytes: u64, places: u64) -> Vec<Harm> {
    let at = |nth: u64| nth * bytes / places;
    let mut harms: Vec<Harm> = (0..places).map(|nth| Harm::Flip(at(nth))).collect();
    harms.extend([Harm::Flip(bytes - 1), Harm::Flip(bytes.saturating_sub(100))]);
    harms.extend([1, places / 2, places - 1].map(|nth| Harm::Zeros(at(nth))));
    harms.extend([0, 1, places / 2, places - 1].map(|nth| Harm::Cut(at(nth))));
    harms.push(Harm::Gone);
    harms
}

/// Harms a copy of the store, repairs it, and hands the report on.
fn each_harm(prefix: &str, places: u64, visit: impl FnMut(&str, Harm, &RepairReport)) {
    let (vfs, written) = store();
    each_harm_to(&vfs, &written, prefix, places, visit);
}

pub(crate) fn each_harm_to(
    vfs: &Arc<MemoryVfs>,
    written: &Contents,
    prefix: &str,
    places: u64,
    mut visit: impl FnMut(&str, Harm, &RepairReport),
) {
    let mut repairs = 0;
    for name in files(&**vfs, prefix) {
        let bytes = (bytes_of(&**vfs, &path(&name)).len() as u64).min(40_000);
        for one in harms(bytes, places) {
            let image = Arc::new(vfs.image());
            harm(&image, &name, one);
            let environment = stepped(&image);
            if is_sound(&environment) {
                continue;
            }
            let before = files(&*image, "");
            let planned = repair(&environment, STORE, true, &mut |_, _| {}).unwrap();
            assert!(planned.needed && !planned.done, "{name} {one:?}");
            assert_eq!(files(&*image, ""), before, "a dry run changes nothing");
            let report = repaired(&environment, written, &[], &format!("{name} {one:?}"));
            assert!(report.done);
            assert_eq!(planned.losses, report.losses, "{name} {one:?}");
            assert_eq!(planned.entries_salvaged, report.entries_salvaged, "{name} {one:?}");
            visit(&name, one, &report);
            repairs += 1;
        }
    }
    assert!(repairs != 0, "nothing was damaged");
}

/// A table is damaged in its data, filter, index, properties and footer, cut, or gone: the rest of it
/// is salvaged, and the range that is lost is a small one.
#[test]
fn of_a_damaged_table_the_readable_rest_is_kept() {
    let mut small_losses = 0;
    each_harm("table-", 11, |name, harm, report| {
        if matches!(harm, Harm::Flip(_)) {
            assert!(report.losses.len() <= 1, "{name} {harm:?}: {report:#?}");
            small_losses += usize::from(report.losses.len() == 1);
            // Of a table with one block nothing may be left.
            let tiny = report.losses.iter().any(|loss| loss.keyspace.as_deref() == Some("c"));
            assert!(report.entries_salvaged != 0 || tiny, "{name} {harm:?}");
            assert!(report.losses.iter().all(|loss| loss.from.is_some() && loss.to.is_some()));
        }
        let moved = report.moved.iter().any(|path| path.ends_with(name));
        assert!(moved || matches!(harm, Harm::Gone), "{name} {harm:?}: {report:#?}");
    });
    assert!(small_losses != 0);
}

/// Where keyspaces and levels were is told by the tables, so nothing is lost with a manifest.
#[test]
fn a_damaged_manifest_is_made_again() {
    each_harm("manifest-", 9, |name, harm, report| {
        assert_eq!(report.losses, [], "{name} {harm:?}");
    });
}

#[test]
fn a_damaged_current_is_made_again() {
    each_harm("CURRENT", 5, |name, harm, report| {
        assert_eq!(report.losses, [], "{name} {harm:?}");
        assert_eq!(report.entries_salvaged, 0, "the manifest is there: {name} {harm:?}");
    });
}

#[test]
fn of_a_damaged_log_every_whole_record_is_kept() {
    let mut salvaged = 0;
    each_harm("log-", 40, |name, harm, report| {
        salvaged += report.records_salvaged;
        assert!(report.losses.iter().all(|loss| loss.keyspace.is_none()), "{name} {harm:?}");
    });
    assert!(salvaged != 0);
}

/// A closed store in the midst of a compaction: of some tables only a part shows any more.
fn cut_store() -> (Arc<MemoryVfs>, Contents) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let mut random = Random::new(5);
    for round in 1.. {
        assert!(round < 1000, "no table was ever cut");
        for _ in 0..100 {
            let key = (random.next_u64() as u32 % 3000).to_be_bytes();
            if random.next_u64().is_multiple_of(4) {
                keyspace.delete(&key).unwrap();
            } else {
                let value: Vec<u8> = (0..5).flat_map(|_| random.next_u64().to_le_bytes()).collect();
                keyspace.put(&key, &value).unwrap();
            }
        }
        environment.step();
        if 30 < round && is_cut(&environment, &vfs) {
            break;
        }
    }
    let contents = contents(&db);
    drop(keyspace);
    db.close().unwrap();
    assert!(is_cut(&environment, &vfs), "closing ends no compaction");
    (vfs, contents)
}

/// Whether the last of the edits that say something of tables cuts one.
fn is_cut(environment: &Environment, vfs: &MemoryVfs) -> bool {
    let manifest = files(vfs, "manifest-").remove(0);
    let mut last = "";
    inspect(environment, path(&manifest), Depth::default(), &mut |fact| {
        if ["cut table", "add table", "remove table"].contains(&fact.what) && last != "cut table" {
            last = fact.what;
        }
        // One change alone says where the log is durable, and nothing of tables.
        if fact.what == "edit" && !fact.details.contains(&("changes", Detail::Number(1))) {
            last = "";
        }
    })
    .unwrap();
    last == "cut table"
}

/// What does not show any more of a cut table does not come back, whichever file is damaged.
#[test]
fn what_a_cut_hides_stays_hidden() {
    let (vfs, written) = cut_store();
    for (prefix, places) in [("table-", 4), ("manifest-", 12)] {
        each_harm_to(&vfs, &written, prefix, places, |name, harm, report| {
            if matches!(harm, Harm::Flip(_)) && prefix == "table-" {
                assert!(report.losses.len() <= 1, "{name} {harm:?}: {report:#?}");
            }
        });
    }
}

/// Values that stand apart are lost one by one, and the others are kept.
#[test]
fn of_a_damaged_value_file_the_readable_values_are_kept() {
    each_harm("values-", 9, |name, harm, report| {
        let one = |loss: &Loss| loss.keyspace.as_deref() == Some("c") && loss.from == loss.to;
        assert!(report.losses.iter().all(one), "{name} {harm:?}: {report:#?}");
        assert!(!report.losses.is_empty() && report.losses.len() <= 20, "{name} {harm:?}");
    });
}

/// Everything that says what a store consists of is gone, and all of it is found.
#[test]
fn tables_alone_make_a_store() {
    let (vfs, written) = store();
    for name in ["CURRENT", "manifest-"] {
        vfs.remove_file(&path(&files(&*vfs, name)[0])).unwrap();
    }
    let report = repaired(&stepped(&vfs), &written, &[], "no manifest");
    assert_eq!(report.losses, []);
}

#[test]
fn a_sound_store_is_left_as_it_is() {
    let (vfs, _) = store();
    let before: Vec<_> = files(&*vfs, "").iter().map(|name| bytes_of(&*vfs, &path(name))).collect();
    let report = repair(&stepped(&vfs), STORE, false, &mut |_, _| {}).unwrap();
    assert_eq!(report, RepairReport::default());
    let after: Vec<_> = files(&*vfs, "").iter().map(|name| bytes_of(&*vfs, &path(name))).collect();
    assert_eq!(before, after);
}

/// Whenever the power goes, the next repair finds everything that the first one had.
#[test]
fn a_repair_that_is_cut_short_can_be_done_again() {
    let (vfs, written) = store();
    let table = files(&*vfs, "table-").remove(0);
    for (name, one) in [
        (table.as_str(), Harm::Flip(700)),
        (&files(&*vfs, "manifest-")[0], Harm::Gone),
        (&files(&*vfs, "log-")[0], Harm::Zeros(300)),
    ] {
        let image = Arc::new(vfs.image());
        harm(&image, name, one);
        let disk = CrashingVfs::new();
        disk.create_dir(Path::new(STORE)).unwrap();
        for name in files(&*image, "").iter().filter(|name| *name != "LOCK") {
            let file = disk.open(&path(name), Open::Create).unwrap();
            file.write_at(&bytes_of(&*image, &path(name)), 0).unwrap();
            file.sync().unwrap();
        }
        disk.sync_dir(Path::new(STORE)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let images: Arc<Mutex<Vec<CrashingVfs>>> = Arc::default();
        let taken = Arc::clone(&images);
        disk.on_event(move |event, disk| {
            if event.phase == Phase::Before {
                let seed = taken.lock().unwrap().len() as u64;
                let survival = Survival::ALL[seed as usize % Survival::ALL.len()];
                taken.lock().unwrap().push(disk.crash(survival, seed));
            }
        });
        let disk = Arc::new(disk);
        let whole = repair(&stepped(&disk), STORE, false, &mut |_, _| {}).unwrap();
        disk.clear_on_event();
        let images = std::mem::take(&mut *images.lock().unwrap());
        assert!(10 < images.len());
        for (nth, found) in images.into_iter().enumerate() {
            let environment = stepped(&Arc::new(found));
            let what = format!("{name} {one:?}, cut at call {nth}");
            repaired(&environment, &written, &whole.losses, &what);
        }
    }
}
