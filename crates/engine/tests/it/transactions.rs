//! Transactions: what they see, when they are refused, and that those that commit are serializable.

use std::{collections::BTreeMap, ops::Bound};

use olivine_engine::{Db, Error, Expected, Keyspace, KeyspaceOptions, Transaction};
use olivine_vfs::Random;

use crate::scene::{Scene, keys_of};

fn accounts(db: &Db) -> Keyspace {
    let options = KeyspaceOptions { merge: Some("append".into()), ..KeyspaceOptions::default() };
    db.keyspace_with("accounts", &options).unwrap()
}

#[test]
fn a_transaction_sees_its_own_writes_and_nobody_else_does() {
    let scene = Scene::new();
    let db = scene.open();
    let accounts = accounts(&db);
    for key in [b"a", b"b", b"c", b"d"] {
        accounts.put(key, b"0").unwrap();
    }
    let mut transaction = db.transaction();
    transaction.put(&accounts, b"b", b"1").unwrap();
    transaction.delete_range(&accounts, b"b", b"d").unwrap();
    transaction.put(&accounts, b"bb", b"2").unwrap();
    transaction.merge(&accounts, b"bb", b"3").unwrap();
    transaction.merge(&accounts, b"a", b"1").unwrap();
    transaction.delete(&accounts, b"d").unwrap();
    transaction.merge(&accounts, b"c", b"x").unwrap();
    let seen: Vec<_> = transaction
        .range(&accounts, (Bound::<Vec<u8>>::Unbounded, Bound::Unbounded))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let expected = [(b"a".to_vec(), b"01".to_vec()), (b"bb".to_vec(), b"23".to_vec())];
    assert_eq!(seen[..2], expected);
    assert_eq!(seen[2..], [(b"c".to_vec(), b"x".to_vec())]);
    assert_eq!(transaction.get(&accounts, b"b").unwrap(), None);
    assert_eq!(transaction.get(&accounts, b"bb").unwrap().unwrap(), b"23");
    assert_eq!(keys_of(accounts.iter().unwrap()), ["a", "b", "c", "d"]);
    transaction.commit().unwrap();
    let found: Vec<_> = accounts.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(found, seen);
}

#[test]
fn a_dropped_transaction_wrote_nothing() {
    let scene = Scene::new();
    let db = scene.open();
    let accounts = accounts(&db);
    let mut transaction = db.transaction();
    transaction.put(&accounts, b"a", b"1").unwrap();
    drop(transaction);
    assert_eq!(accounts.get(b"a").unwrap(), None);
}

/// Each of these writes between a read and its commit is a conflict, whether it lies in a memtable or
/// in a table by then.
#[test]
fn what_was_read_and_written_since_is_refused() {
    type Read = fn(&mut Transaction, &Keyspace);
    type Write = fn(&Keyspace);
    let get: Read = |transaction, accounts| {
        transaction.get(accounts, b"k5").unwrap();
    };
    let scan: Read = |transaction, accounts| {
        transaction.range(accounts, b"k3".to_vec()..b"k7".to_vec()).unwrap();
    };
    let prefix: Read = |transaction, accounts| {
        transaction.prefix(accounts, b"k").unwrap();
    };
    let put: Write = |accounts| {
        accounts.put(b"k5", b"new").unwrap();
    };
    let delete: Write = |accounts| {
        accounts.delete(b"k5").unwrap();
    };
    let clear: Write = |accounts| {
        accounts.delete_range(b"k4", b"k6").unwrap();
    };
    let merge: Write = |accounts| {
        accounts.merge(b"k5", b"more").unwrap();
    };
    let elsewhere: Write = |accounts| {
        accounts.put(b"m", b"new").unwrap();
    };
    for flushed in [false, true] {
        for read in [get, scan, prefix] {
            for (write, conflicts) in
                [(put, true), (delete, true), (clear, true), (merge, true), (elsewhere, false)]
            {
                let scene = Scene::new();
                let db = scene.open();
                let accounts = accounts(&db);
                accounts.put(b"k5", b"old").unwrap();
                let mut transaction = db.transaction();
                read(&mut transaction, &accounts);
                transaction.put(&accounts, b"result", b"1").unwrap();
                write(&accounts);
                if flushed {
                    db.settle().unwrap();
                }
                let refused = transaction.commit();
                assert_eq!(
                    matches!(refused, Err(Error::Conflict { .. })),
                    conflicts,
                    "{refused:?}"
                );
                assert_eq!(accounts.contains(b"result").unwrap(), !conflicts);
            }
        }
    }
}

#[test]
fn what_was_only_written_may_be_written_by_anybody() {
    let scene = Scene::new();
    let db = scene.open();
    let accounts = accounts(&db);
    let mut transaction = db.transaction();
    transaction.put(&accounts, b"a", b"mine").unwrap();
    transaction.get(&accounts, b"a").unwrap();
    accounts.put(b"a", b"theirs").unwrap();
    transaction.commit().unwrap();
    assert_eq!(accounts.get(b"a").unwrap().unwrap(), b"mine");
}

#[test]
fn a_write_may_want_to_find_something() {
    let scene = Scene::new();
    let db = scene.open();
    let accounts = accounts(&db);
    assert!(!accounts.put_if(b"a", Expected::Present, b"1").unwrap());
    assert!(accounts.put_if(b"a", Expected::Absent, b"1").unwrap());
    assert!(!accounts.put_if(b"a", Expected::Absent, b"2").unwrap());
    assert!(!accounts.put_if(b"a", Expected::Value(b"2"), b"3").unwrap());
    assert!(accounts.put_if(b"a", Expected::Value(b"1"), b"3").unwrap());
    assert_eq!(accounts.get(b"a").unwrap().unwrap(), b"3");
    assert!(!accounts.delete_if(b"a", Expected::Value(b"1")).unwrap());
    assert!(accounts.delete_if(b"a", Expected::Present).unwrap());
    assert_eq!(accounts.get(b"a").unwrap(), None);
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// One transaction in the middle of its work: what it read, and what it is going to have written.
struct Open {
    transaction: Transaction,
    reads: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    scans: Vec<(u8, u8, Entries)>,
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn within(model: &BTreeMap<Vec<u8>, Vec<u8>>, low: u8, high: u8) -> Entries {
    let range = model.range(vec![low]..vec![high]);
    range.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Interleaved at random, with flushes and compactions between: each that commits read exactly what
/// stands there at its commit, so that they might as well have run one after the other.
#[test]
fn those_that_commit_are_serializable() {
    let (mut committed, mut refused) = (0, 0);
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let scene = Scene::new();
        let db = scene.open();
        let accounts = accounts(&db);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut open: Vec<Open> = Vec::new();
        for step in 0..120u8 {
            if open.len() < 4 && random.chance(1, 3) {
                let transaction = db.transaction();
                open.push(Open { transaction, reads: vec![], scans: vec![], writes: vec![] });
            }
            if random.chance(1, 25) {
                db.settle().unwrap();
            }
            if open.is_empty() {
                continue;
            }
            let index = random.index(open.len());
            let Open { transaction, reads, scans, writes } = &mut open[index];
            let key = vec![random.below(12) as u8];
            let is_own = |key: &[u8]| writes.iter().any(|(own, _)| own == key);
            match random.below(8) {
                0..2 if !is_own(&key) => {
                    let value = transaction.get(&accounts, &key).unwrap();
                    reads.push((key, value.map(|value| value.to_vec())));
                }
                2 if writes.is_empty() => {
                    let (low, high) = (random.below(6) as u8, 6 + random.below(6) as u8);
                    let walk = transaction.range(&accounts, vec![low]..vec![high]).unwrap();
                    scans.push((low, high, walk.map(Result::unwrap).collect()));
                }
                3..5 => {
                    transaction.put(&accounts, &key, &[step]).unwrap();
                    writes.push((key, Some(vec![step])));
                }
                5 => {
                    transaction.delete(&accounts, &key).unwrap();
                    writes.push((key, None));
                }
                6 => {
                    let Open { transaction, reads, scans, writes } = open.swap_remove(index);
                    match transaction.commit() {
                        Ok(_) if writes.is_empty() => continue,
                        Ok(_) => committed += 1,
                        Err(Error::Conflict { .. }) => {
                            refused += 1;
                            continue;
                        }
                        Err(error) => panic!("seed {seed}: {error}"),
                    }
                    for (key, value) in reads {
                        assert_eq!(model.get(&key), value.as_ref(), "seed {seed} key {key:?}");
                    }
                    for (low, high, entries) in scans {
                        assert_eq!(within(&model, low, high), entries, "seed {seed}");
                    }
                    for (key, value) in writes {
                        match value {
                            Some(value) => drop(model.insert(key, value)),
                            None => drop(model.remove(&key)),
                        }
                    }
                }
                _ => {}
            }
        }
        let found: BTreeMap<_, _> = accounts.iter().unwrap().map(Result::unwrap).collect();
        assert_eq!(found, model, "seed {seed}");
    }
    assert!(300 < committed && 100 < refused, "{committed} committed, {refused} refused");
}

/// Threads that add to one counter lose no addition.
#[test]
fn no_addition_of_several_threads_is_lost() {
    let scene = Scene::new();
    let db = scene.open();
    let accounts = accounts(&db);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    db.transact(|transaction| {
                        let value = transaction.get(&accounts, b"sum")?;
                        let sum = value
                            .map_or(0, |value| u32::from_le_bytes(*value.first_chunk().unwrap()));
                        transaction.put(&accounts, b"sum", &(sum + 1).to_le_bytes())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(accounts.get(b"sum").unwrap().unwrap(), &400u32.to_le_bytes());
}
