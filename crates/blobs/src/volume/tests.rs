//! Volumes as callers use them, on a disk in memory.

use olivine_vfs::{ManualClock, MemoryVfs};

use super::*;

mod crash;
mod faults;
mod files;
mod group_commit;
mod history;
mod tiering;

const DIR: &str = "/volume";

fn options() -> VolumeOptions {
    VolumeOptions {
        extent_bytes_max: 256 << 10,
        packed_bytes_max: 100 << 10,
        ahead_bytes: 8 << 10,
        ..VolumeOptions::default()
    }
}

fn open(disk: &MemoryVfs) -> Volume {
    opened(disk).0
}

fn opened(disk: &MemoryVfs) -> (Volume, Opened) {
    let clock = Arc::new(ManualClock::new());
    Volume::open(Arc::new(disk.clone()), clock, Path::new(DIR), [7; 32], &options()).unwrap()
}

fn put<'a>(key: &'a [u8], generation: u64, value: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        kind: Kind::Put,
        key,
        generation,
        expiry: None,
        value,
        wants_md5: false,
        attributes: &[],
    }
}

fn whole(volume: &Volume, place: &Place, key: &[u8], generation: u64) -> Vec<u8> {
    let reading = volume.read(place, key, generation).unwrap();
    let mut value = Vec::new();
    while (value.len() as u64) < reading.len() {
        value.extend(reading.read_at(value.len() as u64, 1 << 20).unwrap());
    }
    value
}

fn bytes(count: usize, seed: u64) -> Vec<u8> {
    olivine_vfs::Random::new(seed).bytes(count)
}

#[test]
fn what_was_put_is_read_before_and_after_reopening() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let identity = volume.identity();
    let mut stored = Vec::new();
    for (generation, length) in
        [0, 1, 1000, 65536, 65537, 100 << 10, 102401, 300_000].into_iter().enumerate()
    {
        let value = bytes(length, generation as u64);
        let key = format!("key {generation}").into_bytes();
        let head = Head {
            key: &key,
            generation: generation as u64,
            expiry: Some(5),
            wants_md5: true,
            attributes: &[],
            bytes: None,
        };
        let mut writer = volume.begin(&head).unwrap();
        for chunk in value.chunks(10_007) {
            writer.write(chunk).unwrap();
        }
        let done = writer.finish().unwrap();
        assert_eq!(done.digest, Some(record::md5(&value)));
        stored.push((key, generation as u64, done.place, value));
    }
    let check = |volume: &Volume| {
        for (key, generation, place, value) in &stored {
            assert!(&whole(volume, place, key, *generation) == value, "{place:?}");
            let reading = volume.read(place, key, *generation).unwrap();
            assert_eq!((reading.expiry, reading.md5), (Some(5), Some(record::md5(value))));
        }
    };
    check(&volume);
    drop(volume);
    let (volume, opened) = opened(&disk);
    assert_eq!((opened.cut, opened.damaged, opened.is_new), (vec![], vec![], false));
    assert_eq!(volume.identity(), identity);
    check(&volume);
    volume.append_and_wait(&put(b"another", 9, b"value")).unwrap();
    check(&volume);
}

#[test]
fn a_place_of_another_object_is_refused() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let one = volume.append_and_wait(&put(b"one", 1, b"value")).unwrap().place;
    let two = volume.append_and_wait(&put(b"two", 2, b"value")).unwrap().place;
    let foreign = |place: &Place, key: &[u8], generation| {
        let error = volume.read(place, key, generation).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    };
    foreign(&one, b"two", 2);
    foreign(&two, b"two", 1);
    foreign(&Place { bytes: 4, ..two }, b"two", 2);
    let gone = volume.read(&Place { extent: 9, ..one }, b"one", 1).unwrap_err();
    assert!(matches!(gone, Error::Gone { .. }), "{gone}");
    let between = volume.read(&Place { offset: one.offset + 1, ..one }, b"one", 1).unwrap_err();
    assert!(matches!(between, Error::Corrupt { .. }), "{between}");
}

#[test]
fn a_second_opener_is_refused() {
    let disk = MemoryVfs::new();
    let _volume = open(&disk);
    let clock = Arc::new(ManualClock::new());
    let error =
        Volume::open(Arc::new(disk), clock, Path::new(DIR), [7; 32], &options()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
}

/// Fills three extents and more with records of which every third is live, and vacuums the first.
#[test]
fn what_is_live_moves_and_the_rest_goes() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let mut places = Vec::new();
    for generation in 0..100 {
        let value = bytes(1000 + 900 * (generation as usize % 90), generation);
        let stored = volume.append_and_wait(&put(b"key", generation, &value)).unwrap();
        places.push((generation, stored.place, value));
    }
    let (mut from, mut moved) = (0, Vec::new());
    loop {
        let live = |records: &[Record]| {
            Ok(records.iter().map(|record| record.generation % 3 == 0).collect())
        };
        let step = volume.rewrite_step(1, from, 100_000, live).unwrap();
        assert_eq!(step.damaged, []);
        moved.extend(step.moved);
        match step.next {
            Some(next) => from = next,
            None => break,
        }
    }
    let first: Vec<_> = places.iter().filter(|(_, place, _)| place.extent == 1).collect();
    let generations = |all: &mut dyn Iterator<Item = u64>| all.collect::<Vec<_>>();
    let expected =
        generations(&mut first.iter().map(|(number, ..)| *number).filter(|n| n % 3 == 0));
    assert!(3 < expected.len());
    assert_eq!(generations(&mut moved.iter().map(|moved| moved.record.generation)), expected);
    let before = volume.usage().unwrap();
    volume.remove_extent(1).unwrap();
    let after = volume.usage().unwrap();
    assert!(after.bytes + 100_000 < before.bytes, "{before:?} {after:?}");
    let check = |volume: &Volume| {
        for Moved { record, place } in &moved {
            let value = &places[record.generation as usize].2;
            assert!(&whole(volume, place, b"key", record.generation) == value);
            let gone = volume.read(&record.place, b"key", record.generation).unwrap_err();
            assert!(matches!(gone, Error::Gone { .. }), "{gone}");
        }
    };
    check(&volume);
    drop(volume);
    let (volume, opened) = opened(&disk);
    assert_eq!((opened.cut, opened.damaged), (vec![], vec![]));
    check(&volume);
}

#[test]
fn the_number_of_a_removed_extent_does_not_come_again() {
    let disk = MemoryVfs::new();
    let long = bytes(200_000, 1);
    let store = |volume: &Volume, generation| {
        let head = Head {
            key: b"long",
            generation,
            expiry: None,
            wants_md5: false,
            attributes: &[],
            bytes: None,
        };
        let mut writer = volume.begin(&head).unwrap();
        writer.write(&long).unwrap();
        writer.finish().unwrap().place
    };
    let volume = open(&disk);
    let place = store(&volume, 1);
    volume.remove_extent(place.extent).unwrap();
    drop(volume);
    let volume = open(&disk);
    assert!(place.extent < store(&volume, 2).extent);
}

/// Whichever byte is flipped, scrubbing finds it, and everything else is still found.
#[test]
fn every_flipped_byte_is_found_and_costs_one_object() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let small = volume.append_and_wait(&put(b"small", 1, b"some value")).unwrap().place;
    let middle = bytes(70_000, 2);
    let middle = volume.append_and_wait(&put(b"middle", 2, &middle)).unwrap().place;
    let last = volume.append_and_wait(&put(b"last", 3, b"value")).unwrap().place;
    let head = Head {
        key: b"long",
        generation: 4,
        expiry: None,
        wants_md5: false,
        attributes: &[],
        bytes: None,
    };
    let mut writer = volume.begin(&head).unwrap();
    writer.write(&bytes(150_000, 4)).unwrap();
    let long = writer.finish().unwrap().place;
    drop(volume);
    let infos = open(&disk).extents(0, 9).unwrap();
    let extents = [(1, "0000000001.ext", infos[0].bytes), (2, "0000000002.sole", infos[1].bytes)];
    for (extent, name, length) in extents {
        let path = Path::new("/volume/extents/000000").join(name);
        for offset in (0..length)
            .filter(|offset| *offset < 200 || length - 100 < *offset || offset % 997 == 0)
        {
            let disk = disk.image();
            let file = disk.open(&path, olivine_vfs::Open::Write).unwrap();
            let mut byte = [0];
            file.read_at(&mut byte, offset).unwrap();
            file.write_at(&[byte[0] ^ 0x10], offset).unwrap();
            let (volume, opened) = opened(&disk);
            let mut damaged = Vec::new();
            for info in volume.extents(0, 9).unwrap() {
                let mut from = Some(0);
                while let Some(at) = from {
                    let step = volume.scrub_step(info.number, at, 100_000).unwrap();
                    damaged.extend(step.damaged);
                    from = step.next;
                }
            }
            // What ends an extent that was closed may be cut off at opening: no record is in it.
            if opened.cut.is_empty() {
                assert_eq!(damaged.len(), 1, "byte {offset} of {name}: {damaged:?}");
                let Damage { offset: start, bytes, .. } = damaged[0];
                assert!(damaged[0].extent == extent && (start..start + bytes).contains(&offset));
            }
            let objects: [(&Place, &[u8], u64); 4] = [
                (&small, b"small", 1),
                (&middle, b"middle", 2),
                (&last, b"last", 3),
                (&long, b"long", 4),
            ];
            let is_hit = |place: &Place, next: u64| {
                place.extent == extent && (place.offset..next).contains(&offset)
            };
            for (index, (place, key, generation)) in objects.iter().enumerate() {
                let next = objects.get(index + 1).filter(|next| next.0.extent == extent);
                let next = next.map_or(length, |next| next.0.offset);
                let all = volume.read(place, key, *generation).and_then(|reading| {
                    let mut at = 0;
                    while at < reading.len() {
                        at += reading.read_at(at, 1 << 20)?.len() as u64;
                    }
                    Ok(())
                });
                if is_hit(place, next) && !(opened.cut.len() == 1 && index == 2 && all.is_ok()) {
                    assert!(
                        matches!(all, Err(Error::Corrupt { .. } | Error::Foreign { .. })),
                        "{offset}: {all:?}"
                    );
                } else {
                    all.unwrap_or_else(|error| panic!("byte {offset} of {name}: {error}"));
                }
            }
        }
    }
}

/// An extent of another volume may hold what somebody misses.
#[test]
fn an_extent_of_another_volume_is_told_and_left_as_it_is() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let place = volume.append_and_wait(&put(b"key", 1, b"value")).unwrap().place;
    drop(volume);
    let path = Path::new("/volume/extents/000000/0000000009.ext");
    let file = disk.open(path, olivine_vfs::Open::Create).unwrap();
    file.write_at(&[1; 5000], 0).unwrap();
    for _ in 0..2 {
        let (volume, opened) = opened(&disk);
        assert_eq!((opened.damaged.len(), opened.damaged[0].extent), (1, 9));
        assert_eq!(opened.cut, []);
        assert_eq!(whole(&volume, &place, b"key", 1), b"value");
        let other = volume.append_and_wait(&put(b"other", 2, b"value")).unwrap().place;
        assert!(9 < other.extent);
        volume.remove_extent(other.extent).unwrap_err();
        drop(volume);
        disk.remove_file(
            &Path::new("/volume/extents/000000").join(format!("{:010}.ext", other.extent)),
        )
        .unwrap();
    }
    assert_eq!(file.len().unwrap(), 5000);
}

#[test]
fn a_small_object_costs_one_read() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let stored: Vec<_> = [10, 1024, 65536, 70_000, 90_000]
        .map(|length| volume.append_and_wait(&put(b"key", 1, &bytes(length, 1))).unwrap().place)
        .into();
    drop(volume);
    let calls = Arc::new(olivine_vfs::RecordingVfs::with_reads(Arc::new(disk), DIR));
    let clock = Arc::new(ManualClock::new());
    let vfs = Arc::clone(&calls) as Arc<dyn Vfs>;
    let (volume, _) = Volume::open(vfs, clock, Path::new(DIR), [7; 32], &options()).unwrap();
    for place in stored {
        calls.take();
        assert_eq!(whole(&volume, &place, b"key", 1).len() as u64, place.bytes);
        let told = calls.take();
        assert_eq!(told.lines().filter(|line| !line.starts_with("open")).count(), 1, "{told}");
    }
}

#[test]
fn a_volume_that_is_read_only_changes_nothing() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let place = volume.append_and_wait(&put(b"key", 1, b"value")).unwrap().place;
    drop(volume);
    let path = Path::new("/volume/extents/000000/0000000001.ext");
    let file = disk.open(path, olivine_vfs::Open::Write).unwrap();
    let length = file.len().unwrap();
    file.write_at(b"torn", length).unwrap();
    let options = VolumeOptions { read_only: true, ..options() };
    let clock = Arc::new(ManualClock::new());
    let vfs = Arc::new(disk);
    let (volume, opened) = Volume::open(vfs, clock, Path::new(DIR), [7; 32], &options).unwrap();
    assert_eq!(opened.cut.len(), 1);
    assert_eq!(whole(&volume, &place, b"key", 1), b"value");
    let refused = volume.append_and_wait(&put(b"key", 2, b"value")).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    volume.advance_epoch().unwrap_err();
    assert_eq!(file.len().unwrap(), length + 4);
}

/// Many threads put, read and vacuum at once, and find what they put.
#[test]
fn many_threads_share_a_volume() {
    let disk = MemoryVfs::new();
    let volume = open(&disk);
    let places = Mutex::new(std::collections::BTreeMap::new());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let read_some = |step: u64| {
        let some: Vec<(u64, Place)> = {
            let places = places.lock().unwrap();
            places.iter().skip(step as usize % 10).step_by(20).map(|(g, p)| (*g, *p)).collect()
        };
        for (generation, place) in some {
            match volume.read(&place, b"key", generation) {
                // It has been moved since.
                Err(Error::Gone { .. }) => {}
                reading => {
                    let reading = reading.unwrap();
                    assert_eq!(
                        reading.read_at(0, 10).unwrap(),
                        generation.to_string().as_bytes()[..1].repeat(10)
                    );
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|thread| {
                let (volume, places, read_some) = (&volume, &places, &read_some);
                scope.spawn(move || {
                    for step in 0..60 {
                        let generation = thread * 1000 + step;
                        let length = 10 + (generation * 7919 % 30_000) as usize;
                        let value = generation.to_string().as_bytes()[..1].repeat(length);
                        let place =
                            volume.append_and_wait(&put(b"key", generation, &value)).unwrap().place;
                        places.lock().unwrap().insert(generation, place);
                        if step % 10 == 0 {
                            read_some(step);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                vacuum_first(&volume, &places);
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let places = places.into_inner().unwrap();
    assert_eq!(places.len(), 8 * 60);
    for (generation, place) in places {
        let length = 10 + (generation * 7919 % 30_000) as usize;
        let expected = generation.to_string().as_bytes()[..1].repeat(length);
        assert!(whole(&volume, &place, b"key", generation) == expected);
    }
}

/// Moves what is live out of the first extent, once all of it is named, and removes it.
fn vacuum_first(volume: &Volume, places: &Mutex<std::collections::BTreeMap<u64, Place>>) {
    let infos = volume.extents(0, 1).unwrap();
    let Some(info) = infos.first().filter(|info| info.is_sealed) else { return };
    let mut from = Some(0);
    while let Some(at) = from {
        let named = |records: &[Record]| {
            let places = places.lock().unwrap();
            Ok(records
                .iter()
                .map(|record| places.get(&record.generation) == Some(&record.place))
                .collect())
        };
        let is_all_named = volume.scan(info.number, 0).unwrap().all(|found| match found.unwrap() {
            Found::Record(record) => places.lock().unwrap().contains_key(&record.generation),
            Found::Damage(damage) => panic!("{damage:?}"),
        });
        if !is_all_named {
            return;
        }
        let step = volume.rewrite_step(info.number, at, 50_000, named).unwrap();
        let mut places = places.lock().unwrap();
        for Moved { record, place } in step.moved {
            places.insert(record.generation, place);
        }
        from = step.next;
    }
    volume.remove_extent(info.number).unwrap();
}
