//! Moving what is live out of an extent, so that the extent can be removed.
//!
//! It must survive a crash at any moment: an object is then there once or twice, and the index names one of the two.
//!
//! 1. A record is told as moved only when it is durable in its new place.
//! 2. Its old place stays readable: nothing is removed here.
//! 3. A record that does not verify is told and not moved, so that damage never gets a checksum that holds.
//! 4. The hash of a moved value is the one taken when it came.

use std::sync::mpsc;

use crate::error::{Error, Result};

use super::{
    Stored,
    commit::Waiting,
    extents::{HEADER_BYTES, read_at},
    options::PACKED_BYTES_MAX,
    packed::Packed,
    place::Place,
    room::Purpose,
    scan::{Damage, Found, Record},
};

/// Records that `is_live` is asked about at once.
const RECORDS_MAX: usize = 4096;

/// A record that has another place now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The record, with its old place.
    pub record: Record,
    /// Where it lies now as well.
    pub place: Place,
}

/// What one step of vacuuming came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// What was moved.
    pub moved: Vec<Moved>,
    /// What does not verify. It is not moved: mend what is live of it before the extent is removed.
    pub damaged: Vec<Damage>,
    /// Bytes of the records that are not live.
    pub dead_bytes: u64,
    /// Where the next step begins; nothing when the extent has been gone through.
    pub next: Option<u64>,
    /// The extent belongs to one live object, which stays where it is: it must not be removed.
    pub stays: bool,
}

impl Packed {
    pub(super) fn rewrite_step(
        &self,
        extent: u32,
        from: u64,
        bytes_max: u64,
        is_live: impl FnOnce(&[Record]) -> Result<Vec<bool>>,
    ) -> Result<Rewritten> {
        if self.extents.state().current == Some(extent) {
            let what =
                format!("is {extent}, which is being written; only sealed extents are vacuumed");
            return Err(Error::invalid("extent", what));
        }
        let mut rewritten = Rewritten::default();
        if from < HEADER_BYTES && self.is_lost(extent)? {
            rewritten.damaged.push(self.lost(extent)?);
            return Ok(rewritten);
        }
        let records =
            self.collect(extent, from, bytes_max.min(PACKED_BYTES_MAX), &mut rewritten)?;
        let live = if records.is_empty() { Vec::new() } else { is_live(&records)? };
        if live.len() != records.len() {
            let what = format!("answered for {} of {} records", live.len(), records.len());
            return Err(Error::invalid("is_live", what));
        }
        let is_shared = self.is_shared(extent);
        let (sender, receiver) = mpsc::channel();
        let (mut moving, mut waiting) = (Vec::new(), Vec::new());
        for (record, is_live) in records.into_iter().zip(live) {
            if !is_live {
                rewritten.dead_bytes += record.record_bytes;
            } else if !is_shared {
                rewritten.stays = true;
            } else if let Some(copy) = self.copy(&record, moving.len(), &sender, &mut rewritten)? {
                moving.push(record);
                waiting.push(copy);
            }
        }
        drop(sender);
        self.queue.push(waiting);
        let mut places = vec![None; moving.len()];
        for _ in 0..moving.len() {
            let (index, stored): (usize, Result<Stored>) =
                receiver.recv().map_err(|_| Error::Closed)?;
            if let Some(place) = places.get_mut(index) {
                *place = Some(stored?.place);
            }
        }
        let moved = moving.into_iter().zip(places);
        rewritten.moved =
            moved.filter_map(|(record, place)| Some(Moved { record, place: place? })).collect();
        Ok(rewritten)
    }

    /// The records of about `bytes_max` from offset `from` on.
    fn collect(
        &self,
        extent: u32,
        from: u64,
        bytes_max: u64,
        rewritten: &mut Rewritten,
    ) -> Result<Vec<Record>> {
        let mut scan = self.scan(extent, from, false)?;
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max.max(1) && records.len() < RECORDS_MAX {
            match scan.next().transpose()? {
                Some(Found::Record(record)) => {
                    bytes += record.record_bytes;
                    records.push(record);
                }
                Some(Found::Damage(damage)) => rewritten.damaged.push(damage),
                None => return Ok(records),
            }
        }
        rewritten.next = Some(scan.offset());
        Ok(records)
    }

    /// A record, to be written once more; nothing when it is damaged.
    fn copy(
        &self,
        record: &Record,
        index: usize,
        sender: &mpsc::Sender<(usize, Result<Stored>)>,
        rewritten: &mut Rewritten,
    ) -> Result<Option<Waiting>> {
        let Place { extent, offset, bytes: value_bytes } = record.place;
        let sort = self.extents.sort_of(extent);
        let path = self.extents.path(extent, sort);
        let file = self.extents.open(extent, sort)?;
        // It verified and lies in a shared extent, which no longer value than that is put into.
        let bytes = record.record_bytes.min(2 * PACKED_BYTES_MAX) as usize;
        let mut raw = vec![0; bytes];
        let read = read_at(&*file, &path, &mut raw, offset)?;
        let bonds = self.extents.bonds(extent);
        if read < bytes || !bonds.all_hold(&raw, offset) {
            let what = "a record to be moved does not verify";
            let claim = Some((record.key.clone(), record.generation));
            let bytes = record.record_bytes;
            rewritten.damaged.push(Damage { path, extent, offset, bytes, what, claim });
            return Ok(None);
        }
        bonds.unbind(&mut raw, offset);
        let (purpose, sender) = (Purpose::Free, sender.clone());
        let done = Box::new(move |stored| {
            // Nobody hears it when another record of the step had failed.
            sender.send((index, stored)).ok();
        });
        Ok(Some(Waiting { record: raw, value_bytes, digest: record.md5, purpose, done }))
    }
}
