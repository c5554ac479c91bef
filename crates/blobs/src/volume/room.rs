//! Whether the disk has room for another write.
//!
//! The file system is asked now and then, not with every write; in between what was written is counted.
//!
//! 1. Ordinary writes leave the reserve alone, which vacuuming needs to make room, and deletions.
//! 2. A disk that said it was full is believed until it is asked again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use olivine_vfs::{Clock, Vfs};

use crate::error::{Error, Result};

const ASKED_AFTER: Duration = Duration::from_secs(1);
const ASKED_AFTER_BYTES: u64 = 16 << 20;

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Storing something new.
    Store,
    /// Making room, or deleting.
    Free,
}

#[derive(Debug)]
pub(super) struct Room {
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    reserve: u64,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Nothing where the disk has no such thing.
    free: Option<u64>,
    since: Duration,
    taken: u64,
}

impl Room {
    pub(super) fn new(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        reserve: u64,
    ) -> Room {
        Room { vfs, clock, dir, reserve, known: Mutex::new(None) }
    }

    /// Takes room for `bytes`, or answers `Full`.
    pub(super) fn take(&self, bytes: u64, purpose: Purpose) -> Result<()> {
        let mut slot = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let is_fresh = |known: &Known| {
            now.saturating_sub(known.since) < ASKED_AFTER && known.taken < ASKED_AFTER_BYTES
        };
        let mut known = match slot.filter(is_fresh) {
            Some(known) => known,
            None => Known { free: self.ask()?, since: now, taken: 0 },
        };
        let reserve = if purpose == Purpose::Store { self.reserve } else { 0 };
        let needed = known.taken.saturating_add(bytes).saturating_add(reserve);
        let is_room = known.free.is_none_or(|free| needed <= free);
        if is_room {
            known.taken = known.taken.saturating_add(bytes);
        }
        *slot = Some(known);
        if is_room { Ok(()) } else { Err(Error::Full { path: self.dir.clone() }) }
    }

    /// The disk said that it is full.
    pub(super) fn found_full(&self) {
        let known = Known { free: Some(0), since: self.clock.now(), taken: 0 };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// Bytes that may still be written, the reserve included; nothing where the disk has no such thing.
    pub(super) fn free(&self) -> Result<Option<u64>> {
        self.ask()
    }

    pub(super) fn reserve(&self) -> u64 {
        self.reserve
    }

    fn ask(&self) -> Result<Option<u64>> {
        let room = self.vfs.room(&self.dir).map_err(Error::io("measure", &self.dir))?;
        Ok(room.map(|room| room.free_bytes))
    }
}
