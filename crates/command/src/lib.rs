//! What can be asked of a store, and what it may answer.
//!
//! A command is a value with everything needed to carry it out. What differs from one carrying out to
//! the next (the time, new ids) is put in by whoever accepts it, so that applying a command is a
//! function of the command and the store alone. Commands borrow the bytes they came in.
//!
//! 1. Nothing here acts: there is no door, no store and no clock.
//! 2. What is decoded is what was encoded, and nothing that was not encoded is decoded (`wire`).

#![warn(missing_docs)]

mod access;
mod command;
pub mod points;
mod refusal;
mod reply;
mod table;
pub mod wire;

pub use access::{Access, Principal, Right, Role, Token, User, Who};
pub use command::{
    Batch, Bound, Bytes, Command, Condition, Copying, Entry, Expiry, Form, Statement, Value,
};
pub use refusal::{Code, Refusal};
pub use reply::{Found, Lent, LentFile, Look, Piece, Rejected, Reply};
pub use table::{Answer, Cell, Table};
