//! What a volume does behind its requests: reads everything once in a while, tells what is damaged, and gives room
//! back that nobody's objects take.
//!
//! 1. Nothing is given back that the master names, or may yet name: an extent is looked at when it has been full for
//!    longer than anything is under way, what is live in it is moved and known to be moved, and it is removed
//!    when no grant names it any more and the master says once more that nothing in it is live.
//! 2. Whatever happens in between, an object is there once or twice, and named once.
//! 3. What is old goes into the bucket, if there is one, when it was just found to be as it was written and most of it is
//!    live. What lies there is read through seldom, but asked for at each look: what was lost is told at once.
//! 4. It leaves the disk to those who wait for answers: it reads no faster than it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use olivine_blobs::{
    Damage, Kind, Place, Record, Rewritten, State,
    index::Spot,
    talk::{Answer, Asked, Lying, RECORDS_MAX},
};
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking};

use super::volume::Host;
use crate::time::Time;

/// Bytes that are read between two looks around.
const STEP_BYTES: u64 = 4 << 20;
/// How fast everything is read, at most: so long for a step.
const STEP_TIME: Duration = Duration::from_millis(60);
/// What lies in the bucket is read so many times slower.
const FAR_STEPS: u32 = 4;
/// Of an extent so much must be dead for it to be worth moving the rest: a quarter.
const DEAD_PART: u64 = 4;

/// How a volume is tended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tending {
    /// How long after everything was looked at it is looked at again.
    pub(crate) every: Duration,
    /// How long nothing is under way, and grants are good for.
    pub(crate) grace: Duration,
    /// How extents go into the bucket, where there is one.
    pub(crate) tiering: Option<Tiering>,
}

/// How extents go into a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiering {
    /// For how long nothing was written to one that goes.
    pub(crate) after: Duration,
    /// How long after one was read through it is again.
    pub(crate) verify_every: Duration,
}

/// What was found of an extent that was read.
struct Looked {
    /// Bytes that nobody needs.
    dead_bytes: u64,
    /// Nothing of it is damaged.
    is_whole: bool,
}

/// Why a pass ended before its end.
enum Stop {
    /// The master is away, or the node ends; another pass does it.
    Later,
    Failed(String),
    /// The bucket did not answer as it should.
    Bucket(String),
}

impl From<olivine_blobs::Error> for Stop {
    fn from(error: olivine_blobs::Error) -> Stop {
        match error {
            olivine_blobs::Error::Away { .. } => Stop::Bucket(error.to_string()),
            error => Stop::Failed(error.to_string()),
        }
    }
}

/// Tends a volume until the node ends.
pub(super) async fn tend(
    host: Arc<Host>,
    tending: Tending,
    time: Arc<Time>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut keeper = Keeper {
        host,
        tending,
        time,
        runtime: Handle::current(),
        stopping: stopping.clone(),
        sealed: BTreeMap::new(),
        left: BTreeMap::new(),
        damaged: BTreeSet::new(),
        verified: BTreeMap::new(),
        is_bucket_away: false,
        age: Duration::ZERO,
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(tending.every) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        keeper.age += tending.every;
        let pass = spawn_blocking(move || {
            let ended = keeper.pass();
            (keeper, ended)
        });
        let Ok((kept, ended)) = pass.await else { return };
        keeper = kept;
        if let Err(Stop::Failed(why) | Stop::Bucket(why)) = ended {
            tracing::warn!(event = "volume_untended", why = &*why);
        }
    }
}

struct Keeper {
    host: Arc<Host>,
    tending: Tending,
    time: Arc<Time>,
    runtime: Handle,
    stopping: watch::Receiver<bool>,
    /// Since when extents are known to be full.
    sealed: BTreeMap<u32, Duration>,
    /// Since when nothing live is in extents.
    left: BTreeMap<u32, Duration>,
    /// Damage that was told: extents and offsets.
    damaged: BTreeSet<(u32, u64)>,
    /// Since when extents in the bucket are known to be as they were written.
    verified: BTreeMap<u32, Duration>,
    /// The bucket did not answer in this pass, and is let alone until the next.
    is_bucket_away: bool,
    /// For how long the volume is tended, not counting what that takes.
    age: Duration,
}

impl Keeper {
    fn pass(&mut self) -> Result<(), Stop> {
        let mut from = 0;
        self.is_bucket_away = false;
        if self.tending.tiering.is_some() {
            let swept = self.host.volume.sweep().map(drop);
            self.unless_away(swept.map_err(Stop::from))?;
        }
        loop {
            let extents = self.host.volume.extents(from, RECORDS_MAX)?;
            let Some(last) = extents.last() else { return Ok(()) };
            from = last.number.saturating_add(1);
            for extent in extents.iter().filter(|extent| extent.is_sealed) {
                self.check()?;
                if extent.is_far {
                    let looked = self.look_far(extent.number, extent.bytes);
                    self.unless_away(looked)?;
                    continue;
                }
                let since = *self.sealed.entry(extent.number).or_insert(self.age);
                if self.tending.grace <= self.age.saturating_sub(since) {
                    let looked = self.look(extent.number, extent.bytes);
                    self.unless_away(looked)?;
                }
            }
        }
    }

    /// Takes a bucket that does not answer for no reason to leave the rest of the pass off.
    fn unless_away(&mut self, done: Result<(), Stop>) -> Result<(), Stop> {
        let Err(Stop::Bucket(why)) = done else { return done };
        self.is_bucket_away = true;
        tracing::warn!(event = "bucket_away", why = &*why);
        Ok(())
    }

    /// Looks whether an extent in the bucket is there still, and now and then what is in it.
    fn look_far(&mut self, extent: u32, bytes: u64) -> Result<(), Stop> {
        let Some(tiering) = self.tending.tiering.filter(|_| !self.is_bucket_away) else {
            return Ok(());
        };
        let verified = *self.verified.entry(extent).or_insert(self.age);
        let is_due = tiering.verify_every <= self.age.saturating_sub(verified);
        if is_due || self.left.contains_key(&extent) || self.host.volume.is_lost(extent)? {
            self.look(extent, bytes)?;
            if self.host.volume.is_far(extent) {
                self.verified.insert(extent, self.age);
            }
        }
        Ok(())
    }

    /// Sends an extent that is as it was written into the bucket, if it is old enough.
    fn send_away(&mut self, extent: u32) -> Result<(), Stop> {
        let Some(tiering) = self.tending.tiering.filter(|_| !self.is_bucket_away) else {
            return Ok(());
        };
        let volume = &self.host.volume;
        let sealed = self.sealed.get(&extent).copied().unwrap_or(self.age);
        let age = match volume.written(extent)? {
            Some(written) => Duration::from_millis(self.time.now().saturating_sub(written)),
            None => self.age.saturating_sub(sealed),
        };
        if age < tiering.after || volume.is_far(extent) {
            return Ok(());
        }
        let mut read = 0;
        let sent = volume.send_away(extent, &mut |bytes| {
            read += bytes;
            if STEP_BYTES <= read {
                read = 0;
                self.pause().map_err(|_| olivine_blobs::Error::Closed)?;
            }
            Ok(())
        });
        // The node ends.
        self.check()?;
        let sent = sent?;
        self.sealed.remove(&extent);
        self.verified.insert(extent, self.age);
        let (extent, bytes) = (u64::from(extent), sent.bytes);
        tracing::info!(event = "extent_sent_away", extent, bytes, was_there = sent.was_there);
        Ok(())
    }

    fn look(&mut self, extent: u32, bytes: u64) -> Result<(), Stop> {
        if let Some(since) = self.left.get(&extent) {
            if self.age.saturating_sub(*since) < self.tending.grace {
                return Ok(());
            }
            self.left.remove(&extent);
            // Somebody may have been told of something in it since.
            if self.rewrite(extent)? {
                self.host.volume.remove_extent(extent)?;
                self.sealed.remove(&extent);
                self.verified.remove(&extent);
                self.damaged.retain(|(damaged, _)| *damaged != extent);
                tracing::info!(event = "extent_removed", extent = u64::from(extent), bytes);
            }
            return Ok(());
        }
        let looked = self.read_through(extent, bytes)?;
        if bytes / DEAD_PART <= looked.dead_bytes && self.rewrite(extent)? {
            self.left.insert(extent, self.age);
            return Ok(());
        }
        if looked.is_whole { self.send_away(extent) } else { Ok(()) }
    }

    /// Reads an extent, tells what is damaged, and returns how much of it nobody needs.
    fn read_through(&mut self, extent: u32, bytes: u64) -> Result<Looked, Stop> {
        let (mut from, mut looked) = (0, Looked { dead_bytes: 0, is_whole: true });
        let is_far = self.host.volume.is_far(extent);
        loop {
            let scrubbed = self.host.volume.scrub_step(extent, from, STEP_BYTES)?;
            looked.is_whole &= scrubbed.damaged.is_empty();
            let is_needed = self.tell(&scrubbed.damaged)?;
            if scrubbed.is_lost && !is_needed {
                // All that was in it lies elsewhere by now.
                looked.dead_bytes = bytes;
            }
            for (record, is_live) in scrubbed.records.iter().zip(self.live(&scrubbed.records)?) {
                if !is_live {
                    looked.dead_bytes += record.record_bytes;
                }
            }
            match scrubbed.next {
                Some(next) => from = next,
                None => return Ok(looked),
            }
            for _ in 0..if is_far { FAR_STEPS } else { 1 } {
                self.pause()?;
            }
        }
    }

    /// Tells of damage: the log, once, and the master, which has what lay there copied from elsewhere. Returns whether
    /// something may lie there that somebody needs.
    fn tell(&mut self, damaged: &[Damage]) -> Result<bool, Stop> {
        for damage in damaged {
            if !self.damaged.insert((damage.extent, damage.offset)) {
                continue;
            }
            self.host.damaged.fetch_add(1, Relaxed);
            let path = damage.path.display().to_string();
            let key = damage.claim.as_ref().map(|(key, _)| key.escape_ascii().to_string());
            tracing::error!(
                event = "object_damaged",
                path = &*path,
                offset = damage.offset,
                what = damage.what,
                key = key.as_deref(),
            );
        }
        let mut is_needed = false;
        for some in damaged.chunks(RECORDS_MAX) {
            let spot =
                |&Damage { extent, offset, bytes, .. }: &Damage| Spot { extent, offset, bytes };
            let volume = self.host.volume.identity().uuid;
            let spots = some.iter().map(spot).collect();
            let Answer::Each(needed) = self.ask(Asked::Damaged { volume, sought: None, spots })
            else {
                return Err(Stop::Later);
            };
            is_needed |= needed.contains(&true) || needed.len() != some.len();
        }
        Ok(is_needed)
    }

    /// Moves what is live in an extent. Returns whether it may be removed when nobody comes for it any more.
    fn rewrite(&mut self, extent: u32) -> Result<bool, Stop> {
        let mut from = 0;
        loop {
            let mut asked = Ok(());
            let rewritten = self.host.volume.rewrite_step(extent, from, STEP_BYTES, |records| {
                // What cannot be told is live.
                let live = self.live(records);
                asked = live.as_ref().map(|_| ()).map_err(|_| Stop::Later);
                Ok(live.unwrap_or_else(|_| vec![true; records.len()]))
            });
            let Rewritten { moved, damaged, next, stays, .. } = rewritten?;
            asked?;
            for some in moved.chunks(RECORDS_MAX) {
                let some = some.iter().filter(|moved| moved.record.kind == Kind::Put);
                let (records, places): (Vec<Lying>, Vec<_>) =
                    some.map(|moved| (lying(&moved.record), moved.place)).unzip();
                self.publish(records, places)?;
            }
            // What is damaged and needed is kept: a better reader than this one may make something of it.
            if stays || (!damaged.is_empty() && self.tell(&damaged)?) {
                return Ok(false);
            }
            match next {
                Some(next) => from = next,
                None => return Ok(true),
            }
            self.pause()?;
        }
    }

    /// Tells the master where records lie now.
    fn publish(&self, records: Vec<Lying>, places: Vec<Place>) -> Result<(), Stop> {
        let volume = self.host.volume.identity().uuid;
        let asked = Asked::Moved { volume, records: records.clone(), places: places.clone() };
        let Answer::Each(each) = self.ask(asked) else { return Err(Stop::Later) };
        for ((record, place), is_named) in records.iter().zip(&places).zip(each) {
            if !is_named {
                // It was deleted, replaced or moved to another volume meanwhile. What says so lies before the copy, and
                // may go before it does: whoever makes an index of this volume must find it said behind the copy, too.
                let Lying { key, generation, .. } = record;
                let left = State::Left(*place);
                let noted = self.host.note(key, *generation, &left);
                self.runtime.block_on(noted)?;
            }
        }
        Ok(())
    }

    /// Which of some records somebody needs.
    fn live(&self, records: &[Record]) -> Result<Vec<bool>, Stop> {
        let oldest = self.host.volume.oldest_extent()?;
        let mut live = Vec::with_capacity(records.len());
        for some in records.chunks(RECORDS_MAX) {
            let records = some.iter().map(lying).collect();
            let volume = self.host.volume.identity().uuid;
            let Answer::Each(named) = self.ask(Asked::Names { volume, records }) else {
                return Err(Stop::Later);
            };
            if named.len() != some.len() {
                return Err(Stop::Later);
            }
            for (record, is_named) in some.iter().zip(named) {
                live.push(match record.kind {
                    Kind::Put => is_named,
                    // What it buries may lie in any older extent.
                    Kind::Tombstone => Some(record.place.extent) != oldest,
                    Kind::State => self.is_needed(record)?,
                });
            }
        }
        Ok(live)
    }

    /// Whether somebody who makes an index of this volume must find a state.
    fn is_needed(&self, record: &Record) -> Result<bool, Stop> {
        match State::parse(&record.note) {
            Some(State::Left(place)) => Ok(self.host.volume.has_extent(place.extent)?),
            Some(State::Unlinked) => {
                let volume = self.host.volume.identity().uuid;
                let records = vec![lying(record)];
                match self.ask(Asked::Unlinked { volume, records }) {
                    Answer::Each(each) => Ok(each.first().copied().unwrap_or(true)),
                    _ => Err(Stop::Later),
                }
            }
            None => Ok(true),
        }
    }

    fn ask(&self, asked: Asked) -> Answer {
        self.runtime.block_on(self.host.ask(asked))
    }

    /// Leaves the disk to others; an error if the node ends meanwhile.
    fn pause(&self) -> Result<(), Stop> {
        self.runtime.block_on(tokio::time::sleep(STEP_TIME));
        self.check()
    }

    /// An error if the node ends.
    fn check(&self) -> Result<(), Stop> {
        if *self.stopping.borrow() { Err(Stop::Later) } else { Ok(()) }
    }
}

fn lying(record: &Record) -> Lying {
    Lying { key: record.key.clone(), generation: record.generation, place: record.place }
}
