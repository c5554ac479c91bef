//! Time as a thing that is handed over.
//!
//! 1. `now` never goes back, whoever asks.
//! 2. A [`ManualClock`] moves only when it is told to or slept on, so a test needs no patience.

use std::{
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What time it is, and how to wait. Tests hand in one that they move themselves.
pub trait Clock: Send + Sync + Debug {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// Time since 1970 as the machine believes it; may jump either way.
    fn wall(&self) -> Duration;

    /// Returns after `duration` has passed on this clock.
    fn sleep(&self, duration: Duration);
}

/// A clock moved by hand; sleeping on it moves it and returns at once.
#[derive(Debug, Default)]
pub struct ManualClock {
    time: Mutex<Time>,
}

#[derive(Debug, Default)]
struct Time {
    now: Duration,
    wall: Duration,
}

impl ManualClock {
    /// A clock that stands at zero.
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// Lets `duration` pass, on the wall as well.
    pub fn advance(&self, duration: Duration) {
        let mut time = self.time();
        time.now = time.now.saturating_add(duration);
        time.wall = time.wall.saturating_add(duration);
    }

    /// Sets the wall clock, forward or back, as an administrator would; `now` is not touched.
    pub fn set_wall(&self, wall: Duration) {
        self.time().wall = wall;
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        self.time().now
    }

    fn wall(&self) -> Duration {
        self.time().wall
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_moved() {
        let clock = ManualClock::new();
        assert_eq!(clock.now(), Duration::ZERO);
        clock.advance(Duration::from_secs(3));
        assert_eq!(clock.now(), Duration::from_secs(3));
        assert_eq!(clock.wall(), Duration::from_secs(3));
    }

    #[test]
    fn sleeping_moves_it() {
        let clock = ManualClock::new();
        clock.sleep(Duration::from_millis(5));
        assert_eq!(clock.now(), Duration::from_millis(5));
    }

    #[test]
    fn setting_the_wall_back_leaves_now_alone() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(10));
        clock.set_wall(Duration::from_secs(1));
        assert_eq!(clock.wall(), Duration::from_secs(1));
        assert_eq!(clock.now(), Duration::from_secs(10));
    }
}
