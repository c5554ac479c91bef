//! Answers statements that read.
//!
//! 1. A statement that changes something is refused.

use crate::{
    ast::Statement,
    explain,
    plan::Lookup,
    select,
    settings::{Budget, QueryError, Settings},
    show,
    source::Source,
};
use olivine_command::Answer;

/// Answers a statement that reads; one that changes something is refused.
///
/// A SELECT with `INTO` is answered with the points that are to be written; see [`crate::written`].
pub fn answer(
    statement: &Statement,
    source: &dyn Source,
    settings: &Settings<'_>,
) -> Result<Answer, QueryError> {
    let budget = Budget::new(settings);
    let lookup = Lookup { source, budget: &budget };
    match statement {
        Statement::Select(select) => select::answer(select, source, &budget),
        Statement::Explain { analyze, select } => explain::answer(select, *analyze, &lookup),
        other => show::answer(other, &lookup),
    }
}
