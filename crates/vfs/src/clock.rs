//! Time as a thing that is handed over.

use std::{fmt::Debug, time::Duration};

/// What time it is, and how to wait. Tests hand in one that they move themselves.
pub trait Clock: Send + Sync + Debug {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// Time since 1970 as the machine believes it; may jump either way.
    fn wall(&self) -> Duration;

    /// Returns after `duration` has passed on this clock.
    fn sleep(&self, duration: Duration);
}
