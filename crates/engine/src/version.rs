//! Which tables hold a keyspace at one moment.
//!
//! A version never changes; a flush or compaction makes another one. Readers hold it as long as they
//! read and no longer.
//!
//! 1. Level 0 lists tables newest first; they may overlap.
//! 2. The tables of every other level are ordered by key and do not overlap.
//! 3. For one key, what stands on a lower-numbered level (or earlier in level 0) is newer.
//! 4. A table that was cut shows the entries of a range of keys and no others; its place among the
//!    tables is that of the range.
//! 5. A table's file is removed after the manifest forgot it and the last version that names it died.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{
    error::Result,
    invariant::invariant,
    key::prefix_word,
    ranges::RangeDeletes,
    sync::Mutex,
    table::{Part, ReadHow, Table, TableInfo},
    values::LiveValues,
};

/// Number of levels, level 0 included.
pub(crate) const LEVELS: usize = 7;

/// Files that nobody needs any more, to be removed by the background.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    files: Mutex<Vec<TrashedFile>>,
    /// Whether there is any; looked at without the lock.
    waits: AtomicBool,
}

/// A file to remove, and what the block cache knows it by.
#[derive(Debug)]
pub(crate) struct TrashedFile {
    pub(crate) path: PathBuf,
    pub(crate) cache_id: Option<u64>,
}

impl Trash {
    pub(crate) fn add(&self, path: PathBuf, cache_id: Option<u64>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.push(TrashedFile { path, cache_id });
        self.waits.store(true, Relaxed);
    }

    pub(crate) fn take(&self) -> Vec<TrashedFile> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.waits.store(false, Relaxed);
        std::mem::take(&mut files)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.waits.load(Relaxed)
    }
}

/// A table, or the part of it that is visible, and what the manifest knows of it.
#[derive(Debug)]
pub(crate) struct LiveTable {
    pub(crate) table: Arc<Table>,
    /// Entries and keys are those that are visible.
    pub(crate) info: TableInfo,
    pub(crate) path: PathBuf,
    file: Arc<LiveFile>,
}

/// The file of a table, shared by what it was and what it was cut to.
#[derive(Debug)]
struct LiveFile {
    path: PathBuf,
    cache_id: u64,
    obsolete: AtomicBool,
    /// The time by which all of it has expired, once somebody asked.
    expires_by: OnceLock<Option<u64>>,
    trash: Arc<Trash>,
}

impl LiveTable {
    pub(crate) fn new(
        table: Arc<Table>,
        info: TableInfo,
        path: PathBuf,
        trash: Arc<Trash>,
    ) -> LiveTable {
        let file = LiveFile {
            path: path.clone(),
            cache_id: table.cache_id(),
            obsolete: AtomicBool::new(false),
            expires_by: OnceLock::new(),
            trash,
        };
        LiveTable { table, info, path, file: Arc::new(file) }
    }

    /// The same table, cut to `part`.
    pub(crate) fn cut_to(&self, part: &Part) -> LiveTable {
        assert!(self.info.first_key <= part.first_key && part.last_key <= self.info.last_key);
        LiveTable {
            table: Arc::clone(&self.table),
            info: self.info.cut_to(part),
            path: self.path.clone(),
            file: Arc::clone(&self.file),
        }
    }

    /// The deletions of ranges that it lists, as far as they are visible.
    pub(crate) fn range_deletes(&self, how: ReadHow) -> Result<Arc<RangeDeletes>> {
        let list = self.table.range_deletes(how)?;
        Ok(self.info.clip(&list).map_or(list, Arc::new))
    }

    /// Whether all that it holds has expired at `mark`; no, when that cannot be read now.
    pub(crate) fn is_expired(&self, mark: u64) -> bool {
        let known = self.file.expires_by.get().copied();
        let expires_by = known.or_else(|| {
            let read = self.table.expires_by().ok()?;
            Some(*self.file.expires_by.get_or_init(|| read))
        });
        expires_by.flatten().is_some_and(|expires_by| expires_by <= mark)
    }

    /// The manifest no longer names this table: its file goes with the last reader.
    pub(crate) fn mark_obsolete(&self) {
        self.file.obsolete.store(true, Relaxed);
    }

    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.info.spans(key)
    }

    pub(crate) fn overlaps(&self, first: &[u8], last: &[u8]) -> bool {
        self.info.first_key.as_slice() <= last && first <= self.info.last_key.as_slice()
    }
}

impl Drop for LiveFile {
    fn drop(&mut self) {
        if self.obsolete.load(Relaxed) {
            self.trash.add(std::mem::take(&mut self.path), Some(self.cache_id));
        }
    }
}

/// The tables of one level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    tables: Vec<Arc<LiveTable>>,
    /// `prefix_word` of each table's last key; empty on level 0.
    last_words: Vec<u64>,
}

impl Level {
    /// A level of tables ordered by key.
    pub(crate) fn ordered(tables: Vec<Arc<LiveTable>>) -> Level {
        invariant!(tables.windows(2).all(|pair| pair[0].info.ends_before(&pair[1].info.first_key)));
        let last_words = tables.iter().map(|table| prefix_word(&table.info.last_key)).collect();
        Level { tables, last_words }
    }

    pub(crate) fn tables(&self) -> &[Arc<LiveTable>] {
        &self.tables
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.info.visible_bytes()).sum()
    }

    /// Index of the first table that does not end before `key`. Not for level 0.
    pub(crate) fn seek(&self, key: &[u8]) -> usize {
        let word = prefix_word(key);
        let mut at = self.last_words.partition_point(|last| *last < word);
        while self.tables.get(at).is_some_and(|table| table.info.ends_before(key)) {
            at += 1;
        }
        at
    }

    /// The tables that overlap `first..=last`, in their order.
    pub(crate) fn overlapping(&self, first: &[u8], last: &[u8]) -> Vec<Arc<LiveTable>> {
        self.tables.iter().filter(|table| table.overlaps(first, last)).cloned().collect()
    }

    /// The one table that may hold `key`. Not for level 0.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Arc<LiveTable>> {
        // Most levels of most keyspaces are empty, and every read asks all of them.
        if self.tables.is_empty() {
            return None;
        }
        self.tables.get(self.seek(key)).filter(|table| table.info.first_key.as_slice() <= key)
    }
}

/// Which tables hold a keyspace at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    pub(crate) levels: [Arc<Level>; LEVELS],
    /// The value files that its tables, and memtables beside it, may point into.
    pub(crate) values: Arc<BTreeMap<u64, Arc<LiveValues>>>,
    /// Whether some table lists deletions of ranges.
    pub(crate) has_range_deletes: bool,
}

impl Version {
    /// The version of these tables. Level 0 is put newest first.
    pub(crate) fn new(tables: impl IntoIterator<Item = (usize, Arc<LiveTable>)>) -> Version {
        let mut levels: [Vec<Arc<LiveTable>>; LEVELS] = Default::default();
        for (level, table) in tables {
            levels[level].push(table);
        }
        Version::of(levels)
    }

    fn of(mut levels: [Vec<Arc<LiveTable>>; LEVELS]) -> Version {
        levels[0].sort_by_key(|table| std::cmp::Reverse((table.info.seqno_max, table.info.id)));
        for tables in &mut levels[1..] {
            tables.sort_by(|a, b| a.info.first_key.cmp(&b.info.first_key));
        }
        let listing = |table: &Arc<LiveTable>| table.info.range_deletes != 0;
        let has_range_deletes = levels.iter().flatten().any(listing);
        let mut index = 0;
        let levels = levels.map(|tables| {
            index += 1;
            let level0 = index == 1;
            Arc::new(if level0 {
                Level { tables, last_words: Vec::new() }
            } else {
                Level::ordered(tables)
            })
        });
        Version { levels, values: Arc::default(), has_range_deletes }
    }

    /// This version without `removed` and with `added`.
    pub(crate) fn edited(
        &self,
        removed: &[(usize, Arc<LiveTable>)],
        added: &[(usize, Arc<LiveTable>)],
    ) -> Version {
        let mut levels = self.levels.each_ref().map(|level| level.tables.clone());
        for (level, table) in removed {
            let before = levels[*level].len();
            levels[*level].retain(|known| !Arc::ptr_eq(known, table));
            assert!(
                levels[*level].len() + 1 == before,
                "table {} is not on level {level}",
                table.info.id
            );
        }
        for (level, table) in added {
            levels[*level].push(Arc::clone(table));
        }
        Version { values: Arc::clone(&self.values), ..Version::of(levels) }
    }

    /// This version without the value files `removed` and with `added`.
    pub(crate) fn with_values(
        mut self,
        removed: &[Arc<LiveValues>],
        added: &[Arc<LiveValues>],
    ) -> Version {
        if removed.is_empty() && added.is_empty() {
            return self;
        }
        let mut values = BTreeMap::clone(&self.values);
        for file in removed {
            let known = values.remove(&file.info.file);
            assert!(known.is_some(), "value file {} is not there", file.info.file);
        }
        values.extend(added.iter().map(|file| (file.info.file, Arc::clone(file))));
        self.values = Arc::new(values);
        self
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<LiveTable>> {
        self.levels.iter().flat_map(|level| level.tables.iter())
    }
}
