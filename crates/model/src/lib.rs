//! What commands mean: keys that people name, as ordered keys and values of the engine.
//!
//! Modules in reading order: `layout` draws every row there is; `row` reads and writes the one under a
//! key; `locks` keeps writers of one key apart; `model` carries batches out, `work` one command of
//! them, `sweep` what has expired; `series` is time series; `numbers` is what a store tells about itself.
//!
//! 1. Carrying out is a function of the batch and the store: no clock and no chance is asked here.
//! 2. What a batch changes goes to the engine as one batch.

#![warn(missing_docs)]

mod access;
mod layout;
mod locks;
mod model;
mod numbers;
mod refused;
mod row;
pub mod series;
mod sweep;
mod work;

#[cfg(test)]
mod tests;

pub use layout::KEY_BYTES_MAX;
pub use model::{Applied, Behind, Model, ModelOptions};
pub use refused::refused;
pub use series::{PointsWrite, Progress};
