//! The file of a table, and how blocks are read out of it.
//!
//! 1. A payload is returned only after its checksum matched.
//! 2. A reading that failed, by the disk's word or by a checksum, is repeated once: a bit that flipped
//!    on the way is not damage on the disk.

use std::{path::Path, sync::Arc};

use olivine_vfs::File;

use super::{
    format::{FileSeed, is_sealed, unseal},
    zstd::Unpacker,
};
use crate::error::{Error, Result};

/// An open table file.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<dyn File>,
    path: Arc<Path>,
    seed: FileSeed,
    /// Unpacks what zstd packed, once that is known to be among the blocks.
    unpacker: Option<Unpacker>,
}

impl Source {
    pub(super) fn new(file: Arc<dyn File>, path: Arc<Path>, seed: FileSeed) -> Source {
        Source { file, path, seed, unpacker: None }
    }

    /// Unpacks with `unpacker` from here on.
    pub(super) fn unpack_with(&mut self, unpacker: Option<Unpacker>) {
        self.unpacker = unpacker;
    }

    /// Memory that a dictionary takes.
    pub(super) fn dictionary_bytes(&self) -> u64 {
        self.unpacker.as_ref().map_or(0, Unpacker::memory_bytes)
    }

    /// Damage at `offset`.
    pub(super) fn corrupt(&self, offset: u64, what: &'static str) -> Error {
        Error::corrupt(&*self.path, offset, what)
    }

    pub(super) fn len(&self) -> Result<u64> {
        self.file.len().map_err(Error::io("get the length of", &*self.path))
    }

    /// Fills `buffer` from `offset`, all of it.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let read = self.file.read_at(buffer, offset).or_else(|_| self.file.read_at(buffer, offset));
        match read.map_err(Error::io("read", &*self.path))? {
            bytes if bytes < buffer.len() => Err(self.corrupt(offset, "the file ends too early")),
            _ => Ok(()),
        }
    }

    /// The payload of the block of `stored_bytes` at `offset`.
    pub(super) fn payload(&self, offset: u64, stored_bytes: usize) -> Result<Arc<[u8]>> {
        let mut stored = vec![0; stored_bytes];
        self.read(&mut stored, offset)?;
        if let Ok(payload) = self.unseal(&stored, offset) {
            return Ok(payload);
        }
        self.read(&mut stored, offset)?;
        self.unseal(&stored, offset)
    }

    /// The seed of what begins at `offset`.
    pub(super) fn seed_at(&self, offset: u64) -> u64 {
        self.seed.at(offset)
    }

    /// Whether this is the block that was stored at `offset`.
    pub(super) fn verifies(&self, stored: &[u8], offset: u64) -> bool {
        is_sealed(stored, self.seed.at(offset))
    }

    /// The payload of a block that was read from `offset`.
    pub(super) fn unseal(&self, stored: &[u8], offset: u64) -> Result<Arc<[u8]>> {
        let unsealed = unseal(stored, self.seed.at(offset), self.unpacker.as_ref());
        unsealed.map_err(|what| self.corrupt(offset, what))
    }
}

/// A stretch of the file read ahead of need, for readers that go through block after block.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    at: u64,
}

impl Window {
    /// The payload of a block; if it is not in the window, `around` is read into the window first.
    pub(super) fn payload(
        &mut self,
        source: &Source,
        offset: u64,
        stored_bytes: usize,
        around: std::ops::Range<u64>,
    ) -> Result<Arc<[u8]>> {
        self.reach(source, offset, stored_bytes, around);
        match self.stored(offset, stored_bytes).map(|stored| source.unseal(stored, offset)) {
            Some(Ok(payload)) => Ok(payload),
            _ => source.payload(offset, stored_bytes),
        }
    }

    /// Reads `around` into the window, if that does not have the block. If it cannot be read, the window
    /// has nothing.
    pub(super) fn reach(
        &mut self,
        source: &Source,
        offset: u64,
        stored_bytes: usize,
        around: std::ops::Range<u64>,
    ) {
        if self.stored(offset, stored_bytes).is_some() {
            return;
        }
        self.at = around.start;
        self.bytes.resize((around.end - around.start) as usize, 0);
        if source.read(&mut self.bytes, around.start).is_err() {
            self.bytes.clear();
        }
    }

    /// The bytes of a block, if the window has all of them.
    pub(super) fn stored(&self, offset: u64, stored_bytes: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.at)?).ok()?;
        self.bytes.get(start..)?.get(..stored_bytes)
    }
}
