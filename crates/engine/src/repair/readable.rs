//! The readable part of a table, in order, and where the gaps in it are.
//!
//! 1. Every entry of every block that verifies is returned, in the order of entries.
//! 2. Every key that an unreadable block may hold lies in a gap.
//! 3. Of a table that is cut, what does not show is left out.

use std::path::{Path, PathBuf};

use olivine_vfs::Vfs;

use crate::{
    error::{Error, Result},
    key::{KEY_BYTES_MAX, Kind, SeqNo, Stamp},
    ranges::RangeDeletes,
    table::{
        Entries, Examiner, FEATURE_NUMBERED_LATER, FooterFacts, Layout, Part, Piece, TableInfo,
    },
    values::ValuesExaminer,
};

/// Keys that an unreadable part of a table may hold; `None` is no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: Option<Vec<u8>>,
    pub(super) to: Option<Vec<u8>>,
    pub(super) why: String,
}

/// A table being read as far as it can be read.
pub(super) struct Readable {
    pub(super) table: u64,
    pub(super) path: PathBuf,
    examiner: Examiner,
    pub(super) layout: Layout,
    /// What is left of the pieces, the next one last.
    pieces: Vec<Piece>,
    block: Option<Entries>,
    at: usize,
    pub(super) key: Vec<u8>,
    pub(super) stamp: Stamp,
    started: bool,
    /// The separator of the block before: no key behind it is less.
    reached: Option<Vec<u8>>,
    /// A gap whose end is not known yet.
    open: Option<Gap>,
    /// Whether nothing tells where its blocks end.
    is_searched: bool,
    /// The last key there is, where that is known.
    last_key: Option<Vec<u8>>,
    pub(super) gaps: Vec<Gap>,
    /// The part of a cut table that shows.
    pub(super) part: Option<Part>,
    /// The number that all its entries have, where the manifest tells that it is one.
    pub(super) number: Option<SeqNo>,
    /// What is wrong with the parts beside the blocks.
    pub(super) damages: Vec<Error>,
}

impl Readable {
    /// Opens a table; `known` is what the manifest says of it.
    pub(super) fn open(
        vfs: &dyn Vfs,
        path: &Path,
        store: u64,
        table: u64,
        known: Option<&TableInfo>,
    ) -> Result<Readable> {
        let mut examiner = Examiner::open(vfs, path, store, table)?;
        let mut damages = Vec::new();
        let mut layout = examiner.layout(&mut |error| damages.push(error));
        let mut pieces = std::mem::take(&mut layout.pieces);
        pieces.reverse();
        let is_searched = examiner.footer().is_err();
        // Where ranges are deleted, the manifest's last key may be where one of them ends.
        let last_key = known.filter(|info| info.range_deletes == 0);
        let last_key = last_key.map(|info| info.uncut().last_key);
        let part = known.and_then(TableInfo::part);
        let number = known.and_then(TableInfo::one_number);
        Ok(Readable {
            table,
            path: path.to_path_buf(),
            examiner,
            pieces,
            is_searched,
            layout,
            block: None,
            at: 0,
            key: Vec::new(),
            stamp: Stamp(0),
            started: false,
            reached: None,
            open: None,
            last_key,
            part,
            number,
            gaps: Vec::new(),
            damages,
        })
    }

    /// The value of the entry that is stood on.
    pub(super) fn value(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| block.value(self.at - 1))
    }

    /// Looks for properties where the footer does not tell where they are.
    pub(super) fn find_properties(&mut self) {
        if let [Piece::Unknown { offset, end }] = self.pieces.as_slice() {
            let (mut offset, end) = (*offset, *end);
            while let Ok((Some((at, stored)), _)) =
                self.examiner.find_block(offset, end, &mut self.layout)
            {
                offset = at + u64::from(stored);
            }
        }
    }

    /// Whether nothing tells which writes its entries are: it was numbered later, or may have been, and
    /// nothing of the manifest says how.
    pub(super) fn is_unnumbered(&self) -> bool {
        let later = |facts: FooterFacts| facts.features & FEATURE_NUMBERED_LATER != 0;
        self.number.is_none() && self.examiner.footer().map_or(true, later)
    }

    /// The number of all its entries, if it was numbered later: what the manifest says, or else a lesser
    /// one that the file says.
    pub(super) fn later_number(&self) -> Option<SeqNo> {
        let facts = self.examiner.footer().ok()?;
        let later = facts.features & FEATURE_NUMBERED_LATER != 0;
        later.then_some(self.number.unwrap_or(facts.seqno_max))
    }

    /// The first key, and the first one behind all, deleted ranges taken in, where properties tell.
    pub(super) fn extent(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let properties = self.layout.properties.as_ref()?;
        let (first, mut behind) =
            (properties.get("first_key")?.clone(), properties.get("last_key")?.clone());
        if !properties.contains_key("last_is_excluded") {
            behind.push(0);
        }
        Some((first, behind))
    }

    /// The stamp of an entry whose block says `stamp`.
    fn numbered(&self, stamp: Stamp) -> Stamp {
        match (self.number, stamp.kind()) {
            (Some(number), Some(kind)) => Stamp::new(number, kind),
            _ => stamp,
        }
    }

    /// The list of deleted ranges, as far as it shows.
    pub(super) fn range_deletes(&self) -> RangeDeletes {
        let list = match self.number {
            Some(number) => self.layout.range_deletes.numbered(number),
            None => self.layout.range_deletes.clone(),
        };
        let Some(part) = &self.part else { return list };
        let mut behind = part.last_key.clone();
        if !part.last_is_excluded {
            // The first key behind the last one.
            behind.push(0);
        }
        let end = (behind.len() <= KEY_BYTES_MAX).then_some(behind.as_slice());
        list.clipped(Some(&part.first_key), end)
    }

    /// The gaps, as far as they lie where the table shows.
    pub(super) fn take_gaps(&mut self) -> Vec<Gap> {
        let gaps = std::mem::take(&mut self.gaps);
        let Some(part) = &self.part else { return gaps };
        let clipped = |gap: Gap| {
            let from =
                gap.from.map_or_else(|| part.first_key.clone(), |f| f.max(part.first_key.clone()));
            let to =
                gap.to.map_or_else(|| part.last_key.clone(), |to| to.min(part.last_key.clone()));
            (from <= to).then_some(Gap { from: Some(from), to: Some(to), why: gap.why })
        };
        gaps.into_iter().filter_map(clipped).collect()
    }

    /// Whether the entry that is stood on shows.
    fn shows(&self) -> bool {
        self.part.as_ref().is_none_or(|part| {
            let ended =
                part.last_key < self.key || part.last_is_excluded && part.last_key == self.key;
            part.first_key <= self.key && !ended
        })
    }

    /// Goes to the next entry that shows and whose value can be read too; false when there is none.
    pub(super) fn advance_with(&mut self, values: &ValuesExaminer) -> bool {
        while self.advance() {
            if !self.shows() {
                continue;
            }
            if self.stamp.kind() != Some(Kind::Pointer) {
                return true;
            }
            let Err(error) = values.verify(self.value()) else { return true };
            let (from, to) = (Some(self.key.clone()), Some(self.key.clone()));
            self.gaps.push(Gap { from, to, why: error.to_string() });
        }
        false
    }

    /// Goes to the next entry that is readable; false when there is none.
    pub(super) fn advance(&mut self) -> bool {
        loop {
            if let Some(block) = &self.block
                && self.at < block.count()
            {
                let mut key = Vec::new();
                block.copy_key(self.at, &mut key);
                let stamp = self.numbered(block.stamp(self.at));
                self.at += 1;
                let follows =
                    !self.started || self.key < key || self.key == key && stamp < self.stamp;
                if !follows || stamp.kind().is_none() {
                    let why = "an entry is out of place".to_owned();
                    let (from, to) = (Some(key.clone()), Some(key));
                    self.gaps.push(Gap { from, to, why });
                    continue;
                }
                (self.key, self.stamp, self.started) = (key, stamp, true);
                if let Some(mut gap) = self.open.take() {
                    gap.to = least(gap.to, Some(self.key.clone()));
                    self.gaps.push(gap);
                }
                return true;
            }
            self.block = None;
            let Some(piece) = self.pieces.pop() else {
                self.end();
                return false;
            };
            self.piece(piece);
        }
    }

    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Block { offset, stored, separator } => {
                match self.examiner.block(offset, stored) {
                    Ok(block) => (self.block, self.at) = (Some(block), 0),
                    Err(error) => self.gap(&error, Some(separator.to_vec())),
                }
                self.reached = Some(separator.into());
            }
            Piece::Unknown { offset, end } => {
                let found = self.examiner.find_block(offset, end, &mut self.layout);
                let what = "the index does not tell where its blocks are";
                let error = Error::corrupt(&self.path, offset, what);
                match found {
                    Ok((Some((at, stored)), passed)) => {
                        if passed {
                            self.gap(&error, None);
                        }
                        let offset = at + u64::from(stored);
                        self.pieces.push(Piece::Unknown { offset, end });
                        if let Ok(block) = self.examiner.block(at, stored) {
                            (self.block, self.at) = (Some(block), 0);
                        }
                    }
                    Ok((None, passed)) => {
                        if passed {
                            self.gap(&error, None);
                        }
                    }
                    Err(error) => self.gap(&error, None),
                }
            }
        }
    }

    /// Notes a part that cannot be read, which has no key behind `to`.
    fn gap(&mut self, error: &Error, to: Option<Vec<u8>>) {
        let from = match (self.started.then(|| self.key.clone()), self.reached.clone()) {
            (Some(key), Some(reached)) => Some(key.max(reached)),
            (key, reached) => key.or(reached),
        };
        match &mut self.open {
            Some(gap) => gap.to = to,
            None => self.open = Some(Gap { from, to, why: error.to_string() }),
        }
    }

    /// Ends the last gap. One behind the last key of all is none.
    fn end(&mut self) {
        if let Some(properties) = &self.layout.properties
            && self.layout.range_deletes.is_empty()
            && let Some(last) = properties.get("last_key")
        {
            self.last_key.get_or_insert_with(|| last.clone());
        }
        if self.is_searched && self.open.is_none() {
            self.gap(&Error::corrupt(&self.path, 0, "the end of the table is missing"), None);
        }
        let Some(mut gap) = self.open.take() else { return };
        if gap.to.is_none() && self.started && self.last_key.as_ref() == Some(&self.key) {
            return;
        }
        gap.to = least(gap.to, self.last_key.clone());
        self.gaps.push(gap);
    }
}

/// The lesser of two bounds, where `None` is no bound.
fn least(a: Option<Vec<u8>>, b: Option<Vec<u8>>) -> Option<Vec<u8>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
