//! A segment read frame by frame, sound or not: for repair and inspection.
//!
//! 1. Every frame that verifies is visited once, in order, with where it stands: no frame verifies in
//!    a place it was not written for, whatever lies around it.
//! 2. What does not verify is told once for each stretch of it, and passed over.
//! 3. Memory is one window, and the longest frame.

use std::path::Path;

use olivine_vfs::Vfs;

use super::{
    frame::{ALIGN, Frame, FrameError, Place},
    reader::SegmentReader,
    segment::{HEADER_BYTES, Head, Header},
};
use crate::error::Result;

/// What stands at a place of a segment.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A frame that verified, and its payload.
    Frame(Frame, &'a [u8]),
    /// Bytes up to here are no frame, for this reason.
    Damage(u64, &'static str),
    /// Zeros up to here: room that was never used.
    Unused(u64),
}

/// What stands where the header of segment `number` belongs; `store` is believed to be the store's
/// number, where that is known.
pub(crate) fn head(vfs: &dyn Vfs, path: &Path, store: Option<u64>, number: u64) -> Result<Head> {
    Header::read_at(vfs, path, store, number)
}

/// Visits what stands in a segment, behind its header. Returns the length of the file.
pub(crate) fn walk(
    vfs: &dyn Vfs,
    path: &Path,
    store: u64,
    number: u64,
    visit: &mut dyn FnMut(u64, Found<'_>) -> Result<()>,
) -> Result<u64> {
    let mut reader = SegmentReader::open_at(vfs, path, Place { store, file: number })?;
    let bytes = reader.file_bytes();
    let mut at = u64::from(HEADER_BYTES);
    while at < bytes {
        let why = match reader.frame(at, bytes)? {
            Ok(read) => {
                let frame = read.frame;
                visit(at, Found::Frame(frame, read.payload))?;
                at += frame.bytes();
                continue;
            }
            Err(why) => why,
        };
        let next = next_frame(&mut reader, at, bytes)?;
        if why == FrameError::Blank && next == bytes && reader.is_blank(at)? {
            visit(at, Found::Unused(bytes))?;
        } else {
            visit(at, Found::Damage(next, why.what()))?;
        }
        at = next;
    }
    Ok(bytes)
}

/// Where the next frame behind `at` begins that verifies whole, or the end of the file.
fn next_frame(reader: &mut SegmentReader, at: u64, bytes: u64) -> Result<u64> {
    let mut from = (at + 1).next_multiple_of(u64::from(ALIGN));
    loop {
        let Some(next) = reader.next_header(from)? else { return Ok(bytes) };
        if reader.frame(next, bytes)?.is_ok() {
            return Ok(next);
        }
        from = next + u64::from(ALIGN);
    }
}
