//! What a log promises, on disks in memory whose bytes the tests change at will.

mod crash;
mod faults;
mod format;
mod pool;
mod reading;
mod rot;
mod tail;

use std::{path::PathBuf, sync::Arc};

use olivine_vfs::{MemoryVfs, Open, Random, Vfs};

use super::{segment::HEADER_BYTES, *};
use crate::key::SeqNo;

const STORE: u64 = 0x0051_7e57;

/// Segments of 1 KiB, all of one length, so that a dozen records fill several.
const SMALL: LogOptions = LogOptions { segment_bytes: 1024, first_bytes: 1024, recycle: true };

/// A record as it was appended: first sequence number, count, payload.
type Appended = (SeqNo, u32, Vec<u8>);

/// A log on a disk in memory and everything that was appended to it.
struct TestLog {
    disk: MemoryVfs,
    writer: LogWriter,
    appended: Vec<Appended>,
    oldest: u64,
    draw: Random,
}

fn home(disk: &MemoryVfs) -> LogDir {
    LogDir { vfs: Arc::new(disk.clone()), path: PathBuf::from("/log"), store: STORE }
}

/// Everything recovery visits, and what it says.
fn read(disk: &MemoryVfs, proof: Proof) -> Result<(Vec<Appended>, Recovered)> {
    let mut found = Vec::new();
    let recovered = recover(&home(disk), proof, &mut |record| {
        assert!(record.start < record.end);
        found.push((record.first_seq, record.count, record.payload.to_vec()));
        Ok(())
    })?;
    Ok((found, recovered))
}

impl TestLog {
    fn new(options: LogOptions) -> TestLog {
        let disk = MemoryVfs::new();
        disk.create_dir(&home(&disk).path).unwrap();
        let writer = LogWriter::create(home(&disk), options, 1).unwrap();
        let oldest = writer.current_segment();
        TestLog { disk, writer, appended: Vec::new(), oldest, draw: Random::new(7) }
    }

    fn put(&mut self, len: usize) -> Position {
        let (first, count) = (self.writer.next_seq(), self.draw.below(4) as u32);
        let payload = self.draw.bytes(len);
        let (head, tail) = payload.split_at(len / 3);
        let hash = payload_hash(&[&payload]);
        let position = self.writer.append(first, count, &[head, tail], hash).unwrap();
        self.appended.push((first, count, payload));
        position
    }

    fn put_many(&mut self, records: usize, bytes_max: u64) {
        for _ in 0..records {
            let len = self.draw.below(bytes_max + 1) as usize;
            self.put(len);
        }
    }

    fn sync(&mut self) -> Position {
        let position = self.writer.begin_sync().unwrap().run().unwrap();
        self.writer.finish_sync(position);
        position
    }

    fn proof(&self) -> Proof {
        Proof { oldest: self.oldest, durable: None }
    }

    /// The log that opens on `disk` after this one was left.
    fn reopen(&mut self, options: LogOptions) -> Recovered {
        let (found, recovered) = read(&self.disk, self.proof()).unwrap();
        assert!(self.appended.ends_with(&found));
        let (_, again) = read(&self.disk, self.proof()).unwrap();
        let next = again.next_seq.unwrap();
        self.writer = LogWriter::create_after(home(&self.disk), options, again, next).unwrap();
        recovered
    }

    fn contents(&self) -> (Vec<Appended>, Recovered) {
        read(&self.disk, self.proof()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = self.disk.list(&home(&self.disk).path).unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    }
}

fn bytes_of(disk: &MemoryVfs, number: u64) -> Vec<u8> {
    let file = disk.open(&home(disk).segment_path(number), Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// Replaces the contents of a segment.
fn put_bytes(disk: &MemoryVfs, number: u64, bytes: &[u8]) {
    let path = home(disk).segment_path(number);
    let file = disk.open(&path, Open::Write).or_else(|_| disk.open(&path, Open::Create)).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
}

#[test]
fn what_was_handed_over_is_read_back() {
    let mut log = TestLog::new(SMALL);
    for len in [0, 1, 2, 3, 4, 5, 140, 300] {
        log.put(len);
    }
    log.put_many(100, 200);
    let before = log.contents().0;
    assert!(before.is_empty(), "appending alone writes nothing");
    log.writer.hand_over().unwrap();
    let (found, recovered) = log.contents();
    assert_eq!(found, log.appended);
    assert_eq!(recovered.next_seq, Some(log.writer.next_seq()));
    assert_eq!(recovered.end, log.writer.position());
    assert_eq!(recovered.cut, None);
    assert!(!recovered.clean);
}

#[test]
fn a_long_record_is_split_over_segments() {
    let mut log = TestLog::new(SMALL);
    for len in [10, 5000, 1024, 900, 800, 100, 64, 3000, 860, 864, 868, 872, 0] {
        log.put(len);
        log.put(1);
    }
    log.writer.hand_over().unwrap();
    assert_eq!(log.contents().0, log.appended);
}

/// Wherever in a segment a record begins, and however long it is, it comes back.
#[test]
fn every_length_at_every_place() {
    for start in (0..840).step_by(28) {
        let mut log = TestLog::new(SMALL);
        log.put(start);
        for len in (0..1000).step_by(37) {
            log.put(len);
        }
        log.writer.hand_over().unwrap();
        assert_eq!(log.contents().0, log.appended, "after a record of {start} bytes");
    }
}

#[test]
fn a_closed_log_is_clean_short_and_proven() {
    let mut log = TestLog::new(SMALL);
    log.put_many(30, 100);
    let names = log.names().len();
    let position = log.writer.position();
    let writer = std::mem::replace(&mut log.writer, TestLog::new(SMALL).writer);
    let end = writer.close().unwrap();
    assert_eq!(end, position);
    assert_eq!(log.names().len(), names, "no spare segments are left");
    let last = bytes_of(&log.disk, end.segment());
    assert_eq!(last.len(), end.offset() as usize + 36);
    let (found, recovered) = log.contents();
    assert_eq!(found, log.appended);
    assert!(recovered.clean);
    assert_eq!((recovered.end, recovered.proven), (end, end));
    let proof = Proof { durable: Some(end), ..log.proof() };
    assert!(read(&log.disk, proof).unwrap().1.clean);
    log.reopen(SMALL);
    log.put_many(30, 100);
    log.writer.hand_over().unwrap();
    assert_eq!(log.contents().0, log.appended);
    assert!(!log.contents().1.clean);
}

/// Lives that end by being killed or by closing follow one another in one log.
#[test]
fn many_lives() {
    let mut log = TestLog::new(SMALL);
    for life in 0..40 {
        log.put_many(life % 7, 400);
        if life % 3 == 0 {
            log.sync();
        }
        log.put_many(life % 5, 1500);
        if life % 4 == 0 {
            let other = TestLog::new(SMALL).writer;
            std::mem::replace(&mut log.writer, other).close().unwrap();
        } else {
            log.writer.hand_over().unwrap();
        }
        let recovered = log.reopen(SMALL);
        assert_eq!(recovered.clean, life % 4 == 0, "life {life}");
        assert_eq!(recovered.cut, None, "life {life}");
        assert_eq!(log.contents().0, log.appended, "life {life}");
        while log.writer.pool().step().unwrap() {}
    }
}

/// The oldest segment that is needed may begin within a record that is not needed.
#[test]
fn a_record_that_began_in_a_released_segment_is_passed_over() {
    let mut log = TestLog::new(SMALL);
    log.put(500);
    log.put(2000);
    log.put(10);
    log.put_many(20, 100);
    log.sync();
    for oldest in 2..=log.writer.current_segment() {
        let (found, recovered) = read(&log.disk, Proof { oldest, durable: None }).unwrap();
        assert!(log.appended.ends_with(&found), "from {oldest}");
        assert_eq!(recovered.next_seq, Some(log.writer.next_seq()));
        if oldest <= 3 {
            assert_eq!(found.len(), log.appended.len() - 2, "from {oldest}");
        }
    }
}

/// A marker makes the last records proven, once.
#[test]
fn a_marker_proves_what_was_synced_last() {
    let mut log = TestLog::new(SMALL);
    assert!(!log.writer.durable_marker_is_due());
    log.put(10);
    assert!(!log.writer.durable_marker_is_due());
    let end = log.sync();
    assert!(log.writer.durable_marker_is_due());
    assert!(log.contents().1.proven < end);
    log.writer.append_durable_marker().unwrap();
    log.writer.hand_over().unwrap();
    assert_eq!(log.contents().1.proven, end);
    assert!(!log.writer.durable_marker_is_due());
    log.sync();
    assert!(!log.writer.durable_marker_is_due());
}

/// Syncs may end in another order than they began.
#[test]
fn a_late_sync_takes_nothing_back() {
    let mut log = TestLog::new(SMALL);
    log.put_many(20, 100);
    let first = log.writer.begin_sync().unwrap();
    log.put_many(20, 100);
    let second = log.writer.begin_sync().unwrap();
    let (early, late) = (first.run().unwrap(), second.run().unwrap());
    assert!(early < late);
    log.writer.finish_sync(late);
    log.writer.finish_sync(early);
    assert_eq!(log.writer.durable(), late);
    assert!(log.writer.begin_sync().unwrap().is_empty());
}
