//! The disk and the clock of the machine: Linux, and what other Unixes have for it (macOS).
//!
//! It must survive signals, short transfers, strange things standing where a file should be (a link,
//! a pipe, a directory) and a second opener, in this process or another. Nothing here panics on what
//! the kernel answers.
//!
//! 1. Calls interrupted by a signal go on, except a sync: what it left undone is not known, so its
//!    error is told.
//! 2. The last part of a path is never followed when it is a link, and what is opened is a regular
//!    file.
//! 3. No file descriptor reaches a program that this process starts.
//! 4. Files are made for their owner only (0600), directories as well (0700).
//! 5. A lock belongs to one guard; it ends with the guard or with the process, however that dies.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat},
    io::{Errno, pread, pwrite, retry_on_intr},
    process::getpid,
};

use crate::{Clock, Entry, EntryKind, File, Guard, Lock, Open, Room, Vfs};

mod output;
mod persist;
mod pid_file;
mod write_back;

pub use output::open_output;
pub use pid_file::{Holder, PidFile};

/// The kernel counts offsets in signed 64-bit numbers; nothing lies beyond.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// Bytes that one call is asked to move: some systems refuse more than 2 GiB, and Linux moves no more.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// How much of a lock file is read to name its holder.
const HOLDER_BYTES_MAX: usize = 256;

/// The disk of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealVfs;

impl RealVfs {
    /// The disk of the machine; relative paths start at the working directory.
    pub fn new() -> RealVfs {
        RealVfs
    }
}

impl Vfs for RealVfs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let flags = match how {
            Open::Read => OFlags::RDONLY,
            Open::Write => OFlags::RDWR,
            Open::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        Ok(Arc::new(RealFile { descriptor: open_regular(path, flags)? }))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        match retry_on_intr(|| fs::lstat(path)) {
            Ok(stat) => Ok(Some(entry_of(path.file_name().unwrap_or(OsStr::new("/")), &stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn written(&self, path: &Path) -> io::Result<Option<u64>> {
        let stat = retry_on_intr(|| fs::lstat(path))?;
        let millis = i128::from(stat.st_mtime) * 1000 + i128::from(stat.st_mtime_nsec) / 1_000_000;
        Ok(u64::try_from(millis).ok())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let descriptor = open_dir(dir)?;
        let mut entries = Vec::new();
        for found in Dir::read_from(&descriptor)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match retry_on_intr(|| fs::statat(&descriptor, name, AtFlags::SYMLINK_NOFOLLOW)) {
                Ok(stat) => entries.push(entry_of(OsStr::from_bytes(name.to_bytes()), &stat)),
                // Removed since the directory was read.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::mkdir(path, Mode::RWXU))?)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::rename(source, target))?)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::link(source, target))?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::unlink(path))?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::rmdir(path))?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(persist::dir(&open_dir(dir)?)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = RealFile { descriptor: open_regular(path, OFlags::RDWR | OFlags::CREATE)? };
        match retry_on_intr(|| {
            fs::flock(&file.descriptor, FlockOperation::NonBlockingLockExclusive)
        }) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = [0; HOLDER_BYTES_MAX];
                let bytes = file.read_at(&mut text, 0)?;
                let holder = String::from_utf8_lossy(&text[..bytes]).trim().to_owned();
                return Ok(Lock::Busy { holder });
            }
            Err(errno) => return Err(errno.into()),
        }
        // Written before it is cut, so that whoever looks meanwhile finds some text.
        let pid = format!("{}\n", getpid());
        file.write_at(pid.as_bytes(), 0)?;
        file.set_len(pid.len() as u64)?;
        Ok(Lock::Held(Box::new(RealGuard { _file: file })))
    }

    fn room(&self, dir: &Path) -> io::Result<Option<Room>> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let told = retry_on_intr(|| fs::statvfs(dir))?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Some(Room { bytes: bytes(told.f_blocks), free_bytes: bytes(told.f_bavail) }))
    }
}

/// Who owns something, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Its owner.
    pub user: u32,
    /// The bits of its mode that say who may do what.
    pub mode: u32,
}

/// Who may do what with what a path leads to.
pub fn permissions(path: &Path) -> io::Result<Permissions> {
    let stat = retry_on_intr(|| fs::stat(path))?;
    Ok(Permissions { user: stat.st_uid, mode: Mode::from_raw_mode(stat.st_mode).bits() })
}

/// Opens what must be a regular file. Asking not to wait keeps a pipe from holding us up before its
/// kind is known; for a regular file it changes nothing.
fn open_regular(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let descriptor = retry_on_intr(|| fs::open(path, flags, Mode::RUSR | Mode::WUSR))?;
    match kind_of(&fs::fstat(&descriptor)?) {
        EntryKind::File => Ok(descriptor),
        EntryKind::Dir => Err(Errno::ISDIR.into()),
        EntryKind::Other => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    // The directory of "x" is "", which the kernel does not know.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| fs::open(dir, flags, Mode::empty()))?)
}

fn kind_of(stat: &Stat) -> EntryKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Dir,
        _ => EntryKind::Other,
    }
}

fn entry_of(name: &OsStr, stat: &Stat) -> Entry {
    let kind = kind_of(stat);
    let bytes = match kind {
        EntryKind::File => u64::try_from(stat.st_size).unwrap_or(0),
        EntryKind::Dir | EntryKind::Other => 0,
    };
    Entry { name: OsString::from(name), kind, bytes }
}

#[derive(Debug)]
struct RealFile {
    descriptor: OwnedFd,
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            // No file reaches beyond, and the kernel refuses to look there.
            let Some(at) = offset.checked_add(done as u64).filter(|at| *at < OFFSET_MAX) else {
                break;
            };
            let room = usize::try_from(OFFSET_MAX - at).unwrap_or(usize::MAX);
            let room = room.min(TRANSFER_BYTES_MAX);
            let end = buffer.len().min(done.saturating_add(room));
            match retry_on_intr(|| pread(&self.descriptor, &mut buffer[done..end], at))? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| OFFSET_MAX < end) {
            return Err(Errno::FBIG.into());
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let end = bytes.len().min(done.saturating_add(TRANSFER_BYTES_MAX));
            match retry_on_intr(|| pwrite(&self.descriptor, &bytes[done..end], at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => done += written,
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(persist::contents(&self.descriptor)?)
    }

    fn start_write_back(&self, offset: u64, bytes: u64) -> io::Result<()> {
        write_back::start(&self.descriptor, offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        let stat = fs::fstat(&self.descriptor)?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        if OFFSET_MAX < bytes {
            return Err(Errno::FBIG.into());
        }
        Ok(retry_on_intr(|| fs::ftruncate(&self.descriptor, bytes))?)
    }
}

/// The kernel ends the lock when the last descriptor of this opening is closed.
#[derive(Debug)]
struct RealGuard {
    _file: RealFile,
}

impl Guard for RealGuard {}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock whose `now` starts at zero here.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    pub fn new() -> RealClock {
        RealClock { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

#[cfg(test)]
mod tests;
