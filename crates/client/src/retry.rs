//! How long a call has, and when it is worth trying again.

use std::time::Duration;

use olivine_vfs::{Clock as _, RealClock};

use crate::Error;

/// What is waited before the second try; each further wait is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MOST: Duration = Duration::from_millis(500);

/// The time that a call has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    clock: RealClock,
    ends: Duration,
    whole: Duration,
    pause: Duration,
}

impl Time {
    pub(crate) fn new(clock: RealClock, time: Duration) -> Time {
        Time { clock, ends: clock.now() + time, whole: time, pause: PAUSE_FIRST }
    }

    /// What is left of it.
    pub(crate) fn left(&self) -> Result<Duration, Error> {
        let left = self.ends.saturating_sub(self.clock.now());
        if left.is_zero() { Err(self.late()) } else { Ok(left) }
    }

    pub(crate) fn late(&self) -> Error {
        Error::Late { after: self.whole }
    }

    /// How long to wait before another try after `error`; nothing if there is to be none.
    pub(crate) fn pause_after(&mut self, error: &Error, is_write: bool) -> Option<Duration> {
        let is_lost = matches!(error, Error::Unanswered { .. });
        let is_worth_it =
            if is_write && error.is_uncertain() { false } else { error.may_pass() || is_lost };
        let pause = self.pause;
        let left = self.ends.saturating_sub(self.clock.now());
        if !is_worth_it || left <= pause {
            return None;
        }
        self.pause = (2 * pause).min(PAUSE_MOST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_whose_answer_was_lost_are_not_tried_again() {
        let mut time = Time::new(RealClock::new(), Duration::from_secs(100));
        let lost = || Error::Unanswered { source: std::io::ErrorKind::BrokenPipe.into() };
        let refused = |code: &str| Error::Refused { code: code.to_owned(), message: String::new() };
        assert_eq!(time.pause_after(&lost(), true), None);
        assert_eq!(time.pause_after(&lost(), false), Some(PAUSE_FIRST));
        assert_eq!(time.pause_after(&refused("busy"), true), Some(2 * PAUSE_FIRST));
        assert_eq!(time.pause_after(&refused("unavailable"), true), None);
        assert_eq!(time.pause_after(&refused("unavailable"), false), Some(4 * PAUSE_FIRST));
        assert_eq!(time.pause_after(&refused("forbidden"), false), None);
        let mut none = Time::new(RealClock::new(), PAUSE_FIRST);
        assert_eq!(none.pause_after(&lost(), false), None, "there is no time for it");
    }
}
