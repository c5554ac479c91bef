//! The blob store without its sockets: volumes, which hold the bytes of objects.
//!
//! A *volume* is a directory. It appends what it is given and says where it lies; it keeps no index of
//! its own and finds nothing by key. Whoever asks for an object brings its place.
//!
//! 1. What a volume acknowledged is durable, and is read as it was written or not at all.
//! 2. Memory does not grow with the number of objects, nor with the length of one.
//! 3. Nothing that lies on disk is trusted before its checksum matched.

mod bytes;
mod error;
mod volume;

pub use error::{Error, Result};
pub use volume::{
    Cut, Damage, ExtentInfo, Found, Head, Identity, KEY_BYTES_MAX, Kind, Layout, Moved, NewRecord,
    Opened, Place, Reading, Record, Rewritten, Scan, Scrubbed, Stored, Usage, Volume,
    VolumeOptions, Writer,
};
