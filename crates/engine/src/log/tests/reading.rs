//! Reading does not depend on where the reads are cut.

use super::{reader::SegmentReader, *};

/// The reader's window.
const WINDOW: usize = 1 << 20;

/// A frame is found by sweeping wherever it stands, over the edge of a window too.
#[test]
fn sweeping_finds_a_frame_anywhere() {
    let disk = MemoryVfs::new();
    disk.create_dir(&home(&disk).path).unwrap();
    let payload = [5; 300];
    let frame = Frame {
        kind: FrameKind::Record,
        first_seq: 1,
        count: 1,
        payload_len: 300,
        payload_hash: payload_hash(&[&payload]),
        durable: 100,
    };
    let from = 3 * 4;
    let around = [from, from + WINDOW, from + WINDOW - 400, from + 2 * WINDOW, 3 * WINDOW - 400];
    for base in around {
        for at in (base.saturating_sub(48).max(100)..base + 48).step_by(4) {
            let mut bytes = vec![0; at];
            let place = Place { store: STORE, file: 1 };
            frame.push(&mut bytes, place, at as u64, &[&payload]);
            let end = bytes.len();
            bytes.resize(end.max(3 * WINDOW), 0);
            put_bytes(&disk, 1, &bytes);
            let mut reader = SegmentReader::open(&home(&disk), 1).unwrap();
            let sweep = reader.sweep(from as u64).unwrap();
            assert_eq!((sweep.durable, sweep.frames_end), (100, end as u64), "at {at}");
            assert_eq!(reader.sweep(at as u64 + 4).unwrap().durable, 0);
        }
    }
}

/// Records of all lengths, some longer than a window.
#[test]
fn records_over_the_edge_of_a_window() {
    let options = LogOptions { segment_bytes: 8 << 20, first_bytes: 8 << 20, recycle: true };
    let mut log = TestLog::new(options);
    for len in [10, WINDOW - 200, 30, WINDOW, 50, 2 * WINDOW + 5, 0, 100_000] {
        log.put(len);
    }
    log.put_many(2000, 3000);
    log.sync();
    log.put(9 << 20);
    log.put(1);
    log.sync();
    let (found, recovered) = log.contents();
    assert!(found == log.appended);
    assert_eq!(recovered.cut, None);
    assert_eq!(recovered.end, log.writer.position());
}
