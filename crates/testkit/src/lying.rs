//! Disks that lie, to see that the tiers notice.
//!
//! A tier that finds nothing proves nothing until it has found something. These disks answer that a
//! call was done although it was not, or do what nobody asked for.
//!
//! 1. But for its lie, a lying disk passes every call on.

use olivine_vfs::{Entry, File, Kind, Lock, Open, Vfs};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What a disk lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Every so many calls of a kind (write, sync, cut, sync of a directory) is answered and not done.
    Skip {
        /// The kind.
        kind: Kind,
        /// Which call of it: 1 for all, 2 for every second.
        every: u64,
    },
    /// Every failure of a call of this kind is answered as done.
    Hide {
        /// The kind.
        kind: Kind,
    },
    /// Files are synced when they are closed, which hides syncs that nobody asked for.
    SyncOnClose,
}

/// A disk that lies.
#[derive(Clone, Debug)]
pub struct LyingVfs {
    disk: Arc<dyn Vfs>,
    lie: Arc<Telling>,
}

#[derive(Debug)]
struct Telling {
    lie: Lie,
    calls: AtomicU64,
}

impl Telling {
    /// Whether this call is to be skipped.
    fn skips(&self, asked: Kind) -> bool {
        match self.lie {
            Lie::Skip { kind, every } if kind == asked => {
                (self.calls.fetch_add(1, Relaxed) + 1).is_multiple_of(every)
            }
            _ => false,
        }
    }

    /// What is answered for a call that brings nothing back.
    fn answer(&self, asked: Kind, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.skips(asked) {
            return Ok(());
        }
        match call() {
            Err(_) if self.lie == (Lie::Hide { kind: asked }) => Ok(()),
            answer => answer,
        }
    }
}

impl LyingVfs {
    /// `disk`, but for `lie`.
    pub fn new(disk: Arc<dyn Vfs>, lie: Lie) -> LyingVfs {
        LyingVfs { disk, lie: Arc::new(Telling { lie, calls: AtomicU64::new(0) }) }
    }
}

impl Vfs for LyingVfs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(LyingFile { file, lie: Arc::clone(&self.lie) }))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.disk.entry(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.disk.rename(source, target)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.disk.hard_link(source, target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lie.answer(Kind::SyncDir, || self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock(path)
    }
}

#[derive(Debug)]
struct LyingFile {
    file: Arc<dyn File>,
    lie: Arc<Telling>,
}

impl File for LyingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.lie.answer(Kind::Write, || self.file.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.lie.answer(Kind::Sync, || self.file.sync())
    }

    fn start_write_back(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.file.start_write_back(offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.lie.answer(Kind::SetLen, || self.file.set_len(bytes))
    }
}

impl Drop for LyingFile {
    fn drop(&mut self) {
        if self.lie.lie == Lie::SyncOnClose {
            // A file opened only to read has nothing to sync.
            self.file.sync().ok();
        }
    }
}

/// Says what is wrong with a disk that is to forget: what is not synced must be gone after a crash
/// that leaves nothing, closed or not, and what is synced must be there.
pub fn check_forgets(disk: &dyn Vfs, crash: impl FnOnce() -> Arc<dyn Vfs>) -> Result<(), String> {
    let (dir, told) = (Path::new("/"), |error: io::Error| error.to_string());
    for (name, synced) in [("/synced", true), ("/unsynced", false)] {
        let file = disk.open(Path::new(name), Open::Create).map_err(told)?;
        if synced {
            file.write_at(b"kept", 0).map_err(told)?;
            file.sync().map_err(told)?;
        }
    }
    disk.sync_dir(dir).map_err(told)?;
    for name in ["/synced", "/unsynced"] {
        let file = disk.open(Path::new(name), Open::Write).map_err(told)?;
        file.write_at(b"lost", 4).map_err(told)?;
    }
    let nameless = disk.open(Path::new("/nameless"), Open::Create).map_err(told)?;
    nameless.write_at(b"lost", 0).and_then(|()| nameless.sync()).map_err(told)?;
    drop(nameless);

    let found = crash();
    let bytes = |name: &str| match found.entry(Path::new(name)) {
        Ok(entry) => entry.map(|entry| entry.bytes),
        Err(_) => None,
    };
    match (bytes("/synced"), bytes("/unsynced"), bytes("/nameless")) {
        (Some(4), Some(0), None) => Ok(()),
        (synced, unsynced, nameless) => Err(format!(
            "after a crash that leaves only what was synced, a file with 4 bytes synced and 8 written \
             has {synced:?}, one with 4 written and none synced {unsynced:?}, and one whose name was \
             not synced {nameless:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::{CrashingVfs, Survival};

    fn check(lie: Option<Lie>) -> Result<(), String> {
        let disk = CrashingVfs::new();
        let shown: Arc<dyn Vfs> = Arc::new(disk.clone());
        let shown = match lie {
            None => shown,
            Some(lie) => Arc::new(LyingVfs::new(shown, lie)),
        };
        check_forgets(&*shown, || Arc::new(disk.crash(Survival::Nothing, 0)))
    }

    #[test]
    fn the_crashing_disk_forgets() {
        assert_eq!(check(None), Ok(()));
    }

    #[test]
    fn a_disk_that_syncs_on_close_is_noticed() {
        assert!(check(Some(Lie::SyncOnClose)).is_err());
    }

    #[test]
    fn a_disk_that_skips_syncs_is_noticed() {
        assert!(check(Some(Lie::Skip { kind: Kind::Sync, every: 1 })).is_err());
        assert!(check(Some(Lie::Skip { kind: Kind::SyncDir, every: 1 })).is_err());
    }
}
