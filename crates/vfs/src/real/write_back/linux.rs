//! Asks the kernel to begin writing out a part of a file, which rustix has no call for.
//!
//! Its `unsafe` is sound because (a) the signature is that of the C library, which std links on every
//! Linux, and (b) the call takes numbers only and touches no memory of ours.

#![expect(unsafe_code, reason = "rustix has no sync_file_range")]

use std::{
    ffi::{c_int, c_uint},
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::io::Errno;

/// Begin writing the dirty pages of the range, wait for none.
const SYNC_FILE_RANGE_WRITE: c_uint = 2;

unsafe extern "C" {
    fn sync_file_range(descriptor: c_int, offset: i64, bytes: i64, flags: c_uint) -> c_int;
}

/// Begins writing out `bytes` from `offset`. A range that no file can have begins nothing.
pub(in crate::real) fn start(descriptor: &OwnedFd, offset: u64, bytes: u64) -> io::Result<()> {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else {
        return Ok(());
    };
    if bytes == 0 || offset.checked_add(bytes).is_none() {
        // To the kernel 0 bytes mean everything up to the end.
        return Ok(());
    }
    // SAFETY: by (a) and (b); the descriptor is open while it is borrowed.
    let answer =
        unsafe { sync_file_range(descriptor.as_raw_fd(), offset, bytes, SYNC_FILE_RANGE_WRITE) };
    if answer == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // A kernel without the call loses a hint, nothing more.
    if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) { Ok(()) } else { Err(error) }
}
