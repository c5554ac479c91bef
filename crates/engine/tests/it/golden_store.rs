//! The golden stores: what format 1 looked like when it was frozen must be read for ever.
//!
//! `testdata/golden/format-1/` has a *set* for each time that what is written changed after a release: a
//! store closed cleanly, one that crashed, backups, and `contents.txt`, which lists what they hold. What
//! is promised about formats: `docs/format/README.md`.
//!
//! 1. Every set is read by today's code, whole, and goes on being written to.
//! 2. What today's code writes is byte for byte the newest set: no format changes unseen.
//! 3. `REWRITE=1 cargo nextest run -p olivine-engine golden_store` makes the newest set anew.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_engine::{
    AppliedPosition, Backups, Db, Environment, Error, Expected, Keyspace, Result, check,
};
use olivine_vfs::{MemoryVfs, Open, RealVfs, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::scene::{STORE, stepped};

mod making;

use making::{BACKUPS, Files, make, options, save, told};

/// The sets there are. The last one is what is written today. One that was in a release is never made
/// anew: when what is written changes after that, add a name.
const SETS: &[&str] = &["set-1"];

/// The directories of a set.
const STORES: [&str; 2] = ["clean", "crashed"];

/// What the files of a set must hold somewhere, as `inspect` tells it: a set that lacks one of them would
/// freeze less than the format.
const KINDS: &[&str] = &[
    "create keyspace:",
    "drop keyspace:",
    "add table:",
    "remove table:",
    "cut table:",
    "flushed:",
    "log start:",
    "log durable:",
    "add values:",
    "remove values:",
    "next table:",
    "next keyspace:",
    "next seqno:",
    "set options:",
    "expiry mark:",
    "applied:",
    "position:",
    "operation:",
    "entry:",
    "record:",
    "deleted range:",
    r#"Text("put")"#,
    r#"Text("delete")"#,
    r#"Text("merge")"#,
    r#"Text("rangedelete")"#,
    r#"Text("putexpiring")"#,
    r#"Text("pointer")"#,
    r#"Text("append")"#,
    r#"Text("applied")"#,
    r#"("compressed", Number(0))"#,
    r#"("compressed", Number(1))"#,
];

fn folder(set: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/format-1").join(set)
}

fn read(path: &Path) -> Vec<u8> {
    let file = RealVfs.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// The committed files of a set.
fn committed(set: &str) -> Files {
    let mut files = Files::new();
    for dir in STORES.into_iter().chain(["backups"]) {
        let path = folder(set).join(dir);
        save(&RealVfs, path.to_str().unwrap(), dir, &mut files);
    }
    files
}

/// The files whose place begins with `name`, on a disk in memory.
fn disk_with(files: &Files, name: &str, dir: &str) -> Arc<MemoryVfs> {
    let vfs = Arc::new(MemoryVfs::new());
    vfs.create_dir(Path::new(dir)).unwrap();
    for (place, bytes) in files {
        if let Some(file) = place.strip_prefix(&format!("{name}/")) {
            let file = vfs.open(&Path::new(dir).join(file), Open::Create).unwrap();
            file.write_at(bytes, 0).unwrap();
        }
    }
    vfs
}

/// A value as the listing shows it: short text as it is.
fn shown(value: &[u8]) -> String {
    if value.len() <= 40 && value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return value.escape_ascii().to_string();
    }
    format!("{} bytes, hash {:016x}", value.len(), xxh3_64(value))
}

/// What a keyspace holds, as a walk tells it; point reads and the walk backwards must tell the same.
fn list_keyspace(keyspace: &Keyspace, listing: &mut String) -> Result<()> {
    let entries = keyspace.iter()?.collect::<Result<Vec<_>>>()?;
    let backwards = keyspace.iter()?.rev().collect::<Result<Vec<_>>>()?;
    assert!(backwards.iter().rev().eq(&entries), "{}: read backwards", keyspace.name());
    for (key, value) in &entries {
        assert_eq!(keyspace.get(key)?.as_deref(), Some(&value[..]), "{}", key.escape_ascii());
        assert!(!keyspace.contains(&[key, &b"not there"[..]].concat())?, "{}", key.escape_ascii());
        writeln!(listing, "  {} = {}", key.escape_ascii(), shown(value)).unwrap();
    }
    Ok(())
}

/// Everything in a store, as text.
fn listed(db: &Db, name: &str) -> Result<String> {
    let mut listing = format!("{name}, up to write {}\n", db.visible());
    for keyspace in db.keyspaces() {
        let keyspace = db.find_keyspace(&keyspace).unwrap();
        let options = keyspace.options();
        write!(listing, "keyspace {}", keyspace.name()).unwrap();
        let ttl = options.ttl.map(|ttl| ttl.to_string());
        let set = [("merge", &options.merge), ("filter", &options.filter), ("ttl", &ttl)];
        for (what, value) in set {
            if let Some(value) = value {
                write!(listing, ", {what} {value}").unwrap();
            }
        }
        writeln!(listing, ", expiry mark {}", keyspace.expiry_mark()).unwrap();
        list_keyspace(&keyspace, &mut listing)?;
        for AppliedPosition { range, position, .. } in keyspace.applied_positions()? {
            let (range, position) = (range.escape_ascii(), position.escape_ascii());
            writeln!(listing, "  {range} applied up to {position}").unwrap();
        }
        if options.ttl.is_some() {
            writeln!(listing, "  at 1500").unwrap();
            list_keyspace(&keyspace.at(1500), &mut listing)?;
        }
    }
    Ok(listing)
}

/// What a set holds: the stores, and what each backup gives back.
fn contents(files: &Files) -> Result<String> {
    let mut text = String::new();
    for store in STORES {
        let environment = stepped(&disk_with(files, store, STORE));
        let mut records = String::new();
        let db = Db::open_with(&environment, STORE, options(), |_, owner, seqno, record| {
            writeln!(records, "record {seqno} of {}: {}", owner.name(), shown(record)).unwrap();
            Ok(())
        })?;
        assert_eq!(db.recovery().cut.is_some(), store == "crashed", "{:?}", db.recovery());
        text.push_str(&listed(&db, &format!("store {store}"))?);
        text.push_str(&records);
    }
    let environment = stepped(&disk_with(files, "backups", BACKUPS));
    let backups = Backups::new(&environment, BACKUPS);
    assert_eq!(backups.verify(None, &mut |_| ())?.damages, []);
    for (number, info) in backups.list()? {
        assert_eq!(info?.number, number);
        let restored = format!("/restored-{number}");
        backups.restore(Some(number), &restored, &mut |_| ())?;
        let db = Db::open(&environment, &restored, options())?;
        text.push_str(&listed(&db, &format!("backup {number}"))?);
    }
    Ok(text)
}

/// Writes `files` and what they hold in place of the newest set.
fn rewrite(files: &Files) {
    let folder = folder(SETS[SETS.len() - 1]);
    let run = |command: &mut std::process::Command| assert!(command.status().unwrap().success());
    run(std::process::Command::new("rm").arg("-rf").arg(&folder));
    for dir in STORES.into_iter().chain(["backups"]) {
        run(std::process::Command::new("mkdir").arg("-p").arg(folder.join(dir)));
    }
    let contents = contents(files).unwrap().into_bytes();
    let named = files.iter().map(|(place, bytes)| (place.as_str(), bytes));
    for (place, bytes) in named.chain([("contents.txt", &contents)]) {
        let file = RealVfs.open(&folder.join(place), Open::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
    }
}

/// Whether the newest set is being made anew, and so is not there to be read.
fn is_rewriting() -> bool {
    std::env::var_os("REWRITE").is_some()
}

/// Where two sets differ first.
fn difference(written: &Files, frozen: &Files) -> Option<String> {
    let places = written.keys().chain(frozen.keys());
    let place = places.into_iter().find(|place| written.get(*place) != frozen.get(*place))?;
    let (Some(new), Some(old)) = (written.get(place), frozen.get(place)) else {
        let there = if written.contains_key(place) { "is new" } else { "is no longer written" };
        return Some(format!("{place} {there}"));
    };
    let at =
        new.iter().zip(old).position(|(new, old)| new != old).unwrap_or(new.len().min(old.len()));
    Some(format!("{place} differs from byte {at} on ({} bytes, frozen {})", new.len(), old.len()))
}

#[test]
fn what_is_written_today_is_the_newest_set_byte_for_byte() {
    let written = make();
    assert_eq!(difference(&make(), &written), None, "made twice, it is not the same");
    if is_rewriting() {
        return rewrite(&written);
    }
    let newest = SETS[SETS.len() - 1];
    if let Some(what) = difference(&written, &committed(newest)) {
        panic!(
            "{newest}: {what}. If bytes mean something else now, that is another format: see \
             docs/format/README.md. If only the choice of bytes changed (where blocks end, how well they are \
             compressed): before a release REWRITE=1 makes the set anew, after it add one to SETS"
        );
    }
}

#[test]
fn every_set_is_read_whole_and_goes_on() {
    if is_rewriting() {
        return;
    }
    for set in SETS {
        let files = committed(set);
        let expected = String::from_utf8(read(&folder(set).join("contents.txt"))).unwrap();
        let found = contents(&files).unwrap();
        if let Some((expected, found)) = expected.lines().zip(found.lines()).find(|(a, b)| a != b) {
            panic!("{set}: {found:?}, and it was {expected:?} when the set was made");
        }
        assert_eq!(found.len(), expected.len(), "{set}");
        for store in STORES {
            let environment = stepped(&disk_with(&files, store, STORE));
            let report = check(&environment, STORE, &mut |_, _| ()).unwrap();
            assert!(report.is_sound(), "{set}, {store}: {report:?}");
            goes_on(&environment);
        }
    }
}

/// A store of a set is written to, merged whole, closed and opened again, and holds what it held.
fn goes_on(environment: &Environment) {
    let open = || Db::open(environment, STORE, options()).unwrap();
    let db = open();
    let text = |db: &Db| {
        let text = listed(db, "").unwrap();
        // A filter takes what it does not want as soon as something is merged.
        let wanted = text.lines().skip(1).filter(|line| !line.starts_with("  tmp/"));
        wanted.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = text(&db);
    let plain = db.find_keyspace("plain").unwrap();
    plain.put_if(b"written today", Expected::Absent, b"yes").unwrap();
    plain.delete(b"written today").unwrap();
    db.settle().unwrap();
    assert!(text(&db) == before);
    let report = db.check(&mut |_, _| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    drop(plain);
    db.close().unwrap();
    assert!(text(&open()) == before);
}

#[test]
fn the_newest_set_holds_everything_that_files_can_hold() {
    if is_rewriting() {
        return;
    }
    let files = committed(SETS[SETS.len() - 1]);
    let all: String = STORES
        .iter()
        .map(|store| told(&stepped(&disk_with(&files, store, STORE)), STORE))
        .collect();
    for kind in KINDS {
        assert!(all.contains(kind), "nothing in it is {kind}");
    }
    let features = all.lines().filter_map(|line| {
        let (_, rest) = line.split_once(r#"("features", Number("#)?;
        rest.split(')').next()?.parse::<u64>().ok()
    });
    assert_eq!(features.fold(0, |all, one| all | one), FEATURES, "features of tables");
}

/// The feature bits of tables that are in use.
const FEATURES: u64 = 1 | 2 | 8 | 32;

/// A kind of file: the store of the set it is in, how its name begins, and how it becomes one of format 2.
struct Newer {
    dir: &'static str,
    prefix: &'static str,
    change: fn(&mut [u8]),
    /// Whether opening the store, or asking for the backup, is refused already, and nothing is written.
    at_once: bool,
}

const NEWER: &[Newer] = &[
    Newer { dir: "clean", prefix: "CURRENT", change: newer_text, at_once: true },
    Newer { dir: "clean", prefix: "log-", change: newer_log, at_once: true },
    Newer { dir: "clean", prefix: "table-", change: newer_footer, at_once: false },
    Newer { dir: "clean", prefix: "values-", change: newer_footer, at_once: false },
    Newer { dir: "backups", prefix: "backup-", change: newer_text, at_once: true },
];

/// The first line says the format, the last one the hash of all before.
fn newer_text(bytes: &mut [u8]) {
    let text = String::from_utf8(bytes.to_vec()).unwrap().replacen("format 1\n", "format 2\n", 1);
    let (body, _) = text.split_once("checksum ").unwrap();
    let text = format!("{body}checksum {:016x}\n", xxh3_64(body.as_bytes()));
    bytes.copy_from_slice(text.as_bytes());
}

fn newer_log(bytes: &mut [u8]) {
    bytes[8] = 2;
    let hash = xxh3_64(&bytes[..80]);
    bytes[80..88].copy_from_slice(&hash.to_le_bytes());
}

/// The last twelve bytes are the format and the magic; the hash before them covers who knows what.
fn newer_footer(bytes: &mut [u8]) {
    let at = bytes.len() - 12;
    bytes[at] = 2;
    bytes[at - 1] ^= 1;
}

#[test]
fn a_newer_format_is_refused_by_its_number_and_left_as_it_is() {
    if is_rewriting() {
        return;
    }
    let files = committed(SETS[SETS.len() - 1]);
    for Newer { dir, prefix, change, at_once } in NEWER {
        let path = if *dir == "backups" { BACKUPS } else { STORE };
        let of_kind = |place: &&String| place.starts_with(&format!("{dir}/{prefix}"));
        let mut changed = files.clone();
        for place in files.keys().filter(of_kind) {
            change(changed.get_mut(place).unwrap());
        }
        let vfs = disk_with(&changed, dir, path);
        let environment = stepped(&vfs);
        let error = if *dir == "backups" {
            Backups::new(&environment, BACKUPS).restore(None, "/restored", &mut |_| ()).err()
        } else {
            let read = Db::open(&environment, STORE, options()).and_then(|db| listed(&db, ""));
            read.err()
        };
        let Some(Error::Format { path: named, found: 2, newest: 1 }) = &error else {
            panic!("{prefix} of format 2: {error:?}");
        };
        let name = named.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(prefix), "{prefix}: {error:?}");
        let mut left = Files::new();
        save(&*vfs, path, dir, &mut left);
        for (place, bytes) in changed.iter().filter(|(place, _)| place.starts_with(dir)) {
            let ours = *at_once || place.starts_with(&format!("{dir}/{prefix}"));
            assert!(!ours || left.get(place) == Some(bytes), "{prefix}: {place} was changed");
        }
        assert!(!at_once || changed.keys().filter(|place| place.starts_with(dir)).eq(left.keys()));
    }
}

/// `CURRENT` says which format a store has; a manifest that says another is damage, and is left.
#[test]
fn a_manifest_of_another_format_than_current_says_is_refused() {
    if is_rewriting() {
        return;
    }
    let mut files = committed(SETS[SETS.len() - 1]);
    let place = files.keys().find(|place| place.starts_with("clean/manifest-")).unwrap().clone();
    files.get_mut(&place).unwrap()[8] = 2;
    let vfs = disk_with(&files, "clean", STORE);
    let error = Db::open(&stepped(&vfs), STORE, options()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset: 8, .. }), "{error:?}");
    let mut left = Files::new();
    save(&*vfs, STORE, "clean", &mut left);
    assert!(left.iter().all(|(place, bytes)| files.get(place) == Some(bytes)));
}
