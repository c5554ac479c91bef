//! A view of a store at one moment.

use std::sync::{Arc, Mutex, PoisonError};

use olivine_engine::{self as engine, Error};
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    errors::raised,
    handle::{Life, bytes_of, detached},
    keyspace::{Bound_, Keyspace, Within},
    walk::{Shows, Walk},
};

/// A view of a store at one moment.
#[pyclass(frozen, module = "olivine", name = "_Snapshot", subclass)]
pub(crate) struct Snapshot {
    /// Gone when it was closed.
    snapshot: Mutex<Option<Arc<engine::Snapshot>>>,
    life: Life,
}

impl Snapshot {
    pub(crate) fn new(snapshot: engine::Snapshot, life: Life) -> Snapshot {
        Snapshot { snapshot: Mutex::new(Some(Arc::new(snapshot))), life }
    }

    fn open(&self, py: Python<'_>) -> PyResult<Arc<engine::Snapshot>> {
        self.life.check(py)?;
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.clone().ok_or_else(|| raised(py, &Error::Closed))
    }
}

#[pymethods]
impl Snapshot {
    fn get<'py>(
        &self,
        py: Python<'py>,
        keyspace: &Keyspace,
        key: &Bound_<'py>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (snapshot, keyspace, key) = (self.open(py)?, keyspace.now(py)?, bytes_of(key)?);
        let found = detached(py, || snapshot.get(&keyspace, &key))?;
        Ok(found.map(|value| PyBytes::new(py, &value)))
    }

    #[pyo3(signature = (keyspace, start=None, end=None, *, prefix=None, reverse=false, limit=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn items(
        &self,
        py: Python<'_>,
        keyspace: &Keyspace,
        start: Option<&Bound_<'_>>,
        end: Option<&Bound_<'_>>,
        prefix: Option<&Bound_<'_>>,
        reverse: bool,
        limit: Option<usize>,
    ) -> PyResult<Walk> {
        let (snapshot, keyspace) = (self.open(py)?, keyspace.now(py)?);
        let within = Within::of(py, start, end, prefix)?;
        let iter = detached(py, || match &within.prefix {
            Some(prefix) => snapshot.prefix(&keyspace, prefix),
            None => snapshot.range::<&[u8]>(&keyspace, within.bounds()),
        })?;
        Ok(Walk::new(iter, reverse, limit, Shows::Entries, self.life.clone()))
    }

    /// Lets go of the moment; again, it does nothing.
    fn close(&self) {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
