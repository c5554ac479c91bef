//! RocksDB.

use std::path::Path;

use olivine_bench::{Durability, Facts, Result, Settings, Store};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Options, ReadOptions,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};

pub const ABOUT: &str = "11.8 (crate rocksdb 0.25): 10-bit whole-key Bloom filters, format 6, \
    4 KiB blocks with a hash index, HyperClock cache, index and filter blocks beside it, lz4 on \
    every level, 2 background jobs, 2 write buffers (its default), 4 recycled logs; checksums of \
    blocks verified when read from a file";

struct Rocks {
    db: DB,
    write: WriteOptions,
    read: ReadOptions,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(settings.cache_bytes as usize, 0));
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
    let mut write = WriteOptions::default();
    write.set_sync(settings.durability == Durability::Sync);
    let db = DB::open(&options, dir)?;
    Ok(Box::new(Rocks { db, write, read: ReadOptions::default() }))
}

impl Store for Rocks {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.write)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.write)?)
    }

    fn batch(&self, records: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in records {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
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
