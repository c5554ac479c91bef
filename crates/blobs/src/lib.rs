//! The blob store without its sockets: volumes, which hold the bytes of objects, and the index of what lies where.
//!
//! A *volume* is a directory. It appends what it is given and says where it lies; it keeps no index of
//! its own and finds nothing by key. Whoever asks for an object brings its place. The *index* is the master's, and
//! says what there is. A *grant* is what the master lets somebody do on a volume; *talk* is what volumes ask the master.
//!
//! 1. What a volume acknowledged is durable, and is read as it was written or not at all.
//! 2. Memory does not grow with the number of objects, nor with the length of one.
//! 3. Nothing that lies on disk is trusted before its checksum matched.
//! 4. What the index does not name is not there, whatever lies on volumes.

#![warn(missing_docs)]

pub mod attributes;
mod bytes;
mod error;
pub mod fuzzing;
pub mod grant;
pub mod index;
pub mod manifest;
pub mod own;
pub mod placement;
pub mod row;
mod state;
pub mod talk;
mod transfer;
mod volume;

pub use attributes::Attributes;
pub use error::{Error, Result};
pub use grant::{GRANT_TIME, Grant, NoGrant, SECRET_BYTES, Secret, Verb};
pub use state::{STATE_BYTES_MAX, State};
pub use transfer::{Object, Progress, Step, Transfer};
pub use volume::{
    ATTRIBUTES_BYTES_MAX, Cut, Damage, ExtentInfo, Far, FarWork, Found, Head, Identity,
    KEY_BYTES_MAX, Kind, Layout, Moved, NewRecord, Opened, Place, Reading, Record, Rewritten, Scan,
    Scrubbed, SentAway, Stored, Stretch, Usage, Volume, VolumeOptions, Writer, mkv_key, mkv_path,
    mkv_subvolume, smol_path,
};
