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

/// A header of zeros, or of an earlier segment, may be an unused segment's, unless frames follow.
#[test]
fn a_blank_header_before_frames_is_no_unused_segment() {
    let mut log = proven_log();
    log.sync();
    let last = log.writer.current_segment();
    for proven in [false, true] {
        for other in [vec![0; 88], bytes_of(&log.disk, 2)[..88].to_vec()] {
            let disk = log.disk.image();
            let bytes = bytes_of(&disk, last);
            put_bytes(&disk, last, &[&other, &bytes[88..]].concat());
            let place = home(&disk).segment_path(last);
            match read(&disk, log.proof()) {
                Err(Error::Corrupt { path, offset, .. }) if proven => {
                    assert_eq!((path, offset), (place, 0));
                }
                Ok((_, Recovered { cut: Some(cut), .. })) if !proven => {
                    assert_eq!((cut.path, cut.offset), (place, 0));
                    assert!(100 < cut.bytes_dropped);
                }
                other => panic!("proven {proven}: {:?}", other.map(|(found, _)| found.len())),
            }
        }
        log.writer.append_durable_marker().unwrap();
        log.writer.hand_over().unwrap();
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

/// Two logs were the same up to some record and have segments of the same lengths: one's segment is
/// not the other's, though each of its frames verifies.
#[test]
fn a_segment_of_another_history_does_not_fit() {
    let ends = |byte: u8| {
        let mut log = TestLog::new(SMALL);
        for step in 0..30 {
            let payload = [if step < 20 { 0 } else { byte }; 100];
            let first = log.writer.next_seq();
            let hash = payload_hash(&[&payload]);
            log.writer.append(first, 1, &[&payload], hash).unwrap();
            log.sync();
        }
        log
    };
    let (one, other) = (ends(1), ends(2));
    let last = one.writer.current_segment();
    assert!(3 < last);
    let mut strangers = 0;
    for number in 1..last {
        let (disk, bytes) = (one.disk.image(), bytes_of(&other.disk, number));
        if bytes == bytes_of(&one.disk, number) {
            continue;
        }
        strangers += 1;
        put_bytes(&disk, number, &bytes);
        let refused = read(&disk, one.proof()).map(|(found, _)| found.len()).unwrap_err();
        assert!(
            matches!(&refused, Error::Corrupt { path, .. }
                if *path == home(&disk).segment_path(number)),
            "{refused}"
        );
    }
    assert!(0 < strangers);
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

/// Whatever is done to the files, records that come back are those that were written, in order.
#[test]
fn random_damage_makes_nothing_up() {
    let log = proven_log();
    let last = log.writer.current_segment();
    let (mut refused, mut cut) = (0, 0);
    for seed in 0..3000 {
        let (disk, mut draw) = (log.disk.image(), Random::new(seed));
        for _ in 0..draw.between(1, 4) {
            damage(&disk, last, &mut draw);
        }
        match read(&disk, log.proof()) {
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
            Ok((found, recovered)) => {
                assert!(log.appended.starts_with(&found), "seed {seed}");
                let lost = found.len() < log.appended.len();
                let silent = lost && recovered.cut.is_none();
                assert!(!silent || looks_unused(&disk, last, &recovered), "seed {seed}: silent");
                cut += usize::from(lost);
            }
        }
    }
    assert!(1000 < refused && 20 < cut, "{refused} refused, {cut} cut");
}

/// Whether what follows the end cannot be told from room that was never used, or from a segment that
/// was prepared.
fn looks_unused(disk: &MemoryVfs, last: u64, recovered: &Recovered) -> bool {
    let bytes = bytes_of(disk, last);
    let end = recovered.end;
    let from = if end.segment() == last { end.offset() as usize } else { 0 };
    let earlier = from == 0 && bytes.len() >= 88 && bytes[24..32] < last.to_le_bytes()[..];
    earlier || bytes[from..].iter().all(|byte| *byte == 0)
}

fn damage(disk: &MemoryVfs, last: u64, draw: &mut Random) {
    let number = draw.between(1, last);
    let mut bytes = bytes_of(disk, number);
    let (from, to) = (draw.index(bytes.len() + 1), draw.index(bytes.len() + 1));
    let range = from.min(to)..from.max(to);
    match draw.below(6) {
        0 => bytes[range].fill(0),
        1 => draw.fill(&mut bytes[range]),
        2 => bytes.truncate(from.max(1)),
        3 => bytes.extend(draw.bytes(100)),
        4 => {
            let other = bytes_of(disk, draw.between(1, last));
            let range = range.start.min(other.len())..range.end.min(other.len());
            bytes[range.clone()].copy_from_slice(&other[range]);
        }
        _ => bytes.copy_within(range, 0),
    }
    put_bytes(disk, number, &bytes);
}

/// Segments made of frames and headers that verify and make no sense.
#[test]
fn sense_is_not_taken_for_granted() {
    for seed in 0..4000 {
        let mut draw = Random::new(seed);
        let disk = MemoryVfs::new();
        disk.create_dir(&home(&disk).path).unwrap();
        for number in 1..=draw.between(1, 3) {
            put_bytes(&disk, number, &nonsense(number, &mut draw));
        }
        let durable = draw.chance(1, 3).then(|| Position::from_word(odd(&mut draw)));
        if let Ok((_, recovered)) = read(&disk, Proof { oldest: 1, durable }) {
            let next = recovered.next_seq.unwrap_or(1);
            let first = recovered.end.segment();
            LogWriter::create_after(home(&disk), SMALL, recovered, next).unwrap();
            let again = read(&disk, Proof { oldest: 1, durable }).unwrap().1;
            assert!(first < again.end.segment(), "seed {seed}");
        }
    }
}

/// A number near some limit.
fn odd(draw: &mut Random) -> u64 {
    let base =
        *draw.pick(&[0, 1, 2, 36, 88, 89, 1 << 31, 1 << 32, 2 << 32, 3 << 32, 1 << 56]).unwrap();
    match draw.below(8) {
        0 => u64::MAX - draw.below(2),
        1..5 => base,
        _ => (base + draw.below(200)).saturating_sub(draw.below(3)),
    }
}

fn nonsense(number: u64, draw: &mut Random) -> Vec<u8> {
    let sane = draw.chance(3, 4);
    let header = segment::Header {
        bytes: odd(draw) as u32,
        store: STORE,
        number,
        first_seq: if sane { 1 } else { odd(draw) },
        previous: segment::Previous {
            number: if sane { number - 1 } else { odd(draw) },
            length: odd(draw) as u32,
            chain: 0,
        },
        durable: Position::from_word(if sane { 0 } else { odd(draw) }),
        manifest_edit: odd(draw),
    };
    let mut bytes = header.encode().0.to_vec();
    let mut next = 1;
    for _ in 0..draw.below(6) {
        let payload = draw.bytes(draw.clone().index(60));
        let kinds = [
            FrameKind::Record,
            FrameKind::First,
            FrameKind::Middle,
            FrameKind::Last,
            FrameKind::Durable,
            FrameKind::CleanEnd,
        ];
        let frame = Frame {
            kind: *draw.pick(&kinds).unwrap(),
            first_seq: if draw.chance(9, 10) { next } else { odd(draw) & crate::key::SEQNO_MAX },
            count: if draw.chance(3, 4) { draw.below(3) as u32 } else { odd(draw) as u32 },
            payload_len: payload.len() as u32,
            payload_hash: payload_hash(&[&payload]),
            durable: if draw.chance(3, 4) { 0 } else { odd(draw) as u32 },
        };
        let offset = bytes.len() as u64;
        frame.push(&mut bytes, Place { store: STORE, file: number }, offset, &[&payload]);
        next = (frame.first_seq + u64::from(frame.count)).min(crate::key::SEQNO_MAX);
    }
    bytes.resize(bytes.len() + draw.index(80), 0);
    bytes
}
