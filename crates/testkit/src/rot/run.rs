//! Makes every change, one at a time.
//!
//! 1. Of every byte of every file one bit is flipped, whatever else is asked for.

use super::{LEFT, Mutation, Outcome, Sample, Specimen, Summary};
use olivine_vfs::{Clock, Random, RealClock, Vfs};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How long one opening may take before it is told as a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed; each gives three stores.
    pub seed: u64,
    /// How many changes there must be; seeds are added until there are.
    pub mutations: u64,
    /// Of every so many changes, one is made: 1 for all.
    pub every: u64,
    /// Only this one, to every store of the first seed.
    pub only: Option<Mutation>,
    /// How many threads share the changes.
    pub threads: usize,
    /// How many failures end the run.
    pub failures_max: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { seed: 0, mutations: 250_000, every: 1, only: None, threads: 2, failures_max: 10 }
    }
}

/// Runs `plan`; `say` is told of progress.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> Summary {
    let watch = RealClock::new();
    let began = watch.now();
    let mut summary = Summary::default();
    let mut seed = plan.seed;
    loop {
        for (left, name) in LEFT {
            match Specimen::make(seed, left, name) {
                Ok(specimen) => summary.add(run_specimen(plan, &specimen, say)),
                Err(what) => {
                    say(&format!("FAILED {what}"));
                    summary.unmade += 1;
                }
            }
        }
        seed += 1;
        let done = plan.mutations <= summary.mutations || plan.only.is_some();
        if done || plan.failures_max <= summary.failures.len() || 0 < summary.unmade {
            break;
        }
        say(&format!("{} of {} changes", summary.mutations, plan.mutations));
    }
    summary.elapsed = watch.now().saturating_sub(began);
    summary
}

fn run_specimen(plan: &Plan, specimen: &Specimen, say: &(dyn Fn(&str) + Sync)) -> Summary {
    let mutations = match &plan.only {
        Some(only) => vec![only.clone()],
        None => mutations(specimen, plan.every),
    };
    let summary = Mutex::new(Summary::default());
    let lock = || summary.lock().unwrap_or_else(PoisonError::into_inner);
    let (next, working) = (AtomicUsize::new(0), AtomicUsize::new(plan.threads));
    let watch = RealClock::new();
    // For each thread: which change it is at, and since when in milliseconds.
    let at: Vec<(AtomicUsize, AtomicU64)> = (0..plan.threads).map(|_| Default::default()).collect();
    let millis = || watch.now().as_millis() as u64;
    let work = |thread: usize| {
        let mut mine = Summary::default();
        loop {
            let place = next.fetch_add(1, Relaxed);
            let enough = plan.failures_max <= lock().failures.len() + mine.failures.len();
            let Some(mutation) = mutations.get(place).filter(|_| !enough) else { break };
            at[thread].1.store(millis(), Relaxed);
            at[thread].0.store(place, Relaxed);
            make(specimen, mutation, &mut mine, say);
        }
        working.fetch_sub(1, Relaxed);
        lock().add(mine);
    };
    thread::scope(|scope| {
        for thread in 0..plan.threads {
            let work = &work;
            scope.spawn(move || work(thread));
        }
        let mut told = vec![usize::MAX; plan.threads];
        while 0 < working.load(Relaxed) {
            watch.sleep(Duration::from_millis(20));
            for (thread, (place, since)) in at.iter().enumerate() {
                let (place, since) = (place.load(Relaxed), since.load(Relaxed));
                let slow = PATIENCE.as_millis() as u64 <= millis().saturating_sub(since);
                if slow && 0 < working.load(Relaxed) && told[thread] != place && since != 0 {
                    told[thread] = place;
                    let mutation = &mutations[place];
                    say(&format!("HANGS seed {} ({}): {mutation}", specimen.seed, specimen.name));
                    lock().hangs += 1;
                }
            }
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Makes one change to a copy of the store and notes what comes of it.
fn make(
    specimen: &Specimen,
    mutation: &Mutation,
    summary: &mut Summary,
    say: &(dyn Fn(&str) + Sync),
) {
    let disk = specimen.disk.image();
    if mutation.make(&disk as &dyn Vfs).is_err() {
        // Only one given by hand may not fit the store.
        return;
    }
    summary.mutations += 1;
    let kind = specimen.kind_of(mutation);
    let by_kind = summary.kinds.entry(kind).or_default();
    // One bit cannot take both a frame and the proof that it was durable.
    let floor = if matches!(mutation, Mutation::Flip { .. }) { specimen.proven } else { 0 };
    match specimen.judge(&disk, floor) {
        Ok(Outcome::Detected) => by_kind.detected += 1,
        Ok(Outcome::Harmless) => by_kind.harmless += 1,
        Ok(Outcome::Cut) => by_kind.cut += 1,
        Err(silent) => {
            let failure = summary.fail(specimen, mutation, silent);
            say(&failure);
        }
    }
}

impl Specimen {
    /// What kind of file a change is made to.
    fn kind_of(&self, mutation: &Mutation) -> String {
        let path = match mutation {
            Mutation::Flip { path, .. }
            | Mutation::Truncate { path, .. }
            | Mutation::Grow { path, .. }
            | Mutation::Zero { path, .. }
            | Mutation::Delete(path)
            | Mutation::Swap(path, _)
            | Mutation::Copy(path, _) => path,
        };
        let sample = self.files.iter().find(|sample| sample.path == *path);
        sample.map_or("other".to_owned(), Sample::kind)
    }
}

/// Every change that is made to a store.
fn mutations(specimen: &Specimen, every: u64) -> Vec<Mutation> {
    let mut random = Random::new(specimen.seed ^ 0x0707);
    let mut all = Vec::new();
    for sample in &specimen.files {
        let (path, len) = (&sample.path, sample.bytes.len() as u64);
        for offset in 0..len {
            let bit = random.below(8) as u8;
            all.push(Mutation::Flip { path: path.clone(), offset, bit });
        }
        // Where something ends: every place near the last bytes that are not zero, and many others.
        let written =
            sample.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        let near = written.saturating_sub(80)..(written + 80).min(len);
        let anywhere = (0..120).map(|_| random.below(len.max(1)));
        for bytes in near.chain(anywhere).chain([0]) {
            all.push(Mutation::Truncate { path: path.clone(), bytes });
        }
        for bytes in [1, 512, 4096] {
            all.push(Mutation::Grow { path: path.clone(), bytes });
        }
        for _ in 0..40 {
            let offset = random.below(len.max(1));
            let bytes = [1, 8, 64, 512, 4096][random.index(5)].min(len - offset);
            if 0 < bytes {
                all.push(Mutation::Zero { path: path.clone(), offset, bytes });
            }
        }
        all.push(Mutation::Delete(path.clone()));
        for other in &specimen.files {
            if other.path != *path {
                all.push(Mutation::Swap(path.clone(), other.path.clone()));
                all.push(Mutation::Copy(path.clone(), other.path.clone()));
            }
        }
        // Beside the file, under the name that a later one of its kind would have, and a foreign one.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some((kind, _)) = name.rsplit_once('-') {
            for number in [0, 1, 9_999, 4_294_967_295u64] {
                let copy = path.with_file_name(format!("{kind}-{number:012}"));
                if specimen.files.iter().all(|sample| sample.path != copy) {
                    all.push(Mutation::Copy(path.clone(), copy));
                }
            }
        }
        all.push(Mutation::Copy(path.clone(), path.with_file_name(format!("{name}.copy"))));
    }
    if 1 < every {
        all.retain(|_| random.chance(1, every));
    }
    all
}
