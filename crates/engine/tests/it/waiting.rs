//! Readers never wait for what works behind them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use olivine_engine::{
    Compression, Db, Durability, Environment, EnvironmentOptions, Options, Parts, Work,
};
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
    let mut slowest = Duration::MAX;
    // Other work on the machine may keep a reader off the processor; waiting for a sync would show in
    // every round.
    for round in 0..4 {
        slow.store(false, Relaxed);
        write(round * 800);
        slow.store(true, Relaxed);
        write(round * 800 + 400);
        let flushes = db.stats().flushes;
        let began = clock.now();
        slowest = Duration::ZERO;
        let mut reads = 0u32;
        let done = |elapsed| flushes < db.stats().flushes || Duration::from_secs(30) < elapsed;
        while !done(clock.now().saturating_sub(began)) {
            let number = reads * 7 % (round * 800 + 800);
            let before = clock.now();
            assert!(keyspace.contains(&number.to_be_bytes()).unwrap());
            slowest = slowest.max(clock.now().saturating_sub(before));
            reads += 1;
            if reads.is_multiple_of(16) {
                clock.sleep(Duration::from_micros(200));
            }
        }
        assert!(flushes < db.stats().flushes, "nothing was flushed meanwhile");
        if slowest < Duration::from_millis(10) {
            break;
        }
    }
    slow.store(false, Relaxed);
    assert!(slowest < Duration::from_millis(10), "a read took {slowest:?}");
}

/// With room for few open files a store of many tables still reads, flushes and compacts. Runs in a
/// process of its own, whose limit it may lower.
#[test]
fn few_descriptors_are_enough_for_many_tables() {
    if std::env::var_os("OLIVINE_FEW_FILES").is_none() {
        let test = std::env::current_exe().unwrap();
        let script =
            "ulimit -n 48; exec \"$0\" --exact waiting::few_descriptors_are_enough_for_many_tables";
        let child = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(test)
            .env("OLIVINE_FEW_FILES", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let dir = std::env::temp_dir().join(format!("olivine-few-files-{}", std::process::id()));
    let environment = Environment::new(EnvironmentOptions { memory_bytes: 32 << 20 }).unwrap();
    let options = Options {
        durability: Durability::Os,
        table_bytes_max: 4 << 10,
        compression: Compression::None,
        ..small()
    };
    let db = Db::open(&environment, &dir, options).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    for number in 0..20_000u32 {
        keyspace.put(&number.to_be_bytes(), &[number as u8; 50]).unwrap();
    }
    db.settle().unwrap();
    assert!(60 < db.stats().level_tables.iter().sum::<usize>(), "not many tables");
    for number in 0..20_000u32 {
        assert!(keyspace.contains(&number.to_be_bytes()).unwrap());
    }
    drop(keyspace);
    db.close().unwrap();
    std::process::Command::new("rm").arg("-r").arg(&dir).status().unwrap();
}
