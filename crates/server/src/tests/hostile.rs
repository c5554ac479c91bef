//! What nobody means well by.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    sync::PoisonError,
    time::Duration,
};

use super::{Dir, MEMORY, Running, settings};
use crate::Door;

/// Whoever asks and never reads is not answered any more once the socket is full, and not read from either; it costs
/// what it sent last and one batch of answers, and others are served meanwhile.
#[test]
fn who_never_reads_gets_no_more_and_costs_no_more() {
    const GROWTH_MAX: u64 = 48 << 20;
    let _memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let value = "v".repeat(4 << 10);
    assert_eq!(node.say(Door::Line, format!("PUT a {value}\n")), "OK\n");
    let resident = || olivine_vfs::process_use().resident_bytes.unwrap_or_default();
    let before = resident();
    // Answers to all of it would be 4 GB.
    let flood = "GET a\n".repeat(1_000);
    let mut streams: Vec<_> = (0..4).map(|_| node.connect(Door::Line)).collect();
    for stream in &mut streams {
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut sent = 0;
        let refused = loop {
            match stream.write_all(flood.as_bytes()) {
                Ok(()) if sent < 1_000 => sent += 1,
                Ok(()) => panic!("a million requests were taken, and no answer was"),
                Err(error) => break error.kind(),
            }
        };
        assert!(matches!(refused, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{refused}");
        assert_eq!(node.say(Door::Line, "PING\n"), "OK PONG\n");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    // Who begins to read gets the answers, each of them whole.
    let mut answers = BufReader::new(streams.pop().unwrap()).lines();
    for _ in 0..1_000 {
        assert_eq!(answers.next().unwrap().unwrap(), format!("OK {value}"));
    }
}

/// Keys and values of every byte there is, and of none, come back as they were, through the doors that can say them.
#[test]
fn keys_and_values_may_have_every_byte() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let keys: [&[u8]; 6] = [b"", b"\0", b"\r\n", b"a b%2f/..", &all, &[0xff; 4_096]];
    for (number, key) in keys.iter().enumerate() {
        let value = [key, &all[..]].concat();
        let base64 = olivine_doors::base64::encode;
        let (key64, value64) = (base64(key), base64(&value));
        let said = node.say(
            Door::Json,
            format!(
                "{{\"command\":\"put\",\"encoding\":\"base64\",\"key\":\"{key64}\",\"value\":\"{value64}\"}}\n\
                 {{\"command\":\"get\",\"encoding\":\"base64\",\"key\":\"{key64}\"}}\n"
            ),
        );
        let told = format!("{{\"status\":\"ok\",\"value\":\"{value64}\",\"encoding\":\"base64\"}}");
        assert_eq!(said.lines().nth(1), Some(told.as_str()), "key {number}: {said}");
        let mut path = "/kv/".to_owned();
        for byte in *key {
            let _infallible = write!(path, "%{byte:02X}");
        }
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut stream = node.connect(Door::Http);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
        assert!(answer.ends_with(&[b"\r\n\r\n", &value[..]].concat()), "key {number} over HTTP");
    }
    // One byte more than may be is refused by both, by the name of the limit.
    let long = base64_of(4_097);
    let said = node.say(
        Door::Json,
        format!("{{\"command\":\"get\",\"encoding\":\"base64\",\"key\":\"{long}\"}}\n"),
    );
    assert!(said.contains("`key-bytes-max` is 4096"), "{said}");
    let (status, body) = node.http(Door::Http, "GET", &format!("/kv/{}", "%FF".repeat(4_097)), "");
    assert_eq!(status, 413);
    assert!(body.contains("`key-bytes-max` is 4096"), "{body}");
}

fn base64_of(bytes: usize) -> String {
    olivine_doors::base64::encode(&vec![0xff; bytes])
}

/// Heads that are too long, or have too many fields, are refused by the name of the limit, at every door of HTTP.
#[test]
fn heads_that_are_too_long_are_told_so() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    settings.limits.head_bytes_max = 8 << 10;
    let node = Running::start(&settings);
    let long = format!("x-long: {}\r\n", "x".repeat(9 << 10));
    for fields in [long, "x: y\r\n".repeat(101)] {
        for door in [Door::Http, Door::Json, Door::Influx] {
            let request = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
            let mut stream = node.connect(door);
            stream.write_all(request.as_bytes()).unwrap();
            let (mut answers, mut head) = (BufReader::new(stream), String::new());
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(answers.read_line(&mut head).unwrap(), 0, "{head}");
            }
            assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
            let length = head.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
            std::io::Read::read_exact(&mut answers, &mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            assert!(body.contains("8192 bytes, which is `head-bytes-max`"), "{body}");
        }
    }
}
