//! Runs histories and takes images of their disk.
//!
//! 1. A history runs twice: once to count the places where images can be taken, once to take them.

use super::{
    Image, Kind, STORE, Summary, Tally, Trouble, Wrap, check, honest, lock, must_have, nothing,
    told,
};
use crate::{
    caught::caught,
    drive::{Acknowledged, Copies, Driver},
    history::{Gen, Op},
    lying::check_forgets,
    settings,
    shrink::shrink,
};
use olivine_vfs::{Clock, CrashingVfs, Event, ManualClock, Phase, Random, RealClock, Survival};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Operations of each history.
    pub ops: usize,
    /// Images of each history.
    pub images: u64,
    /// Only this one of them.
    pub image: Option<u64>,
    /// How many threads share the seeds.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
    /// How long a failing history is made shorter before it is told.
    pub shrink: Duration,
    /// Images, and among them those of a crash while a store recovered, that there must be at least; a
    /// run of fewer has not passed.
    pub promised: Option<(u64, u64)>,
}

impl Plan {
    /// What a full run promises.
    pub const PROMISED: (u64, u64) = (100_000, 10_000);
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            seed: 0,
            seeds: 530,
            ops: 2_000,
            images: 200,
            image: None,
            threads: 2,
            failures_max: 5,
            shrink: Duration::from_secs(20),
            promised: None,
        }
    }
}

/// Runs `plan`; `say` is told of progress.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync), wrap: &Wrap) -> Summary {
    let watch = RealClock::new();
    let began = watch.now();
    let summary = Mutex::new(Summary::default());
    lock(&summary).forgets = true;
    let disk = CrashingVfs::new();
    let crash = || Arc::new(disk.crash(Survival::Nothing, 0)) as _;
    if let Err(what) = check_forgets(&*wrap(disk.clone()), crash) {
        say(&format!("FAILED the disk under test does not forget: {what}"));
        lock(&summary).forgets = false;
    }
    let next = AtomicU64::new(plan.seed);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            let enough = plan.failures_max <= lock(&summary).failures.len();
            if plan.seed + plan.seeds <= seed || enough {
                return;
            }
            let outcome = run_seed(plan, seed, wrap);
            let mut summary = lock(&summary);
            for failure in &outcome.failures {
                say(&failure.to_string());
            }
            summary.add(outcome);
            if summary.seeds.is_multiple_of(25) {
                let images: u64 = summary.tally.images.iter().sum();
                say(&format!("{} of {} seeds, {images} images", summary.seeds, plan.seeds));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..plan.threads {
            scope.spawn(work);
        }
        work();
    });
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.elapsed = watch.now().saturating_sub(began);
    summary.promised = plan.promised;
    summary
}

/// One history and its images.
fn run_seed(plan: &Plan, seed: u64, wrap: &Wrap) -> Summary {
    let history = Gen::new(seed).history(plan.ops);
    let mut summary = Summary { seeds: 1, ops: history.len() as u64, ..Summary::default() };
    let mut random = Random::new(seed ^ 0x1a9e);
    let counted = drive(seed, &history, &Wanted::None, wrap, |_, _| Ok(()));
    let places = match counted {
        Ok(places) => places,
        Err((step, trouble)) => {
            summary.fail(plan, seed, None, &history, step, trouble, &shrink_live(plan, seed, wrap));
            return summary;
        }
    };
    summary.events = places;
    let mut wanted = BTreeSet::new();
    while (wanted.len() as u64) < plan.images.min(places) {
        wanted.insert(random.below(places));
    }
    let mut number = 0;
    let mut failed: Option<(u64, Survival)> = None;
    let mut tally = Tally::default();
    let again =
        drive(seed, &history, &Wanted::These(wanted, random.next_u64()), wrap, |image, driver| {
            let this = number;
            number += 1;
            if plan.image.is_some_and(|only| only != this) {
                return Ok(());
            }
            check(&image, seed, &lock(&driver.log()), &mut tally).map_err(|trouble| {
                failed = Some((this, image.survival));
                trouble.within(&format!("image {this}, {:?}, {}", image.survival, image.place))
            })
        });
    summary.tally = tally;
    match again {
        Ok(again) if again == places => {}
        Ok(again) => {
            let what = format!("{places} places for images, then {again}");
            let trouble = Trouble { kind: Kind::Unsteady, what };
            summary.fail(plan, seed, None, &history, history.len(), trouble, &|_| None);
        }
        Err((step, trouble)) => {
            let (kind, image) = (trouble.kind, failed.map(|(image, _)| image));
            let survival = failed.map(|(_, survival)| survival);
            let shorter = shrink_images(plan, seed, wrap, kind, survival);
            summary.fail(plan, seed, image, &history, step, trouble, &shorter);
        }
    }
    summary
}

/// At which places images are taken.
pub(super) enum Wanted {
    None,
    /// At these, by number; the seed draws survival and contents.
    These(BTreeSet<u64>, u64),
    /// At every one within this operation and later ones, in this survival or all, several times; of
    /// all those the images of this window, since an image is a disk and they are held together.
    AllFrom(usize, Option<Survival>, Window),
}

/// A stretch of the images that [`Wanted::AllFrom`] asks for, by number.
#[derive(Clone, Copy)]
pub(super) struct Window {
    first: u64,
}

impl Window {
    /// How many images are held at once: some hundreds of MiB of them.
    const LENGTH: u64 = 2_048;

    const FIRST: Window = Window { first: 0 };

    fn contains(self, number: u64) -> bool {
        (self.first..self.first + Window::LENGTH).contains(&number)
    }

    /// The window behind this one, if there are images behind it.
    fn next(self, images: u64) -> Option<Window> {
        let first = self.first + Window::LENGTH;
        (first < images).then_some(Window { first })
    }
}

/// Takes the images that are wanted, within the calls of a store.
struct Taker {
    wanted: Wanted,
    places: u64,
    /// Images asked for so far by [`Wanted::AllFrom`], in the window or not.
    asked: u64,
    step: usize,
    acknowledged: Option<Acknowledged>,
    copies: Copies,
    taken: Vec<Image>,
}

impl Taker {
    fn on_event(&mut self, event: &Event<'_>, disk: &CrashingVfs) {
        if event.phase == Phase::Before {
            return;
        }
        let place = self.places;
        self.places += 1;
        match &self.wanted {
            Wanted::None => {}
            Wanted::These(places, seed) => {
                if places.contains(&place) {
                    let mut random = Random::new(seed ^ place.wrapping_mul(0x9e37_79b9));
                    let survival = Survival::ALL[random.index(4)];
                    self.take(event, disk, survival, random.next_u64());
                }
            }
            Wanted::AllFrom(step, survival, window) => {
                if *step <= self.step {
                    let (survival, window) = (*survival, *window);
                    self.take_all(event, disk, survival, window);
                }
            }
        }
    }

    /// Takes of one place all the images that lie in the window.
    fn take_all(
        &mut self,
        event: &Event<'_>,
        disk: &CrashingVfs,
        survival: Option<Survival>,
        window: Window,
    ) {
        for survival in survival.map_or(Survival::ALL.to_vec(), |one| vec![one]) {
            // The seed also draws what is done with the image.
            let seeds = match survival {
                Survival::Nothing | Survival::Everything => 0..4,
                Survival::Torn | Survival::Reordered => 0..16,
            };
            for seed in seeds {
                if window.contains(self.asked) {
                    self.take(event, disk, survival, seed);
                }
                self.asked += 1;
            }
        }
    }

    fn take(&mut self, event: &Event<'_>, disk: &CrashingVfs, survival: Survival, seed: u64) {
        let acknowledged = self.acknowledged.as_ref();
        self.taken.push(Image {
            disk: disk.crash(survival, seed),
            survival,
            seed,
            acknowledged: acknowledged.map_or(0, |known| must_have(survival, known)),
            copies: self.copies.as_now(),
            applied: acknowledged.map_or(0, Acknowledged::applied),
            depth: 0,
            place: told(event),
        });
    }
}

/// Drives a new store through `history`, handing every wanted image to `look` after the operation in
/// which it was taken. Answers how many places for images there were, or the step that failed; of
/// [`Wanted::AllFrom`] how many images were asked for, in its window or not.
pub(super) fn drive(
    seed: u64,
    history: &[Op],
    wanted: &Wanted,
    wrap: &Wrap,
    mut look: impl FnMut(Image, &Driver) -> Result<(), Trouble>,
) -> Result<u64, (usize, Trouble)> {
    let disk = CrashingVfs::new();
    let wanted = match wanted {
        Wanted::None => Wanted::None,
        Wanted::These(places, seed) => Wanted::These(places.clone(), *seed),
        Wanted::AllFrom(step, survival, window) => Wanted::AllFrom(*step, *survival, *window),
    };
    let all = matches!(wanted, Wanted::AllFrom(..));
    let taker = Arc::new(Mutex::new(Taker {
        wanted,
        places: 0,
        asked: 0,
        step: 0,
        acknowledged: None,
        copies: Copies::default(),
        taken: Vec::new(),
    }));
    let hook = Arc::clone(&taker);
    disk.on_event(move |event, disk| lock(&hook).on_event(event, disk));

    let panicked = |step| move |what| (step, Trouble { kind: Kind::Panicked, what });
    let opened = caught(|| {
        let clock = Arc::new(ManualClock::new());
        let environment = settings::environment(wrap(disk.clone()), &clock, seed)?;
        let options = settings::options(seed);
        Driver::open(environment, clock, Path::new(STORE), options, nothing())
    });
    let mut driver = opened.map_err(panicked(0))?.map_err(|stop| (0, stop.into()))?;
    lock(&taker).acknowledged = Some(driver.acknowledged());
    lock(&taker).copies = driver.copies();
    let ran = (|| {
        for image in std::mem::take(&mut lock(&taker).taken) {
            look(image, &driver).map_err(|trouble| (0, trouble))?;
        }
        for (step, op) in history.iter().enumerate() {
            lock(&taker).step = step;
            caught(|| driver.apply(op))
                .map_err(panicked(step))?
                .map_err(|stop| (step, stop.into()))?;
            for image in std::mem::take(&mut lock(&taker).taken) {
                look(image, &driver).map_err(|trouble| (step, trouble))?;
            }
        }
        Ok(())
    })();
    disk.clear_on_event();
    // Closing flushes and merges, too.
    let closed = caught(|| drop(driver));
    ran?;
    closed.map_err(panicked(history.len().saturating_sub(1)))?;
    let taker = lock(&taker);
    Ok(if all { taker.asked } else { taker.places })
}

/// Drives `history` as often as it takes to look at every image of its operations from `step` on, one
/// window of them at a time; stops early when `enough` says so.
fn drive_all(
    seed: u64,
    history: &[Op],
    (step, survival): (usize, Option<Survival>),
    wrap: &Wrap,
    enough: &dyn Fn() -> bool,
    mut look: impl FnMut(Image, &Driver) -> Result<(), Trouble>,
) -> Result<(), (usize, Trouble)> {
    let mut next = Some(Window::FIRST);
    while let Some(window) = next.filter(|_| !enough()) {
        let wanted = Wanted::AllFrom(step, survival, window);
        let images = drive(seed, history, &wanted, wrap, &mut look)?;
        next = window.next(images);
    }
    Ok(())
}

/// Makes histories shorter that fail without any crash.
fn shrink_live(plan: &Plan, seed: u64, wrap: &Wrap) -> impl Fn(&[Op]) -> Option<Vec<Op>> {
    let time = plan.shrink;
    move |history| {
        shorter(history, time, |history, _| {
            drive(seed, history, &Wanted::None, wrap, |_, _| Ok(())).is_err()
        })
    }
}

/// Makes histories shorter of which an image, taken within the last operation, fails in this way.
fn shrink_images(
    plan: &Plan,
    seed: u64,
    wrap: &Wrap,
    kind: Kind,
    survival: Option<Survival>,
) -> impl Fn(&[Op]) -> Option<Vec<Op>> {
    let time = plan.shrink;
    move |history| {
        let (last, before) = history.split_last()?;
        let fails = |before: &[Op], enough: &dyn Fn() -> bool| {
            let mut history = before.to_vec();
            history.push(last.clone());
            let from = (before.len(), survival);
            let outcome = drive_all(seed, &history, from, wrap, enough, |image, driver| {
                check(&image, seed, &lock(&driver.log()), &mut Tally::default())
            });
            outcome.is_err_and(|(_, trouble)| trouble.kind == kind)
        };
        let mut history = shorter(before, time, fails)?;
        history.push(last.clone());
        Some(history)
    }
}

/// The shortest sub-list found in time for which `fails` holds; nothing if it does not hold at all.
/// `fails` is handed what says that time is up.
fn shorter(
    history: &[Op],
    time: Duration,
    fails: impl Fn(&[Op], &dyn Fn() -> bool) -> bool,
) -> Option<Vec<Op>> {
    if time.is_zero() {
        return None;
    }
    let watch = RealClock::new();
    let until = watch.now() + time;
    let enough = || until <= watch.now();
    let fails = |history: &[Op]| !enough() && fails(history, &enough);
    fails(history).then(|| shrink(history, fails))
}

/// Runs a history that was printed, with images at every place of its last operation and after it.
pub fn replay_history(seed: u64, history: &[Op]) -> Result<Tally, (usize, Trouble)> {
    let mut tally = Tally::default();
    let from = (history.len().saturating_sub(1), None);
    drive_all(seed, history, from, &honest, &|| false, |image, driver| {
        check(&image, seed, &lock(&driver.log()), &mut tally)
            .map_err(|trouble| trouble.within(&format!("{:?}, {}", image.survival, image.place)))
    })?;
    Ok(tally)
}
