//! A block that is carried from one table into another as it is stored, without being compressed anew.
//!
//! ```text
//!  file ─▶ window ─▶ buffer of the other file ─▶ sealed for its place there ─▶ on disk
//!            └ verified    └──────── and verified once more, by what it was sealed with before
//! ```
//!
//! 1. What is carried was verified where it was read, and what lies in the buffer is verified again after it
//!    was sealed anew: a byte that changes on the way is told by one of the two checksums.
//! 2. Keys ascend, each is there once and is a put, and its hash is the one that its tag is of.
//! 3. Only codecs are carried that need nothing of their table to be undone.

use std::borrow::Cow;

use super::{
    block::{Block, tag},
    format::Codec,
};
use crate::{digest::key_hash, key::Kind, key::Stamp};

/// What the head of a block tells of whether it may be carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockFacts {
    /// All are puts, each of another key, and the keys before and behind are others, too; the numbers are
    /// those of the stamps.
    pub(crate) is_plain: bool,
    /// Bytes of the block when it is not compressed.
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
    /// The least stamp, and whether all are the same.
    pub(crate) stamp_least: Stamp,
    pub(crate) has_one_stamp: bool,
}

/// A block that may be carried, and what its new table must know of it.
#[derive(Debug)]
pub(crate) struct Carried<'a> {
    /// As it stands in the file, trailer and all, and the seed of its place there.
    pub(super) stored: Cow<'a, [u8]>,
    pub(super) seed: u64,
    pub(super) block: Block,
    pub(super) was_cached: bool,
    /// The hash of every key.
    pub(super) hashes: Vec<u64>,
    pub(super) first_key: Vec<u8>,
    pub(super) last_key: Vec<u8>,
    pub(super) stamp_min: Stamp,
    pub(super) stamp_max: Stamp,
    pub(super) key_bytes: u64,
    pub(super) value_bytes: u64,
}

impl<'a> Carried<'a> {
    /// The block that was read out of `stored`, or what is wrong with it.
    pub(super) fn of(
        stored: Cow<'a, [u8]>,
        seed: u64,
        block: Block,
        was_cached: bool,
    ) -> Result<Carried<'a>, &'static str> {
        let mut carried = Carried {
            stored,
            seed,
            was_cached,
            hashes: Vec::with_capacity(block.view().count()),
            first_key: Vec::new(),
            last_key: Vec::new(),
            stamp_min: Stamp(u64::MAX),
            stamp_max: Stamp(0),
            key_bytes: 0,
            value_bytes: 0,
            block,
        };
        carried.look_through()?;
        Ok(carried)
    }

    /// Goes through the entries.
    fn look_through(&mut self) -> Result<(), &'static str> {
        let view = self.block.view();
        let prefix = view.prefix();
        let (mut before, mut key) = (None, prefix.to_vec());
        for at in 0..view.count() {
            let (suffix, stamp) = (view.suffix(at), view.stamp(at));
            if before.is_some_and(|before| suffix <= before) {
                return Err("the keys of a block are out of order");
            }
            if stamp.kind() != Some(Kind::Put) {
                return Err("a block of puts holds something else");
            }
            before = Some(suffix);
            key.truncate(prefix.len());
            key.extend_from_slice(suffix);
            let hash = key_hash(&key);
            if view.tag(at) != Some(tag(hash)) {
                return Err("an entry of a block has the tag of another key");
            }
            if at == 0 {
                self.first_key.clone_from(&key);
            }
            self.hashes.push(hash);
            self.stamp_min = self.stamp_min.min(stamp);
            self.stamp_max = self.stamp_max.max(stamp);
            self.key_bytes += key.len() as u64;
            self.value_bytes += view.value(at).len() as u64;
        }
        self.last_key = key;
        Ok(())
    }

    pub(crate) fn entries(&self) -> u64 {
        self.hashes.len() as u64
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Hands every key to `each`, in order.
    pub(super) fn each_key(&self, mut each: impl FnMut(&[u8])) {
        let view = self.block.view();
        let mut key = view.prefix().to_vec();
        for at in 0..view.count() {
            key.truncate(view.prefix().len());
            key.extend_from_slice(view.suffix(at));
            each(&key);
        }
    }

    /// Whether a table whose blocks are compressed by `codec` takes it: it has that codec, or did not
    /// become smaller by one.
    pub(super) fn suits(&self, codec: Codec) -> bool {
        self.stored.len().checked_sub(super::format::TRAILER_BYTES).is_some_and(|at| {
            let found = self.stored[at];
            let stands_alone = [Codec::Raw as u8, Codec::Lz4 as u8].contains(&found);
            stands_alone && (found == Codec::Raw as u8 || found == codec as u8)
        })
    }
}
