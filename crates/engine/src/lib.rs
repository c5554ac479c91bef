//! An embeddable log-structured storage engine.
//!
//! A store is a directory with named keyspaces: ordered maps from bytes to bytes, written together in
//! one order. What was acknowledged is there after a power cut; what comes back is a prefix of what
//! was written; a wrong byte is never returned.
//!
//! ```
//! use olivine_engine::{Batch, Db, Environment, EnvironmentOptions, Options};
//!
//! # let dir = std::env::temp_dir().join(format!("olivine-doc-{}", std::process::id()));
//! # fn main_of(dir: &std::path::Path) -> olivine_engine::Result<()> {
//! let environment = Environment::new(EnvironmentOptions::default())?;
//! let db = Db::open(&environment, dir, Options::default())?;
//! let fruit = db.keyspace("fruit")?;
//!
//! fruit.put(b"apple", b"red")?;
//! let mut batch = Batch::new();
//! batch.put(&fruit, b"banana", b"yellow")?;
//! batch.delete(&fruit, b"apple")?;
//! db.write(batch)?;
//!
//! assert_eq!(fruit.get(b"apple")?, None);
//! for entry in fruit.iter()? {
//!     let (key, value) = entry?;
//!     assert_eq!((key.as_slice(), value.as_slice()), (&b"banana"[..], &b"yellow"[..]));
//! }
//! db.close()
//! # }
//! # let outcome = main_of(&dir);
//! # std::process::Command::new("rm").arg("-r").arg(&dir).status().ok();
//! # outcome.unwrap();
//! ```
//!
//! Modules in reading order: `key` and `batch` are the words; `log`, `memtable` and `table` the three
//! places where entries lie; `keyspace`, `version` and `manifest` say which of them count; `commit`,
//! `read` and `iter` are what users wait for; `flush` and `compaction` work behind them, driven by
//! `background` and held back by `admission` and `budget`; `recovery` opens.
#![warn(missing_docs)]

mod invariant;
mod planted;
mod sync;

mod digest;
mod error;
mod key;
mod operator;
mod options;

mod allotment;
mod budget;
mod cache;
mod log;
mod memtable;
mod metadata;
mod pointer;
mod ranges;
mod table;
mod values;

mod keyspace;
mod manifest;
mod value;
mod version;

mod apart;
mod appended;
mod batch;
mod commit;
mod footprint;
mod iter;
mod latch;
mod read;
mod snapshot;
mod stream;
mod transaction;

mod admission;
mod collect;
mod compaction;
mod flush;
mod gaps;
mod health;
mod histogram;
mod ingest;
mod outputs;
mod positions;
mod room;

mod background;
mod check;
mod copies;
mod db;
mod describe;
mod environment;
mod explain;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod inspect;
mod recovery;
mod repair;
mod stats;
mod store;
#[cfg(shuttle)]
#[doc(hidden)]
pub mod turns;
mod updates;

pub use appended::LogHeld;
pub use batch::{BATCH_BYTES_MAX, Batch};
pub use budget::{Budget, Reservation, Share, ShareUse};
pub use check::{CheckReport, Finding, Severity, check};
pub use compaction::Dropped;
pub use copies::{
    BackupInfo, Backups, Checkpoint, Damage, Lender, Loan, Offer, Offered, OnPiece, OnProgress,
    Piece, Progress, Pruned, Verified,
};
pub use db::{Db, Ticket};
pub use describe::{KeyspaceDescription, LevelDescription, StoreDescription, describe};
pub use environment::{Environment, EnvironmentOptions, Parts, Work};
pub use error::{Error, Result};
pub use explain::{Explanation, Look, Met, Place};
pub use health::{Event, Health, OldestSnapshot, Stall};
pub use histogram::Histogram;
pub use ingest::Ingest;
pub use inspect::{Depth, Detail, Fact, FileKind, inspect};
pub use iter::{Cursor, Iter};
pub use key::{KEY_BYTES_MAX, SeqNo, VALUE_BYTES_MAX, VALUE_STREAM_BYTES_MAX};
pub use keyspace::{KEYSPACE_NAME_BYTES_MAX, Keyspace};
pub use operator::{CompactionFilter, MergeOperator};
pub use options::{
    CompactionStyle, Compression, CompressionLast, Durability, KeyPrefix, KeyspaceOptions, Options,
};
#[doc(hidden)]
pub use planted::{Bug, plant, planted};
pub use positions::{AppliedPosition, POSITION_BYTES_MAX};
pub use recovery::{Cut, RecoveryReport};
pub use repair::{Loss, RepairReport, repair};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use table::BlockLook;
pub use transaction::{Expected, Transaction, TransactionIter};
pub use updates::{Update, UpdateKind, UpdateOperation, Updates};
pub use value::Value;
pub use values::ValueReader;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
