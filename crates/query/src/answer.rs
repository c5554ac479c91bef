//! Answers statements that read.

use crate::{
    ast::Statement,
    select,
    settings::{Budget, QueryError, Settings},
    source::Source,
};
use olivine_command::Answer;

/// Answers a statement that reads; one that changes something is refused.
///
/// A SELECT with `INTO` is answered as if it had none: what to write is made of the answer by whoever carries it out.
pub fn answer(
    statement: &Statement,
    source: &dyn Source,
    settings: &Settings<'_>,
) -> Result<Answer, QueryError> {
    let budget = Budget::new(settings);
    match statement {
        Statement::Select(select) => select::answer(select, source, &budget),
        other => QueryError::wrong(format!("not a statement that reads: {other}")),
    }
}
