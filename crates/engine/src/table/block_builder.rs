//! Collects entries and lays them out as one block.
//!
//! 1. What `encode` writes, `Block::open` accepts, and it has exactly `bytes` bytes.
//! 2. Keys of a block share their longest common prefix, stored once.

use super::block::{
    ALL_PUTS, BLOCK_HEADER_BYTES, CONTINUES, EQUAL_KEYS, EQUAL_VALUES, SINGLE_VERSION, STAMPS_32,
    STAMPS_64, TAGGED, WIDE,
};
use crate::key::{Kind, Stamp, shared_len};

/// A block in the making.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    tagged: bool,
    sums: Sums,
    keys: Vec<u8>,
    values: Vec<u8>,
    tags: Vec<u8>,
    stamps: Vec<u64>,
    /// Where the key and value of each entry end.
    ends: Vec<(u32, u32)>,
}

/// What the layout of a block follows from.
#[derive(Clone, Copy, Debug)]
struct Sums {
    count: usize,
    /// Bytes of all keys, prefix included.
    key_bytes: usize,
    value_bytes: usize,
    /// Length of what all keys begin with.
    shared: usize,
    stamp_min: u64,
    stamp_max: u64,
    /// What is true of all entries so far.
    flags: u16,
}

const EMPTY: Sums = Sums {
    count: 0,
    key_bytes: 0,
    value_bytes: 0,
    shared: 0,
    stamp_min: u64::MAX,
    stamp_max: 0,
    flags: SINGLE_VERSION | ALL_PUTS | EQUAL_KEYS | EQUAL_VALUES,
};

/// Buffers larger than this are given back after the block that needed them.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl BlockBuilder {
    /// A builder of blocks for point reads, whose entries have tags, or of plain ones.
    pub(super) fn new(tagged: bool) -> BlockBuilder {
        BlockBuilder {
            tagged,
            sums: EMPTY,
            keys: Vec::new(),
            values: Vec::new(),
            tags: Vec::new(),
            stamps: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn add(&mut self, key: &[u8], tag: u8, stamp: Stamp, value: &[u8]) {
        self.sums = self.sums_with(key, stamp, value);
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
        self.ends.push((self.keys.len() as u32, self.values.len() as u32));
        self.stamps.push(stamp.0);
        if self.tagged {
            self.tags.push(tag);
        }
    }

    /// The bytes that the block takes as it is.
    pub(super) fn bytes(&self) -> usize {
        self.sums.bytes(self.tagged)
    }

    /// The bytes that it takes if this entry joins it.
    pub(super) fn bytes_with(&self, key: &[u8], stamp: Stamp, value: &[u8]) -> usize {
        self.sums_with(key, stamp, value).bytes(self.tagged)
    }

    fn sums_with(&self, key: &[u8], stamp: Stamp, value: &[u8]) -> Sums {
        let mut sums = self.sums;
        sums.count += 1;
        sums.key_bytes += key.len();
        sums.value_bytes += value.len();
        sums.stamp_min = sums.stamp_min.min(stamp.0);
        sums.stamp_max = sums.stamp_max.max(stamp.0);
        if stamp.kind() != Some(Kind::Put) {
            sums.flags &= !ALL_PUTS;
        }
        let Some((first_key, first_value)) = self.ends.first() else {
            sums.shared = key.len();
            return sums;
        };
        if *first_key as usize != key.len() {
            sums.flags &= !EQUAL_KEYS;
        }
        if *first_value as usize != value.len() {
            sums.flags &= !EQUAL_VALUES;
        }
        if self.last_key() == key {
            sums.flags &= !SINGLE_VERSION;
        }
        let common = &self.keys[..sums.shared];
        if !key.starts_with(common) {
            sums.shared = shared_len(common, key);
        }
        sums
    }

    fn last_key(&self) -> &[u8] {
        let start = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before].0);
        &self.keys[start as usize..]
    }

    /// Appends the payload to `out` and begins anew. `continues` says that the next block begins with
    /// the last key of this one. Returns where in `out` the values begin.
    pub(super) fn encode(&mut self, continues: bool, out: &mut Vec<u8>) -> usize {
        assert!(!self.is_empty(), "a block has at least one entry");
        let (sums, start) = (self.sums, out.len());
        let mut flags = sums.flags | sums.width_flags();
        flags |= if continues { CONTINUES } else { 0 };
        flags |= if self.tagged { TAGGED } else { 0 };
        out.reserve(self.bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&(sums.shared as u16).to_le_bytes());
        out.extend_from_slice(&(sums.count as u32).to_le_bytes());
        for (bytes, equal) in [(sums.suffix_bytes(), EQUAL_KEYS), (sums.value_bytes, EQUAL_VALUES)]
        {
            let bytes = if flags & equal == 0 { bytes } else { bytes / sums.count };
            out.extend_from_slice(&(bytes as u32).to_le_bytes());
        }
        out.extend_from_slice(&sums.stamp_min.to_le_bytes());
        out.extend_from_slice(&self.tags);
        if flags & EQUAL_KEYS == 0 {
            let strip = sums.shared as u32;
            let suffix_ends = (1..).zip(&self.ends).map(|(nth, (key, _))| key - nth * strip);
            encode_offsets(flags & WIDE != 0, suffix_ends, out);
        }
        if flags & EQUAL_VALUES == 0 {
            encode_offsets(flags & WIDE != 0, self.ends.iter().map(|(_, value)| *value), out);
        }
        for stamp in &self.stamps {
            let delta = (stamp - sums.stamp_min).to_le_bytes();
            out.extend_from_slice(&delta[..sums.stamp_width()]);
        }
        self.encode_keys(out);
        let values_at = out.len();
        out.extend_from_slice(&self.values);
        assert_eq!(out.len() - start, self.bytes(), "a block is as long as its sums say");
        self.clear();
        values_at
    }

    fn encode_keys(&self, out: &mut Vec<u8>) {
        let shared = self.sums.shared;
        out.extend_from_slice(&self.keys[..shared]);
        let mut start = 0;
        for (end, _) in &self.ends {
            out.extend_from_slice(&self.keys[start + shared..*end as usize]);
            start = *end as usize;
        }
    }

    fn clear(&mut self) {
        for buffer in [&mut self.keys, &mut self.values] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES_MAX);
        }
        self.tags.clear();
        self.stamps.clear();
        self.ends.clear();
        self.sums = EMPTY;
    }
}

/// Appends zero and the ends of all items.
fn encode_offsets(wide: bool, ends: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    for offset in std::iter::once(0).chain(ends) {
        if wide {
            out.extend_from_slice(&offset.to_le_bytes());
        } else {
            out.extend_from_slice(&(offset as u16).to_le_bytes());
        }
    }
}

impl Sums {
    fn suffix_bytes(&self) -> usize {
        self.key_bytes - self.count * self.shared
    }

    /// The flags that say how wide offsets and stamps are.
    fn width_flags(&self) -> u16 {
        let wide = usize::from(u16::MAX) < self.suffix_bytes().max(self.value_bytes);
        let stamps = match self.stamp_width() {
            0 => 0,
            4 => STAMPS_32,
            _ => STAMPS_64,
        };
        stamps | if wide { WIDE } else { 0 }
    }

    fn stamp_width(&self) -> usize {
        match self.stamp_max.saturating_sub(self.stamp_min) {
            0 => 0,
            span if u32::try_from(span).is_ok() => 4,
            _ => 8,
        }
    }

    fn bytes(&self, tagged: bool) -> usize {
        let offset_bytes = if self.width_flags() & WIDE == 0 { 2 } else { 4 };
        let offsets =
            u32::from(self.flags & EQUAL_KEYS == 0) + u32::from(self.flags & EQUAL_VALUES == 0);
        BLOCK_HEADER_BYTES
            + if tagged { self.count } else { 0 }
            + offsets as usize * (self.count + 1) * offset_bytes
            + self.count * self.stamp_width()
            + self.shared
            + self.suffix_bytes()
            + self.value_bytes
    }
}
