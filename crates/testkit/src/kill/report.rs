//! What a run of the kill tier found, in lines.

use super::{Mode, Plan};
use crate::report::{count, duration};
use std::{fmt, time::Duration};

/// What ended one mode.
#[derive(Clone, Debug)]
pub struct Failure {
    text: String,
}

impl Failure {
    pub(super) fn new(plan: &Plan, mode: Mode, what: String) -> Failure {
        let (mode, dir) = (mode.name(), plan.dir.display());
        let Plan { seed, kills, threads, millis_max, .. } = plan;
        Failure {
            text: format!(
                "FAILED seed {seed}, mode {mode}: {what}\n  the store is kept in {dir}/{mode}\n  repeat (times \
                 differ): cargo run --release -p olivine-testkit --bin reliability -- kill --seed {seed} \
                 --kills {kills} --threads {threads} --millis {millis_max}"
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Processes killed.
    pub kills: u64,
    /// Of them, those that had not finished opening the store.
    pub recovering: u64,
    /// Processes that were asked to end, and did.
    pub asked: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Of them, those that were looked for and found.
    pub verified: u64,
    /// Writes found that were under way and not acknowledged, which is allowed.
    pub extra: u64,
    /// How long each opening after a kill took.
    pub reopened: Vec<Duration>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    /// Whether nothing failed, and enough was killed to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && 0 < self.kills && 0 < self.acknowledged
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.reopened.clone();
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let slowest = times.last().copied().unwrap_or_default();
        write!(
            f,
            "B kill9    kills {} ({} in recovery) asked {} acked {} verified {} | lost={} extra-unacked {} (allowed) \
             | reopen p50 {} ms max {} ms | {}",
            self.kills,
            self.recovering,
            self.asked,
            count(self.acknowledged),
            count(self.verified),
            self.failures.len(),
            self.extra,
            median.as_millis(),
            slowest.as_millis(),
            duration(self.elapsed)
        )
    }
}
