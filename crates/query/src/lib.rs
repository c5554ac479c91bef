//! Query languages over time series: parsed, planned, and evaluated over whatever has series.
//!
//! 1. Nothing here knows where points lie: they come from a [`Source`].
//! 2. Nothing here asks a clock: the time that `now()` means comes with the query.

#![warn(missing_docs)]

pub mod source;

pub use source::Source;
