//! Threads that connections live on.
//!
//! Each has a runtime of its own, and a connection stays where it was put: nothing is handed from
//! thread to thread for a request. New connections go where there are fewest.

use std::{
    io,
    net::TcpStream,
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use olivine_doors::{http::Hosts, limits::Limits};
use tokio::{
    runtime,
    sync::{Notify, mpsc, watch},
    task::{LocalSet, spawn_local},
};

use crate::{
    alarm::Alarms,
    blobs::{self, Blobs},
    bulk::Bulk,
    connection,
    counted::Counted as Counting,
    guesses::Guesses,
    http,
    link::{Link, Links, Target},
    log::Seldom,
    numbers::{Connected, Counters, Tally},
    passwords::Passwords,
    patience::{Patience, Wait},
    protocol::Line,
    router::{Here, Router},
    secret,
    session::Proven,
    settings::{Door, QuerySettings},
    slow::Slow,
    storage,
    store::Store,
    stream::Stream,
    time::Time,
    tls::{Peers, Tls},
};

/// What all threads of a node share.
pub(crate) struct Shared {
    pub(crate) time: Arc<Time>,
    /// Who runs this process.
    pub(crate) user: u32,
    pub(crate) limits: Limits,
    pub(crate) patience: Patience,
    /// Points are written into a database only if it is there.
    pub(crate) requires_databases: bool,
    pub(crate) queries: QuerySettings,
    pub(crate) bulk: Arc<Bulk>,
    pub(crate) hosts: Hosts,
    pub(crate) counters: Counters,
    /// People are asked who they are even while there are no users.
    pub(crate) asks_always: bool,
    pub(crate) tls: Option<Tls>,
    /// TLS between coordinator and storage on two machines.
    pub(crate) peers: Option<Peers>,
    pub(crate) passwords: Passwords,
    pub(crate) guesses: Guesses,
    /// Connections that have not said who they are, and how many of them there may be.
    pub(crate) strangers: AtomicUsize,
    pub(crate) strangers_max: usize,
    /// What each worker has done.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) slow: Slow,
    pub(crate) blobs: Blobs,
    /// Coordinators that were sent away.
    pub(crate) coordinators_refused: Mutex<Seldom>,
    /// Peers that were waited for in vain, by what for.
    pub(crate) waited_in_vain: Mutex<[Seldom; Wait::ALL.len()]>,
    /// How many links to the storage are open.
    pub(crate) links: Links,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// Tells that a peer was waited for in vain.
    pub(crate) fn late(&self, door: &'static str, wait: Wait) {
        let mut all = self.waited_in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all[wait as usize].happened(self.time.clock().now()) {
            let why = self.patience.over(wait);
            tracing::warn!(event = "waited_in_vain", door, count, why = &*why);
        }
    }
}

/// What the connections of one thread share.
pub(crate) struct Served {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Router,
    pub(crate) proven: Proven,
    pub(crate) alarms: Rc<Alarms>,
    /// Which thread it is.
    worker: usize,
}

impl Served {
    /// What this thread counts.
    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tallies[self.worker]
    }
}

impl Served {
    /// The store, where it is in this process: a coordinator has no doors for coordinators.
    fn store(&self) -> Option<Arc<Store>> {
        match &self.router {
            Router::Here(Here { store, .. }) => Some(Arc::clone(store)),
            Router::There(_) | Router::Nowhere => None,
        }
    }
}

/// Where the store is.
#[derive(Clone)]
pub(crate) enum Place {
    /// In this process.
    Here(Arc<Store>),
    /// In another.
    There(Target),
    /// There is none.
    Nowhere,
}

/// A connection that was taken.
pub(crate) enum Taken {
    /// At a door.
    Door(Door, TcpStream),
    /// Of a coordinator.
    Coordinator(UnixStream),
    /// Of a coordinator on another machine.
    Host(TcpStream),
}

/// The threads.
pub(crate) struct Workers {
    workers: Vec<Worker>,
}

struct Worker {
    taken: mpsc::UnboundedSender<Taken>,
    /// Tells it to look who has waited for long enough.
    looks: Arc<Notify>,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// One thread for each of the tallies.
    pub(crate) fn start(shared: &Arc<Shared>, place: &Place) -> io::Result<Workers> {
        let worker = |number| Worker::start(number, Arc::clone(shared), place.clone());
        Ok(Workers { workers: (0..shared.tallies.len()).map(worker).collect::<io::Result<_>>()? })
    }

    /// Puts a connection where there are fewest.
    pub(crate) fn take(&self, taken: Taken) {
        let least = self.workers.iter().min_by_key(|worker| worker.connections.load(Relaxed));
        if let Some(worker) = least {
            worker.connections.fetch_add(1, Relaxed);
            // A thread that has ended drops the connection, which closes it.
            worker.taken.send(taken).ok();
        }
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.connections.load(Relaxed)).sum()
    }

    /// Has those that have connections look who has waited for long enough.
    pub(crate) fn look(&self) {
        for worker in &self.workers {
            if 0 < worker.connections.load(Relaxed) {
                worker.looks.notify_one();
            }
        }
    }

    /// Ends the threads; connections that are still there are closed.
    pub(crate) fn end(self) {
        for Worker { taken, thread, .. } in self.workers {
            drop(taken);
            // A thread that panicked has told so already.
            thread.join().ok();
        }
    }
}

impl Worker {
    fn start(number: usize, shared: Arc<Shared>, place: Place) -> io::Result<Worker> {
        let (taken, incoming) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, looks) = (Arc::clone(&connections), Arc::new(Notify::new()));
        let looked = Arc::clone(&looks);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            // What is worked at beside the connections gives way to them.
            .on_thread_start(olivine_vfs::yield_to_smaller)
            .build()?;
        let work = move || {
            let work = run(number, shared, place, incoming, counted, looked);
            runtime.block_on(LocalSet::new().run_until(work));
        };
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(work)?;
        Ok(Worker { taken, looks, connections, thread })
    }
}

/// Takes one from a count when it goes, however that comes about.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn run(
    worker: usize,
    shared: Arc<Shared>,
    place: Place,
    mut incoming: mpsc::UnboundedReceiver<Taken>,
    connections: Arc<AtomicUsize>,
    looks: Arc<Notify>,
) {
    let router = match place {
        Place::Here(store) => Router::Here(Here::new(store)),
        Place::There(target) => {
            let link = Link::new(target);
            spawn_local(Rc::clone(&link).keep(Arc::clone(&shared)));
            Router::There(link)
        }
        Place::Nowhere => Router::Nowhere,
    };
    let mut key = [0; 32];
    // Without chance nothing can be guessed either: fingerprints never leave the process.
    secret::random(&mut key).ok();
    let alarms = Alarms::new(shared.patience.look(), shared.time.clock().now());
    let (kept, told) = (Rc::clone(&alarms), Arc::clone(&shared));
    spawn_local(async move { kept.keep(&told, &looks).await });
    let served = Rc::new(Served { shared, router, proven: Proven::new(key), alarms, worker });
    while let Some(taken) = incoming.recv().await {
        let (served, connections) = (Rc::clone(&served), Counted(Arc::clone(&connections)));
        spawn_local(async move {
            let _one = connections;
            // How a connection ends is its peer's affair.
            serve(served, taken).await.ok();
        });
    }
}

async fn serve(served: Rc<Served>, taken: Taken) -> io::Result<()> {
    let (door, stream) = match taken {
        Taken::Door(door, stream) => (door, stream),
        Taken::Coordinator(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            let Some(store) = served.store() else { return Ok(()) };
            return storage::serve(Arc::clone(&served.shared), store, stream).await;
        }
        Taken::Host(stream) => {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let Some(store) = served.store() else { return Ok(()) };
            return storage::serve_host(Arc::clone(&served.shared), store, stream).await;
        }
    };
    let counting = Rc::clone(&served);
    let _one: Connected<'_> = counting.tally().connected(door);
    stream.set_nodelay(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let stream = match &served.shared.tls {
        None => Stream::Plain(stream),
        Some(tls) => match handshake(&served.shared, door, tls, stream).await? {
            Ok(stream) => stream,
            Err(plain) => return connection::refuse_plain(door, plain).await,
        },
    };
    match door {
        Door::Json => connection::serve_json(served, stream).await,
        Door::Line => connection::serve::<Line>(served, door, stream).await,
        Door::Volume => blobs::serve_volume(served, stream).await,
        Door::Http | Door::Influx | Door::Select | Door::Ingest | Door::Blob => {
            let address = stream.address()?;
            let stream = Counting::new(Rc::clone(&served), door, Vec::new(), stream);
            http::serve(served, door, address, stream).await;
            Ok(())
        }
    }
}

/// Agrees on TLS; gives the socket back if the other end begins otherwise.
async fn handshake(
    shared: &Shared,
    door: Door,
    tls: &Tls,
    stream: tokio::net::TcpStream,
) -> io::Result<Result<Stream, tokio::net::TcpStream>> {
    /// The first byte of every handshake.
    const HANDSHAKE: u8 = 0x16;
    let shaking = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            return Ok(Err(stream));
        }
        let stream = tls.acceptor().accept(stream).await?;
        Ok(Ok(Stream::Tls(Box::new(stream))))
    };
    let shaken = tokio::time::timeout(shared.patience.of(Wait::Handshake), shaking).await;
    shaken.inspect_err(|_| shared.late(door.name(), Wait::Handshake))?
}
