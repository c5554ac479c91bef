//! Statements are answered.

use std::sync::atomic::AtomicBool;

use olivine_command::{Code, Command, Refusal, Reply};

use super::SeriesStore;

impl SeriesStore {
    /// Answers a statement.
    pub(crate) fn answer(
        &self,
        _now: u64,
        _command: &Command<'_>,
        _given_up: &AtomicBool,
    ) -> Reply {
        Reply::Refused(Refusal::new(Code::Failed, "not yet"))
    }
}
