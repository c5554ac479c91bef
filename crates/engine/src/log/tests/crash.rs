//! Power cuts at any call: what was synced is there, what is there was written, and it stays.

use std::sync::{Mutex, MutexGuard, PoisonError};

use olivine_vfs::{CrashingVfs, Kind, Phase, Survival};

use super::*;

/// What must be true of any image taken now.
#[derive(Clone, Debug, Default)]
struct Model {
    appended: Vec<Appended>,
    /// So many of them are durable.
    durable: usize,
    /// The oldest segment that the manifest names, and the first record that it still needs.
    oldest: u64,
    needed: usize,
    /// For every record, the segment that was current before it was appended.
    starts: Vec<u64>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Model>>);

impl Shared {
    fn get(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn crash_home(disk: &CrashingVfs) -> LogDir {
    LogDir { vfs: Arc::new(disk.clone()), path: PathBuf::from("/log"), store: STORE }
}

/// A log that lives on a disk that crashes.
struct Life {
    disk: CrashingVfs,
    writer: LogWriter,
    model: Shared,
    draw: Random,
}

impl Life {
    fn begin(seed: u64, options: LogOptions) -> Life {
        let disk = CrashingVfs::new();
        disk.create_dir(&PathBuf::from("/log")).unwrap();
        disk.sync_dir(&PathBuf::from("/")).unwrap();
        let writer = LogWriter::create(crash_home(&disk), options, 1).unwrap();
        let model = Shared::default();
        model.get().oldest = writer.current_segment();
        Life { disk, writer, model, draw: Random::new(seed) }
    }

    /// One thing that an engine does with its log.
    fn step(&mut self) {
        match self.draw.below(20) {
            0..10 => self.append(120),
            10 => self.append(3000),
            11..14 => self.writer.hand_over().unwrap(),
            14..17 => self.sync(),
            17 => drop(self.writer.append_durable_marker().unwrap()),
            18 => drop(self.writer.pool().step().unwrap()),
            _ => self.release(),
        }
    }

    fn append(&mut self, bytes_max: u64) {
        let len = self.draw.below(bytes_max) as usize;
        let (payload, count) = (self.draw.bytes(len), self.draw.between(1, 3) as u32);
        let first = self.writer.next_seq();
        let start = self.writer.current_segment();
        {
            let mut model = self.model.get();
            model.appended.push((first, count, payload.clone()));
            model.starts.push(start);
        }
        self.writer.append(first, count, &[&payload], payload_hash(&[&payload])).unwrap();
    }

    fn sync(&mut self) {
        let job = self.writer.begin_sync().unwrap();
        let reached = self.model.get().appended.len();
        if self.draw.chance(1, 2) {
            // Others append meanwhile.
            self.append(500);
            self.append(500);
        }
        let position = job.run().unwrap();
        self.writer.finish_sync(position);
        self.model.get().durable = reached;
    }

    /// As after a flush: everything durable up to some record stands in tables.
    fn release(&mut self) {
        let mut model = self.model.get();
        let flushed = model.durable.saturating_sub(self.draw.index(6));
        if flushed < model.needed || flushed == 0 {
            return;
        }
        let current = self.writer.current_segment();
        let oldest = model.starts.get(flushed).copied().unwrap_or(current);
        model.oldest = model.oldest.max(oldest);
        model.needed = flushed;
        drop(model);
        self.writer.release_below(oldest);
        if self.draw.chance(1, 2) {
            while self.writer.pool().step().unwrap() {}
        }
    }
}

/// Recovers an image and compares it with what may be there.
fn check(disk: &CrashingVfs, model: &Model, what: &str) -> (Vec<Appended>, Recovered) {
    let mut found: Vec<Appended> = Vec::new();
    let proof = Proof { oldest: model.oldest, durable: None };
    let recovered = recover(&crash_home(disk), proof, &mut |record| {
        found.push((record.first_seq, record.count, record.payload.to_vec()));
        Ok(())
    });
    let recovered = recovered.unwrap_or_else(|error| panic!("{what}: {error}"));
    for entry in disk.list(&PathBuf::from("/log")).unwrap() {
        // Closing shortens a segment that counts; one that does not was never short.
        let name = entry.name.to_string_lossy();
        let number = name.strip_prefix("log-").and_then(|number| number.parse().ok());
        let counts = |number| recovered.segments.iter().any(|segment| segment.number == number);
        let short = entry.bytes < 512 && number.is_some_and(|number| !counts(number));
        assert!(!short, "{what}: {entry:?} is short");
    }
    let skipped = match found.first() {
        Some(first) => model.appended.iter().position(|record| record == first).expect(what),
        None => model.needed,
    };
    assert!(skipped <= model.needed, "{what}: {skipped} skipped, {} needed", model.needed);
    assert!(model.appended[skipped..].starts_with(&found), "{what}");
    assert!(model.durable <= skipped + found.len(), "{what}: a durable record is lost");
    (found, recovered)
}

/// Goes on after a crash, crashing again meanwhile and afterwards. What recovery returned once
/// `create_after` has returned is durable.
fn go_on(disk: &CrashingVfs, model: &Model, options: LogOptions, seed: u64, what: &str) {
    let (found, recovered) = check(disk, model, what);
    let mut draw = Random::new(seed);
    let (survival, within) = (*draw.pick(&Survival::ALL).unwrap(), draw.below(24));
    let image = Arc::new(Mutex::new(None));
    let (slot, image_seed) = (Arc::clone(&image), draw.next_u64());
    let base = disk.events();
    disk.on_event(move |event, disk| {
        if event.index == base + within && event.phase != Phase::Before {
            *slot.lock().unwrap() = Some(disk.crash(survival, image_seed));
        }
    });
    let last = model.appended.last().map_or(1, |(first, count, _)| first + u64::from(*count));
    let first = match (recovered.next_seq, found.is_empty()) {
        (Some(next), _) => next,
        (None, _) => last,
    };
    let mut after = Model { oldest: model.oldest, ..Model::default() };
    after.appended.clone_from(&found);
    after.durable = found.len();
    let mut writer = LogWriter::create_after(crash_home(disk), options, recovered, first).unwrap();
    check(&disk.crash(survival, seed), &after, &format!("{what}, then {survival:?}"));
    let payload = draw.bytes(40);
    writer.append(first, 7, &[&payload], payload_hash(&[&payload])).unwrap();
    after.appended.push((first, 7, payload));
    let position = writer.begin_sync().unwrap().run().unwrap();
    writer.finish_sync(position);
    while writer.pool().step().unwrap() {}
    disk.clear_on_event();
    let second = image.lock().unwrap().take();
    if let Some(second) = second {
        // In the middle of going on, only what was durable before is certain.
        let what = format!("{what}, again at call {within} with {survival:?}");
        let known = Model { appended: after.appended.clone(), ..model.clone() };
        let skipped = model.appended.iter().position(|record| Some(record) == found.first());
        let durable = model.durable.saturating_sub(skipped.unwrap_or(model.needed));
        check(&second, &Model { durable, needed: 0, ..known }, &what);
    }
    after.durable = after.appended.len();
    let (again, _) = check(&disk.crash(Survival::Nothing, seed), &after, &format!("{what}, later"));
    assert_eq!(again, after.appended, "{what}");
}

/// Histories of appending, syncing, releasing and going on after a crash, with crashes at random
/// calls, half of them within a write.
#[test]
fn what_was_synced_survives_every_crash() {
    let mut images = 0;
    for seed in 0..150 {
        let recycle = seed % 5 != 0;
        let options = match seed % 3 {
            0 => LogOptions { segment_bytes: 512, first_bytes: 512, recycle },
            1 => LogOptions { segment_bytes: 4096, first_bytes: 512, recycle },
            _ => LogOptions { segment_bytes: 1024, first_bytes: 1024, recycle },
        };
        let mut life = Life::begin(seed, options);
        let (model, mut draw) = (life.model.clone(), Random::new(seed ^ 0xc4a5));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let slot = Arc::clone(&taken);
        life.disk.on_event(move |event, disk| {
            let closing = event.kind == Kind::SetLen;
            if event.phase != Phase::Before && (closing || draw.chance(1, 6)) {
                let survival = *draw.pick(&Survival::ALL).unwrap();
                let image = disk.crash(survival, draw.next_u64());
                let what = format!("seed {seed}, call {}, {survival:?}", event.index);
                slot.lock().unwrap().push((image, model.get().clone(), what));
            }
        });
        for _ in 0..120 {
            life.step();
        }
        if seed % 2 == 0 {
            life.writer.close().unwrap();
        }
        for (index, (image, model, what)) in taken.lock().unwrap().drain(..).enumerate() {
            images += 1;
            go_on(&image, &model, options, seed << 16 | index as u64, &what);
        }
    }
    assert!(2000 < images, "only {images} images");
}
