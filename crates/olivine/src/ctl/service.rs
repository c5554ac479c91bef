//! The services there are, and one of them in its place.
//!
//! 1. A service is a command of the program that runs until it is asked to end; the table's order is the one in
//!    which they start.
//! 2. A unit is what the service's own command would be: same options, same layers, checked before it is begun.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use olivine_server::{Door, Wait, door_answers, storage_answers};

use super::state::Told;
use crate::{
    call::{Call, Origin},
    config::{CONFIG, Layers, ROLES, Role},
    ending::Failure,
    presence::{pid_path, state_path},
    serve::{self, LOG_FILE},
};

/// Whether a process that told this answers.
type Answers = fn(&Told, Duration) -> io::Result<()>;
/// Options of a service that follow from others', by its call, the layers below it and the arguments all have.
type Follows = fn(&Call, &Layers, &[OsString]) -> Result<Vec<OsString>, Failure>;

/// A kind of process that runs in the background.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// What the control scripts of before called it.
    also: &'static [&'static str],
    /// The command that it runs.
    command: &'static str,
    /// Whether it has the store.
    pub(super) has_store: bool,
    /// Options that follow from another service's.
    follows: Follows,
    /// Whether it answers.
    pub(super) answers: Answers,
    /// What it cannot answer without, and whether that is there.
    pub(super) needs: Option<(&'static str, Answers)>,
}

pub(super) const SERVICES: &[Service] = &[
    Service {
        name: "storage",
        also: &["vm-storage", "vm-storage.py"],
        command: serve::STORAGE.name,
        has_store: true,
        follows: |_, _, _| Ok(Vec::new()),
        answers: socket_answers,
        needs: None,
    },
    Service {
        name: "kv",
        also: &[],
        command: serve::COORDINATOR.name,
        has_store: false,
        follows: where_the_storage_is,
        answers: doors_answer,
        needs: Some(("storage", socket_answers)),
    },
    Service {
        name: "insert",
        also: &["vm-insert", "vm-insert.py"],
        command: serve::INSERT.name,
        has_store: false,
        follows: where_the_storage_is,
        answers: doors_answer,
        needs: Some(("storage", socket_answers)),
    },
    Service {
        name: "select",
        also: &["vm-select", "vm-select.py"],
        command: serve::SELECT.name,
        has_store: false,
        follows: where_the_storage_is,
        answers: doors_answer,
        needs: Some(("storage", socket_answers)),
    },
    Service {
        name: "master",
        also: &[],
        command: serve::blobs::MASTER.name,
        has_store: false,
        follows: of_master,
        answers: doors_answer,
        needs: None,
    },
    Service {
        name: "volume",
        also: &[],
        command: serve::blobs::VOLUME.name,
        has_store: false,
        follows: |call, _, _| Ok(in_the_data_dir(call, "--volume-dir", "volumes/volume1")),
        answers: doors_answer,
        needs: None,
    },
];

impl Service {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.also.contains(&name)
    }
}

fn socket_answers(told: &Told, patience: Duration) -> io::Result<()> {
    match &told.socket {
        Some(socket) => storage_answers(Path::new(socket), patience),
        None => Err(io::Error::other("it has no socket")),
    }
}

/// Asks the door that tells most.
fn doors_answer(told: &Told, patience: Duration) -> io::Result<()> {
    let address = |door: &Door| {
        let (_, address) = told.doors.iter().find(|(name, _)| name == door.name())?;
        address.parse().ok()
    };
    let doors = [
        Door::Http,
        Door::Json,
        Door::Line,
        Door::Influx,
        Door::Select,
        Door::Ingest,
        Door::Blob,
        Door::Volume,
    ];
    let found = doors.into_iter().find_map(|door| Some((door, address(&door)?)));
    match found {
        Some((door, address)) => door_answers(door, address, told.speaks_tls, patience),
        None => Err(io::Error::other("it has no door open")),
    }
}

/// A coordinator finds a storage that was put elsewhere, unless it is told itself where that is.
fn where_the_storage_is(
    call: &Call,
    layers: &Layers,
    arguments: &[OsString],
) -> Result<Vec<OsString>, Failure> {
    let storage = called(serve::STORAGE.name, layers, arguments)?.1;
    Ok(match (call.origin("--storage"), storage.value("--socket")) {
        (Origin::Default, Some(socket)) => vec!["--storage".into(), socket.to_owned()],
        _ => Vec::new(),
    })
}

/// A master in the background has its index in the data directory, and the volume there, unless it is told otherwise.
fn of_master(
    call: &Call,
    layers: &Layers,
    arguments: &[OsString],
) -> Result<Vec<OsString>, Failure> {
    let mut follows = in_the_data_dir(call, "--db", "olivedb");
    let volume = called(serve::blobs::VOLUME.name, layers, arguments)?.1;
    let port = volume.value("--volume-port").or(volume.value("--port"));
    if let (Origin::Default, Some(port)) = (call.origin("--volumes"), port) {
        let volumes = format!("localhost:{}", port.to_string_lossy());
        follows.extend(["--volumes".into(), volumes.into()]);
    }
    Ok(follows)
}

fn in_the_data_dir(call: &Call, option: &str, name: &str) -> Vec<OsString> {
    if *call.origin(option) != Origin::Default {
        return Vec::new();
    }
    let data_dir = Path::new(call.value("--data-dir").unwrap_or(OsStr::new("data")));
    vec![option.into(), data_dir.join(name).into_os_string()]
}

/// A call of a service's command, as it would be completed.
fn called(
    name: &str,
    layers: &Layers,
    arguments: &[OsString],
) -> Result<(&'static Role, Call), Failure> {
    let role = ROLES.iter().find(|role| role.command.name == name);
    let role = role.ok_or_else(|| Failure::misused(format!("no command `{name}`")))?;
    let mut call = Call::parse(role.command, arguments).map_err(Failure::misused)?;
    layers.complete(&mut call)?;
    Ok((role, call))
}

/// A service in its place.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) service: &'static Service,
    pub(super) data_dir: PathBuf,
    /// Where its events go.
    pub(super) log: PathBuf,
    /// What its process is called with, the command first.
    pub(super) arguments: Vec<OsString>,
    /// How long its connections have to end.
    pub(super) drain: Duration,
}

impl Unit {
    /// The service as `call` and the layers below it have it.
    pub(super) fn of(
        service: &'static Service,
        call: &Call,
        layers: &Layers,
    ) -> Result<Unit, Failure> {
        let mut arguments = Vec::new();
        for option in [CONFIG.name, "--data-dir"] {
            if let Some(value) = call.value(option) {
                arguments.extend([OsString::from(option), value.to_owned()]);
            }
        }
        let (role, called) = called(service.command, layers, &arguments)?;
        (role.check)(&called).map_err(|failure| failure.within(service.name))?;
        arguments.extend((service.follows)(&called, layers, &arguments)?);
        arguments.insert(0, service.command.into());
        let data_dir = PathBuf::from(called.value("--data-dir").unwrap_or(OsStr::new("data")));
        let drain = serve::patience(&called)?.of(Wait::Drain);
        let own = log_in(&data_dir, service.name, "log");
        let log = called.value(LOG_FILE.name).map(PathBuf::from);
        if log.is_none() {
            arguments.extend([LOG_FILE.name.into(), own.clone().into_os_string()]);
        }
        Ok(Unit { service, data_dir, log: log.unwrap_or(own), arguments, drain })
    }

    pub(super) fn name(&self) -> &'static str {
        self.service.name
    }

    pub(super) fn pid_path(&self) -> PathBuf {
        pid_path(&self.data_dir, self.name())
    }

    pub(super) fn state_path(&self) -> PathBuf {
        state_path(&self.data_dir, self.name())
    }

    /// Where what it says besides its events goes: that it is ready, or why it cannot be.
    pub(super) fn output_path(&self) -> PathBuf {
        log_in(&self.data_dir, self.name(), "out")
    }
}

fn log_in(data_dir: &Path, service: &str, ending: &str) -> PathBuf {
    data_dir.join("log").join(format!("{service}.{ending}"))
}
