//! Query languages over time series: parsed, planned, and evaluated over whatever has series.
//!
//! 1. Nothing here knows where points lie: they come from a [`Source`].
//! 2. Nothing here asks a clock: the time that `now()` means comes with the query.

#![warn(missing_docs)]

mod answer;
pub mod ast;
mod calls;
mod change;
mod check;
mod code;
mod explain;
mod feed;
mod fold;
mod forecast;
#[doc(hidden)]
pub mod fuzzing;
mod math;
pub mod moment;
mod parse;
mod pattern;
mod plan;
mod print;
mod raw;
mod reduce;
mod scan;
mod select;
mod settings;
mod shape;
mod share;
mod show;
pub mod source;
mod stream;
mod token;
mod types;
mod vector;
mod window;
mod zones;

pub use answer::answer;
pub use ast::{Class, Statement};
pub use change::{Doomed, Written, doomed, written, written_answer};
pub use parse::{Dialect, Param, Params, ParseError, parse, parse_with};
pub use pattern::Pattern;
pub use settings::{Limits, QueryError, Settings, Stop};
pub use share::Helpers;
pub use source::Source;
pub use token::Op;
pub use zones::ZoneFile;
