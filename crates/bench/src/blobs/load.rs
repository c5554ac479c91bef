//! Clients that each do one thing after another, all of them driven by one thread.
//!
//! 1. A client has one request under way, and waits for its answer before the next.
//! 2. Every answer is looked at: its status, and where a value is expected each of its bytes.
//! 3. Requests are encoded before the clock of what they belong to starts.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    time::{ClockId, clock_gettime},
};

use super::wire::{Answer, Connection};
use crate::{drive::Until, histogram::Histogram, store::Result};

/// What is read at once.
const READ_BYTES: usize = 256 << 10;
/// A longer body is not sent before somebody asks for it.
const LONG_BYTES: usize = 64 << 10;

/// A request as it is sent, and which answer is right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// `host:port` of who is asked first.
    pub(crate) to: String,
    /// The target, from its slash on.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    /// Statuses that are right in the end.
    pub(crate) wanted: &'static [u16],
    /// Whether a redirect is followed; otherwise it is an answer like others.
    pub(crate) follows: bool,
    /// The value that must come with a 200, as a range of the values of the run.
    pub(crate) expected: Option<(usize, usize)>,
}

impl Request {
    /// Whether the body is brought only to who wants it, as curl does with what is long.
    fn waits(&self) -> bool {
        LONG_BYTES < self.body.len()
    }
}

/// What clients do.
pub(crate) trait Work {
    /// Fills `requests` with what belongs to task `number`, in its order.
    fn task(&mut self, number: u64, requests: &mut Vec<Request>);

    /// Bytes that `Request::expected` points into.
    fn values(&self) -> &[u8];

    /// Told of every right answer.
    fn answered(&mut self, _request: &Request, _answer: &Answer) -> Result<()> {
        Ok(())
    }
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) tasks: u64,
    pub(crate) elapsed: Duration,
    /// Times of whole tasks.
    pub(crate) times: Histogram,
    /// Processor time of the clients.
    pub(crate) client_cpu: Duration,
}

struct Client {
    /// By `host:port`.
    connections: Vec<(String, Connection)>,
    requests: Vec<Request>,
    /// The heads of the requests.
    heads: Vec<Vec<u8>>,
    step: usize,
    /// Which of its connections is asked.
    asked: usize,
    is_redirected: bool,
    is_busy: bool,
    began: Instant,
}

impl Client {
    fn new() -> Client {
        Client {
            connections: Vec::new(),
            requests: Vec::new(),
            heads: Vec::new(),
            step: 0,
            asked: 0,
            is_redirected: false,
            is_busy: false,
            began: Instant::now(),
        }
    }

    fn connection(&self) -> &Connection {
        &self.connections[self.asked].1
    }

    /// Starts a task.
    fn begin(&mut self, number: u64, work: &mut dyn Work) -> Result<()> {
        self.requests.clear();
        work.task(number, &mut self.requests);
        self.heads.clear();
        self.heads.extend(self.requests.iter().map(|r| head(r, &r.to, &r.target, r.waits())));
        (self.step, self.is_busy) = (0, true);
        self.began = Instant::now();
        self.ask()
    }

    fn ask(&mut self) -> Result<()> {
        let request = &self.requests[self.step];
        self.is_redirected = false;
        self.asked = place(&mut self.connections, &request.to)?;
        let body = if request.waits() { &[][..] } else { &request.body[..] };
        let parts = [&self.heads[self.step][..], body];
        self.connections[self.asked].1.ask(&parts, request.method != "HEAD")
    }

    fn follow(&mut self, location: &str) -> Result<()> {
        let request = &self.requests[self.step];
        let rest = location.strip_prefix("http://").ok_or("a redirect to no http:// address")?;
        let (to, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let head = head(request, to, target, false);
        self.is_redirected = true;
        self.asked = place(&mut self.connections, to)?;
        let connection = &mut self.connections[self.asked].1;
        connection.ask(&[&head, &request.body], request.method != "HEAD")
    }

    /// Goes on with what came; true once the task is done.
    fn advance(&mut self, buffer: &mut [u8], work: &mut dyn Work) -> Result<bool> {
        let connection = &mut self.connections[self.asked].1;
        if connection.is_sending() {
            connection.send()?;
        }
        let request = &self.requests[self.step];
        let values = work.values();
        let expected = request.expected.map(|(start, end)| &values[start..end]);
        let Some(answer) = connection.receive(buffer, expected)? else { return Ok(false) };
        if answer.status == 100 {
            connection.go_on(&request.body)?;
            return Ok(false);
        }
        if request.waits() && !self.is_redirected && !connection.has_gone_on() {
            // A body was announced, and does not come.
            connection.stream = None;
        }
        if let (true, true, false, Some(location)) =
            (answer.is_redirect(), request.follows, self.is_redirected, &answer.location)
        {
            let location = location.clone();
            self.follow(&location)?;
            return Ok(false);
        }
        if !request.wanted.contains(&answer.status) || !answer.is_right {
            let Request { method, target, .. } = request;
            let (status, bytes) = (answer.status, answer.body_bytes);
            let shown = answer.shown.escape_ascii();
            let what = if answer.is_right { "" } else { "with other bytes, " };
            let wrong = format!("{method} {target}: {status}, {what}{bytes} bytes: {shown}");
            return Err(wrong.into());
        }
        work.answered(&self.requests[self.step], &answer)?;
        self.step += 1;
        if self.step == self.requests.len() {
            self.is_busy = false;
            return Ok(true);
        }
        self.ask()?;
        Ok(false)
    }
}

fn head(request: &Request, to: &str, target: &str, waits: bool) -> Vec<u8> {
    let Request { method, body, .. } = request;
    let length = body.len();
    let mut head = Vec::with_capacity(128 + target.len());
    for part in [method, " ", target, " HTTP/1.1\r\nHost: ", to, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    if 0 < length {
        head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    head.extend_from_slice(if waits { b"Expect: 100-continue\r\n\r\n" } else { b"\r\n" });
    head
}

fn place(connections: &mut Vec<(String, Connection)>, to: &str) -> Result<usize> {
    if let Some(place) = connections.iter().position(|(name, _)| name == to) {
        return Ok(place);
    }
    let mut addresses = to.to_socket_addrs()?;
    let address = addresses.find(SocketAddr::is_ipv4).ok_or("a host without an address")?;
    connections.push((to.to_owned(), Connection::new(address)));
    Ok(connections.len() - 1)
}

/// Processor time of this process.
fn own_cpu() -> Duration {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32)
}

/// Lets so many clients work, each until it is time or until all tasks are given out; `first` is the number of the
/// first task. Returns when all are done.
pub(crate) fn run(
    clients: usize,
    first: u64,
    until: Until,
    work: &mut dyn Work,
) -> Result<Outcome> {
    let mut clients: Vec<Client> = (0..clients).map(|_| Client::new()).collect();
    let mut buffer = vec![0; READ_BYTES];
    let (mut given, mut tasks, mut times) = (0, 0, Histogram::new());
    let (began, cpu) = (Instant::now(), own_cpu());
    let goes_on = |given: u64| match until {
        Until::Count(count) => given < count,
        Until::Elapsed(length) => began.elapsed() < length,
    };
    for client in &mut clients {
        if goes_on(given) {
            client.begin(first + given, work)?;
            given += 1;
        }
    }
    while clients.iter().any(|client| client.is_busy) {
        for place in ready(&clients)? {
            let client = &mut clients[place];
            if client.advance(&mut buffer, work)? {
                times.record(client.began.elapsed());
                tasks += 1;
                if goes_on(given) {
                    client.begin(first + given, work)?;
                    given += 1;
                }
            }
        }
    }
    let client_cpu = own_cpu().saturating_sub(cpu);
    Ok(Outcome { tasks, elapsed: began.elapsed(), times, client_cpu })
}

/// The clients that something came for.
fn ready(clients: &[Client]) -> Result<Vec<usize>> {
    let (mut places, mut polled) = (Vec::new(), Vec::new());
    for (place, client) in clients.iter().enumerate() {
        if !client.is_busy {
            continue;
        }
        let connection = client.connection();
        let sends = connection.is_sending();
        let flags = if sends { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let Some(stream) = &connection.stream else { return Err("not connected".into()) };
        places.push(place);
        polled.push(PollFd::new(stream, flags));
    }
    poll(&mut polled, None)?;
    let ready = places.iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
    Ok(ready.map(|(place, _)| *place).collect())
}
