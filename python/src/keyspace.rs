//! A named, ordered map in a store.

use std::{borrow::Cow, ops::Bound as End};

use olivine_engine::{self as engine, Error, Expected, Iter, Value};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyIterator, PyList},
};

use crate::{
    errors::raised,
    handle::{Life, bound_of, bytes_of, detached, expiry, now},
    walk::{Shows, Walk},
};

/// A named, ordered map in a store.
#[pyclass(frozen, module = "olivine", name = "_Keyspace", subclass)]
pub(crate) struct Keyspace {
    keyspace: engine::Keyspace,
    life: Life,
}

/// What a walk goes through, as Python says it.
pub(crate) struct Within<'a> {
    pub(crate) start: Option<Cow<'a, [u8]>>,
    pub(crate) end: Option<Cow<'a, [u8]>>,
    pub(crate) prefix: Option<Cow<'a, [u8]>>,
}

impl<'a> Within<'a> {
    pub(crate) fn of(
        py: Python<'_>,
        start: Option<&'a Bound_<'_>>,
        end: Option<&'a Bound_<'_>>,
        prefix: Option<&'a Bound_<'_>>,
    ) -> PyResult<Within<'a>> {
        let within =
            Within { start: bound_of(start)?, end: bound_of(end)?, prefix: bound_of(prefix)? };
        if within.prefix.is_some() && (within.start.is_some() || within.end.is_some()) {
            let text = "`prefix` goes without `start` and `end`";
            return Err(crate::errors::named(py, "Invalid", text));
        }
        Ok(within)
    }

    /// From `start` up to `end`, which no longer belongs to it.
    pub(crate) fn bounds(&self) -> (End<&[u8]>, End<&[u8]>) {
        let start = self.start.as_deref().map_or(End::Unbounded, End::Included);
        (start, self.end.as_deref().map_or(End::Unbounded, End::Excluded))
    }
}

/// A Python object.
pub(crate) type Bound_<'py> = Bound<'py, PyAny>;

impl Keyspace {
    pub(crate) fn new(keyspace: engine::Keyspace, life: Life) -> Keyspace {
        Keyspace { keyspace, life }
    }

    /// The keyspace as of now.
    pub(crate) fn now(&self, py: Python<'_>) -> PyResult<engine::Keyspace> {
        self.life.check(py)?;
        Ok(self.keyspace.at(now()))
    }

    fn found(&self, py: Python<'_>, key: &[u8]) -> PyResult<Option<Value>> {
        let keyspace = self.now(py)?;
        match keyspace.get_if_cached(key) {
            Ok(found) => Ok(found),
            Err(Error::WouldBlock) => detached(py, || keyspace.get(key)),
            Err(error) => Err(raised(py, &error)),
        }
    }
}

#[pymethods]
impl Keyspace {
    #[getter]
    fn name(&self) -> &str {
        self.keyspace.name()
    }

    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound_<'py>,
        default: Option<Bound_<'py>>,
    ) -> PyResult<Option<Bound_<'py>>> {
        let found = self.found(py, &bytes_of(key)?)?;
        Ok(match found {
            Some(value) => Some(PyBytes::new(py, &value).into_any()),
            None => default,
        })
    }

    fn contains(&self, py: Python<'_>, key: &Bound_<'_>) -> PyResult<bool> {
        self.found(py, &bytes_of(key)?).map(|found| found.is_some())
    }

    fn get_many<'py>(&self, py: Python<'py>, keys: &Bound_<'py>) -> PyResult<Bound<'py, PyList>> {
        let keyspace = self.now(py)?;
        let keys: Vec<Bound_<'py>> = PyIterator::from_object(keys)?.collect::<PyResult<_>>()?;
        let keys: Vec<Cow<'_, [u8]>> = keys.iter().map(bytes_of).collect::<PyResult<_>>()?;
        let slices: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
        let found = detached(py, || keyspace.multi_get(&slices))?;
        PyList::new(py, found.into_iter().map(|value| value.map(|value| PyBytes::new(py, &value))))
    }

    #[pyo3(signature = (key, value, *, ttl=None))]
    fn put(
        &self,
        py: Python<'_>,
        key: &Bound_<'_>,
        value: &Bound_<'_>,
        ttl: Option<f64>,
    ) -> PyResult<()> {
        let keyspace = self.now(py)?;
        let (key, value) = (bytes_of(key)?, bytes_of(value)?);
        let expiry = ttl.map(|ttl| expiry(py, ttl)).transpose()?;
        detached(py, || {
            match expiry {
                None => keyspace.put(&key, &value),
                Some(expiry) => keyspace.put_with_expiry(&key, &value, expiry),
            }
            .map(drop)
        })
    }

    /// Stores a value if what is there is what was expected, `None` for nothing.
    fn put_if(
        &self,
        py: Python<'_>,
        key: &Bound_<'_>,
        expected: Option<&Bound_<'_>>,
        value: &Bound_<'_>,
    ) -> PyResult<bool> {
        let keyspace = self.now(py)?;
        let (key, value, expected) = (bytes_of(key)?, bytes_of(value)?, bound_of(expected)?);
        let expected = expected.as_deref().map_or(Expected::Absent, Expected::Value);
        detached(py, || keyspace.put_if(&key, expected, &value))
    }

    fn merge(&self, py: Python<'_>, key: &Bound_<'_>, operand: &Bound_<'_>) -> PyResult<()> {
        let keyspace = self.now(py)?;
        let (key, operand) = (bytes_of(key)?, bytes_of(operand)?);
        detached(py, || keyspace.merge(&key, &operand).map(drop))
    }

    fn delete(&self, py: Python<'_>, key: &Bound_<'_>) -> PyResult<()> {
        let keyspace = self.now(py)?;
        let key = bytes_of(key)?;
        detached(py, || keyspace.delete(&key).map(drop))
    }

    fn delete_range(&self, py: Python<'_>, start: &Bound_<'_>, end: &Bound_<'_>) -> PyResult<()> {
        let keyspace = self.now(py)?;
        let (start, end) = (bytes_of(start)?, bytes_of(end)?);
        detached(py, || keyspace.delete_range(&start, &end).map(drop))
    }

    #[pyo3(signature = (start=None, end=None, *, prefix=None, reverse=false, limit=None))]
    fn items(
        &self,
        py: Python<'_>,
        start: Option<&Bound_<'_>>,
        end: Option<&Bound_<'_>>,
        prefix: Option<&Bound_<'_>>,
        reverse: bool,
        limit: Option<usize>,
    ) -> PyResult<Walk> {
        let within = Within::of(py, start, end, prefix)?;
        self.walk(py, &within, reverse, limit, Shows::Entries)
    }

    #[pyo3(signature = (start=None, end=None, *, prefix=None, reverse=false, limit=None))]
    fn keys(
        &self,
        py: Python<'_>,
        start: Option<&Bound_<'_>>,
        end: Option<&Bound_<'_>>,
        prefix: Option<&Bound_<'_>>,
        reverse: bool,
        limit: Option<usize>,
    ) -> PyResult<Walk> {
        let within = Within::of(py, start, end, prefix)?;
        self.walk(py, &within, reverse, limit, Shows::Keys)
    }

    #[pyo3(signature = (start=None, end=None, *, prefix=None, reverse=false, limit=None))]
    fn values(
        &self,
        py: Python<'_>,
        start: Option<&Bound_<'_>>,
        end: Option<&Bound_<'_>>,
        prefix: Option<&Bound_<'_>>,
        reverse: bool,
        limit: Option<usize>,
    ) -> PyResult<Walk> {
        let within = Within::of(py, start, end, prefix)?;
        self.walk(py, &within, reverse, limit, Shows::Values)
    }

    #[pyo3(signature = (start=None, end=None))]
    fn size_of_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound_<'_>>,
        end: Option<&Bound_<'_>>,
    ) -> PyResult<u64> {
        let keyspace = self.now(py)?;
        let within = Within::of(py, start, end, None)?;
        detached(py, || keyspace.size_of_range::<&[u8]>(within.bounds()))
    }
}

impl Keyspace {
    fn walk(
        &self,
        py: Python<'_>,
        within: &Within<'_>,
        is_backward: bool,
        limit: Option<usize>,
        shows: Shows,
    ) -> PyResult<Walk> {
        let keyspace = self.now(py)?;
        let iter: Iter = detached(py, || match &within.prefix {
            Some(prefix) => keyspace.prefix(prefix),
            None => keyspace.range::<&[u8]>(within.bounds()),
        })?;
        Ok(Walk::new(iter, is_backward, limit, shows, self.life.clone()))
    }
}
