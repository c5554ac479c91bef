//! Stores that are pressed at one place each, with the background's own threads behind them.
//!
//! 1. What a thread does comes from the seed alone.
//! 2. What is wrong panics, within the schedule that shows it.

use crate::{schedules::push::pushed, settings};
use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Options, Parts,
    Result, Work,
};
use olivine_vfs::{CrashingVfs, ManualClock, Random, Survival};
use shuttle::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};
use std::sync::Arc;

const STORE: &str = "/store";

/// Writers that wait for each other's syncs, one with tickets, one that lets a sync come later, and
/// one who may close the store beside them all. What was acknowledged as lasting is there after a
/// power cut, in that moment and in the end, and nothing waits for ever.
pub(super) fn commit(seed: u64) {
    let mut random = Random::new(seed);
    let disk = CrashingVfs::new();
    let environment = environment(&disk, seed);
    let options = Options { durability: Durability::Sync, ..settings::options(seed) };
    let options = Options { memtable_entries_max: None, memtable_bytes_max: 16 << 10, ..options };
    let db = Db::open(&environment, STORE, options).expect("a new store opens");
    let keyspace = db.keyspace("main").expect("a keyspace is made");
    let closes = random.chance(1, 2);
    let told = Arc::new(AtomicU64::new(0));
    db.on_durable({
        let told = Arc::clone(&told);
        move |durable| {
            if let Ok(durable) = durable {
                told.fetch_max(*durable, SeqCst);
            }
        }
    });
    let durabilities =
        [Some(Durability::Sync), Some(Durability::Sync), None, Some(Durability::Interval)];
    let writers = durabilities.map(|durability| {
        let (db, keyspace, writes) = (db.clone(), keyspace.clone(), random.between(1, 4));
        let writer = Writer { db, keyspace, name: random.next_u64(), durability, closes };
        let (disk, cut_at) = (disk.clone(), random.below(6));
        thread::spawn(move || writer.write(writes, cut_at, &disk))
    });
    if closes {
        let pause = random.below(4);
        (0..pause).for_each(|_| thread::yield_now());
        db.clone().close().expect("a close beside writers succeeds");
    }
    let (mut lasting, mut images) = (Vec::new(), Vec::new());
    for writer in writers {
        let (keys, cut) = writer.join().expect("it did not panic");
        lasting.extend(keys);
        images.extend(cut);
    }
    if !closes && !lasting.is_empty() {
        assert!(0 < told.load(SeqCst), "nobody was told of a sync");
    }
    drop((keyspace, db, environment));
    images.push((disk.crash(Survival::Nothing, seed), lasting));
    for (image, lasting) in images {
        let (_environment, _db, keyspace) = again(&image, seed, STORE);
        for key in lasting {
            let found = keyspace.get(&key).expect("a recovered store reads");
            assert_eq!(found.as_deref(), Some(&key[..]), "an acknowledged write is gone");
        }
    }
}

/// A disk after a power cut, and the keys that must be on it.
type Image = (CrashingVfs, Vec<Vec<u8>>);

struct Writer {
    db: Db,
    keyspace: Keyspace,
    /// What its keys begin with.
    name: u64,
    /// None for tickets.
    durability: Option<Durability>,
    /// Whether somebody closes the store.
    closes: bool,
}

impl Writer {
    /// Answers the keys that were acknowledged as lasting, and the disk as it was when the power was
    /// cut right after the one of number `cut_at` was.
    fn write(&self, writes: u64, cut_at: u64, disk: &CrashingVfs) -> (Vec<Vec<u8>>, Option<Image>) {
        let (mut lasting, mut image) = (Vec::new(), None);
        for number in 0..writes {
            let key = [self.name.to_be_bytes(), number.to_be_bytes()].concat();
            match self.put(&key) {
                Ok(true) => {
                    lasting.push(key);
                    if number == cut_at {
                        image = Some((disk.crash(Survival::Nothing, number), lasting.clone()));
                    }
                }
                Ok(false) | Err(Error::Busy { .. }) => {}
                Err(Error::Closed) if self.closes => break,
                Err(error) => panic!("a write failed: {error}"),
            }
        }
        (lasting, image)
    }

    /// Writes a key; answers whether it was acknowledged as lasting.
    fn put(&self, key: &[u8]) -> Result<bool> {
        let mut batch = Batch::new();
        batch.put(&self.keyspace, key, key)?;
        let Some(durability) = self.durability else {
            let ticket = self.db.write_ticketed(batch)?;
            ticket.wait()?;
            assert!(ticket.is_durable(), "a wait ended before its write was durable");
            return Ok(true);
        };
        let seqno = self.db.write_with(batch, durability)?;
        let lasts = durability == Durability::Sync;
        assert!(!lasts || seqno <= self.db.durable(), "acknowledged before it was durable");
        Ok(lasts)
    }
}

/// A writer whose memtables are full after a few entries, so that the state of the keyspace is swapped
/// all the time, beside one who flushes and settles and two who read: keys are written in their
/// order, so whoever looks finds all up to some, and no fewer than were written before the look.
pub(super) fn versions(seed: u64) {
    let mut random = Random::new(seed);
    let disk = CrashingVfs::new();
    let environment = environment(&disk, seed);
    let entries = Some(random.between(1, 4));
    let options = Options { durability: Durability::Os, ..settings::options(seed) };
    let options = Options { memtable_entries_max: entries, level0_tables_max: 1, ..options };
    let db = Db::open(&environment, STORE, options).expect("a new store opens");
    let keyspace = db.keyspace("main").expect("a keyspace is made");
    let written = Arc::new(AtomicU64::new(0));
    let most = random.between(4, 16);
    let readers = [0, 1].map(|reader| {
        let (db, keyspace, written) = (db.clone(), keyspace.clone(), Arc::clone(&written));
        thread::spawn(move || {
            for look in 0..3 {
                let floor = written.load(SeqCst);
                let found = if (look + reader) % 2 == 0 {
                    walked(&keyspace)
                } else {
                    let snapshot = db.snapshot();
                    let there = |n: u64| snapshot.get(&keyspace, &n.to_be_bytes()).expect("a read");
                    (1..=most).take_while(|n| there(*n).is_some()).count() as u64
                };
                assert!(floor <= found, "{floor} were written and {found} are found");
            }
        })
    });
    let meddler = {
        let db = db.clone();
        thread::spawn(move || {
            db.flush().expect("a flush");
            db.settle().expect("a settling");
        })
    };
    for number in 1..=most {
        loop {
            match keyspace.put(&number.to_be_bytes(), &number.to_be_bytes()) {
                Ok(_) => break,
                Err(Error::Busy { .. }) => thread::yield_now(),
                Err(error) => panic!("a put failed: {error}"),
            }
        }
        written.store(number, SeqCst);
    }
    for thread in readers.into_iter().chain([meddler]) {
        thread.join().expect("it did not panic");
    }
    assert_eq!(walked(&keyspace), most);
}

/// How many entries a walk finds, which must be 1 and on.
fn walked(keyspace: &Keyspace) -> u64 {
    let mut count = 0;
    for entry in keyspace.iter().expect("a walk begins") {
        let (key, value) = entry.expect("a step");
        count += 1;
        assert_eq!(
            (&key[..], &value[..]),
            (&u64::to_be_bytes(count)[..], &u64::to_be_bytes(count)[..])
        );
    }
    count
}

/// Two stores of one environment, each written, and closed or dropped, on a thread of its own, while
/// the environment goes away too: every thread of the background ends, wherever the last handle is
/// dropped, and both stores are there again with everything.
pub(super) fn shutdown(seed: u64) {
    let mut random = Random::new(seed);
    let disk = CrashingVfs::new();
    let environment = environment(&disk, seed);
    let users = ["/one", "/two"].map(|path| {
        let (environment, closes) = (environment.clone(), random.chance(1, 2));
        let writes = random.between(1, 6);
        thread::spawn(move || {
            let options = Options { durability: Durability::Os, ..settings::options(seed) };
            let db = Db::open(&environment, path, options).expect("a new store opens");
            drop(environment);
            let keyspace = db.keyspace("main").expect("a keyspace is made");
            for number in 1..=writes {
                keyspace.put(&number.to_be_bytes(), &number.to_be_bytes()).expect("a put");
            }
            if closes {
                db.close().expect("a close");
            }
            (path, writes)
        })
    });
    drop(environment);
    for user in users {
        let (path, writes) = user.join().expect("it did not panic");
        let (_environment, _db, keyspace) = again(&disk, seed, path);
        assert_eq!(walked(&keyspace), writes, "{path}");
    }
}

/// An environment on `disk` with threads of its own.
fn environment(disk: &CrashingVfs, seed: u64) -> Environment {
    let (vfs, clock) = pushed(Arc::new(disk.clone()), seed);
    let parts = Parts { vfs, clock, work: Work::Threads };
    let options = EnvironmentOptions { memory_bytes: 1 << 20 };
    Environment::with(parts, options).expect("the background's threads start")
}

/// The store at `path` again, with nothing at work behind it.
fn again(disk: &CrashingVfs, seed: u64, path: &str) -> (Environment, Db, Keyspace) {
    let clock = Arc::new(ManualClock::new());
    let environment = settings::environment(Arc::new(disk.clone()), &clock, seed);
    let environment = environment.expect("an environment");
    let db = Db::open(&environment, path, settings::options(seed)).expect("the store opens again");
    let keyspace = db.find_keyspace("main").expect("the keyspace is there");
    (environment, db, keyspace)
}
