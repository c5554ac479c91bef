//! Writing an object into an extent of its own, piece by piece.
//!
//! 1. The extent gets its name when all of it is synced; dropped before, it is removed.
//! 2. Memory holds a few pieces, whatever the length.
//! 3. After a failed write or sync nothing more is written, and the extent is given up.

use std::{mem, sync::Arc};

use olivine_vfs::File;

use crate::error::{Error, Result};

use super::{
    extents::{ExtentHeader, Extents, HEADER_BYTES, Sort},
    place::Place,
    record::{Bonds, Draft, PIECE_BYTES, SUM_BYTES, VALUE_BYTES_MAX, encode_head, seal},
    room::{Purpose, Room},
};

/// This much is written at once.
const BATCH_BYTES: usize = 4 * (PIECE_BYTES + SUM_BYTES);

/// The system is asked to begin writing out after this much, so that the sync at the end has little left.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// An extent for one object that is being written.
#[derive(Debug)]
pub(super) struct SoleWriter {
    extents: Arc<Extents>,
    room: Arc<Room>,
    number: u32,
    file: Arc<dyn File>,
    bonds: Bonds,
    /// Where the first piece begins.
    start: u64,
    /// Bytes of the value so far.
    bytes: u64,
    /// What is not written yet: whole pieces with their checksums, and the begun one.
    batch: Vec<u8>,
    /// Where in the batch the begun piece starts.
    begun: usize,
    /// Where the batch goes.
    position: u64,
    written_back: u64,
    is_over: bool,
}

impl SoleWriter {
    /// Begins an extent for the object of `draft`, whose head needs as much room as that of the draft.
    pub(super) fn begin(
        extents: Arc<Extents>,
        room: Arc<Room>,
        draft: &Draft<'_>,
    ) -> Result<SoleWriter> {
        let number = extents.take_number()?;
        let file = extents.create(number).inspect_err(|error| told_full(&room, error))?;
        let bonds = extents.bonds(number);
        let start = HEADER_BYTES + encode_head(draft, 0, true).len() as u64;
        Ok(SoleWriter {
            extents,
            room,
            number,
            file,
            bonds,
            start,
            bytes: 0,
            batch: Vec::with_capacity(BATCH_BYTES),
            begun: 0,
            position: start,
            written_back: start,
            is_over: false,
        })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        if VALUE_BYTES_MAX < self.bytes.saturating_add(bytes.len() as u64) {
            return Err(Error::invalid("value", "is longer than 64 PiB"));
        }
        while !bytes.is_empty() {
            let room = PIECE_BYTES - (self.batch.len() - self.begun);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.batch.extend(now);
            self.bytes += now.len() as u64;
            bytes = later;
            if self.batch.len() - self.begun == PIECE_BYTES {
                self.end_piece();
                if BATCH_BYTES <= self.batch.len() {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn end_piece(&mut self) {
        let offset = self.position + self.begun as u64;
        let sum = self.batch.get(self.begun..).map(|piece| self.bonds.piece_sum(piece, offset));
        self.batch.extend(sum.unwrap_or_default().to_le_bytes());
        self.begun = self.batch.len();
    }

    fn flush(&mut self) -> Result<()> {
        let path = || self.extents.new_path(self.number);
        self.room.take(self.batch.len() as u64, Purpose::Store)?;
        let written = self.file.write_at(&self.batch, self.position);
        written
            .map_err(Error::io("write", path()))
            .inspect_err(|error| told_full(&self.room, error))?;
        self.position += self.batch.len() as u64;
        self.batch.clear();
        self.begun = 0;
        let begun = self.position - self.written_back;
        if WRITE_BACK_BYTES <= begun {
            // A hint: the sync at the end is what counts.
            self.file.start_write_back(self.written_back, begun).ok();
            self.written_back = self.position;
        }
        Ok(())
    }

    /// Makes the object durable under the extent's name. `draft` is that of the beginning, its digest aside.
    pub(super) fn finish(mut self, draft: &Draft<'_>) -> Result<Place> {
        if self.begun < self.batch.len() {
            self.end_piece();
        }
        self.flush()?;
        let Extents { uuid, salt, .. } = *self.extents;
        let (number, sort) = (self.number, Sort::Sole);
        let header = ExtentHeader { sort, uuid, salt, number, before: (0, 0) };
        let mut front = header.encode().to_vec();
        let mut head = encode_head(draft, self.bytes, true);
        seal(&mut head);
        self.bonds.bind_head(&mut head, HEADER_BYTES);
        front.extend(head);
        assert!(front.len() as u64 == self.start, "the head of {} bytes grew", self.start);
        let new = self.extents.new_path(number);
        self.file.write_at(&front, 0).map_err(Error::io("write", &new))?;
        self.file.sync().map_err(Error::io("sync", &new))?;
        self.extents.publish(number, sort)?;
        self.is_over = true;
        let mut state = self.extents.state();
        state.soles += 1;
        state.sole_bytes += self.position;
        Ok(Place { extent: number, offset: HEADER_BYTES, bytes: self.bytes })
    }
}

fn told_full(room: &Room, error: &Error) {
    if error.is_disk_full() {
        room.found_full();
    }
}

impl Drop for SoleWriter {
    fn drop(&mut self) {
        if !mem::replace(&mut self.is_over, true) {
            self.extents.give_up(self.number);
        }
    }
}
