//! Rot: below the proof it is refused by name, above it is cut and reported, and nothing is made up.

use super::*;

/// A log of several segments: synced in steps, its last records not.
fn proven_log() -> TestLog {
    let mut log = TestLog::new(SMALL);
    for _ in 0..6 {
        log.put_many(5, 80);
        log.sync();
    }
    log.put(2500);
    log.put_many(3, 20);
    log.sync();
    log.put_many(4, 20);
    log.writer.hand_over().unwrap();
    log
}

#[test]
fn a_flipped_bit_is_never_silent() {
    let log = proven_log();
    let (all, whole) = log.contents();
    assert_eq!(all, log.appended);
    assert!(Position::new(5, 0) < whole.proven && whole.proven < whole.end);
    let mut draw = Random::new(11);
    for number in 1..=whole.end.segment() {
        let bytes = bytes_of(&log.disk, number);
        let used = whole.segments.iter().find(|segment| segment.number == number).unwrap().length;
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << draw.below(8);
            let disk = log.disk.image();
            put_bytes(&disk, number, &bytes);
            let position = Position::new(number, at as u32);
            match read(&disk, log.proof()) {
                Err(Error::Corrupt { path, offset, .. }) => {
                    assert!(position < whole.proven, "{position:?} was called damage");
                    assert_eq!(path, home(&disk).segment_path(number), "{position:?}");
                    assert!(offset <= at as u64, "{position:?} was noticed at {offset}");
                }
                Err(error) => panic!("{position:?}: {error}"),
                Ok((found, recovered)) => {
                    assert!(log.appended.starts_with(&found), "{position:?}");
                    if at < used as usize {
                        assert!(whole.proven <= position, "{position:?} was not called damage");
                        assert!(found.len() <= log.appended.len(), "{position:?}");
                        assert!(recovered.cut.is_some(), "{position:?} was not reported");
                    } else {
                        assert_eq!(found, log.appended, "{position:?}");
                    }
                }
            }
        }
    }
}

/// A closed log proves all of itself.
#[test]
fn a_flipped_bit_in_a_closed_log_is_refused() {
    let mut log = proven_log();
    let other = TestLog::new(SMALL).writer;
    let end = std::mem::replace(&mut log.writer, other).close().unwrap();
    for number in 1..=end.segment() {
        let bytes = bytes_of(&log.disk, number);
        let segments = log.contents().1.segments;
        let used = segments.iter().find(|segment| segment.number == number).unwrap().length;
        for at in 0..used as usize {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let disk = log.disk.image();
            put_bytes(&disk, number, &bytes);
            let refused = read(&disk, log.proof()).unwrap_err();
            assert!(
                matches!(&refused, Error::Corrupt { path, .. }
                    if *path == home(&disk).segment_path(number)),
                "{number}:{at}: {refused}"
            );
        }
    }
}

/// Every way to cut a file short: refused where something proves that more was there, reported
/// otherwise.
#[test]
fn a_shortened_segment_is_never_silent() {
    let log = proven_log();
    let (_, whole) = log.contents();
    for segment in &whole.segments {
        let bytes = bytes_of(&log.disk, segment.number);
        for len in 0..segment.length {
            let disk = log.disk.image();
            put_bytes(&disk, segment.number, &bytes[..len as usize]);
            let position = Position::new(segment.number, len);
            match read(&disk, log.proof()) {
                Err(Error::Corrupt { path, .. }) => {
                    assert!(position < whole.proven, "{position:?}");
                    assert_eq!(path, home(&disk).segment_path(segment.number));
                }
                Err(error) => panic!("{position:?}: {error}"),
                Ok((found, recovered)) => {
                    assert!(whole.proven <= position, "{position:?}");
                    assert!(log.appended.starts_with(&found));
                    assert!(recovered.cut.is_some(), "{position:?}");
                }
            }
        }
    }
}

/// A missing segment is refused by its name when it was proven, and cut otherwise; so are two that
/// changed places, and one that stands in the place of another.
#[test]
fn missing_swapped_and_doubled_segments() {
    let log = proven_log();
    let (_, whole) = log.contents();
    let numbers: Vec<u64> = whole.segments.iter().map(|segment| segment.number).collect();
    for &lost in &numbers {
        let disk = log.disk.image();
        disk.remove_file(&home(&disk).segment_path(lost)).unwrap();
        refused_or_cut(&log, &disk, &whole, lost);
    }
    for &one in &numbers {
        for &other in numbers.iter().filter(|other| **other != one) {
            let (a, b) = (bytes_of(&log.disk, one), bytes_of(&log.disk, other));
            let disk = log.disk.image();
            put_bytes(&disk, one, &b);
            refused_or_cut(&log, &disk, &whole, one);
            put_bytes(&disk, other, &a);
            refused_or_cut(&log, &disk, &whole, one.min(other));
        }
    }
}

fn refused_or_cut(log: &TestLog, disk: &MemoryVfs, whole: &Recovered, number: u64) {
    match read(disk, log.proof()) {
        Err(Error::Corrupt { path, .. }) => assert_eq!(path, home(disk).segment_path(number)),
        Err(error) => panic!("{error}"),
        Ok((found, _)) => {
            assert!(log.appended.starts_with(&found));
            assert!(whole.proven < Position::new(number, HEADER_BYTES), "segment {number}");
        }
    }
}

/// The manifest's proof is proof enough.
#[test]
fn bytes_that_the_manifest_knows_must_be_there() {
    let mut log = TestLog::new(SMALL);
    log.put_many(3, 50);
    let end = log.sync();
    let proof = Proof { durable: Some(end), ..log.proof() };
    assert_eq!(read(&log.disk, proof).unwrap().0, log.appended);
    let bytes = bytes_of(&log.disk, 1);
    for from in 0..end.offset() as usize {
        let disk = log.disk.image();
        put_bytes(&disk, 1, &[&bytes[..from], &vec![0; bytes.len() - from][..]].concat());
        if bytes[from..].iter().all(|byte| *byte == 0) {
            continue;
        }
        let refused = read(&disk, proof).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "zeros from {from}: {refused}");
        assert!(read(&disk, log.proof()).is_ok(), "zeros from {from}");
    }
}

/// Lengths, counts and kinds that no writer writes, under checksums that match.
#[test]
fn crafted_frames_are_refused() {
    let mut log = TestLog::new(SMALL);
    log.put_many(2, 50);
    let end = log.sync();
    let next = log.writer.next_seq();
    let place = Place { store: STORE, file: 1 };
    let plain = Frame {
        kind: FrameKind::Record,
        first_seq: next,
        count: 1,
        payload_len: 0,
        payload_hash: payload_hash(&[]),
        durable: 0,
    };
    let crafted = [
        Frame { payload_len: u32::MAX, ..plain },
        Frame { payload_len: u32::MAX - 36, ..plain },
        Frame { payload_len: i32::MAX as u32, ..plain },
        Frame { payload_len: 900, ..plain },
        Frame { payload_hash: 0, ..plain },
        Frame { first_seq: next + 1, ..plain },
        Frame { first_seq: crate::key::SEQNO_MAX, count: u32::MAX, ..plain },
        Frame { first_seq: 0, ..plain },
        Frame { kind: FrameKind::Edit, ..plain },
        Frame { kind: FrameKind::Last, ..plain },
        Frame { kind: FrameKind::Middle, ..plain },
        Frame { kind: FrameKind::First, ..plain },
    ];
    let bytes = bytes_of(&log.disk, 1);
    for frame in crafted {
        let disk = log.disk.image();
        let (header, _) = frame.encode(place, end.offset().into());
        let mut bytes = bytes.clone();
        bytes[end.offset() as usize..][..header.len()].copy_from_slice(&header);
        put_bytes(&disk, 1, &bytes);
        let (found, recovered) = read(&disk, log.proof()).unwrap();
        assert_eq!(found, log.appended, "{frame:?}");
        assert_eq!(recovered.end, end, "{frame:?}");
        assert_eq!(recovered.cut.unwrap().offset, u64::from(end.offset()), "{frame:?}");
        assert!(read(&disk, Proof { durable: Some(end), ..log.proof() }).is_ok());
    }
}

/// A frame is bound to its store, its file and its offset.
#[test]
fn a_moved_frame_does_not_verify() {
    let mut bytes = Vec::new();
    let payload = b"twelve bytes";
    let frame = Frame {
        kind: FrameKind::Edit,
        first_seq: 9,
        count: 0,
        payload_len: payload.len() as u32,
        payload_hash: payload_hash(&[payload]),
        durable: 0,
    };
    let place = Place { store: 1, file: 2 };
    let checksum = frame.push(&mut bytes, place, 64, &[payload]);
    let left = bytes.len() as u64;
    assert_eq!(Frame::decode(&bytes, place, 64, left), Ok((frame, checksum)));
    assert_eq!(frame.payload(&bytes), Ok(&payload[..]));
    let elsewhere = [
        (Place { store: 3, ..place }, 64),
        (Place { file: 3, ..place }, 64),
        (place, 68),
        (place, 0),
    ];
    for (place, offset) in elsewhere {
        let moved = Frame::decode(&bytes, place, offset, left);
        assert_eq!(moved, Err(FrameError::Checksum));
    }
    assert_eq!(Frame::decode(&bytes, place, 64, left - 1), Err(FrameError::Length));
}

/// Files that are not the log's are let alone.
#[test]
fn unknown_names_are_ignored() {
    let log = proven_log();
    let dir = home(&log.disk).path;
    for name in ["log-1", "log-00000000000x", "log-0000000000001", "LOCK", "spare", "log-"] {
        log.disk.open(&dir.join(name), Open::Create).unwrap().write_at(b"mine", 0).unwrap();
    }
    log.disk.create_dir(&dir.join("log-000000000099")).unwrap();
    let (found, recovered) = log.contents();
    assert_eq!((found, recovered.cut), (log.appended, None));
}
