//! Olivine's engine as Python sees it: `olivine._olivine`.
//!
//! 1. The interpreter is let go wherever a call may wait or takes long; not for what memory answers in a microsecond, where
//!    letting go would cost more.
//! 2. A handle whose store was closed says so, and so does one that a fork has brought into another process.
//! 3. An error of the engine is one of `olivine.errors`, with what to do next in its text.

mod batch;
mod db;
mod errors;
mod handle;
mod keyspace;
mod snapshot;
mod transaction;
mod walk;

use pyo3::prelude::*;

#[pymodule]
fn _olivine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<db::Db>()?;
    module.add_class::<keyspace::Keyspace>()?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<transaction::Transaction>()?;
    module.add_class::<walk::Walk>()?;
    Ok(())
}
