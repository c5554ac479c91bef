//! What is found after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{Clock, RealClock};

const SEEDS: u64 = 200;

fn at(name: &str) -> PathBuf {
    Path::new("/").join(name)
}

fn create(disk: &dyn Vfs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(&at(name), Open::Create).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

/// A file whose contents and name are durable.
fn durable(disk: &dyn Vfs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, name, bytes);
    file.sync().unwrap();
    disk.sync_dir(at(name).parent().unwrap()).unwrap();
    file
}

fn contents(disk: &dyn Vfs, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&at(name), Open::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    Some(bytes)
}

fn names(disk: &dyn Vfs) -> Vec<String> {
    let entries = disk.list(Path::new("/")).unwrap();
    entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
}

/// Images of every survival and many seeds.
fn images(disk: &CrashingVfs) -> impl Iterator<Item = CrashingVfs> {
    Survival::ALL
        .into_iter()
        .flat_map(move |survival| (0..SEEDS).map(move |seed| disk.crash(survival, seed)))
}

/// Everything that some image shows of a file.
fn outcomes(disk: &CrashingVfs, name: &str) -> BTreeMap<Option<Vec<u8>>, usize> {
    let mut outcomes = BTreeMap::new();
    for image in images(disk) {
        *outcomes.entry(contents(&image, name)).or_default() += 1;
    }
    outcomes
}

#[test]
fn what_was_synced_is_always_found() {
    let disk = CrashingVfs::new();
    durable(&disk, "file", b"synced");
    assert!(images(&disk).all(|image| contents(&image, "file").unwrap() == b"synced"));
}

#[test]
fn what_was_not_synced_may_be_lost() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"synced");
    file.write_at(b"differ", 0).unwrap();
    assert_eq!(contents(&disk.crash(Survival::Nothing, 1), "file").unwrap(), b"synced");
    assert_eq!(contents(&disk.crash(Survival::Everything, 1), "file").unwrap(), b"differ");
}

#[test]
fn closing_is_not_a_sync() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"");
    file.write_at(b"lost", 0).unwrap();
    drop(file);
    assert_eq!(contents(&disk.crash(Survival::Nothing, 1), "file").unwrap(), b"");
}

#[test]
fn syncing_another_file_is_not_a_sync() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"");
    let other = durable(&disk, "other", b"");
    file.write_at(b"lost", 0).unwrap();
    other.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(contents(&disk.crash(Survival::Nothing, 1), "file").unwrap(), b"");
}

#[test]
fn a_created_file_may_vanish_although_its_contents_were_synced() {
    let disk = CrashingVfs::new();
    create(&disk, "file", b"text").sync().unwrap();
    for survival in [Survival::Nothing, Survival::Torn, Survival::Reordered] {
        assert!((0..SEEDS).any(|seed| names(&disk.crash(survival, seed)).is_empty()));
    }
    assert!(outcomes(&disk, "file").contains_key(&Some(b"text".to_vec())));
}

#[test]
fn a_synced_name_without_synced_contents_may_be_empty() {
    let disk = CrashingVfs::new();
    create(&disk, "file", b"text");
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(contents(&disk.crash(Survival::Nothing, 1), "file").unwrap(), b"");
    let outcomes = outcomes(&disk, "file");
    assert!(outcomes.contains_key(&Some(b"text".to_vec())));
    assert!(outcomes.contains_key(&Some(b"\0\0\0\0".to_vec())), "a length without its bytes");
    assert!(!outcomes.contains_key(&None));
}

/// Either name, never both and never neither.
#[test]
fn an_unsynced_rename_is_there_or_not() {
    let disk = CrashingVfs::new();
    durable(&disk, "old", b"text");
    disk.rename(&at("old"), &at("new")).unwrap();
    for survival in [Survival::Torn, Survival::Reordered] {
        let found: Vec<_> = (0..SEEDS).map(|seed| names(&disk.crash(survival, seed))).collect();
        assert!(found.contains(&vec!["old".to_owned()]), "{survival:?}");
        assert!(found.contains(&vec!["new".to_owned()]), "{survival:?}");
        assert!(found.iter().all(|names| names.len() == 1), "{survival:?}");
    }
    assert_eq!(names(&disk.crash(Survival::Nothing, 1)), ["old"]);
    assert_eq!(names(&disk.crash(Survival::Everything, 1)), ["new"]);
}

#[test]
fn a_synced_rename_is_always_there() {
    let disk = CrashingVfs::new();
    durable(&disk, "old", b"text");
    disk.rename(&at("old"), &at("new")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(images(&disk).all(|image| names(&image) == ["new"]));
}

#[test]
fn a_lost_rename_brings_the_replaced_file_back() {
    let disk = CrashingVfs::new();
    durable(&disk, "CURRENT", b"before");
    durable(&disk, "temporary", b"after!");
    disk.rename(&at("temporary"), &at("CURRENT")).unwrap();
    let outcomes = outcomes(&disk, "CURRENT");
    let found: Vec<_> = outcomes.keys().flatten().map(Vec::as_slice).collect();
    assert_eq!(found, [b"after!", b"before"]);
    assert!(!outcomes.contains_key(&None));
}

#[test]
fn an_unsynced_removal_may_come_back() {
    let disk = CrashingVfs::new();
    durable(&disk, "file", b"text");
    disk.remove_file(&at("file")).unwrap();
    let outcomes = outcomes(&disk, "file");
    assert!(outcomes.contains_key(&None));
    assert!(outcomes.contains_key(&Some(b"text".to_vec())));
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(images(&disk).all(|image| names(&image).is_empty()));
}

/// What a name stands for never goes back beyond an earlier change of the same name: a file that was
/// durable under its old name is not lost because the old name was used again.
#[test]
fn a_renamed_file_is_not_lost_to_a_new_one_of_its_old_name() {
    let disk = CrashingVfs::new();
    durable(&disk, "a", b"first");
    disk.rename(&at("a"), &at("b")).unwrap();
    create(&disk, "a", b"second").sync().unwrap();
    for image in images(&disk) {
        let first = Some(b"first".to_vec());
        assert!(contents(&image, "a") == first || contents(&image, "b") == first);
    }
}

#[test]
fn names_come_and_go_out_of_order() {
    let disk = CrashingVfs::new();
    for name in ["a", "b"] {
        create(&disk, name, b"");
    }
    let found: Vec<_> =
        (0..SEEDS).map(|seed| names(&disk.crash(Survival::Reordered, seed))).collect();
    assert!(found.contains(&vec!["a".to_owned()]));
    assert!(found.contains(&vec!["b".to_owned()]));
}

#[test]
fn a_torn_image_keeps_the_order_of_names() {
    let disk = CrashingVfs::new();
    for name in ["a", "b"] {
        create(&disk, name, b"");
    }
    assert!((0..SEEDS).all(|seed| names(&disk.crash(Survival::Torn, seed)) != ["b"]));
}

/// The second name lasts with its directory, and what it stands for lasts with the file.
#[test]
fn a_link_is_there_or_not_and_shares_what_was_synced() {
    let disk = CrashingVfs::new();
    durable(&disk, "first", b"text");
    disk.hard_link(&at("first"), &at("second")).unwrap();
    let found: Vec<_> = (0..SEEDS).map(|seed| disk.crash(Survival::Torn, seed)).collect();
    assert!(found.iter().any(|image| names(image) == ["first"]));
    let linked = found.iter().find(|image| names(*image) == ["first", "second"]).unwrap();
    let file = linked.open(&at("second"), Open::Write).unwrap();
    file.write_at(b"T", 0).unwrap();
    assert_eq!(contents(linked, "first").unwrap(), b"Text", "it is one file in the image, too");
    disk.sync_dir(Path::new("/")).unwrap();
    disk.remove_file(&at("first")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(contents(&disk.crash(Survival::Nothing, 1), "second").unwrap(), b"text");
}

#[test]
fn a_directory_is_lost_with_all_that_is_in_it() {
    let disk = CrashingVfs::new();
    disk.create_dir(&at("sub")).unwrap();
    durable(&disk, "sub/file", b"text");
    assert!(names(&disk.crash(Survival::Nothing, 1)).is_empty());
    disk.sync_dir(Path::new("/")).unwrap();
    let image = disk.crash(Survival::Nothing, 1);
    assert_eq!(contents(&image, "sub/file").unwrap(), b"text");
}

#[test]
fn a_rename_between_directories_lasts_with_either() {
    for synced in ["one", "two"] {
        let disk = CrashingVfs::new();
        disk.create_dir(&at("one")).unwrap();
        disk.create_dir(&at("two")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        durable(&disk, "one/file", b"text");
        disk.rename(&at("one/file"), &at("two/file")).unwrap();
        for image in images(&disk) {
            let places = [contents(&image, "one/file"), contents(&image, "two/file")];
            assert_eq!(places.iter().flatten().count(), 1);
        }
        disk.sync_dir(&at(synced)).unwrap();
        assert!(images(&disk).all(|image| contents(&image, "two/file").is_some()), "{synced}");
    }
}

/// Moved on twice and synced only where it arrived: the first step lasts with the second, or the file
/// would be found under two names.
#[test]
fn syncing_a_directory_takes_along_what_its_names_rest_on() {
    let disk = CrashingVfs::new();
    for dir in ["one", "two", "three"] {
        disk.create_dir(&at(dir)).unwrap();
    }
    disk.sync_dir(Path::new("/")).unwrap();
    durable(&disk, "one/file", b"text");
    disk.rename(&at("one/file"), &at("two/file")).unwrap();
    disk.rename(&at("two/file"), &at("three/file")).unwrap();
    disk.sync_dir(&at("three")).unwrap();
    for image in images(&disk) {
        let found = ["one/file", "two/file", "three/file"].map(|name| contents(&image, name));
        assert_eq!(found, [None, None, Some(b"text".to_vec())]);
    }
}

#[test]
fn an_unsynced_length_may_be_lost() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"0123456789");
    file.set_len(4).unwrap();
    let found = outcomes(&disk, "file");
    let expected = [b"0123".to_vec(), b"0123456789".to_vec()].map(Some);
    assert!(expected.iter().all(|outcome| found.contains_key(outcome)));
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "file").len(), 1);
}

#[test]
fn growing_may_be_found_as_zeros() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"synced");
    file.write_at(&[7; 8192], 4096).unwrap();
    let torn = (0..SEEDS).map(|seed| contents(&disk.crash(Survival::Torn, seed), "file").unwrap());
    let grown: Vec<_> = torn.filter(|bytes| bytes.len() == 12288).collect();
    assert!(grown.iter().any(|bytes| bytes[4096..].iter().all(|byte| *byte == 0)));
    assert!(grown.iter().any(|bytes| bytes[4096] == 0 && bytes[8192] == 7));
    assert!(grown.iter().all(|bytes| bytes.starts_with(b"synced\0")));
}

#[test]
fn a_write_tears_at_sectors() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", &[1; 8192]);
    file.write_at(&[2; 8192], 0).unwrap();
    for survival in [Survival::Torn, Survival::Reordered] {
        let mut torn_within_a_page = false;
        for seed in 0..SEEDS {
            let bytes = contents(&disk.crash(survival, seed), "file").unwrap();
            for sector in bytes.chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is written whole");
            }
            torn_within_a_page |= bytes[0] != bytes[512];
        }
        assert!(torn_within_a_page, "{survival:?}");
    }
}

#[test]
fn any_length_held_since_the_sync_may_be_found() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"");
    for (offset, letter) in [b"a", b"b", b"c"].into_iter().enumerate() {
        file.write_at(letter, offset as u64).unwrap();
    }
    for survival in [Survival::Torn, Survival::Reordered] {
        let lengths = (0..SEEDS).map(|seed| contents(&disk.crash(survival, seed), "file").unwrap());
        let lengths: BTreeSet<_> = lengths.map(|bytes| bytes.len()).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3], "{survival:?}");
    }
}

#[test]
fn a_page_may_be_found_as_between_two_writes() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"one");
    file.write_at(b"two", 0).unwrap();
    file.write_at(b"six", 0).unwrap();
    let found = outcomes(&disk, "file");
    let expected = [b"one", b"two", b"six"].map(|text| Some(text.to_vec()));
    assert!(expected.iter().all(|outcome| found.contains_key(outcome)));
    assert_eq!(found.len(), 3);
}

#[test]
fn a_later_write_may_be_found_without_an_earlier_one_in_another_file() {
    let disk = CrashingVfs::new();
    let (first, second) = (durable(&disk, "first", b"-"), durable(&disk, "second", b"-"));
    first.write_at(b"1", 0).unwrap();
    second.write_at(b"2", 0).unwrap();
    let reordered = (0..SEEDS).filter(|seed| {
        let image = disk.crash(Survival::Reordered, *seed);
        contents(&image, "first").unwrap() == b"-" && contents(&image, "second").unwrap() == b"2"
    });
    let reordered = reordered.count();
    assert!(SEEDS as usize / 10 < reordered, "{reordered}");
}

#[test]
fn an_image_leaves_the_disk_alone() {
    let disk = CrashingVfs::new();
    let file = create(&disk, "file", b"text");
    let image = disk.crash(Survival::Everything, 1);
    let found = image.open(&at("file"), Open::Write).unwrap();
    found.write_at(b"else", 0).unwrap();
    image.remove_file(&at("file")).unwrap();
    assert_eq!(contents(&disk, "file").unwrap(), b"text");
    file.write_at(b"more", 4).unwrap();
    assert_eq!(contents(&disk, "file").unwrap(), b"textmore");
}

#[test]
fn what_an_image_found_is_durable_there() {
    let disk = CrashingVfs::new();
    create(&disk, "file", b"text");
    let image = disk.crash(Survival::Everything, 1);
    assert!(images(&image).all(|image| contents(&image, "file").unwrap() == b"text"));
}

#[test]
fn no_lock_survives() {
    let disk = CrashingVfs::new();
    let _held = disk.lock(&at("LOCK")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    for image in images(&disk) {
        assert!(matches!(image.lock(&at("LOCK")).unwrap(), Lock::Held(_)));
    }
    assert!(matches!(disk.lock(&at("LOCK")).unwrap(), Lock::Busy { .. }));
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let build = || {
        let (disk, mut random) = (CrashingVfs::new(), Random::new(9));
        for name in ["a", "b", "c"] {
            create(&disk, name, &random.bytes(20_000));
        }
        disk
    };
    let picture = |disk: &CrashingVfs, survival, seed| {
        let image = disk.crash(survival, seed);
        names(&image).iter().map(|name| contents(&image, name)).collect::<Vec<_>>()
    };
    let (one, two) = (build(), build());
    for survival in Survival::ALL {
        for seed in 0..50 {
            assert!(picture(&one, survival, seed) == picture(&two, survival, seed));
        }
    }
    assert!(picture(&one, Survival::Torn, 1) != picture(&one, Survival::Torn, 2));
}

/// A hook must not change what is found, or a replay without it would differ.
#[test]
fn being_watched_changes_nothing() {
    let build = |watched: bool| {
        let (disk, mut random) = (CrashingVfs::new(), Random::new(9));
        if watched {
            disk.on_event(|_, _| {});
        }
        for name in ["a", "b"] {
            create(&disk, name, &random.bytes(20_000));
        }
        disk
    };
    let (plain, watched) = (build(false), build(true));
    for (one, two) in images(&plain).zip(images(&watched)) {
        assert!(names(&one) == names(&two));
        assert!(names(&one).iter().all(|name| contents(&one, name) == contents(&two, name)));
    }
}

#[test]
fn a_lost_sync_reads_on_until_the_crash() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"before");
    file.write_at(b"after!", 0).unwrap();
    disk.lose_next_sync();
    assert!(file.sync().is_err());
    assert_eq!(contents(&disk, "file").unwrap(), b"after!");
    file.sync().expect("the kernel takes the pages for clean");
    assert!(images(&disk).all(|image| contents(&image, "file").unwrap() == b"before"));
}

#[test]
fn what_is_written_after_a_lost_sync_can_be_synced() {
    let disk = CrashingVfs::new();
    let file = durable(&disk, "file", b"");
    file.write_at(&[1; 4096], 0).unwrap();
    disk.lose_next_sync();
    assert!(file.sync().is_err());
    file.write_at(&[2; 4096], 4096).unwrap();
    file.sync().unwrap();
    for image in images(&disk) {
        let bytes = contents(&image, "file").unwrap();
        assert!(bytes[..4096].iter().all(|byte| *byte == 0), "lost");
        assert!(bytes[4096..].iter().all(|byte| *byte == 2), "synced");
    }
}

#[test]
fn events_tell_before_middle_and_after() {
    let (disk, log) = (CrashingVfs::new(), Arc::new(Mutex::new(Vec::new())));
    let sink = Arc::clone(&log);
    disk.on_event(move |event, disk| {
        let image = disk.crash(Survival::Everything, 1);
        let found = contents(&image, "file").map(|bytes| bytes.len());
        sink.lock().unwrap().push((event.index, event.kind, event.phase, found));
    });
    let file = create(&disk, "file", &[7; 100]);
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.clear_on_event();
    disk.remove_file(&at("file")).unwrap();

    let log = log.lock().unwrap();
    let steps: Vec<_> = log.iter().map(|(index, kind, phase, _)| (*index, *kind, *phase)).collect();
    assert_eq!(
        steps,
        [
            (0, Kind::Create, Phase::Before),
            (0, Kind::Create, Phase::After),
            (1, Kind::Write, Phase::Before),
            (1, Kind::Write, Phase::Middle),
            (1, Kind::Write, Phase::After),
            (2, Kind::Sync, Phase::Before),
            (2, Kind::Sync, Phase::After),
            (3, Kind::SyncDir, Phase::Before),
            (3, Kind::SyncDir, Phase::After),
        ]
    );
    let found: Vec<_> = log.iter().map(|(_, _, _, found)| *found).collect();
    assert_eq!(found[..3], [None, Some(0), Some(0)]);
    assert!((1..100).contains(&found[3].unwrap()), "half a write");
    assert_eq!(found[4], Some(100));
    assert_eq!(disk.events(), 5);
}

#[test]
fn a_refused_call_is_an_event_and_changes_nothing() {
    let (disk, count) = (CrashingVfs::new(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    disk.on_event(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    assert!(disk.remove_file(&at("none")).is_err());
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert_eq!(disk.events(), 1);
}

/// A store of about 1 MiB in 16 files of which a quarter is not synced, 2000 images of each survival.
/// Sketch: 16 lists of pages to copy and up to 64 torn pages to build: below 100 µs an image.
#[test]
fn images_are_cheap() {
    let (disk, mut random) = (CrashingVfs::new(), Random::new(1));
    for number in 0..16 {
        let file = durable(&disk, &format!("file-{number}"), &random.bytes(64 << 10));
        for place in 0..40 {
            file.write_at(&random.bytes(400), place * 400).unwrap();
        }
    }
    let clock = RealClock::new();
    for survival in Survival::ALL {
        let start = clock.now();
        for seed in 0..2000 {
            drop(disk.crash(survival, seed));
        }
        let each = clock.now().saturating_sub(start) / 2000;
        println!("{survival:?}: {each:?} an image");
        assert!(each < Duration::from_millis(1), "ten times what it should be");
    }
}

/// A simple account of one file: all that it was since its last sync.
struct Account {
    file: Arc<dyn File>,
    states: Vec<Vec<u8>>,
}

impl Account {
    fn step(&mut self, random: &mut Random) {
        let mut state = self.states.last().unwrap().clone();
        let offset = random.index(12_000);
        match random.below(8) {
            0 => {
                self.file.sync().unwrap();
                self.states.clear();
            }
            1 => {
                self.file.set_len(offset as u64).unwrap();
                state.resize(offset, 0);
            }
            _ => {
                let len = 1 + random.index(6000);
                let bytes = random.bytes(len);
                self.file.write_at(&bytes, offset as u64).unwrap();
                state.resize(state.len().max(offset + bytes.len()), 0);
                state[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
        }
        self.states.push(state);
    }

    /// Every length and every sector found is one that the file had since its last sync.
    fn allows(&self, found: &[u8]) -> bool {
        let sector = |state: &[u8], start: usize, len: usize| {
            let mut bytes = state.get(start..).unwrap_or_default().to_vec();
            bytes.resize(bytes.len().max(len), 0);
            bytes.truncate(len);
            bytes
        };
        self.states.iter().any(|state| state.len() == found.len())
            && found.chunks(512).enumerate().all(|(index, chunk)| {
                let states = &mut self.states.iter();
                states.any(|state| sector(state, index * 512, chunk.len()) == chunk)
            })
    }
}

#[test]
fn any_history_leaves_only_what_once_was() {
    for seed in 0..100 {
        let (disk, mut random) = (CrashingVfs::new(), Random::new(seed));
        let mut accounts: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| (name, Account { file: durable(&disk, name, b""), states: vec![vec![]] }))
            .collect();
        for step in 0..40 {
            let chosen = random.index(3);
            accounts[chosen].1.step(&mut random);
            for survival in Survival::ALL {
                let image = disk.crash(survival, random.next_u64());
                for (name, account) in &accounts {
                    let found = contents(&image, name).expect("its name is durable");
                    assert!(account.allows(&found), "seed {seed}, step {step}, {survival:?}");
                    if survival == Survival::Nothing {
                        assert!(found == account.states[0], "seed {seed}, step {step}");
                    }
                    if survival == Survival::Everything {
                        assert!(
                            found == *account.states.last().unwrap(),
                            "seed {seed}, step {step}"
                        );
                    }
                }
            }
        }
    }
}

/// Names alone: whatever is created, renamed, removed and synced, what stands under a name after a
/// crash stood there at some time since the directory was synced, and no durable file is doubled.
#[test]
fn any_history_of_names_leaves_only_what_once_was() {
    for seed in 0..300 {
        let (disk, mut random) = (CrashingVfs::new(), Random::new(seed));
        let mut past: Vec<BTreeMap<String, Vec<u8>>> = vec![BTreeMap::new()];
        for step in 0..40_u8 {
            let mut now = past.last().unwrap().clone();
            let [name, other] = [0; 2].map(|_| format!("{}", random.below(4)));
            match random.below(8) {
                0 => {
                    disk.sync_dir(Path::new("/")).unwrap();
                    past.clear();
                }
                1..=3 if !now.contains_key(&name) => {
                    create(&disk, &name, &[step]).sync().unwrap();
                    now.insert(name, vec![step]);
                }
                4..=5 if now.contains_key(&name) => {
                    disk.rename(&at(&name), &at(&other)).unwrap();
                    let moved = now.remove(&name).unwrap();
                    now.insert(other, moved);
                }
                6 if now.contains_key(&name) => {
                    disk.remove_file(&at(&name)).unwrap();
                    now.remove(&name);
                }
                _ => {}
            }
            past.push(now);
            for survival in Survival::ALL {
                let image = disk.crash(survival, random.next_u64());
                let found: BTreeMap<_, _> = names(&image)
                    .into_iter()
                    .map(|name| (name.clone(), contents(&image, &name).unwrap()))
                    .collect();
                let why = format!("seed {seed}, step {step}, {survival:?}");
                for name in (0..4).map(|name| name.to_string()) {
                    assert!(past.iter().any(|past| past.get(&name) == found.get(&name)), "{why}");
                }
                let mut files: Vec<_> = found.values().collect();
                files.sort();
                files.dedup();
                assert_eq!(files.len(), found.len(), "a file under two names: {why}");
                let alive =
                    past.iter().fold(past[0].values().collect::<Vec<_>>(), |alive, past| {
                        alive
                            .into_iter()
                            .filter(|file| past.values().any(|it| it == *file))
                            .collect()
                    });
                assert!(alive.iter().all(|file| files.contains(file)), "a file lost: {why}");
                match survival {
                    Survival::Nothing => assert_eq!(&found, &past[0], "{why}"),
                    Survival::Everything => assert_eq!(&found, past.last().unwrap(), "{why}"),
                    // A journal cut short is some moment of the past, unlike one in pieces.
                    Survival::Torn => assert!(past.contains(&found), "{why}"),
                    Survival::Reordered => {}
                }
            }
        }
    }
}
