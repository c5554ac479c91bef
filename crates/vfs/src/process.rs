//! What the system grants a process: how eagerly a thread runs, how many files may be open, how its
//! memory is handed out, what it uses, who asks it to end, and the clock that it
//! shares with other processes.

mod malloc;
mod signals;
mod used;

use std::time::Duration;

use std::{io, path::Path};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use crate::{Open, RealVfs, Vfs as _};

pub use malloc::limit_malloc_arenas;
pub use signals::{Input, Interrupt, Interrupts};
pub use used::{ProcessUse, process_use};

/// Lets other threads of the machine run before the calling one wherever both want to. A wish: where
/// the system refuses it, or knows priorities of processes only, nothing changes.
pub fn yield_to_foreground() {
    /// Ten steps nicer: about a tenth of the share of a thread that wants to run as well.
    const BACKGROUND_NICE: i32 = 10;
    be_nice(BACKGROUND_NICE);
}

/// The same for work that somebody waits for, while others wait for less: about half of their share.
pub fn yield_to_smaller() {
    const LARGE_NICE: i32 = 3;
    be_nice(LARGE_NICE);
}

#[cfg(all(target_os = "linux", not(olivine_portable)))]
fn be_nice(steps: i32) {
    let thread = rustix::thread::gettid();
    rustix::process::setpriority_process(Some(thread), steps).ok();
}

#[cfg(not(all(target_os = "linux", not(olivine_portable))))]
fn be_nice(_: i32) {}

/// What the calling thread has taken of a processor.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Begins a session of its own for this process, so that no terminal's end is its own. Whoever leads one
/// already goes on.
pub fn begin_session() -> io::Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Ends the process of this id there and then.
pub fn kill(process: u32) -> io::Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Bytes of memory that the process of this id has, where the system tells.
pub fn resident_bytes(process: u32) -> Option<u64> {
    /// The file is shorter.
    const TEXT_BYTES_MAX: usize = 8 << 10;
    let path = format!("/proc/{process}/status");
    let file = RealVfs.open(Path::new(&path), Open::Read).ok()?;
    let mut text = vec![0; TEXT_BYTES_MAX];
    let read = file.read_at(&mut text, 0).ok()?;
    let text = String::from_utf8_lossy(&text[..read]);
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// The user that runs the process.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// How many files the process may have open; a number far off where there is no bound.
pub fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20)
}

/// The system's clock that never goes back, as other processes of the machine read it as well.
pub fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
