//! A frame: the unit that is there whole or not at all, in the log and in the manifest.
//!
//! A header that proves itself, then a payload that it names the hash of, padded with zeros. The
//! header's checksum covers the store, the file and the offset, so a frame that was moved, or left
//! behind in a file that is written a second time, never verifies.
//!
//! 1. A frame that verifies was written by this store at this place of this file.
//! 2. A length is believed only after the header verified, and never reaches past the file.
//! 3. Zeros are no frame.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use super::RECORD_BYTES_MAX;
use crate::{
    key::{SEQNO_MAX, SeqNo},
    planted::{Bug, planted},
};

/// Bytes of a frame before its payload.
pub(crate) const HEADER_BYTES: u32 = 36;

/// Frames begin at multiples of this.
pub(crate) const ALIGN: u32 = 4;

/// The hash of a payload that is given in pieces.
pub(crate) fn payload_hash(parts: &[&[u8]]) -> u64 {
    if let [whole] = parts {
        return xxh3_64(whole);
    }
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.digest()
}

/// The checksum of a chain of frames, continued by one frame's checksum.
pub(crate) fn chain_after(chain: u64, checksum: u64) -> u64 {
    xxh3_64_with_seed(&checksum.to_le_bytes(), chain)
}

/// Bytes on disk of a frame with a payload of `payload_len`.
pub(crate) fn bytes_on_disk(payload_len: u32) -> u64 {
    (u64::from(HEADER_BYTES) + u64::from(payload_len)).next_multiple_of(u64::from(ALIGN))
}

/// What a frame is. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// A whole record.
    Record = 1,
    /// The first piece of a record that goes on in the next frame.
    First = 2,
    /// A piece between the first and the last.
    Middle = 3,
    /// The last piece of a record.
    Last = 4,
    /// Nothing but its durable offset.
    Durable = 5,
    /// The log was closed here, everything before it being durable.
    CleanEnd = 6,
    /// An edit of the manifest.
    Edit = 7,
}

impl FrameKind {
    fn decode(byte: u8) -> Option<FrameKind> {
        match byte {
            1 => Some(FrameKind::Record),
            2 => Some(FrameKind::First),
            3 => Some(FrameKind::Middle),
            4 => Some(FrameKind::Last),
            5 => Some(FrameKind::Durable),
            6 => Some(FrameKind::CleanEnd),
            7 => Some(FrameKind::Edit),
            _ => None,
        }
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// Nothing was ever written here.
    Blank,
    /// The file ends within the header.
    Short,
    /// The header is not what was written here.
    Checksum,
    /// A kind that this release does not know.
    Kind,
    /// The payload reaches past the end of the file, or is longer than any record.
    Length,
    /// It calls bytes durable that come after it.
    Durable,
    /// The payload is not what was written.
    Payload,
    /// The zeros after the payload are not zeros.
    Padding,
}

impl FrameError {
    /// The reason in words.
    pub(crate) fn what(self) -> &'static str {
        match self {
            FrameError::Blank => "there are only zeros where a frame should be",
            FrameError::Short => "the file ends within a frame's header",
            FrameError::Checksum => "a frame's header does not match its checksum",
            FrameError::Kind => "a frame has an unknown kind",
            FrameError::Length => "a frame is longer than it can be",
            FrameError::Durable => "a frame calls bytes durable that come after it",
            FrameError::Payload => "a frame's payload does not match its checksum",
            FrameError::Padding => "a frame is not padded with zeros",
        }
    }
}

/// The file a frame stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The store's number.
    pub(crate) store: u64,
    /// The file's number.
    pub(crate) file: u64,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// The first sequence number of the payload, or the next one to be given when there is none.
    pub(crate) first_seq: SeqNo,
    /// How many sequence numbers the record takes.
    pub(crate) count: u32,
    pub(crate) payload_len: u32,
    pub(crate) payload_hash: u64,
    /// Everything in this file below this offset was durable when the frame was made, and so was
    /// every earlier file to its end; 0 tells nothing.
    pub(crate) durable: u32,
}

impl Frame {
    /// Bytes on disk, header and padding included.
    pub(crate) fn bytes(&self) -> u64 {
        bytes_on_disk(self.payload_len)
    }

    /// Appends the frame to `out`, which will be written to `offset` of the file `place`. `parts` are the
    /// payload. Returns the checksum, for the chain.
    pub(crate) fn push(
        &self,
        out: &mut Vec<u8>,
        place: Place,
        offset: u64,
        parts: &[&[u8]],
    ) -> u64 {
        let (header, checksum) = self.encode(place, offset);
        out.extend_from_slice(&header);
        let start = out.len();
        for part in parts {
            out.extend_from_slice(part);
        }
        let len = out.len() - start;
        assert!(len == self.payload_len as usize, "a payload of {len} bytes is not as announced");
        let padding = len.next_multiple_of(ALIGN as usize) - len;
        out.extend_from_slice(&[0; ALIGN as usize][..padding]);
        checksum
    }

    /// The header's bytes and its checksum.
    pub(crate) fn encode(&self, place: Place, offset: u64) -> ([u8; HEADER_BYTES as usize], u64) {
        assert!(self.first_seq <= SEQNO_MAX);
        let mut header = [0; HEADER_BYTES as usize];
        header[8..16].copy_from_slice(&self.payload_hash.to_le_bytes());
        header[16..24].copy_from_slice(&(self.first_seq << 8 | self.kind as u64).to_le_bytes());
        header[24..28].copy_from_slice(&self.count.to_le_bytes());
        header[28..32].copy_from_slice(&self.payload_len.to_le_bytes());
        header[32..36].copy_from_slice(&self.durable.to_le_bytes());
        let checksum = checksum(&header, place, offset);
        header[..8].copy_from_slice(&checksum.to_le_bytes());
        (header, checksum)
    }

    /// Reads the header at `offset` of the file `place`; `left` bytes of the file begin there, and `bytes`
    /// are the first of them. Also returns its checksum, for the chain.
    pub(crate) fn decode(
        bytes: &[u8],
        place: Place,
        offset: u64,
        left: u64,
    ) -> Result<(Frame, u64), FrameError> {
        let Some(header) = bytes.first_chunk::<{ HEADER_BYTES as usize }>() else {
            let blank = bytes.iter().all(|byte| *byte == 0);
            return Err(if blank { FrameError::Blank } else { FrameError::Short });
        };
        let stored = word(header, 0);
        if stored != checksum(header, place, offset) {
            let blank = header.iter().all(|byte| *byte == 0);
            return Err(if blank { FrameError::Blank } else { FrameError::Checksum });
        }
        let tag = word(header, 16);
        let frame = Frame {
            kind: FrameKind::decode(tag as u8).ok_or(FrameError::Kind)?,
            first_seq: tag >> 8,
            count: half(header, 24),
            payload_len: half(header, 28),
            payload_hash: word(header, 8),
            durable: half(header, 32),
        };
        if RECORD_BYTES_MAX < frame.payload_len as usize || left < frame.bytes() {
            return Err(FrameError::Length);
        }
        if offset < u64::from(frame.durable) {
            return Err(FrameError::Durable);
        }
        Ok((frame, stored))
    }

    /// The payload within `bytes`, which are the whole frame.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], FrameError> {
        let body = bytes.get(HEADER_BYTES as usize..).ok_or(FrameError::Short)?;
        let (payload, padding) =
            body.split_at_checked(self.payload_len as usize).ok_or(FrameError::Length)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(FrameError::Padding);
        }
        if xxh3_64(payload) != self.payload_hash && !planted(Bug::PayloadUnverified) {
            return Err(FrameError::Payload);
        }
        Ok(payload)
    }
}

/// Whether a header may begin here, told by one byte: cheap enough to ask at every offset.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    bytes.get(16).is_some_and(|kind| FrameKind::decode(*kind).is_some())
}

/// The checksum of a header that stands at `offset` of the file `place`.
pub(crate) fn checksum(header: &[u8; HEADER_BYTES as usize], place: Place, offset: u64) -> u64 {
    let mut covered = [0; 44];
    covered[..28].copy_from_slice(&header[8..]);
    covered[28..36].copy_from_slice(&place.file.to_le_bytes());
    covered[36..].copy_from_slice(&offset.to_le_bytes());
    xxh3_64_with_seed(&covered, place.store)
}

fn word(header: &[u8; HEADER_BYTES as usize], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn half(header: &[u8; HEADER_BYTES as usize], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(bytes)
}
