//! What a store answers.

use crate::{
    access::{Access, Principal},
    command::Form,
    refusal::Refusal,
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
