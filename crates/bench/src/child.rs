//! The child's side: one stage on one store, its rows on standard output.

use std::{env, process::ExitCode};

use crate::{args::Task, stages, store::Stores};

/// The first word of a child's command line.
pub(crate) const CHILD: &str = "child";

/// What a program that holds rivals does: it is only ever a child.
pub fn child_main(stores: &dyn Stores) -> ExitCode {
    let mut words = env::args().skip(1);
    if words.next().as_deref() != Some(CHILD) {
        eprintln!("this program is run by `olivine-bench engine --rivals all`");
        return ExitCode::from(2);
    }
    run(stores, words)
}

/// Runs the task in `words`.
pub(crate) fn run(stores: &dyn Stores, words: impl IntoIterator<Item = String>) -> ExitCode {
    match Task::decode(words).and_then(|task| stages::run(stores, &task)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("failed: {failure}");
            ExitCode::FAILURE
        }
    }
}
