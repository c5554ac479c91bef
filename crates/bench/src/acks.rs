//! What a process that is about to be killed had been promised by its store.
//!
//! One count per thread, in a file that lies beside the store, written after each acknowledged put
//! with one call into the kernel, which keeps it when the process dies.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::store::Result;

/// The file of counts.
pub(crate) struct Acks {
    file: File,
}

impl Acks {
    /// An empty one beside `store`.
    pub(crate) fn create(store: &Path) -> Result<Acks> {
        Ok(Acks { file: File::create(path(store))? })
    }

    /// `count` puts of `thread` were acknowledged.
    pub(crate) fn set(&self, thread: u32, count: u64) -> Result<()> {
        Ok(self.file.write_all_at(&count.to_le_bytes(), u64::from(thread) * 8)?)
    }

    /// The counts that a dead process left.
    pub(crate) fn read(store: &Path) -> Result<Vec<u64>> {
        let bytes = fs::read(path(store))?;
        let (counts, _) = bytes.as_chunks::<8>();
        Ok(counts.iter().map(|count| u64::from_le_bytes(*count)).collect())
    }
}

fn path(store: &Path) -> PathBuf {
    store.with_extension("acks")
}
