//! How near durable writes of small objects come to what the disk does, and what long ones take of memory.
//!
//! Not run unasked: `cargo test -p olivine-blobs group_commit -- --ignored --nocapture`, on the disk of the
//! folder that `OLIVINE_MEASURE_DIR` names, `target` if none.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use olivine_vfs::{Clock, EntryKind, Open, RealClock, RealVfs, Vfs, make_dirs, resident_bytes};

use crate::{Head, Kind, NewRecord, Volume, VolumeOptions};

const THREADS: u64 = 16;
const VALUE: [u8; 1024] = [7; 1024];
const ROUND: Duration = Duration::from_millis(700);

fn dir(name: &str) -> PathBuf {
    let root = env::var("OLIVINE_MEASURE_DIR").unwrap_or_else(|_| "../../target".into());
    let dir = Path::new(&root).join(format!("measure-{}-{name}", std::process::id()));
    make_dirs(&RealVfs, &dir).unwrap();
    dir
}

/// Runs `write` on all threads for a round; returns how often it was done in a second.
fn rate(write: impl Fn(u64, u64) + Sync) -> f64 {
    let clock = RealClock::new();
    let (is_over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = clock.now();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (is_over, done, write) = (&is_over, &done, &write);
            scope.spawn(move || {
                let mut count = 0;
                while !is_over.load(Relaxed) {
                    write(number, count);
                    count += 1;
                }
                done.fetch_add(count, Relaxed);
            });
        }
        clock.sleep(ROUND);
        is_over.store(true, Relaxed);
    });
    done.load(Relaxed) as f64 / clock.now().saturating_sub(begun).as_secs_f64()
}

#[derive(Default)]
struct Line {
    waiting: Vec<mpsc::SyncSender<()>>,
    is_over: bool,
}

/// The same writes with nothing around them: the writes that wait go out in one call and one sync.
fn bare() -> f64 {
    let dir = dir("bare");
    let path = dir.join("file");
    let file = RealVfs.open(&path, Open::Create).unwrap();
    let (line, bell) = (Mutex::new(Line::default()), Condvar::new());
    let rate = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut end, mut buffer, mut group) = (0, Vec::new(), Vec::new());
            loop {
                let mut line = line.lock().unwrap();
                while line.waiting.is_empty() && !line.is_over {
                    line = bell.wait(line).unwrap();
                }
                if line.waiting.is_empty() {
                    return;
                }
                group.clear();
                group.append(&mut line.waiting);
                drop(line);
                buffer.clear();
                for _ in &group {
                    buffer.extend(VALUE);
                }
                file.write_at(&buffer, end).unwrap();
                file.sync().unwrap();
                end += buffer.len() as u64;
                for sender in &group {
                    sender.send(()).unwrap();
                }
            }
        });
        let rate = rate(|_, _| {
            let (sender, receiver) = mpsc::sync_channel(1);
            line.lock().unwrap().waiting.push(sender);
            bell.notify_one();
            receiver.recv().unwrap();
        });
        line.lock().unwrap().is_over = true;
        bell.notify_one();
        rate
    });
    drop(file);
    RealVfs.remove_file(&path).unwrap();
    RealVfs.remove_dir(&dir).unwrap();
    rate
}

fn volume(ahead_bytes: u64) -> f64 {
    let dir = dir(&format!("volume-{ahead_bytes}"));
    let options = VolumeOptions { ahead_bytes, ..VolumeOptions::default() };
    let (vfs, clock) = (Arc::new(RealVfs), Arc::new(RealClock::new()));
    let (volume, _) = Volume::open(vfs, clock, &dir, [1; 32], &options).unwrap();
    let rate = rate(|number, count| {
        let key = [number.to_be_bytes(), count.to_be_bytes()].concat();
        let (kind, value) = (Kind::Put, &VALUE[..]);
        let record = NewRecord {
            kind,
            key: &key,
            generation: count,
            expiry: None,
            value,
            wants_md5: false,
            attributes: &[],
        };
        volume.append_and_wait(&record).unwrap();
    });
    for info in volume.extents(0, 1000).unwrap() {
        if info.is_sealed {
            volume.remove_extent(info.number).unwrap();
        }
    }
    drop(volume);
    clear(&dir);
    rate
}

fn clear(dir: &Path) {
    for entry in RealVfs.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir => clear(&path),
            _ => RealVfs.remove_file(&path).unwrap(),
        }
    }
    RealVfs.remove_dir(dir).unwrap();
}

/// Sketch: the sync is nearly all of it. Below nine tenths of the bare loop, look.
#[test]
#[ignore = "measures the disk"]
fn durable_puts_beside_a_bare_loop() {
    for round in 0..10 {
        let (bare, plain, ahead) = (bare(), volume(0), volume(4 << 20));
        println!(
            "round {round}: bare {bare:.0}/s, volume {plain:.0}/s ({:.2}), lengthened ahead {ahead:.0}/s ({:.2})",
            plain / bare,
            ahead / bare
        );
    }
}

/// A long object streamed in and out: memory must not grow with it. Of the machine's own disk and not of one in memory.
#[test]
#[ignore = "measures memory, so it has to be alone in its process"]
fn a_long_object_takes_little_memory() {
    const CHUNKS: u64 = 2048;
    let dir = dir("long");
    let (vfs, clock) = (Arc::new(RealVfs), Arc::new(RealClock::new()));
    let options = VolumeOptions { room_bytes_min: 0, ..VolumeOptions::default() };
    let (volume, _) = Volume::open(vfs, clock, &dir, [1; 32], &options).unwrap();
    let chunk = vec![7; 1 << 20];
    let clock = RealClock::new();
    let (before, begun) = (resident_bytes(std::process::id()).unwrap(), clock.now());
    let head = Head {
        key: b"long",
        generation: 1,
        expiry: None,
        wants_md5: false,
        attributes: &[],
        bytes: None,
    };
    let mut writer = volume.begin(&head).unwrap();
    let mut most = 0;
    for _ in 0..CHUNKS {
        writer.write(&chunk).unwrap();
        most = most.max(resident_bytes(std::process::id()).unwrap());
    }
    let place = writer.finish().unwrap().place;
    let written = clock.now();
    let reading = volume.read(&place, b"long", 1).unwrap();
    let mut at = 0;
    while at < reading.len() {
        at += reading.read_at(at, 1 << 20).unwrap().len() as u64;
        most = most.max(resident_bytes(std::process::id()).unwrap());
    }
    let took = |from: Duration, to: Duration| CHUNKS as f64 / to.saturating_sub(from).as_secs_f64();
    let (write, read) = (took(begun, written), took(written, clock.now()));
    let grown = most.saturating_sub(before) >> 10;
    println!("2 GiB: written {write:.0} MiB/s, read {read:.0} MiB/s, memory grew by {grown} KiB");
    assert!(grown < 8 << 10);
    drop((reading, volume));
    clear(&dir);
}
