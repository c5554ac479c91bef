//! The coordinator's end of the way to the storage: one connection a worker, shared by all that the
//! worker serves.
//!
//! Whatever is asked while the link is busy goes into one buffer and leaves in one write. Replies are
//! given to whom they belong by their number.
//!
//! 1. Nobody waits for a storage that is gone: what was under way and what comes meanwhile is refused
//!    with words that say so, and the link tries again and again to come back.
//! 2. A command that was under way when the storage went is not sent again: whether it was carried out
//!    is not known, and its sender is told just that.
//! 3. The storage is told of queries that nobody waits for any more.
//! 4. What waits to be sent is bounded; who asks for more waits.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_command::{Access, Code, Command, Refusal, Reply, wire};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    select,
    sync::{Notify, oneshot},
};

use crate::{
    frames::{self, Found},
    patience::{Patience, Wait},
    tls::Peers,
    worker::Shared,
};

/// Bytes that may wait to be sent.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// How long the link waits before it tries again, the first time and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often the storage is asked who may ask for something.
const ACCESS_PAUSE: Duration = Duration::from_secs(1);
/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// Where the storage is.
#[derive(Clone)]
pub(crate) enum Target {
    /// At a socket of this machine.
    Socket(PathBuf),
    /// On a machine of this name or address.
    Host { name: ServerName<'static>, port: u16, peers: Peers },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Socket(socket) => socket.display().fmt(f),
            Target::Host { name, port, .. } => write!(f, "{}:{port}", name.to_str()),
        }
    }
}

/// How many links a coordinator has to its storage: the storage is lost when the last of them is.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: AtomicUsize,
    /// That it cannot be reached was told, and it has not been since.
    is_away: AtomicBool,
}

impl Links {
    fn opened(&self, storage: &Target) {
        self.is_away.store(false, Relaxed);
        if self.open.fetch_add(1, Relaxed) == 0 {
            tracing::info!(event = "storage_reached", storage = &*storage.to_string());
        }
    }

    fn closed(&self, storage: &Target, why: Option<io::Error>) {
        if self.open.fetch_sub(1, Relaxed) == 1 {
            let why = why.map_or_else(|| "it closed the connection".to_owned(), |e| e.to_string());
            self.lost(storage, &why);
        }
    }

    fn failed(&self, storage: &Target, why: &io::Error) {
        if self.open.load(Relaxed) == 0 {
            self.lost(storage, &why.to_string());
        }
    }

    /// Tells it, once.
    fn lost(&self, storage: &Target, why: &str) {
        if !self.is_away.swap(true, Relaxed) {
            tracing::warn!(event = "storage_lost", storage = &*storage.to_string(), why);
        }
    }
}

pub(crate) struct Link {
    target: Target,
    state: RefCell<State>,
    /// Something is to be sent.
    asked: Notify,
    /// Something was sent.
    sent: Notify,
    /// The storage was come to, or tried to be in vain.
    tried: Notify,
}

#[derive(Default)]
struct State {
    is_open: bool,
    /// Who may ask for something; nothing before the storage has said so.
    access: Option<Access>,
    /// What it said last, whether it is there or not.
    access_known_last: Option<Access>,
    /// Whether the link has come to the storage, or tried to in vain.
    has_tried: bool,
    next: u64,
    /// What waits to be sent.
    out: Vec<u8>,
    /// Who waits for which replies.
    waiting: BTreeMap<u64, oneshot::Sender<Vec<Reply>>>,
}

impl Link {
    pub(crate) fn new(target: Target) -> Rc<Link> {
        let state = RefCell::default();
        let (asked, sent, tried) = (Notify::new(), Notify::new(), Notify::new());
        Rc::new(Link { target, state, asked, sent, tried })
    }

    /// Who may ask for something.
    pub(crate) fn access(&self) -> Option<Access> {
        self.state.borrow().access
    }

    /// The same as it was known last, if ever.
    pub(crate) fn access_known_last(&self) -> Option<Access> {
        self.state.borrow().access_known_last
    }

    /// Has the storage carry out the first of some commands. Returns their replies, at least one.
    pub(crate) async fn carry_out(&self, now: u64, commands: &[Command<'_>]) -> Vec<Reply> {
        while WAITING_BYTES_MAX < self.state.borrow().out.len() {
            self.sent.notified().await;
        }
        let Some((number, replies)) = self.send(now, commands) else {
            let text = "the storage cannot be reached; it is tried again and again";
            return refused(text, commands);
        };
        let mut asked = Asked { link: self, number, is_query: commands.iter().all(is_query) };
        let replies = replies.await;
        asked.is_query = false;
        match replies {
            Ok(replies) if are_answered(commands, &replies) => replies,
            Ok(_) => {
                refused("the storage answered something else; is it of this release?", commands)
            }
            Err(_) => {
                let text = "the storage went away; whether this was carried out is not known";
                refused(text, commands)
            }
        }
    }

    fn send(
        &self,
        now: u64,
        commands: &[Command<'_>],
    ) -> Option<(u64, oneshot::Receiver<Vec<Reply>>)> {
        let mut state = self.state.borrow_mut();
        if !state.is_open {
            return None;
        }
        let number = state.next;
        state.next += 1;
        frames::put(number, &mut state.out, |out| wire::encode_commands(now, commands, out));
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(number, sender);
        self.asked.notify_one();
        Some((number, receiver))
    }

    /// Tells the storage that nobody waits for replies any more.
    fn give_up(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        // Who is not among those that wait was answered, or is of a connection that is gone.
        if state.waiting.remove(&number).is_some() {
            frames::put_given_up(number, &mut state.out);
            self.asked.notify_one();
        }
    }

    /// Keeps the link open, for ever.
    pub(crate) async fn keep(self: Rc<Link>, shared: Arc<Shared>) {
        let mut pause = RETRY.0;
        loop {
            match self.stay(&shared.links, &shared.patience).await {
                Ok(()) => pause = RETRY.0,
                Err(error) => shared.links.failed(&self.target, &error),
            }
            self.tried_once();
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(RETRY.1);
        }
    }

    /// Comes to the storage, and stays until one of both goes; fails if it never came.
    async fn stay(&self, links: &Links, patience: &Patience) -> io::Result<()> {
        match &self.target {
            Target::Socket(socket) => {
                let (input, output) = UnixStream::connect(socket).await?.into_split();
                self.exchange(links, input, output).await;
            }
            Target::Host { name, port, peers } => {
                let coming = async {
                    let stream = TcpStream::connect((&*name.to_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    peers.connector.connect(name.clone(), stream).await
                };
                let coming = tokio::time::timeout(patience.of(Wait::Connect), coming);
                let late =
                    |_| io::Error::new(io::ErrorKind::TimedOut, patience.over(Wait::Connect));
                let stream = coming.await.map_err(late)??;
                let (input, output) = tokio::io::split(stream);
                self.exchange(links, input, output).await;
            }
        }
        Ok(())
    }

    async fn exchange(
        &self,
        links: &Links,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
    ) {
        self.state.borrow_mut().is_open = true;
        links.opened(&self.target);
        let ended = select! {
            ended = self.receive(input) => ended,
            ended = self.transmit(output) => ended,
            () = self.watch_access() => Ok(()),
        };
        self.fail();
        links.closed(&self.target, ended.err());
    }

    /// Asks again and again who may ask for something; the time of that is of no matter.
    async fn watch_access(&self) {
        loop {
            match self.carry_out(0, &[Command::Access]).await.pop() {
                Some(Reply::Access(access)) => {
                    let mut state = self.state.borrow_mut();
                    (state.access, state.access_known_last) = (Some(access), Some(access));
                    drop(state);
                    self.tried_once();
                }
                // Without knowing, nothing may be carried out; the link begins anew.
                _ => return,
            }
            tokio::time::sleep(ACCESS_PAUSE).await;
        }
    }

    fn tried_once(&self) {
        self.state.borrow_mut().has_tried = true;
        self.tried.notify_waiters();
    }

    /// Returns when the link has come to the storage, or has tried to in vain: before that nobody can tell what a
    /// client may have, and a coordinator has only just started.
    pub(crate) async fn settle(&self) {
        while !self.state.borrow().has_tried {
            self.tried.notified().await;
        }
    }

    /// Tells all that wait that they wait in vain.
    fn fail(&self) {
        let mut state = self.state.borrow_mut();
        state.is_open = false;
        state.access = None;
        state.out = Vec::new();
        state.waiting.clear();
        self.sent.notify_waiters();
    }

    async fn transmit(&self, mut output: impl AsyncWrite + Unpin) -> io::Result<()> {
        loop {
            let out = std::mem::take(&mut self.state.borrow_mut().out);
            if out.is_empty() {
                self.asked.notified().await;
                continue;
            }
            self.sent.notify_waiters();
            output.write_all(&out).await?;
            // TLS may have kept some of it.
            output.flush().await?;
        }
    }

    async fn receive(&self, mut input: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        loop {
            if input.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let mut start = 0;
            loop {
                match frames::next(&buffer[start..]) {
                    Found::Frame { number, contents, bytes } => {
                        self.replied(number, contents)?;
                        start += bytes;
                    }
                    Found::Part(bytes) => {
                        buffer.drain(..start);
                        buffer.reserve(bytes.saturating_sub(buffer.len()).max(READ_BYTES));
                        break;
                    }
                    Found::Wrong => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
    }

    fn replied(&self, number: u64, contents: &[u8]) -> io::Result<()> {
        let replies = wire::decode_replies(contents)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(waiting) = self.state.borrow_mut().waiting.remove(&number) {
            // Who has gone away meanwhile misses nothing.
            waiting.send(replies).ok();
        }
        Ok(())
    }
}

/// A batch that was sent; who drops it before the replies have come has gone away.
struct Asked<'a> {
    link: &'a Link,
    number: u64,
    /// What only reads, and may take long.
    is_query: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.is_query {
            self.link.give_up(self.number);
        }
    }
}

fn is_query(command: &Command<'_>) -> bool {
    matches!(command, Command::Query { .. })
}

/// Whether these are replies to the first of the commands.
fn are_answered(commands: &[Command<'_>], replies: &[Reply]) -> bool {
    let mut pairs = commands.iter().zip(replies);
    !replies.is_empty()
        && replies.len() <= commands.len()
        && pairs.all(|(command, reply)| command.is_answered_by(reply))
}

fn refused(text: &str, commands: &[Command<'_>]) -> Vec<Reply> {
    vec![Reply::Refused(Refusal::new(Code::Unavailable, text)); commands.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_must_be_those_to_the_commands() {
        let get = || Command::Get { key: b"a".as_slice().into() };
        let many = Command::GetMany { keys: vec![b"a".as_slice().into()] };
        let commands = [get(), many, Command::Count];
        let value = Reply::Value(None);
        assert!(are_answered(&commands, std::slice::from_ref(&value)));
        let all = [value.clone(), Reply::Values(vec![None]), Reply::Count(1)];
        assert!(are_answered(&commands, &all));
        assert!(!are_answered(&commands, &[]));
        assert!(!are_answered(&commands[..1], &all));
        assert!(!are_answered(&commands, &[Reply::Done(true)]));
        assert!(!are_answered(&commands, &[value, Reply::Values(Vec::new())]));
    }
}
