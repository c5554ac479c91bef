//! RocksDB, fjall and LMDB behind `olivine_bench::Store`: what `olivine-bench` runs beside Olivine.
//!
//! Each engine is set up as someone who knows it would for this load; `describe` says how, and the
//! table repeats it. A change here that makes a rival slower is a bug.

mod fjall;
mod lmdb;
mod rocksdb;

use std::{path::Path, process::ExitCode};

use olivine_bench::{Result, Settings, Store, Stores};

struct Rivals;

impl Stores for Rivals {
    fn open(&self, engine: &str, dir: &Path, settings: &Settings) -> Result<Box<dyn Store>> {
        match engine {
            "rocksdb" => rocksdb::open(dir, settings),
            "rocksdb-blob" => rocksdb::open_with_blobs(dir, settings),
            "fjall" => fjall::open(dir, settings),
            "lmdb" => lmdb::open(dir, settings),
            _ => Err(format!("no rival is called {engine:?}").into()),
        }
    }

    fn describe(&self, engine: &str) -> Result<String> {
        match engine {
            "rocksdb" => Ok(rocksdb::ABOUT.to_owned()),
            "rocksdb-blob" => Ok(rocksdb::ABOUT_BLOBS.to_owned()),
            "fjall" => Ok(fjall::ABOUT.to_owned()),
            "lmdb" => Ok(lmdb::ABOUT.to_owned()),
            _ => Err(format!("no rival is called {engine:?}").into()),
        }
    }
}

fn main() -> ExitCode {
    olivine_bench::child_main(&Rivals)
}
