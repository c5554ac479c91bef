//! What a running node leaves in its data directory, so that `olivine ctl` and people find it:
//! `run/<service>.pid`, locked as long as it lives, and `run/<service>.json`, which says what it has open.
//!
//! 1. A state counts only while the pid file beside it is held by the process that the state names.
//! 2. A process that ends in order takes both away; what a crash leaves is told from them by the lock.
//! 3. A state is there whole or not at all.

use std::{
    env,
    path::{Path, PathBuf},
};

use olivine_server::{Half, Node, Settings};
use olivine_vfs::{Clock as _, Open, PidFile, RealClock, RealVfs, Vfs as _, make_dirs};

use crate::{
    ending::{Ending, Failure},
    json::Json,
};

/// Tells a process which service of `olivine ctl` it is.
pub(crate) const SERVICE: &str = "OLIVINE_SERVICE";

/// Where a process of this name leaves its pid.
pub(crate) fn pid_path(data_dir: &Path, service: &str) -> PathBuf {
    data_dir.join("run").join(format!("{service}.pid"))
}

/// Where it says what it has open.
pub(crate) fn state_path(data_dir: &Path, service: &str) -> PathBuf {
    data_dir.join("run").join(format!("{service}.json"))
}

/// A node that can be found.
pub(crate) struct Presence {
    service: String,
    data_dir: PathBuf,
    pid: PidFile,
}

impl Presence {
    /// Takes the pid file, for a process that `olivine ctl` started, before it does anything else; it
    /// begins a session of its own then.
    pub(crate) fn of_service(settings: &Settings) -> Result<Option<Presence>, Failure> {
        let Some(service) = env::var(SERVICE).ok().filter(|service| !service.is_empty()) else {
            return Ok(None);
        };
        if service.contains('/') {
            let text = format!("{SERVICE} is set by `olivine ctl`, and not to `{service}`");
            return Err(Failure::new(Ending::Misconfigured, text));
        }
        olivine_vfs::begin_session().map_err(Failure::io("cannot begin a session".to_owned()))?;
        let path = pid_path(&settings.data_dir, &service);
        let taken = Presence::take(service, settings);
        let taken = taken.map_err(Failure::io(format!("cannot take {}", path.display())))?;
        let text = || format!("{} is held by another process", path.display());
        taken.map(Some).ok_or_else(|| Failure::new(Ending::Locked, text()))
    }

    /// The same for a process that somebody else started, when it has started. Where that cannot be, it
    /// goes on, and is told why `olivine ctl` will not find it.
    pub(crate) fn of_node(settings: &Settings) -> Result<Presence, String> {
        let service = match settings.half {
            Half::Both => "serve",
            Half::Storage(_) => "storage",
            Half::Coordinator(_) => "kv",
            Half::Blobs if settings.blobs.master.is_some() => "master",
            Half::Blobs => "volume",
        };
        let path = pid_path(&settings.data_dir, service);
        let path = path.display();
        match Presence::take(service.to_owned(), settings) {
            Ok(Some(presence)) => Ok(presence),
            Ok(None) => Err(format!("another process has {path}, and is the one that it finds")),
            Err(error) => Err(format!("cannot write {path}: {error}")),
        }
    }

    fn take(service: String, settings: &Settings) -> std::io::Result<Option<Presence>> {
        let path = pid_path(&settings.data_dir, &service);
        make_dirs(&RealVfs, path.parent().unwrap_or(Path::new(".")))?;
        let data_dir = settings.data_dir.clone();
        Ok(PidFile::hold(&path)?.map(|pid| Presence { service, data_dir, pid }))
    }

    /// Says what the node has open.
    pub(crate) fn tell(&self, node: &Node) -> Result<(), Failure> {
        let path = state_path(&self.data_dir, &self.service);
        let draft = path.with_extension("draft");
        RealVfs.remove_file(&draft).ok();
        let text = format!("{}\n", self.state(node));
        let written = RealVfs
            .open(&draft, Open::Create)
            .and_then(|file| file.write_at(text.as_bytes(), 0))
            .and_then(|()| RealVfs.rename(&draft, &path));
        written.map_err(Failure::io(format!("cannot write {}", path.display())))
    }

    fn state(&self, node: &Node) -> Json {
        let started = node.started();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let doors = started.doors.iter().map(|(door, address)| {
            Json::object([("door", door.name().into()), ("address", address.to_string().into())])
        });
        let left_out = started.skipped.iter().map(|(setting, why)| {
            Json::object([
                ("door", setting.door.name().into()),
                ("address", setting.address.to_string().into()),
                ("why", why.as_str().into()),
            ])
        });
        Json::object([
            ("service", self.service.as_str().into()),
            ("pid", u64::from(std::process::id()).into()),
            ("release", env!("CARGO_PKG_VERSION").into()),
            ("started_ms", (RealClock::new().wall().as_millis() as u64).into()),
            ("store", path(&started.store).into()),
            ("socket", path(&started.socket).into()),
            ("listening", started.listening.map(|address| address.to_string()).into()),
            ("certificate", started.certificate.as_ref().map(|(_, print)| print.clone()).into()),
            ("doors", Json::list(doors)),
            ("left_out", Json::list(left_out)),
        ])
    }

    /// Takes everything away again.
    pub(crate) fn end(self) {
        // What cannot be taken away counts for nothing once the lock is gone.
        RealVfs.remove_file(&state_path(&self.data_dir, &self.service)).ok();
        self.pid.remove().ok();
    }
}
