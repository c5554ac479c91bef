//! Which versions of a key some reader may still ask for.
//!
//! 1. Between two neighbouring boundaries (snapshots, and the watermark) readers see only the newest
//!    version; the others of that stretch go.
//! 2. What is newer than the last boundary always stays.
//! 3. A version is final when no reader can ask for one older than it: it is the newest at or below
//!    the oldest boundary.

use crate::key::{SeqNo, Stamp};

/// Told the entries of a merge in order, says which to keep.
pub(crate) struct VersionKeeper {
    /// Ascending, never empty.
    boundaries: Vec<SeqNo>,
    key: Option<Vec<u8>>,
    /// The stretch of the last version kept of `key`.
    stretch: usize,
}

impl VersionKeeper {
    pub(crate) fn new(boundaries: Vec<SeqNo>) -> VersionKeeper {
        assert!(!boundaries.is_empty(), "the watermark is a boundary");
        VersionKeeper { boundaries, key: None, stretch: 0 }
    }

    /// Whether this version is needed. Versions of a key come newest first.
    pub(crate) fn keeps(&mut self, key: &[u8], stamp: Stamp) -> bool {
        let stretch = self.stretch_of(stamp.seqno());
        match &mut self.key {
            Some(known) if known.as_slice() == key => {
                let newest_stretch = self.boundaries.len();
                let kept = stretch < self.stretch || stretch == newest_stretch;
                if kept {
                    self.stretch = stretch;
                }
                kept
            }
            known => {
                let known = known.get_or_insert_default();
                known.clear();
                known.extend_from_slice(key);
                self.stretch = stretch;
                true
            }
        }
    }

    /// Whether `key` is another than that of the last version told of.
    pub(crate) fn is_new(&self, key: &[u8]) -> bool {
        self.key.as_deref() != Some(key)
    }

    /// Whether no reader can ask for a version older than this one, which was kept.
    pub(crate) fn is_final(&self, stamp: Stamp) -> bool {
        self.stretch_of(stamp.seqno()) == 0
    }

    /// The number of boundaries below `seqno`: versions of one stretch hide each other.
    fn stretch_of(&self, seqno: SeqNo) -> usize {
        if self.boundaries.last().is_some_and(|last| *last < seqno) {
            return self.boundaries.len();
        }
        self.boundaries.partition_point(|boundary| *boundary < seqno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    fn kept(boundaries: &[SeqNo], seqnos: &[SeqNo]) -> Vec<SeqNo> {
        let mut keeper = VersionKeeper::new(boundaries.to_vec());
        let keeps = |seqno: &SeqNo| keeper.keeps(b"key", Stamp::new(*seqno, Kind::Put));
        seqnos.iter().copied().filter(keeps).collect()
    }

    #[test]
    fn without_snapshots_only_the_newest_version_stays() {
        assert_eq!(kept(&[9], &[9, 7, 3, 1]), [9]);
    }

    #[test]
    fn each_snapshot_keeps_what_it_shows() {
        assert_eq!(kept(&[2, 5, 9], &[9, 8, 5, 4, 3, 2, 1]), [9, 5, 2]);
        assert_eq!(kept(&[2, 5, 9], &[4, 1]), [4, 1]);
    }

    #[test]
    fn what_is_newer_than_the_watermark_stays() {
        assert_eq!(kept(&[5], &[9, 8, 7, 5, 4]), [9, 8, 7, 5]);
    }

    #[test]
    fn the_newest_at_or_below_the_oldest_snapshot_is_final() {
        let mut keeper = VersionKeeper::new(vec![5, 9]);
        for (seqno, is_final) in [(9, false), (6, false), (5, true)] {
            let stamp = Stamp::new(seqno, Kind::Delete);
            keeper.keeps(b"key", stamp);
            assert_eq!(keeper.is_final(stamp), is_final, "{seqno}");
        }
    }
}
