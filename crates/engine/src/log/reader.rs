//! Reads the frames of one segment, in order, or wherever one stands.
//!
//! 1. A frame is returned only after header and payload verified.
//! 2. Memory is one window of 1 MiB, or the longest frame if that is longer.
//! 3. The same bytes give the same frames, however the reads are cut.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{File, Open, Vfs};

use super::{
    LogDir,
    frame::{self, Frame, FrameError, Place},
};
use crate::error::{Error, Result};

const WINDOW_BYTES: usize = 1 << 20;

/// A run of zeros of this length is looked at once.
const BLANK_BYTES: usize = 256;

/// An open segment and the part of it that is in memory.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Arc<dyn File>,
    path: PathBuf,
    place: Place,
    file_bytes: u64,
    /// Where the window begins in the file.
    at: u64,
    window: Vec<u8>,
    filled: usize,
}

/// A frame that verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    pub(crate) frame: Frame,
    /// The header's checksum, for the chain.
    pub(crate) checksum: u64,
    pub(crate) payload: &'a [u8],
}

/// What stands in a part of a segment where frames do not follow one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// The highest offset that a frame calls durable.
    pub(crate) durable: u32,
    /// The end of the last frame, 0 when there is none.
    pub(crate) frames_end: u64,
    /// The end of the last byte that is not zero, 0 when there is none.
    pub(crate) bytes_end: u64,
}

impl SegmentReader {
    pub(crate) fn open(home: &LogDir, number: u64) -> Result<SegmentReader> {
        let place = Place { store: home.store, file: number };
        SegmentReader::open_at(home.vfs.as_ref(), &home.segment_path(number), place)
    }

    /// The segment whose file is at `path`, wherever that is.
    pub(crate) fn open_at(vfs: &dyn Vfs, path: &Path, place: Place) -> Result<SegmentReader> {
        let file = vfs.open(path, Open::Read).map_err(Error::io("open", path))?;
        // No segment is as long as an offset reaches; what is longer is not ours.
        let file_bytes = file.len().map_err(Error::io("measure", path))?.min(u32::MAX.into());
        let path = path.to_path_buf();
        Ok(SegmentReader { file, path, place, file_bytes, at: 0, window: Vec::new(), filled: 0 })
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The frame at `offset`, which must end at `limit` at the latest.
    #[inline]
    pub(crate) fn frame(
        &mut self,
        offset: u64,
        limit: u64,
    ) -> Result<Result<Read<'_>, FrameError>> {
        let place = self.place;
        let left = limit.min(self.file_bytes).saturating_sub(offset);
        let header = self.bytes(offset, left.min(u64::from(frame::HEADER_BYTES)) as usize)?;
        let (frame, checksum) = match Frame::decode(header, place, offset, left) {
            Ok(decoded) => decoded,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = self.bytes(offset, frame.bytes() as usize)?;
        Ok(frame.payload(bytes).map(|payload| Read { frame, checksum, payload }))
    }

    /// Looks for frames at every offset from `from` on.
    pub(crate) fn sweep(&mut self, from: u64) -> Result<Sweep> {
        let (place, file_bytes) = (self.place, self.file_bytes);
        let mut sweep = Sweep::default();
        let mut offset = from.next_multiple_of(u64::from(frame::ALIGN));
        while offset < file_bytes {
            let wanted = (file_bytes - offset).min(WINDOW_BYTES as u64) as usize;
            let window = self.bytes(offset, wanted)?;
            let last = offset + window.len() as u64 == file_bytes;
            let mut i = 0;
            // A header that is cut by the end of the window is looked at in the next one.
            while i + frame::HEADER_BYTES as usize <= window.len() || last && i < window.len() {
                let rest = &window[i..];
                if let Some(blank) = rest.first_chunk::<BLANK_BYTES>()
                    && blank.iter().fold(0, |any, byte| any | byte) == 0
                {
                    // No frame begins with so many zeros.
                    i += BLANK_BYTES - frame::HEADER_BYTES as usize;
                    continue;
                }
                let here = offset + i as u64;
                if frame::may_begin(rest)
                    && let Ok((frame, _)) = Frame::decode(rest, place, here, file_bytes - here)
                {
                    sweep.durable = sweep.durable.max(frame.durable);
                    sweep.frames_end = here + frame.bytes();
                    sweep.bytes_end = sweep.frames_end;
                    i += frame.bytes() as usize;
                    continue;
                }
                if rest.iter().take(frame::ALIGN as usize).any(|byte| *byte != 0) {
                    sweep.bytes_end = (here + u64::from(frame::ALIGN)).min(file_bytes);
                }
                i += frame::ALIGN as usize;
            }
            if i == 0 {
                break;
            }
            offset += i as u64;
        }
        Ok(sweep)
    }

    /// Where the next frame's header that verifies begins, from `from` on.
    pub(crate) fn next_header(&mut self, from: u64) -> Result<Option<u64>> {
        let (place, file_bytes) = (self.place, self.file_bytes);
        let mut offset = from.next_multiple_of(u64::from(frame::ALIGN));
        while offset < file_bytes {
            let wanted = (file_bytes - offset).min(WINDOW_BYTES as u64) as usize;
            let window = self.bytes(offset, wanted)?;
            let last = offset + window.len() as u64 == file_bytes;
            let mut i = 0;
            while i + frame::HEADER_BYTES as usize <= window.len() {
                let (rest, here) = (&window[i..], offset + i as u64);
                if frame::may_begin(rest)
                    && Frame::decode(rest, place, here, file_bytes - here).is_ok()
                {
                    return Ok(Some(here));
                }
                i += frame::ALIGN as usize;
            }
            if last || i == 0 {
                break;
            }
            offset += i as u64;
        }
        Ok(None)
    }

    /// Whether there are only zeros from `from` on.
    pub(crate) fn is_blank(&mut self, from: u64) -> Result<bool> {
        let (mut offset, file_bytes) = (from, self.file_bytes);
        while offset < file_bytes {
            let wanted = (file_bytes - offset).min(WINDOW_BYTES as u64) as usize;
            let window = self.bytes(offset, wanted)?;
            if window.is_empty() || window.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += window.len() as u64;
        }
        Ok(true)
    }

    /// `len` bytes at `offset`, fewer only where the file ends.
    #[inline]
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let inside = self.at <= offset && offset + len as u64 <= self.at + self.filled as u64;
        if !inside {
            self.fill(offset, len)?;
        }
        let start = (offset - self.at) as usize;
        let end = (start + len).min(self.filled);
        Ok(&self.window[start..end])
    }

    #[cold]
    fn fill(&mut self, offset: u64, len: usize) -> Result<()> {
        let left = self.file_bytes.saturating_sub(offset);
        let wanted = (len.max(WINDOW_BYTES) as u64).min(left) as usize;
        if self.window.len() < wanted {
            self.window.resize(wanted, 0);
        }
        self.filled = 0;
        self.at = offset;
        let window = &mut self.window[..wanted];
        self.filled = self.file.read_at(window, offset).map_err(Error::io("read", &self.path))?;
        Ok(())
    }
}
