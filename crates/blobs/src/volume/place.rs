//! Where an object lies in a volume.

use crate::bytes::{Take, put_varint};

/// Where an object lies in a volume, as the index keeps it and a grant carries it.
///
/// In the layouts that keep a file for each object, the key alone says where it lies; extent and offset are 0
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The extent's number; the first is 1.
    pub extent: u32,
    /// Where in the extent the object's record begins.
    pub offset: u64,
    /// Bytes of the object's value.
    pub bytes: u64,
}

impl Place {
    /// Bytes that the encoding of any place fits into.
    pub const ENCODED_BYTES_MAX: usize = 25;

    /// Appends this place: three numbers of one to ten bytes each.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.extent));
        put_varint(out, self.offset);
        put_varint(out, self.bytes);
    }

    /// The place at the front of `bytes`, and what follows it; nothing when there is none.
    pub fn decode(bytes: &[u8]) -> Option<(Place, &[u8])> {
        let mut take = Take(bytes);
        let extent = u32::try_from(take.varint()?).ok()?;
        let (offset, bytes) = (take.varint()?, take.varint()?);
        Some((Place { extent, offset, bytes }, take.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_and_takes_few_bytes() {
        let place = Place { extent: 300, offset: 1 << 29, bytes: 1024 };
        let mut bytes = Vec::new();
        place.encode(&mut bytes);
        assert_eq!(bytes.len(), 9);
        bytes.push(7);
        assert_eq!(Place::decode(&bytes), Some((place, &[7][..])));
        let most = Place { extent: u32::MAX, offset: u64::MAX, bytes: u64::MAX };
        let mut bytes = Vec::new();
        most.encode(&mut bytes);
        assert_eq!(bytes.len(), Place::ENCODED_BYTES_MAX);
        assert_eq!(Place::decode(&bytes), Some((most, &[][..])));
        assert_eq!(Place::decode(&bytes[..24]), None);
    }

    #[test]
    fn an_extent_of_more_than_32_bits_is_refused() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 1 << 32);
        bytes.extend([0, 0]);
        assert_eq!(Place::decode(&bytes), None);
    }
}
