//! The index of a table in memory: which block a key is in, by a search over flat words.
//!
//! The separator of a block is at least its last key and less than the first key of the next block,
//! or equal to both when a key's versions go on there.
//!
//! 1. Separators ascend, and blocks lie one after another from the header of the file on.
//! 2. A word is the start of a separator after the prefix that all of them share; where words tie the
//!    separators themselves are compared.

use std::cmp::Ordering;

use super::format::HEADER_BYTES;
use crate::key::{prefix_word, shared_len};

/// The index of one table.
#[derive(Debug)]
pub(super) struct Index {
    /// What all separators begin with.
    prefix: Box<[u8]>,
    words: Box<[u64]>,
    /// Where the stored bytes of each block end.
    block_ends: Box<[u64]>,
    /// Where the rest of each separator ends in `keys`.
    key_ends: Box<[u64]>,
    keys: Box<[u8]>,
}

/// An index being loaded.
#[derive(Debug)]
pub(super) struct IndexBuilder {
    block_ends: Vec<u64>,
    key_ends: Vec<u64>,
    keys: Vec<u8>,
}

impl IndexBuilder {
    pub(super) fn with_capacity(blocks: usize, separator_bytes: usize) -> IndexBuilder {
        IndexBuilder {
            block_ends: Vec::with_capacity(blocks),
            key_ends: Vec::with_capacity(blocks),
            keys: Vec::with_capacity(separator_bytes),
        }
    }

    /// Where the next block begins.
    pub(super) fn end(&self) -> u64 {
        self.block_ends.last().copied().unwrap_or(HEADER_BYTES)
    }

    /// Adds the next block, or says why it cannot be the next.
    pub(super) fn push(&mut self, separator: &[u8], stored_bytes: u32) -> Result<(), &'static str> {
        if self.block_ends.len() == self.block_ends.capacity()
            || separator.len() > self.keys.capacity() - self.keys.len()
        {
            return Err("the index has more than the footer says");
        }
        let start = match self.key_ends.len() {
            0 | 1 => 0,
            count => self.key_ends[count - 2] as usize,
        };
        if self.keys[start..] > *separator {
            return Err("the separators of the index are out of order");
        }
        self.block_ends.push(self.end() + u64::from(stored_bytes));
        self.keys.extend_from_slice(separator);
        self.key_ends.push(self.keys.len() as u64);
        Ok(())
    }

    /// Strips what all separators share.
    pub(super) fn finish(mut self) -> Index {
        let start = match self.key_ends.len() {
            0 | 1 => 0,
            count => self.key_ends[count - 2] as usize,
        };
        let first = &self.keys[..self.key_ends.first().map_or(0, |end| *end as usize)];
        let shared = shared_len(first, &self.keys[start..]);
        let prefix = Box::from(&first[..shared]);
        let mut words = Vec::with_capacity(self.key_ends.len());
        let (mut from, mut to) = (0, 0);
        for end in &mut self.key_ends {
            let separator = from + shared..*end as usize;
            from = separator.end;
            words.push(prefix_word(&self.keys[separator.clone()]));
            let len = separator.len();
            self.keys.copy_within(separator, to);
            to += len;
            *end = to as u64;
        }
        self.keys.truncate(to);
        Index {
            prefix,
            words: words.into(),
            block_ends: self.block_ends.into(),
            key_ends: self.key_ends.into(),
            keys: self.keys.into(),
        }
    }
}

impl Index {
    /// Memory that an index of so many blocks and bytes takes at most.
    pub(super) fn bytes_max(blocks: u64, separator_bytes: u64) -> u64 {
        24 * blocks + 2 * separator_bytes
    }

    /// Memory that this one takes.
    pub(super) fn bytes(&self) -> u64 {
        self.words.len() as u64 * 24 + (self.keys.len() + self.prefix.len()) as u64
    }

    /// The number of blocks.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// Where block `at` is stored and how many bytes it has there.
    pub(super) fn place(&self, at: usize) -> (u64, usize) {
        let start = if at == 0 { HEADER_BYTES } else { self.block_ends[at - 1] };
        (start, (self.block_ends[at] - start) as usize)
    }

    /// The first block whose separator is not less than `key`, or the number of blocks: the only
    /// block that can have `key`, but for more versions of it in those after.
    pub(super) fn find(&self, key: &[u8]) -> usize {
        let Some(rest) = key.strip_prefix(&*self.prefix) else {
            return if *key < *self.prefix { 0 } else { self.len() };
        };
        let word = prefix_word(rest);
        let at = self.words.partition_point(|other| *other < word);
        if self.words.get(at) != Some(&word) {
            return at;
        }
        let ties = self.words[at..].partition_point(|other| *other == word);
        let (mut low, mut high) = (at, at + ties);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.separator(middle).cmp(rest) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether separator `at`, and with it all keys of that block, are less than `key`.
    pub(super) fn ends_before(&self, at: usize, key: &[u8]) -> bool {
        match key.strip_prefix(&*self.prefix) {
            Some(rest) => self.separator(at) < rest,
            None => *self.prefix < *key,
        }
    }

    /// Separator `at` without the prefix.
    fn separator(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.key_ends[at - 1] as usize };
        &self.keys[start..self.key_ends[at] as usize]
    }
}

/// The shortest key that is at least `last` and less than `next`; `last` itself if they are equal.
pub(super) fn separator<'a>(last: &'a [u8], next: &'a [u8]) -> &'a [u8] {
    let shared = shared_len(last, next);
    if shared < last.len() && shared + 1 < next.len() { &next[..=shared] } else { last }
}
