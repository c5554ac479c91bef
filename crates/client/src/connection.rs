//! One connection of a client that waits for its answers.
//!
//! 1. Nothing waits longer than the call has time.
//! 2. A connection on which something failed is not used again.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    ops::Range,
    time::Duration,
};

use crate::{Ask, Error, Options, Result, TlsStream, options::host_of, retry::Time};

/// Bytes of requests that may be on their way before their answers are read: sockets hold as much, so that neither side
/// waits for the other to read.
const AHEAD_BYTES_MAX: usize = 32 << 10;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// One connection, on which one call at a time is at work.
pub(crate) struct Connection {
    stream: Stream,
    input: Vec<u8>,
    /// The bytes of `input` that were read already.
    used: usize,
    answer_bytes_max: usize,
}

impl Connection {
    /// Connects, and says who it is.
    pub(crate) fn open(address: &str, options: &Options, time: &Time) -> Result<Connection> {
        let patience = options.connect_time_max.min(time.left()?);
        let unreachable = |source| Error::Unreachable { address: address.to_owned(), source };
        let stream = connected(address, patience).map_err(unreachable)?;
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(patience)))
            .and_then(|()| stream.set_write_timeout(Some(patience)));
        prepared.map_err(unreachable)?;
        let stream = match &options.trust {
            None => Stream::Plain(stream),
            Some(trust) => {
                let agreed = trust.wrap(stream, host_of(address)?).map_err(unreachable)?;
                Stream::Tls(Box::new(agreed))
            }
        };
        let answer_bytes_max = options.answer_bytes_max;
        let mut connection = Connection { stream, input: Vec::new(), used: 0, answer_bytes_max };
        if let Some(login) = &options.login {
            let ask = Ask::login(login);
            let answer = connection.asked(&ask.line, time).map_err(|error| match error {
                // Nothing was asked yet.
                Error::Unanswered { source } => unreachable(source),
                other => other,
            })?;
            ask.read(&connection.input[answer])?;
        }
        Ok(connection)
    }

    /// Whether the node has closed it while nobody asked anything.
    pub(crate) fn is_stale(&mut self) -> bool {
        if self.used < self.input.len() || self.tcp().set_nonblocking(true).is_err() {
            return true;
        }
        let is_open = match &mut self.stream {
            // Whatever is there to be read, be it the end: nobody asked for it.
            Stream::Plain(stream) => {
                stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Stream::Tls(stream) => is_quiet(stream),
        };
        !is_open || self.tcp().set_nonblocking(false).is_err()
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// Sends a line and hands its answer to `read`.
    pub(crate) fn ask<T>(&mut self, ask: &Ask<T>, time: &Time) -> Result<T> {
        let answer = self.asked(&ask.line, time)?;
        ask.read(&self.input[answer])
    }

    fn asked(&mut self, line: &[u8], time: &Time) -> Result<Range<usize>> {
        self.send(line, time)?;
        self.line(time)
    }

    /// Sends lines, as many at a time as fit, and returns their answers.
    pub(crate) fn ask_all(&mut self, lines: &[Vec<u8>], time: &Time) -> Result<Vec<Vec<u8>>> {
        let mut answers = Vec::with_capacity(lines.len());
        let mut rest = lines;
        let mut out = Vec::new();
        while !rest.is_empty() {
            out.clear();
            let mut count = 0;
            for line in rest {
                if 0 < count && AHEAD_BYTES_MAX < out.len() + line.len() {
                    break;
                }
                out.extend_from_slice(line);
                count += 1;
            }
            self.send(&out, time)?;
            for _ in 0..count {
                let answer = self.line(time)?;
                answers.push(self.input[answer].to_vec());
            }
            rest = &rest[count..];
        }
        Ok(answers)
    }

    fn send(&mut self, bytes: &[u8], time: &Time) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = time.left()?;
            self.tcp().set_write_timeout(Some(left)).map_err(unanswered)?;
            let written = match &mut self.stream {
                Stream::Plain(stream) => stream.write(rest),
                Stream::Tls(stream) => stream.write(rest),
            };
            match written {
                Ok(0) => return Err(unanswered(io::ErrorKind::WriteZero.into())),
                Ok(written) => rest = &rest[written..],
                Err(error) => failed(error, time)?,
            }
        }
        loop {
            let flushed = match &mut self.stream {
                Stream::Plain(_) => return Ok(()),
                Stream::Tls(stream) => stream.flush(),
            };
            match flushed {
                Ok(()) => return Ok(()),
                Err(error) => failed(error, time)?,
            }
        }
    }

    /// The next line of an answer, without its end: where in `input` it is.
    fn line(&mut self, time: &Time) -> Result<Range<usize>> {
        let mut looked_at = self.used;
        loop {
            if let Some(end) = self.input[looked_at..].iter().position(|byte| *byte == b'\n') {
                let (start, end) = (self.used, looked_at + end);
                self.used = end + 1;
                return Ok(start..end);
            }
            if 0 < self.used {
                self.input.drain(..self.used);
                self.used = 0;
            }
            looked_at = self.input.len();
            if self.answer_bytes_max < looked_at {
                let most = self.answer_bytes_max;
                return Err(Error::strange(format!(
                    "it has more than `answer_bytes_max`, {most} bytes"
                )));
            }
            self.read(time)?;
        }
    }

    fn read(&mut self, time: &Time) -> Result<()> {
        let filled = self.input.len();
        loop {
            self.tcp().set_read_timeout(Some(time.left()?)).map_err(unanswered)?;
            self.input.resize(filled + READ_BYTES, 0);
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut self.input[filled..]),
                Stream::Tls(stream) => stream.read(&mut self.input[filled..]),
            };
            self.input.truncate(filled + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => return Err(unanswered(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => return Ok(()),
                Err(error) => failed(error, time)?,
            }
        }
    }
}

/// Whether nothing came but what TLS has to say to itself.
fn is_quiet(stream: &mut TlsStream) -> bool {
    loop {
        match stream.conn.read_tls(&mut stream.sock) {
            Ok(0) => return false,
            Ok(_) => match stream.conn.process_new_packets() {
                Ok(state) if !state.peer_has_closed() && state.plaintext_bytes_to_read() == 0 => {}
                _ => return false,
            },
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

fn unanswered(source: io::Error) -> Error {
    Error::Unanswered { source }
}

/// What an error of a socket comes to; some say only to go on.
fn failed(error: io::Error, time: &Time) -> Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => time.left().map(drop),
        _ => Err(unanswered(error)),
    }
}

/// A socket to the first of the addresses that takes it.
fn connected(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
