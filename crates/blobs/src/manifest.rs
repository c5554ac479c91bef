//! What an object that is made of parts has for its bytes: which parts they are. To the byte: `docs/format/blobs.md`.
//!
//! ```text
//! version (1) · count · parts, each: number · generation · bytes
//! ```
//!
//! Numbers without a width are LEB128. The parts lie under keys of the store's own, which name the upload that the object's
//! attributes name, and the number.
//!
//! 1. `parse(encode(parts)) == Some(parts)`, and no other bytes parse to these parts.

use crate::bytes::{Take, put_varint};

const VERSION: u8 = 1;
/// The most parts that an object has.
pub const PARTS_MAX: usize = 10_000;

/// A part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number: those of one object ascend.
    pub number: u32,
    /// Which of those that were put under that number.
    pub generation: u64,
    /// How long it is.
    pub bytes: u64,
}

/// The bytes that stand for parts.
pub fn encode(parts: &[Part]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    put_varint(&mut bytes, parts.len() as u64);
    for Part { number, generation, bytes: length } in parts {
        for number in [u64::from(*number), *generation, *length] {
            put_varint(&mut bytes, number);
        }
    }
    bytes
}

/// The parts that bytes stand for; nothing if they are none.
pub fn parse(bytes: &[u8]) -> Option<Vec<Part>> {
    let mut take = Take(bytes);
    if take.byte()? != VERSION {
        return None;
    }
    let count = usize::try_from(take.varint()?).ok().filter(|count| *count <= PARTS_MAX)?;
    let mut parts = Vec::<Part>::with_capacity(count);
    for _ in 0..count {
        let number = take.varint()?.try_into().ok()?;
        if parts.last().is_some_and(|part| number <= part.number) {
            return None;
        }
        parts.push(Part { number, generation: take.varint()?, bytes: take.varint()? });
    }
    take.0.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use olivine_vfs::Random;

    use super::*;

    #[test]
    fn parts_come_back_and_what_is_changed_is_refused_or_other_parts() {
        for seed in 0..5_000 {
            let mut random = Random::new(seed);
            let mut number = 0;
            let parts: Vec<Part> = (0..random.below(20))
                .map(|_| {
                    number += 1 + random.below(3) as u32;
                    let (generation, bytes) = (random.below(1 << 40), random.below(1 << 33));
                    Part { number, generation, bytes }
                })
                .collect();
            let mut bytes = encode(&parts);
            assert_eq!(parse(&bytes), Some(parts), "{seed}");
            let at = random.index(bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.truncate(at),
                _ => bytes.push(0),
            }
            if let Some(other) = parse(&bytes) {
                assert_eq!(encode(&other), bytes, "{seed}");
            }
        }
    }

    #[test]
    fn a_count_is_not_believed() {
        assert_eq!(parse(&[VERSION, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
    }
}
