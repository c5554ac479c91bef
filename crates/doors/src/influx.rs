//! The doors of time series: points as lines, and queries over them, as InfluxDB's clients speak.
//! `docs/protocols/influx.md`
//!
//! Modules in reading order: `line` makes points of lines, `number` of their numbers; `parameters` are what stands
//! behind a question mark, `bound` what stands for the parameters of queries, `request` tells what is asked; `text` writes texts and
//! numbers as InfluxDB does, `results` and `objects` what queries come to, `answer` all the rest.
//!
//! 1. A line that is wrong costs that line alone.
//! 2. A GET changes nothing.
//! 3. Errors are in the words and in the form of InfluxDB.

mod answer;
mod bound;
pub mod line;
mod number;
mod objects;
mod parameters;
mod request;
mod results;
mod text;

pub use answer::{answered, failed, not_known, not_parsed, refused, settled, written};
pub use bound::Parameter;
pub use request::{
    DEFAULT_DATABASE, Head, QUERY_BYTES_MAX, Query, Request, Taking, Way, Write, credentials,
    is_open_to_all, read,
};

#[cfg(test)]
mod tests;
