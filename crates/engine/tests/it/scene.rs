//! Stores small enough that everything happens soon, on disks in memory.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use olivine_engine::{Db, Environment, EnvironmentOptions, Options, Parts, Result, Work};
use olivine_vfs::{ManualClock, MemoryVfs, Vfs};

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

/// A disk in memory and what works on it; stores are opened on it again and again.
pub(crate) struct Scene {
    environment: Environment,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene { environment: stepped(&Arc::new(MemoryVfs::new())) }
    }

    pub(crate) fn open(&self) -> Db {
        self.open_with(small())
    }

    pub(crate) fn open_with(&self, options: Options) -> Db {
        self.try_open(options).unwrap()
    }

    pub(crate) fn try_open(&self, options: Options) -> Result<Db> {
        Db::open(&self.environment, STORE, options)
    }
}

/// The keys of a walk, as text.
pub(crate) fn keys_of(walk: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Vec<String> {
    walk.map(|entry| String::from_utf8(entry.unwrap().0).unwrap()).collect()
}

/// Tells threads that the test is over, also when it fails.
#[derive(Default)]
pub(crate) struct Ended(AtomicBool);

impl Ended {
    pub(crate) fn is(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn when_dropped(&self) -> impl Drop {
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        End(&self.0)
    }
}
