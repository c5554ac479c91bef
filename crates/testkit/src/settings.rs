//! Stores so small that everything happens often.
//!
//! 1. A seed decides the settings, as it decides the history.

use olivine_engine::{
    Compression, Durability, Environment, EnvironmentOptions, Options, Parts, Result, Work,
};
use olivine_vfs::{ManualClock, Random, Vfs};
use std::{sync::Arc, time::Duration};

/// Memory of an environment: the least it takes,
const MEMORY_BYTES: u64 = 1 << 20;
/// and so much that dictionaries can be trained.
const MEMORY_BYTES_MUCH: u64 = 256 << 20;

/// Options that `seed` decides: segments, memtables, blocks and tables of a few KiB.
pub fn options(seed: u64) -> Options {
    let mut random = Random::new(seed ^ 0x0071_0a5e);
    let memtable_bytes_max = 4096 << random.below(3);
    Options {
        durability: [Durability::Sync, Durability::Os, Durability::Interval][random.index(3)],
        interval: Duration::from_millis(random.between(1, 300)),
        memtable_bytes_max,
        memtable_entries_max: random.chance(1, 4).then_some(20),
        log_bytes_max: if random.chance(1, 2) { 0 } else { 4 * memtable_bytes_max.max(16 << 10) },
        segment_bytes: 16384 << random.below(3),
        block_bytes: 128 << random.below(3),
        table_bytes_max: 4096 << random.below(3),
        level_bytes_base: 8192 << random.below(2),
        level0_tables_max: random.between(1, 4) as usize,
        filter_bits_per_key: [0, 4, 10][random.index(3)],
        compression: if random.chance(1, 2) { Compression::Lz4 } else { Compression::None },
        value_apart_bytes_min: [0, 16, 64, 200][random.index(4)],
        ..Options::default()
    }
}

/// An environment on `vfs` and `clock` whose background work waits for steps.
pub fn environment(vfs: Arc<dyn Vfs>, clock: &Arc<ManualClock>, seed: u64) -> Result<Environment> {
    let parts = Parts { vfs, clock: Arc::clone(clock) as _, work: Work::Stepped { seed } };
    let memory_bytes = if seed % 8 == 3 { MEMORY_BYTES_MUCH } else { MEMORY_BYTES };
    Environment::with(parts, EnvironmentOptions { memory_bytes })
}
