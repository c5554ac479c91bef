//! A directory that is there whole under its name, or not at all.
//!
//! It is filled under another name beside its own, `NAME.draft`, and renamed when all in it is durable.
//!
//! 1. A target that holds anything is refused and left as it is.
//! 2. Two never fill the same draft: its lock is held.
//! 3. A draft that was given up is removed; one that a crash left is removed by the next one.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{EntryKind, Guard, Lock, Vfs};

use crate::{
    error::{Error, Result},
    recovery::LOCK,
};

/// A directory being filled.
#[derive(Debug)]
pub(super) struct Draft {
    vfs: Arc<dyn Vfs>,
    target: PathBuf,
    /// Where it is now.
    dir: PathBuf,
    guard: Option<Box<dyn Guard>>,
    kept: bool,
}

impl Draft {
    /// An empty directory that is going to be `target`.
    pub(super) fn begin(vfs: &Arc<dyn Vfs>, target: &Path) -> Result<Draft> {
        check_free(vfs.as_ref(), target)?;
        let Some(name) = target.file_name() else {
            let what = format!("{} has no name of its own; name a new directory", target.display());
            return Err(Error::Invalid { field: "path", what });
        };
        let mut name = name.to_os_string();
        name.push(".draft");
        let dir = target.with_file_name(name);
        let found = vfs.entry(&dir).map_err(Error::io("look at", &dir))?;
        if found.is_none() {
            vfs.create_dir(&dir).map_err(Error::io("create directory", &dir))?;
        }
        let fresh = found.is_none();
        let lock = dir.join(LOCK);
        let taken = if fresh || is_ours(vfs.as_ref(), &dir)? {
            vfs.lock(&lock).map_err(Error::io("lock", &lock))
        } else {
            let what = "it is not a copy that was left unfinished; move it away".into();
            return Err(Error::Unusable { path: dir, what });
        };
        let guard = match taken {
            Ok(Lock::Held(guard)) => guard,
            Ok(Lock::Busy { holder }) => return Err(Error::Locked { path: lock, holder }),
            Err(error) => {
                if fresh {
                    remove_whole(vfs.as_ref(), &dir).ok();
                }
                return Err(error);
            }
        };
        let target = target.to_path_buf();
        let draft = Draft { vfs: Arc::clone(vfs), target, dir, guard: Some(guard), kept: false };
        if !fresh {
            remove_files(draft.vfs.as_ref(), &draft.dir, |name| name != OsStr::new(LOCK))?;
        }
        // Before anything else gets a name in there: without the lock a crash would leave what nobody
        // knows as ours.
        draft.vfs.sync_dir(&draft.dir).map_err(Error::io("sync", &draft.dir))?;
        Ok(draft)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives the directory its name. Everything in it is durable.
    pub(super) fn finish(mut self) -> Result<()> {
        check_free(self.vfs.as_ref(), &self.target)?;
        let vfs = Arc::clone(&self.vfs);
        vfs.rename(&self.dir, &self.target).map_err(Error::io("rename", &self.dir))?;
        self.dir.clone_from(&self.target);
        sync_parent(vfs.as_ref(), &self.target)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed by the next one.
            remove_whole(self.vfs.as_ref(), &self.dir).ok();
        }
        drop(self.guard.take());
    }
}

/// Makes the name of `path` durable.
pub(super) fn sync_parent(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    vfs.sync_dir(parent).map_err(Error::io("sync", parent))
}

/// Refuses a target that is there and is not an empty directory.
fn check_free(vfs: &dyn Vfs, target: &Path) -> Result<()> {
    let unusable =
        |what: &str| Err(Error::Unusable { path: target.to_path_buf(), what: what.into() });
    match vfs.entry(target).map_err(Error::io("look at", target))? {
        None => Ok(()),
        Some(entry) if entry.kind == EntryKind::Dir => {
            if vfs.list(target).map_err(Error::io("list", target))?.is_empty() {
                return Ok(());
            }
            unusable("it is not empty; name an empty or new directory")
        }
        Some(_) => unusable("it is not a directory; name an empty or new directory"),
    }
}

/// Whether this may be what an unfinished copy left: nothing, or files beside a lock.
fn is_ours(vfs: &dyn Vfs, dir: &Path) -> Result<bool> {
    let entry = vfs.entry(dir).map_err(Error::io("look at", dir))?;
    if entry.is_none_or(|entry| entry.kind != EntryKind::Dir) {
        return Ok(false);
    }
    let entries = vfs.list(dir).map_err(Error::io("list", dir))?;
    let locked = entries.iter().any(|entry| entry.name == OsStr::new(LOCK));
    Ok(entries.is_empty() || locked && entries.iter().all(|entry| entry.kind == EntryKind::File))
}

fn remove_files(vfs: &dyn Vfs, dir: &Path, which: impl Fn(&OsStr) -> bool) -> Result<()> {
    for entry in vfs.list(dir).map_err(Error::io("list", dir))? {
        if which(&entry.name) {
            let path = dir.join(&entry.name);
            vfs.remove_file(&path).map_err(Error::io("remove", path))?;
        }
    }
    Ok(())
}

/// The lock goes last, so that what a crash leaves is known as ours.
fn remove_whole(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    remove_files(vfs, dir, |name| name != OsStr::new(LOCK))?;
    remove_files(vfs, dir, |_| true)?;
    vfs.remove_dir(dir).map_err(Error::io("remove", dir))
}
