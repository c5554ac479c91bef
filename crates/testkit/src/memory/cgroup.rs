//! A memory cgroup for one process, of whichever version this machine has.
//!
//! 1. It is removed when this is dropped, unless somebody still lives in it.

use super::kernel_text;
use olivine_vfs::{Open, RealVfs, Vfs};
use std::path::{Path, PathBuf};

/// A cgroup with a limit.
#[derive(Debug)]
pub(super) struct Cgroup {
    dir: PathBuf,
    /// Which version.
    pub(super) kind: &'static str,
}

impl Cgroup {
    /// Makes one, or says why it cannot be made.
    pub(super) fn with_limit(bytes: u64) -> Result<Cgroup, String> {
        let mine = kernel_text(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let place = |controllers: &str| {
            let of = |line: &&str| line.split(':').nth(1) == Some(controllers);
            let line = mine.lines().find(of)?;
            Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_owned())
        };
        let mut why = "this machine has no memory cgroups".to_owned();
        let tries = [
            ("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "cgroup v1"),
            ("", "/sys/fs/cgroup", "memory.max", "cgroup v2"),
        ];
        for (controllers, root, file, kind) in tries {
            let Some(place) = place(controllers) else { continue };
            for parent in [Path::new(root).join(&place), PathBuf::from(root)] {
                let dir = parent.join(format!("olivine-memory-{}", std::process::id()));
                if let Err(error) = RealVfs.create_dir(&dir) {
                    why = format!("cannot make {}: {error}", dir.display());
                    continue;
                }
                let cgroup = Cgroup { dir, kind };
                match cgroup.set(file, bytes) {
                    Ok(()) => return Ok(cgroup),
                    Err(error) => why = error,
                }
            }
        }
        Err(why)
    }

    /// Puts a process in.
    pub(super) fn enter(&self, process: u32) -> Result<(), String> {
        self.set("cgroup.procs", process.into())
    }

    fn set(&self, file: &str, value: u64) -> Result<(), String> {
        let path = self.dir.join(file);
        RealVfs
            .open(&path, Open::Write)
            .and_then(|file| file.write_at(value.to_string().as_bytes(), 0))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        RealVfs.remove_dir(&self.dir).ok();
    }
}
