//! RocksDB.

use std::path::{Path, PathBuf};

use olivine_bench::{Durability, Facts, Result, Settings, Sorted, Store};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, IngestExternalFileOptions,
    Options, ReadOptions, SstFileWriter, WaitForCompactOptions, WriteBatch, WriteOptions,
};

pub const ABOUT: &str = "11.8 (crate rocksdb 0.25): 10-bit whole-key Bloom filters, format 6, \
    4 KiB blocks with a hash index, HyperClock cache, index and filter blocks beside it, lz4 on \
    every level, 2 background jobs, 2 write buffers (its default), 4 recycled logs; checksums of \
    blocks verified when read from a file; sorted input through SstFileWriter and ingestion, 64 MiB \
    a file; deletes of what was put once are its single deletes";

pub const ABOUT_BLOBS: &str = "the same with values from 1 KiB in blob files: lz4, collected, \
    read through the block cache";

/// Of one file of sorted input: what its compaction would cut.
const SORTED_FILE_BYTES: u64 = 64 << 20;
const BLOB_BYTES_MIN: u64 = 1 << 10;

struct Rocks {
    db: DB,
    options: Options,
    dir: PathBuf,
    write: WriteOptions,
    read: ReadOptions,
}

/// With values of any length in the tree.
pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
    open_with(dir, settings, false)
}

/// With large values in blob files.
pub fn open_with_blobs(dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
    open_with(dir, settings, true)
}

fn open_with(dir: &Path, settings: &Settings, blobs: bool) -> Result<Box<dyn Store>> {
    let mut blocks = BlockBasedOptions::default();
    let cache = Cache::new_hyper_clock_cache(settings.cache_bytes as usize, 0);
    blocks.set_block_cache(&cache);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_whole_key_filtering(true);
    blocks.set_optimize_filters_for_memory(true);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_format_version(6);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(settings.memtable_bytes as usize);
    options.set_max_background_jobs(2);
    options.set_recycle_log_file_num(4);
    if blobs {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES_MIN);
        options.set_blob_compression_type(DBCompressionType::Lz4);
        options.set_enable_blob_gc(true);
        options.set_blob_cache(&cache);
    }
    let mut write = WriteOptions::default();
    write.set_sync(settings.durability == Durability::Sync);
    let db = DB::open(&options, dir)?;
    Ok(Box::new(Rocks { db, options, dir: dir.into(), write, read: ReadOptions::default() }))
}

impl Store for Rocks {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.write)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.write)?)
    }

    fn delete_once(&self, key: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.single_delete(key);
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn batch(&self, records: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in records {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn load_sorted(&self, records: &mut dyn Sorted) -> Result<()> {
        let mut paths = Vec::new();
        let mut writer = SstFileWriter::create(&self.options);
        let mut is_open = false;
        while let Some((key, value)) = records.next() {
            if !is_open {
                paths.push(self.dir.join(format!("sorted-{}.sst", paths.len())));
                writer.open(&paths[paths.len() - 1])?;
                is_open = true;
            }
            writer.put(key, value)?;
            if SORTED_FILE_BYTES <= writer.file_size() {
                writer.finish()?;
                is_open = false;
            }
        }
        if is_open {
            writer.finish()?;
        }
        drop(writer);
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        Ok(self.db.ingest_external_file_opts(&ingest, paths)?)
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned_opt(key, &self.read)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: u64, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut cursor = self.db.raw_iterator();
        cursor.seek(from);
        let mut count = 0;
        while count < limit {
            let Some((key, value)) = cursor.item() else { break };
            seen(key, value);
            count += 1;
            if count < limit {
                cursor.next();
            }
        }
        cursor.status()?;
        Ok(count)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn close(self: Box<Self>) -> Result<()> {
        // What `DB::Close` would do; dropping does the rest.
        self.db.cancel_all_background_work(true);
        Ok(())
    }
}
