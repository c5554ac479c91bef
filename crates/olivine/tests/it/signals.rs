//! SIGINT and SIGTERM to a program at work: it ends soon, tells how far it came, and the store has what it
//! acknowledged.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use olivine_vfs::{Interrupt, Random};

use crate::{Dir, olivine, text};

/// The longest that an end may take.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How many signals each test sends; together thirty.
const SHELLS: u64 = 15;
const LOADS: u64 = 8;
const BACKUPS: u64 = 7;

fn started(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Asks `child` to end, and returns its exit code after it did so in time.
fn asked_to_end(child: &mut Child, interrupt: Interrupt) -> Option<i32> {
    interrupt.send(child.id()).unwrap();
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if END_WITHIN < began.elapsed() {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it was asked to end and had not after {END_WITHIN:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Nothing half made is left in the directory of a store that was opened since, or of backups.
fn nothing_half_made(dir: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let extension = Path::new(&name).extension();
        let half = extension.is_some() || name.starts_with("draft-");
        assert!(!half, "{name} was left in {dir}");
    }
}

/// A shell that flushes and merges all the time is asked to end between any two lines or in the midst of
/// one. What it answered `OK` to is there, and of the rest at most the line that it was at.
#[test]
fn a_shell_that_is_asked_to_end_keeps_what_it_acknowledged() {
    let (dir, mut random) = (Dir::new("signal-shell"), Random::new(7));
    let mut acknowledged = 0;
    for round in 0..SHELLS {
        let interrupt = if round % 2 == 0 { Interrupt::Term } else { Interrupt::Int };
        let mut arguments = vec!["shell", dir.path(), "--capacity", "40", "--durability"];
        arguments.push(if random.chance(1, 3) { "sync" } else { "os" });
        let mut child = started(&arguments);
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let from = acknowledged;
        let writer = thread::Builder::new().spawn(move || {
            for nth in from.. {
                let line = match nth % 97 {
                    96 => "COMPACT\n".to_owned(),
                    _ => format!("SET key{nth:05} {nth}\n"),
                };
                if input.write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        assert_eq!(first, "OK\n");
        let reader = thread::Builder::new().spawn(move || {
            output.lines().map_while(Result::ok).filter(|line| line == "OK").count() as u64
        });
        thread::sleep(Duration::from_micros(random.below(150_000)));
        let code = asked_to_end(&mut child, interrupt);
        assert_eq!(code, Some(i32::from(interrupt.exit_code())));
        acknowledged += 1 + reader.unwrap().join().unwrap();
        writer.unwrap().join().unwrap();

        let output = olivine(&["shell", dir.path()], "SCAN\n");
        let found: Vec<&str> = text(&output.stdout).lines().collect();
        let lines = |up_to: u64| (0..up_to).filter(|nth| nth % 97 != 96);
        let expected = |up_to| lines(up_to).map(|nth| format!("key{nth:05} = {nth}"));
        let entries = &found[..found.len() - 1];
        let whole = expected(acknowledged).eq(entries.iter().copied());
        let one_more = expected(acknowledged + 1).eq(entries.iter().copied());
        assert!(whole || one_more, "round {round}: {} of {acknowledged}", entries.len());
        nothing_half_made(dir.path());
    }
    let output = olivine(&["check", dir.path()], "");
    assert!(output.status.success(), "{}", text(&output.stdout));
}

/// A load from a pipe that never ends, asked to end: what it read whole is in the store, it says from which
/// line to go on, and going on there loses and doubles nothing.
#[test]
fn a_load_that_is_asked_to_end_says_where_to_go_on() {
    let (dir, mut random) = (Dir::new("signal-load"), Random::new(8));
    let line =
        |nth: u64| format!("{{\"keyspace\":\"k\",\"key\":\"{nth:06}\",\"value\":\"v{nth}\"}}\n");
    let mut next = 1;
    for round in 0..LOADS {
        let interrupt = if round % 2 == 0 { Interrupt::Int } else { Interrupt::Term };
        let from = next.to_string();
        let mut child = started(&["load", dir.path(), "-", "--batch", "50", "--from-line", &from]);
        let mut input = child.stdin.take().unwrap();
        // In every other round the pipe falls silent in the midst of a line, and stays open.
        let silent_after = if round % 4 < 2 { u64::MAX } else { next + random.below(500) };
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let writer = thread::Builder::new().spawn(move || {
            for nth in 1..silent_after {
                if input.write_all(line(nth).as_bytes()).is_err() {
                    return;
                }
            }
            input.write_all(b"{\"keyspace\":\"k\",\"key\":").unwrap();
            // Until the process has ended.
            told.recv().ok();
        });
        thread::sleep(Duration::from_micros(50_000 + random.below(200_000)));
        let code = asked_to_end(&mut child, interrupt);
        drop(tell);
        writer.unwrap().join().unwrap();
        assert_eq!(code, Some(i32::from(interrupt.exit_code())));
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let go_on = said.trim().rsplit_once("--from-line ").expect(&said).1;
        let before = next;
        next = go_on.parse().expect(&said);
        assert!(before <= next && said.contains("a signal asked to end; "), "{said}");
        let output = olivine(&["shell", dir.path(), "--keyspace", "k"], "SCAN\n");
        let expected = (1..next).map(|nth| format!("{nth:06} = v{nth}"));
        let found: Vec<&str> = text(&output.stdout).lines().collect();
        assert!(expected.eq(found[..found.len() - 1].iter().copied()), "round {round}: {said}");
        nothing_half_made(dir.path());
    }
    assert!(1 < next);
}

/// A backup has nothing to put in order: a signal ends it where it is. The backups before stay whole, and the
/// next one sweeps what this one left.
#[test]
fn a_backup_that_is_asked_to_end_harms_none() {
    let (dir, to) = (Dir::new("signal-backup"), Dir::new("signal-backups"));
    let mut random = Random::new(9);
    let lines: Vec<_> = (0..20_000).map(|nth| format!("SET key{nth:05} {nth:0200}\n")).collect();
    let arguments = ["shell", dir.path(), "--durability", "os", "--capacity", "2000"];
    olivine(&arguments, &lines.concat());
    for _ in 0..BACKUPS {
        let mut child = started(&["backup", dir.path(), to.path()]);
        thread::sleep(Duration::from_micros(random.below(60_000)));
        asked_to_end(&mut child, Interrupt::Term);
        olivine(&["shell", dir.path()], &format!("SET more {}\n", random.below(1000)));
    }
    let output = olivine(&["backup", dir.path(), to.path()], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = olivine(&["backups", "verify", to.path()], "");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    nothing_half_made(to.path());
    nothing_half_made(dir.path());
}

/// A bench leaves no folder behind, also when somebody has had enough of it.
#[test]
fn a_bench_that_is_asked_to_end_removes_its_folder() {
    let dir = Dir::new("signal-bench");
    fs::create_dir(dir.path()).unwrap();
    let mut child = started(&["bench", "--dir", dir.path(), "--n", "100000000"]);
    while fs::read_dir(dir.path()).unwrap().count() == 0 {
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(asked_to_end(&mut child, Interrupt::Int), Some(130));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
