//! Reads of one moment and own writes, carried out together if nobody came between.

use std::sync::{Mutex, PoisonError};

use olivine_engine as engine;
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    errors::named,
    handle::{Life, bytes_of, detached, expiry},
    keyspace::{Bound_, Keyspace},
};

/// Reads of one moment and own writes.
#[pyclass(frozen, module = "olivine", name = "_Transaction", subclass)]
pub(crate) struct Transaction {
    /// Gone when it has ended.
    open: Mutex<Option<engine::Transaction>>,
    life: Life,
}

impl Transaction {
    pub(crate) fn new(transaction: engine::Transaction, life: Life) -> Transaction {
        Transaction { open: Mutex::new(Some(transaction)), life }
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut engine::Transaction) -> engine::Result<T> + Send,
    ) -> PyResult<T> {
        self.life.check(py)?;
        let done = detached(py, || {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.as_mut().map(work).transpose()
        })?;
        done.ok_or_else(|| named(py, "Closed", "the transaction has ended; begin another"))
    }
}

#[pymethods]
impl Transaction {
    fn get<'py>(
        &self,
        py: Python<'py>,
        keyspace: &Keyspace,
        key: &Bound_<'py>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (keyspace, key) = (keyspace.now(py)?, bytes_of(key)?);
        let found = self.with(py, |transaction| transaction.get(&keyspace, &key))?;
        Ok(found.map(|value| PyBytes::new(py, &value)))
    }

    #[pyo3(signature = (keyspace, key, value, *, ttl=None))]
    fn put(
        &self,
        py: Python<'_>,
        keyspace: &Keyspace,
        key: &Bound_<'_>,
        value: &Bound_<'_>,
        ttl: Option<f64>,
    ) -> PyResult<()> {
        let (keyspace, key, value) = (keyspace.now(py)?, bytes_of(key)?, bytes_of(value)?);
        let expiry = ttl.map(|ttl| expiry(py, ttl)).transpose()?;
        self.with(py, |transaction| match expiry {
            None => transaction.put(&keyspace, &key, &value),
            Some(expiry) => transaction.put_with_expiry(&keyspace, &key, &value, expiry),
        })
    }

    fn delete(&self, py: Python<'_>, keyspace: &Keyspace, key: &Bound_<'_>) -> PyResult<()> {
        let (keyspace, key) = (keyspace.now(py)?, bytes_of(key)?);
        self.with(py, |transaction| transaction.delete(&keyspace, &key))
    }

    /// Carries out its writes, if nobody wrote to what it read; it has ended then, either way.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.life.check(py)?;
        let done = detached(py, || {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
            open.map(|transaction| transaction.commit().map(drop)).transpose()
        })?;
        done.ok_or_else(|| named(py, "Closed", "the transaction has ended; begin another"))
    }

    /// Ends it with nothing written; again, it does nothing.
    fn rollback(&self, py: Python<'_>) {
        py.detach(|| self.open.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
