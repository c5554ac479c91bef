//! Asks the system to begin writing out a part of a file: a hint, for which only Linux has a call.
//!
//! 1. Without the call nothing is begun, and the sync that follows writes everything.

#[cfg(all(target_os = "linux", not(olivine_portable)))]
mod linux;

#[cfg(all(target_os = "linux", not(olivine_portable)))]
pub(super) use linux::start;

/// Begins nothing.
#[cfg(not(all(target_os = "linux", not(olivine_portable))))]
#[expect(clippy::unnecessary_wraps, reason = "as where there is such a call")]
pub(super) fn start(_: &std::os::fd::OwnedFd, _offset: u64, _bytes: u64) -> std::io::Result<()> {
    Ok(())
}
