//! A manifest read frame by frame, sound or not: for repair and inspection.
//!
//! 1. Every frame that verifies is visited once, in order, with where it stands.
//! 2. What does not verify is told once for each stretch of it, and passed over.

use std::path::Path;

use olivine_vfs::Vfs;

use super::{FILE_HEADER_BYTES, MANIFEST_BYTES_MAX, check_header, frame_at, place, read_whole};
use crate::{
    error::{Error, Result},
    log::{FRAME_ALIGN, Frame},
};

/// What stands at a place of a manifest.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A frame that verified, and its payload.
    Frame(Frame, &'a [u8]),
    /// Bytes up to here are no frame, for this reason.
    Damage(u64, &'static str),
}

/// Visits what stands in the manifest `number` of `store`, whose file is at `path`. Returns the length
/// of the file.
pub(crate) fn walk(
    vfs: &dyn Vfs,
    path: &Path,
    store: u64,
    number: u64,
    visit: &mut dyn FnMut(u64, Found<'_>),
) -> Result<u64> {
    let bytes = read_whole(vfs, path, MANIFEST_BYTES_MAX)?;
    let place = place(store, number);
    if let Err(Error::Corrupt { offset, what, .. }) = check_header(path, &bytes) {
        let what = if offset == 0 && what.contains("ends") {
            "it ends within its header"
        } else {
            "its header is not a manifest's of this format"
        };
        visit(0, Found::Damage(FILE_HEADER_BYTES.min(bytes.len() as u64), what));
    }
    let mut at = FILE_HEADER_BYTES as usize;
    while at < bytes.len() {
        match frame_at(&bytes, place, at) {
            Ok((frame, payload)) => {
                visit(at as u64, Found::Frame(frame, payload));
                at += frame.bytes() as usize;
            }
            Err(error) => {
                let step = FRAME_ALIGN as usize;
                let from = (at + 1).next_multiple_of(step);
                let mut behind = (from..bytes.len()).step_by(step);
                let next = behind.find(|offset| frame_at(&bytes, place, *offset).is_ok());
                let next = next.unwrap_or(bytes.len());
                visit(at as u64, Found::Damage(next as u64, error.what()));
                at = next;
            }
        }
    }
    Ok(bytes.len() as u64)
}
