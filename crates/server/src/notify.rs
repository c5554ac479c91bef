//! What the service manager is told of a node, in systemd's manner: datagrams to the socket that it
//! names in `NOTIFY_SOCKET`.
//!
//! 1. Without that variable nothing is sent.
//! 2. A socket that is not there is refused at the start, by the variable's name. What is lost later is
//!    lost: a node does not end because of whoever watches it.
//! 3. A manager that takes nothing holds the node up for no longer than [`PATIENCE`] a message.
//! 4. The watchdog is fed by the runtime that takes connections, and no more once that stands still.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::net::{SocketAddr, UnixDatagram},
    process,
    time::Duration,
};

use olivine_vfs::monotonic;

use crate::{Problem, Started};

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// How long a message waits for room at the manager.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    beat_every: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names.
    pub(crate) fn of_environment() -> Result<Notifier, Problem> {
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else {
            return Ok(Notifier { manager: None, beat_every: None });
        };
        let manager = manager_at(&name).map_err(unreachable(&name))?;
        let variable = |name| env::var(name).ok();
        let beat_every = beat_every(variable(WATCHDOG), variable(WATCHDOG_PROCESS), process::id())?;
        let notifier = Notifier { manager: Some(manager), beat_every };
        notifier.send("STATUS=starts").map_err(unreachable(&name))?;
        Ok(notifier)
    }

    /// Every door is open.
    pub(crate) fn ready(&self, started: &Started) {
        self.tell(&format!("READY=1\nSTATUS={}", status(started)));
    }

    /// What can be read again is being read again; [`Notifier::ready`] ends it.
    pub(crate) fn reloading(&self) {
        // The manager tells by the time which signal this answers.
        let micros = monotonic().as_micros();
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reads its settings again"
        ));
    }

    /// Nobody is taken any more.
    pub(crate) fn stopping(&self, connections: usize) {
        self.tell(&format!("STOPPING=1\nSTATUS=waits for {connections} connections to end"));
    }

    /// The connections have ended.
    pub(crate) fn closing(&self) {
        self.tell("STATUS=closes the store");
    }

    /// Feeds the watchdog, if there is one, for as long as the runtime lives.
    pub(crate) async fn beat(&self) {
        let Some(every) = self.beat_every else { return };
        loop {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(every).await;
        }
    }

    /// Says it; what does not arrive is not said again.
    fn tell(&self, text: &str) {
        self.send(text).ok();
    }

    fn send(&self, text: &str) -> io::Result<()> {
        match &self.manager {
            Some((socket, address)) => {
                socket.send_to_addr(text.as_bytes(), address).map(|_bytes| ())
            }
            None => Ok(()),
        }
    }
}

/// A path, or a name behind `@`, which no file stands for.
fn manager_at(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let bytes = name.as_encoded_bytes();
    let address = match bytes.first() {
        Some(b'/') => SocketAddr::from_pathname(name)?,
        Some(b'@') => without_file(&bytes[1..])?,
        _ => {
            let what = "neither a path from the root nor a name behind `@`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, address))
}

#[cfg(target_os = "linux")]
fn without_file(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn without_file(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has sockets without files"))
}

/// How often the watchdog is to be fed: twice as often as it asks for, and only if it means this process.
fn beat_every(
    micros: Option<String>,
    of_process: Option<String>,
    process: u32,
) -> Result<Option<Duration>, Problem> {
    let number = |name: &str, text: Option<String>| -> Result<Option<u64>, Problem> {
        let Some(text) = text else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if 0 < number => Ok(Some(number)),
            _ => Err(Problem::Settings(format!(
                "{name} in the environment wants a whole number from 1, not `{text}`; unset it if no \
                 service manager watches this process"
            ))),
        }
    };
    let (micros, of_process) = (number(WATCHDOG, micros)?, number(WATCHDOG_PROCESS, of_process)?);
    let meant = of_process.is_none_or(|of_process| of_process == u64::from(process));
    Ok(micros.filter(|_| meant).map(|micros| Duration::from_micros((micros / 2).max(1))))
}

/// What a node that is ready says of itself, in one line.
fn status(started: &Started) -> String {
    let open = started.doors.iter().map(|(door, address)| format!("{} {address}", door.name()));
    let socket = started.store.is_some().then_some(started.socket.as_ref()).flatten();
    let socket = socket.map(|socket| format!("coordinators at {}", socket.display()));
    let left_out = started.skipped.iter().map(|(setting, _)| {
        let (name, port) = (setting.door.name(), setting.address.port());
        format!("{name} left out, port {port} is taken")
    });
    let parts: Vec<String> = open.chain(socket).chain(left_out).collect();
    // A line end would begin another variable.
    format!("serves {}", parts.join(", ").replace('\n', " "))
}

fn unreachable(name: &OsStr) -> impl FnOnce(io::Error) -> Problem + use<> {
    let name: OsString = name.to_owned();
    move |source| {
        let name = name.display();
        let what = format!(
            "cannot tell the service manager at `{name}`, which {SOCKET} names, how this node fares; unset \
             it if there is none"
        );
        Problem::System { what, source }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Door, DoorSetting};

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_it_asks_for() {
        let every = |micros: Option<&str>, of: Option<&str>| {
            beat_every(micros.map(str::to_owned), of.map(str::to_owned), 7)
        };
        let half = Some(Duration::from_secs(15));
        assert_eq!(every(Some("30000000"), None).unwrap(), half);
        assert_eq!(every(Some("30000000"), Some("7")).unwrap(), half);
        assert_eq!(every(Some("30000000"), Some("8")).unwrap(), None);
        assert_eq!(every(None, Some("7")).unwrap(), None);
        for wrong in ["", "0", "-1", "1s"] {
            let said = every(Some(wrong), None).unwrap_err().to_string();
            assert!(said.starts_with("WATCHDOG_USEC in the environment wants"), "{said}");
        }
        let said = every(Some("1"), Some("x")).unwrap_err().to_string();
        assert!(said.starts_with("WATCHDOG_PID in the environment wants"), "{said}");
    }

    #[test]
    fn a_status_is_one_line_whatever_paths_hold() {
        let mut started = Started::default();
        started.doors.push((Door::Json, "127.0.0.1:9999".parse().unwrap()));
        started.skipped.push((DoorSetting::default_of(Door::Line), String::new()));
        let said = "serves json 127.0.0.1:9999, line left out, port 7000 is taken";
        assert_eq!(status(&started), said);
        let storage = Started {
            store: Some(PathBuf::from("data/store")),
            socket: Some(PathBuf::from("run/a\nREADY=0")),
            ..Started::default()
        };
        assert_eq!(status(&storage), "serves coordinators at run/a READY=0");
    }
}
