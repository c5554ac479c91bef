//! Stores small enough that everything happens soon, on disks in memory.

use std::{path::Path, sync::Arc};

use olivine_engine::{Db, Environment, EnvironmentOptions, Options, Parts, Work};
use olivine_vfs::{ManualClock, Vfs};

pub(crate) const STORE: &str = "/store";

/// An environment that works only when stepped.
pub(crate) fn stepped(vfs: &Arc<impl Vfs + 'static>) -> Environment {
    let vfs: Arc<dyn Vfs> = Arc::clone(vfs) as Arc<dyn Vfs>;
    let work = Work::Stepped { seed: 1 };
    let parts = Parts { vfs, clock: Arc::new(ManualClock::new()), work };
    Environment::with(parts, EnvironmentOptions { memory_bytes: 4 << 20 }).unwrap()
}

pub(crate) fn small() -> Options {
    Options {
        memtable_bytes_max: 16 << 10,
        segment_bytes: 16 << 10,
        table_bytes_max: 16 << 10,
        level_bytes_base: 32 << 10,
        block_bytes: 512,
        ..Options::default()
    }
}

/// The names in the store's directory that begin with `prefix`.
pub(crate) fn files(vfs: &dyn Vfs, prefix: &str) -> Vec<String> {
    let entries = vfs.list(Path::new(STORE)).unwrap();
    let names = entries.iter().map(|entry| entry.name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Fills a keyspace with `count` numbered entries.
pub(crate) fn fill(db: &Db, keyspace: &str, count: u32) {
    let keyspace = db.keyspace(keyspace).unwrap();
    for number in 0..count {
        keyspace.put(&number.to_be_bytes(), &[number as u8; 50]).unwrap();
    }
}
