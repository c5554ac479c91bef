//! `olivine-bench`: measures Olivine's engine, alone or beside its rivals.

use std::{path::Path, process::ExitCode};

use olivine_bench::{Result, Settings, Store, Stores};

struct Olivine;

impl Stores for Olivine {
    fn open(&self, engine: &str, _: &Path, _: &Settings) -> Result<Box<dyn Store>> {
        Err(format!("this program cannot open {engine:?}").into())
    }

    fn describe(&self, engine: &str) -> Result<String> {
        Err(format!("this program cannot open {engine:?}").into())
    }
}

fn main() -> ExitCode {
    olivine_bench::main(&Olivine)
}
