//! What a process used: processor time, memory, bytes written, disk space; and what others used of
//! the processors meanwhile, because that decides whether a figure can be believed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// What this process had used at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    machine_cpu: Duration,
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
            at: Instant::now(),
            machine_cpu: machine_cpu(),
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            written_bytes: proc_field("/proc/self/io", "write_bytes:").unwrap_or(0),
        }
    }

    /// Processor seconds and bytes written since, and the peak of resident memory.
    pub(crate) fn since(&self) -> Spent {
        let now = Usage::now();
        let cpu = now.cpu.saturating_sub(self.cpu);
        let others = now.machine_cpu.saturating_sub(self.machine_cpu).saturating_sub(cpu);
        let elapsed = (now.at - self.at).as_secs_f64().max(0.001);
        Spent {
            cpu,
            others_cores: others.as_secs_f64() / elapsed,
            written_bytes: now.written_bytes.saturating_sub(self.written_bytes),
            peak_bytes: proc_field("/proc/self/status", "VmHWM:").unwrap_or(0) * 1024,
        }
    }
}

/// What a phase used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    /// Processors that other processes and the kernel's own threads held, on average.
    pub(crate) others_cores: f64,
    pub(crate) written_bytes: u64,
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
