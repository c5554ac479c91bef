//! What the index has under a key. To the byte: `docs/format/blobs.md`.
//!
//! ```text
//! version (1) · flags (1) · generation · bytes · [expiry] · [digest (16)] · replicas, each: volume · extent · offset
//!     · [attributes, up to the end]
//! ```
//!
//! Numbers without a width are LEB128. The flags: 1 unlinked, 2 a digest, 4 an expiry, 8 attributes; the upper four
//! bits are how many replicas there are, less one.
//!
//! 1. `Row::parse(row.encode()) == Some(row)`, and no other bytes parse to this row.

use crate::{
    attributes::{Attributes, Parts},
    bytes::{Take, put_varint},
};

const VERSION: u8 = 1;
const UNLINKED: u8 = 1;
const DIGEST: u8 = 2;
const EXPIRY: u8 = 4;
const ATTRIBUTES: u8 = 8;
const FLAGS: u8 = UNLINKED | DIGEST | EXPIRY | ATTRIBUTES;
/// Where an object may lie at most.
pub const REPLICAS_MAX: usize = 16;
pub(crate) const DIGEST_BYTES: usize = 16;

/// What the index has under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which of the objects that were ever put under the key.
    pub generation: u64,
    /// How long is what lies there: the object, or, if that is made of parts, what names them.
    pub bytes: u64,
    /// Its MD5, where somebody asks for that.
    pub digest: Option<[u8; DIGEST_BYTES]>,
    /// When it is there no more, in milliseconds since 1970.
    pub expiry: Option<u64>,
    /// Whether it is deleted to those who read, and its bytes are kept.
    pub is_unlinked: bool,
    /// Where it lies: one to `REPLICAS_MAX`.
    pub replicas: Vec<Replica>,
    /// What is known of it beside its bytes, if something is.
    pub attributes: Option<Box<Attributes>>,
}

/// Where an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The volume, as the index numbers them.
    pub volume: u32,
    /// The extent.
    pub extent: u32,
    /// Where in it the record begins.
    pub offset: u64,
}

impl Row {
    /// How long the object is, whether or not it is made of parts.
    pub fn object_bytes(&self) -> u64 {
        self.parts().map_or(self.bytes, |parts| parts.bytes)
    }

    /// The parts that it is made of, if it is made of parts.
    pub fn parts(&self) -> Option<&Parts> {
        self.attributes.as_ref()?.parts.as_ref()
    }

    /// Whether it is there no more at `now`.
    pub fn has_expired(&self, now: u64) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }

    /// The bytes that stand for it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!((1..=REPLICAS_MAX).contains(&self.replicas.len()), "an object lies somewhere");
        let mut flags = (self.replicas.len() as u8 - 1) << 4;
        for (is_set, flag) in [
            (self.is_unlinked, UNLINKED),
            (self.digest.is_some(), DIGEST),
            (self.expiry.is_some(), EXPIRY),
            (self.attributes.is_some(), ATTRIBUTES),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        let mut bytes = vec![VERSION, flags];
        put_varint(&mut bytes, self.generation);
        put_varint(&mut bytes, self.bytes);
        if let Some(expiry) = self.expiry {
            put_varint(&mut bytes, expiry);
        }
        bytes.extend(self.digest.iter().flatten());
        for Replica { volume, extent, offset } in &self.replicas {
            put_varint(&mut bytes, u64::from(*volume));
            put_varint(&mut bytes, u64::from(*extent));
            put_varint(&mut bytes, *offset);
        }
        if let Some(attributes) = &self.attributes {
            bytes.extend(attributes.encode());
        }
        bytes
    }

    /// What bytes stand for; nothing if they are no row.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Row> {
        let mut take = Take(bytes);
        let [VERSION, flags] = take.array()? else { return None };
        let (flags, count) = (flags & 0x0f, (flags >> 4) + 1);
        if flags & !FLAGS != 0 {
            return None;
        }
        let (generation, bytes) = (take.varint()?, take.varint()?);
        let expiry = if flags & EXPIRY != 0 { Some(take.varint()?) } else { None };
        let digest = if flags & DIGEST != 0 { Some(take.array()?) } else { None };
        let mut replicas = Vec::with_capacity(count.into());
        for _ in 0..count {
            let volume = take.varint()?.try_into().ok()?;
            let extent = take.varint()?.try_into().ok()?;
            replicas.push(Replica { volume, extent, offset: take.varint()? });
        }
        let attributes = if flags & ATTRIBUTES != 0 {
            Some(Box::new(Attributes::parse(std::mem::take(&mut take.0))?))
        } else {
            None
        };
        let is_unlinked = flags & UNLINKED != 0;
        take.0.is_empty().then_some(Row {
            generation,
            bytes,
            digest,
            expiry,
            is_unlinked,
            replicas,
            attributes,
        })
    }
}

#[cfg(test)]
mod tests {
    use olivine_vfs::Random;

    use super::*;
    use crate::attributes::drawn;

    #[test]
    fn rows_come_back_and_nothing_else_is_one() {
        let place = |volume| Replica { volume, extent: 300, offset: 1 << 33 };
        let row = Row {
            generation: 70_000,
            bytes: 1_024,
            digest: Some([7; 16]),
            expiry: Some(1_800_000_000_000),
            is_unlinked: true,
            replicas: (0..16).map(place).collect(),
            attributes: None,
        };
        let plain = Row {
            generation: 1,
            bytes: 25,
            digest: None,
            expiry: None,
            is_unlinked: false,
            replicas: vec![place(0)],
            attributes: None,
        };
        for row in [row, plain] {
            let bytes = row.encode();
            assert_eq!(Row::parse(&bytes), Some(row));
            for length in 0..bytes.len() {
                assert_eq!(Row::parse(&bytes[..length]), None);
            }
            assert_eq!(Row::parse(&[&bytes[..], b"\0"].concat()), None);
            assert_eq!(Row::parse(&[&[2], &bytes[1..]].concat()), None);
        }
    }

    #[test]
    fn rows_with_attributes_come_back_and_what_is_changed_is_refused_or_another_row() {
        for seed in 0..5_000 {
            let mut random = Random::new(seed);
            let row = Row {
                generation: random.below(1 << 40),
                bytes: random.below(1 << 30),
                digest: random.chance(1, 2).then_some([9; 16]),
                expiry: None,
                is_unlinked: random.chance(1, 9),
                replicas: vec![Replica { volume: 1, extent: 2, offset: random.below(1 << 40) }],
                attributes: Some(Box::new(drawn(&mut random))),
            };
            let mut bytes = row.encode();
            assert_eq!(Row::parse(&bytes).as_ref(), Some(&row), "{seed}");
            for _ in 0..random.between(1, 3) {
                let at = random.index(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            if random.chance(1, 3) {
                bytes.truncate(random.index(bytes.len()));
            }
            if let Some(other) = Row::parse(&bytes) {
                assert_eq!(other.encode(), bytes, "{seed}");
            }
        }
    }

    #[test]
    fn a_row_of_a_small_object_is_small() {
        let replica = Replica { volume: 0, extent: 100, offset: 500 << 20 };
        let row = Row {
            generation: 10_000_000,
            bytes: 1_024,
            digest: None,
            expiry: None,
            is_unlinked: false,
            replicas: vec![replica],
            attributes: None,
        };
        assert!(row.encode().len() <= 16, "{}", row.encode().len());
    }
}
