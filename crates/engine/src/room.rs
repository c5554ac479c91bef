//! A disk without room: what found none is taken back and tried again by itself.
//!
//! A flush, a compaction or an edit of the manifest that meets a full disk leaves the store as it was,
//! and is made anew later; so is a log segment. Only bytes that nobody relies on yet are written into
//! new room: records go into segments whose room was taken before.
//!
//! 1. `Error::Full` means that nothing was done, and that the store goes on once there is room again.
//! 2. After each try that found no room the next one waits longer, up to a bound; success ends that.
//! 3. Writers are refused when memory is used up or the log needs a segment, not before, and those
//!    refused while the next try waits cost the disk nothing.
//! 4. A sync that fails is no matter of room, whatever the disk says: it shuts the latch.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    background::Duty,
    error::{Error, Result},
    health::Event,
    planted::{Bug, planted},
    store::Store,
};

/// How long the second try waits.
const PAUSE_LEAST: Duration = Duration::from_millis(50);
/// How long any try waits at most.
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// As good as never, for a bug.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// What waits for room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) flush: Tries,
    pub(crate) compact: Tries,
    pub(crate) log: Tries,
}

/// How one kind of work fares with the disk's room.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// When the next try may be made, in nanoseconds of the clock.
    at: AtomicU64,
    /// How long it waits, in nanoseconds; 0 when the last one found room.
    pause: AtomicU64,
}

impl Tries {
    /// Notes what a try came to at `now`.
    pub(crate) fn note<T>(&self, outcome: &Result<T>, now: Duration) {
        match outcome {
            Err(Error::Full { .. }) => {
                let pause = Duration::from_nanos(2 * self.pause.load(Relaxed));
                let pause = pause.clamp(PAUSE_LEAST, PAUSE_MOST);
                let pause = if planted(Bug::RoomNotTriedAgain) { NEVER } else { pause };
                self.at.store((now + pause).as_nanos() as u64, Relaxed);
                self.pause.store(pause.as_nanos() as u64, Relaxed);
            }
            _ if self.is_missing() => self.pause.store(0, Relaxed),
            _ => {}
        }
    }

    /// Whether the last try found no room.
    pub(crate) fn is_missing(&self) -> bool {
        self.pause.load(Relaxed) != 0
    }

    /// How long until the next try; `None` when the last one found room.
    pub(crate) fn due_in(&self, now: Duration) -> Option<Duration> {
        let at = Duration::from_nanos(self.at.load(Relaxed));
        self.is_missing().then(|| at.saturating_sub(now))
    }

    /// Whether the last try found no room, and that is not long ago: the log is tried only when somebody writes,
    /// and where nobody has since the next try was due, nothing is known of the disk any more.
    fn is_missing_lately(&self, now: Duration) -> bool {
        let due = Duration::from_nanos(self.at.load(Relaxed));
        self.is_missing() && now < due.saturating_add(PAUSE_MOST)
    }

    /// Whether it is too early for the next try.
    pub(crate) fn waits(&self, now: Duration) -> bool {
        self.due_in(now).is_some_and(|wait| !wait.is_zero())
    }
}

impl Store {
    /// Whether the last try of anything found no room on the disk, as far as that is still known.
    pub(crate) fn is_disk_full(&self) -> bool {
        let Room { flush, compact, log } = &self.room;
        let now = self.environment.now();
        flush.is_missing() || compact.is_missing() || log.is_missing_lately(now)
    }

    /// Notes what a try came to, and tells when that made the disk full or gave it room again.
    pub(crate) fn note_room<T>(&self, tries: &Tries, outcome: &Result<T>) {
        let was_full = self.is_disk_full();
        tries.note(outcome, self.environment.now());
        match (was_full, self.is_disk_full()) {
            (false, true) => self.tell(&Event::DiskFull),
            (true, false) => self.tell(&Event::RoomAgain),
            _ => {}
        }
    }

    /// Refuses a writer for whom memory or level 0 has no place while the disk has none either.
    pub(crate) fn check_room(&self) -> Result<()> {
        let now = self.environment.now();
        if self.room.flush.waits(now) || self.room.compact.waits(now) {
            return Err(self.full());
        }
        Ok(())
    }

    /// Refuses a writer while the log waits for room for its next segment.
    pub(crate) fn check_log_room(&self) -> Result<()> {
        if self.room.log.is_missing() && self.room.log.waits(self.environment.now()) {
            return Err(self.full());
        }
        Ok(())
    }

    fn full(&self) -> Error {
        Error::Full { path: self.dir.clone() }
    }

    /// How long until `duty` should look for room again; `None` when it lacks none.
    pub(crate) fn room_due_in(&self, duty: Duty) -> Option<Duration> {
        let tries = match duty {
            Duty::Flush => &self.room.flush,
            Duty::Compact => &self.room.compact,
            Duty::Prepare | Duty::Sync => return None,
        };
        if self.latch.is_shut() { None } else { tries.due_in(self.environment.now()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Result<()> {
        Err(Error::Full { path: "store".into() })
    }

    #[test]
    fn tries_wait_longer_and_longer_until_one_finds_room() {
        let (tries, mut now, mut last) = (Tries::default(), Duration::ZERO, Duration::ZERO);
        for _ in 0..12 {
            tries.note(&full(), now);
            let wait = tries.due_in(now).expect("room is missing");
            assert!(last <= wait && wait <= PAUSE_MOST && tries.waits(now));
            (now, last) = (now + wait, wait);
            assert!(!tries.waits(now));
        }
        assert_eq!(last, PAUSE_MOST);
        assert!(tries.is_missing_lately(now) && tries.is_missing_lately(now + PAUSE_MOST / 2));
        assert!(!tries.is_missing_lately(now + PAUSE_MOST), "nobody tried for long");
        tries.note(&Ok(()), now);
        assert!(!tries.is_missing() && !tries.is_missing_lately(now));
        tries.note(&full(), now);
        assert_eq!(tries.due_in(now), Some(PAUSE_LEAST));
    }
}
