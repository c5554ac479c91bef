//! The program from outside: what it prints where, and its exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests look at the program's files from outside"
)]

mod blobs;
mod client;
mod config;
mod confined;
mod copies;
mod ctl;
mod hostile;
mod import;
mod libraries;
mod log;
mod mkv;
mod node;
mod notify;
mod points;
mod remote;
mod series;
mod signals;
mod tools;
mod upgrading;
mod users;
mod writers;

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
};

/// A directory of its own that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = env::temp_dir().join(format!("olivine-{}-{name}", process::id()));
        drop(fs::remove_dir_all(&path));
        Dir(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn olivine(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not wait for its input.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn help_is_understood_everywhere_and_shows_examples() {
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["shell", "--help"], &["shell", "-h"], &[]]
    {
        let output = olivine(arguments, "");
        assert!(output.status.success(), "{arguments:?}");
        let help = text(&output.stdout);
        assert!(help.contains("usage: olivine"), "{arguments:?}: {help}");
        assert!(help.contains("\nexamples:\n"), "{arguments:?}: {help}");
    }
    let output = olivine(&["--version"], "");
    assert!(text(&output.stdout).starts_with("olivine "));
}

#[test]
fn what_is_unknown_is_refused_with_what_is_known() {
    for (arguments, said) in [
        (&["serv"][..], "error: no command `serv`; did you mean `serve`?\n"),
        (&["serve", "--por=1"], "error: no option `--por`; did you mean `--port`?\n"),
        (
            &["serve", "jsn"],
            "error: no door `jsn`; there are json, line, http, influx, select, ingest, blob, volume\n",
        ),
        (&["shell"], "error: `DIR` says where the store is, and is missing\n"),
        (&["shell", "--db", "d", "--fast"], "error: no option `--fast`; there are --db, "),
    ] {
        let output = olivine(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).starts_with(said), "{}", text(&output.stderr));
    }
}

#[test]
fn a_store_keeps_what_a_pipe_wrote() {
    let dir = Dir::new("keeps");
    let output = olivine(&["shell", "--db", dir.path()], "SET a 1\nSET b two words\n");
    assert_eq!(text(&output.stdout), "OK\nOK\n");
    assert!(output.status.success());
    let arguments = ["shell", "--db", dir.path(), "--durability", "os", "--memory", "8MiB"];
    let output = olivine(&arguments, "SCAN\nGET c");
    assert_eq!(text(&output.stdout), "a = 1\nb = two words\n(2 entries)\n(absent)\n");
    assert!(output.status.success());
}

#[test]
fn a_command_that_fails_in_a_pipe_makes_the_exit_code() {
    let dir = Dir::new("fails");
    let output = olivine(&["shell", "--db", dir.path()], "SET a\nSET a 1\nGET a\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "OK\n1\n");
    assert_eq!(text(&output.stderr), "error: line 1: usage: SET key value\n");
}

/// Whoever comes second learns who has the store, and the first is not disturbed.
#[test]
fn a_store_in_use_names_its_holder() {
    let dir = Dir::new("locked");
    let mut first = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(["shell", "--db", dir.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = first.stdin.take().unwrap();
    input.write_all(b"SET a 1\n").unwrap();
    // Its answer shows that it has the store open.
    let mut answers = std::io::BufReader::new(first.stdout.take().unwrap());
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut answers, &mut answer).unwrap();
    assert_eq!(answer, "OK\n");

    let second = olivine(&["shell", "--db", dir.path()], "GET a\n");
    assert_eq!(second.status.code(), Some(6));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("open in process {}", first.id())), "{said}");

    drop(input);
    assert!(first.wait().unwrap().success());
    assert_eq!(text(&olivine(&["shell", "--db", dir.path()], "GET a\n").stdout), "1\n");
}

/// A directory of something else is refused by name and left as it is.
#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = Dir::new("foreign");
    fs::create_dir(&dir.0).unwrap();
    let file = Path::new(&dir.0).join("letter.txt");
    fs::write(&file, "dear reader").unwrap();
    let output = olivine(&["shell", "--db", dir.path()], "SET a 1\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(dir.path()), "{}", text(&output.stderr));
    assert_eq!(fs::read(&file).unwrap(), b"dear reader");
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
}
