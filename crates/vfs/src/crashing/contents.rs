//! One file as it reads, as it was when it was last synced, and all it was in between.
//!
//! A disk may write a page out whenever it likes, so what a crash leaves of a page is any of the
//! states it was in since the last sync; of a sector of 512 bytes likewise, since a disk writes that
//! at once.
//!
//! 1. Reads see the file as it reads now.
//! 2. What was synced is in every image, unless it was written or cut again.
//! 3. After a lost sync the bytes read on, and no later sync brings them to the disk, unless their
//!    page is written again.

use std::{collections::BTreeMap, io, ops::Range, sync::Arc};

use crate::{
    Random,
    pages::{PAGE_BYTES, Page, Pages},
};

use super::survival::{Cut, Pick, Tick};

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// States of a page that are remembered between two syncs: the first, the last, and some between.
const STATES_MAX: usize = 8;

/// What a page was since the sync, oldest first; `None` for zeros.
type States = Vec<(Tick, Option<Arc<Page>>)>;

/// Contents of a file with their past since the last sync.
#[derive(Debug, Default)]
pub(super) struct Contents {
    current: Pages,
    durable: Pages,
    /// The pages changed since the sync.
    states: BTreeMap<usize, States>,
    /// The lengths the file had since the sync, oldest first.
    lengths: Vec<(Tick, u64)>,
}

impl Contents {
    /// A file found after a crash: it holds `pages`, and nothing of them can be lost any more.
    pub(super) fn durable(pages: Pages) -> Contents {
        Contents { current: pages.clone(), durable: pages, ..Contents::default() }
    }

    /// The file as it reads.
    pub(super) fn current(&self) -> &Pages {
        &self.current
    }

    /// Writes, and remembers what was there.
    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64, tick: Tick) -> io::Result<()> {
        let before = self.current.len();
        let touched = self.current.write_at(bytes, offset)?;
        self.remember(touched, before, tick);
        Ok(())
    }

    /// Cuts or grows, and remembers what was there.
    pub(super) fn set_len(&mut self, bytes: u64, tick: Tick) -> io::Result<()> {
        let before = self.current.len();
        let touched = self.current.set_len(bytes)?;
        self.remember(touched, before, tick);
        Ok(())
    }

    fn remember(&mut self, touched: Range<usize>, len_before: u64, tick: Tick) {
        // The second half of one write replaces what the first half left.
        for index in touched {
            let states = self.states.entry(index).or_default();
            if states.last().is_some_and(|(last, _)| *last == tick) {
                states.pop();
            }
            if states.len() == STATES_MAX {
                states.remove(1 + (tick % (STATES_MAX as u64 - 2)) as usize);
            }
            states.push((tick, self.current.page(index).cloned()));
        }
        if self.current.len() != len_before {
            if self.lengths.last().is_some_and(|(last, _)| *last == tick) {
                self.lengths.pop();
            }
            self.lengths.push((tick, self.current.len()));
        }
    }

    /// Makes last what changed since the last sync, or since it was lost.
    pub(super) fn sync(&mut self) {
        if self.is_clean() {
            return;
        }
        let newest = newest_states(&self.states);
        self.durable.replace(newest, self.current.len());
        self.forget();
    }

    /// The disk failed to write and the kernel took the pages for clean.
    pub(super) fn lose_unsynced(&mut self) {
        self.forget();
    }

    /// When the first change happened that a crash may undo.
    pub(super) fn first_tick(&self) -> Option<Tick> {
        let states = self.states.values().filter_map(|states| states.first());
        let lengths = self.lengths.first().map(|(tick, _)| *tick);
        states.map(|(tick, _)| *tick).chain(lengths).min()
    }

    fn forget(&mut self) {
        self.states.clear();
        self.lengths.clear();
    }

    fn is_clean(&self) -> bool {
        self.states.is_empty() && self.lengths.is_empty()
    }

    /// What a crash leaves of the file.
    pub(super) fn found(&self, cut: &Cut, random: &mut Random) -> Pages {
        let mut found = self.durable.clone();
        if self.is_clean() {
            return found;
        }
        let (pick, piece_bytes) = match cut {
            Cut::Nothing => return found,
            Cut::Everything => {
                found.replace(newest_states(&self.states), self.current.len());
                return found;
            }
            Cut::Torn => match random.below(4) {
                0 => (Pick::Durable, PAGE_BYTES),
                1 => (Pick::Newest, PAGE_BYTES),
                2 => (Pick::Any, PAGE_BYTES),
                _ => (Pick::Any, SECTOR_BYTES),
            },
            Cut::Reordered(window) => {
                let piece = if random.chance(1, 2) { PAGE_BYTES } else { SECTOR_BYTES };
                (Pick::Outside(window.clone()), piece)
            }
        };
        let len = self.found_len(&pick, random);
        let mut changed = Vec::with_capacity(self.states.len());
        for (index, states) in &self.states {
            if len <= (*index * PAGE_BYTES) as u64 {
                break;
            }
            changed.push((*index, self.found_page(*index, states, &pick, piece_bytes, random)));
        }
        found.replace(changed, len);
        found
    }

    /// Any length held since the sync, the newest half of the time: a short length hides all the rest.
    fn found_len(&self, pick: &Pick, random: &mut Random) -> u64 {
        if random.chance(1, 2) {
            return match pick.state(&self.lengths, random) {
                Some(len) => *len,
                None => self.durable.len(),
            };
        }
        if random.chance(1, 2) {
            return self.current.len();
        }
        match self.lengths.get(random.index(self.lengths.len() + 1)) {
            Some((_, len)) => *len,
            None => self.durable.len(),
        }
    }

    fn found_page(
        &self,
        index: usize,
        states: &[(Tick, Option<Arc<Page>>)],
        pick: &Pick,
        piece_bytes: usize,
        random: &mut Random,
    ) -> Option<Arc<Page>> {
        let durable = self.durable.page(index);
        if piece_bytes == PAGE_BYTES {
            return match pick.state(states, random) {
                Some(page) => page.clone(),
                None => durable.cloned(),
            };
        }
        let mut page = [0; PAGE_BYTES];
        for start in (0..PAGE_BYTES).step_by(piece_bytes) {
            let source = match pick.state(states, random) {
                Some(page) => page.as_ref(),
                None => durable,
            };
            if let Some(source) = source {
                let piece = start..start + piece_bytes;
                page[piece.clone()].copy_from_slice(&source[piece]);
            }
        }
        Some(Arc::new(page))
    }
}

fn newest_states(
    states: &BTreeMap<usize, States>,
) -> impl Iterator<Item = (usize, Option<Arc<Page>>)> {
    states.iter().filter_map(|(index, states)| Some((*index, states.last()?.1.clone())))
}
