//! What a store answers.

use crate::{
    access::{Access, Principal},
    command::Form,
    refusal::Refusal,
    table::Answer,
};

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Whether it was done.
    Done(bool),
    /// How many.
    Count(u64),
    /// What is under the key.
    Value(Option<Found>),
    /// What is under each of the keys.
    Values(Vec<Option<Found>>),
    /// What there is to say about the key.
    Look(Option<Look>),
    /// Entries in the order that was asked for.
    Page {
        /// Keys and what is under them.
        entries: Vec<(Vec<u8>, Found)>,
        /// Whether there may be more behind the last of them.
        more: bool,
    },
    /// Numbers by name.
    Numbers(Vec<(String, u64)>),
    /// Who was named, if they are there.
    Principal(Option<Principal>),
    /// All there are, users before their tokens.
    Principals(Vec<Principal>),
    /// Who may ask for something.
    Access(Access),
    /// A copy that was begun.
    Lent(Lent),
    /// Bytes of a file; nothing if there is no such copy any more, or no such file in it.
    Piece(Option<Piece>),
    /// Points that were written.
    Written {
        /// How many.
        stored: u64,
        /// Those that were not, in their order.
        rejected: Vec<Rejected>,
    },
    /// What a statement came to.
    Answer(Answer),
    /// It was not carried out.
    Refused(Refusal),
}

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the bytes are.
    pub form: Form,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Changes whenever form, bytes or expiry do.
    pub revision: u64,
}

/// What there is under a key, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What the bytes are.
    pub form: Form,
    /// How many bytes the value has.
    pub bytes: u64,
    /// When it expires.
    pub expiry: Option<u64>,
    /// Changes whenever form, bytes or expiry do.
    pub revision: u64,
}

/// A copy of everything at one moment, to be read file by file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Its number.
    pub id: u64,
    /// Of when it is, in milliseconds since 1970.
    pub time: u64,
    /// How long it stays without being read, in milliseconds.
    pub idle: u64,
    /// The number of the store.
    pub store: u64,
    /// Its files. What stands before the `/` in a name says what part of everything it belongs to.
    pub files: Vec<LentFile>,
}

/// A file of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Some bytes of a file of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their hash: xxh3 with 64 bits, seed 0.
    pub hash: u64,
}

/// A point that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which of the points, counted from 0.
    pub place: u64,
    /// Why.
    pub why: String,
}
