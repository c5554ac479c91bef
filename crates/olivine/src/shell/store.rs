//! The shell's store: one keyspace of an open engine, and the engine's figures as text.

use super::Settings;
use olivine_engine::{Db, Environment, Explanation, Keyspace, Options, Result, ShareUse, Value};
use std::{
    fmt::{self, Display},
    ops::Bound,
    path::PathBuf,
};

pub(super) struct Store {
    db: Db,
    keyspace: Keyspace,
    dir: PathBuf,
    capacity: Option<u64>,
}

impl Store {
    /// Opens the store that `settings` ask for.
    pub(super) fn open_in(environment: &Environment, settings: &Settings) -> Result<Store> {
        let options = Options {
            durability: settings.durability,
            memtable_entries_max: settings.capacity,
            ..Options::default()
        };
        let db = Db::open(environment, &settings.db, options)?;
        let keyspace = db.keyspace(&settings.keyspace)?;
        Ok(Store { db, keyspace, dir: settings.db.clone(), capacity: settings.capacity })
    }

    pub(super) fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.put(key, value).map(drop)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.keyspace.get(key)
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<()> {
        self.keyspace.delete(key).map(drop)
    }

    /// Hands entries from `start` up to `end` to `show`, in key order, until that has had enough.
    pub(super) fn scan<E: From<olivine_engine::Error>>(
        &self,
        start: Option<&[u8]>,
        end: Option<&[u8]>,
        mut show: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = start.map_or(Bound::Unbounded, Bound::Included);
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        for entry in self.keyspace.range::<&[u8]>((start, end))? {
            let (key, value) = entry?;
            if !show(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// Hands the keys that begin with `prefix` to `show`, in order.
    pub(super) fn keys<E: From<olivine_engine::Error>>(
        &self,
        prefix: &[u8],
        mut show: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for entry in self.keyspace.prefix(prefix)? {
            show(&entry?.0)?;
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.db.flush()
    }

    pub(super) fn explain(&self, key: &[u8]) -> Result<Explanation> {
        self.keyspace.explain(key)
    }

    pub(super) fn compact(&self) -> Result<()> {
        self.db.settle()
    }

    pub(super) fn stats(&self) -> impl Display {
        Figures { store: self }
    }

    pub(super) fn close(self) -> Result<()> {
        self.db.close()
    }
}

/// What the store holds and did, one figure a line.
struct Figures<'a> {
    store: &'a Store,
}

impl Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Store { db, keyspace, dir, capacity } = self.store;
        let stats = db.stats();
        let mut line = |name: &str, figure: &dyn Display| writeln!(f, "{name:20} {figure}");
        line("directory", &dir.display())?;
        line("keyspace", &format_args!("{} of {}", keyspace.name(), stats.keyspaces))?;
        line("visible", &stats.visible)?;
        line("durable", &stats.durable)?;
        line("memtable entries", &stats.memtable_entries)?;
        match capacity {
            Some(entries) => line("capacity", &format_args!("{entries} entries"))?,
            None => line("capacity", &"by bytes")?,
        }
        line("memtable bytes", &stats.memtable_bytes)?;
        line("table files", &stats.level_tables.iter().sum::<usize>())?;
        line("table entries", &stats.table_entries)?;
        line("table bytes", &stats.level_bytes.iter().sum::<u64>())?;
        line("log bytes", &stats.log_bytes)?;
        line("syncs", &stats.syncs)?;
        line("flushes", &stats.flushes)?;
        line("compactions", &stats.compactions)?;
        line("blocks carried", &stats.compacted_blocks_carried)?;
        line("cache bytes", &stats.cache_bytes)?;
        for ShareUse { share, bytes, bytes_max, .. } in &stats.memory {
            let name = format!("memory {}", share.name());
            line(&name, &format_args!("{bytes} of {bytes_max}"))?;
        }
        Ok(())
    }
}
