//! Value files: large values that stand apart from the tree, which holds pointers to them.
//!
//! A file is written once, by a flush, a collection or a stream, and then only read. It must survive
//! being read back wrong: flipped bits, cut ends, files and records in each other's place. Byte
//! layout: `docs/format/values.md`.
//!
//! 1. No byte of a value is handed out before the checksum of its chunk matched. That is bound to the
//!    store, the file and the place, and the pointer repeats the checksum over all of a record's.
//! 2. A file is named by the manifest before a pointer into it can be read, and is removed only after
//!    the manifest forgot it and the last version that names it died.
//! 3. Memory of a reader or writer that streams is a chunk, whatever the length of the value.

mod examine;
mod file;
mod format;
mod mend;
mod reader;
mod walk;
mod writer;

pub(crate) use examine::{ValuesExaminer, describe};
pub(crate) use file::{LiveValues, OpenValues};
pub(crate) use format::{FILE_BYTES_LEAST, ValuesInfo, values_name};
pub(crate) use mend::{mend_record, mend_values_footer, stored_records};
pub use reader::ValueReader;
pub(crate) use walk::{RecordFacts, ValuesWalk};
pub(crate) use writer::ValuesWriter;
