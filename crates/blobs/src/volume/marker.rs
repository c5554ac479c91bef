//! The little file that says of an extent that it lies in the bucket: what it begins with, how long it is, its hash.
//!
//! Its name says how far things are: `.up` while the extent is being sent and is here as well, `.far` when it is in the bucket
//! and read from there, `.gone` when it is to be removed from there.
//!
//! 1. It is believed only if its hash matches and it is of this volume and extent.

use xxhash_rust::xxh3::xxh3_64;

use crate::bytes::Take;

use super::extents::{ExtentHeader, HEADER_BYTES};

const MAGIC: [u8; 8] = *b"OLIVFAR\0";
const FORMAT: u32 = 1;

/// Bytes of a marker.
pub(super) const MARKER_BYTES: usize = HEADER_BYTES as usize + 40;

/// How far an extent is, as the name of its marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Up,
    Far,
    Gone,
}

impl Stage {
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Stage::Up => "up",
            Stage::Far => "far",
            Stage::Gone => "gone",
        }
    }

    pub(super) fn of_suffix(suffix: &str) -> Option<Stage> {
        [Stage::Up, Stage::Far, Stage::Gone].into_iter().find(|one| one.suffix() == suffix)
    }
}

/// What is known here of an extent in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// What the extent begins with.
    pub(super) header: ExtentHeader,
    /// Its length.
    pub(super) bytes: u64,
    /// The hash of all of it.
    pub(super) hash: u64,
}

impl Marker {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MARKER_BYTES);
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.bytes.to_le_bytes());
        out.extend(self.hash.to_le_bytes());
        out.extend(self.header.encode());
        out.extend(xxh3_64(&out).to_le_bytes());
        out
    }

    /// The marker that `bytes` are, or what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Marker, &'static str> {
        if bytes.len() != MARKER_BYTES {
            return Err("it has not the length of a marker");
        }
        let (front, hash) = bytes.split_at(MARKER_BYTES - 8);
        if Take(hash).u64() != Some(xxh3_64(front)) {
            return Err("the checksum of a marker does not match");
        }
        let mut take = Take(front);
        if take.array() != Some(MAGIC) {
            return Err("it does not begin as markers do");
        }
        if take.u32() != Some(FORMAT) {
            return Err("it has a format that this release does not read");
        }
        let mut sums = || {
            take.u32()?;
            Some((take.u64()?, take.u64()?))
        };
        let (bytes, hash) = sums().ok_or("it ends early")?;
        Ok(Marker { header: ExtentHeader::decode(take.0)?, bytes, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::extents::Sort;

    #[test]
    fn a_marker_comes_back_and_no_flipped_bit_does() {
        let (uuid, salt, before) = ([3; 16], 4, (6, 700));
        let header = ExtentHeader { sort: Sort::Sole, uuid, salt, number: 7, before };
        let marker = Marker { header, bytes: 1 << 33, hash: 9 };
        let mut bytes = marker.encode();
        assert_eq!(bytes.len(), MARKER_BYTES);
        assert_eq!(Marker::decode(&bytes), Ok(marker));
        for bit in 0..8 * MARKER_BYTES {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Marker::decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(Marker::decode(&bytes[1..]).is_err());
    }
}
