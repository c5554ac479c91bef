//! `counts`: does one kind of operation many times on a stepped store in memory, to be counted.
//!
//! `cargo xtask counts` runs it under callgrind, which counts the instructions of `counted` and of what
//! it calls. Instructions do not depend on how busy the machine is.
//!
//! 1. A run depends on nothing but the code: disk and clock are in memory, no thread is started.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use olivine_engine::{
    Db, Durability, Environment, EnvironmentOptions, Keyspace, Options, Parts, Result, Work,
};
use olivine_vfs::{ManualClock, MemoryVfs, Random};
use std::{hint::black_box, process::ExitCode, sync::Arc};

/// How often the counted operation is done; `cargo xtask counts` divides by it.
const TIMES: u64 = 20_000;
/// Keys in the store that is read.
const KEYS: u64 = 60_000;

fn main() -> ExitCode {
    let what = std::env::args().nth(1).unwrap_or_default();
    match run(&what) {
        Ok(true) => {
            println!("{TIMES}");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            eprintln!(
                "counts: {what:?} is none of put, get_hot, get_missing, next, merge, merge_beside"
            );
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What callgrind counts: this function and all it calls.
#[inline(never)]
fn counted(work: impl FnOnce() -> Result<()>) -> Result<()> {
    black_box(work())
}

fn run(what: &str) -> Result<bool> {
    let (db, keyspace) = open()?;
    if what == "merge" || what == "merge_beside" {
        merge(&db, &keyspace, what == "merge")?;
        return Ok(true);
    }
    if what == "put" {
        let value = value(0);
        let keys: Vec<_> = (0..TIMES).map(key).collect();
        let put = || keys.iter().try_for_each(|key| keyspace.put(key, &value).map(drop));
        counted(put)?;
        return Ok(true);
    }
    for number in 0..KEYS {
        keyspace.put(&key(number), &value(number))?;
    }
    db.settle()?;
    let mut random = Random::new(1);
    let drawn: Vec<_> = (0..TIMES).map(|_| random.below(KEYS)).collect();
    let get = |key: &[u8]| keyspace.get(key).map(|value| drop(black_box(value)));
    match what {
        "get_hot" => {
            let keys: Vec<_> = drawn.into_iter().map(key).collect();
            keys.iter().try_for_each(|key| get(key))?;
            counted(|| keys.iter().try_for_each(|key| get(key)))?;
        }
        "get_missing" => {
            let keys: Vec<_> = drawn.into_iter().map(|number| key(number + KEYS)).collect();
            keys.iter().try_for_each(|key| get(key))?;
            counted(|| keys.iter().try_for_each(|key| get(key)))?;
        }
        "next" => {
            let mut cursor = keyspace.cursor()?;
            cursor.seek_first()?;
            counted(|| {
                for _ in 0..TIMES {
                    black_box((cursor.key(), cursor.value().unwrap_or_default()));
                    cursor.next()?;
                }
                Ok(())
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Counts the merge of as many overwritten keys as operations are counted into a table of three times as many:
/// of keys all over it, or of neighbours, beside which everything stays as it is.
fn merge(db: &Db, keyspace: &Keyspace, all_over: bool) -> Result<()> {
    let key = |number: u64| if all_over { key(number) } else { near_key(number) };
    let put = |number: u64| keyspace.put(&key(number), &value(number)).map(drop);
    (0..KEYS).try_for_each(put)?;
    db.settle()?;
    // A table goes down as it was flushed; merged once, it is as tables are that were merged before.
    (0..KEYS).step_by(20).try_for_each(put)?;
    db.settle()?;
    (TIMES..2 * TIMES).try_for_each(put)?;
    db.flush()?;
    counted(|| db.settle())
}

/// 16 bytes in the order of the numbers.
fn near_key(number: u64) -> [u8; 16] {
    let mut key = *b"things:         ";
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// 16 bytes whose order is that of no other numbers.
fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    let scattered = Random::new(number).next_u64();
    key[..8].copy_from_slice(&scattered.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// 100 bytes of which half are the same.
fn value(number: u64) -> [u8; 100] {
    let mut value = [7; 100];
    let mut random = Random::new(!number);
    for chunk in value[..48].chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.next_u64().to_le_bytes());
    }
    value
}

fn open() -> Result<(Db, Keyspace)> {
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()),
        clock: Arc::new(ManualClock::new()),
        work: Work::Stepped { seed: 0 },
    };
    let environment = Environment::with(parts, EnvironmentOptions { memory_bytes: 256 << 20 })?;
    let options = Options { durability: Durability::Os, ..Options::default() };
    let db = Db::open(&environment, "/store", options)?;
    let keyspace = db.keyspace("main")?;
    Ok((db, keyspace))
}
