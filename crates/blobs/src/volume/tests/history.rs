//! What a volume and its index are asked for in the tests of crashes and faults, as a seed says.

use std::{
    collections::BTreeMap,
    sync::{Mutex, mpsc},
    time::Duration,
};

use olivine_vfs::{ManualClock, Random};

use super::*;

/// What the index names: for each generation where it lies. A key has one generation here.
pub(super) type Index = BTreeMap<u64, Place>;

/// A volume, and the index that names what was acknowledged.
pub(super) struct Driver {
    pub(super) volume: Volume,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) clock: Arc<ManualClock>,
    random: Random,
    next: u64,
    /// Operations that were refused.
    pub(super) refused: Vec<Error>,
}

pub(super) fn options() -> VolumeOptions {
    VolumeOptions {
        extent_bytes_max: 64 << 10,
        packed_bytes_max: 20 << 10,
        ahead_bytes: 4 << 10,
        ..VolumeOptions::default()
    }
}

pub(super) fn open(disk: Arc<dyn Vfs>, clock: &Arc<ManualClock>) -> Result<(Volume, Opened)> {
    let clock: Arc<ManualClock> = Arc::clone(clock);
    Volume::open(disk, clock, Path::new(DIR), [7; 32], &options())
}

pub(super) fn key(generation: u64) -> Vec<u8> {
    format!("key/{generation}").into_bytes()
}

pub(super) fn value(generation: u64) -> Vec<u8> {
    let mut random = Random::new(generation);
    let length = match random.below(20) {
        0..12 => random.below(300),
        12..17 => random.below(5000),
        17..19 => random.below(20 << 10),
        _ => (20 << 10) + random.below(160 << 10),
    };
    random.bytes(length as usize)
}

impl Driver {
    pub(super) fn new(volume: Volume, clock: Arc<ManualClock>, seed: u64) -> Driver {
        let (index, random) = (Arc::default(), Random::new(seed));
        Driver { volume, index, clock, random, next: 1 + (seed << 32), refused: Vec::new() }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap()
    }

    /// Does `count` things, one after the other.
    pub(super) fn run(&mut self, count: usize) {
        for _ in 0..count {
            self.clock.advance(Duration::from_secs(2));
            match self.random.below(10) {
                0..5 => self.append(),
                5..7 => self.stream(),
                7 => self.drop_some(),
                8 => self.delete(),
                _ => self.vacuum(),
            }
        }
    }

    fn take_generation(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Appends several records at once, which become one group.
    fn append(&mut self) {
        let (sender, receiver) = mpsc::channel();
        let mut group = Vec::new();
        for _ in 0..self.random.between(1, 8) {
            let generation = self.take_generation();
            let value = value(generation);
            if options().packed_bytes_max < value.len() as u64 {
                continue;
            }
            let sender = sender.clone();
            let done = move |stored| sender.send((generation, stored)).unwrap();
            group.push(Packed::waiting(&put(&key(generation), generation, &value), Box::new(done)));
        }
        drop(sender);
        self.volume.packed().unwrap().queue.push(group);
        for (generation, stored) in receiver {
            self.note(generation, stored);
        }
    }

    fn note(&mut self, generation: u64, stored: Result<Stored>) {
        match stored {
            Ok(stored) => drop(self.index().insert(generation, stored.place)),
            Err(error) => self.refused.push(error),
        }
    }

    fn stream(&mut self) {
        let generation = self.take_generation();
        let stored = self.stream_all(generation, usize::MAX).and_then(Writer::finish);
        self.note(generation, stored);
    }

    fn stream_all(&mut self, generation: u64, most: usize) -> Result<Writer> {
        let key = key(generation);
        let wants_md5 = self.random.chance(1, 2);
        let head = Head {
            key: &key,
            generation,
            expiry: Some(77),
            wants_md5,
            attributes: &[],
            bytes: None,
        };
        let mut writer = self.volume.begin(&head)?;
        let value = value(generation);
        for chunk in value[..value.len().min(most)].chunks(30_000) {
            writer.write(chunk)?;
        }
        Ok(writer)
    }

    /// Begins an object that is never finished.
    fn drop_some(&mut self) {
        let generation = self.take_generation();
        let most = self.random.below(100_000) as usize;
        match self.stream_all(generation, most) {
            Ok(writer) => drop(writer),
            Err(error) => self.refused.push(error),
        }
    }

    /// Deletes an object: its tombstone first, then what the index says.
    fn delete(&mut self) {
        let count = self.index().len();
        let index = self.random.index(count);
        let Some((generation, place)) = self.index().iter().nth(index).map(|(g, p)| (*g, *p))
        else {
            return;
        };
        let mut note = Vec::new();
        place.encode(&mut note);
        let key = key(generation);
        let record =
            NewRecord { kind: Kind::Tombstone, value: &note, ..put(&key, generation, b"") };
        match self.volume.append_and_wait(&record) {
            Ok(_) => drop(self.index().remove(&generation)),
            Err(error) => self.refused.push(error),
        }
    }

    /// Moves what is live out of the oldest sealed extent, and removes it.
    fn vacuum(&mut self) {
        if let Err(error) = self.try_vacuum() {
            self.refused.push(error);
        }
    }

    fn try_vacuum(&mut self) -> Result<()> {
        let infos = self.volume.extents(0, 100)?;
        let sealed: Vec<u32> =
            infos.iter().filter(|info| info.is_sealed).map(|info| info.number).collect();
        let Some(extent) = self.random.pick(&sealed).copied() else { return Ok(()) };
        let mut from = Some(0);
        while let Some(at) = from {
            let index = Arc::clone(&self.index);
            let live = |records: &[Record]| {
                let index = index.lock().unwrap();
                let is_live = |record: &Record| {
                    record.kind == Kind::Put && index.get(&record.generation) == Some(&record.place)
                };
                Ok(records.iter().map(is_live).collect())
            };
            let step = self.volume.rewrite_step(extent, at, 10_000, live)?;
            assert_eq!(step.damaged, []);
            for Moved { record, place } in step.moved {
                let old = self.index().insert(record.generation, place);
                assert_eq!(old, Some(record.place));
            }
            if step.stays {
                return Ok(());
            }
            from = step.next;
        }
        self.volume.remove_extent(extent)
    }
}

/// Everything the index names is there, whole.
pub(super) fn check_named(volume: &Volume, index: &Index, told: &str) {
    for (generation, place) in index {
        let read = volume.read(place, &key(*generation), *generation);
        if let Err(error) = read {
            panic!("{told}: generation {generation} at {place:?}: {error}");
        }
        let found = whole(volume, place, &key(*generation), *generation);
        assert!(found == value(*generation), "{told}: generation {generation} at {place:?}");
    }
}

/// Everything that is there, named or not, is what was written, and nothing is damaged.
pub(super) fn check_all(volume: &Volume, told: &str) {
    for info in volume.extents(0, 10_000).unwrap() {
        for found in volume.scan(info.number, 0).unwrap() {
            match found.unwrap() {
                Found::Record(record) if record.kind == Kind::Put => {
                    assert_eq!(record.key, key(record.generation), "{told}");
                    let found = whole(volume, &record.place, &record.key, record.generation);
                    assert!(found == value(record.generation), "{told}: {record:?}");
                }
                Found::Record(record) => assert_eq!(record.key, key(record.generation), "{told}"),
                Found::Damage(damage) => panic!("{told}: {damage:?}"),
            }
        }
        let mut from = Some(0);
        while let Some(at) = from {
            let step = volume.scrub_step(info.number, at, 30_000).unwrap();
            assert_eq!(step.damaged, [], "{told}");
            from = step.next;
        }
    }
}
