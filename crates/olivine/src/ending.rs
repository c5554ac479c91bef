//! How a command ends: its exit code, and what it says when it failed.
//!
//! 1. The codes are the same for all commands; scripts may rely on them.
//! 2. A failure says what failed, where, and what to do.
//! 3. A reader that has gone away is no failure: there is nobody left to tell.

use std::{error::Error, io, process::ExitCode};

use olivine_vfs::{Interrupt, Interrupts};

/// How a command ended. The numbers are what the shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ending {
    Good = 0,
    /// Something failed.
    Failed = 1,
    /// The call made no sense.
    Misused = 2,
    /// What was asked for is not there.
    Absent = 3,
    /// A server cannot be reached, or went away; or how a service stands cannot be told.
    Unreachable = 4,
    /// Damage was found.
    Damaged = 5,
    /// Another process has the store.
    Locked = 6,
    /// A file or the environment, or all that a node is told together, asks for what cannot be.
    Misconfigured = 78,
    /// SIGINT asked to end.
    Interrupted = 130,
    /// SIGTERM asked to end.
    Terminated = 143,
}

impl From<Interrupt> for Ending {
    fn from(interrupt: Interrupt) -> Ending {
        match interrupt {
            Interrupt::Int => Ending::Interrupted,
            Interrupt::Term => Ending::Terminated,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> ExitCode {
        ExitCode::from(ending as u8)
    }
}

/// What the help says about exit codes.
pub(crate) const CODES: &str = "\
exit codes:
  0  all went well          4  cannot connect, or it cannot be told how a service stands
  1  something failed       5  damage was found
  2  the call made no sense 6  another process has the store
  3  what was asked for is not there
  78  bad configuration: a file, the environment or all of it together asks for what cannot be
  130, 143  a signal asked to end: SIGINT, SIGTERM
";

/// Begins to wait for signals that ask to end; for commands that have something to put in order then.
/// The others end where they are: they write nothing that a crash may not leave.
pub(crate) fn interrupts() -> Result<Interrupts, Failure> {
    Interrupts::watch().map_err(Failure::io("cannot wait for signals".to_owned()))
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) struct Failure {
    ending: Ending,
    text: String,
}

impl Failure {
    pub(crate) fn new(ending: Ending, text: impl Into<String>) -> Failure {
        Failure { ending, text: text.into() }
    }

    /// The call made no sense.
    pub(crate) fn misused(text: impl Into<String>) -> Failure {
        Failure::new(Ending::Misused, text)
    }

    /// The same, when somebody has been told why: only the exit code is left to say it.
    #[cfg(feature = "node")]
    pub(crate) fn told_already(self) -> Failure {
        Failure { text: String::new(), ..self }
    }

    /// The same, of a part of what was asked.
    pub(crate) fn within(self, part: &str) -> Failure {
        Failure { text: format!("{part}: {}", self.text), ..self }
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// A signal asked to end, and this came of it.
    pub(crate) fn asked(interrupt: Interrupt) -> Failure {
        Failure::new(interrupt.into(), "a signal asked to end")
    }

    /// What to say; empty when nobody listens.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// An error of the disk, with what was being done and to what.
    pub(crate) fn io(what: String) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure::new(Ending::Failed, format!("{what}: {error}"))
    }
}

impl From<olivine_engine::Error> for Failure {
    fn from(error: olivine_engine::Error) -> Failure {
        let ending = match &error {
            olivine_engine::Error::Corrupt { .. } => Ending::Damaged,
            olivine_engine::Error::Locked { .. } => Ending::Locked,
            _ => Ending::Failed,
        };
        let next = match ending {
            Ending::Locked => {
                "; end that one first, or ask `olivine stats` or `olivine backup`, which work beside it"
            }
            _ => "",
        };
        Failure::new(ending, with_causes(&error) + next)
    }
}

/// An error of the answers.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::new(Ending::Good, "");
        }
        Failure::new(Ending::Failed, format!("cannot write the answer: {error}"))
    }
}

/// An error and what it came from, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
