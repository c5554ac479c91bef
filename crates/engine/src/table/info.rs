//! What is known of a table beside its file: what the manifest holds of it, and where it belongs.
//!
//! 1. A table that is cut shows a part of its file; counts and keys are then those of the part, and `whole`
//!    has those of the file.

use crate::{key::SeqNo, options::KeyspaceOptions, pointer::ValueUses, ranges::RangeDeletes};

/// Where a table belongs, written into it so that a lost manifest can be made again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableOrigin {
    pub(crate) keyspace: u32,
    pub(crate) name: String,
    /// The level it is written for; it may go further down later.
    pub(crate) level: u8,
    /// Every write to the keyspace up to here was in tables when this one was named.
    pub(crate) flushed: SeqNo,
    /// What the keyspace was made with.
    pub(crate) options: KeyspaceOptions,
    /// The tables whose entries it takes over.
    pub(crate) inputs: Vec<u64>,
}

/// What the names of a keyspace's options begin with among the properties.
pub(crate) const OPTION: &str = "option_";

/// What there is to know of a table without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableInfo {
    pub(crate) id: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Entries that are deletes.
    pub(crate) tombstones: u64,
    /// What its entries, those that are visible, point to in value files.
    pub(crate) values: ValueUses,
    pub(crate) first_key: Vec<u8>,
    pub(crate) last_key: Vec<u8>,
    pub(crate) seqno_min: SeqNo,
    pub(crate) seqno_max: SeqNo,
    /// The checksum of the footer, which covers the checksums of all blocks.
    pub(crate) checksum: u64,
    /// Deletions of ranges that its file lists. First and last key take them in.
    pub(crate) range_deletes: u64,
    /// `last_key` is where a deleted range ends: the first key that is not the table's.
    pub(crate) last_is_excluded: bool,
    /// What the file holds, where the table is cut to a part of it; then entries, tombstones, keys and
    /// what is pointed to are those of the part.
    pub(crate) whole: Option<Box<Part>>,
}

/// A part of a table, to which it is cut; or all that the file holds of one that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    /// The first key that shows, or a smaller one below which nothing shows.
    pub(crate) first_key: Vec<u8>,
    /// The last key that shows, or a greater one above which nothing shows.
    pub(crate) last_key: Vec<u8>,
    /// `last_key` does not show itself.
    pub(crate) last_is_excluded: bool,
    /// What the entries point to in value files.
    pub(crate) values: ValueUses,
}

impl TableInfo {
    /// Whether every key of the table is below `key`.
    pub(crate) fn ends_before(&self, key: &[u8]) -> bool {
        self.last_key.as_slice() < key || (self.last_is_excluded && self.last_key == key)
    }

    /// Takes deleted ranges into first and last key.
    pub(crate) fn widen(&mut self, list: &RangeDeletes) {
        let Some((start, end)) = list.extent() else { return };
        if start < self.first_key.as_slice() {
            self.first_key = start.to_vec();
        }
        if self.last_key.as_slice() < end {
            self.last_key = end.to_vec();
            self.last_is_excluded = true;
        }
    }

    /// Whether `key` lies between the table's first and last.
    pub(crate) fn spans(&self, key: &[u8]) -> bool {
        self.first_key.as_slice() <= key && !self.ends_before(key)
    }

    /// The number that all its entries have, if it is one; so it is where the table was numbered later,
    /// and the file does not know it.
    pub(crate) fn one_number(&self) -> Option<SeqNo> {
        (self.seqno_min == self.seqno_max).then_some(self.seqno_max)
    }

    /// Whether only a part of the file is visible.
    pub(crate) fn is_cut(&self) -> bool {
        self.whole.is_some()
    }

    /// What is visible.
    fn visible(&self) -> Part {
        Part {
            entries: self.entries,
            tombstones: self.tombstones,
            first_key: self.first_key.clone(),
            last_key: self.last_key.clone(),
            last_is_excluded: self.last_is_excluded,
            values: self.values.clone(),
        }
    }

    /// This table as the file is, not cut.
    pub(crate) fn uncut(&self) -> TableInfo {
        let mut info = self.clone();
        if let Some(whole) = info.whole.take() {
            info.show(*whole);
        }
        info
    }

    fn show(&mut self, part: Part) {
        self.entries = part.entries;
        self.tombstones = part.tombstones;
        self.first_key = part.first_key;
        self.last_key = part.last_key;
        self.last_is_excluded = part.last_is_excluded;
        self.values = part.values;
    }

    /// This table cut to `part`.
    pub(crate) fn cut_to(&self, part: &Part) -> TableInfo {
        let mut info = self.uncut();
        info.whole = Some(Box::new(info.visible()));
        info.show(part.clone());
        info
    }

    /// The part that is visible, where the table is cut.
    pub(crate) fn part(&self) -> Option<Part> {
        self.is_cut().then(|| self.visible())
    }

    /// What is visible of the deleted ranges that the file lists, where the table is cut.
    pub(crate) fn clip(&self, list: &RangeDeletes) -> Option<RangeDeletes> {
        let mut behind = self.last_key.clone();
        if !self.last_is_excluded {
            behind.push(0);
        }
        self.is_cut().then(|| list.clipped(Some(&self.first_key), Some(&behind)))
    }

    /// About how many bytes of the file are visible.
    pub(crate) fn visible_bytes(&self) -> u64 {
        match &self.whole {
            None => self.bytes,
            Some(whole) => {
                let share = self.entries as f64 / whole.entries.max(1) as f64;
                (self.bytes as f64 * share) as u64
            }
        }
    }
}
