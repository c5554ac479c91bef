//! Ordered walks over a keyspace.
//!
//! 1. A walk shows one moment: what was visible when it was opened, or what its snapshot shows.
//! 2. Every key shows once, with its newest version of that moment; deleted keys do not show.
//! 3. A walk keeps the memtables and tables of its moment alive until it is dropped.
//! 4. After an error the cursor stands nowhere; seeking again is allowed.

mod merge;
mod source;

pub(crate) use merge::{Direction, Merge};
pub(crate) use source::{LevelCursor, Source};

use std::{
    fmt,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    key::{Kind, SeqNo, Stamp, prefix_word},
    keyspace::{State, Tree},
    store::OpenStore,
    table::{ReadHow, TableCursor},
};

/// The keys that a walk may show.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
}

impl Bounds {
    pub(crate) fn all() -> Bounds {
        Bounds { lower: Bound::Unbounded, upper: Bound::Unbounded }
    }

    pub(crate) fn of<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> Bounds {
        let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Bounds { lower: own(range.start_bound()), upper: own(range.end_bound()) }
    }

    pub(crate) fn of_prefix(prefix: &[u8]) -> Bounds {
        // The first key behind all that begin with `prefix`: its last byte that can grow, grown.
        let mut behind = prefix.to_vec();
        while behind.last() == Some(&0xff) {
            behind.pop();
        }
        if let Some(last) = behind.last_mut() {
            *last += 1;
        }
        let upper = if behind.is_empty() { Bound::Unbounded } else { Bound::Excluded(behind) };
        Bounds { lower: Bound::Included(prefix.to_vec()), upper }
    }

    pub(crate) fn is_below(&self, key: &[u8]) -> bool {
        match &self.lower {
            Bound::Unbounded => false,
            Bound::Included(lower) => key < lower.as_slice(),
            Bound::Excluded(lower) => key <= lower.as_slice(),
        }
    }

    /// A key before which none lies within the bounds, if there is one.
    pub(crate) fn start(&self) -> Option<&[u8]> {
        match &self.lower {
            Bound::Unbounded => None,
            Bound::Included(lower) | Bound::Excluded(lower) => Some(lower),
        }
    }

    pub(crate) fn is_above(&self, key: &[u8]) -> bool {
        match &self.upper {
            Bound::Unbounded => false,
            Bound::Included(upper) => upper.as_slice() < key,
            Bound::Excluded(upper) => upper.as_slice() <= key,
        }
    }
}

/// What a walk looks at: a keyspace's state and a watermark.
#[derive(Clone)]
pub(crate) struct View {
    store: Arc<OpenStore>,
    state: Arc<State>,
    seqno: SeqNo,
}

impl View {
    /// The view of `seqno`, which a snapshot holds, or of this moment.
    pub(crate) fn open(store: &Arc<OpenStore>, tree: &Tree, seqno: Option<SeqNo>) -> Result<View> {
        tree.check_there()?;
        // The state before the watermark: see `read.rs`.
        let state = Arc::clone(&tree.state());
        let seqno = seqno.unwrap_or_else(|| state.seen(store.visible()));
        Ok(View { store: Arc::clone(store), state, seqno })
    }

    fn merge(&self) -> Merge {
        let memtables = self.state.memtables().filter(|memtable| !memtable.table.is_empty());
        let mut sources: Vec<Source> =
            memtables.map(|memtable| Source::Memtable(memtable.table.cursor())).collect();
        let version = &self.state.version;
        for file in version.levels[0].tables() {
            sources.push(Source::Table(TableCursor::new(Arc::clone(&file.table), ReadHow::DISK)));
        }
        for level in version.levels[1..].iter().filter(|level| !level.tables().is_empty()) {
            sources.push(Source::Level(LevelCursor::new(Arc::clone(level), ReadHow::DISK)));
        }
        Merge::new(sources)
    }
}

/// A place in an ordered walk, moved by hand. Stands nowhere until sought.
pub struct Cursor {
    view: View,
    merge: Merge,
    bounds: Bounds,
    place: Place,
    /// The key stood on; kept so that its other versions can be told.
    key: Vec<u8>,
    /// The value stood on when walking backward; forward it is the merge's.
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// The merge stands on the version shown.
    Forward,
    /// The merge has gone past the key shown, backward.
    Backward,
}

impl Cursor {
    pub(crate) fn open(view: View, bounds: Bounds) -> Cursor {
        let merge = view.merge();
        Cursor { view, merge, bounds, place: Place::Nowhere, key: Vec::new(), value: Vec::new() }
    }

    /// Whether the cursor stands on an entry.
    pub fn valid(&self) -> bool {
        self.place != Place::Nowhere
    }

    /// The key it stands on; empty when it stands nowhere.
    pub fn key(&self) -> &[u8] {
        match self.place {
            Place::Nowhere => &[],
            Place::Forward => self.merge.key(),
            Place::Backward => &self.key,
        }
    }

    /// The value it stands on; empty when it stands nowhere.
    pub fn value(&self) -> &[u8] {
        match self.place {
            Place::Nowhere => &[],
            Place::Forward => self.merge.value(),
            Place::Backward => &self.value,
        }
    }

    /// To the first entry.
    pub fn seek_first(&mut self) -> Result<()> {
        self.place = Place::Nowhere;
        match self.bounds.lower.clone() {
            Bound::Unbounded => self.merge.seek_all(Direction::Forward, Source::seek_first)?,
            Bound::Included(key) | Bound::Excluded(key) => {
                self.merge.seek_all(Direction::Forward, |source| source.seek(&key))?;
            }
        }
        self.settle_forward()
    }

    /// To the last entry.
    pub fn seek_last(&mut self) -> Result<()> {
        self.place = Place::Nowhere;
        match self.bounds.upper.clone() {
            Bound::Unbounded => self.merge.seek_all(Direction::Backward, Source::seek_last)?,
            Bound::Included(key) | Bound::Excluded(key) => {
                self.merge.seek_all(Direction::Backward, |source| source.seek_back(&key))?;
            }
        }
        self.settle_backward()
    }

    /// To the first entry whose key is at least `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        if self.bounds.is_below(key) {
            return self.seek_first();
        }
        self.place = Place::Nowhere;
        self.merge.seek_all(Direction::Forward, |source| source.seek(key))?;
        self.settle_forward()
    }

    /// To the last entry whose key is at most `key`.
    pub fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        if self.bounds.is_above(key) {
            return self.seek_last();
        }
        self.place = Place::Nowhere;
        self.merge.seek_all(Direction::Backward, |source| source.seek_back(key))?;
        self.settle_backward()
    }

    /// To the entry behind this one; nowhere after the last.
    #[expect(clippy::should_implement_trait, reason = "a cursor is moved; `Iter` is the iterator")]
    pub fn next(&mut self) -> Result<()> {
        match self.place {
            Place::Nowhere => Ok(()),
            Place::Forward => {
                self.place = Place::Nowhere;
                self.skip_versions()?;
                self.settle_forward()
            }
            Place::Backward => {
                let key = std::mem::take(&mut self.key);
                self.place = Place::Nowhere;
                self.merge.seek_all(Direction::Forward, |source| source.seek(&key))?;
                self.settle_forward()?;
                if self.valid() && self.key() == key.as_slice() { self.next() } else { Ok(()) }
            }
        }
    }

    /// To the entry before this one; nowhere before the first.
    pub fn prev(&mut self) -> Result<()> {
        match self.place {
            Place::Nowhere => Ok(()),
            Place::Backward => {
                self.place = Place::Nowhere;
                self.settle_backward()
            }
            Place::Forward => {
                let key = self.merge.key().to_vec();
                self.place = Place::Nowhere;
                self.merge.seek_all(Direction::Backward, |source| source.seek_back(&key))?;
                self.settle_backward()?;
                if self.valid() && self.key() == key.as_slice() { self.prev() } else { Ok(()) }
            }
        }
    }

    /// Walks on, from wherever the merge stands, to an entry that shows.
    fn settle_forward(&mut self) -> Result<()> {
        let bound = Stamp::upper_bound(self.view.seqno);
        while self.merge.valid() {
            if bound < self.merge.stamp() {
                self.merge.skip_newer(bound)?;
                continue;
            }
            if self.bounds.is_above(self.merge.key()) {
                return Ok(());
            }
            if self.kind()? == Kind::Put && !self.bounds.is_below(self.merge.key()) {
                self.place = Place::Forward;
                return Ok(());
            }
            self.skip_versions()?;
        }
        Ok(())
    }

    /// Steps the merge past every version of the key it stands on.
    fn skip_versions(&mut self) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(self.merge.key());
        let word = prefix_word(&self.key);
        loop {
            self.merge.skip_key()?;
            let same = self.merge.valid()
                && self.merge.word() == word
                && self.merge.key() == self.key.as_slice();
            if !same {
                return Ok(());
            }
        }
    }

    /// Walks back, from wherever the merge stands, past the versions of each key, oldest first, until
    /// the newest version that shows is a value.
    fn settle_backward(&mut self) -> Result<()> {
        let bound = Stamp::upper_bound(self.view.seqno);
        while self.merge.valid() {
            if self.bounds.is_below(self.merge.key()) {
                return Ok(());
            }
            self.key.clear();
            self.key.extend_from_slice(self.merge.key());
            let mut shows = false;
            while self.merge.valid() && self.merge.key() == self.key.as_slice() {
                if self.merge.stamp() <= bound {
                    shows = self.kind()? == Kind::Put;
                    if shows {
                        self.value.clear();
                        self.value.extend_from_slice(self.merge.value());
                    }
                }
                self.merge.step()?;
            }
            if shows && !self.bounds.is_above(&self.key) {
                self.place = Place::Backward;
                return Ok(());
            }
        }
        Ok(())
    }

    fn kind(&self) -> Result<Kind> {
        let stamp = self.merge.stamp();
        stamp.kind().ok_or_else(|| {
            Error::corrupt(&self.view.store.dir, 0, format!("entry of unknown kind {:#x}", stamp.0))
        })
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("valid", &self.valid()).finish_non_exhaustive()
    }
}

/// Walks the entries of a keyspace from both ends, handing out copies.
#[derive(Debug)]
pub struct Iter {
    front: Cursor,
    back: Option<Cursor>,
    /// The last keys handed out at the front and at the back.
    front_key: Option<Vec<u8>>,
    back_key: Option<Vec<u8>>,
    done: bool,
}

impl Iter {
    pub(crate) fn open(
        store: &Arc<OpenStore>,
        tree: &Tree,
        seqno: Option<SeqNo>,
        bounds: Bounds,
    ) -> Result<Iter> {
        let front = Cursor::open(View::open(store, tree, seqno)?, bounds);
        Ok(Iter { front, back: None, front_key: None, back_key: None, done: false })
    }

    fn step_front(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        if self.front_key.is_none() {
            self.front.seek_first()?;
        } else {
            self.front.next()?;
        }
        let met = self.back_key.as_deref().is_some_and(|back| back <= self.front.key());
        if !self.front.valid() || met {
            return Ok(None);
        }
        self.front_key = Some(self.front.key().to_vec());
        Ok(Some((self.front.key().to_vec(), self.front.value().to_vec())))
    }

    fn step_back(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let back = if let Some(back) = &mut self.back {
            back.prev()?;
            back
        } else {
            let fresh = Cursor::open(self.front.view.clone(), self.front.bounds.clone());
            let back = self.back.insert(fresh);
            back.seek_last()?;
            back
        };
        let met = self.front_key.as_deref().is_some_and(|front| back.key() <= front);
        if !back.valid() || met {
            return Ok(None);
        }
        self.back_key = Some(back.key().to_vec());
        Ok(Some((back.key().to_vec(), back.value().to_vec())))
    }

    /// Turns the end of a walk, or an error, into the end of this iterator.
    fn hand_out<T>(&mut self, step: Result<Option<T>>) -> Option<Result<T>> {
        self.done = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step_front();
        self.hand_out(step)
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step_back();
        self.hand_out(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_behind_a_prefix_grows_the_last_byte_that_can() {
        let upper = |prefix: &[u8]| Bounds::of_prefix(prefix).upper;
        assert_eq!(upper(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(upper(b"a\xff\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(upper(b"\xff"), Bound::Unbounded);
        assert_eq!(upper(b""), Bound::Unbounded);
    }
}
