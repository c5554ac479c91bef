//! What `docs/upgrading.md` says, done: backups of earlier releases are served, what is newer is refused and left,
//! and the way back is a backup.
//!
//! `testdata/golden/node-1` has two backups of a node, as they were made when `olivine backup --server` was new. It is
//! never made anew: what a later release writes otherwise gets a directory of its own beside it.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    Dir, olivine,
    remote::{Node, http, said},
    text,
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/node-1");

/// Every file below a directory, and what is in it; but for locks, which name a process.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if !path.ends_with("LOCK") {
            files.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn backups_of_earlier_releases_are_served_and_written_to() {
    let before = files(Path::new(GOLDEN));
    assert!(said(&["backups", "verify", GOLDEN], 0).contains("all sound"));
    for (number, apple) in [("1", "red"), ("2", "green")] {
        let dir = Dir::new(&format!("golden-{number}"));
        said(&["restore", GOLDEN, "--data-dir", dir.path(), "--number", number], 0);
        let node = Node::start(dir.path(), &[]);
        let address = node.address("http");
        let long = "0123456789abcdef".repeat(512);
        let expected = format!(
            "{{\"key\":\"apple\",\"value\":\"{apple}\"}}\n{{\"key\":\"caf\u{e9}\",\"value_base64\":\"/wA=\"}}\n\
             {{\"key\":\"expires\",\"value\":\"far away\"}}\n{{\"key\":\"list\",\"value\":[1,{{\"a\":null}}]}}\n\
             {{\"key\":\"long\",\"value\":\"{long}\"}}\n{{\"key\":\"number\",\"value\":12.50}}\n"
        );
        assert_eq!(http(&address, "GET", "/kv"), (200, expected));
        assert_eq!(node.metric("olivine_keys"), 6);
        assert_eq!(http(&address, "PUT", "/kv/new").0, 204);
        assert_eq!(http(&address, "DELETE", "/kv/apple").0, 204);
        node.end();
        let checked = olivine(&["check", &format!("{}/store", dir.path())], "");
        assert!(checked.status.success(), "{}", text(&checked.stdout));
    }
    assert!(files(Path::new(GOLDEN)) == before, "restoring changes nothing");
}

/// A store that a later release has written: the node says so and leaves it, and the backup that was made before
/// is the way back.
#[test]
fn a_newer_format_is_refused_and_a_backup_is_the_way_back() {
    let (dir, back) = (Dir::new("newer"), Dir::new("newer-back"));
    said(&["restore", GOLDEN, "--data-dir", dir.path()], 0);
    let current = format!("{}/store/CURRENT", dir.path());
    fs::write(&current, "olivine store, format 2\nwhatever comes then\n").unwrap();
    let before = files(&dir.0);
    for half in ["serve", "storage"] {
        let told = said(&[half, "--data-dir", dir.path()], 1);
        assert!(told.contains("has format 2") && told.contains("CURRENT"), "{told}");
    }
    assert!(files(&dir.0) == before, "it is left as it is");

    said(&["restore", GOLDEN, "--data-dir", back.path()], 0);
    let node = Node::start(back.path(), &[]);
    assert_eq!(http(&node.address("http"), "GET", "/kv/apple"), (200, "green".to_owned()));

    // Of backups likewise: the set says which format it is.
    let newer = Dir::new("newer-backups");
    fs::create_dir_all(&newer.0).unwrap();
    for (path, bytes) in files(Path::new(GOLDEN)) {
        let name = Path::new(&path).file_name().unwrap();
        fs::write(newer.0.join(name), bytes).unwrap();
    }
    let set = newer.0.join("backup-000000000002");
    let text = fs::read_to_string(&set).unwrap();
    fs::write(&set, text.replacen("format 1", "format 2", 1)).unwrap();
    let there = files(&newer.0);
    let told = said(&["restore", newer.path(), "nowhere"], 1);
    assert!(told.contains("has format 2"), "{told}");
    said(&["backup", "--server", &node.url(), newer.path()], 0);
    let now = files(&newer.0);
    assert!(there.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "all of it is kept");
}
