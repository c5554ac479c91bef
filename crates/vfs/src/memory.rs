//! A disk in memory: quick, and gone with the last handle.
//!
//! It must survive many threads, and files that are removed or renamed while they are open.
//!
//! 1. An open file keeps its contents, whatever becomes of its name.
//! 2. A write is seen by every read that begins after it returned; a read never sees half a write.
//! 3. Nothing is ever lost, so syncing does nothing. The disk that forgets is `CrashingVfs`.

use std::{
    io,
    path::Path,
    process,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::io::Errno;

use crate::{Entry, File, Guard, Lock, Open, Vfs, pages::Pages, tree::Tree};

/// A disk in memory. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct MemoryVfs {
    tree: Arc<RwLock<Tree<MemoryNode>>>,
}

#[derive(Debug, Default)]
struct MemoryNode {
    contents: RwLock<Pages>,
    locked: AtomicBool,
}

impl MemoryVfs {
    /// An empty disk; only the directory `/` exists.
    pub fn new() -> MemoryVfs {
        MemoryVfs { tree: Arc::new(RwLock::new(Tree::new())) }
    }

    /// Another disk that holds now what this one holds, unlocked. Costs a few pointers a file: pages
    /// are shared until one of the two writes them.
    pub fn image(&self) -> MemoryVfs {
        let tree = self.tree().map(|node| {
            let contents = RwLock::new(node.contents().clone());
            Arc::new(MemoryNode { contents, locked: AtomicBool::new(false) })
        });
        MemoryVfs { tree: Arc::new(RwLock::new(tree)) }
    }

    fn tree(&self) -> RwLockReadGuard<'_, Tree<MemoryNode>> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree_mut(&self) -> RwLockWriteGuard<'_, Tree<MemoryNode>> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryVfs {
    fn default() -> MemoryVfs {
        MemoryVfs::new()
    }
}

impl Vfs for MemoryVfs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let node = match how {
            Open::Read | Open::Write => Arc::clone(self.tree().file(path)?),
            Open::Create => create(&mut self.tree_mut(), path)?,
        };
        Ok(Arc::new(MemoryFile { node, writable: how != Open::Read }))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.tree().entry(path, |node| node.contents().len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.tree().list(dir, |node| node.contents().len())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree_mut();
        let change = tree.plan_create_dir(path)?;
        tree.apply(&change);
        Ok(())
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut tree = self.tree_mut();
        let change = tree.plan_rename(source, target)?;
        tree.apply(&change);
        Ok(())
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        let mut tree = self.tree_mut();
        let change = tree.plan_hard_link(source, target)?;
        tree.apply(&change);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree_mut();
        let change = tree.plan_remove_file(path)?;
        tree.apply(&change);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree_mut();
        let change = tree.plan_remove_dir(path)?;
        tree.apply(&change);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tree().dir(dir).map(|_| ())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut tree = self.tree_mut();
        let found = tree.file(path).map(Arc::clone);
        let node = match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&mut tree, path)?,
            found => found?,
        };
        drop(tree);
        if node.locked.swap(true, Ordering::AcqRel) {
            return Ok(Lock::Busy { holder: holder(&node.contents()) });
        }
        let pid = format!("{}\n", process::id());
        let mut contents = node.contents_mut();
        contents.set_len(0)?;
        contents.write_at(pid.as_bytes(), 0)?;
        drop(contents);
        Ok(Lock::Held(Box::new(MemoryGuard { node })))
    }
}

fn create(tree: &mut Tree<MemoryNode>, path: &Path) -> io::Result<Arc<MemoryNode>> {
    let node = Arc::new(MemoryNode::default());
    let change = tree.plan_create(path, Arc::clone(&node))?;
    tree.apply(&change);
    Ok(node)
}

/// What the holder of a lock wrote of itself.
pub(crate) fn holder(contents: &Pages) -> String {
    let mut text = [0; 256];
    let bytes = contents.read_at(&mut text, 0);
    String::from_utf8_lossy(&text[..bytes]).trim().to_owned()
}

impl MemoryNode {
    fn contents(&self) -> RwLockReadGuard<'_, Pages> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn contents_mut(&self) -> RwLockWriteGuard<'_, Pages> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct MemoryFile {
    node: Arc<MemoryNode>,
    writable: bool,
}

impl MemoryFile {
    /// The contents for a change, if the file was opened for that.
    fn contents_mut(&self) -> io::Result<RwLockWriteGuard<'_, Pages>> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        Ok(self.node.contents_mut())
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.node.contents().read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.contents_mut()?.write_at(bytes, offset).map(|_| ())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.node.contents().len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.contents_mut()?.set_len(bytes).map(|_| ())
    }
}

#[derive(Debug)]
struct MemoryGuard {
    node: Arc<MemoryNode>,
}

impl Guard for MemoryGuard {}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.node.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_disk_of_its_own() {
        let disk = MemoryVfs::new();
        let path = Path::new("/file");
        let file = disk.open(path, Open::Create).unwrap();
        file.write_at(b"one", 0).unwrap();
        let image = disk.image();
        file.write_at(b"two", 0).unwrap();
        disk.create_dir(Path::new("/later")).unwrap();

        let mut found = [0; 3];
        image.open(path, Open::Read).unwrap().read_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"one");
        assert_eq!(image.entry(Path::new("/later")).unwrap(), None);
    }

    #[test]
    fn an_image_is_not_locked() {
        let disk = MemoryVfs::new();
        let _held = disk.lock(Path::new("/LOCK")).unwrap();
        assert!(matches!(disk.image().lock(Path::new("/LOCK")).unwrap(), Lock::Held(_)));
    }
}
