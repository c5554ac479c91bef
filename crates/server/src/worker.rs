//! Threads that connections live on.
//!
//! Each has a runtime of its own, and a connection stays where it was put: nothing is handed from
//! thread to thread for a request. New connections go where there are fewest.

use std::{
    io,
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use olivine_doors::{http::Hosts, limits::Limits};
use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::{LocalSet, spawn_local},
};

use crate::{
    connection, http,
    link::Link,
    numbers::Counters,
    protocol::Line,
    router::{Here, Router},
    settings::Door,
    storage,
    store::Store,
    time::Time,
};

/// What all threads of a node share.
pub(crate) struct Shared {
    pub(crate) time: Arc<Time>,
    /// Who runs this process.
    pub(crate) user: u32,
    pub(crate) limits: Limits,
    pub(crate) hosts: Hosts,
    pub(crate) counters: Counters,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// What the connections of one thread share.
pub(crate) struct Served {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Router,
}

/// Where the store is.
#[derive(Clone)]
pub(crate) enum Place {
    /// In this process.
    Here(Arc<Store>),
    /// Behind this socket.
    There(PathBuf),
}

/// A connection that was taken.
pub(crate) enum Taken {
    /// At a door.
    Door(Door, TcpStream),
    /// Of a coordinator.
    Coordinator(UnixStream),
}

/// The threads.
pub(crate) struct Workers {
    workers: Vec<Worker>,
}

struct Worker {
    taken: mpsc::UnboundedSender<Taken>,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Workers {
    pub(crate) fn start(count: usize, shared: &Arc<Shared>, place: &Place) -> io::Result<Workers> {
        let worker = |number| Worker::start(number, Arc::clone(shared), place.clone());
        Ok(Workers { workers: (0..count.max(1)).map(worker).collect::<io::Result<_>>()? })
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
        let counted = Arc::clone(&connections);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            let work = run(shared, place, incoming, counted);
            runtime.block_on(LocalSet::new().run_until(work));
        };
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(work)?;
        Ok(Worker { taken, connections, thread })
    }
}

async fn run(
    shared: Arc<Shared>,
    place: Place,
    mut incoming: mpsc::UnboundedReceiver<Taken>,
    connections: Arc<AtomicUsize>,
) {
    let router = match place {
        Place::Here(store) => Router::Here(Here::new(store)),
        Place::There(socket) => {
            let link = Link::new(socket);
            spawn_local(Rc::clone(&link).keep());
            Router::There(link)
        }
    };
    let served = Rc::new(Served { shared, router });
    while let Some(taken) = incoming.recv().await {
        let (served, connections) = (Rc::clone(&served), Arc::clone(&connections));
        spawn_local(async move {
            // How a connection ends is its peer's affair.
            serve(served, taken).await.ok();
            connections.fetch_sub(1, Relaxed);
        });
    }
}

async fn serve(served: Rc<Served>, taken: Taken) -> io::Result<()> {
    let (door, stream) = match taken {
        Taken::Door(door, stream) => (door, stream),
        Taken::Coordinator(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            return match &served.router {
                Router::Here(Here { store, .. }) => {
                    storage::serve(Arc::clone(&served.shared), Arc::clone(store), stream).await
                }
                // A coordinator has no such door.
                Router::There(_) => Ok(()),
            };
        }
    };
    stream.set_nodelay(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    match door {
        Door::Json => connection::serve_json(served, stream).await,
        Door::Line => connection::serve::<Line>(served, stream).await,
        Door::Http => {
            http::serve(served, stream).await;
            Ok(())
        }
    }
}
