//! The log: what was written, in order, so that it survives until it stands in tables.
//!
//! Payloads are bytes with a first sequence number and a count of them; the log knows nothing of
//! keys. Bytes on disk: `docs/format/log.md`. A segment is a file written once from its start and
//! used again under another number; segments form a chain, each naming the one before, its length
//! and the checksum of all its frames.
//!
//! It must survive a power cut between any two calls and within any write, a failed write or sync,
//! a full disk, and rot.
//!
//! 1. What recovery returns is a prefix of what was appended; a record is there whole or not at all.
//! 2. Bytes below a durable offset recorded somewhere (*proof*) are all there, or recovery refuses.
//! 3. Bytes above it end at the first bad frame; the rest is discarded, reported, and never back.
//! 4. A recovered log is never appended to; a number is never given to a segment twice.
//! 5. After a failed write or sync nothing more is appended, and no sync is tried again.

mod follow;
mod frame;
mod pool;
mod reader;
mod recovery;
pub(crate) mod salvage;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use olivine_vfs::Vfs;

use crate::error::{Error, Result};

pub(crate) use follow::{Followed, follow};
pub(crate) use frame::{
    ALIGN as FRAME_ALIGN, Frame, FrameError, FrameKind, Place, chain_after,
    checksum as frame_checksum, payload_hash,
};
pub(crate) use pool::Pool;
pub(crate) use recovery::{Proof, Record, Recovered, recover};
pub(crate) use segment::{Head, Name};
pub(crate) use tail::{Begun, Extent, LoggedRecord, Tail, oldest_whole};
pub(crate) use writer::LogWriter;

/// The longest payload of a record. A batch is at most 64 MiB; the rest is room for its encoding.
pub(crate) const RECORD_BYTES_MAX: usize = 128 << 20;

/// The shortest segment: tests want many small ones.
pub(crate) const SEGMENT_BYTES_MIN: u32 = 512;

/// The longest segment, so that an offset fits 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u32 = 2 << 30;

/// What a kind of frame is called.
pub(crate) fn kind_name(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Record => "record",
        FrameKind::First => "first",
        FrameKind::Middle => "middle",
        FrameKind::Last => "last",
        FrameKind::Durable => "durable",
        FrameKind::CleanEnd => "clean end",
        FrameKind::Edit => "edit",
    }
}

/// How a log lays out its segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    /// Length of a segment once the log has grown; only these are used again. Default 64 MiB, from
    /// 512 B to 2 GiB.
    pub(crate) segment_bytes: u32,
    /// Length of the first segment after opening; the following ones grow from there. Default 256 KiB,
    /// from 512 B to `segment_bytes`.
    pub(crate) first_bytes: u32,
    /// Whether released segments are written again in place of new ones. Default true.
    pub(crate) recycle: bool,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { segment_bytes: 64 << 20, first_bytes: 256 << 10, recycle: true }
    }
}

impl LogOptions {
    /// Names the field that is out of its bounds.
    pub(crate) fn validate(&self) -> Result<()> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            let what = format!("must be from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}");
            return Err(Error::Invalid { field: "segment_bytes", what });
        }
        if !(SEGMENT_BYTES_MIN..=self.segment_bytes).contains(&self.first_bytes) {
            let what = format!("must be from {SEGMENT_BYTES_MIN} to `segment_bytes`");
            return Err(Error::Invalid { field: "first_bytes", what });
        }
        Ok(())
    }
}

/// Where a log lives: the disk, the directory, and the store whose log it is.
#[derive(Clone, Debug)]
pub(crate) struct LogDir {
    /// The disk.
    pub(crate) vfs: Arc<dyn Vfs>,
    /// The directory of the segments.
    pub(crate) path: PathBuf,
    /// The store's number, drawn when it was created; every checksum depends on it.
    pub(crate) store: u64,
}

/// A place in the log, in the order of writing: a segment's number above an offset in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(u64);

impl Position {
    /// Before everything.
    pub(crate) const ZERO: Position = Position(0);

    pub(crate) fn new(segment: u64, offset: u32) -> Position {
        assert!(u32::try_from(segment).is_ok(), "segment numbers are exhausted at {segment}");
        Position(segment << 32 | u64::from(offset))
    }

    /// The position as one word whose order is the positions' order.
    pub(crate) fn to_word(self) -> u64 {
        self.0
    }

    /// The inverse of `to_word`.
    pub(crate) fn from_word(word: u64) -> Position {
        Position(word)
    }

    pub(crate) fn segment(self) -> u64 {
        self.0 >> 32
    }

    pub(crate) fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

/// Remembers the first failed write or sync; from then on everything answers `Poisoned`.
#[derive(Debug, Default)]
struct Latch(OnceLock<String>);

impl Latch {
    fn check(&self) -> Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
        }
    }

    /// Latches `error` and hands it back. Only the first one is kept.
    fn set(&self, error: Error) -> Error {
        let cause = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.0.get_or_init(|| cause);
        error
    }

    /// Latches `error`, unless it is a full disk under `dir`, which leaves the log as it was.
    fn set_unless_full(&self, error: Error, dir: &Path) -> Error {
        if error.is_disk_full() { Error::Full { path: dir.to_path_buf() } } else { self.set(error) }
    }
}
