//! Counts failed logins by address, and makes those wait who fail too often.
//!
//! 1. Who has failed as often as is free within a minute waits a second, and twice as long after each further
//!    failure, up to a minute.
//! 2. What is remembered is bounded; the address that has been quiet the longest is forgotten first.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use olivine_command::{Code, Refusal};

/// After so long without a failure they are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

pub(crate) struct Guesses {
    /// Failures that cost nothing.
    free: u32,
    failures: Mutex<BTreeMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Failures {
    /// How long after the last failure nothing is tried.
    fn wait(self, free: u32) -> Duration {
        let Some(over) = self.count.checked_sub(free) else { return Duration::ZERO };
        let wait = Duration::from_secs(1).saturating_mul(1 << over.min(16));
        wait.min(WAIT_MAX)
    }
}

impl Guesses {
    pub(crate) fn new(free: u32) -> Guesses {
        Guesses { free, failures: Mutex::default() }
    }

    /// Refuses an address that must wait.
    pub(crate) fn check(&self, address: IpAddr, now: Duration) -> Result<(), Refusal> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failures) = failures.get(&address) else { return Ok(()) };
        let waited = now.saturating_sub(failures.last);
        match failures.wait(self.free).checked_sub(waited) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(left) => {
                let seconds = left.as_secs() + 1;
                let free = self.free;
                let text = format!(
                    "more than `guesses-max`, {free}, logins failed from here; try again in {seconds} s"
                );
                Err(Refusal::new(Code::Busy, text))
            }
        }
    }

    /// A login failed.
    pub(crate) fn failed(&self, address: IpAddr, now: Duration) {
        let mut all = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&address).filter(|known| {
            now.saturating_sub(known.last) < FORGOTTEN_AFTER.max(2 * known.wait(self.free))
        });
        let count = before.map_or(0, |known| known.count).saturating_add(1);
        all.insert(address, Failures { count, last: now });
        if ADDRESSES_MAX < all.len()
            && let Some((oldest, _)) = all.iter().min_by_key(|(_, known)| known.last)
        {
            let oldest = *oldest;
            all.remove(&oldest);
        }
    }

    /// One succeeded.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: u32 = 5;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_fails_too_often_waits_longer_and_longer() {
        let guesses = Guesses::new(FREE);
        let mut now = Duration::from_secs(1_000);
        for _ in 0..FREE - 1 {
            guesses.failed(HERE, now);
            assert!(guesses.check(HERE, now).is_ok());
        }
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            guesses.failed(HERE, now);
            let almost = Duration::from_millis(1_000 * wait - 1);
            let refusal = guesses.check(HERE, now + almost);
            assert_eq!(refusal.unwrap_err().code, Code::Busy);
            now += Duration::from_secs(wait);
            assert!(guesses.check(HERE, now).is_ok(), "{wait}");
        }
        assert!(guesses.check("10.0.0.1".parse().unwrap(), now).is_ok(), "others wait for nothing");
        guesses.failed(HERE, now);
        guesses.succeeded(HERE);
        assert!(guesses.check(HERE, now).is_ok());
    }

    #[test]
    fn failures_are_forgotten_after_a_while() {
        let guesses = Guesses::new(FREE);
        let now = Duration::from_secs(1_000);
        for _ in 0..FREE - 1 {
            guesses.failed(HERE, now);
        }
        let later = now + FORGOTTEN_AFTER;
        guesses.failed(HERE, later);
        assert!(guesses.check(HERE, later).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let guesses = Guesses::new(FREE);
        for number in 0..(ADDRESSES_MAX as u32 + 100) {
            guesses.failed(IpAddr::V4(number.into()), Duration::from_secs(number.into()));
        }
        assert_eq!(guesses.failures.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
