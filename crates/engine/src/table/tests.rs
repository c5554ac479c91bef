//! Tables against a map that is too simple to be wrong.

mod damage;
#[cfg(feature = "zstd")]
mod zstd;

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use olivine_vfs::{MemoryVfs, Random, Vfs};

use super::*;
use crate::{
    cache::BlockCache,
    digest::Digest,
    error::Error,
    key::{KEY_BYTES_MAX, Kind, Stamp},
    options::KeyPrefix,
};

const STORE: u64 = 0x5709e;

/// Entries in the order of a table.
type Entries = BTreeMap<(Vec<u8>, Reverse<Stamp>), Vec<u8>>;

/// Counts what is charged.
#[derive(Debug, Default)]
struct Meter(AtomicU64);

impl MetaCharge for Meter {
    fn take(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn path(table: u64) -> String {
    format!("/{table}.table")
}

fn write(vfs: &dyn Vfs, table: u64, options: TableOptions, entries: &Entries) -> TableInfo {
    let mut writer = TableWriter::create(vfs, path(table), STORE, table, options).unwrap();
    for ((key, Reverse(stamp)), value) in entries {
        writer.add(key, *stamp, value).unwrap();
    }
    let estimated = writer.estimated_bytes();
    let info = writer.finish().unwrap();
    assert!(info.bytes <= estimated + estimated / 4 + 4096, "{estimated} for {}", info.bytes);
    info
}

fn file(info: &TableInfo) -> TableFile {
    TableFile {
        seqno: info.seqno_max,
        path: path(info.id).into(),
        store: STORE,
        table: info.id,
        bytes: info.bytes,
        checksum: info.checksum,
        cache_id: None,
    }
}

fn open(vfs: &MemoryVfs, info: &TableInfo, cache_bytes: u64) -> Arc<Table> {
    let cache = Arc::new(BlockCache::new(cache_bytes));
    Arc::new(Table::new(Arc::new(vfs.clone()), file(info), cache, Arc::new(Meter::default())))
}

fn table_of(options: TableOptions, entries: &Entries) -> Arc<Table> {
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 7, options, entries);
    open(&vfs, &info, 1 << 20)
}

fn small_blocks(codec: Codec) -> TableOptions {
    TableOptions { block_bytes: 256, codec, ..TableOptions::default() }
}

fn stamp(seqno: u64) -> Stamp {
    Stamp::new(seqno, Kind::Put)
}

fn entry(key: &[u8], seqno: u64, value: &[u8]) -> ((Vec<u8>, Reverse<Stamp>), Vec<u8>) {
    ((key.to_vec(), Reverse(stamp(seqno))), value.to_vec())
}

fn get(table: &Table, key: &[u8], newest: Stamp) -> Option<(Stamp, Vec<u8>)> {
    let found = table.get(key, key_hash(key), newest, ReadHow::DISK).unwrap();
    found.map(|(stamp, value)| (stamp, value.to_vec()))
}

/// What a get must answer.
fn expected(entries: &Entries, key: &[u8], newest: Stamp) -> Option<(Stamp, Vec<u8>)> {
    let from = (key.to_vec(), Reverse(newest));
    let ((found, Reverse(stamp)), value) = entries.range(from..).next()?;
    (found == key).then(|| (*stamp, value.clone()))
}

/// Random entries: keys that share much or nothing, several versions, values of all sizes.
fn random_entries(random: &mut Random, count: usize) -> Entries {
    let style = random.below(4);
    let mut entries = Entries::new();
    for seqno in 1..=count as u64 {
        let key = random_key(random, style);
        let kind = if random.chance(1, 8) { Kind::Delete } else { Kind::Put };
        let value = match (kind, random.below(50)) {
            (Kind::Delete, _) | (_, 0) => Vec::new(),
            (_, 1) => vec![seqno as u8; random.index(3000)],
            (_, _) => random.next_u64().to_le_bytes().repeat(random.index(8)),
        };
        let seqno = if style == 3 { seqno << 34 } else { seqno };
        entries.insert((key, Reverse(Stamp::new(seqno, kind))), value);
    }
    entries
}

fn random_key(random: &mut Random, style: u64) -> Vec<u8> {
    match style {
        0 => random.next_u64().to_be_bytes().repeat(2),
        1 => format!("user:{:012}", random.below(300)).into_bytes(),
        2 => (0..random.index(5)).map(|_| [0, 1, 0xff][random.index(3)]).collect(),
        _ => [&b"a prefix that most of them share "[..], &[random.below(256) as u8; 3]].concat(),
    }
}

/// A key of the entries, or one near it.
fn probe_key(random: &mut Random, entries: &Entries) -> Vec<u8> {
    let nth = random.index(entries.len());
    let mut key = entries.keys().nth(nth).unwrap().0.clone();
    match random.below(6) {
        0 => key.push(random.below(2) as u8 * 255),
        1 => drop(key.pop()),
        2 => {
            if let Some(last) = key.last_mut() {
                *last = last.wrapping_add(1);
            }
        }
        3 => key.truncate(random.index(4)),
        _ => {}
    }
    key
}

fn tables(mut check: impl FnMut(u64, &mut Random, &Entries, Arc<Table>)) {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let count = 1 + random.index(1500);
        let entries = random_entries(&mut random, count);
        let options = TableOptions {
            block_bytes: [256, 1024, 4096][random.index(3)],
            filter_bits_per_key: [0, 10][random.index(2)],
            fuse: random.index(2) == 0,
            prefix: [None, Some(KeyPrefix::Length(1)), Some(KeyPrefix::Length(2))][random.index(3)],
            codec: [Codec::Raw, Codec::Lz4][random.index(2)],
            zstd: cfg!(feature = "zstd") && random.index(2) == 0,
        };
        let vfs = MemoryVfs::new();
        let info = write(&vfs, 7, options, &entries);
        let table = open(&vfs, &info, [0, 20_000, 1 << 20][random.index(3)]);
        check(seed, &mut random, &entries, table);
    }
}

/// A get answers what a map of the same entries holds, at any sequence number.
#[test]
fn gets_like_a_map() {
    tables(|seed, random, entries, table| {
        for _ in 0..400 {
            let key = probe_key(random, entries);
            let newest = match random.below(3) {
                0 => Stamp(u64::MAX),
                _ => Stamp::upper_bound(random.below(2 * entries.len() as u64)),
            };
            assert_eq!(
                get(&table, &key, newest),
                expected(entries, &key, newest),
                "seed {seed}, key {key:?}, newest {newest:?}"
            );
        }
    });
}

type Found = Option<(Vec<u8>, Stamp, Vec<u8>)>;

fn at_cursor(cursor: &TableCursor) -> Found {
    cursor.valid().then(|| (cursor.key().to_vec(), cursor.stamp(), cursor.value().to_vec()))
}

/// A cursor walks and seeks like an index into the sorted entries.
#[test]
fn walks_like_a_list() {
    tables(|seed, random, entries, table| {
        let list: Vec<_> = entries
            .iter()
            .map(|((key, Reverse(stamp)), value)| (key.clone(), *stamp, value.clone()))
            .collect();
        let how = [ReadHow::DISK, ReadHow::SCAN][random.index(2)];
        let mut cursor = TableCursor::new(table, how);
        let mut at = None;
        for step in 0..600 {
            match random.below(if at.is_some() { 16 } else { 6 }) {
                0 => {
                    cursor.seek_first().unwrap();
                    at = Some(0);
                }
                1 => {
                    cursor.seek_last().unwrap();
                    at = Some(list.len() - 1);
                }
                2 => {
                    let key = probe_key(random, entries);
                    cursor.seek(&key).unwrap();
                    at = Some(list.partition_point(|entry| entry.0 < key));
                }
                3 => {
                    let (key, newest) = (probe_key(random, entries), stamp(random.below(2000)));
                    cursor.seek_to(&key, newest).unwrap();
                    let before = |entry: &(Vec<u8>, Stamp, Vec<u8>)| {
                        (&entry.0, Reverse(entry.1)) < (&key, Reverse(newest))
                    };
                    at = Some(list.partition_point(before));
                }
                4 | 5 => {
                    let key = probe_key(random, entries);
                    cursor.seek_back(&key).unwrap();
                    at = list.partition_point(|entry| entry.0 <= key).checked_sub(1);
                }
                6..11 => {
                    cursor.next().unwrap();
                    at = at.map(|at| at + 1);
                }
                _ => {
                    cursor.prev().unwrap();
                    at = at.and_then(|at| at.checked_sub(1));
                }
            }
            at = at.filter(|at| *at < list.len());
            let expected = at.map(|at| list[at].clone());
            assert_eq!(at_cursor(&cursor), expected, "seed {seed}, step {step}");
        }
    });
}

/// Whole scans, forward and backward, meet every entry once.
#[test]
fn scans_everything() {
    tables(|seed, random, entries, table| {
        let how = [ReadHow::DISK, ReadHow::SCAN][random.index(2)];
        let mut cursor = TableCursor::new(Arc::clone(&table), how);
        cursor.seek_first().unwrap();
        for ((key, Reverse(stamp)), value) in entries {
            assert_eq!(cursor.key(), key, "seed {seed}");
            assert_eq!((cursor.stamp(), cursor.value()), (*stamp, &value[..]), "seed {seed}");
            cursor.next().unwrap();
        }
        assert!(!cursor.valid());
        cursor.seek_last().unwrap();
        for ((key, Reverse(stamp)), _) in entries.iter().rev() {
            assert_eq!((cursor.key(), cursor.stamp()), (&key[..], *stamp), "seed {seed}");
            cursor.prev().unwrap();
        }
        assert!(!cursor.valid());
    });
}

/// Empty keys and values, keys and values as large as they may be, and neighbours of them.
#[test]
fn extremes() {
    let long = vec![b'x'; KEY_BYTES_MAX];
    let mut longer = long.clone();
    longer[KEY_BYTES_MAX - 1] = b'y';
    let huge: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let entries = Entries::from([
        entry(b"", 9, b""),
        entry(b"", 3, b"of the empty key"),
        entry(b"\0", 4, b"one zero"),
        entry(b"\0\0", 5, &huge),
        entry(b"huge", 6, &vec![7; 3 << 20]),
        entry(&long, 7, b"long"),
        entry(&longer, 8, &vec![0; 70_000]),
        entry(&longer, 2, b"old"),
        entry(&[0xff; 9], 1, b"last"),
    ]);
    for codec in [Codec::Raw, Codec::Lz4] {
        for block_bytes in [256, 4096, 1 << 20] {
            let options = TableOptions { block_bytes, codec, ..TableOptions::default() };
            let table = table_of(options, &entries);
            for (key, Reverse(newest)) in entries.keys() {
                assert_eq!(get(&table, key, *newest), expected(&entries, key, *newest));
            }
            assert_eq!(get(&table, b"\0\0\0", Stamp(u64::MAX)), None);
            assert_eq!(get(&table, &long[1..], Stamp(u64::MAX)), None);
            let mut cursor = TableCursor::new(table, ReadHow::DISK);
            cursor.seek_back(&[0xff; 20]).unwrap();
            for ((key, Reverse(stamp)), value) in entries.iter().rev() {
                assert_eq!((cursor.key(), cursor.stamp()), (&key[..], *stamp));
                assert_eq!(cursor.value(), value);
                cursor.prev().unwrap();
            }
        }
    }
}

/// A thousand versions of one key fill blocks; a get finds each of them, and seeks pass all.
#[test]
fn versions_over_many_blocks() {
    let mut entries = Entries::from([entry(b"a", 5000, b"before"), entry(b"c", 1, b"after")]);
    entries.extend((1..=1000).map(|n| entry(b"b", 2 * n, &n.to_be_bytes())));
    let table = table_of(small_blocks(Codec::Lz4), &entries);
    for seqno in 0..2010 {
        let newest = stamp(seqno);
        assert_eq!(get(&table, b"b", newest), expected(&entries, b"b", newest), "{seqno}");
    }
    let mut cursor = TableCursor::new(table, ReadHow::DISK);
    cursor.seek(b"b").unwrap();
    assert_eq!(cursor.stamp(), stamp(2000));
    cursor.seek_to(b"b", stamp(701)).unwrap();
    assert_eq!(cursor.stamp(), stamp(700));
    cursor.seek_to(b"b", stamp(1)).unwrap();
    assert_eq!(cursor.key(), b"c");
    cursor.seek_back(b"b").unwrap();
    assert_eq!(cursor.stamp(), stamp(2));
    cursor.next().unwrap();
    assert_eq!(cursor.key(), b"c");
}

/// `finish` and the file say the same of a table.
#[test]
fn describes_itself() {
    let entries = Entries::from([
        entry(b"apple", 12, b"red"),
        entry(b"pear", 11, b"green"),
        ((b"plum".to_vec(), Reverse(Stamp::new(40, Kind::Delete))), Vec::new()),
    ]);
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 3, TableOptions::default(), &entries);
    assert_eq!((info.entries, info.tombstones), (3, 1));
    assert_eq!((info.seqno_min, info.seqno_max), (11, 40));
    assert_eq!((&info.first_key[..], &info.last_key[..]), (&b"apple"[..], &b"plum"[..]));
    assert_eq!(info.bytes, vfs.entry(Path::new(&path(3))).unwrap().unwrap().bytes);
    assert_eq!(open(&vfs, &info, 0).describe().unwrap(), info);
}

/// Nothing is read before a reader may: not by opening a table, and not for one who must not wait.
#[test]
fn memory_only_reads_would_block() {
    let entries: Entries = (0..2000_u64).map(|n| entry(&n.to_be_bytes(), n, &[9; 20])).collect();
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, small_blocks(Codec::Raw), &entries);
    let table = open(&vfs, &info, 1 << 20);
    let key = 77_u64.to_be_bytes();
    let in_memory = || table.get(&key, key_hash(&key), Stamp(u64::MAX), ReadHow::MEMORY);
    assert!(matches!(in_memory(), Err(Error::WouldBlock)));
    assert!(get(&table, &78_u64.to_be_bytes(), Stamp(u64::MAX)).is_some());
    assert!(matches!(in_memory(), Ok(Some(_)) | Err(Error::WouldBlock)));
    assert!(get(&table, &key, Stamp(u64::MAX)).is_some());
    assert!(matches!(in_memory(), Ok(Some(_))));
    table.evict_meta();
    assert!(matches!(in_memory(), Err(Error::WouldBlock)));
    let mut cursor = TableCursor::new(table, ReadHow::MEMORY);
    assert!(matches!(cursor.seek_first(), Err(Error::WouldBlock)));
    assert!(!cursor.valid());
}

/// The metadata of a table is charged while anyone holds it, and its size is what was charged.
#[test]
fn metadata_is_charged() {
    let entries: Entries =
        (0..20_000_u64).map(|n| entry(&n.to_be_bytes(), n, &n.to_le_bytes())).collect();
    let vfs = MemoryVfs::new();
    let info = write(&vfs, 1, TableOptions::default(), &entries);
    let (cache, meter) = (Arc::new(BlockCache::new(0)), Arc::new(Meter::default()));
    let charge = Arc::clone(&meter) as Arc<dyn MetaCharge>;
    let table = Table::new(Arc::new(vfs), file(&info), cache, charge);
    assert_eq!(meter.0.load(Ordering::Relaxed), 0);
    assert!(!table.take_touched());
    let held = table.meta(ReadHow::DISK).unwrap();
    assert!(table.take_touched());
    let bytes = meter.0.load(Ordering::Relaxed);
    assert!((25_000..60_000).contains(&bytes), "{bytes}");
    table.evict_meta();
    assert_eq!(meter.0.load(Ordering::Relaxed), bytes);
    drop(held);
    assert_eq!(meter.0.load(Ordering::Relaxed), 0);
}

#[test]
#[should_panic(expected = "keys must be added in order")]
fn keys_out_of_order() {
    let vfs = MemoryVfs::new();
    let mut writer = TableWriter::create(&vfs, "/t", STORE, 1, TableOptions::default()).unwrap();
    writer.add(b"b", stamp(1), b"").unwrap();
    writer.add(b"a", stamp(2), b"").unwrap();
}

/// Changes a byte of a key or of a value.
type Flip = fn(&mut [u8], &mut [u8]);

/// What a table comes to of which `flip` changes entry `at` on the way.
fn write_flipped(at: u32, flip: Flip) -> Result<TableInfo, Error> {
    let options = small_blocks(Codec::Lz4);
    let mut writer = TableWriter::create(&MemoryVfs::new(), path(1), STORE, 1, options)?;
    for number in 0..60 {
        let (mut key, mut value) = (format!("key{:04}", 2 * number).into_bytes(), [7; 20]);
        let digest = Digest::of(&key, &value);
        if number == at {
            flip(&mut key, &mut value);
        }
        writer.add_known(&key, stamp(9), &value, digest)?;
    }
    writer.finish()
}

/// A block in which a byte of some entry is another than it was where its digest was taken is refused
/// before it is sealed.
#[test]
fn a_block_with_another_byte_is_not_sealed() {
    write_flipped(0, |_, _| {}).unwrap();
    let flips: [Flip; 2] = [|key, _| key[6] ^= 1, |_, value| value[7] ^= 0x80];
    for at in 0..60 {
        for flip in flips {
            let refused = write_flipped(at, flip).unwrap_err();
            assert!(matches!(refused, Error::Altered { .. }), "entry {at}: {refused}");
        }
    }
}

/// A table of the blocks of `table`, of which `change` may change what is carried.
fn carry(
    table: &Arc<Table>,
    vfs: &MemoryVfs,
    options: TableOptions,
    change: impl Fn(&mut Carried<'_>),
) -> Result<TableInfo, Error> {
    let mut writer = TableWriter::create(vfs, path(8), STORE, 8, options)?;
    let mut cursor = TableCursor::new(Arc::clone(table), ReadHow::SCAN);
    cursor.seek_first()?;
    while cursor.valid() {
        let mut carried = cursor.carried()?.unwrap();
        change(&mut carried);
        assert!(writer.carry(&carried)?);
        cursor.skip_block()?;
    }
    writer.finish()
}

/// A table of blocks that were carried is the table that they came from; a block that changes on the way is
/// not sealed.
#[test]
fn a_block_that_is_carried_is_the_one_that_was_read() {
    let key = |number: u64| format!("key{number:04}").into_bytes();
    let entries: Entries = (0..200).map(|n| entry(&key(n), n % 3, &[7; 20])).collect();
    for codec in [Codec::Raw, Codec::Lz4] {
        let (vfs, options) = (MemoryVfs::new(), small_blocks(codec));
        let written = write(&vfs, 7, options, &entries);
        let table = open(&vfs, &written, 1 << 20);
        let copied = MemoryVfs::new();
        let info = carry(&table, &copied, options, |_| {}).unwrap();
        assert_eq!(TableInfo { id: 7, checksum: written.checksum, ..info.clone() }, written);
        let copy = open(&copied, &info, 1 << 20);
        for number in 0..210 {
            let newest = Stamp(u64::MAX);
            assert_eq!(get(&copy, &key(number), newest), expected(&entries, &key(number), newest));
        }
        for at in 0..40 {
            let flip = |carried: &mut Carried<'_>| carried.stored.to_mut()[at] ^= 1;
            let refused = carry(&table, &MemoryVfs::new(), options, flip).unwrap_err();
            assert!(matches!(refused, Error::Altered { .. }), "byte {at}: {refused}");
        }
    }
}
