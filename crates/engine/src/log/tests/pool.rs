//! Segments made ahead, used again, and given up.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use olivine_vfs::{DelayingVfs, Kind, ManualClock};

use super::*;

#[test]
fn released_segments_are_used_again() {
    let mut log = TestLog::new(SMALL);
    for round in 0..50 {
        log.put_many(20, 100);
        log.writer.append_durable_marker().unwrap();
        log.sync();
        let keep = log.writer.current_segment() - 1;
        log.writer.release_below(keep);
        log.oldest = log.oldest.max(keep);
        while log.writer.pool().step().unwrap() {}
        assert!(log.names().len() <= 6, "round {round}: {:?}", log.names());
        let (found, recovered) = log.contents();
        assert!(log.appended.ends_with(&found), "round {round}");
        assert_eq!(recovered.cut, None);
        assert_eq!(recovered.next_seq, Some(log.writer.next_seq()));
    }
    assert!(40 < log.writer.current_segment());
    assert!(log.writer.bytes() < 3 * 1024);
}

/// A store that is small takes little room, and one that grows is not held up by short segments.
#[test]
fn segments_grow() {
    let mut log =
        TestLog::new(LogOptions { segment_bytes: 64 << 10, first_bytes: 1024, recycle: true });
    let mut lengths = Vec::new();
    for _ in 0..2000 {
        log.put(100);
        let length = bytes_of(&log.disk, log.writer.current_segment()).len();
        if lengths.last() != Some(&length) {
            lengths.push(length);
        }
    }
    assert_eq!(lengths, [1 << 10, 4 << 10, 16 << 10, 64 << 10]);
}

/// A segment made ready in the background is taken, and a late one is given up.
#[test]
fn background_makes_the_next_segment() {
    let mut log = TestLog::new(SMALL);
    assert!(!log.writer.pool().is_due());
    log.put_many(4, 0);
    log.put(500);
    assert!(log.writer.pool().is_due());
    assert!(log.writer.pool().step().unwrap());
    assert!(!log.writer.pool().is_due());
    assert!(!log.writer.pool().step().unwrap());
    assert_eq!(log.names(), ["log-000000000001", "log-000000000002"]);
    log.put(500);
    assert_eq!(log.writer.current_segment(), 2);
    log.writer.hand_over().unwrap();
    assert_eq!(log.contents().0, log.appended);
}

/// The background makes segments while the writer, which does not wait for it, makes its own.
#[test]
fn writer_and_background_race_for_numbers() {
    let mut log = TestLog::new(SMALL);
    let pool = Arc::clone(log.writer.pool());
    let (steps, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counter, stop) = (Arc::clone(&steps), Arc::clone(&done));
    let background = thread::Builder::new().spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            counter.fetch_add(u64::from(pool.step().unwrap()), Ordering::Relaxed);
            thread::yield_now();
        }
    });
    while steps.load(Ordering::Relaxed) < 200 {
        for _ in 0..10 {
            log.put(400);
        }
        log.sync();
        let current = log.writer.current_segment();
        log.writer.release_below(current);
        log.oldest = current;
        thread::yield_now();
    }
    done.store(true, Ordering::Relaxed);
    background.unwrap().join().unwrap();
    let (found, recovered) = log.contents();
    assert!(log.appended.ends_with(&found));
    assert_eq!(recovered.cut, None);
    assert_eq!(recovered.next_seq, Some(log.writer.next_seq()));
}

/// While the background makes segment 2, the writer makes 3 and goes there; 2 comes too late, and
/// serves as a spare.
#[test]
fn a_segment_that_comes_too_late_is_given_up() {
    let memory = MemoryVfs::new();
    memory.create_dir(&home(&memory).path).unwrap();
    let writer = Arc::new(Mutex::new(None::<LogWriter>));
    let slot = Arc::clone(&writer);
    let meanwhile = move |call: &olivine_vfs::Call<'_>| {
        let syncs = call.kind == Kind::SyncDir;
        let taken = if syncs { slot.lock().unwrap().take() } else { None };
        if let Some(mut writer) = taken {
            put_here(&mut writer, 700);
            assert_eq!(writer.current_segment(), 3);
            *slot.lock().unwrap() = Some(writer);
        }
        Duration::ZERO
    };
    let clock = Arc::new(ManualClock::new());
    let vfs = DelayingVfs::new(Arc::new(memory.clone()), clock, meanwhile);
    let slow = LogDir { vfs: Arc::new(vfs), ..home(&memory) };
    let mut log = LogWriter::create(slow, SMALL, 1).unwrap();
    put_here(&mut log, 600);
    let pool = Arc::clone(log.pool());
    *writer.lock().unwrap() = Some(log);
    assert!(pool.step().unwrap());
    let mut log = writer.lock().unwrap().take().unwrap();
    while pool.step().unwrap() {}
    for _ in 0..4 {
        put_here(&mut log, 700);
    }
    log.hand_over().unwrap();
    let mut found = Vec::new();
    recover(&home(&memory), Proof { oldest: 1, durable: None }, &mut |record| {
        found.push(record.payload.len());
        Ok(())
    })
    .unwrap();
    assert_eq!(found, [600, 700, 700, 700, 700, 700]);
    let entries = memory.list(&home(&memory).path).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.name.to_str().unwrap()).collect();
    assert!(!names.contains(&"log-000000000002"), "{names:?}");
}

fn put_here(writer: &mut LogWriter, len: usize) {
    let payload = vec![1; len];
    let hash = payload_hash(&[&payload]);
    writer.append(writer.next_seq(), 1, &[&payload], hash).unwrap();
}
