//! What only the real disk has: links, pipes, modes, several processes' view of a lock.

use std::{
    io::ErrorKind,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use super::*;
use crate::conformance::TempDir;

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_and_directories_are_for_their_owner_only() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    disk.open(&dir.path.join("file"), Open::Create).unwrap();
    disk.create_dir(&dir.path.join("sub")).unwrap();
    let _lock = disk.lock(&dir.path.join("LOCK")).unwrap();
    assert_eq!(mode(&dir.path.join("file")), 0o600);
    assert_eq!(mode(&dir.path.join("LOCK")), 0o600);
    assert_eq!(mode(&dir.path.join("sub")), 0o700);
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    let (file, link) = (dir.path.join("file"), dir.path.join("link"));
    disk.open(&file, Open::Create).unwrap();
    symlink(&file, &link).unwrap();
    symlink(dir.path.join("elsewhere"), dir.path.join("dangling")).unwrap();
    for how in [Open::Read, Open::Write, Open::Create] {
        assert!(disk.open(&link, how).is_err(), "{how:?}");
        assert!(disk.open(&dir.path.join("dangling"), how).is_err(), "{how:?}");
    }
    assert!(disk.lock(&dir.path.join("dangling")).is_err());
    assert_eq!(disk.entry(&dir.path.join("elsewhere")).unwrap(), None);
    assert_eq!(disk.entry(&link).unwrap().unwrap().kind, EntryKind::Other);
}

#[test]
fn a_pipe_in_place_of_a_file_neither_opens_nor_waits() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    let pipe = dir.path.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for how in [Open::Read, Open::Write] {
        let error = disk.open(&pipe, how).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{how:?}");
    }
    assert!(disk.lock(&pipe).is_err());
    assert_eq!(disk.entry(&pipe).unwrap().unwrap().kind, EntryKind::Other);
}

#[test]
fn a_lock_through_a_linked_directory_is_the_same_lock() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    disk.create_dir(&dir.path.join("store")).unwrap();
    symlink(dir.path.join("store"), dir.path.join("link")).unwrap();
    let _held = disk.lock(&dir.path.join("store/LOCK")).unwrap();
    assert!(matches!(disk.lock(&dir.path.join("link/LOCK")).unwrap(), Lock::Busy { .. }));
}

/// A descriptor that reached another program would keep the lock beyond our end.
#[test]
fn a_started_program_does_not_keep_the_lock() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    let held = disk.lock(&dir.path.join("LOCK")).unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    drop(held);
    let again = disk.lock(&dir.path.join("LOCK")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(again, Lock::Held(_)));
}

#[test]
fn a_holder_that_wrote_no_text_is_still_busy() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    let path = dir.path.join("LOCK");
    let _held = disk.lock(&path).unwrap();
    let file = disk.open(&path, Open::Write).unwrap();
    file.set_len(0).unwrap();
    assert!(matches!(disk.lock(&path).unwrap(), Lock::Busy { holder } if holder.is_empty()));
    file.write_at(&[0xFF; 10_000], 0).unwrap();
    assert!(matches!(disk.lock(&path).unwrap(), Lock::Busy { .. }));
}

#[test]
fn the_clock_goes_forward() {
    let clock = RealClock::new();
    let before = clock.now();
    clock.sleep(Duration::from_millis(2));
    assert!(before + Duration::from_millis(2) <= clock.now());
    assert!(Duration::from_secs(1_700_000_000) < clock.wall());
}

#[test]
fn the_room_of_a_file_system_is_told() {
    let (disk, dir) = (RealVfs::new(), TempDir::new());
    let room = disk.room(&dir.path).unwrap().unwrap();
    assert!(0 < room.free_bytes && room.free_bytes <= room.bytes, "{room:?}");
    assert!(disk.room(&dir.path.join("absent")).is_err());
}

/// Names the file that a copy of this program holds for `a_pid_file_tells_who_holds_it`.
const HELD: &str = "OLIVINE_HELD_PID_FILE";

/// Whoever looks learns from the kernel who holds the file, and disturbs nobody; a crash leaves a file that
/// nobody holds.
#[test]
fn a_pid_file_tells_who_holds_it() {
    if let Some(path) = std::env::var_os(HELD) {
        let _held = PidFile::hold(Path::new(&path)).unwrap().unwrap();
        println!("\nheld");
        io::Read::read(&mut io::stdin(), &mut [0]).unwrap();
        return;
    }
    let dir = TempDir::new();
    let path = dir.path.join("x.pid");
    assert_eq!(PidFile::holder(&path).unwrap(), Holder::Nobody);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "real::tests::a_pid_file_tells_who_holds_it", "--nocapture"])
        .env(HELD, &path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let said = io::BufReader::new(child.stdout.take().unwrap());
    assert!(io::BufRead::lines(said).any(|line| line.unwrap() == "held"));
    for _ in 0..3 {
        assert_eq!(PidFile::holder(&path).unwrap(), Holder::Process(child.id()));
        assert!(PidFile::hold(&path).unwrap().is_none());
    }
    crate::kill(child.id()).unwrap();
    child.wait().unwrap();
    assert_eq!(PidFile::holder(&path).unwrap(), Holder::Left(child.id().to_string()));
    let ours = PidFile::hold(&path).unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    assert_eq!(mode(&path), 0o600);
    ours.remove().unwrap();
    assert_eq!(PidFile::holder(&path).unwrap(), Holder::Nobody);
}

#[test]
fn output_goes_behind_what_is_there() {
    let dir = TempDir::new();
    let path = dir.path.join("log");
    for _ in 0..2 {
        let output = open_output(&path).unwrap();
        let mut child = Command::new("echo").arg("line").stdout(output).spawn().unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "line\nline\n");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn memory_of_a_process_is_told_where_there_is_one() {
    let bytes = crate::resident_bytes(std::process::id());
    if cfg!(target_os = "linux") {
        assert!(bytes.is_some_and(|bytes| 64 << 10 < bytes), "{bytes:?}");
    }
    assert_eq!(crate::resident_bytes(u32::MAX), None);
}
