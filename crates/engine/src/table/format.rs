//! What surrounds the blocks of a table: header, trailers, footer, and the seeds of checksums.
//!
//! 1. A seed is a one-to-one function of the offset within a file, so no two places of a file share
//!    one; files differ by store and table.
//! 2. Lengths and offsets of a footer are checked against each other and against the length of the
//!    file before any of them is used.
//! 3. `unseal` allocates no more than the stored bytes can hold.

use std::{iter, sync::Arc};

use lz4_flex::block::decompress_into;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    filter::FilterHow,
    squeeze::Squeezer,
    zstd::{Packer, Unpacker},
};
use crate::{
    key::{KEY_BYTES_MAX, SeqNo, VALUE_BYTES_MAX},
    planted::{Bug, planted},
};

pub(super) const MAGIC: [u8; 8] = *b"OLVTABLE";
pub(super) const FORMAT: u32 = 1;

/// Magic, format, four zero bytes, store, table.
pub(super) const HEADER_BYTES: u64 = 32;

/// Feature: the filter is a binary fuse filter.
pub(super) const FEATURE_FUSE: u64 = 2;
/// Feature: data blocks are compressed by zstd, and there may be a dictionary for them.
pub(super) const FEATURE_ZSTD: u64 = 4;
/// The name of a second copy of the dictionary among the properties: for repair, to which the loss of the
/// first would be the loss of the table.
pub(super) const DICTIONARY: &str = "dictionary";
/// The largest dictionary.
pub(super) const DICTIONARY_BYTES_MAX: usize = 16 << 10;
/// What a dictionary begins with, in zstd's format.
pub(super) const DICTIONARY_MAGIC: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];
/// Entries may be pointers to values apart.
pub(super) const FEATURE_POINTERS: u64 = 8;
/// Codec, decoded length, checksum.
pub(super) const TRAILER_BYTES: usize = 13;

/// Fields, checksum, format, magic.
pub(super) const FOOTER_BYTES: usize = 156;

/// The largest decoded block: one entry of the largest key and value, or many small ones.
pub(super) const PAYLOAD_BYTES_MAX: usize = VALUE_BYTES_MAX + 2 * KEY_BYTES_MAX + (4 << 20);

/// One filter line: what a lookup touches, and the unit that filters are counted in.
pub(super) const LINE_BYTES: usize = 64;

/// Feature: the properties list deletions of ranges under this name.
pub(super) const FEATURE_RANGE_DELETES: u64 = 1;
pub(super) const RANGE_DELETES: &str = "range_deletes";

/// Feature: the manifest gives every entry its sequence number, whatever the blocks say.
pub(crate) const FEATURE_NUMBERED_LATER: u64 = 32;

/// Every feature that this release knows.
const FEATURES_KNOWN: u64 =
    FEATURE_RANGE_DELETES | FEATURE_FUSE | FEATURE_ZSTD | FEATURE_POINTERS | FEATURE_NUMBERED_LATER;

/// The fields of the footer, before its checksum.
pub(super) const WORDS_BYTES: usize = FOOTER_BYTES - 20;

/// Filter lines in one block of the file.
pub(super) const LINES_PER_BLOCK: usize = 4096;

/// lz4 turns one byte into at most so many.
const LZ4_RATIO_MAX: usize = 255;
/// zstd stores so many bytes in no less than `ZSTD_BLOCK_BYTES_LEAST`.
const ZSTD_BLOCK_BYTES: usize = 128 << 10;
const ZSTD_BLOCK_BYTES_LEAST: usize = 4;

/// How the bytes of a block are stored. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    /// As they are.
    Raw = 0,
    /// The lz4 block format.
    Lz4 = 1,
    /// A frame of zstd; data blocks only.
    Zstd = 2,
    /// A frame of zstd that needs the dictionary of its table; data blocks only.
    ZstdDictionary = 3,
}

impl Codec {
    fn of(byte: u8) -> Option<Codec> {
        let all = [Codec::Raw, Codec::Lz4, Codec::Zstd, Codec::ZstdDictionary];
        all.into_iter().find(|codec| *codec as u8 == byte)
    }

    /// Whether a block stored so means nothing in another table.
    pub(crate) fn is_bound_to_table(self) -> bool {
        self == Codec::ZstdDictionary
    }

    fn is_zstd(self) -> bool {
        matches!(self, Codec::Zstd | Codec::ZstdDictionary)
    }

    /// The longest payload that can be stored in so many bytes.
    fn payload_bytes_max(self, stored: usize) -> usize {
        if self.is_zstd() {
            (stored / ZSTD_BLOCK_BYTES_LEAST).saturating_mul(ZSTD_BLOCK_BYTES)
        } else {
            (stored + 1).saturating_mul(LZ4_RATIO_MAX) - 1
        }
    }
}

/// Binds checksums to one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSeed(u64);

impl FileSeed {
    pub(crate) fn new(store: u64, table: u64) -> FileSeed {
        FileSeed(mix(table ^ mix(store)))
    }

    /// The seed of what begins at `offset`.
    pub(crate) fn at(self, offset: u64) -> u64 {
        mix(offset ^ self.0)
    }
}

/// The finalizer of splitmix64: one to one, and every bit of the input moves every bit of the output.
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The first bytes of the file. They tell a person or a tool what it is; readers trust the footer.
pub(super) fn header(store: u64, table: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[16..24].copy_from_slice(&store.to_le_bytes());
    header[24..].copy_from_slice(&table.to_le_bytes());
    header
}

/// Turns payloads into stored blocks.
pub(super) struct Sealer {
    codec: Codec,
    squeezer: Squeezer,
    /// For blocks that are to be stored by zstd.
    pub(super) packer: Option<Packer>,
}

impl Sealer {
    pub(super) fn new(codec: Codec) -> Sealer {
        Sealer { codec, squeezer: Squeezer::new(), packer: None }
    }

    pub(super) fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
    }

    /// Appends the block of `payload`, whose values begin at `values_at`, to `out`, compressed if that
    /// saves an eighth, and returns its checksum.
    pub(super) fn seal(
        &mut self,
        payload: &[u8],
        values_at: usize,
        seed: u64,
        out: &mut Vec<u8>,
    ) -> u64 {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a block of {} bytes", payload.len());
        let start = out.len();
        let codec = self.compress(payload, values_at, out);
        out.push(codec as u8);
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        let checksum = xxh3_64_with_seed(&out[start..], seed);
        out.extend_from_slice(&checksum.to_le_bytes());
        checksum
    }

    fn compress(&mut self, payload: &[u8], values_at: usize, out: &mut Vec<u8>) -> Codec {
        let start = out.len();
        let bytes_max = payload.len() - payload.len() / 8;
        if self.codec == Codec::Lz4 {
            self.squeezer.squeeze(payload, values_at, out);
            if out.len() - start <= bytes_max {
                return Codec::Lz4;
            }
            out.truncate(start);
        }
        if self.codec.is_zstd()
            && let Some(packer) = &mut self.packer
            && packer.pack(payload, bytes_max, out)
        {
            return packer.codec();
        }
        out.extend_from_slice(payload);
        Codec::Raw
    }
}

/// The payload of a stored block, or what is wrong with it. Without `unpacker` none is stored by zstd.
pub(super) fn unseal(
    stored: &[u8],
    seed: u64,
    unpacker: Option<&Unpacker>,
) -> Result<Arc<[u8]>, &'static str> {
    let Some((covered, checksum)) = stored.split_last_chunk::<8>() else {
        return Err("a block is shorter than its trailer");
    };
    let Some((payload, trailer)) = covered.split_last_chunk::<5>() else {
        return Err("a block is shorter than its trailer");
    };
    let matches = xxh3_64_with_seed(covered, seed) == u64::from_le_bytes(*checksum);
    if !matches && !planted(Bug::BlockUnverified) {
        return Err("the checksum of a block does not match");
    }
    let [codec, length @ ..] = *trailer;
    let length = u32::from_le_bytes(length) as usize;
    let known = Codec::of(codec).filter(|codec| !codec.is_zstd() || unpacker.is_some());
    let codec = known.ok_or("a block has an unknown codec")?;
    if length > PAYLOAD_BYTES_MAX.min(codec.payload_bytes_max(payload.len())) {
        return Err("a block claims an impossible length");
    }
    if codec == Codec::Raw {
        if payload.len() != length {
            return Err("an uncompressed block has the wrong length");
        }
        return Ok(Arc::from(payload));
    }
    let mut decoded: Arc<[u8]> = iter::repeat_n(0, length).collect();
    let target = Arc::get_mut(&mut decoded).expect("just made, so not shared");
    let bytes = match unpacker.filter(|_| codec.is_zstd()) {
        Some(unpacker) => unpacker.unpack(codec.is_bound_to_table(), payload, target),
        None => decompress_into(payload, target).ok(),
    };
    if bytes == Some(length) {
        Ok(decoded)
    } else {
        Err("a block does not decompress to its length")
    }
}

/// Whether a stored block is what was sealed with `seed`.
pub(super) fn is_sealed(stored: &[u8], seed: u64) -> bool {
    stored.split_last_chunk::<8>().is_some_and(|(covered, checksum)| {
        xxh3_64_with_seed(covered, seed) == u64::from_le_bytes(*checksum)
    })
}

/// Appends a stored block, sealed for another place, and returns its checksum; `None` when what was copied
/// is not what was sealed with `seed_before`.
pub(super) fn reseal(stored: &[u8], seed_before: u64, seed: u64, out: &mut Vec<u8>) -> Option<u64> {
    let (covered, before) = stored.split_last_chunk::<8>()?;
    let start = out.len();
    out.extend_from_slice(covered);
    let checksum = xxh3_64_with_seed(&out[start..], seed);
    // In this order: what changed before the new checksum was taken is told here, what changes later by it.
    let is_same = xxh3_64_with_seed(&out[start..], seed_before) == u64::from_le_bytes(*before);
    out.extend_from_slice(&checksum.to_le_bytes());
    is_same.then_some(checksum)
}

/// The fixed end of a table: where everything is, and what the table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) store: u64,
    pub(super) table: u64,
    /// Bits that a reader must know to read this table.
    pub(super) features: u64,
    pub(super) file_bytes: u64,
    pub(super) entries: u64,
    pub(super) tombstones: u64,
    pub(super) seqno_min: SeqNo,
    pub(super) seqno_max: SeqNo,
    pub(super) data_blocks: u64,
    /// All separators of the index together.
    pub(super) separator_bytes: u64,
    /// Where the data blocks end and the filter begins.
    pub(super) filter_at: u64,
    pub(super) filter_lines: u64,
    /// What filter it is; see `FilterHow`.
    pub(super) filter_how: u64,
    /// Where the filter ends and the index partitions begin.
    pub(super) index_at: u64,
    /// Where the partitions end and the block over them begins.
    pub(super) top_at: u64,
    /// Where that ends and the properties begin; they end at the footer.
    pub(super) properties_at: u64,
    /// The checksums of all blocks in their order, mixed.
    pub(super) blocks_checksum: u64,
}

impl Footer {
    fn words(&self) -> [u64; 17] {
        [
            self.store,
            self.table,
            self.features,
            self.file_bytes,
            self.entries,
            self.tombstones,
            self.seqno_min,
            self.seqno_max,
            self.data_blocks,
            self.separator_bytes,
            self.filter_at,
            self.filter_lines,
            self.filter_how,
            self.index_at,
            self.top_at,
            self.properties_at,
            self.blocks_checksum,
        ]
    }

    /// The footer's bytes and their checksum, which stands for the whole file.
    pub(super) fn encode(&self) -> ([u8; FOOTER_BYTES], u64) {
        let mut bytes = [0; FOOTER_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let checksum = self.checksum(&bytes);
        bytes[WORDS_BYTES..WORDS_BYTES + 8].copy_from_slice(&checksum.to_le_bytes());
        bytes[WORDS_BYTES + 8..WORDS_BYTES + 12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[WORDS_BYTES + 12..].copy_from_slice(&MAGIC);
        (bytes, checksum)
    }

    /// Reads the footer of the table `table` of `store`, whose file has `file_bytes` bytes.
    pub(super) fn decode(
        bytes: &[u8; FOOTER_BYTES],
        store: u64,
        table: u64,
        file_bytes: u64,
    ) -> Result<(Footer, u64), Fault> {
        if bytes[WORDS_BYTES + 12..] != MAGIC {
            return Err(Fault::Damage("the file does not end as a table does"));
        }
        let format = u32_at(bytes, WORDS_BYTES + 8);
        if format != FORMAT {
            return Err(Fault::Format(format));
        }
        let footer = Footer::from_words(bytes);
        let checksum = u64_at(bytes, WORDS_BYTES);
        if (footer.store, footer.table) != (store, table) {
            return Err(Fault::Damage("the file is another table"));
        }
        if footer.file_bytes != file_bytes {
            return Err(Fault::Damage("the file does not have the length it was written with"));
        }
        if footer.checksum(bytes) != checksum {
            return Err(Fault::Damage("the checksum of the footer does not match"));
        }
        if footer.features & !FEATURES_KNOWN != 0 {
            return Err(Fault::Features(footer.features & !FEATURES_KNOWN));
        }
        if footer.has_zstd() && cfg!(not(feature = "zstd")) {
            return Err(Fault::LeftOut);
        }
        if !footer.is_consistent() {
            return Err(Fault::Damage("the footer contradicts itself"));
        }
        Ok((footer, checksum))
    }

    pub(super) fn from_words(bytes: &[u8; FOOTER_BYTES]) -> Footer {
        let word = |n: usize| u64_at(bytes, 8 * n);
        Footer {
            store: word(0),
            table: word(1),
            features: word(2),
            file_bytes: word(3),
            entries: word(4),
            tombstones: word(5),
            seqno_min: word(6),
            seqno_max: word(7),
            data_blocks: word(8),
            separator_bytes: word(9),
            filter_at: word(10),
            filter_lines: word(11),
            filter_how: word(12),
            index_at: word(13),
            top_at: word(14),
            properties_at: word(15),
            blocks_checksum: word(16),
        }
    }

    pub(super) fn checksum(&self, bytes: &[u8; FOOTER_BYTES]) -> u64 {
        let at = self.file_bytes.wrapping_sub(FOOTER_BYTES as u64);
        xxh3_64_with_seed(&bytes[..WORDS_BYTES], FileSeed::new(self.store, self.table).at(at))
    }

    /// Whether there may be blocks stored by zstd.
    pub(super) fn has_zstd(&self) -> bool {
        self.features & FEATURE_ZSTD != 0
    }

    /// Where the filter ends, and the dictionary begins if there is one.
    fn filter_end(&self) -> Option<u64> {
        let blocks = self.filter_lines.div_ceil(LINES_PER_BLOCK as u64);
        let bytes = self.filter_lines.checked_mul(LINE_BYTES as u64)?;
        self.filter_at.checked_add(bytes)?.checked_add(blocks * TRAILER_BYTES as u64)
    }

    /// Where the dictionary is and the bytes it takes in the file, if there is one and the footer is
    /// consistent.
    pub(super) fn dictionary(&self) -> Option<(u64, usize)> {
        let at = self.filter_end()?;
        let stored = self.index_at.checked_sub(at).filter(|stored| *stored != 0)?;
        Some((at, usize::try_from(stored).ok()?))
    }

    /// What filter the table has, if the footer is consistent.
    pub(super) fn filter_how(&self) -> Option<FilterHow> {
        let is_fuse = self.features & FEATURE_FUSE != 0;
        FilterHow::of(self.filter_how, self.filter_lines, is_fuse)
    }

    /// Whether the parts follow each other and can hold what they are said to hold. What is allocated
    /// to load them is thereby bounded by the length of the file.
    fn is_consistent(&self) -> bool {
        let bounds = [
            HEADER_BYTES,
            self.filter_at,
            self.index_at,
            self.top_at,
            self.properties_at,
            self.file_bytes.saturating_sub(FOOTER_BYTES as u64),
        ];
        let trailer = TRAILER_BYTES as u64;
        let dictionary_bytes_max =
            if self.has_zstd() { trailer + DICTIONARY_BYTES_MAX as u64 } else { 0 };
        let behind_filter = self.filter_end().and_then(|end| self.index_at.checked_sub(end));
        let index_bytes = self.properties_at.wrapping_sub(self.index_at);
        bounds.is_sorted()
            && self.data_blocks <= (self.filter_at - HEADER_BYTES) / trailer
            && behind_filter.is_some_and(|bytes| bytes <= dictionary_bytes_max)
            && self.filter_how().is_some()
            && u32::try_from(self.data_blocks).is_ok()
            && self.separator_bytes / LZ4_RATIO_MAX as u64 <= index_bytes
    }
}

/// Why a footer was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// These bytes were not written by anyone.
    Damage(&'static str),
    /// Another format than ours.
    Format(u32),
    /// Our format with additions that this release does not know.
    Features(u64),
    /// With zstd, which this build was made without.
    LeftOut,
}
