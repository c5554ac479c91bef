//! The names of files in the layouts that keep one for each object, as the programs they came from chose them.
//!
//! 1. A name is made of digits, letters and `+ _ - =` alone, so no key leads out of the volume's directory.
//! 2. Two keys have two names (MD5 aside, where the layout rests on it).

use std::fmt::Write;

use crate::error::{Error, Result};

use super::{options::Layout, record::md5};

/// Keys whose names would be longer than a path may be are refused.
const MKV_KEY_BYTES_MAX: usize = 2048;

/// A longer name is cut into directories.
const PART_CHARS: usize = 240;

/// Ends the name of a directory that a long name was cut into: no name has it.
const CUT: char = '-';

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+_";

/// The path of a key's file within a volume, its parts separated by slashes. Both layouts were made by programs that
/// take the path of a request for the key, slash included.
pub(super) fn path_of(layout: Layout, subvolumes: u32, key: &[u8]) -> Result<String> {
    match layout {
        Layout::Packed => Err(Error::invalid("layout", "is packed, which has no file for a key")),
        Layout::Smol => Ok(smol_path(&escaped(key))),
        Layout::Mkv if key.len() <= MKV_KEY_BYTES_MAX => {
            let key = slashed(key);
            let path = mkv_path(&key);
            Ok(match subvolumes {
                1 => path,
                several => format!("{}/{path}", mkv_subvolume(&key, several)),
            })
        }
        Layout::Mkv => {
            let bytes = key.len();
            let what =
                format!("has {bytes} bytes, and may have {MKV_KEY_BYTES_MAX} in the layout mkv");
            Err(Error::invalid("key", what))
        }
    }
}

/// Where smol keeps the value of a request's URI, as it came over the wire with its slash.
pub fn smol_path(uri: &[u8]) -> String {
    let hex = hex(&md5(uri));
    format!("{}/{}/{hex}", &hex[..2], &hex[..4])
}

/// Where minikeyvalue keeps the value of a key, which has its slash. A slash within the encoding, which makes
/// directories there that its own rebuilding passes over, is `_` here.
pub fn mkv_path(key: &[u8]) -> String {
    let hex = hex(&md5(key));
    let mut path = format!("{}/{}/", &hex[..2], &hex[2..4]);
    let name = base64(key);
    let mut rest = &*name;
    while PART_CHARS < rest.len() {
        let (part, others) = rest.split_at(PART_CHARS);
        path.push_str(part);
        path.push(CUT);
        path.push('/');
        rest = others;
    }
    path.push_str(rest);
    path
}

/// Which of some subvolumes has the value of a key, which has its slash. minikeyvalue draws it of the key and of what the
/// volume is called; its rebuilding finds a value in whichever it lies.
pub fn mkv_subvolume(key: &[u8], subvolumes: u32) -> String {
    let [.., a, b, c, d] = md5(key);
    format!("sv{:02X}", u32::from_be_bytes([a, b, c, d]) % subvolumes.max(1))
}

/// The key, slash included, of a file below the two directories of a mkv volume; nothing when it is no such name.
pub fn mkv_key(parts: &[&str]) -> Option<Vec<u8>> {
    let (last, dirs) = parts.split_last()?;
    let mut name = String::new();
    for dir in dirs {
        if let Some(part) = dir.strip_suffix(CUT) {
            name.push_str(part);
        } else {
            // As minikeyvalue itself has it: a slash of the encoding.
            name.push_str(dir);
            name.push('_');
        }
    }
    name.push_str(last);
    unbase64(&name)
}

fn slashed(key: &[u8]) -> Vec<u8> {
    [b"/", key].concat()
}

/// A key as clients send it in a URI.
fn escaped(key: &[u8]) -> Vec<u8> {
    let mut uri = String::from("/");
    for byte in key {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            write!(uri, "%{byte:02X}").ok();
        }
    }
    uri.into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let digits = chunk.iter().take_while(|digit| **digit != b'=').count();
        let mut bits = 0_u32;
        for digit in chunk.get(..digits)? {
            let digit = if *digit == b'/' { b'_' } else { *digit };
            bits = bits << 6 | DIGITS.iter().position(|known| *known == digit)? as u32;
        }
        if digits < 2 || chunk.len() != 4 {
            return None;
        }
        bits <<= 6 * (4 - digits);
        bytes.extend(bits.to_be_bytes().iter().skip(1).take(digits - 1));
    }
    // Only one text stands for a key: padding in the midst and bits behind the end do not come back.
    (base64(&bytes) == text.replace('/', "_")).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use olivine_vfs::Random;

    use super::*;

    /// As smol has it in its repository.
    #[test]
    fn smol_has_its_golden_name() {
        let path = "3a/3ad3/3ad31f8c5338bea26f782e9e453d1d9d";
        assert_eq!(smol_path(b"/k1"), path);
        assert_eq!(path_of(Layout::Smol, 1, b"k1").unwrap(), path);
        assert_eq!(path_of(Layout::Smol, 1, b"a b").unwrap(), smol_path(b"/a%20b"));
    }

    /// As minikeyvalue's own test has it.
    #[test]
    fn mkv_has_its_golden_name() {
        assert_eq!(mkv_path(b"hello"), "5d/41/aGVsbG8=");
        assert_eq!(path_of(Layout::Mkv, 1, b"hello").unwrap(), mkv_path(b"/hello"));
        assert_eq!(mkv_key(&["aGVsbG8="]).unwrap(), b"hello");
    }

    #[test]
    fn a_name_gives_its_key_back() {
        let mut random = Random::new(1);
        for length in (1..200).chain([1000, 2048]) {
            let key = random.bytes(length);
            let path = mkv_path(&key);
            let parts: Vec<&str> = path.split('/').skip(2).collect();
            assert!(parts.iter().all(|part| (1..=255).contains(&part.len())), "{path}");
            assert_eq!(mkv_key(&parts).unwrap(), key, "{path}");
        }
    }

    /// minikeyvalue lets a slash of the encoding make a directory.
    #[test]
    fn a_directory_of_the_original_is_understood() {
        assert_eq!(base64(b"\x69\xbf\xdc"), "ab_c");
        assert_eq!(mkv_key(&["ab", "c"]).unwrap(), b"\x69\xbf\xdc");
    }

    #[test]
    fn what_is_no_name_has_no_key() {
        for name in ["a", "ab", "abc", "a===", "====", "ab=c", "aGVsbG9=", "a.b=", "aGVsbG8=x"] {
            assert_eq!(mkv_key(&[name]), None, "{name}");
        }
    }
}
