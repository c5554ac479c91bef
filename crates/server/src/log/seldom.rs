//! Something that may happen often is told seldom, with how often it happened.
//!
//! 1. The first time is told at once; from then on once a while at most.

use std::time::Duration;

/// How long is waited between two tellings.
const PAUSE: Duration = Duration::from_secs(10);

/// How often something happened that was not told yet.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    untold: u64,
    told_at: Option<Duration>,
}

impl Seldom {
    /// It happened. Returns how often it has since it was told last, if it is to be told now.
    pub(crate) fn happened(&mut self, now: Duration) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|told| now.saturating_sub(told) < PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_once_a_while() {
        let mut seldom = Seldom::default();
        let mut happened = |seconds| seldom.happened(Duration::from_secs(seconds));
        assert_eq!(happened(100), Some(1));
        assert_eq!([happened(100), happened(101), happened(109)], [None; 3]);
        assert_eq!(happened(110), Some(4));
        assert_eq!(happened(111), None);
    }
}
