//! A directory of backups in one input: every file behind its name and the lengths of both.
//!
//! 1. What is listed is verified, and restored; what was restored is opened and read.
//! 2. Mending gives each set the lengths and hashes that its files have now, and its own checksum.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc};

use olivine_vfs::{ManualClock, MemoryVfs, Open, Random, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use super::{read, sample_key};
use crate::{
    copies::Backups,
    db::Db,
    environment::{Environment, EnvironmentOptions, Parts, Work},
    error::{Error, Result},
    options::Options,
};

/// More files than that are not looked at.
const FILES_MAX: usize = 64;

type Files = BTreeMap<String, Vec<u8>>;

fn pack(files: &Files) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, file) in files {
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&(file.len() as u32).to_le_bytes());
        bytes.extend_from_slice(file);
    }
    bytes
}

/// The files, as far as they can be told apart; the last one may be cut.
fn unpack(mut bytes: &[u8]) -> Files {
    let mut files = Files::new();
    while let Some((name_bytes, rest)) = bytes.split_first()
        && let Some((name, rest)) = rest.split_at_checked(usize::from(*name_bytes))
        && let Some((len, rest)) = rest.split_first_chunk::<4>()
        && files.len() < FILES_MAX
    {
        let len = (u32::from_le_bytes(*len) as usize).min(rest.len());
        let (file, rest) = rest.split_at(len);
        // Any name that a directory can hold.
        let name = String::from_utf8_lossy(name).replace(['/', '\0'], "-");
        if !matches!(&name[..], "" | "." | "..") {
            files.insert(name, file.to_vec());
        }
        bytes = rest;
    }
    files
}

fn dir() -> &'static Path {
    Path::new("/backups")
}

fn environment(vfs: &Arc<MemoryVfs>, seed: u64) -> Result<Environment> {
    let work = Work::Stepped { seed };
    let parts = Parts { vfs: Arc::clone(vfs) as _, clock: Arc::new(ManualClock::new()), work };
    Environment::with(parts, EnvironmentOptions { memory_bytes: 1 << 20 })
}

fn options() -> Options {
    Options {
        block_bytes: 128,
        segment_bytes: 16 << 10,
        value_apart_bytes_min: 40,
        ..Options::default()
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<u64> {
    let vfs = Arc::new(MemoryVfs::new());
    vfs.create_dir(dir()).map_err(Error::io("create directory", dir()))?;
    for (name, bytes) in unpack(bytes) {
        let path = dir().join(name);
        let file = vfs.open(&path, Open::Create).map_err(Error::io("create", &path))?;
        file.write_at(&bytes, 0).map_err(Error::io("write", path))?;
    }
    let environment = environment(&vfs, 0)?;
    let backups = Backups::new(&environment, dir());
    let listed = backups.list()?;
    let verified = backups.verify(None, &mut |_| {})?;
    let (mut entries, mut refusal) = (0, None);
    for (number, _) in listed {
        let target = format!("/restored-{number}");
        match backups.restore(Some(number), &target, &mut |_| {}) {
            Ok(_) => entries += open_and_read(&environment, &target)?,
            Err(error) => refusal = Some(error),
        }
    }
    assert!(refusal.is_some() || verified.damages.is_empty(), "damaged, and restored all the same");
    refusal.map_or(Ok(entries), Err)
}

/// How many entries a restored store shows.
fn open_and_read(environment: &Environment, path: &str) -> Result<u64> {
    let db = Db::open(environment, path, options())?;
    let mut entries = 0;
    for name in db.keyspaces() {
        let keyspace = db.keyspace(&name)?;
        for entry in keyspace.iter()? {
            std::hint::black_box(entry?);
            entries += 1;
        }
    }
    Ok(entries)
}

/// Gives the sets the lengths and hashes that their files have now.
pub(super) fn mend(bytes: &mut Vec<u8>) {
    let mut files = unpack(bytes);
    let sets: Vec<String> =
        files.keys().filter(|name| name.starts_with("backup-")).cloned().collect();
    for name in sets {
        let text = String::from_utf8_lossy(&files[&name]).into_owned();
        let mut mended = String::new();
        for line in text.lines().filter(|line| !line.starts_with("checksum ")) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.get(1).and_then(|name| files.get(*name)) {
                Some(file) if words[0] == "file" => {
                    let (bytes, hash) = (file.len(), xxh3_64(file));
                    let _infallible =
                        writeln!(mended, "file {} bytes {bytes} hash {hash:016x}", words[1]);
                }
                _ => {
                    let _infallible = writeln!(mended, "{line}");
                }
            }
        }
        let checksum = xxh3_64(mended.as_bytes());
        let _infallible = writeln!(mended, "checksum {checksum:016x}");
        files.insert(name, mended.into_bytes());
    }
    *bytes = pack(&files);
}

/// Two backups of a small store.
pub(super) fn sample(random: &mut Random) -> Result<Vec<u8>> {
    let vfs = Arc::new(MemoryVfs::new());
    let environment = environment(&vfs, random.next_u64())?;
    let db = Db::open(&environment, "/store", options())?;
    let backups = Backups::new(&environment, dir());
    for name in ["main", "b"] {
        let keyspace = db.keyspace(name)?;
        for number in 0..random.between(2, 8) {
            let value = vec![number as u8; random.below(60) as usize];
            keyspace.put(&sample_key(random), &value)?;
        }
        backups.take(&db, &mut |_| {})?;
    }
    let mut files = Files::new();
    for entry in vfs.list(dir()).map_err(Error::io("list", dir()))? {
        let name = entry.name.to_string_lossy().into_owned();
        if name != crate::recovery::LOCK {
            let bytes = read(vfs.as_ref(), &dir().join(&name))?;
            files.insert(name, bytes);
        }
    }
    db.close()?;
    Ok(pack(&files))
}
