//! The storage's end of the way to a coordinator.
//!
//! All batches that have arrived together are carried out as one, so that those of many connections
//! cost one write of the engine. Replies that must wait for the disk wait behind each other; those
//! that need not leave at once.
//!
//! Steps of copies, queries and many points are taken beside all that, and answered when they are done: they may take
//! long. A query is given up when the coordinator says that nobody waits for it, or goes.
//!
//! 1. At the socket only the user that runs the storage, or root, is spoken to; from another machine only
//!    somebody for whom the authority vouches.
//! 2. A frame that is wrong costs the connection; nothing behind it is carried out.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    pin::pin,
    rc::Rc,
    sync::{Arc, PoisonError},
    time::Duration,
};

use olivine_command::{Batch, Command, Refusal, Reply, wire};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    select,
    sync::Notify,
    task::{AbortHandle, spawn_local},
};

use crate::{
    frames::{self, Found},
    patience::Wait,
    slow::{Stage, Watch},
    store::{Long, Pending, Store, is_long, long},
    worker::Shared,
};

/// What slow requests call this way in.
const DOOR: &str = "storage";
/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// Bytes of replies that may wait before nothing more is read.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Serves a connection of a coordinator.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    store: Arc<Store>,
    stream: UnixStream,
) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if user != 0 && user != shared.user {
        refused(&shared, &format!("it is of user {user}"));
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (input, output) = stream.into_split();
    exchange(shared, store, input, output).await
}

/// Serves a connection of a coordinator on another machine.
pub(crate) async fn serve_host(
    shared: Arc<Shared>,
    store: Arc<Store>,
    stream: TcpStream,
) -> io::Result<()> {
    let Some(peers) = &shared.peers else { return Ok(()) };
    stream.set_nodelay(true)?;
    let shaking = peers.acceptor.accept(stream);
    let shaken = tokio::time::timeout(shared.patience.of(Wait::Handshake), shaking).await;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, shared.patience.over(Wait::Handshake));
    let shaken = shaken.map_err(late).and_then(|shaken| shaken);
    let stream = shaken.inspect_err(|error| refused(&shared, &error.to_string()))?;
    let (input, output) = tokio::io::split(stream);
    exchange(Arc::clone(&shared), store, input, output).await
}

/// Tells that somebody was sent away.
fn refused(shared: &Shared, why: &str) {
    let mut seldom = shared.coordinators_refused.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = seldom.happened(shared.time.clock().now()) {
        tracing::warn!(event = "coordinator_refused", count, why = why.as_bytes());
    }
}

async fn exchange(
    shared: Arc<Shared>,
    store: Arc<Store>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let replies = Rc::new(Replies::default());
    let _queries = GivingUp(&replies);
    let mut stopping = shared.stopping.clone();
    let receiving = receive(&shared, &store, input, &replies);
    let mut sending = pin!(send(&shared, &store, output, &replies));
    select! {
        received = receiving => received,
        sent = &mut sending => sent,
        _ = stopping.wait_for(|stopping| *stopping) => select! {
            sent = &mut sending => sent,
            () = replies.all_left() => Ok(()),
        },
    }
}

/// Replies on their way out.
#[derive(Default)]
struct Replies {
    state: std::cell::RefCell<Waiting>,
    /// There are some.
    there: Notify,
    /// Some have left.
    left: Notify,
}

/// Gives up the queries of a coordinator when it goes.
struct GivingUp<'a>(&'a Replies);

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        for (_, query) in std::mem::take(&mut self.0.state.borrow_mut().queries) {
            query.abort();
        }
    }
}

#[derive(Default)]
struct Waiting {
    /// Queries that are being answered, by the number of their batch.
    queries: BTreeMap<u64, AbortHandle>,
    /// May leave at once.
    free: Vec<u8>,
    /// Wait for the disk, in this order.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Some are being sent.
    under_way: bool,
}

/// Replies that wait for the disk.
struct Held {
    out: Vec<u8>,
    /// The number of each of their batches, and how many replies it has.
    batches: Vec<(u64, usize)>,
    pending: Pending,
    /// Since when they wait.
    since: Duration,
    /// Whether the disk takes long to keep what they tell.
    is_long: bool,
}

async fn receive(
    shared: &Arc<Shared>,
    store: &Arc<Store>,
    mut input: impl AsyncRead + Unpin,
    replies: &Rc<Replies>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        if input.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let needed = carry_out(shared, store, &mut buffer, replies).await?;
        buffer.reserve(needed.saturating_sub(buffer.len()).max(READ_BYTES));
        loop {
            let waiting = {
                let state = replies.state.borrow();
                state.free.len() + state.held_bytes
            };
            if waiting < WAITING_BYTES_MAX {
                break;
            }
            replies.left.notified().await;
        }
    }
}

/// Carries out all whole batches of the buffer, and takes them from it. Returns how many bytes the one
/// behind them needs, as far as is known.
async fn carry_out(
    shared: &Arc<Shared>,
    store: &Arc<Store>,
    buffer: &mut Vec<u8>,
    replies: &Rc<Replies>,
) -> io::Result<usize> {
    let (mut start, mut now) = (0, 0);
    let mut watch = Watch::start(shared.time.clock());
    let mut commands: Vec<Command<'_>> = Vec::new();
    // The number of each batch, and how many commands it has.
    let mut batches = Vec::new();
    let needed = loop {
        match frames::next(&buffer[start..]) {
            Found::Frame { number, contents: [], bytes } => {
                // One that is not there was answered meanwhile.
                if let Some(query) = replies.state.borrow_mut().queries.remove(&number) {
                    query.abort();
                }
                start += bytes;
            }
            Found::Frame { number, contents, bytes } => {
                let batch: Batch<'_> = wire::decode_batch(contents)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                now = shared.time.not_before(batch.now).max(now);
                if batch.commands.is_empty() {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                start += bytes;
                if let [command] = &batch.commands[..]
                    && is_long(command)
                    && let Some(command) = long(command)
                {
                    let is_query = command.is_query();
                    let task = spawn_local(beside(
                        Arc::clone(shared),
                        Arc::clone(store),
                        Rc::clone(replies),
                        (number, now),
                        command,
                    ));
                    if is_query {
                        let mut state = replies.state.borrow_mut();
                        state.queries.insert(number, task.abort_handle());
                    }
                    continue;
                }
                batches.push((number, batch.commands.len()));
                commands.extend(batch.commands);
            }
            Found::Part(bytes) => break bytes,
            Found::Wrong => return Err(io::ErrorKind::InvalidData.into()),
        }
    };
    watch.passed(Stage::Parse);
    let mut rest: &[Command<'_>] = &commands;
    let mut gathered: Vec<Reply> = Vec::new();
    let mut batches = batches.into_iter().peekable();
    while !rest.is_empty() {
        let (come, pending) = store.apply(now, rest).await;
        watch.passed(Stage::Apply);
        rest = &rest[come.len()..];
        gathered.extend(come);
        let (mut out, mut whole) = (Vec::new(), Vec::new());
        while let Some((number, count)) = batches.next_if(|(_, count)| *count <= gathered.len()) {
            let come: Vec<Reply> = gathered.drain(..count).collect();
            frames::put_replies(number, &come, &mut out);
            whole.push((number, count));
        }
        replies.add(out, whole, pending, watch.last(), false);
    }
    shared.slow.look(DOOR, &commands, &watch);
    drop(commands);
    buffer.drain(..start);
    Ok(needed)
}

/// Carries out what may take long, and adds what comes of it.
async fn beside(
    shared: Arc<Shared>,
    store: Arc<Store>,
    replies: Rc<Replies>,
    (number, now): (u64, u64),
    command: Long,
) {
    let (reply, pending) = store.carry_out_long(now, command).await;
    let mut out = Vec::new();
    frames::put_replies(number, &[reply], &mut out);
    replies.state.borrow_mut().queries.remove(&number);
    replies.add(out, vec![(number, 1)], pending, shared.time.clock().now(), true);
}

impl Replies {
    fn add(
        &self,
        out: Vec<u8>,
        batches: Vec<(u64, usize)>,
        pending: Option<Pending>,
        since: Duration,
        is_long: bool,
    ) {
        let mut state = self.state.borrow_mut();
        match pending {
            None => state.free.extend_from_slice(&out),
            Some(pending) => {
                state.held_bytes += out.len();
                state.held.push_back(Held { out, batches, pending, since, is_long });
            }
        }
        self.there.notify_one();
    }

    /// Returns when there are none.
    async fn all_left(&self) {
        loop {
            {
                let state = self.state.borrow();
                if state.free.is_empty() && state.held.is_empty() && !state.under_way {
                    return;
                }
            }
            self.left.notified().await;
        }
    }

    /// Whether there are some that wait, and this is so of the first.
    fn is_next(&self, is: impl FnOnce(Pending) -> bool) -> bool {
        self.state.borrow().held.front().is_some_and(|held| is(held.pending))
    }

    /// The first that wait may leave, as they are or as the refusals that they have become.
    fn release(&self, shared: &Shared, outcome: Result<(), Refusal>) {
        let mut state = self.state.borrow_mut();
        let Some(Held { out, batches, since, .. }) = state.held.pop_front() else {
            return;
        };
        let waited = shared.time.clock().now().saturating_sub(since);
        let commands = batches.iter().map(|(_, count)| count).sum();
        shared.slow.look_kept(DOOR, commands, waited, shared.time.clock());
        state.held_bytes -= out.len();
        match outcome {
            Ok(()) => state.free.extend_from_slice(&out),
            Err(refusal) => {
                for (number, count) in batches {
                    let refused = vec![Reply::Refused(refusal.clone()); count];
                    let write = |out: &mut Vec<u8>| wire::encode_replies(&refused, out);
                    frames::put(number, &mut state.free, write);
                }
            }
        }
    }
}

async fn send(
    shared: &Shared,
    store: &Store,
    mut output: impl AsyncWrite + Unpin,
    replies: &Replies,
) -> io::Result<()> {
    loop {
        let out = {
            let mut state = replies.state.borrow_mut();
            state.under_way = !state.free.is_empty();
            std::mem::take(&mut state.free)
        };
        if !out.is_empty() {
            let sending = async {
                output.write_all(&out).await?;
                // TLS may have kept some of it.
                output.flush().await
            };
            let sent = tokio::time::timeout(shared.patience.of(Wait::Answer), sending).await;
            sent.inspect_err(|_| shared.late(DOOR, Wait::Answer))??;
            replies.state.borrow_mut().under_way = false;
            replies.left.notify_one();
            continue;
        }
        let first = {
            let state = replies.state.borrow();
            // One batch and nothing behind it: its client waits, and so does everybody here.
            let alone =
                state.held.len() == 1 && state.held[0].batches.len() == 1 && !state.held[0].is_long;
            state.held.front().map(|held| (held.pending, alone))
        };
        let Some((first, alone)) = first else {
            replies.there.notified().await;
            continue;
        };
        if alone {
            replies.release(shared, store.lead(first));
            continue;
        }
        select! {
            outcome = store.durable(first) => {
                replies.release(shared, outcome);
                // Whatever the same sync has kept leaves in the same write: those who get their replies together
                // ask together again.
                while replies.is_next(|pending| store.is_durable(pending)) {
                    replies.release(shared, Ok(()));
                }
            }
            () = replies.there.notified() => {}
        }
    }
}
