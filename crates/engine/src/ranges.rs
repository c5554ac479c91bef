//! Deletions of whole ranges of keys: a list beside the entries, of memtables as of tables.
//!
//! Spans as users delete them may overlap; they are kept cut at each other's ends, so that each piece
//! lists all the deletions that hold in it and a key lies in one piece at most.
//!
//! ```text
//! deleted   [a ------------- m) @5          kept   [a, f) 5   [f, m) 9 5   [m, t) 9
//!                  [f ------------- t) @9
//! ```
//!
//! 1. Pieces are in order, do not overlap and are not empty; a piece's numbers descend.
//! 2. A list never changes; adding makes another one, so that readers need no lock.
//! 3. `decode(encode(list)) == list`; bytes that are no list give `None`.

use crate::key::{KEY_BYTES_MAX, SEQNO_MAX, SeqNo};

/// A piece of key space in which the same deletions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: Vec<u8>,
    /// The first key behind.
    pub(crate) end: Vec<u8>,
    /// Newest first, never empty.
    pub(crate) seqnos: Vec<SeqNo>,
}

/// The ranges deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeDeletes {
    pieces: Vec<Piece>,
}

impl RangeDeletes {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Deletions, each counted once a piece it holds in.
    pub(crate) fn count(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.seqnos.len() as u64).sum()
    }

    /// Memory taken, about.
    pub(crate) fn bytes(&self) -> u64 {
        let piece = |piece: &Piece| {
            piece.start.capacity() + piece.end.capacity() + 8 * piece.seqnos.capacity()
        };
        let heap: usize = self.pieces.iter().map(piece).sum();
        (heap + self.pieces.capacity() * size_of::<Piece>()) as u64
    }

    /// The newest deletion of `key` that a reader of `seqno` sees; 0 when there is none.
    pub(crate) fn covering(&self, key: &[u8], seqno: SeqNo) -> SeqNo {
        let Some(piece) = self.piece_of(key) else { return 0 };
        piece.seqnos.iter().copied().find(|deleted| *deleted <= seqno).unwrap_or(0)
    }

    /// Every deletion of `key`, newest first.
    pub(crate) fn seqnos_of(&self, key: &[u8]) -> &[SeqNo] {
        self.piece_of(key).map_or(&[], |piece| &piece.seqnos)
    }

    /// The first key at or behind `key` that is deleted.
    pub(crate) fn next_from<'a>(&'a self, key: &'a [u8]) -> Option<&'a [u8]> {
        let at = self.pieces.partition_point(|piece| piece.end.as_slice() <= key);
        self.pieces.get(at).map(|piece| key.max(&piece.start))
    }

    fn piece_of(&self, key: &[u8]) -> Option<&Piece> {
        let at = self.pieces.partition_point(|piece| piece.start.as_slice() <= key);
        self.pieces[..at].last().filter(|piece| key < piece.end.as_slice())
    }

    /// The number above which no reader sees any of the keys from `first` to `last` in versions up to
    /// `seqno`: of each piece the oldest deletion newer than that, of these the newest. `None` where a
    /// gap is. `last` itself may be excluded.
    pub(crate) fn hides_all(
        &self,
        (first, last): (&[u8], &[u8]),
        last_is_excluded: bool,
        seqno: SeqNo,
    ) -> Option<SeqNo> {
        let at = self.pieces.partition_point(|piece| piece.end.as_slice() <= first);
        let (mut reached, mut hidden_at) = (first, 0);
        for piece in &self.pieces[at..] {
            if reached < piece.start.as_slice() {
                return None;
            }
            let newer = piece.seqnos.iter().rev().find(|deleted| seqno < **deleted)?;
            hidden_at = hidden_at.max(*newer);
            reached = &piece.end;
            if last < reached || (last_is_excluded && last == reached) {
                return Some(hidden_at);
            }
        }
        None
    }

    /// This list and one more deletion.
    pub(crate) fn with(&self, start: &[u8], end: &[u8], seqno: SeqNo) -> RangeDeletes {
        if end <= start {
            return self.clone();
        }
        let one = Piece { start: start.to_vec(), end: end.to_vec(), seqnos: vec![seqno] };
        RangeDeletes::united([self, &RangeDeletes { pieces: vec![one] }])
    }

    /// What holds in any of the lists.
    pub(crate) fn united<'a>(lists: impl IntoIterator<Item = &'a RangeDeletes>) -> RangeDeletes {
        let lists: Vec<_> = lists.into_iter().filter(|list| !list.is_empty()).collect();
        if let [] | [_] = lists.as_slice() {
            return lists.first().map_or_else(RangeDeletes::default, |list| (*list).clone());
        }
        let mut all: Vec<&Piece> = lists.iter().flat_map(|list| &list.pieces).collect();
        all.sort_by(|a, b| a.start.cmp(&b.start));
        let mut edges: Vec<&[u8]> =
            all.iter().flat_map(|piece| [piece.start.as_slice(), piece.end.as_slice()]).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut pieces: Vec<Piece> = Vec::new();
        let mut open: Vec<&Piece> = Vec::new();
        let mut next = all.into_iter().peekable();
        for pair in edges.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            open.retain(|piece| start < piece.end.as_slice());
            while let Some(piece) = next.next_if(|piece| piece.start.as_slice() <= start) {
                open.push(piece);
            }
            let mut seqnos: Vec<SeqNo> =
                open.iter().flat_map(|piece| piece.seqnos.iter().copied()).collect();
            seqnos.sort_unstable_by(|a, b| b.cmp(a));
            seqnos.dedup();
            if !seqnos.is_empty() {
                push_piece(&mut pieces, start, end, seqnos);
            }
        }
        RangeDeletes { pieces }
    }

    /// The part of it from `from` up to `to`, which is excluded; `None` is no bound.
    pub(crate) fn clipped(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> RangeDeletes {
        let inside = |piece: &Piece| {
            let start = from.map_or(piece.start.as_slice(), |from| from.max(&piece.start));
            let end = to.map_or(piece.end.as_slice(), |to| to.min(&piece.end));
            (start < end).then(|| Piece {
                start: start.to_vec(),
                end: end.to_vec(),
                seqnos: piece.seqnos.clone(),
            })
        };
        RangeDeletes { pieces: self.pieces.iter().filter_map(inside).collect() }
    }

    /// The list of what `keep` leaves of each piece's numbers, which it is given newest first.
    pub(crate) fn thinned(&self, mut keep: impl FnMut(&Piece) -> Vec<SeqNo>) -> RangeDeletes {
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            let seqnos = keep(piece);
            if !seqnos.is_empty() {
                push_piece(&mut pieces, &piece.start, &piece.end, seqnos);
            }
        }
        RangeDeletes { pieces }
    }

    /// The same ranges, all deleted under the one number `seqno`.
    pub(crate) fn numbered(&self, seqno: SeqNo) -> RangeDeletes {
        self.thinned(|_| vec![seqno])
    }

    /// Least and greatest number of all.
    pub(crate) fn seqno_bounds(&self) -> Option<(SeqNo, SeqNo)> {
        let all = || self.pieces.iter().flat_map(|piece| piece.seqnos.iter().copied());
        Some((all().min()?, all().max()?))
    }

    /// The first key deleted, and the first key behind all of them.
    pub(crate) fn extent(&self) -> Option<(&[u8], &[u8])> {
        Some((&self.pieces.first()?.start, &self.pieces.last()?.end))
    }

    /// The list as a table stores it; see `docs/format/table.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            for key in [&piece.start, &piece.end] {
                bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
                bytes.extend_from_slice(key);
            }
            bytes.extend_from_slice(&(piece.seqnos.len() as u32).to_le_bytes());
            for seqno in &piece.seqnos {
                bytes.extend_from_slice(&seqno.to_le_bytes());
            }
        }
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<RangeDeletes> {
        let mut pieces: Vec<Piece> = Vec::new();
        while !bytes.is_empty() {
            let (start, rest) = take_key(bytes)?;
            let (end, rest) = take_key(rest)?;
            let (count, rest) = rest.split_first_chunk::<4>()?;
            let count = u32::from_le_bytes(*count) as usize;
            let (words, rest) = rest.split_at_checked(count.checked_mul(8)?)?;
            let (words, _) = words.as_chunks::<8>();
            let seqnos: Vec<SeqNo> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            let descends = seqnos.windows(2).all(|pair| pair[1] < pair[0]);
            let follows = pieces.last().is_none_or(|last| last.end.as_slice() <= start);
            if seqnos.first().is_none_or(|first| SEQNO_MAX < *first)
                || !descends
                || !follows
                || end <= start
            {
                return None;
            }
            pieces.push(Piece { start: start.to_vec(), end: end.to_vec(), seqnos });
            bytes = rest;
        }
        Some(RangeDeletes { pieces })
    }
}

/// Adds a piece behind the others, or lets the last one grow when it says the same.
fn push_piece(pieces: &mut Vec<Piece>, start: &[u8], end: &[u8], seqnos: Vec<SeqNo>) {
    match pieces.last_mut() {
        Some(last) if last.end == start && last.seqnos == seqnos => last.end = end.to_vec(),
        _ => pieces.push(Piece { start: start.to_vec(), end: end.to_vec(), seqnos }),
    }
}

fn take_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_le_bytes(*len));
    const { assert!(KEY_BYTES_MAX == u16::MAX as usize) };
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use olivine_vfs::Random;

    use super::*;

    /// Deletes at random, and what each one-byte key should then be covered by.
    fn scene(seed: u64) -> (RangeDeletes, Vec<(u8, u8, SeqNo)>) {
        let mut random = Random::new(seed);
        let mut list = RangeDeletes::default();
        let mut deleted = Vec::new();
        for seqno in 1..=random.below(12) {
            let (start, end) = (random.below(20) as u8, random.below(20) as u8);
            list = list.with(&[start], &[end], seqno);
            deleted.push((start, end, seqno));
        }
        (list, deleted)
    }

    fn covering(deleted: &[(u8, u8, SeqNo)], key: u8, seqno: SeqNo) -> SeqNo {
        let holds = |(start, end, number): &&(u8, u8, SeqNo)| {
            *start <= key && key < *end && *number <= seqno
        };
        deleted.iter().filter(holds).map(|(_, _, number)| *number).max().unwrap_or(0)
    }

    #[test]
    fn a_key_is_covered_by_the_newest_deletion_a_reader_sees() {
        for seed in 0..300 {
            let (list, deleted) = scene(seed);
            for key in 0..21 {
                for seqno in 0..13 {
                    let expected = covering(&deleted, key, seqno);
                    assert_eq!(list.covering(&[key], seqno), expected, "seed {seed} key {key}");
                }
            }
        }
    }

    #[test]
    fn a_list_comes_back_as_it_was_stored_and_clips_to_what_lies_inside() {
        for seed in 0..300 {
            let (list, deleted) = scene(seed);
            assert_eq!(RangeDeletes::decode(&list.encode()).as_ref(), Some(&list));
            let clipped = list.clipped(Some(&[5]), Some(&[12]));
            for key in 0..21 {
                let expected = if (5..12).contains(&key) { covering(&deleted, key, 99) } else { 0 };
                assert_eq!(clipped.covering(&[key], 99), expected, "seed {seed} key {key}");
            }
        }
    }

    #[test]
    fn all_of_a_stretch_is_hidden_only_without_a_gap() {
        for seed in 0..300 {
            let (list, deleted) = scene(seed);
            for (first, last) in [(3, 3), (3, 7), (0, 19), (10, 15)] {
                let oldest_newer = |key| {
                    let holds = |(start, end, number): &&(u8, u8, SeqNo)| {
                        *start <= key && key < *end && 2 < *number
                    };
                    deleted.iter().filter(holds).map(|(_, _, number)| *number).min()
                };
                let each: Option<Vec<_>> = (first..=last).map(oldest_newer).collect();
                let expected = each.and_then(|each| each.into_iter().max());
                let found = list.hides_all((&[first], &[last]), false, 2);
                assert_eq!(found, expected, "seed {seed} {first} to {last}");
                let found = list.hides_all((&[first], &[last + 1]), true, 2);
                assert_eq!(found, expected, "seed {seed} {first} up to {last}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_list_never_panic() {
        let (list, _) = scene(7);
        let bytes = list.encode();
        for at in 0..bytes.len() {
            RangeDeletes::decode(&bytes[..at]);
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                RangeDeletes::decode(&flipped);
            }
        }
        let backwards =
            RangeDeletes { pieces: vec![Piece { start: vec![2], end: vec![1], seqnos: vec![1] }] };
        assert_eq!(RangeDeletes::decode(&backwards.encode()), None);
    }
}
