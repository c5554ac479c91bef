//! What every disk does alike: each test runs on the real one, in memory and on the crashing one.
//!
//! 1. A test gets an empty directory of its own and leaves nothing outside it.
//! 2. What differs between disks (links, crashes) is tested beside the disk that has it.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    CrashingVfs, DelayingVfs, EntryKind, FailingVfs, File, Lock, ManualClock, MemoryVfs, Open,
    Random, RealVfs, RecordingVfs, Survival, Vfs,
};

macro_rules! on_every_disk {
    ($($test:ident,)*) => {
        mod real {
            $(#[test] fn $test() {
                let dir = super::TempDir::new();
                super::$test(&super::RealVfs::new(), &dir.path);
            })*
        }
        mod memory {
            $(#[test] fn $test() {
                let disk = super::MemoryVfs::new();
                super::$test(&disk, super::made(&disk));
            })*
        }
        mod crashing {
            $(#[test] fn $test() {
                let disk = super::CrashingVfs::new();
                super::$test(&disk, super::made(&disk));
            })*
        }
        mod layers {
            $(#[test] fn $test() {
                let disk = super::layered();
                super::$test(&disk, super::made(&disk));
            })*
        }
        mod crashing_and_watched {
            $(#[test] fn $test() {
                let disk = super::CrashingVfs::new();
                disk.on_event(|event, disk| drop(disk.crash(super::Survival::Torn, event.index)));
                super::$test(&disk, super::made(&disk));
            })*
        }
    };
}

on_every_disk! {
    a_created_file_is_empty,
    creating_what_exists_is_refused,
    opening_what_is_missing_is_refused,
    opening_in_a_missing_directory_is_refused,
    a_directory_does_not_open_as_a_file,
    a_file_is_no_directory,
    what_is_written_is_read,
    a_read_ends_with_the_file,
    a_read_beyond_the_end_is_empty,
    a_write_beyond_the_end_leaves_zeros,
    an_empty_write_does_not_grow_the_file,
    overwriting_changes_nothing_else,
    other_handles_see_a_write,
    a_handle_to_read_does_not_write,
    cutting_and_growing_shows_zeros,
    large_transfers_arrive_whole,
    places_that_cannot_be_are_refused,
    entry_tells_kind_and_length,
    list_is_ordered_by_name,
    listing_what_is_no_directory_is_refused,
    a_renamed_file_has_one_name,
    rename_replaces_the_target,
    rename_keeps_open_handles,
    rename_to_itself_changes_nothing,
    renaming_what_is_missing_is_refused,
    rename_moves_between_directories,
    a_file_does_not_replace_a_directory,
    a_directory_does_not_move_into_itself,
    a_directory_is_renamed_with_what_is_in_it,
    a_linked_file_has_two_names,
    a_link_needs_a_file_and_a_free_name,
    a_removed_file_lives_on_in_its_handle,
    a_removed_name_can_be_created_again,
    removing_what_is_missing_is_refused,
    removing_the_wrong_kind_is_refused,
    a_directory_with_something_in_it_stays,
    creating_a_directory_twice_is_refused,
    creating_a_directory_in_none_is_refused,
    syncing_is_accepted,
    syncing_a_missing_directory_is_refused,
    write_back_is_accepted,
    a_second_lock_is_busy_and_names_the_holder,
    a_dropped_lock_is_free,
    a_stale_lock_file_is_taken,
    a_lock_needs_its_directory,
    threads_write_side_by_side,
    parent_steps_in_a_path_are_followed,
}

/// A directory that goes away with the test.
pub(crate) struct TempDir {
    pub(crate) path: PathBuf,
}

impl TempDir {
    pub(crate) fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("olivine-vfs-{}-{number}", process::id()));
        RealVfs::new().create_dir(&path).unwrap();
        TempDir { path }
    }
}

impl Drop for TempDir {
    #[expect(clippy::disallowed_methods, reason = "clears away a test's directory")]
    fn drop(&mut self) {
        // What cannot be cleared is left to the machine; a drop has nobody to tell.
        std::fs::remove_dir_all(&self.path).ok();
    }
}

/// Layers that change nothing.
fn layered() -> RecordingVfs {
    let failing = FailingVfs::over_crashing(&CrashingVfs::new());
    let clock = Arc::new(ManualClock::new());
    let delaying = DelayingVfs::new(Arc::new(failing), clock, |_| Duration::from_millis(1));
    RecordingVfs::with_reads(Arc::new(delaying), "/dir")
}

fn made(disk: &dyn Vfs) -> &'static Path {
    let dir = Path::new("/dir");
    disk.create_dir(dir).unwrap();
    dir
}

fn create(disk: &dyn Vfs, path: &Path, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(path, Open::Create).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn contents(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0xEE; file.len().unwrap() as usize + 1];
    let read = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    bytes
}

fn contents_of(disk: &dyn Vfs, path: &Path) -> Vec<u8> {
    contents(&*disk.open(path, Open::Read).unwrap())
}

fn names(disk: &dyn Vfs, dir: &Path) -> Vec<String> {
    let entries = disk.list(dir).unwrap();
    entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
}

fn refused<T>(kind: ErrorKind, answer: io::Result<T>) {
    assert_eq!(answer.err().map(|error| error.kind()), Some(kind));
}

fn a_created_file_is_empty(disk: &dyn Vfs, dir: &Path) {
    let file = disk.open(&dir.join("file"), Open::Create).unwrap();
    assert!(file.is_empty().unwrap());
    assert_eq!(contents(&*file), b"");
}

fn creating_what_exists_is_refused(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"kept");
    refused(ErrorKind::AlreadyExists, disk.open(&dir.join("file"), Open::Create));
    refused(ErrorKind::AlreadyExists, disk.open(dir, Open::Create));
    assert_eq!(contents_of(disk, &dir.join("file")), b"kept");
}

fn opening_what_is_missing_is_refused(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::NotFound, disk.open(&dir.join("file"), Open::Read));
    refused(ErrorKind::NotFound, disk.open(&dir.join("file"), Open::Write));
    assert!(names(disk, dir).is_empty());
}

fn opening_in_a_missing_directory_is_refused(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::NotFound, disk.open(&dir.join("none/file"), Open::Create));
    assert_eq!(disk.entry(&dir.join("none/file")).unwrap(), None);
}

fn a_directory_does_not_open_as_a_file(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::IsADirectory, disk.open(dir, Open::Read));
    refused(ErrorKind::IsADirectory, disk.open(dir, Open::Write));
}

fn a_file_is_no_directory(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"");
    refused(ErrorKind::NotADirectory, disk.open(&dir.join("file/below"), Open::Create));
    refused(ErrorKind::NotADirectory, disk.entry(&dir.join("file/below")));
}

fn what_is_written_is_read(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"some bytes");
    assert_eq!(contents(&*file), b"some bytes");
    let mut part = [0; 5];
    assert_eq!(file.read_at(&mut part, 5).unwrap(), 5);
    assert_eq!(&part, b"bytes");
}

fn a_read_ends_with_the_file(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"abc");
    let mut buffer = [b'-'; 5];
    assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 2);
    assert_eq!(&buffer, b"bc---");
}

fn a_read_beyond_the_end_is_empty(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"abc");
    for offset in [3, 4, 1 << 40, i64::MAX as u64, u64::MAX] {
        assert_eq!(file.read_at(&mut [0; 4], offset).unwrap(), 0, "offset {offset}");
    }
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
}

fn a_write_beyond_the_end_leaves_zeros(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"a");
    file.write_at(b"b", 10_000).unwrap();
    assert_eq!(file.len().unwrap(), 10_001);
    let bytes = contents(&*file);
    assert!(bytes[1..10_000].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[10_000], b'b');
}

fn an_empty_write_does_not_grow_the_file(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"a");
    file.write_at(b"", 100).unwrap();
    assert_eq!(file.len().unwrap(), 1);
}

fn overwriting_changes_nothing_else(disk: &dyn Vfs, dir: &Path) {
    let mut oracle = Random::new(1).bytes(20_000);
    let file = create(disk, &dir.join("file"), &oracle);
    file.write_at(&[7; 5000], 3000).unwrap();
    oracle[3000..8000].fill(7);
    assert!(contents(&*file) == oracle);
}

fn other_handles_see_a_write(disk: &dyn Vfs, dir: &Path) {
    let writer = create(disk, &dir.join("file"), b"one");
    let reader = disk.open(&dir.join("file"), Open::Read).unwrap();
    writer.write_at(b"two and more", 0).unwrap();
    assert_eq!(contents(&*reader), b"two and more");
}

fn a_handle_to_read_does_not_write(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"kept");
    let reader = disk.open(&dir.join("file"), Open::Read).unwrap();
    assert!(reader.write_at(b"lost", 0).is_err());
    assert!(reader.set_len(0).is_err());
    assert_eq!(contents(&*reader), b"kept");
}

fn cutting_and_growing_shows_zeros(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), &[7; 6000]);
    file.set_len(100).unwrap();
    assert_eq!(contents(&*file), [7; 100]);
    file.set_len(9000).unwrap();
    let bytes = contents(&*file);
    assert_eq!(bytes.len(), 9000);
    assert!(bytes[..100].iter().all(|byte| *byte == 7));
    assert!(bytes[100..].iter().all(|byte| *byte == 0));
}

fn large_transfers_arrive_whole(disk: &dyn Vfs, dir: &Path) {
    let bytes = Random::new(2).bytes(3 << 20);
    let file = create(disk, &dir.join("file"), &bytes);
    assert!(contents(&*file) == bytes);
}

fn places_that_cannot_be_are_refused(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"kept");
    assert!(file.write_at(b"x", u64::MAX).is_err());
    assert!(file.write_at(b"x", i64::MAX as u64).is_err());
    assert!(file.set_len(u64::MAX).is_err());
    assert_eq!(contents(&*file), b"kept");
}

fn entry_tells_kind_and_length(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"abc");
    let entry = disk.entry(&dir.join("file")).unwrap().unwrap();
    assert_eq!((entry.name.to_str(), entry.kind, entry.bytes), (Some("file"), EntryKind::File, 3));
    let entry = disk.entry(dir).unwrap().unwrap();
    assert_eq!((entry.kind, entry.bytes), (EntryKind::Dir, 0));
    assert_eq!(disk.entry(&dir.join("none")).unwrap(), None);
    assert_eq!(disk.entry(Path::new("/")).unwrap().unwrap().kind, EntryKind::Dir);
}

fn list_is_ordered_by_name(disk: &dyn Vfs, dir: &Path) {
    for name in ["b", "a-10", "a-9", "c"] {
        create(disk, &dir.join(name), name.as_bytes());
    }
    disk.create_dir(&dir.join("aa")).unwrap();
    assert_eq!(names(disk, dir), ["a-10", "a-9", "aa", "b", "c"]);
    let entries = disk.list(dir).unwrap();
    assert_eq!((entries[0].kind, entries[0].bytes), (EntryKind::File, 4));
    assert_eq!((entries[2].kind, entries[2].bytes), (EntryKind::Dir, 0));
}

fn listing_what_is_no_directory_is_refused(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"");
    refused(ErrorKind::NotFound, disk.list(&dir.join("none")));
    refused(ErrorKind::NotADirectory, disk.list(&dir.join("file")));
}

fn a_renamed_file_has_one_name(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("old"), b"text");
    disk.rename(&dir.join("old"), &dir.join("new")).unwrap();
    assert_eq!(names(disk, dir), ["new"]);
    assert_eq!(contents_of(disk, &dir.join("new")), b"text");
}

fn rename_replaces_the_target(disk: &dyn Vfs, dir: &Path) {
    let replaced = create(disk, &dir.join("new"), b"replaced");
    create(disk, &dir.join("old"), b"text");
    disk.rename(&dir.join("old"), &dir.join("new")).unwrap();
    assert_eq!(contents_of(disk, &dir.join("new")), b"text");
    assert_eq!(contents(&*replaced), b"replaced");
}

fn rename_keeps_open_handles(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("old"), b"before");
    disk.rename(&dir.join("old"), &dir.join("new")).unwrap();
    file.write_at(b"after!", 0).unwrap();
    assert_eq!(contents_of(disk, &dir.join("new")), b"after!");
}

fn rename_to_itself_changes_nothing(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"text");
    disk.rename(&dir.join("file"), &dir.join("file")).unwrap();
    assert_eq!(contents_of(disk, &dir.join("file")), b"text");
}

fn renaming_what_is_missing_is_refused(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("new"), b"kept");
    refused(ErrorKind::NotFound, disk.rename(&dir.join("old"), &dir.join("new")));
    refused(ErrorKind::NotFound, disk.rename(&dir.join("new"), &dir.join("none/new")));
    assert_eq!(contents_of(disk, &dir.join("new")), b"kept");
}

fn rename_moves_between_directories(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    create(disk, &dir.join("file"), b"text");
    disk.rename(&dir.join("file"), &dir.join("sub/file")).unwrap();
    assert_eq!(names(disk, dir), ["sub"]);
    assert_eq!(contents_of(disk, &dir.join("sub/file")), b"text");
}

fn a_file_does_not_replace_a_directory(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    create(disk, &dir.join("file"), b"text");
    refused(ErrorKind::IsADirectory, disk.rename(&dir.join("file"), &dir.join("sub")));
    refused(ErrorKind::NotADirectory, disk.rename(&dir.join("sub"), &dir.join("file")));
}

fn a_directory_does_not_move_into_itself(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    disk.create_dir(&dir.join("sub/deep")).unwrap();
    refused(ErrorKind::InvalidInput, disk.rename(&dir.join("sub"), &dir.join("sub/deep/sub")));
}

fn a_directory_is_renamed_with_what_is_in_it(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    create(disk, &dir.join("sub/file"), b"text");
    disk.create_dir(&dir.join("empty")).unwrap();
    refused(ErrorKind::DirectoryNotEmpty, disk.rename(&dir.join("empty"), &dir.join("sub")));
    disk.rename(&dir.join("sub"), &dir.join("empty")).unwrap();
    assert_eq!(names(disk, dir), ["empty"]);
    assert_eq!(contents_of(disk, &dir.join("empty/file")), b"text");
}

fn a_linked_file_has_two_names(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    let file = create(disk, &dir.join("first"), b"text");
    disk.hard_link(&dir.join("first"), &dir.join("sub/second")).unwrap();
    file.write_at(b"more", 4).unwrap();
    assert_eq!(contents_of(disk, &dir.join("sub/second")), b"textmore");
    disk.remove_file(&dir.join("first")).unwrap();
    assert_eq!(contents_of(disk, &dir.join("sub/second")), b"textmore");
    assert_eq!(names(disk, dir), ["sub"]);
}

fn a_link_needs_a_file_and_a_free_name(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    create(disk, &dir.join("file"), b"text");
    create(disk, &dir.join("taken"), b"kept");
    let link = |source: &str, target: &str| disk.hard_link(&dir.join(source), &dir.join(target));
    refused(ErrorKind::NotFound, link("missing", "new"));
    refused(ErrorKind::NotFound, link("file", "none/new"));
    refused(ErrorKind::AlreadyExists, link("file", "taken"));
    refused(ErrorKind::AlreadyExists, link("file", "sub"));
    refused(ErrorKind::PermissionDenied, link("sub", "new"));
    assert_eq!(contents_of(disk, &dir.join("taken")), b"kept");
}

fn a_removed_file_lives_on_in_its_handle(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"text");
    disk.remove_file(&dir.join("file")).unwrap();
    assert!(names(disk, dir).is_empty());
    file.write_at(b"more", 4).unwrap();
    file.sync().unwrap();
    assert_eq!(contents(&*file), b"textmore");
}

fn a_removed_name_can_be_created_again(disk: &dyn Vfs, dir: &Path) {
    let old = create(disk, &dir.join("file"), b"old");
    disk.remove_file(&dir.join("file")).unwrap();
    create(disk, &dir.join("file"), b"new");
    assert_eq!(contents(&*old), b"old");
    assert_eq!(contents_of(disk, &dir.join("file")), b"new");
}

fn removing_what_is_missing_is_refused(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::NotFound, disk.remove_file(&dir.join("file")));
    refused(ErrorKind::NotFound, disk.remove_dir(&dir.join("sub")));
}

fn removing_the_wrong_kind_is_refused(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"");
    disk.create_dir(&dir.join("sub")).unwrap();
    refused(ErrorKind::IsADirectory, disk.remove_file(&dir.join("sub")));
    refused(ErrorKind::NotADirectory, disk.remove_dir(&dir.join("file")));
    assert_eq!(names(disk, dir), ["file", "sub"]);
}

fn a_directory_with_something_in_it_stays(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    create(disk, &dir.join("sub/file"), b"");
    refused(ErrorKind::DirectoryNotEmpty, disk.remove_dir(&dir.join("sub")));
    disk.remove_file(&dir.join("sub/file")).unwrap();
    disk.remove_dir(&dir.join("sub")).unwrap();
    assert!(names(disk, dir).is_empty());
}

fn creating_a_directory_twice_is_refused(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::AlreadyExists, disk.create_dir(dir));
    create(disk, &dir.join("file"), b"");
    refused(ErrorKind::AlreadyExists, disk.create_dir(&dir.join("file")));
}

fn creating_a_directory_in_none_is_refused(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::NotFound, disk.create_dir(&dir.join("none/sub")));
}

fn syncing_is_accepted(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"text").sync().unwrap();
    disk.open(&dir.join("file"), Open::Read).unwrap().sync().unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(contents_of(disk, &dir.join("file")), b"text");
}

fn syncing_a_missing_directory_is_refused(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("file"), b"");
    refused(ErrorKind::NotFound, disk.sync_dir(&dir.join("none")));
    refused(ErrorKind::NotADirectory, disk.sync_dir(&dir.join("file")));
}

fn write_back_is_accepted(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), &[1; 10_000]);
    for (offset, bytes) in [(0, 0), (0, 10_000), (8192, 1 << 30), (u64::MAX, 1), (1, u64::MAX)] {
        file.start_write_back(offset, bytes).unwrap();
    }
}

fn a_second_lock_is_busy_and_names_the_holder(disk: &dyn Vfs, dir: &Path) {
    let Lock::Held(_guard) = disk.lock(&dir.join("LOCK")).unwrap() else {
        panic!("the first lock is busy");
    };
    let Lock::Busy { holder } = disk.lock(&dir.join("LOCK")).unwrap() else {
        panic!("the second lock is held as well");
    };
    assert_eq!(holder, process::id().to_string());
}

fn a_dropped_lock_is_free(disk: &dyn Vfs, dir: &Path) {
    for _ in 0..3 {
        assert!(matches!(disk.lock(&dir.join("LOCK")).unwrap(), Lock::Held(_)));
    }
}

fn a_stale_lock_file_is_taken(disk: &dyn Vfs, dir: &Path) {
    create(disk, &dir.join("LOCK"), b"999999999999 left by a killed process\n");
    let Lock::Held(_guard) = disk.lock(&dir.join("LOCK")).unwrap() else {
        panic!("held by nobody, yet busy");
    };
    let text = contents_of(disk, &dir.join("LOCK"));
    assert_eq!(text, format!("{}\n", process::id()).into_bytes());
}

fn a_lock_needs_its_directory(disk: &dyn Vfs, dir: &Path) {
    refused(ErrorKind::NotFound, disk.lock(&dir.join("none/LOCK")));
    refused(ErrorKind::IsADirectory, disk.lock(dir));
}

fn threads_write_side_by_side(disk: &dyn Vfs, dir: &Path) {
    let file = create(disk, &dir.join("file"), b"");
    thread::scope(|scope| {
        for part in 0..4_u8 {
            let file = &file;
            scope.spawn(move || {
                for step in 0..100 {
                    let offset = (u64::from(part) * 100 + step) * 100;
                    file.write_at(&[part + 1; 100], offset).unwrap();
                }
            });
        }
    });
    let bytes = contents(&*file);
    for part in 0..4_u8 {
        let range = usize::from(part) * 10_000..usize::from(part + 1) * 10_000;
        assert!(bytes[range].iter().all(|byte| *byte == part + 1));
    }
}

fn parent_steps_in_a_path_are_followed(disk: &dyn Vfs, dir: &Path) {
    disk.create_dir(&dir.join("sub")).unwrap();
    create(disk, &dir.join("sub/../file"), b"text");
    assert_eq!(contents_of(disk, &dir.join("./file")), b"text");
}
