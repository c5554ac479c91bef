//! An embeddable log-structured storage engine.
#![warn(missing_docs)]
#![expect(dead_code, reason = "modules are wired one after the other")]

mod cache;
mod error;
mod invariant;
mod key;
mod memtable;
mod sync;
mod table;

pub use error::{Error, Result};
pub use key::{KEY_BYTES_MAX, SeqNo, VALUE_BYTES_MAX};
