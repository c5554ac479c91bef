//! Time series as rows of the engine.

pub mod chunk;
pub mod merge;
