//! Handles that outlive each other: whoever is left keeps the store open and goes on; nothing hangs.

use std::{
    io::Read as _,
    process,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Error, Keyspace, Options, Parts, Work,
};
use olivine_vfs::{MemoryVfs, RealClock};

use crate::scene::{STORE, fill, small, stepped};

const ENTRIES: u32 = 600;

/// With threads behind it, on a disk of its own.
fn threaded() -> Environment {
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()),
        clock: Arc::new(RealClock::new()),
        work: Work::Threads,
    };
    Environment::with(parts, EnvironmentOptions { memory_bytes: 16 << 20 }).unwrap()
}

fn open(environment: &Environment) -> Result<Db, Error> {
    Db::open(environment, STORE, Options { durability: Durability::Os, ..small() })
}

/// A store with entries in tables and in the log, and its keyspace.
fn filled(environment: &Environment) -> (Db, Keyspace) {
    let db = open(environment).unwrap();
    fill(&db, "a", ENTRIES);
    let keyspace = db.keyspace("a").unwrap();
    (db, keyspace)
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Ends the test when `work` hangs.
fn within_a_minute(work: impl FnOnce() + Send + 'static) {
    let (tell, told) = mpsc::channel();
    let worker = thread::Builder::new().spawn(move || {
        work();
        tell.send(()).unwrap();
    });
    let answer = told.recv_timeout(Duration::from_mins(1));
    assert!(answer != Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    // If it panicked, it says why.
    worker.unwrap().join().unwrap();
}

/// Makes a handle, drops all others, sees that the store is still locked, and hands it to `go_on`. After that
/// the store can be opened and was closed cleanly.
fn outlives<H>(
    make: impl FnOnce(&Db, &Keyspace) -> H + Send + 'static,
    go_on: impl FnOnce(H) + Send + 'static,
) {
    within_a_minute(move || {
        let environment = threaded();
        let (db, keyspace) = filled(&environment);
        let handle = make(&db, &keyspace);
        drop((db, keyspace));
        let error = open(&environment).map(drop).unwrap_err();
        let Error::Locked { holder, path } = &error else { panic!("{error}") };
        assert_eq!(*holder, process::id().to_string(), "{error}");
        assert!(path.ends_with("LOCK"), "{error}");
        go_on(handle);
        let again = open(&environment).unwrap();
        assert!(again.recovery().clean, "{:?}", again.recovery());
        assert_eq!(again.keyspace("a").unwrap().iter().unwrap().count(), ENTRIES as usize);
    });
}

#[test]
fn a_keyspace_goes_on_writing() {
    outlives(
        |_, keyspace| keyspace.clone(),
        |keyspace| {
            keyspace.put(&key(1), b"changed").unwrap();
            assert_eq!(*keyspace.get(&key(1)).unwrap().unwrap(), *b"changed");
        },
    );
}

#[test]
fn an_iterator_and_a_cursor_go_on_to_the_end() {
    outlives(
        |_, keyspace| {
            let mut walk = keyspace.iter().unwrap();
            walk.next().unwrap().unwrap();
            walk
        },
        |walk| assert_eq!(walk.collect::<Result<Vec<_>, _>>().unwrap().len(), ENTRIES as usize - 1),
    );
    outlives(
        |_, keyspace| keyspace.cursor().unwrap(),
        |mut cursor| {
            cursor.seek(&key(ENTRIES - 1)).unwrap();
            assert_eq!(cursor.key(), key(ENTRIES - 1));
            cursor.next().unwrap();
            assert!(!cursor.valid());
        },
    );
}

/// A snapshot is asked about a keyspace, so one of the two alone reads nothing; but it keeps its moment.
#[test]
fn a_snapshot_keeps_its_moment() {
    outlives(
        |db, keyspace| {
            let snapshot = db.snapshot();
            keyspace.put(&key(3), b"later").unwrap();
            (snapshot, keyspace.clone())
        },
        |(snapshot, keyspace)| {
            let then = snapshot.iter(&keyspace).unwrap();
            drop(keyspace);
            drop(snapshot);
            let values = then.map(|entry| entry.unwrap().1);
            assert!(values.into_iter().all(|value| value != b"later"));
        },
    );
    outlives(|db, _| db.snapshot(), drop);
}

#[test]
fn a_transaction_commits_or_is_dropped() {
    outlives(
        |db, keyspace| {
            let mut transaction = db.transaction();
            transaction.get(keyspace, &key(5)).unwrap();
            transaction.put(keyspace, &key(6), b"in a transaction").unwrap();
            transaction
        },
        |transaction| assert!(0 < transaction.commit().unwrap()),
    );
    outlives(
        |db, keyspace| {
            let mut transaction = db.transaction();
            transaction.put(keyspace, b"never", b"committed").unwrap();
            transaction
        },
        drop,
    );
}

#[test]
fn a_ticket_is_answered() {
    let ticketed = |db: &Db, keyspace: &Keyspace| {
        let mut batch = Batch::new();
        batch.put(keyspace, &key(7), b"ticketed").unwrap();
        db.write_ticketed(batch).unwrap()
    };
    outlives(ticketed, |ticket| {
        ticket.wait().unwrap();
        assert!(ticket.is_durable());
    });
    outlives(ticketed, drop);
}

/// Values are no handles: the store is closed, and they can still be read.
#[test]
fn a_value_and_a_reader_of_one_outlive_the_store() {
    within_a_minute(|| {
        let environment = threaded();
        let (db, keyspace) = filled(&environment);
        let film: Vec<u8> = (0..3 << 20).map(|at: u32| (at ^ at >> 9) as u8).collect();
        keyspace.put_stream(b"film", film.len() as u64, &*film).unwrap();
        db.flush().unwrap();
        let mut reader = keyspace.get_stream(b"film").unwrap().unwrap();
        let value = keyspace.get(&key(9)).unwrap().unwrap();
        drop((db, keyspace));
        // Whoever opens it next may remove the file.
        let again = open(&environment).unwrap();
        let keyspace = again.keyspace("a").unwrap();
        keyspace.delete(b"film").unwrap();
        drop(keyspace);
        again.settle().unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == film);
        assert_eq!(*value, [9; 50]);
    });
}

/// Closing answers everybody: what was waited for, what is asked later, and those that are dropped.
#[test]
fn closing_answers_all_handles() {
    within_a_minute(|| {
        let environment = threaded();
        let (db, keyspace) = filled(&environment);
        let (other, snapshot) = (db.clone(), db.snapshot());
        let mut walk = keyspace.iter().unwrap();
        walk.next().unwrap().unwrap();
        let mut transaction = db.transaction();
        transaction.put(&keyspace, &key(6), b"too late").unwrap();
        let mut batch = Batch::new();
        batch.put(&keyspace, &key(7), b"ticketed").unwrap();
        let ticket = db.write_ticketed(batch).unwrap();
        let waiting = thread::Builder::new().spawn(move || ticket.wait());
        db.close().unwrap();
        waiting.unwrap().join().unwrap().unwrap();
        assert_eq!(walk.collect::<Result<Vec<_>, _>>().unwrap().len(), ENTRIES as usize - 1);
        assert_eq!(*snapshot.get(&keyspace, &key(7)).unwrap().unwrap(), [7; 50]);
        assert!(matches!(transaction.commit(), Err(Error::Closed)));
        assert!(matches!(keyspace.put(b"k", b"v"), Err(Error::Closed)));
        assert!(matches!(other.flush(), Err(Error::Closed)));
        assert!(matches!(other.keyspace("new"), Err(Error::Closed)));
        other.close().unwrap();
        let again = open(&environment).unwrap();
        drop((keyspace, snapshot));
        let keyspace = again.keyspace("a").unwrap();
        assert_eq!(*keyspace.get(&key(7)).unwrap().unwrap(), *b"ticketed");
        let error = open(&environment).map(drop).unwrap_err();
        assert!(
            matches!(error, Error::Locked { .. }),
            "the handles of before hold nothing: {error}"
        );
    });
}

/// Whoever made the environment may drop it first; its threads end with the last store.
#[test]
fn the_environment_may_go_before_its_stores() {
    within_a_minute(|| {
        let environment = threaded();
        let (db, keyspace) = filled(&environment);
        drop(environment);
        fill(&db, "b", 2000);
        db.settle().unwrap();
        drop(db);
        let walk = keyspace.iter().unwrap();
        drop(keyspace);
        assert_eq!(walk.count(), ENTRIES as usize);
    });
}

/// A panic of a user's thread drops its handles like any other end.
#[test]
fn handles_dropped_by_a_panic_close_the_store() {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    let (db, keyspace) = filled(&environment);
    let user = thread::Builder::new().spawn(move || {
        let _walk = keyspace.iter().unwrap();
        let _snapshot = db.snapshot();
        std::panic::resume_unwind(Box::new("a user's bug"));
    });
    assert!(user.unwrap().join().is_err());
    let again = open(&environment).unwrap();
    assert!(again.recovery().clean);
    assert_eq!(again.keyspace("a").unwrap().iter().unwrap().count(), ENTRIES as usize);
}
