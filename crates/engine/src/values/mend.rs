//! Checksums of a value file's bytes made right again after they were changed, for `fuzzing.rs`.
//!
//! 1. Bytes that were not changed stay as they are.

use super::format::{
    CHUNK_BYTES, FOOTER_BYTES, Footer, HEADER_BYTES, TAIL_END_BYTES, Tail, chunk_hash,
};
use crate::table::{FileSeed, mix, u64_at};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Where the records of a value file begin and end, found from its end by their tails.
pub(crate) fn stored_records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut records = Vec::new();
    let mut end = bytes.len().saturating_sub(FOOTER_BYTES);
    while let Some(tail) = bytes.get(HEADER_BYTES as usize..end)
        && let Some((_, last)) = tail.split_last_chunk::<TAIL_END_BYTES>()
        && let Some((tail_bytes, stored_bytes)) = Tail::lengths(last)
        && let Some(record_bytes) = tail_bytes.checked_add(stored_bytes)
        && let Some(start) = end.checked_sub(usize::try_from(record_bytes).unwrap_or(usize::MAX))
        && HEADER_BYTES as usize <= start
    {
        records.push((start, end));
        end = start;
    }
    records.reverse();
    records
}

/// Makes the checksums right of the record that stands there, if it still does. Returns its tail's.
pub(crate) fn mend_record(bytes: &mut [u8], start: usize, end: usize, seed: FileSeed) -> u64 {
    let Some(record) = bytes.get_mut(start..end) else { return 0 };
    let Some(last) = record.last_chunk::<TAIL_END_BYTES>() else { return 0 };
    let hash_at = record.len() - 8;
    let Some(tail_bytes) = Tail::bytes(last, record.len() as u64) else {
        return u64_at(record, hash_at);
    };
    let tail_at = record.len() - tail_bytes as usize;
    let (stored, tail) = record.split_at_mut(tail_at);
    let places = tail.chunks_exact_mut(8);
    for ((number, chunk), place) in stored.chunks(CHUNK_BYTES).enumerate().zip(places) {
        let hash = chunk_hash(seed, (start + number * CHUNK_BYTES) as u64, chunk);
        place.copy_from_slice(&hash.to_le_bytes());
    }
    let hash = xxh3_64_with_seed(&record[tail_at..hash_at], seed.at((start + tail_at) as u64));
    record[hash_at..].copy_from_slice(&hash.to_le_bytes());
    hash
}

/// Makes the footer right of a file of this store and number whose tails have these hashes.
pub(crate) fn mend_values_footer(bytes: &mut [u8], store: u64, file: u64, tails: &[u64]) {
    let file_bytes = bytes.len() as u64;
    if let Some(last) = bytes.last_chunk_mut::<FOOTER_BYTES>() {
        let footer = Footer {
            store,
            file,
            file_bytes,
            records: u64_at(last, 24),
            value_bytes: u64_at(last, 32),
            tails: tails.iter().fold(0, |all, hash| mix(all ^ hash)),
        };
        let (mended, _) = footer.encode();
        last[..56].copy_from_slice(&mended[..56]);
    }
}
