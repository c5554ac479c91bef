//! The bytes are those of `docs/format/log.md`, read here with nothing of the log's own code.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::*;

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[test]
fn bytes_are_as_documented() {
    let mut log = TestLog::new(SMALL);
    log.writer.set_manifest_edit(77);
    let payloads = [&b"first"[..], b"", b"eightfit"];
    for (index, payload) in payloads.iter().enumerate() {
        let first = log.writer.next_seq();
        log.writer.append(first, 2, &[payload], payload_hash(&[payload])).unwrap();
        if index == 1 {
            log.sync();
        }
    }
    let long = [9; 3000];
    log.writer.append(7, 3, &[&long], payload_hash(&[&long])).unwrap();
    log.writer.hand_over().unwrap();

    let bytes = bytes_of(&log.disk, 1);
    assert_eq!(bytes.len(), 1024);
    assert_eq!(&bytes[..8], b"OLIVLOG\0");
    let words: Vec<u64> = bytes[8..88].chunks(8).map(number).collect();
    assert_eq!(words[..9], [1024 << 32 | 1, STORE, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(words[9], xxh3_64(&bytes[..80]));
    let mut chain = words[9];
    let mut at = 88;
    let frames: [(u64, u64, u64, u64, &[u8]); 4] = [
        (1, 1, 2, 0, payloads[0]),
        (1, 3, 2, 0, payloads[1]),
        (1, 5, 2, 88 + 44 + 36, payloads[2]),
        (2, 7, 3, 88 + 44 + 36, &long[..988 - 88 - 44 - 36 - 44 - 36]),
    ];
    for (kind, seq, count, durable, payload) in frames {
        let frame = &bytes[at..at + 36 + payload.len().next_multiple_of(4)];
        let covered = [&frame[8..36], &1u64.to_le_bytes(), &(at as u64).to_le_bytes()].concat();
        assert_eq!(number(&frame[..8]), xxh3_64_with_seed(&covered, STORE));
        assert_eq!(number(&frame[8..16]), xxh3_64(payload));
        assert_eq!(number(&frame[16..24]), seq << 8 | kind);
        assert_eq!(number(&frame[24..28]), count);
        assert_eq!(number(&frame[28..32]), payload.len() as u64);
        assert_eq!(number(&frame[32..36]), durable);
        assert_eq!(&frame[36..36 + payload.len()], payload);
        assert!(frame[36 + payload.len()..].iter().all(|byte| *byte == 0));
        chain = xxh3_64_with_seed(&frame[..8], chain);
        at += frame.len();
    }
    assert_eq!(at, 988);
    assert_eq!(bytes[at..], [0; 36]);

    let bytes = bytes_of(&log.disk, 2);
    let words: Vec<u64> = bytes[8..88].chunks(8).map(number).collect();
    let durable = 1 << 32 | (88 + 44 + 36);
    assert_eq!(words[..9], [1024 << 32 | 1, STORE, 2, 7, 1, 988, chain, durable, 77]);
    assert_eq!(bytes[88 + 16], 3, "a middle piece");
    let last = bytes_of(&log.disk, log.writer.current_segment());
    assert_eq!(last[88 + 16], 4, "the last piece");
}
