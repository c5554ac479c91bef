//! A decoded block: the payload as it is on disk, checked once, searched in place.
//!
//! 1. `Block::open` checks every offset a block contains; the other functions rely on it and do not
//!    fail, whatever bytes the block was made from.
//! 2. A search in a block whose keys are out of order ends, with some answer.
//! 3. A `Slice` keeps its block alive.

use std::{
    cmp::Ordering,
    hint::black_box,
    ops::{Deref, Range},
    sync::Arc,
};

use super::format::{u16_at, u32_at, u64_at};
use crate::{
    digest::{Digest, DigestSum},
    key::{KEY_BYTES_MAX, Stamp, prefix_word},
};

pub(super) const BLOCK_HEADER_BYTES: usize = 24;

/// Offsets of the block are 32 bits wide instead of 16.
pub(super) const WIDE: u16 = 1;
/// The last key of the block has more versions in the next block.
pub(super) const CONTINUES: u16 = 2;
/// Every key of the block is there once.
pub(super) const SINGLE_VERSION: u16 = 4;
/// Every entry of the block is a put.
pub(super) const ALL_PUTS: u16 = 8;
/// The block has a tag for each entry.
pub(super) const TAGGED: u16 = 16;
/// Stamps are differences of 32 bits to the header's.
pub(super) const STAMPS_32: u16 = 32;
/// Stamps are differences of 64 bits to the header's. With neither, all are the header's.
pub(super) const STAMPS_64: u16 = 64;
/// All keys of the block are as long as the header says, so they need no offsets.
pub(super) const EQUAL_KEYS: u16 = 128;
/// The same of values.
pub(super) const EQUAL_VALUES: u16 = 256;
const KNOWN: u16 = 511;

/// Header, tags, offsets, stamps and keys of a block of about 4 KiB with small keys.
const TOUCHED_BYTES: usize = 704;

/// A decoded block. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Block(Arc<[u8]>);

/// Where the parts of a block are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    flags: u16,
    pub(super) count: usize,
    stamps_at: usize,
    stamp_base: u64,
    prefix_at: usize,
    keys: Items,
    values: Items,
}

/// Where the keys or the values of a block are.
#[derive(Clone, Copy, Debug)]
struct Items {
    /// Where their offsets are, one more than there are items; not there when all are equally long.
    offsets_at: usize,
    at: usize,
    /// Bytes of all of them, or of each one when all are equally long.
    bytes: usize,
}

/// A block being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    bytes: &'a [u8],
    shape: Shape,
}

/// What a block says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The newest entry that may be seen, by its position.
    Found(usize),
    /// The block has none, and neither have others.
    Absent,
    /// The block has none; the next one has more versions of the key.
    Continues,
}

/// Bytes within a block.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    block: Block,
    start: u32,
    len: u32,
}

impl Slice {
    /// Without its first `bytes`, which it has.
    pub(crate) fn skip(mut self, bytes: usize) -> Slice {
        let bytes = bytes as u32;
        assert!(bytes <= self.len, "a slice of {} has no {bytes} bytes to skip", self.len);
        self.start += bytes;
        self.len -= bytes;
        self
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block.0[self.start as usize..][..self.len as usize]
    }
}

impl Block {
    /// Takes a payload for a block, or says what is wrong with it.
    pub(super) fn open(payload: Arc<[u8]>) -> Result<Block, &'static str> {
        let shape = Shape::check(&payload)?;
        View { bytes: &payload, shape }.check()?;
        Ok(Block(payload))
    }

    /// The block of a payload that a builder just made.
    pub(super) fn made(payload: &[u8]) -> Block {
        Block(payload.into())
    }

    /// Has the processor fetch what a search will read, all at once instead of one after the other.
    /// Worth a sixth of a get whose block is in memory but not in the processor's caches.
    pub(crate) fn touch(&self) {
        let ahead = &self.0[..self.0.len().min(TOUCHED_BYTES)];
        black_box(ahead.iter().step_by(64).fold(0, |all, byte| all ^ byte));
    }

    /// Whether somebody else holds the block too.
    pub(crate) fn is_held(&self) -> bool {
        1 < Arc::strong_count(&self.0)
    }

    /// Memory that the block takes, with what the allocator and the counts add.
    pub(crate) fn charge(&self) -> u64 {
        self.0.len() as u64 + 32
    }

    pub(super) fn view(&self) -> View<'_> {
        View { bytes: &self.0, shape: Shape::of(&self.0) }
    }

    /// The view again, for one who kept its shape.
    pub(super) fn view_with(&self, shape: Shape) -> View<'_> {
        View { bytes: &self.0, shape }
    }

    /// The value of entry `at`.
    pub(super) fn value(&self, view: View<'_>, at: usize) -> Slice {
        let range = view.value_range(at);
        Slice { block: self.clone(), start: range.start as u32, len: range.len() as u32 }
    }
}

impl Shape {
    /// The shape that the header of a checked block gives.
    fn of(bytes: &[u8]) -> Shape {
        let flags = u16_at(bytes, 0);
        let prefix_len = usize::from(u16_at(bytes, 2));
        let count = u32_at(bytes, 4) as usize;
        let key_bytes = u32_at(bytes, 8) as usize;
        let value_bytes = u32_at(bytes, 12) as usize;
        let tags = if flags & TAGGED == 0 { 0 } else { count };
        let offsets = (count + 1) * if flags & WIDE == 0 { 2 } else { 4 };
        let key_offsets_at = BLOCK_HEADER_BYTES + tags;
        let value_offsets_at = key_offsets_at + if flags & EQUAL_KEYS == 0 { offsets } else { 0 };
        let stamps_at = value_offsets_at + if flags & EQUAL_VALUES == 0 { offsets } else { 0 };
        let prefix_at = stamps_at + count * stamp_bytes(flags);
        let keys_at = prefix_at + prefix_len;
        let values_at = keys_at + key_bytes * if flags & EQUAL_KEYS == 0 { 1 } else { count };
        Shape {
            flags,
            count,
            stamps_at,
            stamp_base: u64_at(bytes, 16),
            prefix_at,
            keys: Items { offsets_at: key_offsets_at, at: keys_at, bytes: key_bytes },
            values: Items { offsets_at: value_offsets_at, at: values_at, bytes: value_bytes },
        }
    }

    /// The shape, if all parts fit the payload exactly.
    fn check(bytes: &[u8]) -> Result<Shape, &'static str> {
        if bytes.len() < BLOCK_HEADER_BYTES {
            return Err("a block has no header");
        }
        let flags = u16_at(bytes, 0);
        if flags & !KNOWN != 0 {
            return Err("a block has unknown flags");
        }
        if flags & STAMPS_32 != 0 && flags & STAMPS_64 != 0 {
            return Err("a block has stamps of two widths");
        }
        let count = u32_at(bytes, 4) as usize;
        if count == 0 || count > bytes.len() {
            return Err("a block has an impossible number of entries");
        }
        let shape = Shape::of(bytes);
        let values = shape.values.bytes * if flags & EQUAL_VALUES == 0 { 1 } else { count };
        if shape.values.at + values != bytes.len() {
            return Err("the parts of a block do not add up to its length");
        }
        Ok(shape)
    }
}

fn stamp_bytes(flags: u16) -> usize {
    match (flags & STAMPS_32 != 0, flags & STAMPS_64 != 0) {
        (false, false) => 0,
        (true, _) => 4,
        (false, true) => 8,
    }
}

impl<'a> View<'a> {
    /// Whether every offset lies in order and within its part.
    fn check(self) -> Result<(), &'static str> {
        let Shape { flags, keys, values, prefix_at, .. } = self.shape;
        let suffix_max = KEY_BYTES_MAX.wrapping_sub(keys.at - prefix_at);
        let fits = match flags & EQUAL_KEYS {
            0 => self.check_offsets(keys, suffix_max),
            _ => keys.bytes <= suffix_max,
        };
        if fits && (flags & EQUAL_VALUES != 0 || self.check_offsets(values, usize::MAX)) {
            return Ok(());
        }
        Err("the offsets of a block are out of order")
    }

    /// Whether items begin and end where their part does, and none is longer than `longest`.
    fn check_offsets(self, items: Items, longest: usize) -> bool {
        let mut last = self.offset(items, 0);
        let mut fits = last == 0;
        for at in 1..=self.shape.count {
            let next = self.offset(items, at);
            fits &= last <= next && next.wrapping_sub(last) <= longest;
            last = next;
        }
        fits && last == items.bytes
    }

    pub(super) fn shape(self) -> Shape {
        self.shape
    }

    pub(super) fn count(self) -> usize {
        self.shape.count
    }

    /// Whether all entries are puts, each of another key, and the next block begins with yet another.
    pub(super) fn is_plain(self) -> bool {
        let asked = ALL_PUTS | SINGLE_VERSION | CONTINUES | TAGGED;
        self.shape.flags & asked == ALL_PUTS | SINGLE_VERSION | TAGGED
    }

    /// The stamp that the others are told from, and whether all are that one.
    pub(super) fn stamps(self) -> (Stamp, bool) {
        let is_one = self.shape.flags & (STAMPS_32 | STAMPS_64) == 0;
        (Stamp(self.shape.stamp_base), is_one)
    }

    /// Bytes of the longest value.
    pub(super) fn value_bytes_most(self) -> usize {
        if self.shape.flags & EQUAL_VALUES != 0 {
            return self.shape.values.bytes;
        }
        (0..self.count()).map(|at| self.value_range(at).len()).max().unwrap_or(0)
    }

    /// Bytes of the payload.
    pub(super) fn bytes(self) -> usize {
        self.bytes.len()
    }

    /// The tag of entry `at`, where entries have tags.
    pub(super) fn tag(self, at: usize) -> Option<u8> {
        self.is_tagged().then(|| self.bytes[BLOCK_HEADER_BYTES + at])
    }

    /// Whether the next block begins with the last key of this one.
    pub(super) fn continues(self) -> bool {
        self.shape.flags & CONTINUES != 0
    }

    /// Whether the entries have tags, as those of data blocks do.
    pub(super) fn is_tagged(self) -> bool {
        self.shape.flags & TAGGED != 0
    }

    fn offset(self, items: Items, at: usize) -> usize {
        if self.shape.flags & WIDE == 0 {
            usize::from(u16_at(self.bytes, items.offsets_at + 2 * at))
        } else {
            u32_at(self.bytes, items.offsets_at + 4 * at) as usize
        }
    }

    /// Where item `at` is, when `equal` says whether all are equally long.
    fn range(self, items: Items, equal: u16, at: usize) -> Range<usize> {
        if self.shape.flags & equal != 0 {
            let start = items.at + at * items.bytes;
            return start..start + items.bytes;
        }
        items.at + self.offset(items, at)..items.at + self.offset(items, at + 1)
    }

    /// What all keys of the block begin with.
    pub(super) fn prefix(self) -> &'a [u8] {
        &self.bytes[self.shape.prefix_at..self.shape.keys.at]
    }

    /// The key of entry `at` without the prefix.
    pub(super) fn suffix(self, at: usize) -> &'a [u8] {
        &self.bytes[self.range(self.shape.keys, EQUAL_KEYS, at)]
    }

    pub(super) fn stamp(self, at: usize) -> Stamp {
        let flags = self.shape.flags;
        let delta = if flags & STAMPS_32 != 0 {
            u64::from(u32_at(self.bytes, self.shape.stamps_at + 4 * at))
        } else if flags & STAMPS_64 != 0 {
            u64_at(self.bytes, self.shape.stamps_at + 8 * at)
        } else {
            0
        };
        Stamp(self.shape.stamp_base.wrapping_add(delta))
    }

    fn value_range(self, at: usize) -> Range<usize> {
        self.range(self.shape.values, EQUAL_VALUES, at)
    }

    pub(super) fn value(self, at: usize) -> &'a [u8] {
        &self.bytes[self.value_range(at)]
    }

    /// The newest entry of `key` that is not newer than `newest`.
    pub(super) fn get(self, key: &[u8], hash: u64, newest: Stamp) -> Lookup {
        let Some(suffix) = key.strip_prefix(self.prefix()) else { return Lookup::Absent };
        let first = match self.shape.flags & TAGGED {
            0 => Some(self.lower_bound(key, Stamp(u64::MAX))),
            _ => self.find_tagged(suffix, tag(hash)),
        };
        let Some(first) = first.filter(|at| *at < self.count() && self.suffix(*at) == suffix)
        else {
            return Lookup::Absent;
        };
        if self.stamp(first) <= newest {
            return Lookup::Found(first);
        }
        let at = self.lower_bound(key, newest);
        if at < self.count() {
            let same = self.suffix(at) == suffix && self.stamp(at) <= newest;
            return if same { Lookup::Found(at) } else { Lookup::Absent };
        }
        if self.shape.flags & CONTINUES != 0 { Lookup::Continues } else { Lookup::Absent }
    }

    /// The first entry with this tag and key.
    fn find_tagged(self, suffix: &[u8], tag: u8) -> Option<usize> {
        let tags = &self.bytes[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + self.count()];
        let (words, rest) = tags.as_chunks::<8>();
        for (nth, word) in words.iter().enumerate() {
            let mut equal = equal_bytes(u64::from_le_bytes(*word), tag);
            while equal != 0 {
                let at = 8 * nth + equal.trailing_zeros() as usize / 8;
                if self.suffix(at) == suffix {
                    return Some(at);
                }
                equal &= equal - 1;
            }
        }
        let start = 8 * words.len();
        (0..rest.len())
            .filter(|n| rest[*n] == tag)
            .map(|n| start + n)
            .find(|at| self.suffix(*at) == suffix)
    }

    /// How many entries have keys not greater than `key`.
    pub(super) fn count_up_to(self, key: &[u8]) -> usize {
        let first = self.lower_bound(key, Stamp(u64::MAX));
        let mut at = first;
        if first < self.count() && key.strip_prefix(self.prefix()) == Some(self.suffix(first)) {
            at = self.lower_bound(key, Stamp(0));
            // A stamp of zero is not before itself.
            at += usize::from(
                at < self.count() && key.strip_prefix(self.prefix()) == Some(self.suffix(at)),
            );
        }
        at
    }

    /// The first entry that does not come before `key` with `stamp`, or the number of entries.
    pub(super) fn lower_bound(self, key: &[u8], stamp: Stamp) -> usize {
        let prefix = self.prefix();
        let Some(suffix) = key.strip_prefix(prefix) else {
            return if key < prefix { 0 } else { self.count() };
        };
        let word = prefix_word(suffix);
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            let other = self.suffix(middle);
            let order = prefix_word(other).cmp(&word).then_with(|| other.cmp(suffix));
            if order == Ordering::Less || order == Ordering::Equal && self.stamp(middle) > stamp {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// What the entries of the payload of a block come to.
pub(super) fn digest_sum(payload: &[u8]) -> DigestSum {
    let view = View { bytes: payload, shape: Shape::of(payload) };
    let (mut sum, mut key) = (DigestSum::default(), view.prefix().to_vec());
    for at in 0..view.count() {
        key.truncate(view.prefix().len());
        key.extend_from_slice(view.suffix(at));
        sum.add(Digest::of(&key, view.value(at)), view.stamp(at));
    }
    sum
}

/// The bits of a key's hash that are kept beside its entry.
pub(super) fn tag(hash: u64) -> u8 {
    hash as u8
}

/// The top bit of every byte of `word` that equals `byte`.
fn equal_bytes(word: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let difference = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    !((difference & LOW).wrapping_add(LOW) | difference | LOW)
}

/// A block that holds one number and so many bytes more.
#[cfg(test)]
pub(crate) fn test_block(number: u64, bytes: usize) -> Block {
    let mut builder = super::block_builder::BlockBuilder::new(false);
    builder.add(&number.to_be_bytes(), 0, Stamp(1), &vec![0; bytes]);
    let mut payload = Vec::new();
    builder.encode(false, &mut payload);
    Block::open(payload.into()).expect("what a builder writes is a block")
}

#[cfg(test)]
impl Block {
    /// Whether this is the `test_block` of `number`.
    pub(crate) fn holds(&self, number: u64) -> bool {
        self.view().prefix() == number.to_be_bytes()
    }
}
