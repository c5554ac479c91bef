//! A disk that keeps a text log of its calls, to be compared with golden files.
//!
//! One line a call, in the order in which they were answered, paths relative to a root:
//!
//! ```text
//! create log-000001
//! write log-000001 at 4096 len 128
//! sync log-000001
//! rename manifest.new -> manifest
//! sync-dir .
//! remove log-000000 = No such file or directory (os error 2)
//! close log-000001
//! ```
//!
//! 1. Every call that opens, changes or syncs is there; those that only read are there if asked for.
//! 2. A refused call says why after `=`.

use std::{
    fmt::Write,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Call, Kind, Open, Vfs,
    layer::{Around, Layer},
};

/// A disk that keeps a text log of its calls.
pub type RecordingVfs = Layer<Recording>;

/// The log of a disk's calls.
#[derive(Debug)]
pub struct Recording {
    root: PathBuf,
    reads: bool,
    log: Mutex<String>,
}

impl RecordingVfs {
    /// Records all but reads; paths below `root` are written without it.
    pub fn new(inner: Arc<dyn Vfs>, root: impl Into<PathBuf>) -> RecordingVfs {
        RecordingVfs::recording(inner, root.into(), false)
    }

    /// Records reads, lengths, entries and listings as well.
    pub fn with_reads(inner: Arc<dyn Vfs>, root: impl Into<PathBuf>) -> RecordingVfs {
        RecordingVfs::recording(inner, root.into(), true)
    }

    /// The log since the beginning or since it was last taken.
    pub fn take(&self) -> String {
        mem::take(&mut *self.around.log())
    }

    /// Puts a line of the test's own between the calls.
    pub fn note(&self, text: &str) {
        self.around.line(format_args!("# {text}"));
    }

    fn recording(inner: Arc<dyn Vfs>, root: PathBuf, reads: bool) -> RecordingVfs {
        Layer::wrap(inner, Recording { root, reads, log: Mutex::default() })
    }
}

impl Recording {
    fn log(&self) -> MutexGuard<'_, String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.log(), "{line}").ok();
    }

    fn name(&self, path: &Path) -> String {
        let name = path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        if name.is_empty() { ".".to_owned() } else { name }
    }

    /// The line of a call, or `None` when it is not to be recorded.
    fn line_of(&self, call: &Call<'_>) -> Option<String> {
        let name = self.name(call.path);
        let Call { offset, bytes, .. } = call;
        Some(match call.kind {
            Kind::Open if call.how == Some(Open::Read) => format!("open {name} to read"),
            Kind::Open => format!("open {name} to write"),
            Kind::Create => format!("create {name}"),
            Kind::Write => format!("write {name} at {offset} len {bytes}"),
            Kind::Sync => format!("sync {name}"),
            Kind::WriteBack => format!("write-back {name} at {offset} len {bytes}"),
            Kind::SetLen => format!("set-len {name} to {bytes}"),
            Kind::CreateDir => format!("create-dir {name}"),
            Kind::Rename => {
                format!("rename {name} -> {}", self.name(call.target.unwrap_or(call.path)))
            }
            Kind::HardLink => {
                format!("link {name} -> {}", self.name(call.target.unwrap_or(call.path)))
            }
            Kind::RemoveFile => format!("remove {name}"),
            Kind::RemoveDir => format!("remove-dir {name}"),
            Kind::SyncDir => format!("sync-dir {name}"),
            Kind::Lock => format!("lock {name}"),
            Kind::Read | Kind::Len | Kind::Entry | Kind::List if !self.reads => return None,
            Kind::Read => format!("read {name} at {offset} len {bytes}"),
            Kind::Len => format!("len {name}"),
            Kind::Entry => format!("entry {name}"),
            Kind::List => format!("list {name}"),
        })
    }
}

impl Around for Recording {
    fn after(&self, call: &Call<'_>, error: Option<&io::Error>) {
        match (self.line_of(call), error) {
            (None, _) => {}
            (Some(line), None) => self.line(format_args!("{line}")),
            (Some(line), Some(error)) => self.line(format_args!("{line} = {error}")),
        }
    }

    fn closed(&self, path: &Path) {
        self.line(format_args!("close {}", self.name(path)));
    }

    fn unlocked(&self, path: &Path) {
        self.line(format_args!("unlock {}", self.name(path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryVfs;

    fn run(disk: &RecordingVfs) {
        let dir = Path::new("/store");
        disk.create_dir(dir).unwrap();
        let lock = disk.lock(&dir.join("LOCK")).unwrap();
        let file = disk.open(&dir.join("new"), Open::Create).unwrap();
        file.write_at(b"text", 4096).unwrap();
        file.start_write_back(0, 4100).unwrap();
        file.set_len(8192).unwrap();
        file.sync().unwrap();
        drop(file);
        disk.note("published");
        disk.rename(&dir.join("new"), &dir.join("file")).unwrap();
        disk.sync_dir(dir).unwrap();
        disk.hard_link(&dir.join("file"), &dir.join("second")).unwrap();
        let file = disk.open(&dir.join("file"), Open::Read).unwrap();
        file.read_at(&mut [0; 10], 0).unwrap();
        file.len().unwrap();
        disk.entry(&dir.join("file")).unwrap();
        disk.list(dir).unwrap();
        drop(file);
        disk.remove_file(&dir.join("file")).unwrap();
        disk.remove_file(&dir.join("file")).unwrap_err();
        drop(lock);
    }

    #[test]
    fn what_happened_is_written_in_order() {
        let disk = RecordingVfs::new(Arc::new(MemoryVfs::new()), "/store");
        run(&disk);
        let expected = "\
create-dir .
lock LOCK
create new
write new at 4096 len 4
write-back new at 0 len 4100
set-len new to 8192
sync new
close new
# published
rename new -> file
sync-dir .
link file -> second
open file to read
close file
remove file
remove file = No such file or directory (os error 2)
unlock LOCK
";
        assert_eq!(disk.take(), expected);
        assert_eq!(disk.take(), "");
    }

    #[test]
    fn reads_are_written_when_asked_for() {
        let disk = RecordingVfs::with_reads(Arc::new(MemoryVfs::new()), "/store");
        run(&disk);
        let log = disk.take();
        let reads = "\
open file to read
read file at 0 len 10
len file
entry file
list .
close file
";
        assert!(log.contains(reads), "{log}");
    }

    #[test]
    fn a_path_outside_the_root_is_written_whole() {
        let disk = RecordingVfs::new(Arc::new(MemoryVfs::new()), "/store");
        disk.create_dir(Path::new("/elsewhere")).unwrap();
        assert_eq!(disk.take(), "create-dir /elsewhere\n");
    }
}
