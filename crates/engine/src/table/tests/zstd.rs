//! Tables whose blocks zstd packed, whole and damaged.

use std::{
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    damage::{contents, read_all, read_lies, replace},
    *,
};
use crate::table::format::{
    DICTIONARY_BYTES_MAX, FEATURE_ZSTD, FOOTER_BYTES, FileSeed, Footer, Sealer, TRAILER_BYTES,
};

fn packed(block_bytes: u32) -> TableOptions {
    TableOptions { block_bytes, zstd: true, ..TableOptions::default() }
}

/// Rows that have much in common, and little within a block.
fn rows(count: u64) -> Entries {
    let mut random = Random::new(count);
    let mut row = |n: u64| {
        let (city, score) = (random.below(500), random.below(1 << 20));
        let value = format!("{{\"city\":\"city-{city:04}\",\"score\":{score},\"active\":true}}");
        entry(format!("user:{n:08}").as_bytes(), 1 + n, value.as_bytes())
    };
    (0..count).map(&mut row).collect()
}

fn footer_of(vfs: &MemoryVfs, info: &TableInfo) -> Footer {
    open(vfs, info, 0).footer().unwrap()
}

/// Every entry of the table's file, as far as it can be found, and what was damaged.
fn examined(vfs: &MemoryVfs, table: u64) -> (usize, Vec<String>) {
    let mut examiner = Examiner::open(vfs, Path::new(&path(table)), STORE, table).unwrap();
    let mut damages = Vec::new();
    let mut layout = examiner.layout(&mut |error| damages.push(error.to_string()));
    let mut entries = 0;
    for piece in std::mem::take(&mut layout.pieces) {
        match piece {
            Piece::Block { offset, stored, .. } => match examiner.block(offset, stored) {
                Ok(block) => entries += block.count(),
                Err(error) => damages.push(error.to_string()),
            },
            Piece::Unknown { mut offset, end } => {
                while let Some((at, stored)) =
                    examiner.find_block(offset, end, &mut layout).unwrap().0
                {
                    entries += examiner.block(at, stored).unwrap().count();
                    offset = at + u64::from(stored);
                }
            }
        }
    }
    (entries, damages)
}

#[test]
fn blocks_held_back_and_those_behind_them_are_read_like_others() {
    // The last one has more than is held back, and one block that is longer than all of that.
    for count in [1, 5, 40, 3000, 12_000] {
        let mut entries = rows(count);
        if count == 12_000 {
            let long = vec![7; 600 << 10];
            entries.extend([entry(b"user:00009000+", 1, &long), entry(b"zzz", 1, &long)]);
        }
        let vfs = MemoryVfs::new();
        let info = write(&vfs, 1, packed(1024), &entries);
        assert_eq!(read_all(&open(&vfs, &info, 1 << 20), &entries), 0, "{count} rows");
        assert_eq!(examined(&vfs, 1), (entries.len(), Vec::new()), "{count} rows");
        let has_dictionary = footer_of(&vfs, &info).dictionary().is_some();
        assert_eq!(has_dictionary, 1000 < count, "{count} rows");
        let other = MemoryVfs::new();
        let lz4 = write(&other, 1, TableOptions { zstd: false, ..packed(1024) }, &entries);
        if 1000 < count {
            assert!(info.bytes < lz4.bytes * 3 / 4, "{} bytes, {} by lz4", info.bytes, lz4.bytes);
        }
        assert_eq!(footer_of(&other, &lz4).features & FEATURE_ZSTD, 0);
    }
}

/// Keys and values without any pattern are stored as they are, and their table is like any other.
#[test]
fn a_table_that_does_not_compress_has_no_dictionary() {
    let mut random = Random::new(3);
    let mut noise = |len: usize| -> Vec<u8> { (0..len).map(|_| random.next_u64() as u8).collect() };
    let entries: Entries = (0..900).map(|n| entry(&noise(16), 1 + n, &noise(60))).collect();
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, packed(1024), &entries);
    let footer = footer_of(&vfs, &info);
    assert_eq!((footer.features & FEATURE_ZSTD, footer.dictionary()), (0, None));
    assert_eq!(read_all(&open(&vfs, &info, 0), &entries), 0);
}

/// What is held back and what training takes is counted; without room, blocks are packed one by one.
#[test]
fn without_room_there_is_no_dictionary() {
    let entries = rows(9000);
    for (room, has_dictionary) in [(16 << 10, false), (1 << 20, false), (14 << 20, true)] {
        let vfs = MemoryVfs::new();
        let mut writer = TableWriter::create(&vfs, path(1), STORE, 1, packed(1024)).unwrap();
        writer.stay_within(64 << 10, room);
        for (nth, ((key, Reverse(stamp)), value)) in entries.iter().enumerate() {
            writer.add(key, *stamp, value).unwrap();
            assert!(!writer.is_out_of_room() || room == 16 << 10 && 100 < nth, "row {nth}");
        }
        let info = writer.finish().unwrap();
        let footer = footer_of(&vfs, &info);
        assert_eq!(footer.features & FEATURE_ZSTD, FEATURE_ZSTD);
        assert_eq!(footer.dictionary().is_some(), has_dictionary, "{room} bytes");
        assert_eq!(read_all(&open(&vfs, &info, 1 << 20), &entries), 0);
    }
}

#[test]
fn the_dictionary_is_charged_with_index_and_filter() {
    let (entries, vfs) = (rows(3000), MemoryVfs::new());
    let charged = |info: &TableInfo| {
        let (cache, meter) = (Arc::new(BlockCache::new(0)), Arc::new(Meter::default()));
        let table = Table::new(Arc::new(vfs.clone()), file(info), cache, Arc::clone(&meter) as _);
        table.warm();
        let warm = meter.0.load(Ordering::Relaxed);
        table.evict_meta();
        assert_eq!(meter.0.load(Ordering::Relaxed), 0);
        warm
    };
    let with = charged(&write(&vfs, 1, packed(1024), &entries));
    let without = charged(&write(&vfs, 2, TableOptions { zstd: false, ..packed(1024) }, &entries));
    let dictionary = with - without;
    assert!((27 << 10..=(28 << 10) + DICTIONARY_BYTES_MAX as u64).contains(&dictionary));
}

#[test]
fn every_flipped_byte_is_noticed() {
    let (entries, vfs) = (rows(500), MemoryVfs::new());
    let info = write(&vfs, 1, packed(256), &entries);
    assert!(footer_of(&vfs, &info).dictionary().is_some());
    let bytes = contents(&vfs, 1);
    for at in (32..bytes.len()).step_by(7) {
        let file = replace(&vfs, 1, &bytes);
        file.write_at(&[bytes[at] ^ 1], at as u64).unwrap();
        let table = open(&vfs, &info, 1 << 20);
        let noticed = read_all(&table, &entries) + usize::from(table.describe().is_err());
        assert!(0 < noticed, "unnoticed at {at}");
    }
}

/// A flipped bit in the dictionary would be the end of every block, were there no copy.
#[test]
fn a_damaged_dictionary_costs_nothing_but_a_repair() {
    let (entries, vfs) = (rows(3000), MemoryVfs::new());
    let info = write(&vfs, 1, packed(1024), &entries);
    let (at, stored) = footer_of(&vfs, &info).dictionary().unwrap();
    let mut bytes = contents(&vfs, 1);
    bytes[at as usize + stored / 2] ^= 1;
    replace(&vfs, 1, &bytes);
    let found = open(&vfs, &info, 0).get(b"user", 0, Stamp(u64::MAX), ReadHow::DISK);
    assert!(matches!(found, Err(Error::Corrupt { offset, .. }) if offset == at), "{found:?}");
    let (found, damages) = examined(&vfs, 1);
    assert_eq!((found, damages.len()), (entries.len(), 1), "{damages:?}");
}

#[test]
fn without_a_footer_the_dictionary_is_found_by_what_it_begins_with() {
    let (mut entries, vfs) = (rows(3000), MemoryVfs::new());
    // Bytes that begin as one does are none.
    entries.extend([entry(b"a", 1, &[0x37, 0xa4, 0x30, 0xec, 0x37, 0xa4, 0x30, 0xec])]);
    write(&vfs, 1, packed(1024), &entries);
    let mut bytes = contents(&vfs, 1);
    let end = bytes.len() - FOOTER_BYTES;
    bytes[end + 20] ^= 1;
    replace(&vfs, 1, &bytes);
    let (found, damages) = examined(&vfs, 1);
    assert_eq!((found, damages.len()), (entries.len(), 1), "{damages:?}");
}

/// The dictionary and the blocks say what a liar likes: no reader panics or takes more than its place.
#[test]
fn lies_with_valid_checksums() {
    let (entries, vfs) = (rows(600), MemoryVfs::new());
    let info = write(&vfs, 1, packed(512), &entries);
    let bytes = contents(&vfs, 1);
    let footer = footer_of(&vfs, &info);
    let (dictionary_at, dictionary_stored) = footer.dictionary().unwrap();
    let mut random = Random::new(8);
    for round in 0..4000 {
        let mut lie = bytes.clone();
        let at = dictionary_at as usize;
        for _ in 0..=random.below(3) {
            let reach = [8, 200, dictionary_stored - TRAILER_BYTES][random.index(3)];
            lie[at + random.index(reach)] = random.next_u64() as u8;
        }
        let payload = lie[at..at + dictionary_stored - TRAILER_BYTES].to_vec();
        let (mut sealed, seed) = (Vec::new(), FileSeed::new(STORE, 1).at(dictionary_at));
        Sealer::new(Codec::Raw).seal(&payload, 0, seed, &mut sealed);
        lie[at..at + dictionary_stored].copy_from_slice(&sealed);
        for (start, end) in stored_blocks(&bytes, STORE, 1) {
            if (end as u64) <= footer.filter_at && random.chance(1, 3) {
                lie[start + random.index(end - start - 8)] ^= 1 << random.below(8);
                mend_block(&mut lie, start, end, STORE, 1);
            }
        }
        replace(&vfs, 1, &lie);
        let read = catch_unwind(AssertUnwindSafe(|| {
            read_lies(&open(&vfs, &info, 1 << 16));
            black_box(examined(&vfs, 1));
        }));
        assert!(read.is_ok(), "round {round}");
    }
}
