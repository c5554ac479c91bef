//! Calls to the disk fail, one after the other, and disks are full.

use olivine_vfs::{CrashingVfs, FailingVfs, Fault, Kind as Call, ManualClock, Survival};

use super::{
    history::{Driver, check_all, check_named, open},
    *,
};

const STEPS: usize = 40;

/// What a run came to: calls of each kind that the history made, those that took room, and what was refused.
struct Ran {
    calls: [u64; Call::ALL.len()],
    growing: u64,
    refused: Vec<Error>,
}

/// Runs a history over a disk that `prepare` makes fail. Whatever was acknowledged is there then, at once, and after
/// a crash in which all is lost that was not synced.
fn run(seed: u64, told: &str, prepare: impl FnOnce(&FailingVfs)) -> Ran {
    let crashing = CrashingVfs::new();
    let disk = Arc::new(FailingVfs::over_crashing(&crashing));
    let clock = Arc::new(ManualClock::new());
    let (volume, _) = open(Arc::clone(&disk) as Arc<dyn Vfs>, &clock).unwrap();
    prepare(&disk);
    let mut driver = Driver::new(volume, Arc::clone(&clock), seed);
    driver.run(STEPS);
    let calls = Call::ALL.map(|kind| disk.calls(kind));
    let growing = disk.growing();
    disk.clear();
    let index = driver.index.lock().unwrap().clone();
    check_named(&driver.volume, &index, told);
    driver.run(5);
    let (index, refused) = (driver.index.lock().unwrap().clone(), driver.refused.clone());
    check_named(&driver.volume, &index, told);
    let left = crashing.crash(Survival::Nothing, seed);
    let (volume, opened) =
        open(Arc::new(left), &clock).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(opened.damaged, [], "{told}");
    check_named(&volume, &index, told);
    check_all(&volume, told);
    drop(driver);
    drop(volume);
    let left = crashing.crash(Survival::Everything, seed);
    let (volume, opened) =
        open(Arc::new(left), &clock).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(opened.damaged, [], "{told}");
    check_named(&volume, &index, told);
    check_all(&volume, told);
    drop(volume);
    Ran { calls, growing, refused }
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    let kinds = [
        (Call::Write, &[Fault::Eio, Fault::HalfWrite][..]),
        (Call::Sync, &[Fault::SyncLost]),
        (Call::Create, &[Fault::Eio, Fault::Enospc]),
        (Call::Rename, &[Fault::Eio]),
        (Call::SyncDir, &[Fault::Eio]),
        (Call::SetLen, &[Fault::Eio]),
        (Call::RemoveFile, &[Fault::Eio]),
        (Call::Read, &[Fault::Eio]),
        (Call::Open, &[Fault::Eio]),
    ];
    for (kind, faults) in kinds {
        for fault in faults {
            // Those before are of the opening.
            let mut first = 0;
            let ran = run(1, "nothing fails", |disk| first = disk.calls(kind));
            let calls = ran.calls[kind as usize] - first;
            let step = (calls / 25).max(1);
            for index in (first..first + calls).step_by(step as usize) {
                let told = format!("{kind:?} {index} of {calls}: {fault:?}");
                let Ran { refused, .. } = run(1, &told, |disk| disk.fail(kind, index, *fault));
                for error in refused {
                    assert!(
                        matches!(error, Error::Io { .. } | Error::Full { .. }),
                        "{told}: {error}"
                    );
                }
            }
        }
    }
}

/// From some call on there is no room. What was stored is read, and once there is room again the volume goes on.
#[test]
fn a_full_disk_refuses_and_goes_on_by_itself() {
    let mut first = 0;
    let ran = run(2, "room", |disk| first = disk.growing());
    for index in (first..ran.growing).step_by(9) {
        let told = format!("no room from {index} on");
        let Ran { refused, .. } = run(2, &told, |disk| disk.no_room_from(index));
        let mut full = 0;
        for error in refused {
            assert!(matches!(error, Error::Full { .. }), "{told}: {error:?}");
            full += 1;
        }
        assert!(0 < full, "{told}");
    }
}
