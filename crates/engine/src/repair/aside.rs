//! The folder that a repair moves files into which are not used any more.
//!
//! It must survive a power cut at any call: a marker in the folder names the manifest that is to come.
//! As long as `CURRENT` names an earlier one, the files belong where they were.
//!
//! 1. The marker is durable before the first file moves, and goes after CURRENT was replaced.
//! 2. No file is removed or overwritten.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{EntryKind, Open, Vfs};

use crate::{
    check::ASIDE,
    error::{Error, Result},
    manifest::{read_current, remove_if_there},
};

/// The file that says that the repair has not ended.
const MARKER: &str = "unfinished";

/// A folder for files that are not used any more.
pub(super) struct Aside {
    vfs: Arc<dyn Vfs>,
    store: PathBuf,
    dir: PathBuf,
}

impl Aside {
    /// The folder of a repair that begins at `seconds`; it is not made yet.
    pub(super) fn planned(vfs: &Arc<dyn Vfs>, store: &Path, seconds: u64) -> Result<Aside> {
        let mut dir = store.join(format!("{ASIDE}{seconds}"));
        let mut nth = 1;
        while vfs.entry(&dir).map_err(Error::io("look at", &dir))?.is_some() {
            nth += 1;
            dir = store.join(format!("{ASIDE}{seconds}-{nth}"));
        }
        Ok(Aside { vfs: Arc::clone(vfs), store: store.to_path_buf(), dir })
    }

    /// The folder of a repair that was cut short before it counted. One that counts loses its marker.
    pub(super) fn unfinished(vfs: &Arc<dyn Vfs>, store: &Path) -> Result<Option<Aside>> {
        for entry in vfs.list(store).map_err(Error::io("list", store))? {
            let dir = store.join(&entry.name);
            let marker = dir.join(MARKER);
            let ours = entry.name.to_string_lossy().starts_with(ASIDE);
            if !ours || entry.kind != EntryKind::Dir {
                continue;
            }
            if vfs.entry(&marker).map_err(Error::io("look at", &marker))?.is_none() {
                continue;
            }
            let next = read_number(vfs.as_ref(), &marker)?;
            let counts = read_current(vfs.as_ref(), store)
                .is_ok_and(|current| next.is_some_and(|next| next <= current.manifest));
            if !counts {
                return Ok(Some(Aside { vfs: Arc::clone(vfs), store: store.to_path_buf(), dir }));
            }
        }
        Ok(None)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves files here; the repair counts when `CURRENT` names manifest `number`.
    pub(super) fn take(&self, names: &BTreeSet<String>, number: u64) -> Result<()> {
        self.vfs.create_dir(&self.dir).map_err(Error::io("create directory", &self.dir))?;
        let marker = self.dir.join(MARKER);
        let file = self.vfs.open(&marker, Open::Create).map_err(Error::io("create", &marker))?;
        let text = format!("{number}\n");
        file.write_at(text.as_bytes(), 0).map_err(Error::io("write", &marker))?;
        file.sync().map_err(Error::io("sync", &marker))?;
        self.sync()?;
        for name in names {
            self.rename(&self.store.join(name), &self.dir.join(name))?;
        }
        self.sync()
    }

    /// Ends the repair: the files stay here.
    pub(super) fn finish(&self) -> Result<()> {
        remove_if_there(self.vfs.as_ref(), &self.dir.join(MARKER))?;
        self.sync()
    }

    /// Moves everything back to where it was.
    pub(super) fn put_back(&self) -> Result<()> {
        for entry in self.vfs.list(&self.dir).map_err(Error::io("list", &self.dir))? {
            if entry.name != MARKER {
                self.rename(&self.dir.join(&entry.name), &self.store.join(&entry.name))?;
            }
        }
        self.sync()?;
        remove_if_there(self.vfs.as_ref(), &self.dir.join(MARKER))?;
        self.vfs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.vfs.remove_dir(&self.dir).map_err(Error::io("remove", &self.dir))
    }

    fn rename(&self, source: &Path, target: &Path) -> Result<()> {
        self.vfs.rename(source, target).map_err(Error::io("move", source))
    }

    fn sync(&self) -> Result<()> {
        for dir in [&self.dir, &self.store] {
            self.vfs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
        Ok(())
    }
}

/// The number that a marker holds, if it was written whole.
fn read_number(vfs: &dyn Vfs, path: &Path) -> Result<Option<u64>> {
    let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
    let mut bytes = [0; 32];
    let read = file.read_at(&mut bytes, 0).map_err(Error::io("read", path))?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    Ok(text.strip_suffix('\n').and_then(|number| number.parse().ok()))
}
