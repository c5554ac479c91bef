//! Stands in for `zstd.rs` in builds without the feature `zstd`: nothing is packed or unpacked.
//!
//! 1. Tables with packed blocks are refused by their footer, keyspaces that want them by `validate`; so
//!    nobody comes here with any.

use super::format::Codec;

/// Packs nothing.
pub(super) enum Packer {}

impl Packer {
    pub(super) fn trained(_samples: &[u8], _lengths: &[usize], _cost: usize) -> Option<Packer> {
        None
    }

    pub(super) fn codec(&self) -> Codec {
        match *self {}
    }

    pub(super) fn pack(&mut self, _payload: &[u8], _bytes_max: usize, _out: &mut Vec<u8>) -> bool {
        match *self {}
    }

    pub(super) fn is_used(&self) -> bool {
        match *self {}
    }

    pub(super) fn into_dictionary(self) -> Vec<u8> {
        match self {}
    }
}

/// Unpacks nothing.
#[derive(Debug)]
pub(super) enum Unpacker {}

impl Unpacker {
    pub(super) fn new(_dictionary: &[u8]) -> Option<Unpacker> {
        None
    }

    pub(super) fn unpack(&self, _bound: bool, _packed: &[u8], _place: &mut [u8]) -> Option<usize> {
        match *self {}
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        match *self {}
    }
}
