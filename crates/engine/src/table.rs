//! An immutable sorted file of entries: written once by a flush or a compaction, then only read.
//!
//! It must survive being read back wrong: flipped bits, cut ends, blocks and files in each other's
//! place. Byte layout: `docs/format/table.md`.
//!
//! 1. Entries are in the order of `key.rs`; a key's versions share a block unless they are many.
//! 2. No byte of a block is used before the block's checksum matched, and the checksum is bound to
//!    the store, the table and the place in the file.
//! 3. A block is checked once when it is decoded; nothing read from it later can panic.
//! 4. What a reader needs of a table beside its blocks (index and filter) is loaded on first touch
//!    and can be dropped at any time; only then does an open table cost more than its name.

mod block;
mod block_builder;
mod bloom;
mod copied;
mod cursor;
mod examine;
mod expiry;
mod explain;
mod filter;
mod format;
mod fuse;
mod index;
mod info;
mod mend;
mod reader;
mod sink;
mod source;
mod squeeze;
mod writer;
#[cfg(feature = "zstd")]
mod zstd;
#[cfg(not(feature = "zstd"))]
#[path = "table/zstd_absent.rs"]
mod zstd;

#[cfg(test)]
mod tests;

pub(crate) use crate::digest::key_hash;
#[cfg(test)]
pub(crate) use block::test_block;
pub(crate) use block::{Block, Slice};
pub(crate) use copied::{BlockFacts, Carried};
pub(crate) use cursor::{SCAN_WINDOW_BYTES, TableCursor, WINDOW_BYTES_LEAST};
pub(crate) use examine::{Entries, Examiner, FooterFacts, Layout, Piece, identity, mixed};
pub use explain::BlockLook;
pub(crate) use filter::prefix_hash;
pub(crate) use format::{Codec, FEATURE_NUMBERED_LATER, FileSeed, mix, u64_at};
pub(crate) use info::{OPTION, Part, TableInfo, TableOrigin};
pub(crate) use mend::{footer_checksum, mend_block, mend_footer, stored_blocks};
pub(crate) use reader::{MetaCharge, ReadHow, Table, TableFile};
pub(crate) use sink::{BUFFER_BYTES, WrittenFile};
pub(crate) use writer::{TableOptions, TableWriter, key_memory_bytes, packing_bytes};
