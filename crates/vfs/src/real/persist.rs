//! What makes bytes and names last through a power cut, on each system.
//!
//! 1. After `contents` every byte of the file and its length last, whatever the disk keeps in its own
//!    memory; after `dir` every name in it does.
//! 2. On Apple's systems `fsync` stops at the disk's memory, so the disk is asked to empty that, too. Where
//!    it cannot be asked, that is an error, and not taken for done.

use std::os::fd::OwnedFd;

use rustix::io::Result;

/// Linux: the length is among what `fdatasync` makes last, times of access and change are not.
#[cfg(all(target_os = "linux", not(olivine_portable)))]
pub(super) fn contents(descriptor: &OwnedFd) -> Result<()> {
    rustix::fs::fdatasync(descriptor)
}

#[cfg(not(all(target_os = "linux", not(olivine_portable))))]
pub(super) fn contents(descriptor: &OwnedFd) -> Result<()> {
    whole(descriptor)
}

pub(super) fn dir(descriptor: &OwnedFd) -> Result<()> {
    whole(descriptor)
}

#[cfg(target_vendor = "apple")]
fn whole(descriptor: &OwnedFd) -> Result<()> {
    rustix::fs::fcntl_fullfsync(descriptor)
}

#[cfg(not(target_vendor = "apple"))]
fn whole(descriptor: &OwnedFd) -> Result<()> {
    rustix::fs::fsync(descriptor)
}
