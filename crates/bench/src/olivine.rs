//! Olivine behind `Store`.

use std::path::Path;

use olivine_bench::{Durability, Facts, Result, Settings, Sorted, Store, Stores};
use olivine_engine::{Batch, Db, Environment, EnvironmentOptions, Keyspace, Options};

/// The one engine that this program opens.
pub(crate) struct Olivine;

struct OpenStore {
    db: Db,
    keyspace: Keyspace,
}

impl Stores for Olivine {
    fn open(&self, engine: &str, dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
        if engine != "olivine" {
            return Err(format!("this program opens `olivine`, not {engine:?}").into());
        }
        let memory_bytes = settings.budget_bytes;
        let environment = Environment::new(EnvironmentOptions { memory_bytes })?;
        let options = Options {
            durability: match settings.durability {
                Durability::Sync => olivine_engine::Durability::Sync,
                Durability::Os => olivine_engine::Durability::Os,
            },
            memtable_bytes_max: settings.memtable_bytes,
            // The default, unless a memtable is smaller than a segment.
            segment_bytes: Options::default().segment_bytes.min(settings.memtable_bytes / 2),
            ..Options::default()
        };
        let db = Db::open(&environment, dir, options)?;
        let keyspace = db.keyspace("records")?;
        Ok(Box::new(OpenStore { db, keyspace }))
    }

    fn describe(&self, _: &str) -> Result<String> {
        Ok(format!(
            "{}: its defaults, with one budget for memtables, cache, indexes, filters and buffers: \
             10-bit filters, 4 KiB blocks, lz4 on every level; sorted input through its ingest",
            env!("CARGO_PKG_VERSION")
        ))
    }
}

impl Store for OpenStore {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.put(key, value)?;
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.keyspace.delete(key)?;
        Ok(())
    }

    fn batch(&self, records: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = Batch::new();
        for (key, value) in records {
            batch.put(&self.keyspace, key, value)?;
        }
        self.db.write(batch)?;
        Ok(())
    }

    fn load_sorted(&self, records: &mut dyn Sorted) -> Result<()> {
        let mut ingest = self.keyspace.ingest()?;
        while let Some((key, value)) = records.next() {
            ingest.add(key, value)?;
        }
        ingest.finish()?;
        Ok(())
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspace.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: u64, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut cursor = self.keyspace.cursor()?;
        cursor.seek(from)?;
        let mut count = 0;
        while count < limit && cursor.valid() {
            seen(cursor.key(), cursor.value()?);
            count += 1;
            if count < limit {
                cursor.next()?;
            }
        }
        Ok(count)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.settle()?)
    }

    fn catch_up(&self) -> Result<()> {
        Ok(self.db.catch_up()?)
    }

    fn facts(&self) -> Facts {
        let stats = self.db.stats();
        Facts {
            cache_hits: Some(stats.cache_hits),
            cache_misses: Some(stats.cache_misses),
            told: format!(
                "{} flushes, {} compactions, tables {:?}, stalled {:.2} s",
                stats.flushes,
                stats.compactions,
                stats.level_tables,
                stats.stalled.as_secs_f64()
            ),
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.keyspace);
        Ok(self.db.close()?)
    }
}
