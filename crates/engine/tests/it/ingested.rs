//! What check and repair make of tables that were written past the log: their entries do not know their
//! number, and other tables may hold what was written while they were.

use std::sync::Arc;

use olivine_engine::{Db, Keyspace, Loss};
use olivine_vfs::{MemoryVfs, Random, Vfs};

use crate::{
    repair::{Contents, Harm, bytes_of, contents, each_harm_to, harm, is_sound, path, repaired},
    scene::{STORE, files, small, stepped},
};

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn value(random: &mut Random) -> Vec<u8> {
    (0..5).flat_map(|_| random.next_u64().to_le_bytes()).collect()
}

/// How the keys 100 to 399 get new values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Ingest,
    Replace,
}

/// Gives every second one of the keys a new value, and writes among them before that is finished.
fn load(keyspace: &Keyspace, how: How, meanwhile: bool, random: &mut Random) {
    let mut ingest = match how {
        How::Ingest => keyspace.ingest().unwrap(),
        How::Replace => keyspace.replace_range(&key(100), &key(400)).unwrap(),
    };
    for number in (100..400).step_by(2) {
        ingest.add(&key(number), &value(random)).unwrap();
        if meanwhile && number == 200 {
            for number in 150..250 {
                keyspace.put(&key(number), &value(random)).unwrap();
            }
        }
    }
    ingest.finish().unwrap();
}

/// A closed store with old values, new ones past the log, and some written between and after.
fn store(how: How, meanwhile: bool, settles: bool) -> (Arc<MemoryVfs>, Contents) {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, small()).unwrap();
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    b.put(b"flushed", b"").unwrap();
    db.flush().unwrap();
    // Not flushed, so that the log keeps all that follows.
    b.put(b"first", b"").unwrap();
    let mut random = Random::new(3);
    for number in 0..600 {
        a.put(&key(number), &value(&mut random)).unwrap();
    }
    load(&a, how, meanwhile, &mut random);
    if settles {
        while environment.step() {}
    }
    for number in (380..420).step_by(3) {
        a.put(&key(number), &value(&mut random)).unwrap();
    }
    let contents = contents(&db);
    drop((a, b));
    db.close().unwrap();
    assert!(is_sound(&environment), "{how:?}");
    (vfs, contents)
}

/// Every store whose tables are still as they were ingested.
fn every_store(mut visit: impl FnMut(&Arc<MemoryVfs>, &Contents, How, bool)) {
    for how in [How::Ingest, How::Replace] {
        for meanwhile in [false, true] {
            let (vfs, written) = store(how, meanwhile, false);
            visit(&vfs, &written, how, meanwhile);
        }
    }
}

/// Whether it is one of the range that was ingested, and no more.
fn is_of_the_ingest(loss: &Loss) -> bool {
    let within = |bound: &Option<Vec<u8>>| {
        bound.as_ref().is_some_and(|bound| key(100)[..] <= **bound && **bound <= key(400)[..])
    };
    loss.why.contains("past the log") && within(&loss.from) && within(&loss.to)
}

/// The readable rest of an ingested table stays as new as it was: newer than what was written while the
/// ingest was under way, older than what came after.
#[test]
fn the_rest_of_a_damaged_table_keeps_the_number_that_the_manifest_gave_it() {
    let mut rests = 0;
    for how in [How::Ingest, How::Replace] {
        let (vfs, written) = store(how, true, false);
        for name in files(&*vfs, "table-") {
            let image = Arc::new(vfs.image());
            let bytes = bytes_of(&*image, &path(&name)).len() as u64;
            harm(&image, &name, Harm::Flip(bytes / 3));
            let report = repaired(&stepped(&image), &written, &[], &format!("{how:?} {name}"));
            rests += report.entries_salvaged;
        }
    }
    assert!(rests != 0);
}

/// A manifest that is damaged beside the edit that named them still tells the number of ingested tables;
/// one that is gone does not, and then their range is reported and no other.
#[test]
fn a_lost_manifest_leaves_only_the_ingested_range_in_doubt() {
    let (mut exact, mut doubtful) = (0, 0);
    every_store(|vfs, written, how, meanwhile| {
        each_harm_to(vfs, written, "manifest-", 6, |_, harm, report| {
            if report.steps[0] == "keep what the manifest says" {
                return; // its end looks like one that was never finished
            }
            let which = format!("{how:?} {meanwhile} {harm:?}: {report:#?}");
            assert!(report.losses.iter().all(is_of_the_ingest), "{which}");
            exact += usize::from(report.losses.is_empty());
            doubtful += usize::from(!report.losses.is_empty());
            if matches!(harm, Harm::Gone) {
                assert!(!report.losses.is_empty(), "{which}");
            }
        });
    });
    assert!(exact != 0 && doubtful != 0, "{exact} exact and {doubtful} in doubt");
}

/// Without any word of the manifest an ingest counts as what was written first after it was begun; if
/// nothing else was, everything reads as it was written. What the log repeats of older writes stays old.
#[test]
fn an_ingest_that_nobody_disturbed_is_found_whole_by_its_tables_alone() {
    for (settles, how, meanwhile) in [
        (false, How::Ingest, false),
        (false, How::Ingest, true),
        (false, How::Replace, false),
        (false, How::Replace, true),
        (true, How::Ingest, false),
        (true, How::Replace, false),
    ] {
        let (vfs, written) = store(how, meanwhile, settles);
        for name in ["CURRENT", "manifest-"] {
            vfs.remove_file(&path(&files(&*vfs, name)[0])).unwrap();
        }
        let environment = stepped(&vfs);
        let which = format!("{how:?} {meanwhile} {settles}");
        let report = repaired(&environment, &written, &[], &which);
        if !settles {
            assert!(!report.losses.is_empty(), "{which}");
            assert!(report.losses.iter().all(is_of_the_ingest), "{which}: {report:#?}");
        }
        let db = Db::open(&environment, STORE, small()).unwrap();
        let mut found = contents(&db);
        let place = ("a".to_owned(), key(7).to_vec());
        assert_eq!(found.insert(place.clone(), written[&place].clone()).unwrap(), b"new");
        if !meanwhile {
            assert_eq!(found, written, "{which}");
        }
    }
}
