//! A store in a directory.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use olivine_engine::{
    self as engine, Backups, Durability, Environment, EnvironmentOptions, Options,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    batch::Batch,
    errors::{named, raised},
    handle::{Life, detached, now},
    keyspace::Keyspace,
    snapshot::Snapshot,
    transaction::Transaction,
};

/// A store in a directory.
#[pyclass(frozen, module = "olivine", name = "_Db", subclass)]
pub(crate) struct Db {
    /// Gone when it was closed.
    open: Mutex<Option<Open>>,
    path: PathBuf,
    life: Life,
}

#[derive(Clone)]
struct Open {
    environment: Environment,
    db: engine::Db,
}

fn durability(py: Python<'_>, name: &str) -> PyResult<Durability> {
    match name {
        "sync" => Ok(Durability::Sync),
        "os" => Ok(Durability::Os),
        "interval" => Ok(Durability::Interval),
        _ => Err(named(py, "Invalid", "`durability` is sync, os or interval")),
    }
}

impl Db {
    fn open(&self, py: Python<'_>) -> PyResult<Open> {
        self.life.check(py)?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| raised(py, &engine::Error::Closed))
    }
}

#[pymethods]
impl Db {
    #[new]
    #[pyo3(signature = (path, *, create=true, read_only=false, durability="sync", interval=None, memory=None,
        memtable_bytes=None, memtable_entries=None, block_bytes=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        create: bool,
        read_only: bool,
        durability: &str,
        interval: Option<f64>,
        memory: Option<u64>,
        memtable_bytes: Option<u64>,
        memtable_entries: Option<u64>,
        block_bytes: Option<u32>,
    ) -> PyResult<Db> {
        let default = Options::default();
        let interval = interval.map(Duration::try_from_secs_f64).transpose();
        let interval =
            interval.map_err(|_| named(py, "Invalid", "`interval` is a number of seconds"))?;
        let options = Options {
            create_if_missing: create,
            durability: self::durability(py, durability)?,
            interval: interval.unwrap_or(default.interval),
            memtable_bytes_max: memtable_bytes.unwrap_or(default.memtable_bytes_max),
            memtable_entries_max: memtable_entries,
            block_bytes: block_bytes.unwrap_or(default.block_bytes),
            ..default
        };
        let mut environment = EnvironmentOptions::default();
        environment.memory_bytes = memory.unwrap_or(environment.memory_bytes);
        let open = detached(py, || {
            let environment = Environment::new(environment)?;
            let db = if read_only {
                engine::Db::open_read_only(&environment, &path, options)?
            } else {
                engine::Db::open(&environment, &path, options)?
            };
            Ok(Open { environment, db })
        })?;
        Ok(Db { open: Mutex::new(Some(open)), path, life: Life::begin() })
    }

    /// Where it is.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    #[pyo3(signature = (name="default"))]
    fn keyspace(&self, py: Python<'_>, name: &str) -> PyResult<Keyspace> {
        let Open { db, .. } = self.open(py)?;
        let keyspace = if db.is_read_only() {
            let text = format!("there is no keyspace {name:?} in the store, which is only read");
            db.find_keyspace(name).ok_or_else(|| named(py, "NotFound", &text))?
        } else {
            detached(py, || db.keyspace(name))?
        };
        Ok(Keyspace::new(keyspace, self.life.clone()))
    }

    fn keyspaces(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.open(py)?.db.keyspaces())
    }

    fn drop_keyspace(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let Open { db, .. } = self.open(py)?;
        let text = format!("there is no keyspace {name:?}");
        let keyspace = db.find_keyspace(name).ok_or_else(|| named(py, "NotFound", &text))?;
        detached(py, || db.drop_keyspace(&keyspace))
    }

    fn batch(&self, py: Python<'_>) -> PyResult<Batch> {
        Ok(Batch::new(self.open(py)?.db, self.life.clone()))
    }

    fn transaction(&self, py: Python<'_>) -> PyResult<Transaction> {
        Ok(Transaction::new(self.open(py)?.db.transaction(), self.life.clone()))
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        Ok(Snapshot::new(self.open(py)?.db.snapshot(), self.life.clone()))
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let Open { db, .. } = self.open(py)?;
        detached(py, || db.flush())
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let Open { db, .. } = self.open(py)?;
        detached(py, || db.sync().map(drop))
    }

    fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let Open { db, .. } = self.open(py)?;
        detached(py, || db.refresh().map(drop))
    }

    fn checkpoint(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let Open { db, .. } = self.open(py)?;
        detached(py, || db.checkpoint(&path).map(drop))
    }

    fn backup(&self, py: Python<'_>, path: PathBuf) -> PyResult<u64> {
        let Open { environment, db } = self.open(py)?;
        detached(py, || Backups::new(&environment, &path).take(&db, &mut |_| {}))
            .map(|info| info.number)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.open(py)?.db.stats();
        let shown = PyDict::new(py);
        shown.set_item("visible", stats.visible)?;
        shown.set_item("durable", stats.durable)?;
        shown.set_item("keyspaces", stats.keyspaces)?;
        shown.set_item("snapshots", stats.snapshots)?;
        shown.set_item("memtable_entries", stats.memtable_entries)?;
        shown.set_item("memtable_bytes", stats.memtable_bytes)?;
        shown.set_item("table_entries", stats.table_entries)?;
        shown.set_item("table_tombstones", stats.table_tombstones)?;
        shown.set_item("tables", stats.level_tables.iter().sum::<usize>())?;
        shown.set_item("table_bytes", stats.level_bytes.iter().sum::<u64>())?;
        shown.set_item("value_files", stats.value_files)?;
        shown.set_item("value_bytes", stats.value_bytes)?;
        shown.set_item("log_bytes", stats.log_bytes)?;
        Ok(shown)
    }

    /// Closes the store; again, it does nothing. What a fork has of it is not closed: it belongs to the other process.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.life.check_process(py)?;
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.life.end();
        let Some(Open { environment, db }) = open else { return Ok(()) };
        let closed = detached(py, || {
            if !db.is_read_only() {
                // What has expired by now need not be kept.
                for name in db.keyspaces() {
                    if let Some(keyspace) =
                        db.find_keyspace(&name).filter(|it| 0 < it.expiry_mark())
                    {
                        keyspace.advance_expiry_mark(now())?;
                    }
                }
            }
            db.close()
        });
        drop(environment);
        closed
    }
}
