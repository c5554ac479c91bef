//! Counts of durations in buckets whose width grows with the duration.
//!
//! 1. A quantile is at most 1.6 % above the duration it stands for.
//! 2. Recording allocates nothing and costs a few nanoseconds.

use std::time::Duration;

const STEPS_LOG2: u32 = 6;
const STEPS: usize = 1 << STEPS_LOG2;
/// Up to 2^40 ns, 18 minutes.
const POWERS: usize = 40 - STEPS_LOG2 as usize;

/// How long operations took.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    max: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        let counts = vec![0; STEPS * (POWERS + 1)].into_boxed_slice();
        Histogram { counts, count: 0, max: Duration::ZERO }
    }

    /// Counts one operation.
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min((1 << 40) - 1);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(duration);
    }

    /// Adds what another thread counted.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (count, add) in self.counts.iter_mut().zip(&other.counts) {
            *count += add;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The longest duration, exactly.
    pub(crate) fn max(&self) -> Duration {
        self.max
    }

    /// The upper edge of the bucket that holds the operation at `quantile`; `None` without any.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        let index = self.counts.iter().position(|count| {
            below += count;
            rank <= below
        })?;
        Some(Duration::from_nanos(upper_edge(index)).min(self.max))
    }
}

fn bucket(nanos: u64) -> usize {
    let power = (64 - nanos.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    (power as usize) * STEPS + (nanos >> power) as usize
}

fn upper_edge(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let power = index / STEPS - 1;
    let step = index % STEPS + STEPS;
    ((step as u64 + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_edges() {
        for nanos in (0..5000).chain([1 << 20, (1 << 30) + 12345, (1 << 40) - 1]) {
            let edge = upper_edge(bucket(nanos));
            assert!(nanos <= edge, "{nanos} is above its bucket's edge {edge}");
            assert!(edge as f64 <= nanos as f64 * 1.016, "{nanos} is far below {edge}");
        }
    }

    #[test]
    fn quantiles_of_a_ramp() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let median = histogram.quantile(0.5).unwrap();
        assert!(Duration::from_micros(500) <= median && median <= Duration::from_micros(508));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_millis(1)));
    }
}
