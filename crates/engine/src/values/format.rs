//! The bytes of a value file: header, records with their tails, footer.
//!
//! 1. What decodes was written by `encode`, for this store, file and place: else it is `None` or says
//!    what is wrong.
//! 2. Nothing here indexes bytes that were not measured before.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    key::{KEY_BYTES_MAX, VALUE_STREAM_BYTES_MAX},
    pointer::Pointer,
    table::{Codec, FileSeed, u64_at},
};

pub(super) const MAGIC: [u8; 8] = *b"OLVVALUE";
pub(super) const FORMAT: u32 = 1;

/// Magic, format, four zero bytes, store, file.
pub(super) const HEADER_BYTES: u64 = 32;
/// Bytes of a stored value that have one checksum, the last chunk may have fewer.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// What ends a tail: length of the key, codec, stored length, length, hash.
pub(super) const TAIL_END_BYTES: usize = 27;
pub(super) const FOOTER_BYTES: usize = 68;
/// The words of a footer that its hash covers.
const FOOTER_WORDS: usize = 6;

/// What a file takes beside its records.
pub(crate) const FILE_BYTES_LEAST: u64 = HEADER_BYTES + FOOTER_BYTES as u64;

/// The name of a value file.
pub(crate) fn values_name(file: u64) -> String {
    format!("values-{file:012}")
}

/// What the manifest knows of a value file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValuesInfo {
    pub(crate) file: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// The checksum of the footer, which covers those of all tails.
    pub(crate) checksum: u64,
}

pub(super) fn header(store: u64, file: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[16..24].copy_from_slice(&store.to_le_bytes());
    header[24..].copy_from_slice(&file.to_le_bytes());
    header
}

/// The hash of a chunk that begins at `offset` of the file.
pub(super) fn chunk_hash(seed: FileSeed, offset: u64, chunk: &[u8]) -> u64 {
    xxh3_64_with_seed(chunk, seed.at(offset))
}

/// What follows a stored value: how to verify and to understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// One for each chunk of the stored value.
    pub(super) hashes: Vec<u64>,
    pub(super) key: Vec<u8>,
    pub(super) codec: Codec,
    pub(super) stored_bytes: u64,
    pub(super) value_bytes: u64,
}

impl Tail {
    /// The bytes of this tail at `offset`, and their hash, which ends them.
    pub(super) fn encode(&self, seed: FileSeed, offset: u64) -> (Vec<u8>, u64) {
        assert!(self.hashes.len() as u64 == self.stored_bytes.div_ceil(CHUNK_BYTES as u64));
        assert!(self.key.len() <= KEY_BYTES_MAX, "a key of {} bytes", self.key.len());
        let mut bytes = Vec::with_capacity(8 * self.hashes.len() + self.key.len() + TAIL_END_BYTES);
        for hash in &self.hashes {
            bytes.extend_from_slice(&hash.to_le_bytes());
        }
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        bytes.push(self.codec as u8);
        bytes.extend_from_slice(&self.stored_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.value_bytes.to_le_bytes());
        let hash = xxh3_64_with_seed(&bytes, seed.at(offset));
        bytes.extend_from_slice(&hash.to_le_bytes());
        (bytes, hash)
    }

    /// How many bytes the tail takes that ends with `end`, and the stored value before it.
    pub(super) fn lengths(end: &[u8; TAIL_END_BYTES]) -> Option<(u64, u64)> {
        let key_bytes = u64::from(u16::from_le_bytes([end[0], end[1]]));
        let stored_bytes = u64_at(end, 3);
        let chunks = stored_bytes.div_ceil(CHUNK_BYTES as u64);
        let bytes = chunks.checked_mul(8)?.checked_add(key_bytes + TAIL_END_BYTES as u64)?;
        Some((bytes, stored_bytes))
    }

    /// How many bytes the tail takes that ends with `end`, if a record of `record_bytes` can have such.
    pub(super) fn bytes(end: &[u8; TAIL_END_BYTES], record_bytes: u64) -> Option<u64> {
        let (bytes, stored_bytes) = Tail::lengths(end)?;
        (stored_bytes.checked_add(bytes)? == record_bytes).then_some(bytes)
    }

    /// The tail of the record that `pointer` names, out of its `bytes`, or what is wrong with them.
    pub(super) fn decode(
        bytes: &[u8],
        seed: FileSeed,
        pointer: &Pointer,
    ) -> Result<Tail, &'static str> {
        let (tail, hash) = Tail::open(bytes, seed, pointer.offset, pointer.record_bytes)?;
        if hash != pointer.checksum {
            return Err("the record is not the one that was written for this key");
        }
        if tail.value_bytes != pointer.value_bytes {
            return Err("a record's value has another length than its pointer says");
        }
        Ok(tail)
    }

    /// The tail of the record of `record_bytes` at `offset`, and its hash.
    pub(super) fn open(
        bytes: &[u8],
        seed: FileSeed,
        offset: u64,
        record_bytes: u64,
    ) -> Result<(Tail, u64), &'static str> {
        const SHORT: &str = "a record's tail has the wrong length";
        let (_, end) = bytes.split_last_chunk::<TAIL_END_BYTES>().ok_or(SHORT)?;
        let tail_bytes = Tail::bytes(end, record_bytes).ok_or(SHORT)?;
        if tail_bytes != bytes.len() as u64 {
            return Err(SHORT);
        }
        let at = offset + (record_bytes - tail_bytes);
        let (covered, hash) = bytes.split_last_chunk::<8>().ok_or(SHORT)?;
        let hash = u64::from_le_bytes(*hash);
        if xxh3_64_with_seed(covered, seed.at(at)) != hash {
            return Err("the checksum of a record's tail does not match");
        }
        let (stored_bytes, value_bytes) = (u64_at(end, 3), u64_at(end, 11));
        let hash_bytes = stored_bytes.div_ceil(CHUNK_BYTES as u64) * 8;
        let hash_bytes = usize::try_from(hash_bytes).map_err(|_| SHORT)?;
        let (hashes, rest) = covered.split_at_checked(hash_bytes).ok_or(SHORT)?;
        let key_bytes = rest.len().checked_sub(TAIL_END_BYTES - 8).ok_or(SHORT)?;
        let codec = match end[2] {
            0 if stored_bytes == value_bytes => Codec::Raw,
            1 if value_bytes <= CHUNK_BYTES as u64 => Codec::Lz4,
            _ => return Err("a record's codec does not fit its lengths"),
        };
        if VALUE_STREAM_BYTES_MAX < value_bytes {
            return Err("a record's value is longer than any");
        }
        let hashes = hashes.as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash));
        let hashes = hashes.collect();
        let key = rest[..key_bytes].to_vec();
        Ok((Tail { hashes, key, codec, stored_bytes, value_bytes }, hash))
    }
}

/// What ends a complete file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) store: u64,
    pub(super) file: u64,
    pub(super) file_bytes: u64,
    pub(super) records: u64,
    /// Bytes of all values, as they were put.
    pub(super) value_bytes: u64,
    /// The hashes of all tails in their order, mixed.
    pub(super) tails: u64,
}

impl Footer {
    /// The bytes, and the hash that the manifest repeats.
    pub(super) fn encode(&self) -> ([u8; FOOTER_BYTES], u64) {
        let words =
            [self.store, self.file, self.file_bytes, self.records, self.value_bytes, self.tails];
        let mut bytes = [0; FOOTER_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let hash = self.hash(&bytes);
        bytes[48..56].copy_from_slice(&hash.to_le_bytes());
        bytes[56..60].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[60..].copy_from_slice(&MAGIC);
        (bytes, hash)
    }

    fn hash(&self, bytes: &[u8; FOOTER_BYTES]) -> u64 {
        let at = self.file_bytes.saturating_sub(FOOTER_BYTES as u64);
        let seed = FileSeed::new(self.store, self.file).at(at);
        xxh3_64_with_seed(&bytes[..8 * FOOTER_WORDS], seed)
    }

    /// The format that the footer names, if it is not ours; its last twelve bytes are the same in all
    /// formats. Where the rest verifies as ours, it is that number that is damaged.
    pub(super) fn other_format(
        bytes: &[u8; FOOTER_BYTES],
        store: u64,
        file: u64,
        file_bytes: u64,
    ) -> Option<u32> {
        let format = (u64_at(bytes, 52) >> 32) as u32;
        if bytes[60..] != MAGIC || format == FORMAT {
            return None;
        }
        let mut mended = *bytes;
        mended[56..60].copy_from_slice(&FORMAT.to_le_bytes());
        Footer::open(&mended, store, file, file_bytes).is_err().then_some(format)
    }

    /// What the footer says of a file of `file_bytes`, and its hash, or what is wrong with it.
    pub(super) fn open(
        bytes: &[u8; FOOTER_BYTES],
        store: u64,
        file: u64,
        file_bytes: u64,
    ) -> Result<(Footer, u64), &'static str> {
        if bytes[60..] != MAGIC {
            return Err("it does not end as a value file does");
        }
        let footer = Footer {
            store,
            file,
            file_bytes,
            records: u64_at(bytes, 24),
            value_bytes: u64_at(bytes, 32),
            tails: u64_at(bytes, 40),
        };
        let (expected, hash) = footer.encode();
        if expected != *bytes {
            return Err("the checksum of the footer does not match");
        }
        Ok((footer, hash))
    }

    /// Whether `bytes` are the footer of the file that `info` describes; if not, what is wrong.
    pub(super) fn check(
        bytes: &[u8; FOOTER_BYTES],
        store: u64,
        info: &ValuesInfo,
    ) -> Result<(), &'static str> {
        let (footer, hash) = Footer::open(bytes, store, info.file, info.bytes)?;
        if footer.records != info.records {
            return Err("it holds another number of records than the manifest says");
        }
        if hash != info.checksum {
            return Err("the file is not the one that was written here");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail() -> (Tail, Pointer, Vec<u8>) {
        let tail = Tail {
            hashes: vec![1, 2],
            key: b"key".to_vec(),
            codec: Codec::Raw,
            stored_bytes: CHUNK_BYTES as u64 + 1,
            value_bytes: CHUNK_BYTES as u64 + 1,
        };
        let offset = 32;
        let (bytes, checksum) = tail.encode(FileSeed::new(1, 2), offset + tail.stored_bytes);
        let pointer = Pointer {
            file: 2,
            offset,
            record_bytes: tail.stored_bytes + bytes.len() as u64,
            value_bytes: tail.value_bytes,
            checksum,
        };
        (tail, pointer, bytes)
    }

    #[test]
    fn a_tail_comes_back_as_it_went_in() {
        let (tail, pointer, bytes) = tail();
        assert_eq!(Tail::decode(&bytes, FileSeed::new(1, 2), &pointer), Ok(tail));
    }

    #[test]
    fn a_tail_is_refused_with_any_bit_flipped_or_elsewhere() {
        let (_, pointer, bytes) = tail();
        let seed = FileSeed::new(1, 2);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Tail::decode(&flipped, seed, &pointer).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Tail::decode(&bytes[..len], seed, &pointer).is_err(), "cut at {len}");
        }
        assert!(Tail::decode(&bytes, FileSeed::new(1, 3), &pointer).is_err());
        let other = Pointer { offset: 33, ..pointer };
        assert!(Tail::decode(&bytes, seed, &other).is_err());
        let other = Pointer { checksum: 0, ..pointer };
        assert!(Tail::decode(&bytes, seed, &other).is_err());
    }

    #[test]
    fn a_footer_is_refused_with_any_bit_flipped() {
        let footer =
            Footer { store: 1, file: 2, file_bytes: 500, records: 3, value_bytes: 77, tails: 9 };
        let (bytes, checksum) = footer.encode();
        let info = ValuesInfo { file: 2, bytes: 500, records: 3, checksum };
        assert_eq!(Footer::check(&bytes, 1, &info), Ok(()));
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::check(&flipped, 1, &info).is_err(), "bit {bit}");
        }
    }
}
