//! Where a value that stands apart from the tree lies, and how much of a file a table points to.
//!
//! A pointer is the value of an entry of kind 6. It says everything a reader needs to find the record
//! and to know it for the right one. Byte layout: `docs/format/values.md`.
//!
//! 1. `decode(encode(pointer)) == pointer`; bytes that are no pointer give `None`.
//! 2. What a table uses is counted from the very entries that are written to it, so it is exact.

use std::collections::BTreeMap;

use crate::key::VALUE_STREAM_BYTES_MAX;

/// Bytes of an encoded pointer.
pub(crate) const POINTER_BYTES: usize = 40;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The number of the value file.
    pub(crate) file: u64,
    /// Where in it the record begins.
    pub(crate) offset: u64,
    /// Bytes of the record in the file.
    pub(crate) record_bytes: u64,
    /// Bytes of the value as it was put.
    pub(crate) value_bytes: u64,
    /// The checksum of the record's tail, which covers the checksums of the rest.
    pub(crate) checksum: u64,
}

impl Pointer {
    pub(crate) fn encode(&self) -> [u8; POINTER_BYTES] {
        let words = [self.file, self.offset, self.record_bytes, self.value_bytes, self.checksum];
        let mut bytes = [0; POINTER_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Pointer> {
        let bytes: &[u8; POINTER_BYTES] = bytes.try_into().ok()?;
        let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut word = || words.next().unwrap_or_default();
        let pointer = Pointer {
            file: word(),
            offset: word(),
            record_bytes: word(),
            value_bytes: word(),
            checksum: word(),
        };
        let ends = pointer.offset.checked_add(pointer.record_bytes).is_some();
        (ends && pointer.value_bytes <= VALUE_STREAM_BYTES_MAX).then_some(pointer)
    }
}

/// What a table uses of one value file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueUse {
    /// The number of the value file.
    pub(crate) file: u64,
    /// How many entries point into it.
    pub(crate) count: u64,
    /// The bytes of the records they point to.
    pub(crate) bytes: u64,
}

/// What a table uses of all value files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueUses {
    /// By file, ascending.
    pub(crate) files: Vec<ValueUse>,
    /// Bytes of the records that only entries point to which are not the newest of their key here: a
    /// snapshot kept them.
    pub(crate) hidden_bytes: u64,
}

impl ValueUses {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|used| used.bytes).sum()
    }

    pub(crate) fn count(&self) -> u64 {
        self.files.iter().map(|used| used.count).sum()
    }

    /// What is left of it without `part`, or `None` if that is no part of it.
    pub(crate) fn without(&self, part: &ValueUses) -> Option<ValueUses> {
        let mut left = self.clone();
        for gone in &part.files {
            let used = left.files.iter_mut().find(|used| used.file == gone.file)?;
            used.count = used.count.checked_sub(gone.count)?;
            used.bytes = used.bytes.checked_sub(gone.bytes)?;
        }
        left.hidden_bytes = left.hidden_bytes.checked_sub(part.hidden_bytes)?;
        let none_in_doubt = |used: &ValueUse| used.count != 0 || used.bytes == 0;
        let is_one = left.files.iter().all(none_in_doubt);
        left.files.retain(|used| used.count != 0);
        (is_one && left.hidden_bytes <= left.bytes()).then_some(left)
    }

    /// Whether an entry points into one of `files`.
    pub(crate) fn names(&self, mut is_one: impl FnMut(u64) -> bool) -> bool {
        self.files.iter().any(|used| is_one(used.file))
    }

    /// As a list of numbers: what is hidden, then file, count and bytes for each file.
    pub(crate) fn words(&self) -> Vec<u64> {
        let files = self.files.iter().flat_map(|used| [used.file, used.count, used.bytes]);
        std::iter::once(self.hidden_bytes).chain(files).collect()
    }

    /// What `words` came from, or `None`.
    pub(crate) fn from_words(words: &[u64]) -> Option<ValueUses> {
        let (hidden_bytes, rest) = words.split_first()?;
        let (files, rest) = rest.as_chunks::<3>();
        let files: Vec<_> = files
            .iter()
            .map(|[file, count, bytes]| ValueUse { file: *file, count: *count, bytes: *bytes })
            .collect();
        let ordered = files.windows(2).all(|pair| pair[0].file < pair[1].file);
        // Nothing that was counted has a sum beyond a word.
        let sum = |of: fn(&ValueUse) -> u64| {
            files.iter().try_fold(0u64, |sum, used| sum.checked_add(of(used)))
        };
        let countable = sum(|used| used.count).is_some() && sum(|used| used.bytes).is_some();
        (rest.is_empty() && ordered && countable)
            .then_some(ValueUses { files, hidden_bytes: *hidden_bytes })
    }
}

/// Counts what a table uses while it is written.
#[derive(Debug, Default)]
pub(crate) struct UseCount {
    files: BTreeMap<u64, (u64, u64)>,
    hidden_bytes: u64,
}

impl UseCount {
    /// Counts one entry; `is_hidden` when a newer one of its key stands in the same table.
    pub(crate) fn add(&mut self, pointer: &Pointer, is_hidden: bool) {
        let (count, bytes) = self.files.entry(pointer.file).or_default();
        *count += 1;
        *bytes += pointer.record_bytes;
        if is_hidden {
            self.hidden_bytes += pointer.record_bytes;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn uses(&self) -> ValueUses {
        let used = |(file, (count, bytes)): (&u64, &(u64, u64))| ValueUse {
            file: *file,
            count: *count,
            bytes: *bytes,
        };
        ValueUses { files: self.files.iter().map(used).collect(), hidden_bytes: self.hidden_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(file: u64, record_bytes: u64) -> Pointer {
        Pointer { file, offset: 32, record_bytes, value_bytes: 9, checksum: u64::MAX }
    }

    #[test]
    fn a_pointer_comes_back_as_it_went_in() {
        let pointer = pointer(7, 1 << 30);
        assert_eq!(Pointer::decode(&pointer.encode()), Some(pointer));
        assert_eq!(Pointer::decode(&pointer.encode()[1..]), None);
        assert_eq!(Pointer::decode(&[0xff; POINTER_BYTES]), None, "it ends beyond all files");
    }

    #[test]
    fn a_part_leaves_the_rest_and_what_is_no_part_leaves_nothing() {
        let uses = |words: &[u64]| ValueUses::from_words(words).unwrap();
        let whole = uses(&[5, 3, 2, 15, 9, 1, 70]);
        assert_eq!(whole.without(&uses(&[5, 3, 1, 5, 9, 1, 70])), Some(uses(&[0, 3, 1, 10])));
        assert_eq!(whole.without(&whole), Some(ValueUses::default()));
        assert_eq!(whole.without(&ValueUses::default()), Some(whole.clone()));
        for no_part in [
            &[6, 3, 2, 15][..],
            &[0, 3, 3, 15],
            &[0, 3, 2, 14],
            &[0, 3, 1, 16],
            &[0, 4, 1, 5],
            &[0, 3, 2, 15, 9, 1, 70],
        ] {
            assert_eq!(whole.without(&uses(no_part)), None, "{no_part:?}");
        }
    }

    #[test]
    fn uses_come_back_as_they_went_in() {
        let mut count = UseCount::default();
        count.add(&pointer(9, 10), false);
        count.add(&pointer(3, 5), true);
        count.add(&pointer(9, 20), false);
        let uses = count.uses();
        assert_eq!((uses.bytes(), uses.count(), uses.hidden_bytes), (35, 3, 5));
        assert_eq!(ValueUses::from_words(&uses.words()), Some(uses.clone()));
        assert_eq!(ValueUses::from_words(&uses.words()[1..]), None);
        assert_eq!(ValueUses::from_words(&[]), None);
        let beyond = [0, 1, 1, u64::MAX, 2, 1, 1];
        assert_eq!(ValueUses::from_words(&beyond), None, "their bytes have no sum");
    }
}
