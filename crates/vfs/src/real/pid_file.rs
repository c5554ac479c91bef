//! A file that says which process is something, locked for as long as that process lives.
//!
//! The lock is one of the process (`fcntl`): it can be looked at without being taken, and the kernel itself
//! says whose it is, so that neither a number that somebody left nor one that was given out again is believed.
//!
//! 1. Who holds the file is told by the kernel, never by what stands in it.
//! 2. Looking at a file changes nothing, and keeps nobody from taking it.
//! 3. Whoever holds a file holds the one that its name leads to.
//!
//! A process must not open its own pid file a second time: closing that would let go of the lock.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, FlockOperation, OFlags},
    io::Errno,
    process::{Flock, FlockType, fcntl_getlk, getpid},
};

use super::{RealFile, open_regular};
use crate::File as _;

/// How often a file is taken anew that somebody removed while it was being taken.
const TRIES: usize = 16;

/// How much of a file is read for the number that was left there.
const TEXT_BYTES_MAX: usize = 32;

/// A pid file of this process.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    _file: RealFile,
}

/// Whose a pid file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// There is no file.
    Nobody,
    /// The file was left by a process that is gone; it called itself so.
    Left(String),
    /// A process that lives.
    Process(u32),
    /// A process that lives where its number means nothing here: in another container.
    Elsewhere,
}

impl PidFile {
    /// Takes the file at `path`, made if need be, for this process until it ends; `None` when another
    /// process has it.
    pub fn hold(path: &Path) -> io::Result<Option<PidFile>> {
        for _ in 0..TRIES {
            let file = RealFile { descriptor: open_regular(path, OFlags::RDWR | OFlags::CREATE)? };
            match fs::fcntl_lock(&file.descriptor, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            let held = fs::fstat(&file.descriptor)?;
            let named = fs::lstat(path);
            if !named.is_ok_and(|named| (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino))
            {
                continue;
            }
            let pid = format!("{}\n", getpid());
            file.write_at(pid.as_bytes(), 0)?;
            file.set_len(pid.len() as u64)?;
            return Ok(Some(PidFile { path: path.to_owned(), _file: file }));
        }
        Err(io::Error::other("somebody removes it again and again"))
    }

    /// Removes the file, and lets go of it.
    pub fn remove(self) -> io::Result<()> {
        Ok(fs::unlink(&self.path)?)
    }

    /// Whose the file at `path` is; not to be asked by its holder.
    pub fn holder(path: &Path) -> io::Result<Holder> {
        let file = match open_regular(path, OFlags::RDONLY) {
            Ok(descriptor) => RealFile { descriptor },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
            Err(error) => return Err(error),
        };
        let lock = fcntl_getlk(&file.descriptor, &Flock::from(FlockType::WriteLock))?;
        match lock.map(|lock| lock.pid.map_or(0, |pid| pid.as_raw_pid())) {
            None => {
                let mut text = [0; TEXT_BYTES_MAX];
                let read = file.read_at(&mut text, 0)?;
                Ok(Holder::Left(String::from_utf8_lossy(&text[..read]).trim().to_owned()))
            }
            Some(pid) => match u32::try_from(pid) {
                Ok(pid) if 0 < pid => Ok(Holder::Process(pid)),
                _ => Ok(Holder::Elsewhere),
            },
        }
    }
}
