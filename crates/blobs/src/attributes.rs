//! What is known of an object beside its bytes: when it was put, what clients said of it, and which parts it is made of. It stands
//! in the row of the index, and with the bytes on volumes. To the byte: `docs/format/blobs.md`.
//!
//! ```text
//! version (1) · fields, each: tag (1) · length · what it says
//! ```
//!
//! Numbers without a width are LEB128.
//!
//! 1. `Attributes::parse(attributes.encode()) == Some(attributes)`, and no other bytes parse to these attributes.

use std::collections::BTreeMap;

use crate::bytes::{Take, put_varint};

const VERSION: u8 = 1;
const MODIFIED: u8 = 1;
/// The tags of headers are this and the number of the header.
const HEADERS: u8 = 2;
const USER: u8 = 16;
const PARTS: u8 = 32;

/// What clients say of an object when they put it, and are told when they get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Header {
    /// `Content-Type`.
    ContentType,
    /// `Cache-Control`.
    CacheControl,
    /// `Content-Disposition`.
    ContentDisposition,
    /// `Content-Encoding`.
    ContentEncoding,
    /// `Content-Language`.
    ContentLanguage,
    /// `Expires`.
    Expires,
}

impl Header {
    /// All of them, in the order of their numbers.
    pub const ALL: [Header; 6] = [
        Header::ContentType,
        Header::CacheControl,
        Header::ContentDisposition,
        Header::ContentEncoding,
        Header::ContentLanguage,
        Header::Expires,
    ];
}

/// The parts that an object is made of: those that lie under the keys of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The upload, by the generation that it began with.
    pub upload: u64,
    /// How many parts there are.
    pub count: u64,
    /// How long they are together.
    pub bytes: u64,
    /// The MD5 of the MD5s of the parts.
    pub digest: [u8; 16],
}

/// What is known of an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// When it was put, in milliseconds since 1970.
    pub modified: u64,
    /// What clients said of it.
    pub headers: BTreeMap<Header, String>,
    /// What else they said, in words of their own.
    pub user: BTreeMap<String, String>,
    /// What it is made of, if it is made of parts.
    pub parts: Option<Parts>,
}

impl Attributes {
    /// The bytes that stand for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut field = Vec::new();
        put_varint(&mut field, self.modified);
        push(MODIFIED, &field, &mut bytes);
        for (header, value) in &self.headers {
            push(HEADERS + *header as u8, value.as_bytes(), &mut bytes);
        }
        for (name, value) in &self.user {
            field.clear();
            put_varint(&mut field, name.len() as u64);
            field.extend_from_slice(name.as_bytes());
            field.extend_from_slice(value.as_bytes());
            push(USER, &field, &mut bytes);
        }
        if let Some(Parts { upload, count, bytes: length, digest }) = &self.parts {
            field.clear();
            for number in [upload, count, length] {
                put_varint(&mut field, *number);
            }
            field.extend_from_slice(digest);
            push(PARTS, &field, &mut bytes);
        }
        bytes
    }

    /// What bytes stand for; nothing if they are no attributes.
    pub fn parse(bytes: &[u8]) -> Option<Attributes> {
        let mut take = Take(bytes);
        if take.byte()? != VERSION {
            return None;
        }
        let mut attributes = Attributes::default();
        let mut before = 0;
        while !take.0.is_empty() {
            let tag = take.byte()?;
            let length = usize::try_from(take.varint()?).ok()?;
            let mut field = Take(take.slice(length)?);
            // Once each and in their order, but for what clients say in words of their own.
            if tag < before || tag == before && tag != USER {
                return None;
            }
            before = tag;
            match tag {
                MODIFIED => attributes.modified = field.varint()?,
                USER => {
                    let length = usize::try_from(field.varint()?).ok()?;
                    let (name, value) = (text(field.slice(length)?)?, text(field.0)?);
                    let last = attributes.user.last_key_value();
                    if last.is_some_and(|(last, _)| name <= *last) {
                        return None;
                    }
                    attributes.user.insert(name, value);
                    field.0 = &[];
                }
                PARTS => {
                    attributes.parts = Some(Parts {
                        upload: field.varint()?,
                        count: field.varint()?,
                        bytes: field.varint()?,
                        digest: field.array()?,
                    });
                }
                tag => {
                    let header = Header::ALL.get(usize::from(tag.checked_sub(HEADERS)?))?;
                    attributes.headers.insert(*header, text(field.0)?);
                    field.0 = &[];
                }
            }
            if !field.0.is_empty() {
                return None;
            }
        }
        // The first field is always there.
        (1 < bytes.len() && bytes[1] == MODIFIED).then_some(attributes)
    }
}

fn push(tag: u8, field: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(tag);
    put_varint(bytes, field.len() as u64);
    bytes.extend_from_slice(field);
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Attributes of each kind, drawn from chance: for who tests what they are part of.
pub(crate) fn drawn(random: &mut olivine_vfs::Random) -> Attributes {
    let word = |random: &mut olivine_vfs::Random| {
        let length = random.below(9);
        (0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect::<String>()
    };
    let mut attributes = Attributes { modified: random.below(1 << 42), ..Attributes::default() };
    for header in Header::ALL {
        if random.chance(1, 3) {
            attributes.headers.insert(header, word(random));
        }
    }
    for _ in 0..random.below(4) {
        let (name, value) = (word(random), word(random));
        attributes.user.insert(name, value);
    }
    if random.chance(1, 3) {
        let mut digest = [0; 16];
        digest.copy_from_slice(&random.bytes(16));
        let (upload, count) = (random.below(1 << 40), random.below(10_000));
        attributes.parts = Some(Parts { upload, count, bytes: random.below(1 << 42), digest });
    }
    attributes
}

#[cfg(test)]
mod tests {
    use olivine_vfs::Random;

    use super::*;

    #[test]
    fn attributes_come_back_and_nothing_shorter_does() {
        for seed in 0..500 {
            let attributes = drawn(&mut Random::new(seed));
            let bytes = attributes.encode();
            assert_eq!(Attributes::parse(&bytes).as_ref(), Some(&attributes), "{seed}");
            assert_eq!(Attributes::parse(&[&bytes[..], b"\0"].concat()), None, "{seed}");
            assert_eq!(Attributes::parse(&[&[2], &bytes[1..]].concat()), None, "{seed}");
            for length in 0..bytes.len() {
                // What ends between two fields says less, and is as good.
                let shorter = Attributes::parse(&bytes[..length]);
                assert!(shorter.is_none_or(|one| one.encode() == bytes[..length]), "{seed}");
            }
        }
    }

    #[test]
    fn whatever_parses_is_encoded_as_it_was() {
        for seed in 0..20_000 {
            let mut random = Random::new(seed);
            let mut bytes = drawn(&mut random).encode();
            for _ in 0..random.between(1, 3) {
                let at = random.index(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes[at] ^= 1 << random.below(8),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            if let Some(attributes) = Attributes::parse(&bytes) {
                assert_eq!(attributes.encode(), bytes, "{seed}");
            }
        }
    }
}
