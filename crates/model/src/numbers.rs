//! What a store tells about itself, as numbers with names.
//!
//! 1. A name may end with labels, as Prometheus writes them: `table_files{level="0"}`.
//! 2. Every number is there from the start, and its name says its unit; what a disk does not tell is left
//!    out.
//! 3. A histogram is its buckets, each with all that lies below its bound, its sum and its count.

use olivine_engine::{Db, Histogram};

/// Powers of two of nanoseconds that are bounds of buckets: 16 µs to 8.6 s. The engine's own buckets end
/// there as well, so nothing is counted on the wrong side.
const BOUNDS: std::ops::RangeInclusive<u32> = 14..=33;

/// The numbers of a store that holds so many keys.
pub(crate) fn of(db: &Db, keys: u64) -> Vec<(String, u64)> {
    let (stats, health) = (db.stats(), db.health());
    let oldest = health.oldest_snapshot.map_or(0, |oldest| oldest.age.as_millis() as u64);
    let mut numbers: Vec<(String, u64)> = [
        ("keys", keys),
        ("memtable_bytes", stats.memtable_bytes),
        ("table_bytes", stats.level_bytes.iter().sum()),
        ("value_file_bytes", stats.value_bytes),
        ("log_bytes", stats.log_bytes),
        ("log_syncs", stats.syncs),
        ("flushes", stats.flushes),
        ("flushed_bytes", stats.flushed_bytes),
        ("compactions", stats.compactions),
        ("compaction_read_bytes", stats.compacted_bytes_read),
        ("compaction_written_bytes", stats.compacted_bytes_written),
        ("stall_nanoseconds", stats.stalled.as_nanos() as u64),
        ("block_cache_bytes", stats.cache_bytes),
        ("block_cache_hits", stats.cache_hits),
        ("block_cache_misses", stats.cache_misses),
        ("snapshots", stats.snapshots as u64),
        ("oldest_snapshot_milliseconds", oldest),
        ("disk_full", stats.disk_full.into()),
        ("compaction_halted", health.compaction_halted.is_some().into()),
        ("takes_writes", db.check_writable().is_ok().into()),
    ]
    .map(|(name, number)| (name.to_owned(), number))
    .into();
    if let Some(room) = stats.room {
        numbers.push(("disk_bytes".to_owned(), room.bytes));
        numbers.push(("disk_free_bytes".to_owned(), room.free_bytes));
    }
    for (level, tables) in stats.level_tables.iter().enumerate() {
        numbers.push((format!("table_files{{level=\"{level}\"}}"), *tables as u64));
    }
    histogram("log_sync", &stats.sync_times, &mut numbers);
    numbers
}

fn histogram(name: &str, histogram: &Histogram, numbers: &mut Vec<(String, u64)>) {
    for power in BOUNDS {
        let bound = 1_u64 << power;
        let lies_below = |end: u128| end <= u128::from(bound);
        let below = histogram.buckets().filter(|(end, _)| lies_below(end.as_nanos()));
        let count = below.map(|(_, count)| count).sum();
        let seconds = bound as f64 / 1e9;
        numbers.push((format!("{name}_seconds_bucket{{le=\"{seconds}\"}}"), count));
    }
    numbers.push((format!("{name}_seconds_count"), histogram.count()));
    numbers.push((format!("{name}_nanoseconds"), histogram.sum().as_nanos() as u64));
}
