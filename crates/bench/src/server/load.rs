//! Asks a server as fast as it answers, over any number of connections.
//!
//! Each connection sends a number of requests at once, waits until all of them are answered, and sends
//! the next. One thread drives all of them.
//!
//! 1. Every answer is looked at; a wrong one ends the run.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{histogram::Histogram, store::Result};

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// How a server is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Requests that a connection has under way.
    pub(crate) depth: usize,
    pub(crate) length: Duration,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) elapsed: Duration,
    /// From sending a group of requests to the last of their answers.
    pub(crate) times: Histogram,
}

/// What is asked, and which answers are right.
pub(crate) trait Questions {
    /// Adds request `number` to `out`, with its line end.
    fn ask(&mut self, number: u64, out: &mut Vec<u8>);

    /// Whether an answer without its line end is right.
    fn is_right(&self, answer: &[u8]) -> bool;
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    answers: Vec<u8>,
    missing: usize,
    began: Instant,
}

/// Asks until the time is over.
pub(crate) fn run(port: u16, load: Load, questions: &mut dyn Questions) -> Result<Outcome> {
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (out, answers) = (Vec::new(), Vec::new());
        connections.push(Connection {
            stream,
            out,
            sent: 0,
            answers,
            missing: 0,
            began: Instant::now(),
        });
    }
    let (mut number, mut operations, mut times) = (0, 0, Histogram::new());
    let mut buffer = vec![0; READ_BYTES];
    let began = Instant::now();
    let mut under_way = 0;
    let is_over = |began: Instant| load.length <= began.elapsed();
    for connection in &mut connections {
        connection.begin(load.depth, &mut number, questions)?;
        under_way += 1;
    }
    while 0 < under_way {
        for place in ready(&connections)? {
            let connection = &mut connections[place];
            connection.send()?;
            operations += connection.receive(&mut buffer, questions)?;
            if connection.missing == 0 && !connection.out.is_empty() {
                times.record(connection.began.elapsed());
                connection.out.clear();
                under_way -= 1;
                if !is_over(began) {
                    connection.begin(load.depth, &mut number, questions)?;
                    under_way += 1;
                }
            }
        }
    }
    Ok(Outcome { operations, elapsed: began.elapsed(), times })
}

/// The connections that something can be done for.
fn ready(connections: &[Connection]) -> Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = connections
        .iter()
        .map(|connection| {
            let unsent = connection.sent < connection.out.len();
            let flags = if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&connection.stream, flags)
        })
        .collect();
    poll(&mut polled, None)?;
    let ready = polled.iter().enumerate().filter(|(_, polled)| !polled.revents().is_empty());
    Ok(ready.map(|(place, _)| place).collect())
}

impl Connection {
    fn begin(
        &mut self,
        depth: usize,
        number: &mut u64,
        questions: &mut dyn Questions,
    ) -> Result<()> {
        (self.sent, self.missing, self.began) = (0, depth, Instant::now());
        for _ in 0..depth {
            questions.ask(*number, &mut self.out);
            *number += 1;
        }
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there. Returns how many answers it made whole.
    fn receive(&mut self, buffer: &mut [u8], questions: &dyn Questions) -> Result<u64> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(bytes) => {
                    self.answers.extend_from_slice(&buffer[..bytes]);
                    if bytes < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let (mut whole, mut start) = (0, 0);
        while let Some(length) = self.answers[start..].iter().position(|byte| *byte == b'\n') {
            let answer = &self.answers[start..start + length];
            if !questions.is_right(answer) {
                let answer = answer[..answer.len().min(200)].escape_ascii();
                return Err(format!("a wrong answer: {answer}").into());
            }
            start += length + 1;
            whole += 1;
        }
        self.answers.drain(..start);
        self.missing -= whole;
        Ok(whole as u64)
    }
}
