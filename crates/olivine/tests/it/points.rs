//! Time series through the program: what was acknowledged is there after a kill, and nothing that clients ask for
//! takes the node down.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use olivine_vfs::Interrupt;

use crate::{Dir, confined::Cgroup, node::Node};

fn start(dir: &Dir) -> Node {
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    command.args(["serve", "--data-dir", dir.path(), "--memory", "64MiB"]);
    listening(&mut command)
}

/// Starts a node whose doors of time series alone are open.
fn listening(command: &mut Command) -> Node {
    command.args(["--doors", "influx,select", "--influx-port", "0", "--select-port", "0"]);
    Node::from(command.stdout(Stdio::piped()))
}

/// Asks a door, and returns status and body.
pub(crate) fn asked(
    node: &Node,
    door: &str,
    method: &str,
    path: &str,
    head: &str,
    body: &[u8],
) -> (u16, String) {
    let address = format!("127.0.0.1:{}", node.port(door));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    let length = body.len();
    let start = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{head}\r\n"
    );
    stream.write_all(start.as_bytes()).unwrap();
    // Whoever is refused need not be heard to the end.
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

pub(crate) fn write(node: &Node, lines: &str) -> (u16, String) {
    asked(node, "influx", "POST", "/write?db=db", "", lines.as_bytes())
}

pub(crate) fn query(node: &Node, text: &str) -> (u16, String) {
    let mut escaped = String::new();
    for byte in text.bytes() {
        write!(escaped, "%{byte:02x}").unwrap();
    }
    asked(node, "influx", "GET", &format!("/query?db=db&epoch=ns&q={escaped}"), "", b"")
}

/// As many series as there may be: what is new is refused with the names of those that have most, and whoever was
/// there before goes on.
#[test]
fn series_beyond_the_limit_are_told_who_has_them() {
    let dir = Dir::new("points-series");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
        command.args(["serve", "--data-dir", dir.path(), "--memory", "64MiB"]);
        listening(command.args(["--series-max", "100"]))
    };
    let node = start();
    let mut lines = String::new();
    for id in 0..60 {
        writeln!(lines, "many,id={id},region=r{} v={id}i 1", id % 4).unwrap();
    }
    for host in 0..39_u64 {
        // Of some there are points in more than one partition.
        writeln!(
            lines,
            "cpu,host=h{host} v=1 1\ncpu,host=h{host} v=1 {}",
            host % 2 * (1_u64 << 60)
        )
        .unwrap();
    }
    lines += "mem,host=h0 v=1 1\n";
    assert_eq!(write(&node, &lines), (204, String::new()));
    let why = "max-series-per-database limit exceeded: (100): the database \"db\" gets no new series (`series-max` is \
               the limit), those it has go on; of 100 that were looked at 60 are of \"many\" (different values: 60 of \
               tag \"id\", 4 of tag \"region\"), 39 of \"cpu\" (different values: 39 of tag \"host\"), 1 of \"mem\" \
               (different values: 1 of tag \"host\"); SHOW SERIES EXACT CARDINALITY ON \"db\" counts them by \
               measurement";
    let why = why.replace('"', "\\\"");
    let refused = |node: &Node| {
        let lines = "many,id=new v=1i 2\ncpu,host=h0 v=2 2\nnew v=1 2\nnew,t=1 v=1 2\n";
        let (status, answer) = write(node, lines);
        assert_eq!(status, 400);
        let told = format!(
            "{{\"error\":\"partial write: {why} dropped=3\",\"refused\":3,\"lines\":[{{\"line\":1,\"reason\":"
        );
        assert!(answer.starts_with(&told), "{answer}\n{told}");
    };
    refused(&node);
    // From where its rows are on the disk it is told the same.
    node.end(Interrupt::Term);
    let node = start();
    refused(&node);
    assert!(query(&node, "SELECT v FROM cpu WHERE host = 'h0' AND time = 2").1.contains("[[2,2]]"));
    // What the reason says to ask finds them, too.
    let counts = |statement: &str| {
        let (_, answer) = query(&node, statement);
        let tables = answer.split("\"name\":\"").skip(1);
        let count = |table: &str| {
            let (name, rest) = table.split_once('"').unwrap();
            let (_, count) = rest.split_once("\"values\":[[").unwrap();
            format!("{name} {}", count.split(']').next().unwrap())
        };
        tables.map(count).collect::<Vec<String>>()
    };
    assert_eq!(counts("SHOW SERIES EXACT CARDINALITY ON db"), ["cpu 39", "many 60", "mem 1"]);
    assert_eq!(counts("SHOW SERIES EXACT CARDINALITY FROM cpu WHERE host = 'h0'"), ["cpu 1"]);
    let values = "SHOW TAG VALUES EXACT CARDINALITY ON db WITH KEY";
    assert_eq!(counts(&format!("{values} = id")), ["many 60"]);
    assert_eq!(counts(&format!("{values} IN (host, region)")), ["cpu 39", "many 4", "mem 1"]);
    assert_eq!(counts(&format!("{values} IN (id, region)")), ["many 64"]);
    let (_, answer) = query(&node, "SHOW MEASUREMENTS");
    assert!(!answer.contains("new"), "{answer}");
    let (_, answer) = query(&node, "SHOW SERIES CARDINALITY ON db");
    assert!(answer.contains("[[100]]"), "{answer}");
}

#[test]
#[ignore = "kills a node fifty times; `cargo xtask test --only clients`"]
fn acknowledged_points_survive_kills() {
    const POINTS: usize = 50;
    let dir = Dir::new("points-killed");
    for round in 0..50 {
        let node = start(&dir);
        for point in 0..POINTS {
            let time = (round * POINTS + point) as u64 + 1;
            let line = format!("m,round=r{round} value={point}i,text=\"t{point}\" {time}");
            assert_eq!(write(&node, &line), (204, String::new()));
        }
        node.kill();
        let node = start(&dir);
        let (status, answer) =
            query(&node, &format!("SELECT count(value) FROM m WHERE round='r{round}'"));
        assert_eq!(status, 200, "{answer}");
        let count = format!("\"values\":[[0,{POINTS}]]");
        assert!(answer.contains(&count), "round {round}: {answer}");
        let (_, answer) = query(&node, "SELECT count(text), last(text) FROM m");
        let all = (round + 1) * POINTS;
        assert!(answer.contains(&format!(",{all},")), "round {round}: {answer}");
        // Half of the rounds begin with chunks, and half with a log.
        if round % 2 == 0 {
            node.end(Interrupt::Term);
        } else {
            node.kill();
        }
    }
}

/// Whatever is asked, the node answers with an error and goes on, and others hardly notice.
#[test]
#[ignore = "writes many series; `cargo xtask test --only clients`"]
fn hostile_requests_take_no_node_down() {
    let Some(cgroup) = Cgroup::new(512 << 20) else {
        let skipped = std::io::stderr().write_all(b"SKIPPED: no memory cgroup can be made here\n");
        return skipped.unwrap();
    };
    let dir = Dir::new("points-hostile");
    let mut command = cgroup.command();
    command.args(["serve", "--data-dir", dir.path(), "--durability", "os"]);
    let mut node = listening(&mut command);
    assert_eq!(
        write(&node, "cpu,host=a value=1 1000\ncpu,host=b value=2 3153600000000000000").0,
        204
    );

    // Buckets of a nanosecond over a hundred years.
    let (_, answer) = query(
        &node,
        "SELECT mean(value) FROM cpu WHERE time >= 0 AND time < 3153600000s GROUP BY time(1ns)",
    );
    assert!(answer.contains("\"error\":") && answer.contains("buckets"), "{answer}");

    // A line that is longer than lines may be.
    let line = format!("cpu value=\"{}\" 1", "x".repeat(25 << 20));
    let (status, answer) = write(&node, &line);
    assert!(matches!(status, 400 | 413), "{status} {answer}");

    // More series than a database may have: an error that names the limit, while those that are there go on.
    let began = Instant::now();
    let mut refused = None;
    for batch in 0..40 {
        let mut lines = String::new();
        for series in 0..50_000 {
            writeln!(lines, "many,id={} value=1i 1", batch * 50_000 + series).unwrap();
        }
        let (status, answer) = write(&node, &lines);
        if status != 204 {
            refused = Some((status, answer));
            break;
        }
    }
    let (status, answer) = refused.expect("two million series were taken");
    assert!(status == 400 && answer.contains("max-series-per-database"), "{status} {answer}");
    assert_eq!(write(&node, "cpu,host=a value=3 2000").0, 204);
    // Counting them takes no memory for each.
    let (_, answer) = query(&node, "SHOW SERIES EXACT CARDINALITY");
    assert!(answer.contains("[[999998]]"), "{answer}");
    let (_, answer) = query(&node, "SHOW TAG VALUES EXACT CARDINALITY WITH KEY = id");
    assert!(answer.contains("[[999998]]"), "{answer}");
    assert!(began.elapsed() < Duration::from_mins(5));

    // Everything of everything.
    let (_, answer) = query(&node, "SELECT /.*/ FROM /.*/");
    assert!(!answer.is_empty());

    // A bomb: zeros that unpack to far more than bodies may have.
    let bomb = bomb();
    let head = "content-encoding: gzip\r\n";
    let (status, answer) = asked(&node, "influx", "POST", "/write?db=db", head, &bomb);
    assert!(matches!(status, 400 | 413), "{status} {answer}");

    let (status, answer) = query(&node, "SELECT value FROM cpu WHERE host='a'");
    assert_eq!(status, 200);
    assert!(answer.contains("[1000,1],[2000,3]"), "{answer}");
    assert!(node.is_there(), "the kernel ended the node");
}

/// A gigabyte of zeros, packed as gzip: stored blocks cannot do it, so the same packed piece again and again, each
/// a member of its own.
pub(crate) fn bomb() -> Vec<u8> {
    let output =
        Command::new("sh").args(["-c", "head -c 16777216 /dev/zero | gzip -9c"]).output().unwrap();
    assert!(output.status.success());
    output.stdout.repeat(64)
}
