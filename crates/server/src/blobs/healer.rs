//! Brings objects to where they should lie: on as many volumes as they should, whole, and, when that is asked for,
//! on those that placement wants.
//!
//! All rows are looked at when volumes come or go, when damage is told, and again some time after something had to be
//! left undone. What is missing or damaged is copied from another replica; then the row names the copy instead.
//!
//! 1. A row names a copy after that is durable, and only if the row is still what was copied. What it named before
//!    stays readable for as long as somebody may have been sent there.
//! 2. Whatever happens in between, no copy that is named is lost; stopped and started again, it goes on where
//!    there is something to do.
//! 3. What has no whole copy left stays as it is, and is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_blobs::{
    GRANT_TIME,
    grant::CLOCKS_APART_MAX,
    index::{Changed, Replacing, SpotKey, Walked},
    placement::{self, Choice},
    row::{Replica, Row},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};

use super::{
    copying::{self, Pace},
    master::{Known, Master, Member, choices},
};

/// How often it is looked whether something is to be done.
const TICK: Duration = Duration::from_millis(250);
/// How long volumes must have been as they are.
const SETTLED: Duration = Duration::from_secs(1);
/// How long after something was left undone it is tried again; twice as long each time, up to the longest.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_hours(1);
/// Rows that are looked at together.
const ROWS: usize = 1_000;
/// Objects that are copied at the same time.
const TOGETHER: usize = 16;
/// Keys that are told of those that are lost.
const KEYS_TOLD_MAX: usize = 100;

/// How objects are healed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Healing {
    /// How long a volume may be away before what it has is copied elsewhere.
    pub(crate) after: Duration,
    /// How fast objects are copied.
    pub(crate) bytes_per_second: u64,
}

/// How the objects are, and what is to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_woken: AtomicBool,
    is_rebalance_asked: AtomicBool,
    pub(crate) repaired: AtomicU64,
    pub(crate) moved: AtomicU64,
    copied_bytes: AtomicU64,
    passes: AtomicU64,
    looked: AtomicU64,
    is_running: AtomicBool,
    found: Mutex<Found>,
}

/// What a pass left undone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Objects that lie on fewer volumes than they should, and will lie on more.
    pub(crate) thin: u64,
    /// Objects of which there is no whole copy.
    pub(crate) lost: u64,
    /// Some of them.
    keys: Vec<Vec<u8>>,
}

impl Health {
    /// Has all rows be looked at soon.
    pub(crate) fn wake(&self) {
        self.is_woken.store(true, Relaxed);
    }

    /// Has objects be moved to where placement wants them.
    pub(crate) fn rebalance(&self) {
        self.is_rebalance_asked.store(true, Relaxed);
    }

    /// What the last pass left undone.
    pub(crate) fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of it, as JSON.
    pub(crate) fn json(&self, far_bytes: u64) -> String {
        let is_asked = self.is_woken.load(Relaxed) || self.is_rebalance_asked.load(Relaxed);
        let is_running = self.is_running.load(Relaxed) || is_asked;
        let [passes, looked, repaired, moved, bytes] =
            [&self.passes, &self.looked, &self.repaired, &self.moved, &self.copied_bytes]
                .map(|number| number.load(Relaxed));
        let Found { thin, lost, keys } = self.found();
        let keys: Vec<String> =
            keys.iter().map(|key| format!("\"{}\"", olivine_doors::blob::path_of(key))).collect();
        let keys = keys.join(",");
        format!(
            "{{\"running\":{is_running},\"passes\":{passes},\"looked\":{looked},\"repaired\":{repaired},\
             \"moved\":{moved},\"copied_bytes\":{bytes},\"thin\":{thin},\"lost\":{lost},\"lost_keys\":[{keys}],\"tiered_bytes\":{far_bytes}}}\n"
        )
    }
}

/// Heals the objects of a master until the node ends.
pub(super) async fn keep(
    master: Weak<Master>,
    healing: Healing,
    mut stopping: watch::Receiver<bool>,
) {
    let mut healer = Healer {
        healing,
        seen: BTreeMap::new(),
        picture: Picture::default(),
        since: Duration::ZERO,
        done: None,
        again: None,
        patience: RETRY,
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let Some(master) = master.upgrade() else { return };
        let now = master.time.clock().now();
        let Some(rebalances) = healer.due(&master, now) else { continue };
        let plan = Plan::new(&master, &healer.picture, rebalances);
        let pace = Arc::new(Pace::new(healing.bytes_per_second));
        master.health.is_running.store(true, Relaxed);
        let passed = pass(&master, plan, pace, &mut stopping).await;
        let is_whole = match passed {
            Ok(is_whole) => is_whole,
            Err(Stop::Ending) => return,
            Err(Stop::Failed(why)) => {
                tracing::warn!(event = "objects_unhealed", why = &*why);
                false
            }
        };
        master.health.passes.fetch_add(1, Relaxed);
        master.health.is_running.store(false, Relaxed);
        healer.passed(is_whole, master.time.clock().now());
    }
}

/// How the volumes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Picture {
    /// Those that answer, and whether they take objects.
    there: BTreeMap<u32, bool>,
    /// Those that are given up.
    lost: BTreeSet<u32>,
}

struct Healer {
    healing: Healing,
    /// When volumes answered last.
    seen: BTreeMap<u32, Duration>,
    picture: Picture,
    /// Since when it is like that.
    since: Duration,
    /// How it was when all rows were looked at last.
    done: Option<Picture>,
    /// When they are to be looked at again, whatever happens.
    again: Option<Duration>,
    patience: Duration,
}

impl Healer {
    /// Whether all rows are to be looked at now; and if so, whether objects are moved to where they belong, too.
    fn due(&mut self, master: &Master, now: Duration) -> Option<bool> {
        let picture = self.look(master, now);
        if picture != self.picture {
            (self.picture, self.since) = (picture, now);
        }
        if now.saturating_sub(self.since) < SETTLED {
            return None;
        }
        let rebalances = master.health.is_rebalance_asked.swap(false, Relaxed);
        let is_woken = master.health.is_woken.swap(false, Relaxed);
        let is_new = self.done.as_ref() != Some(&self.picture);
        let is_time = self.again.is_some_and(|again| again <= now)
            || self.again.is_none() && master.has_thin.load(Relaxed);
        if !(rebalances || is_woken || is_new || is_time) {
            return None;
        }
        master.has_thin.store(false, Relaxed);
        self.done = Some(self.picture.clone());
        if is_new || is_woken {
            self.patience = RETRY;
        }
        Some(rebalances)
    }

    fn look(&mut self, master: &Master, now: Duration) -> Picture {
        let mut picture = Picture::default();
        for number in 0..master.index.volume_count() {
            if let Some((_, known)) = master.member(number) {
                picture.there.insert(number, known.takes_writes);
                self.seen.insert(number, now);
                continue;
            }
            let seen = *self.seen.entry(number).or_insert(now);
            if self.healing.after <= now.saturating_sub(seen) {
                picture.lost.insert(number);
            }
        }
        picture
    }

    /// All rows were looked at, and whether nothing was left undone.
    fn passed(&mut self, is_whole: bool, now: Duration) {
        self.again = (!is_whole).then(|| now + self.patience);
        self.patience = if is_whole { RETRY } else { (self.patience * 2).min(RETRY_MAX) };
    }
}

enum Stop {
    /// The node ends.
    Ending,
    Failed(String),
}

/// Where objects should lie, as things are.
pub(super) struct Plan {
    able: Vec<(Arc<Member>, Known)>,
    choices: Vec<Choice>,
    lost: BTreeSet<u32>,
    /// Every volume that the master has answers: those that do not are nowhere.
    is_complete: bool,
    wanted: usize,
    rebalances: bool,
}

impl Plan {
    fn new(master: &Master, picture: &Picture, rebalances: bool) -> Plan {
        let able = master.able();
        Plan {
            choices: choices(&able),
            able,
            lost: picture.lost.clone(),
            is_complete: master.members().iter().all(|member| member.known().is_some()),
            wanted: master.replicas(),
            rebalances,
        }
    }

    /// The places in `able` that a key belongs on, the best first.
    fn order(&self, key: &[u8]) -> Vec<usize> {
        placement::order(key, &self.choices)
    }

    fn number(&self, place: usize) -> u32 {
        self.able[place].1.number
    }

    /// The volumes on which an object is to lie, where there are enough of them.
    fn ideal(&self, key: &[u8]) -> Option<Vec<usize>> {
        let mut order = self.order(key);
        order.truncate(self.wanted);
        (order.len() == self.wanted).then_some(order)
    }

    /// Copies of an object that lie where it does not belong. What is a file of its own stays: it has no place to
    /// be told apart by.
    fn strays(&self, ideal: &[usize], row: &Row) -> Vec<Replica> {
        let belongs =
            |replica: &&Replica| ideal.iter().any(|one| self.number(*one) == replica.volume);
        let replicas = row.replicas.iter().filter(|replica| !belongs(replica));
        replicas.filter(|replica| replica.extent != 0).copied().collect()
    }

    /// Whether there may be something to do for a row.
    fn concerns(&self, master: &Master, key: &[u8], row: &Row) -> bool {
        let is_bad = |replica: &Replica| {
            self.lost.contains(&replica.volume)
                || master.index.damage_of(key, row, replica).is_some()
        };
        if row.replicas.len() < self.wanted || row.replicas.iter().any(is_bad) {
            return true;
        }
        let strays = || self.ideal(key).is_some_and(|ideal| !self.strays(&ideal, row).is_empty());
        self.rebalances && strays()
    }

    /// When what was copied elsewhere may be written down as left; nothing where its volume is no more.
    fn leaves_at(&self, master: &Master, volume: u32) -> Option<u64> {
        let is_nowhere = self.is_complete && self.lost.contains(&volume);
        let readers = (GRANT_TIME + 2 * CLOCKS_APART_MAX).as_millis() as u64;
        (!is_nowhere).then(|| master.time.now() + readers)
    }
}

/// What came of one object.
#[derive(Debug, Default)]
struct Mended {
    key: Vec<u8>,
    repaired: u64,
    moved: u64,
    /// It lies on fewer volumes than it should.
    is_thin: bool,
    /// There is no whole copy of it.
    is_lost: bool,
    /// Damage that it still has something in.
    spots: Vec<SpotKey>,
    why: Option<String>,
}

/// Looks at all rows. Returns whether nothing was left undone.
async fn pass(
    master: &Arc<Master>,
    plan: Plan,
    pace: Arc<Pace>,
    stopping: &mut watch::Receiver<bool>,
) -> Result<bool, Stop> {
    let (plan, count) = (Arc::new(plan), master.index.damage_count());
    let health = &master.health;
    health.looked.store(0, Relaxed);
    let before = (health.repaired.load(Relaxed), health.moved.load(Relaxed));
    let (mut found, mut spots) = (Found::default(), Vec::new());
    let mut tasks: JoinSet<Mended> = JoinSet::new();
    let mut from = Some(Vec::new());
    while let Some(first) = from {
        let (again, now) = (Arc::clone(master), master.time.now());
        let walked = spawn_blocking(move || again.index.walk(&first, ROWS, now)).await;
        let walked = walked.map_err(|error| Stop::Failed(error.to_string()))?;
        let Walked { rows, next } = walked.map_err(|error| Stop::Failed(error.to_string()))?;
        from = next;
        health.looked.fetch_add(rows.len() as u64, Relaxed);
        for (key, row) in rows {
            if !plan.concerns(master, &key, &row) {
                continue;
            }
            while TOGETHER <= tasks.len() {
                joined(&mut tasks, stopping, health, &mut found, &mut spots).await?;
            }
            let (master, plan, pace) = (Arc::clone(master), Arc::clone(&plan), Arc::clone(&pace));
            tasks.spawn_local(async move { mend(&master, &plan, &pace, key, row).await });
        }
        if *stopping.borrow() {
            tasks.shutdown().await;
            return Err(Stop::Ending);
        }
    }
    while !tasks.is_empty() {
        joined(&mut tasks, stopping, health, &mut found, &mut spots).await?;
    }
    let settled = master.index.settle_damage(count, &spots);
    settled.map_err(|error| Stop::Failed(error.to_string()))?;
    let repaired = health.repaired.load(Relaxed) - before.0;
    let moved = health.moved.load(Relaxed) - before.1;
    let Found { thin, lost, .. } = found;
    if repaired + moved + thin + lost != 0 {
        tracing::info!(event = "objects_healed", repaired, moved, thin, lost);
    }
    *health.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    Ok(thin + lost == 0)
}

/// Waits for one of those under way, and counts what came of it.
async fn joined(
    tasks: &mut JoinSet<Mended>,
    stopping: &mut watch::Receiver<bool>,
    health: &Health,
    found: &mut Found,
    spots: &mut Vec<SpotKey>,
) -> Result<(), Stop> {
    let mended = tokio::select! {
        mended = tasks.join_next() => mended,
        _ = stopping.wait_for(|stopping| *stopping) => {
            tasks.shutdown().await;
            return Err(Stop::Ending);
        }
    };
    let Some(Ok(mended)) = mended else { return Ok(()) };
    health.repaired.fetch_add(mended.repaired, Relaxed);
    health.moved.fetch_add(mended.moved, Relaxed);
    spots.extend(mended.spots);
    found.thin += u64::from(mended.is_thin && !mended.is_lost);
    if mended.is_lost {
        found.lost += 1;
        if found.keys.len() < KEYS_TOLD_MAX {
            let (key, why) = (mended.key.escape_ascii().to_string(), mended.why);
            tracing::error!(event = "object_lost", key = &*key, why = why.as_deref());
            found.keys.push(mended.key);
        }
    }
    Ok(())
}

/// Brings one object to where it belongs now, also where nothing else asks for it. Returns whether it lies there.
pub(super) async fn rebalance(master: &Master, key: Vec<u8>, row: Row) -> bool {
    let picture = Picture::default();
    let plan = Plan::new(master, &picture, true);
    // Somebody waits for it.
    let mended = mend(master, &plan, &Pace::new(u64::MAX), key.clone(), row).await;
    master.health.repaired.fetch_add(mended.repaired, Relaxed);
    master.health.moved.fetch_add(mended.moved, Relaxed);
    let row = master.row(&key).ok().flatten();
    !mended.is_thin && !mended.is_lost && row.is_some_and(|row| is_balanced(master, &key, &row))
}

/// Whether an object lies where placement wants it.
pub(super) fn is_balanced(master: &Master, key: &[u8], row: &Row) -> bool {
    let plan = Plan::new(master, &Picture::default(), true);
    let is_enough = plan.wanted <= row.replicas.len();
    is_enough && plan.ideal(key).is_some_and(|ideal| plan.strays(&ideal, row).is_empty())
}

/// Brings an object to where it should lie.
async fn mend(master: &Master, plan: &Plan, pace: &Pace, key: Vec<u8>, row: Row) -> Mended {
    let mut mending = Mending { master, plan, pace, row, mended: Mended::default() };
    mending.mended.key = key;
    mending.run().await;
    mending.mended
}

struct Mending<'a> {
    master: &'a Master,
    plan: &'a Plan,
    pace: &'a Pace,
    row: Row,
    mended: Mended,
}

/// Nothing more is to be done for an object now.
struct Enough;

impl Mending<'_> {
    async fn run(&mut self) {
        let (master, plan) = (self.master, self.plan);
        let spot = |replica: &Replica| master.index.damage_of(&self.mended.key, &self.row, replica);
        let replicas: Vec<(Replica, Option<SpotKey>)> =
            self.row.replicas.iter().map(|replica| (*replica, spot(replica))).collect();
        let is_good = |replica: &Replica, spot: &Option<SpotKey>| {
            spot.is_none() && !plan.lost.contains(&replica.volume)
        };
        let mut good: Vec<Replica> = Vec::new();
        let mut bad = Vec::new();
        for (replica, spot) in replicas {
            if is_good(&replica, &spot) {
                good.push(replica);
            } else {
                bad.push((replica, spot));
            }
        }
        // What is told as damaged may be whole: whoever reads it verifies it. But first the others.
        let damaged = bad.iter().filter(|(_, spot)| spot.is_some()).map(|(replica, _)| *replica);
        let sources: Vec<Replica> = good.iter().copied().chain(damaged).collect();
        let order = plan.order(&self.mended.key);
        for (replica, spot) in bad {
            if plan.wanted <= good.len() {
                // There are enough without it.
                let leaves_at = plan.leaves_at(master, replica.volume);
                let replacing = Replacing { from: Some(replica), to: None, leaves_at };
                match self.replace(&replacing).await {
                    Ok(()) => self.mended.repaired += 1,
                    Err(Enough) => return self.left_to_others(spot),
                }
                continue;
            }
            // Best on the volume where it lay, if that is another than a lost one.
            let same = (0..plan.able.len()).find(|place| plan.number(*place) == replica.volume);
            let target = same.or_else(|| order.iter().copied().find(|place| self.is_free(*place)));
            let copied = match target {
                Some(target) => self.copied(&sources, Some(replica), target).await,
                None => Err(None),
            };
            match copied {
                Ok(copy) => {
                    good.push(copy);
                    self.mended.repaired += 1;
                }
                Err(Some(Enough)) => return self.left_to_others(spot),
                Err(None) => {
                    self.mended.spots.extend(spot);
                    self.mended.is_thin = true;
                    self.mended.is_lost |= good.is_empty();
                }
            }
        }
        while good.len() < plan.wanted && !self.mended.is_thin {
            let copied = match order.iter().copied().find(|place| self.is_free(*place)) {
                Some(target) => self.copied(&sources, None, target).await,
                None => Err(None),
            };
            match copied {
                Ok(copy) => {
                    good.push(copy);
                    self.mended.repaired += 1;
                }
                Err(Some(Enough)) => return self.left_to_others(None),
                Err(None) => self.mended.is_thin = true,
            }
        }
        if plan.rebalances && !self.mended.is_thin {
            self.move_strays(&sources).await;
        }
    }

    /// Somebody else has changed the row: it is looked at once more.
    fn left_to_others(&mut self, spot: Option<SpotKey>) {
        self.mended.is_thin = true;
        self.mended.spots.extend(spot);
    }

    /// Whether an object has no place on a volume.
    fn is_free(&self, place: usize) -> bool {
        let number = self.plan.number(place);
        self.row.replicas.iter().all(|replica| replica.volume != number)
    }

    /// Moves copies that lie where the object does not belong.
    async fn move_strays(&mut self, sources: &[Replica]) {
        let (master, plan) = (self.master, self.plan);
        let Some(ideal) = plan.ideal(&self.mended.key) else { return };
        for stray in plan.strays(&ideal, &self.row) {
            if plan.wanted < self.row.replicas.len() {
                let leaves_at = plan.leaves_at(master, stray.volume);
                let replacing = Replacing { from: Some(stray), to: None, leaves_at };
                if self.replace(&replacing).await.is_err() {
                    return;
                }
                self.mended.moved += 1;
                continue;
            }
            let target = ideal.iter().copied().find(|place| self.is_free(*place));
            let Some(target) = target else { return };
            match self.copied(sources, Some(stray), target).await {
                Ok(_) => self.mended.moved += 1,
                // It stays where it is.
                Err(_) => return,
            }
        }
    }

    /// Copies an object to a volume, which is named in place of `from`. Nothing but the error says that it may be
    /// tried again.
    async fn copied(
        &mut self,
        sources: &[Replica],
        from: Option<Replica>,
        target: usize,
    ) -> Result<Replica, Option<Enough>> {
        let (master, plan, key) = (self.master, self.plan, self.mended.key.clone());
        let (member, known) = &plan.able[target];
        let mut copied = None;
        for source in sources {
            // One that was replaced has no reader any more.
            if !self.row.replicas.contains(source) {
                continue;
            }
            let to = (member, known);
            match copying::copy(master, self.pace, &key, &self.row, source, to).await {
                Ok(place) => {
                    copied = Some(place);
                    break;
                }
                Err(told) => self.mended.why = Some(told.why()),
            }
        }
        let Some(place) = copied else { return Err(None) };
        master.health.copied_bytes.fetch_add(place.bytes, Relaxed);
        let leaves_at = from.and_then(|from| plan.leaves_at(master, from.volume));
        let replacing = Replacing { leaves_at, ..Replacing::by(known.number, &place, from) };
        if self.replace(&replacing).await.is_err() {
            // Whoever makes an index of the volumes must not take it for one that counts.
            let generation = self.row.generation;
            if let Err(error) = master.index.leave(known.number, &key, generation, &place) {
                self.mended.why = Some(error.to_string());
            }
            return Err(Some(Enough));
        }
        replacing.to.ok_or(Some(Enough))
    }

    /// Has the row name another place; an error where it is not what it was any more.
    async fn replace(&mut self, replacing: &Replacing) -> Result<(), Enough> {
        let (key, generation) = (&self.mended.key, self.row.generation);
        match self.master.replace(key, generation, replacing).await {
            Ok(Changed::Done) => {}
            Ok(_) => return Err(Enough),
            Err(why) => {
                self.mended.why = Some(why);
                return Err(Enough);
            }
        }
        let Replacing { from, to, .. } = replacing;
        self.row.replicas.retain(|replica| Some(*replica) != *from);
        self.row.replicas.extend(to);
        Ok(())
    }
}
