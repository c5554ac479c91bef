//! What becomes of the versions of a key when tables are merged or a memtable is flushed.
//!
//! Snapshots and the watermark cut the sequence numbers into stretches. No reader tells two versions of
//! one stretch apart, so of each stretch only what its newest reader sees must stay:
//!
//! ```text
//!   numbers   1 ... 5 | 6 ....... 9 | 10 ...... 20 | 21 ...
//!   stretch      0    |      1      |       2      |  newest: everything stays
//!   boundaries        5             9             20 (the watermark)
//! ```
//!
//! 1. A reader at any boundary gets the same answer for every key, before and after.
//! 2. What is newer than the last boundary always stays as it is.
//! 3. Of a stretch stays at most one version that is no operand, and operands only above it where an
//!    operator could not fold or join them.
//! 4. A version of stretch 0 is final: no reader can ask for an older one. Only such a one is given
//!    up for being deleted or expired with nothing below, or because a filter does not want it.
//! 5. What is not handed on is counted (`tally.rs`), and what is handed on unchanged keeps its digest.

use super::tally::{Dropped, Reason};
use crate::{
    digest::Digest,
    error::Result,
    key::{Kind, SeqNo, Stamp, split_expiry},
    operator::{CompactionFilter, MergeOperator},
    planted::{Bug, planted},
    ranges::{Piece, RangeDeletes},
};

/// What is known of a keyspace when its versions are folded.
#[derive(Clone, Debug)]
pub(crate) struct Rules<'a> {
    /// Ascending, never empty: the snapshots, and last the watermark.
    pub(crate) boundaries: Vec<SeqNo>,
    /// The deletions of ranges among what is merged.
    pub(crate) ranges: RangeDeletes,
    pub(crate) operator: Option<&'a dyn MergeOperator>,
    pub(crate) filter: Option<&'a dyn CompactionFilter>,
    /// What expires up to here may go.
    pub(crate) expiry_mark: u64,
}

impl Rules<'_> {
    /// The number of boundaries below `seqno`: versions of one stretch hide each other.
    fn stretch_of(&self, seqno: SeqNo) -> usize {
        if self.boundaries.last().is_some_and(|last| *last < seqno) {
            return self.boundaries.len();
        }
        self.boundaries.partition_point(|boundary| *boundary < seqno)
    }

    /// Whether no reader can ask for anything older than `seqno`.
    pub(crate) fn is_final(&self, seqno: SeqNo) -> bool {
        self.stretch_of(seqno) == 0
    }

    fn is_newest(&self, stretch: usize) -> bool {
        stretch == self.boundaries.len()
    }

    /// Whether a deletion of a range hides the version from every reader that might see it.
    fn is_covered(&self, key: &[u8], seqno: SeqNo, stretch: usize) -> bool {
        let hides = |deleted: &SeqNo| seqno < *deleted && self.stretch_of(*deleted) == stretch;
        !self.is_newest(stretch) && self.ranges.seqnos_of(key).iter().any(hides)
    }

    /// The deletions that must stay: of each stretch the newest, of the newest all, and of stretch 0
    /// none where there is `nothing_below`.
    pub(crate) fn kept_ranges(&self, nothing_below: impl Fn(&Piece) -> bool) -> RangeDeletes {
        self.ranges.thinned(|piece| {
            let mut kept: Vec<SeqNo> = Vec::new();
            let mut last = None;
            for seqno in piece.seqnos.iter().copied() {
                let stretch = self.stretch_of(seqno);
                if self.is_newest(stretch) || last != Some(stretch) {
                    kept.push(seqno);
                }
                last = Some(stretch);
            }
            if kept.last().is_some_and(|oldest| self.is_final(*oldest)) && nothing_below(piece) {
                kept.pop();
            }
            kept
        })
    }
}

/// Where folded versions go.
pub(crate) trait FoldSink {
    /// Takes a version; `is_first` says that it is the first of its key, and `digest` what key and
    /// value came to when they were known to be right.
    fn add(
        &mut self,
        key: &[u8],
        is_first: bool,
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
    ) -> Result<()>;

    /// The value that a pointer leads to; `None` when it cannot be had, and then nothing is done to it.
    fn value_apart(&mut self, pointer: &[u8]) -> Option<Vec<u8>>;

    /// Whether no version of `key` can stand below what is written.
    fn nothing_below(&self, key: &[u8]) -> bool;

    /// Whether nothing at all stands below what is written: then sequence numbers of final versions
    /// are not needed.
    fn is_bottom(&self) -> bool;
}

/// Told versions in order, hands on what must stay.
#[derive(Debug)]
pub(crate) struct Fold<'a> {
    rules: Rules<'a>,
    key: Option<Vec<u8>>,
    /// Whether some version of the key was handed on.
    has_first: bool,
    /// The stretch whose answer is known: what follows in it is hidden.
    closed: Option<usize>,
    /// Operands of one stretch that wait for what is before them, newest first.
    operands: Vec<Operand>,
    dropped: Dropped,
}

/// A version that others are folded into, or that stays.
type Base<'v> = (Kind, &'v [u8], Digest);

/// An operand, and what it came to when it was read.
type Operand = (Stamp, Vec<u8>, Digest);

impl<'a> Fold<'a> {
    pub(crate) fn new(rules: Rules<'a>) -> Fold<'a> {
        assert!(!rules.boundaries.is_empty(), "the watermark is a boundary");
        let dropped = Dropped::default();
        Fold { rules, key: None, has_first: false, closed: None, operands: Vec::new(), dropped }
    }

    pub(crate) fn rules(&self) -> &Rules<'a> {
        &self.rules
    }

    /// Whether `key` is another than that of the last version taken.
    pub(crate) fn is_new(&self, key: &[u8]) -> bool {
        self.key.as_deref() != Some(key)
    }

    /// Versions not handed on so far, of the keys that were ended.
    pub(crate) fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    /// Takes the next version: keys ascend, the versions of a key come newest first.
    pub(crate) fn push(
        &mut self,
        key: &[u8],
        stamp: Stamp,
        kind: Kind,
        value: &[u8],
        digest: Digest,
        sink: &mut impl FoldSink,
    ) -> Result<()> {
        if self.key.as_deref() != Some(key) {
            self.end(sink)?;
            let known = self.key.get_or_insert_default();
            known.clear();
            known.extend_from_slice(key);
        }
        let stretch = self.rules.stretch_of(stamp.seqno());
        if self.rules.is_newest(stretch) {
            return self.hand_on(stamp, value, digest, sink);
        }
        if self.closed == Some(stretch) {
            self.dropped.count(Reason::Hidden, 1);
            return Ok(());
        }
        let covered =
            !self.rules.ranges.is_empty() && self.rules.is_covered(key, stamp.seqno(), stretch);
        if !covered && kind == Kind::Merge {
            if self.operands_stretch().is_some_and(|waiting| waiting != stretch) {
                self.hand_on_operands(sink)?;
            }
            self.operands.push((stamp, value.to_vec(), digest));
            return Ok(());
        }
        let expired = self.is_expired(kind, value);
        let base = (!covered && !expired && kind != Kind::Delete).then_some((kind, value, digest));
        let why_not = if covered { Reason::RangeDeleted } else { Reason::Folded };
        if self.operands_stretch() == Some(stretch) && self.fold_operands(base, sink)? {
            self.dropped.count(why_not, 1);
            self.closed = Some(stretch);
            return Ok(());
        }
        self.hand_on_operands(sink)?;
        if covered {
            self.dropped.count(why_not, 1);
            return Ok(());
        }
        self.closed = Some(stretch);
        let why_none = if expired { Reason::Expired } else { Reason::Deletion };
        self.settle(stamp.seqno(), base.ok_or((why_none, digest)), sink)
    }

    /// Ends the key being worked on.
    pub(crate) fn end(&mut self, sink: &mut impl FoldSink) -> Result<()> {
        if self.operands_stretch() == Some(0) {
            let key = self.key.as_deref().expect("operands belong to a key");
            if sink.nothing_below(key) {
                self.fold_operands(None, sink)?;
            }
        }
        self.hand_on_operands(sink)?;
        self.closed = None;
        self.has_first = false;
        Ok(())
    }

    fn operands_stretch(&self) -> Option<usize> {
        self.operands.first().map(|(stamp, ..)| self.rules.stretch_of(stamp.seqno()))
    }

    /// Whether a version says no more than a deletion, once the expiry mark is known.
    fn is_expired(&self, kind: Kind, value: &[u8]) -> bool {
        kind == Kind::PutExpiring
            && split_expiry(value).is_some_and(|(expiry, _)| expiry <= self.rules.expiry_mark)
    }

    /// Folds the operands that wait into `base` and hands on the value. False, and nothing done, when
    /// the operator cannot.
    fn fold_operands(&mut self, base: Option<Base<'_>>, sink: &mut impl FoldSink) -> Result<bool> {
        let (Some(operator), Some(key)) = (self.rules.operator, &self.key) else {
            return Ok(false);
        };
        let apart;
        let base = match base {
            // What it comes to changes when the value expires.
            Some((Kind::PutExpiring, ..)) => return Ok(false),
            Some((Kind::Pointer, pointer, _)) => {
                let Some(value) = sink.value_apart(pointer) else { return Ok(false) };
                apart = value;
                Some(apart.as_slice())
            }
            Some((_, value, _)) => Some(value),
            None => None,
        };
        let operands: Vec<&[u8]> =
            self.operands.iter().rev().map(|(_, operand, _)| operand.as_slice()).collect();
        let Ok(folded) = operator.fold(key, base, &operands) else { return Ok(false) };
        let (newest, _, digest) = &self.operands[0];
        let (seqno, digest) = (newest.seqno(), digest.with_value(&folded));
        // One of them becomes the value.
        self.dropped.count(Reason::Folded, self.operands.len() - 1);
        self.operands.clear();
        self.settle(seqno, Ok((Kind::Put, &folded, digest)), sink)?;
        Ok(true)
    }

    /// Hands on what a stretch comes to: a value, or that there is none, and why.
    fn settle(
        &mut self,
        seqno: SeqNo,
        base: Result<Base<'_>, (Reason, Digest)>,
        sink: &mut impl FoldSink,
    ) -> Result<()> {
        let key = self.key.as_deref().expect("there is a key");
        let is_final = self.rules.is_final(seqno);
        let (why_none, digest) = match base {
            Ok((kind, value, digest)) => {
                if !(is_final && !self.has_first && self.is_unwanted(key, kind, value, sink)) {
                    let seqno = if is_final && sink.is_bottom() { 0 } else { seqno };
                    return self.hand_on(Stamp::new(seqno, kind), value, digest, sink);
                }
                (Reason::Filtered, digest)
            }
            Err(none) => none,
        };
        if is_final && (sink.nothing_below(key) || planted(Bug::TombstoneDroppedEarly)) {
            self.dropped.count(why_none, 1);
            return Ok(());
        }
        self.hand_on(Stamp::new(seqno, Kind::Delete), &[], digest.with_value(&[]), sink)
    }

    fn is_unwanted(&self, key: &[u8], kind: Kind, value: &[u8], sink: &mut impl FoldSink) -> bool {
        let Some(filter) = self.rules.filter else { return false };
        let value = match kind {
            Kind::Pointer => {
                return sink.value_apart(value).is_some_and(|value| !filter.wants(key, &value));
            }
            Kind::PutExpiring => split_expiry(value).map_or(value, |(_, value)| value),
            _ => value,
        };
        !filter.wants(key, value)
    }

    /// Hands on the operands that wait, as one where they can be joined.
    fn hand_on_operands(&mut self, sink: &mut impl FoldSink) -> Result<()> {
        let operands = std::mem::take(&mut self.operands);
        if let (Some(operator), Some(key), [(newest, _, digest), _, ..]) =
            (self.rules.operator, &self.key, operands.as_slice())
        {
            let oldest_first: Vec<&[u8]> =
                operands.iter().rev().map(|(_, operand, _)| operand.as_slice()).collect();
            if let Some(joined) = operator.join(key, &oldest_first) {
                self.dropped.count(Reason::Folded, operands.len() - 1);
                return self.hand_on(*newest, &joined, digest.with_value(&joined), sink);
            }
        }
        operands
            .iter()
            .try_for_each(|(stamp, operand, digest)| self.hand_on(*stamp, operand, *digest, sink))
    }

    fn hand_on(
        &mut self,
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
        sink: &mut impl FoldSink,
    ) -> Result<()> {
        let key = self.key.as_deref().expect("there is a key");
        sink.add(key, !self.has_first, stamp, value, digest)?;
        self.has_first = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
