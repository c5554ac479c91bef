//! Protocols, as state machines without sockets: bytes become commands, replies become bytes.
//!
//! A door is handed what a connection has received and finds the requests in it. A request is a
//! command, or none if the door can answer by itself, and a *shape*: what the answer must look like.
//! Whoever carries commands out hands each reply back with its shape.
//!
//! 1. A door owns no data, no socket and no clock, and knows no other door.
//! 2. No bytes make a door panic, recurse without bound, or take memory that was declared and not sent.
//! 3. Requests borrow the bytes they came in.

#![warn(missing_docs)]

pub mod base64;
pub mod blob;
pub mod http;
pub mod influx;
pub mod json;
pub mod limits;
pub mod line;
pub mod lines;
pub mod taken;

use olivine_command::{Bytes, Reply};

/// Somebody says who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login<'a> {
    /// A user, and the password.
    Password {
        /// What the user is called.
        user: Bytes<'a>,
        /// What proves it.
        password: Bytes<'a>,
    },
    /// A token.
    Token(Bytes<'a>),
}

/// What a shape is filled with.
#[derive(Debug)]
pub enum Answer {
    /// Nothing: the shape is the answer.
    Own,
    /// The reply to the request's command.
    Reply(Reply),
}
