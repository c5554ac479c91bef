//! What was written, read from the log while writes go on.

use std::{sync::Arc, thread};

use olivine_engine::{
    Batch, Db, Environment, EnvironmentOptions, Error, KeyspaceOptions, Options, Parts, Update,
    UpdateKind, Work,
};
use olivine_vfs::{MemoryVfs, RealClock};

use crate::scene::{Ended, STORE, small, stepped};

fn open() -> (Db, Environment) {
    let environment = stepped(&Arc::new(MemoryVfs::new()));
    (Db::open(&environment, STORE, small()).unwrap(), environment)
}

fn kinds(update: &Update) -> Vec<(String, UpdateKind)> {
    update.operations.iter().map(|done| (done.keyspace.clone(), done.kind.clone())).collect()
}

#[test]
fn batches_come_as_they_were_written_and_go_on_with_what_is_written_meanwhile() {
    let (db, _environment) = open();
    let named = KeyspaceOptions { merge: Some("append".into()), ..KeyspaceOptions::default() };
    let (a, b) = (db.keyspace_with("a", &named).unwrap(), db.keyspace("b").unwrap());
    let before = db.visible();
    let mut batch = Batch::new();
    batch.put(&a, b"k", b"v").unwrap();
    batch.merge(&a, b"k", b"w").unwrap();
    batch.delete(&b, b"k").unwrap();
    batch.delete_range(&b, b"c", b"d").unwrap();
    batch.put_with_expiry(&b, b"e", b"v", 9).unwrap();
    batch.append(&b, b"record").unwrap();
    batch.applied_to(&a, 0).unwrap();
    let last = db.write(batch).unwrap();
    let mut updates = db.updates_since(before).unwrap();
    let update = updates.next().unwrap().unwrap();
    assert_eq!((update.first, update.last, update.operations.len()), (before + 1, last, 7));
    let (key, value) = (b"k".to_vec(), b"v".to_vec());
    let expected = [
        ("a".to_owned(), UpdateKind::Put { key: key.clone(), value: value.clone() }),
        ("a".to_owned(), UpdateKind::Merge { key: key.clone(), operand: b"w".to_vec() }),
        ("b".to_owned(), UpdateKind::Delete { key }),
        ("b".to_owned(), UpdateKind::DeleteRange { start: b"c".to_vec(), end: b"d".to_vec() }),
        ("b".to_owned(), UpdateKind::PutWithExpiry { key: b"e".to_vec(), value, expiry: 9 }),
        ("b".to_owned(), UpdateKind::Append { record: b"record".to_vec() }),
        ("a".to_owned(), UpdateKind::AppliedTo { seqno: 0 }),
    ];
    assert_eq!(kinds(&update), expected);
    assert!(updates.next().is_none());
    assert!(updates.next().is_none());
    b.put_stream(b"long", 5000, &[7; 5000][..]).unwrap();
    let stream = UpdateKind::PutStream { key: b"long".to_vec(), bytes: 5000 };
    assert_eq!(kinds(&updates.next().unwrap().unwrap()), [("b".to_owned(), stream)]);
    let mut ingest = a.ingest().unwrap();
    ingest.add(b"x", b"y").unwrap();
    ingest.finish().unwrap();
    assert_eq!(kinds(&updates.next().unwrap().unwrap()), [(String::new(), UpdateKind::Ingest)]);
    db.drop_keyspace(&b).unwrap();
    let again: Vec<_> = db.updates_since(before).unwrap().map(Result::unwrap).collect();
    assert_eq!(again.len(), 3);
    assert_eq!(
        again[0].operations.len(),
        3,
        "what was done to a keyspace that is gone is left out"
    );
    let future = db.updates_since(db.visible() + 1).unwrap_err();
    assert!(matches!(future, Error::Invalid { field: "since", .. }));
}

#[test]
fn from_every_number_that_is_there_the_rest_comes_and_else_the_oldest_is_named() {
    let (db, environment) = open();
    let a = db.keyspace("a").unwrap();
    let mut written = Vec::new();
    for number in 0..120u32 {
        let mut batch = Batch::new();
        // Some records reach over several segments.
        let bytes = if number % 17 == 9 { 40_000 } else { 700 };
        batch.put(&a, b"first", &number.to_be_bytes()).unwrap();
        batch.put(&a, &number.to_be_bytes(), &vec![number as u8; bytes]).unwrap();
        written.push(db.write(batch).unwrap());
        if number % 9 == 0 {
            while environment.step() {}
        }
    }
    let (mut gone, mut whole) = (0, 0);
    for since in 0..db.visible() {
        match db.updates_since(since) {
            Err(Error::LogGone { oldest }) => {
                assert!(whole == 0 && since + 1 < oldest);
                assert!(db.updates_since(oldest - 1).is_ok(), "{oldest} was said to be there");
                gone += 1;
            }
            Err(error) => panic!("{error}"),
            Ok(updates) => {
                let lasts: Vec<_> = updates.map(|update| update.unwrap().last).collect();
                let expected: Vec<_> =
                    written.iter().copied().filter(|last| since < *last).collect();
                assert_eq!(lasts, expected, "since {since}");
                whole += 1;
            }
        }
    }
    assert!(0 < gone && 0 < whole, "{gone} {whole}");
    // What was read before a restart goes on behind it.
    let since = db.visible();
    db.close().unwrap();
    let db = Db::open(&environment, STORE, small()).unwrap();
    assert!(db.updates_since(since).unwrap().next().is_none());
    let last = db.keyspace("a").unwrap().put(b"k", b"v").unwrap();
    let mut updates = db.updates_since(since).unwrap();
    assert_eq!(updates.next().unwrap().unwrap().first, last);
    assert!(db.updates_since(since - 1).unwrap().next().unwrap().is_ok());
}

#[test]
fn a_reader_that_is_left_behind_is_told_and_holds_nothing_back() {
    let (db, environment) = open();
    let a = db.keyspace("a").unwrap();
    a.put(b"k", b"v").unwrap();
    let mut updates = db.updates_since(0).unwrap();
    updates.next().unwrap().unwrap();
    for number in 0..500u32 {
        a.put(&number.to_be_bytes(), &[7; 500]).unwrap();
        while environment.step() {}
    }
    let left = updates.by_ref().find_map(Result::err).unwrap();
    let Error::LogGone { oldest } = left else { panic!("{left}") };
    assert!(1 < oldest);
    assert!(updates.next().is_none(), "it ended with the error");
    assert!(db.stats().log_bytes < 200 << 10, "{} bytes of log", db.stats().log_bytes);
}

/// Readers follow three writers and a flushing store; each sees every batch, whole, once, in order.
#[test]
fn followers_see_every_batch_in_order_while_writers_write() {
    let parts = Parts {
        vfs: Arc::new(MemoryVfs::new()),
        clock: Arc::new(RealClock::new()),
        work: Work::Threads,
    };
    let environment =
        Environment::with(parts, EnvironmentOptions { memory_bytes: 64 << 20 }).unwrap();
    let options = Options { log_bytes_max: 8 << 20, segment_bytes: 64 << 10, ..small() };
    let db = Db::open(&environment, STORE, options).unwrap();
    let a = db.keyspace("a").unwrap();
    // As long as nobody covers it, the log is kept from here on, however slow the readers are.
    let pin = db.keyspace("owner").unwrap().append(b"kept").unwrap();
    let ended = Ended::default();
    thread::scope(|scope| {
        let follow = || {
            let (mut next, mut done) = (pin + 1, false);
            let mut updates = db.updates_since(pin).unwrap();
            loop {
                for update in updates.by_ref() {
                    let update = update.unwrap();
                    assert_eq!((update.first, update.last), (next, next + 1));
                    next = update.last + 1;
                }
                if done {
                    return next;
                }
                done = ended.is();
            }
        };
        let followers = [scope.spawn(follow), scope.spawn(follow)];
        let writers: Vec<_> = (0..3u8)
            .map(|writer| {
                let (db, a) = (&db, &a);
                scope.spawn(move || {
                    for number in 0..400u32 {
                        let mut batch = Batch::new();
                        batch.put(a, &[writer], &number.to_be_bytes()).unwrap();
                        batch.put(a, &number.to_be_bytes(), &[writer; 300]).unwrap();
                        db.write(batch).unwrap();
                    }
                })
            })
            .collect();
        let end = ended.when_dropped();
        for writer in writers {
            writer.join().unwrap();
        }
        drop(end);
        for follower in followers {
            assert_eq!(follower.join().unwrap(), db.visible() + 1);
        }
    });
}
