//! One schedule: two writers, a reader and a meddler around a small store, as a seed says.
//!
//! The same runs on threads of the system, pushed out of step, and under shuttle, whose threads take
//! turns at each lock, atomic and call to the disk or the clock.
//!
//! 1. What each thread does comes from the seed alone.

use super::{lock, push::pushed};
use crate::{drive::full_text, settings};
use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Parts, Work,
};
use olivine_vfs::{CrashingVfs, ManualClock, Random, Survival};
#[cfg(shuttle)]
use shuttle::thread;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};
#[cfg(not(shuttle))]
use std::thread;

const STORE: &str = "/store";
const WRITERS: usize = 2;

/// What one schedule came to.
pub(super) struct Outcome {
    pub(super) acknowledged: u64,
    pub(super) cuts: u64,
    pub(super) closed: bool,
}

/// What the threads of one schedule share.
struct Stage {
    seed: u64,
    db: Db,
    keyspace: Keyspace,
    disk: CrashingVfs,
    /// For each writer the last number acknowledged as lasting.
    lasting: [AtomicU64; WRITERS],
    /// Whether somebody closes the store beside the others.
    closes: bool,
    /// Whether the writers ended.
    written: AtomicBool,
    cuts: Mutex<Vec<([u64; WRITERS], CrashingVfs)>>,
}

pub(super) fn schedule(seed: u64) -> Result<Outcome, String> {
    let told = |error: Error| full_text(&error);
    let disk = CrashingVfs::new();
    let (vfs, clock) = pushed(Arc::new(disk.clone()), seed);
    let parts = Parts { vfs, clock, work: Work::Threads };
    let options = EnvironmentOptions { memory_bytes: 1 << 20 };
    let environment = Environment::with(parts, options).map_err(told)?;
    let db = Db::open(&environment, STORE, settings::options(seed)).map_err(told)?;
    let keyspace = db.keyspace("main").map_err(told)?;
    let stage = Stage {
        seed,
        db,
        keyspace,
        disk: disk.clone(),
        lasting: Default::default(),
        closes: Random::new(!seed).chance(1, 3),
        written: AtomicBool::new(false),
        cuts: Mutex::default(),
    };
    thread::scope(|scope| {
        let reader = scope.spawn(|| stage.read());
        let meddler = scope.spawn(|| stage.meddle());
        let writers = [0, 1].map(|writer| {
            let stage = &stage;
            scope.spawn(move || stage.write(writer))
        });
        let wrote = writers.map(|writer| writer.join());
        stage.written.store(true, SeqCst);
        for outcome in wrote.into_iter().chain([reader.join(), meddler.join()]) {
            outcome.map_err(|_| "a thread panicked".to_owned())??;
        }
        Ok::<(), String>(())
    })?;
    let (floor, closes) = (stage.floor(), stage.closes);
    let mut cuts = std::mem::take(&mut *lock(&stage.cuts));
    drop(stage);
    drop(environment);
    cuts.push((floor, disk.crash(Survival::Nothing, seed)));
    for (floor, disk) in &cuts {
        check_cut(seed, floor, disk)?;
    }
    Ok(Outcome { acknowledged: floor.iter().sum(), cuts: cuts.len() as u64, closed: closes })
}

fn key(writer: usize, side: &str) -> Vec<u8> {
    format!("{writer}/{side}").into_bytes()
}

fn number(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.get(..8)?.try_into().ok()).map_or(0, u64::from_be_bytes)
}

impl Stage {
    fn floor(&self) -> [u64; WRITERS] {
        self.lasting.each_ref().map(|lasting| lasting.load(SeqCst))
    }

    /// Answers whether to go on: a store that somebody closes refuses.
    fn goes_on(&self, error: &Error) -> Result<bool, String> {
        match error {
            Error::Closed if self.closes => Ok(false),
            Error::Busy { .. } => Ok(true),
            error => Err(full_text(error)),
        }
    }

    /// Writes one number after the other to two keys, in each way there is.
    fn write(&self, writer: usize) -> Result<(), String> {
        let mut random = Random::new(self.seed ^ writer as u64);
        for written in 1..=random.between(3, 14) {
            let mut value = written.to_be_bytes().to_vec();
            value.resize(8 + random.index(700), 7);
            let mut batch = Batch::new();
            for side in ["left", "right"] {
                let put = batch.put(&self.keyspace, &key(writer, side), &value);
                put.map_err(|error| full_text(&error))?;
            }
            let done = match random.below(4) {
                0 => self.db.write_with(batch, Durability::Os).map(|_| false),
                1 => self.db.write_ticketed(batch).and_then(|ticket| ticket.wait()).map(|()| true),
                _ => self.db.write_with(batch, Durability::Sync).map(|_| true),
            };
            match done {
                Ok(true) => self.lasting[writer].store(written, SeqCst),
                Ok(false) => {}
                Err(Error::Busy { .. }) => continue,
                Err(error) if self.goes_on(&error)? => {}
                Err(_) => return Ok(()),
            }
            let found = match self.keyspace.get(&key(writer, "left")) {
                Ok(found) => number(found.as_deref()),
                Err(error) if self.goes_on(&error)? => continue,
                Err(_) => return Ok(()),
            };
            if found != written {
                return Err(format!("writer {writer} wrote {written} and reads {found}"));
            }
        }
        Ok(())
    }

    /// Looks at both keys of every writer until the writers ended.
    fn read(&self) -> Result<(), String> {
        let mut random = Random::new(self.seed ^ 0x4ead);
        let mut last = [0; WRITERS];
        loop {
            let ended = self.written.load(SeqCst);
            for (writer, last) in last.iter_mut().enumerate() {
                let (left, right) = match self.pair(writer, random.chance(1, 2)) {
                    Ok(pair) => pair,
                    Err(error) if self.goes_on(&error)? => continue,
                    Err(_) => return Ok(()),
                };
                if left != right || left < *last {
                    return Err(format!(
                        "writer {writer}'s keys read {left} and {right}, after {last} was seen"
                    ));
                }
                *last = left;
            }
            if ended {
                return Ok(());
            }
            // Under shuttle a thread may go on as long as it does not wait.
            thread::yield_now();
        }
    }

    /// Both keys of a writer, as of one moment.
    fn pair(&self, writer: usize, by_snapshot: bool) -> Result<(u64, u64), Error> {
        let (left, right) = (key(writer, "left"), key(writer, "right"));
        if by_snapshot {
            let snapshot = self.db.snapshot();
            let first = number(snapshot.get(&self.keyspace, &left)?.as_deref());
            thread::yield_now();
            return Ok((first, number(snapshot.get(&self.keyspace, &right)?.as_deref())));
        }
        let found = self.keyspace.multi_get(&[&left, &right])?;
        let numbers: Vec<u64> = found.iter().map(|value| number(value.as_deref())).collect();
        Ok((numbers[0], numbers[1]))
    }

    /// Flushes, compacts, makes and drops a keyspace, cuts the power, and closes the store.
    fn meddle(&self) -> Result<(), String> {
        let mut random = Random::new(self.seed ^ 0x3edd);
        for _ in 0..random.between(2, 5) {
            let done = match random.below(5) {
                0 => self.db.flush(),
                1 => self.db.settle(),
                2 => self.db.sync().map(drop),
                3 => self.db.keyspace("extra").and_then(|extra| {
                    extra.put(b"key", b"value")?;
                    self.db.drop_keyspace(&extra)
                }),
                _ => {
                    // What is acknowledged before the cut must be there after it.
                    let floor = self.floor();
                    let survival = Survival::ALL[random.index(4)];
                    let image = self.disk.crash(survival, random.next_u64());
                    lock(&self.cuts).push((floor, image));
                    Ok(())
                }
            };
            match done {
                Ok(()) => {}
                Err(error) if self.goes_on(&error)? => {}
                Err(_) => return Ok(()),
            }
        }
        if self.closes {
            self.db.clone().close().map_err(|error| full_text(&error))?;
        }
        Ok(())
    }
}

/// What a power cut left: batches whole, and at least what was acknowledged.
fn check_cut(seed: u64, floor: &[u64; WRITERS], disk: &CrashingVfs) -> Result<(), String> {
    let told = |error: Error| format!("after a power cut: {}", full_text(&error));
    let clock = Arc::new(ManualClock::new());
    let environment = settings::environment(Arc::new(disk.clone()), &clock, seed).map_err(told)?;
    let db = Db::open(&environment, STORE, settings::options(seed)).map_err(told)?;
    let Some(keyspace) = db.find_keyspace("main") else {
        return Err("after a power cut: the keyspace is gone".to_owned());
    };
    for (writer, floor) in floor.iter().enumerate() {
        let get = |side| keyspace.get(&key(writer, side)).map_err(told);
        let (left, right) = (number(get("left")?.as_deref()), number(get("right")?.as_deref()));
        if left != right || left < *floor {
            return Err(format!(
                "after a power cut writer {writer}'s keys read {left} and {right}, and {floor} was acknowledged"
            ));
        }
    }
    Ok(())
}
