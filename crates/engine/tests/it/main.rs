//! The engine as its users see it.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs fails")]

mod appended;
mod backup;
mod basics;
mod check;
mod checkpoint;
mod copies;
mod data;
mod explain;
mod follow;
mod golden;
mod golden_store;
mod handles;
mod health;
mod ingest;
mod ingested;
mod lent;
mod memory;
mod opening;
mod pieces;
mod prefixes;
mod repair;
mod replace;
mod scene;
mod streaming;
mod tickets;
mod transactions;
mod unlogged;
mod updates;
mod values;
mod waiting;
mod zstd;
