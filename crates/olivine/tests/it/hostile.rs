//! Somebody who asks for far too much, beside somebody who asks for little: what the latter notices.
//!
//! Windows with and without the hostile load take turns, so that whatever else the machine does is in both; the figure
//! of a kind of request is the median of its windows. Requests of the well-behaved leave at fixed times, and their time
//! counts from when they should have left: whoever is not served does not ask less often.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{Dir, confined::Cgroup, node::Node, points};

/// How long a window is.
const WINDOW: Duration = Duration::from_millis(1_500);
/// Windows of each kind and load.
const ROUNDS: usize = 5;
/// How often each of the well-behaved asks.
const PACE: Duration = Duration::from_millis(4);
/// What a p99 may be under load, on a machine that is not busy with something else: a request that was carried out in
/// one piece would hold others up for longer. The ratios are printed, and are for people to judge.
const P99_MAX: Duration = Duration::from_millis(150);
/// A machine on which a p99 is more than this with no load at all is too busy to tell anything.
const IDLE_P99_MAX: Duration = Duration::from_millis(5);

/// A connection that says one request after the other and reads the answers.
struct Client {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Client {
    fn new(node: &Node, door: &str) -> Client {
        let stream = TcpStream::connect(format!("127.0.0.1:{}", node.port(door))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Client { stream, answers }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the node closed a connection");
        line
    }

    fn ask_json(&mut self, line: &str) {
        self.stream.write_all(line.as_bytes()).unwrap();
        let answer = self.line();
        assert!(answer.starts_with("{\"status\":\"ok\""), "{answer}");
    }

    /// Asks over HTTP, and returns the status.
    fn ask_http(&mut self, request: &str) -> u16 {
        self.stream.write_all(request.as_bytes()).unwrap();
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).unwrap();
        status
    }
}

/// What the well-behaved ask.
const KINDS: [&str; 4] = ["get", "put", "points", "query"];

fn ask(client: &mut Client, kind: &str, number: usize) {
    match kind {
        "get" => client.ask_json("{\"command\":\"get\",\"key\":\"k\"}\n"),
        "put" => client.ask_json(&format!(
            "{{\"command\":\"put\",\"key\":\"k{}\",\"value\":\"v\"}}\n",
            number % 1_000
        )),
        "points" => {
            let body = format!("cpu,host=a value={number} {}", 1_000 + number);
            let length = body.len();
            let request = format!(
                "POST /write?db=good HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            assert_eq!(client.ask_http(&request), 204);
        }
        _ => {
            let request = "GET /query?db=good&q=SELECT%20value%20FROM%20cpu%20WHERE%20time%3C2000%20AND%20host%3D'a'%20\
                           LIMIT%205 HTTP/1.1\r\nhost: localhost\r\n\r\n";
            assert_eq!(client.ask_http(request), 200);
        }
    }
}

/// Asks for one window; returns the times.
fn window(client: &mut Client, kind: &str, number: &mut usize) -> Vec<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    for at in 0.. {
        let due = PACE * at;
        if WINDOW <= due {
            break;
        }
        thread::sleep((began + due).saturating_duration_since(Instant::now()));
        ask(client, kind, *number);
        *number += 1;
        times.push((began + due).elapsed());
    }
    times
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// One of the loads; `asks` is how many of its requests were sent.
struct Load<'a> {
    node: &'a Node,
    name: &'static str,
    asks: &'a AtomicUsize,
    bodies: &'a [Vec<u8>],
}

const LOADS: [&str; 6] =
    ["new series", "long lines", "gzip bombs", "buckets of 1 ns", "everything", "long queries"];

/// What of each load asks at once; of queries, more than there are threads for.
fn askers(load: &str) -> usize {
    if load == "long queries" { 6 } else { 2 }
}

impl Load<'_> {
    fn ask(&self) {
        let number = self.asks.fetch_add(1, Relaxed);
        match self.name {
            "new series" => {
                let mut lines = String::with_capacity(2 << 20);
                for series in number * 50_000..(number + 1) * 50_000 {
                    writeln!(lines, "many,id={series} value=1i 1").unwrap();
                }
                let (status, _) = self.send("", lines.as_bytes());
                assert!(matches!(status, 204 | 400 | 503), "{status}");
            }
            "long lines" => {
                let (status, _) = self.send("", &self.bodies[0]);
                assert!(matches!(status, 0 | 400 | 413 | 503), "{status}");
            }
            "gzip bombs" => {
                let (status, _) = self.send("content-encoding: gzip\r\n", &self.bodies[1]);
                assert!(matches!(status, 0 | 400 | 413 | 503), "{status}");
            }
            "buckets of 1 ns" => {
                let text = "SELECT%20mean(value)%20FROM%20cpu%20WHERE%20time%3E%3D0%20AND%20time%3C3153600000s%20\
                            GROUP%20BY%20time(1ns)";
                self.query("good", text);
            }
            "everything" => self.query("bad", "SELECT%20/.*/%20FROM%20/.*/"),
            _ => {
                let terms: Vec<String> = (1..=40).map(|least| format!("v%3E-{least}")).collect();
                let text =
                    format!("SELECT%20count(v)%20FROM%20l%20WHERE%20{}", terms.join("%20AND%20"));
                self.query("long", &text);
            }
        }
    }

    fn send(&self, head: &str, body: &[u8]) -> (u16, String) {
        points::asked(self.node, "influx", "POST", "/write?db=bad", head, body)
    }

    fn query(&self, database: &str, text: &str) {
        let path = format!("/query?db={database}&q={text}");
        let (status, answer) = points::asked(self.node, "influx", "GET", &path, "", b"");
        let is_limit = answer.contains("limit exceeded");
        assert!(is_limit || matches!(status, 200 | 400 | 413 | 503), "{status} {answer}");
    }
}

/// Whoever asks for little gets it nearly as soon while others ask for everything.
#[test]
#[ignore = "loads a node for minutes; `cargo xtask test --only clients`"]
fn hostile_requests_hold_nobody_up() {
    let Some(cgroup) = Cgroup::new(512 << 20) else {
        let skipped = std::io::stderr().write_all(b"SKIPPED: no memory cgroup can be made here\n");
        return skipped.unwrap();
    };
    let dir = Dir::new("hostile");
    let mut command = cgroup.command();
    command.args(["serve", "--data-dir", dir.path(), "--durability", "os"]);
    command.args(["--doors", "json,influx", "--json-port", "0", "--influx-port", "0"]);
    // Whoever waits for a window to begin says nothing.
    command.args(["--head-time-max", "5m", "--log-level", "error"]);
    let mut node = Node::from(command.stdout(Stdio::piped()));
    ask(&mut Client::new(&node, "json"), "put", 0);
    Client::new(&node, "json").ask_json("{\"command\":\"put\",\"key\":\"k\",\"value\":\"v\"}\n");
    ask(&mut Client::new(&node, "influx"), "points", 0);
    // Of what long queries ask about.
    for series in 0..10 {
        let mut lines = String::new();
        for row in 0..50_000 {
            writeln!(lines, "l,host={series} v={row} {row}").unwrap();
        }
        let (status, answer) =
            points::asked(&node, "influx", "POST", "/write?db=long", "", lines.as_bytes());
        assert_eq!(status, 204, "{answer}");
    }
    let bodies = [format!("m value=\"{}\" 1", "x".repeat(25 << 20)).into_bytes(), points::bomb()];
    let (mut worst, mut idle) = (Duration::ZERO, Duration::ZERO);
    for name in LOADS {
        let asks = AtomicUsize::new(0);
        let load = Load { node: &node, name, asks: &asks, bodies: &bodies };
        let mut clients = KINDS.map(|kind| {
            let door = if matches!(kind, "get" | "put") { "json" } else { "influx" };
            (kind, Client::new(&node, door), 0, Vec::new(), Vec::new())
        });
        for _ in 0..ROUNDS {
            for is_hostile in [false, true] {
                let over = AtomicBool::new(!is_hostile);
                thread::scope(|scope| {
                    for _ in 0..askers(name) {
                        let (load, over) = (&load, &over);
                        scope.spawn(move || {
                            while !over.load(Relaxed) {
                                load.ask();
                            }
                        });
                    }
                    let asking =
                        clients.each_mut().map(|(kind, client, number, quiet, hostile)| {
                            scope.spawn(move || {
                                let mut times = window(client, kind, number);
                                let figures = if is_hostile { hostile } else { quiet };
                                figures.push(p99(&mut times));
                            })
                        });
                    for asking in asking {
                        asking.join().unwrap();
                    }
                    over.store(true, Relaxed);
                });
            }
        }
        let mut out = format!("{name}: {} requests\n", asks.load(Relaxed));
        for (kind, _, _, quiet, hostile) in &mut clients {
            let (quiet, hostile) = (median(quiet), median(hostile));
            let ratio = hostile.as_secs_f64() / quiet.as_secs_f64();
            writeln!(out, "  {kind:8} p99 {quiet:?} alone, {hostile:?} beside it ({ratio:.2}x)")
                .unwrap();
            (worst, idle) = (worst.max(hostile), idle.max(quiet));
        }
        std::io::stderr().write_all(out.as_bytes()).unwrap();
    }
    assert!(node.is_there(), "the kernel ended the node");
    if IDLE_P99_MAX < idle {
        let busy = format!("not judged: the machine is busy, a p99 is {idle:?} without load\n");
        return std::io::stderr().write_all(busy.as_bytes()).unwrap();
    }
    assert!(worst < P99_MAX, "a p99 is {worst:?}");
}
