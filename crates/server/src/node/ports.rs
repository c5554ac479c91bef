//! Ports and sockets: opened when a node starts, and who comes to them.

use std::{
    io,
    net::TcpListener,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use olivine_command::Code;
use olivine_doors::blob::Manner;
use olivine_vfs::Vfs;
use tokio::{io::AsyncWriteExt as _, select};

use super::{Problem, Started, make_dirs, system};
use crate::{
    log::Seldom,
    protocol::{Json, Line, Protocol as _},
    settings::{Door, DoorSetting, Half, Settings},
    worker::{Shared, Taken, Workers},
};

/// How long nobody is taken after taking somebody failed, as it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the ports of the doors.
pub(super) fn open(
    settings: &Settings,
    started: &mut Started,
) -> Result<Vec<(Door, TcpListener)>, Problem> {
    let is_storage = matches!(settings.half, Half::Storage(_));
    if is_storage && settings.doors.is_empty() {
        return Ok(Vec::new());
    }
    check(settings)?;
    let mut listeners = Vec::new();
    for setting in &settings.doors {
        let DoorSetting { door, address, asked } = *setting;
        let bound = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        match bound {
            Ok(listener) => {
                let address = listener.local_addr().map_err(system("tell an address"))?;
                started.doors.push((door, address));
                listeners.push((door, listener));
            }
            Err(error) if !asked && error.kind() == io::ErrorKind::AddrInUse => {
                started.skipped.push((*setting, error.to_string()));
            }
            Err(error) => {
                let name = door.name();
                let what = format!("cannot open the {name} door at {address}; see --{name}-port");
                return Err(Problem::System { what, source: error });
            }
        }
    }
    // A storage is there for coordinators, whatever door it has.
    if listeners.is_empty() && !is_storage {
        let ports: Vec<String> =
            settings.doors.iter().map(|door| door.address.to_string()).collect();
        let what = format!(
            "all ports are taken ({}); is a node running already? --<door>-port names others",
            ports.join(", ")
        );
        return Err(Problem::System { what, source: io::ErrorKind::AddrInUse.into() });
    }
    Ok(listeners)
}

/// Refuses doors that cannot be.
fn check(settings: &Settings) -> Result<(), Problem> {
    if settings.doors.is_empty() {
        return Err(Problem::Settings("no door is to be opened; name one with --doors".to_owned()));
    }
    match public(settings) {
        Some(DoorSetting { door, address, .. }) if settings.tls.is_none() => {
            let (name, ip) = (door.name(), address.ip());
            Err(Problem::Settings(format!(
                "the {name} door would be open to other machines at {ip}, without TLS; name a certificate \
                 with --tls-cert and --tls-key, or have one made with --tls auto; or bind it to 127.0.0.1; \
                 or say --insecure if the network is trusted"
            )))
        }
        _ => Ok(()),
    }
}

/// A door that is open to other machines without being called insecure, if there is one.
pub(super) fn public(settings: &Settings) -> Option<&DoorSetting> {
    let is_public = |door: &&DoorSetting| !door.address.ip().is_loopback();
    settings.doors.iter().find(is_public).filter(|_| !settings.insecure)
}

/// The same, of doors at which it takes users to know who asks: in S3's manner each request is signed.
fn unsigned(settings: &Settings) -> Option<&DoorSetting> {
    let signs = settings.blobs.master.as_ref().is_some_and(|master| master.manner == Manner::S3);
    let is_it = |setting: &&DoorSetting| {
        let is_signed = signs && setting.door == Door::Blob;
        !(is_signed || setting.address.ip().is_loopback())
    };
    settings.doors.iter().find(is_it).filter(|_| !settings.insecure)
}

/// Refuses doors that are open to other machines while there is nobody who could be let in.
pub(super) fn check_users(settings: &Settings, users: u64) -> Result<(), Problem> {
    match unsigned(settings) {
        Some(DoorSetting { door, address, .. }) if users == 0 => {
            let (name, ip) = (door.name(), address.ip());
            let dir = settings.data_dir.display();
            Err(Problem::Settings(format!(
                "the {name} door would be open to other machines at {ip}, and there are no users; make the \
                 first with `olivine init --data-dir {dir}`, or bind it to 127.0.0.1, or say --insecure if \
                 the network is trusted"
            )))
        }
        _ => Ok(()),
    }
}

/// Refuses a master that is open to other machines while there is nobody who could be let in.
pub(super) fn check_alone(settings: &Settings) -> Result<(), Problem> {
    let Some(DoorSetting { door, address, .. }) = unsigned(settings) else { return Ok(()) };
    let (name, ip) = (door.name(), address.ip());
    Err(Problem::Settings(format!(
        "the {name} door would be open to other machines at {ip}, and a master by itself knows no users; have \
         `olivine serve` be the master, or bind it to 127.0.0.1, or say --insecure if the network is trusted"
    )))
}

/// Opens the port that coordinators on other machines come to.
pub(super) fn open_to_hosts(settings: &Settings) -> Result<Option<TcpListener>, Problem> {
    let Some(address) = settings.listen else { return Ok(None) };
    if settings.peers.is_none() {
        return Err(Problem::Settings(format!(
            "coordinators that come to {address} must show who they are; --peer-ca, --peer-cert and --peer-key \
             say how, and `olivine certify` makes them"
        )));
    }
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| {
            let what = format!("cannot listen at {address}; see --listen");
            Problem::System { what, source }
        })?;
    Ok(Some(listener))
}

/// Opens the socket that coordinators come to, in place of one that somebody left.
pub(super) fn open_socket(vfs: &dyn Vfs, socket: &Path) -> Result<UnixListener, Problem> {
    let failed = |source| {
        let what = format!("cannot open the socket {}; see --socket", socket.display());
        Problem::System { what, source }
    };
    if let Some(dir) = socket.parent() {
        make_dirs(vfs, dir, "--socket")?;
    }
    if UnixStream::connect(socket).is_ok() {
        let what =
            format!("{} is another storage's; --socket names another place", socket.display());
        return Err(Problem::System { what, source: io::ErrorKind::AddrInUse.into() });
    }
    match vfs.remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Takes connections for a door.
pub(super) async fn take(
    door: Door,
    listener: tokio::net::TcpListener,
    workers: Rc<Workers>,
    shared: Arc<Shared>,
    connections_max: usize,
) {
    let mut stopping = shared.stopping.clone();
    let (mut refused, mut failed) = (Seldom::default(), Seldom::default());
    loop {
        let taken = select! {
            taken = listener.accept() => taken,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let now = shared.time.clock().now();
        let mut stream = match taken {
            Ok((stream, _)) => stream,
            Err(error) => {
                tell_failed(door.name(), &error, failed.happened(now));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if connections_max <= workers.connections() {
            shared.counters.turned_away();
            if let Some(count) = refused.happened(now) {
                let connections_max = connections_max as u64;
                let door = door.name();
                tracing::warn!(event = "connections_refused", door, count, connections_max);
            }
            let text = turned_away(door, connections_max);
            // Whether it is told or not, it ends.
            tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(&text)).await.ok();
            continue;
        }
        if let Ok(stream) = stream.into_std() {
            shared.counters.taken();
            workers.take(Taken::Door(door, stream));
        }
    }
}

/// Connections could not be taken, so often since that was told last; if it is to be told now.
fn tell_failed(door: &str, error: &io::Error, count: Option<u64>) {
    if let Some(count) = count {
        tracing::warn!(event = "accept_failed", door, count, why = &*error.to_string());
    }
}

/// What a connection is told that is one too many.
fn turned_away(door: Door, connections_max: usize) -> Vec<u8> {
    let text =
        format!("there are `connections-max`, {connections_max}, connections; try again later");
    let mut out = Vec::new();
    match door {
        Door::Json => Json::error(&text, Code::Busy, &mut out),
        Door::Line => Line::error(&text, Code::Busy, &mut out),
        Door::Http
        | Door::Influx
        | Door::Select
        | Door::Ingest
        | Door::Blob
        | Door::Volume => out.extend_from_slice(
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
    }
    out
}

/// Where coordinators come.
pub(super) enum Coming {
    /// Those of this machine.
    Here(tokio::net::UnixListener),
    /// Those of others, and how many connections there may be.
    Hosts(tokio::net::TcpListener, usize),
}

impl Coming {
    /// Somebody who came; nothing if they are one too many.
    async fn accept(&self, workers: &Workers) -> io::Result<Option<Taken>> {
        match self {
            Coming::Here(listener) => {
                Ok(Some(Taken::Coordinator(listener.accept().await?.0.into_std()?)))
            }
            Coming::Hosts(listener, most) => {
                let stream = listener.accept().await?.0.into_std()?;
                // One too many is closed, and its coordinator comes again.
                Ok((workers.connections() < *most).then_some(Taken::Host(stream)))
            }
        }
    }
}

/// Takes coordinators.
pub(super) async fn take_coordinators(coming: Coming, workers: Rc<Workers>, shared: Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    let mut failed = Seldom::default();
    loop {
        let taken = select! {
            taken = coming.accept(&workers) => taken,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match taken {
            Ok(Some(taken)) => workers.take(taken),
            Ok(None) => {}
            Err(error) => {
                tell_failed("storage", &error, failed.happened(shared.time.clock().now()));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
