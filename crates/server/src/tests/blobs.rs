//! Blobs: a master and volumes, in one process and in several.

mod healing;
mod tiering;

use super::*;
use crate::Half;

/// An answer: its status, its head, its body.
pub(super) struct Told {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Told {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
        Some(&line[name.len() + 2..])
    }
}

/// Asks at an address, with these headers beside the usual.
pub(super) fn ask(at: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Told {
    let told = try_ask(at, method, path, headers, body);
    told.unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// Nothing where the connection ends before the head of an answer does.
fn try_ask(at: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<Told> {
    let mut stream = TcpStream::connect(at).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Who is sent elsewhere may be told before all was read.
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end?;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Told { status, head, body: answer[end + 4..].to_vec() })
}

/// Asks, and goes where it is sent.
fn follow(at: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Told {
    let told = ask(at, method, path, headers, body);
    let Some(location) = told.header("location") else { return told };
    go(location, method, headers, body).unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// Asks where one was sent.
fn go(location: &str, method: &str, headers: &str, body: &[u8]) -> Option<Told> {
    let rest = location.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_at(rest.find('/').unwrap());
    try_ask(address.parse().unwrap(), method, path, headers, body)
}

pub(super) fn at(node: &Running, door: Door) -> SocketAddr {
    node.doors.iter().find(|(known, _)| *known == door).unwrap().1
}

pub(super) fn put(at: SocketAddr, path: &str, value: &[u8]) -> u16 {
    follow(at, "PUT", path, "", value).status
}

pub(super) fn get(at: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let told = follow(at, "GET", path, "", b"");
    (told.status, told.body)
}

/// A master, and volumes in processes of their own as far as sockets tell.
pub(super) struct Several {
    pub(super) master: Running,
    volumes: Vec<Running>,
}

fn part_of(dir: &Dir, blobs: BlobSettings, door: Door, port: u16) -> Settings {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Settings {
        half: Half::Blobs,
        blobs,
        doors: vec![DoorSetting { door, address, asked: true }],
        ..settings(dir)
    }
}

fn volume_of(dir: &Dir, number: usize, port: u16) -> Settings {
    let mut blobs = blobs_in(&dir.0);
    blobs.master = None;
    blobs.volume.as_mut().unwrap().dir = dir.0.join(format!("volume{number}"));
    part_of(dir, blobs, Door::Volume, port)
}

pub(super) fn master_of(
    dir: &Dir,
    volumes: &[Running],
    change: impl FnOnce(&mut MasterSettings),
) -> Settings {
    let mut blobs = blobs_in(&dir.0);
    blobs.volume = None;
    let master = blobs.master.as_mut().unwrap();
    master.volumes = volumes.iter().map(|one| at(one, Door::Volume).to_string()).collect();
    change(master);
    part_of(dir, blobs, Door::Blob, 0)
}

impl Several {
    fn start(dir: &Dir, count: usize, change: impl FnOnce(&mut MasterSettings)) -> Several {
        let several = Several::begin(dir, count, change);
        // Until the master has reached enough of them.
        several.wait(|at| put(at, "/first", b"1") == 201);
        several
    }

    pub(super) fn begin(
        dir: &Dir,
        count: usize,
        change: impl FnOnce(&mut MasterSettings),
    ) -> Several {
        let volumes: Vec<Running> =
            (0..count).map(|number| Running::start(&volume_of(dir, number, 0))).collect();
        let master = Running::start(&master_of(dir, &volumes, change));
        Several { master, volumes }
    }

    pub(super) fn wait(&self, holds: impl Fn(SocketAddr) -> bool) {
        for _ in 0..400 {
            if holds(at(&self.master, Door::Blob)) {
                return;
            }
            RealClock::new().sleep(Duration::from_millis(50));
        }
        let told = ask(at(&self.master, Door::Blob), "GET", "/?health", "", b"").body;
        panic!("it does not come to that: {}", told.escape_ascii());
    }
}

fn speaks_as_smol(at: SocketAddr) {
    assert_eq!(get(at, "/k1"), (404, b"key not found\n".to_vec()));
    let sent = ask(at, "PUT", "/k1", "", b"bigswag");
    assert_eq!(sent.status, 307);
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    assert_eq!(get(at, "/k1").0, 404, "nothing is there before its bytes are");
    assert_eq!(put(at, "/k1", b"bigswag"), 201);
    assert_eq!(get(at, "/k1"), (200, b"bigswag".to_vec()));
    assert_eq!(put(at, "/k1", b"other"), 201);
    assert_eq!(get(at, "/k1"), (200, b"other".to_vec()));
    assert_eq!(ask(at, "PUT", "/k2", "", b"").status, 411);
    assert_eq!(follow(at, "DELETE", "/k1", "", b"").status, 200);
    assert_eq!(get(at, "/k1").0, 404);
    assert_eq!(ask(at, "DELETE", "/k1", "", b"").status, 404, "gone from the master too");
}

#[test]
fn the_sources_requests_are_answered_as_they_were() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    speaks_as_smol(at(&node, Door::Blob));
    node.end();
    let dir = Dir::new();
    let several = Several::start(&dir, 2, |_| {});
    speaks_as_smol(at(&several.master, Door::Blob));
}

#[test]
fn objects_of_any_length_come_back_whole_and_in_part() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let at = at(&node, Door::Blob);
    for length in [1_usize, 25, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 5_000_001] {
        let value: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
        let path = format!("/of/{length}");
        assert_eq!(put(at, &path, &value), 201);
        assert!(get(at, &path) == (200, value.clone()), "{length}");
        let (from, to) = (length / 3, length / 3 * 2);
        let part = follow(at, "GET", &path, &format!("range: bytes={from}-{to}\r\n"), b"");
        assert_eq!(part.status, 206);
        assert!(part.body == value[from..=to], "{length}");
        let wanted = format!("bytes {from}-{to}/{length}");
        assert_eq!(part.header("content-range"), Some(&*wanted));
        let head = follow(at, "HEAD", &path, "", b"");
        assert_eq!(head.header("content-length"), Some(&*length.to_string()));
        let tag = head.header("etag").unwrap();
        let known = follow(at, "GET", &path, &format!("if-none-match: {tag}\r\n"), b"");
        assert_eq!((known.status, known.body.len()), (304, 0));
        let outside = follow(at, "GET", &path, &format!("range: bytes={length}-\r\n"), b"");
        assert_eq!(outside.status, 416);
    }
    let list = ask(at, "GET", "/of/?list&limit=2", "", b"");
    let text = String::from_utf8(list.body).unwrap();
    assert_eq!(
        text,
        r#"{"next":"/of/25","keys":["/of/1","/of/1048576"]}"#.replace("/of/25", "/of/1048577")
    );
}

#[test]
fn conditions_hold_when_it_is_done_and_not_only_when_it_is_asked() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let at = at(&node, Door::Blob);
    let absent = "if-none-match: *\r\n";
    let both = [(); 2].map(|()| ask(at, "PUT", "/k", absent, b"x"));
    let done = both.map(|sent| {
        let location = sent.header("location").unwrap().to_owned();
        let rest = location.strip_prefix("http://").unwrap();
        let (address, path) = rest.split_at(rest.find('/').unwrap());
        ask(address.parse().unwrap(), "PUT", path, "", b"x").status
    });
    assert_eq!(done, [201, 412]);
    assert_eq!(ask(at, "PUT", "/k", absent, b"x").status, 412);
    let tag = follow(at, "GET", "/k", "", b"").header("etag").unwrap().to_owned();
    assert_eq!(follow(at, "PUT", "/k", &format!("if-match: {tag}\r\n"), b"y").status, 201);
    assert_eq!(ask(at, "PUT", "/k", &format!("if-match: {tag}\r\n"), b"z").status, 412);
    assert_eq!(ask(at, "DELETE", "/k", &format!("if-match: {tag}\r\n"), b"").status, 412);
    assert_eq!(get(at, "/k"), (200, b"y".to_vec()));
}

#[test]
fn a_volume_does_only_what_was_signed() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let (master, volume) = (at(&node, Door::Blob), at(&node, Door::Volume));
    assert_eq!(put(master, "/k1", b"v"), 201);
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert_eq!(ask(volume, method, "/k1", "", b"x").status, 403, "{method}");
        assert_eq!(ask(volume, method, "/k1?grant=AAAA", "", b"x").status, 403, "{method}");
    }
    let sent = ask(master, "GET", "/k1", "", b"");
    let location = sent.header("location").unwrap();
    let grant = location.split_once("?grant=").unwrap().1;
    assert_eq!(ask(volume, "GET", &format!("/k1?grant={grant}"), "", b"").status, 200);
    assert_eq!(ask(volume, "GET", &format!("/k2?grant={grant}"), "", b"").status, 403);
    assert_eq!(ask(volume, "DELETE", &format!("/k1?grant={grant}"), "", b"").status, 403);
    assert_eq!(ask(volume, "POST", &format!("/k1?grant={grant}"), "", b"").status, 405);
    // Nobody is sent where the request says.
    let mut stream = TcpStream::connect(master).unwrap();
    stream
        .write_all(b"GET /k1 HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains("location"), "{answer}");
    let got = follow(master, "GET", "/k1", "", b"");
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert!(got.header("content-security-policy").unwrap().contains("sandbox"));
}

#[test]
fn a_grant_puts_one_object_and_not_another_later() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let master = at(&node, Door::Blob);
    let sent = ask(master, "PUT", "/k", "", b"first");
    let rest = sent.header("location").unwrap().strip_prefix("http://").unwrap().to_owned();
    let (address, path) = rest.split_at(rest.find('/').unwrap());
    let put = |value: &[u8]| ask(address.parse().unwrap(), "PUT", path, "", value).status;
    assert_eq!(put(b"first"), 201);
    assert_eq!(put(b"other"), 412);
    assert_eq!(get(master, "/k"), (200, b"first".to_vec()));
    assert_eq!(ask(master, "UNLINK", "/k", "", b"").status, 204);
    assert_eq!(follow(master, "PUT", "/k", "if-none-match: *\r\n", b"new").status, 201);
    assert_eq!(ask(master, "UNLINK", "/k", "", b"").status, 204);
    assert_eq!(follow(master, "DELETE", "/k", "", b"").status, 200);
    assert_eq!(ask(master, "DELETE", "/k", "", b"").status, 404);
}

#[test]
fn a_master_that_others_can_reach_has_nobody_to_let_in() {
    let dir = Dir::new();
    let mut settings = master_of(&dir, &[], |_| {});
    settings.tls = Some(crate::TlsSetting::Auto);
    settings.doors[0].address = SocketAddr::from(([0, 0, 0, 0], 0));
    let problem = Node::start(&settings).map(drop).unwrap_err().to_string();
    assert!(problem.contains("--insecure"), "{problem}");
}

#[test]
fn an_open_volume_does_what_was_not_signed() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    settings.blobs.volume.as_mut().unwrap().is_open = true;
    let node = Running::start(&settings);
    let volume = at(&node, Door::Volume);
    assert_eq!(ask(volume, "GET", "/k1", "", b"").status, 404);
    assert_eq!(ask(volume, "PUT", "/k1", "", b"bigswag").status, 201);
    assert_eq!(ask(volume, "GET", "/k1", "", b"").body, b"bigswag");
    assert_eq!(get(at(&node, Door::Blob), "/k1"), (200, b"bigswag".to_vec()));
    assert_eq!(ask(volume, "DELETE", "/k1", "", b"").status, 200);
    assert_eq!(ask(volume, "GET", "/k1", "", b"").status, 404);
}

#[test]
fn what_was_acknowledged_is_there_after_a_start() {
    let dir = Dir::new();
    let settings = settings(&dir);
    let node = Running::start(&settings);
    for number in 0..50 {
        let value = format!("value {number}");
        assert_eq!(put(at(&node, Door::Blob), &format!("/k{number}"), value.as_bytes()), 201);
    }
    assert_eq!(follow(at(&node, Door::Blob), "DELETE", "/k7", "", b"").status, 200);
    node.end();
    let node = Running::start(&settings);
    for number in 0..50 {
        let told = get(at(&node, Door::Blob), &format!("/k{number}"));
        match number {
            7 => assert_eq!(told.0, 404),
            _ => assert_eq!(told, (200, format!("value {number}").into_bytes())),
        }
    }
}

#[test]
fn an_object_is_there_as_long_as_it_was_meant_to_be() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let at = at(&node, Door::Blob);
    assert_eq!(put(at, "/k1?ttl=1", b"soon gone"), 201);
    assert_eq!(get(at, "/k1").0, 200);
    RealClock::new().sleep(Duration::from_millis(1_100));
    assert_eq!(get(at, "/k1").0, 404);
    assert_eq!(ask(at, "GET", "/?list", "", b"").body, br#"{"next":"","keys":[]}"#);
}

#[test]
fn how_long_requests_took_is_told_by_what_they_were_for() {
    let dir = Dir::new();
    let node = Running::start(&settings(&dir));
    let master = at(&node, Door::Blob);
    let count = |door: &str, operation: &str| {
        let metrics = node.http(Door::Http, "GET", "/metrics", "").1;
        let name = format!(
            "olivine_blob_request_duration_seconds_count{{door=\"{door}\",operation=\"{operation}\"}}"
        );
        metric(&metrics, &name) as u64
    };
    for operation in ["get", "put", "delete", "unlink", "list", "other"] {
        assert_eq!((count("blob", operation), count("volume", operation)), (0, 0));
    }
    assert_eq!(put(master, "/k1", b"v"), 201);
    assert_eq!(get(master, "/k1").0, 200);
    assert_eq!(ask(master, "GET", "/?list", "", b"").status, 200);
    assert_eq!(ask(master, "UNLINK", "/k1", "", b"").status, 204);
    assert_eq!(follow(master, "DELETE", "/k1", "", b"").status, 200);
    for operation in ["get", "put", "delete"] {
        assert_eq!((count("blob", operation), count("volume", operation)), (1, 1));
    }
    assert_eq!((count("blob", "list"), count("blob", "unlink")), (1, 1));
    assert_eq!((count("volume", "list"), count("volume", "other")), (0, 0));
}

/// How many files of objects or extents there are below a directory.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = RealVfs.list(dir).unwrap_or_default().into_iter();
    entries.map(|entry| entry.bytes + bytes_below(&dir.join(&entry.name))).sum()
}

#[test]
fn an_object_lies_on_as_many_volumes_as_it_should() {
    let dir = Dir::new();
    let several = Several::start(&dir, 3, |master| master.replicas = 3);
    let master = at(&several.master, Door::Blob);
    let value: Vec<u8> = (0..3_000_000_u32).map(|place| (place * 7 % 251) as u8).collect();
    assert_eq!(put(master, "/large", &value), 201);
    assert_eq!(put(master, "/small", b"small"), 201);
    for number in 0..3 {
        let bytes = bytes_below(&dir.0.join(format!("volume{number}/extents")));
        assert!(3_000_000 < bytes, "volume {number} has {bytes}");
    }
    let mut volumes = several.volumes.into_iter();
    let ports: Vec<u16> =
        volumes.as_slice().iter().map(|one| at(one, Door::Volume).port()).collect();
    // Two of them gone, whatever one is left has everything.
    volumes.next().unwrap().end();
    volumes.next().unwrap().end();
    let several = Several { master: several.master, volumes: volumes.collect() };
    several.wait(|at| get(at, "/small") == (200, b"small".to_vec()));
    several.wait(|at| get(at, "/large") == (200, value.clone()));
    assert_eq!(put(master, "/small", b"new"), 503, "there are not enough of them");
    // Deleted while two do not know it; they write it down when they are back.
    several.wait(|at| follow(at, "DELETE", "/small", "", b"").status == 200);
    assert_eq!(get(master, "/small").0, 404);
    let back: Vec<Running> =
        (0..2).map(|number| Running::start(&volume_of(&dir, number, ports[number]))).collect();
    several.wait(|at| put(at, "/small", b"new") == 201);
    assert_eq!(get(master, "/small"), (200, b"new".to_vec()));
    drop(back);
}

fn speaks_as_minikeyvalue(at: SocketAddr, replicas: usize) {
    assert_eq!(ask(at, "GET", "/hello", "", b"").status, 404);
    assert_eq!(ask(at, "PUT", "/hello", "", b"world").status, 201);
    assert_eq!(ask(at, "PUT", "/hello", "", b"again").status, 403);
    assert_eq!(ask(at, "PUT", "/empty", "", b"").status, 411);
    let told = ask(at, "GET", "/hello", "", b"");
    assert_eq!(told.status, 302);
    assert_eq!(told.header("content-md5"), Some("7d793037a0760186574b0282f2f435e7"));
    assert_eq!(told.header("key-volumes").unwrap().split(',').count(), replicas);
    assert_eq!(told.header("key-balance"), Some("balanced"));
    assert_eq!(follow(at, "GET", "/hello", "", b"").body, b"world");
    assert_eq!(follow(at, "GET", "/hello", "range: bytes=1-2\r\n", b"").body, b"or");
    let large: Vec<u8> = (0..2_500_000_u32).map(|place| (place % 241) as u8).collect();
    assert_eq!(ask(at, "PUT", "/large", "", &large).status, 201);
    assert!(follow(at, "GET", "/large", "", b"").body == large);
    let list = |query| String::from_utf8(ask(at, "GET", query, "", b"").body).unwrap();
    assert_eq!(list("/?list"), r#"{"next":"","keys":["/hello","/large"]}"#);
    assert_eq!(list("/?list&limit=1"), r#"{"next":"/large","keys":["/hello"]}"#);
    assert_eq!(list("/he?list"), r#"{"next":"","keys":["/hello"]}"#);
    assert!(list("/?list-type=2&prefix=he").contains("<Key>hello</Key>"));
    assert_eq!(ask(at, "GET", "/?unknown", "", b"").status, 403);
    assert_eq!(ask(at, "UNLINK", "/hello", "", b"").status, 204);
    assert_eq!(ask(at, "UNLINK", "/hello", "", b"").status, 404);
    assert_eq!(ask(at, "GET", "/hello", "", b"").status, 404);
    assert_eq!(list("/?unlinked"), r#"{"next":"","keys":["/hello"]}"#);
    assert_eq!(ask(at, "PUT", "/hello", "", b"there").status, 201, "what is unlinked is replaced");
    assert_eq!(ask(at, "REBALANCE", "/hello", "", b"").status, 204);
    assert_eq!(ask(at, "REBALANCE", "/other", "", b"").status, 404);
    assert_eq!(ask(at, "DELETE", "/hello", "", b"").status, 204);
    assert_eq!(ask(at, "DELETE", "/hello", "", b"").status, 404);
}

#[test]
fn minikeyvalues_requests_are_answered_as_it_does() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    settings.blobs.master.as_mut().unwrap().manner = Manner::Mkv;
    let node = Running::start(&settings);
    speaks_as_minikeyvalue(at(&node, Door::Blob), 1);
    node.end();
    let dir = Dir::new();
    let volumes: Vec<Running> =
        (0..3).map(|number| Running::start(&volume_of(&dir, number, 0))).collect();
    let master = Running::start(&master_of(&dir, &volumes, |master| {
        (master.manner, master.replicas) = (Manner::Mkv, 3);
    }));
    let several = Several { master, volumes };
    several.wait(|at| ask(at, "PUT", "/a", "", b"a").status == 201);
    let master = at(&several.master, Door::Blob);
    assert_eq!(ask(master, "DELETE", "/a", "", b"").status, 204);
    speaks_as_minikeyvalue(master, 3);
}

#[test]
fn a_protected_object_must_be_unlinked_first() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    let master = settings.blobs.master.as_mut().unwrap();
    (master.manner, master.protects) = (Manner::Mkv, true);
    let node = Running::start(&settings);
    let at = at(&node, Door::Blob);
    assert_eq!(ask(at, "PUT", "/k", "", b"v").status, 201);
    assert_eq!(ask(at, "DELETE", "/k", "", b"").status, 403);
    assert_eq!(ask(at, "UNLINK", "/k", "", b"").status, 204);
    assert_eq!(ask(at, "DELETE", "/k", "", b"").status, 204);
}

#[test]
fn room_is_given_back_and_what_is_left_stays_readable() {
    let dir = Dir::new();
    let mut settings = settings(&dir);
    let volume = settings.blobs.volume.as_mut().unwrap();
    volume.extent_bytes_max = 64 << 10;
    (volume.tend_every, volume.grace) = (Duration::from_millis(50), Duration::from_millis(100));
    let extents = volume.dir.join("extents");
    let node = Running::start(&settings);
    let at = at(&node, Door::Blob);
    let value = |number: u32| vec![number as u8; 2_000 + number as usize];
    for number in 0..200 {
        assert_eq!(put(at, &format!("/k{number}"), &value(number)), 201);
    }
    assert_eq!(put(at, "/large", &vec![7; 3_000_000]), 201);
    let full = bytes_below(&extents);
    assert!(3_400_000 < full, "{full}");
    for number in (0..200).filter(|number| number % 4 != 0) {
        assert_eq!(follow(at, "DELETE", &format!("/k{number}"), "", b"").status, 200);
    }
    assert_eq!(follow(at, "DELETE", "/large", "", b"").status, 200);
    let mut left = full;
    for _ in 0..200 {
        for number in (0..200).filter(|number| number % 4 == 0) {
            assert_eq!(get(at, &format!("/k{number}")), (200, value(number)));
        }
        // A quarter of the small ones is left, and what the current extent is made longer by ahead.
        left = bytes_below(&extents);
        if left < full / 5 {
            break;
        }
        RealClock::new().sleep(Duration::from_millis(50));
    }
    assert!(left < full / 5, "{left} of {full}");
    node.end();
    let node = Running::start(&settings);
    let at = self::at(&node, Door::Blob);
    for number in 0..200 {
        let wanted = if number % 4 == 0 { (200, value(number)) } else { get(at, "/never") };
        assert_eq!(get(at, &format!("/k{number}")), wanted);
    }
}

#[test]
fn a_volume_and_a_master_come_and_go() {
    let dir = Dir::new();
    let mut several = Several::start(&dir, 1, |_| {});
    let master = at(&several.master, Door::Blob);
    assert_eq!(put(master, "/k1", b"v1"), 201);
    let volume = several.volumes.remove(0);
    let port = at(&volume, Door::Volume).port();
    volume.end();
    several.wait(|at| get(at, "/k1").0 == 503);
    let volume = Running::start(&volume_of(&dir, 0, port));
    several.wait(|at| get(at, "/k1") == (200, b"v1".to_vec()));
    let Several { master, .. } = several;
    master.end();
    let volumes = vec![volume];
    let master = Running::start(&master_of(&dir, &volumes, |_| {}));
    let several = Several { master, volumes };
    several.wait(|at| get(at, "/k1") == (200, b"v1".to_vec()));
    several.wait(|at| put(at, "/k2", b"v2") == 201);
}

#[test]
fn a_master_with_another_key_file_is_refused() {
    let dir = Dir::new();
    let volumes = vec![Running::start(&volume_of(&dir, 0, 0))];
    let mut settings = master_of(&dir, &volumes, |_| {});
    settings.blobs.key_file = dir.0.join("other.key");
    let master = Running::start(&settings);
    RealClock::new().sleep(Duration::from_millis(300));
    assert_eq!(ask(at(&master, Door::Blob), "PUT", "/k1", "", b"v").status, 503);
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let settings = settings(&dir);
    Running::start(&settings).end();
    let key_file = &settings.blobs.key_file;
    std::fs::set_permissions(key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let problem = Node::start(&settings).map(drop).unwrap_err().to_string();
    assert!(problem.contains("blob.key") && problem.contains("chmod 600"), "{problem}");
}
