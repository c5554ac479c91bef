//! The plainest property: any history reads like an ordered map.
//!
//! 1. One thread, a disk in memory, a clock moved by hand: a seed is one run.

use crate::{
    drive::{Driver, Stop},
    history::{Gen, Op},
    oracle::CommitLog,
    settings,
};
use olivine_vfs::{ManualClock, MemoryVfs, Vfs};
use std::{path::Path, sync::Arc};

/// Drives a new store in memory through `history`; tells the step that stopped it, and why.
pub fn run_history(seed: u64, history: &[Op]) -> Result<(), (usize, Stop)> {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
    let clock = Arc::new(ManualClock::new());
    let options = settings::options(seed);
    let environment = settings::environment(vfs, &clock, seed);
    let mut driver = environment
        .map_err(Stop::from)
        .and_then(|environment| {
            Driver::open(environment, clock, Path::new("/store"), options, CommitLog::default())
        })
        .map_err(|stop| (0, stop))?;
    driver.run(history)?;
    driver.check_all().and_then(|()| driver.close()).map_err(|stop| (history.len(), stop))
}

/// Any history of writes, reads, flushes, compactions and reopenings reads like a `BTreeMap`.
///
/// # Panics
/// When one does not; the message holds the shortest history found that shows it.
pub fn reads_like_a_map(seed: u64, len: usize) {
    let history = Gen::new(seed).history(len);
    let Err((step, stop)) = run_history(seed, &history) else { return };
    let history = &history[..history.len().min(step + 1)];
    let shortest = crate::shrink::shrink(history, |history| run_history(seed, history).is_err());
    let lines: Vec<String> = shortest.iter().map(Op::to_string).collect();
    panic!("seed {seed}, step {step}: {stop}\nshortest history:\n{}", lines.join("\n"));
}
