//! Files of the user, read and written from front to back through the same door as those of a store.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use olivine_vfs::{File, Open, RealVfs, Vfs as _};

use crate::ending::Failure;

/// A file being written, or read, at the place where the last bytes ended.
pub(crate) struct Sequential {
    file: Arc<dyn File>,
    at: u64,
}

impl Sequential {
    /// Makes a file that must not be there yet.
    pub(crate) fn create(path: &Path) -> Result<Sequential, Failure> {
        let file = RealVfs::new().open(path, Open::Create);
        let file = file.map_err(Failure::io(format!("cannot make {}", path.display())))?;
        Ok(Sequential { file, at: 0 })
    }

    /// Opens a file that is there.
    pub(crate) fn open(path: &Path) -> Result<Sequential, Failure> {
        let file = RealVfs::new().open(path, Open::Read);
        let file = file.map_err(Failure::io(format!("cannot read {}", path.display())))?;
        Ok(Sequential { file, at: 0 })
    }

    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.len().unwrap_or(0)
    }

    /// Makes what was written last through a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
