//! The doors of time series: points as lines, and queries over them, as InfluxDB's clients speak. `docs/protocols/influx.md`
//!
//! 1. A line that is wrong costs that line alone.

pub mod line;
mod number;

#[cfg(test)]
mod tests;
