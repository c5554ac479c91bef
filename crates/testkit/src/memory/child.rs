//! The process whose memory is watched.
//!
//! 1. What it prints last is one line that the parent reads.

use super::kernel_text;
use crate::drive::full_text;
use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Options, Share,
};
use olivine_vfs::{Clock, Random, RealClock, limit_malloc_arenas};
use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// How the line with the result begins.
pub(super) const RESULT: &str = "memory-child: ";

/// One for writers and readers, and one for the threads behind them, by chance.
const ARENAS_MAX: u16 = 2;

/// Values are up to this long; half of each is noise.
const VALUE_BYTES_MAX: u64 = 800;
/// A key, a value of mean length, and what surrounds them.
const ENTRY_BYTES: u64 = 16 + VALUE_BYTES_MAX / 2 + 8;

/// What was done, and what was resident.
#[derive(Default)]
struct Tally {
    puts: AtomicU64,
    gets: AtomicU64,
    scans: AtomicU64,
    wrong: AtomicU64,
    ended: AtomicBool,
}

/// Works as the arguments say (directory, seed, seconds, budget, data in budgets) once it is told to.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub fn run_child(arguments: &[String]) -> Result<(), String> {
    let mut word = String::new();
    io::stdin().read_line(&mut word).map_err(|error| error.to_string())?;
    let [dir, numbers @ ..] = arguments else { return Err("a child takes arguments".to_owned()) };
    let numbers = numbers.iter().map(|text| text.parse::<u64>());
    let numbers = numbers.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let [seed, seconds, budget_bytes, data_budgets] = numbers[..] else {
        return Err("a child takes four numbers".to_owned());
    };
    // As the `olivine` program does.
    limit_malloc_arenas(ARENAS_MAX);
    let told = |error: Error| full_text(&error);
    let options = EnvironmentOptions { memory_bytes: budget_bytes };
    let environment = Environment::new(options).map_err(told)?;
    let options = Options { durability: Durability::Os, ..Options::default() };
    let db = Db::open(&environment, Path::new(dir), options).map_err(told)?;
    let keyspace = db.keyspace("main").map_err(told)?;
    let keys = budget_bytes * data_budgets / ENTRY_BYTES;
    let tally = Tally::default();
    let watched = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&environment, &tally));
        let worked = fill(&db, &keyspace, keys)
            .and_then(|()| work(&db, &keyspace, keys, seed, seconds, &tally));
        tally.ended.store(true, Relaxed);
        let watched = watcher.join().map_err(|_| "the watcher panicked".to_owned());
        worked.map_err(told).and(watched)
    });
    let (peak, charged) = watched?;
    let data: u64 = db.stats().level_bytes.iter().sum();
    let counts = [&tally.puts, &tally.gets, &tally.scans, &tally.wrong].map(|n| n.load(Relaxed));
    let [puts, gets, scans, wrong] = counts;
    drop(keyspace);
    db.close().map_err(told)?;
    println!("{RESULT}{peak} {data} {puts} {gets} {scans} {wrong} {charged}");
    Ok(())
}

/// Looks at what is resident until the work ended. Answers the most, and what the budget held then.
fn watch(environment: &Environment, tally: &Tally) -> (u64, String) {
    let clock = RealClock::new();
    let (mut most, mut charged) = (0, String::new());
    while !tally.ended.load(Relaxed) {
        let resident = resident_bytes().unwrap_or(0);
        if most < resident {
            most = resident;
            let budget = environment.budget();
            let used = |share| budget.used_bytes(share) >> 10;
            charged = format!(
                "memtables {} cache {} metadata {} reserved {} KiB of {} resident",
                used(Share::Memtables),
                used(Share::Cache),
                used(Share::Metadata),
                used(Share::Reserved),
                resident >> 10
            );
        }
        clock.sleep(Duration::from_millis(20));
    }
    (most.max(peak_bytes().unwrap_or(0)), charged)
}

fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// The most that was ever resident, as the kernel knows.
fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<u64> {
    let text = kernel_text(Path::new("/proc/self/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&Random::new(number).next_u64().to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A value begins with its key.
fn value(key: &[u8], random: &mut Random, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(key);
    let bytes = random.below(VALUE_BYTES_MAX) as usize;
    while buffer.len() < bytes {
        buffer.extend_from_slice(&random.next_u64().to_le_bytes());
        buffer.extend_from_slice(&[b'.'; 8]);
    }
}

fn fill(db: &Db, keyspace: &Keyspace, keys: u64) -> Result<(), Error> {
    let (mut random, mut buffer) = (Random::new(0), Vec::new());
    for first in (0..keys).step_by(100) {
        let mut batch = Batch::new();
        for number in first..keys.min(first + 100) {
            let key = key(number);
            value(&key, &mut random, &mut buffer);
            batch.put(keyspace, &key, &buffer)?;
        }
        db.write(batch)?;
    }
    Ok(())
}

/// Writes, reads and scans from a thread each, for so many seconds.
fn work(
    db: &Db,
    keyspace: &Keyspace,
    keys: u64,
    seed: u64,
    seconds: u64,
    tally: &Tally,
) -> Result<(), Error> {
    let clock = RealClock::new();
    let until = clock.now() + Duration::from_secs(seconds);
    let goes_on = || clock.now() < until && !tally.ended.load(Relaxed);
    let right = |key: &[u8], value: &[u8]| value.starts_with(key);
    let count = |what: &AtomicU64| what.fetch_add(1, Relaxed);
    let write = |seed: u64| {
        let (mut random, mut buffer) = (Random::new(seed), Vec::new());
        while goes_on() {
            let key = key(random.below(keys));
            if random.chance(1, 20) {
                keyspace.delete(&key)?;
            } else {
                value(&key, &mut random, &mut buffer);
                keyspace.put(&key, &buffer)?;
            }
            count(&tally.puts);
        }
        Ok(())
    };
    let read = |seed: u64| {
        let mut random = Random::new(seed);
        while goes_on() {
            let key = key(random.below(keys));
            let found = keyspace.get(&key)?;
            if found.is_some_and(|value| !right(&key, &value)) {
                count(&tally.wrong);
            }
            count(&tally.gets);
        }
        Ok(())
    };
    let scan = |seed: u64| {
        let mut random = Random::new(seed);
        while goes_on() {
            // Some scans are long, and some as of a moment that is held for a while.
            let entries = if random.chance(1, 50) { 20_000 } else { random.below(200) };
            let _held = random.chance(1, 4).then(|| db.snapshot());
            let mut cursor = keyspace.cursor()?;
            cursor.seek(&key(random.below(keys)))?;
            for _ in 0..entries {
                if !cursor.valid() {
                    break;
                }
                if !right(cursor.key(), cursor.value()?) {
                    count(&tally.wrong);
                }
                cursor.next()?;
            }
            count(&tally.scans);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = [
            scope.spawn(|| write(seed ^ 1)),
            scope.spawn(|| write(seed ^ 2)),
            scope.spawn(|| read(seed ^ 3)),
            scope.spawn(|| read(seed ^ 4)),
            scope.spawn(|| scan(seed ^ 5)),
            scope.spawn(|| scan(seed ^ 6)),
        ];
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Error::Closed)))
    })
}
