//! What a service manager is told by a node: the datagrams themselves, taken at a socket of the test.

use std::{
    fs,
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use olivine_vfs::{Interrupt, monotonic};

use crate::{Dir, text};

/// The longest that a message may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with the test as its service manager.
struct Managed {
    child: Child,
    manager: UnixDatagram,
}

impl Managed {
    fn start(dir: &Dir, manager: UnixDatagram, name: &str) -> Managed {
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = serve(dir, name).env("WATCHDOG_USEC", "100000").spawn().unwrap();
        Managed { child, manager }
    }

    /// The next message that is not about the watchdog.
    fn told(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.manager.recv(&mut bytes).unwrap();
        text(&bytes[..length]).to_owned()
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn serve(dir: &Dir, manager: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_olivine"));
    command
        .args(["serve", "--data-dir", &format!("{}/data", dir.path()), "--memory", "16MiB"])
        .args(["--json-port", "0", "--line-port", "0", "--http-port", "0"])
        .args([
            "--influx-port",
            "0",
            "--select-port",
            "0",
            "--ingest-port",
            "0",
            "--blob-port",
            "0",
            "--volume-port",
            "0",
        ])
        .env("NOTIFY_SOCKET", manager)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn bound(dir: &Dir) -> (UnixDatagram, String) {
    fs::create_dir(&dir.0).unwrap();
    let path = format!("{}/manager", dir.path());
    (UnixDatagram::bind(&path).unwrap(), path)
}

#[test]
fn a_manager_is_told_from_the_start_to_the_end() {
    let dir = Dir::new("notify");
    let (manager, path) = bound(&dir);
    let mut node = Managed::start(&dir, manager, &path);
    assert_eq!(node.told(), "STATUS=starts");
    let ready = node.told();
    let doors = ready.strip_prefix("READY=1\nSTATUS=serves ").unwrap();
    assert_eq!(doors.split(", ").count(), 8, "{ready}");
    let names = ["json ", "line ", "http ", "influx ", "select ", "ingest ", "blob ", "volume "];
    for (door, named) in doors.split(", ").zip(names) {
        TcpStream::connect(door.strip_prefix(named).unwrap()).unwrap();
    }
    // Twice, so that it goes on.
    while node.next() != "WATCHDOG=1" {}
    while node.next() != "WATCHDOG=1" {}

    let before = monotonic().as_micros();
    let hangup = ["-HUP", &node.child.id().to_string()];
    assert!(Command::new("kill").args(hangup).status().unwrap().success());
    let reloading = node.told();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    let micros: u128 = micros.lines().next().unwrap().parse().unwrap();
    assert!((before..=monotonic().as_micros()).contains(&micros), "{reloading}");
    assert_eq!(node.told(), ready);

    Interrupt::Term.send(node.child.id()).unwrap();
    let stopping = node.told();
    assert!(stopping.starts_with("STOPPING=1\nSTATUS=waits for "), "{stopping}");
    assert_eq!(node.told(), "STATUS=closes the store");
    assert!(node.child.wait().unwrap().success());
}

/// Containers are given sockets that no file stands for.
#[test]
fn a_manager_without_a_file_is_told_too() {
    let dir = Dir::new("notify-abstract");
    let name = format!("olivine-notify-{}", process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let node = Managed::start(&dir, manager, &format!("@{name}"));
    assert_eq!(node.told(), "STATUS=starts");
    assert!(node.told().starts_with("READY=1\n"));
}

#[test]
fn a_manager_that_cannot_be_told_is_named_before_anything_is_opened() {
    let dir = Dir::new("notify-refused");
    for (name, why) in [
        ("manager", "neither a path from the root nor a name behind `@`"),
        ("/nowhere/manager", "No such file or directory"),
    ] {
        let output = serve(&dir, name).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        let cannot = format!("cannot tell the service manager at `{name}`, which NOTIFY_SOCKET");
        assert!(said.contains(&cannot) && said.contains(why), "{said}");
        assert!(!dir.0.exists());
    }
    let output =
        serve(&dir, "").env("WATCHDOG_USEC", "1s").env("NOTIFY_SOCKET", "@nobody-here").output();
    let said = output.unwrap();
    assert!(text(&said.stderr).contains("WATCHDOG_USEC in the environment wants"));
}
