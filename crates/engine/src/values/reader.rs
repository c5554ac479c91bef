//! Values read back out of their files: whole, or chunk by chunk.
//!
//! 1. A byte is handed out only after the checksum of its chunk matched.
//! 2. A reading that failed, by the disk's word or by a checksum, is repeated once: a bit that flipped
//!    on the way is not damage on the disk.
//! 3. A reader of a stream holds its file: what it reads stays, whatever happens to the key.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use lz4_flex::block::decompress_into;
use olivine_vfs::File;

use super::{
    file::LiveValues,
    format::{CHUNK_BYTES, FOOTER_BYTES, HEADER_BYTES, TAIL_END_BYTES, Tail, chunk_hash},
};
use crate::{
    error::{Error, Result},
    key::VALUE_BYTES_MAX,
    planted::{Bug, planted},
    pointer::Pointer,
    table::Codec,
    value::Value,
};

/// A record as it is stored, verified.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) codec: Codec,
    pub(super) stored: Vec<u8>,
    pub(super) value_bytes: u64,
}

impl LiveValues {
    /// The value that `pointer` names, whole.
    pub(crate) fn read(self: &Arc<Self>, pointer: &Pointer) -> Result<Vec<u8>> {
        if pointer.value_bytes > VALUE_BYTES_MAX as u64 {
            return Err(Error::Invalid {
                field: "value",
                what: format!(
                    "is {} bytes long, and is read in one piece up to {VALUE_BYTES_MAX}; \
                     read it with `get_stream`",
                    pointer.value_bytes
                ),
            });
        }
        let record = self.record(pointer)?;
        if record.codec == Codec::Raw {
            return Ok(record.stored);
        }
        let mut value = vec![0; record.value_bytes as usize];
        match decompress_into(&record.stored, &mut value) {
            Ok(bytes) if bytes == value.len() => Ok(value),
            _ => Err(self.corrupt(pointer.offset, "a value does not decompress to its length")),
        }
    }

    /// The record that `pointer` names. Of at most `VALUE_BYTES_MAX`, but for what surrounds it.
    pub(crate) fn record(self: &Arc<Self>, pointer: &Pointer) -> Result<Record> {
        let file = self.file()?;
        self.check_place(pointer)?;
        let bytes_max = (VALUE_BYTES_MAX + (1 << 20)) as u64;
        if bytes_max < pointer.record_bytes {
            return Err(self.corrupt(pointer.offset, "a record is longer than its value allows"));
        }
        let mut bytes = vec![0; pointer.record_bytes as usize];
        self.read_exactly(&*file, &mut bytes, pointer.offset)?;
        let tail = if let Ok(tail) = self.verify(pointer, &bytes) {
            tail
        } else {
            self.read_exactly(&*file, &mut bytes, pointer.offset)?;
            self.verify(pointer, &bytes)?
        };
        bytes.truncate(tail.stored_bytes as usize);
        let Tail { key, codec, value_bytes, .. } = tail;
        Ok(Record { key, codec, stored: bytes, value_bytes })
    }

    /// Refuses a pointer that leads out of the file.
    fn check_place(&self, pointer: &Pointer) -> Result<()> {
        let end = pointer.offset.checked_add(pointer.record_bytes);
        let last = self.info.bytes.saturating_sub(FOOTER_BYTES as u64);
        let whole = (TAIL_END_BYTES as u64) <= pointer.record_bytes;
        if whole && HEADER_BYTES <= pointer.offset && end.is_some_and(|end| end <= last) {
            return Ok(());
        }
        Err(self.corrupt(pointer.offset, "a pointer leads out of the file"))
    }

    /// The tail of a record whose bytes were read, after all of them matched.
    fn verify(&self, pointer: &Pointer, bytes: &[u8]) -> Result<Tail> {
        let corrupt = |what| self.corrupt(pointer.offset, what);
        let short = || corrupt("a record's tail has the wrong length");
        let end = bytes.last_chunk::<TAIL_END_BYTES>().ok_or_else(short)?;
        let tail_bytes = Tail::bytes(end, bytes.len() as u64).ok_or_else(short)?;
        let (stored, tail) = bytes.split_at(bytes.len() - tail_bytes as usize);
        let tail = Tail::decode(tail, self.seed(), pointer).map_err(corrupt)?;
        let mut at = pointer.offset;
        for (chunk, hash) in stored.chunks(CHUNK_BYTES).zip(&tail.hashes) {
            if chunk_hash(self.seed(), at, chunk) != *hash && !planted(Bug::ValueUnverified) {
                return Err(self.corrupt(at, "the checksum of a value does not match"));
            }
            at += chunk.len() as u64;
        }
        Ok(tail)
    }

    /// The tail alone.
    fn read_tail(&self, file: &dyn File, pointer: &Pointer) -> Result<Tail> {
        let corrupt = |what| self.corrupt(pointer.offset, what);
        let end_at = pointer.offset + pointer.record_bytes - TAIL_END_BYTES as u64;
        let mut end = [0; TAIL_END_BYTES];
        self.read_exactly(file, &mut end, end_at)?;
        let bytes = Tail::bytes(&end, pointer.record_bytes)
            .ok_or_else(|| corrupt("a record's tail has the wrong length"))?;
        let mut tail = vec![0; bytes as usize];
        self.read_exactly(file, &mut tail, pointer.offset + pointer.record_bytes - bytes)?;
        Tail::decode(&tail, self.seed(), pointer).map_err(corrupt)
    }

    /// A reader of the value that `pointer` names.
    pub(crate) fn stream(self: &Arc<Self>, pointer: &Pointer) -> Result<ValueReader> {
        let file = self.file()?;
        self.check_place(pointer)?;
        let tail = self.read_tail(&*file, pointer).or_else(|_| self.read_tail(&*file, pointer))?;
        if tail.codec != Codec::Raw {
            return Ok(ValueReader::of(Value::owned(self.read(pointer)?)));
        }
        let chunks = Chunks {
            values: Arc::clone(self),
            file,
            offset: pointer.offset,
            tail,
            at: u64::MAX,
            chunk: Vec::new(),
        };
        let len = chunks.tail.value_bytes;
        Ok(ValueReader { source: Source::Chunks(chunks), len, position: 0 })
    }
}

/// Reads a value as a stream, verified chunk by chunk, and within it from place to place.
pub struct ValueReader {
    source: Source,
    len: u64,
    position: u64,
}

enum Source {
    Whole(Value),
    Chunks(Chunks),
}

struct Chunks {
    values: Arc<LiveValues>,
    file: Arc<dyn File>,
    /// Where the value begins in the file.
    offset: u64,
    tail: Tail,
    /// Which chunk is in memory; beyond all of them when none is.
    at: u64,
    chunk: Vec<u8>,
}

impl ValueReader {
    /// A reader of a value that is in memory.
    pub(crate) fn of(value: Value) -> ValueReader {
        ValueReader { len: value.len() as u64, source: Source::Whole(value), position: 0 }
    }

    /// Length of the value in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Chunks {
    /// The bytes from `position` on that are in memory, after reading them if need be.
    fn bytes_at(&mut self, position: u64) -> Result<&[u8]> {
        let number = position / CHUNK_BYTES as u64;
        if number != self.at {
            self.at = u64::MAX;
            self.load(number).or_else(|_| self.load(number))?;
            self.at = number;
        }
        let within = (position % CHUNK_BYTES as u64) as usize;
        Ok(self.chunk.get(within..).unwrap_or_default())
    }

    fn load(&mut self, number: u64) -> Result<()> {
        let from = number * CHUNK_BYTES as u64;
        let bytes = (self.tail.stored_bytes - from).min(CHUNK_BYTES as u64);
        self.chunk.resize(bytes as usize, 0);
        let at = self.offset + from;
        self.values.read_exactly(&*self.file, &mut self.chunk, at)?;
        let hash = self.tail.hashes.get(number as usize);
        if hash != Some(&chunk_hash(self.values.seed(), at, &self.chunk)) {
            return Err(self.values.corrupt(at, "the checksum of a value does not match"));
        }
        Ok(())
    }
}

impl Read for ValueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.len <= self.position {
            return Ok(0);
        }
        let bytes = match &mut self.source {
            Source::Whole(value) => &value[self.position as usize..],
            Source::Chunks(chunks) => chunks.bytes_at(self.position).map_err(io_error)?,
        };
        let read = bytes.len().min(buffer.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

/// An error of ours as those who read know them; ours is its source.
fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::Io { source, .. } => source.kind(),
        Error::Corrupt { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Seek for ValueReader {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        let target = match place {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a place before the value");
        self.position = target.ok_or_else(before)?;
        Ok(self.position)
    }
}

impl fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueReader").field("len", &self.len).finish_non_exhaustive()
    }
}
