//! How often something took how long: counts in buckets, from which a server can tell any quantile.
//!
//! 1. A bucket is at most an eighth wide: what is read off lies within 12.5 % of what happened.
//! 2. Counting is one atomic addition; reading never disturbs those who count.

use std::{
    array, fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Buckets of each power of two.
const STEPS: u64 = 8;
/// Powers of two of nanoseconds that are told apart: up to about 18 minutes.
const POWERS: u64 = 40;
const BUCKETS: usize = (POWERS * STEPS) as usize;

/// Counts as they grow.
pub(crate) struct Counts {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { buckets: array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

impl Counts {
    /// Counts one that took so long.
    pub(crate) fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Relaxed)).collect();
        Histogram { counts, sum: Duration::from_nanos(self.nanos.load(Relaxed)) }
    }
}

/// The bucket of a length of time.
fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.max(STEPS);
    let power = u64::from(nanos.ilog2());
    let step = (nanos >> (power - 3)) & (STEPS - 1);
    (((power - 3) * STEPS + step) as usize).min(BUCKETS - 1)
}

/// The first length of time that is beyond a bucket.
fn end_of(bucket: usize) -> u64 {
    let (power, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    (STEPS + step + 1) << power
}

/// How often something took how long, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long it took in all.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The time within which that part of all was done, `part` between 0 and 1; zero when there was
    /// none.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (part.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if rank <= seen && seen != 0 {
                return Duration::from_nanos(end_of(bucket));
            }
        }
        Duration::ZERO
    }

    /// The buckets that are not empty: the time below which they lie, and how many lie in each.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count != 0);
        counts.map(|(bucket, count)| (Duration::from_nanos(end_of(bucket)), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_lies_in_a_bucket_that_is_an_eighth_wide_at_most() {
        for nanos in (0..200_000).chain((0..40).map(|power| 1 << power)) {
            let bucket = bucket_of(nanos);
            let end = end_of(bucket);
            assert!(nanos < end, "{nanos} in {bucket}, up to {end}");
            assert!(nanos < STEPS || end - nanos <= nanos / 8 + 1, "{nanos} in {bucket} to {end}");
        }
    }

    #[test]
    fn quantiles_are_read_off() {
        let counts = Counts::default();
        assert_eq!(counts.read().quantile(0.5), Duration::ZERO);
        for micros in 1..=1000 {
            counts.add(Duration::from_micros(micros));
        }
        let read = counts.read();
        assert_eq!((read.count(), read.sum()), (1000, Duration::from_micros(500_500)));
        for (part, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = read.quantile(part).as_secs_f64() * 1e6;
            assert!((micros..micros * 1.13).contains(&found), "{part}: {found}");
        }
        assert_eq!(read.buckets().map(|(_, count)| count).sum::<u64>(), 1000);
    }
}
