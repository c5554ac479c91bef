//! A value as a read hands it out.
//!
//! 1. A value stays as it was read, whatever happens to its key afterwards.

use std::{fmt, ops::Deref};

use crate::table::Slice;

/// The bytes of one value. Those of a table are shared with the block they lie in, without a copy.
#[derive(Clone)]
pub struct Value(Bytes);

#[derive(Clone)]
enum Bytes {
    Own(Box<[u8]>),
    Block(Slice),
    Read(Vec<u8>),
}

impl Value {
    pub(crate) fn copied(bytes: &[u8]) -> Value {
        Value(Bytes::Own(bytes.into()))
    }

    /// Bytes that were read for this value alone.
    pub(crate) fn owned(bytes: Vec<u8>) -> Value {
        Value(Bytes::Read(bytes))
    }

    pub(crate) fn shared(slice: Slice) -> Value {
        Value(Bytes::Block(slice))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Own(bytes) => bytes,
            Bytes::Block(slice) => slice,
            Bytes::Read(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Value {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == **other
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.escape_ascii().to_string().as_str(), f)
    }
}
