//! Checksums made right again of bytes that were changed on purpose.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    extents::HEADER_BYTES,
    record::{Bonds, Front, front, seal_all, void_bytes},
    salt_of,
};

/// Where the records and voids of an extent begin and end, as far as their lengths lead.
pub(crate) fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = HEADER_BYTES as usize;
    while let Some(rest) = bytes.get(start..) {
        let length = match front(rest) {
            Front::Record(header) => header.record_bytes(),
            Front::Void(void) => void.bytes,
            Front::Short | Front::Neither => break,
        };
        let Some(end) = usize::try_from(length).ok().and_then(|length| start.checked_add(length))
        else {
            break;
        };
        if end <= start || bytes.len() < end {
            break;
        }
        found.push((start, end));
        start = end;
    }
    found
}

/// Makes the checksums of the header and of the records at `seams` right.
pub(crate) fn mend_extent(bytes: &mut [u8], drawn: &[u8; 32], seams: &[(usize, usize)]) {
    if let Some(header) = bytes.get_mut(..HEADER_BYTES as usize) {
        mend_hash(header);
    }
    let bonds = Bonds::new(salt_of(drawn), 1);
    for (start, end) in seams {
        let Some(record) = bytes.get_mut(*start..*end) else { continue };
        match front(record) {
            Front::Void(void) => {
                let head = void_bytes(void).min(record.len());
                seal_all(record.get_mut(..head).unwrap_or_default());
            }
            _ => seal_all(record),
        }
        bonds.unbind(record, *start as u64);
    }
}

/// Makes the hash right that ends 64 bytes.
pub(crate) fn mend_hash(bytes: &mut [u8]) {
    if let Some((front, hash)) = bytes.split_last_chunk_mut() {
        *hash = xxh3_64(front).to_le_bytes();
    }
}
