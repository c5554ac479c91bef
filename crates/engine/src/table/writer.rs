//! Writes a table, entry by entry in order, and syncs it.
//!
//! 1. Memory beside the block being filled and the write buffer: up to 16 bytes a key or prefix and the bits
//!    of the filter, some 42 more for each while a fuse filter is built, and up to twice a separator and 16
//!    bytes a block for the index. `is_out_of_room` says when that comes to what the caller has set aside.
//! 2. `finish` returns after the file's contents are synced, `finish_unsynced` before; its name in the
//!    directory is not.
//! 3. A table that was not finished has no footer, and no reader takes it for one. Its file is left
//!    for the caller to remove.
//!    A table whose blocks are compressed by zstd also takes what `held.rs` says.
//! 4. No block is sealed whose entries are not those that were added: see `digest.rs`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{Open, Vfs};

mod held;

use self::held::{Held, PACKING_BYTES};
use super::{
    block::{Block, digest_sum, tag},
    block_builder::BlockBuilder,
    copied::Carried,
    expiry::{EXPIRES_BY, Expiry},
    filter::{Filter, prefix_hash},
    format::{
        Codec, DICTIONARY, FEATURE_FUSE, FEATURE_NUMBERED_LATER, FEATURE_POINTERS,
        FEATURE_RANGE_DELETES, FOOTER_BYTES, FileSeed, Footer, HEADER_BYTES, LINE_BYTES,
        LINES_PER_BLOCK, RANGE_DELETES, header,
    },
    index::separator,
    info::{OPTION, TableInfo, TableOrigin},
    sink::{BUFFER_BYTES, Sink, WrittenFile},
};
use crate::{
    cache::BlockCache,
    digest::{Digest, DigestSum},
    error::{Error, Result},
    key::{KEY_BYTES_MAX, Kind, SeqNo, Stamp, VALUE_BYTES_MAX},
    options::KeyPrefix,
    planted::{Bug, planted},
    pointer::{Pointer, UseCount},
    ranges::RangeDeletes,
};

/// How a table is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableOptions {
    /// Bytes of a data block before compression; an entry larger than that has a block to itself.
    pub(crate) block_bytes: u32,
    /// 10 give about one false positive in a hundred, 0 leaves the filter away.
    pub(crate) filter_bits_per_key: u8,
    /// Whether a fuse filter takes the place of those bits, where one can be built.
    pub(crate) fuse: bool,
    /// How prefixes are found that the filter holds too.
    pub(crate) prefix: Option<KeyPrefix>,
    /// How blocks are compressed where that helps.
    pub(crate) codec: Codec,
    /// Whether zstd compresses data blocks in its place.
    pub(crate) zstd: bool,
}

impl Default for TableOptions {
    fn default() -> TableOptions {
        TableOptions {
            block_bytes: 4096,
            filter_bits_per_key: 10,
            fuse: false,
            prefix: None,
            codec: Codec::Lz4,
            zstd: false,
        }
    }
}

/// Versions of one key share a block up to so many times the bytes of a block.
const VERSIONS_BLOCKS_MAX: usize = 4;
/// So many blocks in a row may be carried even where a block must end for them that is not half full.
const LONG_RUN: usize = 16;
/// Bytes of an index partition before compression.
const PARTITION_BYTES: usize = 16 << 10;
/// Blocks that it has at least, so that the block over the partitions stays small with long keys.
const PARTITION_BLOCKS_MIN: usize = 64;

/// Memory that a key takes until its table is finished: its hash, in a list that doubles, its bits, and
/// what building the filter takes.
pub(crate) fn key_memory_bytes(options: TableOptions) -> u64 {
    let building = if options.fuse { FUSE_KEY_BYTES } else { 0 };
    16 + u64::from(options.filter_bits_per_key).div_ceil(8) + building
}

/// Memory that packing the blocks takes, at a time when there are few keys yet. With less there is no
/// dictionary.
pub(crate) fn packing_bytes(options: TableOptions) -> u64 {
    if options.zstd { PACKING_BYTES } else { 0 }
}

/// What building a fuse filter takes for each key meanwhile.
const FUSE_KEY_BYTES: u64 = 42;

/// A table being written.
pub(crate) struct TableWriter {
    sink: Sink,
    options: TableOptions,
    block: BlockBuilder,
    payload: Vec<u8>,
    /// What the entries of the block should come to.
    digests: DigestSum,
    /// Hashes of all different keys and prefixes.
    hashes: Vec<u64>,
    /// The hash of the last key.
    last_hash: u64,
    /// The last prefix; empty when there is none.
    last_prefix: Vec<u8>,
    separators: Separators,
    /// Stored bytes of the block before the one being filled, whose separator is not known yet.
    pending: Option<u32>,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    last_stamp: Stamp,
    footer: Footer,
    key_bytes: u64,
    value_bytes: u64,
    uses: UseCount,
    expiry: Expiry,
    /// Whether a version of the last key hides those that follow it.
    is_hidden: bool,
    warmed: Option<(Arc<BlockCache>, u64)>,
    /// Whether blocks go there only if most of their entries were there before.
    follows_heat: bool,
    /// Entries of the block that were in the cache, less those that were not.
    heat: i32,
    range_deletes: RangeDeletes,
    origin: Option<TableOrigin>,
    /// What the caller has set aside for keys and separators.
    keys_bytes_max: u64,
    /// Blocks that wait for a dictionary.
    held: Option<Held>,
    /// The dictionary that was written.
    dictionary: Vec<u8>,
}

impl TableWriter {
    /// Creates the file at `path`, which must not exist.
    pub(crate) fn create(
        vfs: &dyn Vfs,
        path: impl Into<PathBuf>,
        store: u64,
        table: u64,
        options: TableOptions,
    ) -> Result<TableWriter> {
        let path = path.into();
        let file = vfs.open(&path, Open::Create).map_err(Error::io("create", &path))?;
        let codec = if options.zstd { Codec::Zstd } else { options.codec };
        let mut sink = Sink::new(file, path, FileSeed::new(store, table), codec);
        sink.buffer.extend_from_slice(&header(store, table));
        Ok(TableWriter {
            sink,
            options,
            block: BlockBuilder::new(true),
            payload: Vec::new(),
            digests: DigestSum::default(),
            hashes: Vec::new(),
            last_hash: 0,
            last_prefix: Vec::new(),
            separators: Separators::default(),
            pending: None,
            first_key: Vec::new(),
            last_key: Vec::new(),
            last_stamp: Stamp(0),
            footer: Footer { store, table, seqno_min: SeqNo::MAX, ..Footer::default() },
            key_bytes: 0,
            value_bytes: 0,
            uses: UseCount::default(),
            expiry: Expiry::By(0),
            is_hidden: false,
            warmed: None,
            follows_heat: false,
            heat: 0,
            range_deletes: RangeDeletes::default(),
            origin: None,
            keys_bytes_max: u64::MAX,
            held: options.zstd.then(Held::new),
            dictionary: Vec::new(),
        })
    }

    /// Bounds the memory beside the block being filled: of the write buffer, and of what is kept of keys.
    pub(crate) fn stay_within(&mut self, buffer_bytes: usize, keys_bytes_max: u64) {
        self.sink.buffer_bytes = buffer_bytes.min(BUFFER_BYTES);
        self.keys_bytes_max = keys_bytes_max;
        if let Some(held) = &mut self.held {
            held.stay_within(keys_bytes_max);
        }
    }

    /// Whether what is kept of the keys takes all that it may, so that the table should end.
    pub(crate) fn is_out_of_room(&self) -> bool {
        let Separators { keys, ends } = &self.separators;
        let keys = self.hashes.len() as u64 * key_memory_bytes(self.options)
            + 2 * (keys.len() + size_of::<(usize, u32)>() * ends.len()) as u64;
        self.keys_bytes_max <= keys + self.held.as_ref().map_or(0, Held::memory_bytes)
    }

    /// Says where the table belongs.
    pub(crate) fn belongs_to(&mut self, origin: TableOrigin) {
        self.origin = Some(origin);
    }

    /// Puts every block that is written from here on into `cache` too, where the table will look for
    /// it under `cache_id`: its readers begin warm.
    pub(crate) fn warm(&mut self, cache: Arc<BlockCache>, cache_id: u64) {
        self.warmed = Some((cache, cache_id));
    }

    /// As `warm`, but only blocks of which most entries were in the cache, as `heat` tells.
    pub(crate) fn warm_what_was(&mut self, cache: Arc<BlockCache>, cache_id: u64) {
        self.warm(cache, cache_id);
        self.follows_heat = true;
    }

    /// Whether the entry that was added last was in the cache.
    pub(crate) fn heat(&mut self, was_cached: bool) {
        self.heat += if was_cached { 1 } else { -1 };
    }

    /// The sequence number of all entries is not known yet: whoever names the table in the manifest
    /// gives it there. What the entries are stamped with only tells about how old they are.
    pub(crate) fn number_later(&mut self) {
        self.footer.features |= FEATURE_NUMBERED_LATER;
    }

    /// The key added last; empty when there is none.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Lists deletions of ranges in the table, beside its entries. Where it has none, the first key
    /// of the list is made one: it is deleted by what the list says anyway.
    pub(crate) fn set_range_deletes(&mut self, list: RangeDeletes) -> Result<()> {
        if self.is_empty()
            && let Some(piece) = list.pieces().first()
        {
            self.add(&piece.start, Stamp::new(piece.seqnos[0], Kind::Delete), &[])?;
        }
        self.range_deletes = list;
        Ok(())
    }

    /// Whether nothing was added yet; such a table cannot be finished.
    pub(crate) fn is_empty(&self) -> bool {
        self.footer.entries == 0
    }

    /// About how large the file would be if it were finished now.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        let filter = self.hashes.len() * usize::from(self.options.filter_bits_per_key) / 8;
        let index = self.separators.keys.len() + 8 * self.separators.ends.len();
        let rest = self.block.bytes() + filter + index + FOOTER_BYTES;
        self.sink.position() + rest as u64 + self.held.as_ref().map_or(0, Held::bytes)
    }

    /// How many entries were added.
    pub(crate) fn entries(&self) -> u64 {
        self.footer.entries
    }

    /// Adds the next entry; it must come after the one before.
    pub(crate) fn add(&mut self, key: &[u8], stamp: Stamp, value: &[u8]) -> Result<()> {
        self.add_known(key, stamp, value, Digest::of(key, value))
    }

    /// Adds the next entry, of which it is known what key and value should come to. That is compared
    /// when its block ends.
    pub(crate) fn add_known(
        &mut self,
        key: &[u8],
        stamp: Stamp,
        value: &[u8],
        digest: Digest,
    ) -> Result<()> {
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
        let same = !self.is_empty() && key == self.last_key;
        if same {
            assert!(stamp < self.last_stamp, "versions of a key must be added newest first");
        } else {
            assert!(self.is_empty() || *self.last_key < *key, "keys must be added in order");
            self.last_hash = digest.key_hash();
            self.hashes.push(self.last_hash);
            self.add_prefix(key);
        }
        if stamp.kind() == Some(Kind::Pointer) {
            let pointer = Pointer::decode(value).ok_or_else(|| {
                Error::corrupt(&self.sink.path, self.sink.position(), "a pointer does not decode")
            })?;
            self.uses.add(&pointer, same && self.is_hidden);
            self.footer.features |= FEATURE_POINTERS;
        }
        if self.must_cut(key, stamp, value, same) {
            self.cut(same)?;
        }
        if self.block.is_empty() {
            self.place_separator(key);
        }
        if self.is_empty() {
            self.first_key.extend_from_slice(key);
        }
        self.block.add(key, tag(self.last_hash), stamp, value);
        self.digests.add(digest, stamp);
        self.note(key, stamp, value, same);
        Ok(())
    }

    /// Adds the prefix of a new key, if it is new too: those that have it follow each other.
    fn add_prefix(&mut self, key: &[u8]) {
        let prefix = self.options.prefix.and_then(|rule| rule.of(key));
        if let Some(prefix) = prefix.filter(|prefix| **prefix != *self.last_prefix) {
            self.last_prefix.clear();
            self.last_prefix.extend_from_slice(prefix);
            let hash = prefix_hash(prefix);
            let wrong = planted(Bug::PrefixFilterOnWrongKeys);
            self.hashes.push(if wrong { !hash } else { hash });
        }
    }

    /// Whether the block being filled may end here for so many blocks that are carried: ended short too
    /// often, blocks would become small.
    pub(crate) fn may_carry(&self, blocks: usize) -> bool {
        let half = self.options.block_bytes as usize / 2;
        let ends_well = self.block.is_empty() || half <= self.block.bytes() || LONG_RUN <= blocks;
        ends_well && !self.options.zstd
    }

    /// Takes over a block whose keys come after all that was added; false, and nothing is done, when it is
    /// compressed as this table's blocks are not.
    pub(crate) fn carry(&mut self, carried: &Carried<'_>) -> Result<bool> {
        if self.options.zstd || !carried.suits(self.options.codec) {
            return Ok(false);
        }
        assert!(self.is_empty() || self.last_key < carried.first_key, "keys must come in order");
        if !self.block.is_empty() {
            self.cut(false)?;
        }
        self.place_separator(&carried.first_key);
        if self.is_empty() {
            self.first_key.extend_from_slice(&carried.first_key);
        }
        self.hashes.extend_from_slice(&carried.hashes);
        if self.options.prefix.is_some() {
            carried.each_key(|key| self.add_prefix(key));
        }
        let stored = self.sink.stored_block(&carried.stored, carried.seed)?;
        self.heat = if carried.was_cached { 1 } else { -1 };
        self.end_block(stored, || carried.block.clone());
        self.note_carried(carried);
        Ok(true)
    }

    fn note_carried(&mut self, carried: &Carried<'_>) {
        self.last_hash = carried.hashes.last().copied().unwrap_or_default();
        self.last_key.clear();
        self.last_key.extend_from_slice(&carried.last_key);
        // Nothing more comes of the last key.
        (self.last_stamp, self.is_hidden) = (carried.stamp_min, true);
        self.expiry = Expiry::Never;
        let footer = &mut self.footer;
        footer.entries += carried.entries();
        footer.seqno_min = footer.seqno_min.min(carried.stamp_min.seqno());
        footer.seqno_max = footer.seqno_max.max(carried.stamp_max.seqno());
        self.key_bytes += carried.key_bytes;
        self.value_bytes += carried.value_bytes;
    }

    fn note(&mut self, key: &[u8], stamp: Stamp, value: &[u8], same: bool) {
        if !same {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.last_stamp = stamp;
        self.expiry.note(stamp, value);
        self.is_hidden = same && self.is_hidden || stamp.kind() != Some(Kind::Merge);
        let footer = &mut self.footer;
        footer.entries += 1;
        footer.tombstones += u64::from(stamp.kind() == Some(Kind::Delete));
        footer.seqno_min = footer.seqno_min.min(stamp.seqno());
        footer.seqno_max = footer.seqno_max.max(stamp.seqno());
        self.key_bytes += key.len() as u64;
        self.value_bytes += value.len() as u64;
    }

    /// Whether the block must end before this entry.
    fn must_cut(&self, key: &[u8], stamp: Stamp, value: &[u8], same: bool) -> bool {
        let blocks = if same { VERSIONS_BLOCKS_MAX } else { 1 };
        let bytes_max = self.options.block_bytes as usize * blocks;
        !self.block.is_empty() && self.block.bytes_with(key, stamp, value) > bytes_max
    }

    fn cut(&mut self, continues: bool) -> Result<()> {
        let values_at = self.block.encode(continues, &mut self.payload);
        if planted(Bug::CompactionByteFlipped) && self.footer.data_blocks == 1 {
            self.payload[values_at - 1] ^= 1;
        }
        if digest_sum(&self.payload) != std::mem::take(&mut self.digests) {
            let what = format!("block {} was laid out wrong", self.footer.data_blocks);
            return Err(Error::Altered { path: self.sink.path.clone(), what });
        }
        let stored = self.write_or_hold(values_at)?;
        let payload = std::mem::take(&mut self.payload);
        self.end_block(stored, || Block::made(&payload));
        self.payload = payload;
        self.payload.clear();
        self.payload.shrink_to(self.sink.buffer_bytes);
        Ok(())
    }

    /// A block was handed over, and takes so many bytes there.
    fn end_block(&mut self, stored: u32, block: impl FnOnce() -> Block) {
        let wanted = !self.follows_heat || 0 < self.heat;
        self.heat = 0;
        if let Some((cache, id)) = self.warmed.as_ref().filter(|_| wanted) {
            cache.insert(*id, self.footer.data_blocks as usize, &block());
        }
        assert!(self.pending.is_none(), "the block before has its separator");
        self.pending = Some(stored);
        self.footer.data_blocks += 1;
    }

    /// Enters the block before into the index, now that the key after it is known.
    fn place_separator(&mut self, next: &[u8]) {
        if let Some(stored) = self.pending.take() {
            self.separators.push(separator(&self.last_key, next), stored);
        }
    }

    /// Writes what remains, syncs the file, and says what it holds. There must be an entry.
    pub(crate) fn finish(self) -> Result<TableInfo> {
        let (info, written) = self.finish_unsynced()?;
        written.sync()?;
        Ok(info)
    }

    /// As `finish`, but the file has yet to be synced.
    pub(crate) fn finish_unsynced(mut self) -> Result<(TableInfo, WrittenFile)> {
        assert!(!self.is_empty(), "a table has at least one entry");
        if !self.block.is_empty() {
            self.cut(false)?;
        }
        self.release(true)?;
        let stored = self.pending.take().expect("the last block has no separator yet");
        self.separators.push(&self.last_key, stored);
        self.write_filter()?;
        self.write_dictionary()?;
        self.write_index()?;
        self.note_range_deletes();
        let last_is_excluded = self.widen();
        self.write_properties(last_is_excluded)?;
        self.footer.file_bytes = self.sink.position() + FOOTER_BYTES as u64;
        self.footer.blocks_checksum = self.sink.checksum;
        let (footer, checksum) = self.footer.encode();
        self.sink.buffer.extend_from_slice(&footer);
        let written = self.sink.finish()?;
        let info = TableInfo {
            id: self.footer.table,
            bytes: self.footer.file_bytes,
            entries: self.footer.entries,
            tombstones: self.footer.tombstones,
            values: self.uses.uses(),
            first_key: self.first_key,
            last_key: self.last_key,
            seqno_min: self.footer.seqno_min,
            seqno_max: self.footer.seqno_max,
            checksum,
            whole: None,
            range_deletes: self.range_deletes.count(),
            last_is_excluded,
        };
        Ok((info, written))
    }

    /// Lets the footer know of the list.
    fn note_range_deletes(&mut self) {
        let Some((least, greatest)) = self.range_deletes.seqno_bounds() else { return };
        self.footer.features |= FEATURE_RANGE_DELETES;
        self.footer.seqno_min = self.footer.seqno_min.min(least);
        self.footer.seqno_max = self.footer.seqno_max.max(greatest);
    }

    /// Takes the deleted ranges into the table's first and last key. Returns whether the last one is
    /// where a range ends.
    fn widen(&mut self) -> bool {
        let Some((start, end)) = self.range_deletes.extent() else { return false };
        if start < self.first_key.as_slice() {
            self.first_key = start.to_vec();
        }
        let excluded = self.last_key.as_slice() < end;
        if excluded {
            self.last_key = end.to_vec();
        }
        excluded
    }

    fn write_filter(&mut self) -> Result<()> {
        self.footer.filter_at = self.sink.position();
        let mut hashes = std::mem::take(&mut self.hashes);
        if planted(Bug::FilterOnWrongKeys) {
            for hash in &mut hashes {
                *hash = !*hash;
            }
        }
        let TableOptions { filter_bits_per_key, fuse, prefix, .. } = self.options;
        let filter = Filter::build(hashes, filter_bits_per_key, fuse, prefix);
        self.footer.filter_lines = filter.lines() as u64;
        self.footer.filter_how = filter.how().word();
        if filter.how().is_fuse() {
            self.footer.features |= FEATURE_FUSE;
        }
        self.sink.codec(Codec::Raw);
        for from in (0..filter.lines()).step_by(LINES_PER_BLOCK) {
            let to = filter.lines().min(from + LINES_PER_BLOCK);
            self.payload.clear();
            self.payload.reserve((to - from) * LINE_BYTES);
            filter.encode(from, to, &mut self.payload);
            self.sink.block(&self.payload)?;
        }
        self.sink.codec(self.options.codec);
        Ok(())
    }

    /// Writes the separators in partitions, and one block over the partitions.
    fn write_index(&mut self) -> Result<()> {
        self.footer.index_at = self.sink.position();
        self.footer.separator_bytes = self.separators.keys.len() as u64;
        let separators = std::mem::take(&mut self.separators);
        let mut partition = BlockBuilder::new(false);
        let mut top = BlockBuilder::new(false);
        let (mut data_at, mut data_end) = (HEADER_BYTES, HEADER_BYTES);
        let mut blocks = separators.iter().peekable();
        while let Some((key, stored)) = blocks.next() {
            partition.add(key, 0, Stamp(0), &stored.to_le_bytes());
            data_end += u64::from(stored);
            let more =
                partition.count() < PARTITION_BLOCKS_MIN || partition.bytes() < PARTITION_BYTES;
            if more && blocks.peek().is_some() {
                continue;
            }
            let mut entry = self.sink.position().to_le_bytes().to_vec();
            self.payload.clear();
            partition.encode(false, &mut self.payload);
            entry.extend_from_slice(&self.sink.block(&self.payload)?.to_le_bytes());
            entry.extend_from_slice(&data_at.to_le_bytes());
            top.add(key, 0, Stamp(0), &entry);
            data_at = data_end;
        }
        assert_eq!(data_end, self.footer.filter_at, "the index covers all data blocks");
        self.footer.top_at = self.sink.position();
        self.payload.clear();
        top.encode(false, &mut self.payload);
        self.sink.block(&self.payload)?;
        Ok(())
    }

    /// Writes what readers do not need but repair and inspection do, by name in order.
    fn write_properties(&mut self, last_is_excluded: bool) -> Result<()> {
        self.footer.properties_at = self.sink.position();
        let mut properties = BlockBuilder::new(false);
        let numbers = [self.key_bytes.to_le_bytes(), self.value_bytes.to_le_bytes()];
        let block_bytes = self.options.block_bytes.to_le_bytes();
        let range_deletes = self.range_deletes.encode();
        let mut named: Vec<(&str, &[u8])> = vec![
            ("block_bytes", &block_bytes),
            ("first_key", &self.first_key),
            ("key_bytes", &numbers[0]),
            ("last_key", &self.last_key),
            ("value_bytes", &numbers[1]),
        ];
        if !self.range_deletes.is_empty() {
            named.push((RANGE_DELETES, &range_deletes));
        }
        if !self.dictionary.is_empty() {
            named.push((DICTIONARY, &self.dictionary));
        }
        let expires_by = self.expiry.encode();
        if let Some(expires_by) = &expires_by {
            named.push((EXPIRES_BY, expires_by));
        }
        if last_is_excluded {
            named.push(("last_is_excluded", &[1]));
        }
        let origin = self.origin.as_ref();
        let words = origin.map(|origin| {
            (origin.keyspace.to_le_bytes(), [origin.level], origin.flushed.to_le_bytes())
        });
        let inputs = origin.map(|origin| &origin.inputs).into_iter().flatten();
        let inputs: Vec<u8> = inputs.flat_map(|table| table.to_le_bytes()).collect();
        if let (Some(origin), Some((keyspace, level, flushed))) = (origin, &words) {
            named.push(("flushed", flushed));
            named.push(("inputs", &inputs));
            named.push(("keyspace", keyspace));
            named.push(("keyspace_name", origin.name.as_bytes()));
            named.push(("level", level));
        }
        let options = origin.map(|origin| origin.options.encode()).unwrap_or_default();
        let options: Vec<(String, Vec<u8>)> =
            options.into_iter().map(|(name, value)| (format!("{OPTION}{name}"), value)).collect();
        named.extend(options.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        named.sort_by_key(|(name, _)| *name);
        for (name, value) in named {
            properties.add(name.as_bytes(), 0, Stamp(0), value);
        }
        if !self.uses.is_empty() {
            let words = self.uses.uses().words();
            let uses: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            properties.add(b"values", 0, Stamp(0), &uses);
        }
        self.payload.clear();
        properties.encode(false, &mut self.payload);
        self.sink.block(&self.payload)?;
        Ok(())
    }
}

/// The separators of the blocks written so far.
#[derive(Debug, Default)]
struct Separators {
    keys: Vec<u8>,
    /// Where each ends in `keys`, and the stored bytes of its block.
    ends: Vec<(usize, u32)>,
}

impl Separators {
    fn push(&mut self, key: &[u8], stored: u32) {
        self.keys.extend_from_slice(key);
        self.ends.push((self.keys.len(), stored));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, (end, stored))| (&self.keys[start..*end], *stored))
    }
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path: &Path = &self.sink.path;
        f.debug_struct("TableWriter").field("path", &path).finish_non_exhaustive()
    }
}
