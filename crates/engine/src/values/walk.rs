//! A value file looked into, record by record, without any pointer into it.
//!
//! 1. Records are walked from the footer back to the header, since only their ends have a fixed length.
//! 2. Every byte is verified; a record whose tail does not verify ends the walk, since nobody knows
//!    where the one before it ends.
//! 3. Memory is a chunk, and a hash for each record.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{File, Open, Vfs};

use super::format::{
    CHUNK_BYTES, FOOTER_BYTES, FORMAT, Footer, HEADER_BYTES, MAGIC, TAIL_END_BYTES, Tail,
    chunk_hash, header,
};
use crate::{
    error::{Error, Result},
    table::{Codec, FileSeed, mix, u64_at},
};

/// What a record says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordFacts {
    pub(crate) offset: u64,
    pub(crate) record_bytes: u64,
    pub(crate) value_bytes: u64,
    pub(crate) compressed: bool,
    pub(crate) key: Vec<u8>,
}

/// A value file being looked into.
#[derive(Debug)]
pub(crate) struct ValuesWalk {
    file: Arc<dyn File>,
    path: PathBuf,
    pub(crate) store: u64,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl ValuesWalk {
    /// Opens the file of this store and number.
    pub(crate) fn open(vfs: &dyn Vfs, path: &Path, store: u64, number: u64) -> Result<ValuesWalk> {
        let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
        let bytes = file.len().map_err(Error::io("get the length of", path))?;
        Ok(ValuesWalk { file, path: path.into(), store, number, bytes })
    }

    /// The store and the number that the file itself names, in its header or else in its footer.
    pub(crate) fn identity(vfs: &dyn Vfs, path: &Path) -> Result<Option<(u64, u64)>> {
        let walk = ValuesWalk::open(vfs, path, 0, 0)?;
        let mut first = [0; HEADER_BYTES as usize];
        if walk.read(&mut first, 0).is_ok() && first.starts_with(&MAGIC) {
            return Ok(Some((u64_at(&first, 16), u64_at(&first, 24))));
        }
        let mut last = [0; FOOTER_BYTES];
        let at = walk.bytes.saturating_sub(FOOTER_BYTES as u64);
        let ends = walk.read(&mut last, at).is_ok() && last.ends_with(&MAGIC);
        Ok(ends.then(|| (u64_at(&last, 0), u64_at(&last, 8))))
    }

    /// The number of records and the checksum of the footer, if it verifies.
    pub(crate) fn footer(&self) -> Result<(u64, u64)> {
        self.read_footer().map(|(footer, checksum)| (footer.records, checksum))
    }

    fn read_footer(&self) -> Result<(Footer, u64)> {
        let Some(at) = self.bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(self.corrupt(0, "it is too short for a value file"));
        };
        let mut bytes = [0; FOOTER_BYTES];
        self.read(&mut bytes, at)?;
        if let Some(found) = Footer::other_format(&bytes, self.store, self.number, self.bytes) {
            return Err(Error::Format { path: self.path.clone(), found, newest: FORMAT });
        }
        Footer::open(&bytes, self.store, self.number, self.bytes)
            .map_err(|what| self.corrupt(at, what))
    }

    /// Verifies header, footer and every record. Tells `visit` of each record, the last one first, and
    /// `damage` of what is wrong.
    pub(crate) fn verify(&self, visit: &mut dyn FnMut(RecordFacts), damage: &mut dyn FnMut(Error)) {
        let mut first = [0; HEADER_BYTES as usize];
        match self.read(&mut first, 0) {
            Ok(()) if first == header(self.store, self.number) => {}
            Ok(()) => damage(self.corrupt(0, "the header is not the one of this value file")),
            Err(error) => damage(error),
        }
        let footer = match self.read_footer() {
            Ok((footer, _)) => footer,
            Err(error) => return damage(error),
        };
        let mut end = self.bytes - FOOTER_BYTES as u64;
        let mut hashes = Vec::new();
        while HEADER_BYTES < end {
            let (facts, tail, hash) = match self.tail_before(end) {
                Ok(found) => found,
                Err(error) => return damage(error),
            };
            if let Err(error) = self.verify_chunks(facts.offset, &tail) {
                damage(error);
            }
            end = facts.offset;
            hashes.push(hash);
            visit(facts);
        }
        let tails = hashes.iter().rev().fold(0, |all, hash| mix(all ^ hash));
        if footer.records != hashes.len() as u64 || footer.tails != tails {
            let at = self.bytes - FOOTER_BYTES as u64;
            damage(self.corrupt(at, "its records are not those that the footer knows"));
        }
    }

    /// The record that ends at `end`.
    fn tail_before(&self, end: u64) -> Result<(RecordFacts, Tail, u64)> {
        let cut = |what| self.corrupt(end.saturating_sub(TAIL_END_BYTES as u64), what);
        let room = end - HEADER_BYTES;
        let mut last = [0; TAIL_END_BYTES];
        let at = end.checked_sub(TAIL_END_BYTES as u64).filter(|at| HEADER_BYTES <= *at);
        self.read(&mut last, at.ok_or_else(|| cut("the first record is cut"))?)?;
        let lost = || cut("a record's tail does not say where it begins");
        let (tail_bytes, stored_bytes) = Tail::lengths(&last).ok_or_else(lost)?;
        let record_bytes = stored_bytes.checked_add(tail_bytes).filter(|bytes| *bytes <= room);
        let record_bytes = record_bytes.ok_or_else(lost)?;
        let mut bytes = vec![0; tail_bytes as usize];
        self.read(&mut bytes, end - tail_bytes)?;
        let offset = end - record_bytes;
        let seed = FileSeed::new(self.store, self.number);
        let (tail, hash) = Tail::open(&bytes, seed, offset, record_bytes).map_err(cut)?;
        let facts = RecordFacts {
            offset,
            record_bytes,
            value_bytes: tail.value_bytes,
            compressed: tail.codec != Codec::Raw,
            key: tail.key.clone(),
        };
        Ok((facts, tail, hash))
    }

    fn verify_chunks(&self, offset: u64, tail: &Tail) -> Result<()> {
        let seed = FileSeed::new(self.store, self.number);
        let mut chunk = Vec::new();
        let mut at = offset;
        let end = offset + tail.stored_bytes;
        for hash in &tail.hashes {
            chunk.resize((end - at).min(CHUNK_BYTES as u64) as usize, 0);
            self.read(&mut chunk, at)?;
            if chunk_hash(seed, at, &chunk) != *hash {
                return Err(self.corrupt(at, "the checksum of a value does not match"));
            }
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        let read = self.file.read_at(buffer, at).map_err(Error::io("read", &self.path))?;
        if read < buffer.len() {
            return Err(self.corrupt(at, "it ends too early"));
        }
        Ok(())
    }

    fn corrupt(&self, offset: u64, what: &'static str) -> Error {
        Error::corrupt(&self.path, offset, what)
    }
}
