//! One connection of a door that speaks in lines.
//!
//! What has arrived is read as far as it makes whole requests; they are carried out together, and the
//! answers leave in one write. Nothing is read while answers wait to be taken.
//!
//! 1. Answers come in the order of the requests, one each.
//! 2. A request that is wrong costs its sender an error; a line that does not end within its limit, or
//!    within its time, costs the connection.
//! 3. When the node ends, what has arrived is still answered; half a request is never carried out.

use std::{io, rc::Rc, time::Duration};

use olivine_command::{Code, Command, Reply};
use olivine_doors::{
    Answer,
    lines::{Found, Lines},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    alarm::{Alarm, Woken},
    counted::Counted,
    http,
    patience::Wait,
    protocol::{Asked, Asks, Json, Line, Protocol},
    session::Session,
    settings::Door,
    slow::{Stage, Watch},
    stream::Stream,
    worker::{Served, Shared},
};

/// Requests that are carried out together, at most.
const REQUESTS_MAX: usize = 1_024;
/// Bytes of requests that are carried out together, about.
const GATHERED_BYTES_MAX: usize = 1 << 20;
/// Answers are sent once they come to this much.
const OUT_BYTES: usize = 256 << 10;
/// Reading less than this takes no time worth a look at the clock; it counts as carrying out.
const PARSED_APART_BYTES_MIN: usize = 32 << 10;
/// What a connection that waits for its peer keeps to read into.
const IDLE_BYTES: usize = 4 << 10;
/// What one that is busy reads into.
const BUSY_BYTES: usize = 64 << 10;
/// How long a connection must be silent to give back what it does not need to wait.
const BUSY: Duration = Duration::from_secs(5);
/// How fast the rest of a line must come at least, behind its first moments.
const LINE_BYTES_A_SECOND: usize = 1 << 10;
/// How long somebody is told something who has not asked for it.
const PARTING: Duration = Duration::from_secs(5);
/// The longest line of somebody who has yet to say who they are.
const STRANGER_BYTES_MAX: usize = 16 << 10;
/// What is read of somebody who was refused, so that the answer arrives.
const UNREAD_BYTES_MAX: usize = 64 << 10;

/// Serves a connection of the JSON door, which is also that of HTTP for those who speak it.
pub(crate) async fn serve_json(served: Rc<Served>, stream: Stream) -> io::Result<()> {
    let mut connection = Connection::new(served, Door::Json, stream)?;
    match connection.told().await? {
        First::Http => {
            let Connection { served, stream, input, session, .. } = connection;
            let stream = Counted::new(Rc::clone(&served), Door::Json, input, stream);
            http::serve(served, Door::Json, session.address(), stream).await;
            Ok(())
        }
        First::Tls => {
            let text = if connection.stream.is_tls() {
                "this connection has TLS already"
            } else {
                "this port has no TLS; connect without it, or start the node with --tls-cert"
            };
            Json::error(text, Code::Invalid, &mut connection.out);
            connection.send().await
        }
        First::Lines => connection.serve::<Json>().await,
        First::Part => Ok(()),
        First::Late(wait) => connection.leave::<Json>(wait).await,
    }
}

/// Serves a connection of a door that speaks only in lines.
pub(crate) async fn serve<P: Protocol>(
    served: Rc<Served>,
    door: Door,
    stream: Stream,
) -> io::Result<()> {
    let mut connection = Connection::new(served, door, stream)?;
    match connection.told().await? {
        // A browser, perhaps on behalf of another site: nothing of what it sent may be carried out.
        First::Http => {
            let text = "this port does not speak HTTP; ask the HTTP door";
            P::error(text, Code::Invalid, &mut connection.out);
            connection.send().await
        }
        First::Lines | First::Tls => connection.serve::<P>().await,
        First::Part => Ok(()),
        First::Late(wait) => connection.leave::<P>(wait).await,
    }
}

/// Tells somebody who came without TLS that it takes that, in the words of the door.
pub(crate) async fn refuse_plain(door: Door, mut stream: TcpStream) -> io::Result<()> {
    let text = "this port speaks only TLS";
    let mut out = Vec::new();
    match door {
        Door::Json => Json::error(text, Code::Invalid, &mut out),
        Door::Line => Line::error(text, Code::Invalid, &mut out),
        Door::Http
        | Door::Influx
        | Door::Select
        | Door::Ingest
        | Door::Blob
        | Door::Volume => out.extend_from_slice(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 26\r\nconnection: close\r\n\r\nthis port speaks only TLS\n",
        ),
    }
    let telling = async {
        stream.write_all(&out).await?;
        stream.shutdown().await?;
        // What is closed with something unread is reset, and the answer lost with it.
        let (mut read, mut unread) = (0, [0; 4 << 10]);
        while read < UNREAD_BYTES_MAX {
            match stream.read(&mut unread).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok(())
    };
    timeout(PARTING, telling).await?
}

/// What a connection begins with.
enum First {
    /// More must come before that can be told.
    Part,
    Lines,
    Http,
    Tls,
    /// Nothing that tells it has come in time.
    Late(Wait),
}

/// Tells what a connection that began with these bytes speaks.
fn first(input: &[u8]) -> First {
    /// The longest start of a line that is looked at.
    const LOOKED_AT: usize = 16 << 10;
    match input.first() {
        None => return First::Part,
        Some(0x16) => return First::Tls,
        Some(byte) if !byte.is_ascii_uppercase() => return First::Lines,
        Some(_) => {}
    }
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() == input.len() && line.len() < LOOKED_AT {
        return First::Part;
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_http = line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0");
    if is_http { First::Http } else { First::Lines }
}

struct Connection {
    served: Rc<Served>,
    /// Where it came in.
    door: Door,
    /// Dropped before the socket: who sees the end counts no more.
    session: Session,
    stream: Stream,
    alarm: Alarm,
    /// Since when it is waited for the rest of a line, and for its end to log in; as of a look.
    part_since: Option<Duration>,
    stranger_since: Option<Duration>,
    /// What has arrived and was not answered yet.
    input: Vec<u8>,
    /// Answers that were not sent yet.
    out: Vec<u8>,
    /// Whether the peer has sent all it will send.
    ended: bool,
}

impl Connection {
    fn new(served: Rc<Served>, door: Door, stream: Stream) -> io::Result<Connection> {
        let input = Vec::with_capacity(IDLE_BYTES);
        let session = Session::new(stream.address()?);
        let alarm = Alarm::new(&served.alarms);
        let (part_since, stranger_since) = (None, Some(alarm.now()));
        let (out, ended) = (Vec::new(), false);
        Ok(Connection {
            served,
            door,
            session,
            stream,
            alarm,
            part_since,
            stranger_since,
            input,
            out,
            ended,
        })
    }

    /// Whether the other end must say who it is before anything else.
    fn is_stranger(&self) -> bool {
        !self.session.is_known() && self.served.asks_who()
    }

    /// The longest line that is taken now.
    fn line_bytes_max(&self) -> usize {
        let most = self.served.shared.limits.line_bytes_max;
        if self.is_stranger() { most.min(STRANGER_BYTES_MAX) } else { most }
    }

    /// Reads until it can be told what the connection begins with; a part when no more comes.
    async fn told(&mut self) -> io::Result<First> {
        loop {
            match first(&self.input) {
                First::Part => match self.read().await? {
                    More::Come => {}
                    More::Late(wait) => return Ok(First::Late(wait)),
                    More::End | More::Stopping => return Ok(First::Part),
                },
                told => return Ok(told),
            }
        }
    }

    async fn serve<P: Protocol>(mut self) -> io::Result<()> {
        let mut lines = Lines::default();
        self.served.router.settle().await;
        if let Err(refusal) = self.served.welcome(&mut self.session) {
            P::error(&refusal.text, refusal.code, &mut self.out);
            return self.send().await;
        }
        loop {
            let (bytes, after) = self.answer_arrived::<P>(&mut lines).await?;
            self.input.drain(..bytes);
            if 0 < bytes {
                self.part_since = None;
            }
            match after {
                After::More => {}
                After::Part if self.ended => return Ok(()),
                After::Part => match self.read().await? {
                    More::Come => {}
                    More::End if P::KNOWS_ITS_END && !self.input.is_empty() => {
                        self.ended = true;
                        self.input.push(b'\n');
                    }
                    More::End | More::Stopping => return Ok(()),
                    More::Late(wait) => return self.leave::<P>(wait).await,
                },
                After::TooLong => {
                    let text = match self.line_bytes_max() {
                        most if self.is_stranger() => {
                            format!("the line is longer than {most}, before anybody has logged in")
                        }
                        most => format!("the line is longer than `line-bytes-max`, {most}"),
                    };
                    P::error(&text, Code::TooLarge, &mut self.out);
                    return self.send().await;
                }
            }
        }
    }

    /// Answers requests that have arrived whole. Returns how many bytes they took.
    async fn answer_arrived<P: Protocol>(
        &mut self,
        lines: &mut Lines,
    ) -> io::Result<(usize, After)> {
        let line_bytes_max = self.line_bytes_max();
        let (shared, tally) = (&self.served.shared, self.served.tally());
        let mut watch = Watch::start(shared.time.clock());
        let now = shared.time.now();
        let (mut commands, mut shapes, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut login = None;
        let after = loop {
            if REQUESTS_MAX <= shapes.len() || GATHERED_BYTES_MAX <= bytes {
                break After::More;
            }
            match lines.next(&self.input[bytes..], line_bytes_max) {
                Found::Line(line, taken) => {
                    bytes += taken;
                    match P::read(line, &shared.limits, now) {
                        None => {}
                        Some(Asked { asks: Asks::Login(asked), shape }) => {
                            login = Some((asked, shape));
                            break After::More;
                        }
                        Some(Asked { asks: Asks::Store(command), shape }) => {
                            shapes.push((true, shape));
                            commands.push(command);
                        }
                        Some(Asked { asks: Asks::Nothing, shape }) => shapes.push((false, shape)),
                    }
                }
                Found::Part => break After::Part,
                Found::TooLong => break After::TooLong,
            }
        };
        if shapes.is_empty() && login.is_none() {
            return Ok((bytes, after));
        }
        if PARSED_APART_BYTES_MIN <= bytes {
            watch.passed(Stage::Parse);
        }
        tally.requests.add(shapes.len() as u64 + u64::from(login.is_some()));
        let mut shapes = shapes.into_iter().peekable();
        let mut rest: &[Command<'_>] = &commands;
        while shapes.peek().is_some() {
            let replies = match rest {
                [] => Vec::new(),
                commands => {
                    self.served.carry_out(&mut self.session, now, commands, &mut watch).await
                }
            };
            tally.replied(rest, &replies);
            rest = &rest[replies.len()..];
            let mut replies = replies.into_iter();
            while let Some((asks, shape)) = shapes.next_if(|(asks, _)| !asks || replies.len() != 0)
            {
                let out = &mut self.out;
                let reply = if asks { replies.next() } else { None };
                P::answer(&shape, reply.map_or(Answer::Own, Answer::Reply), out);
            }
            if OUT_BYTES <= self.out.len() {
                tally.bytes_out.add(self.out.len() as u64);
                send(&mut self.stream, &mut self.out, &self.alarm, shared, self.door).await?;
                watch.passed(Stage::Write);
            }
        }
        if let Some((login, shape)) = login {
            let answer = match self.served.log_in(&mut self.session, now, &login).await {
                Ok(()) => Answer::Own,
                Err(refusal) => Answer::Reply(Reply::Refused(refusal)),
            };
            P::answer(&shape, answer, &mut self.out);
        }
        tally.bytes_out.add(self.out.len() as u64);
        let sent = send(&mut self.stream, &mut self.out, &self.alarm, shared, self.door).await;
        watch.passed(Stage::Write);
        tally.took(self.door, commands.len(), watch.took());
        shared.slow.look(self.door.name(), &commands, &watch);
        sent.map(|()| (bytes, after))
    }

    async fn send(&mut self) -> io::Result<()> {
        let (served, alarm) = (&self.served, &self.alarm);
        served.tally().bytes_out.add(self.out.len() as u64);
        send(&mut self.stream, &mut self.out, alarm, &served.shared, self.door).await
    }

    /// Tells a peer that it was waited for in vain.
    async fn leave<P: Protocol>(mut self, wait: Wait) -> io::Result<()> {
        let (shared, code) = match wait {
            // Whoever was silent has done nothing wrong, and may come again.
            Wait::Idle => (&self.served.shared, Code::Unavailable),
            Wait::Login => (&self.served.shared, Code::Unknown),
            _ => (&self.served.shared, Code::Invalid),
        };
        if wait != Wait::Idle {
            shared.late(self.door.name(), wait);
        }
        P::error(&shared.patience.over(wait), code, &mut self.out);
        timeout(PARTING, self.send()).await?
    }

    /// Reads more.
    async fn read(&mut self) -> io::Result<More> {
        if self.input.capacity() - self.input.len() < IDLE_BYTES {
            let more = if self.input.len() < BUSY_BYTES { BUSY_BYTES } else { self.input.len() };
            self.input.reserve(more);
        }
        let began = self.alarm.now();
        loop {
            let (wait, since, time) = self.waits(began);
            let gives_back = self.input.is_empty() && IDLE_BYTES < self.input.capacity();
            let busy = if gives_back { time.min(BUSY) } else { time };
            let reading = self.stream.read_buf(&mut self.input);
            match self.alarm.until(since, busy, reading).await {
                Ok(read) => {
                    let bytes = read?;
                    self.served.tally().bytes_in.add(bytes as u64);
                    return Ok(if bytes == 0 { More::End } else { More::Come });
                }
                Err(Woken::Stopping) => return Ok(More::Stopping),
                Err(Woken::Late) if busy < time => {
                    self.input = Vec::with_capacity(IDLE_BYTES);
                    self.out = Vec::new();
                }
                Err(Woken::Late) => return Ok(More::Late(wait)),
            }
        }
    }

    /// What is waited for now, since when, and for how long.
    fn waits(&mut self, began: Duration) -> (Wait, Duration, Duration) {
        let is_stranger = self.is_stranger();
        let patience = &self.served.shared.patience;
        if is_stranger {
            let since = *self.stranger_since.get_or_insert(began);
            return (Wait::Login, since, patience.of(Wait::Login));
        }
        self.stranger_since = None;
        if self.input.is_empty() {
            return (Wait::Idle, began, patience.of(Wait::Idle));
        }
        let since = *self.part_since.get_or_insert(began);
        let more = Duration::from_secs((self.input.len() / LINE_BYTES_A_SECOND) as u64);
        (Wait::Line, since, patience.of(Wait::Line) + more)
    }
}

/// What came of waiting for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    /// There is more.
    Come,
    /// The peer sends no more.
    End,
    /// The node ends.
    Stopping,
    /// None has come in time.
    Late(Wait),
}

/// What is to be done after requests were answered.
enum After {
    /// More of them have arrived.
    More,
    /// More bytes must come.
    Part,
    /// A line is too long.
    TooLong,
}

/// Sends answers, and keeps the memory if it is little.
async fn send(
    stream: &mut Stream,
    out: &mut Vec<u8>,
    alarm: &Alarm,
    shared: &Shared,
    door: Door,
) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let patience = shared.patience.of(Wait::Answer);
    let late = |_| {
        shared.late(door.name(), Wait::Answer);
        io::Error::from(io::ErrorKind::TimedOut)
    };
    let mut sent = 0;
    while sent < out.len() {
        // Who takes some of it has as long again for the rest.
        let bytes = alarm.within(patience, stream.write(&out[sent..])).await.map_err(late)??;
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        sent += bytes;
    }
    // TLS may have kept some of it.
    alarm.within(patience, stream.flush()).await.map_err(late)??;
    out.clear();
    if OUT_BYTES < out.capacity() {
        *out = Vec::new();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        for (input, told) in [
            (&b""[..], "part"),
            (b"{", "lines"),
            (b" {", "lines"),
            (b"\n", "lines"),
            (b"\x16\x03\x01", "tls"),
            (b"G", "part"),
            (b"GET / HTTP/1.1", "part"),
            (b"GET / HTTP/1.1\r\nHost", "http"),
            (b"GET / HTTP/1.0\n", "http"),
            (b"GET name\n", "lines"),
            (b"PUT a HTTP/1.2\n", "lines"),
            (b"get / HTTP/1.1\r\n", "lines"),
        ] {
            let first = match first(input) {
                First::Part => "part",
                First::Lines => "lines",
                First::Http => "http",
                First::Tls => "tls",
                First::Late(_) => "late",
            };
            assert_eq!(first, told, "{input:?}");
        }
        assert!(matches!(first(&vec![b'A'; 17 << 10]), First::Lines));
    }
}
