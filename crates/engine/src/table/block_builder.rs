//! Collects entries and lays them out as one block.
//!
//! 1. What `encode` writes, `Block::open` accepts, and it has at most `estimate` bytes.
//! 2. Keys of a block share their longest common prefix, stored once.

use super::block::{
    ALL_PUTS, BLOCK_HEADER_BYTES, CONTINUES, SINGLE_VERSION, STAMPS_32, STAMPS_64, TAGGED, WIDE,
};
use crate::key::{Kind, Stamp, shared_len};

/// A block in the making.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    tagged: bool,
    keys: Vec<u8>,
    values: Vec<u8>,
    tags: Vec<u8>,
    stamps: Vec<u64>,
    /// Where the key and value of each entry end.
    ends: Vec<(u32, u32)>,
    /// Length of what all keys begin with.
    shared: usize,
    stamp_min: u64,
    stamp_max: u64,
    flags: u8,
}

/// Buffers larger than this are given back after the block that needed them.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl BlockBuilder {
    /// A builder of blocks for point reads, whose entries have tags, or of plain ones.
    pub(super) fn new(tagged: bool) -> BlockBuilder {
        BlockBuilder {
            tagged,
            keys: Vec::new(),
            values: Vec::new(),
            tags: Vec::new(),
            stamps: Vec::new(),
            ends: Vec::new(),
            shared: 0,
            stamp_min: u64::MAX,
            stamp_max: 0,
            flags: SINGLE_VERSION | ALL_PUTS,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn last_key(&self) -> &[u8] {
        let start = match self.ends.len() {
            0 | 1 => 0,
            count => self.ends[count - 2].0 as usize,
        };
        &self.keys[start..]
    }

    pub(super) fn add(&mut self, key: &[u8], tag: u8, stamp: Stamp, value: &[u8]) {
        if self.is_empty() {
            self.shared = key.len();
        } else {
            self.shared = self.shared_with(key);
            if self.last_key() == key {
                self.flags &= !SINGLE_VERSION;
            }
        }
        if stamp.kind() != Some(Kind::Put) {
            self.flags &= !ALL_PUTS;
        }
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
        self.ends.push((self.keys.len() as u32, self.values.len() as u32));
        self.stamps.push(stamp.0);
        self.stamp_min = self.stamp_min.min(stamp.0);
        self.stamp_max = self.stamp_max.max(stamp.0);
        if self.tagged {
            self.tags.push(tag);
        }
    }

    /// Length of the common prefix when `key` joins.
    fn shared_with(&self, key: &[u8]) -> usize {
        let common = &self.keys[..self.shared];
        if key.starts_with(common) { self.shared } else { shared_len(common, key) }
    }

    /// The most bytes that the block takes if this entry joins it.
    pub(super) fn estimate_with(&self, key: &[u8], stamp: Stamp, value: &[u8]) -> usize {
        let count = self.ends.len() + 1;
        let shared = if self.is_empty() { key.len() } else { self.shared_with(key) };
        let span = self.stamp_max.max(stamp.0) - self.stamp_min.min(stamp.0);
        let suffixes = self.keys.len() + key.len() - count * shared;
        let values = self.values.len() + value.len();
        layout_bytes(count, self.tagged, shared, suffixes, values, span)
    }

    /// The bytes that the block takes as it is.
    pub(super) fn estimate(&self) -> usize {
        let count = self.ends.len();
        let suffixes = self.keys.len() - count * self.shared;
        let span = self.stamp_max.saturating_sub(self.stamp_min);
        layout_bytes(count, self.tagged, self.shared, suffixes, self.values.len(), span)
    }

    /// Appends the payload to `out` and begins anew. `continues` says that the next block begins with
    /// the last key of this one.
    pub(super) fn encode(&mut self, continues: bool, out: &mut Vec<u8>) {
        assert!(!self.is_empty(), "a block has at least one entry");
        let (count, start) = (self.ends.len(), out.len());
        let span = self.stamp_max - self.stamp_min;
        let suffix_bytes = self.keys.len() - count * self.shared;
        let wide = is_wide(suffix_bytes, self.values.len());
        let stamp_bytes = stamp_width(span);
        let mut flags = self.flags;
        flags |= if continues { CONTINUES } else { 0 };
        flags |= if self.tagged { TAGGED } else { 0 };
        flags |= if wide { WIDE } else { 0 };
        flags |= match stamp_bytes {
            0 => 0,
            4 => STAMPS_32,
            _ => STAMPS_64,
        };
        out.reserve(self.estimate());
        out.extend_from_slice(&[flags, 0]);
        out.extend_from_slice(&(self.shared as u16).to_le_bytes());
        out.extend_from_slice(&(count as u32).to_le_bytes());
        out.extend_from_slice(&(suffix_bytes as u32).to_le_bytes());
        out.extend_from_slice(&(self.values.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.stamp_min.to_le_bytes());
        assert_eq!(out.len() - start, BLOCK_HEADER_BYTES);
        out.extend_from_slice(&self.tags);
        self.encode_offsets(wide, out);
        for stamp in &self.stamps {
            let delta = (stamp - self.stamp_min).to_le_bytes();
            out.extend_from_slice(&delta[..stamp_bytes]);
        }
        self.encode_keys(out);
        out.extend_from_slice(&self.values);
        self.clear();
    }

    fn encode_offsets(&self, wide: bool, out: &mut Vec<u8>) {
        let strip = self.shared as u32;
        let first = std::iter::once((0, 0));
        let ends = (1..).zip(&self.ends).map(|(nth, (key, value))| (key - nth * strip, *value));
        for (key, value) in first.chain(ends) {
            if wide {
                out.extend_from_slice(&key.to_le_bytes());
                out.extend_from_slice(&value.to_le_bytes());
            } else {
                out.extend_from_slice(&(key as u16).to_le_bytes());
                out.extend_from_slice(&(value as u16).to_le_bytes());
            }
        }
    }

    fn encode_keys(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys[..self.shared]);
        let mut start = 0;
        for (end, _) in &self.ends {
            out.extend_from_slice(&self.keys[start + self.shared..*end as usize]);
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
        (self.stamp_min, self.stamp_max) = (u64::MAX, 0);
        self.flags = SINGLE_VERSION | ALL_PUTS;
    }
}

fn is_wide(suffix_bytes: usize, value_bytes: usize) -> bool {
    suffix_bytes.max(value_bytes) > usize::from(u16::MAX)
}

fn stamp_width(span: u64) -> usize {
    match span {
        0 => 0,
        _ if u32::try_from(span).is_ok() => 4,
        _ => 8,
    }
}

fn layout_bytes(
    count: usize,
    tagged: bool,
    shared: usize,
    suffixes: usize,
    values: usize,
    span: u64,
) -> usize {
    let tags = if tagged { count } else { 0 };
    let offsets = (count + 1) * if is_wide(suffixes, values) { 8 } else { 4 };
    BLOCK_HEADER_BYTES + tags + offsets + count * stamp_width(span) + shared + suffixes + values
}
