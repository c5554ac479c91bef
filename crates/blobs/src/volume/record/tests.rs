//! Records encoded, decoded, flipped, moved and cut.

use super::*;

fn draft(key: &[u8]) -> Draft<'_> {
    Draft { kind: Kind::Put, key, generation: 1 << 27, expiry: None, md5: None, attributes: b"" }
}

const BONDS: Bonds = Bonds { salt: 7, extent: 3 };

fn bound(draft: &Draft<'_>, value: &[u8], offset: u64) -> Vec<u8> {
    let mut record = encode(draft, value);
    BONDS.bind(&mut record, offset, false);
    record
}

fn header(record: &[u8]) -> Header {
    match front(record) {
        Front::Record(header) => header,
        other => panic!("{other:?}"),
    }
}

/// Ten million objects of 1 KiB: the bytes beside key and value.
#[test]
fn a_small_record_costs_few_bytes() {
    let record = bound(&draft(b"0123456789abcdef"), &[1; 1024], 64);
    assert_eq!(record.len() - 16 - 1024, 16);
}

#[test]
fn what_was_said_comes_back() {
    for bytes in [0, 1, 1024, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
        let (expiry, digest) = (Some(1_700_000_000_000), Some([9; 16]));
        for (expiry, md5) in [(None, None), (expiry, digest), (expiry, None), (None, digest)] {
            for kind in [Kind::Put, Kind::Tombstone, Kind::State] {
                let attributes = if md5.is_some() { &[3; 200][..] } else { &[] };
                let draft = Draft { kind, expiry, md5, attributes, ..draft(b"key") };
                let record = bound(&draft, &vec![5; bytes], 1000);
                let header = header(&record);
                assert_eq!((header.kind, header.expiry, header.md5), (kind, expiry, md5));
                assert_eq!((header.bytes, &*header.key), (bytes as u64, &b"key"[..]));
                assert_eq!(header.record_bytes(), record.len() as u64);
                let (has_md5, length) = (md5.is_some(), bytes as u64);
                let known =
                    record_bytes(b"key", 1 << 27, length, expiry, has_md5, attributes.len());
                assert_eq!(known, header.record_bytes(), "it is known without the record");
                assert!(BONDS.holds(&record[..header.sealed_bytes()], 1000));
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let draft = Draft { md5: Some([1; 16]), expiry: Some(77), ..draft(b"some key") };
    let record = bound(&draft, b"some value", 64);
    for bit in 0..record.len() * 8 {
        let mut flipped = record.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Front::Record(header) = BONDS.front(&flipped, 64) {
            let sealed = flipped.get(..header.sealed_bytes());
            assert!(!sealed.is_some_and(|sealed| BONDS.holds(sealed, 64)), "bit {bit}");
        }
    }
}

#[test]
fn a_record_holds_in_its_place_alone() {
    let record = bound(&draft(b"key"), b"value", 64);
    assert!(BONDS.holds(&record, 64));
    assert!(!BONDS.holds(&record, 65));
    assert!(!Bonds { extent: 4, ..BONDS }.holds(&record, 64));
    assert!(!Bonds { salt: 8, ..BONDS }.holds(&record, 64));
}

#[test]
fn a_record_can_be_moved_without_its_hash_being_taken_anew() {
    for bytes in [10, PIECE_BYTES * 2 + 5] {
        let mut record = bound(&draft(b"key"), &vec![4; bytes], 64);
        BONDS.unbind(&mut record, 64);
        let other = Bonds { extent: 9, ..BONDS };
        other.bind(&mut record, 4096, true);
        let header = header(&record);
        assert!(header.begins_group);
        assert!(other.holds(&record[..header.sealed_bytes()], 4096));
        if header.in_pieces {
            let start = header.head_bytes;
            let sum = Take(&record[start + PIECE_BYTES..]).u64().unwrap();
            let piece = &record[start..start + PIECE_BYTES];
            assert!(other.piece_holds(piece, sum, 4096 + start as u64));
        }
    }
}

#[test]
fn zeros_are_no_record() {
    assert_eq!(front(&[0; 100]), Front::Neither);
}

#[test]
fn a_void_covers_what_it_says() {
    for bytes in [13, 200, 20_000, 1 << 27] {
        for begins_group in [false, true] {
            let void = Void { bytes, begins_group };
            let written = BONDS.void(void, 512);
            assert!(written.len() <= RECORD_BYTES_MIN);
            assert_eq!(BONDS.front(&written, 512), Front::Void(void));
            assert_eq!(BONDS.front(&written, 513), Front::Neither);
        }
    }
}

#[test]
fn the_front_of_a_record_asks_for_more() {
    let record = bound(&draft(&[b'k'; 300]), b"value", 64);
    let head = record.len() - 5;
    for bytes in 0..head {
        assert_eq!(front(&record[..bytes]), Front::Short, "{bytes}");
    }
    assert!(matches!(front(&record[..head]), Front::Record(_)));
}
