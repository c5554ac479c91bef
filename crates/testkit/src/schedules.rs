//! Tier E: threads of a real store, pushed out of step at every call to the disk and the clock.
//!
//! A seed decides what two writers, a reader and a meddler do in a small store whose background has its
//! own threads, and at which calls a thread lets others go first or sleeps a few microseconds. The
//! kernel decides the rest: unlike everything else here, a schedule is pushed by its seed and not
//! replayed by it. What memory order allows is loom's matter (`cargo xtask test --only loom`).
//!
//! 1. Both keys of a batch are seen together or not at all, and what was seen never goes back.
//! 2. What was acknowledged as lasting is there after a power cut taken at any moment.
//! 3. Whoever writes beside a close is answered, rightly; nothing waits for ever.

use crate::{
    caught::caught,
    drive::full_text,
    report::{count, duration},
    settings,
};
use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Parts, Work,
};
use olivine_vfs::{Clock, CrashingVfs, DelayingVfs, ManualClock, Random, RealClock, Survival, Vfs};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

const STORE: &str = "/store";
const WRITERS: usize = 2;
/// How long one schedule may take before it is told as a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many schedules.
    pub schedules: u64,
    /// How many run at a time.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { seed: 0, schedules: 50_000, threads: 2, failures_max: 5 }
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Schedules that ended.
    pub schedules: u64,
    /// Writes that were acknowledged as lasting.
    pub acknowledged: u64,
    /// Power cuts that were looked at.
    pub cuts: u64,
    /// Schedules in which the store was closed beside its users.
    pub closed: u64,
    /// What failed.
    pub failures: Vec<String>,
    /// Schedules that did not end.
    pub hangs: u64,
    elapsed: Duration,
}

impl Summary {
    /// Whether nothing failed, and enough was tried to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.hangs == 0 && 0 < self.acknowledged && 0 < self.cuts
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { schedules, cuts, closed, failures, hangs, elapsed, .. } = self;
        let acknowledged = count(self.acknowledged);
        write!(
            f,
            "E schedules {schedules} acked {acknowledged} cuts {cuts} closed-beside {closed} | "
        )?;
        write!(f, "wrong-or-lost={} hangs={hangs} | {}", failures.len(), duration(*elapsed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the runners share with who watches them.
#[derive(Default)]
struct Progress {
    next: AtomicU64,
    summary: Mutex<Summary>,
    /// For each runner the schedule it is at and since when; none when it ended.
    at: Mutex<Vec<Option<(u64, Duration)>>>,
}

/// Runs `plan`; `say` is told of failures. After a hang its threads are still there.
pub fn run(plan: &Plan, say: &dyn Fn(&str)) -> Summary {
    let watch = Arc::new(RealClock::new());
    let began = watch.now();
    let progress = Arc::new(Progress::default());
    *lock(&progress.at) = vec![Some((plan.seed, began)); plan.threads];
    for runner in 0..plan.threads {
        let (plan, progress, watch) = (plan.clone(), Arc::clone(&progress), Arc::clone(&watch));
        thread::spawn(move || {
            loop {
                let seed = plan.seed + progress.next.fetch_add(1, SeqCst);
                let enough = plan.failures_max <= lock(&progress.summary).failures.len();
                if plan.seed + plan.schedules <= seed || enough {
                    break;
                }
                lock(&progress.at)[runner] = Some((seed, watch.now()));
                let outcome = caught(|| schedule(seed)).unwrap_or_else(Err);
                lock(&progress.summary).add(seed, outcome);
            }
            lock(&progress.at)[runner] = None;
        });
    }
    let mut told = 0;
    loop {
        watch.sleep(Duration::from_millis(20));
        let mut summary = lock(&progress.summary);
        summary.failures[told..].iter().for_each(|failure| say(failure));
        told = summary.failures.len();
        let at = lock(&progress.at).clone();
        let late = |since: &Duration| PATIENCE < watch.now().saturating_sub(*since);
        for (seed, _) in at.iter().flatten().filter(|(_, since)| late(since)) {
            summary.hangs += 1;
            say(&format!("HANGS seed {seed}: {}", replay(*seed)));
        }
        if 0 < summary.hangs || at.iter().all(Option::is_none) {
            summary.elapsed = watch.now().saturating_sub(began);
            return summary.clone();
        }
    }
}

fn replay(seed: u64) -> String {
    format!("cargo xtask rel schedules --seed {seed} --schedules 200 pushes as this one was")
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, String>) {
        self.schedules += 1;
        match outcome {
            Ok(outcome) => {
                self.acknowledged += outcome.acknowledged;
                self.cuts += outcome.cuts;
                self.closed += u64::from(outcome.closed);
            }
            Err(what) => {
                self.failures.push(format!("FAILED seed {seed}: {what}\n  {}", replay(seed)))
            }
        }
    }
}

/// What one schedule came to.
struct Outcome {
    acknowledged: u64,
    cuts: u64,
    closed: bool,
}

/// Draws from a seed, at every call, whether the calling thread goes on at once.
#[derive(Debug)]
struct Pushing {
    seed: u64,
    calls: AtomicU64,
}

impl Pushing {
    fn draw(&self) -> Duration {
        let call = self.calls.fetch_add(1, SeqCst);
        let mut random = Random::new(self.seed ^ call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match random.below(16) {
            0..9 => {}
            9..14 => (0..random.between(1, 3)).for_each(|_| thread::yield_now()),
            _ => return Duration::from_micros(random.between(1, 60)),
        }
        Duration::ZERO
    }
}

/// Time as it is, asked for with a push now and then.
#[derive(Debug)]
struct PushingClock {
    clock: RealClock,
    pushing: Arc<Pushing>,
}

impl Clock for PushingClock {
    fn now(&self) -> Duration {
        let wait = self.pushing.draw();
        if !wait.is_zero() {
            self.clock.sleep(wait);
        }
        self.clock.now()
    }

    fn wall(&self) -> Duration {
        self.clock.wall()
    }

    fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration.min(Duration::from_millis(2)));
    }
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

fn schedule(seed: u64) -> Result<Outcome, String> {
    let told = |error: Error| full_text(&error);
    let disk = CrashingVfs::new();
    let pushing = Arc::new(Pushing { seed, calls: AtomicU64::new(0) });
    let drawn = Arc::clone(&pushing);
    let clock = Arc::new(PushingClock { clock: RealClock::new(), pushing });
    let vfs: Arc<dyn Vfs> =
        Arc::new(DelayingVfs::new(Arc::new(disk.clone()), Arc::clone(&clock) as _, move |_| {
            drawn.draw()
        }));
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
