//! The client for tasks of tokio: all tasks share its connections, and their requests go together.
//!
//! 1. Answers are handed to requests in the order in which those were sent; a task that has gone away is passed over.
//! 2. When a connection breaks, every request on it is told so: those that were not handed to the socket as unreachable,
//!    those that were as unanswered.
//! 3. What connections do ends when the client is dropped and the last answer has come.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_vfs::RealClock;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    Answers, Ask, Condition, Error, Info, Options, Page, Pipeline, Put, Result, Scan,
    options::host_of, retry::Time,
};

/// Requests that wait for a connection to take them; who comes then waits.
const WAITING_MAX: usize = 1_024;
/// Requests that go with one writing.
const TOGETHER_MAX: usize = 256;
const READ_BYTES: usize = 64 << 10;

/// A client of a node, for tasks.
#[derive(Clone, Debug)]
pub struct AsyncClient(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: String,
    options: Options,
    clock: RealClock,
    links: Vec<AsyncMutex<Option<Link>>>,
    next: AtomicUsize,
}

/// A connection, as who asks sees it.
#[derive(Clone, Debug)]
struct Link {
    calls: mpsc::Sender<Call>,
    is_broken: Arc<AtomicBool>,
}

type Told = oneshot::Sender<Result<Vec<u8>>>;

struct Call {
    line: Vec<u8>,
    told: Told,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// What both halves of a connection know.
struct Line {
    /// Who waits for an answer, in the order of requests.
    waiting: Mutex<VecDeque<Told>>,
    is_broken: Arc<AtomicBool>,
    answer_bytes_max: usize,
    time_max: Duration,
}

impl AsyncClient {
    /// Connects to `HOST:PORT`. That nobody is there is told at once; later, a node that went away is waited for as long as
    /// a call has time.
    pub async fn connect(address: &str, options: Options) -> Result<AsyncClient> {
        options.validate()?;
        host_of(address)?;
        let links = (0..options.connections_max).map(|_| AsyncMutex::default()).collect();
        let (address, clock, next) = (address.to_owned(), RealClock::new(), AtomicUsize::new(0));
        let client = AsyncClient(Arc::new(Shared { address, options, clock, links, next }));
        let time = client.time();
        client.link(0, &time).await?;
        Ok(client)
    }

    fn time(&self) -> Time {
        Time::new(self.0.clock, self.0.options.time_max)
    }

    /// The connection of this place, made if it is not there.
    async fn link(&self, place: usize, time: &Time) -> Result<Link> {
        let Shared { address, options, links, .. } = &*self.0;
        let mut held = timeout(time.left()?, links[place].lock()).await.map_err(|_| time.late())?;
        if let Some(link) = held.as_ref().filter(|link| !link.is_broken.load(Relaxed)) {
            return Ok(link.clone());
        }
        *held = None;
        let patience = options.connect_time_max.min(time.left()?);
        let unreachable = |source| Error::Unreachable { address: address.clone(), source };
        let late = |_| unreachable(io::ErrorKind::TimedOut.into());
        let socket = timeout(patience, socket(address, options)).await.map_err(late)?;
        let link = linked(socket.map_err(unreachable)?, options);
        if let Some(login) = &options.login {
            let ask = Ask::login(login);
            let answer = link.asked(ask.line.clone(), time).await;
            let answer = answer.map_err(|error| match error {
                // Nothing was asked yet.
                Error::Unanswered { source } => unreachable(source),
                other => other,
            });
            ask.read(&answer?)?;
        }
        *held = Some(link.clone());
        Ok(link)
    }

    fn place(&self) -> usize {
        self.0.next.fetch_add(1, Relaxed) % self.0.links.len()
    }

    /// Asks something.
    pub async fn run<T>(&self, ask: &Ask<T>) -> Result<T> {
        let mut time = self.time();
        loop {
            let done = match self.link(self.place(), &time).await {
                Ok(link) => {
                    link.asked(ask.line.clone(), &time).await.and_then(|line| ask.read(&line))
                }
                Err(error) => Err(error),
            };
            let Err(error) = done else { return done };
            match time.pause_after(&error, ask.is_write) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// Asks many things at once. An error is that of the connection; whether each was refused is told by its answer.
    pub async fn run_all(&self, pipeline: Pipeline) -> Result<Answers> {
        let mut time = self.time();
        loop {
            let done = match self.link(self.place(), &time).await {
                Ok(link) => link.asked_all(&pipeline.lines, &time).await,
                Err(error) => Err(error),
            };
            let error = match done {
                Ok(lines) => return Ok(Answers(lines)),
                Err(error) => error,
            };
            match time.pause_after(&error, pipeline.has_writes) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// The value of a key. JSON comes as its text.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.run(&Ask::get(key)).await
    }

    /// Stores a value under a key.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.run(&Ask::put(key, value)).await
    }

    /// Stores a value with a time to live or a condition; whether the condition held.
    pub async fn put_with(&self, put: &Put<'_>) -> Result<bool> {
        self.run(&Ask::put_with(put)).await
    }

    /// Takes a key away, whether or not it is there.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.run(&Ask::delete(key)).await
    }

    /// Takes a key away if it is as it should be; whether it was.
    pub async fn delete_when(&self, key: impl AsRef<[u8]>, condition: Condition) -> Result<bool> {
        self.run(&Ask::delete_when(key, condition)).await
    }

    /// Changes how long a key is there, or lets it stay; whether there is such a key.
    pub async fn expire(&self, key: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<bool> {
        self.run(&Ask::expire(key, ttl)).await
    }

    /// What is known of a key without its value.
    pub async fn info(&self, key: impl AsRef<[u8]>) -> Result<Option<Info>> {
        self.run(&Ask::info(key)).await
    }

    /// The values of keys, in their order.
    pub async fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        self.run(&Ask::batch_get(keys)).await
    }

    /// Stores values under keys: all of them or none. How many.
    pub async fn batch_put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.run(&Ask::batch_put(pairs)).await
    }

    /// Takes keys away: all of them or none. How many were there.
    pub async fn batch_delete<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64> {
        self.run(&Ask::batch_delete(keys)).await
    }

    /// Keys from `start` to `end`, which both belong to it, with their values, at once.
    pub async fn get_range(
        &self,
        start: impl AsRef<[u8]>,
        end: impl AsRef<[u8]>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.run(&Ask::get_range(start, end)).await
    }

    /// A page of a scan, behind the key `after` if there is one: the `next` of the page before.
    pub async fn page(&self, scan: &Scan, after: Option<&[u8]>) -> Result<Page> {
        self.run(&Ask::page(scan, after)).await
    }

    /// Nothing but an answer.
    pub async fn ping(&self) -> Result<()> {
        self.run(&Ask::ping()).await
    }

    /// The node's figures, by their names.
    pub async fn stats(&self) -> Result<Vec<(String, u64)>> {
        self.run(&Ask::stats()).await
    }
}

impl Link {
    async fn asked(&self, line: Vec<u8>, time: &Time) -> Result<Vec<u8>> {
        let (told, answer) = oneshot::channel();
        self.sent(Call { line, told }, time).await?;
        self.told(answer, time).await
    }

    async fn asked_all(&self, lines: &[Vec<u8>], time: &Time) -> Result<Vec<Vec<u8>>> {
        let mut answers = VecDeque::new();
        let mut told = Vec::with_capacity(lines.len());
        for line in lines {
            // Half of them waiting is enough; the others leave room for other tasks.
            if answers.len() == WAITING_MAX / 2
                && let Some(answer) = answers.pop_front()
            {
                told.push(self.told(answer, time).await?);
            }
            let (tell, answer) = oneshot::channel();
            self.sent(Call { line: line.clone(), told: tell }, time).await?;
            answers.push_back(answer);
        }
        for answer in answers {
            told.push(self.told(answer, time).await?);
        }
        Ok(told)
    }

    async fn sent(&self, call: Call, time: &Time) -> Result<()> {
        let sent = timeout(time.left()?, self.calls.send(call)).await.map_err(|_| time.late())?;
        sent.map_err(|_| unreachable_now())
    }

    async fn told(
        &self,
        answer: oneshot::Receiver<Result<Vec<u8>>>,
        time: &Time,
    ) -> Result<Vec<u8>> {
        match timeout(time.left()?, answer).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(Error::Unanswered { source: io::ErrorKind::UnexpectedEof.into() }),
            Err(_) => {
                // A peer that says nothing may be gone: who asks next asks over another connection.
                self.is_broken.store(true, Relaxed);
                Err(time.late())
            }
        }
    }
}

fn unreachable_now() -> Error {
    let source =
        io::Error::new(io::ErrorKind::BrokenPipe, "the connection broke before it was asked");
    Error::Unreachable { address: "the node".to_owned(), source }
}

async fn socket(address: &str, options: &Options) -> io::Result<Box<dyn Socket>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(trust) = &options.trust else { return Ok(Box::new(stream)) };
    let host = host_of(address).map_err(io::Error::other)?;
    Ok(Box::new(trust.wrap_async(stream, host).await?))
}

/// Begins to carry requests over a socket.
fn linked(socket: Box<dyn Socket>, options: &Options) -> Link {
    let (calls, come) = mpsc::channel(WAITING_MAX);
    let is_broken = Arc::new(AtomicBool::new(false));
    let Options { answer_bytes_max, time_max, .. } = *options;
    let waiting = Mutex::default();
    let line = Line { waiting, is_broken: Arc::clone(&is_broken), answer_bytes_max, time_max };
    let (read, write) = tokio::io::split(socket);
    tokio::spawn(carry(come, read, write, line));
    Link { calls, is_broken }
}

/// Carries requests and answers until the client is gone or the connection breaks.
async fn carry(
    mut calls: mpsc::Receiver<Call>,
    mut read: ReadHalf<Box<dyn Socket>>,
    write: WriteHalf<Box<dyn Socket>>,
    line: Line,
) {
    let ended = {
        let writing = written(&mut calls, write, &line);
        let reading = answered(&mut read, &line);
        tokio::pin!(writing, reading);
        tokio::select! {
            failed = &mut reading => failed,
            wrote = &mut writing => match wrote {
                // Nobody asks any more: what was asked is still answered, as long as anybody waits for it.
                Ok(()) if !line.is_answered() => {
                    timeout(line.time_max, reading).await.unwrap_or(Ok(()))
                }
                Ok(()) => Ok(()),
                Err(error) => Err(error),
            },
        }
    };
    line.is_broken.store(true, Relaxed);
    let error = ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
    let waiting = std::mem::take(&mut *line.waiting());
    for told in waiting {
        let source = io::Error::new(error.kind(), error.to_string());
        told.send(Err(Error::Unanswered { source })).ok();
    }
    calls.close();
    while let Some(call) = calls.recv().await {
        call.told.send(Err(unreachable_now())).ok();
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Told>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_answered(&self) -> bool {
        self.waiting().is_empty()
    }
}

/// Writes requests as they come, many at a time.
async fn written(
    calls: &mut mpsc::Receiver<Call>,
    mut write: WriteHalf<Box<dyn Socket>>,
    line: &Line,
) -> io::Result<()> {
    let (mut together, mut out) = (Vec::new(), Vec::new());
    while 0 < calls.recv_many(&mut together, TOGETHER_MAX).await {
        out.clear();
        {
            let mut waiting = line.waiting();
            for call in together.drain(..) {
                // Who has gone away before it was sent wants nothing any more.
                if !call.told.is_closed() {
                    out.extend_from_slice(&call.line);
                    waiting.push_back(call.told);
                }
            }
        }
        write.write_all(&out).await?;
        write.flush().await?;
    }
    Ok(())
}

/// Hands answers to who asked, until the end or until nobody asks any more.
async fn answered(read: &mut ReadHalf<Box<dyn Socket>>, line: &Line) -> io::Result<()> {
    let mut input: Vec<u8> = Vec::new();
    let mut looked_at = 0;
    loop {
        let mut used = 0;
        while let Some(end) = input[looked_at..].iter().position(|byte| *byte == b'\n') {
            let end = looked_at + end;
            let Some(told) = line.waiting().pop_front() else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an answer that nobody asked for",
                ));
            };
            told.send(Ok(input[used..end].to_vec())).ok();
            (used, looked_at) = (end + 1, end + 1);
        }
        input.drain(..used);
        looked_at = input.len();
        if line.answer_bytes_max < input.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an answer of more than `answer_bytes_max`",
            ));
        }
        let filled = input.len();
        input.resize(filled + READ_BYTES, 0);
        let read = read.read(&mut input[filled..]).await;
        input.truncate(filled + read.as_ref().map_or(0, |read| *read));
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
