//! What programs send that are not on this machine: Telegraf's writes and Grafana's questions, byte by byte, with the
//! answers that they look for.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{Dir, node::Node, points::asked};

fn start(name: &str) -> (Dir, Node) {
    let dir = Dir::new(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    command.args(["serve", "--data-dir", dir.path(), "--memory", "64MiB", "--durability", "os"]);
    command.args(["--doors", "influx", "--influx-port", "0"]);
    let node = Node::from(command.stdout(Stdio::piped()));
    (dir, node)
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

/// What is asked with `GET /query`, as Grafana does it.
fn told(node: &Node, statement: &str) -> String {
    let mut escaped = String::new();
    for byte in statement.bytes() {
        use std::fmt::Write as _;
        write!(escaped, "%{byte:02X}").unwrap();
    }
    let path = format!("/query?db=telegraf&epoch=ms&q={escaped}");
    let head =
        "user-agent: Grafana/13.0.1\r\naccept: application/json\r\naccept-encoding: gzip\r\n";
    let (status, answer) = asked(node, "influx", "GET", &path, head, b"");
    assert_eq!(status, 200, "{statement}: {answer}");
    answer.trim_end().to_owned()
}

const METRICS: &str = "cpu,cpu=cpu0,host=a usage_user=1.5,usage_idle=98.5 1700000000000000000\n\
    cpu,cpu=cpu1,host=a usage_user=2.5,usage_idle=97.5 1700000000000000000\n\
    cpu,cpu=cpu0,host=b usage_user=10,usage_idle=90 1700000010000000000\n\
    disk,device=sda1,fstype=ext4,host=a,mode=rw,path=/ free=100i,used_percent=12.5 1700000000000000000\n\
    system,host=a uptime_format=\"1 day,  2:03\",n_users=3i 1700000000000000000\n";

const AGENT: &str = "user-agent: Telegraf/1.36.0 Go/1.25.1\r\n";

/// The output for version 1: it makes the database, and sends packed batches.
#[test]
fn telegraf_writes_as_to_version_1() {
    let (_dir, node) = start("writers-telegraf");
    let head = format!("{AGENT}content-type: application/x-www-form-urlencoded\r\n");
    let made = asked(&node, "influx", "POST", "/query", &head, b"q=CREATE+DATABASE+%22telegraf%22");
    assert_eq!(made, (200, "{\"results\":[{\"statement_id\":0}]}\n".to_owned()));
    let head =
        format!("{AGENT}content-encoding: gzip\r\ncontent-type: text/plain; charset=utf-8\r\n");
    let write =
        |path: &str, lines: &str| asked(&node, "influx", "POST", path, &head, &packed(lines));
    let path = "/write?consistency=any&db=telegraf";
    assert_eq!(write(path, METRICS), (204, String::new()));
    // It is told apart by these words whether to send a batch again: these never.
    let (status, answer) =
        write(path, "cpu,cpu=cpu0,host=a usage_user=\"x\" 1700000020000000000\n");
    assert!(status == 400 && answer.contains("\"partial write: field type conflict"), "{answer}");
    let (status, answer) = write(path, "cpu,cpu=cpu0 usage_user= 1\n");
    assert!(status == 400 && answer.contains("unable to parse"), "{answer}");
    let policy = "CREATE+RETENTION+POLICY+short+ON+telegraf+DURATION+1h+REPLICATION+1";
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    asked(&node, "influx", "POST", "/query", form, format!("q={policy}").as_bytes());
    let (status, answer) = write("/write?consistency=any&db=telegraf&rp=short", METRICS);
    assert!(status == 400 && answer.contains("points beyond retention policy"), "{answer}");
    assert!(answer.contains("dropped=5"), "{answer}");
    let (status, answer) = write("/write?consistency=any&db=telegraf&rp=none", METRICS);
    assert!(status == 404 && answer.contains("retention policy not found"), "{status} {answer}");
    assert_eq!(
        told(&node, "SELECT count(usage_user) FROM cpu"),
        "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"cpu\",\"columns\":[\"time\",\"count\"],\
         \"values\":[[0,3]]}]}]}"
    );
}

/// The output for version 2, with a token, a bucket and another unit of times; the bucket is made as it is met.
#[test]
fn telegraf_writes_as_to_version_2() {
    let (_dir, node) = start("writers-telegraf-2");
    let head = format!(
        "{AGENT}authorization: Token aaa==\r\ncontent-encoding: gzip\r\ncontent-type: text/plain; charset=utf-8\r\n"
    );
    let write =
        |path: &str, lines: &str| asked(&node, "influx", "POST", path, &head, &packed(lines));
    let path = "/api/v2/write?bucket=telegraf&org=influxdata";
    assert_eq!(write(path, METRICS), (204, String::new()));
    assert_eq!(
        write(&format!("{path}&precision=s"), "mem,host=a free=1i 1700000000\n"),
        (204, String::new())
    );
    let (status, answer) = write(path, "mem,host=a free=1.5 1700000001000000000\n");
    assert!(status == 400 && answer.contains("\"code\":\"invalid\""), "{status} {answer}");
    assert!(told(&node, "SELECT free FROM mem").contains("\"values\":[[1700000000000,1]]"));
}

/// Its data source for InfluxQL: the test of the connection, the menus of its editor, and its graphs.
#[test]
fn grafana_asks_for_menus_and_graphs() {
    let (_dir, node) = start("writers-grafana");
    asked(&node, "influx", "POST", "/write?db=telegraf", "", METRICS.as_bytes());
    let of =
        |series: &str| format!("{{\"results\":[{{\"statement_id\":0,\"series\":[{series}]}}]}}");
    let list = |name: &str, columns: &str, values: &str| {
        of(&format!("{{\"name\":\"{name}\",\"columns\":[{columns}],\"values\":[{values}]}}"))
    };
    let measurements = list("measurements", "\"name\"", "[\"cpu\"],[\"disk\"],[\"system\"]");
    for statement in ["SHOW measurements", "SHOW MEASUREMENTS LIMIT 100"] {
        assert_eq!(told(&node, statement), measurements);
    }
    for (statement, answer) in [
        (
            "SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)SYS/ LIMIT 100",
            list("measurements", "\"name\"", "[\"system\"]"),
        ),
        (
            "SHOW RETENTION POLICIES on \"telegraf\"",
            of(
                "{\"columns\":[\"name\",\"duration\",\"shardGroupDuration\",\"replicaN\",\"default\"],\
                \"values\":[[\"autogen\",\"0s\",\"168h0m0s\",1,true]]}",
            ),
        ),
        (
            "SHOW FIELD KEYS FROM \"autogen\".\"cpu\"",
            list(
                "cpu",
                "\"fieldKey\",\"fieldType\"",
                "[\"usage_idle\",\"float\"],[\"usage_user\",\"float\"]",
            ),
        ),
        ("SHOW TAG KEYS FROM \"cpu\"", list("cpu", "\"tagKey\"", "[\"cpu\"],[\"host\"]")),
        (
            "SHOW TAG VALUES FROM \"cpu\" WITH KEY = \"cpu\" WHERE \"host\"::tag = 'a'",
            list("cpu", "\"key\",\"value\"", "[\"cpu\",\"cpu0\"],[\"cpu\",\"cpu1\"]"),
        ),
        (
            "SELECT mean(\"usage_user\") FROM \"cpu\" WHERE (\"host\"::tag =~ /^(a|b)$/) AND time >= 1700000000000ms \
             and time <= 1700000020000ms GROUP BY time(10s) fill(null)",
            list(
                "cpu",
                "\"time\",\"mean\"",
                "[1700000000000,2],[1700000010000,10],[1700000020000,null]",
            ),
        ),
        (
            "SELECT mean(\"usage_user\") FROM \"cpu\" WHERE time >= 1700000000000ms and time <= 1700000010000ms GROUP BY \
             time(10s), \"host\"::tag fill(none)",
            of("{\"name\":\"cpu\",\"tags\":{\"host\":\"a\"},\"columns\":[\"time\",\"mean\"],\
                \"values\":[[1700000000000,2]]},{\"name\":\"cpu\",\"tags\":{\"host\":\"b\"},\
                \"columns\":[\"time\",\"mean\"],\"values\":[[1700000010000,10]]}"),
        ),
        (
            "SELECT \"uptime_format\", \"n_users\" FROM \"system\" WHERE time >= 1699999999000ms and time <= \
             1700000001000ms ORDER BY time DESC LIMIT 100",
            list(
                "system",
                "\"time\",\"uptime_format\",\"n_users\"",
                "[1700000000000,\"1 day,  2:03\",3]",
            ),
        ),
    ] {
        assert_eq!(told(&node, statement), answer, "{statement}");
    }
    // By POST it is a form, with the rest behind the question mark.
    let head = "content-type: application/x-www-form-urlencoded\r\n";
    let answer =
        asked(&node, "influx", "POST", "/query?db=telegraf&epoch=ms", head, b"q=SHOW+measurements");
    assert_eq!(answer, (200, measurements + "\n"));
}
