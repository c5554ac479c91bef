//! What a check says of stores that are sound, and of every kind of damage.

use std::{path::Path, sync::Arc};

use olivine_engine::{CheckReport, Db, Error, Options, Severity, check};
use olivine_vfs::{MemoryVfs, Open, Random, Vfs};

use crate::scene::{STORE, files, fill, small, stepped};

/// A closed store with tables on several levels and a log.
fn store() -> Arc<MemoryVfs> {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let options = Options { value_apart_bytes_min: 1000, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let mut random = Random::new(7);
    for number in 0..3000_u32 {
        // Nothing that compresses, so that the levels fill.
        let value: Vec<u8> = (0..5).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        keyspace.put(&number.to_be_bytes(), &value).unwrap();
    }
    for number in (0..3000_u32).step_by(7) {
        keyspace.delete(&number.to_be_bytes()).unwrap();
    }
    db.settle().unwrap();
    fill(&db, "b", 40);
    db.flush().unwrap();
    let large = db.keyspace("c").unwrap();
    for number in 0..10_u8 {
        large.put(&[number], &[number; 1500]).unwrap();
    }
    db.flush().unwrap();
    fill(&db, "b", 10);
    db.close().unwrap();
    vfs
}

fn checked(vfs: &Arc<MemoryVfs>) -> CheckReport {
    check(&stepped(vfs), STORE, &mut |_, _| {}).unwrap()
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(STORE).join(name)
}

fn len(vfs: &MemoryVfs, name: &str) -> u64 {
    vfs.open(&path(name), Open::Read).unwrap().len().unwrap()
}

fn flip(vfs: &MemoryVfs, name: &str, offset: u64) {
    let file = vfs.open(&path(name), Open::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, offset).unwrap();
    file.write_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[test]
fn a_sound_store_has_no_finding_and_is_counted_whole() {
    let vfs = store();
    let (mut last, mut whole) = (0, 0);
    let report = check(&stepped(&vfs), STORE, &mut |done, total| {
        assert!(last <= done && done <= total, "{last} {done} {total}");
        (last, whole) = (done, total);
    })
    .unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_sound());
    assert!(last != 0 && last <= whole);
    assert_eq!(report.keyspaces, 3);
    let db = Db::open(&stepped(&Arc::new(vfs.image())), STORE, small()).unwrap();
    assert!(db.stats().level_tables.iter().filter(|tables| **tables != 0).count() >= 2);
    drop(db);
    assert_eq!(report.tables as usize, files(&*vfs, "table-").len());
    assert!(10 <= report.log_records);
    assert!(2500 <= report.entries && report.entries < 3500, "{report:?}");
    // Checking changed nothing, so it is as sound the second time.
    assert_eq!(checked(&vfs), report);
}

/// One byte that is not what was written is found, wherever it stands. Room of the log that was never
/// used proves nothing, so it is left out.
#[test]
fn every_flipped_byte_is_found() {
    let vfs = store();
    let mut tried = 0;
    for name in files(&*vfs, "") {
        let bytes = match name.split('-').next().unwrap() {
            "LOCK" | "spare" | "draft" => continue,
            // Up to the clean end.
            "log" => len(&vfs, &name).min(900),
            _ => len(&vfs, &name),
        };
        let step = (bytes / 40).max(1);
        // The header of a value file is for people and tools.
        let first = if name.starts_with("values-") { 32 } else { 0 };
        for offset in (first..bytes).step_by(step as usize) {
            let image = Arc::new(vfs.image());
            flip(&image, &name, offset);
            let report = match check(&stepped(&image), STORE, &mut |_, _| {}) {
                Ok(report) => report,
                // The first line of CURRENT tells of another format.
                Err(Error::Format { .. } | Error::Unusable { .. }) => continue,
                Err(error) => panic!("{name} at {offset}: {error}"),
            };
            let finding = report.findings.first();
            let finding = finding.unwrap_or_else(|| panic!("{name} at {offset} of {bytes}"));
            assert_eq!(finding.path.parent(), Some(Path::new(STORE)), "{finding:?}");
            // At the end of a log and of a manifest it is what a crash may leave, and is noted.
            let may_end = name.starts_with("log-") || name.starts_with("manifest-");
            assert!(!report.is_sound() || may_end, "{name} at {offset} of {bytes}: {finding:?}");
            tried += 1;
        }
    }
    assert!(500 < tried, "only {tried} places were tried");
}

#[test]
fn a_missing_and_a_cut_file_are_found_by_name() {
    let vfs = store();
    for name in files(&*vfs, "table-").into_iter().chain(["CURRENT".into()]) {
        let image = Arc::new(vfs.image());
        image.remove_file(&path(&name)).unwrap();
        let report = checked(&image);
        assert!(report.findings.iter().any(|finding| finding.path == path(&name)), "{report:?}");
        assert!(!report.is_sound());

        let image = Arc::new(vfs.image());
        let cut = len(&image, &name) / 2;
        image.open(&path(&name), Open::Write).unwrap().set_len(cut).unwrap();
        let report = checked(&image);
        assert!(report.findings.iter().any(|finding| finding.path == path(&name)), "{report:?}");
        assert!(!report.is_sound());
    }
}

#[test]
fn files_that_nobody_names_are_told_and_are_no_damage() {
    let vfs = store();
    for name in ["table-000000000999", "manifest-000000000099", "CURRENT.next", "letter.txt"] {
        vfs.open(&path(name), Open::Create).unwrap().write_at(b"x", 0).unwrap();
    }
    let report = checked(&vfs);
    assert!(report.is_sound());
    let orphans = report.findings.iter().filter(|finding| finding.severity == Severity::Orphan);
    assert_eq!(orphans.count(), 4, "{report:?}");
    assert_eq!(files(&*vfs, "letter").len(), 1, "nothing is removed");
}

#[test]
fn what_is_no_store_or_open_elsewhere_is_refused() {
    let vfs = store();
    let environment = stepped(&vfs);
    let nothing = |path: &str| check(&environment, path, &mut |_, _| {}).unwrap_err();
    assert!(matches!(nothing("/nowhere"), Error::Unusable { .. }));
    assert!(matches!(nothing("/"), Error::Unusable { .. }));
    assert!(matches!(nothing("/store/CURRENT"), Error::Unusable { .. }));
    let db = Db::open(&environment, STORE, small()).unwrap();
    assert!(matches!(nothing(STORE), Error::Locked { .. }));
    db.close().unwrap();
}

#[test]
fn a_store_that_serves_checks_itself() {
    let vfs = store();
    let environment = stepped(&vfs);
    let options = Options { create_if_missing: false, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    fill(&db, "d", 500);
    let report = db.check(&mut |_, _| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.keyspaces, 4);
    let table = files(&*vfs, "table-").remove(0);
    flip(&vfs, &table, len(&vfs, &table) / 3);
    let report = db.check(&mut |_, _| {}).unwrap();
    assert_eq!(report.damages, 1, "{report:?}");
    assert_eq!(report.findings[0].path, path(&table));
}
