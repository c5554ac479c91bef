//! What a point read of a key does in a table, told step by step.
//!
//! 1. The same filter, index and blocks are asked as by `Table::get`, in the same order.
//! 2. Whether a block is in the cache is told as it was before this looked.

use super::reader::{ReadHow, Table};
use crate::{
    error::Result,
    key::{SeqNo, Stamp},
};

/// A block that a read looks into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLook {
    /// Which data block of the table it is.
    pub number: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Bytes it takes there.
    pub bytes: u64,
    /// Whether it was in the cache, so that the disk was not asked.
    pub cached: bool,
}

/// What a table's filter, index and blocks say of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableLook {
    /// What the filter says: `false` is certain.
    pub(crate) filter: bool,
    pub(crate) blocks: Vec<BlockLook>,
    /// The newest deletion of a range with the key.
    pub(crate) covered: SeqNo,
}

impl Table {
    /// What a read of `key` meets here.
    pub(crate) fn explain(&self, key: &[u8], hash: u64, newest: Stamp) -> Result<TableLook> {
        let how = ReadHow::DISK;
        let meta = self.meta(how)?;
        let covered = self.range_deletes(how)?.covering(key, newest.seqno());
        let mut look = TableLook { filter: meta.may_contain(hash), blocks: Vec::new(), covered };
        if !look.filter {
            return Ok(look);
        }
        for number in meta.index.find(key)..meta.index.len() {
            let (offset, bytes) = meta.index.place(number);
            let cached = self.cache().peek(self.cache_id(), number).is_some();
            let (number, bytes) = (number as u64, bytes as u64);
            look.blocks.push(BlockLook { number, offset, bytes, cached });
            // Only the versions of one key go on in the next block.
            if !self.continues(&meta, number as usize, key, hash, newest)? {
                break;
            }
        }
        Ok(look)
    }
}
