//! Tier D: bytes on the disk change, and files are cut, swapped, doubled or gone.
//!
//! Small stores are written, some closed, some left as the end of a process leaves them. Then one thing
//! in one file is changed, the store is opened, and everything in it is read in every way there is.
//!
//! 1. A change is detected (an error), harmless (everything is as it was), or cut: the log ended
//!    earlier, above what the store can prove to have been durable, and the report of the opening says
//!    so. Anything else is silent, and a failure.
//! 2. Reads after an error elsewhere still answer rightly or not at all.
//! 3. A panic is a failure, and so is an opening that does not end.

use crate::{
    caught::caught,
    drive::{Driver, Stop},
    history::{Change, Gen, Op, Shape, Value, What},
    oracle::{CommitLog, Contents},
    settings,
};
use olivine_engine::{Db, Durability, Environment, Error};
use olivine_vfs::{EntryKind, ManualClock, MemoryVfs, Open, Vfs};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

mod mutation;
mod report;
mod run;

pub use mutation::Mutation;
pub use report::{Failure, Summary};
pub use run::{Plan, run};

const STORE: &str = "/store";

/// A store on a disk, and what it holds.
struct Specimen {
    /// In words: how it was left.
    name: &'static str,
    seed: u64,
    disk: MemoryVfs,
    files: Vec<Sample>,
    log: CommitLog,
    /// Up to where the store can prove, from another place than the damaged one, that everything was
    /// durable: what a single changed bit must not take away.
    proven: usize,
    /// Everything in it, read when nothing was changed.
    contents: Contents,
}

/// One file of a specimen, undamaged.
struct Sample {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Sample {
    /// What the file is, by its name: `log`, `table`, `manifest`, ...
    fn kind(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.split('-').next().unwrap_or_default().to_owned()
    }
}

/// How a specimen is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Closed cleanly.
    Closed,
    /// As the end of the process leaves it, with everything synced.
    Synced,
    /// As the end of the process leaves it, with writes that were never synced.
    Open,
}

const LEFT: [(Left, &str); 3] =
    [(Left::Closed, "closed"), (Left::Synced, "unclosed, synced"), (Left::Open, "unclosed")];

/// How often a store is written and flushed until its log has a spare segment.
const ROUNDS_MAX: usize = 60;

impl Specimen {
    /// The store that `seed` decides, left so.
    fn make(seed: u64, left: Left, name: &'static str) -> Result<Specimen, String> {
        let live = MemoryVfs::new();
        // Copies lie beside the store, and only files of the store are changed.
        let shape = Shape {
            reopens: false,
            value_bytes_rare: 3_000,
            keys: 60,
            copies: false,
            ..Shape::default()
        };
        let mut draw = Gen::shaped(seed, shape);
        let mut history = vec![Op::Create(0), Op::Create(1)];
        history.extend(draw.history(150));
        history.push(Op::Settle);
        history.push(Op::Sync);
        history.extend((0..25).map(|_| draw.write()));
        history.push(Op::Flush);
        history.push(Op::Step(6));
        let clock = Arc::new(ManualClock::new());
        let told = |stop: Stop| format!("a store to damage could not be made: {stop}");
        let environment = settings::environment(Arc::new(live.clone()), &clock, seed);
        let environment = environment.map_err(|error| told(error.into()))?;
        let options = settings::options(seed);
        let log = CommitLog::default();
        let mut driver =
            Driver::open(environment, clock, Path::new(STORE), options, log).map_err(told)?;
        driver.run(&history).map_err(|(_, stop)| told(stop))?;
        // Until the log has a segment to use again, a kind of file like the others.
        let spare = |entry: &olivine_vfs::Entry| entry.name.to_string_lossy().starts_with("spare-");
        for _ in 0..ROUNDS_MAX {
            if live.list(Path::new(STORE)).is_ok_and(|entries| entries.iter().any(spare)) {
                break;
            }
            let mut round: Vec<Op> = (0..12).map(|_| draw.write()).collect();
            round.extend([Op::Flush, Op::Step(8)]);
            driver.run(&round).map_err(|(_, stop)| told(stop))?;
        }
        let mut tail: Vec<Op> = (0..12).map(|_| draw.write()).collect();
        tail.push(Op::Sync);
        driver.run(&tail).map_err(|(_, stop)| told(stop))?;
        let mut proven = driver.position();
        // The frames that follow record how far the log was durable.
        let after: Vec<Op> = (0..3).map(|id| small_write(id, Durability::Os)).collect();
        driver.run(&after).map_err(|(_, stop)| told(stop))?;
        match left {
            Left::Closed => {
                driver.close().map_err(told)?;
                proven = driver.position();
            }
            Left::Synced => driver.apply(&Op::Sync).map_err(told)?,
            Left::Open => {}
        }
        let log = driver.log().lock().unwrap_or_else(PoisonError::into_inner).clone();
        let disk = live.image();
        let files = files(&disk).map_err(|error| format!("cannot list the files: {error}"))?;
        let contents = log.contents(log.position());
        let specimen = Specimen { name, seed, disk, files, log, proven, contents };
        match specimen.judge(&specimen.disk.image(), 0) {
            Ok(Outcome::Harmless) => Ok(specimen),
            other => Err(format!("an undamaged store ({name}, seed {seed}) gives {other:?}")),
        }
    }

    /// What comes of opening and reading this store on `disk`, where something was changed that may
    /// take away what stands behind `floor` in the log, if the report says so.
    fn judge(&self, disk: &MemoryVfs, floor: usize) -> Result<Outcome, Silent> {
        caught(|| self.look(disk, floor))
            .unwrap_or_else(|what| Err(Silent { panicked: true, what }))
    }

    fn look(&self, disk: &MemoryVfs, floor: usize) -> Result<Outcome, Silent> {
        let db = match open(self.seed, disk) {
            Ok((environment, db)) => (environment, db),
            Err(_) => return Ok(Outcome::Detected),
        };
        let db = db.1;
        let mut reads = Reads::default();
        let found = reads.everything(&db)?;
        if reads.refused == 0 && found == self.contents {
            return Ok(Outcome::Harmless);
        }
        let report = db.recovery();
        let cut = report.cut.is_some() || report.manifest_cut.is_some();
        if reads.refused == 0 {
            let place = self.log.check_recovered(&found, floor);
            return match place {
                Ok(_) if cut => Ok(Outcome::Cut),
                Ok(place) => Err(Silent::new(format!(
                    "the store went back to position {place} of {} and does not say so",
                    self.log.position()
                ))),
                Err(verdict) => Err(Silent::new(verdict.to_string())),
            };
        }
        // What was read in spite of the errors must be right, as of one moment.
        for (name, keys) in &found {
            for (key, value) in keys {
                let known = self.contents.get(name).and_then(|keys| keys.get(key));
                let right = known == Some(value) || cut && self.log.ever(name, key, value);
                if !right {
                    let key = key.escape_ascii();
                    return Err(Silent::new(format!("{name}[{key}] is wrong beside errors")));
                }
            }
        }
        if !cut {
            self.missing(&db)?;
        }
        Ok(Outcome::Detected)
    }

    /// Gets every key that must be there: its value or an error, nothing else.
    fn missing(&self, db: &Db) -> Result<(), Silent> {
        for (name, keys) in &self.contents {
            let Some(keyspace) = db.find_keyspace(name) else {
                return Err(Silent::new(format!("keyspace {name} is gone")));
            };
            for (key, value) in keys {
                match keyspace.get(key) {
                    Ok(Some(found)) if *found == **value => {}
                    Err(_) => {}
                    Ok(_) => {
                        let key = key.escape_ascii();
                        let what =
                            format!("{name}[{key}] is gone or wrong, beside errors elsewhere");
                        return Err(Silent::new(what));
                    }
                }
            }
        }
        Ok(())
    }
}

fn small_write(id: u32, durability: Durability) -> Op {
    let what = What::Put(Value { id: 1 << 20 | id, bytes: 20 });
    let change = Change { keyspace: 0, key: b"after the proof".to_vec(), what };
    Op::Write { changes: vec![change], durability: Some(durability), ticketed: false }
}

/// Opens the store on `disk`.
fn open(seed: u64, disk: &MemoryVfs) -> Result<(Environment, Db), Error> {
    let clock = Arc::new(ManualClock::new());
    let environment = settings::environment(Arc::new(disk.clone()), &clock, seed)?;
    let db = Db::open(&environment, STORE, settings::options(seed))?;
    Ok((environment, db))
}

/// What comes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An error told of it.
    Detected,
    /// Everything reads as if it had not been made.
    Harmless,
    /// The log ended earlier, and the report says so.
    Cut,
}

/// A change that nobody told of.
#[derive(Clone, Debug)]
struct Silent {
    panicked: bool,
    what: String,
}

impl Silent {
    fn new(what: String) -> Silent {
        Silent { panicked: false, what }
    }
}

/// Reads a store in every way.
#[derive(Default)]
struct Reads {
    refused: u64,
}

impl Reads {
    /// What a scan answers, forward or backward; it ends at the first error.
    fn scan(
        &mut self,
        walk: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Error>>,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in walk {
            let Ok(entry) = entry else {
                self.refused += 1;
                break;
            };
            found.push(entry);
        }
        found
    }

    /// Everything there is, read forward, backward, and key by key; the ways must agree but for what
    /// they refuse.
    fn everything(&mut self, db: &Db) -> Result<Contents, Silent> {
        let mut contents = Contents::new();
        for name in db.keyspaces() {
            let before = self.refused;
            let Some(keyspace) = db.find_keyspace(&name) else {
                return Err(Silent::new(format!("keyspace {name} is listed and not there")));
            };
            let (Ok(forward), Ok(backward)) = (keyspace.iter(), keyspace.iter()) else {
                self.refused += 1;
                contents.insert(name, BTreeMap::new());
                continue;
            };
            let forward = self.scan(forward);
            let mut backward = self.scan(backward.rev());
            backward.reverse();
            if self.refused == before && forward != backward {
                return Err(Silent::new(format!("{name} reads otherwise backward")));
            }
            let mut keys = BTreeMap::new();
            for (key, value) in forward.into_iter().chain(backward) {
                let value: Arc<[u8]> = value.into();
                match keyspace.get(&key) {
                    Ok(Some(found)) if *found == *value => {}
                    Ok(_) => {
                        let key = key.escape_ascii();
                        return Err(Silent::new(format!("{name}[{key}]: get and scan differ")));
                    }
                    Err(_) => self.refused += 1,
                }
                if keys.insert(key.clone(), value.clone()).is_some_and(|other| other != value) {
                    let key = key.escape_ascii();
                    return Err(Silent::new(format!("{name}[{key}]: two scans differ")));
                }
            }
            contents.insert(name, keys);
        }
        Ok(contents)
    }
}

/// Every file of the store on `disk`, with its bytes.
fn files(disk: &MemoryVfs) -> io::Result<Vec<Sample>> {
    let mut files = Vec::new();
    for entry in disk.list(Path::new(STORE))? {
        if entry.kind != EntryKind::File {
            continue;
        }
        let path = Path::new(STORE).join(&entry.name);
        let mut bytes = vec![0; entry.bytes as usize];
        let read = disk.open(&path, Open::Read)?.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        files.push(Sample { path, bytes });
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
