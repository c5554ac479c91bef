//! Tails as crashes leave them: never damage, never a wrong record.

use super::*;

/// What stands where the writes did not arrive.
#[derive(Clone, Copy, Debug)]
enum Filling {
    Short,
    Zeros,
    Garbage,
    Old,
}

/// A log whose last segment was used before; what it held then; and where its last three records are.
fn recycled() -> (TestLog, Vec<u8>, Vec<Position>) {
    let mut log = TestLog::new(SMALL);
    for _ in 0..4 {
        log.put_many(20, 100);
        log.sync();
        let current = log.writer.current_segment();
        log.writer.release_below(current);
        log.oldest = current;
        while log.writer.pool().step().unwrap() {}
    }
    let before = log.writer.current_segment();
    while log.writer.current_segment() == before {
        log.put(100);
    }
    let number = log.writer.current_segment();
    let old = bytes_of(&log.disk, number);
    assert!(old.iter().filter(|byte| **byte != 0).count() > 500, "the segment was used before");
    log.put_many(2, 60);
    log.sync();
    let mut ends = vec![log.writer.position()];
    for len in [33, 70, 10] {
        ends.push(log.put(len));
    }
    log.writer.hand_over().unwrap();
    (log, old, ends)
}

/// Every length of the last three records, followed by each thing a disk may show there.
#[test]
fn torn_tails_are_cut() {
    let (log, old, ends) = recycled();
    let number = ends[0].segment();
    let written = bytes_of(&log.disk, number);
    let mut garbage = Random::new(3);
    let known = log.appended.len() - 3;
    for at in ends[0].offset()..=ends[3].offset() {
        for filling in [Filling::Short, Filling::Zeros, Filling::Garbage, Filling::Old] {
            let mut bytes = written[..at as usize].to_vec();
            let rest = written.len() - bytes.len();
            match filling {
                Filling::Short => {}
                Filling::Zeros => bytes.resize(written.len(), 0),
                Filling::Garbage => bytes.extend(garbage.bytes(rest)),
                Filling::Old => bytes.extend_from_slice(&old[at as usize..]),
            }
            let disk = log.disk.image();
            put_bytes(&disk, number, &bytes);
            let what = format!("{filling:?} from {at}");
            // A record may end in the very bytes that stand there anyway.
            let same = |end: &&Position| bytes.starts_with(&written[..end.offset() as usize]);
            let whole = ends[1..].iter().filter(same).count();
            let (found, recovered) = read(&disk, log.proof()).unwrap();
            assert!(log.appended[..known + whole].ends_with(&found), "{what}");
            assert_eq!(recovered.end, ends[whole], "{what}");
            let silent = recovered.cut.is_none();
            let unused = matches!(filling, Filling::Zeros) && ends.contains(&recovered.end);
            let nothing = bytes[ends[whole].offset() as usize..].iter().all(|byte| *byte == 0);
            assert!(!silent || (unused && nothing), "{what}: not reported");
            if let Some(cut) = recovered.cut {
                assert_eq!(cut.path, home(&disk).segment_path(number), "{what}");
                assert_eq!(cut.offset, u64::from(ends[whole].offset()), "{what}");
            }
            goes_on(&log, &disk, found);
        }
    }
}

/// After the cut the log goes on, and what was discarded is never seen again.
fn goes_on(log: &TestLog, disk: &MemoryVfs, mut kept: Vec<Appended>) {
    let recovered = read(disk, log.proof()).unwrap().1;
    let next = recovered.next_seq.unwrap();
    let mut writer = LogWriter::create_after(home(disk), SMALL, recovered, next).unwrap();
    writer.append(next, 1, &[b"after"], payload_hash(&[b"after"])).unwrap();
    writer.hand_over().unwrap();
    kept.push((next, 1, b"after".to_vec()));
    let (found, recovered) = read(disk, log.proof()).unwrap();
    assert_eq!(found, kept);
    assert_eq!(recovered.cut, None);
    while writer.pool().step().unwrap() {}
    assert_eq!(read(disk, log.proof()).unwrap().0, kept);
}

/// Segments reach the disk in any order: a later one alone proves nothing as long as no sync ended.
#[test]
fn a_later_segment_without_the_earlier_is_discarded() {
    let mut log = TestLog::new(SMALL);
    log.put_many(5, 50);
    log.sync();
    let synced = log.appended.len();
    log.put_many(40, 100);
    log.writer.hand_over().unwrap();
    let last = log.writer.current_segment();
    assert!(4 < last);
    for lost in 1..last {
        let disk = log.disk.image();
        let mut bytes = bytes_of(&disk, lost);
        let keep = if lost == 1 { log.writer.durable().offset() as usize } else { 0 };
        bytes[keep..].fill(0);
        put_bytes(&disk, lost, &bytes);
        let (found, recovered) = read(&disk, log.proof()).unwrap();
        assert!(synced <= found.len());
        assert!(log.appended.starts_with(&found));
        assert!(recovered.cut.is_some(), "segment {lost}");
        goes_on(&log, &disk, found);
    }
}

/// A record in pieces of which the last ones are missing goes away whole.
#[test]
fn an_incomplete_split_record_is_cut() {
    let mut log = TestLog::new(SMALL);
    log.put_many(3, 50);
    let end = log.sync();
    log.put(4000);
    log.writer.hand_over().unwrap();
    let (first, last) = (end.segment(), log.writer.current_segment());
    assert!(first + 4 <= last);
    for lost in first + 1..=last {
        for from in [0, HEADER_BYTES as usize, 200] {
            let disk = log.disk.image();
            let mut bytes = bytes_of(&disk, lost);
            bytes[from..].fill(0);
            put_bytes(&disk, lost, &bytes);
            let (found, recovered) = read(&disk, log.proof()).unwrap();
            assert_eq!(found, log.appended[..3]);
            assert_eq!(recovered.end, end);
            let cut = recovered.cut.unwrap();
            assert_eq!((cut.path, cut.offset), (home(&disk).segment_path(1), end.offset().into()));
            assert!(0 < cut.bytes_dropped);
            goes_on(&log, &disk, found);
        }
    }
}
