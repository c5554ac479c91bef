//! What a volume lets somebody do whom the master has sent: written by one, read by the other, with a key
//! that both have.
//!
//! A grant travels in the query of a redirect, because clients drop `Authorization` when they are redirected.
//!
//! ```text
//! version (1) · verb (1) · flags (1) · epoch · generation · until · bytes · extent · offset · [known] · [expiry] · mac (16)
//! ```
//!
//! as base64url without padding; numbers without a width are LEB128. The MAC is the first half of HMAC-SHA-256
//! over what stands before it, the volume's uuid and the object's key.
//!
//! 1. A grant is for one verb, one key and one generation of it, on one volume in one epoch, for at most a minute.
//! 2. Nothing of a grant is used before its MAC was found right, in a time that does not depend on it.

use std::time::Duration;

use ring::hmac;

use crate::{
    Identity, Place,
    bytes::{Take, put_varint},
};

/// How long a grant holds.
pub const GRANT_TIME: Duration = Duration::from_mins(1);
/// How far the clocks of master and volume may be apart.
pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(30);
/// The length of the secret.
pub const SECRET_BYTES: usize = 32;

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
/// The longest text that is looked at.
const TEXT_BYTES_MAX: usize = 256;
/// What the MACs of grants are for, so that they are good for nothing else.
const PURPOSE: &[u8] = b"olivine grant 1\0";
const PART: u8 = 1;
const DIGEST: u8 = 2;
const KNOWN: u8 = 4;
const EXPIRY: u8 = 8;
const OTHERS: u8 = 16;
const FLAGS: u8 = PART | DIGEST | KNOWN | EXPIRY | OTHERS;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read an object, or look at it.
    Get,
    /// Put one.
    Put,
    /// Delete one.
    Delete,
    /// Write something down of one.
    Note,
}

/// What somebody may do with an object on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub verb: Verb,
    /// With which object of those that were ever under the key, or which it becomes.
    pub generation: u64,
    /// Until when, in milliseconds since 1970.
    pub until: u64,
    /// Where it lies, and how long it is; of one that is put, how long it may be.
    pub place: Place,
    /// Whoever sent it collects what the volumes say, and publishes that.
    pub is_part: bool,
    /// What is put goes to others, too: the volume asks which, and brings it there.
    pub has_others: bool,
    /// The volume is to tell the MD5 of what is put.
    pub wants_digest: bool,
    /// It holds only while this is what is under the key; 0 while nothing is.
    pub known: Option<u64>,
    /// When what is put is there no more, in milliseconds since 1970.
    pub expiry: Option<u64>,
}

/// Why a grant is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGrant {
    /// It is no grant, of another key file, for something else, or was altered.
    Wrong,
    /// It was one.
    Over,
    /// It is of before the volume was fenced.
    OtherEpoch,
}

impl std::fmt::Display for NoGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NoGrant::Wrong => {
                "the signature is not the master's for this request; ask the master, and see that both have the same key file"
            }
            NoGrant::Over => "the signature has expired; ask the master again",
            NoGrant::OtherEpoch => {
                "the signature is of an earlier epoch of this volume; ask the master again"
            }
        })
    }
}

/// What master and volumes share.
pub struct Secret(hmac::Key);

impl Secret {
    /// The secret that these bytes are.
    pub fn new(bytes: &[u8; SECRET_BYTES]) -> Secret {
        Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The text of a grant for an object on a volume.
    pub fn grant(&self, volume: &Identity, key: &[u8], grant: &Grant) -> String {
        let mut bytes = Vec::with_capacity(64);
        let verb = match grant.verb {
            Verb::Get => 1,
            Verb::Put => 2,
            Verb::Delete => 3,
            Verb::Note => 4,
        };
        let mut flags = 0;
        for (is_set, flag) in [
            (grant.is_part, PART),
            (grant.wants_digest, DIGEST),
            (grant.known.is_some(), KNOWN),
            (grant.expiry.is_some(), EXPIRY),
            (grant.has_others, OTHERS),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        bytes.extend([VERSION, verb, flags]);
        let Place { extent, offset, bytes: length } = grant.place;
        for number in
            [volume.epoch, grant.generation, grant.until, length, u64::from(extent), offset]
        {
            put_varint(&mut bytes, number);
        }
        for number in [grant.known, grant.expiry].into_iter().flatten() {
            put_varint(&mut bytes, number);
        }
        let mac = self.mac(volume, key, &bytes);
        bytes.extend(&mac.as_ref()[..MAC_BYTES]);
        text_of(&bytes)
    }

    /// What a text grants with an object on this volume now.
    pub fn read(
        &self,
        volume: &Identity,
        key: &[u8],
        text: &str,
        now: u64,
    ) -> Result<Grant, NoGrant> {
        let bytes = Some(text).filter(|text| text.len() <= TEXT_BYTES_MAX).and_then(bytes_of);
        let bytes = bytes.ok_or(NoGrant::Wrong)?;
        let (content, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(NoGrant::Wrong)?;
        let right = self.mac(volume, key, content);
        if !is_same(&right.as_ref()[..MAC_BYTES], mac) {
            return Err(NoGrant::Wrong);
        }
        let (epoch, grant) = parse(content).ok_or(NoGrant::Wrong)?;
        let apart = CLOCKS_APART_MAX.as_millis() as u64;
        let longest = now.saturating_add(apart + GRANT_TIME.as_millis() as u64);
        if epoch != volume.epoch {
            Err(NoGrant::OtherEpoch)
        } else if grant.until.saturating_add(apart) < now || longest < grant.until {
            Err(NoGrant::Over)
        } else {
            Ok(grant)
        }
    }

    fn mac(&self, volume: &Identity, key: &[u8], content: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(PURPOSE);
        context.update(&volume.uuid);
        context.update(content);
        // Last, so that no key looks like part of something else.
        context.update(key);
        context.sign()
    }

    /// What proves the same secret to who asks with a challenge; `side` tells the two ends apart.
    pub fn proof(&self, side: &[u8], challenge: &[u8], answer: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [&b"olivine link 1\0"[..], side, &[0], challenge, answer] {
            context.update(part);
        }
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }
}

/// Whether both are the same, in a time that depends on their length alone.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differing =
        one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

fn parse(content: &[u8]) -> Option<(u64, Grant)> {
    let mut take = Take(content);
    let [VERSION, verb, flags] = take.array()? else { return None };
    let verb = match verb {
        1 => Verb::Get,
        2 => Verb::Put,
        3 => Verb::Delete,
        4 => Verb::Note,
        _ => return None,
    };
    if flags & !FLAGS != 0 {
        return None;
    }
    let (epoch, generation, until) = (take.varint()?, take.varint()?, take.varint()?);
    let bytes = take.varint()?;
    let extent = take.varint()?.try_into().ok()?;
    let place = Place { extent, offset: take.varint()?, bytes };
    let known = if flags & KNOWN != 0 { Some(take.varint()?) } else { None };
    let expiry = if flags & EXPIRY != 0 { Some(take.varint()?) } else { None };
    let grant = Grant {
        verb,
        generation,
        until,
        place,
        is_part: flags & PART != 0,
        has_others: flags & OTHERS != 0,
        wants_digest: flags & DIGEST != 0,
        known,
        expiry,
    };
    take.0.is_empty().then_some((epoch, grant))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Bytes as base64url without padding.
fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// The bytes that a text stands for; nothing if `text_of` does not write it.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for quad in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for c in quad {
            word = word << 6 | digit(*c)?;
        }
        word <<= 6 * (4 - quad.len());
        let [_, whole @ ..] = word.to_be_bytes();
        let (kept, left) = whole.split_at(quad.len() - 1);
        if quad.len() == 1 || left.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend(kept);
    }
    Some(bytes)
}

fn digit(c: u8) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Identity = Identity { uuid: [9; 16], epoch: 3 };
    const NOW: u64 = 1_800_000_000_000;

    fn grant() -> Grant {
        Grant {
            verb: Verb::Get,
            generation: 77,
            until: NOW + 60_000,
            place: Place { extent: 5, offset: 1 << 29, bytes: 1_024 },
            is_part: false,
            has_others: true,
            wants_digest: true,
            known: Some(0),
            expiry: Some(NOW),
        }
    }

    #[test]
    fn a_grant_is_for_one_key_on_one_volume_for_a_minute() {
        let secret = Secret::new(&[1; 32]);
        let text = secret.grant(&VOLUME, b"k1", &grant());
        let read = |secret: &Secret, volume, key: &[u8], now| secret.read(&volume, key, &text, now);
        assert_eq!(read(&secret, VOLUME, b"k1", NOW), Ok(grant()));
        assert_eq!(read(&secret, VOLUME, b"k2", NOW), Err(NoGrant::Wrong));
        assert_eq!(read(&Secret::new(&[2; 32]), VOLUME, b"k1", NOW), Err(NoGrant::Wrong));
        let other = Identity { uuid: [8; 16], ..VOLUME };
        assert_eq!(read(&secret, other, b"k1", NOW), Err(NoGrant::Wrong));
        let fenced = Identity { epoch: 4, ..VOLUME };
        assert_eq!(read(&secret, fenced, b"k1", NOW), Err(NoGrant::OtherEpoch));
        assert_eq!(read(&secret, VOLUME, b"k1", NOW + 120_000), Err(NoGrant::Over));
        assert_eq!(read(&secret, VOLUME, b"k1", NOW - 120_000), Err(NoGrant::Over));
    }

    #[test]
    fn an_altered_grant_is_none() {
        let secret = Secret::new(&[1; 32]);
        let text = secret.grant(&VOLUME, b"k1", &grant());
        for place in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(secret.read(&VOLUME, b"k1", &altered, NOW), Err(NoGrant::Wrong), "{place}");
            assert_eq!(secret.read(&VOLUME, b"k1", &text[..place], NOW), Err(NoGrant::Wrong));
        }
        for text in ["", "A", "====", "%00", &"A".repeat(1 << 16)] {
            assert_eq!(secret.read(&VOLUME, b"k1", text, NOW), Err(NoGrant::Wrong));
        }
    }

    #[test]
    fn texts_of_bytes_come_back() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(bytes_of(&text_of(&bytes)), Some(bytes));
        }
    }
}
