//! The time at which commands are accepted.
//!
//! 1. It never goes back, whatever the clock says.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use olivine_vfs::Clock;

pub(crate) struct Time {
    clock: Arc<dyn Clock>,
    /// The latest time that was given out.
    latest: AtomicU64,
}

impl Time {
    /// The time of `clock`, and never one before `passed`.
    pub(crate) fn new(clock: Arc<dyn Clock>, passed: u64) -> Time {
        Time { clock, latest: AtomicU64::new(passed) }
    }

    /// The time at which what is asked now is accepted: milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.not_before(self.clock.wall().as_millis() as u64)
    }

    /// A time that was given out elsewhere, or a later one that has been given out already.
    pub(crate) fn not_before(&self, time: u64) -> u64 {
        self.latest.fetch_max(time, Relaxed).max(time)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::ManualClock;
    use std::time::Duration;

    #[test]
    fn time_never_goes_back() {
        let clock = Arc::new(ManualClock::new());
        let time = Time::new(Arc::clone(&clock) as _, 1_000);
        assert_eq!(time.now(), 1_000, "what has passed stays so");
        clock.set_wall(Duration::from_secs(5));
        assert_eq!(time.now(), 5_000);
        clock.set_wall(Duration::from_secs(2));
        assert_eq!(time.now(), 5_000, "the clock went back");
        assert_eq!(time.not_before(7_000), 7_000);
        assert_eq!(time.now(), 7_000);
    }
}
