//! Walks within one prefix, in keyspaces whose tables know which prefixes they have.

use std::sync::Arc;

use olivine_engine::{Db, Error, KeyPrefix, Keyspace, KeyspaceOptions, Options};
use olivine_vfs::{MemoryVfs, Random};

use crate::scene::{STORE, keys_of, small, stepped};

fn by(prefix: KeyPrefix) -> KeyspaceOptions {
    KeyspaceOptions { prefix: Some(prefix), ..KeyspaceOptions::default() }
}

/// Users and their things; of every third user there are none.
fn fill(keyspace: &Keyspace) {
    for user in (0..90).filter(|user| user % 3 != 0) {
        for thing in 0..20 {
            let key = format!("user:{user:03}:{thing:02}");
            keyspace.put(key.as_bytes(), &[thing; 30]).unwrap();
        }
    }
}

/// Blocks that were asked for, in the cache or on the disk.
fn blocks_touched(db: &Db) -> u64 {
    let stats = db.stats();
    stats.cache_hits + stats.cache_misses
}

/// Counts what walks over absent users touch.
fn touched_by_absent(db: &Db, keyspace: &Keyspace) -> u64 {
    let before = blocks_touched(db);
    for user in (0..90).step_by(3) {
        let (prefix, behind) = (format!("user:{user:03}:"), format!("user:{user:03};"));
        assert_eq!(keyspace.prefix(prefix.as_bytes()).unwrap().count(), 0);
        assert_eq!(keyspace.prefix(prefix.as_bytes()).unwrap().rev().count(), 0);
        let range = prefix.as_bytes()..behind.as_bytes();
        assert_eq!(keyspace.range(range).unwrap().count(), 0);
    }
    blocks_touched(db) - before
}

/// The same walks touch blocks in every table when the keyspace has no rule.
#[test]
fn a_walk_over_an_absent_prefix_touches_no_block() {
    for settled in [false, true] {
        let vfs = Arc::new(MemoryVfs::new());
        let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
        let rule = KeyPrefix::Delimiter(b':', 2);
        let with = db.keyspace_with("with", &by(rule)).unwrap();
        let without = db.keyspace("without").unwrap();
        for keyspace in [&with, &without] {
            fill(keyspace);
        }
        if settled {
            db.settle().unwrap();
        } else {
            db.flush().unwrap();
        }
        // One mistake in a hundred and more is what a filter may make.
        let touched = touched_by_absent(&db, &with);
        assert!(touched < 10, "{touched} blocks, settled {settled}");
        assert!(60 < touched_by_absent(&db, &without));
        let keys = |keyspace: &Keyspace| keys_of(keyspace.prefix(b"user:04").unwrap());
        assert_eq!(keys(&with), keys(&without));
        assert_eq!(keys_of(with.prefix(b"user:044:").unwrap()).len(), 20);
        assert_eq!(keys_of(with.prefix(b"user:044:1").unwrap()).len(), 10);
        assert_eq!(with.iter().unwrap().count(), without.iter().unwrap().count());
    }
}

/// Whatever the rule, the bounds and the places that keys are in, walks show the same.
#[test]
fn walks_show_the_same_with_and_without_a_rule() {
    let rules = [KeyPrefix::Length(1), KeyPrefix::Length(2), KeyPrefix::Delimiter(0, 1)];
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let vfs = Arc::new(MemoryVfs::new());
        let options = Options { filter_bits_per_key: [4, 10][random.index(2)], ..small() };
        let db = Db::open(&stepped(&vfs), STORE, options).unwrap();
        let with = db.keyspace_with("with", &by(rules[random.index(3)])).unwrap();
        let without = db.keyspace("without").unwrap();
        let key = |random: &mut Random| -> Vec<u8> {
            (0..random.below(5)).map(|_| [0, 1, 2, 0xff][random.index(4)]).collect()
        };
        for step in 0..400 {
            let (one, two) = (key(&mut random), key(&mut random));
            match random.below(12) {
                0..5 => {
                    for keyspace in [&with, &without] {
                        keyspace.put(&one, &[step as u8; 40]).unwrap();
                    }
                }
                5..8 => {
                    for keyspace in [&with, &without] {
                        keyspace.delete(&one).unwrap();
                    }
                }
                8 if one < two && random.chance(1, 4) => {
                    for keyspace in [&with, &without] {
                        keyspace.delete_range(&one, &two).unwrap();
                    }
                }
                9 if random.chance(1, 4) => db.flush().unwrap(),
                10 if random.chance(1, 10) => db.settle().unwrap(),
                _ => {
                    let walk = |keyspace: &Keyspace| -> Vec<Vec<u8>> {
                        let keys = keyspace.prefix(&one).unwrap().map(|entry| entry.unwrap().0);
                        let back = keyspace.prefix(&one).unwrap().rev();
                        let back = back.map(|entry| entry.unwrap().0);
                        let range = one.as_slice()..two.as_slice().max(&one);
                        let range = keyspace.range(range).unwrap().map(|entry| entry.unwrap().0);
                        keys.chain(back).chain(range).collect()
                    };
                    assert_eq!(walk(&with), walk(&without), "seed {seed}, step {step}");
                }
            }
        }
        let all = |keyspace: &Keyspace| keyspace.iter().unwrap().map(Result::unwrap).collect();
        let (all_with, all_without): (Vec<_>, Vec<_>) = (all(&with), all(&without));
        assert_eq!(all_with, all_without, "seed {seed}");
    }
}

/// The walk that was left out of a table noted a gap up to keys behind its bounds, and the next walk
/// jumped over what that table had there.
#[test]
fn a_gap_found_within_a_prefix_ends_with_it() {
    let vfs = Arc::new(MemoryVfs::new());
    let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    let keyspace = db.keyspace_with("k", &by(KeyPrefix::Length(1))).unwrap();
    keyspace.put(b"b1", b"there").unwrap();
    db.flush().unwrap();
    for nth in 0..100_u8 {
        keyspace.delete(&[b'a', nth]).unwrap();
    }
    keyspace.put(b"c1", b"there").unwrap();
    assert_eq!(keyspace.prefix(b"a").unwrap().count(), 0);
    assert_eq!(keyspace.prefix(b"a").unwrap().count(), 0);
    assert_eq!(keys_of(keyspace.iter().unwrap()), ["b1", "c1"]);
}

#[test]
fn the_rule_is_kept_and_bad_ones_are_refused() {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    for rule in [KeyPrefix::Length(0), KeyPrefix::Delimiter(b':', 0)] {
        assert!(matches!(db.keyspace_with("k", &by(rule)), Err(Error::Invalid { .. })));
    }
    let rule = by(KeyPrefix::Delimiter(b':', 2));
    fill(&db.keyspace_with("k", &rule).unwrap());
    db.close().unwrap();
    let db = Db::open(&environment, STORE, small()).unwrap();
    let keyspace = db.keyspace_with("k", &rule).unwrap();
    assert_eq!(keyspace.options(), &rule);
    assert_eq!(keys_of(keyspace.prefix(b"user:001:").unwrap()).len(), 20);
    let other = by(KeyPrefix::Length(3));
    assert!(matches!(db.keyspace_with("k", &other), Err(Error::Invalid { .. })));
}
