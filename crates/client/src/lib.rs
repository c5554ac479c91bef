//! A client of a node, for programs in Rust: it speaks JSON lines (`docs/protocols/json.md`).
//!
//! ```no_run
//! use olivine_client::{Client, Options};
//!
//! # fn main() -> olivine_client::Result<()> {
//! let client = Client::connect("localhost:9999", Options::default())?;
//! client.put("apple", "red")?;
//! assert_eq!(client.get("apple")?.as_deref(), Some(&b"red"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] waits for its answers and can be shared by threads; [`AsyncClient`] is the same for tasks of tokio. What they
//! ask is an [`Ask`] that knows how its answer is read, so that many can be sent at once: [`Pipeline`].
//!
//! 1. No call waits longer than [`Options::time_max`].
//! 2. A write that may have been carried out is not sent again: then [`Error::is_uncertain`] says so, and with every other
//!    error it was not.
//! 3. What reads is sent again over a new connection as long as there is time, and so is a write that the node refused for
//!    a moment only.
//! 4. An answer belongs to its request: a connection that lost count of them is closed.

mod ask;
mod asynchronous;
mod blocking;
mod connection;
mod error;
mod options;
mod pipeline;
mod retry;
mod trust;
mod wire;

pub use ask::{Ask, Condition, Info, Page, Put, Scan};
pub use asynchronous::AsyncClient;
pub use blocking::{Client, Scanned};
pub use error::{Error, Result};
pub use options::{Login, Options};
pub use pipeline::{Answers, Pipeline, Slot};
pub use trust::{TlsStream, Trust};

#[cfg(test)]
mod tests;
