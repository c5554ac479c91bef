//! A value file being written.
//!
//! 1. A pointer is handed out after its record was handed to the buffer or the disk; the file counts
//!    only after `finish`, which syncs it.
//! 2. A writer that failed is given up: its file has a hole that nobody may point to.

use std::{fmt, path::PathBuf, sync::Arc};

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use olivine_vfs::{File, Open, Vfs};
use xxhash_rust::xxh3::Xxh3;

use super::{
    format::{CHUNK_BYTES, FOOTER_BYTES, Footer, Tail, ValuesInfo, chunk_hash, header},
    reader::Record,
};
use crate::{
    error::{Error, Result},
    planted::{Bug, planted},
    pointer::Pointer,
    table::{Codec, FileSeed, mix},
};

/// Bytes handed over before the disk is asked to begin writing them out.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// A value file being written.
pub(crate) struct ValuesWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    seed: FileSeed,
    codec: Codec,
    compress: CompressTable,
    compressed: Vec<u8>,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    written: u64,
    written_back: u64,
    footer: Footer,
    failed: bool,
}

impl ValuesWriter {
    /// Creates the file at `path`, which must not exist. Up to `buffer_bytes` are gathered before they
    /// are handed to the disk; what is longer goes there at once.
    pub(crate) fn create(
        vfs: &dyn Vfs,
        path: PathBuf,
        store: u64,
        file_number: u64,
        codec: Codec,
        buffer_bytes: usize,
    ) -> Result<ValuesWriter> {
        let file = vfs.open(&path, Open::Create).map_err(Error::io("create", &path))?;
        let mut buffer = Vec::with_capacity(buffer_bytes);
        buffer.extend_from_slice(&header(store, file_number));
        Ok(ValuesWriter {
            file,
            path,
            seed: FileSeed::new(store, file_number),
            codec,
            compress: CompressTable::small(),
            compressed: Vec::new(),
            buffer,
            buffer_bytes,
            written: 0,
            written_back: 0,
            footer: Footer { store, file: file_number, ..Footer::default() },
            failed: false,
        })
    }

    /// Where the next byte goes, and so the length of the file up to now.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds a value, compressed where that saves an eighth of it.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<Pointer> {
        let mut compressed = std::mem::take(&mut self.compressed);
        let shrunk = self.shrink(value, &mut compressed);
        let (codec, stored) = match shrunk {
            Some(bytes) => (Codec::Lz4, &compressed[..bytes]),
            None => (Codec::Raw, value),
        };
        let pointer = self.add_stored(key, codec, stored, value.len() as u64);
        self.compressed = compressed;
        pointer
    }

    /// The length to which `value` was compressed into `compressed`, if that is worth it.
    fn shrink(&mut self, value: &[u8], compressed: &mut Vec<u8>) -> Option<usize> {
        if self.codec == Codec::Raw || CHUNK_BYTES < value.len() {
            return None;
        }
        let most = get_maximum_output_size(value.len());
        if compressed.len() < most {
            compressed.resize(most, 0);
        }
        let bytes = compress_into_with_table(value, compressed, &mut self.compress).ok()?;
        (bytes <= value.len() - value.len() / 8).then_some(bytes)
    }

    /// Adds what another file's record holds.
    pub(crate) fn add_record(&mut self, record: &Record) -> Result<Pointer> {
        self.add_stored(&record.key, record.codec, &record.stored, record.value_bytes)
    }

    fn add_stored(
        &mut self,
        key: &[u8],
        codec: Codec,
        stored: &[u8],
        value_bytes: u64,
    ) -> Result<Pointer> {
        let mut record = self.begin();
        for chunk in stored.chunks(CHUNK_BYTES) {
            self.chunk(&mut record, chunk)?;
        }
        self.end(record, key, codec, value_bytes)
    }

    /// Begins a record whose chunks follow.
    pub(crate) fn begin(&self) -> RecordInMaking {
        RecordInMaking { offset: self.position(), hashes: Vec::new(), chunk: None }
    }

    /// Adds the next chunk; all but the last have `CHUNK_BYTES`.
    pub(crate) fn chunk(&mut self, record: &mut RecordInMaking, chunk: &[u8]) -> Result<()> {
        assert!(chunk.len() <= CHUNK_BYTES, "a chunk of {} bytes", chunk.len());
        record.hashes.push(chunk_hash(self.seed, self.position(), chunk));
        self.write(chunk)
    }

    /// Adds the next bytes of a record, which cuts them into chunks.
    pub(crate) fn piece(&mut self, record: &mut RecordInMaking, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            let seed = self.seed.at(self.position());
            let (mut hash, filled) =
                record.chunk.take().unwrap_or_else(|| (Box::new(Xxh3::with_seed(seed)), 0));
            let (next, rest) = piece.split_at(piece.len().min(CHUNK_BYTES - filled));
            hash.update(next);
            self.write(next)?;
            piece = rest;
            match filled + next.len() {
                CHUNK_BYTES => record.hashes.push(hash.digest()),
                filled => record.chunk = Some((hash, filled)),
            }
        }
        Ok(())
    }

    /// Ends a record. `codec` is raw unless the one chunk was compressed.
    pub(crate) fn end(
        &mut self,
        record: RecordInMaking,
        key: &[u8],
        codec: Codec,
        value_bytes: u64,
    ) -> Result<Pointer> {
        let RecordInMaking { offset, mut hashes, chunk } = record;
        hashes.extend(chunk.map(|(hash, _)| hash.digest()));
        let at = self.position();
        let tail =
            Tail { hashes, key: key.to_vec(), codec, stored_bytes: at - offset, value_bytes };
        let (bytes, checksum) = tail.encode(self.seed, at);
        self.write(&bytes)?;
        self.footer.records += 1;
        self.footer.value_bytes += value_bytes;
        self.footer.tails = mix(self.footer.tails ^ checksum);
        let record_bytes = self.position() - offset;
        Ok(Pointer { file: self.footer.file, offset, record_bytes, value_bytes, checksum })
    }

    /// Writes the footer, syncs the file, and says what it holds.
    pub(crate) fn finish(mut self) -> Result<ValuesInfo> {
        self.footer.file_bytes = self.position() + FOOTER_BYTES as u64;
        let (footer, checksum) = self.footer.encode();
        self.write(&footer)?;
        self.hand_over()?;
        if !planted(Bug::ValuesUnsynced) {
            self.file.sync().map_err(Error::io("sync", &*self.path))?;
        }
        let Footer { file, file_bytes, records, .. } = self.footer;
        Ok(ValuesInfo { file, bytes: file_bytes, records, checksum })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer_bytes < self.buffer.len() + bytes.len() {
            self.hand_over()?;
        }
        if bytes.len() <= self.buffer_bytes {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.write_at_end(bytes)
    }

    fn hand_over(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.write_at_end(&buffer);
        buffer.clear();
        self.buffer = buffer;
        outcome
    }

    fn write_at_end(&mut self, bytes: &[u8]) -> Result<()> {
        assert!(!self.failed, "a writer that failed is given up");
        self.failed = true;
        self.file.write_at(bytes, self.written).map_err(Error::io("write", &*self.path))?;
        self.written += bytes.len() as u64;
        let fresh = self.written - self.written_back;
        if WRITE_BACK_BYTES <= fresh {
            self.file
                .start_write_back(self.written_back, fresh)
                .map_err(Error::io("write", &*self.path))?;
            self.written_back = self.written;
        }
        self.failed = false;
        Ok(())
    }
}

impl fmt::Debug for ValuesWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValuesWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A record of which some chunks are written.
pub(crate) struct RecordInMaking {
    offset: u64,
    hashes: Vec<u64>,
    /// The chunk that is not full yet: its hash so far, and its bytes.
    chunk: Option<(Box<Xxh3>, usize)>,
}
