//! What a node tells about itself, in numbers, and whether it can be used.
//!
//! `metrics` is the table of all of them and writes them as Prometheus reads them; `tally` is what a worker
//! counts.
//!
//! 1. Every number is there from the start, at zero; those of a store that cannot be reached are left
//!    out, and that it cannot is a number too.
//! 2. Counting what requests do touches nothing that two threads write.

mod metrics;
mod tally;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use olivine_command::{Code, Command, Reply};

use crate::worker::Served;

pub(crate) use metrics::metrics;
pub use metrics::{METRICS, Metric};
pub(crate) use tally::{Connected, Tally, operation};

/// What a node counts where connections are taken.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// A connection was taken.
    pub(crate) fn taken(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A connection was turned away.
    pub(crate) fn turned_away(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}

/// Why the node cannot be used, if so.
pub(crate) async fn ready(served: &Served) -> Result<(), (Code, String)> {
    usable(&of_store(served).await?)
}

/// Whether a store with these numbers can be used, and if not, why and whose move it is.
fn usable(numbers: &[(String, u64)]) -> Result<(), (Code, String)> {
    let is = |name: &str, value: u64| {
        numbers.iter().any(|(known, number)| known == name && *number == value)
    };
    if is("takes_writes", 0) {
        let why = "a write or a sync failed, and the store takes no more writes, while reads go on; look at the \
            disk and at the event `store_refuses_writes`, then start the node with the store again";
        return Err((Code::Poisoned, why.to_owned()));
    }
    if is("disk_full", 1) {
        let why = "the disk is full: writes wait or are refused, while reads go on; make room, and the store \
            goes on by itself within ten seconds";
        return Err((Code::Full, why.to_owned()));
    }
    Ok(())
}

/// What the store tells.
async fn of_store(served: &Served) -> Result<Vec<(String, u64)>, (Code, String)> {
    if served.router.access().is_none() {
        // Nor is anything carried out for anybody.
        let text = "the storage cannot be reached; it is tried again and again";
        return Err((Code::Unavailable, text.to_owned()));
    }
    let clock = served.shared.time.clock();
    let (now, mut watch) = (served.shared.time.now(), crate::slow::Watch::start(clock));
    match served.router.carry_out(now, &[Command::Numbers], &mut watch).await.pop() {
        Some(Reply::Numbers(numbers)) => Ok(numbers),
        Some(Reply::Refused(refusal)) => Err((refusal.code, refusal.text)),
        reply => Err((Code::Failed, format!("the store answered {reply:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_used_says_why() {
        let numbers = |takes_writes, disk_full| {
            [("takes_writes".to_owned(), takes_writes), ("disk_full".to_owned(), disk_full)]
        };
        assert_eq!(usable(&numbers(1, 0)), Ok(()));
        let (code, why) = usable(&numbers(0, 0)).unwrap_err();
        assert!(code == Code::Poisoned && why.contains("start the node"), "{why}");
        let (code, why) = usable(&numbers(1, 1)).unwrap_err();
        assert!(code == Code::Full && why.contains("make room"), "{why}");
        assert_eq!(usable(&numbers(0, 1)).unwrap_err().0, Code::Poisoned);
    }
}
