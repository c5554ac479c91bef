//! The query languages over points in memory.

mod json;
mod memory;
mod peer;
mod scripts;
