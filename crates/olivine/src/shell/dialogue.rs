//! Reads lines, does what they ask, and answers.
//!
//! It must survive any input: bytes that are no text, endless lines, a reader that has gone away.
//!
//! 1. To a terminal there are a banner and a prompt, and errors come among the answers. Through a
//!    pipe there are answers alone; errors go to their own stream with the number of the line.
//! 2. An answer is sent before the next line is waited for.
//! 3. A line that fails changes nothing for the lines after it; that one failed is remembered.
//! 4. What is shown can be told apart: bytes that are no printable text are escaped.

use super::{
    command::{Command, HELP},
    store::Store,
};
use crate::shown::{Shown, counted};
use olivine_engine::{Explanation, Place};
use std::{
    fmt,
    io::{self, BufRead, Read, Write},
};

/// Room for the longest key, the longest value and the word before them.
const LINE_BYTES_MAX: u64 = (64 << 20) + (64 << 10) + 64;

const BANNER: &str = "Olivine shell. HELP shows the commands, EXIT leaves.";
const PROMPT: &str = "olivine> ";
const CLEAR: &str = "\x1b[2J\x1b[H";

/// One conversation about one store.
pub(super) struct Dialogue<'a, O, E> {
    pub(super) store: &'a Store,
    pub(super) answers: O,
    pub(super) errors: E,
    /// Whether a person sits on the other side.
    pub(super) interactive: bool,
}

/// What the whole conversation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Good,
    /// At least one line failed.
    SomeFailed,
}

/// Why a command was not carried out.
enum Trouble {
    /// The store or the line is at fault.
    Told(String),
    /// Nobody listens any more.
    Deaf(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Deaf(error)
    }
}

impl From<olivine_engine::Error> for Trouble {
    fn from(error: olivine_engine::Error) -> Trouble {
        Trouble::Told(crate::ending::with_causes(&error))
    }
}

impl<O: Write, E: Write> Dialogue<'_, O, E> {
    /// Talks until EXIT or the end of the input. An error is one of the input or of the answers.
    pub(super) fn run(&mut self, mut input: impl BufRead) -> io::Result<End> {
        let mut end = End::Good;
        let mut line = Vec::new();
        if self.interactive {
            writeln!(self.answers, "{BANNER}")?;
        }
        for number in 1_u64.. {
            if self.interactive {
                self.answers.write_all(PROMPT.as_bytes())?;
            }
            self.answers.flush()?;
            let outcome = match read_line(&mut input, &mut line)? {
                Line::End => {
                    if self.interactive {
                        writeln!(self.answers)?;
                    }
                    break;
                }
                Line::TooLong => {
                    Err(Trouble::Told(format!("the line is longer than {LINE_BYTES_MAX} bytes")))
                }
                Line::Whole => match Command::parse(&line) {
                    Ok(None) => continue,
                    Ok(Some(Command::Exit)) => break,
                    Ok(Some(command)) => self.carry_out(&command),
                    Err(what) => Err(Trouble::Told(what)),
                },
            };
            match outcome {
                Ok(()) => {}
                Err(Trouble::Deaf(error)) => return Err(error),
                Err(Trouble::Told(what)) => {
                    end = End::SomeFailed;
                    if self.interactive {
                        writeln!(self.answers, "error: {what}")?;
                    } else {
                        // In the order in which things happened, when both go to one place.
                        self.answers.flush()?;
                        writeln!(self.errors, "error: line {number}: {what}")?;
                    }
                }
            }
        }
        self.answers.flush()?;
        Ok(end)
    }

    fn carry_out(&mut self, command: &Command<'_>) -> Result<(), Trouble> {
        let answers = &mut self.answers;
        match *command {
            Command::Set { key, value } => {
                self.store.set(key, value)?;
                writeln!(answers, "OK")?;
            }
            Command::Get { key } => match self.store.get(key)? {
                Some(value) => writeln!(answers, "{}", Shown(&value))?,
                None => writeln!(answers, "(absent)")?,
            },
            Command::Delete { key } => {
                self.store.delete(key)?;
                writeln!(answers, "OK")?;
            }
            Command::Scan { start, end, limit } => {
                let mut count = 0;
                let limit = limit.unwrap_or(u64::MAX);
                self.store.scan(start, end, |key, value| {
                    let more = count < limit;
                    if more {
                        count += 1;
                        writeln!(answers, "{} = {}", Shown(key), Shown(value))?;
                    }
                    Ok::<bool, Trouble>(more)
                })?;
                writeln!(answers, "({})", counted(count, "entry", "entries"))?;
            }
            Command::Keys { prefix } => {
                let mut count = 0_u64;
                self.store.keys(prefix, |key| {
                    count += 1;
                    writeln!(answers, "{}", Shown(key))?;
                    Ok::<(), Trouble>(())
                })?;
                writeln!(answers, "({})", counted(count, "key", "keys"))?;
            }
            Command::Flush => {
                self.store.flush()?;
                writeln!(answers, "OK")?;
            }
            Command::Explain { key } => write!(answers, "{}", Told(&self.store.explain(key)?))?,
            Command::Compact => {
                self.store.compact()?;
                writeln!(answers, "OK")?;
            }
            Command::Stats => write!(answers, "{}", self.store.stats())?,
            Command::Help => write!(answers, "{HELP}")?,
            Command::Clear if self.interactive => write!(answers, "{CLEAR}")?,
            Command::Clear | Command::Exit => {}
        }
        Ok(())
    }
}

/// What a read does, a line for each place.
struct Told<'a>(&'a Explanation);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for look in &self.0.looks {
            match look.place {
                Place::ActiveMemtable => write!(f, "memtable")?,
                Place::FrozenMemtable(nth) => {
                    write!(f, "memtable {} that waits for its flush", nth + 1)?;
                }
                Place::Table { level, table } => write!(f, "level {level}, table {table}")?,
            }
            if !look.in_range {
                writeln!(f, ": the key is not in its range")?;
                continue;
            }
            match look.filter {
                Some(false) => write!(f, ": the filter says no")?,
                Some(true) => write!(f, ": the filter says maybe")?,
                None => {}
            }
            for block in &look.blocks {
                let from = if block.cached { "in the cache" } else { "read from disk" };
                write!(f, ", block {} of {} bytes, {from}", block.number, block.bytes)?;
            }
            if let Some(seqno) = look.deleted_at {
                write!(f, ": a range with the key was deleted by write {seqno}")?;
            }
            for met in &look.met {
                write!(f, ": {} of write {}", met.kind, met.seqno)?;
            }
            writeln!(
                f,
                "{}",
                if look.met.is_empty() && look.filter != Some(false) { ": nothing" } else { "" }
            )?;
        }
        match &self.0.value {
            Some(value) => {
                writeln!(f, "value of {} bytes, as of write {}", value.len(), self.0.seqno)
            }
            None => writeln!(f, "(absent), as of write {}", self.0.seqno),
        }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads one line without its end into `line`.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() as u64 == LINE_BYTES_MAX {
        input.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    Ok(Line::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_they_may() {
        let mut input = &b"a\nb\r\n\n c"[..];
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while let Line::Whole = read_line(&mut input, &mut line).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["a", "b", "", " c"]);
    }

    /// A line beyond every bound is refused, not kept in memory, and the next one is read as usual.
    #[test]
    fn an_endless_line_is_passed_over() {
        let long = io::repeat(b'x').take(LINE_BYTES_MAX + 10);
        let mut input = io::BufReader::new(long.chain(&b"\nGET a\n"[..]));
        let mut line = Vec::new();
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::TooLong));
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::Whole));
        assert_eq!(line, b"GET a");
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::End));
    }
}
