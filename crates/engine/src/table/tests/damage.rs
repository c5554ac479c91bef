//! Tables whose bytes are not the ones that were written.

use std::{
    collections::HashSet,
    hint::black_box,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use olivine_vfs::{Entry, File, Lock, Open};

use super::*;
use crate::{
    error::Result,
    table::{block_builder::BlockBuilder, format::FileSeed, format::Sealer},
};

pub(super) fn contents(vfs: &MemoryVfs, table: u64) -> Vec<u8> {
    let file = vfs.open(Path::new(&path(table)), Open::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

pub(super) fn replace(vfs: &MemoryVfs, table: u64, bytes: &[u8]) -> Arc<dyn File> {
    let file = vfs.open(Path::new(&path(table)), Open::Write).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

/// A small table with everything in it, whose meaning every reader below compares with.
fn sample() -> Entries {
    let mut entries: Entries = (0..60_u64)
        .map(|n| entry(format!("key:{n:04}").as_bytes(), 100 + n, &[n as u8; 9]))
        .collect();
    entries.extend((1..40).map(|n| entry(b"key:0033", n, &[n as u8; 30])));
    entries.insert((b"key:0044".to_vec(), Reverse(Stamp::new(900, Kind::Delete))), Vec::new());
    entries
}

/// Reads a table in every way. Each answer must be right or `Corrupt` (for a length: also another
/// format or feature); the number of answers that were errors is returned.
pub(super) fn read_all(table: &Arc<Table>, entries: &Entries) -> usize {
    let mut errors = 0;
    let mut accept = |error: Error| {
        let known =
            matches!(error, Error::Corrupt { .. } | Error::Format { .. } | Error::Unusable { .. });
        assert!(known, "{error:?}");
        errors += 1;
    };
    for (key, Reverse(newest)) in entries.keys() {
        match table.get(key, key_hash(key), *newest, ReadHow::DISK) {
            Ok(found) => {
                let found = found.map(|(stamp, value)| (stamp, value.to_vec()));
                assert_eq!(found, expected(entries, key, *newest));
            }
            Err(error) => accept(error),
        }
    }
    let list: Vec<_> = entries.iter().collect();
    for how in [ReadHow::DISK, ReadHow::SCAN] {
        let mut cursor = TableCursor::new(Arc::clone(table), how);
        let mut moved = cursor.seek_first();
        let mut nth = 0;
        while moved.is_ok() && cursor.valid() {
            let ((key, Reverse(stamp)), value) = list[nth];
            let found = (cursor.key(), cursor.stamp(), cursor.value());
            assert_eq!(found, (&key[..], *stamp, &value[..]));
            nth += 1;
            moved = cursor.next();
        }
        assert!(moved.is_err() || nth == list.len(), "entries are missing");
        moved.err().into_iter().for_each(&mut accept);
        let mut moved = cursor.seek_last();
        let mut nth = list.len();
        while moved.is_ok() && cursor.valid() {
            nth -= 1;
            assert_eq!(cursor.key(), list[nth].0.0);
            moved = cursor.prev();
        }
        assert!(moved.is_err() || nth == 0, "entries are missing");
        moved.err().into_iter().for_each(&mut accept);
    }
    errors
}

/// Every byte of a table, changed in several ways, is noticed or does not matter.
#[test]
fn every_flipped_byte() {
    let entries = sample();
    for codec in [Codec::Raw, Codec::Lz4] {
        let vfs = MemoryVfs::new();
        let info = write(&vfs, 1, small_blocks(codec), &entries);
        let bytes = contents(&vfs, 1);
        let mut harmless = Vec::new();
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let file = replace(&vfs, 1, &bytes);
                file.write_at(&[bytes[at] ^ flip], at as u64).unwrap();
                let table = open(&vfs, &info, 1 << 20);
                if read_all(&table, &entries) + usize::from(table.describe().is_err()) == 0 {
                    harmless.push(at);
                }
            }
        }
        // The header is for people and tools; everything else is read and covered.
        assert!(harmless.iter().all(|at| *at < 32), "unnoticed at {harmless:?}");
    }
}

/// A table cut short, or longer than it was, is refused.
#[test]
fn every_length() {
    let entries = sample();
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, small_blocks(Codec::Lz4), &entries);
    let bytes = contents(&vfs, 1);
    for len in (0..bytes.len()).chain([bytes.len() + 1]) {
        let mut cut = bytes.clone();
        cut.resize(len, 0);
        replace(&vfs, 1, &cut);
        let table = open(&vfs, &info, 0);
        let found = table.get(b"key:0001", key_hash(b"key:0001"), Stamp(u64::MAX), ReadHow::DISK);
        assert!(matches!(found, Err(Error::Corrupt { .. })), "{len}");
        // Even a manifest that agrees with the length does not make it a table.
        let info = TableInfo { bytes: len as u64, ..info.clone() };
        let found = open(&vfs, &info, 0).describe();
        assert!(matches!(found, Err(Error::Corrupt { .. })), "{len}");
    }
}

/// Bytes of one place, put in another place of the same table or of another, are noticed.
#[test]
fn swapped_blocks() {
    let entries = sample();
    let vfs = MemoryVfs::new();
    let options = small_blocks(Codec::Raw);
    let first = write(&vfs, 1, options, &entries);
    let second = write(&vfs, 2, options, &entries);
    let (one, other) = (contents(&vfs, 1), contents(&vfs, 2));
    assert_eq!(one.len(), other.len());
    let meta = open(&vfs, &first, 0).meta(ReadHow::DISK).unwrap();
    for number in 0..meta.index.len() {
        let (at, stored) = meta.index.place(number);
        let range = at as usize..at as usize + stored;
        let mut mixed = one.clone();
        mixed[range.clone()].copy_from_slice(&other[range]);
        replace(&vfs, 1, &mixed);
        assert_ne!(read_all(&open(&vfs, &first, 0), &entries), 0, "block {number}");
    }
    replace(&vfs, 1, &other);
    assert_ne!(read_all(&open(&vfs, &first, 0), &entries), 0);
    replace(&vfs, 2, &one);
    assert_ne!(read_all(&open(&vfs, &second, 0), &entries), 0);
}

/// A table that was written twice under one number is told from the one that the manifest means.
#[test]
fn another_writing_of_the_same_table() {
    let vfs = MemoryVfs::new();
    let old = write(&vfs, 1, TableOptions::default(), &Entries::from([entry(b"k", 1, b"old")]));
    vfs.remove_file(Path::new(&path(1))).unwrap();
    let new = write(&vfs, 1, TableOptions::default(), &Entries::from([entry(b"k", 1, b"new")]));
    assert_eq!(old.bytes, new.bytes);
    let found = open(&vfs, &old, 0).get(b"k", key_hash(b"k"), Stamp(u64::MAX), ReadHow::DISK);
    assert!(matches!(found, Err(Error::Corrupt { .. })));
}

/// A disk whose every other reading of a place goes wrong, by an error or by a flipped bit.
#[derive(Debug)]
struct Shaky {
    vfs: MemoryVfs,
    fails: bool,
}

#[derive(Debug)]
struct ShakyFile {
    file: Arc<dyn File>,
    fails: bool,
    met: Mutex<HashSet<u64>>,
}

impl Vfs for Shaky {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.vfs.open(path, how)?;
        Ok(Arc::new(ShakyFile { file, fails: self.fails, met: Mutex::default() }))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.vfs.entry(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.vfs.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.vfs.create_dir(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.vfs.rename(source, target)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.vfs.hard_link(source, target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.vfs.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.vfs.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.vfs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.vfs.lock(path)
    }
}

impl File for ShakyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        let mut met = self.met.lock().unwrap();
        if met.remove(&offset) {
            return Ok(read);
        }
        met.insert(offset);
        if self.fails {
            return Err(io::Error::other("not this time"));
        }
        let middle = read / 2;
        buffer[middle] ^= 4;
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

/// A bit that flips on the way, or an error that does not come again, costs a second reading.
#[test]
fn read_again_before_giving_up() {
    let entries = sample();
    for fails in [false, true] {
        let vfs = MemoryVfs::new();
        let info = write(&vfs, 1, small_blocks(Codec::Lz4), &entries);
        let (cache, meter) = (Arc::new(BlockCache::new(0)), Arc::new(Meter::default()));
        let shaky = Arc::new(Shaky { vfs, fails });
        let table = Arc::new(Table::new(shaky, file(&info), cache, meter));
        assert_eq!(read_all(&table, &entries), 0);
    }
}

/// A later format, and features of this one that are not known here, are refused by name.
#[test]
fn unknown_formats() {
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, TableOptions::default(), &Entries::from([entry(b"k", 1, b"v")]));
    let mut bytes = contents(&vfs, 1);
    let format_at = bytes.len() - 12;
    bytes[format_at] = 2;
    replace(&vfs, 1, &bytes);
    let found = open(&vfs, &info, 0).describe();
    assert!(matches!(found, Err(Error::Format { found: 2, newest: 1, .. })), "{found:?}");
}

/// Blocks of garbage under valid checksums: whatever they say, readers answer or refuse, and end.
#[test]
fn garbage_with_valid_checksums() {
    let mut random = Random::new(11);
    let mut accepted = 0;
    for round in 0..60_000 {
        let mut builder = BlockBuilder::new(random.chance(3, 4));
        let mut seqno = 1000;
        for n in 0..=random.below(20) as u8 {
            seqno -= random.below(9) + u64::from(random.chance(1, 50));
            let len_max = if random.chance(1, 30) { 70_000 } else { 9 };
            let value = vec![n; random.index(len_max)];
            builder.add(&[b'k', n / 3], n, stamp(seqno), &value);
        }
        let mut payload = Vec::new();
        builder.encode(random.chance(1, 2), &mut payload);
        for _ in 0..=random.below(4) {
            let reach = 24 + random.index(200);
            let at = random.index(payload.len().min(reach));
            payload[at] = match random.below(3) {
                0 => random.next_u64() as u8,
                1 => payload[at].wrapping_add(1),
                _ => payload[at] ^ 1 << random.below(8),
            };
        }
        let cut = if random.chance(1, 8) { random.index(payload.len()) } else { payload.len() };
        let Ok(block) = Block::open(payload[..cut].into()) else { continue };
        accepted += 1;
        let read = catch_unwind(AssertUnwindSafe(|| read_block(&block)));
        assert!(read.is_ok(), "round {round}: {payload:?}");
    }
    assert!(1000 < accepted, "only {accepted} were accepted");
}

fn read_block(block: &Block) {
    let view = block.view();
    for at in 0..view.count() {
        black_box((view.stamp(at), view.suffix(at), view.value(at), &block.value(view, at)[..]));
    }
    for key in [&b""[..], b"k", b"k\x01", b"k\x06", b"z"] {
        for (hash, newest) in [(0, 0), (3, 1000 << 8), (6, u64::MAX)] {
            black_box(view.get(key, hash, Stamp(newest)));
            assert!(view.lower_bound(key, Stamp(newest)) <= view.count());
            assert!(view.count_up_to(key) <= view.count());
        }
    }
}

/// Whole tables whose blocks were changed and sealed again, as a liar would: no reader panics, hangs or
/// allocates more than the file accounts for.
#[test]
fn resealed_tables() {
    let entries = sample();
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, small_blocks(Codec::Raw), &entries);
    let bytes = contents(&vfs, 1);
    let table = open(&vfs, &info, 0);
    let places = table.stored_places().unwrap();
    let mut random = Random::new(5);
    for round in 0..20_000 {
        let mut lie = bytes.clone();
        for _ in 0..=random.below(2) {
            let (at, stored) = places[random.index(places.len())];
            let payload = &mut lie[at as usize..at as usize + stored - 13];
            let reach = 1 + random.index(400);
            let byte = random.index(payload.len().min(reach));
            payload[byte] = random.next_u64() as u8;
            let mut sealed = Vec::new();
            Sealer::new(Codec::Raw).seal(payload, 0, FileSeed::new(STORE, 1).at(at), &mut sealed);
            lie[at as usize..at as usize + stored].copy_from_slice(&sealed);
        }
        replace(&vfs, 1, &lie);
        let read = catch_unwind(AssertUnwindSafe(|| read_lies(&open(&vfs, &info, 1 << 16))));
        assert!(read.is_ok(), "round {round}");
    }
}

pub(super) fn read_lies(table: &Arc<Table>) {
    black_box(table.describe().is_ok());
    for key in [&b""[..], b"key:0001", b"key:0033", b"key:9999"] {
        for newest in [Stamp(u64::MAX), stamp(20)] {
            black_box(table.get(key, key_hash(key), newest, ReadHow::DISK).is_ok());
        }
        let mut cursor = TableCursor::new(Arc::clone(table), ReadHow::SCAN);
        black_box(cursor.seek_back(key).is_ok());
        walk(&mut cursor, |cursor| cursor.seek(key), TableCursor::next);
        walk(&mut cursor, TableCursor::seek_last, TableCursor::prev);
    }
}

/// Goes from where `start` leads until an error or the end, which must come.
fn walk(
    cursor: &mut TableCursor,
    start: impl FnOnce(&mut TableCursor) -> Result<()>,
    step: impl Fn(&mut TableCursor) -> Result<()>,
) {
    let mut moved = start(cursor);
    let mut steps = 0;
    while moved.is_ok() && cursor.valid() {
        black_box((cursor.key(), cursor.stamp(), cursor.value()));
        moved = step(cursor);
        steps += 1;
        assert!(steps < 100_000, "the walk does not end");
    }
}

/// Footers of random numbers with a valid checksum are refused or lead to errors, never further.
#[test]
fn lying_footers() {
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, small_blocks(Codec::Raw), &sample());
    let bytes = contents(&vfs, 1);
    let mut random = Random::new(3);
    for round in 0..20_000 {
        let mut footer = open(&vfs, &info, 0).footer().unwrap();
        let word = match random.below(4) {
            0 => random.next_u64(),
            1 => random.below(bytes.len() as u64),
            2 => random.below(10),
            _ => u64::MAX - random.below(99),
        };
        *[
            &mut footer.data_blocks,
            &mut footer.separator_bytes,
            &mut footer.filter_at,
            &mut footer.filter_lines,
            &mut footer.filter_how,
            &mut footer.index_at,
            &mut footer.top_at,
            &mut footer.properties_at,
        ][random.index(8)] = word;
        let (encoded, checksum) = footer.encode();
        let mut lie = bytes.clone();
        lie[bytes.len() - encoded.len()..].copy_from_slice(&encoded);
        replace(&vfs, 1, &lie);
        let info = TableInfo { checksum, ..info.clone() };
        let read = catch_unwind(AssertUnwindSafe(|| read_lies(&open(&vfs, &info, 1 << 16))));
        assert!(read.is_ok(), "round {round}: {footer:?}");
        replace(&vfs, 1, &bytes);
    }
}
