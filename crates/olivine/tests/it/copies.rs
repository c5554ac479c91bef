//! Backups as a newcomer makes, verifies and restores them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use crate::{Dir, olivine, text, tools::filled};

#[track_caller]
fn said(arguments: &[&str], code: i32) -> String {
    let output = olivine(arguments, "");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    format!("{out}{err}")
}

fn scan(dir: &str) -> String {
    text(&olivine(&["shell", dir], "KEYS\nGET zebra\n").stdout).to_owned()
}

#[test]
fn backups_are_made_listed_verified_pruned_and_restored() {
    let store = filled("backup-store");
    let place = Dir::new("backup-place");
    let (target, restored) = (format!("{}/b", place.path()), format!("{}/r", place.path()));
    fs::create_dir(place.path()).ok();
    let first = said(&["backup", store.path(), &target], 0);
    assert!(first.starts_with("backup 1: ") && first.contains("of it new"), "{first}");
    let then = scan(store.path());
    olivine(&["shell", store.path()], "SET later 1\nFLUSH\n");
    let second = said(&["backup", store.path(), &target, "--json"], 0);
    assert!(second.starts_with("{\"number\":2,\"store\":\""), "{second}");
    let list = said(&["backups", "list", &target], 0);
    assert_eq!(list.lines().count(), 3, "{list}");
    let json = said(&["backups", "list", &target, "--json"], 0);
    assert!(json.starts_with("[{\"number\":1,") && json.contains("{\"number\":2,"), "{json}");
    assert!(said(&["backups", "verify", &target], 0).contains("all sound"));
    said(&["restore", &target, &restored, "--number", "1"], 0);
    assert_eq!(scan(&restored), then);
    assert!(said(&["restore", &target, &restored], 1).contains("it is not empty"));
    let absent = said(&["restore", &target, "nowhere", "--number", "9"], 3);
    assert!(absent.contains("there are 1, 2"), "{absent}");

    let stored = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().path());
    let table = |path: &std::path::PathBuf| path.to_string_lossy().contains("table-");
    let table = stored.filter(table).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&table).unwrap();
    bytes[200] ^= 1;
    fs::write(&table, bytes).unwrap();
    let verified = said(&["backups", "verify", &target], 5);
    let name = table.file_name().unwrap().to_str().unwrap();
    assert!(verified.contains(name) && verified.contains("need it: 1, 2"), "{verified}");
    let again = format!("{}/again", place.path());
    assert!(said(&["restore", &target, &again], 5).contains(name));
    assert!(!fs::exists(&again).unwrap());
    assert!(said(&["backups", "prune", &target, "--keep", "1"], 0).contains("removed backups 1"));
    said(&["backups", "prune", &target], 2);
    said(&["backups", "paint", &target], 2);
    said(&["backup", store.path()], 2);
    assert!(said(&["backup", "nowhere", &target], 1).contains("there is no store there"));
}

/// Another process has the store open and goes on.
#[test]
fn a_store_that_is_open_is_backed_up() {
    let store = filled("backup-open");
    let place = Dir::new("backup-open-place");
    let target = format!("{}-b", place.path());
    let mut shell = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(["shell", store.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap());
    input.write_all(b"SET open yes\n").unwrap();
    output.read_line(&mut String::new()).unwrap();
    said(&["backup", store.path(), &target], 0);
    let restored = format!("{}-r", place.path());
    said(&["restore", &target, &restored], 0);
    let got = olivine(&["shell", &restored], "GET open\n");
    assert!(text(&got.stdout).contains("yes"), "{}", text(&got.stdout));
    drop(input);
    assert!(shell.wait().unwrap().success());
    for dir in [target, restored] {
        fs::remove_dir_all(dir).unwrap();
    }
}
