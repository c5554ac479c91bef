//! A real disk that fills up: a small tmpfs, threads in the background, writers that do not wait.
//!
//! 1. While the disk is full, writers are answered `Full` soon, with memory within its share, and
//!    everything acknowledged can be read.
//! 2. Seconds after a foreign file has made way, the same store writes and flushes again.

use crate::drive::full_text;
use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Options,
};
use olivine_vfs::{Clock, Open, Random, RealClock, RealVfs, Vfs};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is as it must be; in a line.
    Held(String),
    /// It cannot be tried here, and why.
    Skipped(String),
}

const DISK_BYTES: u64 = 64 << 20;
const BALLAST_BYTES: u64 = 24 << 20;
const MEMORY_BYTES: u64 = 8 << 20;
/// How long a writer may be left without an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long after there is room everything must go on.
const GOES_ON_WITHIN: Duration = Duration::from_secs(12);

/// A mounted disk, and the directory it is mounted at.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path) -> Result<Mounted, String> {
        RealVfs.create_dir(dir).map_err(|error| error.to_string())?;
        let size = format!("size={DISK_BYTES}");
        let line = ["-t", "tmpfs", "-o", &size, "olivine-full"];
        let output = Command::new("mount").args(line).arg(dir).output();
        let output = output.map_err(|error| format!("cannot run mount: {error}"));
        match output {
            Ok(output) if output.status.success() => Ok(Mounted(dir.to_owned())),
            Ok(output) => {
                RealVfs.remove_dir(dir).ok();
                Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            }
            Err(what) => {
                RealVfs.remove_dir(dir).ok();
                Err(what)
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
        RealVfs.remove_dir(&self.0).ok();
    }
}

/// Fills a disk of 64 MiB mounted at `dir`, frees some of it, and fills it again.
pub fn fill_and_free(dir: &Path, seed: u64) -> Result<Answer, String> {
    let mounted = match Mounted::new(dir) {
        Ok(mounted) => mounted,
        Err(why) => return Ok(Answer::Skipped(why)),
    };
    let told = |error: Error| full_text(&error);
    let ballast = dir.join("ballast");
    let file = RealVfs.open(&ballast, Open::Create).map_err(|error| error.to_string())?;
    for at in (0..BALLAST_BYTES).step_by(1 << 20) {
        file.write_at(&vec![1; 1 << 20], at).map_err(|error| error.to_string())?;
    }
    drop(file);
    let environment = Environment::new(EnvironmentOptions { memory_bytes: MEMORY_BYTES });
    let environment = environment.map_err(told)?;
    let options = Options {
        durability: Durability::Os,
        segment_bytes: 2 << 20,
        memtable_bytes_max: 1 << 20,
        table_bytes_max: 2 << 20,
        level_bytes_base: 8 << 20,
        ..Options::default()
    };
    let db = Db::open(&environment, dir.join("store"), options).map_err(told)?;
    let keyspace = db.keyspace("main").map_err(told)?;
    let mut filling =
        Filling { db: &db, keyspace: &keyspace, written: 0, random: Random::new(seed) };

    filling.until_full()?;
    let first = filling.written;
    let memory = db.stats().memtable_bytes;
    if MEMORY_BYTES < memory {
        return Err(format!("memtables take {memory} bytes of a budget of {MEMORY_BYTES}"));
    }
    filling.check()?;
    RealVfs.remove_file(&ballast).map_err(|error| error.to_string())?;
    let waited = filling.goes_on()?;
    let answered = filling.until_full()?;
    filling.check()?;
    let more = filling.written - first;
    drop(keyspace);
    db.close().map_err(told)?;
    drop(mounted);
    Ok(Answer::Held(format!(
        "full after {first} writes, went on {waited:.1?} after there was room, full again after {more} \
         more (told within {answered:.1?}), memtables {memory} bytes"
    )))
}

struct Filling<'a> {
    db: &'a Db,
    keyspace: &'a Keyspace,
    /// Batches acknowledged; their keys are the numbers.
    written: u64,
    random: Random,
}

impl Filling<'_> {
    fn value(number: u64) -> Vec<u8> {
        let mut random = Random::new(number);
        (0..128).flat_map(|_| random.next_u64().to_le_bytes()).collect()
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut batch = Batch::new();
        let value = Self::value(self.written);
        batch.put(self.keyspace, &self.written.to_be_bytes(), &value)?;
        self.db.write(batch)?;
        self.written += 1;
        Ok(())
    }

    /// Writes until the store says that the disk is full. Answers how long it took to say so.
    fn until_full(&mut self) -> Result<Duration, String> {
        let watch = RealClock::new();
        loop {
            let began = watch.now();
            match self.write() {
                Ok(()) => {}
                Err(Error::Full { .. }) => {
                    let took = watch.now().saturating_sub(began);
                    if ANSWER_WITHIN < took {
                        return Err(format!("a writer waited {took:?} to be told of a full disk"));
                    }
                    return Ok(took);
                }
                Err(error) => return Err(format!("instead of Full: {}", full_text(&error))),
            }
        }
    }

    /// Reads some of what was acknowledged.
    fn check(&mut self) -> Result<(), String> {
        for _ in 0..2_000 {
            let number = self.random.below(self.written);
            let found = self.keyspace.get(&number.to_be_bytes());
            let found = found.map_err(|error| format!("read: {}", full_text(&error)))?;
            if found.is_none_or(|found| *found != *Self::value(number)) {
                return Err(format!("write {number} was acknowledged and is not there"));
            }
        }
        Ok(())
    }

    /// Tries to write and to flush until both are done. Answers how long that took.
    fn goes_on(&mut self) -> Result<Duration, String> {
        let watch = RealClock::new();
        let began = watch.now();
        loop {
            match self.write().and_then(|()| self.db.flush()) {
                Ok(()) => return Ok(watch.now().saturating_sub(began)),
                Err(Error::Full { .. }) => {}
                Err(error) => return Err(format!("with room: {}", full_text(&error))),
            }
            if GOES_ON_WITHIN < watch.now().saturating_sub(began) {
                return Err("there is room, and the store still says that there is none".to_owned());
            }
            watch.sleep(Duration::from_millis(50));
        }
    }
}
