//! A disk around another disk: what failing, delaying and recording have in common.
//!
//! 1. Every call of the inner disk, and of the files it opened, is announced before it is made and
//!    told after it is answered.
//! 2. A call answered in its place is not made.

use std::{
    fmt::Debug,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Call, Entry, File, Guard, Kind, Lock, Open, Vfs};

/// Stands around the calls of a disk.
pub trait Around: Send + Sync + Debug + 'static {
    /// Before a call; an error is answered in its place.
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        let _ = call;
        Ok(())
    }

    /// After a call that was made.
    fn after(&self, call: &Call<'_>, error: Option<&io::Error>) {
        let (_, _) = (call, error);
    }

    /// A file was closed.
    fn closed(&self, path: &Path) {
        let _ = path;
    }

    /// A lock was given back.
    fn unlocked(&self, path: &Path) {
        let _ = path;
    }
}

/// A disk, and something around its calls.
#[derive(Debug)]
pub struct Layer<A> {
    inner: Arc<dyn Vfs>,
    pub(crate) around: Arc<A>,
}

impl<A: Around> Layer<A> {
    pub(crate) fn wrap(inner: Arc<dyn Vfs>, around: A) -> Layer<A> {
        Layer { inner, around: Arc::new(around) }
    }
}

/// Makes one call with all that stands around it.
fn make<A: Around, T>(
    around: &A,
    call: &Call<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    around.before(call)?;
    let answer = make();
    around.after(call, answer.as_ref().err());
    answer
}

impl<A: Around> Vfs for Layer<A> {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let kind = match how {
            Open::Read | Open::Write => Kind::Open,
            Open::Create => Kind::Create,
        };
        let call = Call { how: Some(how), ..Call::on_path(kind, path) };
        let inner = make(&*self.around, &call, || self.inner.open(path, how))?;
        Ok(Arc::new(LayerFile { inner, around: Arc::clone(&self.around), path: path.to_owned() }))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        make(&*self.around, &Call::on_path(Kind::Entry, path), || self.inner.entry(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        make(&*self.around, &Call::on_path(Kind::List, dir), || self.inner.list(dir))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        make(&*self.around, &Call::on_path(Kind::CreateDir, path), || self.inner.create_dir(path))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let call = Call { target: Some(target), ..Call::on_path(Kind::Rename, source) };
        make(&*self.around, &call, || self.inner.rename(source, target))
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        let call = Call { target: Some(target), ..Call::on_path(Kind::HardLink, source) };
        make(&*self.around, &call, || self.inner.hard_link(source, target))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        make(&*self.around, &Call::on_path(Kind::RemoveFile, path), || self.inner.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        make(&*self.around, &Call::on_path(Kind::RemoveDir, path), || self.inner.remove_dir(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        make(&*self.around, &Call::on_path(Kind::SyncDir, dir), || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let call = Call::on_path(Kind::Lock, path);
        match make(&*self.around, &call, || self.inner.lock(path))? {
            Lock::Held(inner) => {
                let (around, path) = (Arc::clone(&self.around), path.to_owned());
                Ok(Lock::Held(Box::new(LayerGuard { inner: Some(inner), around, path })))
            }
            busy @ Lock::Busy { .. } => Ok(busy),
        }
    }
}

#[derive(Debug)]
struct LayerFile<A: Around> {
    inner: Arc<dyn File>,
    around: Arc<A>,
    path: PathBuf,
}

impl<A: Around> LayerFile<A> {
    fn call(&self, kind: Kind) -> Call<'_> {
        Call::on_file(kind, &self.path, &*self.inner)
    }
}

impl<A: Around> File for LayerFile<A> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let call = self.call(Kind::Read).with_range(offset, buffer.len() as u64);
        make(&*self.around, &call, || self.inner.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let call = self.call(Kind::Write).with_range(offset, bytes.len() as u64);
        let call = Call { data: bytes, ..call };
        make(&*self.around, &call, || self.inner.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        make(&*self.around, &self.call(Kind::Sync), || self.inner.sync())
    }

    fn start_write_back(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let call = self.call(Kind::WriteBack).with_range(offset, bytes);
        make(&*self.around, &call, || self.inner.start_write_back(offset, bytes))
    }

    fn len(&self) -> io::Result<u64> {
        make(&*self.around, &self.call(Kind::Len), || self.inner.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let call = self.call(Kind::SetLen).with_range(0, bytes);
        make(&*self.around, &call, || self.inner.set_len(bytes))
    }
}

impl<A: Around> Drop for LayerFile<A> {
    fn drop(&mut self) {
        self.around.closed(&self.path);
    }
}

#[derive(Debug)]
struct LayerGuard<A: Around> {
    inner: Option<Box<dyn Guard>>,
    around: Arc<A>,
    path: PathBuf,
}

impl<A: Around> Guard for LayerGuard<A> {}

impl<A: Around> Drop for LayerGuard<A> {
    fn drop(&mut self) {
        drop(self.inner.take());
        self.around.unlocked(&self.path);
    }
}
