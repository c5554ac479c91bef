//! The same questions to InfluxDB and to us.
//!
//! `testdata/peer` lists questions that somebody wrote, and `questions` makes more. A question in the list behind a line
//! that begins with `!` is one where we differ on purpose, and the line says why.
//!
//! 1. Answers are compared series by series and cell by cell, errors included.
//! 2. Rows of one time are compared as a set: InfluxDB gives no order to them.
//! 3. Sums of numbers with fractions may differ in the last bits, as they are added in another order.

use crate::{
    json::{self, Json},
    memory::Memory,
    scripts::settings,
};
use olivine_query::{Dialect, Helpers, Limits, Settings, answer, parse};
use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A server that is asked over HTTP.
struct Peer {
    address: String,
    /// The process, if it is ours.
    child: Option<(Child, PathBuf)>,
}

impl Drop for Peer {
    #[expect(clippy::disallowed_methods, reason = "the folder of a process of somebody else")]
    fn drop(&mut self) {
        if let Some((child, folder)) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
            std::fs::remove_dir_all(folder).ok();
        }
    }
}

const HTTP: &str = "127.0.0.1:18786";

const CONFIGURATION: &str = r#"
reporting-disabled = true
bind-address = "127.0.0.1:18788"
[meta]
dir = "FOLDER/meta"
[data]
dir = "FOLDER/data"
wal-dir = "FOLDER/wal"
index-version = "tsi1"
query-log-enabled = false
[coordinator]
query-timeout = "120s"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:18786"
log-enabled = false
[logging]
level = "error"
"#;

impl Peer {
    /// A node: where `OLIVINE` says, or one that `NODE_PROGRAM` starts; nothing if nobody says.
    fn olivine() -> Option<Peer> {
        if let Ok(address) = std::env::var("OLIVINE") {
            return Some(Peer { address, child: None });
        }
        let program = std::env::var_os("NODE_PROGRAM")?;
        let folder = std::env::temp_dir().join(format!("olivine-asked-{}", std::process::id()));
        let mut child = Command::new(program)
            .args(["serve", "--doors", "influx", "--influx-port", "0", "--log-level", "error"])
            .arg("--data-dir")
            .arg(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("what it prints")).lines();
        let mut line = || lines.next().expect("a node that gets ready").expect("a line");
        let address = loop {
            let line = line();
            if let Some(address) = line.trim_start().strip_prefix("influx ") {
                break address.split_whitespace().next().expect("an address").to_owned();
            }
        };
        while !line().starts_with("ready") {}
        Some(Peer { address, child: Some((child, folder)) })
    }

    /// InfluxDB: where `INFLUXDB` says, or one that is started for this.
    #[expect(
        clippy::disallowed_methods,
        reason = "a process of somebody else, with a folder of its own"
    )]
    fn influxdb() -> Peer {
        if let Ok(address) = std::env::var("INFLUXDB") {
            return Peer { address, child: None };
        }
        let folder = std::env::temp_dir().join(format!("olivine-influxdb-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("influxdb.conf");
        let text = CONFIGURATION.replace("FOLDER", &folder.display().to_string());
        std::fs::write(&file, text).expect("a configuration");
        let child = Command::new("influxd")
            .arg("-config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("influxd in the path (Debian's package influxdb)");
        let peer = Peer { address: HTTP.to_owned(), child: Some((child, folder)) };
        for _ in 0..100 {
            if TcpStream::connect(HTTP).is_ok() {
                return peer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("influxd does not listen on {HTTP}");
    }

    fn send(&self, target: &str, kind: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let request = format!(
            "POST {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("a reply");
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let status = reply.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    fn write(&self, lines: &str) {
        let (status, body) = self.send("/write?db=db&precision=ns", "text/plain", lines);
        assert_eq!(status, 204, "{body}");
    }

    fn ask(&self, query: &str) -> Json {
        let mut form = "db=db&epoch=ns&q=".to_owned();
        for byte in query.bytes() {
            write!(form, "%{byte:02X}").unwrap();
        }
        json::read(&self.send("/query", "application/x-www-form-urlencoded", &form).1)
    }
}

/// What we answer, as InfluxDB would write it.
fn ours(memory: &Memory, query: &str, now: i64) -> Json {
    let text = |text: String| Json::Text(text);
    let object = |pairs: Vec<(&str, Json)>| {
        Json::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let statements = match parse(query, Dialect::Strict) {
        Ok(statements) => statements,
        Err(error) => return object(vec![("error", text(error.to_string()))]),
    };
    let mut results = Vec::new();
    for (number, statement) in statements.iter().enumerate() {
        let shown = statement.to_string();
        let again = parse(&shown, Dialect::Strict);
        assert_eq!(again.as_deref().map(<[_]>::first), Ok(Some(statement)), "{shown}");
        let id = ("statement_id", Json::Number(number.to_string()));
        let limits = Limits { buckets_max: 100_000, ..Limits::default() };
        let settings = Settings { now, ..settings(limits) };
        match answer(statement, memory, &settings) {
            Ok(answer) if answer.tables.is_empty() => results.push(object(vec![id])),
            Ok(answer) => results.push(object(vec![id, ("series", json::series(&answer))])),
            Err(error) => {
                results.push(object(vec![id, ("error", text(error.to_string()))]));
                break;
            }
        }
    }
    object(vec![("results", Json::List(results))])
}

/// Whether another thread helps with the groups of a query or not, it comes to the same, errors too.
#[test]
fn help_changes_no_answer() {
    let helpers = Helpers::new(1, 0);
    let mut answers = 0;
    for (piece, summaries) in [(3, false), (50, true)] {
        let mut memory = Memory::new(piece, summaries);
        for hosts in ["h", "other", "third", "fourth"] {
            memory.write("db", &points().replace("host=h", &format!("host={hosts}")));
        }
        for (question, _) in questions() {
            for statement in parse(&question, Dialect::Strict).unwrap_or_default() {
                let limits = Limits { buckets_max: 100_000, ..Limits::default() };
                let alone = settings(limits);
                let helped = Settings { helpers: Some(&helpers), ..alone };
                let right = answer(&statement, &memory, &alone);
                answers += usize::from(right.as_ref().is_ok_and(|right| 4 < right.tables.len()));
                let found = answer(&statement, &memory, &helped);
                assert_eq!(format!("{found:?}"), format!("{right:?}"), "{question}");
            }
        }
    }
    assert!(20 < answers, "only {answers} answers have several groups");
}

/// An answer with rows of one time in one order.
fn sorted(answer: &Json) -> Json {
    match answer {
        Json::Object(pairs) => Json::Object(
            pairs
                .iter()
                .map(|(key, value)| {
                    let value = if key == "values" { rows(value) } else { sorted(value) };
                    (key.clone(), value)
                })
                .collect(),
        ),
        Json::List(items) => Json::List(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn rows(values: &Json) -> Json {
    let mut rows = values.list().to_vec();
    let mut from = 0;
    while from < rows.len() {
        let same = |row: &Json| row.list().first() == rows[from].list().first();
        let count = rows[from..].iter().take_while(|row| same(row)).count();
        rows[from..from + count].sort_by_key(|row| format!("{row:?}"));
        from += count;
    }
    Json::List(rows)
}

fn alike(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) if a != b => {
            let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
        }
        (Json::List(a), Json::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && alike(a, b))
        }
        // InfluxDB ends these with the name of a type of its own.
        (Json::Text(a), Json::Text(b)) if a.starts_with("unsupported ") => {
            let upto = |text: &str| text.split(" type: ").next().map(str::to_owned);
            upto(a) == upto(b)
        }
        _ => a == b,
    }
}

/// The points that both have.
pub(crate) fn points() -> String {
    let mut out = String::new();
    let start = 1_451_606_400_000_000_000i64;
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for step in 0..60i64 {
        for host in 0..4i64 {
            if draw(10) == 0 {
                continue;
            }
            let time = start + step * 17_000_000_000 + host;
            let region = ["eu", "us"][(host % 2) as usize];
            let rack = if host == 2 { String::new() } else { format!(",rack={}", host % 3) };
            write!(out, "cpu,host=h{host}{rack},region={region} ").unwrap();
            write!(out, "idle={}", (draw(10_000) as f64) / 100.0 - 20.0).unwrap();
            if draw(3) != 0 {
                write!(out, ",busy={}i", draw(200).cast_signed() - 50).unwrap();
            }
            if draw(4) == 0 {
                write!(out, ",state=\"{}\"", ["on", "off", "weary"][draw(3) as usize]).unwrap();
            }
            if draw(2) == 0 {
                write!(out, ",up={}", draw(2) == 0).unwrap();
            }
            writeln!(out, " {time}").unwrap();
        }
    }
    for step in 0..20i64 {
        let time = start + step * 60_000_000_000;
        writeln!(out, "mem,host=h0 used={}i,idle={}.5 {time}", step * step, step).unwrap();
        if step % 3 == 0 {
            writeln!(out, "mem,host=h1 used={}i {time}", 100 - step).unwrap();
        }
    }
    for step in 0..5i64 {
        let time = start + step * 600_000_000_000;
        writeln!(out, "rare count={}i,note=\"n{step}\" {time}", step * 1_000_000_007).unwrap();
    }
    out
}

/// Questions that are made of parts.
fn questions() -> Vec<(String, Option<String>)> {
    const SPAN: &str = "time >= '2016-01-01T00:00:00Z' AND time < '2016-01-01T00:15:00Z'";
    let mut out = Vec::new();
    let functions = [
        "count", "sum", "mean", "min", "max", "first", "last", "spread", "median", "mode",
        "stddev", "distinct", "integral",
    ];
    for function in functions {
        for field in ["idle", "busy", "state", "up", "nothing"] {
            out.push(format!("SELECT {function}({field}) FROM cpu"));
            out.push(format!(
                "SELECT {function}({field}) FROM cpu WHERE {SPAN} GROUP BY time(2m), region"
            ));
        }
        out.push(format!("SELECT {function}(idle) FROM cpu WHERE {SPAN} GROUP BY host"));
        out.push(format!("SELECT {function}(busy) FROM cpu WHERE {SPAN} AND host != 'h1' GROUP BY time(1m) ORDER BY time DESC"));
        out.push(format!(
            "SELECT {function}(busy) FROM cpu WHERE {SPAN} GROUP BY time(1m) LIMIT 3 OFFSET 1"
        ));
    }
    for fill in ["null", "none", "previous", "linear", "0", "-1.5"] {
        for function in
            ["mean(busy)", "count(busy)", "max(idle), min(busy)", "first(state)", "last(up)"]
        {
            out.push(format!("SELECT {function} FROM cpu WHERE {SPAN} AND host = 'h3' GROUP BY time(11s) fill({fill})"));
            out.push(format!("SELECT {function} FROM cpu WHERE {SPAN} AND host = 'h3' GROUP BY time(40s, 7s), host fill({fill}) ORDER BY time DESC LIMIT 9"));
        }
    }
    for function in [
        "derivative",
        "non_negative_derivative",
        "difference",
        "non_negative_difference",
        "cumulative_sum",
        "elapsed",
    ] {
        for field in ["idle", "busy"] {
            out.push(format!("SELECT {function}({field}) FROM cpu WHERE host = 'h0'"));
            out.push(format!(
                "SELECT {function}({field}) FROM cpu GROUP BY host ORDER BY time DESC LIMIT 4"
            ));
            out.push(format!("SELECT {function}({field}) FROM cpu"));
            out.push(format!(
                "SELECT {function}(mean({field})) FROM cpu WHERE {SPAN} GROUP BY time(1m), region"
            ));
            out.push(format!(
                "SELECT {function}(max({field})) FROM cpu WHERE {SPAN} GROUP BY time(1m) fill(0)"
            ));
        }
    }
    for function in ["top", "bottom"] {
        out.push(format!("SELECT {function}(idle, 3) FROM cpu"));
        out.push(format!("SELECT {function}(idle, host, 2) FROM cpu"));
        out.push(format!("SELECT {function}(busy, 2), host, idle FROM cpu"));
        out.push(format!("SELECT {function}(busy, 2) FROM cpu WHERE {SPAN} GROUP BY time(5m)"));
        out.push(format!(
            "SELECT {function}(busy, host, region, 2) FROM cpu WHERE {SPAN} GROUP BY time(5m)"
        ));
        out.push(format!("SELECT {function}(idle, 1) FROM cpu GROUP BY region"));
    }
    for percentile in ["0", "1", "50", "90.5", "100", "101"] {
        for field in ["idle", "busy"] {
            out.push(format!("SELECT percentile({field}, {percentile}) FROM cpu"));
            out.push(format!("SELECT percentile({field}, {percentile}) FROM cpu WHERE {SPAN} GROUP BY time(3m), host"));
        }
    }
    for operator in ["+", "-", "*", "/", "%", "&", "|", "^"] {
        out.push(format!("SELECT busy {operator} 3 FROM cpu WHERE host = 'h0' LIMIT 5"));
        out.push(format!("SELECT busy {operator} used FROM cpu, mem LIMIT 5"));
        out.push(format!("SELECT busy {operator} busy FROM cpu WHERE host = 'h1' LIMIT 5"));
        out.push(format!("SELECT idle {operator} busy FROM cpu WHERE host = 'h1' LIMIT 5"));
        out.push(format!(
            "SELECT max(busy) {operator} min(busy) FROM cpu WHERE {SPAN} GROUP BY time(4m)"
        ));
    }
    for math in [
        "abs", "sin", "cos", "tan", "asin", "acos", "atan", "exp", "ln", "log2", "log10", "sqrt",
        "floor", "ceil", "round",
    ] {
        for field in ["idle", "busy", "state"] {
            out.push(format!("SELECT {math}({field}) FROM cpu WHERE host = 'h0' LIMIT 6"));
        }
        out.push(format!("SELECT {math}(mean(idle)) FROM cpu WHERE {SPAN} GROUP BY time(5m)"));
    }
    for operator in ["=", "!=", "<", "<=", ">", ">="] {
        for (field, value) in [
            ("idle", "30"),
            ("busy", "30"),
            ("busy", "30.5"),
            ("state", "'on'"),
            ("up", "true"),
            ("host", "'h1'"),
            ("nothing", "'x'"),
            ("rack", "''"),
            ("nothing", "5"),
        ] {
            out.push(format!(
                "SELECT idle, busy, state, up FROM cpu WHERE {field} {operator} {value} LIMIT 4"
            ));
            out.push(format!(
                "SELECT count(idle) FROM cpu WHERE {field} {operator} {value} GROUP BY host"
            ));
        }
    }
    for pattern in ["/h[01]/", "/^h1$/", "/^$/", "/./", "/(?i)H2/"] {
        for key in ["host", "rack", "region"] {
            for operator in ["=~", "!~"] {
                out.push(format!(
                    "SELECT sum(busy) FROM cpu WHERE {key} {operator} {pattern} GROUP BY host"
                ));
                out.push(format!(
                    "SHOW TAG VALUES WITH KEY = host WHERE {key} {operator} {pattern}"
                ));
                out.push(format!("SHOW SERIES WHERE {key} {operator} {pattern}"));
            }
        }
    }
    out.into_iter()
        .map(|question| {
            let reason = "no tag is before another, so asking for it is refused";
            let ordered = ["host", "rack", "nothing"].iter().any(|tag| {
                let operators = ["<", "<=", ">", ">="];
                operators.iter().any(|op| question.contains(&format!("WHERE {tag} {op} '")))
            });
            let apart = question.contains("integral(idle)") && question.contains("GROUP BY")
                && ["host", "region"].iter().any(|tag| question.ends_with(tag));
            let mixed = "the last area of each group is among its own; InfluxDB puts it behind all groups";
            let area = question.contains("integral(busy)") && question.contains("time(");
            let forgets = "the area of whole numbers is cut where stretches end; InfluxDB goes on from a wrong value";
            let alike = question == "SELECT mode(busy) FROM cpu";
            let either = "of values that are as frequent the oldest is taken; InfluxDB takes one or the other";
            let reasons =
                [(ordered, reason), (area, forgets), (apart, mixed), (alike, either)];
            let found = reasons.into_iter().find(|(differs, _)| *differs);
            let reason = found.map(|(_, reason)| reason.to_owned());
            (question, reason)
        })
        .collect()
}

/// The list that somebody wrote: questions, and why we differ where we do.
#[expect(clippy::disallowed_methods, reason = "a file of the tests")]
fn written() -> Vec<(String, Option<String>)> {
    let text = std::fs::read(Path::new("testdata/peer")).expect("testdata/peer");
    let text = String::from_utf8(text).expect("UTF-8");
    let (mut out, mut reason) = (Vec::new(), None);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("! ") {
            Some(why) => reason = Some(why.to_owned()),
            None => out.push((line.to_owned(), reason.take())),
        }
    }
    out
}

/// Needs `influxd` of InfluxDB 1.6.7 in the path, or one that listens where `INFLUXDB` says. With `OLIVINE` in the
/// environment the questions go to the server that listens there, with `NODE_PROGRAM` to one that this program
/// starts, instead of to the language over points in memory.
#[test]
#[ignore = "needs InfluxDB 1.6.7; `cargo test -p olivine-query --test it -- --ignored beside`"]
#[expect(clippy::disallowed_methods, reason = "InfluxDB asks the clock, so both must")]
fn beside_influxdb() {
    let peer = Peer::influxdb();
    let us = Peer::olivine();
    let lines = points();
    for server in [Some(&peer), us.as_ref()].into_iter().flatten() {
        server.ask("DROP DATABASE db");
        server.ask("CREATE DATABASE db");
        server.write(&lines);
    }
    let mut memory = Memory::new(7, false);
    memory.write("db", &lines);
    let mut summed = Memory::new(3, true);
    summed.write("db", &lines);
    let mut all = written();
    all.extend(questions());
    let (mut failures, mut same, mut differ) = (String::new(), 0, 0);
    for (question, reason) in &all {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = now.as_nanos() as i64;
        let theirs = sorted(&peer.ask(question));
        let answers = match &us {
            Some(us) => vec![us.ask(question)],
            None => vec![ours(&memory, question, now), ours(&summed, question, now)],
        };
        for found in answers {
            let found = sorted(&found);
            match (alike(&theirs, &found), reason) {
                (true, None) => same += 1,
                (false, Some(_)) => differ += 1,
                (true, Some(why)) => {
                    writeln!(failures, "{question}\n  no longer differs: {why}").unwrap();
                }
                (false, None) => {
                    let (a, b) = (shortened(&theirs), shortened(&found));
                    writeln!(failures, "{question}\n  theirs {a}\n  ours   {b}").unwrap();
                }
            }
        }
    }
    println!("{} questions: {same} answers the same, {differ} that differ on purpose", all.len());
    assert!(failures.is_empty(), "{failures}");
}

fn shortened(answer: &Json) -> String {
    let text = told(answer);
    let end = text.char_indices().nth(700).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

fn told(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Boolean(yes) => yes.to_string(),
        Json::Number(number) => number.clone(),
        Json::Text(text) => format!("{text:?}"),
        Json::List(items) => format!("[{}]", items.iter().map(told).collect::<Vec<_>>().join(",")),
        Json::Object(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{key}:{}", told(value))).collect();
            format!("{{{}}}", pairs.join(","))
        }
    }
}
