//! Tier C: one call to the disk fails, and then another one in another run, until each has failed.
//!
//! A seed decides a short history that opens a store, writes, flushes, compacts, closes and opens it
//! again. It runs once on a healthy disk to count the calls of every kind; then it runs once for
//! every call and every way in which that call can fail. After the fault the history goes on; at the
//! end the machine dies, and the store is opened on the healthy disk as well.
//!
//! 1. A fault is an error of the operation it hits, or is survived; never a panic.
//! 2. Reads that answer, answer rightly, before and after the fault.
//! 3. Once a write or a sync was refused, nothing is acknowledged until the store is opened anew.
//! 4. Nothing acknowledged is lost, neither by the end of the process nor by a power cut.
//! 5. A copy that was acknowledged opens, and holds what the store showed then.
//! 6. Opening the store on a healthy disk leaves no file behind that belongs to nothing.

use crate::{
    caught::caught,
    drive::{Driver, Stop, full_text, read_all},
    history::{Gen, Op, Shape},
    oracle::CommitLog,
    settings,
};
use olivine_engine::Db;
use olivine_vfs::{CrashingVfs, FailingVfs, Fault, Kind, ManualClock, Survival, Vfs};
use std::{path::Path, sync::Arc};

mod report;
mod run;

pub use report::{Failure, Summary};
pub use run::{Plan, run};

pub(crate) const STORE: &str = "/store";

/// One call that fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The kind of call.
    pub kind: Kind,
    /// How many of that kind come before it.
    pub index: u64,
    /// How it fails.
    pub fault: Fault,
    /// Whether every later call of the kind fails as well, until the store is opened anew; a full disk
    /// then refuses everything that needs space.
    pub lasting: bool,
}

/// A part of the history, by what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A new store is made.
    Open,
    /// Writes, syncs and reads.
    Write,
    /// Memtables become tables.
    Flush,
    /// Tables are merged.
    Compact,
    /// The store is closed and opened again, and written to.
    Reopen,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Phase; 5] =
        [Phase::Open, Phase::Write, Phase::Flush, Phase::Compact, Phase::Reopen];
}

/// The history of a seed, phase by phase; the first one is the opening itself.
fn history(seed: u64) -> Vec<(Phase, Op)> {
    let shape = Shape { value_bytes_rare: 3_000, keys: 30, reopens: false, ..Shape::default() };
    let mut draw = Gen::shaped(seed, shape);
    let mut history = vec![(Phase::Write, Op::Create(0)), (Phase::Write, Op::Create(1))];
    let write = |draw: &mut Gen, history: &mut Vec<_>, phase, ops: usize| {
        for _ in 0..ops {
            history.push((phase, draw.write()));
        }
    };
    history.extend(draw.history(14).into_iter().map(|op| (Phase::Write, op)));
    write(&mut draw, &mut history, Phase::Flush, 8);
    history.push((Phase::Flush, Op::Flush));
    for _ in 0..3 {
        write(&mut draw, &mut history, Phase::Compact, 5);
        history.push((Phase::Compact, Op::Flush));
        history.push((Phase::Compact, Op::Step(3)));
    }
    history.push((Phase::Compact, Op::Settle));
    history.push((Phase::Compact, draw.ingest()));
    history.push((Phase::Compact, Op::Checkpoint));
    history.push((Phase::Compact, Op::Backup));
    history.extend(draw.history(6).into_iter().map(|op| (Phase::Compact, op)));
    history.push((Phase::Reopen, Op::Reopen));
    history.extend(draw.history(6).into_iter().map(|op| (Phase::Reopen, op)));
    write(&mut draw, &mut history, Phase::Reopen, 2);
    history.push((Phase::Reopen, Op::Follow));
    history
}

/// How the calls of a kind can fail.
fn faults(kind: Kind) -> &'static [(Fault, bool)] {
    match kind {
        Kind::Write => &[
            (Fault::Eio, false),
            (Fault::Enospc, false),
            (Fault::Enospc, true),
            (Fault::ShortWrite { kept: 1 }, false),
            (Fault::ShortWrite { kept: 40 }, false),
            (Fault::ShortWrite { kept: 700 }, false),
        ],
        Kind::Sync => &[(Fault::Eio, false), (Fault::Enospc, true), (Fault::SyncLost, false)],
        Kind::Create | Kind::CreateDir | Kind::Rename | Kind::HardLink | Kind::SetLen => {
            &[(Fault::Eio, false), (Fault::Enospc, false), (Fault::Enospc, true)]
        }
        _ => &[(Fault::Eio, false), (Fault::Eio, true)],
    }
}

/// What became of a run with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The fault was never met.
    Missed,
    /// No operation was refused.
    Survived,
    /// Some operation was refused.
    Refused,
}

/// Why a run with a fault is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A read answered something else, or an acknowledgement came after a refused write.
    Differs,
    /// Something acknowledged is not there, or what is there is no first part.
    Lost,
    /// The store cannot be opened on the healthy disk, or not be used there.
    Unusable,
    /// A file belongs to nothing.
    Leaked,
    /// It panicked.
    Panicked,
}

/// What is wrong, in words.
pub(crate) type Found<T> = Result<T, (Wrong, String)>;

/// Shown to the store in place of the failing disk; a lie in the tests of this tier.
pub type Wrap = dyn Fn(Arc<FailingVfs>) -> Arc<dyn Vfs> + Sync;

/// The failing disk as it is.
pub fn honest(disk: Arc<FailingVfs>) -> Arc<dyn Vfs> {
    disk
}

/// One run of the history with these faults.
fn run_with(seed: u64, injected: &[Injected], wrap: &Wrap) -> Found<Outcome> {
    caught(|| attempt(seed, injected, wrap)).unwrap_or_else(|what| Err((Wrong::Panicked, what)))
}

fn attempt(seed: u64, injected: &[Injected], wrap: &Wrap) -> Found<Outcome> {
    let disk = CrashingVfs::new();
    let failing = Arc::new(FailingVfs::over_crashing(&disk));
    for Injected { kind, index, fault, lasting } in injected {
        if *lasting {
            failing.fail_from(*kind, *index, *fault);
        } else {
            failing.fail(*kind, *index, *fault);
        }
    }
    let shown = wrap(Arc::clone(&failing));
    let (mut refused, mut driver) = (false, None);
    for (_, op) in history(seed) {
        let driver = match &mut driver {
            Some(driver) => driver,
            nothing => {
                let opened = open(&shown, seed).or_else(|stop| {
                    refused = true;
                    refusal(stop)?;
                    failing.clear();
                    open(&shown, seed).map_err(|stop| {
                        (Wrong::Unusable, format!("opened again on the healthy disk: {stop}"))
                    })
                });
                nothing.insert(opened?)
            }
        };
        match driver.apply(&op) {
            Ok(()) => {}
            Err(stop) => {
                refused = true;
                refusal(stop).map_err(|(wrong, what)| (wrong, format!("{op}: {what}")))?;
                if !driver.is_open() {
                    break;
                }
            }
        }
    }
    failing.clear();
    let Some(driver) = driver else { return Ok(Outcome::Missed) };
    finish(seed, driver, &disk)?;
    Ok(match (failing.failed(), refused) {
        (0, _) => Outcome::Missed,
        (_, false) => Outcome::Survived,
        (_, true) => Outcome::Refused,
    })
}

pub(crate) fn open(disk: &Arc<dyn Vfs>, seed: u64) -> Result<Driver, Stop> {
    let clock = Arc::new(ManualClock::new());
    let environment = settings::environment(Arc::clone(disk), &clock, seed)?;
    let options = settings::options(seed);
    Driver::open(environment, clock, Path::new(STORE), options, CommitLog::default())
}

/// A refusal is as it should be; anything else is not.
fn refusal(stop: Stop) -> Found<()> {
    match stop {
        Stop::Refused(_) => Ok(()),
        Stop::Differs(what) => Err((Wrong::Differs, what)),
    }
}

/// The fault is over: what a power cut would leave now, what the end of the process leaves, and
/// whether both can be used.
pub(crate) fn finish(seed: u64, mut driver: Driver, disk: &CrashingVfs) -> Found<()> {
    let (log, acknowledged) = (driver.log(), driver.acknowledged());
    let log = log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for survival in [Survival::Nothing, Survival::Everything, Survival::Torn] {
        let image = disk.crash(survival, seed);
        reopen(seed, &image, &log, acknowledged.lasting()).map_err(|(wrong, what)| {
            (wrong, format!("after a power cut ({survival:?}): {what}"))
        })?;
    }
    let image = Arc::new(disk.crash(Survival::Nothing, seed));
    driver
        .copies()
        .check(image, &settings::options(seed), seed)
        .map_err(|stop| (Wrong::Lost, format!("a copy, after a power cut: {stop}")))?;
    if driver.is_open() {
        // What closing was refused for is found or not found below.
        driver.close().or_else(refusal)?;
    }
    drop(driver);
    // The process ends and the disk goes on: even what a failed sync lost can still be read, and
    // what an opening showed once must outlast a power cut.
    let recovered = recover(seed, disk, &log, acknowledged.handed())
        .map_err(|(wrong, what)| (wrong, format!("opened on the healthy disk: {what}")))?;
    reopen(seed, &disk.crash(Survival::Nothing, seed), &log, recovered)
        .map_err(|(wrong, what)| (wrong, format!("opened, then a power cut: {what}")))?;
    reopen(seed, disk, &log, recovered)
        .map_err(|(wrong, what)| (wrong, format!("opened on the healthy disk again: {what}")))
}

/// Opens a store and compares it with `log`; answers up to where that is there.
fn recover(seed: u64, disk: &CrashingVfs, log: &CommitLog, floor: usize) -> Found<usize> {
    let unusable = |error: olivine_engine::Error| (Wrong::Unusable, full_text(&error));
    let clock = Arc::new(ManualClock::new());
    let environment = settings::environment(Arc::new(disk.clone()), &clock, seed);
    let db = Db::open(&environment.map_err(unusable)?, STORE, settings::options(seed));
    let found = read_all(&db.map_err(unusable)?).map_err(unusable)?;
    log.check_recovered(&found, floor).map_err(|verdict| (Wrong::Lost, verdict.to_string()))
}

/// Opens a store, compares it with `log`, writes to it, settles and closes it, and looks for files
/// that belong to nothing.
fn reopen(seed: u64, disk: &CrashingVfs, log: &CommitLog, floor: usize) -> Found<()> {
    let unusable = |what: &'static str| {
        move |error: olivine_engine::Error| {
            (Wrong::Unusable, format!("{what}: {}", full_text(&error)))
        }
    };
    let clock = Arc::new(ManualClock::new());
    let environment = settings::environment(Arc::new(disk.clone()), &clock, seed);
    let environment = environment.map_err(unusable("environment"))?;
    let db = Db::open(&environment, STORE, settings::options(seed)).map_err(unusable("open"))?;
    let found = read_all(&db).map_err(unusable("read"))?;
    log.check_recovered(&found, floor).map_err(|verdict| (Wrong::Lost, verdict.to_string()))?;
    let keyspace = db.keyspace("main").map_err(unusable("keyspace"))?;
    keyspace.put(b"after the fault", b"works").map_err(unusable("put"))?;
    db.settle().map_err(unusable("settle"))?;
    while environment.step() {}
    let stats = db.stats();
    drop(keyspace);
    let names = file_names(disk);
    let count = |what: &str| names.iter().filter(|name| name.starts_with(what)).count();
    let tables: usize = stats.level_tables.iter().sum();
    let values = stats.value_files;
    let fits = count("table-") == tables && count("values-") == values;
    if !fits || count("manifest-") != 1 || count("CURRENT") != 1 {
        let used = format!("{tables} tables and {values} value files");
        let what = format!("{used} are in use, and the files are {names:?}");
        return Err((Wrong::Leaked, what));
    }
    db.close().map_err(unusable("close"))
}

/// The names in the store's directory.
fn file_names(disk: &CrashingVfs) -> Vec<String> {
    let entries = disk.list(Path::new(STORE)).unwrap_or_default();
    entries.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect()
}
