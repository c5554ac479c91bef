//! Ordered walks over a keyspace.
//!
//! 1. A walk shows one moment: what was visible when it was opened, or what its snapshot shows.
//! 2. Every key shows once, with its newest version of that moment; deleted keys do not show.
//! 3. A walk keeps the memtables and tables of its moment alive until it is dropped.
//! 4. A walk that passes many deleted keys in a row notes it in `gaps`, and no walk passes them again.
//! 5. A value that stands apart is read when it is asked for, so a walk over keys touches no value file.
//! 6. After an error the cursor stands nowhere; seeking again is allowed.
//! 7. Tables are left out that have no key within the bounds, as first and last key or the filter tell; what
//!    is noted in `gaps` ends with the bounds then.

mod bounds;
mod merge;
mod source;

pub(crate) use bounds::Bounds;
pub(crate) use merge::{Direction, Merge};
pub(crate) use source::{FileCursor, LevelCursor, RunCursor, Source};

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    background::Duty,
    compaction::CRAWL_NOTED,
    error::{Error, Result},
    gaps::{GAP_KEYS_MIN, Walked},
    key::{EXPIRY_BYTES, Kind, SeqNo, Stamp, prefix_word, split_expiry},
    keyspace::{State, Tree},
    memtable::Memtable,
    pointer::Pointer,
    ranges::RangeDeletes,
    read::fold,
    store::OpenStore,
    table::{ReadHow, prefix_hash},
    value::Value,
    values::{LiveValues, ValueReader},
    version::{Level, LiveTable},
};

/// More tables of a level than these are not asked whether they have a prefix: one of them does.
const PREFIX_TABLES_MAX: usize = 2;

/// What a walk looks at: a keyspace's state and a watermark.
#[derive(Clone)]
pub(crate) struct View {
    store: Arc<OpenStore>,
    tree: Arc<Tree>,
    state: Arc<State>,
    seqno: SeqNo,
    now: u64,
    /// The ranges deleted, in all places together; mostly there are none.
    ranges: Option<Arc<RangeDeletes>>,
}

impl View {
    /// The view of `seqno`, which a snapshot holds, or of this moment, at time `now`.
    pub(crate) fn open(
        store: &Arc<OpenStore>,
        tree: &Arc<Tree>,
        seqno: Option<SeqNo>,
        now: u64,
    ) -> Result<View> {
        tree.check_there()?;
        // The state before the watermark: see `read.rs`.
        let state = Arc::clone(&tree.state());
        let seqno = seqno.unwrap_or_else(|| state.seen(store.visible()));
        let ranges = ranges_of(&state)?;
        let (store, tree) = (Arc::clone(store), Arc::clone(tree));
        Ok(View { store, tree, state, seqno, now, ranges })
    }

    /// So many deletions in a row were stepped over, from `first` to `last`.
    #[cold]
    fn note_crawl(&self, first: &[u8], last: &[u8], steps: u64) {
        if self.tree.crawls.note(first, last, steps) {
            self.store.environment.signal(Duty::Compact);
        }
    }

    /// The newest deletion of a range with `key` that this view sees; 0 for none.
    fn covering(&self, key: &[u8]) -> SeqNo {
        self.ranges.as_ref().map_or(0, |ranges| ranges.covering(key, self.seqno))
    }

    /// The value of an entry that expires, or `None` when it has.
    fn unexpired<'a>(&self, value: &'a [u8]) -> Result<Option<&'a [u8]>> {
        let Some((expiry, value)) = split_expiry(value) else {
            let what = "an entry that expires has no time";
            return Err(Error::corrupt(&self.store.dir, 0, what));
        };
        Ok((self.now.max(self.tree.expiry_mark()) < expiry).then_some(value))
    }

    /// Where the value lies that an entry points to.
    fn pointed(&self, pointer: &[u8]) -> Result<(Arc<LiveValues>, Pointer)> {
        let no_pointer = || Error::corrupt(&self.store.dir, 0, "a pointer does not decode");
        let pointer = Pointer::decode(pointer).ok_or_else(no_pointer)?;
        Ok((self.store.values_of(&self.state, &pointer)?, pointer))
    }

    /// The value that an entry points to.
    fn value_apart(&self, pointer: &[u8]) -> Result<Vec<u8>> {
        let (file, pointer) = self.pointed(pointer)?;
        file.read(&pointer)
    }

    /// The memtables that have something to walk over.
    fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        let all = self.state.memtables().map(|memtable| &memtable.table);
        all.filter(|memtable| !memtable.is_empty())
    }

    /// Says that a walk over so many memtables is about to start at `low` which may find a gap, if nothing was
    /// published since this view was opened. Never waits: a gap is worth finding only when it is not in
    /// the way.
    fn begin_gap(&self, low: &[u8], memtables: usize) -> Option<Walked> {
        let committing = self.store.commit.try_lock().ok()?;
        // Without a log to write to, entries come from elsewhere, and nothing cuts.
        let ours = committing.log.is_some() && Arc::ptr_eq(&*self.tree.state(), &self.state);
        // A memtable that was empty when the walk was opened is none of its places.
        if ours && memtables == self.memtables().count() {
            Walked::begin(&self.tree, low, self.seqno)
        } else {
            None
        }
    }

    /// A walk over the places that may have keys within `bounds`, how many of them are memtables, and
    /// whether some tables were left out.
    fn merge(&self, bounds: &Bounds) -> (Merge, usize, bool) {
        let rule = self.tree.rules.options.prefix;
        let prefix = rule.and_then(|rule| Some((rule, prefix_hash(bounds.prefix(rule)?))));
        let may_have = |file: &LiveTable| {
            let asked = |(rule, hash)| file.table.may_contain_prefix(rule, hash, ReadHow::DISK);
            prefix.is_none_or(asked)
        };
        let mut left_out = false;
        let mut sources: Vec<Source> =
            self.memtables().map(|memtable| Source::Memtable(memtable.cursor())).collect();
        let memtables = sources.len();
        let version = &self.state.version;
        for file in version.levels[0].tables() {
            if bounds.meets_table(&file.info) && may_have(file) {
                sources.push(Source::Table(FileCursor::new(Arc::clone(file), ReadHow::DISK)));
            } else {
                left_out = true;
            }
        }
        for level in version.levels[1..].iter().filter(|level| !level.tables().is_empty()) {
            if some_table_within(level, bounds, may_have) {
                sources.push(Source::Level(LevelCursor::new(Arc::clone(level), ReadHow::DISK)));
            } else {
                left_out = true;
            }
        }
        (Merge::new(sources), memtables, left_out)
    }
}

/// Whether some table of `level`, which is not level 0, may have keys within `bounds` that `may_have`
/// does not deny.
fn some_table_within(
    level: &Level,
    bounds: &Bounds,
    may_have: impl Fn(&LiveTable) -> bool,
) -> bool {
    let first = bounds.lower().map_or(0, |lower| level.seek(lower));
    let behind = level.tables()[first..].iter();
    let within = behind.take_while(|file| !bounds.is_above(&file.info.first_key));
    let within = within.take(PREFIX_TABLES_MAX + 1);
    PREFIX_TABLES_MAX < within.clone().count() || within.into_iter().any(|file| may_have(file))
}

/// The ranges that some place of `state` says are deleted.
fn ranges_of(state: &State) -> Result<Option<Arc<RangeDeletes>>> {
    let mut lists: Vec<_> =
        state.memtables().filter_map(|memtable| memtable.range_deletes()).collect();
    if state.version.has_range_deletes {
        for file in state.version.tables().filter(|file| file.info.range_deletes != 0) {
            lists.push(file.range_deletes(ReadHow::DISK)?);
        }
    }
    Ok(match lists.as_slice() {
        [] => None,
        [list] => Some(Arc::clone(list)),
        lists => Some(Arc::new(RangeDeletes::united(lists.iter().map(AsRef::as_ref)))),
    })
}

/// A place in an ordered walk, moved by hand. Stands nowhere until sought.
pub struct Cursor {
    view: View,
    merge: Merge,
    bounds: Bounds,
    /// How many memtables are in the merge: all that had something when it was opened.
    memtables: usize,
    /// Whether tables are left out of the merge that have nothing within the bounds.
    left_out: bool,
    place: Place,
    /// The key stood on; kept so that its other versions can be told.
    key: Vec<u8>,
    /// The value stood on when walking backward, or when it was folded; otherwise it is the merge's.
    value: Vec<u8>,
    /// Whether that value is a pointer.
    is_apart: bool,
    /// What it points to, once somebody asked.
    apart: OnceLock<Vec<u8>>,
    /// The first of the deleted keys that were passed in a row.
    deleted_from: Vec<u8>,
    /// Bytes before the merge's value that are no part of it.
    value_from: usize,
}

/// Deleted keys that a walk passes in a row.
#[derive(Default)]
struct Stretch {
    keys: u32,
    /// Whether the key before was written after the walk's moment. The older version that comes next is
    /// of the same key then, and a stretch that began there would end there again.
    is_written: bool,
    walked: Option<Walked>,
    /// Keys stepped over in all, and one of the first of them.
    steps: u64,
    first: Vec<u8>,
}

impl Stretch {
    /// A key that does not show is stepped over.
    fn step(&mut self, key: &[u8]) {
        self.steps += 1;
        if self.steps == CRAWL_NOTED {
            self.first.extend_from_slice(key);
        }
    }

    /// Something other than a deleted key stands at `key`.
    fn end(&mut self, key: &[u8]) {
        self.keys = 0;
        if let Some(walked) = self.walked.take() {
            walked.end(key);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// The merge stands on the version shown.
    Forward,
    /// The merge stands on the last version that was folded into the value, or behind it.
    Folded,
    /// The merge has gone past the key shown, backward.
    Backward,
}

impl Cursor {
    pub(crate) fn open(view: View, bounds: Bounds) -> Cursor {
        let (merge, memtables, left_out) = view.merge(&bounds);
        Cursor {
            view,
            merge,
            bounds,
            memtables,
            left_out,
            place: Place::Nowhere,
            key: Vec::new(),
            value: Vec::new(),
            is_apart: false,
            apart: OnceLock::new(),
            deleted_from: Vec::new(),
            value_from: 0,
        }
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
            Place::Folded | Place::Backward => &self.key,
        }
    }

    /// The value it stands on; empty when it stands nowhere. One that is kept apart from the tables is
    /// read now, and kept until the cursor moves.
    #[inline]
    pub fn value(&self) -> Result<&[u8]> {
        if self.valid() && self.is_apart { self.value_apart() } else { Ok(self.stored()) }
    }

    /// A reader of the value it stands on, whatever its length.
    pub fn value_stream(&self) -> Result<ValueReader> {
        if !self.valid() || !self.is_apart {
            return Ok(ValueReader::of(Value::copied(self.stored())));
        }
        let (file, pointer) = self.view.pointed(self.stored())?;
        file.stream(&pointer)
    }

    #[cold]
    fn value_apart(&self) -> Result<&[u8]> {
        if let Some(value) = self.apart.get() {
            return Ok(value);
        }
        let value = self.view.value_apart(self.stored())?;
        Ok(self.apart.get_or_init(|| value))
    }

    /// Notes what kind of value the cursor stands on.
    fn note_kind(&mut self, kind: Kind) {
        if self.is_apart {
            self.apart.take();
        }
        self.is_apart = kind == Kind::Pointer;
    }

    /// The value as the entry has it.
    fn stored(&self) -> &[u8] {
        match self.place {
            Place::Nowhere => &[],
            Place::Forward => &self.merge.value()[self.value_from..],
            Place::Folded | Place::Backward => &self.value,
        }
    }

    /// To the first entry.
    pub fn seek_first(&mut self) -> Result<()> {
        self.place = Place::Nowhere;
        match self.bounds.lower() {
            None => self.merge.seek_all(Direction::Forward, Source::seek_first)?,
            Some(key) => self.merge.seek_all(Direction::Forward, |source| source.seek(key))?,
        }
        self.settle_forward()
    }

    /// To the last entry.
    pub fn seek_last(&mut self) -> Result<()> {
        self.place = Place::Nowhere;
        match self.bounds.upper() {
            None => self.merge.seek_all(Direction::Backward, Source::seek_last)?,
            Some(key) => {
                self.merge.seek_all(Direction::Backward, |source| source.seek_back(key))?;
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
            Place::Folded => {
                self.place = Place::Nowhere;
                if self.merge.valid() && self.merge.key() == self.key.as_slice() {
                    self.skip_versions()?;
                }
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
            Place::Forward | Place::Folded => {
                let key = self.key().to_vec();
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
        let mut stretch = Stretch::default();
        let mut found = false;
        while self.merge.valid() {
            if bound < self.merge.stamp() {
                stretch.end(self.walked_to(self.merge.key()));
                stretch.is_written = true;
                self.merge.skip_newer(bound)?;
                continue;
            }
            if self.bounds.is_above(self.merge.key()) {
                stretch.end(self.walked_to(self.merge.key()));
                found = true;
                break;
            }
            if !self.bounds.is_below(self.merge.key()) && self.show_forward()? {
                stretch.end(self.key());
                found = true;
                break;
            }
            if !self.is_deleted()? {
                stretch.end(self.merge.key());
            } else if self.jump_gap(&mut stretch)? {
                continue;
            }
            stretch.step(self.merge.key());
            self.skip_versions()?;
        }
        if CRAWL_NOTED <= stretch.steps {
            self.view.note_crawl(&stretch.first, &self.key, stretch.steps);
        }
        if !found {
            // The key behind the last one.
            self.key.push(0);
            stretch.end(&self.key);
        }
        Ok(())
    }

    /// Up to where a walk has seen everything that stands at `key`: places that were left out may have
    /// something behind the bounds.
    fn walked_to<'a>(&'a self, key: &'a [u8]) -> &'a [u8] {
        match self.bounds.upper() {
            Some(upper) if self.left_out && upper < key => upper,
            _ => key,
        }
    }

    /// Whether the version that the merge stands on, the newest of its key in this view, says that the key
    /// is gone for good: not only for a while, as before an expiry that another reader's clock has not
    /// reached, and not only for these bounds.
    fn is_deleted(&self) -> Result<bool> {
        let is_delete = matches!(self.kind()?, Kind::Delete | Kind::RangeDelete);
        let covered = || self.merge.stamp().seqno() < self.view.covering(self.merge.key());
        Ok(is_delete || covered())
    }

    /// Notes that the merge stands on a deleted key, and moves it if that can be told from what walks
    /// have noted before, or if the stretch is long enough to be noted: then it is walked again.
    fn jump_gap(&mut self, stretch: &mut Stretch) -> Result<bool> {
        if std::mem::take(&mut stretch.is_written) {
            return Ok(false);
        }
        stretch.keys += 1;
        if stretch.keys == 1 && stretch.walked.is_none() {
            self.deleted_from.clear();
            self.deleted_from.extend_from_slice(self.merge.key());
        }
        if stretch.keys % GAP_KEYS_MIN == 1
            && let Some(high) = self.view.tree.gaps.behind(self.merge.key(), self.view.seqno)
        {
            self.merge.seek_all(Direction::Forward, |source| source.seek(&high))?;
            return Ok(true);
        }
        // Should a writer be in the way, twice as many keys later is soon enough.
        let (whole, rest) = (stretch.keys / GAP_KEYS_MIN, stretch.keys % GAP_KEYS_MIN);
        if stretch.walked.is_some() || rest != 0 || !whole.is_power_of_two() {
            return Ok(false);
        }
        stretch.walked = self.view.begin_gap(&self.deleted_from, self.memtables);
        if stretch.walked.is_some() {
            // What was inserted since the merge was there is seen now.
            let low = &self.deleted_from;
            self.merge.seek_all(Direction::Forward, |source| source.seek(low))?;
        }
        Ok(stretch.walked.is_some())
    }

    /// Shows the version that the merge stands on, the newest of its key in this view, if it is a value.
    fn show_forward(&mut self) -> Result<bool> {
        let kind = self.kind()?;
        let mut covered = 0;
        if self.view.ranges.is_some() {
            covered = self.view.covering(self.merge.key());
            if self.merge.stamp().seqno() < covered {
                return Ok(false);
            }
        }
        self.note_kind(kind);
        match kind {
            Kind::Put | Kind::Pointer => self.value_from = 0,
            Kind::PutExpiring => {
                if self.view.unexpired(self.merge.value())?.is_none() {
                    return Ok(false);
                }
                self.value_from = EXPIRY_BYTES;
            }
            Kind::Merge => {
                self.fold_forward(covered)?;
                self.place = Place::Folded;
                return Ok(true);
            }
            Kind::Delete | Kind::RangeDelete | Kind::Append | Kind::Applied | Kind::Position => {
                return Ok(false);
            }
        }
        self.place = Place::Forward;
        Ok(true)
    }

    /// Folds the operand that the merge stands on with what is before it, as far as `covered`.
    fn fold_forward(&mut self, covered: SeqNo) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(self.merge.key());
        let mut operands: Vec<Vec<u8>> = Vec::new();
        let mut base = None;
        while self.merge.valid()
            && self.merge.key() == self.key.as_slice()
            && covered <= self.merge.stamp().seqno()
        {
            let value = self.merge.value();
            match self.kind()? {
                Kind::Merge => operands.push(value.to_vec()),
                Kind::Put => base = Some(value.to_vec()),
                Kind::Pointer => base = Some(self.view.value_apart(value)?),
                Kind::PutExpiring => base = self.view.unexpired(value)?.map(<[u8]>::to_vec),
                Kind::Delete
                | Kind::RangeDelete
                | Kind::Append
                | Kind::Applied
                | Kind::Position => {}
            }
            if self.kind()? != Kind::Merge {
                break;
            }
            self.merge.step()?;
        }
        operands.reverse();
        self.set_folded(base, &operands)
    }

    /// Makes the value what `operands`, oldest first, come to.
    fn set_folded(&mut self, base: Option<Vec<u8>>, operands: &[Vec<u8>]) -> Result<()> {
        let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
        self.value = fold(&self.view.tree, &self.key, base.as_deref(), &operands)?;
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
            let covered = self.view.covering(&self.key);
            let mut shows = false;
            let mut operands: Vec<Vec<u8>> = Vec::new();
            while self.merge.valid() && self.merge.key() == self.key.as_slice() {
                let stamp = self.merge.stamp();
                if stamp <= bound && covered <= stamp.seqno() {
                    shows = self.take_backward(shows, &mut operands)?;
                }
                self.merge.step()?;
            }
            if !operands.is_empty() {
                let mut base = shows.then(|| std::mem::take(&mut self.value));
                if let (Some(value), true) = (&mut base, self.is_apart) {
                    *value = self.view.value_apart(value)?;
                }
                self.note_kind(Kind::Merge);
                self.set_folded(base, &operands)?;
                shows = true;
            }
            if shows && !self.bounds.is_above(&self.key) {
                self.place = Place::Backward;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the version that the merge stands on, newer than those taken before. `value` and what is
    /// returned say what the key came to up to it, but for the operands since.
    fn take_backward(&mut self, showed: bool, operands: &mut Vec<Vec<u8>>) -> Result<bool> {
        let kind = self.kind()?;
        if kind != Kind::Merge {
            self.note_kind(kind);
        }
        let value = match kind {
            Kind::Merge => {
                operands.push(self.merge.value().to_vec());
                return Ok(showed);
            }
            Kind::Put | Kind::Pointer => Some(self.merge.value()),
            Kind::PutExpiring => self.view.unexpired(self.merge.value())?,
            Kind::Delete | Kind::RangeDelete | Kind::Append | Kind::Applied | Kind::Position => {
                None
            }
        };
        operands.clear();
        self.value.clear();
        self.value.extend_from_slice(value.unwrap_or_default());
        Ok(value.is_some())
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
    pub(crate) fn open(view: View, bounds: Bounds) -> Iter {
        let front = Cursor::open(view, bounds);
        Iter { front, back: None, front_key: None, back_key: None, done: false }
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
        Ok(Some((self.front.key().to_vec(), self.front.value()?.to_vec())))
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
        Ok(Some((back.key().to_vec(), back.value()?.to_vec())))
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
