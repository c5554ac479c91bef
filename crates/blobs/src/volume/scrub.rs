//! Reading everything once in a while, to find what has rotted before it is asked for.
//!
//! 1. Every byte of an extent is covered by a checksum that is compared, or is told as damage.
//! 2. A step reads about as much as it was told to, also of a value that is longer than that.

use crate::error::Result;

use super::{
    extents::{ExtentHeader, HEADER_BYTES, read_at},
    packed::Packed,
    record::{PIECE_BYTES, piece_start},
    scan::{Damage, Found, Record, Stand},
};

/// What one step of scrubbing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Records whose heads were verified.
    pub records: Vec<Record>,
    /// Bytes that were read.
    pub bytes: u64,
    /// What does not verify.
    pub damaged: Vec<Damage>,
    /// Where the next step begins; nothing when the extent has been gone through.
    pub next: Option<u64>,
    /// Nothing of it is there any more: the bucket has lost it.
    pub is_lost: bool,
}

/// Records that one step tells of.
const RECORDS_MAX: usize = 4096;

impl Packed {
    pub(super) fn scrub_step(&self, extent: u32, from: u64, bytes_max: u64) -> Result<Scrubbed> {
        let mut scrubbed = Scrubbed::default();
        if from < HEADER_BYTES && self.is_lost(extent)? {
            scrubbed.damaged.push(self.lost(extent)?);
            scrubbed.is_lost = true;
            return Ok(scrubbed);
        }
        if from < HEADER_BYTES {
            self.scrub_header(extent, &mut scrubbed)?;
        }
        if !self.is_shared(extent) {
            return self.scrub_sole(extent, from, bytes_max, scrubbed);
        }
        let mut scan = self.scan(extent, from, true)?;
        let start = scan.offset();
        while scan.offset() - start < bytes_max.max(1) && scrubbed.records.len() < RECORDS_MAX {
            match scan.next().transpose()? {
                Some(Found::Record(record)) => scrubbed.records.push(record),
                Some(Found::Damage(damage)) => scrubbed.damaged.push(damage),
                None => break,
            }
        }
        // What is damaged of the last record's pieces.
        scrubbed.damaged.append(&mut scan.damaged);
        scrubbed.bytes += scan.offset() - start;
        scrubbed.next = Some(scan.offset()).filter(|next| *next < scan.end);
        Ok(scrubbed)
    }

    /// The one record of an extent: its head, and pieces from the one at `from` on.
    fn scrub_sole(
        &self,
        extent: u32,
        from: u64,
        bytes_max: u64,
        mut scrubbed: Scrubbed,
    ) -> Result<Scrubbed> {
        let mut scan = self.scan(extent, 0, false)?;
        let header = match scan.stand()? {
            Stand::Record(header) => header,
            Stand::Void(_) => return Ok(scrubbed),
            Stand::Damaged(what, claim) => {
                let claim = claim.map(|header| (header.key, header.generation));
                let bytes = scan.end - scan.offset();
                scrubbed.damaged.push(scan.damage(scan.offset(), bytes, what, claim));
                return Ok(scrubbed);
            }
        };
        let start = HEADER_BYTES + header.head_bytes as u64;
        let first = from.saturating_sub(start) / piece_start(1);
        let pieces = header.bytes.div_ceil(PIECE_BYTES as u64);
        let count = bytes_max.div_ceil(PIECE_BYTES as u64).max(1).min(pieces.saturating_sub(first));
        scan.position = start + piece_start(first);
        scan.verify_pieces(&header, first, count)?;
        scrubbed.damaged.extend(scan.damaged.drain(..).rev());
        scrubbed.bytes += count * PIECE_BYTES as u64;
        if first == 0 {
            let mut whole = self.scan(extent, 0, false)?;
            if let Some(Found::Record(record)) = whole.next().transpose()? {
                scrubbed.records.push(record);
            }
        }
        let next = first + count;
        scrubbed.next = (next < pieces).then(|| start + piece_start(next));
        Ok(scrubbed)
    }

    fn scrub_header(&self, extent: u32, scrubbed: &mut Scrubbed) -> Result<()> {
        let sort = self.extents.sort_of(extent);
        let path = self.extents.path(extent, sort);
        let file = self.extents.open_to_walk(extent, sort)?;
        let mut bytes = [0; HEADER_BYTES as usize];
        let read = read_at(&*file, &path, &mut bytes, 0)?;
        scrubbed.bytes += read as u64;
        let header = ExtentHeader::decode(bytes.get(..read).unwrap_or_default());
        if let Err(what) = header.and_then(|header| self.extents.own(header, extent, sort)) {
            let (offset, bytes, claim) = (0, HEADER_BYTES, None);
            scrubbed.damaged.push(Damage { path, extent, offset, bytes, what, claim });
        }
        Ok(())
    }
}
