//! `olivine bench`: a quick measurement of a store on the user's own disk.
//!
//! 1. It works in a folder of its own, which is gone afterwards, however it ends; a signal too ends it so.
//! 2. The same number gives the same keys, so that two machines do the same.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use olivine_engine::{Db, Durability, Environment, Keyspace, Options};
use olivine_vfs::{Clock as _, EntryKind, Interrupts, Random, RealClock, RealVfs, Vfs as _};

use crate::{
    call::{Call, Command, JSON, MEMORY, Opt, QUIET},
    check::environment,
    ending::{Ending, Failure, interrupts},
    json::Json,
    progress::{Progress, Unit},
};

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    what: "measure a store on this machine's disk, in a minute",
    about: "Bench makes a store in a folder of its own and measures what this machine does: writes that wait for \
        the disk, writes that do not, point reads, keys that are not there, and a scan of everything. The \
        folder is removed afterwards.",
    operands: &[],
    options: &[&[
        Opt::value("--dir", "DIR", "where to make the folder: on the disk to be measured (.)"),
        Opt::value("--n", "N", "entries (200000); the writes that wait are a hundredth of it"),
        Opt::value("--value-bytes", "BYTES", "length of a value (100)"),
        JSON,
        QUIET,
        MEMORY,
    ]],
    notes: "Keys have 16 bytes and come in random order. What is measured is the whole way of one caller, one \
        call after the other; several callers together get more synced writes a second.",
    examples: &["olivine bench --dir /var/lib --n 1000000", "olivine bench --json"],
    run,
};

/// One kind of call, measured.
struct Measured {
    name: &'static str,
    count: u64,
    bytes: u64,
    took: Duration,
}

fn run(call: &Call) -> Result<Ending, Failure> {
    let entries = call.count("--n")?.unwrap_or(200_000);
    let value_bytes = call.bytes("--value-bytes")?.unwrap_or(100) as usize;
    let parent = call.value("--dir").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = parent.join(format!("olivine-bench-{}", std::process::id()));
    RealVfs::new().list(&parent).map_err(Failure::io(format!(
        "cannot use `--dir {}`; name a directory that is there, on the disk to be measured",
        parent.display()
    )))?;
    let interrupts = interrupts()?;
    let environment = environment(call)?;
    let scratch = Scratch(dir);
    let progress = Progress::new(call, Unit::Things("calls"), false);
    let measured =
        measure(&environment, &scratch.0, (entries, value_bytes), &progress, &interrupts);
    progress.wipe();
    drop(scratch);
    let measured = measured?;
    let mut out = io::stdout().lock();
    if call.has("--json") {
        writeln!(out, "{}", json(entries, value_bytes, &measured))?;
    } else {
        print(&mut out, &measured)?;
    }
    Ok(Ending::Good)
}

/// A folder that is gone when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let disk = RealVfs::new();
        for entry in disk.list(&self.0).unwrap_or_default() {
            if entry.kind == EntryKind::File {
                disk.remove_file(&self.0.join(entry.name)).ok();
            }
        }
        disk.remove_dir(&self.0).ok();
    }
}

fn measure(
    environment: &Environment,
    dir: &Path,
    (entries, value_bytes): (u64, usize),
    progress: &Progress,
    interrupts: &Interrupts,
) -> Result<Vec<Measured>, Failure> {
    let clock = RealClock::new();
    let whole = entries / 100 + 3 * entries;
    let mut done = 0;
    let mut timed = |name,
                     count: u64,
                     bytes: u64,
                     each: &mut dyn FnMut(u64) -> Result<(), Failure>| {
        let started = clock.now();
        for nth in 0..count {
            if let Some(asked) = interrupts.asked() {
                return Err(Failure::asked(asked));
            }
            each(nth)?;
            done += 1;
            if nth % 256 == 0 {
                progress.at(done, whole);
            }
        }
        Ok::<_, Failure>(Measured { name, count, bytes, took: clock.now().saturating_sub(started) })
    };
    let open =
        |durability| Db::open(environment, dir, Options { durability, ..Options::default() });
    let value = Filler::new(value_bytes);
    let bytes = (16 + value_bytes) as u64;
    let mut measured = Vec::new();

    let db = open(Durability::Sync)?;
    let synced = db.keyspace("synced")?;
    let waits = (entries / 100).max(1);
    measured.push(timed("put, synced", waits, waits * bytes, &mut |nth| {
        synced.put(&key(nth), value.of(nth))?;
        Ok(())
    })?);
    drop(synced);
    db.close()?;

    let db = open(Durability::Os)?;
    let keyspace = db.keyspace("bench")?;
    measured.push(timed("put, to the kernel", entries, entries * bytes, &mut |nth| {
        keyspace.put(&key(nth), value.of(nth))?;
        Ok(())
    })?);
    db.settle()?;
    measured.push(timed("get", entries, entries * bytes, &mut |nth| {
        found(&keyspace, &key(drawn(nth, entries)), true)
    })?);
    measured.push(timed("get, not there", entries, entries * 16, &mut |nth| {
        found(&keyspace, &key(entries + nth), false)
    })?);
    let started = clock.now();
    let (mut count, mut read) = (0, 0);
    let mut cursor = keyspace.cursor()?;
    cursor.seek_first()?;
    while cursor.valid() {
        count += 1;
        read += (cursor.key().len() + cursor.value()?.len()) as u64;
        cursor.next()?;
    }
    measured.push(Measured {
        name: "scan",
        count,
        bytes: read,
        took: clock.now().saturating_sub(started),
    });
    drop((cursor, keyspace));
    db.close()?;
    Ok(measured)
}

fn found(keyspace: &Keyspace, key: &[u8], there: bool) -> Result<(), Failure> {
    if keyspace.get(key)?.is_some() != there {
        let what = "a key was not read as it was written; this should never be";
        return Err(Failure::new(Ending::Failed, what));
    }
    Ok(())
}

/// The key of entry `nth`: numbers that follow one another lie far from each other.
fn key(nth: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&nth.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&nth.to_be_bytes());
    key
}

/// A number below `count`, drawn by `nth`.
fn drawn(nth: u64, count: u64) -> u64 {
    Random::new(nth).next_u64() % count
}

/// Values of one length that do not compress to nothing.
struct Filler {
    bytes: Vec<u8>,
    len: usize,
}

impl Filler {
    fn new(len: usize) -> Filler {
        let mut random = Random::new(1);
        // Half of it is noise, as in much of what people store.
        let word = |nth: usize| if nth.is_multiple_of(2) { random.next_u64() } else { 0 };
        let words = (0..=(len + 4096) / 8).map(word);
        Filler { bytes: words.flat_map(u64::to_le_bytes).collect(), len }
    }

    fn of(&self, nth: u64) -> &[u8] {
        let start = (nth % 4096) as usize;
        &self.bytes[start..start + self.len]
    }
}

fn print(out: &mut impl Write, measured: &[Measured]) -> io::Result<()> {
    writeln!(out, "                         calls      calls/s       MiB/s     each")?;
    for Measured { name, count, bytes, took } in measured {
        let seconds = took.as_secs_f64().max(1e-9);
        let (rate, mib) = (*count as f64 / seconds, *bytes as f64 / seconds / f64::from(1 << 20));
        let each = seconds / (*count).max(1) as f64 * 1e6;
        writeln!(out, "{name:20} {count:>10}  {rate:>11.0}  {mib:>10.1}  {each:>7.2} us")?;
    }
    Ok(())
}

fn json(entries: u64, value_bytes: usize, measured: &[Measured]) -> Json {
    let one = |one: &Measured| {
        Json::object([
            ("name", one.name.into()),
            ("calls", one.count.into()),
            ("bytes", one.bytes.into()),
            ("nanoseconds", (one.took.as_nanos() as u64).into()),
        ])
    };
    Json::object([
        ("entries", entries.into()),
        ("value_bytes", value_bytes.into()),
        ("measured", Json::list(measured.iter().map(one))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_values_have_their_length() {
        let keys: std::collections::BTreeSet<_> = (0..1000).map(key).collect();
        assert_eq!(keys.len(), 1000);
        assert!((0..1000).all(|nth| drawn(nth, 7) < 7));
        for len in [0, 1, 100, 5000] {
            let filler = Filler::new(len);
            assert!((0..10_000).all(|nth| filler.of(nth).len() == len));
        }
    }
}
