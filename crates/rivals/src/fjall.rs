//! fjall.
#![expect(clippy::disallowed_methods, reason = "waiting until it is quiet needs a real pause")]

use std::{path::Path, thread, time::Duration};

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    config::{BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry},
};
use olivine_bench::{Durability, Facts, Result, Settings, Sorted, Store};

pub const ABOUT: &str = "3.1: 10-bit Bloom filters and lz4 on every level, 4 KiB blocks, otherwise \
    its defaults (2 worker threads, journals up to 512 MiB); sorted input through its ingestion; \
    its key-value separation for values of 16 KiB";

struct Fjall {
    db: Database,
    keyspace: Keyspace,
    sync: bool,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
    let db = Database::builder(dir).cache_size(settings.cache_bytes).worker_threads(2).open()?;
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
    let keyspace = db.keyspace("records", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(settings.memtable_bytes)
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
            .filter_policy(FilterPolicy::all(filter))
            .with_kv_separation(settings.large_values.then(KvSeparationOptions::default))
    })?;
    Ok(Box::new(Fjall { db, keyspace, sync: settings.durability == Durability::Sync }))
}

impl Fjall {
    /// A write is with the kernel when its call returns; this brings it to the disk where asked.
    fn persist(&self) -> Result<()> {
        if self.sync {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Store for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.insert(key, value)?;
        self.persist()
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.keyspace.remove(key)?;
        self.persist()
    }

    fn batch(&self, records: &[(&[u8], &[u8])]) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in records {
            batch.insert(&self.keyspace, *key, *value);
        }
        batch.commit()?;
        self.persist()
    }

    fn load_sorted(&self, records: &mut dyn Sorted) -> Result<()> {
        let mut ingestion = self.keyspace.start_ingestion()?;
        while let Some((key, value)) = records.next() {
            ingestion.write(key, value)?;
        }
        Ok(ingestion.finish()?)
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspace.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: u64, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut count = 0;
        for guard in self.keyspace.range(from..).take(usize::try_from(limit).unwrap_or(usize::MAX))
        {
            let (key, value) = guard.into_inner()?;
            seen(&key, &value);
            count += 1;
        }
        Ok(count)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.keyspace.rotate_memtable_and_wait()?)
    }

    fn settle(&self) -> Result<()> {
        self.flush()?;
        // There is no call for it: quiet means that nothing ran or ended for a while.
        let mut quiet = 0;
        let mut completed = self.db.compactions_completed();
        while quiet < 10 {
            thread::sleep(Duration::from_millis(5));
            let now = self.db.compactions_completed();
            let idle = self.db.active_compactions() == 0 && self.db.outstanding_flushes() == 0;
            quiet = if idle && now == completed { quiet + 1 } else { 0 };
            completed = now;
        }
        Ok(())
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}
