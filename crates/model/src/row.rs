//! The row under a key: what kind of thing it holds, when that expires, and the thing itself.
//!
//! 1. A row of a version or kind that is not known is refused by name, never guessed at.

use olivine_command::{Code, Form, Refusal};
use xxhash_rust::xxh3::xxh3_64;

/// The first byte of every row.
const VERSION: u8 = 1;

/// The bits of the second byte that say what the row holds.
const KIND: u8 = 0b0000_1111;
/// A string: bytes, or a JSON value.
const STRING: u8 = 1;
/// The bytes are the text of a JSON value that is no string.
const JSON: u8 = 0b0100_0000;
/// Eight bytes say when the row expires.
const EXPIRES: u8 = 0b1000_0000;

/// A row, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) form: Form,
    /// When it is no longer there.
    pub(crate) expiry: Option<u64>,
    pub(crate) value: &'a [u8],
}

impl<'a> Row<'a> {
    /// The row's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10 + self.value.len());
        let form = match self.form {
            Form::Bytes => 0,
            Form::Json => JSON,
        };
        let expires = if self.expiry.is_some() { EXPIRES } else { 0 };
        bytes.extend([VERSION, STRING | form | expires]);
        if let Some(expiry) = self.expiry {
            bytes.extend(expiry.to_le_bytes());
        }
        bytes.extend_from_slice(self.value);
        bytes
    }

    /// The row that these bytes are.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Row<'a>, Refusal> {
        let [version, head, rest @ ..] = bytes else {
            return Err(damaged("is cut off"));
        };
        if *version != VERSION {
            return Err(damaged(&format!(
                "has version {version}, and this release reads {VERSION}"
            )));
        }
        if head & KIND != STRING {
            let text = format!("the key holds a thing of kind {}, not a string", head & KIND);
            return Err(Refusal::new(Code::WrongKind, text));
        }
        let form = if head & JSON != 0 { Form::Json } else { Form::Bytes };
        if head & EXPIRES == 0 {
            return Ok(Row { form, expiry: None, value: rest });
        }
        let (expiry, value) = rest.split_first_chunk().ok_or_else(|| damaged("is cut off"))?;
        Ok(Row { form, expiry: Some(u64::from_le_bytes(*expiry)), value })
    }

    /// Whether it has expired by `now`.
    pub(crate) fn has_expired(&self, now: u64) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }
}

/// What changes whenever the row does.
pub(crate) fn revision(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

fn damaged(what: &str) -> Refusal {
    let text = format!("a row {what}; check the store with `olivine check`");
    Refusal::new(Code::Damaged, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        for form in [Form::Bytes, Form::Json] {
            for expiry in [None, Some(0), Some(u64::MAX)] {
                for value in [&b""[..], b"1", b"a longer value \xff"] {
                    let row = Row { form, expiry, value };
                    assert_eq!(Row::decode(&row.encode()).unwrap(), row);
                }
            }
        }
    }

    #[test]
    fn what_was_not_encoded_is_refused() {
        for bytes in [&b""[..], b"\x01", b"\x02\x01", b"\x01\x81short", b"\x00\x01"] {
            assert_eq!(Row::decode(bytes).unwrap_err().code, Code::Damaged, "{bytes:?}");
        }
        for kind in (0..=KIND).filter(|kind| *kind != STRING) {
            assert_eq!(Row::decode(&[VERSION, kind]).unwrap_err().code, Code::WrongKind, "{kind}");
        }
    }
}
