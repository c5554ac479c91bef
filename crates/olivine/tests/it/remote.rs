//! Backups of a node that serves: under load, whole or in two halves, cut short on either side.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use olivine_engine::{Db, Environment, EnvironmentOptions, Options};
use olivine_vfs::Interrupt;

use crate::{Dir, olivine, text};

/// Processes of a node, the one with the doors last.
pub(crate) struct Node {
    children: Vec<Child>,
    greeting: String,
}

fn spawned(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_olivine"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    while !greeting.contains("\nready") {
        assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "{greeting}");
    }
    (child, greeting)
}

const PORTS: [&str; 4] = ["--doors", "json,line,http", "--bind", "127.0.0.1"];
const ANY: [&str; 6] = ["--json-port", "0", "--line-port", "0", "--http-port", "0"];
const STORE: [&str; 2] = ["--memtable-size", "4000"];
const MEMORY: [&str; 2] = ["--memory", "16MiB"];

impl Node {
    pub(crate) fn start(dir: &str, more: &[&str]) -> Node {
        let memory = if more.contains(&"--memory") { &[] } else { &MEMORY[..] };
        let start = ["serve", "--data-dir", dir];
        let arguments = [&start, &STORE[..], memory, &PORTS, &ANY, more].concat();
        let (child, greeting) = spawned(&arguments);
        Node { children: vec![child], greeting }
    }

    fn halves(dir: &str) -> Node {
        let (storage, _) =
            spawned(&[&["storage", "--data-dir", dir], &STORE[..], &MEMORY].concat());
        let arguments = [&["coordinator", "--data-dir", dir], &PORTS[..], &ANY].concat();
        let (coordinator, greeting) = spawned(&arguments);
        let node = Node { children: vec![storage, coordinator], greeting };
        while http(&node.address("http"), "GET", "/readyz").0 != 200 {
            thread::yield_now();
        }
        node
    }

    pub(crate) fn address(&self, door: &str) -> String {
        let line = self.greeting.lines().find(|line| line.trim_start().starts_with(door)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address("http"))
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (status, metrics) = http(&self.address("http"), "GET", "/metrics");
        assert_eq!(status, 200);
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
    }

    /// Kills it as a power cut would.
    fn kill(mut self) {
        self.kill_all();
    }

    fn kill_all(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
    }

    pub(crate) fn end(mut self) {
        for child in self.children.iter_mut().rev() {
            Interrupt::Term.send(child.id()).unwrap();
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Status and body of an answer.
pub(crate) fn http(address: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "host: localhost\r\nconnection: close\r\ncontent-length: 0";
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[track_caller]
fn code(output: &Output, code: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    format!("{out}{err}")
}

#[track_caller]
pub(crate) fn said(arguments: &[&str], expected: i32) -> String {
    code(&olivine(arguments, ""), expected)
}

fn backup(url: &str, target: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    command.args(["backup", "--server", url, target, "--memory", "16MiB"]);
    command
}

/// A number of a JSON answer.
fn number(json: &str, name: &str) -> u64 {
    let rest = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{json}")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Lines of the JSON door, and how many answers have come.
struct Writer {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Writer {
    fn connect(node: &Node) -> Writer {
        let stream = TcpStream::connect(node.address("json")).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        let mut writer = Writer { stream, answers };
        // Each worker of a coordinator has a way of its own to the storage, and it may not be there yet.
        while writer.ask("{\"command\":\"get\",\"key\":\"none\"}\n").contains("unavailable") {
            thread::yield_now();
        }
        writer
    }

    fn ask(&mut self, line: &str) -> String {
        self.stream.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer
    }

    /// Sends lines, and returns when each is acknowledged.
    fn send(&mut self, lines: &str) {
        self.stream.write_all(lines.as_bytes()).unwrap();
        for _ in lines.lines() {
            let mut answer = String::new();
            self.answers.read_line(&mut answer).unwrap();
            assert!(answer.starts_with("{\"status\":\"ok\""), "{answer}");
        }
    }
}

/// Two keys of one request, which are there together or not at all.
fn pair(writer: usize, nth: u64) -> String {
    let value = format!("{nth:0100}");
    format!(
        "{{\"command\":\"batch_put\",\"keys\":[\"a{writer}:{nth:08}\",\"b{writer}:{nth:08}\"],\"values\":[\"{value}\",\"{value}\"]}}\n"
    )
}

/// Fills a node with about so many KiB in several tables.
fn fill(node: &Node, kib: u64) {
    let mut writer = Writer::connect(node);
    // Nothing that compresses.
    let word = |number: u64| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    for first in (0..kib).step_by(64) {
        let mut lines = String::new();
        for nth in first..first + 64 {
            let mut value = String::new();
            for part in 0..64 {
                write!(value, "{:016x}", word(64 * nth + part)).unwrap();
            }
            writeln!(lines, "{{\"command\":\"put\",\"key\":\"k{nth:08}\",\"value\":\"{value}\"}}")
                .unwrap();
        }
        writer.send(&lines);
    }
}

/// A node with about so many KiB in tables that nothing more is to be done about.
fn filled(dir: &Dir, kib: u64, more: &[&str]) -> Node {
    let node = Node::start(dir.path(), &["--durability", "os"]);
    fill(&node, kib);
    node.end();
    let environment = Environment::new(EnvironmentOptions { memory_bytes: 16 << 20 }).unwrap();
    let db = Db::open(&environment, dir.0.join("store"), Options::default()).unwrap();
    db.settle().unwrap();
    db.close().unwrap();
    Node::start(dir.path(), more)
}

/// All keys of a node.
fn keys(node: &Node) -> BTreeMap<String, String> {
    let (mut all, mut after) = (BTreeMap::new(), String::new());
    loop {
        let (status, page) = http(&node.address("http"), "GET", &format!("/kv?limit=10000{after}"));
        assert_eq!(status, 200);
        after.clear();
        for line in page.lines() {
            let word = |name: &str| {
                let rest = line.split_once(&format!("\"{name}\":\""))?.1;
                Some(rest.split('"').next()?.to_owned())
            };
            match (word("key"), word("value"), word("next")) {
                (Some(key), Some(value), _) => drop(all.insert(key, value)),
                (_, _, Some(next)) => after = format!("&after={next}"),
                _ => panic!("{line}"),
            }
        }
        if after.is_empty() {
            return all;
        }
    }
}

const WRITERS: usize = 3;

/// Tells writers that it is over.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// While writers write as fast as they can, two backups are made; what each is restored to has of every writer
/// a start of what it wrote, everything that was acknowledged before the backup began, and no half of a pair.
fn backed_up_under_load(node: Node, place: &Dir) {
    fs::create_dir_all(place.path()).unwrap();
    let target = format!("{}/backups", place.path());
    assert_eq!(node.metric("olivine_last_backup_timestamp_seconds"), 0);
    assert!(0 < node.metric("olivine_disk_free_bytes"));
    let acknowledged: [AtomicU64; WRITERS] = Default::default();
    let ended = AtomicBool::new(false);
    let mut before = Vec::new();
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for (number, acknowledged) in acknowledged.iter().enumerate() {
            let (node, ended) = (&node, &ended);
            let write = move || {
                let mut writer = Writer::connect(node);
                while !ended.load(SeqCst) {
                    let first = acknowledged.load(SeqCst);
                    writer.send(
                        &(first..first + 50).map(|nth| pair(number, nth)).collect::<String>(),
                    );
                    acknowledged.store(first + 50, SeqCst);
                }
            };
            writers.push(scope.spawn(write));
        }
        // Also when something fails: who writes must not write for ever.
        let _ending = Ending(&ended);
        for goal in [3_000, 6_000] {
            while acknowledged.iter().any(|acknowledged| acknowledged.load(SeqCst) < goal) {
                assert!(!writers.iter().any(|writer| writer.is_finished()), "a writer failed");
                thread::yield_now();
            }
            before.push(acknowledged.each_ref().map(|acknowledged| acknowledged.load(SeqCst)));
            let made = said(
                &["backup", "--server", &node.url(), &target, "--json", "--memory", "16MiB"],
                0,
            );
            assert_eq!(number(&made, "number"), before.len() as u64, "{made}");
        }
    });
    assert!(0 < node.metric("olivine_last_backup_timestamp_seconds"));
    assert_eq!(node.metric("olivine_backups_under_way"), 0);
    node.end();
    assert!(said(&["backups", "verify", &target], 0).contains("all sound"));
    for (nth, before) in (1..).zip(&before) {
        let data = format!("{}/deep/restored-{nth}", place.path());
        said(&["restore", &target, "--data-dir", &data, "--number", &nth.to_string()], 0);
        let restored = Node::start(&data, &[]);
        let found = keys(&restored);
        for (writer, before) in before.iter().enumerate() {
            let of = |letter: &str| {
                found.range(format!("{letter}{writer}:")..format!("{letter}{writer};"))
            };
            let count = of("a").count() as u64;
            assert!(*before <= count, "{count} of {before}");
            let whole = of("a").zip(of("b")).enumerate().all(|(nth, (a, b))| {
                a.0[3..] == b.0[3..] && a.1 == b.1 && a.0[3..] == format!("{nth:08}")
            });
            assert!(whole && of("b").count() as u64 == count, "backup {nth}, writer {writer}");
        }
        restored.end();
    }
}

#[test]
fn a_node_is_backed_up_under_load() {
    let (dir, place) = (Dir::new("remote-load"), Dir::new("remote-load-place"));
    backed_up_under_load(Node::start(dir.path(), &[]), &place);
}

#[test]
fn a_node_in_two_halves_is_backed_up_under_load() {
    let (dir, place) = (Dir::new("remote-halves"), Dir::new("remote-halves-place"));
    backed_up_under_load(Node::halves(dir.path()), &place);
}

/// Stands between a client and a node, counts what the node says, and can stop passing it on.
struct Between {
    address: String,
    passed: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    stalled: mpsc::Receiver<()>,
}

impl Between {
    /// After `most` bytes of answers no more are passed on, and who waits for `stalled` is told.
    fn start(node: String, most: u64) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (passed, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (tell, stalled) = mpsc::channel();
        let (counted, ended, all) = (Arc::clone(&passed), Arc::clone(&cut), Arc::clone(&streams));
        thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let Ok(there) = TcpStream::connect(&node) else { continue };
                    if ended.load(SeqCst) {
                        continue;
                    }
                    let halves = [stream.try_clone(), there.try_clone()].map(Result::unwrap);
                    all.lock().unwrap().extend(halves);
                    let [mut from, mut to] =
                        [stream.try_clone(), there.try_clone()].map(Result::unwrap);
                    thread::Builder::new()
                        .spawn(move || std::io::copy(&mut from, &mut to))
                        .unwrap();
                    let (counted, tell) = (Arc::clone(&counted), tell.clone());
                    thread::Builder::new()
                        .spawn(move || pass(there, stream, &counted, most, &tell))
                        .unwrap();
                }
            })
            .unwrap();
        Between { address, passed, cut, streams, stalled }
    }

    fn wait(&self) {
        self.stalled.recv_timeout(Duration::from_mins(1)).unwrap();
    }

    /// Ends every connection through it, and takes none any more.
    fn cut(&self) {
        self.cut.store(true, SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    counted: &AtomicU64,
    most: u64,
    tell: &mpsc::Sender<()>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0) as u64;
        if read == 0 || most <= counted.fetch_add(read, SeqCst) + read {
            if read != 0 {
                tell.send(()).ok();
                // Until it is cut.
                from.read_to_end(&mut Vec::new()).ok();
            }
            to.shutdown(Shutdown::Both).ok();
            return;
        }
        if to.write_all(&buffer[..read as usize]).is_err() {
            from.shutdown(Shutdown::Both).ok();
            return;
        }
    }
}

/// The names in a directory that begin or end so.
fn names(dir: &str, which: impl Fn(&str) -> bool) -> Vec<String> {
    let names =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| which(name)).collect()
}

fn unfinished(target: &str) -> usize {
    names(target, |name| name.contains(".next")).len()
}

/// Bytes that are enough to be in the middle: several files have come, and more are to come.
const MIDDLE: u64 = 5 << 20;
const KIB: u64 = 12 << 10;

#[test]
fn a_node_that_is_killed_in_the_middle_costs_nothing_but_time() {
    let (dir, place) = (Dir::new("remote-killed"), Dir::new("remote-killed-place"));
    fs::create_dir_all(place.path()).unwrap();
    let target = format!("{}/backups", place.path());
    let node = filled(&dir, KIB, &[]);
    let whole = number(
        &said(&["backup", "--server", &node.url(), &format!("{target}-0"), "--json"], 0),
        "bytes",
    );
    assert!(2 * MIDDLE < whole, "{whole}");
    let between = Between::start(node.address("http"), MIDDLE);
    let child = backup(&between.address, &target).stderr(Stdio::piped()).spawn().unwrap();
    between.wait();
    node.kill();
    between.cut();
    let told = code(&child.wait_with_output().unwrap(), 4);
    assert!(told.contains("run it again, and what has come is not fetched again"), "{told}");
    assert_eq!(unfinished(&target), 0);
    assert!(said(&["backups", "list", &target], 0).contains("no backups"));
    let kept: u64 = names(&target, |name| name.starts_with("table-"))
        .iter()
        .map(|name| fs::metadata(format!("{target}/{name}")).unwrap().len())
        .sum();
    assert!(MIDDLE / 4 < kept, "{kept}");

    let node = Node::start(dir.path(), &[]);
    assert_eq!(names(dir.path(), |name| name == "lent"), [""; 0], "what was lent is cleared away");
    let between = Between::start(node.address("http"), u64::MAX);
    let output = backup(&between.address, &target).output().unwrap();
    assert!(code(&output, 0).starts_with("backup 1: "));
    let passed = between.passed.load(SeqCst);
    assert!(passed < whole - kept / 2, "{passed} of {whole}, {kept} were there");
    assert!(said(&["backups", "verify", &target], 0).contains("all sound"));

    // Once more: everything but what was in memory is there already.
    let again = said(&["backup", "--server", &node.url(), &target, "--json"], 0);
    assert!(number(&again, "bytes_new") < whole / 4, "{again}");
    let metric = node.metric("olivine_last_backup_timestamp_seconds");
    assert!(0 < metric);
    node.end();
    let node = Node::start(dir.path(), &[]);
    assert_eq!(node.metric("olivine_last_backup_timestamp_seconds"), metric, "a restart knows it");
}

#[test]
fn a_client_that_ends_in_the_middle_costs_nothing_but_time() {
    let (dir, place) = (Dir::new("remote-client"), Dir::new("remote-client-place"));
    fs::create_dir_all(place.path()).unwrap();
    let target = format!("{}/backups", place.path());
    let node = filled(&dir, KIB, &["--backup-idle", "2s"]);
    let between = Between::start(node.address("http"), MIDDLE);
    let mut killed = backup(&between.address, &target).spawn().unwrap();
    between.wait();
    killed.kill().unwrap();
    killed.wait().unwrap();
    between.cut();
    assert_eq!(node.metric("olivine_backups_under_way"), 1);
    assert_eq!(unfinished(&target), 1, "it was killed");
    // Nobody reads it any more.
    while node.metric("olivine_backups_under_way") != 0 {
        thread::yield_now();
    }
    while !names(&format!("{}/lent", dir.path()), |_| true).is_empty() {
        thread::yield_now();
    }

    let between = Between::start(node.address("http"), MIDDLE);
    let asked = backup(&between.address, &target).stderr(Stdio::piped()).spawn().unwrap();
    between.wait();
    Interrupt::Int.send(asked.id()).unwrap();
    between.cut();
    let told = code(&asked.wait_with_output().unwrap(), 130);
    assert!(told.contains("a signal asked to end"), "{told}");
    assert_eq!(unfinished(&target), 0);
    assert!(said(&["backups", "list", &target], 0).contains("no backups"));

    let made = said(&["backup", "--server", &node.url(), &target], 0);
    assert!(made.starts_with("backup 1: "), "{made}");
    assert!(said(&["backups", "verify", &target], 0).contains("all sound"));
    assert_eq!(unfinished(&target), 0);
}

/// A connection that breaks is made anew, and the backup goes on where it was.
#[test]
fn a_connection_that_breaks_is_made_anew() {
    let (dir, place) = (Dir::new("remote-breaks"), Dir::new("remote-breaks-place"));
    let node = filled(&dir, KIB, &[]);
    let between = Between::start(node.address("http"), MIDDLE);
    let child = backup(&between.address, place.path()).stdout(Stdio::piped()).spawn().unwrap();
    between.wait();
    // Less than the middle is passed on from now on, time and again.
    between.passed.store(0, SeqCst);
    for stream in between.streams.lock().unwrap().drain(..) {
        stream.shutdown(Shutdown::Both).ok();
    }
    let cutting = thread::scope(|scope| {
        let child = scope.spawn(move || child.wait_with_output().unwrap());
        while !child.is_finished() {
            if between.stalled.try_recv().is_ok() {
                between.passed.store(0, SeqCst);
                for stream in between.streams.lock().unwrap().drain(..) {
                    stream.shutdown(Shutdown::Both).ok();
                }
            }
            thread::yield_now();
        }
        child.join().unwrap()
    });
    assert!(code(&cutting, 0).starts_with("backup 1: "));
    assert!(said(&["backups", "verify", place.path()], 0).contains("all sound"));
}

/// Where memory is short, pieces are shorter than they are asked for; values that stand apart come as the rest does.
#[test]
fn a_node_with_little_memory_is_backed_up() {
    let (dir, place) = (Dir::new("remote-little"), Dir::new("remote-little-place"));
    fs::create_dir_all(place.path()).unwrap();
    let target = format!("{}/backups", place.path());
    let node = filled(&dir, 2 << 10, &["--memory", "4MiB"]);
    let value = "large ".repeat(300_000);
    let line = format!("{{\"command\":\"put\",\"key\":\"large\",\"value\":\"{value}\"}}\n");
    Writer::connect(&node).send(&line);
    let expected = keys(&node);
    for _ in 0..2 {
        said(&["backup", "--server", &node.url(), &target], 0);
    }
    assert!(said(&["backups", "verify", &target], 0).contains("all sound"));
    let data = format!("{}/data", place.path());
    said(&["restore", &target, "--data-dir", &data], 0);
    let restored = Node::start(&data, &[]);
    assert!(keys(&restored) == expected && expected["large"] == value);
}

#[test]
fn steps_of_a_backup_over_http() {
    let dir = Dir::new("remote-steps");
    let node = Node::start(dir.path(), &["--backup-idle", "1s"]);
    Writer::connect(&node).send(&pair(0, 0));
    let address = node.address("http");
    let (status, lines) = http(&address, "POST", "/backup");
    assert_eq!(status, 200);
    assert_eq!(number(&lines, "idle_ms_max"), 1_000);
    let (id, files) = (number(&lines, "backup"), number(&lines, "files"));
    assert_eq!(lines.lines().count() as u64, files + 1, "{lines}");
    assert!(lines.contains("{\"file\":0,\"name\":\"store/catalog\",\"bytes\":"), "{lines}");
    assert_eq!(http(&address, "GET", &format!("/backup/{id}/1")).0, 200);
    for (method, path, expected) in [
        ("GET", format!("/backup/{id}/{files}"), 404),
        ("GET", format!("/backup/{}/0", id + 1), 404),
        ("GET", "/backup/18446744073709551616/0".to_owned(), 404),
        ("GET", format!("/backup/{id}/..%2f..%2fetc"), 404),
        ("GET", format!("/backup/{id}/0/0"), 404),
        ("GET", format!("/backup/{id}/+1"), 404),
        ("GET", format!("/backup/{id}/0?offset=x"), 400),
        ("GET", format!("/backup/{id}/0?ofset=1"), 400),
        ("GET", format!("/backup/{id}/0?offset=18446744073709551615"), 200),
        ("GET", "/backup".to_owned(), 405),
        ("PUT", format!("/backup/{id}/0"), 405),
        ("GET", format!("/backup/{id}"), 405),
        ("POST", "/backup?full=true".to_owned(), 400),
        ("DELETE", format!("/backup/{id}?kept=maybe"), 400),
        ("DELETE", format!("/backup/{}", id + 1), 404),
    ] {
        let (status, body) = http(&address, method, &path);
        assert_eq!(status, expected, "{method} {path}: {body}");
    }
    // A page of another site may not begin one, nor read of one.
    let mut stream = TcpStream::connect(&address).unwrap();
    let foreign = "origin: http://evil.example\r\nconnection: close\r\ncontent-length: 0";
    write!(stream, "POST /backup HTTP/1.1\r\nhost: localhost\r\n{foreign}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");

    let others: Vec<u64> =
        (0..3).map(|_| number(&http(&address, "POST", "/backup").1, "backup")).collect();
    let (status, refused) = http(&address, "POST", "/backup");
    assert!(status == 503 && refused.contains("4 backups are under way"), "{refused}");
    let told = said(&["backup", "--server", &node.url(), &format!("{}-b", dir.path())], 1);
    assert!(told.contains("cannot make a backup now: 4 backups are under way"), "{told}");
    assert!(!fs::exists(format!("{}-b", dir.path())).unwrap(), "nothing was made");
    assert_eq!(http(&address, "DELETE", &format!("/backup/{}", others[0])).0, 204);
    while node.metric("olivine_backups_under_way") != 0 {
        thread::yield_now();
    }
    assert_eq!(http(&address, "GET", &format!("/backup/{id}/0")).0, 404, "nobody read it");
    assert_eq!(node.metric("olivine_last_backup_timestamp_seconds"), 0, "none was kept");
}

#[test]
fn what_is_wrong_with_a_call_is_told() {
    let (dir, place) = (Dir::new("remote-wrong"), Dir::new("remote-wrong-place"));
    let node = Node::start(dir.path(), &[]);
    let url = node.url();
    fs::create_dir_all(place.path()).unwrap();
    let letter = format!("{}/letter.txt", place.path());
    fs::write(&letter, "dear reader").unwrap();
    let (line, json) =
        (format!("http://{}", node.address("line")), format!("http://{}", node.address("json")));
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (arguments, code, what) in [
        (
            &["backup", "--server", "localhost:8080", "b"][..],
            2,
            "`--server` wants a server such as",
        ),
        (&["backup", "--server", "ftp://localhost", "b"], 2, "wants a server such as"),
        (&["backup", "--server", &url, "--ca", &letter, "b"], 2, "is for servers at https://"),
        (&["backup", "--server", "", "b"], 2, "`--server` wants"),
        (&["backup", "--server", &url, "a", "b"], 2, "with `--server` only TARGET is named"),
        (&["backup", "--server", &url], 2, "see the examples"),
        (&["backup", "--sever", &url, "b"], 2, "did you mean `--server`?"),
        (
            &["backup", "--server", &format!("http://{unused}"), "b"],
            4,
            "cannot connect to 127.0.0.1:",
        ),
        (
            &["backup", "--server", "http://no-such-host.invalid", "b"],
            4,
            "cannot connect to no-such",
        ),
        (&["backup", "--server", &line, "b"], 1, "does not answer as a node does"),
        (&["backup", "--server", &url, place.path()], 1, "holds \"letter.txt\""),
        (&["backup", "--server", &url, "/nowhere/at/all"], 1, "cannot create directory"),
        (&["restore", place.path(), "r", "--data-dir", "d"], 2, "not both"),
    ] {
        let told = said(arguments, code);
        assert!(told.contains(what), "{arguments:?}: {told}");
    }
    assert_eq!(names(place.path(), |_| true), ["letter.txt"], "it is left alone");
    assert_eq!(node.metric("olivine_backups_under_way"), 0, "the node was told each time");
    let told =
        said(&["backup", "--server", &url, &format!("{}/b", place.path()), "--json", "--quiet"], 0);
    assert!(told.starts_with("{\"number\":1,\"store\":\""), "{told}");
    // The JSON door speaks HTTP as well.
    said(&["backup", "--server", &json, &format!("{}/b", place.path())], 0);

    // Restored one directory too high, it would be served as if it were empty.
    let high = format!("{}/high", place.path());
    said(&["restore", &format!("{}/b", place.path()), &high], 0);
    let told = said(&["serve", "--data-dir", &high, "--doors", "http", "--http-port", "0"], 78);
    assert!(told.contains("is a store, and not a directory that has one"), "{told}");
    assert!(!fs::exists(format!("{high}/store")).unwrap());
}
