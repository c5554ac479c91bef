//! An embeddable log-structured storage engine.
#![warn(missing_docs)]
#![expect(dead_code, reason = "modules are wired one after the other")]

mod error;
mod invariant;
mod key;
mod log;
mod sync;

pub use error::{Error, Result};
pub use key::{KEY_BYTES_MAX, SeqNo, VALUE_BYTES_MAX};
