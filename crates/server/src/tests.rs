//! A node on ports of its own, spoken to over sockets.

mod access;
mod blobs;
mod disk;
mod documents;
mod halves;
mod hostile;
mod patience;
mod s3;
mod series;
mod uploads;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use olivine_vfs::{Clock as _, RealClock, RealVfs, Vfs as _};

use crate::{
    BlobSettings, Door, DoorSetting, Layout, METRICS, Manner, MasterSettings, Node, Problem,
    Settings, Stop, VolumeSettings,
};

/// Held by who measures the memory of this process, and by who takes much of it.
static MEMORY: Mutex<()> = Mutex::new(());

/// A directory that is gone with its owner.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("olivine-node-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        Dir(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &std::path::Path) {
    for entry in RealVfs.list(path).unwrap_or_default() {
        let path = path.join(&entry.name);
        if RealVfs.remove_file(&path).is_err() {
            remove(&path);
        }
    }
    RealVfs.remove_dir(path).ok();
}

fn settings(dir: &Dir) -> Settings {
    let any_port = |door| {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        DoorSetting { door, address, asked: true }
    };
    let data_dir = dir.0.join("deep/data");
    Settings {
        blobs: blobs_in(&data_dir),
        data_dir,
        memory_bytes: Some(16 << 20),
        doors: Door::ALL.map(any_port).into(),
        workers: 2,
        ..Settings::default()
    }
}

/// A master and a volume, in one process.
fn blobs_in(data_dir: &std::path::Path) -> BlobSettings {
    BlobSettings {
        master: Some(MasterSettings {
            dir: data_dir.join("olivedb"),
            manner: Manner::Smol,
            volumes: Vec::new(),
            replicas: 1,
            replicas_min: None,
            heal_after: Duration::from_mins(5),
            heal_bytes_per_second: 64 << 20,
            protects: false,
            fallback: None,
            s3_keys: None,
        }),
        volume: Some(VolumeSettings {
            dir: data_dir.join("volumes/volume1"),
            layout: Layout::Packed,
            subvolumes: None,
            is_open: false,
            is_read_only: false,
            advertised: None,
            extent_bytes_max: 1 << 30,
            tend_every: Duration::from_mins(10),
            grace: Duration::from_mins(5),
            tier: None,
        }),
        key_file: data_dir.join("blob.key"),
    }
}

/// A node that runs, and ends with its owner.
struct Running {
    doors: Vec<(Door, SocketAddr)>,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), Problem>>>,
}

impl Running {
    fn start(settings: &Settings) -> Running {
        Running::of(Node::start(settings).unwrap())
    }

    fn of(node: Node) -> Running {
        let (doors, stop) = (node.started().doors.clone(), node.stopper());
        let thread = thread::Builder::new().spawn(move || node.run()).unwrap();
        Running { doors, stop, thread: Some(thread) }
    }

    fn connect(&self, door: Door) -> TcpStream {
        let (_, address) = self.doors.iter().find(|(known, _)| *known == door).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What a connection answers to some bytes, after which nothing more is sent.
    fn say(&self, door: Door, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect(door);
        stream.write_all(bytes.as_ref()).unwrap();
        stream.shutdown(Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status and body of an answer to a request over HTTP.
    fn http(&self, door: Door, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut stream = self.connect(door);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, body.to_owned())
    }

    fn end(mut self) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[test]
fn what_one_door_stores_the_others_read() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    assert_eq!(
        node.say(Door::Json, "{\"command\":\"put\",\"key\":\"a\",\"value\":{\"b\": [1.50]}}\n"),
        "{\"status\":\"ok\",\"message\":\"Key-value pair stored\"}\n"
    );
    assert_eq!(node.say(Door::Line, "GET a\n"), "OK {\"b\":[1.50]}\n");
    assert_eq!(node.http(Door::Http, "GET", "/kv/a", ""), (200, "{\"b\":[1.50]}".to_owned()));
    assert_eq!(
        node.say(Door::Line, "PUT name age 30\nGET name\nGET other\n"),
        "OK\nOK age 30\nNOT_FOUND\n"
    );
    assert_eq!(
        node.say(Door::Json, "{\"command\":\"get\",\"key\":\"name\"}"),
        "{\"status\":\"ok\",\"value\":\"age 30\"}\n",
        "a line without an end is one when nothing more comes"
    );
    assert_eq!(node.http(Door::Http, "PUT", "/kv/b%20c", "\u{1f600}"), (204, String::new()));
    assert_eq!(
        node.http(Door::Http, "GET", "/kv?prefix=b", ""),
        (200, "{\"key\":\"b c\",\"value\":\"\u{1f600}\"}\n".to_owned())
    );
    assert_eq!(node.http(Door::Http, "DELETE", "/kv/a", "").0, 204);
    assert_eq!(
        node.say(Door::Json, "{\"command\":\"get\",\"key\":\"a\"}\n"),
        "{\"status\":\"not_found\",\"message\":\"Key not found\"}\n"
    );
    assert_eq!(
        node.http(
            Door::Http,
            "POST",
            "/kv",
            "{\"command\":\"ping\"}\n{\"command\":\"get\",\"key\":\"name\"}"
        ),
        (
            200,
            "{\"status\":\"ok\",\"message\":\"pong\"}\n{\"status\":\"ok\",\"value\":\"age 30\"}\n"
                .to_owned()
        )
    );
    assert!(node.say(Door::Json, "{\"command\":\"stats\"}\n").contains("\"data\":{\"keys\":2,"));
}

/// The start of a line may be the start of another one.
#[test]
fn half_a_line_is_not_carried_out() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    assert_eq!(node.say(Door::Line, "PUT a 1\nPUT a 2"), "OK\n");
    assert!(
        node.say(Door::Json, "{\"command\":\"put\",\"key\":\"a\",\"val").contains("Invalid JSON")
    );
    assert_eq!(node.say(Door::Line, "GET a\n"), "OK 1\n");
}

#[test]
fn what_was_acknowledged_is_there_when_the_node_starts_again() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    assert_eq!(node.say(Door::Line, "PUT a 1\nPUT b 2\nDELETE a\n"), "OK\nOK\nOK\n");
    node.end();
    let node = Running::start(&settings(&dir));
    assert_eq!(node.say(Door::Line, "GET a\nGET b\n"), "NOT_FOUND\nOK 2\n");
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    std::fmt::Write::write_fmt(text, more).unwrap();
}

#[test]
fn many_requests_are_answered_in_their_order() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let (mut asked, mut told) = (String::new(), String::new());
    for number in 0..5_000 {
        let key = number % 7;
        match number % 3 {
            0 => {
                push(
                    &mut asked,
                    format_args!(
                        "{{\"command\":\"put\",\"key\":\"{key}\",\"value\":{number},\"id\":{number}}}\n"
                    ),
                );
                push(
                    &mut told,
                    format_args!(
                        "{{\"status\":\"ok\",\"message\":\"Key-value pair stored\",\"id\":{number}}}\n"
                    ),
                );
            }
            1 => {
                push(&mut asked, format_args!("{{\"command\":\"ping\",\"id\":{number}}}\r\n\n"));
                push(
                    &mut told,
                    format_args!("{{\"status\":\"ok\",\"message\":\"pong\",\"id\":{number}}}\n"),
                );
            }
            _ => {
                // What was put two requests before.
                let (key, value) = ((number - 2) % 7, number - 2);
                push(
                    &mut asked,
                    format_args!("{{\"command\":\"get\",\"key\":\"{key}\",\"id\":{number}}}\n"),
                );
                push(
                    &mut told,
                    format_args!("{{\"status\":\"ok\",\"value\":{value},\"id\":{number}}}\n"),
                );
            }
        }
    }
    assert_eq!(node.say(Door::Json, asked), told);
}

#[test]
fn large_answers_come_whole_and_cost_no_more_than_themselves() {
    let _memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let value = "x".repeat(1 << 20);
    node.say(Door::Line, format!("PUT large {value}\n"));
    let answer = node.say(Door::Line, "GET large\n".repeat(40));
    assert_eq!(answer.len(), 40 * (value.len() + 4));
    assert!(answer.split_terminator('\n').all(|line| line.len() == value.len() + 3));
}

#[test]
fn protocols_are_told_apart_and_strangers_are_sent_away() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    node.say(Door::Line, "PUT a 1\n");
    assert_eq!(node.http(Door::Json, "GET", "/kv/a", ""), (200, "1".to_owned()));
    let answer = node.say(Door::Line, "POST / HTTP/1.1\r\nHost: x\r\n\r\nPUT a 2\r\n");
    assert_eq!(answer, "ERROR this port does not speak HTTP; ask the HTTP door\n");
    assert!(node.say(Door::Json, b"\x16\x03\x01\x02").contains("this port has no TLS"));
    assert_eq!(node.say(Door::Line, "GET a\n"), "OK 1\n");

    let get = |host: &str| format!("GET /kv/a HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    let evil = node.say(Door::Http, get("evil.example") + "\r\n");
    assert!(evil.starts_with("HTTP/1.1 421 "), "{evil}");
    let foreign = node.say(Door::Http, get("localhost") + "origin: http://evil.example\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    let own = node.say(Door::Http, get("localhost") + "\r\n");
    assert!(
        own.starts_with("HTTP/1.1 200 ") && own.contains("x-content-type-options: nosniff"),
        "{own}"
    );
}

/// Two readings of where a request ends are an error, not a second request.
#[test]
fn smuggled_requests_are_refused() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    node.say(Door::Line, "PUT a 1\n");
    let smuggled = "PUT /kv/a HTTP/1.1\r\nhost: localhost\r\n\r\n2";
    for head in [
        "content-length: 0\r\ncontent-length: 5\r\n",
        "content-length: +5\r\n",
        "content-length: 5, 6\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "content-length : 5\r\n",
        "x: a\r\n b: c\r\n",
    ] {
        let request = format!("POST /livez HTTP/1.1\r\nhost: localhost\r\n{head}\r\n{smuggled}");
        let answer = node.say(Door::Http, request);
        assert!(!answer.contains(" 204 "), "{head:?}: {answer}");
    }
    for chunks in ["fffffffffffffffff\r\n", "5;\n", "-1\r\n", "0x5\r\nabcde\r\n"] {
        let head = "POST /kv HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = node.say(Door::Http, format!("{head}{chunks}{smuggled}"));
        assert!(!answer.contains(" 204 "), "{chunks:?}: {answer}");
    }
    assert_eq!(node.say(Door::Line, "GET a\n"), "OK 1\n");
    // Sent as it should be, the second request is one.
    let two =
        format!("POST /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n{smuggled}");
    let two = two.replace("\r\n\r\n2", "\r\ncontent-length: 1\r\n\r\n2");
    let answer = node.say(Door::Http, two);
    assert!(answer.contains(" 405 ") && answer.contains(" 204 "), "{answer}");
    assert_eq!(node.say(Door::Line, "GET a\n"), "OK 2\n");
}

#[test]
fn limits_are_named_by_who_cites_them() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    settings.limits.line_bytes_max = 1_000;
    settings.limits.value_bytes_max = 100;
    settings.connections_max = 2;
    let node = Running::start(&settings);
    let long = "x".repeat(101);
    assert!(
        node.say(Door::Line, format!("PUT a {long}\nPING\n"))
            .ends_with("ERROR the value has 101 bytes, and `value-bytes-max` is 100\nOK PONG\n")
    );
    assert!(node.http(Door::Http, "PUT", "/kv/a", &long).1.contains("`value-bytes-max` is 100"));
    let endless = node.say(Door::Json, "{".repeat(100_000));
    assert!(
        endless.contains("`line-bytes-max`, 1000") && endless.contains("too_large"),
        "{endless}"
    );

    // Those before may take a moment to be gone.
    let hold = || {
        let mut stream = node.connect(Door::Line);
        stream.write_all(b"PING\n").unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        (answer == *b"OK PONG\n").then_some(stream)
    };
    let held = || {
        (0..100).find_map(|_| {
            let held = hold();
            let _ = held.is_none() && pause();
            held
        })
    };
    let held: Vec<TcpStream> = (0..2).map(|_| held().expect("there is room")).collect();
    assert_eq!(
        node.say(Door::Line, "PING\n"),
        "ERROR there are `connections-max`, 2, connections; try again later\n"
    );
    assert!(node.say(Door::Http, "").starts_with("HTTP/1.1 503 "));
    drop(held);
    let again = || node.say(Door::Line, "PING\n") == "OK PONG\n";
    assert!((0..100).any(|_| again() || pause()), "there is room again");
}

fn pause() -> bool {
    RealClock::new().sleep(Duration::from_millis(20));
    false
}

#[test]
fn keys_expire_by_themselves() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let put = "{\"command\":\"put\",\"key\":\"a\",\"value\":1,\"ttl_ms\":60000}\n";
    node.say(Door::Json, put.replace("60000", "1") + &put.replace("\"a\"", "\"b\""));
    pause();
    assert_eq!(node.say(Door::Line, "GET a\nGET b\n"), "NOT_FOUND\nOK 1\n");
    let swept = || node.say(Door::Json, "{\"command\":\"stats\"}\n").contains("\"keys\":1,");
    assert!((0..100).any(|_| swept() || pause()), "what has expired is taken away");
}

#[test]
fn a_node_that_ends_answers_what_has_arrived() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let mut idle = node.connect(Door::Line);
    let mut half = node.connect(Door::Line);
    half.write_all(b"PING\nPI").unwrap();
    half.read_exact(&mut [0; 8]).unwrap();
    node.end();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn health_and_metrics_are_there_from_the_start() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(node.http(Door::Http, "GET", path, ""), (200, "ok\n".to_owned()), "{path}");
    }
    let metrics = node.http(Door::Http, "GET", "/metrics", "").1;
    for name in ["olivine_keys 0\n", "olivine_disk_full 0\n", "olivine_compactions_total 0\n"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    let types: Vec<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for line in &types {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
    }
    let all: Vec<String> =
        METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind())).collect();
    assert_eq!(types, all, "every metric of the table is there, and in its order");
    assert_eq!(node.http(Door::Http, "GET", "/", "").0, 200);
    assert_eq!(node.http(Door::Http, "GET", "/openapi.json", "").0, 200);
}

/// The value of a metric with these labels.
fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing: {metrics}")).parse().unwrap()
}

/// Whether a metric with these labels has this value.
fn is(metrics: &str, name: &str, value: u64) -> bool {
    metrics.lines().any(|line| line == format!("{name} {value}"))
}

#[test]
fn what_clients_do_is_counted() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let before = node.http(Door::Http, "GET", "/metrics", "").1;
    assert!(is(&before, "olivine_commands_total{command=\"put\",status=\"ok\"}", 0));
    let lines = "PUT a 1\nPUT b 2\nGET a\nGET c\nFLY\n";
    let answers = node.say(Door::Line, lines);
    assert_eq!(answers.lines().count(), 5, "{answers}");
    let key = "k".repeat(5_000);
    assert_eq!(node.http(Door::Json, "GET", "/kv/a", "").0, 200);
    assert_eq!(node.http(Door::Json, "GET", &format!("/kv/{key}"), "").0, 413);
    let silent = node.connect(Door::Line);
    let metrics = (0..200)
        .map(|_| node.http(Door::Http, "GET", "/metrics", "").1)
        .find(|metrics| is(metrics, "olivine_connected_clients{door=\"line\"}", 1));
    let metrics = metrics.expect("the silent one is counted");
    drop(silent);
    for (name, value) in [
        ("olivine_ready", 1),
        ("olivine_store_up", 1),
        ("olivine_keys", 2),
        ("olivine_commands_total{command=\"put\",status=\"ok\"}", 2),
        ("olivine_commands_total{command=\"get\",status=\"ok\"}", 3),
        ("olivine_commands_total{command=\"get\",status=\"failed\"}", 0),
        ("olivine_command_duration_seconds_count{door=\"line\"}", 4),
        ("olivine_command_duration_seconds_bucket{door=\"line\",le=\"+Inf\"}", 4),
        ("olivine_command_duration_seconds_count{door=\"json\"}", 1),
        ("olivine_connected_clients{door=\"http\"}", 1),
        ("olivine_slow_requests_total", 0),
        ("olivine_table_files{level=\"6\"}", 0),
    ] {
        assert!(is(&metrics, name, value), "{name}: {metrics}");
    }
    for (name, more) in [
        ("olivine_log_sync_seconds_count", 1.0),
        ("olivine_log_sync_seconds_sum", 1e-9),
        ("olivine_net_bytes_total{direction=\"in\"}", lines.len() as f64 + 5_000.0),
        ("olivine_net_bytes_total{direction=\"out\"}", before.len() as f64 + answers.len() as f64),
        ("olivine_requests_total", 8.0),
        ("process_resident_memory_bytes", 1e6),
        ("olivine_disk_free_bytes", 1.0),
    ] {
        assert!(more <= metric(&metrics, name), "{name}: {metrics}");
    }
    let gone = (0..200)
        .map(|_| node.http(Door::Http, "GET", "/metrics", "").1)
        .any(|metrics| is(&metrics, "olivine_connected_clients{door=\"line\"}", 0));
    assert!(gone, "who has gone is not counted any more");
}

/// Buckets of a histogram only grow, the last has all, and what is said of slowness adds up.
#[test]
fn slow_requests_are_shown_with_where_their_time_went() {
    let dir = Dir::new();
    let settings = Settings { slow: Duration::ZERO, ..settings(&dir) };
    let node = Running::start(&settings);
    node.say(Door::Json, "{\"command\":\"put\",\"key\":\"a\\u001b[31m\",\"value\":1}\n");
    node.say(Door::Line, "GET b\nGET c\nPUT d 1\n");
    assert_eq!(node.http(Door::Http, "GET", "/kv?limit=3", "").0, 200);
    let (status, slow) = node.http(Door::Http, "GET", "/slow", "");
    assert_eq!(status, 200);
    let lines: Vec<&str> = slow.lines().collect();
    assert!(3 <= lines.len(), "{slow}");
    assert!(lines[0].contains("\"door\":\"http\",\"commands\":1,\"names\":\"scan\""), "{slow}");
    assert!(!lines[0].contains("write_micros"), "{slow}");
    let put = lines.last().unwrap();
    assert!(put.contains("\"first_key\":\"a\\\\x1b[31m\""), "{put}");
    assert!(put.contains("\"names\":\"put\""), "{put}");
    for line in lines {
        let number = |name: &str| {
            let found = line.split(&format!("\"{name}_micros\":")).nth(1)?;
            found.split([',', '}']).next()?.parse::<u64>().ok()
        };
        let stages: u64 = ["parse", "apply", "durable", "storage", "write"]
            .iter()
            .filter_map(|stage| number(stage))
            .sum();
        let total = number("total").unwrap();
        assert!(stages <= total && total <= stages + 5, "{line}");
    }
    let metrics = node.http(Door::Http, "GET", "/metrics", "").1;
    assert!(3.0 <= metric(&metrics, "olivine_slow_requests_total"));
    for name in ["olivine_log_sync_seconds", "olivine_command_duration_seconds"] {
        let buckets: Vec<f64> = metrics
            .lines()
            .filter(|line| line.starts_with(&format!("{name}_bucket")))
            .filter(|line| !line.contains("door=") || line.contains("door=\"line\""))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert!(15 < buckets.len() && buckets.is_sorted(), "{name}: {metrics}");
        assert!(1.0 <= *buckets.last().unwrap(), "{name}: {metrics}");
    }
}

#[test]
fn doors_that_cannot_be_opened() {
    let dir = Dir::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut settings = settings(&dir);
    settings.doors[0].address = address;
    let problem = Node::start(&settings).err().unwrap().to_string();
    assert_eq!(problem, format!("cannot open the json door at {address}; see --json-port"));

    settings.doors[0].asked = false;
    let node = Node::start(&settings).unwrap();
    let skipped: Vec<Door> = node.started().skipped.iter().map(|(door, _)| door.door).collect();
    assert_eq!(skipped, [Door::Json], "a default that is taken is left out");
    drop(node);

    settings.doors.truncate(1);
    let problem = Node::start(&settings).err().unwrap().to_string();
    assert!(problem.contains("is a node running already?"), "{problem}");
}

#[test]
fn a_node_is_not_open_to_other_machines_unasked() {
    let dir = Dir::new();
    for ip in ["0.0.0.0", "::", "192.0.2.1"] {
        let mut settings = settings(&dir);
        settings.doors[1].address.set_ip(ip.parse().unwrap());
        let problem = Node::start(&settings).err().unwrap().to_string();
        assert!(problem.contains("the line door would be open to other machines"), "{problem}");
        assert!(problem.contains("--insecure"), "{problem}");
    }
}

#[test]
fn a_second_node_is_told_who_has_the_store() {
    let dir = Dir::new();
    let _node = Running::start(&settings(&dir));
    let problem = Node::start(&settings(&dir)).err().unwrap().to_string();
    assert!(problem.contains(&std::process::id().to_string()), "{problem}");
}

/// Ten ways to let others at the data; each is refused by name, or said to be meant so.
#[test]
fn a_data_directory_that_others_get_at_is_refused() {
    use std::{fs::Permissions, os::unix::fs as unix, os::unix::fs::PermissionsExt as _};
    let dir = Dir::new();
    let settings = settings(&dir);
    Running::start(&settings).end();
    let (data, store) = (settings.data_dir.clone(), settings.data_dir.join("store"));
    let told = |settings: &Settings| match Node::start(settings) {
        Ok(_) => String::new(),
        Err(problem) => problem.to_string(),
    };
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    for (path, wrong) in [
        (&data, 0o777),
        (&data, 0o1777),
        (&data, 0o770),
        (&data, 0o702),
        (&store, 0o755),
        (&store, 0o750),
        (&store, 0o701),
    ] {
        mode(path, wrong);
        let text = told(&settings);
        let wanted = format!("(mode {:o}); chmod 700 it", wrong & 0o777);
        assert!(text.contains(&wanted) && text.contains("--shared-data-dir"), "{wrong:o}: {text}");
        assert_eq!(told(&Settings { shared_dir: true, ..settings.clone() }), "", "{wrong:o}");
        mode(path, 0o700);
    }
    // Others may look into the directory of everything; what is in it is closed to them.
    mode(&data, 0o755);
    assert_eq!(told(&settings), "");
    if olivine_vfs::user_id() == 0 {
        for path in [&data, &store] {
            unix::chown(path, Some(12_345), None).unwrap();
            let text = told(&settings);
            assert!(text.contains("belongs to the user 12345, and the node runs as 0"), "{text}");
            unix::chown(path, Some(0), None).unwrap();
        }
    }
    let moved = dir.0.join("moved");
    RealVfs.rename(&store, &moved).unwrap();
    unix::symlink(&moved, &store).unwrap();
    assert!(told(&settings).contains("is a link or a file"), "{}", told(&settings));
}
