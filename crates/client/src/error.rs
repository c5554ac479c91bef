//! Why something asked for did not happen, told by what the caller would do about it.

use std::{fmt, io, path::PathBuf, time::Duration};

/// What a call comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something asked for did not happen.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The node answered that it would not. `code` is one of those in `docs/protocols/json.md`.
    Refused {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// The node cannot be reached, and was not asked.
    Unreachable {
        /// What was to be reached.
        address: String,
        /// Why it cannot.
        source: io::Error,
    },
    /// The connection broke before the answer came. What reads may be asked again; a write may have been carried out.
    Unanswered {
        /// How it broke.
        source: io::Error,
    },
    /// There was no answer in time. What reads may be asked again; a write may have been carried out.
    Late {
        /// How long was waited.
        after: Duration,
    },
    /// What came is no answer to what was asked: another protocol, or another version of it.
    Strange {
        /// What is wrong with it.
        what: String,
    },
    /// Something cannot be asked so.
    Misused {
        /// What, and what would be right.
        what: String,
    },
    /// A certificate or a token cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// Whether the same may succeed a little later with nobody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Refused { code, .. } => {
                matches!(code.as_str(), "busy" | "disk_full" | "unavailable")
            }
            Error::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// Whether it is unknown if a write was carried out. `unavailable` is what a coordinator says whose storage went away
    /// in the middle.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Error::Refused { code, .. } => code == "unavailable",
            Error::Unanswered { .. } | Error::Late { .. } => true,
            _ => false,
        }
    }

    /// The code with which the node refused it, if it did.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    pub(crate) fn strange(what: impl Into<String>) -> Error {
        Error::Strange { what: what.into() }
    }

    pub(crate) fn misused(what: impl Into<String>) -> Error {
        Error::Misused { what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused { message, .. } => f.write_str(message),
            Error::Unreachable { address, .. } => write!(f, "cannot connect to `{address}`"),
            Error::Unanswered { .. } => f.write_str(
                "the connection broke before the answer came; a write may have been carried out",
            ),
            Error::Late { after } => {
                write!(f, "no answer came within {after:?}; a write may have been carried out")
            }
            Error::Strange { what } => write!(f, "the answer is none of Olivine's: {what}"),
            Error::Misused { what } => f.write_str(what),
            Error::Unreadable { path, what } => write!(f, "`{}`: {what}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreachable { source, .. } | Error::Unanswered { source } => Some(source),
            _ => None,
        }
    }
}
