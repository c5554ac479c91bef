//! Whether a store may still take writes.
//!
//! A failed write or sync leaves the disk in a state that nobody knows, so the store stops taking
//! writes until it is opened again and recovers from what is really there. No call is tried twice.
//!
//! 1. Once shut, a latch stays shut, and the first reason stays the reason.
//! 2. Reads never look at it.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire},
};

use crate::error::{Error, Result};

/// Open until the first failure.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    shut: AtomicBool,
    reason: OnceLock<Error>,
}

impl Latch {
    /// The reason why there are no more writes, if there is one.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.shut.load(Acquire) {
            return Ok(());
        }
        match self.reason.get() {
            Some(reason) => Err(reason.clone()),
            None => Ok(()),
        }
    }

    /// Shuts the latch because of `error`. Returns what callers are told from now on, and whether it
    /// was this call that shut it.
    pub(crate) fn shut(&self, error: Error) -> (Error, bool) {
        let reason = match error {
            error @ (Error::Poisoned { .. } | Error::ReadOnly { .. } | Error::Closed) => error,
            error => Error::Poisoned { cause: full_text(&error) },
        };
        let told = self.reason.get_or_init(|| reason).clone();
        let first = !self.shut.swap(true, AcqRel);
        (told, first)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Acquire)
    }
}

/// An error's text with its causes.
pub(crate) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let latch = Latch::default();
        latch.check().unwrap();
        latch.shut(Error::io("sync", "log")(io::ErrorKind::StorageFull.into()));
        latch.shut(Error::io("sync", "log")(io::Error::other("gone")));
        let told = latch.check().unwrap_err().to_string();
        assert!(told.contains("no storage space"), "{told}");
    }

    #[test]
    fn a_failed_sync_is_told_with_its_cause() {
        let latch = Latch::default();
        let (told, _) = latch.shut(Error::io("sync", "log")(io::Error::other("gone")));
        assert!(told.to_string().contains("cannot sync \"log\": gone"), "{told}");
    }
}
