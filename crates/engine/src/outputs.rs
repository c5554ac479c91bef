//! Tables that are being written, until the manifest names them.
//!
//! 1. Files that were never to be named are removed when `Outputs` is dropped, also after an error:
//!    a full disk gets its room back.
//! 2. They may be handed over in several portions, each when none is being written.
//! 3. What it takes of memory was set aside before the first of them began.
//! 4. Once an edit that names them may be on the disk, nobody removes them but opening, which knows.
//! 5. Their contents are durable when `sync_names` returns: each is synced at its end, or, where they are named
//!    all at once, by then.

use std::{collections::VecDeque, ops::RangeInclusive, path::PathBuf, sync::Arc};

use crate::{
    allotment::Allotment,
    environment::Environment,
    error::{Error, Result},
    key::SeqNo,
    metadata::MetadataKeeper,
    options::{Compression, CompressionLast, KeyspaceOptions},
    planted::{Bug, planted},
    store::Store,
    table::{
        Codec, MetaCharge, Table, TableFile, TableInfo, TableOptions, TableOrigin, TableWriter,
        WrittenFile,
    },
    version::{LEVELS, LiveTable, Trash},
};

/// Filter bits per key in whose place a fuse filter takes about nine, for fewer mistakes: below, it
/// would take more than was asked for, and above, make more mistakes.
const FUSE_BITS: RangeInclusive<u8> = 9..=14;

/// Tables that may wait for their sync. The disk has begun to write each out long before.
const UNSYNCED_MAX: usize = 8;

/// The tables that a flush or a compaction writes.
pub(crate) struct Outputs<'a> {
    store: &'a Store,
    warmth: Warmth,
    table_options: TableOptions,
    /// Whether tables are synced together, behind the last one.
    syncs_late: bool,
    unsynced: VecDeque<WrittenFile>,
    origin: TableOrigin,
    allotment: Allotment,
    /// Every file that was created.
    paths: Vec<PathBuf>,
    /// What the cache knows the table by that is being written.
    cache_id: u64,
    tables: Vec<Output>,
}

/// A table that was written.
struct Output {
    info: TableInfo,
    cache_id: u64,
}

/// Whether blocks go into the cache as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// They do: what was just written is likely to be read.
    Warm,
    /// They do where there is room, and where most of what a block holds was in the cache before.
    AsBefore,
    /// They do not: much is written at once, and who knows what of it will be read.
    Cold,
}

impl<'a> Outputs<'a> {
    /// Tables of `origin`, in the memory of `allotment`.
    pub(crate) fn new(
        store: &'a Store,
        warmth: Warmth,
        origin: TableOrigin,
        allotment: Allotment,
    ) -> Outputs<'a> {
        let table_options = store.table_options_for(usize::from(origin.level), &origin.options);
        Outputs {
            store,
            warmth,
            table_options,
            syncs_late: false,
            unsynced: VecDeque::new(),
            origin,
            allotment,
            paths: Vec::new(),
            cache_id: 0,
            tables: Vec::new(),
        }
    }

    /// They come sorted from outside, in numbers: their filters are the plain ones, which cost least to
    /// build, and nobody waits for a sync between two of them.
    pub(crate) fn loaded(mut self) -> Outputs<'a> {
        let prefix = self.table_options.prefix;
        self.table_options = TableOptions { prefix, ..self.store.table_options() };
        self.syncs_late = true;
        self
    }

    /// Whether the table that begins now is put into the cache.
    fn is_warm(&self) -> bool {
        let cache = self.store.cache();
        let bytes = self.store.options.table_bytes_max;
        match self.warmth {
            Warmth::Warm => true,
            Warmth::AsBefore => cache.stats().bytes + 2 * bytes <= cache.capacity(),
            Warmth::Cold => false,
        }
    }

    /// Bytes of a block as it is laid out.
    pub(crate) fn block_bytes(&self) -> usize {
        self.store.options.block_bytes as usize
    }

    /// Begins a table.
    pub(crate) fn begin(&mut self) -> Result<TableWriter> {
        let store = self.store;
        let id = store.draw_table_id();
        let path = store.table_path(id);
        let (vfs, options) = (store.environment.vfs(), self.table_options);
        let writer = TableWriter::create(vfs.as_ref(), path.clone(), store.id, id, options);
        let mut writer = writer.map_err(|error| error.or_full(&store.dir))?;
        writer.belongs_to(self.origin.clone());
        writer.stay_within(self.allotment.buffer_bytes, self.allotment.keys_bytes);
        // Only what was created here may be removed here.
        self.paths.push(path);
        self.cache_id = store.cache().new_id();
        let cache = Arc::clone(store.cache());
        if self.is_warm() {
            writer.warm(cache, self.cache_id);
        } else if self.warmth == Warmth::AsBefore {
            writer.warm_what_was(cache, self.cache_id);
        }
        Ok(writer)
    }

    /// Ends a table.
    pub(crate) fn end(&mut self, writer: TableWriter) -> Result<()> {
        self.end_in_file(writer).map_err(|error| self.given_up(error))
    }

    fn end_in_file(&mut self, writer: TableWriter) -> Result<()> {
        let (info, written) = writer.finish_unsynced()?;
        self.unsynced.push_back(written);
        let wait = if self.syncs_late { UNSYNCED_MAX } else { 0 };
        self.sync_but(wait)?;
        self.tables.push(Output { info, cache_id: self.cache_id });
        Ok(())
    }

    /// Syncs all tables that wait for it but for the last few.
    fn sync_but(&mut self, wait: usize) -> Result<()> {
        while wait < self.unsynced.len() {
            self.unsynced.pop_front().into_iter().try_for_each(WrittenFile::sync)?;
        }
        Ok(())
    }

    /// The files are given up whole, so even a sync without room is no riddle.
    fn given_up(&self, error: Error) -> Error {
        let dir = &self.store.dir;
        if error.is_disk_full() { Error::Full { path: dir.clone() } } else { error }
    }

    /// Makes the names of the tables durable, and what is not yet of their contents.
    pub(crate) fn sync_names(&mut self) -> Result<()> {
        self.sync_but(0).map_err(|error| self.given_up(error))?;
        if self.paths.is_empty() || planted(Bug::TableNameUnsynced) {
            return Ok(());
        }
        let dir = &self.store.dir;
        self.store.environment.vfs().sync_dir(dir).map_err(Error::io("sync", dir))
    }

    /// Bytes of the tables that are ended.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.info.bytes).sum()
    }

    /// What was written.
    pub(crate) fn infos(&self) -> impl Iterator<Item = &TableInfo> {
        self.tables.iter().map(|table| &table.info)
    }

    /// Gives the sequence number to tables that were to be numbered later.
    pub(crate) fn number(&mut self, seqno: SeqNo) {
        for table in &mut self.tables {
            (table.info.seqno_min, table.info.seqno_max) = (seqno, seqno);
        }
    }

    /// The tables as readers will use them, with index and filter in memory.
    pub(crate) fn live(&self) -> Vec<Arc<LiveTable>> {
        let tables = self.live_cold();
        for live in &tables {
            live.table.warm();
        }
        tables
    }

    /// The same without a look at the disk: the first reader loads index and filter.
    pub(crate) fn live_cold(&self) -> Vec<Arc<LiveTable>> {
        let store = self.store;
        let live = |output: &Output| {
            let Output { info, cache_id } = output;
            let path = store.table_path(info.id);
            let id = Some(*cache_id);
            live_table(&store.environment, store.id, path, info.clone(), id, &store.trash)
        };
        self.tables.iter().map(live).collect()
    }

    /// Leaves the files to the edit that names them, unless it found no room: then they go.
    pub(crate) fn settle(mut self, committed: Result<()>) -> Result<()> {
        self.hand_over(committed)
    }

    /// Leaves the files that are ended to the edit that names them, unless it found no room; more may
    /// follow.
    pub(crate) fn hand_over(&mut self, committed: Result<()>) -> Result<()> {
        if !matches!(committed, Err(Error::Full { .. })) {
            self.paths.clear();
            self.tables.clear();
        }
        committed
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        if self.paths.is_empty() {
            return;
        }
        let mut cached: Vec<u64> = self.tables.iter().map(|table| table.cache_id).collect();
        cached.push(self.cache_id);
        self.store.cache().remove_tables(&cached);
        for path in &self.paths {
            // What cannot be removed now is removed by the next opening.
            self.store.environment.vfs().remove_file(path).ok();
        }
    }
}

impl Store {
    /// How this store lays out the tables of a level. Those above the last are few and asked by every
    /// read that goes on to the next, so their filters are sharper: what a key costs that is not in
    /// them adds up over the runs, and two mistakes in one read are its slow thousandth.
    pub(crate) fn table_options_of(&self, level: usize) -> TableOptions {
        let mut options = self.table_options();
        if level < LEVELS - 1 {
            let bits = options.filter_bits_per_key;
            options.filter_bits_per_key = bits + bits / 2 + bits / 8;
        } else {
            options.fuse = FUSE_BITS.contains(&options.filter_bits_per_key);
        }
        options
    }

    /// The same for tables of a keyspace that behaves so.
    pub(crate) fn table_options_for(&self, level: usize, named: &KeyspaceOptions) -> TableOptions {
        let is_last = level == LEVELS - 1;
        TableOptions {
            prefix: named.prefix,
            zstd: is_last && named.compression_last == CompressionLast::Zstd,
            ..self.table_options_of(level)
        }
    }

    /// Files that are written at once: a table, and one of values where those may stand apart.
    pub(crate) fn files_at_once(&self) -> u64 {
        1 + u64::from(self.options.value_apart_bytes_min != 0)
    }

    /// How this store lays out its tables, level aside.
    pub(crate) fn table_options(&self) -> TableOptions {
        TableOptions {
            block_bytes: self.options.block_bytes,
            filter_bits_per_key: self.options.filter_bits_per_key,
            fuse: false,
            prefix: None,
            codec: match self.options.compression {
                Compression::None => Codec::Raw,
                Compression::Lz4 => Codec::Lz4,
            },
            zstd: false,
        }
    }
}

/// A table as readers use it.
pub(crate) fn live_table(
    environment: &Environment,
    store: u64,
    path: PathBuf,
    info: TableInfo,
    cache_id: Option<u64>,
    trash: &Arc<Trash>,
) -> Arc<LiveTable> {
    let file = TableFile {
        path: path.clone(),
        store,
        table: info.id,
        bytes: info.bytes,
        checksum: info.checksum,
        seqno: info.seqno_max,
        cache_id,
    };
    let metadata = environment.metadata();
    let charge: Arc<dyn MetaCharge> = Arc::<MetadataKeeper>::clone(metadata);
    let vfs = Arc::clone(environment.vfs());
    let table = Arc::new(Table::new(vfs, file, Arc::clone(environment.cache()), charge));
    metadata.watch(&table);
    Arc::new(LiveTable::new(table, info, path, Arc::clone(trash)))
}
