//! Who is waited for in vain, and what they are told. Every time is short here, so that what acts is the setting.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::PoisonError,
    time::{Duration, Instant},
};

use super::{Dir, MEMORY, Running, access::peopled, settings};
use crate::{Door, Settings, TlsSetting, Wait};

const SHORT: Duration = Duration::from_millis(200);

/// A node that waits for one thing for a short time.
fn brief(dir: &Dir, wait: Wait) -> Settings {
    let mut settings = settings(dir);
    settings.patience.set(wait, SHORT);
    settings
}

/// What comes until the node closes the connection, and that it does so in time and not before.
fn rest(stream: &mut TcpStream) -> String {
    #[expect(clippy::disallowed_methods, reason = "sockets take the time they take")]
    let began = Instant::now();
    let mut answer = Vec::new();
    // What is closed with something unread is reset.
    stream.read_to_end(&mut answer).ok();
    let took = began.elapsed();
    assert!(SHORT / 2 <= took && took < Duration::from_secs(4), "{took:?}");
    String::from_utf8_lossy(&answer).into_owned()
}

fn said(node: &Running, door: Door, bytes: &str) -> String {
    let mut stream = node.connect(door);
    stream.write_all(bytes.as_bytes()).unwrap();
    rest(&mut stream)
}

#[test]
fn who_says_nothing_is_told_which_setting_that_was() {
    let dir = Dir::new();
    let node = Running::start(&brief(&dir, Wait::Idle));
    assert_eq!(
        said(&node, Door::Line, "PING\n"),
        "OK PONG\nERROR nothing was said for too long; connect again: `idle-time-max` is 200ms\n"
    );
    let told = said(&node, Door::Json, "{\"command\":\"ping\"}\n");
    assert!(told.contains("`idle-time-max` is 200ms\",\"code\":\"unavailable\"}\n"), "{told}");
    assert!(said(&node, Door::Json, "").contains("idle-time-max"));
}

#[test]
fn half_a_line_is_waited_for_only_so_long() {
    let dir = Dir::new();
    let node = Running::start(&brief(&dir, Wait::Line));
    assert_eq!(
        said(&node, Door::Line, "PING\nPI"),
        "OK PONG\nERROR the rest of the line did not arrive in time: `line-time-max` is 200ms\n"
    );
    // Bytes that dribble make it no longer.
    let mut stream = node.connect(Door::Json);
    let told = (0..200).find_map(|_| {
        stream.write_all(b" ").ok();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut told = [0; 200];
        let bytes = stream.read(&mut told).ok()?;
        Some(String::from_utf8_lossy(&told[..bytes]).into_owned())
    });
    assert!(told.unwrap().contains("`line-time-max` is 200ms"));
    // One that comes as fast as it must is taken, however long it is.
    let mut stream = node.connect(Door::Line);
    for _ in 0..10 {
        stream.write_all(&b"PUT a ".repeat(1_000)).unwrap();
        super::pause();
        super::pause();
    }
    stream.write_all(b"\n").unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"OK\n");
}

#[test]
fn a_stranger_is_told_how_long_there_was_to_log_in() {
    let dir = Dir::new();
    let settings = brief(&dir, Wait::Login);
    peopled(&settings);
    let node = Running::start(&settings);
    let told = said(&node, Door::Line, "PING\n");
    assert_eq!(told, "OK PONG\nERROR nobody has logged in in time: `login-time-max` is 200ms\n");
    // Asking for this and that makes it no longer.
    let mut stream = node.connect(Door::Line);
    let mut answers = String::new();
    for _ in 0..200 {
        stream.write_all(b"PING\n").ok();
        let mut answer = [0; 200];
        let bytes = stream.read(&mut answer).unwrap_or(0);
        answers += &String::from_utf8_lossy(&answer[..bytes]);
        if bytes == 0 || answers.contains("login-time-max") {
            break;
        }
        super::pause();
    }
    assert!(answers.contains("login-time-max"), "{answers}");
}

#[test]
fn requests_over_http_arrive_in_time_or_not_at_all() {
    let dir = Dir::new();
    let node = Running::start(&brief(&dir, Wait::Head));
    for door in [Door::Http, Door::Json] {
        let told = said(&node, door, "GET /livez HTTP/1.1\r\nhost: loc");
        assert!(told.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{told}");
        assert!(told.contains("content-type: application/problem+json\r\n"), "{told}");
        assert!(told.contains("`head-time-max` is 200ms"), "{told}");
    }
    // Who has begun nothing is not answered.
    assert_eq!(said(&node, Door::Http, ""), "");
    node.end();
    let dir = Dir::new();
    let node = Running::start(&brief(&dir, Wait::Body));
    let head =
        "PUT /kv/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n";
    let told = said(&node, Door::Http, &format!("{head}\r\nab"));
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert!(told.contains("`body-time-max` is 200ms"), "{told}");
    assert_eq!(node.say(Door::Line, "GET a\n"), "NOT_FOUND\n");
}

/// A peer that leaves its answers where they are is closed, over lines and over HTTP, and the log says why.
#[test]
fn answers_are_offered_only_so_long() {
    let _memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let node = Running::start(&brief(&dir, Wait::Answer));
    let value = "v".repeat(1 << 20);
    assert_eq!(node.say(Door::Line, format!("PUT a {value}\n")), "OK\n");
    let get = "GET /kv/a HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (door, request) in [(Door::Line, "GET a\n"), (Door::Http, get)] {
        let mut stream = node.connect(door);
        stream.write_all(request.repeat(100).as_bytes()).unwrap();
        let gone = || {
            let metrics = node.http(Door::Http, "GET", "/metrics", "").1;
            let others = u64::from(door == Door::Http);
            let name = format!("olivine_connected_clients{{door=\"{}\"}}", door.name());
            super::is(&metrics, &name, others)
        };
        assert!((0..200).any(|_| gone() || super::pause()), "{door:?}");
        drop(stream);
    }
}

#[test]
fn tls_is_agreed_on_in_time() {
    let dir = Dir::new();
    let settings = Settings { tls: Some(TlsSetting::Auto), ..brief(&dir, Wait::Handshake) };
    let node = Running::start(&settings);
    for begun in ["", "\x16\x03\x01"] {
        assert_eq!(said(&node, Door::Json, begun), "");
    }
}

#[test]
fn a_node_that_ends_waits_for_its_connections_as_long_as_it_is_told() {
    let _memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let mut settings = brief(&dir, Wait::Drain);
    settings.patience.set(Wait::Answer, Duration::from_secs(20));
    let node = Running::start(&settings);
    let value = "v".repeat(1 << 20);
    assert_eq!(node.say(Door::Line, format!("PUT a {value}\n")), "OK\n");
    // It has answers that nobody takes, so it does not end by itself.
    let mut stream = node.connect(Door::Line);
    stream.write_all("GET a\n".repeat(100).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    #[expect(clippy::disallowed_methods, reason = "sockets take the time they take")]
    let began = Instant::now();
    node.end();
    let took = began.elapsed();
    assert!(SHORT <= took && took < Duration::from_secs(5), "{took:?}");
}
