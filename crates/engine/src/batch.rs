//! A batch: operations that happen together or not at all, in the bytes that the log will hold.
//!
//! The encoding is the payload of one log record, used as it stands by caller, log and recovery:
//! for each operation `keyspace u32 | kind u8 | key length u16 | value length u32 | key | value`,
//! numbers little endian. Byte layout: `docs/format/log.md`.
//!
//! 1. Operation `i` of a batch has the batch's first sequence number plus `i`.
//! 2. A batch never exceeds `BATCH_BYTES_MAX`; the operation that would is refused and nothing is added.
//! 3. `Operations` never panics on bytes from disk: what does not decode ends in `None`/`Err`.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    key::{EXPIRY_BYTES, KEY_BYTES_MAX, Kind, VALUE_BYTES_MAX},
    keyspace::{Keyspace, Tree},
    pointer::Pointer,
};

/// The most bytes a batch takes, keys, values and bookkeeping together. One value of the largest size
/// fits with its key.
pub const BATCH_BYTES_MAX: usize = (64 << 20) + (1 << 20);

/// Bytes an operation takes beside its key and value.
const OPERATION_HEADER_BYTES: usize = 11;

/// Operations that happen together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    payload: Vec<u8>,
    count: u64,
    trees: Vec<Arc<Tree>>,
}

impl Batch {
    /// A batch without operations.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds: `key` has `value`. In a keyspace with a TTL it expires that long after the time of the
    /// handle, which must have one then (`Keyspace::at`).
    pub fn put(&mut self, keyspace: &Keyspace, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(ttl) = keyspace.options().ttl else {
            return self.add(keyspace, Kind::Put, key, value);
        };
        if keyspace.now() == 0 {
            return Err(Error::Invalid {
                field: "now",
                what: "is not known, and the keyspace has a TTL; put through `Keyspace::at`".into(),
            });
        }
        self.put_with_expiry(keyspace, key, value, keyspace.now().saturating_add(ttl))
    }

    /// Adds: `key` has `value` until the time `expiry`.
    pub fn put_with_expiry(
        &mut self,
        keyspace: &Keyspace,
        key: &[u8],
        value: &[u8],
        expiry: u64,
    ) -> Result<()> {
        check_sizes(key, value)?;
        if VALUE_BYTES_MAX - EXPIRY_BYTES < value.len() {
            return Err(Error::Invalid {
                field: "value",
                what: format!(
                    "may have at most {} bytes when it expires",
                    VALUE_BYTES_MAX - EXPIRY_BYTES
                ),
            });
        }
        let value = [expiry.to_le_bytes().as_slice(), value].concat();
        self.add(keyspace, Kind::PutExpiring, key, &value)
    }

    /// Adds: the keyspace's operator merges `operand` into the value of `key`.
    pub fn merge(&mut self, keyspace: &Keyspace, key: &[u8], operand: &[u8]) -> Result<()> {
        let Some(operator) = &keyspace.tree().rules.operator else {
            return Err(Error::Invalid {
                field: "keyspace",
                what: format!(
                    "{:?} has no merge operator; make it with `KeyspaceOptions::merge`",
                    keyspace.name()
                ),
            });
        };
        operator.check(operand).map_err(|what| Error::Invalid { field: "operand", what })?;
        self.add(keyspace, Kind::Merge, key, operand)
    }

    /// Adds: every key from `start` up to `end`, which stays, is gone.
    pub fn delete_range(&mut self, keyspace: &Keyspace, start: &[u8], end: &[u8]) -> Result<()> {
        check_range(start, end)?;
        if start == end {
            return Ok(());
        }
        self.add(keyspace, Kind::RangeDelete, start, end)
    }

    /// Adds: `key` is gone.
    pub fn delete(&mut self, keyspace: &Keyspace, key: &[u8]) -> Result<()> {
        self.add(keyspace, Kind::Delete, key, &[])
    }

    pub(crate) fn add(
        &mut self,
        keyspace: &Keyspace,
        kind: Kind,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        check_sizes(key, value)?;
        let bytes = self.payload.len() + OPERATION_HEADER_BYTES + key.len() + value.len();
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::Invalid {
                field: "batch",
                what: format!(
                    "would hold {bytes} bytes, and takes at most {BATCH_BYTES_MAX}; split it"
                ),
            });
        }
        let tree = keyspace.tree();
        self.check_logged(tree, kind)?;
        if !self.trees.iter().any(|known| Arc::ptr_eq(known, tree)) {
            self.trees.push(Arc::clone(tree));
        }
        encode_operation(&mut self.payload, tree.id, kind, key, value);
        self.count += 1;
        Ok(())
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets the operations and keeps the memory.
    pub fn clear(&mut self) {
        self.payload.clear();
        self.trees.clear();
        self.count = 0;
    }

    /// Bytes the batch takes in the log.
    pub fn bytes(&self) -> usize {
        self.payload.len()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(crate) fn trees(&self) -> &[Arc<Tree>] {
        &self.trees
    }
}

/// Refuses ends of a range that are too long or the wrong way round.
pub(crate) fn check_range(start: &[u8], end: &[u8]) -> Result<()> {
    check_sizes(start, &[])?;
    check_sizes(end, &[])?;
    if end < start {
        let what = "of the range lies before its start".into();
        return Err(Error::Invalid { field: "end", what });
    }
    Ok(())
}

/// Refuses keys and values beyond their bounds.
pub(crate) fn check_sizes(key: &[u8], value: &[u8]) -> Result<()> {
    let too_long = |field, bytes: usize, most: usize| Error::Invalid {
        field,
        what: format!("is {bytes} bytes long, and may have at most {most}"),
    };
    if key.len() > KEY_BYTES_MAX {
        return Err(too_long("key", key.len(), KEY_BYTES_MAX));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(too_long("value", value.len(), VALUE_BYTES_MAX));
    }
    Ok(())
}

/// Appends one operation to a payload. Sizes were checked.
pub(crate) fn encode_operation(
    payload: &mut Vec<u8>,
    keyspace: u32,
    kind: Kind,
    key: &[u8],
    value: &[u8],
) {
    payload.reserve(OPERATION_HEADER_BYTES + key.len() + value.len());
    let mut header = [0; OPERATION_HEADER_BYTES];
    header[0..4].copy_from_slice(&keyspace.to_le_bytes());
    header[4] = kind as u8;
    header[5..7].copy_from_slice(&(key.len() as u16).to_le_bytes());
    header[7..11].copy_from_slice(&(value.len() as u32).to_le_bytes());
    payload.extend_from_slice(&header);
    payload.extend_from_slice(key);
    payload.extend_from_slice(value);
}

/// One operation of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation<'a> {
    pub(crate) keyspace: u32,
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Walks the operations of a payload.
pub(crate) struct Operations<'a> {
    rest: &'a [u8],
}

impl<'a> Operations<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Operations<'a> {
        Operations { rest: payload }
    }

    fn decode(&mut self) -> Option<Operation<'a>> {
        let (header, rest) = self.rest.split_first_chunk::<OPERATION_HEADER_BYTES>()?;
        let [k0, k1, k2, k3, kind, l0, l1, v0, v1, v2, v3] = *header;
        let key_len = usize::from(u16::from_le_bytes([l0, l1]));
        let value_len = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let (key, rest) = rest.split_at_checked(key_len)?;
        let (value, rest) = rest.split_at_checked(value_len)?;
        self.rest = rest;
        let keyspace = u32::from_le_bytes([k0, k1, k2, k3]);
        let kind = Kind::decode(kind)?;
        let fits = match kind {
            Kind::RangeDelete => value_len <= KEY_BYTES_MAX,
            Kind::PutExpiring => EXPIRY_BYTES <= value_len,
            Kind::Pointer => Pointer::decode(value).is_some(),
            Kind::Append => key_len == 0,
            Kind::Applied => key_len == 0 && value_len == 8,
            Kind::Put | Kind::Delete | Kind::Merge | Kind::Position => true,
        };
        fits.then_some(Operation { keyspace, kind, key, value })
    }
}

impl<'a> Iterator for Operations<'a> {
    /// `Err` when the bytes are no operation; the walk ends there.
    type Item = Result<Operation<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let operation = self.decode().ok_or(());
        if operation.is_err() {
            self.rest = &[];
        }
        Some(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(payload: &[u8]) -> Vec<Result<Operation<'_>, ()>> {
        Operations::new(payload).collect()
    }

    #[test]
    fn operations_come_back_as_they_went_in() {
        let mut payload = Vec::new();
        encode_operation(&mut payload, 7, Kind::Put, b"key", b"value");
        encode_operation(&mut payload, 8, Kind::Delete, b"", b"");
        let put = Operation { keyspace: 7, kind: Kind::Put, key: b"key", value: b"value" };
        let delete = Operation { keyspace: 8, kind: Kind::Delete, key: b"", value: b"" };
        assert_eq!(operations(&payload), [Ok(put), Ok(delete)]);
    }

    #[test]
    fn a_payload_cut_anywhere_ends_in_an_error() {
        let mut payload = Vec::new();
        encode_operation(&mut payload, 7, Kind::Put, b"key", b"value");
        for len in 1..payload.len() {
            assert_eq!(operations(&payload[..len]), [Err(())], "cut at {len}");
        }
    }

    #[test]
    fn an_unknown_kind_is_an_error() {
        let mut payload = Vec::new();
        encode_operation(&mut payload, 7, Kind::Put, b"key", b"value");
        payload[4] = 99;
        assert_eq!(operations(&payload), [Err(())]);
    }
}
