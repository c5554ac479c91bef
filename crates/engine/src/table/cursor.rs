//! Walks a table in its order, forward and backward.
//!
//! 1. A cursor that is valid stands on an entry; its key, stamp and value are in memory.
//! 2. After an error a cursor is not valid, and may be positioned anew.
//! 3. A cursor holds one block and what it has read ahead, but neither index nor filter.
//! 4. What it reads ahead it has set aside before, and with less it reads less ahead, or nothing. A
//!    block that is not in the cache is charged while a cursor stands in it, or in a later one.

use std::{borrow::Cow, ops::Range, sync::Arc};

use super::{
    block::{Block, Shape, View},
    copied::{BlockFacts, Carried},
    format::HEADER_BYTES,
    reader::{Meta, Numbered, ReadHow, Table, open_block},
    source::Window,
};
use crate::{
    budget::{Reservation, Share},
    error::{Error, Result},
    key::Stamp,
};

/// Bytes that a scan reads at once.
pub(crate) const SCAN_WINDOW_BYTES: u64 = 256 << 10;
/// Less than this is not worth reading ahead.
pub(crate) const WINDOW_BYTES_LEAST: u64 = 16 << 10;
/// Blocks beside the cache are charged in steps of this, so that the charge seldom changes.
const CHARGE_STEP: u64 = 4 << 10;
/// Bytes that any other cursor reads at once, when it has gone on for some blocks.
const WALK_WINDOW_BYTES: u64 = 64 << 10;
/// Blocks that a cursor must read in a row before it reads ahead.
const RUN_BEFORE_WINDOW: u32 = 3;
/// Blocks in a row after which a cursor no longer fills the cache.
const RUN_IN_CACHE: u32 = 64;

/// A position in a table.
#[derive(Debug)]
pub(crate) struct TableCursor {
    table: Arc<Table>,
    how: ReadHow,
    /// The block that the cursor is in; none when it is not valid.
    place: Option<Place>,
    /// The key it stands on.
    key: Vec<u8>,
    window: Window,
    /// Blocks read from disk one after another.
    run: u32,
    /// What the window may take, and the charge of it and of the largest block beside the cache.
    window_bytes: u64,
    charge: Option<Reservation>,
}

#[derive(Debug)]
struct Place {
    block: Block,
    shape: Shape,
    /// Which block of the table it is.
    number: usize,
    /// Whether the block was in the cache.
    was_cached: bool,
    /// Which entry of the block.
    at: usize,
    numbered: Numbered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>, how: ReadHow) -> TableCursor {
        TableCursor {
            table,
            how,
            place: None,
            key: Vec::new(),
            window: Window::default(),
            run: 0,
            window_bytes: 0,
            charge: None,
        }
    }

    /// Whether the cursor stands on an entry.
    pub(crate) fn valid(&self) -> bool {
        self.place.is_some()
    }

    /// The user key of the entry.
    pub(crate) fn key(&self) -> &[u8] {
        assert!(self.valid(), "the cursor stands on no entry");
        &self.key
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let place = self.place.as_ref().expect("the cursor stands on no entry");
        place.numbered.stamp(place.view().stamp(place.at))
    }

    pub(crate) fn value(&self) -> &[u8] {
        let (view, at) = self.entry();
        view.value(at)
    }

    /// Whether the block it stands in was in the cache.
    pub(crate) fn was_cached(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.was_cached)
    }

    /// Whether it stands on the first entry of a block.
    pub(crate) fn begins_block(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.at == 0)
    }

    /// What the head of the block it stands in tells.
    pub(crate) fn block_facts(&self) -> BlockFacts {
        let place = self.place.as_ref().expect("the cursor stands on no entry");
        let view = place.view();
        let (stamp_least, has_one_stamp) = view.stamps();
        BlockFacts {
            is_plain: view.is_plain() && place.numbered == Numbered::Here,
            bytes: view.bytes(),
            entries: view.count(),
            stamp_least,
            has_one_stamp,
        }
    }

    /// Bytes of the longest value in the block it stands in.
    pub(crate) fn value_bytes_most(&self) -> usize {
        self.entry().0.value_bytes_most()
    }

    /// How many blocks, from the one it stands in on, have only keys below `bound`; 0 for fewer than
    /// `least`, which costs one comparison.
    pub(crate) fn blocks_below(&self, bound: Option<&[u8]>, least: usize) -> Result<usize> {
        let Some(place) = &self.place else { return Ok(0) };
        let meta = self.table.meta(self.how)?;
        let (index, number) = (&meta.index, place.number);
        let last = number + least - 1;
        if index.len() <= last || bound.is_some_and(|bound| !index.ends_before(last, bound)) {
            return Ok(0);
        }
        Ok(bound.map_or(index.len(), |bound| index.find(bound)) - number)
    }

    /// The block it stands in, to be carried into another table. `None` when what was in the cache is not
    /// on the disk any more as it was.
    pub(crate) fn carried(&mut self) -> Result<Option<Carried<'_>>> {
        let place = self.place.as_ref().expect("the cursor stands on no entry");
        let (number, block, was_cached) = (place.number, place.block.clone(), place.was_cached);
        let meta = self.table.meta(self.how)?;
        let (offset, _) = meta.index.place(number);
        let stored = match self.stored(&meta, number) {
            Ok(stored) => stored,
            Err(_) if was_cached => return Ok(None),
            Err(error) => return Err(error),
        };
        let block = if was_cached {
            // What is told of the entries is that of the disk, whatever became of the block in memory.
            open_block(&meta.source, offset, meta.source.unseal(&stored, offset)?)?
        } else {
            block
        };
        let carried = Carried::of(stored, meta.source.seed_at(offset), block, was_cached);
        carried.map(Some).map_err(|what| meta.source.corrupt(offset, what))
    }

    /// Block `number` as it is stored, verified.
    fn stored(&mut self, meta: &Meta, number: usize) -> Result<Cow<'_, [u8]>> {
        let (offset, bytes) = meta.index.place(number);
        let ahead_bytes = self.ahead_bytes();
        if let Some(around) = ahead(meta, number, Direction::Forward, ahead_bytes) {
            self.window.reach(&meta.source, offset, bytes, around);
        }
        if let Some(stored) = self.window.stored(offset, bytes)
            && meta.source.verifies(stored, offset)
        {
            return Ok(Cow::Borrowed(stored));
        }
        let mut stored = vec![0; bytes];
        meta.source.read(&mut stored, offset)?;
        if !meta.source.verifies(&stored, offset) {
            return Err(meta.source.corrupt(offset, "the checksum of a block does not match"));
        }
        Ok(Cow::Owned(stored))
    }

    /// Goes to the first entry of the next block.
    pub(crate) fn skip_block(&mut self) -> Result<()> {
        let place = self.place.take().expect("the cursor stands on no entry");
        self.enter(place.number + 1, Direction::Forward)
    }

    fn entry(&self) -> (View<'_>, usize) {
        let place = self.place.as_ref().expect("the cursor stands on no entry");
        (place.view(), place.at)
    }

    /// Goes to the first entry of all.
    pub(crate) fn seek_first(&mut self) -> Result<()> {
        self.jump();
        self.enter(0, Direction::Forward)
    }

    /// Goes to the last entry of all.
    pub(crate) fn seek_last(&mut self) -> Result<()> {
        self.jump();
        let blocks = self.table.meta(self.how)?.index.len();
        match blocks.checked_sub(1) {
            Some(last) => self.enter(last, Direction::Backward),
            None => Ok(()),
        }
    }

    /// Goes to the newest version of the first key that is not less than `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.seek_to(key, Stamp(u64::MAX))
    }

    /// Goes to the first entry that does not come before `key` with `newest`: versions of `key` newer
    /// than that are passed over.
    pub(crate) fn seek_to(&mut self, key: &[u8], newest: Stamp) -> Result<()> {
        self.jump();
        let meta = self.table.meta(self.how)?;
        // Entries that are too new are passed over, all of them if the whole table is.
        let newest = meta.numbered.bound(newest).unwrap_or(Stamp(0));
        for number in meta.index.find(key)..meta.index.len() {
            let mut place = self.load(&meta, number, Direction::Forward)?;
            place.at = place.view().lower_bound(key, newest);
            if place.at < place.shape.count {
                self.stand(place);
                break;
            }
        }
        Ok(())
    }

    /// Goes to the oldest version of the last key that is not greater than `key`.
    pub(crate) fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        self.jump();
        let meta = self.table.meta(self.how)?;
        let Some(last) = meta.index.len().checked_sub(1) else { return Ok(()) };
        let mut number = meta.index.find(key).min(last);
        let mut place = self.load(&meta, number, Direction::Forward)?;
        // Versions of `key` may fill blocks; the last of them is before the first greater entry.
        while place.view().count_up_to(key) == place.shape.count && number < last {
            let next = self.load(&meta, number + 1, Direction::Forward)?;
            if next.view().count_up_to(key) == 0 {
                break;
            }
            (place, number) = (next, number + 1);
        }
        match place.view().count_up_to(key).checked_sub(1) {
            Some(at) => {
                place.at = at;
                self.stand(place);
                Ok(())
            }
            None => match number.checked_sub(1) {
                Some(before) => self.enter(before, Direction::Backward),
                None => Ok(()),
            },
        }
    }

    /// Goes to the next entry; past the last one the cursor is no longer valid.
    pub(crate) fn next(&mut self) -> Result<()> {
        let place = self.place.as_mut().expect("the cursor stands on no entry");
        place.at += 1;
        if place.at < place.shape.count {
            self.copy_key();
            return Ok(());
        }
        let number = place.number + 1;
        self.place = None;
        self.enter(number, Direction::Forward)
    }

    /// Goes to the entry before; before the first one the cursor is no longer valid.
    pub(crate) fn prev(&mut self) -> Result<()> {
        let place = self.place.as_mut().expect("the cursor stands on no entry");
        if let Some(at) = place.at.checked_sub(1) {
            place.at = at;
            self.copy_key();
            return Ok(());
        }
        let number = place.number.checked_sub(1);
        self.place = None;
        number.map_or(Ok(()), |number| self.enter(number, Direction::Backward))
    }

    /// Forgets where the cursor was.
    fn jump(&mut self) {
        self.place = None;
        self.run = 0;
    }

    /// Stands on the first or last entry of block `number`, if there is such a block.
    fn enter(&mut self, number: usize, direction: Direction) -> Result<()> {
        let meta = self.table.meta(self.how)?;
        if meta.index.len() <= number {
            return Ok(());
        }
        let mut place = self.load(&meta, number, direction)?;
        if direction == Direction::Backward {
            place.at = place.shape.count - 1;
        }
        self.stand(place);
        Ok(())
    }

    fn stand(&mut self, place: Place) {
        self.key.clear();
        self.key.extend_from_slice(place.view().prefix());
        self.place = Some(place);
        self.copy_key();
    }

    /// Makes `key` the key of the entry; the block's prefix is there already.
    fn copy_key(&mut self) {
        if let Some(place) = &self.place {
            let view = place.view();
            self.key.truncate(view.prefix().len());
            self.key.extend_from_slice(view.suffix(place.at));
        }
    }

    fn load(&mut self, meta: &Meta, number: usize, direction: Direction) -> Result<Place> {
        let (block, was_cached) = self.block(meta, number, direction)?;
        let shape = block.view().shape();
        Ok(Place { block, shape, number, was_cached, at: 0, numbered: meta.numbered })
    }

    /// The block, and whether it was in the cache.
    fn block(&mut self, meta: &Meta, number: usize, direction: Direction) -> Result<(Block, bool)> {
        let id = self.table.cache_id();
        let cache = self.table.cache();
        let cached = if self.how.scan { cache.peek(id, number) } else { cache.get(id, number) };
        if let Some(block) = cached {
            return Ok((block, true));
        }
        if !self.how.may_read_disk {
            return Err(Error::WouldBlock);
        }
        self.run = self.run.saturating_add(1);
        let (offset, stored) = meta.index.place(number);
        let ahead_bytes = self.ahead_bytes();
        let payload = match ahead(meta, number, direction, ahead_bytes) {
            Some(around) => self.window.payload(&meta.source, offset, stored, around)?,
            None => meta.source.payload(offset, stored)?,
        };
        let block = open_block(&meta.source, offset, payload)?;
        let fills = self.how.fill_cache && !self.how.scan && self.run <= RUN_IN_CACHE;
        if !fills || !self.table.cache().insert(id, number, &block) {
            self.charge_block(&block);
        }
        Ok((block, false))
    }

    /// Bytes to be read at once: as many as are worth it, within what the budget has.
    fn ahead_bytes(&mut self) -> u64 {
        if let Some(bytes) = self.how.ahead_bytes {
            return u64::from(bytes);
        }
        let wanted = match self.how.scan {
            true => SCAN_WINDOW_BYTES,
            false if RUN_BEFORE_WINDOW < self.run => WALK_WINDOW_BYTES,
            false => return 0,
        };
        if self.window_bytes == 0 {
            let budget = self.table.cache().budget();
            if let Some(allowed) = budget.allow(Share::Walks, WINDOW_BYTES_LEAST, wanted) {
                self.window_bytes = allowed.bytes();
                // What is charged for a block follows with the block.
                self.charge = Some(allowed);
            }
        }
        self.window_bytes
    }

    /// Charges a block that this cursor holds and the cache does not.
    fn charge_block(&mut self, block: &Block) {
        if self.how.ahead_bytes.is_some() {
            return;
        }
        let bytes = self.window_bytes + block.charge().next_multiple_of(CHARGE_STEP);
        match &mut self.charge {
            Some(charge) if bytes <= charge.bytes() => {}
            Some(charge) => charge.set(bytes),
            none => *none = Some(self.table.cache().budget().charge(Share::Walks, bytes)),
        }
    }
}

/// What to read at once when block `number` is needed, or nothing but the block itself.
fn ahead(meta: &Meta, number: usize, direction: Direction, bytes: u64) -> Option<Range<u64>> {
    let (start, stored) = meta.index.place(number);
    let end = start + stored as u64;
    if bytes < stored as u64 {
        return None;
    }
    let (last, last_stored) = meta.index.place(meta.index.len() - 1);
    Some(match direction {
        Direction::Forward => start..end.max((start + bytes).min(last + last_stored as u64)),
        Direction::Backward => start.min(end.saturating_sub(bytes).max(HEADER_BYTES))..end,
    })
}

impl Place {
    fn view(&self) -> View<'_> {
        self.block.view_with(self.shape)
    }
}
