//! What the engine's errors are to those who ask for something.

use std::error::Error as _;

use olivine_command::{Code, Refusal};
use olivine_engine::Error;

/// The refusal that an error of the engine comes to.
pub fn refused(error: &Error) -> Refusal {
    let code = match error {
        Error::Invalid { .. } => Code::Invalid,
        Error::Busy { .. } | Error::Conflict { .. } | Error::WouldBlock => Code::Busy,
        Error::Full { .. } => Code::Full,
        Error::Poisoned { .. } | Error::ReadOnly { .. } => Code::Poisoned,
        Error::Corrupt { .. } | Error::Altered { .. } => Code::Damaged,
        Error::Closed | Error::Dropped { .. } => Code::Unavailable,
        _ => Code::Failed,
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Refusal::new(code, text)
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}
