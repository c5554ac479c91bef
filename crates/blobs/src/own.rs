//! Keys of the store's own: of buckets, of uploads and of their parts. They begin with a zero byte, which no key of
//! a client's does.
//!
//! ```text
//! 0 · b · bucket                        a bucket
//! 0 · u · key · 0 · upload (8)          an upload to a key
//! 0 · p · upload (8) · number (4)       a part of an upload, and of the object that is made of it
//! ```
//!
//! Numbers are big endian, so that they are in order.

use crate::bytes::Take;

const OWN: u8 = 0;
const UPLOAD_BYTES: usize = 8;

/// The first key behind all of them.
pub(crate) const BEHIND: &[u8] = &[OWN + 1];

/// Whether a key is the store's own.
pub fn is_own(key: &[u8]) -> bool {
    key.first() == Some(&OWN)
}

/// The key of a bucket.
pub fn bucket_key(bucket: &str) -> Vec<u8> {
    [&[OWN, b'b'], bucket.as_bytes()].concat()
}

/// The bucket of a key.
pub fn bucket_of(key: &[u8]) -> Option<&str> {
    str::from_utf8(key.strip_prefix(&[OWN, b'b'])?).ok()
}

/// The key of an upload to `key`.
pub fn upload_key(key: &[u8], upload: u64) -> Vec<u8> {
    [&uploads_prefix(key)[..], &[0], &upload.to_be_bytes()].concat()
}

/// What the keys of uploads begin with, to keys that begin with `prefix`.
pub fn uploads_prefix(prefix: &[u8]) -> Vec<u8> {
    [&[OWN, b'u'], prefix].concat()
}

/// To which key an upload is, and which one it is.
pub fn upload_of(key: &[u8]) -> Option<(&[u8], u64)> {
    let rest = key.strip_prefix(&[OWN, b'u'])?;
    let (rest, upload) = rest.split_at_checked(rest.len().checked_sub(UPLOAD_BYTES)?)?;
    Some((rest.strip_suffix(&[0])?, u64::from_be_bytes(upload.try_into().ok()?)))
}

/// The key of a part of an upload.
pub fn part_key(upload: u64, number: u32) -> Vec<u8> {
    [&parts_prefix(upload)[..], &number.to_be_bytes()].concat()
}

/// What the keys of the parts of an upload begin with.
pub fn parts_prefix(upload: u64) -> Vec<u8> {
    [&[OWN, b'p'][..], &upload.to_be_bytes()].concat()
}

/// What the keys of all parts begin with.
pub(crate) const ALL_PARTS: &[u8] = &[OWN, b'p'];

/// Which part of which upload a key is of.
pub fn part_of(key: &[u8]) -> Option<(u64, u32)> {
    let mut take = Take(key.strip_prefix(&[OWN, b'p'])?);
    let (upload, number) = (take.array()?, take.array()?);
    take.0.is_empty().then(|| (u64::from_be_bytes(upload), u32::from_be_bytes(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_they_are_of() {
        assert_eq!(bucket_of(&bucket_key("photos")), Some("photos"));
        for key in [&b"photos/a"[..], b"photos/\0", b"photos/a\0\0\0\0\0\0\0\0\0\0"] {
            for upload in [0, 1, u64::MAX] {
                assert_eq!(upload_of(&upload_key(key, upload)), Some((key, upload)));
            }
        }
        assert_eq!(part_of(&part_key(7, 10_000)), Some((7, 10_000)));
        assert!(part_key(7, 255) < part_key(7, 256) && part_key(7, u32::MAX) < part_key(8, 0));
        assert!(upload_key(b"b/k", u64::MAX) < upload_key(b"b/k1", 0));
        for key in [&b""[..], b"\0", b"\0p", b"\0u", b"\0u12345678", b"\0pshort"] {
            assert_eq!((upload_of(key), part_of(key)), (None, None));
        }
    }
}
