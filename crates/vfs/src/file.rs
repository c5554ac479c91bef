//! Files, directories and the lock on a directory, as the engine needs them and no wider.
//!
//! Errors are `io::Error`; whoever calls knows the path and adds it.

use std::{ffi::OsString, fmt::Debug, io, path::Path, sync::Arc};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, only to read.
    Read,
    /// An existing file, to read and to write.
    Write,
    /// A file that must not exist yet, to read and to write; only its owner may (0600).
    Create,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A link, a socket, a device: nothing of ours.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within the directory.
    pub name: OsString,
    /// What stands under that name.
    pub kind: EntryKind,
    /// Length of a file in bytes, 0 for anything else.
    pub bytes: u64,
}

/// The outcome of asking for the lock on a path.
#[derive(Debug)]
pub enum Lock {
    /// Ours until the guard is dropped or the process ends.
    Held(Box<dyn Guard>),
    /// Somebody else's; `holder` is what that one wrote of itself, usually its pid.
    Busy {
        /// Contents of the lock file, trimmed; empty when there is nothing to read.
        holder: String,
    },
}

/// Holds a lock until dropped.
pub trait Guard: Send + Sync + Debug {}

/// How much a file system holds, and how much of that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that this user may still fill.
    pub free_bytes: u64,
}

/// A disk.
pub trait Vfs: Send + Sync + Debug {
    /// Opens or creates a file. `NotFound` and `AlreadyExists` are told as such.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// What stands at `path`, or `None` when nothing does.
    fn entry(&self, path: &Path) -> io::Result<Option<Entry>>;

    /// Everything in a directory, ordered by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Makes one directory for its owner only (0700); its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, replacing what had it.
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free; both stand for the same bytes. Refused where the
    /// two names cannot share a file (`CrossesDevices`, `Unsupported`, `PermissionDenied`, `TooManyLinks`).
    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()>;

    /// Removes a file's name; open handles keep working.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` last through a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock file at `path`, creating it if need be, and writes our pid into it. Never waits.
    fn lock(&self, path: &Path) -> io::Result<Lock>;

    /// When a file was written to last, in milliseconds since 1970; nothing where a disk does not know.
    fn written(&self, path: &Path) -> io::Result<Option<u64>> {
        let _ = path;
        Ok(None)
    }

    /// The room of the file system that `dir` is on; nothing where a disk has no such thing.
    fn room(&self, dir: &Path) -> io::Result<Option<Room>> {
        let _ = dir;
        Ok(None)
    }
}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Fills `buffer` from `offset`; returns fewer bytes only where the file ends.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Hands all of `bytes` to the disk at `offset`, growing the file if need be. After an error any
    /// part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes contents and length last through a power cut.
    fn sync(&self) -> io::Result<()>;

    /// Asks the disk to begin writing a range out; promises nothing.
    fn start_write_back(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let (_, _) = (offset, bytes);
        Ok(())
    }

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or grows (with zeros) to `bytes`.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
}

/// Makes a directory and those above it, as far as they are not there.
pub fn make_dirs(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    for dir in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if dir.as_os_str().is_empty() || matches!(vfs.entry(dir), Ok(Some(_))) {
            continue;
        }
        match vfs.create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
