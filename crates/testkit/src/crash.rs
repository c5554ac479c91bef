//! Tier A: the machine dies between any two I/O events, and in the midst of writes.
//!
//! A seed decides a history and the places in it where images of the disk are taken, as a power cut
//! would leave it right then. Each image is opened and compared with the log of commits, and then used
//! a little; one in ten dies again while it is being opened, one in a hundred a third time.
//!
//! 1. A run depends on its seeds alone; the same history makes the same calls each time, which is
//!    checked.
//! 2. An image must hold the state after some first part of the commits; after a power cut at least
//!    what was acknowledged as lasting, and when nothing the kernel had was lost, also what was
//!    acknowledged as handed to it.
//! 3. What a store showed once after opening is lasting.
//! 4. A checkpoint or backup that was acknowledged before opens, and holds what the store showed then.

use crate::{
    caught::caught,
    drive::{Acknowledged, Copies, Driver, Stop, read_all},
    history::{Gen, KEYSPACES, Op, Shape},
    oracle::{CommitLog, Contents, Loss},
    settings,
};
use olivine_engine::Db;
use olivine_vfs::{Clock, CrashingVfs, ManualClock, Phase, Random, RealClock, Survival, Vfs};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

mod report;
mod run;

pub use report::{Failure, Summary};
pub use run::{Plan, replay_history, run};

/// Where the store lies on the disks of this tier.
const STORE: &str = "/store";

/// Shown to the store in place of the disk itself; a lie in the tests of this tier.
pub type Wrap = dyn Fn(CrashingVfs) -> Arc<dyn Vfs> + Sync;

/// The disk as it is.
pub fn honest(disk: CrashingVfs) -> Arc<dyn Vfs> {
    Arc::new(disk)
}

/// What kind of failure it is; the last two are not the oracle's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// As the oracle says.
    Loss(Loss),
    /// The store answered an error where it must not.
    Refused,
    /// It panicked.
    Panicked,
    /// The same history made other calls.
    Unsteady,
}

/// What went wrong with an image, or in the history itself.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Its kind.
    pub kind: Kind,
    /// In words.
    pub what: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Loss(loss) => write!(f, "{loss:?}: {}", self.what),
            kind => write!(f, "{kind:?}: {}", self.what),
        }
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Trouble {
        let kind = match &stop {
            Stop::Refused(_) => Kind::Refused,
            Stop::Differs(_) => Kind::Loss(Loss::Wrong),
        };
        Trouble { kind, what: stop.to_string() }
    }
}

impl From<olivine_engine::Error> for Trouble {
    fn from(error: olivine_engine::Error) -> Trouble {
        Stop::from(error).into()
    }
}

impl Trouble {
    fn within(self, place: &str) -> Trouble {
        Trouble { what: format!("{place}: {}", self.what), ..self }
    }
}

/// A disk as found after a crash, and what must be on it.
struct Image {
    disk: CrashingVfs,
    survival: Survival,
    /// Draws what is done with it.
    seed: u64,
    acknowledged: usize,
    copies: Copies,
    /// How often the machine died before: 0 for an image of the history itself.
    depth: u32,
    /// In words: event, phase, call and file.
    place: String,
}

/// What was counted while images were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Images by survival, in the order of `Survival::ALL`.
    pub images: [u64; 4],
    /// Of them, those of a crash while a store recovered.
    pub double: u64,
    /// Of those, the ones of a crash while that crash was recovered from.
    pub triple: u64,
    /// Of them, those of a crash after a recovered store had been used.
    pub later: u64,
    /// Copies that were opened, acknowledged before the machine died.
    pub copies: u64,
    /// The longest time that opening one took.
    pub slowest: Duration,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.images.iter_mut().zip(other.images).for_each(|(sum, more)| *sum += more);
        self.double += other.double;
        self.triple += other.triple;
        self.later += other.later;
        self.copies += other.copies;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Opens `image`, compares it with `log`, and uses it.
fn check(
    image: &Image,
    options_seed: u64,
    log: &CommitLog,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    caught(|| look(image, options_seed, log, tally))
        .unwrap_or_else(|what| Err(Trouble { kind: Kind::Panicked, what }))
}

fn look(
    image: &Image,
    options_seed: u64,
    log: &CommitLog,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    let survivals = Survival::ALL.iter().position(|survival| *survival == image.survival);
    tally.images[survivals.expect("ALL has every survival")] += 1;
    let mut random = Random::new(image.seed);
    let (clock, options) = (Arc::new(ManualClock::new()), settings::options(options_seed));
    let environment =
        settings::environment(Arc::new(image.disk.clone()), &clock, random.next_u64())?;
    let again = random.chance(1, 10).then(|| die_within(&image.disk, &mut random));

    let watch = RealClock::new();
    let began = watch.now();
    let db = Db::open(&environment, STORE, options.clone());
    tally.slowest = tally.slowest.max(watch.now().saturating_sub(began));
    image.disk.clear_on_event();
    let found = db.and_then(|db| Ok((read_all(&db)?, db)));
    let (found, db) = found.map_err(|error| Trouble::from(error).within("opening it"))?;
    log.check_recovered(&found, image.acknowledged)
        .map_err(|verdict| Trouble { kind: Kind::Loss(verdict.loss), what: verdict.what })?;

    if random.chance(1, 4) {
        tally.copies += image.copies.count() as u64;
        let disk = Arc::new(image.disk.clone());
        let checked = image.copies.check(disk, &options, random.next_u64());
        checked.map_err(|stop| Trouble::from(stop).within("a copy of it"))?;
    }
    let exists = KEYSPACES.map(|name| found.contains_key(name));
    let found = CommitLog::from_contents(found);
    let driver = Driver::resume(environment, clock, Path::new(STORE), options, found, db);
    driver
        .map_err(Trouble::from)
        .map(|driver| driver.with_copies(image.copies.as_now()))
        .and_then(|driver| go_on(driver, image, exists, options_seed, &mut random, tally))
        .map_err(|trouble| trouble.within("used after it was recovered"))?;

    let Some(again) = again.and_then(|again| lock(&again).image.take()) else { return Ok(()) };
    let again = Image {
        disk: again.0,
        survival: again.1,
        seed: random.next_u64(),
        acknowledged: image.acknowledged,
        copies: image.copies.as_now(),
        depth: image.depth + 1,
        place: again.2,
    };
    tally.double += u64::from(again.depth == 1);
    tally.triple += u64::from(again.depth == 2);
    look(&again, options_seed, log, tally).map_err(|trouble| {
        trouble.within(&format!("died again in its recovery at {}", again.place))
    })
}

/// One image taken at a random event, all events alike, without knowing how many will come.
#[derive(Default)]
struct OneOfMany {
    seen: u64,
    image: Option<(CrashingVfs, Survival, String)>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the machine die at a random event from now on, in a copy.
fn die_within(disk: &CrashingVfs, random: &mut Random) -> Arc<Mutex<OneOfMany>> {
    let one = Arc::new(Mutex::new(OneOfMany::default()));
    let (taken, mut random) = (Arc::clone(&one), random.fork());
    disk.on_event(move |event, disk| {
        let mut one = lock(&taken);
        if event.phase == Phase::Before {
            return;
        }
        one.seen += 1;
        if random.chance(1, one.seen) {
            let survival = Survival::ALL[random.index(4)];
            let place = told(event);
            one.image = Some((disk.crash(survival, random.next_u64()), survival, place));
        }
    });
    one
}

fn told(event: &olivine_vfs::Event<'_>) -> String {
    let olivine_vfs::Event { index, kind, phase, path, .. } = event;
    format!("event {index} ({phase:?} {kind:?} {})", path.display())
}

/// Uses a recovered store: some operations, everything read, closed, opened, everything read. One in
/// ten then dies once more, without having been closed.
fn go_on(
    mut driver: Driver,
    image: &Image,
    exists: [bool; KEYSPACES.len()],
    options_seed: u64,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), Trouble> {
    let shape = Shape { reopens: false, value_bytes_rare: 1_000, ..Shape::default() };
    let mut draw = Gen::shaped(random.next_u64(), shape).resumed(exists, 1 << 24);
    for op in draw.history(random.between(0, 12) as usize) {
        driver.apply(&op).map_err(|stop| Trouble::from(stop).within(&op.to_string()))?;
    }
    if random.chance(1, 10) {
        let survival = Survival::ALL[random.index(4)];
        let later = Image {
            disk: image.disk.crash(survival, random.next_u64()),
            survival,
            seed: random.next_u64(),
            acknowledged: must_have(survival, &driver.acknowledged()),
            copies: driver.copies().as_now(),
            // Deep enough not to go on for ever.
            depth: image.depth + 1,
            place: String::new(),
        };
        tally.later += 1;
        if later.depth < 4 {
            look(&later, options_seed, &lock(&driver.log()).clone(), tally)
                .map_err(|trouble| trouble.within("died after it had been used"))?;
        }
    }
    for op in [Op::Flush, Op::Reopen] {
        driver.apply(&op).map_err(|stop| Trouble::from(stop).within(&op.to_string()))?;
    }
    Ok(driver.close()?)
}

/// Up to where an image must hold the log.
fn must_have(survival: Survival, acknowledged: &Acknowledged) -> usize {
    match survival {
        Survival::Everything => acknowledged.handed(),
        Survival::Nothing | Survival::Torn | Survival::Reordered => acknowledged.lasting(),
    }
}

/// The contents of no store at all.
fn nothing() -> CommitLog {
    CommitLog::from_contents(Contents::new())
}
