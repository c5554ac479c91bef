//! What a workload needs of an engine, and the settings all engines share.

use std::{error::Error, path::Path};

/// Whatever an engine answers when something failed; the run ends with it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What the calls of a store return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: it survives a power cut.
    Sync,
    /// With the kernel: it survives the death of the process.
    Os,
}

/// What every engine is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of every write to this store.
    pub durability: Durability,
    /// Memory for cached blocks.
    pub cache_bytes: u64,
    /// Memory of one memtable.
    pub memtable_bytes: u64,
    /// What an engine with one budget for everything gets.
    pub budget_bytes: u64,
    /// Values are many kilobytes long: an engine that can keep such ones apart from its keys does.
    pub large_values: bool,
}

/// What a store knows of itself and others cannot see.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Block reads answered by the cache, if the engine counts them without being asked.
    pub cache_hits: Option<u64>,
    /// Block reads that were not.
    pub cache_misses: Option<u64>,
    /// What else is worth a remark, such as flushes, tables and stalls.
    pub told: String,
}

/// Records in ascending order of their keys, one after the other.
pub trait Sorted {
    /// The next key and its value.
    fn next(&mut self) -> Option<(&[u8], &[u8])>;
}

/// An open store. Calls come from several threads at once.
pub trait Store: Send + Sync {
    /// Stores one value; durable as `Settings::durability` says.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Deletes one key.
    fn delete(&self, key: &[u8]) -> Result<()>;

    /// Deletes one key that was put once and is never put again: some engines have a cheaper way.
    fn delete_once(&self, key: &[u8]) -> Result<()> {
        self.delete(key)
    }

    /// Stores all `records` or none.
    fn batch(&self, records: &[(&[u8], &[u8])]) -> Result<()>;

    /// Stores `records` in the quickest way the engine has for sorted input into an empty store.
    fn load_sorted(&self, records: &mut dyn Sorted) -> Result<()>;

    /// Shows the value of `key` to `seen`, without a copy where the engine can, and tells whether
    /// there was one.
    fn get(&self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Opens an iterator at the first key at or after `from`, shows up to `limit` records to `seen`
    /// and tells how many there were.
    fn range(&self, from: &[u8], limit: u64, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64>;

    /// Writes what is in memory to tables, and waits for it.
    fn flush(&self) -> Result<()>;

    /// Flushes, and waits until no background work is left.
    fn settle(&self) -> Result<()>;

    /// Flushes, and waits until nothing is due; what the engine does beyond that only where it may is not
    /// waited for.
    fn catch_up(&self) -> Result<()> {
        self.settle()
    }

    /// What the store counts.
    fn facts(&self) -> Facts;

    /// Ends cleanly.
    fn close(self: Box<Self>) -> Result<()>;
}

/// The engines a program can open.
pub trait Stores: Sync {
    /// Opens or creates the store of `engine` in `dir`.
    fn open(&self, engine: &str, dir: &Path, settings: &Settings) -> Result<Box<dyn Store>>;

    /// Version and settings of `engine`, in one line: what a reader needs to judge the fairness.
    fn describe(&self, engine: &str) -> Result<String>;
}
