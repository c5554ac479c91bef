//! A door to the parsers of what lies on disk, for whoever feeds them garbage; not a part of the API.
//!
//! Behind a checksum random bytes find nothing, so the door also mends the checksums of what was
//! changed: then the parsers behind see it.
//!
//! 1. Whatever the bytes, `parse` answers and does not panic; that is what is tried.
//! 2. `parse` takes what `sample` made.

mod backup;
mod values;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{MemoryVfs, Open, Random, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    batch::{Operations, encode_operation},
    budget::Budget,
    cache::BlockCache,
    error::{Error, Result},
    key::{KEY_BYTES_MAX, Kind, Stamp},
    log::{
        self, FRAME_ALIGN, LogDir, LogOptions, LogWriter, Place, Position, Proof, frame_checksum,
    },
    manifest::{self, Catalog, Change, Current, Edit, Manifest},
    options::KeyPrefix,
    table::{
        Codec, MetaCharge, ReadHow, Table, TableCursor, TableFile, TableInfo, TableOptions,
        TableWriter, footer_checksum, key_hash, mend_block, mend_footer, stored_blocks,
    },
};

/// What is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The operations of a batch.
    Batch,
    /// One edit of the manifest.
    Edit,
    /// A manifest's file.
    Manifest,
    /// `CURRENT`.
    Current,
    /// Segments of the log, one after the other.
    Log,
    /// A table's file.
    Table,
    /// A value file, and a pointer into it.
    Values,
    /// A pointer, and what a table says of the files that it points into.
    Pointer,
    /// A directory of backups: sets, catalogs, tables and value files.
    Backup,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 9] = [
        Target::Batch,
        Target::Edit,
        Target::Manifest,
        Target::Current,
        Target::Log,
        Target::Table,
        Target::Values,
        Target::Pointer,
        Target::Backup,
    ];
}

const STORE: u64 = 0x0571_0123_4567_89ab;
const TABLE: u64 = 1;
/// Length of each segment of a log.
const SEGMENT_BYTES: usize = 1024;
/// More entries than any input holds; a walk that goes on beyond goes round in a circle.
const ENTRIES_MAX: u64 = 1 << 20;

/// Parses `bytes`: how many things they hold, or what is wrong with them.
pub fn parse(target: Target, bytes: &[u8]) -> std::result::Result<u64, String> {
    let parsed = match target {
        Target::Batch => return parse_batch(bytes),
        Target::Edit => return parse_edit(bytes),
        Target::Manifest => parse_manifest(bytes),
        Target::Current => parse_current(bytes),
        Target::Log => parse_log(bytes),
        Target::Table => parse_table(bytes),
        Target::Values => values::parse(bytes),
        Target::Pointer => return values::parse_pointer(bytes),
        Target::Backup => backup::parse(bytes),
    };
    parsed.map_err(|error| match error {
        Error::Corrupt { what, .. } => what,
        error => error.to_string(),
    })
}

fn parse_batch(bytes: &[u8]) -> std::result::Result<u64, String> {
    let mut again = Vec::new();
    let mut count = 0;
    for operation in Operations::new(bytes) {
        let operation = operation.map_err(|()| "no operation".to_owned())?;
        let (keyspace, kind) = (operation.keyspace, operation.kind);
        encode_operation(&mut again, keyspace, kind, operation.key, operation.value);
        count += 1;
    }
    assert!(again == bytes, "a batch that was read is written differently");
    Ok(count)
}

fn parse_edit(bytes: &[u8]) -> std::result::Result<u64, String> {
    let edit = Edit::decode(bytes).ok_or_else(|| "no edit".to_owned())?;
    assert!(Edit::decode(&edit.encode()) == Some(edit.clone()), "an edit is read differently");
    let mut catalog = Catalog::default();
    catalog.apply(&edit).and_then(|()| catalog.verify())?;
    Ok(edit.changes.len() as u64)
}

/// A disk with these files in its root.
fn disk(files: &[(PathBuf, &[u8])]) -> Result<Arc<dyn Vfs>> {
    let vfs = MemoryVfs::new();
    for (path, bytes) in files {
        let file = vfs.open(path, Open::Create).map_err(Error::io("create", path))?;
        file.write_at(bytes, 0).map_err(Error::io("write", path))?;
    }
    Ok(Arc::new(vfs))
}

fn root() -> &'static Path {
    Path::new("/")
}

fn parse_manifest(bytes: &[u8]) -> Result<u64> {
    let vfs = disk(&[(root().join(manifest::manifest_name(1)), bytes)])?;
    let read = manifest::read(vfs.as_ref(), root(), Current { store: STORE, manifest: 1 })?;
    Ok(read.catalog.edit)
}

fn parse_current(bytes: &[u8]) -> Result<u64> {
    let vfs = disk(&[(root().join(manifest::CURRENT), bytes)])?;
    Ok(manifest::read_current(vfs.as_ref(), root())?.manifest)
}

fn log_dir(vfs: Arc<dyn Vfs>) -> LogDir {
    LogDir { vfs, path: root().to_owned(), store: STORE }
}

fn parse_log(bytes: &[u8]) -> Result<u64> {
    let home = log_dir(disk(&[])?);
    let names = (1..).map(|number| home.segment_path(number));
    let files: Vec<_> = names.zip(bytes.chunks(SEGMENT_BYTES)).collect();
    let home = log_dir(disk(&files)?);
    let mut records = 0;
    let proof = Proof { oldest: 1, durable: None };
    log::recover(&home, proof, &mut |record| {
        records += 1;
        Operations::new(record.payload).for_each(drop);
        Ok(())
    })?;
    Ok(records)
}

/// Memory that nobody counts.
#[derive(Debug)]
struct Uncounted;

impl MetaCharge for Uncounted {
    fn take(&self, _bytes: u64) {}

    fn give(&self, _bytes: u64) {}
}

fn parse_table(bytes: &[u8]) -> Result<u64> {
    let path = root().join("table");
    let vfs = disk(&[(path.clone(), bytes)])?;
    let file = TableFile {
        path,
        store: STORE,
        table: TABLE,
        bytes: bytes.len() as u64,
        checksum: footer_checksum(bytes),
        cache_id: None,
        seqno: 0,
    };
    let cache = BlockCache::sharing(Budget::new(1 << 20));
    let table = Arc::new(Table::new(vfs, file, cache, Arc::new(Uncounted)));
    table.range_deletes(ReadHow::DISK)?;
    let newest = Stamp(u64::MAX);
    let mut cursor = TableCursor::new(Arc::clone(&table), ReadHow::SCAN);
    let (mut entries, mut some_key) = (0, Vec::new());
    cursor.seek_first()?;
    while cursor.valid() {
        entries += 1;
        assert!(entries < ENTRIES_MAX, "a walk without end");
        if entries % 5 == 2 {
            some_key = cursor.key().to_vec();
            let hash = key_hash(&some_key);
            table.get(&some_key, hash, newest, ReadHow::DISK)?;
        }
        std::hint::black_box((cursor.stamp(), cursor.value()));
        cursor.next()?;
    }
    let mut back = 0;
    cursor.seek_last()?;
    while cursor.valid() {
        back += 1;
        assert!(back < ENTRIES_MAX, "a walk back without end");
        cursor.prev()?;
    }
    some_key.push(0);
    cursor.seek(&some_key)?;
    table.get(&some_key, key_hash(&some_key), newest, ReadHow::DISK)?;
    Ok(entries)
}

/// Where checksums stand in `bytes`, which `parse` takes: what `mend` needs to know of the original.
pub fn seams(target: Target, bytes: &[u8]) -> Vec<(usize, usize)> {
    match target {
        Target::Table => stored_blocks(bytes, STORE, TABLE),
        Target::Values => values::seams(bytes),
        _ => Vec::new(),
    }
}

/// Makes the checksums right again of what was `bytes` with those seams, and was changed since.
pub fn mend(target: Target, bytes: &mut Vec<u8>, seams: &[(usize, usize)]) {
    match target {
        Target::Batch | Target::Edit | Target::Pointer => {}
        Target::Manifest => {
            mend_frames(bytes, manifest::place(STORE, 1), 16);
        }
        Target::Current => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let body = text.split("checksum").next().unwrap_or_default();
            *bytes = format!("{body}checksum {:016x}\n", xxh3_64(body.as_bytes())).into_bytes();
        }
        Target::Log => mend_log(bytes),
        Target::Table => {
            for (start, end) in seams {
                mend_block(bytes, *start, *end, STORE, TABLE);
            }
            mend_footer(bytes);
        }
        Target::Values => values::mend(bytes, seams),
        Target::Backup => backup::mend(bytes),
    }
}

fn mend_log(bytes: &mut [u8]) {
    let mut chain = None;
    for (number, segment) in (1..).zip(bytes.chunks_mut(SEGMENT_BYTES)) {
        let Some((head, _)) = segment.split_at_mut_checked(88) else { return };
        if let Some(chain) = chain {
            head[56..64].copy_from_slice(&u64::to_le_bytes(chain));
        }
        let checksum = xxh3_64(&head[..80]);
        head[80..].copy_from_slice(&checksum.to_le_bytes());
        let place = Place { store: STORE, file: number };
        let checksums = mend_frames(segment, place, 88);
        chain = Some(checksums.into_iter().fold(checksum, log::chain_after));
    }
}

/// Mends frame after frame from `at` on, as long as their lengths lead somewhere. Returns their
/// headers' checksums.
fn mend_frames(bytes: &mut [u8], place: Place, mut at: usize) -> Vec<u64> {
    let mut checksums = Vec::new();
    while let Some(frame) = bytes.get_mut(at..)
        && frame.iter().take(36).any(|byte| *byte != 0)
    {
        let Some((header, body)) = frame.split_first_chunk_mut::<36>() else { return checksums };
        let mut len = [0; 4];
        len.copy_from_slice(&header[28..32]);
        let len = u32::from_le_bytes(len) as usize;
        let Some(payload) = body.get(..len) else { return checksums };
        let hash = xxh3_64(payload);
        header[8..16].copy_from_slice(&hash.to_le_bytes());
        let checksum = frame_checksum(header, place, at as u64);
        header[..8].copy_from_slice(&checksum.to_le_bytes());
        checksums.push(checksum);
        at += (36 + len).next_multiple_of(FRAME_ALIGN as usize);
    }
    checksums
}

/// Bytes that `parse` takes, drawn from `seed`.
pub fn sample(target: Target, seed: u64) -> Result<Vec<u8>> {
    let mut random = Random::new(seed);
    match target {
        Target::Batch => Ok(sample_batch(&mut random)),
        Target::Edit => {
            let (_, info) = sample_table(&mut random)?;
            Ok(Edit { number: 2, changes: sample_changes(&mut random, &info) }.encode())
        }
        Target::Manifest => sample_manifest(&mut random),
        Target::Current => {
            let vfs = disk(&[])?;
            let catalog = Catalog { edit: 1, next_seqno: 1, ..Catalog::default() };
            Manifest::create(&vfs, root(), STORE, 1 + random.below(1 << 40), catalog)?;
            read(vfs.as_ref(), &root().join(manifest::CURRENT))
        }
        Target::Log => sample_log(&mut random),
        Target::Table => Ok(sample_table(&mut random)?.0),
        Target::Values => values::sample(&mut random),
        Target::Pointer => Ok(values::sample_pointer(&mut random)),
        Target::Backup => backup::sample(&mut random),
    }
}

fn sample_key(random: &mut Random) -> Vec<u8> {
    let prefix = ["", "user:", "a/long/prefix/of/many/keys/"][random.index(3)];
    format!("{prefix}{:03}", random.below(300)).into_bytes()
}

fn sample_batch(random: &mut Random) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..random.between(1, 6) {
        let (keyspace, key) = (random.between(1, 3) as u32, sample_key(random));
        let kinds = [
            Kind::Put,
            Kind::Delete,
            Kind::Merge,
            Kind::RangeDelete,
            Kind::PutExpiring,
            Kind::Append,
            Kind::Applied,
        ];
        let kind = kinds[random.index(kinds.len())];
        let log_only = matches!(kind, Kind::Append | Kind::Applied);
        let key = if log_only { Vec::new() } else { key };
        let value = match kind {
            Kind::Delete => Vec::new(),
            Kind::RangeDelete => [&key[..], b"~"].concat(),
            Kind::Applied => random.below(999).to_le_bytes().to_vec(),
            _ => vec![random.below(256) as u8; random.between(8, 60) as usize],
        };
        encode_operation(&mut payload, keyspace, kind, &key, &value);
    }
    payload
}

fn sample_changes(random: &mut Random, info: &TableInfo) -> Vec<Change> {
    let keyspace = 1;
    let mut changes = vec![
        Change::CreateKeyspace { keyspace, name: "main".into() },
        Change::AddTable { keyspace, level: random.below(7) as u8, table: info.clone() },
        Change::Flushed { keyspace, seqno: info.seqno_max },
        Change::LogStart { segment: 1 + random.below(9) },
        Change::LogDurable { position: Position::new(9, random.below(999) as u32) },
        Change::NextTable { table: 2 },
    ];
    changes.truncate(random.between(1, 6) as usize);
    changes
}

fn sample_manifest(random: &mut Random) -> Result<Vec<u8>> {
    let (_, info) = sample_table(random)?;
    let vfs = disk(&[])?;
    let catalog =
        Catalog { edit: 1, next_table: 2, next_keyspace: 1, next_seqno: 1, ..Catalog::default() };
    let mut manifest = Manifest::create(&vfs, root(), STORE, 1, catalog)?;
    manifest.commit(sample_changes(random, &info))?;
    for position in 1..=random.below(4) as u32 {
        let position = Position::new(10, 100 * position);
        manifest.commit(vec![Change::LogDurable { position }])?;
    }
    read(vfs.as_ref(), &root().join(manifest::manifest_name(1)))
}

fn sample_log(random: &mut Random) -> Result<Vec<u8>> {
    let home = log_dir(disk(&[])?);
    let bytes = SEGMENT_BYTES as u32;
    let options = LogOptions { segment_bytes: bytes, first_bytes: bytes, recycle: true };
    let mut writer = LogWriter::create(home.clone(), options, 1)?;
    let mut first = 1;
    for _ in 0..random.between(3, 14) {
        let payload = sample_batch(random);
        let count = Operations::new(&payload).count() as u32;
        writer.append(first, count, &[&payload], xxh3_64(&payload))?;
        first += u64::from(count);
        if random.chance(1, 3) {
            let position = writer.begin_sync()?.run()?;
            writer.finish_sync(position);
        }
    }
    writer.hand_over()?;
    let mut all = Vec::new();
    for number in 1..=writer.current_segment() {
        all.extend(read(home.vfs.as_ref(), &home.segment_path(number))?);
    }
    Ok(all)
}

fn sample_table(random: &mut Random) -> Result<(Vec<u8>, TableInfo)> {
    let vfs = disk(&[])?;
    let path = root().join("table");
    let options = TableOptions {
        block_bytes: 128 << random.below(3),
        filter_bits_per_key: [0, 10][random.index(2)],
        fuse: random.index(2) == 0,
        prefix: [None, Some(KeyPrefix::Length(1)), Some(KeyPrefix::Delimiter(0, 1))]
            [random.index(3)],
        codec: [Codec::Raw, Codec::Lz4][random.index(2)],
        zstd: cfg!(feature = "zstd") && random.chance(1, 2),
    };
    let mut writer = TableWriter::create(vfs.as_ref(), path.clone(), STORE, TABLE, options)?;
    let keys = (0..random.between(1, 60)).map(|_| sample_key(random));
    let mut keys: Vec<_> = keys.filter(|key| key.len() <= KEY_BYTES_MAX).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        for seqno in (1..=random.between(1, 3)).rev() {
            let kind = if random.chance(1, 6) { Kind::Delete } else { Kind::Put };
            let value = vec![seqno as u8; random.below(40) as usize];
            let value = if kind == Kind::Delete { &[][..] } else { &value };
            writer.add(&key, Stamp::new(10 * seqno, kind), value)?;
        }
    }
    let info = writer.finish()?;
    Ok((read(vfs.as_ref(), &path)?, info))
}

fn read(vfs: &dyn Vfs, path: &Path) -> Result<Vec<u8>> {
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let mut bytes = vec![0; file.len().map_err(Error::io("measure", path))? as usize];
    let read = file.read_at(&mut bytes, 0).map_err(Error::io("read", path))?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_parse_as_they_are_and_mended() {
        for target in Target::ALL {
            for seed in 0..20 {
                let mut bytes = sample(target, seed).unwrap();
                let parsed = parse(target, &bytes).unwrap_or_else(|what| {
                    panic!("{target:?}, seed {seed}: {what}");
                });
                let seams = seams(target, &bytes);
                let before = bytes.clone();
                mend(target, &mut bytes, &seams);
                assert!(before == bytes, "{target:?}, seed {seed}: mending changed what was right");
                assert!(0 < parsed || target == Target::Log, "{target:?}, seed {seed}");
            }
        }
    }

    /// Without mending, a changed byte of a value is damage; with it, another value.
    #[test]
    fn what_is_mended_gets_past_the_checksums() {
        for target in [Target::Manifest, Target::Log, Target::Table, Target::Values] {
            let bytes = sample(target, 3).unwrap();
            let seams = seams(target, &bytes);
            let mut past = 0;
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                mend(target, &mut changed, &seams);
                past += u64::from(parse(target, &changed).is_ok());
            }
            assert!(20 < past, "{target:?}: {past} of {} changes", bytes.len());
        }
    }
}
