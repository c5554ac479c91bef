//! The machine dies between any two calls to the disk, and in the midst of writes.

use std::sync::Mutex;

use olivine_vfs::{CrashingVfs, ManualClock, Phase, Random, Survival};

use super::{
    history::{Driver, Index, check_all, check_named, open},
    *,
};

/// The disk as a crash left it, and what the index named by then.
struct Image {
    disk: CrashingVfs,
    index: Index,
    told: String,
}

/// Takes images of `disk`, one event in `one_in`.
fn images_of(
    disk: &CrashingVfs,
    index: &Arc<Mutex<Index>>,
    seed: u64,
    one_in: u64,
) -> Arc<Mutex<Vec<Image>>> {
    let images = Arc::new(Mutex::new(Vec::new()));
    let mut random = Random::new(seed);
    let (taken, index) = (Arc::clone(&images), Arc::clone(index));
    disk.on_event(move |event, disk| {
        if event.phase == Phase::After || !random.chance(1, one_in) {
            return;
        }
        // What is named now was acknowledged before the image is taken.
        let named = index.lock().unwrap().clone();
        for survival in Survival::ALL {
            let told = format!("seed {seed}, {event:?}, {survival:?}");
            let image =
                Image { disk: disk.crash(survival, random.next_u64()), index: named.clone(), told };
            taken.lock().unwrap().push(image);
        }
    });
    images
}

/// Opens an image, looks at everything, goes on with it for a while, and looks again.
fn check(image: &Image, seed: u64) {
    let clock = Arc::new(ManualClock::new());
    let (volume, opened) = match open(Arc::new(image.disk.clone()), &clock) {
        Ok(opened) => opened,
        Err(error) => panic!("{}: {error}", image.told),
    };
    assert_eq!(opened.damaged, [], "{}", image.told);
    check_named(&volume, &image.index, &image.told);
    check_all(&volume, &image.told);
    let mut driver = Driver::new(volume, Arc::clone(&clock), seed + 1_000_000);
    driver.index.lock().unwrap().extend(image.index.iter());
    driver.run(4);
    assert!(driver.refused.is_empty(), "{}: {:?}", image.told, driver.refused);
    let index = driver.index.lock().unwrap().clone();
    drop(driver);
    let disk = image.disk.crash(Survival::Nothing, seed);
    let (volume, opened) = open(Arc::new(disk), &clock).unwrap();
    assert_eq!(opened.damaged, [], "{}, gone on", image.told);
    check_named(&volume, &index, &image.told);
    check_all(&volume, &image.told);
}

/// Whenever the machine dies, what was acknowledged is there, whole; what was not is there whole or not at all; and
/// nothing is taken for damage.
#[test]
fn what_was_acknowledged_survives_every_crash() {
    for seed in 0..6 {
        let disk = CrashingVfs::new();
        let clock = Arc::new(ManualClock::new());
        let index = Arc::new(Mutex::new(Index::new()));
        let images = images_of(&disk, &index, seed, 6);
        let (volume, _) = open(Arc::new(disk.clone()), &clock).unwrap();
        let mut driver = Driver::new(volume, clock, seed);
        driver.index = index;
        driver.run(60);
        assert!(driver.refused.is_empty(), "{:?}", driver.refused);
        drop(driver);
        disk.clear_on_event();
        for image in images.lock().unwrap().iter() {
            check(image, seed);
        }
    }
}

/// The machine dies while it opens what an earlier crash left.
#[test]
fn a_crash_while_opening_loses_nothing() {
    for seed in 100..103 {
        let disk = CrashingVfs::new();
        let clock = Arc::new(ManualClock::new());
        let index = Arc::new(Mutex::new(Index::new()));
        let images = images_of(&disk, &index, seed, 20);
        let (volume, _) = open(Arc::new(disk.clone()), &clock).unwrap();
        let mut driver = Driver::new(volume, clock, seed);
        driver.index = index;
        driver.run(60);
        drop(driver);
        disk.clear_on_event();
        for image in images.lock().unwrap().iter() {
            let named = Arc::new(Mutex::new(image.index.clone()));
            let later = images_of(&image.disk, &named, seed, 2);
            drop(open(Arc::new(image.disk.clone()), &Arc::new(ManualClock::new())).unwrap());
            image.disk.clear_on_event();
            for mut again in later.lock().unwrap().drain(..) {
                again.told = format!("{}, then {}", image.told, again.told);
                check(&again, seed);
            }
        }
    }
}

/// Grants of an epoch that was left must stay void, whatever happens.
#[test]
fn an_epoch_that_was_left_never_comes_back() {
    let disk = CrashingVfs::new();
    let clock = Arc::new(ManualClock::new());
    let (volume, _) = open(Arc::new(disk.clone()), &clock).unwrap();
    let left = Arc::new(Mutex::new(volume.identity().epoch));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, epoch) = (Arc::clone(&images), Arc::clone(&left));
    disk.on_event(move |event, disk| {
        let epoch = *epoch.lock().unwrap();
        for survival in Survival::ALL {
            let told = format!("{event:?}, {survival:?}");
            taken.lock().unwrap().push((disk.crash(survival, event.index), epoch, told));
        }
    });
    for _ in 0..3 {
        let epoch = volume.advance_epoch().unwrap();
        *left.lock().unwrap() = epoch;
    }
    disk.clear_on_event();
    assert_eq!(*left.lock().unwrap(), 4);
    for (image, epoch, told) in images.lock().unwrap().drain(..) {
        let (volume, opened) = open(Arc::new(image), &clock).unwrap();
        assert!(!opened.is_new, "{told}");
        let found = volume.identity();
        assert!((epoch..=epoch + 1).contains(&found.epoch), "{told}: {found:?}");
        assert_eq!(volume.advance_epoch().unwrap(), found.epoch + 1, "{told}");
    }
}
