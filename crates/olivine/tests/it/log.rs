//! What a node tells while it runs, as an operator finds it.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use olivine_doors::json::read_value;
use olivine_vfs::Interrupt;

use crate::{Dir, olivine, text};

/// Keys that would end lines, steer terminals, forge events or fill disks.
fn hostile_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        &b"a\rb"[..],
        b"\x1b[2J\x1b[31mred\x07\x08",
        b"\"}{\"level\":\"info\",\"event\":\"forged\"}",
        b"x event=forged",
        b"\xff\xfe\x9b31m\xc3",
        "\u{202e}txt.exe\u{2028}\u{85}\u{9b}31m".as_bytes(),
        b"back\\slash\x00\x7f",
    ]
    .map(<[u8]>::to_vec)
    .into();
    keys.push(vec![b'L'; 4_000]);
    keys
}

/// A process of the program that has said that it is ready.
struct Running {
    child: Child,
    greeting: String,
}

impl Running {
    fn start(arguments: &[&str], stderr: Stdio) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_olivine"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("\nready") {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "{greeting}");
        }
        Running { child, greeting }
    }

    /// `serve` on ports that are free, with its events in a file of its own.
    fn serve(dir: &Dir, more: &[&str]) -> Running {
        let log = log_file(dir);
        let mut arguments = vec!["serve", "--data-dir", dir.path(), "--memory", "16MiB"];
        arguments.extend(["--json-port", "0", "--line-port", "0", "--http-port", "0"]);
        arguments.extend([
            "--influx-port",
            "0",
            "--select-port",
            "0",
            "--ingest-port",
            "0",
            "--blob-port",
            "0",
            "--volume-port",
            "0",
        ]);
        arguments.extend(["--durability", "os", "--log-file", &log]);
        arguments.extend(more);
        Running::start(&arguments, Stdio::inherit())
    }

    fn connect(&self, door: &str) -> TcpStream {
        let line = self.greeting.lines().find(|line| line.trim_start().starts_with(door)).unwrap();
        let stream = TcpStream::connect(line.split_whitespace().nth(1).unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// What a door answers to some bytes, after which nothing more is sent.
    fn say(&self, door: &str, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect(door);
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = String::from_utf8(self.say("http", request.as_bytes())).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn end(mut self) {
        Interrupt::Term.send(self.child.id()).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn log_file(dir: &Dir) -> String {
    format!("{}/log/node.log", dir.path())
}

fn events_in(log: &str) -> Vec<&str> {
    log.lines().map(|line| member(line, "event")).collect()
}

/// A member of a JSON object whose value has no quotes in it.
fn member<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split(&format!("\"{name}\":\"")).nth(1);
    rest.unwrap_or_else(|| panic!("{name}: {line}")).split('"').next().unwrap()
}

/// Waits until what was told is as wanted.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_node_tells_its_life_in_lines_of_json() {
    let dir = Dir::new("log-life");
    Running::serve(&dir, &["--doors", "line,http"]).end();
    let node = Running::serve(&dir, &["--doors", "line,http", "--log-level", "warn"]);
    let second = olivine(&["serve", "--data-dir", dir.path(), "--log-file", &log_file(&dir)], "");
    assert_eq!(second.status.code(), Some(78), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("--log-file names another file"));
    node.end();
    let log = fs::read_to_string(log_file(&dir)).unwrap();
    let events = events_in(&log);
    let told =
        ["store_opened", "node_started", "door_opened", "door_opened", "stopping", "drained"];
    assert_eq!(events[..6], told, "{log}");
    assert_eq!(events[6..], ["store_closed", "stopped"], "warnings only, of which there were none");
    for line in log.lines() {
        read_value(line).unwrap_or_else(|fault| panic!("{fault:?}: {line}"));
        let time = member(line, "time");
        assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert_eq!(member(line, "level"), "info");
    }
    assert!(log.contains("\"is_new\":true") && log.contains("\"by\":\"SIGTERM\""), "{log}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(log_file(&dir)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_node_that_does_not_start_says_why_in_its_log() {
    let dir = Dir::new("log-locked");
    let node = Running::serve(&dir, &[]);
    let own = format!("{}/own.log", dir.path());
    let arguments = ["serve", "json", "--port", "0", "--data-dir", dir.path(), "--log-file", &own];
    assert_eq!(olivine(&arguments, "").status.code(), Some(6));
    let log = fs::read_to_string(own).unwrap();
    assert_eq!(events_in(&log), ["start_failed"]);
    assert!(log.contains(&format!("process {}", node.child.id())), "{log}");
    node.end();
}

/// Whatever clients send through whichever door, a log is lines of what the node itself says.
#[test]
fn what_clients_send_is_escaped_and_cut() {
    for format in ["json", "text"] {
        let dir = Dir::new(&format!("log-hostile-{format}"));
        let all = ["--slow-millis", "0", "--log-format", format, "--log-level", "debug"];
        let node = Running::serve(&dir, &all);
        for key in hostile_keys() {
            let one_line: Vec<u8> = key.iter().copied().filter(|byte| *byte != b'\n').collect();
            node.say("line", &[b"GET ", &one_line[..], b"\n"].concat());
            node.say("line", &[b"PUT ", &one_line[..], b" hunter2\n"].concat());
            let mut escaped = String::new();
            for letter in String::from_utf8_lossy(&key).chars() {
                write!(escaped, "\\u{:04x}", letter as u32).unwrap();
            }
            let line =
                format!("{{\"command\":\"put\",\"key\":\"{escaped}\",\"value\":\"hunter2\"}}\n");
            let answer = node.say("json", line.as_bytes());
            assert!(text(&answer).contains("stored"), "{}", text(&answer));
            let path: String = key.iter().fold(String::new(), |mut path, byte| {
                write!(path, "%{byte:02x}").unwrap();
                path
            });
            node.get(&format!("/kv/{path}"));
            node.get(&format!("/{path}?{path}"));
            node.say("json", &[&key[..], b"\n"].concat());
            node.say("line", &[&key[..], b"\n"].concat());
        }
        let slow = node.get("/slow");
        node.end();
        let log = fs::read(log_file(&dir)).unwrap();
        let log = str::from_utf8(&log).unwrap();
        let requests = log.matches("slow_request").count();
        assert!(20 < requests, "{log}");
        assert!(slow.lines().count() <= requests && 20 < slow.lines().count());
        for line in log.lines().chain(slow.lines()) {
            assert!(!line.contains(|letter: char| letter.is_control()), "{line:?}");
            assert!(!line.contains(['\u{202e}', '\u{2028}', '\u{feff}']), "{line:?}");
            assert!(!line.contains("hunter2"), "{line}");
            assert!(line.len() < 900, "{line}");
            assert!(!line.contains(&"L".repeat(256)), "{line}");
        }
        for line in log.lines() {
            if format == "json" {
                read_value(line).unwrap_or_else(|fault| panic!("{fault:?}: {line}"));
                assert_ne!(member(line, "event"), "forged");
            } else {
                assert_ne!(line.split_whitespace().nth(2), Some("forged"), "{line}");
            }
        }
        for shown in ["\\x1b[2J", "a\\rb", "\\xff\\xfe\\x9b31m\\xc3", "LLL…(4000 bytes)"] {
            let shown =
                if format == "json" { shown.replace('\\', "\\\\") } else { shown.to_owned() };
            assert!(log.contains(&shown), "{shown}: {log}");
        }
    }
}

/// Files of events go round while a node is asked, and every request is told once.
#[test]
fn no_line_is_lost_while_files_rotate() {
    let dir = Dir::new("log-rotated");
    let more = ["--slow-millis", "0", "--log-file-bytes-max", "4KiB", "--log-files-max", "1000"];
    let node = Running::serve(&dir, &more);
    let ask = |client: usize| {
        let mut stream = node.connect("line");
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        for number in 0..200 {
            writeln!(stream, "GET client-{client}-{number:03}").unwrap();
            let mut answer = String::new();
            answers.read_line(&mut answer).unwrap();
            assert_eq!(answer, "NOT_FOUND\n");
        }
    };
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || ask(client));
        }
    });
    node.end();
    let mut log = String::new();
    let mut files = 0;
    for number in (0..1_000).rev() {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        if let Ok(text) = fs::read_to_string(format!("{}{suffix}", log_file(&dir))) {
            assert!(text.len() <= 4 << 10, "{suffix}: {}", text.len());
            log.push_str(&text);
            files += 1;
        }
    }
    assert!(20 < files, "{files}");
    assert_eq!(log.matches("\"slow_request\"").count(), 800);
    for client in 0..4 {
        let keys: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(&format!("client-{client}-")))
            .map(|line| member(line, "first_key"))
            .collect();
        let wanted: Vec<String> = (0..200).map(|n| format!("client-{client}-{n:03}")).collect();
        assert_eq!(keys, wanted);
    }
}

/// A pipe that nobody reads fills, and nobody but the log minds.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let dir = Dir::new("log-stuck");
    let arguments =
        ["serve", "line", "--port", "0", "--data-dir", dir.path(), "--slow-millis", "0"];
    let mut node = Running::start(&arguments, Stdio::piped());
    let stderr = node.child.stderr.take().unwrap();
    let mut stream = node.connect("line");
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    // Far more than a pipe and the queue take.
    for _ in 0..40_000 {
        stream.write_all(b"GET a\n").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "NOT_FOUND\n");
    }
    drop(stream);
    let began = Instant::now();
    node.end();
    assert!(began.elapsed() < Duration::from_secs(20));
    drop(stderr);
}

#[test]
fn a_storage_that_goes_and_comes_is_told() {
    let dir = Dir::new("log-halves");
    let (log, own) = (log_file(&dir), format!("{}/own.log", dir.path()));
    let storage = ["storage", "--data-dir", dir.path(), "--log-file", &own];
    let coordinator = ["coordinator", "http", "--port", "0", "--data-dir", dir.path()];
    let coordinator = [&coordinator[..], &["--log-file", &log]].concat();
    let node = Running::start(&coordinator, Stdio::inherit());
    let log = || fs::read_to_string(log_file(&dir)).unwrap();
    let told = |event: &str, times: usize| {
        wait_for(event, || log().matches(&format!("\"event\":\"{event}\"")).count() == times);
    };
    told("storage_lost", 1);
    assert!(node.get("/readyz").contains("the storage cannot be reached"));
    assert!(
        node.get("/metrics").contains("\"status\":503"),
        "whether there are users is not known"
    );
    for time in 1..=2 {
        let half = Running::start(&storage, Stdio::inherit());
        told("storage_reached", time);
        wait_for("ready", || node.get("/readyz") == "ok\n");
        assert!(node.get("/metrics").contains("\nolivine_store_up 1\n"));
        half.end();
        told("storage_lost", 1 + time);
        let metrics = node.get("/metrics");
        assert!(metrics.contains("\nolivine_store_up 0\n"), "{metrics}");
        assert!(metrics.contains("\nolivine_ready 0\n") && !metrics.contains("olivine_keys"));
    }
    node.end();
    let events = log();
    let events: Vec<&str> =
        events_in(&events).into_iter().filter(|event| event.starts_with("storage")).collect();
    let wanted = ["storage_lost", "storage_reached", "storage_lost", "storage_reached"];
    assert_eq!(events, [&wanted[..], &["storage_lost"]].concat());
    let own = fs::read_to_string(own).unwrap();
    assert_eq!(own.matches("\"socket_opened\"").count(), 2, "{own}");
    assert!(own.contains("\"half\":\"storage\""), "{own}");
}

#[test]
fn connections_turned_away_are_told_once_a_while() {
    let dir = Dir::new("log-refused");
    let node = Running::serve(&dir, &["--connections-max", "1", "--doors", "line"]);
    let mut only = node.connect("line");
    only.write_all(b"GET a\n").unwrap();
    let mut answers = BufReader::new(only.try_clone().unwrap());
    answers.read_line(&mut String::new()).unwrap();
    for _ in 0..20 {
        let mut answer = String::new();
        node.connect("line").read_to_string(&mut answer).unwrap();
        assert!(answer.contains("connections-max"), "{answer}");
    }
    drop((only, answers));
    node.end();
    let log = fs::read_to_string(log_file(&dir)).unwrap();
    let refused: Vec<&str> =
        log.lines().filter(|line| line.contains("connections_refused")).collect();
    assert!(refused[0].contains("\"door\":\"line\",\"count\":1,\"connections_max\":1"), "{log}");
    assert!(refused.len() <= 3, "{log}");
}

#[test]
fn what_cannot_be_said_of_a_log_is_refused() {
    for (arguments, said) in [
        (&["--log-format", "xml"][..], "`--log-format` wants one of auto, text, json, not `xml`"),
        (&["--log-level", "loud"], "`--log-level` wants one of info, error, warn, debug"),
        (&["--log-files-max", "3"], "go with `--log-file`"),
        (&["--log-file", "x", "--log-file-bytes-max", "1KiB"], "must be 4096 at least"),
        (&["--log-file", "x", "--log-files-max", "0"], "must be 1 to 1000"),
        (&["--slow-millis", "soon"], "`--slow-millis` wants a number, not `soon`"),
        (&["--log-fil", "x"], "did you mean `--log-file`?"),
    ] {
        let output = olivine(&[&["serve"], arguments].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
    let output = olivine(&["serve", "--log-file", "/", "--doors", "line"], "");
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    assert!(said.contains("`--log-file` wants a file, not `/`"), "{said}");
}

/// Prometheus' own linter has nothing to say.
#[test]
#[ignore = "needs promtool; `cargo xtask test --only clients`"]
fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let dir = Dir::new("log-promtool");
    let node = Running::serve(&dir, &[]);
    node.say("line", b"PUT a 1\nGET a\nFLY\n");
    let metrics = node.get("/metrics");
    node.end();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}
