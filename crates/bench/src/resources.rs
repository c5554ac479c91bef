//! What a process used: processor time, memory, bytes written, disk space; and what others used of
//! the processors meanwhile, because that decides whether a figure can be believed.
//!
//! Bytes written are those that reached the device, counted between two moments at which nothing was
//! left to be written: `write_bytes` of the process counts a whole large folio for a small overwrite.
//! So they include what others wrote to the same device. A log that is deleted or overwritten before
//! the kernel wrote it back does not count; `handed_bytes` counts it, and nothing of a memory map.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fs::{major, minor, syncfs},
    time::{ClockId, clock_gettime},
};

/// What this process had used at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    machine_cpu: Duration,
    /// What the device that was asked about had been written.
    written_bytes: Option<u64>,
    handed_bytes: Option<u64>,
}

impl Usage {
    /// Reads the counters, and starts the peak of memory anew.
    pub(crate) fn start() -> Usage {
        // Where the kernel does not allow it, the peak is that of the whole process.
        drop(fs::write("/proc/self/clear_refs", "5"));
        Usage::now(None)
    }

    /// The same for a phase that writes to `dir`.
    pub(crate) fn start_writing(dir: &Path) -> Usage {
        drop(fs::write("/proc/self/clear_refs", "5"));
        let written = written_bytes(dir);
        Usage::now(written)
    }

    fn now(written_bytes: Option<u64>) -> Usage {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Usage {
            at: Instant::now(),
            machine_cpu: machine_cpu(),
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            written_bytes,
            handed_bytes: proc_field("/proc/self/io", "wchar:"),
        }
    }

    /// Processor seconds since, and the peak of resident memory.
    pub(crate) fn since(&self) -> Spent {
        let now = Usage::now(None);
        let cpu = now.cpu.saturating_sub(self.cpu);
        let others = now.machine_cpu.saturating_sub(self.machine_cpu).saturating_sub(cpu);
        let elapsed = (now.at - self.at).as_secs_f64().max(0.001);
        Spent {
            cpu,
            others_cores: others.as_secs_f64() / elapsed,
            written_bytes: None,
            handed_bytes: now.handed_bytes.zip(self.handed_bytes).map(|(now, then)| now - then),
            peak_bytes: proc_field("/proc/self/status", "VmHWM:").unwrap_or(0) * 1024,
        }
    }

    /// The same with the bytes written to `dir`, which `start_writing` began to count.
    pub(crate) fn since_writing(&self, dir: &Path) -> Spent {
        let spent = self.since();
        let written = written_bytes(dir).zip(self.written_bytes);
        Spent { written_bytes: written.map(|(now, then)| now.saturating_sub(then)), ..spent }
    }
}

/// What a phase used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    /// Processors that other processes and the kernel's own threads held, on average.
    pub(crate) others_cores: f64,
    pub(crate) written_bytes: Option<u64>,
    /// Bytes of this process's calls that write, whether or not they ever reached the device.
    pub(crate) handed_bytes: Option<u64>,
    pub(crate) peak_bytes: u64,
}

/// Time that all processors together were not idle, in steps of 10 ms.
fn machine_cpu() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).enumerate();
    // Fields 3 and 4 are idle time; 8 and 9 are guests, which stand in 0 and 1 too.
    let busy = ticks.filter(|(field, _)| ![3, 4, 8, 9].contains(field));
    let ticks: u64 = busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn proc_field(path: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes that the device of `dir` was ever written, after everything that waits has been; `None`
/// where the kernel does not tell.
fn written_bytes(dir: &Path) -> Option<u64> {
    let file = fs::File::open(dir).ok()?;
    syncfs(&file).ok()?;
    let device = file.metadata().ok()?.dev();
    let (major, minor) = (major(device).to_string(), minor(device).to_string());
    let text = fs::read_to_string("/proc/diskstats").ok()?;
    let sectors = text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let found = fields.next()? == major && fields.next()? == minor;
        if found { fields.nth(7)?.parse::<u64>().ok() } else { None }
    })?;
    Some(sectors * 512)
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
