//! The dictionary of a table that is damaged: without it no block says anything that was packed with it.
//!
//! 1. It is believed only after its checksum matched, in either of its two places.
//! 2. Whether it is the one that the blocks were packed with, those blocks tell by what they come to.

use std::collections::BTreeMap;

use super::{DICTIONARY, Examiner, HEADER_BYTES, TRAILER_BYTES, Unpacker, WINDOW_BYTES};
use crate::table::format::{DICTIONARY_BYTES_MAX, DICTIONARY_MAGIC};

impl Examiner {
    /// Takes the copy among the properties where the dictionary itself cannot be read.
    pub(super) fn take_copy(&mut self, properties: &BTreeMap<String, Vec<u8>>) {
        if self.no_dictionary.is_some()
            && let Some(unpacker) = properties.get(DICTIONARY).and_then(|copy| Unpacker::new(copy))
        {
            self.source.unpack_with(Some(unpacker));
        }
    }

    /// Looks for a dictionary where the footer does not tell whether there is one: for what begins as one
    /// does, and verifies as a block.
    pub(super) fn find_dictionary(&mut self) {
        let mut unpacker = Unpacker::new(&[]);
        let mut at = HEADER_BYTES;
        while let Some(found) = self.magic_from(at) {
            if let Some(dictionary) = self.dictionary_at(found) {
                unpacker = Some(dictionary);
                break;
            }
            at = found + 1;
        }
        self.source.unpack_with(unpacker);
    }

    /// Where the first four bytes of a dictionary stand next, from `at` on.
    fn magic_from(&self, mut at: u64) -> Option<u64> {
        let mut bytes = Vec::new();
        loop {
            let wanted = WINDOW_BYTES.min(self.bytes.checked_sub(at)?) as usize;
            if wanted < DICTIONARY_MAGIC.len() {
                return None;
            }
            bytes.resize(wanted, 0);
            if self.source.read(&mut bytes, at).is_ok()
                && let Some(place) =
                    bytes.windows(DICTIONARY_MAGIC.len()).position(|four| four == DICTIONARY_MAGIC)
            {
                return Some(at + place as u64);
            }
            at += (wanted - DICTIONARY_MAGIC.len() + 1) as u64;
        }
    }

    /// The dictionary that begins at `at`, if one does.
    fn dictionary_at(&self, at: u64) -> Option<Unpacker> {
        let end = self.bytes.min(at + (DICTIONARY_BYTES_MAX + TRAILER_BYTES) as u64);
        let stored = self.block_at(at, end).ok()??;
        let payload = self.source.payload(at, stored as usize).ok()?;
        Unpacker::new(&payload)
    }
}
