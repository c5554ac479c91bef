//! A connection that asks one thing at a time over HTTP/1.1, and never blocks.
//!
//! 1. A body that is expected is compared as it comes, byte by byte, and kept nowhere.
//! 2. An answer ends where its head says; what follows it is an error.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use crate::store::Result;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What is kept of a body that nobody expected.
const SHOWN_BYTES: usize = 300;

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body_bytes: u64,
    /// Whether the body was the one that was expected; a body that was not expected is right.
    pub(crate) is_right: bool,
    /// The start of the body.
    pub(crate) shown: Vec<u8>,
    closes: bool,
}

impl Answer {
    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 307 | 308)
    }
}

/// Where the answer is.
enum State {
    Idle,
    Head,
    /// So many bytes of the body are to come.
    Body(u64),
    /// A chunk's size line is to come, or so many bytes of a chunk and its line end.
    Chunk(u64),
    /// So many bytes behind the last chunk.
    Tail(u64),
}

pub(crate) struct Connection {
    address: SocketAddr,
    /// None once the server has closed it.
    pub(crate) stream: Option<TcpStream>,
    out: Vec<u8>,
    sent: usize,
    head: Vec<u8>,
    state: State,
    answer: Answer,
    /// Answers to HEAD have a length, and no body.
    has_body: bool,
    /// Whether a body was asked for that was announced.
    has_gone_on: bool,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Connection {
        Connection {
            address,
            stream: None,
            out: Vec::new(),
            sent: 0,
            head: Vec::new(),
            state: State::Idle,
            answer: Answer::default(),
            has_body: true,
            has_gone_on: false,
        }
    }

    /// Sends a request, as far as it goes at once.
    pub(crate) fn ask(&mut self, request: &[&[u8]], has_body: bool) -> Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            self.stream = Some(stream);
        }
        self.out.clear();
        for part in request {
            self.out.extend_from_slice(part);
        }
        (self.sent, self.state, self.has_body) = (0, State::Head, has_body);
        self.has_gone_on = false;
        self.head.clear();
        self.answer = Answer { is_right: true, ..Answer::default() };
        self.send()
    }

    /// Sends the body that was waited for.
    pub(crate) fn go_on(&mut self, body: &[u8]) -> Result<()> {
        self.out.clear();
        self.out.extend_from_slice(body);
        (self.sent, self.state, self.has_gone_on) = (0, State::Head, true);
        self.answer = Answer { is_right: true, ..Answer::default() };
        self.send()
    }

    pub(crate) fn has_gone_on(&self) -> bool {
        self.has_gone_on
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.sent < self.out.len()
    }

    pub(crate) fn send(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            let Some(stream) = &mut self.stream else { return Err("not connected".into()) };
            match stream.write(&self.out[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An answer may stand before the end of the request was taken.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.sent = self.out.len(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there; the answer once it is whole. A body is compared with `expected` where the status is 200.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        expected: Option<&[u8]>,
    ) -> Result<Option<Answer>> {
        let Some(stream) = &mut self.stream else { return Err("not connected".into()) };
        let bytes = match stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection within an answer".into()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut rest = &buffer[..bytes];
        loop {
            match self.state {
                State::Idle => return Err("an answer without a question".into()),
                State::Head => {
                    let Some(more) = self.take_head(rest)? else { return Ok(None) };
                    rest = &rest[more..];
                }
                State::Body(0) => {
                    if !rest.is_empty() {
                        return Err("bytes behind an answer".into());
                    }
                    return Ok(Some(self.finish()));
                }
                State::Body(left) => {
                    if rest.is_empty() {
                        return Ok(None);
                    }
                    let taken = (rest.len() as u64).min(left);
                    self.body(&rest[..taken as usize], expected);
                    rest = &rest[taken as usize..];
                    self.state = State::Body(left - taken);
                    if left == taken {
                        let whole =
                            expected.is_none_or(|e| e.len() as u64 == self.answer.body_bytes);
                        self.answer.is_right &= whole || self.answer.status != 200;
                    }
                }
                State::Tail(left) => {
                    let taken = (rest.len() as u64).min(left);
                    rest = &rest[taken as usize..];
                    if taken < left {
                        self.state = State::Tail(left - taken);
                        return Ok(None);
                    }
                    self.state = State::Body(0);
                }
                State::Chunk(left) => {
                    if rest.is_empty() {
                        return Ok(None);
                    }
                    rest = self.chunk(left, rest, expected)?;
                }
            }
        }
    }

    fn finish(&mut self) -> Answer {
        self.state = State::Idle;
        if self.answer.closes {
            self.stream = None;
        }
        std::mem::take(&mut self.answer)
    }

    fn body(&mut self, bytes: &[u8], expected: Option<&[u8]>) {
        if let (Some(expected), 200) = (expected, self.answer.status) {
            let start = self.answer.body_bytes as usize;
            let there = expected.get(start..start + bytes.len());
            self.answer.is_right &= there == Some(bytes);
        } else if self.answer.shown.len() < SHOWN_BYTES {
            let taken = bytes.len().min(SHOWN_BYTES - self.answer.shown.len());
            self.answer.shown.extend_from_slice(&bytes[..taken]);
        }
        self.answer.body_bytes += bytes.len() as u64;
    }

    /// Takes a piece of a chunked body; `left` counts the rest of a chunk with its line end.
    fn chunk<'a>(
        &mut self,
        left: u64,
        rest: &'a [u8],
        expected: Option<&[u8]>,
    ) -> Result<&'a [u8]> {
        if 0 < left {
            let taken = (rest.len() as u64).min(left);
            let bytes = taken.min(left.saturating_sub(2)) as usize;
            self.body(&rest[..bytes], expected);
            self.state = State::Chunk(left - taken);
            return Ok(&rest[taken as usize..]);
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(rest.len(), |end| end + 1);
        self.head.extend_from_slice(&rest[..taken]);
        if HEAD_BYTES_MAX < self.head.len() {
            return Err("a chunk without a size".into());
        }
        if end.is_some() {
            let line = std::mem::take(&mut self.head);
            let line = String::from_utf8_lossy(&line);
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| "a chunk without a size")?;
            // The last chunk is empty, and a line end follows it.
            self.state = if size == 0 { State::Tail(2) } else { State::Chunk(size + 2) };
            if size == 0 {
                self.answer.is_right &=
                    expected.is_none_or(|e| e.len() as u64 == self.answer.body_bytes);
            }
        }
        Ok(&rest[taken..])
    }

    /// Adds to the head; once it is whole, how much of `rest` belonged to it.
    fn take_head(&mut self, rest: &[u8]) -> Result<Option<usize>> {
        let had = self.head.len();
        self.head.extend_from_slice(rest);
        let from = had.saturating_sub(3);
        let found = self.head[from..].windows(4).position(|end| end == b"\r\n\r\n");
        let Some(end) = found.map(|place| from + place + 4) else {
            if HEAD_BYTES_MAX < self.head.len() {
                return Err("an answer with a head that does not end".into());
            }
            return Ok(None);
        };
        self.head.truncate(end);
        let head = std::mem::take(&mut self.head);
        self.state = self.read_head(&head)?;
        self.head = head;
        self.head.clear();
        Ok(Some(end - had))
    }

    fn read_head(&mut self, head: &[u8]) -> Result<State> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        self.answer.status = status.ok_or("the server does not speak HTTP/1.1")?;
        if self.answer.status == 100 {
            return Ok(State::Body(0));
        }
        let (mut length, mut is_chunked) = (0, false);
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value)?.parse()?;
            } else if name.eq_ignore_ascii_case(b"location") {
                self.answer.location = Some(String::from_utf8_lossy(value).into_owned());
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.answer.closes = value.eq_ignore_ascii_case(b"close");
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                is_chunked = value.eq_ignore_ascii_case(b"chunked");
            }
        }
        let without = !self.has_body || matches!(self.answer.status, 204 | 304);
        Ok(match (without, is_chunked) {
            (true, _) => State::Body(0),
            (false, true) => State::Chunk(0),
            (false, false) => State::Body(length),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread, time::Duration};

    /// What a client makes of bytes that come in pieces of any size.
    fn received(sent: &'static [u8], piece: usize, expected: Option<&[u8]>) -> Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::new(listener.local_addr().unwrap());
        connection.ask(&[b"GET / HTTP/1.1\r\n\r\n"], true).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let sender = thread::spawn(move || {
            for piece in sent.chunks(piece) {
                stream.write_all(piece).unwrap();
                thread::sleep(Duration::from_micros(200));
            }
        });
        let mut buffer = vec![0; 1 << 10];
        let answer = loop {
            match connection.receive(&mut buffer, expected) {
                Ok(None) => {}
                Ok(Some(answer)) => break Ok(answer),
                Err(error) => break Err(error),
            }
        };
        sender.join().unwrap();
        answer
    }

    #[test]
    fn answers_are_read_in_any_pieces() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        for piece in [1, 7, 1_000] {
            for sent in [&plain[..], chunked] {
                let answer = received(sent, piece, Some(b"hello")).unwrap();
                assert_eq!((answer.status, answer.body_bytes, answer.is_right), (200, 5, true));
                assert!(!received(sent, piece, Some(b"hallo")).unwrap().is_right);
                assert!(!received(sent, piece, Some(b"hello!")).unwrap().is_right);
                assert!(!received(sent, piece, Some(b"hell")).unwrap().is_right);
            }
        }
    }

    #[test]
    fn a_redirect_tells_where_to_go() {
        let sent = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://a:1/b\r\ncontent-length: 0\r\n\r\n";
        let answer = received(sent, 9, Some(b"value")).unwrap();
        assert!(answer.is_redirect());
        assert_eq!(answer.location.as_deref(), Some("http://a:1/b"));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for sent in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"] {
            assert!(received(sent, 1_000, None).is_err());
        }
        assert!(received(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", 5, None).is_err());
    }
}
