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

use olivine_command::{Code, Command};
use olivine_doors::{
    Answer,
    lines::{Found, Lines},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    select,
    time::timeout,
};

use crate::{
    http,
    protocol::{Asked, Json, Protocol},
    rewound::Rewound,
    worker::Served,
};

/// Requests that are carried out together, at most.
const REQUESTS_MAX: usize = 1_024;
/// Bytes of requests that are carried out together, about.
const GATHERED_BYTES_MAX: usize = 1 << 20;
/// Answers are sent once they come to this much.
const OUT_BYTES: usize = 256 << 10;
/// What a connection that waits for its peer keeps to read into.
const IDLE_BYTES: usize = 4 << 10;
/// What one that is busy reads into.
const BUSY_BYTES: usize = 64 << 10;
/// How often a connection that waits looks at how long it has waited.
const TICK: Duration = Duration::from_secs(5);
/// How many ticks a request may take to arrive, and a connection may say nothing.
const PART_TICKS: u32 = 6;
const IDLE_TICKS: u32 = 60;
/// How long a peer may take to take its answers.
const WRITE_PATIENCE: Duration = Duration::from_mins(1);

/// Serves a connection of the JSON door, which is also that of HTTP for those who speak it.
pub(crate) async fn serve_json(served: Rc<Served>, stream: TcpStream) -> io::Result<()> {
    let mut connection = Connection::new(served, stream);
    match connection.told().await? {
        First::Http => {
            let Connection { served, stream, input, .. } = connection;
            http::serve(served, Rewound::new(input, stream)).await;
            Ok(())
        }
        First::Tls => {
            let text = "this port has no TLS; connect without it";
            Json::error(text, Code::Invalid, &mut connection.out);
            connection.send().await
        }
        First::Lines => connection.serve::<Json>().await,
        First::Part => Ok(()),
    }
}

/// Serves a connection of a door that speaks only in lines.
pub(crate) async fn serve<P: Protocol>(served: Rc<Served>, stream: TcpStream) -> io::Result<()> {
    let mut connection = Connection::new(served, stream);
    match connection.told().await? {
        // A browser, perhaps on behalf of another site: nothing of what it sent may be carried out.
        First::Http => {
            let text = "this port does not speak HTTP; ask the HTTP door";
            P::error(text, Code::Invalid, &mut connection.out);
            connection.send().await
        }
        First::Lines | First::Tls => connection.serve::<P>().await,
        First::Part => Ok(()),
    }
}

/// What a connection begins with.
enum First {
    /// More must come before that can be told.
    Part,
    Lines,
    Http,
    Tls,
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
    stream: TcpStream,
    /// What has arrived and was not answered yet.
    input: Vec<u8>,
    /// Answers that were not sent yet.
    out: Vec<u8>,
    /// Whether the peer has sent all it will send.
    ended: bool,
}

impl Connection {
    fn new(served: Rc<Served>, stream: TcpStream) -> Connection {
        let input = Vec::with_capacity(IDLE_BYTES);
        Connection { served, stream, input, out: Vec::new(), ended: false }
    }

    /// Reads until it can be told what the connection begins with; a part when no more comes.
    async fn told(&mut self) -> io::Result<First> {
        loop {
            match first(&self.input) {
                First::Part if self.read().await? == More::Come => {}
                told => return Ok(told),
            }
        }
    }

    async fn serve<P: Protocol>(mut self) -> io::Result<()> {
        let mut lines = Lines::default();
        loop {
            let (bytes, after) = self.answer_arrived::<P>(&mut lines).await?;
            self.input.drain(..bytes);
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
                },
                After::TooLong => {
                    let most = self.served.shared.limits.line_bytes_max;
                    let text = format!("the line is longer than `line-bytes-max`, {most}");
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
        let shared = &self.served.shared;
        let now = shared.time.now();
        let (mut commands, mut shapes, mut bytes) = (Vec::new(), Vec::new(), 0);
        let after = loop {
            if REQUESTS_MAX <= shapes.len() || GATHERED_BYTES_MAX <= bytes {
                break After::More;
            }
            match lines.next(&self.input[bytes..], shared.limits.line_bytes_max) {
                Found::Line(line, taken) => {
                    bytes += taken;
                    if let Some(Asked { command, shape }) = P::read(line, &shared.limits, now) {
                        shapes.push((command.is_some(), shape));
                        commands.extend(command);
                    }
                }
                Found::Part => break After::Part,
                Found::TooLong => break After::TooLong,
            }
        };
        shared.counters.asked(shapes.len());
        let mut shapes = shapes.into_iter().peekable();
        let mut commands: &[Command<'_>] = &commands;
        while shapes.peek().is_some() {
            let replies = match commands {
                [] => Vec::new(),
                commands => self.served.router.carry_out(now, commands).await,
            };
            commands = &commands[replies.len()..];
            let mut replies = replies.into_iter();
            while let Some((asks, shape)) = shapes.next_if(|(asks, _)| !asks || replies.len() != 0)
            {
                let out = &mut self.out;
                let reply = if asks { replies.next() } else { None };
                P::answer(&shape, reply.map_or(Answer::Own, Answer::Reply), out);
            }
            if OUT_BYTES <= self.out.len() {
                send(&mut self.stream, &mut self.out).await?;
            }
        }
        send(&mut self.stream, &mut self.out).await?;
        Ok((bytes, after))
    }

    async fn send(&mut self) -> io::Result<()> {
        send(&mut self.stream, &mut self.out).await
    }

    /// Reads more.
    async fn read(&mut self) -> io::Result<More> {
        if self.input.capacity() - self.input.len() < IDLE_BYTES {
            let more = if self.input.len() < BUSY_BYTES { BUSY_BYTES } else { self.input.len() };
            self.input.reserve(more);
        }
        let mut stopping = self.served.shared.stopping.clone();
        let mut tick = 0;
        loop {
            tick += 1;
            let read = timeout(TICK, self.stream.read_buf(&mut self.input));
            let read = select! {
                biased;
                read = read => read,
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(More::Stopping),
            };
            if let Ok(read) = read {
                return Ok(if read? == 0 { More::End } else { More::Come });
            }
            let most = if self.input.is_empty() { IDLE_TICKS } else { PART_TICKS };
            if most <= tick {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.input.is_empty() && IDLE_BYTES < self.input.capacity() {
                self.input = Vec::with_capacity(IDLE_BYTES);
                self.out = Vec::new();
            }
        }
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
async fn send(stream: &mut TcpStream, out: &mut Vec<u8>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    timeout(WRITE_PATIENCE, stream.write_all(out)).await??;
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
            };
            assert_eq!(first, told, "{input:?}");
        }
        assert!(matches!(first(&vec![b'A'; 17 << 10]), First::Lines));
    }
}
