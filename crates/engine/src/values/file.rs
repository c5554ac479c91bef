//! A value file as readers use it, and how many of them are open.
//!
//! 1. A file is opened by its first reader, and its footer verified then.
//! 2. No more are open than a part of what the process may open; the one opened longest ago is closed
//!    first, unless it was read since.
//! 3. The file is removed after the manifest forgot it and the last that held this let go.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError, Weak,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use olivine_vfs::{File, Open, Vfs};

use super::format::{FOOTER_BYTES, FORMAT, Footer, ValuesInfo};
use crate::{
    error::{Error, Result},
    sync::Mutex,
    table::FileSeed,
    version::Trash,
};

/// The value files of a process that are open.
#[derive(Debug)]
pub(crate) struct OpenValues {
    files_max: usize,
    files: Mutex<VecDeque<Weak<LiveValues>>>,
}

impl OpenValues {
    pub(crate) fn new() -> OpenValues {
        let files_max = (olivine_vfs::open_files_max() / 8).clamp(4, 2048) as usize;
        OpenValues { files_max, files: Mutex::default() }
    }

    /// Notes a file that was just opened, and closes others for it.
    fn note(&self, file: &Arc<LiveValues>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.push_back(Arc::downgrade(file));
        let mut spared = files.len();
        while self.files_max < files.len() {
            let Some(oldest) = files.pop_front() else { return };
            let Some(file) = oldest.upgrade() else { continue };
            if 0 < spared && file.touched.swap(false, Relaxed) {
                spared -= 1;
                files.push_back(oldest);
            } else {
                *file.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }
}

/// A value file that the manifest names, or that a reader still holds.
#[derive(Debug)]
pub(crate) struct LiveValues {
    pub(crate) info: ValuesInfo,
    pub(crate) path: PathBuf,
    store: u64,
    vfs: Arc<dyn Vfs>,
    open: Arc<OpenValues>,
    file: Mutex<Option<Arc<dyn File>>>,
    /// The file, if it may be gone when it is needed.
    pinned: OnceLock<Arc<dyn File>>,
    touched: AtomicBool,
    /// A stream wrote it, and its pointer is not in a memtable yet.
    in_flight: AtomicBool,
    /// A record could not be read, so the file cannot be collected.
    damaged: AtomicBool,
    obsolete: AtomicBool,
    trash: Arc<Trash>,
}

impl LiveValues {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        open: Arc<OpenValues>,
        store: u64,
        path: PathBuf,
        info: ValuesInfo,
        trash: Arc<Trash>,
    ) -> LiveValues {
        LiveValues {
            info,
            path,
            store,
            vfs,
            open,
            file: Mutex::new(None),
            pinned: OnceLock::new(),
            touched: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            obsolete: AtomicBool::new(false),
            trash,
        }
    }

    pub(super) fn seed(&self) -> FileSeed {
        FileSeed::new(self.store, self.info.file)
    }

    pub(super) fn corrupt(&self, offset: u64, what: &'static str) -> Error {
        Error::corrupt(&self.path, offset, what)
    }

    /// Opens the file and keeps it open as long as this lives, whatever becomes of its name.
    pub(crate) fn pin(self: &Arc<Self>) -> Result<()> {
        let file = self.file()?;
        self.pinned.get_or_init(|| file);
        Ok(())
    }

    /// The open file.
    pub(crate) fn file(self: &Arc<Self>) -> Result<Arc<dyn File>> {
        if let Some(file) = self.pinned.get() {
            return Ok(Arc::clone(file));
        }
        self.touched.store(true, Relaxed);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let fresh = self.vfs.open(&self.path, Open::Read).map_err(Error::io("open", &self.path))?;
        self.check(&*fresh).or_else(|_| self.check(&*fresh))?;
        *file = Some(Arc::clone(&fresh));
        drop(file);
        self.open.note(self);
        Ok(fresh)
    }

    fn check(&self, file: &dyn File) -> Result<()> {
        let found = file.len().map_err(Error::io("get the length of", &self.path))?;
        if found != self.info.bytes {
            return Err(self.corrupt(
                found.min(self.info.bytes),
                "it has another length than it was written with",
            ));
        }
        let Some(at) = found.checked_sub(FOOTER_BYTES as u64) else {
            return Err(self.corrupt(0, "it is too short for a value file"));
        };
        let mut bytes = [0; FOOTER_BYTES];
        self.read_exactly(file, &mut bytes, at)?;
        let other = Footer::other_format(&bytes, self.store, self.info.file, found);
        if let Some(found) = other {
            return Err(Error::Format { path: self.path.clone(), found, newest: FORMAT });
        }
        Footer::check(&bytes, self.store, &self.info).map_err(|what| self.corrupt(at, what))
    }

    /// Fills `buffer` from `offset`, all of it.
    pub(super) fn read_exactly(
        &self,
        file: &dyn File,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<()> {
        let read = file.read_at(buffer, offset).or_else(|_| file.read_at(buffer, offset));
        match read.map_err(Error::io("read", &self.path))? {
            bytes if bytes < buffer.len() => Err(self.corrupt(offset, "it ends too early")),
            _ => Ok(()),
        }
    }

    pub(crate) fn set_in_flight(&self, in_flight: bool) {
        self.in_flight.store(in_flight, Release);
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Acquire)
    }

    pub(crate) fn mark_damaged(&self) {
        self.damaged.store(true, Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Relaxed)
    }

    /// The manifest no longer names this file: it goes with the last reader.
    pub(crate) fn mark_obsolete(&self) {
        self.obsolete.store(true, Relaxed);
    }
}

impl Drop for LiveValues {
    fn drop(&mut self) {
        if self.obsolete.load(Relaxed) {
            self.trash.add(std::mem::take(&mut self.path), None);
        }
    }
}
