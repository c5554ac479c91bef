//! Disks that fail: the log stops at the first failure, and nothing it confirmed is lost.

use olivine_vfs::{CrashingVfs, FailingVfs, Fault, Kind, Survival};

use super::*;

/// What came of a run on a failing disk.
#[derive(Default)]
struct Outcome {
    appended: Vec<Appended>,
    durable: usize,
    oldest: u64,
    errors: usize,
}

fn failing_home(vfs: &Arc<FailingVfs>) -> LogDir {
    let vfs: Arc<dyn Vfs> = vfs.clone();
    LogDir { vfs, path: PathBuf::from("/log"), store: STORE }
}

/// Appends, syncs, splits, releases and closes, whatever fails on the way; after the first failure that
/// is not a full disk, every call must answer `Poisoned`.
fn drive(vfs: &Arc<FailingVfs>) -> Result<Outcome> {
    let mut writer = LogWriter::create(failing_home(vfs), SMALL, 1)?;
    let mut outcome = Outcome { oldest: writer.current_segment(), ..Outcome::default() };
    let mut draw = Random::new(5);
    let mut latched = false;
    for step in 0..120 {
        let len = if step % 17 == 16 { 2500 } else { draw.index(150) };
        let (payload, first) = (draw.bytes(len), writer.next_seq());
        let appended = writer.append(first, 1, &[&payload], payload_hash(&[&payload]));
        if note(&appended, &mut latched, &mut outcome.errors) {
            outcome.appended.push((first, 1, payload));
        } else {
            assert_eq!(writer.next_seq(), first, "a refused record takes no number");
        }
        if step % 4 == 3 {
            let synced = writer.begin_sync().and_then(|job| job.run());
            if note(&synced, &mut latched, &mut outcome.errors) {
                writer.finish_sync(synced.unwrap());
                outcome.durable = outcome.appended.len();
            }
        }
        if step % 3 == 2 {
            note(&writer.pool().step(), &mut latched, &mut outcome.errors);
        }
    }
    note(&writer.close(), &mut latched, &mut outcome.errors);
    Ok(outcome)
}

fn note<T>(result: &Result<T>, latched: &mut bool, errors: &mut usize) -> bool {
    match result {
        Ok(_) => {
            assert!(!*latched, "something went well after a failure");
            true
        }
        Err(Error::Full { .. }) => {
            *errors += 1;
            false
        }
        Err(Error::Poisoned { .. }) => {
            assert!(*latched, "poisoned by nothing");
            false
        }
        Err(Error::Io { .. }) => {
            assert!(!*latched, "a failure that is not called poisoned after the first");
            *latched = true;
            *errors += 1;
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Every call of every kind fails once, in every way.
#[test]
fn every_single_fault() {
    let faults = [
        Fault::Eio,
        Fault::Enospc,
        Fault::ShortWrite { kept: 0 },
        Fault::ShortWrite { kept: 13 },
        Fault::ShortWrite { kept: 100 },
        Fault::SyncLost,
    ];
    let kinds = [
        Kind::Create,
        Kind::Open,
        Kind::Write,
        Kind::Sync,
        Kind::Rename,
        Kind::SyncDir,
        Kind::SetLen,
    ];
    let mut tried = 0;
    for kind in kinds {
        for fault in faults {
            for index in 0.. {
                let disk = CrashingVfs::new();
                disk.create_dir(&PathBuf::from("/log")).unwrap();
                disk.sync_dir(&PathBuf::from("/")).unwrap();
                let vfs = Arc::new(FailingVfs::over_crashing(&disk));
                vfs.fail(kind, index, fault);
                let outcome = drive(&vfs);
                if vfs.failed() == 0 {
                    break;
                }
                tried += 1;
                let what = format!("{fault:?} at {kind:?} {index}");
                // Where nothing was begun, nothing can be lost.
                if let Ok(outcome) = outcome {
                    survives(&disk, &outcome, &what);
                }
            }
        }
    }
    assert!(800 < tried, "only {tried} faults");
}

fn survives(disk: &CrashingVfs, outcome: &Outcome, what: &str) {
    let crashed = Survival::ALL.map(|survival| disk.crash(survival, 1));
    // The first one is what another process finds when only this one died.
    for disk in std::iter::once(disk.clone()).chain(crashed) {
        let home = LogDir { vfs: Arc::new(disk), path: PathBuf::from("/log"), store: STORE };
        let proof = Proof { oldest: outcome.oldest, durable: None };
        let mut found = Vec::new();
        let recovered = recover(&home, proof, &mut |record| {
            found.push((record.first_seq, record.count, record.payload.to_vec()));
            Ok(())
        });
        assert!(recovered.is_ok(), "{what}: {recovered:?}");
        assert!(outcome.appended.starts_with(&found), "{what}");
        assert!(outcome.durable <= found.len(), "{what}: a durable record is lost");
    }
}

/// A sync fails, and the disk drops what it should have written; the page cache still shows it to the
/// next process, and a sync there answers that all is well. What recovery returns must not hang on
/// that.
#[test]
fn recovered_records_are_written_again() {
    let disk = CrashingVfs::new();
    disk.create_dir(&PathBuf::from("/log")).unwrap();
    disk.sync_dir(&PathBuf::from("/")).unwrap();
    let home = LogDir { vfs: Arc::new(disk.clone()), path: PathBuf::from("/log"), store: STORE };
    let mut writer = LogWriter::create(home.clone(), SMALL, 1).unwrap();
    for seq in 1..30 {
        let payload = [seq as u8; 100];
        writer.append(seq, 1, &[&payload], payload_hash(&[&payload])).unwrap();
    }
    disk.lose_next_sync();
    assert!(writer.begin_sync().unwrap().run().is_err());
    assert!(matches!(writer.hand_over(), Err(Error::Poisoned { .. })));
    drop(writer);
    let proof = Proof { oldest: 1, durable: None };
    let mut before = Vec::new();
    let recovered = recover(&home, proof, &mut |record| {
        before.push(record.payload.to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!(before.len(), 29);
    let next = recovered.next_seq.unwrap();
    LogWriter::create_after(home, SMALL, recovered, next).unwrap();
    let disk = disk.crash(Survival::Nothing, 1);
    let home = LogDir { vfs: Arc::new(disk), path: PathBuf::from("/log"), store: STORE };
    let mut after = Vec::new();
    recover(&home, proof, &mut |record| {
        after.push(record.payload.to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!(before, after);
}

/// A full disk refuses the record that needs a new segment, and takes it again when there is room.
#[test]
fn a_full_disk_is_no_failure() {
    let memory = MemoryVfs::new();
    memory.create_dir(&PathBuf::from("/log")).unwrap();
    let vfs = Arc::new(FailingVfs::new(Arc::new(memory)));
    let mut writer = LogWriter::create(failing_home(&vfs), SMALL, 1).unwrap();
    let payload = [7; 5000];
    let hash = payload_hash(&[&payload]);
    writer.append(1, 1, &[b"small"], payload_hash(&[b"small"])).unwrap();
    for made in 0..5 {
        // The disk fills up after `made` more segments.
        vfs.fail_from(Kind::Create, vfs.calls(Kind::Create) + made, Fault::Enospc);
        let before = (writer.position(), writer.pending_bytes(), writer.next_seq());
        let refused = writer.append(2, 1, &[&payload], hash);
        if made == 0 {
            assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
        }
        vfs.clear();
        if refused.is_ok() {
            break;
        }
        assert_eq!(before, (writer.position(), writer.pending_bytes(), writer.next_seq()));
    }
    assert_eq!(writer.next_seq(), 3);
    writer.hand_over().unwrap();
    let mut found = Vec::new();
    recover(&failing_home(&vfs), Proof { oldest: 1, durable: None }, &mut |record| {
        found.push(record.payload.len());
        Ok(())
    })
    .unwrap();
    assert_eq!(found, [5, 5000]);
}
