//! A segment's header and its names in the directory.
//!
//! A segment is named before it is written, so a file may be there whose header is blank, or is the
//! one of the number it had before: prepared, and not used yet. It has its full length by then.
//!
//! 1. A header that verifies says which segment this is; a name alone says nothing.
//! 2. What a header calls durable was synced before the header was made.

use std::{
    cmp::Ordering,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{File, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use super::{LogDir, Position};
use crate::{
    error::{Error, Result},
    key::{SEQNO_MAX, SeqNo},
};

/// Bytes of a segment before its first frame.
pub(crate) const HEADER_BYTES: u32 = 88;

const MAGIC: [u8; 8] = *b"OLIVLOG\0";
const FORMAT: u32 = 1;

/// A segment that is open to be written, nothing of it being written yet.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    /// The length it was made with.
    pub(crate) bytes: u32,
}

/// The end of the segment before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Previous {
    /// Its number, 0 when this is the first segment of the log.
    pub(crate) number: u64,
    /// Where its frames end, 0 when nothing of it counts.
    pub(crate) length: u32,
    /// The chained checksum of its header and frames.
    pub(crate) chain: u64,
}

/// What a segment says of itself and of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The length the file was made with.
    pub(crate) bytes: u32,
    pub(crate) store: u64,
    pub(crate) number: u64,
    /// The sequence number that the first record has or will have.
    pub(crate) first_seq: SeqNo,
    pub(crate) previous: Previous,
    /// What was durable when the header was made.
    pub(crate) durable: Position,
    /// The last edit of the manifest that was durable then.
    pub(crate) manifest_edit: u64,
}

/// What stands where a segment's header belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// This segment's header and its checksum.
    Ours(Header, u64),
    /// Zeros: prepared, not used.
    Blank,
    /// The header of the segment that this file was before: prepared, not used.
    Earlier(Header),
    /// The header of a later segment, which no writer leaves here.
    Misplaced(Header),
    /// Bytes that no writer leaves.
    Damaged,
}

impl Head {
    /// Why it is not the header that belongs here.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Head::Ours(..) => "the header does not follow the segment before",
            Head::Blank => "the header is all zeros",
            Head::Earlier(_) => "the header is an earlier segment's",
            Head::Misplaced(_) => "the header is a later segment's",
            Head::Damaged => "the header does not match its checksum",
        }
    }

    /// The header, whichever segment of this log it belongs to: what it says was true once.
    pub(crate) fn header(&self) -> Option<&Header> {
        match self {
            Head::Ours(header, _) | Head::Earlier(header) | Head::Misplaced(header) => Some(header),
            Head::Blank | Head::Damaged => None,
        }
    }

    /// Whether a file that was prepared and not used yet may look like this.
    pub(crate) fn may_be_unused(&self) -> bool {
        matches!(self, Head::Blank | Head::Earlier(_))
    }
}

impl Header {
    /// The header's bytes and its checksum, with which the segment's chain begins.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES as usize], u64) {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        let words = [
            self.store,
            self.number,
            self.first_seq,
            self.previous.number,
            u64::from(self.previous.length),
            self.previous.chain,
            self.durable.to_word(),
            self.manifest_edit,
        ];
        for (slot, word) in bytes[16..80].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes[..80]);
        bytes[80..].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// What stands at the beginning of the segment `number` of the log `home`.
    pub(crate) fn read(home: &LogDir, number: u64) -> Result<Head> {
        Header::read_at(home.vfs.as_ref(), &home.segment_path(number), Some(home.store), number)
    }

    /// The same of the file at `path`, of whichever store unless that is known.
    pub(crate) fn read_at(
        vfs: &dyn Vfs,
        path: &Path,
        store: Option<u64>,
        number: u64,
    ) -> Result<Head> {
        let file = vfs.open(path, olivine_vfs::Open::Read).map_err(Error::io("open", path))?;
        let mut bytes = [0; HEADER_BYTES as usize];
        let filled = file.read_at(&mut bytes, 0).map_err(Error::io("read", path))?;
        if filled == bytes.len() && bytes.iter().all(|byte| *byte == 0) {
            return Ok(Head::Blank);
        }
        let mut words = [0; 10];
        for (word, chunk) in words.iter_mut().zip(bytes[8..].chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            *word = u64::from_le_bytes(eight);
        }
        let [sizes, written, found, first_seq, previous, length, chain, durable, edit, checksum] =
            words;
        if filled < bytes.len() || bytes[..8] != MAGIC || checksum != xxh3_64(&bytes[..80]) {
            return Ok(Head::Damaged);
        }
        let format = sizes as u32;
        if format != FORMAT {
            return Err(Error::Format { path: path.into(), found: format, newest: FORMAT });
        }
        if store.is_some_and(|store| store != written) {
            return Err(Error::corrupt(path, 16, "the segment belongs to another store"));
        }
        let (Ok(length), true) = (u32::try_from(length), first_seq <= SEQNO_MAX) else {
            return Ok(Head::Damaged);
        };
        let header = Header {
            bytes: (sizes >> 32) as u32,
            store: written,
            number: found,
            first_seq,
            previous: Previous { number: previous, length, chain },
            durable: Position::from_word(durable),
            manifest_edit: edit,
        };
        Ok(match found.cmp(&number) {
            Ordering::Equal => Head::Ours(header, checksum),
            Ordering::Less => Head::Earlier(header),
            Ordering::Greater => Head::Misplaced(header),
        })
    }
}

impl LogDir {
    /// The file of segment `number`.
    pub(crate) fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("log-{number:012}"))
    }

    /// The name under which segment `number` is made.
    pub(crate) fn draft_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("draft-{number:012}"))
    }

    /// The name that segment `number` gets when it waits to be used again.
    pub(crate) fn spare_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("spare-{number:012}"))
    }

    /// Opens segment `number`.
    pub(crate) fn open(&self, number: u64, how: olivine_vfs::Open) -> Result<Arc<dyn File>> {
        let path = self.segment_path(number);
        self.vfs.open(&path, how).map_err(Error::io("open", path))
    }
}

/// What a name in the log's directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A segment.
    Segment(u64),
    /// A released segment that waits to be used again.
    Spare(u64),
    /// A segment that was being made.
    Draft(u64),
}

impl Name {
    /// `None` for what is not the log's.
    pub(crate) fn parse(name: &OsStr) -> Option<Name> {
        let (prefix, digits) = name.to_str()?.split_once('-')?;
        if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = u64::from(digits.parse::<u32>().ok()?);
        match prefix {
            "log" => Some(Name::Segment(number)),
            "spare" => Some(Name::Spare(number)),
            "draft" => Some(Name::Draft(number)),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> u64 {
        match self {
            Name::Segment(number) | Name::Spare(number) | Name::Draft(number) => number,
        }
    }
}
