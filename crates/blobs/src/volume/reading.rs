//! Reading an object where its place says.
//!
//! It must survive places of yesterday: another record may lie there, a void, the midst of a value, or nothing.
//!
//! 1. No byte is handed out before a checksum that covers it matched.
//! 2. A record that is not of the key and generation asked for is refused.
//! 3. A value of up to 256 KiB costs one read, unless much is known of the object beside it; a longer one, one for its
//!    head and one for each stretch.
//! 4. Memory is bounded by the stretch asked for, whatever lengths lie on disk.

use std::{iter, ops::Range, path::PathBuf, sync::Arc};

use olivine_vfs::File;

use crate::{
    bytes::Take,
    error::{Error, Result},
};

use super::{
    extents::{Extents, HEADER_BYTES, read_at},
    far::Store,
    place::Place,
    record::{
        Bonds, Front, HEAD_BYTES_MAX, Header, Kind, PIECE_BYTES, SUM_BYTES, head_bytes_max,
        piece_start, pieced_bytes,
    },
    scan::{Scan, ScanSource, Stand},
};

/// Up to this length a value is read with its head; of a longer one nothing is.
const FRONT_BYTES: u64 = 256 << 10;

/// Attributes of up to about so many bytes are read with the rest.
const ATTRIBUTES_BYTES: usize = 64;

/// The most that one read of pieces takes.
const STRETCH_BYTES_MAX: usize = 4 << 20;

/// An object that was found at its place.
#[derive(Debug)]
pub struct Reading {
    /// Its time of expiry in milliseconds since 1970, if it has one.
    pub expiry: Option<u64>,
    /// The MD5 of its value, if it was asked for when it was written.
    pub md5: Option<[u8; 16]>,
    /// What is known of the object beside its bytes, as it was given; empty where nothing was.
    pub attributes: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) source: Source,
}

/// Where a reading takes the value from.
#[derive(Debug)]
pub(super) enum Source {
    /// It is at hand.
    Whole {
        /// What was read.
        buffer: Vec<u8>,
        /// Where in it the value is.
        value: Range<usize>,
    },
    /// It lies in pieces.
    Pieces(Pieces),
    /// It is a file, without checksums.
    File { file: Arc<dyn File>, path: PathBuf },
}

/// A value in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    file: Arc<dyn File>,
    path: PathBuf,
    bonds: Bonds,
    /// Where in the file the first piece begins.
    start: u64,
    bytes: u64,
    /// The pieces as read with the head, if they were: not verified yet.
    front: Vec<u8>,
    /// The bucket that the extent is read from, and its number, if it is.
    far: Option<(Arc<Store>, u32)>,
}

impl Reading {
    /// Bytes of the value.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The value, when it is at hand without another read: that of an object of up to 64 KiB.
    pub fn value(&self) -> Option<&[u8]> {
        match &self.source {
            Source::Whole { buffer, value } => buffer.get(value.clone()),
            Source::Pieces(_) | Source::File { .. } => None,
        }
    }

    /// The buffer that has the value at hand, and where in it; nothing where `value` is nothing.
    pub fn into_value(self) -> Option<(Vec<u8>, Range<usize>)> {
        match self.source {
            Source::Whole { buffer, value } => Some((buffer, value)),
            Source::Pieces(_) | Source::File { .. } => None,
        }
    }

    /// Bytes of the value from `offset` on, as `read_into` reads them.
    pub fn read_at(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>> {
        let stretch = self.read_into(offset, bytes_max, Vec::new())?;
        Ok(stretch.parts().collect::<Vec<_>>().concat())
    }

    /// Bytes of the value from `offset` on: at least one and at most `bytes_max`, none behind the end. Never more
    /// than 4 MiB at once; 64 KiB from a multiple of 64 KiB is the least that is read. What `buffer` held is lost.
    pub fn read_into(&self, offset: u64, bytes_max: usize, mut buffer: Vec<u8>) -> Result<Stretch> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = left.min(bytes_max);
        if bytes == 0 {
            return Ok(Stretch { buffer, places: Vec::new() });
        }
        match &self.source {
            Source::Whole { buffer: whole, value } => {
                let start = value.start + offset as usize;
                let found = whole.get(start..start + bytes).unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(found);
                Ok(Stretch::of(buffer))
            }
            Source::Pieces(pieces) => match (pieces.read(offset, bytes, buffer, true), &pieces.far)
            {
                (Err(Error::Corrupt { .. }), Some((store, number))) => {
                    // It may have been damaged on its way, and be in the cache like that.
                    store.forget(*number);
                    pieces.read(offset, bytes, Vec::new(), false)
                }
                (read, _) => read,
            },
            Source::File { file, path } => {
                let bytes = bytes.min(STRETCH_BYTES_MAX);
                buffer.resize(bytes, 0);
                let read = read_at(&**file, path, &mut buffer, offset)?;
                if read < bytes {
                    let what = "it is shorter than it was when it was opened";
                    return Err(Error::corrupt(path, offset + read as u64, what));
                }
                Ok(Stretch::of(buffer))
            }
        }
    }
}

/// Bytes of a value that were verified, in the buffer they were read into.
#[derive(Debug)]
pub struct Stretch {
    buffer: Vec<u8>,
    /// Where they are in it, in their order.
    places: Vec<Range<usize>>,
}

impl Stretch {
    /// All that was read is of the value.
    fn of(buffer: Vec<u8>) -> Stretch {
        let places = iter::once(0..buffer.len()).collect();
        Stretch { buffer, places }
    }

    /// The bytes, in parts.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.buffer[place.clone()])
    }

    /// The buffer, and where in it the parts are.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Range<usize>>) {
        (self.buffer, self.places)
    }
}

impl Pieces {
    /// What was read with the head is asked for anew unless `takes_front`.
    fn read(
        &self,
        offset: u64,
        bytes: usize,
        mut buffer: Vec<u8>,
        takes_front: bool,
    ) -> Result<Stretch> {
        let first = offset / PIECE_BYTES as u64;
        let skipped = (offset % PIECE_BYTES as u64) as usize;
        let wanted = STRETCH_BYTES_MAX.min(skipped.saturating_add(bytes));
        let count = wanted.div_ceil(PIECE_BYTES) as u64;
        let end = self.bytes.min((first + count).saturating_mul(PIECE_BYTES as u64));
        let values = (end - first * PIECE_BYTES as u64) as usize;
        let read = self.stored(first, values, &mut buffer, takes_front)?;
        let mut places = Vec::with_capacity(count as usize);
        let (mut verified, mut at) = (0, 0);
        while verified < values {
            let piece = PIECE_BYTES.min(values - verified);
            let start = self.start + piece_start(first) + at as u64;
            let mut take = Take(buffer.get(at..read).unwrap_or_default());
            let found = take.slice(piece).and_then(|piece| Some((piece, take.u64()?)));
            let (found, sum) =
                found.ok_or_else(|| self.damaged(start, "the file ends in a piece"))?;
            if !self.bonds.piece_holds(found, sum, start) {
                return Err(self.damaged(start, "the checksum of a piece does not match"));
            }
            let from = skipped.saturating_sub(verified).min(piece);
            let to = (skipped + bytes).min(wanted).saturating_sub(verified).min(piece);
            if from < to {
                places.push(at + from..at + to);
            }
            verified += piece;
            at += piece + SUM_BYTES;
        }
        Ok(Stretch { buffer, places })
    }

    /// Has a buffer begin with the pieces from `first` on that hold so many bytes of the value. Returns how much of
    /// that there is.
    fn stored(
        &self,
        first: u64,
        values: usize,
        buffer: &mut Vec<u8>,
        takes_front: bool,
    ) -> Result<usize> {
        let bytes = pieced_bytes(values as u64) as usize;
        let start = usize::try_from(piece_start(first)).ok();
        let start = start.filter(|_| takes_front);
        let at_hand = start.and_then(|start| self.front.get(start..start.checked_add(bytes)?));
        if let Some(at_hand) = at_hand {
            buffer.clear();
            buffer.extend_from_slice(at_hand);
            return Ok(bytes);
        }
        // What it held before needs no zeroes.
        buffer.resize(bytes, 0);
        read_at(&*self.file, &self.path, buffer, self.start + piece_start(first))
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::corrupt(&self.path, offset, what)
    }
}

/// The object of `key` and `generation` at `place`.
pub(super) fn read(
    extents: &Extents,
    place: &Place,
    key: &[u8],
    generation: u64,
) -> Result<Reading> {
    let sort = extents.sort_of(place.extent);
    let path = extents.path(place.extent, sort);
    if place.offset < HEADER_BYTES {
        return Err(Error::Gone { path });
    }
    let file = extents.open(place.extent, sort)?;
    let value = if place.bytes <= FRONT_BYTES { pieced_bytes(place.bytes) } else { 0 };
    let front = |head_bytes: usize| {
        let mut buffer = vec![0; head_bytes + value as usize];
        let read = read_at(&*file, &path, &mut buffer, place.offset)?;
        buffer.truncate(read);
        Ok::<_, Error>(buffer)
    };
    let mut buffer = front(head_bytes_max(key.len()) + ATTRIBUTES_BYTES)?;
    let bonds = extents.bonds(place.extent);
    let is_short = match bonds.front(&buffer, place.offset) {
        Front::Short => true,
        Front::Record(header) => buffer.len() < header.sealed_bytes(),
        Front::Void(_) | Front::Neither => false,
    };
    if is_short {
        buffer = front(HEAD_BYTES_MAX)?;
    }
    // What is asked for fits into what was read; all else has to be looked at more closely.
    let Front::Record(header) = bonds.front(&buffer, place.offset) else {
        return Err(other(extents, place, file, path));
    };
    let is_asked_for = header.kind == Kind::Put
        && header.key == key
        && header.generation == generation
        && header.bytes == place.bytes;
    let sealed = buffer.get(..header.sealed_bytes());
    if !is_asked_for || !sealed.is_some_and(|sealed| bonds.holds(sealed, place.offset)) {
        return Err(other(extents, place, file, path));
    }
    let far = extents.far.clone().filter(|_| extents.is_far(place.extent));
    let pieces = Pieces {
        file,
        path,
        bonds,
        start: place.offset + header.head_bytes as u64,
        bytes: header.bytes,
        front: Vec::new(),
        far: far.map(|store| (store, place.extent)),
    };
    Ok(found(header, buffer, pieces))
}

/// What is at a place, if not what was asked for.
fn other(extents: &Extents, place: &Place, file: Arc<dyn File>, path: PathBuf) -> Error {
    let offset = place.offset;
    let end = match file.len() {
        Ok(end) => end,
        Err(error) => return Error::io("measure", path)(error),
    };
    if end <= offset {
        return Error::corrupt(path, end, "the file ends before the place of an object");
    }
    let bonds = extents.bonds(place.extent);
    let source = ScanSource { file, path: path.clone(), extent: place.extent, bonds };
    match Scan::new(source, offset, end, false).stand() {
        Ok(Stand::Record(_)) => Error::Foreign { path, offset },
        Ok(Stand::Void(_)) => Error::Gone { path },
        Ok(Stand::Damaged(what, _)) => Error::corrupt(path, offset, what),
        Err(error) => error,
    }
}

fn found(header: Header, mut buffer: Vec<u8>, pieces: Pieces) -> Reading {
    let Header { expiry, md5, attributes, bytes, head_bytes, in_pieces, .. } = header;
    let source = if in_pieces {
        buffer.drain(..head_bytes);
        Source::Pieces(Pieces { front: buffer, ..pieces })
    } else {
        Source::Whole { value: head_bytes..head_bytes + bytes as usize, buffer }
    };
    Reading { expiry, md5, attributes, bytes, source }
}
