//! Files that the output of other processes goes to.
//!
//! 1. What is written goes behind what is there, whoever else writes.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::open_regular;

/// Opens a file, made if need be, to be the output of a process: whatever is written is appended.
pub fn open_output(path: &Path) -> io::Result<OwnedFd> {
    let descriptor = open_regular(path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?;
    // Who gets it expects an output that may be waited for.
    fcntl_setfl(&descriptor, fcntl_getfl(&descriptor)? - OFlags::NONBLOCK)?;
    Ok(descriptor)
}
