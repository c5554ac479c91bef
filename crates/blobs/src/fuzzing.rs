//! A door to the parsers for whoever feeds them garbage.
//!
//! 1. Every input is parsed or refused.
//! 2. What was mended once is not found torn again.

use std::{path::Path, sync::Arc};

use olivine_vfs::{ManualClock, MemoryVfs, Open, Random, Vfs, make_dirs};

use crate::{
    error::{Error, Result},
    talk::fuzzing as talk,
    volume::{
        Found, Kind, Layout, NewRecord, Opened, Place, Volume, VolumeOptions, fuzzing as volume,
        mkv_key, mkv_path,
    },
};

/// What is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one extent of a volume.
    Extent,
    /// The file that says what a volume is.
    Volume,
    /// A place, as the index keeps it, and the name of a file behind it.
    Place,
    /// A message between a master and a volume.
    Talk,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 4] = [Target::Extent, Target::Volume, Target::Place, Target::Talk];
}

const DIR: &str = "/volume";
const EXTENT: &str = "/volume/extents/000000/0000000001.ext";
const FILE: &str = "/volume/VOLUME";
const DRAWN: [u8; 32] = [7; 32];

/// Parses `bytes`: how many things they hold, or what is wrong with them.
pub fn parse(target: Target, bytes: &[u8]) -> Result<u64, String> {
    match target {
        Target::Extent => parse_extent(bytes),
        Target::Volume => {
            let disk = MemoryVfs::new();
            write(&disk, FILE, bytes)?;
            let opened = open(&disk, Layout::Packed);
            opened.map(|_| 1).map_err(|error| error.to_string())
        }
        Target::Place => parse_place(bytes),
        Target::Talk => talk::parse(bytes),
    }
}

/// Where records stand in `bytes`.
pub fn seams(target: Target, bytes: &[u8]) -> Vec<(usize, usize)> {
    if target != Target::Extent {
        return Vec::new();
    }
    volume::records(bytes)
}

/// Makes the checksums right again of what was `bytes` with those seams, and was changed since.
pub fn mend(target: Target, bytes: &mut [u8], seams: &[(usize, usize)]) {
    match target {
        Target::Extent => volume::mend_extent(bytes, &DRAWN, seams),
        Target::Volume => volume::mend_hash(bytes),
        Target::Place | Target::Talk => {}
    }
}

/// Bytes that `parse` takes, drawn from `seed`.
pub fn sample(target: Target, seed: u64) -> Result<Vec<u8>, String> {
    let mut random = Random::new(seed);
    let disk = MemoryVfs::new();
    match target {
        Target::Place => {
            let place = Place {
                extent: random.below(1 << 20) as u32,
                offset: random.below(1 << 30),
                bytes: random.below(1 << 40),
            };
            let mut bytes = Vec::new();
            place.encode(&mut bytes);
            let length = random.below(400) as usize;
            bytes.extend(mkv_path(&random.bytes(length)).bytes().skip(6));
            Ok(bytes)
        }
        Target::Talk => Ok(talk::sample(&mut random)),
        Target::Volume => {
            open(&disk, Layout::Packed).map_err(|error| error.to_string())?;
            read(&disk, FILE)
        }
        Target::Extent => {
            fill(&disk, &mut random).map_err(|error| error.to_string())?;
            read(&disk, EXTENT)
        }
    }
}

/// A volume with a few records of each kind.
fn fill(disk: &MemoryVfs, random: &mut Random) -> Result<()> {
    let (volume, _) = open(disk, Layout::Packed)?;
    for generation in 0..random.between(1, 12) {
        let kind = [Kind::Put, Kind::Put, Kind::Tombstone, Kind::State][random.index(4)];
        let expiry = random.chance(1, 3).then(|| random.below(1 << 42));
        let length =
            if kind == Kind::Put && random.chance(1, 20) { 70_000 } else { random.below(200) };
        let (key, value) = (format!("key {generation}"), random.bytes(length as usize));
        let (key, value, wants_md5) = (key.as_bytes(), &*value, random.chance(1, 3));
        volume.append_and_wait(&NewRecord { kind, key, generation, expiry, value, wants_md5 })?;
    }
    Ok(())
}

fn open(disk: &MemoryVfs, layout: Layout) -> Result<(Volume, Opened)> {
    let options = VolumeOptions { layout, ahead_bytes: 0, ..VolumeOptions::default() };
    let clock = Arc::new(ManualClock::new());
    Volume::open(Arc::new(disk.clone()), clock, Path::new(DIR), DRAWN, &options)
}

fn parse_extent(bytes: &[u8]) -> Result<u64, String> {
    let told = |error: Error| error.to_string();
    let disk = MemoryVfs::new();
    drop(open(&disk, Layout::Packed).map_err(told)?);
    write(&disk, EXTENT, bytes)?;
    let (volume, opened) = open(&disk, Layout::Packed).map_err(told)?;
    let (records, damaged) = walk(&volume).map_err(told)?;
    drop(volume);
    let (volume, again) = open(&disk, Layout::Packed).map_err(told)?;
    assert_eq!(again.cut, [], "what was cut off is torn again");
    let (records_again, damaged_again) = walk(&volume).map_err(told)?;
    assert_eq!((records_again, damaged_again.len()), (records, damaged.len()));
    match damaged.first() {
        None if opened.cut.is_empty() && opened.damaged.is_empty() => Ok(records),
        None => Err(format!("{} stretches were cut off, {records} records", opened.cut.len())),
        Some(what) => Err(format!("{} damages, first {what}, {records} records", damaged.len())),
    }
}

/// Walks, scrubs and reads all there is: how many records, and what is damaged.
fn walk(volume: &Volume) -> Result<(u64, Vec<&'static str>)> {
    let (mut records, mut damaged) = (0, Vec::new());
    for info in volume.extents(0, 10)? {
        for found in volume.scan(info.number, 0)? {
            match found? {
                Found::Record(record) if record.kind == Kind::Put => {
                    records += 1;
                    let reading = volume.read(&record.place, &record.key, record.generation)?;
                    let first = reading.read_at(0, 100);
                    if reading.len() <= 64 << 10 {
                        assert_eq!(first?.len() as u64, reading.len().min(100));
                    }
                }
                Found::Record(_) => records += 1,
                Found::Damage(damage) => damaged.push(damage.what),
            }
        }
        let mut from = Some(0);
        while let Some(at) = from {
            from = volume.scrub_step(info.number, at, 1 << 20)?.next;
        }
    }
    Ok((records, damaged))
}

fn parse_place(bytes: &[u8]) -> Result<u64, String> {
    let (place, rest) = Place::decode(bytes).ok_or("no place")?;
    let mut again = Vec::new();
    place.encode(&mut again);
    assert_eq!(again, bytes[..bytes.len() - rest.len()], "a place has one encoding");
    let name = str::from_utf8(rest).map_err(|error| error.to_string())?;
    let parts: Vec<&str> = name.split('/').collect();
    let key = mkv_key(&parts).ok_or("no name of a key")?;
    assert_eq!(mkv_key(&mkv_path(&key).split('/').skip(2).collect::<Vec<_>>()), Some(key));
    Ok(parts.len() as u64)
}

fn write(disk: &MemoryVfs, path: &str, bytes: &[u8]) -> Result<(), String> {
    let path = Path::new(path);
    let dir = path.parent().unwrap_or(path);
    let written = make_dirs(disk, dir).and_then(|()| disk.open(path, Open::Create));
    written.and_then(|file| file.write_at(bytes, 0)).map_err(|error| error.to_string())
}

fn read(disk: &MemoryVfs, path: &str) -> Result<Vec<u8>, String> {
    let file = disk.open(Path::new(path), Open::Read).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; file.len().map_err(|error| error.to_string())? as usize];
    file.read_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_and_mended_ones_as_well() {
        for target in Target::ALL {
            for seed in 0..20 {
                let bytes = sample(target, seed).unwrap();
                let things = parse(target, &bytes)
                    .unwrap_or_else(|what| panic!("{target:?} {seed}: {what}"));
                let seams = seams(target, &bytes);
                let mut mended = bytes.clone();
                for start in seams.iter().map(|(start, _)| *start) {
                    mended[start] ^= 0xff;
                }
                mend(target, &mut mended, &seams);
                assert_eq!(parse(target, &mended), Ok(things), "{target:?} {seed}");
            }
        }
    }

    /// A first share of what the fuzz tier does, for whoever changes this crate.
    #[test]
    fn whatever_is_changed_is_parsed_or_refused() {
        let numbers = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, u64::MAX];
        for target in Target::ALL {
            for seed in 0..2_000 {
                let mut random = Random::new(seed);
                let mut bytes = sample(target, seed % 40).unwrap();
                let seams = seams(target, &bytes);
                for _ in 0..random.between(1, 4) {
                    let at = random.index(bytes.len());
                    match random.below(4) {
                        0 => bytes[at] ^= 1 << random.below(8),
                        1 => bytes[at] = random.below(256) as u8,
                        2 => bytes.truncate(at.max(1)),
                        _ => {
                            let number = random.pick(&numbers).unwrap().to_le_bytes();
                            let count =
                                random.between(1, 8).min((bytes.len() - at) as u64) as usize;
                            bytes[at..at + count].copy_from_slice(&number[..count]);
                        }
                    }
                }
                if random.chance(3, 4) {
                    mend(target, &mut bytes, &seams);
                }
                // It panics, or not.
                std::hint::black_box(parse(target, &bytes).is_ok());
            }
        }
    }
}
