//! A file of lines that makes room for itself: when it is full it gets the name `FILE.1`, what had that
//! name gets `FILE.2`, and so on; the oldest goes.
//!
//! It must survive a full disk, names that cannot be changed, and another process that wants to write to the
//! same file.
//!
//! 1. Every line stands whole in one file, and in the order of writing from the oldest file to the newest.
//! 2. A new file is there before the old one loses its name: what fails on the way loses no line, the old file
//!    grows meanwhile, and it is tried again.
//! 3. No file is longer than `bytes_max`, but by one line that is longer itself, or where (2) made it so.
//! 4. Files are made for their owner only. One process writes: who has it is written in `FILE.lock`.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{File, Guard, Lock, Open, Vfs};

use super::{LogFileSettings, queue::Sink};
use crate::node::{Problem, make_dirs};

/// How much a file grows that cannot be replaced before that is tried again.
const RETRY_BYTES: u64 = 64 << 10;

pub(super) struct LogFile {
    vfs: Arc<dyn Vfs>,
    settings: LogFileSettings,
    file: Arc<dyn File>,
    /// How long it is.
    bytes: u64,
    /// How long it gets before another is begun.
    bytes_max: u64,
    _lock: Box<dyn Guard>,
}

/// A name beside that of the file.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

impl LogFile {
    pub(super) fn open(vfs: Arc<dyn Vfs>, settings: &LogFileSettings) -> Result<LogFile, Problem> {
        let path = &settings.path;
        let failed = |source| {
            let what = format!("cannot write events to {}; see --log-file", path.display());
            Problem::System { what, source }
        };
        if path.file_name().is_none() {
            let what = format!("`--log-file` wants a file, not `{}`", path.display());
            return Err(Problem::Settings(what));
        }
        if let Some(dir) = path.parent() {
            make_dirs(&*vfs, dir, "--log-file")?;
        }
        let lock = match vfs.lock(&beside(path, ".lock")).map_err(failed)? {
            Lock::Held(lock) => lock,
            Lock::Busy { holder } => {
                let path = path.display();
                return Err(Problem::Settings(format!(
                    "process {holder} writes its events to {path}; --log-file names another file"
                )));
            }
        };
        let file = match vfs.open(path, Open::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vfs.open(path, Open::Create),
            opened => opened,
        };
        let file = file.map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let bytes_max = settings.bytes_max;
        let mut log =
            LogFile { vfs, settings: settings.clone(), file, bytes, bytes_max, _lock: lock };
        log.end_last_line().map_err(failed)?;
        Ok(log)
    }

    /// A line that a killed process or machine left unfinished is ended, or the next would belong to it.
    fn end_last_line(&mut self) -> io::Result<()> {
        let mut last = [b'\n'];
        if let Some(before) = self.bytes.checked_sub(1) {
            self.file.read_at(&mut last, before)?;
        }
        if last != *b"\n" {
            self.append(b"\n")?;
        }
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_at(lines, self.bytes) {
            // What arrived of it is no line; if it stays, the next lines are written over it.
            self.file.set_len(self.bytes).ok();
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Begins another file.
    fn replace(&mut self) -> io::Result<()> {
        let path = &self.settings.path;
        let draft = beside(path, ".new");
        match self.vfs.remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.vfs.open(&draft, Open::Create)?;
        // The one with the highest number is replaced, and so is the current one if there is to be no other.
        for number in (1..self.settings.files_max).rev() {
            let from = match number {
                1 => path.clone(),
                number => beside(path, &format!(".{}", number - 1)),
            };
            match self.vfs.rename(&from, &beside(path, &format!(".{number}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.vfs.rename(&draft, path)?;
        (self.file, self.bytes, self.bytes_max) = (file, 0, self.settings.bytes_max);
        Ok(())
    }
}

/// How many of the bytes are whole lines that fit into so many; at least one line.
fn fitting(lines: &[u8], room: u64) -> Option<usize> {
    let within = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
    lines[..within].iter().rposition(|byte| *byte == b'\n').map(|last| last + 1)
}

impl Sink for LogFile {
    fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let mut fits = fitting(lines, self.bytes_max.saturating_sub(self.bytes));
            if fits.is_none() && 0 < self.bytes {
                if self.replace().is_err() {
                    self.bytes_max = self.bytes + RETRY_BYTES;
                }
                fits = fitting(lines, self.bytes_max.saturating_sub(self.bytes));
            }
            // A line that fits nowhere has a file of its own.
            let first_line = || lines.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let (now, rest) = lines.split_at(fits.or_else(first_line).unwrap_or(lines.len()));
            self.append(now)?;
            lines = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::{FailingVfs, Fault, Kind, MemoryVfs};
    use std::fmt::Write as _;

    fn settings(bytes_max: u64, files_max: u32) -> LogFileSettings {
        LogFileSettings { path: "/logs/node.log".into(), bytes_max, files_max }
    }

    fn contents(vfs: &dyn Vfs, path: &str) -> Option<String> {
        let file = vfs.open(Path::new(path), Open::Read).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    }

    /// All lines, from the oldest file to the newest.
    fn all(vfs: &dyn Vfs, files_max: u32) -> String {
        let older = (1..files_max).rev().map(|number| format!("/logs/node.log.{number}"));
        let paths = older.chain(["/logs/node.log".to_owned()]);
        paths.filter_map(|path| contents(vfs, &path)).collect()
    }

    #[test]
    fn lines_go_from_file_to_file_and_none_is_lost() {
        let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
        let (settings, mut written) = (settings(100, 1_000), String::new());
        let mut random = olivine_vfs::Random::new(1);
        for opening in 0..4 {
            let mut log = LogFile::open(Arc::clone(&vfs), &settings).unwrap();
            for part in 0..50 {
                let mut lines = String::new();
                for line in 0..random.below(8) {
                    let dots = ".".repeat(random.below(60) as usize);
                    writeln!(lines, "{opening} {part} {line} {dots}").unwrap();
                }
                log.write(lines.as_bytes()).unwrap();
                written.push_str(&lines);
            }
        }
        assert_eq!(all(&*vfs, 1_000), written);
        let entries = vfs.list(Path::new("/logs")).unwrap();
        assert!(20 < entries.len(), "{entries:?}");
        assert!(entries.iter().all(|entry| entry.bytes <= 100), "{entries:?}");
    }

    #[test]
    fn the_oldest_file_goes() {
        let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
        let mut log = LogFile::open(Arc::clone(&vfs), &settings(10, 3)).unwrap();
        for number in 0..6 {
            log.write(format!("line {number}..\n").as_bytes()).unwrap();
        }
        log.write(b"longer than a file may be\nlast\n").unwrap();
        assert_eq!(contents(&*vfs, "/logs/node.log").unwrap(), "last\n");
        assert_eq!(contents(&*vfs, "/logs/node.log.1").unwrap(), "longer than a file may be\n");
        assert_eq!(contents(&*vfs, "/logs/node.log.2").unwrap(), "line 5..\n");
        assert_eq!(contents(&*vfs, "/logs/node.log.3"), None);
    }

    #[test]
    fn a_file_alone_is_begun_anew() {
        let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
        let mut log = LogFile::open(Arc::clone(&vfs), &settings(10, 1)).unwrap();
        log.write(b"one two\nthree four\nfive\n").unwrap();
        assert_eq!(all(&*vfs, 10), "five\n");
    }

    /// Whichever call fails, no line is lost or written twice, but for the one whose writer is told.
    #[test]
    fn a_call_that_fails_costs_no_line() {
        let mut failed = 0;
        for (kind, index) in Kind::ALL.into_iter().flat_map(|kind| (0..40).map(move |i| (kind, i)))
        {
            let disk = Arc::new(FailingVfs::new(Arc::new(MemoryVfs::new())));
            disk.fail(kind, index, Fault::ShortWrite { kept: 5 });
            let Ok(mut log) = LogFile::open(Arc::clone(&disk) as _, &settings(64, 1_000)) else {
                continue;
            };
            let mut written = String::new();
            for number in 0..80 {
                let line = format!("a line with the number {number}\n");
                if log.write(line.as_bytes()).is_ok() {
                    written.push_str(&line);
                }
            }
            failed += disk.failed();
            assert!(78 < written.lines().count(), "{kind:?} {index}");
            disk.clear();
            assert_eq!(all(&*disk, 1_000), written, "{kind:?} {index}");
        }
        assert!(120 < failed, "{failed}");
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended() {
        let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
        vfs.create_dir(Path::new("/logs")).unwrap();
        let file = vfs.open(Path::new("/logs/node.log"), Open::Create).unwrap();
        file.write_at(b"whole\nhal", 0).unwrap();
        let mut log = LogFile::open(Arc::clone(&vfs), &settings(100, 2)).unwrap();
        log.write(b"next\n").unwrap();
        assert_eq!(all(&*vfs, 2), "whole\nhal\nnext\n");
    }

    #[test]
    fn a_file_has_one_process_that_writes_it() {
        let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::new());
        let log = LogFile::open(Arc::clone(&vfs), &settings(100, 2)).unwrap();
        let second = LogFile::open(Arc::clone(&vfs), &settings(100, 2)).err().unwrap();
        assert!(second.to_string().contains("--log-file names another file"), "{second}");
        drop(log);
        assert!(LogFile::open(vfs, &settings(100, 2)).is_ok());
    }
}
