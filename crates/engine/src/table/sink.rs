//! The file of a table being written: seals blocks where they come to lie, and hands them over many at once.
//!
//! 1. A write that failed leaves a hole: nothing may be written after it.

use std::{path::PathBuf, sync::Arc};

use olivine_vfs::File;

use super::{
    format::{Codec, FileSeed, Sealer, TRAILER_BYTES, mix, reseal},
    zstd::Packer,
};
use crate::{
    error::{Error, Result},
    planted::{Bug, planted},
};

/// Bytes gathered before they are handed to the disk.
pub(crate) const BUFFER_BYTES: usize = 512 << 10;
/// Bytes handed over before the disk is asked to begin writing them out.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// The file being written, and what is not handed to it yet.
pub(super) struct Sink {
    file: Arc<dyn File>,
    pub(super) path: PathBuf,
    seed: FileSeed,
    sealer: Sealer,
    pub(super) buffer: Vec<u8>,
    /// Bytes gathered before they are handed over.
    pub(super) buffer_bytes: usize,
    /// Bytes handed to the file.
    written: u64,
    /// Bytes that the disk was asked to write out.
    written_back: u64,
    /// The checksums of all blocks so far, mixed.
    pub(super) checksum: u64,
    /// A write failed, so the file has a hole.
    failed: bool,
}

impl Sink {
    pub(super) fn new(file: Arc<dyn File>, path: PathBuf, seed: FileSeed, codec: Codec) -> Sink {
        Sink {
            file,
            path,
            seed,
            sealer: Sealer::new(codec),
            buffer: Vec::new(),
            buffer_bytes: BUFFER_BYTES,
            written: 0,
            written_back: 0,
            checksum: 0,
            failed: false,
        }
    }

    pub(super) fn codec(&mut self, codec: Codec) {
        self.sealer.set_codec(codec);
    }

    /// What packs blocks that are to be stored by zstd; without it they are stored as they are.
    pub(super) fn pack_with(&mut self, packer: Option<Packer>) {
        self.sealer.packer = packer;
    }

    /// Gives back what blocks were packed with.
    pub(super) fn packer(&mut self) -> Option<Packer> {
        self.sealer.packer.take()
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends a block without values to speak of, and returns the bytes it takes.
    pub(super) fn block(&mut self, payload: &[u8]) -> Result<u32> {
        self.block_of(payload, 0)
    }

    /// Appends a block whose values begin at `values_at`, and returns the bytes it takes.
    pub(super) fn block_of(&mut self, payload: &[u8], values_at: usize) -> Result<u32> {
        let (start, seed) = self.begin();
        let checksum = self.sealer.seal(payload, values_at, seed, &mut self.buffer);
        self.end(start, checksum)
    }

    /// Appends a block as another table stored it, with the seed of its place there.
    pub(super) fn stored_block(&mut self, stored: &[u8], seed_before: u64) -> Result<u32> {
        let (start, seed) = self.begin();
        let Some(checksum) = reseal(stored, seed_before, seed, &mut self.buffer) else {
            let what = format!("the block for offset {} was copied wrong", self.position());
            return Err(Error::Altered { path: self.path.clone(), what });
        };
        self.end(start, checksum)
    }

    /// Where in the buffer the next block begins, and the seed of its place.
    fn begin(&mut self) -> (usize, u64) {
        if self.buffer.capacity() < self.buffer_bytes {
            let room = self.buffer_bytes + self.buffer_bytes / 8;
            self.buffer.reserve_exact(room - self.buffer.len());
        }
        (self.buffer.len(), self.seed.at(self.position()))
    }

    fn end(&mut self, start: usize, checksum: u64) -> Result<u32> {
        self.checksum = mix(self.checksum ^ checksum);
        let stored = self.buffer.len() - start;
        assert!(TRAILER_BYTES < stored, "a block is more than its trailer");
        if self.buffer_bytes <= self.buffer.len() {
            self.write()?;
        }
        Ok(stored as u32)
    }

    fn write(&mut self) -> Result<()> {
        assert!(!self.failed, "a writer that failed is given up");
        self.failed = true;
        let written = self.file.write_at(&self.buffer, self.written);
        if !planted(Bug::TableWriteUnchecked) {
            written.map_err(Error::io("write", &*self.path))?;
        }
        self.failed = false;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(self.buffer_bytes + self.buffer_bytes / 8);
        let fresh = self.written - self.written_back;
        if WRITE_BACK_BYTES <= fresh {
            self.file
                .start_write_back(self.written_back, fresh)
                .map_err(Error::io("write", &*self.path))?;
            self.written_back = self.written;
        }
        Ok(())
    }

    /// Hands over the rest.
    pub(super) fn finish(mut self) -> Result<WrittenFile> {
        self.write()?;
        Ok(WrittenFile { file: self.file, path: self.path })
    }
}

/// A table that is written whole and not synced.
pub(crate) struct WrittenFile {
    file: Arc<dyn File>,
    path: PathBuf,
}

impl WrittenFile {
    /// Makes the contents durable.
    pub(crate) fn sync(self) -> Result<()> {
        if planted(Bug::TableUnsynced) {
            return Ok(());
        }
        self.file.sync().map_err(Error::io("sync", &*self.path))
    }
}
