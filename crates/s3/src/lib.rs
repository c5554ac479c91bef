//! S3's protocol in front of whatever keeps objects.
//!
//! Requests, signatures and XML are the crate `s3s`'s; what they ask for is asked of a `Store`. Buckets, uploads and their parts
//! are rows under keys of the store's own (`olivine_blobs::own`); an object's row is under its bucket, a slash, and its key. What is
//! done with parts apart from requests (`parts`) is there for the manner of minikeyvalue, too, which asks nobody for signatures.
//!
//! 1. Nothing is answered by the service to who has not signed with a key that is known.
//! 2. An object is never in memory as a whole: pieces are handed on as they come.
//! 3. What a client says that its bytes come to, they come to before they are known.
//! 4. What is not done is refused, and never passed over.

#![warn(missing_docs)]
#![expect(
    clippy::cast_possible_wrap,
    reason = "S3's numbers have signs; lengths end at 5 TiB here, and counts at ten thousand"
)]

mod calls;
mod chunks;
mod coming;
mod conditions;
mod copying;
mod list;
mod multipart;
mod object;
pub mod parts;
mod service;
mod store;
mod told;

pub use calls::CALLS;
pub use coming::Coming;
pub use service::{Answer, Key, Service};
pub use store::{Complete, Pieces, Put, Stop, Store};
