//! Records that go to the log only, and what becomes of them.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use olivine_engine::{
    Backups, Batch, Db, Durability, Environment, Error, Event, Keyspace, Options, Result, SeqNo,
    check,
};
use olivine_vfs::{CrashingVfs, MemoryVfs, Survival};

use crate::scene::{STORE, files, fill, small, stepped};

type Records = Vec<(String, SeqNo, Vec<u8>)>;

fn replayed_at(environment: &Environment, path: &str) -> Result<(Db, Records)> {
    let mut records = Vec::new();
    let db = Db::open_with(environment, path, small(), |_, keyspace, seqno, record| {
        records.push((keyspace.name().to_owned(), seqno, record.to_vec()));
        Ok(())
    })?;
    Ok((db, records))
}

fn replayed(environment: &Environment) -> (Db, Records) {
    replayed_at(environment, STORE).unwrap()
}

fn numbers(records: &Records) -> Vec<SeqNo> {
    records.iter().map(|(_, seqno, _)| *seqno).collect()
}

/// Writes `value` and covers what was appended up to `seqno`.
fn seal(db: &Db, keyspace: &Keyspace, seqno: SeqNo, value: &[u8]) -> Result<SeqNo> {
    let mut batch = Batch::new();
    batch.put(keyspace, b"sealed", value)?;
    batch.applied_to(keyspace, seqno)?;
    db.write(batch)
}

#[test]
fn appended_records_come_again_in_order_until_they_are_covered() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, none) = replayed(&environment);
    assert!(none.is_empty());
    let head = db.keyspace("head").unwrap();
    let first = head.append(b"one").unwrap();
    let mut batch = Batch::new();
    batch.append(&head, b"two").unwrap();
    batch.put(&head, b"beside", b"it").unwrap();
    batch.append(&head, b"three").unwrap();
    let third = db.write(batch).unwrap();
    assert_eq!(third, first + 3);
    assert_eq!(head.iter().unwrap().count(), 1, "no read shows what was appended");
    db.close().unwrap();

    let (db, records) = replayed(&environment);
    let expected: Vec<(SeqNo, &[u8])> =
        vec![(first, b"one"), (first + 1, b"two"), (third, b"three")];
    let found: Vec<_> = records.iter().map(|(_, seqno, record)| (*seqno, &record[..])).collect();
    assert_eq!(found, expected);
    let head = db.keyspace("head").unwrap();
    seal(&db, &head, first + 1, b"one two").unwrap();
    assert_eq!(head.applied_to(), first + 1);
    // Covered by the log alone, and then by the manifest alone.
    db.close().unwrap();
    let (db, records) = replayed(&environment);
    assert_eq!(numbers(&records), [third]);
    db.flush().unwrap();
    fill(&db, "other", 2000);
    db.flush().unwrap();
    db.close().unwrap();
    let (db, records) = replayed(&environment);
    assert_eq!(numbers(&records), [third]);
    let head = db.keyspace("head").unwrap();
    let last = head.append(b"four").unwrap();
    seal(&db, &head, last, b"all").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let (db, records) = replayed(&environment);
    assert!(records.is_empty(), "{records:?}");
    assert_eq!(db.keyspace("head").unwrap().get(b"sealed").unwrap().unwrap(), b"all");
    drop(db);
    let report = check(&environment, STORE, &mut |_, _| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn a_store_opened_plainly_keeps_the_records_and_lets_nobody_cover_them() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, _) = replayed(&environment);
    let first = db.keyspace("head").unwrap().append(b"one").unwrap();
    db.close().unwrap();
    for _ in 0..2 {
        let db = Db::open(&environment, STORE, small()).unwrap();
        let head = db.keyspace("head").unwrap();
        let refused = Batch::new().applied_to(&head, first).unwrap_err().to_string();
        assert!(refused.contains("open the store with `Db::open_with`"), "{refused}");
        fill(&db, "other", 500);
        db.settle().unwrap();
        db.close().unwrap();
    }
    let (db, records) = replayed(&environment);
    assert_eq!(records, [("head".to_owned(), first, b"one".to_vec())]);
    let head = db.keyspace("head").unwrap();
    let beyond = Batch::new().applied_to(&head, db.visible() + 1).unwrap_err();
    assert!(matches!(beyond, Error::Invalid { field: "seqno", .. }));
    Batch::new().applied_to(&head, first).unwrap();
}

#[test]
fn who_replays_may_seal_as_it_goes_and_an_error_of_its_own_loses_nothing() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, _) = replayed(&environment);
    let head = db.keyspace("head").unwrap();
    for number in 0..300u32 {
        head.append(&number.to_be_bytes().repeat(50)).unwrap();
    }
    db.close().unwrap();
    let mut seen = Vec::new();
    let stopped = Db::open_with(&environment, STORE, small(), |db, keyspace, seqno, record| {
        seen.push(record[..4].to_vec());
        let ahead = Batch::new().applied_to(keyspace, seqno + 1);
        assert!(ahead.is_err(), "what was not handed out cannot be covered");
        if seen.len().is_multiple_of(50) {
            seal(db, keyspace, seqno, &record[..4])?;
            db.flush()?;
        }
        if seen.len() == 220 { Err(Error::WouldBlock) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Error::WouldBlock)));
    let (db, records) = replayed(&environment);
    seen.truncate(200);
    seen.extend(records.iter().map(|(_, _, record)| record[..4].to_vec()));
    let expected: Vec<_> = (0..300u32).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(seen, expected);
    let sealed = db.keyspace("head").unwrap().get(b"sealed").unwrap().unwrap();
    assert_eq!(sealed.as_ref(), 199u32.to_be_bytes());
}

/// Appends and seals by turns and dies; what comes again is what no seal that survived covers.
#[test]
fn after_a_crash_the_seal_and_what_comes_again_fit_together() {
    for survival in Survival::ALL {
        for seed in 0..6 {
            let disk = CrashingVfs::new();
            let environment = stepped(&Arc::new(disk.clone()));
            let (db, _) = replayed(&environment);
            let head = db.keyspace("head").unwrap();
            let mut appended = Vec::new();
            for number in 0..40 + 10 * seed {
                let mut batch = Batch::new();
                batch.append(&head, &u64::to_be_bytes(number).repeat(20)).unwrap();
                appended.push(db.write_with(batch, Durability::Os).unwrap());
                if number % 7 == 3 {
                    let covered = appended[appended.len() - 2];
                    seal(&db, &head, covered, &covered.to_be_bytes()).unwrap();
                }
                if number % 11 == 5 {
                    db.flush().unwrap();
                }
            }
            let durable = db.durable();
            let image = Arc::new(disk.crash(survival, seed));
            let (db, records) = replayed(&stepped(&image));
            let head = db.keyspace("head").unwrap();
            let sealed = head.get(b"sealed").unwrap().unwrap();
            let sealed = SeqNo::from_be_bytes(sealed.as_ref().try_into().unwrap());
            let found = numbers(&records);
            let all: Vec<_> = appended.into_iter().filter(|seqno| sealed < *seqno).collect();
            assert!(all.starts_with(&found), "{survival:?} {seed}: sealed {sealed}, {found:?}");
            let least = all.iter().filter(|seqno| **seqno <= durable).count();
            assert!(least <= found.len(), "{survival:?} {seed}: {least} are durable, {found:?}");
        }
    }
}

#[test]
fn an_owner_who_does_not_cover_is_told_and_then_refused_and_then_everybody() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let options = Options { log_bytes_max: 32 << 10, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    db.on_event(move |event| {
        if let Event::LogHeld(held) = event {
            listener.lock().unwrap().push(held.clone());
        }
    });
    let (head, other) = (db.keyspace("head").unwrap(), db.keyspace("other").unwrap());
    let first = head.append(b"first").unwrap();
    let write = |keyspace: &Keyspace, append: bool| {
        let mut batch = Batch::new();
        if append {
            batch.append(keyspace, &[7; 1000]).unwrap();
        } else {
            batch.put(keyspace, b"key", &[7; 1000]).unwrap();
        }
        let written = db.write_with(batch, Durability::Os);
        while environment.step() {}
        written
    };
    let refused = (0..300).find_map(|_| write(&head, true).err()).unwrap();
    assert!(
        matches!(&refused, Error::LogHeld { keyspace, seqno } if keyspace == "head" && *seqno == first)
    );
    let text = refused.to_string();
    assert!(text.contains("\"head\"") && text.contains("applied_to"), "{text}");
    assert_eq!(told.lock().unwrap().len(), 1, "{told:?}");
    assert_eq!(db.health().log_held.unwrap().keyspace, "head");
    let refused = (0..300).find_map(|_| write(&other, false).err()).unwrap();
    assert!(matches!(refused, Error::LogHeld { .. }));
    // The owner covers, and all goes on.
    seal(&db, &head, db.visible(), b"all").unwrap();
    while environment.step() {}
    write(&other, false).unwrap();
    write(&head, true).unwrap();
    assert_eq!(db.health().log_held, None);
}

#[test]
fn dropping_the_keyspace_lets_go_of_the_log() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let options = Options { log_bytes_max: 32 << 10, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let head = db.keyspace("head").unwrap();
    while head.append(&[7; 1000]).is_ok() {}
    let long = files(vfs.as_ref(), "log-").len();
    db.drop_keyspace(&head).unwrap();
    fill(&db, "other", 500);
    db.settle().unwrap();
    assert!(files(vfs.as_ref(), "log-").len() < long);
    assert_eq!(db.health().log_held, None);
}

#[test]
fn a_copy_carries_what_no_batch_covers() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let (db, _) = replayed(&environment);
    let (head, tail) = (db.keyspace("head").unwrap(), db.keyspace("tail").unwrap());
    let covered = head.append(b"covered").unwrap();
    let first = tail.append(b"first").unwrap();
    let second = head.append(b"second").unwrap();
    seal(&db, &head, covered, b"covered").unwrap();
    db.checkpoint("/copy").unwrap();
    let whole = ..=[0xff_u8].as_slice();
    let refused = db.checkpoint_range(&head, whole, "/part").unwrap_err().to_string();
    assert!(refused.contains("appended records that no batch covers"), "{refused}");
    let backups = Backups::new(&environment, "/backups");
    let number = backups.take(&db, &mut |_| ()).unwrap().number;
    backups.restore(Some(number), Path::new("/restored"), &mut |_| ()).unwrap();
    // What comes after the moment is in no copy.
    head.append(b"later").unwrap();
    let expected = vec![
        ("tail".to_owned(), first, b"first".to_vec()),
        ("head".to_owned(), second, b"second".to_vec()),
    ];
    for path in ["/copy", "/restored"] {
        assert!(check(&environment, Path::new(path), &mut |_, _| ()).unwrap().is_sound());
        // Twice: what was handed out and not covered comes again.
        for _ in 0..2 {
            let (copy, records) = replayed_at(&environment, path).unwrap();
            assert_eq!(records, expected, "{path}");
            assert_eq!(copy.keyspaces(), ["head", "tail"]);
            assert!(copy.find_keyspace("").is_none());
            assert_eq!(copy.keyspace("head").unwrap().get(b"sealed").unwrap().unwrap(), b"covered");
            copy.close().unwrap();
        }
        let (copy, _) = replayed_at(&environment, path).unwrap();
        let (head, tail) = (copy.keyspace("head").unwrap(), copy.keyspace("tail").unwrap());
        let third = head.append(b"third").unwrap();
        // A copy of a copy.
        let again = format!("{path}-again");
        copy.checkpoint(&again).unwrap();
        let (_, records) = replayed_at(&environment, &again).unwrap();
        assert_eq!(numbers(&records), [first, second, third]);
        seal(&copy, &head, second, b"second").unwrap();
        seal(&copy, &tail, first, b"first").unwrap();
        copy.close().unwrap();
        let (copy, records) = replayed_at(&environment, path).unwrap();
        assert_eq!(numbers(&records), [third]);
        copy.close().unwrap();
    }
}

/// As long as reading began at the last segment that names a write, it began behind the record here.
#[test]
fn a_record_comes_again_from_a_batch_that_is_longer_than_a_segment() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, _) = replayed(&environment);
    let head = db.keyspace("head").unwrap();
    let mut batch = Batch::new();
    batch.put(&head, b"before", b"it").unwrap();
    batch.append(&head, b"in its midst").unwrap();
    batch.put(&head, b"long", &vec![7; 50_000]).unwrap();
    let last = db.write(batch).unwrap();
    head.append(b"behind it").unwrap();
    db.close().unwrap();
    let (db, records) = replayed(&environment);
    assert_eq!(numbers(&records), [last - 1, last + 1]);
    let since = db.updates_since(last - 2).unwrap().next().unwrap().unwrap();
    assert_eq!((since.first, since.last), (last - 2, last));
}
