//! One sync for all who wait: the first of them leads, the others sleep until it is done.
//!
//! Handing a commit to another thread costs more than the sync itself on a machine with few cores,
//! so a blocking writer that finds nobody syncing does it itself, for everything written so far. Who
//! arrives meanwhile forms the next group. Ticketed and interval writers have nobody to lead; the
//! environment's sync thread leads for them.
//!
//! 1. At most one sync of a store's log runs at a time.
//! 2. A wait ends only when `durable` has reached its write, or when the latch is shut.
//! 3. Listeners are called once a group, with no lock held.

#[cfg(all(test, loom))]
mod loom;

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    error::{Error, Result},
    key::SeqNo,
    store::Store,
    sync::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering::Relaxed, yield_now},
};

/// Is told how far the log is durable, or that it will not be.
pub(crate) type Listener = Arc<dyn Fn(&Result<SeqNo>) + Send + Sync>;

/// Those who wait for a sync, and who leads them.
#[derive(Debug, Default)]
pub(crate) struct Group {
    state: Mutex<Leading>,
    done: Condvar,
    waiting: AtomicUsize,
    /// The last ticketed write; nobody blocks for it.
    ticketed: AtomicU64,
    /// When an interval writer's sync is due, in nanoseconds of the clock; 0 when none is.
    due: AtomicU64,
}

#[derive(Debug, Default)]
struct Leading {
    somebody: bool,
    /// How many waited when the last sync began.
    last_size: usize,
}

/// How long a leader waits for as many writers as last time.
const GATHER_MAX: Duration = Duration::from_micros(100);

/// How often a waiter looks before it sleeps.
const LOOKS_MAX: usize = if cfg!(loom) {
    0
} else if cfg!(shuttle) {
    2
} else {
    40
};

impl Group {
    fn lock(&self) -> MutexGuard<'_, Leading> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who wait, so that they see that the latch is shut.
    pub(crate) fn wake_all(&self) {
        let _leading = self.lock();
        self.done.notify_all();
    }

    /// Notes a ticketed write; true when the sync thread may not know yet.
    pub(crate) fn ticket(&self, seqno: SeqNo) -> bool {
        self.ticketed.fetch_max(seqno, Relaxed);
        true
    }

    pub(crate) fn ticketed(&self) -> SeqNo {
        self.ticketed.load(Relaxed)
    }

    /// Notes that a sync is due at `due`; true when none was.
    pub(crate) fn sync_by(&self, due: Duration) -> bool {
        let due = (due.as_nanos() as u64).max(1);
        self.due.compare_exchange(0, due, Relaxed, Relaxed).is_ok()
    }

    pub(crate) fn interval_due_in(&self, now: Duration) -> Option<Duration> {
        match self.due.load(Relaxed) {
            0 => None,
            due => Some(Duration::from_nanos(due).saturating_sub(now)),
        }
    }
}

impl Group {
    /// Returns when `is_durable`, or with the error of `check`. Whoever finds nobody leading calls `lead`
    /// with the size of the group before, and learns so by `true`.
    fn join(
        &self,
        is_durable: impl Fn() -> bool,
        check: impl Fn() -> Result<()>,
        lead: impl Fn(usize) -> Result<usize>,
    ) -> Result<bool> {
        let mut leading = self.lock();
        loop {
            if is_durable() {
                return Ok(false);
            }
            check()?;
            if !leading.somebody {
                leading.somebody = true;
                let last_size = leading.last_size;
                drop(leading);
                let outcome = lead(last_size);
                leading = self.lock();
                leading.somebody = false;
                if let Ok(size) = outcome {
                    leading.last_size = size;
                }
                self.done.notify_all();
                drop(leading);
                return outcome.map(|_| true);
            }
            drop(leading);
            // Looks a few times, letting others run, before it sleeps.
            for _ in 0..LOOKS_MAX {
                if is_durable() {
                    return Ok(false);
                }
                yield_now();
            }
            leading = self.lock();
            if leading.somebody && !is_durable() {
                leading = self.done.wait(leading).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Store {
    /// Returns when everything up to `seqno` is durable, leading the sync if nobody does.
    pub(crate) fn wait_durable(&self, seqno: SeqNo) -> Result<()> {
        if seqno <= self.durable() {
            return Ok(());
        }
        self.group.waiting.fetch_add(1, Relaxed);
        let outcome = self.wait_or_lead(seqno);
        self.group.waiting.fetch_sub(1, Relaxed);
        outcome
    }

    fn wait_or_lead(&self, seqno: SeqNo) -> Result<()> {
        let is_durable = || seqno <= self.durable();
        let lead = |last_size| self.lead(last_size);
        // A failure was announced when it shut the latch.
        if self.group.join(is_durable, || self.latch.check(), lead)? {
            self.announce(&Ok(self.durable()));
        }
        Ok(())
    }

    /// Gathers a group and syncs for it. Returns its size.
    fn lead(&self, last_size: usize) -> Result<usize> {
        if 1 < last_size && !self.environment.is_stepped() {
            let until = self.environment.now() + GATHER_MAX;
            while self.group.waiting.load(Relaxed) < last_size && self.environment.now() < until {
                yield_now();
            }
        }
        let size = self.group.waiting.load(Relaxed);
        self.sync_log().map_err(|error| self.fail(error))?;
        Ok(size)
    }

    /// Syncs the log up to what is visible now. Only the leader comes here.
    fn sync_log(&self) -> Result<()> {
        let (job, reached, bytes) = {
            let mut committing = self.lock_commit();
            self.latch.check()?;
            self.group.due.store(0, Relaxed);
            let bytes = self.counters.appended_bytes.load(Relaxed);
            let next_seqno = committing.next_seqno;
            let log = committing.log()?;
            let reached = match log.pass(next_seqno) {
                // What is logged gets durable anyhow; numbers beyond it wait.
                Err(Error::Full { .. }) => log.next_seq() - 1,
                passed => passed.map(|()| next_seqno - 1)?,
            };
            (log.begin_sync()?, reached, bytes)
        };
        let begun = self.environment.now();
        let position = job.run()?;
        self.counters.sync_times.add(self.environment.now().saturating_sub(begun));
        self.lock_commit().log()?.finish_sync(position);
        self.raise_durable(reached);
        self.counters.durable_bytes.fetch_max(bytes, Relaxed);
        self.counters.syncs.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Syncs for ticketed writers, and for interval writers whose time has come.
    pub(crate) fn sync_one(&self) -> Result<bool> {
        let ticketed = self.group.ticketed();
        let due = self.sync_due_in().is_some_and(|wait| wait.is_zero());
        if ticketed <= self.durable() && !due {
            return Ok(false);
        }
        if self.visible() <= self.durable() {
            self.group.due.store(0, Relaxed);
            return Ok(false);
        }
        self.wait_durable(self.visible())?;
        self.mark_durable()?;
        Ok(true)
    }

    /// Bytes that were written and are not durable yet: what a ticketed writer may add to.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let durable = self.counters.durable_bytes.load(Relaxed);
        self.counters.appended_bytes.load(Relaxed).saturating_sub(durable)
    }
}
