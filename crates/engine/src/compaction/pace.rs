//! How fast a job goes: one that can wait leaves the processor to writers for half of the time.
//!
//! 1. A job that writers will wait for, or that somebody waits for, never rests.
//! 2. With nobody writing, none rests.

use std::time::Duration;

use crate::{key::SeqNo, store::Store};

/// What the runs above the last level may weigh, where 1 makes their merge due, for it to rest.
const DEBT_MAX: f64 = 1.5;
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(10);

/// When a job rested last.
pub(super) struct Pace {
    can_rest: bool,
    since: Duration,
    /// The last write seen.
    visible: SeqNo,
}

impl Pace {
    /// The pace of a job that could `wait` at this debt.
    pub(super) fn new(store: &Store, can_wait: bool, debt: f64) -> Pace {
        let can_rest = can_wait && debt < DEBT_MAX && !store.environment.is_stepped();
        Pace { can_rest, since: store.environment.now(), visible: store.visible() }
    }

    /// Rests as long as it worked, where that is right.
    pub(super) fn rest(&mut self, store: &Store) {
        if !self.can_rest {
            return;
        }
        let (now, visible) = (store.environment.now(), store.visible());
        let worked = now.saturating_sub(self.since);
        if visible != self.visible && !store.level0_waits() {
            store.environment.clock().sleep(worked.min(REST_MAX));
        }
        (self.since, self.visible) = (store.environment.now(), visible);
    }
}
