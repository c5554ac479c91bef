//! Errors of the engine as exceptions of `olivine.errors`, which is where they are written down.

use olivine_engine::Error;
use pyo3::prelude::*;

/// The exception that an error of the engine is.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let (name, next) = match error {
        Error::Corrupt { .. } | Error::Format { .. } => {
            ("Corruption", "; `olivine check` tells how much is damaged")
        }
        Error::Locked { .. } => {
            ("Locked", "; close it there, or open this one with read_only=True")
        }
        Error::Closed | Error::Dropped { .. } => ("Closed", ""),
        Error::Conflict { .. } => ("Conflict", ""),
        Error::Busy { .. } => ("Busy", ""),
        Error::Full { .. } => ("DiskFull", ""),
        Error::Poisoned { .. } => ("Poisoned", "; close the store and open it again"),
        Error::ReadOnly { .. } => ("ReadOnly", ""),
        Error::Invalid { .. } => ("Invalid", ""),
        _ => ("Error", ""),
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        text = format!("{text}: {deeper}");
        source = deeper.source();
    }
    named(py, name, &format!("{text}{next}"))
}

/// An exception of `olivine.errors` by its name.
pub(crate) fn named(py: Python<'_>, name: &str, text: &str) -> PyErr {
    let exception = py
        .import("olivine.errors")
        .and_then(|errors| errors.getattr(name))
        .and_then(|class| class.call1((text,)));
    exception.map_or_else(|error| error, PyErr::from_value)
}
