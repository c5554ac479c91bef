//! Where entries come from: a memtable, a table, or a level of tables that follow one another.
//!
//! 1. A source's entries are ordered by key, then newest first.
//! 2. A level opens one table at a time, when the walk reaches it.
//! 3. Of a table that was cut, only what is visible is walked.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    error::Result,
    key::Stamp,
    memtable,
    table::{BlockFacts, Carried, ReadHow, TableCursor},
    version::{Level, LiveTable},
};

/// A sorted run of entries, with a place in it.
pub(crate) enum Source {
    Memtable(memtable::Cursor),
    Table(FileCursor),
    Level(LevelCursor),
    Run(RunCursor),
}

/// Hands a call to whatever the source is.
macro_rules! each {
    ($self:expr, $cursor:ident => $memtable:expr, $other:expr) => {
        match $self {
            Source::Memtable($cursor) => $memtable,
            Source::Table($cursor) => $other,
            Source::Level($cursor) => $other,
            Source::Run($cursor) => $other,
        }
    };
    ($self:expr, $cursor:ident => $memtable:expr, $other:expr, $run:expr) => {
        match $self {
            Source::Memtable($cursor) => $memtable,
            Source::Table($cursor) => $other,
            Source::Level($cursor) => $other,
            Source::Run(_) => $run,
        }
    };
}

impl Source {
    pub(crate) fn valid(&self) -> bool {
        each!(self, cursor => cursor.valid(), cursor.valid())
    }

    pub(crate) fn key(&self) -> &[u8] {
        each!(self, cursor => cursor.key(), cursor.key())
    }

    pub(crate) fn stamp(&self) -> Stamp {
        each!(self, cursor => cursor.stamp(), cursor.stamp())
    }

    pub(crate) fn value(&self) -> &[u8] {
        each!(self, cursor => cursor.value(), cursor.value())
    }

    pub(crate) fn seek_first(&mut self) -> Result<()> {
        each!(self, cursor => { cursor.seek_first(); Ok(()) }, cursor.seek_first())
    }

    pub(crate) fn seek_last(&mut self) -> Result<()> {
        each!(self, cursor => { cursor.seek_last(); Ok(()) }, cursor.seek_last(), forward_only())
    }

    /// To the first entry whose key is at least `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => { cursor.seek(key); Ok(()) }, cursor.seek(key), forward_only())
    }

    /// To the last entry whose key is at most `key`.
    pub(crate) fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => { cursor.seek_back(key); Ok(()) }, cursor.seek_back(key), forward_only())
    }

    pub(crate) fn next(&mut self) -> Result<()> {
        each!(self, cursor => { cursor.next(); Ok(()) }, cursor.next())
    }

    pub(crate) fn prev(&mut self) -> Result<()> {
        each!(self, cursor => { cursor.prev(); Ok(()) }, cursor.prev(), forward_only())
    }

    /// Past the versions of this key that are newer than `bound`, where that is quicker than step by
    /// step; may do nothing.
    pub(crate) fn skip_newer(&mut self, bound: Stamp) -> bool {
        match self {
            Source::Memtable(cursor) => {
                cursor.skip_newer(bound);
                true
            }
            Source::Table(_) | Source::Level(_) | Source::Run(_) => false,
        }
    }

    /// To the first entry of the next block. Of runs only.
    pub(crate) fn skip_block(&mut self) -> Result<()> {
        match self {
            Source::Run(run) => run.skip_block(),
            _ => forward_only(),
        }
    }

    /// To the next entry that is not another version of `key`, on which this stands; may stop at an
    /// older version.
    pub(crate) fn skip_key(&mut self) -> Result<()> {
        match self {
            Source::Memtable(cursor) => {
                cursor.next_key();
                Ok(())
            }
            Source::Table(cursor) => cursor.next(),
            Source::Level(cursor) => cursor.next(),
            Source::Run(cursor) => cursor.next(),
        }
    }
}

/// What a run answers that is asked for more than its entries in order.
fn forward_only() -> Result<()> {
    unreachable!("runs are walked by merges alone, forward and once")
}

/// Walks the tables of one level, which do not overlap, as one run.
pub(crate) struct LevelCursor {
    level: Arc<Level>,
    how: ReadHow,
    /// The table of `cursor`, or one past the last, or anything while there is no cursor.
    at: usize,
    cursor: Option<FileCursor>,
}

impl LevelCursor {
    /// Walks `level`, which is not level 0.
    pub(crate) fn new(level: Arc<Level>, how: ReadHow) -> LevelCursor {
        LevelCursor { level, how, at: 0, cursor: None }
    }

    fn open(&mut self, at: usize) {
        self.at = at;
        let tables = self.level.tables();
        self.cursor = tables.get(at).map(|file| FileCursor::new(Arc::clone(file), self.how));
    }

    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(FileCursor::valid)
    }

    fn current(&self) -> &FileCursor {
        self.cursor.as_ref().expect("the cursor stands on an entry")
    }

    fn key(&self) -> &[u8] {
        self.current().key()
    }

    fn stamp(&self) -> Stamp {
        self.current().stamp()
    }

    fn value(&self) -> &[u8] {
        self.current().value()
    }

    fn seek_first(&mut self) -> Result<()> {
        self.open(0);
        if let Some(cursor) = &mut self.cursor {
            cursor.seek_first()?;
        }
        self.go_on()
    }

    fn seek_last(&mut self) -> Result<()> {
        let Some(last) = self.level.tables().len().checked_sub(1) else {
            return Ok(());
        };
        self.open(last);
        if let Some(cursor) = &mut self.cursor {
            cursor.seek_last()?;
        }
        self.go_back()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let at = self.level.seek(key);
        if self.cursor.is_none() || self.at != at {
            self.open(at);
        }
        if let Some(cursor) = &mut self.cursor {
            cursor.seek(key)?;
        }
        self.go_on()
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        let after = self.level.seek(key);
        let starts_before = self
            .level
            .tables()
            .get(after)
            .is_some_and(|table| table.info.first_key.as_slice() <= key);
        let Some(at) = (if starts_before { Some(after) } else { after.checked_sub(1) }) else {
            self.cursor = None;
            return Ok(());
        };
        if self.cursor.is_none() || self.at != at {
            self.open(at);
        }
        if let Some(cursor) = &mut self.cursor {
            cursor.seek_back(key)?;
        }
        self.go_back()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.next()?;
        }
        self.go_on()
    }

    fn prev(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.prev()?;
        }
        self.go_back()
    }

    /// To the first entry of a later table when this one has no more. The bounds of a table that was
    /// cut need not be keys, so a table may have none where its bounds say there could be one.
    fn go_on(&mut self) -> Result<()> {
        while self.cursor.as_ref().is_some_and(|cursor| !cursor.valid()) {
            self.open(self.at + 1);
            if let Some(cursor) = &mut self.cursor {
                cursor.seek_first()?;
            }
        }
        Ok(())
    }

    /// To the last entry of an earlier table when this one has none before.
    fn go_back(&mut self) -> Result<()> {
        while self.cursor.as_ref().is_some_and(|cursor| !cursor.valid()) {
            let Some(before) = self.at.checked_sub(1) else {
                self.cursor = None;
                return Ok(());
            };
            self.open(before);
            if let Some(cursor) = &mut self.cursor {
                cursor.seek_last()?;
            }
        }
        Ok(())
    }
}

/// Walks what is visible of one table.
pub(crate) struct FileCursor {
    file: Arc<LiveTable>,
    cursor: TableCursor,
    is_cut: bool,
    /// Whether the cursor, if valid, stands on what is visible.
    inside: bool,
}

impl FileCursor {
    pub(crate) fn new(file: Arc<LiveTable>, how: ReadHow) -> FileCursor {
        let cursor = TableCursor::new(Arc::clone(&file.table), how);
        FileCursor { is_cut: file.info.is_cut(), inside: true, cursor, file }
    }

    fn valid(&self) -> bool {
        self.inside && self.cursor.valid()
    }

    fn key(&self) -> &[u8] {
        self.cursor.key()
    }

    fn stamp(&self) -> Stamp {
        self.cursor.stamp()
    }

    fn value(&self) -> &[u8] {
        self.cursor.value()
    }

    fn seek_first(&mut self) -> Result<()> {
        if self.is_cut {
            self.cursor.seek(&self.file.info.first_key)?;
            self.look();
            return Ok(());
        }
        self.cursor.seek_first()
    }

    fn seek_last(&mut self) -> Result<()> {
        if self.is_cut {
            self.cursor.seek_back(&self.file.info.last_key)?;
            return self.look_back();
        }
        self.cursor.seek_last()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        if self.is_cut {
            self.cursor.seek(key.max(&self.file.info.first_key))?;
            self.look();
            return Ok(());
        }
        self.cursor.seek(key)
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        if self.is_cut {
            self.cursor.seek_back(key.min(&self.file.info.last_key))?;
            return self.look_back();
        }
        self.cursor.seek_back(key)
    }

    fn next(&mut self) -> Result<()> {
        self.cursor.next()?;
        if self.is_cut {
            self.look();
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.cursor.prev()?;
        if self.is_cut {
            self.look();
        }
        Ok(())
    }

    /// As `TableCursor::blocks_below`, of what is visible.
    fn blocks_below(&self, bound: Option<&[u8]>, least: usize) -> Result<usize> {
        let last = self.is_cut.then_some(self.file.info.last_key.as_slice());
        let bound = match (bound, last) {
            (Some(bound), Some(last)) => Some(bound.min(last)),
            (bound, last) => bound.or(last),
        };
        self.cursor.blocks_below(bound, least)
    }

    /// Steps back over the versions of a last key that is excluded.
    fn look_back(&mut self) -> Result<()> {
        let excluded = |key: &[u8]| self.file.info.ends_before(key);
        while self.cursor.valid() && excluded(self.cursor.key()) {
            self.cursor.prev()?;
        }
        self.look();
        Ok(())
    }

    fn look(&mut self) {
        self.inside = !self.cursor.valid() || self.file.holds(self.cursor.key());
    }
}

/// Walks tables that follow one another, forward and once: lets go of each table when it is through.
pub(crate) struct RunCursor {
    waiting: VecDeque<Arc<LiveTable>>,
    how: ReadHow,
    cursor: Option<FileCursor>,
    /// Tables that were opened so far.
    opened: usize,
}

impl RunCursor {
    pub(crate) fn new(tables: impl IntoIterator<Item = Arc<LiveTable>>, how: ReadHow) -> RunCursor {
        RunCursor { waiting: tables.into_iter().collect(), how, cursor: None, opened: 0 }
    }

    /// Whether the block it stands in was in the cache.
    pub(crate) fn was_cached(&self) -> bool {
        self.current().cursor.was_cached()
    }

    /// Whether it stands on the first entry of a block.
    pub(crate) fn begins_block(&self) -> bool {
        self.current().cursor.begins_block()
    }

    pub(crate) fn block_facts(&self) -> BlockFacts {
        self.current().cursor.block_facts()
    }

    pub(crate) fn value_bytes_most(&self) -> usize {
        self.current().cursor.value_bytes_most()
    }

    /// How many blocks of its table, from the one it stands in on, have only keys below `bound`; 0 for
    /// fewer than `least`.
    pub(crate) fn blocks_below(&self, bound: Option<&[u8]>, least: usize) -> Result<usize> {
        self.current().blocks_below(bound, least)
    }

    /// The block it stands in, to be carried into another table.
    pub(crate) fn carried(&mut self) -> Result<Option<Carried<'_>>> {
        self.cursor.as_mut().map_or(Ok(None), |file| file.cursor.carried())
    }

    fn skip_block(&mut self) -> Result<()> {
        if let Some(file) = &mut self.cursor {
            file.cursor.skip_block()?;
            if file.is_cut {
                file.look();
            }
        }
        self.go_on()
    }

    /// Which of its tables it stands in.
    pub(crate) fn at(&self) -> usize {
        self.opened.saturating_sub(1)
    }

    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(FileCursor::valid)
    }

    fn current(&self) -> &FileCursor {
        self.cursor.as_ref().expect("the cursor stands on an entry")
    }

    fn key(&self) -> &[u8] {
        self.current().key()
    }

    fn stamp(&self) -> Stamp {
        self.current().stamp()
    }

    fn value(&self) -> &[u8] {
        self.current().value()
    }

    fn seek_first(&mut self) -> Result<()> {
        assert!(self.opened == 0, "a run is walked once");
        self.go_on()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.next()?;
        }
        self.go_on()
    }

    fn go_on(&mut self) -> Result<()> {
        while !self.valid() {
            let Some(file) = self.waiting.pop_front() else {
                self.cursor = None;
                return Ok(());
            };
            self.opened += 1;
            self.cursor.insert(FileCursor::new(file, self.how)).seek_first()?;
        }
        Ok(())
    }
}
