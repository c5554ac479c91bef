//! Checksums of a table's bytes made right again after they were changed, for `fuzzing.rs`.
//!
//! 1. Bytes that were not changed stay as they are.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::format::{
    FOOTER_BYTES, FileSeed, Footer, HEADER_BYTES, TRAILER_BYTES, WORDS_BYTES, u64_at,
};

/// Where the stored blocks of a table begin and end, found by their checksums.
pub(crate) fn stored_blocks(bytes: &[u8], store: u64, table: u64) -> Vec<(usize, usize)> {
    let seed = FileSeed::new(store, table);
    let last = bytes.len().saturating_sub(FOOTER_BYTES);
    let (mut blocks, mut start) = (Vec::new(), HEADER_BYTES as usize);
    while start < last {
        let seed = seed.at(start as u64);
        let ends = (start + TRAILER_BYTES..=last).find(|end| {
            let covered = &bytes[start..end - 8];
            xxh3_64_with_seed(covered, seed) == u64_at(bytes, end - 8)
        });
        let Some(end) = ends else { break };
        blocks.push((start, end));
        start = end;
    }
    blocks
}

/// Makes the checksum right of the block that stands there, if it still does.
pub(crate) fn mend_block(bytes: &mut [u8], start: usize, end: usize, store: u64, table: u64) {
    let seed = FileSeed::new(store, table).at(start as u64);
    if let Some(block) = bytes.get_mut(start..end)
        && let Some((covered, checksum)) = block.split_last_chunk_mut::<8>()
    {
        *checksum = xxh3_64_with_seed(covered, seed).to_le_bytes();
    }
}

/// The checksum that the footer has, 0 when there is no room for one.
pub(crate) fn footer_checksum(bytes: &[u8]) -> u64 {
    bytes.last_chunk::<FOOTER_BYTES>().map_or(0, |footer| u64_at(footer, WORDS_BYTES))
}

/// Makes the footer's length and checksum right.
pub(crate) fn mend_footer(bytes: &mut [u8]) {
    let len = bytes.len() as u64;
    if let Some(footer) = bytes.last_chunk_mut::<FOOTER_BYTES>() {
        footer[24..32].copy_from_slice(&len.to_le_bytes());
        let checksum = Footer::from_words(footer).checksum(footer);
        footer[WORDS_BYTES..WORDS_BYTES + 8].copy_from_slice(&checksum.to_le_bytes());
    }
}
