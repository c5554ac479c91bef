//! The query languages over points in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod garbage;
mod json;
mod memory;
mod peer;
mod scripts;
mod speed;
