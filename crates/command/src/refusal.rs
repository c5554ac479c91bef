//! Why a command was not carried out, told by what the one who asked would do about it.

use std::fmt;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to do about it.
    pub code: Code,
    /// What failed, where, and what to do next, for people.
    pub text: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal { code, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kinds of refusals. The numbers are in frames, the names in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The command itself is wrong. Ask otherwise.
    Invalid = 1,
    /// Something in it is larger than its limit, which the text names.
    TooLarge = 2,
    /// The key holds another kind of thing.
    WrongKind = 3,
    /// The store is behind its work. Ask again.
    Busy = 4,
    /// The disk is full. Reads go on; so will writes, when there is room.
    Full = 5,
    /// The store takes no writes until it is opened again.
    Poisoned = 6,
    /// What is on disk is damaged.
    Damaged = 7,
    /// The store cannot be reached, or is ending. Ask again.
    Unavailable = 8,
    /// It failed for a reason that the text tells.
    Failed = 9,
    /// Whoever asks must say who they are, or said something that is not so.
    Unknown = 10,
    /// Whoever asks may not do this.
    Forbidden = 11,
    /// There is no such thing as it is to be carried out with.
    Missing = 12,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 12] = [
        Code::Invalid,
        Code::TooLarge,
        Code::WrongKind,
        Code::Busy,
        Code::Full,
        Code::Poisoned,
        Code::Damaged,
        Code::Unavailable,
        Code::Failed,
        Code::Unknown,
        Code::Forbidden,
        Code::Missing,
    ];

    /// The name that answers carry.
    pub fn name(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::TooLarge => "too_large",
            Code::WrongKind => "wrong_kind",
            Code::Busy => "busy",
            Code::Full => "disk_full",
            Code::Poisoned => "read_only_after_failure",
            Code::Damaged => "damaged",
            Code::Unavailable => "unavailable",
            Code::Failed => "failed",
            Code::Unknown => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::Missing => "not_found",
        }
    }

    /// Whether the same command may succeed a little later, with nobody doing anything.
    pub fn may_pass(self) -> bool {
        matches!(self, Code::Busy | Code::Full | Code::Unavailable)
    }
}
