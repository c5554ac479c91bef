//! Walking the records of an extent, for rebuilding an index, for vacuuming and for scrubbing.
//!
//! It must survive any damage: what does not verify is told with where it is and how long, and the walk goes on
//! where the next record verifies.
//!
//! 1. A record is returned only after its checksum matched.
//! 2. Between two records returned lies nothing, a void, or damage that was told.
//! 3. No record that verifies is passed over.
//! 4. Memory is bounded, whatever lengths lie on disk.

use std::{path::PathBuf, sync::Arc};

use olivine_vfs::File;

use crate::{bytes::Take, error::Result};

use super::{
    extents::{HEADER_BYTES, read_at},
    place::Place,
    record::{
        Bonds, Front, HEAD_BYTES_MAX, Header, Kind, PIECE_BYTES, RECORD_BYTES_MIN, SUM_BYTES, Void,
    },
};

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// What a walk came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record that verified.
    Record(Record),
    /// Bytes that are not what was written.
    Damage(Damage),
}

/// A record, but for the bytes of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it lies; the bytes are those of the value.
    pub place: Place,
    /// What it says of the key.
    pub kind: Kind,
    /// Whose it is.
    pub key: Vec<u8>,
    /// Which of the key's generations it is.
    pub generation: u64,
    /// Its time of expiry in milliseconds since 1970, if it has one.
    pub expiry: Option<u64>,
    /// The MD5 of the value, if it was asked for.
    pub md5: Option<[u8; 16]>,
    /// What is known of the object beside its bytes, as it was given; empty where nothing was.
    pub attributes: Vec<u8>,
    /// The value of a tombstone or a state, which is short; empty for a put.
    pub note: Vec<u8>,
    /// Bytes that the record takes in its extent.
    pub record_bytes: u64,
}

/// Bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The extent.
    pub extent: u32,
    /// Where the damage begins.
    pub offset: u64,
    /// How long it is, up to the next record or the end.
    pub bytes: u64,
    /// What does not fit.
    pub what: &'static str,
    /// Whose bytes these are, as far as they still say: verified where a piece of a value is damaged, else a guess.
    pub claim: Option<(Vec<u8>, u64)>,
}

/// A walk over the records of one extent, in the order of their offsets.
#[derive(Debug)]
pub struct Scan {
    pub(super) source: ScanSource,
    pub(super) position: u64,
    pub(super) end: u64,
    /// Whether pieces of values are read and verified, too.
    pub(super) is_deep: bool,
    /// Whether other records may follow one that does not verify.
    pub(super) is_shared: bool,
    /// Damage in the pieces of the record that was returned last.
    pub(super) damaged: Vec<Damage>,
    /// The next record, when looking for the end of damage found it.
    pub(super) buffer: Vec<u8>,
    pub(super) buffer_start: u64,
}

/// What is walked.
#[derive(Debug)]
pub(super) struct ScanSource {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) extent: u32,
    pub(super) bonds: Bonds,
}

/// What stands at a position.
pub(super) enum Stand {
    Record(Header),
    Void(Void),
    /// What does not fit, and what the bytes claim to be.
    Damaged(&'static str, Option<Header>),
}

impl Scan {
    pub(super) fn new(source: ScanSource, from: u64, end: u64, is_shared: bool) -> Scan {
        Scan {
            source,
            position: from.max(HEADER_BYTES),
            end,
            is_deep: false,
            is_shared,
            damaged: Vec::new(),
            buffer: Vec::new(),
            buffer_start: 0,
        }
    }

    /// Where the walk has come to: another one may begin here.
    pub fn offset(&self) -> u64 {
        self.position
    }

    /// What stands at the position, verified.
    pub(super) fn stand(&mut self) -> Result<Stand> {
        self.fill(HEAD_BYTES_MAX)?;
        let left = self.end - self.position;
        let bonds = self.source.bonds;
        let header = match bonds.front(self.at_hand(), self.position) {
            Front::Void(void) if void.bytes <= left => return Ok(Stand::Void(void)),
            Front::Record(header) => header,
            Front::Void(_) => return Ok(Stand::Damaged("a void ends behind the extent", None)),
            Front::Short => return Ok(Stand::Damaged("the extent ends in a record", None)),
            Front::Neither => return Ok(Stand::Damaged("no record begins here", None)),
        };
        if left < header.record_bytes() {
            return Ok(Stand::Damaged("the extent ends in a record", Some(header)));
        }
        self.fill(header.sealed_bytes())?;
        let sealed = self.at_hand().get(..header.sealed_bytes());
        if sealed.is_some_and(|sealed| bonds.holds(sealed, self.position)) {
            Ok(Stand::Record(header))
        } else {
            Ok(Stand::Damaged("the checksum of a record does not match", Some(header)))
        }
    }

    /// The bytes from the position on that were read.
    pub(super) fn at_hand(&self) -> &[u8] {
        let skipped = usize::try_from(self.position - self.buffer_start).unwrap_or(usize::MAX);
        self.buffer.get(skipped..).unwrap_or_default()
    }

    /// Reads so that `bytes` from the position on are at hand, or all up to the end.
    fn fill(&mut self, bytes: usize) -> Result<()> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let is_within = self.buffer_start <= self.position;
        if is_within && bytes.min(left) <= self.at_hand().len() {
            return Ok(());
        }
        let kept = if is_within { self.at_hand().to_vec() } else { Vec::new() };
        let wanted = left.min(bytes.max(BLOCK_BYTES));
        self.buffer = kept;
        self.buffer_start = self.position;
        let had = self.buffer.len();
        self.buffer.resize(wanted.max(had), 0);
        let ScanSource { file, path, .. } = &self.source;
        let read = read_at(&**file, path, &mut self.buffer[had..], self.position + had as u64);
        let read = read.inspect_err(|_| self.buffer.truncate(had))?;
        self.buffer.truncate(had + read);
        Ok(())
    }

    /// Goes on to the next position at which something verifies, or to the end.
    pub(super) fn seek(&mut self) -> Result<()> {
        while self.position < self.end {
            self.position += 1;
            let left = self.end - self.position;
            if left < RECORD_BYTES_MIN as u64 || !self.is_shared {
                self.position = self.end;
            } else if !matches!(self.stand()?, Stand::Damaged(..)) {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Found>> {
        loop {
            if let Some(damage) = self.damaged.pop() {
                return Ok(Some(Found::Damage(damage)));
            }
            if self.end <= self.position {
                return Ok(None);
            }
            match self.stand()? {
                Stand::Void(void) => self.position += void.bytes,
                Stand::Record(header) => return self.take(header).map(Some),
                Stand::Damaged(what, claim) => {
                    let offset = self.position;
                    self.seek()?;
                    let claim = claim.map(|header| (header.key, header.generation));
                    return Ok(Some(Found::Damage(self.damage(
                        offset,
                        self.position - offset,
                        what,
                        claim,
                    ))));
                }
            }
        }
    }

    pub(super) fn damage(
        &self,
        offset: u64,
        bytes: u64,
        what: &'static str,
        claim: Option<(Vec<u8>, u64)>,
    ) -> Damage {
        let ScanSource { path, extent, .. } = &self.source;
        Damage { path: path.clone(), extent: *extent, offset, bytes, what, claim }
    }

    /// The record at the position, behind which the walk goes on.
    fn take(&mut self, header: Header) -> Result<Found> {
        let record_bytes = header.record_bytes();
        let offset = self.position;
        let note = if header.kind == Kind::Put || header.in_pieces {
            Vec::new()
        } else {
            self.at_hand()
                .get(header.head_bytes..header.sealed_bytes())
                .unwrap_or_default()
                .to_vec()
        };
        if self.is_deep && header.in_pieces {
            self.position += header.head_bytes as u64;
            self.verify_pieces(&header, 0, u64::MAX)?;
        }
        self.position = offset + record_bytes;
        let Header { kind, key, generation, expiry, md5, attributes, bytes, .. } = header;
        let place = Place { extent: self.source.extent, offset, bytes };
        Ok(Found::Record(Record {
            place,
            kind,
            key,
            generation,
            expiry,
            md5,
            attributes,
            note,
            record_bytes,
        }))
    }

    /// Reads `count` pieces of a value from piece `first` on, which begins at the position. Those that do not verify
    /// are told next.
    pub(super) fn verify_pieces(&mut self, header: &Header, first: u64, count: u64) -> Result<()> {
        let mut left = header.bytes.saturating_sub(first.saturating_mul(PIECE_BYTES as u64));
        let mut count = count;
        while 0 < left && 0 < count {
            let piece = left.min(PIECE_BYTES as u64) as usize;
            self.fill(piece + SUM_BYTES)?;
            let mut take = Take(self.at_hand());
            let found = take.slice(piece).and_then(|piece| Some((piece, take.u64()?)));
            let bonds = self.source.bonds;
            let holds =
                found.is_some_and(|(piece, sum)| bonds.piece_holds(piece, sum, self.position));
            if !holds && self.damaged.len() < PIECES_TOLD_MAX {
                let what = "the checksum of a piece does not match";
                let claim = Some((header.key.clone(), header.generation));
                let damage = self.damage(self.position, (piece + SUM_BYTES) as u64, what, claim);
                self.damaged.push(damage);
            }
            self.position += (piece + SUM_BYTES) as u64;
            left -= piece as u64;
            count -= 1;
        }
        self.damaged.reverse();
        Ok(())
    }
}

/// So many damaged pieces of one value are told; whoever mends it has to read all of it anyway.
const PIECES_TOLD_MAX: usize = 100;

impl Iterator for Scan {
    type Item = Result<Found>;

    /// After an error of the disk the walk is over; another one may begin at its offset.
    fn next(&mut self) -> Option<Result<Found>> {
        let found = self.step();
        if found.is_err() {
            self.end = self.position;
        }
        found.transpose()
    }
}
