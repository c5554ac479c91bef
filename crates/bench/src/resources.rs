//! What a process used: processor time, memory, bytes written, disk space.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// What this process had used at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    cpu: Duration,
    written_bytes: u64,
}

impl Usage {
    /// Reads the counters, and starts the peak of memory anew.
    pub(crate) fn start() -> Usage {
        // Where the kernel does not allow it, the peak is that of the whole process.
        drop(fs::write("/proc/self/clear_refs", "5"));
        Usage::now()
    }

    fn now() -> Usage {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Usage {
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            written_bytes: proc_field("/proc/self/io", "write_bytes:").unwrap_or(0),
        }
    }

    /// Processor seconds and bytes written since, and the peak of resident memory.
    pub(crate) fn since(&self) -> Spent {
        let now = Usage::now();
        Spent {
            cpu: now.cpu.saturating_sub(self.cpu),
            written_bytes: now.written_bytes.saturating_sub(self.written_bytes),
            peak_bytes: proc_field("/proc/self/status", "VmHWM:").unwrap_or(0) * 1024,
        }
    }
}

/// What a phase used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    pub(crate) written_bytes: u64,
    pub(crate) peak_bytes: u64,
}

fn proc_field(path: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Disk space taken by everything under `dir`, as the file system counts it.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
