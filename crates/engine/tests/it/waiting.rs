//! Readers never wait for what works behind them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_engine::{Db, Durability, Environment, EnvironmentOptions, Options, Parts, Work};
use olivine_vfs::{Clock, DelayingVfs, Kind, MemoryVfs, RealClock, Vfs};

use crate::scene::{STORE, small};

/// Every sync of a table, of the manifest and of the directory takes a second; meanwhile no read
/// takes more than 10 ms.
#[test]
fn reads_do_not_wait_for_slow_background_syncs() {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let delay = move |call: &olivine_vfs::Call<'_>| {
        let behind = !call.path.to_string_lossy().contains("log-");
        let sync = matches!(call.kind, Kind::Sync | Kind::SyncDir);
        if is_slow.load(Relaxed) && sync && behind {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        }
    };
    let disk = DelayingVfs::new(Arc::new(MemoryVfs::new()), Arc::clone(&clock), delay);
    let vfs: Arc<dyn Vfs> = Arc::new(disk);
    let parts = Parts { vfs, clock: Arc::clone(&clock), work: Work::Threads };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 64 << 20 }).unwrap();
    let options = Options { durability: Durability::Os, level0_tables_max: 2, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    let write = |from: u32| {
        for number in from..from + 400 {
            keyspace.put(&number.to_be_bytes(), &[number as u8; 50]).unwrap();
        }
    };
    write(0);
    slow.store(true, Relaxed);
    write(400);
    let flushes = db.stats().flushes;
    let began = clock.now();
    let mut slowest = Duration::ZERO;
    let mut reads = 0u32;
    let done = |elapsed| flushes < db.stats().flushes || Duration::from_secs(30) < elapsed;
    while !done(clock.now() - began) {
        let number = reads * 7 % 800;
        let before = clock.now();
        assert!(keyspace.contains(&number.to_be_bytes()).unwrap());
        slowest = slowest.max(clock.now() - before);
        reads += 1;
        if reads % 16 == 0 {
            clock.sleep(Duration::from_micros(200));
        }
    }
    slow.store(false, Relaxed);
    assert!(flushes < db.stats().flushes, "nothing was flushed meanwhile");
    assert!(slowest < Duration::from_millis(10), "a read took {slowest:?}");
}
