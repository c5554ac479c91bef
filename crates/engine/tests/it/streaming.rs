//! Long values and many value files on a real disk, in processes that are held to account for memory
//! and descriptors.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Command,
};

use olivine_engine::{
    Db, Durability, Environment, EnvironmentOptions, Options, VALUE_STREAM_BYTES_MAX,
};
use olivine_vfs::{Open, Random, RealVfs, Vfs};

/// Runs the test `name` of this program again, in a process of its own after `before`. True in that
/// process.
fn is_alone(name: &str, before: &str) -> bool {
    if std::env::var_os("OLIVINE_ALONE").is_some() {
        return true;
    }
    let script = format!("{before}; exec \"$0\" --include-ignored --exact streaming::{name}");
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("OLIVINE_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("olivine-{name}-{}", std::process::id()))
}

fn remove(dir: &Path) {
    Command::new("rm").arg("-r").arg(dir).status().unwrap();
}

/// The most memory that this process has had resident, in KiB.
fn resident_kib_max() -> u64 {
    let file = RealVfs.open(Path::new("/proc/self/status"), Open::Read).unwrap();
    let mut bytes = vec![0; 16 << 10];
    let read = file.read_at(&mut bytes, 0).unwrap();
    let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Noise without end, of which any part can be made again.
struct Noise {
    at: u64,
}

impl Noise {
    fn word(at: u64) -> [u8; 8] {
        Random::new(at / 8).next_u64().to_le_bytes()
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.chunks_mut(8) {
            let word = Noise::word(self.at);
            byte.copy_from_slice(&word[..byte.len()]);
            self.at += byte.len() as u64;
        }
        Ok(buffer.len())
    }
}

/// Puts, reads, seeks in and removes a value of `bytes`, which is a multiple of 8, within a few MiB.
fn stream(name: &str, bytes: u64) {
    let dir = scratch(name);
    let environment = Environment::new(EnvironmentOptions { memory_bytes: 8 << 20 }).unwrap();
    let options = Options { durability: Durability::Os, ..Options::default() };
    let db = Db::open(&environment, &dir, options).unwrap();
    let keyspace = db.keyspace("films").unwrap();
    keyspace.put(b"short", b"value").unwrap();
    db.settle().unwrap();
    let before = resident_kib_max();
    keyspace.put_stream(b"film", bytes, Noise { at: 0 }).unwrap();
    db.settle().unwrap();
    let mut reader = keyspace.get_stream(b"film").unwrap().unwrap();
    assert_eq!(reader.len(), bytes);
    let (mut expected, mut found) = ([0; 8 << 10], [0; 8 << 10]);
    let mut noise = Noise { at: 0 };
    let mut left = bytes;
    while 0 < left {
        let part = left.min(found.len() as u64) as usize;
        reader.read_exact(&mut found[..part]).unwrap();
        noise.read_exact(&mut expected[..part]).unwrap();
        assert!(found[..part] == expected[..part], "{left} bytes before the end");
        left -= part as u64;
    }
    for at in [bytes - 8, bytes / 16 * 8, 0] {
        reader.seek(SeekFrom::Start(at)).unwrap();
        reader.read_exact(&mut found[..8]).unwrap();
        assert_eq!(found[..8], Noise::word(at));
    }
    drop(reader);
    let grown = resident_kib_max() - before;
    assert!(grown < 12 << 10, "memory grew by {grown} KiB");
    keyspace.delete(b"film").unwrap();
    db.settle().unwrap();
    assert_eq!(db.stats().value_bytes, 0);
    let left = RealVfs.list(&dir).unwrap();
    assert!(left.iter().all(|entry| !entry.name.to_string_lossy().starts_with("values-")));
    drop(keyspace);
    db.close().unwrap();
    remove(&dir);
}

#[test]
fn a_stream_takes_a_few_mib_of_memory() {
    if is_alone("a_stream_takes_a_few_mib_of_memory", "true") {
        stream("stream", 48 << 20);
    }
}

#[test]
#[ignore = "writes and reads a gigabyte: `cargo xtask rel memory` runs it"]
fn a_gigabyte_takes_a_few_mib_of_memory() {
    if is_alone("a_gigabyte_takes_a_few_mib_of_memory", "true") {
        stream("gigabyte", VALUE_STREAM_BYTES_MAX);
    }
}

#[test]
fn few_descriptors_are_enough_for_many_value_files() {
    if !is_alone("few_descriptors_are_enough_for_many_value_files", "ulimit -n 48") {
        return;
    }
    let dir = scratch("few-descriptors");
    let environment = Environment::new(EnvironmentOptions { memory_bytes: 32 << 20 }).unwrap();
    let options =
        Options { durability: Durability::Os, value_apart_bytes_min: 64, ..Options::default() };
    let db = Db::open(&environment, &dir, options).unwrap();
    let keyspace = db.keyspace("a").unwrap();
    for number in 0..100_u32 {
        let value = vec![number as u8; 500];
        keyspace.put_stream(&number.to_be_bytes(), 500, &*value).unwrap();
    }
    db.settle().unwrap();
    assert_eq!(db.stats().value_files, 100);
    for round in 0..3 {
        for number in 0..100_u32 {
            let found = keyspace.get(&number.to_be_bytes()).unwrap().unwrap();
            assert!(found.iter().all(|byte| *byte == number as u8), "{round}, {number}");
        }
    }
    drop(keyspace);
    db.close().unwrap();
    remove(&dir);
}
