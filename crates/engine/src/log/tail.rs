//! Reads a log in the process that writes it, behind its writer.
//!
//! The writer says which segments there are and up to where they were handed over; reading takes no lock
//! and holds nothing back. So a segment may be given up and written again under another number while it is
//! read: its frames verify under its own number only, and whoever meets one that does not asks the writer
//! whether the segment is still there.
//!
//! 1. A record is handed out once, whole, in order, after every byte of it was verified.
//! 2. No record is passed over: the first one follows the number that was asked for, and each next one the
//!    one before.
//! 3. Memory is one window and one record.

use super::{
    LogDir, LogWriter, RECORD_BYTES_MAX,
    frame::{Frame, FrameKind},
    reader::SegmentReader,
    segment::{HEADER_BYTES, Head, Header},
};
use crate::{
    error::{Error, Result},
    key::SeqNo,
};

/// The segments of a log, oldest first, and where the frames of each end that were handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent(Vec<(u64, u32)>);

/// A record that was read.
#[derive(Debug)]
pub(crate) struct LoggedRecord {
    pub(crate) first_seq: SeqNo,
    pub(crate) count: u32,
    pub(crate) payload: Vec<u8>,
}

/// A place in a log from which it is read on.
#[derive(Debug)]
pub(crate) struct Tail {
    home: LogDir,
    extent: Extent,
    /// The number after the last record that was handed out, or that need not be.
    next_seq: SeqNo,
    segment: u64,
    offset: u32,
    reader: Option<SegmentReader>,
    /// The pieces of a record that were read, if its first one was.
    pieces: Option<Vec<u8>>,
}

/// How the beginning of a read went.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Every record behind the number is there.
    Tail(Box<Tail>),
    /// They are not; this is the first number of the oldest record that is.
    Gone(SeqNo),
}

impl LogWriter {
    /// What can be read of the log, once it was handed over.
    pub(crate) fn extent(&self) -> Extent {
        let older = self.older_segments().map(|older| (older.number, older.length));
        let position = self.position();
        Extent(older.chain([(position.segment(), position.offset())]).collect())
    }
}

impl Extent {
    pub(crate) fn holds(&self, segment: u64) -> bool {
        self.0.iter().any(|(number, _)| *number == segment)
    }

    fn length(&self, segment: u64) -> Option<u32> {
        self.0.iter().find(|(number, _)| *number == segment).map(|(_, length)| *length)
    }

    fn after(&self, segment: u64) -> Option<u64> {
        self.0.iter().map(|(number, _)| *number).find(|number| segment < *number)
    }

    /// The first segment.
    pub(crate) fn oldest(&self) -> u64 {
        self.0.first().map_or(0, |(number, _)| *number)
    }
}

impl Tail {
    /// Begins to read behind the write `since`. When it fails, `at` is the segment that was looked at.
    pub(crate) fn begin(home: LogDir, extent: Extent, since: SeqNo, at: &mut u64) -> Result<Begun> {
        let counting: Vec<u64> = extent
            .0
            .iter()
            .filter(|(_, length)| HEADER_BYTES <= *length)
            .map(|(number, _)| *number)
            .collect();
        let Some(oldest) = counting.first().copied() else {
            return Err(Error::corrupt(&home.path, 0, "the log has no segment"));
        };
        // A record may go on from one segment to the next, which then begins with its number: what is
        // wanted may be in the midst of one that began further back.
        let mut start = oldest;
        for number in counting.into_iter().rev() {
            *at = number;
            let first = oldest_whole(&home, number)?;
            if first <= since + 1 {
                start = number;
                break;
            }
            if number == oldest {
                return Ok(Begun::Gone(first));
            }
        }
        *at = start;
        let next_seq = since + 1;
        let (segment, offset) = (start, HEADER_BYTES);
        let (reader, pieces) = (None, None);
        let tail = Tail { home, extent, next_seq, segment, offset, reader, pieces };
        Ok(Begun::Tail(Box::new(tail)))
    }

    /// The segment that is being read.
    pub(crate) fn segment(&self) -> u64 {
        self.segment
    }

    /// Goes on to what there is by now; false when nothing was added.
    pub(crate) fn extend(&mut self, extent: Extent) -> bool {
        let grown = self.extent != extent;
        self.extent = extent;
        // Its window may hold what has been written over since.
        self.reader = None;
        grown
    }

    /// The next record; `None` when there is none up to where the log is known to be handed over.
    pub(crate) fn next(&mut self) -> Result<Option<LoggedRecord>> {
        loop {
            let limit = self.extent.length(self.segment).unwrap_or(0);
            if limit <= self.offset {
                let Some(next) = self.extent.after(self.segment) else { return Ok(None) };
                (self.segment, self.offset, self.reader) = (next, HEADER_BYTES, None);
                continue;
            }
            if let Some(record) = self.frame(limit)? {
                return Ok(Some(record));
            }
        }
    }

    /// Reads one frame; the record that it ends, if that is asked for.
    fn frame(&mut self, limit: u32) -> Result<Option<LoggedRecord>> {
        let (segment, at) = (self.segment, u64::from(self.offset));
        let corrupt = |home: &LogDir, what| Error::corrupt(home.segment_path(segment), at, what);
        if self.reader.is_none() {
            let reader = SegmentReader::open(&self.home, segment)?;
            self.reader = Some(reader);
        }
        let Some(reader) = &mut self.reader else { unreachable!("it was just opened") };
        let read = match reader.frame(at, u64::from(limit))? {
            Ok(read) => read,
            Err(why) => return Err(corrupt(&self.home, why.what())),
        };
        let Frame { kind, first_seq, count, .. } = read.frame;
        let end = self.offset + read.frame.bytes() as u32;
        let whole = match kind {
            FrameKind::Record => Some(read.payload.to_vec()),
            FrameKind::First => {
                self.pieces = Some(read.payload.to_vec());
                None
            }
            FrameKind::Middle | FrameKind::Last => {
                if let Some(pieces) = &mut self.pieces {
                    if RECORD_BYTES_MAX < pieces.len() + read.payload.len() {
                        return Err(corrupt(&self.home, "a record is longer than it can be"));
                    }
                    pieces.extend_from_slice(read.payload);
                }
                if kind == FrameKind::Last { self.pieces.take() } else { None }
            }
            FrameKind::Durable | FrameKind::CleanEnd => None,
            FrameKind::Edit => {
                return Err(corrupt(&self.home, "a frame has a kind that cannot stand here"));
            }
        };
        self.offset = end;
        let Some(payload) = whole else { return Ok(None) };
        let next = first_seq + u64::from(count);
        if next <= self.next_seq {
            return Ok(None);
        }
        if self.next_seq < first_seq {
            return Err(corrupt(&self.home, "a frame's sequence number does not follow"));
        }
        self.next_seq = next;
        Ok(Some(LoggedRecord { first_seq, count, payload }))
    }
}

fn first_seq(home: &LogDir, number: u64) -> Result<SeqNo> {
    match Header::read(home, number)? {
        Head::Ours(header, _) => Ok(header.first_seq),
        head => Err(Error::corrupt(home.segment_path(number), 0, head.what())),
    }
}

/// The first number of the first record that begins in the segment.
pub(crate) fn oldest_whole(home: &LogDir, number: u64) -> Result<SeqNo> {
    let first = first_seq(home, number)?;
    let mut reader = SegmentReader::open(home, number)?;
    let limit = reader.file_bytes();
    match reader.frame(u64::from(HEADER_BYTES), limit)? {
        Ok(read) if matches!(read.frame.kind, FrameKind::Middle | FrameKind::Last) => {
            Ok(first + u64::from(read.frame.count))
        }
        // Nothing may stand there yet.
        _ => Ok(first),
    }
}
