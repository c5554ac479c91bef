//! Writes that are carried out together: all of them or none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use olivine_engine as engine;
use pyo3::{prelude::*, types::PyIterator};

use crate::{
    errors::{named, raised},
    handle::{Life, bytes_of, detached, expiry},
    keyspace::{Bound_, Keyspace},
};

/// Writes that are carried out together.
#[pyclass(frozen, module = "olivine", name = "_Batch", subclass)]
pub(crate) struct Batch {
    db: engine::Db,
    /// Gone when it was written.
    writes: Mutex<Option<engine::Batch>>,
    life: Life,
}

impl Batch {
    pub(crate) fn new(db: engine::Db, life: Life) -> Batch {
        Batch { db, writes: Mutex::new(Some(engine::Batch::new())), life }
    }

    fn writes(&self) -> MutexGuard<'_, Option<engine::Batch>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        &self,
        py: Python<'_>,
        add: impl FnOnce(&mut engine::Batch) -> engine::Result<()>,
    ) -> PyResult<()> {
        let mut writes = self.writes();
        let over = || named(py, "Closed", "the batch was written already; begin another");
        add(writes.as_mut().ok_or_else(over)?).map_err(|error| raised(py, &error))
    }
}

#[pymethods]
impl Batch {
    #[pyo3(signature = (keyspace, key, value, *, ttl=None))]
    fn put(
        &self,
        py: Python<'_>,
        keyspace: &Keyspace,
        key: &Bound_<'_>,
        value: &Bound_<'_>,
        ttl: Option<f64>,
    ) -> PyResult<()> {
        let keyspace = keyspace.now(py)?;
        let (key, value) = (bytes_of(key)?, bytes_of(value)?);
        let expiry = ttl.map(|ttl| expiry(py, ttl)).transpose()?;
        self.add(py, |batch| match expiry {
            None => batch.put(&keyspace, &key, &value),
            Some(expiry) => batch.put_with_expiry(&keyspace, &key, &value, expiry),
        })
    }

    /// Adds pairs of keys and values.
    fn put_many(&self, py: Python<'_>, keyspace: &Keyspace, pairs: &Bound_<'_>) -> PyResult<()> {
        let keyspace = keyspace.now(py)?;
        for pair in PyIterator::from_object(pairs)? {
            let (key, value): (Bound_<'_>, Bound_<'_>) = pair?.extract()?;
            let (key, value) = (bytes_of(&key)?, bytes_of(&value)?);
            self.add(py, |batch| batch.put(&keyspace, &key, &value))?;
        }
        Ok(())
    }

    fn delete(&self, py: Python<'_>, keyspace: &Keyspace, key: &Bound_<'_>) -> PyResult<()> {
        let keyspace = keyspace.now(py)?;
        let key = bytes_of(key)?;
        self.add(py, |batch| batch.delete(&keyspace, &key))
    }

    fn delete_range(
        &self,
        py: Python<'_>,
        keyspace: &Keyspace,
        start: &Bound_<'_>,
        end: &Bound_<'_>,
    ) -> PyResult<()> {
        let keyspace = keyspace.now(py)?;
        let (start, end) = (bytes_of(start)?, bytes_of(end)?);
        self.add(py, |batch| batch.delete_range(&keyspace, &start, &end))
    }

    fn merge(
        &self,
        py: Python<'_>,
        keyspace: &Keyspace,
        key: &Bound_<'_>,
        operand: &Bound_<'_>,
    ) -> PyResult<()> {
        let keyspace = keyspace.now(py)?;
        let (key, operand) = (bytes_of(key)?, bytes_of(operand)?);
        self.add(py, |batch| batch.merge(&keyspace, &key, &operand))
    }

    fn __len__(&self) -> usize {
        self.writes().as_ref().map_or(0, engine::Batch::len)
    }

    /// Carries them out; the batch is over then.
    fn write(&self, py: Python<'_>) -> PyResult<()> {
        self.life.check(py)?;
        let Some(batch) = self.writes().take() else {
            return Err(named(py, "Closed", "the batch was written already; begin another"));
        };
        detached(py, || if batch.is_empty() { Ok(()) } else { self.db.write(batch).map(drop) })
    }

    /// Forgets them.
    fn clear(&self) {
        if let Some(batch) = self.writes().as_mut() {
            batch.clear();
        }
    }
}
