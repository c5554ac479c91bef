//! Nodes whose disk fails, or is full, in one process and in two.

use std::sync::{Arc, PoisonError};

use olivine_engine::{Environment, EnvironmentOptions, Parts, Work};
use olivine_vfs::{FailingVfs, Fault, Kind, RealClock, RealVfs};

use super::{Dir, MEMORY, Running, halves::halves, pause, settings};
use crate::{Door, Node, Settings};

/// A node on a disk that can be told to fail; in two processes, it is that of the storage.
struct OnDisk {
    doors: Running,
    /// Ended after the doors.
    _storage: Option<Running>,
    disk: Arc<FailingVfs>,
}

/// Starts a node on another disk than the machine's own.
fn start(settings: &Settings, disk: &Arc<FailingVfs>) -> Node {
    let (vfs, clock) = (Arc::clone(disk) as _, Arc::new(RealClock::new()));
    let parts = Parts { vfs, clock, work: Work::Threads };
    let options = EnvironmentOptions { memory_bytes: 16 << 20 };
    Node::open(settings, Environment::with(parts, options).unwrap()).unwrap()
}

impl OnDisk {
    fn start(dir: &Dir, split: bool) -> OnDisk {
        let disk = Arc::new(FailingVfs::new(Arc::new(RealVfs)));
        let on_disk = |settings| Running::of(start(settings, &disk));
        if !split {
            return OnDisk { doors: on_disk(&settings(dir)), _storage: None, disk };
        }
        let (storage, coordinator) = halves(dir);
        let storage = on_disk(&storage);
        let doors = Running::start(&coordinator);
        let node = OnDisk { doors, _storage: Some(storage), disk };
        assert!((0..200).any(|_| node.ready().0 == 200 || pause()));
        node
    }

    fn ready(&self) -> (u16, String) {
        self.doors.http(Door::Http, "GET", "/readyz", "")
    }

    /// What each door answers to a put.
    fn put(&self, value: &str) -> [String; 3] {
        let line = format!("{{\"command\":\"put\",\"key\":\"a\",\"value\":\"{value}\"}}\n");
        let (status, body) = self.doors.http(Door::Http, "PUT", "/kv/a", value);
        [
            self.doors.say(Door::Json, line),
            format!("{status} {body}"),
            self.doors.say(Door::Line, format!("PUT a {value}\n")),
        ]
    }

    /// Every door reads on.
    fn reads(&self) {
        assert_eq!(self.doors.say(Door::Line, "GET held\n"), "OK 1\n");
        assert_eq!(self.doors.http(Door::Http, "GET", "/kv/held", ""), (200, "1".to_owned()));
        let asked = "{\"command\":\"get\",\"key\":\"held\"}\n";
        assert_eq!(self.doors.say(Door::Json, asked), "{\"status\":\"ok\",\"value\":\"1\"}\n");
    }
}

/// After a sync that failed nothing is acknowledged any more, whatever the disk says later; a start anew has
/// what was acknowledged.
#[test]
fn a_failed_sync_ends_writes_and_nothing_else() {
    for split in [false, true] {
        let dir = Dir::new();
        let node = OnDisk::start(&dir, split);
        assert_eq!(node.doors.say(Door::Line, "PUT held 1\n"), "OK\n");
        node.disk.fail_from(Kind::Sync, 0, Fault::Eio);
        for _ in 0..3 {
            let [json, http, line] = node.put("2");
            assert!(json.starts_with("{\"status\":\"error\","), "{json}");
            assert!(json.contains("\"code\":\"read_only_after_failure\""), "{json}");
            assert!(http.starts_with("503 "), "{http}");
            assert!(http.contains("\"code\":\"read_only_after_failure\""), "{http}");
            assert!(line.starts_with("ERROR ") && line.contains("the store takes no "), "{line}");
            node.reads();
            let (status, why) = node.ready();
            assert!(status == 503 && why.contains("takes no more writes"), "{status} {why}");
            assert_eq!(node.doors.http(Door::Http, "GET", "/livez", "").0, 200);
            // What the disk says later changes nothing.
            node.disk.clear();
        }
        let metrics = node.doors.http(Door::Http, "GET", "/metrics", "").1;
        assert!(super::is(&metrics, "olivine_ready", 0), "{metrics}");
        drop(node);
        let node = Running::start(&settings(&dir));
        assert_eq!(node.say(Door::Line, "GET held\n"), "OK 1\n");
        assert_eq!(node.http(Door::Http, "GET", "/readyz", "").0, 200);
        assert_eq!(node.say(Door::Line, "PUT a 3\n"), "OK\n");
    }
}

/// While there is no room, writes are refused in words of their own and reads go on; once there is some, so
/// do writes, without a start anew.
#[test]
fn a_full_disk_is_waited_for() {
    let _memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    for split in [false, true] {
        let dir = Dir::new();
        let node = OnDisk::start(&dir, split);
        assert_eq!(node.doors.say(Door::Line, "PUT held 1\n"), "OK\n");
        node.disk.no_room_from(node.disk.growing());
        let large = "x".repeat(256 << 10);
        let full = || node.doors.say(Door::Line, format!("PUT b {large}\n")) != "OK\n";
        assert!((0..1_000).any(|_| full()), "there is an end to what there was room for");
        let [json, http, line] = node.put(&large);
        assert!(json.contains("\"code\":\"disk_full\""), "{json}");
        assert!(http.starts_with("507 ") && http.contains("\"code\":\"disk_full\""), "{http}");
        assert!(line.starts_with("ERROR ") && line.contains("full"), "{line}");
        node.reads();
        let (status, why) = node.ready();
        assert!(status == 503 && why.contains("the disk is full"), "{status} {why}");
        node.disk.clear();
        let goes_on = || {
            node.put("4")
                == ["{\"status\":\"ok\",\"message\":\"Key-value pair stored\"}\n", "204 ", "OK\n"]
        };
        assert!((0..1_500).any(|_| goes_on() || pause()), "{:?}", node.put("4"));
        assert!((0..500).any(|_| node.ready().0 == 200 || pause()), "{:?}", node.ready());
        node.reads();
        drop(node);
        let node = Running::start(&settings(&dir));
        assert_eq!(node.say(Door::Line, "GET a\nGET held\n"), "OK 4\nOK 1\n");
    }
}
