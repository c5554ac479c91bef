//! LMDB, through heed.

use std::{ops::Bound, path::Path};

use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, WithTls, types::Bytes};
use olivine_bench::{Durability, Facts, Result, Settings, Sorted, Store};

pub const ABOUT: &str = "0.9.70 (heed 0.22): a B-tree in a memory map, no compression, no cache of \
    its own and so outside of the budget; a transaction a write; WRITEMAP and NOSYNC where writes \
    are handed to the kernel only, plain commits where they are synced; no read-ahead; \
    sorted input appended in transactions of 10,000 records";

/// Records of a transaction of sorted input: few enough for its list of changed pages.
const APPENDED_RECORDS: u32 = 10_000;

struct Lmdb {
    env: Env<WithTls>,
    database: Database<Bytes, Bytes>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 30).max_readers(64);
    let mut flags = EnvFlags::NO_READ_AHEAD;
    if settings.durability == Durability::Os {
        flags |= EnvFlags::WRITE_MAP | EnvFlags::NO_SYNC;
    }
    // SAFETY: a power cut may damage the store without NO_SYNC's syncs; these stores are thrown
    // away after the run.
    unsafe { options.flags(flags) };
    // SAFETY: nothing else opens or changes the files of this run's own directory.
    let env = unsafe { options.open(dir)? };
    let mut txn = env.write_txn()?;
    let database = env.create_database(&mut txn, None)?;
    txn.commit()?;
    Ok(Box::new(Lmdb { env, database }))
}

impl Store for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.database.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.database.delete(&mut txn, key)?;
        Ok(txn.commit()?)
    }

    fn batch(&self, records: &[(&[u8], &[u8])]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in records {
            self.database.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn load_sorted(&self, records: &mut dyn Sorted) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        let mut count = 0;
        while let Some((key, value)) = records.next() {
            self.database.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?;
            count += 1;
            if count == APPENDED_RECORDS {
                txn.commit()?;
                txn = self.env.write_txn()?;
                count = 0;
            }
        }
        Ok(txn.commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let value = self.database.get(&txn, key)?;
        if let Some(value) = value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: u64, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.env.read_txn()?;
        let bounds = match from {
            [] => (Bound::Unbounded, Bound::Unbounded),
            from => (Bound::Included(from), Bound::Unbounded),
        };
        let mut count = 0;
        let mut records = self.database.range(&txn, &bounds)?;
        while count < limit
            && let Some(record) = records.next()
        {
            let (key, value) = record?;
            seen(key, value);
            count += 1;
        }
        Ok(count)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn settle(&self) -> Result<()> {
        self.flush()
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.env.force_sync()?)
    }
}
