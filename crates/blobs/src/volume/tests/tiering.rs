//! Extents in a bucket: sent there, read from there, lost there, and taken out; crashes and failures at every step.

use std::{collections::BTreeMap, io, sync::Mutex, thread};

use olivine_vfs::{CrashingVfs, ManualClock, Phase, Random, Survival};

use super::*;

/// A bucket in memory, which fails the calls that it is told to fail.
#[derive(Debug, Default)]
struct MemoryBucket {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    calls: Mutex<u64>,
    /// The call that fails, counted from the first one.
    failing: Mutex<Option<u64>>,
    /// A failing put stores what it was given all the same.
    puts_late: bool,
    /// Ranges that were read.
    reads: Mutex<Vec<(String, u64, usize)>>,
}

impl MemoryBucket {
    fn call(&self) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        let fails = *self.failing.lock().unwrap() == Some(*calls);
        if fails { Err(io::Error::other("the bucket is away")) } else { Ok(()) }
    }

    fn names(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        objects.keys().filter(|name| !name.ends_with("/VOLUME")).cloned().collect()
    }

    fn copy(&self) -> Arc<MemoryBucket> {
        let objects = Mutex::new(self.objects.lock().unwrap().clone());
        Arc::new(MemoryBucket { objects, ..MemoryBucket::default() })
    }
}

impl Far for MemoryBucket {
    fn put(
        &self,
        name: &str,
        bytes: u64,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        let called = self.call();
        let mut object = vec![0; bytes as usize];
        for (nth, part) in object.chunks_mut(10_000).enumerate() {
            assert_eq!(read(part, nth as u64 * 10_000)?, part.len());
        }
        if called.is_ok() || self.puts_late {
            self.objects.lock().unwrap().insert(name.to_owned(), object);
        }
        called
    }

    fn read(&self, name: &str, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call()?;
        self.reads.lock().unwrap().push((name.to_owned(), offset, buffer.len()));
        let objects = self.objects.lock().unwrap();
        let object = objects.get(name).ok_or(io::ErrorKind::NotFound)?;
        let found = object.get(offset as usize..).unwrap_or_default();
        let bytes = found.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&found[..bytes]);
        Ok(bytes)
    }

    fn bytes(&self, name: &str) -> io::Result<Option<u64>> {
        self.call()?;
        Ok(self.objects.lock().unwrap().get(name).map(|object| object.len() as u64))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call()?;
        self.objects.lock().unwrap().remove(name);
        Ok(())
    }
}

fn tiered(disk: Arc<dyn Vfs>, bucket: &Arc<MemoryBucket>) -> Volume {
    let options = VolumeOptions { tier_cache_bytes: 4 << 20, ..options() };
    let bucket: Arc<dyn Far> = Arc::clone(bucket) as Arc<dyn Far>;
    let clock = Arc::new(ManualClock::new());
    let (volume, opened) =
        Volume::open_tiered(disk, clock, Path::new(DIR), [7; 32], &options, Some(bucket)).unwrap();
    assert_eq!(opened.damaged, []);
    volume
}

type Objects = Vec<(Vec<u8>, u64, Vec<u8>, Place)>;

/// Objects of all lengths: in two shared extents and more, and in sole ones.
fn fill(volume: &Volume) -> Objects {
    let lengths = [
        10, 5_000, 65_536, 90_000, 70_000, 60_000, 400_000, 50_000, 131_072, 1, 99_000, 99_000,
        99_000,
    ];
    let mut objects = Vec::new();
    for (generation, length) in (1..).zip(lengths) {
        let (key, value) = (format!("key {generation}").into_bytes(), bytes(length, generation));
        let head = Head {
            key: &key,
            generation,
            expiry: None,
            wants_md5: false,
            attributes: b"known",
            bytes: Some(length as u64),
        };
        let mut writer = volume.begin(&head).unwrap();
        writer.write(&value).unwrap();
        let place = writer.finish().unwrap().place;
        objects.push((key, generation, value, place));
    }
    objects
}

fn send_all(volume: &Volume) -> Result<usize> {
    let mut sent = 0;
    for extent in volume.extents(0, 1000).unwrap() {
        if extent.is_sealed && !extent.is_far {
            volume.send_away(extent.number, &mut |_| Ok(()))?;
            sent += 1;
        }
    }
    Ok(sent)
}

fn check(volume: &Volume, objects: &Objects, told: &str) {
    for (key, generation, value, place) in objects {
        let found = whole(volume, place, key, *generation);
        assert!(found == *value, "{told}: {}", key.escape_ascii());
    }
}

/// What a walk over all extents finds, which an index is made of.
fn walked(volume: &Volume) -> Vec<(Vec<u8>, Place)> {
    let mut found = Vec::new();
    for extent in volume.extents(0, 1000).unwrap() {
        for step in volume.scan(extent.number, 0).unwrap() {
            match step.unwrap() {
                Found::Record(record) => found.push((record.key, record.place)),
                Found::Damage(damage) => panic!("{damage:?}"),
            }
        }
    }
    found
}

#[test]
fn what_was_sent_away_is_read_as_before() {
    let (disk, bucket) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = tiered(disk.clone(), &bucket);
    let objects = fill(&volume);
    let (before, extents) = (walked(&volume), volume.extents(0, 1000).unwrap());
    let sent = send_all(&volume).unwrap();
    assert!(4 <= sent, "{sent}");
    assert_eq!(bucket.names().len(), sent);
    let usage = volume.usage().unwrap();
    assert_eq!(usage.far_extents, sent as u64);
    let stored: usize = bucket.objects.lock().unwrap().values().map(Vec::len).sum();
    assert_eq!(usage.far_bytes, stored as u64 - 16);
    let mut opened = Some(volume);
    for _ in 0..2 {
        let volume = opened.take().unwrap_or_else(|| tiered(disk.clone(), &bucket));
        check(&volume, &objects, "after");
        assert_eq!(walked(&volume), before);
        let now = volume.extents(0, 1000).unwrap();
        let lengths = |all: &[ExtentInfo]| {
            // The one that is being written ends with a void when the volume is closed.
            let sealed = all.iter().filter(|one| one.is_sealed);
            sealed.map(|one| (one.number, one.bytes, one.is_shared)).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&now), lengths(&extents));
        for extent in &now {
            let shard = format!("{DIR}/extents/000000");
            let name = if extent.is_shared { "ext" } else { "sole" };
            let local = format!("{shard}/{:010}.{name}", extent.number);
            let is_here = disk.entry(Path::new(&local)).unwrap().is_some();
            assert_eq!(is_here, !extent.is_far, "{local}");
            let mut from = 0;
            loop {
                let scrubbed = volume.scrub_step(extent.number, from, 50_000).unwrap();
                assert_eq!(scrubbed.damaged, []);
                let Some(next) = scrubbed.next else { break };
                from = next;
            }
        }
        drop(volume);
    }
    let refused =
        Volume::open(disk, Arc::new(ManualClock::new()), Path::new(DIR), [7; 32], &options());
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("--tier"), "{told}");
}

/// A read asks for the pieces it needs, once.
#[test]
fn a_piece_is_asked_for_once() {
    let (disk, bucket): (_, Arc<MemoryBucket>) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = Arc::new(tiered(disk, &bucket));
    let objects = fill(&volume);
    send_all(&volume).unwrap();
    bucket.reads.lock().unwrap().clear();
    let (key, generation, value, place) =
        objects.iter().find(|(_, _, value, _)| value.len() == 400_000).unwrap();
    let reading = volume.read(place, key, *generation).unwrap();
    assert_eq!(reading.read_at(200_000, 10).unwrap(), value[200_000..200_010]);
    let read: usize = bucket.reads.lock().unwrap().iter().map(|(_, _, bytes)| bytes).sum();
    assert!(read <= 4 * (64 << 10), "{read} bytes for ten");
    bucket.reads.lock().unwrap().clear();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (volume, objects) = (Arc::clone(&volume), objects.clone());
            let read = move || check(&volume, &objects, "together");
            thread::Builder::new().spawn(read).unwrap()
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    let mut pieces = BTreeMap::new();
    for (name, offset, bytes) in bucket.reads.lock().unwrap().iter() {
        assert_eq!(offset % (64 << 10), 0);
        for piece in 0..bytes.div_ceil(64 << 10) as u64 {
            *pieces.entry((name.clone(), offset / (64 << 10) + piece)).or_insert(0) += 1;
        }
    }
    assert!(pieces.values().all(|times| *times == 1), "{pieces:?}");
    assert!(volume.far_work().unwrap().hits > 0);
}

/// The cache holds no more than it may, and what was pushed out comes again.
#[test]
fn the_cache_is_bounded() {
    let (disk, bucket) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = tiered(disk.clone(), &bucket);
    let value = bytes(9 << 20, 1);
    let head = Head {
        key: b"long",
        generation: 1,
        expiry: None,
        wants_md5: false,
        attributes: &[],
        bytes: Some(value.len() as u64),
    };
    let mut writer = volume.begin(&head).unwrap();
    writer.write(&value).unwrap();
    let place = writer.finish().unwrap().place;
    send_all(&volume).unwrap();
    for _ in 0..3 {
        assert!(whole(&volume, &place, b"long", 1) == value);
    }
    let cache = disk.entry(Path::new("/volume/tier.cache")).unwrap().unwrap();
    assert!(0 < cache.bytes && cache.bytes <= 4 << 20, "{}", cache.bytes);
}

/// What rots in the cache, or comes damaged once, is fetched again; what is damaged in the bucket is told.
#[test]
fn damage_is_told_apart() {
    let (disk, bucket): (_, Arc<MemoryBucket>) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = tiered(disk.clone(), &bucket);
    let objects = fill(&volume);
    send_all(&volume).unwrap();
    check(&volume, &objects, "first");
    let cache = disk.open(Path::new("/volume/tier.cache"), olivine_vfs::Open::Write).unwrap();
    for piece in 0..cache.len().unwrap() / (64 << 10) {
        cache.write_at(b"rotten", (piece << 16) + 100).unwrap();
    }
    check(&volume, &objects, "rotten cache");
    let far: Vec<_> = objects.iter().filter(|(.., place)| volume.is_far(place.extent)).collect();
    let (key, generation, _, place) = far.iter().find(|(_, _, v, _)| v.len() == 90_000).unwrap();
    let name = format!("/{:010}-", place.extent);
    let whole_bucket = bucket.objects.lock().unwrap().clone();
    for (_, object) in bucket.objects.lock().unwrap().iter_mut().filter(|(n, _)| n.contains(&name))
    {
        object[place.offset as usize + 80_000] ^= 1;
    }
    let volume = {
        drop(volume);
        tiered(disk, &bucket)
    };
    let reading = volume.read(place, key, *generation).unwrap();
    assert!(matches!(reading.read_at(70_000, 20_000), Err(Error::Corrupt { .. })));
    let scrubbed = volume.scrub_step(place.extent, 0, u64::MAX).unwrap();
    assert_eq!(scrubbed.damaged.len(), 1);
    // It came damaged, and the cache has that; now the bucket gives it as it was.
    *bucket.objects.lock().unwrap() = whole_bucket;
    check(&volume, &objects, "mended");
}

#[test]
fn a_lost_object_is_damage_and_a_strange_bucket_is_not() {
    let (disk, bucket): (_, Arc<MemoryBucket>) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = tiered(disk, &bucket);
    let objects = fill(&volume);
    send_all(&volume).unwrap();
    let (key, generation, _, place) = &objects[0];
    let kept = bucket.objects.lock().unwrap().clone();
    bucket.objects.lock().unwrap().clear();
    let error = volume.read(place, key, *generation).unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    assert!(matches!(volume.is_lost(place.extent), Err(Error::Away { .. })));
    *bucket.objects.lock().unwrap() = kept;
    let name = format!("/{:010}-", place.extent);
    bucket.objects.lock().unwrap().retain(|known, _| !known.contains(&name));
    let error = volume.read(place, key, *generation).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let scrubbed = volume.scrub_step(place.extent, 0, 1 << 20).unwrap();
    assert!(scrubbed.is_lost);
    assert_eq!((scrubbed.damaged.len(), scrubbed.damaged[0].offset), (1, 0));
    let rewritten = volume.rewrite_step(place.extent, 0, 1 << 20, |_| unreachable!()).unwrap();
    assert_eq!((rewritten.damaged.len(), rewritten.next), (1, None));
    volume.remove_extent(place.extent).unwrap();
    assert!(!volume.has_extent(place.extent).unwrap());
}

#[test]
fn vacuum_brings_back_what_lives_and_takes_the_rest_out() {
    let (disk, bucket): (_, Arc<MemoryBucket>) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = tiered(disk.clone(), &bucket);
    let mut objects = fill(&volume);
    send_all(&volume).unwrap();
    let extent = objects[0].3.extent;
    let live = objects[1].0.clone();
    let rewritten = volume
        .rewrite_step(extent, 0, u64::MAX, |records| {
            Ok(records.iter().map(|record| record.key == live).collect())
        })
        .unwrap();
    assert_eq!(rewritten.moved.len(), 1);
    objects.retain(|(key, .., place)| place.extent != extent || *key == live);
    objects[0].3 = rewritten.moved[0].place;
    let count = bucket.names().len();
    // The bucket does not answer when it is to forget it.
    *bucket.failing.lock().unwrap() = Some(*bucket.calls.lock().unwrap() + 1);
    volume.remove_extent(extent).unwrap();
    assert_eq!(bucket.names().len(), count);
    check(&volume, &objects, "moved");
    drop(volume);
    let volume = tiered(disk, &bucket);
    assert!(!volume.has_extent(extent).unwrap());
    assert_eq!(volume.sweep().unwrap(), 1);
    assert_eq!(bucket.names().len(), count - 1);
    assert_eq!(volume.sweep().unwrap(), 0);
    check(&volume, &objects, "swept");
}

/// Whichever call to the bucket fails, everything is read before and after it is tried again, and nothing is left behind.
#[test]
fn whichever_call_to_the_bucket_fails_nothing_is_lost() {
    let calls = {
        let (disk, bucket): (_, Arc<MemoryBucket>) = (Arc::new(MemoryVfs::new()), Arc::default());
        let volume = tiered(disk, &bucket);
        fill(&volume);
        send_all(&volume).unwrap();
        *bucket.calls.lock().unwrap()
    };
    for failing in 1..=calls {
        for puts_late in [false, true] {
            let told = format!("call {failing}, {puts_late}");
            let disk = Arc::new(MemoryVfs::new());
            let bucket = Arc::new(MemoryBucket { puts_late, ..MemoryBucket::default() });
            let volume = tiered(disk.clone(), &bucket);
            let objects = fill(&volume);
            *bucket.failing.lock().unwrap() = Some(failing);
            let error = send_all(&volume).unwrap_err();
            assert!(matches!(error, Error::Away { .. }), "{told}: {error}");
            check(&volume, &objects, &told);
            send_all(&volume).unwrap();
            check(&volume, &objects, &told);
            assert_eq!(volume.usage().unwrap().far_extents, bucket.names().len() as u64, "{told}");
            drop(volume);
            check(&tiered(disk, &bucket), &objects, &told);
        }
    }
}

/// An extent that is removed before it was sent as a whole leaves nothing in the bucket.
#[test]
fn what_was_given_up_is_taken_out() {
    let (disk, bucket): (_, Arc<MemoryBucket>) = (Arc::new(MemoryVfs::new()), Arc::default());
    let volume = tiered(disk, &bucket);
    let objects = fill(&volume);
    let extent = objects[0].3.extent;
    let mut steps = 0;
    let given_up = volume.send_away(extent, &mut |_| {
        steps += 1;
        // The first step is behind the hash, the second behind what the bucket gave back.
        if steps < 2 { Ok(()) } else { Err(Error::Busy) }
    });
    assert!(matches!(given_up, Err(Error::Busy)));
    assert_eq!(bucket.names().len(), 1);
    volume.remove_extent(extent).unwrap();
    assert_eq!(bucket.names(), Vec::<String>::new());
}

/// Whenever the machine dies while extents are sent away and removed, what is named is read, and once everything was done
/// again the bucket has what the volume knows of and nothing else.
#[test]
fn every_crash_leaves_each_object_in_one_place() {
    let disk = CrashingVfs::new();
    let bucket: Arc<MemoryBucket> = Arc::default();
    let volume = tiered(Arc::new(disk.clone()), &bucket);
    let objects = fill(&volume);
    let dead = objects[0].3.extent;
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, there) = (Arc::clone(&images), Arc::clone(&bucket));
    let mut random = Random::new(1);
    disk.on_event(move |event, disk| {
        if event.phase == Phase::After {
            return;
        }
        for survival in Survival::ALL {
            let told = format!("{event:?}, {survival:?}");
            let image = disk.crash(survival, random.next_u64());
            taken.lock().unwrap().push((image, there.copy(), told));
        }
    });
    send_all(&volume).unwrap();
    volume.remove_extent(dead).unwrap();
    disk.clear_on_event();
    drop(volume);
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(100 < images.len(), "{}", images.len());
    for (image, bucket, told) in images {
        let volume = tiered(Arc::new(image.clone()), &bucket);
        let left: Objects =
            objects.iter().filter(|(.., place)| place.extent != dead).cloned().collect();
        check(&volume, &left, &told);
        if volume.has_extent(dead).unwrap() {
            check(&volume, &objects, &told);
        }
        volume.sweep().unwrap();
        send_all(&volume).unwrap();
        if volume.has_extent(dead).unwrap() {
            volume.remove_extent(dead).unwrap();
        }
        check(&volume, &left, &told);
        let far = volume.usage().unwrap().far_extents;
        assert_eq!(far, bucket.names().len() as u64, "{told}: {:?}", bucket.names());
        drop(volume);
        check(&tiered(Arc::new(image), &bucket), &left, &told);
    }
}
