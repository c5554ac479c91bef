//! How fast writers may go.
//!
//! Memory has a hard bound: who would exceed it waits until a flush has made room. Long before that,
//! writers are slowed a little, and then more, as tables pile up on level 0 or the runs below it grow
//! beyond what should be there: a delay for each byte that grows smoothly with the pile, so that no put waits long while the others rush.
//!
//! 1. The delay is a continuous function of the pile; there is no cliff.
//! 2. A waiting writer holds no lock.
//! 3. Who would wait for a disk without room is refused (`room.rs`).
//! 4. A stepped environment has no one to wait for: the writer takes the steps itself.
//! 5. Who says that it writes much is stopped while a part of the room is left, which is for all others.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    background::Duty,
    compaction::overload,
    error::{Error, Result},
    keyspace::Tree,
    latch::full_text,
    store::Store,
};

/// Bytes a second that writers may write when the pile has just reached the slow mark.
const RATE_FULL: f64 = 400e6;
/// Bytes a second at the stop mark.
const RATE_LEAST: f64 = 2e6;
/// Delays shorter than this are saved up: sleeping costs more than they are worth.
const DELAY_LEAST: Duration = Duration::from_millis(1);
/// Undurable bytes beyond which a ticketed writer is told to come back.
const PENDING_BYTES_MAX: u64 = 64 << 20;

/// Of the room for undurable bytes, of that of memtables and of the way to the stop mark, the quarters
/// that who writes much may use up.
const BULK_QUARTERS: u64 = 3;

/// Level 0 tables at which writers begin to be slowed, as a multiple of what makes compaction due.
const SLOW_FACTOR: usize = 2;
/// And at which they stop.
const STOP_FACTOR: usize = 6;
/// What the runs above the last level may hold, where 1 makes their merge due, before writers begin to
/// be slowed; and where they would be slowed the most.
const DEBT_SLOW: f64 = 4.0;
const DEBT_MOST: f64 = 12.0;
/// How far debt alone can slow them: it never stops them.
const DEBT_PILE_MAX: f64 = 0.9;

impl Store {
    /// Returns when a write of `bytes` may go on.
    pub(crate) fn admit(&self, bytes: usize) -> Result<()> {
        self.check_log_room()?;
        let mut waited = Duration::ZERO;
        while self.must_wait(4) {
            self.latch.check()?;
            self.check_room()?;
            self.make_room(&mut waited)?;
        }
        let owed = self.counters.delay(bytes, self.pile());
        if DELAY_LEAST <= owed {
            self.counters.stalled_nanos.fetch_add(owed.as_nanos() as u64, Relaxed);
            self.pause(owed);
            waited += owed;
        }
        if !waited.is_zero() {
            self.counters.wait_times.add(waited);
        }
        Ok(())
    }

    /// As `admit` for a writer that must not sleep.
    pub(crate) fn admit_ticket(&self, bytes: usize) -> Result<()> {
        self.check_log_room()?;
        self.check_behind(4)?;
        let owed = self.counters.delay(bytes, self.pile());
        if DELAY_LEAST <= owed {
            return Err(Error::Busy { retry_after: owed });
        }
        Ok(())
    }

    /// Whether who writes much may go on.
    pub(crate) fn admit_bulk(&self) -> Result<()> {
        self.check_behind(BULK_QUARTERS)
    }

    /// Tells to come back, where so many quarters of the room are used up.
    fn check_behind(&self, quarters: u64) -> Result<()> {
        if self.must_wait(quarters) || PENDING_BYTES_MAX / 4 * quarters < self.pending_bytes() {
            self.check_room()?;
            self.environment.signal(Duty::Flush);
            self.environment.signal(Duty::Sync);
            return Err(Error::Busy { retry_after: Duration::from_millis(5) });
        }
        Ok(())
    }

    /// Makes writers wait until the guard is dropped. Those who were let in already are not stopped.
    pub(crate) fn hold_writers(&self) -> Hold<'_> {
        self.holds.fetch_add(1, Relaxed);
        Hold(self)
    }

    /// Whether so many quarters of memory are used up, or level 0 is as far on its way to its stop mark,
    /// and background work can help.
    fn must_wait(&self, quarters: u64) -> bool {
        if 0 < self.holds.load(Relaxed) {
            return true;
        }
        if self.environment.budget().is_full_of_memtables(quarters) {
            let trees = self.trees();
            if trees.iter().any(|tree| !tree.state().frozen.is_empty()) {
                return true;
            }
            let _committing = self.lock_commit();
            for tree in trees.iter().filter(|tree| 16 << 10 < tree.state().active.bytes()) {
                self.freeze(tree);
            }
        }
        // A flush is on its way for a log over its bound; at twice the bound it is waited for.
        let bound = self.options.log_bytes_bound();
        let long = bound / 2 * quarters < self.counters.log_bytes.load(Relaxed);
        quarters as f64 / 4.0 <= self.pile()
            || (long && self.trees().iter().any(|tree| !tree.state().frozen.is_empty()))
    }

    /// How far level 0 of the worst keyspace is on its way from the slow mark (0) to the stop mark (1).
    pub(crate) fn pile(&self) -> f64 {
        f64::from_bits(self.counters.pile.load(Relaxed))
    }

    /// Looks at the piles again; called whenever a version changed.
    pub(crate) fn measure_pile(&self) {
        let slow = self.options.level0_tables_max * SLOW_FACTOR;
        let stop = self.options.level0_tables_max * STOP_FACTOR;
        let height = |tree: &Tree| tree.state().version.levels[0].tables().len();
        let load = |tree: &Arc<Tree>| overload(&tree.state().version, &self.options);
        let load = self.trees().iter().map(load).fold(0.0, f64::max);
        let debt = ((load - DEBT_SLOW) / (DEBT_MOST - DEBT_SLOW)).clamp(0.0, DEBT_PILE_MAX);
        let worst = self.trees().iter().map(|tree| height(tree)).max().unwrap_or(0);
        let pile = worst.saturating_sub(slow) as f64 / (stop - slow) as f64;
        let pile = pile.max(debt);
        self.counters.pile.store(pile.to_bits(), Relaxed);
    }

    /// Lets background work go on for a moment, or does a unit of it.
    fn make_room(&self, waited: &mut Duration) -> Result<()> {
        if 1.0 <= self.pile()
            && let Some(error) = self.halted()
        {
            // Nothing will make room before the store is opened again.
            let cause = format!("compaction stopped: {}", full_text(&error));
            return Err(self.fail(Error::Poisoned { cause }));
        }
        if self.environment.is_stepped() {
            if !self.environment.step() {
                self.latch.check()?;
                self.check_room()?;
                return Err(Error::Busy { retry_after: Duration::ZERO });
            }
            return Ok(());
        }
        self.environment.signal(Duty::Flush);
        self.environment.signal(Duty::Compact);
        let pause = Duration::from_millis(1);
        self.environment.clock().sleep(pause);
        *waited += pause;
        self.counters.stalled_nanos.fetch_add(pause.as_nanos() as u64, Relaxed);
        Ok(())
    }

    fn pause(&self, delay: Duration) {
        if self.environment.is_stepped() {
            self.environment.step();
        } else {
            self.environment.clock().sleep(delay);
        }
    }
}

/// Writers wait as long as this lives.
pub(crate) struct Hold<'a>(&'a Store);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Relaxed);
    }
}

/// Seconds that a write of `bytes` is worth at this height of the pile.
pub(crate) fn delay_for(bytes: usize, pile: f64) -> Duration {
    if pile <= 0.0 {
        return Duration::ZERO;
    }
    let left = (1.0 - pile).max(0.0);
    let rate = RATE_LEAST + (RATE_FULL - RATE_LEAST) * left * left * left;
    Duration::from_secs_f64(bytes as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Db, Durability, Environment, EnvironmentOptions, Options, Parts, Work};
    use olivine_vfs::{ManualClock, MemoryVfs};

    /// Who says that it writes much is told to come back while all others still write, and may go on when
    /// what is due behind the writers was done.
    #[test]
    fn who_writes_much_leaves_room() {
        let parts = Parts {
            vfs: Arc::new(MemoryVfs::new()),
            clock: Arc::new(ManualClock::new()),
            work: Work::Stepped { seed: 1 },
        };
        let options = EnvironmentOptions { memory_bytes: 8 << 20 };
        let environment = Environment::with(parts, options).unwrap();
        let db = Db::open(&environment, "/store", Options::default()).unwrap();
        let keyspace = db.keyspace("things").unwrap();
        let mut number = 0_u32;
        let mut write = || {
            let mut batch = Batch::new();
            number += 1;
            batch.put(&keyspace, &number.to_be_bytes(), &[7; 4 << 10]).unwrap();
            db.write_ticketed_with(batch, Durability::Os)
        };
        let mut much = 0;
        while db.admit_bulk().is_ok() {
            write().unwrap();
            much += 1;
            assert!(much < 10_000, "who writes much is never told to come back");
        }
        let mut little = 0;
        while write().is_ok() {
            little += 1;
            assert!(little < 10_000, "nobody is ever told to come back");
        }
        // A quarter of the room is left, about.
        assert!(much / 8 < little, "{little} beside {much}");
        assert!(matches!(db.admit_bulk(), Err(Error::Busy { .. })));
        while environment.step() {}
        db.admit_bulk().unwrap();
    }

    #[test]
    fn the_delay_grows_smoothly_with_the_pile() {
        assert_eq!(delay_for(1 << 20, 0.0), Duration::ZERO);
        let mut last = Duration::ZERO;
        for step in 1..=100u32 {
            let delay = delay_for(1000, f64::from(step) / 100.0);
            assert!(last <= delay, "step {step}");
            assert!(step < 3 || delay <= last * 3, "a cliff at step {step}: {last:?} to {delay:?}");
            last = delay;
        }
        assert!(last <= Duration::from_millis(1), "a put of 1 kB waits {last:?} at the worst");
    }
}
