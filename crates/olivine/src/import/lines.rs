//! Lines of line protocol, as they are or as `influx_inspect export` writes them.
//!
//! ```text
//! # DDL
//! CREATE DATABASE d WITH NAME autogen
//! # DML
//! # CONTEXT-DATABASE: d
//! # CONTEXT-RETENTION-POLICY: autogen
//! cpu,host=a load=1.5 1465839830100400200
//! ```
//!
//! 1. Lines go to the server as they stand: it has the only reader of them that counts.
//! 2. Where a quote is not closed, the line that has it is refused, and those behind it are read as lines.

use olivine_doors::influx::line::{Precision, Reading, is_whole, read};

use super::{
    input::{LINE_BYTES_MAX, Lines, Next},
    point::shown,
    sink::Sink,
};
use crate::ending::Failure;

/// Where in an export one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Points,
    /// Statements come.
    Statements,
}

/// Passes lines on.
pub(crate) struct Protocol {
    part: Part,
}

impl Protocol {
    pub(crate) fn new() -> Protocol {
        Protocol { part: Part::Points }
    }

    /// Reads the next record.
    pub(crate) fn next(lines: &mut Lines) -> std::io::Result<Next> {
        let next = lines.read_record(is_whole)?;
        // Several lines that make no point together are several lines.
        if next == Next::Record && lines.record().contains(&b'\n') && points(lines.record()) != 1 {
            lines.only_first();
        }
        Ok(next)
    }

    /// Takes one record.
    pub(crate) fn take(
        &mut self,
        record: &[u8],
        number: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let trimmed = record.trim_ascii();
        if let Some(comment) = trimmed.strip_prefix(b"#") {
            return self.comment(comment.trim_ascii(), sink);
        }
        if trimmed.is_empty() {
            return Ok(());
        }
        if self.part == Part::Statements || begins_statement(trimmed) {
            return carry_out(trimmed, number, sink);
        }
        // It would be taken for the beginning of a text that has the next lines in it.
        if record.contains(&b'"') && !is_whole(record) {
            sink.refuse(number, "unbalanced quotes".to_owned());
            return Ok(());
        }
        sink.line(number, record)
    }

    fn comment(&mut self, comment: &[u8], sink: &mut Sink<'_>) -> Result<(), Failure> {
        match comment {
            b"DDL" => self.part = Part::Statements,
            b"DML" => self.part = Part::Points,
            _ => {
                let word = |name: &[u8]| {
                    let value = comment.strip_prefix(name)?.trim_ascii();
                    str::from_utf8(value).ok()
                };
                if let Some(database) = word(b"CONTEXT-DATABASE:") {
                    self.part = Part::Points;
                    return sink.context(Some(database), None);
                }
                if let Some(policy) = word(b"CONTEXT-RETENTION-POLICY:") {
                    self.part = Part::Points;
                    return sink.context(None, Some(policy));
                }
            }
        }
        Ok(())
    }
}

/// Statements that make something are carried out; no file of points may do more.
fn carry_out(text: &[u8], number: u64, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let is_one = begins_statement(text);
    match str::from_utf8(text) {
        Ok(text) if is_one => return sink.statement(number, text),
        Ok(text) => {
            let why = "only CREATE DATABASE and CREATE RETENTION POLICY stand in an export";
            sink.refuse(number, format!("`{}` is not carried out: {why}", shown(text)));
        }
        Err(_) => sink.refuse(number, "a statement is no UTF-8".to_owned()),
    }
    Ok(())
}

fn begins_statement(text: &[u8]) -> bool {
    let begins = |word: &[u8]| {
        text.split_at_checked(word.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(word))
    };
    begins(b"CREATE DATABASE ") || begins(b"CREATE RETENTION POLICY ")
}

/// How many points lines have.
fn points(lines: &[u8]) -> u64 {
    let precision = Precision::NANOSECONDS;
    let read = read(lines, &Reading { precision, now: 0, line_bytes_max: LINE_BYTES_MAX });
    read.points.iter().map(|piece| piece.points()).sum()
}

/// Whether there are points, or what an export has before them, in how a text begins; nothing if it has no lines.
pub(crate) fn begins_with_points(text: &[u8]) -> Option<bool> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"))?;
    Some(begins_statement(first) || points(text) != 0)
}
