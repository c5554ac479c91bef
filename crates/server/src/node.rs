//! A node from its start to its end.
//!
//! 1. A node that started has every door open that was asked for; a default one whose port is taken is
//!    left out, and told.
//! 2. A door is open to other machines only with TLS and users, or if it was said that it may be without.
//! 3. An ended node has answered what had arrived, and closed its store.
//! 4. The service manager is told that it is ready when every door takes connections, not before.

mod ports;
mod private;
mod told;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use olivine_engine::{Cut, Durability, Environment, EnvironmentOptions, Options};
use olivine_model::{Model, ModelOptions};
use olivine_vfs::{Clock, Open, Vfs, user_id};
use rustls::pki_types::ServerName;
use tokio::{
    runtime, select,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{LocalSet, spawn_local},
};

use ports::Coming;

use crate::{
    blobs::Blobs,
    bulk::Bulk,
    copies::Copies,
    guesses::Guesses,
    link::{Links, Target},
    notify::Notifier,
    numbers::{Counters, Tally},
    passwords::Passwords,
    patience::{Patience, Wait},
    settings::{BlobSettings, Door, DoorSetting, Half, Settings, StorageAt},
    slow::Slow,
    store::Store,
    time::Time,
    tls::{Peers, Tls},
    worker::{Place, Shared, Workers},
};

/// How often it is looked whether they have.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// A node that has started.
pub struct Node {
    shared: Arc<Shared>,
    environment: Environment,
    place: Place,
    doors: Vec<(Door, TcpListener)>,
    /// Where coordinators come, if they do.
    coordinators: Option<UnixListener>,
    /// Where those on other machines come.
    hosts: Option<TcpListener>,
    connections_max: usize,
    stop: watch::Sender<bool>,
    notifier: Notifier,
    runtime: runtime::Runtime,
    signals: Signals,
    started: Started,
}

/// The signals that a node understands. They are waited for from when it has started: who was told that it
/// has may ask it to end at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn watch() -> Result<Signals, Problem> {
        let of = |kind| signal(kind).map_err(system("wait for signals"));
        Ok(Signals {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            hangup: of(SignalKind::hangup())?,
        })
    }

    /// Returns at one that asks to end.
    async fn end(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What a node started with.
#[derive(Clone, Debug, Default)]
pub struct Started {
    /// The doors that are open, and where.
    pub doors: Vec<(Door, SocketAddr)>,
    /// Default doors that were left out, and why.
    pub skipped: Vec<(DoorSetting, String)>,
    /// The directory of its store, if it has one.
    pub store: Option<PathBuf>,
    /// The socket between coordinator and storage, if they are two.
    pub socket: Option<PathBuf>,
    /// Where coordinators on other machines come, if they do.
    pub listening: Option<SocketAddr>,
    /// The certificate that the doors show, and its fingerprint, if they speak TLS.
    pub certificate: Option<(PathBuf, String)>,
    /// What opening the store found that somebody should know, if anything.
    pub recovered: Option<String>,
}

/// Ends a node from another thread.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Has the node end as a signal would.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Why a node did not start.
#[derive(Debug)]
pub enum Problem {
    /// The settings cannot be.
    Settings(String),
    /// The store cannot be opened, or closed.
    Store(olivine_engine::Error),
    /// Sockets or threads cannot be had.
    System {
        /// What for.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl Problem {
    /// Has the log tell that a node did not start for it.
    pub fn tell(&self) {
        told::not_started(self);
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Settings(what) | Problem::System { what, .. } => f.write_str(what),
            Problem::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Problem::Settings(_) => None,
            Problem::Store(error) => error.source(),
            Problem::System { source, .. } => Some(source),
        }
    }
}

impl From<olivine_engine::Error> for Problem {
    fn from(error: olivine_engine::Error) -> Problem {
        Problem::Store(error)
    }
}

impl Node {
    /// Opens the store and the doors. The log is told of what comes of it but for the problem, if there is one.
    pub fn start(settings: &Settings) -> Result<Node, Problem> {
        let options = environment_options(settings);
        let environment = Environment::new(options).map_err(Problem::from);
        environment.and_then(|environment| Node::open(settings, environment))
    }

    pub(crate) fn open(settings: &Settings, environment: Environment) -> Result<Node, Problem> {
        let notifier = Notifier::of_environment()?;
        let mut started = Started::default();
        let doors = ports::open(settings, &mut started)?;
        let vfs = environment.vfs();
        let clock = Arc::clone(environment.clock());
        let peers = match &settings.peers {
            Some(setting) => Some(Peers::read(setting, &**vfs, clock.wall())?),
            None => None,
        };
        let hosts = ports::open_to_hosts(settings)?;
        if let Some(listener) = &hosts {
            started.listening = Some(listener.local_addr().map_err(system("tell an address"))?);
        }
        let socket = || socket_in(&settings.data_dir);
        let bulk = bulk(settings);
        let (time, place, coordinators) = match &settings.half {
            Half::Coordinator(StorageAt::Socket(asked)) => {
                let socket = asked.clone().unwrap_or_else(socket);
                started.socket = Some(socket.clone());
                (Arc::new(Time::new(clock, 0)), Place::There(Target::Socket(socket)), None)
            }
            Half::Coordinator(StorageAt::Host { name, port }) => {
                let target = host(name, *port, peers.clone())?;
                (Arc::new(Time::new(clock, 0)), Place::There(target), None)
            }
            Half::Blobs if settings.blobs.master.is_some() => {
                ports::check_alone(settings)?;
                (Arc::new(Time::new(clock, 0)), Place::Nowhere, None)
            }
            Half::Blobs => (Arc::new(Time::new(clock, 0)), Place::Nowhere, None),
            half => {
                let model = open_store(&environment, settings, &mut started)?;
                ports::check_users(settings, model.access().users)?;
                let time = Arc::new(Time::new(Arc::clone(&clock), model.time()?));
                let (db, lent) = (model.db().clone(), settings.data_dir.join("lent"));
                let copies = Copies::new(db, lent, vfs, &clock, settings.backup_idle_max);
                let (patience, queries) = (settings.patience.clone(), &settings.queries);
                let (now, bulk) = (Arc::clone(&time), Arc::clone(&bulk));
                let store = Store::new(model, copies, now, patience, queries, bulk);
                let store = Arc::new(store);
                // The store's lock is ours, so whoever left a socket there is gone.
                let coordinators = match half {
                    Half::Storage(asked) => {
                        let socket = asked.clone().unwrap_or_else(socket);
                        let listener = ports::open_socket(&**vfs, &socket)?;
                        started.socket = Some(socket);
                        Some(listener)
                    }
                    // For the tools of who runs the node; without it they wait until the node has ended.
                    _ => ports::open_socket(&**vfs, &socket()).ok(),
                };
                (time, Place::Here(store), coordinators)
            }
        };
        let none = BlobSettings::default();
        let of_blobs = match settings.half {
            Half::Both | Half::Blobs => &settings.blobs,
            Half::Storage(_) | Half::Coordinator(_) => &none,
        };
        let url = volume_url(settings, of_blobs, &**vfs, &started)?;
        let blobs = Blobs::open(of_blobs, &environment, store_options(settings), &time, url)?;
        let tls = match &settings.tls {
            None => None,
            Some(setting) => {
                let (dir, names) = (&settings.data_dir, &settings.hosts.names);
                let tls = Tls::start(setting, dir, vfs, names, time.clock().wall())?;
                started.certificate = Some((tls.certificate().to_owned(), tls.fingerprint()));
                Some(tls)
            }
        };
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            time,
            user: user_id(),
            limits: settings.limits.clone(),
            patience: settings.patience.clone(),
            requires_databases: settings.requires_databases,
            queries: settings.queries.clone(),
            bulk,
            hosts: settings.hosts.clone(),
            counters: Counters::default(),
            asks_always: ports::public(settings).is_some(),
            tls,
            peers,
            passwords: Passwords::start().map_err(system("start a thread"))?,
            guesses: Guesses::new(settings.guesses_max),
            strangers: AtomicUsize::new(0),
            strangers_max: settings.strangers_max,
            tallies: (0..settings.workers.max(1)).map(|_| Tally::default()).collect(),
            slow: Slow::new(settings.slow),
            blobs,
            coordinators_refused: Mutex::default(),
            waited_in_vain: Mutex::default(),
            links: Links::default(),
            stopping,
        });
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(system("start a runtime"))?;
        let signals = {
            let _within = runtime.enter();
            Signals::watch()?
        };
        told::started(settings, environment_options(settings).memory_bytes, &started);
        let connections_max = settings.connections_max;
        Ok(Node {
            shared,
            environment,
            place,
            doors,
            coordinators,
            hosts,
            connections_max,
            stop,
            notifier,
            runtime,
            signals,
            started,
        })
    }

    /// What it started with.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// What ends it.
    pub fn stopper(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Serves until SIGTERM, SIGINT or [`Stop`] ends it; then answers what has arrived and closes the
    /// store. A second signal waits for no connection any more.
    pub fn run(self) -> Result<(), Problem> {
        let Node { shared, environment, place, doors, coordinators, hosts, stop, started, .. } =
            self;
        let (runtime, mut signals) = (self.runtime, self.signals);
        let notifier = Rc::new(self.notifier);
        let socket = coordinators
            .as_ref()
            .and_then(|listener| Some(listener.local_addr().ok()?.as_pathname()?.to_owned()));
        let working = match &place {
            Place::Here(store) => Some(store.start_work().map_err(system("start a thread"))?),
            Place::There(_) | Place::Nowhere => None,
        };
        let workers = Workers::start(&shared, &place).map_err(system("start a thread"))?;
        let workers = Rc::new(workers);
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            for (door, listener) in doors {
                let listener = tokio::net::TcpListener::from_std(listener);
                let listener = listener.map_err(system("listen"))?;
                let (workers, shared) = (Rc::clone(&workers), Arc::clone(&shared));
                spawn_local(ports::take(door, listener, workers, shared, self.connections_max));
            }
            let here = coordinators.map(tokio::net::UnixListener::from_std).transpose();
            let hosts = hosts.map(tokio::net::TcpListener::from_std).transpose();
            let here = here.map_err(system("listen"))?.map(Coming::Here);
            let hosts = hosts.map_err(system("listen"))?;
            let hosts = hosts.map(|listener| Coming::Hosts(listener, self.connections_max));
            for coming in here.into_iter().chain(hosts) {
                let (workers, shared) = (Rc::clone(&workers), Arc::clone(&shared));
                spawn_local(ports::take_coordinators(coming, workers, shared));
            }
            if let Place::Here(store) = &place {
                let store = Arc::clone(store);
                let watched = Arc::clone(&store);
                spawn_local(async move { store.sweep().await });
                spawn_local(async move { watched.watch_disk().await });
            }
            let tending = shared.blobs.start(&shared.stopping);
            let (looking, look) = (Rc::clone(&workers), shared.patience.look());
            spawn_local(async move {
                loop {
                    tokio::time::sleep(look).await;
                    looking.look();
                }
            });
            let beating = Rc::clone(&notifier);
            spawn_local(async move { beating.beat().await });
            notifier.ready(&started);
            let by = until_stopped(&stop, &mut signals, || {
                notifier.reloading();
                reload(&shared);
                notifier.ready(&started);
            })
            .await;
            let connections = workers.connections();
            tracing::info!(event = "stopping", by, connections = connections as u64);
            notifier.stopping(connections);
            drain(&workers, &mut signals, &shared.patience, &**environment.clock()).await;
            for tending in tending {
                // It ends at its next step, and has nothing to lose.
                tokio::time::timeout(shared.patience.of(Wait::Drain), tending).await.ok();
            }
            Ok::<(), Problem>(())
        })?;
        notifier.closing();
        drop(tasks);
        drop(runtime);
        if let Ok(workers) = Rc::try_unwrap(workers) {
            workers.end();
        }
        drop(working);
        let began = environment.clock().now();
        if let Place::Here(store) = place
            && let Some(store) = Arc::into_inner(store)
        {
            told::closed(store.close(), &**environment.clock(), began)?;
        }
        // Nobody else is left who has it.
        if let Some(shared) = Arc::into_inner(shared) {
            shared.blobs.close()?;
        }
        if let Some(socket) = socket {
            // Whoever starts next takes away what could not be taken away here.
            environment.vfs().remove_file(&socket).ok();
        }
        tracing::info!(event = "stopped");
        Ok(())
    }
}

/// What large requests of points may take together: one is always taken, packed and unpacked and as points.
fn bulk(settings: &Settings) -> Arc<Bulk> {
    let one = 3 * settings.limits.points_bytes_max as u64;
    Bulk::new(settings.workers, environment_options(settings).memory_bytes.max(one))
}

fn environment_options(settings: &Settings) -> EnvironmentOptions {
    let mut options = EnvironmentOptions::default();
    options.memory_bytes = settings.memory_bytes.unwrap_or(options.memory_bytes);
    options
}

/// Reads again what may change while a node runs: certificate and key.
fn reload(shared: &Shared) {
    if let Some(tls) = &shared.tls {
        // What cannot be read leaves what there was.
        told::reloaded(tls.reload(shared.time.clock().wall()));
    }
}

/// A storage on another machine.
fn host(name: &str, port: u16, peers: Option<Peers>) -> Result<Target, Problem> {
    let Some(peers) = peers else {
        return Err(Problem::Settings(format!(
            "the storage at {name}:{port} is on another machine; --peer-ca, --peer-cert and --peer-key say \
             how it is known to be the right one, and `olivine certify` makes them"
        )));
    };
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        Problem::Settings(format!("`{name}` is no name of a machine; see --storage"))
    })?;
    Ok(Target::Host { name, port, peers })
}

/// Where coordinators come, and the tools of who runs the node.
pub(crate) fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("run").join("storage.sock")
}

/// Waits until the node is to end, by a signal or by [`Stop`], and says so to all its threads. At each
/// SIGHUP before that, has `reload` read again what can be. Returns what asked for the end.
async fn until_stopped(
    stop: &watch::Sender<bool>,
    signals: &mut Signals,
    mut reload: impl FnMut(),
) -> &'static str {
    let mut asked = stop.subscribe();
    let by = loop {
        select! {
            _ = signals.terminate.recv() => break "SIGTERM",
            _ = signals.interrupt.recv() => break "SIGINT",
            _ = asked.wait_for(|stopping| *stopping) => break "the program",
            _ = signals.hangup.recv() => reload(),
        }
    };
    stop.send_replace(true);
    by
}

/// Waits for the connections to end; who has not by then is cut off.
async fn drain(workers: &Workers, signals: &mut Signals, patience: &Patience, clock: &dyn Clock) {
    let began = clock.now();
    let drained = async {
        while 0 < workers.connections() {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    select! {
        () = drained => {}
        () = tokio::time::sleep(patience.of(Wait::Drain)) => {}
        () = signals.end() => {}
    }
    let took_millis = clock.now().saturating_sub(began).as_millis() as u64;
    match workers.connections() as u64 {
        0 => tracing::info!(event = "drained", took_millis),
        connections => {
            let why = patience.over(Wait::Drain);
            tracing::warn!(event = "cut_off", connections, took_millis, why = &*why);
        }
    }
}

/// Opens the store in the data directory, whose parents are made.
pub(crate) fn open_store(
    environment: &Environment,
    settings: &Settings,
    started: &mut Started,
) -> Result<Model, Problem> {
    make_dirs(&**environment.vfs(), &settings.data_dir, "--data-dir")?;
    let dir = settings.data_dir.join("store");
    if !settings.shared_dir {
        private::check(&settings.data_dir, user_id())?;
    }
    let is_there = |path: &Path| matches!(environment.vfs().entry(path), Ok(Some(_)));
    if is_there(&settings.data_dir.join("CURRENT")) && !is_there(&dir) {
        // As it comes of a backup that was restored one directory too high: its keys would seem gone.
        return Err(Problem::Settings(format!(
            "{} is a store, and not a directory that has one: move it to DIR/store, and name DIR with --data-dir; \
             `olivine restore` with --data-dir puts it there by itself",
            settings.data_dir.display(),
        )));
    }
    let options = store_options(settings);
    let clock = environment.clock();
    let began = clock.now();
    let model_options =
        ModelOptions { durability: settings.durability, series_max: settings.series_max };
    let model = Model::open(environment, &dir, options, model_options)?;
    let db = model.db();
    db.on_event(told::happened);
    told::opened(&dir, db.recovery(), clock.now().saturating_sub(began));
    started.store = Some(dir);
    started.recovered = db.recovery().cut.as_ref().map(said);
    Ok(model)
}

/// How the stores of a node behave.
fn store_options(settings: &Settings) -> Options {
    let mut options = Options {
        durability: settings.durability,
        memtable_entries_max: settings.memtable_entries_max,
        ..Options::default()
    };
    if settings.durability == Durability::Interval {
        options.interval = settings.interval;
    }
    options
}

/// Where clients find the volume of this process, if there is one.
fn volume_url(
    settings: &Settings,
    blobs: &BlobSettings,
    vfs: &dyn Vfs,
    started: &Started,
) -> Result<Option<String>, Problem> {
    let Some(volume) = &blobs.volume else { return Ok(None) };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    if let Some(advertised) = &volume.advertised {
        return Ok(Some(format!("{scheme}://{advertised}")));
    }
    let door = started.doors.iter().find(|(door, _)| *door == Door::Volume);
    let Some((_, address)) = door else { return Ok(None) };
    if !address.ip().is_unspecified() {
        return Ok(Some(format!("{scheme}://{address}")));
    }
    // What others call this machine, as far as it knows.
    let name = settings.hosts.names.first().cloned().or_else(|| host_name(vfs));
    let name = name.ok_or_else(|| {
        Problem::Settings(format!(
            "clients cannot be sent to {address}; say where they find the volume with --advertise HOST:PORT"
        ))
    })?;
    Ok(Some(format!("{scheme}://{name}:{}", address.port())))
}

/// What this machine calls itself.
fn host_name(vfs: &dyn Vfs) -> Option<String> {
    let file = vfs.open(Path::new("/proc/sys/kernel/hostname"), Open::Read).ok()?;
    let mut name = [0; 256];
    let length = file.read_at(&mut name, 0).ok()?;
    let name = str::from_utf8(&name[..length]).ok()?.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
}

fn said(cut: &Cut) -> String {
    let Cut { path, offset, bytes_dropped, why } = cut;
    let path = path.display();
    format!(
        "the log ends at byte {offset} of {path} ({why}); {bytes_dropped} bytes behind it, which were \
         never acknowledged, are left out"
    )
}

/// Makes a directory and those above it, as `flag` wants it.
pub(crate) fn make_dirs(vfs: &dyn Vfs, dir: &Path, flag: &str) -> Result<(), Problem> {
    olivine_vfs::make_dirs(vfs, dir).map_err(|source| {
        let what = format!("cannot make the directory {}; see {flag}", dir.display());
        Problem::System { what, source }
    })
}

fn system(what: &str) -> impl FnOnce(io::Error) -> Problem + use<> {
    let what = format!("cannot {what}");
    move |source| Problem::System { what, source }
}
