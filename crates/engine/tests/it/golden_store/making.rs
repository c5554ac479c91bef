//! Makes the golden store: everything that the files of a store can hold, from a fixed seed.
//!
//! 1. Only the public API makes it, on a disk in memory with a clock that stands: the same code makes
//!    the same bytes, on any machine.
//! 2. What is new in a format gets a line in `FEATURES`, and in the kinds that `golden_store.rs`
//!    expects to see.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc};

use olivine_engine::{
    Backups, Batch, CompactionFilter, CompactionStyle, Db, Depth, Durability, Environment,
    KeyPrefix, Keyspace, KeyspaceOptions, MergeOperator, Options, inspect,
};
use olivine_vfs::{EntryKind, MemoryVfs, Open, Random, Vfs};

use crate::scene::{STORE, small, stepped};

pub(super) const BACKUPS: &str = "/backups";

/// Files by their place in a set: `clean/CURRENT`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What a feature is, and what makes files that hold it.
type Feature = (&'static str, fn(&Db));

/// What a store's files can hold, made in this order; after each, memtables are flushed.
const FEATURES: &[Feature] = &[
    ("value files that were forgotten", collected),
    ("puts of every length, empty keys and values among them", puts),
    ("deletes, of keys that are there and that are not", deletes),
    ("several versions of a key, which snapshots keep", versions),
    ("ranges deleted, over each other and over what came later", range_deletes),
    ("operands merged, with and without a value below", merges),
    ("values that expire, and an expiry mark", expiring),
    ("a filter by name", filtered),
    ("values apart, compressed and not, some of them garbage", values_apart),
    ("a value streamed", streamed),
    ("a bulk ingest, numbered later", ingested),
    ("blocks that compress, and blocks that do not", compressed),
    ("a batch over several keyspaces, and a transaction", together),
    ("a keyspace dropped", dropped),
    ("ranges replaced by some rows, and by none", replaced),
    ("filters that know prefixes, by both rules", prefixed),
    ("rows in the order of time", windows),
    ("records appended, some of them covered", appended),
    ("a keyspace without a log, and up to where it holds", unlogged),
];

/// How the golden store is opened, to be made and to be read.
pub(super) fn options() -> Options {
    Options {
        durability: Durability::Os,
        memtable_bytes_max: 8 << 10,
        table_bytes_max: 4 << 10,
        level_bytes_base: 8 << 10,
        level0_tables_max: 2,
        value_apart_bytes_min: 1 << 10,
        merge_operators: vec![Arc::new(Longest)],
        compaction_filters: vec![Arc::new(NoTemporary)],
        ..small()
    }
}

/// Keeps the longest operand.
#[derive(Debug)]
struct Longest;

impl MergeOperator for Longest {
    fn name(&self) -> &'static str {
        "longest"
    }

    fn fold(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let all = base.into_iter().chain(operands.iter().copied());
        Ok(all.max_by_key(|operand| operand.len()).unwrap_or_default().to_vec())
    }
}

/// Wants nothing below `tmp/`.
#[derive(Debug)]
struct NoTemporary;

impl CompactionFilter for NoTemporary {
    fn name(&self) -> &'static str {
        "no-temporary"
    }

    fn wants(&self, key: &[u8], _value: &[u8]) -> bool {
        !key.starts_with(b"tmp/")
    }
}

/// Makes the set: a store closed cleanly, the same one as a crash left it, and backups of it.
pub(super) fn make() -> Files {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = stepped(&vfs);
    let db = Db::open(&environment, STORE, options()).unwrap();
    let backups = Backups::new(&environment, BACKUPS);
    for (nth, (_, feature)) in FEATURES.iter().enumerate() {
        feature(&db);
        db.flush().unwrap();
        if nth == FEATURES.len() / 2 {
            backups.take(&db, &mut |_| ()).unwrap();
        }
    }
    leave_off_a_merge(&environment, &db);
    backups.take(&db, &mut |_| ()).unwrap();
    not_flushed(&db, 0);
    let mut files = Files::new();
    save(&*crashed(&vfs, &db), STORE, "crashed", &mut files);
    not_flushed(&db, 1);
    db.close().unwrap();
    save(&*vfs, STORE, "clean", &mut files);
    save(&*vfs, BACKUPS, "backups", &mut files);
    files
}

/// Reads the files of a directory. The lock tells of a process and is no part of the format.
pub(super) fn save(vfs: &dyn Vfs, dir: &str, name: &str, files: &mut Files) {
    for entry in vfs.list(Path::new(dir)).unwrap() {
        let file_name = entry.name.to_str().unwrap();
        if entry.kind == EntryKind::File && file_name != "LOCK" {
            let file = vfs.open(&Path::new(dir).join(&entry.name), Open::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
            files.insert(format!("{name}/{file_name}"), bytes);
        }
    }
}

fn key(nth: u64) -> Vec<u8> {
    format!("key{nth:03}").into_bytes()
}

/// Bytes that do not compress.
fn noise(nth: u64, len: usize) -> Vec<u8> {
    Random::new(nth ^ 0x601d).bytes(len)
}

fn made_with(db: &Db, name: &str, options: KeyspaceOptions) -> Keyspace {
    db.keyspace_with(name, &options).unwrap()
}

fn puts(db: &Db) {
    let keyspace = db.keyspace("plain").unwrap();
    keyspace.put(b"", b"under the empty key").unwrap();
    keyspace.put(b"\x00", b"").unwrap();
    keyspace.put(&[0xff; 300], b"under a long key of the highest bytes").unwrap();
    for nth in 0..60 {
        keyspace.put(&key(nth), &noise(nth, nth as usize)).unwrap();
    }
}

fn deletes(db: &Db) {
    let keyspace = db.keyspace("plain").unwrap();
    for nth in (0..80).step_by(7) {
        keyspace.delete(&key(nth)).unwrap();
    }
}

fn versions(db: &Db) {
    let keyspace = db.keyspace("versions").unwrap();
    let mut snapshots = Vec::new();
    for round in 0..4 {
        for nth in 0..12 {
            keyspace.put(&key(nth), format!("round {round}").as_bytes()).unwrap();
        }
        snapshots.push(db.snapshot());
    }
    keyspace.delete(&key(5)).unwrap();
    db.flush().unwrap();
}

fn range_deletes(db: &Db) {
    let keyspace = db.keyspace("ranges").unwrap();
    for nth in 0..40 {
        keyspace.put(&key(nth), b"old").unwrap();
    }
    db.flush().unwrap();
    let snapshot = db.snapshot();
    keyspace.delete_range(&key(3), &key(20)).unwrap();
    keyspace.delete_range(&key(10), &key(30)).unwrap();
    keyspace.put(&key(12), b"new").unwrap();
    db.flush().unwrap();
    keyspace.delete_range(b"nothing", b"nothing is there").unwrap();
    drop(snapshot);
}

fn merges(db: &Db) {
    let with = |name: &str| KeyspaceOptions { merge: Some(name.into()), ..Default::default() };
    let counters = made_with(db, "counters", with("add-i64"));
    let longest = made_with(db, "longest", with("longest"));
    counters.put(&key(0), &40i64.to_le_bytes()).unwrap();
    for nth in 0..4 {
        counters.merge(&key(nth), &2i64.to_le_bytes()).unwrap();
        longest.merge(&key(nth % 2), &noise(nth, 5 * nth as usize)).unwrap();
    }
    db.flush().unwrap();
    counters.merge(&key(0), &1i64.to_le_bytes()).unwrap();
}

fn expiring(db: &Db) {
    let with = KeyspaceOptions { ttl: Some(1000), ..Default::default() };
    let sessions = made_with(db, "sessions", with);
    for nth in 0..10 {
        sessions.at(1 + 100 * nth).put(&key(nth), b"session").unwrap();
    }
    sessions.put_with_expiry(b"long", b"lives long", u64::MAX).unwrap();
    sessions.advance_expiry_mark(1150).unwrap();
}

fn filtered(db: &Db) {
    let with = KeyspaceOptions { filter: Some("no-temporary".into()), ..Default::default() };
    let files = made_with(db, "files", with);
    files.put(b"tmp/a", b"may go").unwrap();
    files.put(b"var/a", b"stays").unwrap();
}

fn values_apart(db: &Db) {
    let large = db.keyspace("large").unwrap();
    for nth in 0..3 {
        large.put(&key(nth), &noise(nth, 1100)).unwrap();
        large.put(&key(10 + nth), &vec![nth as u8; 3000]).unwrap();
    }
    db.flush().unwrap();
    large.put(&key(1), b"small now").unwrap();
}

fn collected(db: &Db) {
    let gone = db.keyspace("gone").unwrap();
    gone.put(&key(0), &noise(7, 1500)).unwrap();
    db.flush().unwrap();
    gone.delete(&key(0)).unwrap();
    db.settle().unwrap();
    gone.put(&key(1), b"left").unwrap();
}

fn streamed(db: &Db) {
    let streams = db.keyspace("streams").unwrap();
    let value = noise(9, 1500);
    streams.put_stream(b"film", value.len() as u64, &*value).unwrap();
}

fn ingested(db: &Db) {
    let bulk = db.keyspace("bulk").unwrap();
    let mut ingest = bulk.ingest().unwrap();
    for nth in 0..50 {
        ingest.add(&key(nth), &noise(nth, 20)).unwrap();
    }
    ingest.finish().unwrap();
}

fn compressed(db: &Db) {
    let keyspace = db.keyspace("compressed").unwrap();
    for nth in 0..40 {
        let text = format!("the same words again and again, and {nth} among them");
        keyspace.put(&key(nth), text.as_bytes()).unwrap();
        keyspace.put(&key(100 + nth), &noise(nth, 60)).unwrap();
    }
}

fn together(db: &Db) {
    let (left, right) = (db.keyspace("left").unwrap(), db.keyspace("right").unwrap());
    let mut batch = Batch::new();
    batch.put(&left, b"a", b"1").unwrap();
    batch.put(&right, b"a", b"2").unwrap();
    batch.delete(&left, b"b").unwrap();
    db.write(batch).unwrap();
    db.transact(|transaction| {
        let found = transaction.get(&left, b"a")?;
        transaction.put(&right, b"copy", &found.unwrap())
    })
    .unwrap();
}

fn dropped(db: &Db) {
    let keyspace = db.keyspace("dropped").unwrap();
    keyspace.put(b"a", b"gone with its keyspace").unwrap();
    db.flush().unwrap();
    db.drop_keyspace(&keyspace).unwrap();
}

fn replaced(db: &Db) {
    let keyspace = db.keyspace("replaced").unwrap();
    for nth in 0..40 {
        keyspace.put(&key(nth), b"before").unwrap();
    }
    let mut rows = keyspace.replace_range(&key(5), &key(20)).unwrap();
    for nth in 7..12 {
        rows.add(&key(nth), b"instead").unwrap();
    }
    rows.finish().unwrap();
    keyspace.replace_range(&key(30), &key(35)).unwrap().finish().unwrap();
}

fn prefixed(db: &Db) {
    for (name, rule) in
        [("by length", KeyPrefix::Length(4)), ("by delimiter", KeyPrefix::Delimiter(b'/', 1))]
    {
        let with = KeyspaceOptions { prefix: Some(rule), ..Default::default() };
        let keyspace = made_with(db, name, with);
        for nth in 0..30 {
            keyspace.put(format!("{}/{nth}", nth % 7).as_bytes(), &noise(nth, 9)).unwrap();
        }
    }
}

fn windows(db: &Db) {
    let with = KeyspaceOptions {
        style: CompactionStyle::TimeWindow,
        ttl: Some(100),
        ..Default::default()
    };
    let rows = made_with(db, "rows", with);
    for time in 0..60_u64 {
        rows.at(time + 1).put(&time.to_be_bytes(), &noise(time, 30)).unwrap();
        if time % 20 == 19 {
            db.flush().unwrap();
        }
    }
}

fn appended(db: &Db) {
    let owner = db.keyspace("owner").unwrap();
    let first = owner.append(b"the first record").unwrap();
    owner.append(&noise(3, 200)).unwrap();
    let mut batch = Batch::new();
    batch.put(&owner, b"sealed", b"what the first record says").unwrap();
    batch.applied_to(&owner, first).unwrap();
    db.write(batch).unwrap();
}

fn unlogged(db: &Db) {
    let with = KeyspaceOptions { unlogged: true, ..Default::default() };
    let replica = made_with(db, "replica", with);
    for nth in 0..3 {
        let mut batch = Batch::new();
        batch.put(&replica, &key(nth), b"applied").unwrap();
        batch.applied(&replica, b"range 1", format!("entry {nth}").as_bytes()).unwrap();
        db.write(batch).unwrap();
    }
}

/// Merges until a table is cut: part of it stands in a merge's output already.
fn leave_off_a_merge(environment: &Environment, db: &Db) {
    let keyspace = db.keyspace("merging").unwrap();
    for round in 0..3 {
        for nth in 0..60 {
            keyspace.put(&key(3 * nth + round), &noise(nth, 60)).unwrap();
        }
        db.flush().unwrap();
    }
    while !told(environment, STORE).contains("cut table") {
        assert!(environment.step(), "there is no merge to be left off");
    }
}

/// Operations of every kind that only the log has.
fn not_flushed(db: &Db, round: u64) {
    let keyspace = |name: &str| db.find_keyspace(name).unwrap();
    let late = 200 + round;
    keyspace("plain").put(&key(late), b"in the log alone").unwrap();
    keyspace("plain").delete(&key(1)).unwrap();
    keyspace("ranges").delete_range(&key(31), &key(33 + round)).unwrap();
    keyspace("counters").merge(&key(0), &100i64.to_le_bytes()).unwrap();
    keyspace("sessions").at(2000).put(&key(late), b"late").unwrap();
    keyspace("large").put(&key(late), &noise(late, 1300)).unwrap();
    let value = noise(late, 1200);
    keyspace("streams").put_stream(&key(late), value.len() as u64, &*value).unwrap();
    db.sync().unwrap();
    keyspace("plain").put(&key(late + 50), b"after the last sync").unwrap();
}

/// The disk as a crash leaves it in the midst of a write: of the last frame only the first bytes.
fn crashed(vfs: &MemoryVfs, db: &Db) -> Arc<MemoryVfs> {
    let before = vfs.image();
    db.find_keyspace("plain").unwrap().put(b"torn", &noise(1, 100)).unwrap();
    let after = vfs.image();
    let (mut old, mut new) = (Files::new(), Files::new());
    save(&before, STORE, "", &mut old);
    save(&after, STORE, "", &mut new);
    let (name, bytes) = new.iter().find(|(name, bytes)| old.get(*name) != Some(bytes)).unwrap();
    let written = |at: &usize| old[name].get(*at) != Some(&bytes[*at]);
    let first = (0..bytes.len()).find(written).unwrap();
    let file = after.open(&Path::new(STORE).join(&name[1..]), Open::Write).unwrap();
    file.write_at(&vec![0; 400], first as u64 + 60).unwrap();
    Arc::new(after)
}

/// Everything that `inspect` tells of the files of a directory, a line each.
pub(super) fn told(environment: &Environment, dir: &str) -> String {
    let mut told = String::new();
    let depth = Depth { blocks: true, entries: true };
    for entry in environment.vfs().list(Path::new(dir)).unwrap() {
        let name = entry.name.to_string_lossy().into_owned();
        if name == "LOCK" || name.starts_with("spare-") || name.starts_with("draft-") {
            continue;
        }
        inspect(environment, Path::new(dir).join(&name), depth, &mut |fact| {
            writeln!(told, "{name} {}: {:?}", fact.what, fact.details).unwrap();
        })
        .unwrap();
    }
    told
}
