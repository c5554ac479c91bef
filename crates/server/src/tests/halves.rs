//! A node in two halves, each of which may come and go.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

use super::{Dir, Running, pause, push, settings};
use crate::{Door, Half, Settings, StorageAt};

/// The settings of both halves of a node in two processes, here in one.
pub(super) fn halves(dir: &Dir) -> (Settings, Settings) {
    let whole = settings(dir);
    let storage = Settings { half: Half::Storage(None), ..whole.clone() };
    (storage, Settings { half: Half::Coordinator(StorageAt::Socket(None)), ..whole })
}

#[test]
fn a_coordinator_has_the_storage_carry_out_what_is_asked() {
    let dir = Dir::new();
    let (storage, coordinator) = halves(&dir);
    let storage = Running::start(&storage);
    let node = Running::start(&coordinator);
    let ready = || node.http(Door::Http, "GET", "/readyz", "").0 == 200;
    assert!((0..100).any(|_| ready() || pause()));
    assert_eq!(node.say(Door::Line, "PUT a 1\nGET a\nGET b\n"), "OK\nOK 1\nNOT_FOUND\n");
    let long = "x".repeat(300_000);
    assert_eq!(node.http(Door::Http, "PUT", "/kv/long", &long).0, 204);
    assert_eq!(node.http(Door::Http, "GET", "/kv/long", ""), (200, long));
    let mut many = String::new();
    for number in 0..3_000 {
        push(&mut many, format_args!("PUT {} {number}\n", number % 10));
    }
    assert_eq!(node.say(Door::Line, many), "OK\n".repeat(3_000));
    assert!(node.http(Door::Http, "GET", "/metrics", "").1.contains("olivine_keys 12\n"));
    assert!(node.say(Door::Json, "{\"command\":\"stats\"}\n").contains("\"keys\":12,"));
    node.end();
    storage.end();
}

#[test]
fn each_half_may_start_again_under_the_other() {
    let dir = Dir::new();
    let (storage_settings, coordinator_settings) = halves(&dir);
    let node = Running::start(&coordinator_settings);
    let put = |value: u32| node.say(Door::Line, format!("PUT a {value}\n"));
    assert_eq!(put(0), "ERROR the storage cannot be reached; it is tried again and again\n");
    assert_eq!(node.http(Door::Http, "GET", "/readyz", "").0, 503);
    assert_eq!(node.http(Door::Http, "GET", "/livez", "").0, 200);
    for value in 1..4 {
        let storage = Running::start(&storage_settings);
        assert!((0..200).any(|_| put(value) == "OK\n" || pause()), "it comes back");
        storage.end();
        assert!(put(0).starts_with("ERROR the storage "));
    }
    node.end();
    let storage = Running::start(&storage_settings);
    for _ in 0..2 {
        let node = Running::start(&coordinator_settings);
        let got = || node.say(Door::Line, "GET a\n") == "OK 3\n";
        assert!((0..200).any(|_| got() || pause()));
        node.end();
    }
    storage.end();
}

/// What comes to the storage's socket and is no frame costs its sender the connection, and nothing else.
#[test]
fn garbage_at_the_socket_is_left_alone() {
    let dir = Dir::new();
    let (storage, coordinator) = halves(&dir);
    let (_storage, node) = (Running::start(&storage), Running::start(&coordinator));
    let socket = storage.data_dir.join("run/storage.sock");
    let mut random = olivine_vfs::Random::new(7);
    for number in 0..200 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut bytes = random.bytes(1 + number % 60);
        if number % 2 == 0 && 4 <= bytes.len() {
            let length = (bytes.len() - 4) as u32;
            bytes[..4].copy_from_slice(&length.to_le_bytes());
        }
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).ok();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    }
    let put = || node.say(Door::Line, "PUT a 1\n") == "OK\n";
    assert!((0..100).any(|_| put() || pause()));
}
