//! What all handles have in common: the process they belong to, the time, and bytes that come from Python.

use std::{
    borrow::Cow,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use olivine_engine::Error;
use olivine_vfs::{Clock as _, RealClock};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};

use crate::errors::{named, raised};

/// Whether a store can be used, as all of its handles know it. It belongs to the process that opened it: its threads and its
/// lock are not in a fork.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    process: u32,
    is_closed: AtomicBool,
}

impl Life {
    pub(crate) fn begin() -> Life {
        Life(Arc::new(Shared { process: process::id(), is_closed: AtomicBool::new(false) }))
    }

    /// No handle can be used any more.
    pub(crate) fn end(&self) {
        self.0.is_closed.store(true, Relaxed);
    }

    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.0.is_closed.load(Relaxed) {
            return Err(raised(py, &Error::Closed));
        }
        self.check_process(py)
    }

    pub(crate) fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        let opener = self.0.process;
        if opener == process::id() {
            return Ok(());
        }
        let text = format!(
            "the store was opened by process {opener}, of which this is a fork; open it after forking, in one process, or \
             use the server"
        );
        Err(named(py, "Closed", &text))
    }
}

/// Milliseconds since 1970: the time that values expire by.
pub(crate) fn now() -> u64 {
    u64::try_from(RealClock::new().wall().as_millis()).unwrap_or(u64::MAX)
}

/// When something goes that is to stay for so many seconds.
pub(crate) fn expiry(py: Python<'_>, ttl: f64) -> PyResult<u64> {
    if !ttl.is_finite() || ttl <= 0.0 || 1e12 < ttl {
        return Err(named(py, "Invalid", "`ttl` is a number of seconds, more than none"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let millis = (ttl * 1e3).ceil() as u64;
    Ok(now().saturating_add(millis))
}

/// Bytes, or text as UTF-8.
pub(crate) fn bytes_of<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(match text.to_cow()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        });
    }
    if let Ok(array) = value.cast::<PyByteArray>() {
        return Ok(Cow::Owned(array.to_vec()));
    }
    if value.cast::<PyMemoryView>().is_ok() {
        let bytes: Vec<u8> = value.call_method0("tobytes")?.extract()?;
        return Ok(Cow::Owned(bytes));
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("keys and values are bytes or str, not {kind}")))
}

/// The same of something that may be left out.
pub(crate) fn bound_of<'a>(value: Option<&'a Bound<'_, PyAny>>) -> PyResult<Option<Cow<'a, [u8]>>> {
    value.map(bytes_of).transpose()
}

/// Has the engine do something, with the interpreter let go.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> olivine_engine::Result<T> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| raised(py, &error))
}
