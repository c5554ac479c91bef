//! The bytes of a record: a head, which names the object, and its value.
//!
//! A value of up to 64 KiB is *plain*: one checksum covers head and value. A longer one comes in *pieces*, each
//! followed by a checksum of its own, and the head has one, too. Byte layout: `docs/format/blobs.md`.
//!
//! Every checksum is the hash of bytes joined with a *bond*, which depends on the volume's salt and on where the
//! bytes lie. So a record holds only in the place that it was written for, and yet can be hashed before that place
//! is known, and moved without being hashed again.
//!
//! 1. A head that decodes names as many bytes as its record has, and no more than the bounds allow.
//! 2. Bytes that were flipped, cut or moved do not verify, but for one case in 2^64.
//! 3. Nothing is allocated by a length that was read.

use md5::{Digest as _, Md5};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::bytes::{Take, VARINT_BYTES_MAX, put_varint, varint_bytes};

/// The longest key of an object.
pub const KEY_BYTES_MAX: usize = 4096;

/// The most that a record says of its object beside the bytes.
pub const ATTRIBUTES_BYTES_MAX: usize = 8 << 10;

/// How much of a value one checksum covers.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Bytes of a checksum.
pub(crate) const SUM_BYTES: usize = 8;

/// The longest head: checksum, tag, four numbers and one of eight bytes, digest, key, attributes.
pub(crate) const HEAD_BYTES_MAX: usize =
    head_bytes_max(KEY_BYTES_MAX) + VARINT_BYTES_MAX + ATTRIBUTES_BYTES_MAX;

/// The shortest record: checksum, tag, three numbers, a key of one byte.
pub(crate) const RECORD_BYTES_MIN: usize = SUM_BYTES + 1 + 3 + 1;

/// Values end here, so that no sum of lengths overflows.
pub(crate) const VALUE_BYTES_MAX: u64 = 1 << 56;

/// Every tag has these bits, so that few bytes pass for one.
const TAG: u8 = 0x80;
const TAG_MASK: u8 = 0x80;
const KIND_MASK: u8 = 0x03;
const EXPIRES: u8 = 0x04;
const HAS_MD5: u8 = 0x08;
const IN_PIECES: u8 = 0x10;
const HAS_ATTRIBUTES: u8 = 0x40;
/// The record is the first of those that were written and synced together: all before it was durable.
const BEGINS_GROUP: u8 = 0x20;
const VOID: u8 = 3;

/// Stands in a bond where a record's tag does: no record has it.
const PIECE_TAG: u8 = 0;

/// What a record says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The key has this value.
    Put,
    /// The key is gone; the value is what the caller keeps of what it had, usually its place.
    Tombstone,
    /// Something changed about the key, other than its value; the record's value says what, in the caller's words.
    State,
}

impl Kind {
    fn bits(self) -> u8 {
        match self {
            Kind::Put => 0,
            Kind::Tombstone => 1,
            Kind::State => 2,
        }
    }

    fn of(tag: u8) -> Option<Kind> {
        [Kind::Put, Kind::Tombstone, Kind::State]
            .into_iter()
            .find(|kind| kind.bits() == tag & KIND_MASK)
    }
}

/// A record to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) generation: u64,
    pub(crate) expiry: Option<u64>,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) attributes: &'a [u8],
}

/// What stands before a record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) key: Vec<u8>,
    pub(crate) generation: u64,
    pub(crate) expiry: Option<u64>,
    pub(crate) md5: Option<[u8; 16]>,
    /// What is known of the object beside its bytes; in the caller's words.
    pub(crate) attributes: Vec<u8>,
    /// Bytes of the value.
    pub(crate) bytes: u64,
    pub(crate) in_pieces: bool,
    pub(crate) begins_group: bool,
    /// Bytes of the head, its checksum included.
    pub(crate) head_bytes: usize,
}

/// A stretch without a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Void {
    pub(crate) bytes: u64,
    pub(crate) begins_group: bool,
}

/// What stands at a place, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A record begins here; its checksum is still to be compared.
    Record(Header),
    /// Some bytes hold nothing: verified.
    Void(Void),
    /// More bytes are needed to tell.
    Short,
    /// Nothing of ours.
    Neither,
}

/// How long the head of a key of so many bytes may be, without attributes.
pub(crate) const fn head_bytes_max(key_bytes: usize) -> usize {
    SUM_BYTES + 1 + 3 * VARINT_BYTES_MAX + 8 + 16 + key_bytes
}

/// Bytes that a value in pieces takes with its checksums.
pub(crate) fn pieced_bytes(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(PIECE_BYTES as u64) * SUM_BYTES as u64
}

/// Bytes of the record of an object.
pub(crate) fn record_bytes(
    key: &[u8],
    generation: u64,
    bytes: u64,
    expiry: Option<u64>,
    has_md5: bool,
    attributes_bytes: usize,
) -> u64 {
    let in_pieces = (PIECE_BYTES as u64) < bytes;
    let length = if in_pieces { 8 } else { varint_bytes(bytes) };
    let head = SUM_BYTES
        + 1
        + varint_bytes(key.len() as u64)
        + varint_bytes(generation)
        + length
        + expiry.map_or(0, varint_bytes)
        + if has_md5 { 16 } else { 0 }
        + if 0 < attributes_bytes {
            varint_bytes(attributes_bytes as u64) + attributes_bytes
        } else {
            0
        }
        + key.len();
    head as u64 + if in_pieces { pieced_bytes(bytes) } else { bytes }
}

/// Where piece `index` begins, counted from where the first does.
pub(crate) fn piece_start(index: u64) -> u64 {
    index * (PIECE_BYTES + SUM_BYTES) as u64
}

impl Header {
    /// Bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> u64 {
        let value = if self.in_pieces { pieced_bytes(self.bytes) } else { self.bytes };
        self.head_bytes as u64 + value
    }

    /// Bytes that the first checksum covers, itself included.
    pub(crate) fn sealed_bytes(&self) -> usize {
        if self.in_pieces { self.head_bytes } else { self.head_bytes + self.bytes as usize }
    }
}

/// What binds checksums to a place of a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bonds {
    salt: u64,
    extent: u32,
}

impl Bonds {
    pub(crate) fn new(salt: u64, extent: u32) -> Bonds {
        Bonds { salt, extent }
    }

    fn of(self, offset: u64, tag: u8) -> u64 {
        let mut place = [0; 13];
        place[..4].copy_from_slice(&self.extent.to_le_bytes());
        place[4..12].copy_from_slice(&offset.to_le_bytes());
        place[12] = tag;
        xxh3_64_with_seed(&place, self.salt)
    }

    /// Compares the first checksum of a record that lies at `offset`. `bytes` are those it covers.
    pub(crate) fn holds(self, bytes: &[u8], offset: u64) -> bool {
        let mut take = Take(bytes);
        match (take.u64(), take.byte()) {
            (Some(sum), Some(tag)) => sum == xxh3_64(take.0) ^ self.of(offset, tag),
            (_, _) => false,
        }
    }

    /// Compares the checksum behind a piece that lies at `offset`.
    pub(crate) fn piece_holds(self, piece: &[u8], sum: u64, offset: u64) -> bool {
        sum == xxh3_64(piece) ^ self.of(offset, PIECE_TAG)
    }

    /// Compares all checksums of a whole record that lies at `offset`.
    pub(crate) fn all_hold(self, record: &[u8], offset: u64) -> bool {
        let Front::Record(header) = front(record) else { return false };
        let sealed = record.get(..header.sealed_bytes());
        if !sealed.is_some_and(|sealed| self.holds(sealed, offset)) {
            return false;
        }
        if !header.in_pieces {
            return true;
        }
        let mut take = Take(record.get(header.head_bytes..).unwrap_or_default());
        let mut left = header.bytes;
        while 0 < left {
            let start = offset + (record.len() - take.0.len()) as u64;
            let piece = left.min(PIECE_BYTES as u64) as usize;
            let found = take.slice(piece).and_then(|piece| Some((piece, take.u64()?)));
            if !found.is_some_and(|(piece, sum)| self.piece_holds(piece, sum, start)) {
                return false;
            }
            left -= piece as u64;
        }
        true
    }

    /// The checksum of a piece that will lie at `offset`.
    pub(crate) fn piece_sum(self, piece: &[u8], offset: u64) -> u64 {
        xxh3_64(piece) ^ self.of(offset, PIECE_TAG)
    }

    /// Gives the checksums of `record`, which are hashes alone, the place `offset`; `begins_group` as it says.
    pub(crate) fn bind(self, record: &mut [u8], offset: u64, begins_group: bool) {
        let Some(tag) = record.get_mut(SUM_BYTES) else { return };
        *tag &= !BEGINS_GROUP;
        if begins_group {
            *tag |= BEGINS_GROUP;
        }
        self.join(record, offset);
    }

    /// Gives the checksum of a head, of a value in pieces that are bound already, the place `offset`.
    pub(crate) fn bind_head(self, head: &mut [u8], offset: u64) {
        let Some(tag) = head.get_mut(SUM_BYTES) else { return };
        *tag |= BEGINS_GROUP;
        let tag = *tag;
        join_sum(head, 0, self.of(offset, tag));
    }

    /// Takes the place `offset` off the checksums of `record` again: hashes alone are left.
    pub(crate) fn unbind(self, record: &mut [u8], offset: u64) {
        self.join(record, offset);
    }

    fn join(self, record: &mut [u8], offset: u64) {
        let Some(tag) = record.get(SUM_BYTES).copied() else { return };
        join_sum(record, 0, self.of(offset, tag));
        let Front::Record(header) = front(record) else { return };
        if !header.in_pieces {
            return;
        }
        let mut start = header.head_bytes;
        let mut left = header.bytes as usize;
        while 0 < left && start < record.len() {
            let piece = left.min(PIECE_BYTES);
            join_sum(record, start + piece, self.of(offset + start as u64, PIECE_TAG));
            start += piece + SUM_BYTES;
            left -= piece;
        }
    }

    /// A void at `offset`, as far as it has to be written.
    pub(crate) fn void(self, void: Void, offset: u64) -> Vec<u8> {
        let tag = TAG | VOID | if void.begins_group { BEGINS_GROUP } else { 0 };
        let mut out = vec![0; SUM_BYTES];
        out.push(tag);
        put_varint(&mut out, void.bytes);
        seal(&mut out);
        join_sum(&mut out, 0, self.of(offset, tag));
        out
    }

    /// What stands at `offset`, where `bytes` begin.
    pub(crate) fn front(self, bytes: &[u8], offset: u64) -> Front {
        match front(bytes) {
            Front::Void(void) => {
                let head = void_bytes(void);
                let holds = bytes.get(..head).is_some_and(|head| self.holds(head, offset));
                if holds && head as u64 <= void.bytes { Front::Void(void) } else { Front::Neither }
            }
            other => other,
        }
    }
}

fn join_sum(record: &mut [u8], at: usize, bond: u64) {
    if let Some(sum) = record.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *sum = (u64::from_le_bytes(*sum) ^ bond).to_le_bytes();
    }
}

/// Bytes of a void that are written.
pub(crate) fn void_bytes(void: Void) -> usize {
    SUM_BYTES + 1 + varint_bytes(void.bytes)
}

/// What stands where `bytes` begin, before any checksum was compared.
pub(crate) fn front(bytes: &[u8]) -> Front {
    let Some(tag) = bytes.get(SUM_BYTES).copied() else { return Front::Short };
    if tag & TAG_MASK != TAG {
        return Front::Neither;
    }
    let mut take = Take(&bytes[SUM_BYTES + 1..]);
    let short = if bytes.len() < HEAD_BYTES_MAX { Front::Short } else { Front::Neither };
    if tag & !BEGINS_GROUP == TAG | VOID {
        let begins_group = tag & BEGINS_GROUP != 0;
        return take.varint().map_or(short, |bytes| Front::Void(Void { bytes, begins_group }));
    }
    let Some(kind) = Kind::of(tag) else { return Front::Neither };
    match take_header(tag, kind, &mut take) {
        Some(mut header) => {
            header.head_bytes = bytes.len() - take.0.len();
            if is_within_bounds(&header) { Front::Record(header) } else { Front::Neither }
        }
        None => short,
    }
}

/// Reads a head behind its tag; nothing where the bytes end before it, or are none.
fn take_header(tag: u8, kind: Kind, take: &mut Take<'_>) -> Option<Header> {
    let key_bytes = take.varint()?;
    let generation = take.varint()?;
    let in_pieces = tag & IN_PIECES != 0;
    let bytes = if in_pieces { take.u64()? } else { take.varint()? };
    let expiry = if tag & EXPIRES != 0 { Some(take.varint()?) } else { None };
    let md5 = if tag & HAS_MD5 != 0 { Some(take.array()?) } else { None };
    let attributes_bytes = match tag & HAS_ATTRIBUTES {
        0 => 0,
        _ => usize::try_from(take.varint()?).ok().filter(|bytes| *bytes <= ATTRIBUTES_BYTES_MAX)?,
    };
    let key_bytes = usize::try_from(key_bytes).ok().filter(|bytes| *bytes <= KEY_BYTES_MAX)?;
    let key = take.slice(key_bytes)?.to_vec();
    let attributes = take.slice(attributes_bytes)?.to_vec();
    let begins_group = tag & BEGINS_GROUP != 0;
    Some(Header {
        kind,
        key,
        generation,
        expiry,
        md5,
        attributes,
        bytes,
        in_pieces,
        begins_group,
        head_bytes: 0,
    })
}

fn is_within_bounds(header: &Header) -> bool {
    let bytes_max = if header.in_pieces { VALUE_BYTES_MAX } else { PIECE_BYTES as u64 };
    !header.key.is_empty() && header.bytes <= bytes_max
}

/// A head without its checksum's value; its length depends on the draft and on `in_pieces` alone when in pieces.
pub(crate) fn encode_head(draft: &Draft<'_>, bytes: u64, in_pieces: bool) -> Vec<u8> {
    let attributes_bytes = draft.attributes.len() + VARINT_BYTES_MAX;
    let mut out = Vec::with_capacity(head_bytes_max(draft.key.len()) + attributes_bytes);
    let mut tag = TAG | draft.kind.bits();
    tag |= if draft.expiry.is_some() { EXPIRES } else { 0 };
    tag |= if draft.md5.is_some() { HAS_MD5 } else { 0 };
    tag |= if in_pieces { IN_PIECES } else { 0 };
    tag |= if draft.attributes.is_empty() { 0 } else { HAS_ATTRIBUTES };
    out.extend([0; SUM_BYTES]);
    out.push(tag);
    put_varint(&mut out, draft.key.len() as u64);
    put_varint(&mut out, draft.generation);
    if in_pieces {
        out.extend(bytes.to_le_bytes());
    } else {
        put_varint(&mut out, bytes);
    }
    if let Some(expiry) = draft.expiry {
        put_varint(&mut out, expiry);
    }
    if let Some(md5) = draft.md5 {
        out.extend(md5);
    }
    if !draft.attributes.is_empty() {
        put_varint(&mut out, draft.attributes.len() as u64);
    }
    out.extend(draft.key);
    out.extend(draft.attributes);
    out
}

/// A whole record whose checksums are hashes alone: `Bonds::bind` gives it its place.
pub(crate) fn encode(draft: &Draft<'_>, value: &[u8]) -> Vec<u8> {
    let in_pieces = PIECE_BYTES < value.len();
    let mut out = encode_head(draft, value.len() as u64, in_pieces);
    if !in_pieces {
        out.extend(value);
        seal(&mut out);
        return out;
    }
    seal(&mut out);
    out.reserve(pieced_bytes(value.len() as u64) as usize);
    for piece in value.chunks(PIECE_BYTES) {
        out.extend(piece);
        out.extend(xxh3_64(piece).to_le_bytes());
    }
    out
}

/// Puts the hash of what follows the tag in front.
pub(crate) fn seal(record: &mut [u8]) {
    let hash = record.get(SUM_BYTES + 1..).map(xxh3_64);
    if let (Some(hash), Some(sum)) = (hash, record.first_chunk_mut()) {
        *sum = hash.to_le_bytes();
    }
}

/// Puts the hashes of all that a record's checksums cover in their places; `Bonds::bind` makes checksums of them.
pub(crate) fn seal_all(record: &mut [u8]) {
    let Front::Record(header) = front(record) else { return seal(record) };
    seal(record.get_mut(..header.sealed_bytes()).unwrap_or_default());
    if !header.in_pieces {
        return;
    }
    let mut rest = record.get_mut(header.head_bytes..).unwrap_or_default();
    while SUM_BYTES < rest.len() {
        let (piece, others) = rest.split_at_mut(rest.len().min(PIECE_BYTES + SUM_BYTES));
        if let Some((piece, sum)) = piece.split_last_chunk_mut() {
            *sum = xxh3_64(piece).to_le_bytes();
        }
        rest = others;
    }
}

/// The MD5 of `bytes`.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

#[cfg(test)]
mod tests;
