//! Tables that are being written, until the manifest names them.
//!
//! 1. Files that were never to be named are removed when `Outputs` is dropped, also after an error:
//!    a full disk gets its room back.
//! 2. Once an edit that names them is on its way, nobody removes them but opening, which knows.

use std::{path::PathBuf, sync::Arc};

use crate::{
    environment::Environment,
    error::{Error, Result},
    metadata::MetadataKeeper,
    options::Compression,
    store::Store,
    table::{Codec, MetaCharge, Table, TableFile, TableInfo, TableOptions, TableWriter},
    version::{LiveTable, Trash},
};

/// The tables that a flush or a compaction writes.
pub(crate) struct Outputs<'a> {
    store: &'a Store,
    /// Every file that was created.
    paths: Vec<PathBuf>,
    pub(crate) tables: Vec<TableInfo>,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(store: &'a Store) -> Outputs<'a> {
        Outputs { store, paths: Vec::new(), tables: Vec::new() }
    }

    /// Begins a table.
    pub(crate) fn begin(&mut self) -> Result<TableWriter> {
        let store = self.store;
        let id = store.draw_table_id();
        let path = store.table_path(id);
        let options = TableOptions {
            block_bytes: store.options.block_bytes,
            filter_bits_per_key: store.options.filter_bits_per_key,
            codec: match store.options.compression {
                Compression::None => Codec::Raw,
                Compression::Lz4 => Codec::Lz4,
            },
        };
        self.paths.push(path.clone());
        TableWriter::create(store.environment.vfs().as_ref(), path, store.id, id, options)
    }

    /// Ends a table: its contents are durable.
    pub(crate) fn end(&mut self, writer: TableWriter) -> Result<()> {
        self.tables.push(writer.finish()?);
        Ok(())
    }

    /// Makes the names of the tables durable.
    pub(crate) fn sync_names(&self) -> Result<()> {
        if self.paths.is_empty() {
            return Ok(());
        }
        let dir = &self.store.dir;
        self.store.environment.vfs().sync_dir(dir).map_err(Error::io("sync", dir))
    }

    /// Bytes of the tables that are ended.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }

    /// Leaves the files to whoever names them.
    pub(crate) fn keep(mut self) -> Vec<TableInfo> {
        self.paths.clear();
        std::mem::take(&mut self.tables)
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            // What cannot be removed now is removed by the next opening.
            self.store.environment.vfs().remove_file(path).ok();
        }
    }
}

impl Store {
    /// A table as readers use it.
    pub(crate) fn live_table(&self, info: TableInfo) -> Arc<LiveTable> {
        live_table(&self.environment, self.id, self.table_path(info.id), info, &self.trash)
    }
}

/// A table as readers use it.
pub(crate) fn live_table(
    environment: &Environment,
    store: u64,
    path: PathBuf,
    info: TableInfo,
    trash: &Arc<Trash>,
) -> Arc<LiveTable> {
    let file = TableFile {
        path: path.clone(),
        store,
        table: info.id,
        bytes: info.bytes,
        checksum: info.checksum,
    };
    let metadata = environment.metadata();
    let charge: Arc<dyn MetaCharge> = Arc::<MetadataKeeper>::clone(metadata);
    let vfs = Arc::clone(environment.vfs());
    let table = Arc::new(Table::new(vfs, file, Arc::clone(environment.cache()), charge));
    metadata.watch(&table);
    Arc::new(LiveTable::new(table, info, path, Arc::clone(trash)))
}
