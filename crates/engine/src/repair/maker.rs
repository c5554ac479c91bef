//! Writes the tables of a repaired store, or counts what would be written.
//!
//! 1. In a dry run nothing is written.
//! 2. Numbers are above those of all tables there are, so nothing is overwritten.

use std::{path::PathBuf, sync::Arc};

use olivine_vfs::Vfs;

use crate::{
    error::{Error, Result},
    key::Stamp,
    ranges::RangeDeletes,
    store::table_name,
    table::{TableInfo, TableOptions, TableOrigin, TableWriter},
};

/// Length at which a table ends and the next one begins.
const TABLE_BYTES_MAX: u64 = 32 << 20;

/// Where tables are made.
pub(super) struct Maker {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    store: u64,
    pub(super) next_table: u64,
    dry_run: bool,
    pub(super) tables: u64,
    pub(super) entries: u64,
}

/// A run of tables being made, each behind the one before.
pub(super) struct Run {
    origin: TableOrigin,
    /// Deleted ranges that the tables list between them.
    ranges: RangeDeletes,
    /// Where the table being written begins in the list; `None` at the first.
    from: Option<Vec<u8>>,
    writer: Option<TableWriter>,
    last_key: Vec<u8>,
    entries: u64,
    made: Vec<TableInfo>,
    may_split: bool,
}

impl Run {
    /// Says which ranges the tables list, before the first of them is ended.
    pub(super) fn set_ranges(&mut self, ranges: RangeDeletes) {
        assert!(self.made.is_empty(), "a table of the run has its list already");
        self.ranges = ranges;
    }
}

impl Maker {
    pub(super) fn new(
        vfs: &Arc<dyn Vfs>,
        dir: PathBuf,
        store: u64,
        next_table: u64,
        dry_run: bool,
    ) -> Maker {
        Maker { vfs: Arc::clone(vfs), dir, store, next_table, dry_run, tables: 0, entries: 0 }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Begins a run; one that may not split is a single table however long.
    pub(super) fn begin(origin: TableOrigin, ranges: RangeDeletes, may_split: bool) -> Run {
        Run {
            origin,
            ranges,
            from: None,
            writer: None,
            last_key: Vec::new(),
            entries: 0,
            made: Vec::new(),
            may_split,
        }
    }

    fn writer(&mut self, origin: &TableOrigin) -> Result<TableWriter> {
        let table = self.next_table;
        self.next_table += 1;
        let path = self.dir.join(table_name(table));
        let prefix = origin.options.prefix;
        let options = TableOptions { prefix, ..TableOptions::default() };
        let mut writer = TableWriter::create(self.vfs.as_ref(), path, self.store, table, options)?;
        writer.belongs_to(origin.clone());
        Ok(writer)
    }

    /// Adds an entry to a run; it must come behind the one before.
    pub(super) fn add(
        &mut self,
        run: &mut Run,
        key: &[u8],
        stamp: Stamp,
        value: &[u8],
    ) -> Result<()> {
        self.entries += 1;
        run.entries += 1;
        if self.dry_run {
            return Ok(());
        }
        let full = |writer: &TableWriter| TABLE_BYTES_MAX <= writer.estimated_bytes();
        if run.may_split && run.last_key != key && run.writer.as_ref().is_some_and(full) {
            self.cut(run, Some(key))?;
        }
        let writer = match &mut run.writer {
            Some(writer) => writer,
            none => none.insert(self.writer(&run.origin)?),
        };
        writer.add(key, stamp, value)?;
        run.last_key.clear();
        run.last_key.extend_from_slice(key);
        Ok(())
    }

    /// Ends the table being written; the next one begins with `to`.
    fn cut(&mut self, run: &mut Run, to: Option<&[u8]>) -> Result<()> {
        let list = run.ranges.clipped(run.from.as_deref(), to);
        let writer = match run.writer.take() {
            None if list.is_empty() => return Ok(()),
            None => self.writer(&run.origin)?,
            Some(writer) => writer,
        };
        let mut writer = writer;
        writer.set_range_deletes(list)?;
        run.made.push(writer.finish()?);
        run.from = to.map(<[u8]>::to_vec);
        self.tables += 1;
        Ok(())
    }

    /// Ends a run: the tables are durable, their names are not yet.
    pub(super) fn end(&mut self, mut run: Run) -> Result<Vec<TableInfo>> {
        if self.dry_run {
            self.tables += u64::from(run.entries != 0 || !run.ranges.is_empty());
            return Ok(Vec::new());
        }
        self.cut(&mut run, None)?;
        Ok(run.made)
    }

    /// Makes the names of all tables durable.
    pub(super) fn sync_names(&self) -> Result<()> {
        if self.dry_run || self.tables == 0 {
            return Ok(());
        }
        self.vfs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }
}
