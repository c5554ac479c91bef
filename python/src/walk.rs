//! An ordered walk, which lives by itself: closing the store or dropping other handles ends it with an error, never a crash.
//!
//! 1. The interpreter is let go once for many entries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use olivine_engine::{Iter, Result};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};

use crate::handle::{Life, detached};

/// Entries that are fetched at once: first few, for who wants the first only.
const FETCHED_FIRST: usize = 16;
const FETCHED_MAX: usize = 512;
/// Bytes after which a fetching ends.
const FETCHED_BYTES_MAX: usize = 1 << 20;

/// What of entries is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    Entries,
    Keys,
    Values,
}

/// A walk over entries, forward or backward.
#[pyclass(frozen, module = "olivine")]
pub(crate) struct Walk {
    state: Mutex<State>,
    life: Life,
}

struct State {
    iter: Option<Iter>,
    is_backward: bool,
    shows: Shows,
    /// What was fetched, the next one last.
    ready: Vec<(Vec<u8>, Vec<u8>)>,
    fetches: usize,
    /// How many may still come.
    left: usize,
}

impl Walk {
    pub(crate) fn new(
        iter: Iter,
        is_backward: bool,
        limit: Option<usize>,
        shows: Shows,
        life: Life,
    ) -> Walk {
        let left = limit.unwrap_or(usize::MAX);
        let (iter, ready, fetches) = (Some(iter), Vec::new(), FETCHED_FIRST);
        Walk { state: Mutex::new(State { iter, is_backward, shows, ready, fetches, left }), life }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fetch(&mut self) -> Result<()> {
        let Some(iter) = &mut self.iter else { return Ok(()) };
        let (most, mut bytes) = (self.fetches.min(self.left), 0);
        self.fetches = (2 * self.fetches).min(FETCHED_MAX);
        while self.ready.len() < most && bytes < FETCHED_BYTES_MAX {
            let entry = if self.is_backward { iter.next_back() } else { iter.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry.inspect_err(|_| self.ready.clear())?;
            bytes += key.len() + value.len();
            self.ready.push((key, value));
        }
        if self.ready.is_empty() {
            self.iter = None;
        }
        self.ready.reverse();
        self.left -= self.ready.len();
        Ok(())
    }
}

#[pymethods]
impl Walk {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.life.check(py)?;
        // Whoever fetches meanwhile has it for longer than the interpreter should be held.
        let ready = self.state.try_lock().ok().and_then(|mut state| {
            let next = state.ready.pop();
            next.map(|next| (next, state.shows))
        });
        let next = match ready {
            Some(next) => Some(next),
            None => detached(py, || {
                let mut state = self.state();
                if state.ready.is_empty() {
                    state.fetch()?;
                }
                let shows = state.shows;
                Ok(state.ready.pop().map(|next| (next, shows)))
            })?,
        };
        let Some(((key, value), shows)) = next else { return Ok(None) };
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        Ok(Some(match shows {
            Shows::Entries => PyTuple::new(py, [bytes(&key), bytes(&value)])?.into_any(),
            Shows::Keys => bytes(&key).into_any(),
            Shows::Values => bytes(&value).into_any(),
        }))
    }

    /// Lets go of the moment that it shows.
    fn close(&self) {
        let mut state = self.state();
        state.iter = None;
        state.ready.clear();
    }
}
