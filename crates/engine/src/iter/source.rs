//! Where entries come from: a memtable, a table, or a level of tables that follow one another.
//!
//! 1. A source's entries are ordered by key, then newest first.
//! 2. A level opens one table at a time, when the walk reaches it.

use std::sync::Arc;

use crate::{
    error::Result,
    key::Stamp,
    memtable,
    table::{ReadHow, TableCursor},
    version::Level,
};

/// A sorted run of entries, with a place in it.
pub(crate) enum Source {
    Memtable(memtable::Cursor),
    Table(TableCursor),
    Level(LevelCursor),
}

/// Hands a call to whatever the source is.
macro_rules! each {
    ($self:expr, $cursor:ident => $memtable:expr, $other:expr) => {
        match $self {
            Source::Memtable($cursor) => $memtable,
            Source::Table($cursor) => $other,
            Source::Level($cursor) => $other,
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
        each!(self, cursor => { cursor.seek_last(); Ok(()) }, cursor.seek_last())
    }

    /// To the first entry whose key is at least `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => { cursor.seek(key); Ok(()) }, cursor.seek(key))
    }

    /// To the last entry whose key is at most `key`.
    pub(crate) fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => { cursor.seek_back(key); Ok(()) }, cursor.seek_back(key))
    }

    pub(crate) fn next(&mut self) -> Result<()> {
        each!(self, cursor => { cursor.next(); Ok(()) }, cursor.next())
    }

    pub(crate) fn prev(&mut self) -> Result<()> {
        each!(self, cursor => { cursor.prev(); Ok(()) }, cursor.prev())
    }

    /// Past the versions of this key that are newer than `bound`, where that is quicker than step by
    /// step; may do nothing.
    pub(crate) fn skip_newer(&mut self, bound: Stamp) -> bool {
        match self {
            Source::Memtable(cursor) => {
                cursor.skip_newer(bound);
                true
            }
            Source::Table(_) | Source::Level(_) => false,
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
        }
    }
}

/// Walks the tables of one level, which do not overlap, as one run.
pub(crate) struct LevelCursor {
    level: Arc<Level>,
    how: ReadHow,
    /// The table of `cursor`, or one past the last, or anything while there is no cursor.
    at: usize,
    cursor: Option<TableCursor>,
}

impl LevelCursor {
    /// Walks `level`, which is not level 0.
    pub(crate) fn new(level: Arc<Level>, how: ReadHow) -> LevelCursor {
        LevelCursor { level, how, at: 0, cursor: None }
    }

    fn open(&mut self, at: usize) {
        self.at = at;
        let tables = self.level.tables();
        self.cursor =
            tables.get(at).map(|file| TableCursor::new(Arc::clone(&file.table), self.how));
    }

    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(TableCursor::valid)
    }

    fn current(&self) -> &TableCursor {
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
        match &mut self.cursor {
            Some(cursor) => cursor.seek_first(),
            None => Ok(()),
        }
    }

    fn seek_last(&mut self) -> Result<()> {
        let Some(last) = self.level.tables().len().checked_sub(1) else {
            return Ok(());
        };
        self.open(last);
        match &mut self.cursor {
            Some(cursor) => cursor.seek_last(),
            None => Ok(()),
        }
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let at = self.level.seek(key);
        if self.cursor.is_none() || self.at != at {
            self.open(at);
        }
        if let Some(cursor) = &mut self.cursor {
            cursor.seek(key)?;
        }
        self.skip_ended_forward()
    }

    /// From a table that has nothing more to the first entry behind it: a table may reach further than
    /// its entries, by a range that it says is deleted.
    fn skip_ended_forward(&mut self) -> Result<()> {
        while let Some(cursor) = &self.cursor
            && !cursor.valid()
        {
            self.open(self.at + 1);
            if let Some(cursor) = &mut self.cursor {
                cursor.seek_first()?;
            }
        }
        Ok(())
    }

    /// As `skip_ended_forward`, the other way.
    fn skip_ended_backward(&mut self) -> Result<()> {
        while let Some(cursor) = &self.cursor
            && !cursor.valid()
        {
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
        self.skip_ended_backward()
    }

    fn next(&mut self) -> Result<()> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        cursor.next()?;
        if cursor.valid() { Ok(()) } else { self.skip_ended_forward() }
    }

    fn prev(&mut self) -> Result<()> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        cursor.prev()?;
        if cursor.valid() { Ok(()) } else { self.skip_ended_backward() }
    }
}
