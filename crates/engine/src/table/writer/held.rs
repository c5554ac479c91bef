//! Blocks of a table held back until there are enough of them to train a dictionary on, and what the
//! writer does with the dictionary.
//!
//! 1. Held blocks have no place yet: their checksums, which are bound to it, are made when they are
//!    released, in their order and before any other block.
//! 2. What is held and what training takes is counted, and neither is begun without room.

use super::TableWriter;
use crate::{
    error::Result,
    table::{Codec, format::FEATURE_ZSTD, zstd::Packer},
};

/// Payloads that a dictionary is trained on. Twice as many cost twice the time, and save next to nothing.
const HELD_BYTES_MAX: usize = 512 << 10;
/// What training takes beside them.
const TRAINING_BYTES: u64 = 10 << 20;
/// With less, there is no training: beside it and what is held, keys must have some room.
const PACKING_BYTES_LEAST: u64 = 12 << 20;
/// What is asked for before a table with a dictionary is begun.
pub(crate) const PACKING_BYTES: u64 = 14 << 20;

/// Payloads of blocks, one after the other.
#[derive(Debug)]
pub(super) struct Held {
    payloads: Vec<u8>,
    lengths: Vec<usize>,
    bytes_max: usize,
    /// Whether there is room to train.
    trains: bool,
}

impl Held {
    pub(super) fn new() -> Held {
        let (payloads, lengths) = (Vec::new(), Vec::new());
        Held { payloads, lengths, bytes_max: HELD_BYTES_MAX, trains: true }
    }

    /// Bounds what is held, and what it is held for, by what the caller has set aside.
    pub(super) fn stay_within(&mut self, bytes_max: u64) {
        self.trains = PACKING_BYTES_LEAST <= bytes_max;
        self.bytes_max = if self.trains { HELD_BYTES_MAX } else { 0 };
    }

    /// Memory that it takes and will take.
    pub(super) fn memory_bytes(&self) -> u64 {
        let training = if self.trains { TRAINING_BYTES } else { 0 };
        self.payloads.capacity() as u64 + training
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.payloads.len() as u64
    }

    fn push(&mut self, payload: &[u8]) {
        self.payloads.reserve_exact(self.bytes_max - self.payloads.len());
        self.payloads.extend_from_slice(payload);
        self.lengths.push(payload.len());
    }
}

impl TableWriter {
    /// Writes the block of the payload that was just laid out, or holds it back. Returns the bytes it
    /// takes in the file, which of a block held back `release` will tell.
    pub(super) fn write_or_hold(&mut self, values_at: usize) -> Result<u32> {
        if let Some(held) = &mut self.held {
            if held.payloads.len() + self.payload.len() <= held.bytes_max {
                held.push(&self.payload);
                return Ok(0);
            }
            self.release(false)?;
        }
        self.sink.block_of(&self.payload, values_at)
    }

    /// Writes what is held back, packed with the dictionary that it makes. What follows is packed so too;
    /// is there nothing, the dictionary must be worth its room by what is held alone.
    pub(super) fn release(&mut self, is_all: bool) -> Result<()> {
        let Some(Held { payloads, lengths, trains, .. }) = self.held.take() else { return Ok(()) };
        let packer = if trains {
            // It is stored twice. In a table that goes on that is soon made up for, but it must not
            // merely repeat what is held.
            Packer::trained(&payloads, &lengths, if is_all { 2 } else { 1 })
        } else {
            Packer::trained(&[], &[], 1)
        };
        self.sink.pack_with(packer);
        let mut rest = payloads.as_slice();
        for (nth, length) in lengths.into_iter().enumerate() {
            let (payload, behind) = rest.split_at(length);
            rest = behind;
            let stored = self.sink.block(payload)?;
            match self.separators.ends.get_mut(nth) {
                Some((_, bytes)) => *bytes = stored,
                // The separator of the last one is not known yet.
                None => self.pending = Some(stored),
            }
        }
        Ok(())
    }

    /// Writes the dictionary, behind the filter, if a block was packed with it.
    pub(super) fn write_dictionary(&mut self) -> Result<()> {
        let Some(packer) = self.sink.packer().filter(Packer::is_used) else { return Ok(()) };
        self.footer.features |= FEATURE_ZSTD;
        let dictionary = packer.into_dictionary();
        if !dictionary.is_empty() {
            self.sink.codec(Codec::Raw);
            self.sink.block(&dictionary)?;
            self.sink.codec(self.options.codec);
        }
        self.dictionary = dictionary;
        Ok(())
    }
}
