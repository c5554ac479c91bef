//! The JSON door: one object a line asks, one object a line answers. `docs/protocols/json.md`
//!
//! Modules in reading order: `reader` finds values in text, `request` makes commands of them, `answer`
//! writes what they come to.
//!
//! 1. Answers come in the order of the requests, one each; a blank line asks nothing.
//! 2. A member that is not known, or does not fit, is an error and never ignored.
//! 3. What is no JSON costs its sender an error and nothing else.

mod answer;
mod reader;
mod request;

pub use answer::{answer, error, text as write_text};
pub(crate) use answer::{entry_lines, lent_lines, problem};
pub(crate) use reader::Reader;
pub use reader::{DEPTH_MAX, Fault, Raw, read as read_value};
pub(crate) use request::after_prefix;
pub use request::{Act, Request, Shape, read};

#[cfg(test)]
mod tests;
