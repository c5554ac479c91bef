//! What is told of a read: the places in order, and that the value told is the one that is read.

use std::sync::Arc;

use olivine_engine::{Db, Explanation, KeyspaceOptions, Met, Place};
use olivine_vfs::MemoryVfs;

use crate::scene::{STORE, small, stepped};

fn kinds(told: &Explanation) -> Vec<(Place, Vec<&'static str>)> {
    let kinds = |met: &[Met]| met.iter().map(|met| met.kind).collect();
    told.looks.iter().map(|look| (look.place.clone(), kinds(&look.met))).collect()
}

/// Operands are met above the value they are merged with; the telling ends at that value.
#[test]
fn operands_and_their_base_are_met_in_the_order_of_the_read() {
    let vfs = Arc::new(MemoryVfs::new());
    let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    let merging = KeyspaceOptions { merge: Some("append".into()), ..KeyspaceOptions::default() };
    let keyspace = db.keyspace_with("words", &merging).unwrap();
    keyspace.put(b"k", b"a").unwrap();
    db.flush().unwrap();
    keyspace.merge(b"k", b"b").unwrap();
    db.flush().unwrap();
    keyspace.merge(b"k", b"c").unwrap();
    let told = keyspace.explain(b"k").unwrap();
    assert_eq!(told.value.as_deref(), Some(&b"abc"[..]));
    let table = |table| Place::Table { level: 0, table };
    let expected = [
        (Place::ActiveMemtable, vec!["merge"]),
        (table(2), vec!["merge"]),
        (table(1), vec!["put"]),
    ];
    assert_eq!(kinds(&told), expected);
    assert!(told.looks[1..].iter().all(|look| look.filter == Some(true) && look.blocks.len() == 1));
}

/// A deleted range settles a read where it is met, whatever lies below.
#[test]
fn a_deleted_range_ends_the_telling() {
    let vfs = Arc::new(MemoryVfs::new());
    let db = Db::open(&stepped(&vfs), STORE, small()).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    keyspace.put(b"k", b"old").unwrap();
    db.flush().unwrap();
    let deleted = keyspace.delete_range(b"a", b"z").unwrap();
    let told = keyspace.explain(b"k").unwrap();
    assert_eq!((told.value.as_deref(), told.looks.len()), (None, 1));
    assert_eq!(told.looks[0].deleted_at, Some(deleted));
    db.flush().unwrap();
    let told = keyspace.explain(b"k").unwrap();
    assert_eq!(
        kinds(&told),
        [(Place::ActiveMemtable, vec![]), (Place::Table { level: 0, table: 2 }, vec![])]
    );
    assert_eq!(told.looks[1].deleted_at, Some(deleted));
    assert_eq!(keyspace.explain(b"zz").unwrap().looks.len(), 3, "every place is asked in vain");
}
