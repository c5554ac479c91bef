//! The node: sockets around a store.
//!
//! A node is one process, or two: a coordinator with the doors and a storage with the store, and
//! frames between them over a socket. The way of a command is the same.
//!
//! Modules in reading order: `settings` says what a node is to be, `patience` how long it waits for others; `time` is when commands are
//! accepted; `copies` lends the files of the store to who makes backups; `bulk` has the turns of large requests; `store` carries commands out and waits for the disk; `secret` is what proves who
//! somebody is, `passwords` and `guesses` check it and bound what guessing costs, `session` decides what
//! each may have, `local` is the way of whoever runs the node; `tls` and `stream` are sockets that nobody
//! else can listen to; `frames` are the bytes between the two
//! processes, `link` the coordinator's end and `storage` the other; `router` is the way a worker takes;
//! `protocol` are the doors that speak in lines, `connection` drives one of them over a socket, `http`
//! the door that does not, `counted` its sockets, `body` the bodies of its answers; `blobs` is the master and the volumes of blobs and their
//! doors, `durable` waits for stores without a thread; `worker` are the threads that connections live on, `alarm`
//! wakes those that have waited for long enough; `numbers`, `slow` and
//! `log` what a node tells about itself; `notify` is what the service manager is told; `probe` asks from
//! outside whether a node answers; `node` starts all of it and ends it.
//!
//! 1. A reply leaves when nothing in it can be lost any more, as the durability promises.
//! 2. A connection costs no more memory than what it sent, or waits for, and never more than its limits.
//! 3. Nothing reaches the store but through `session`, where it is decided whether its sender may have it.
//! 4. Whoever does not read gets no more to read: a connection that is written to is not read from.

#![warn(missing_docs)]

mod alarm;
mod blobs;
mod body;
mod bulk;
mod connection;
mod copies;
mod counted;
mod durable;
mod frames;
mod guesses;
mod http;
mod link;
mod local;
mod log;
mod node;
mod notify;
mod numbers;
mod passwords;
mod patience;
mod probe;
mod protocol;
mod queries;
mod router;
pub mod secret;
mod series;
mod session;
mod settings;
mod slow;
mod statements;
mod storage;
mod store;
mod stream;
mod time;
mod tls;
mod worker;

#[cfg(test)]
mod tests;

pub use blobs::bucket;
pub use local::Local;
pub use log::{EVENTS, EventKind, Log, LogFileSettings, LogFormat, LogLevel};
pub use node::{Node, Problem, Started, Stop};
pub use numbers::{METRICS, Metric};
pub use patience::{Patience, Wait};
pub use probe::{door_answers, storage_answers};
pub use settings::{
    BlobSettings, Door, DoorSetting, Half, MasterSettings, QuerySettings, Settings, StorageAt,
    TierSettings, VolumeSettings,
};
pub use tls::{Authority, PeerSetting, TlsSetting, authority, vouched};

#[doc(no_inline)]
pub use olivine_blobs::Layout;
#[doc(no_inline)]
pub use olivine_command::{Command, Principal, Reply, Role, Token, User, Who};
#[doc(no_inline)]
pub use olivine_doors::{blob::Manner, http::Hosts, limits::Limits};
pub use olivine_far::BucketUrl;
