//! Copying and hashing whole files, piece by piece.
//!
//! 1. The pieces are as long as the memory budget has room for, within `PIECE_BYTES` and a minimum.

use std::{path::Path, sync::Arc};

use olivine_vfs::{File, Open, Vfs};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    budget::{Budget, Share},
    error::{Error, Result},
};

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;
/// And where memory is short.
const PIECE_BYTES_LEAST: u64 = 16 << 10;

/// A file to read, and the name by which errors call it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    pub(super) file: &'a Arc<dyn File>,
    pub(super) path: &'a Path,
    /// Its length; a file that ends before is damaged.
    pub(super) bytes: u64,
    /// What the pieces are charged to.
    pub(super) budget: &'a Budget,
}

impl Whole<'_> {
    /// Hands over the file in pieces, each with its offset. Returns the hash of all of it.
    pub(super) fn pieces(self, each: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<u64> {
        let mut hasher = Xxh3::new();
        let most = PIECE_BYTES.min(self.bytes);
        let room = self.budget.grant(Share::Loading, PIECE_BYTES_LEAST.min(most), most);
        let mut buffer = vec![0; room.bytes() as usize];
        let mut at = 0;
        while at < self.bytes {
            let piece = &mut buffer[..room.bytes().min(self.bytes - at) as usize];
            let read = self.file.read_at(piece, at).map_err(Error::io("read", self.path))?;
            if read < piece.len() {
                let what = "the file ends too early";
                return Err(Error::corrupt(self.path, at + read as u64, what));
            }
            hasher.update(piece);
            each(piece, at)?;
            at += read as u64;
        }
        Ok(hasher.digest())
    }

    /// Copies it to a new file. Contents are durable then, the name is not. Returns the hash.
    pub(super) fn copy_to(
        self,
        vfs: &dyn Vfs,
        target: &Path,
        copied: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let to = vfs.open(target, Open::Create).map_err(Error::io("create", target))?;
        let mut written_back = 0;
        let hash = self.pieces(&mut |piece, at| {
            to.write_at(piece, at).map_err(Error::io("write", target))?;
            let end = at + piece.len() as u64;
            to.start_write_back(written_back, end - written_back)
                .map_err(Error::io("write", target))?;
            written_back = end;
            copied(piece.len() as u64);
            Ok(())
        })?;
        to.sync().map_err(Error::io("sync", target))?;
        Ok(hash)
    }
}

/// Writes a new small file. Contents are durable then, the name is not.
pub(super) fn write_small(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = vfs.open(path, Open::Create).map_err(Error::io("create", path))?;
    file.write_at(bytes, 0).map_err(Error::io("write", path))?;
    file.sync().map_err(Error::io("sync", path))
}
