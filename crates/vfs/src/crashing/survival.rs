//! What a power cut leaves of everything that was not synced.
//!
//! 1. The same past and the same seed leave the same.
//! 2. A change of names happens whole or not at all, and never without an earlier one of the same
//!    name: a journal orders those. Changes of different names come and go freely.

use std::{collections::BTreeSet, ffi::OsStr, ops::Range};

use crate::{
    Random,
    tree::{Change, DirId, Tree},
};

/// Counts the changes of a disk.
pub(super) type Tick = u64;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Survival {
    /// Nothing: contents, lengths and names are those of the last sync.
    Nothing,
    /// Everything, as if all had just been written out.
    Everything,
    /// File by file nothing, everything or random pieces of 512 B or 4 KiB, each in any state that it
    /// was in since the sync; any length the file had; the first so many changes of names.
    Torn,
    /// As torn, but what changed within some span of time is mostly lost, in all files and names, and
    /// what changed before and after mostly kept.
    Reordered,
}

impl Survival {
    /// Every way, in the order of their declaration.
    pub const ALL: [Survival; 4] =
        [Survival::Nothing, Survival::Everything, Survival::Torn, Survival::Reordered];
}

/// A survival, with what was drawn for the whole disk.
pub(super) enum Cut {
    Nothing,
    Everything,
    Torn,
    /// What changed in this span is mostly lost.
    Reordered(Range<Tick>),
}

impl Cut {
    /// Draws for a disk whose unsynced changes happened in `unsynced`.
    pub(super) fn new(
        survival: Survival,
        unsynced: impl FnOnce() -> Range<Tick>,
        random: &mut Random,
    ) -> Cut {
        match survival {
            Survival::Nothing => Cut::Nothing,
            Survival::Everything => Cut::Everything,
            Survival::Torn => Cut::Torn,
            Survival::Reordered => {
                let unsynced = unsynced();
                let span = unsynced.end.saturating_sub(unsynced.start);
                let start = unsynced.start + random.below(span);
                let end = start + 1 + random.below(unsynced.end.saturating_sub(start));
                Cut::Reordered(start..end)
            }
        }
    }
}

/// Which state of a piece is found.
pub(super) enum Pick {
    Durable,
    Newest,
    Any,
    /// Mostly the newest from outside this span.
    Outside(Range<Tick>),
}

impl Pick {
    /// One of `states`, oldest first, or `None` for what was durable before them all.
    pub(super) fn state<'a, T>(
        &self,
        states: &'a [(Tick, T)],
        random: &mut Random,
    ) -> Option<&'a T> {
        let newest = states.last();
        let found = match self {
            Pick::Durable => None,
            Pick::Newest => newest,
            Pick::Any => match random.below(8) {
                0..=2 => None,
                3..=5 => newest,
                _ => random.pick(states),
            },
            Pick::Outside(window) => {
                let usual = random.chance(7, 8);
                match newest {
                    Some((tick, _)) if window.contains(tick) == usual => {
                        states.iter().rev().find(|(tick, _)| *tick < window.start)
                    }
                    newest => newest,
                }
            }
        };
        found.map(|(_, state)| state)
    }
}

/// Applies to `tree` what a crash leaves of changed names.
pub(super) fn apply_found<F>(
    tree: &mut Tree<F>,
    pending: &[(Tick, Change<F>)],
    cut: &Cut,
    random: &mut Random,
) {
    let prefix = match cut {
        Cut::Nothing => 0,
        Cut::Everything | Cut::Reordered(_) => pending.len(),
        Cut::Torn => random.index(pending.len() + 1),
    };
    let mut lost: BTreeSet<(DirId, &OsStr)> = BTreeSet::new();
    for (tick, change) in &pending[..prefix] {
        let drawn_lost = match cut {
            Cut::Reordered(window) => window.contains(tick) == random.chance(7, 8),
            Cut::Nothing | Cut::Everything | Cut::Torn => false,
        };
        if drawn_lost || change.iter().any(|set| lost.contains(&(set.dir, &*set.name))) {
            lost.extend(change.iter().map(|set| (set.dir, &*set.name)));
        } else {
            tree.apply(change);
        }
    }
}

/// Which of the changes last once `dir` is synced: those of its names, and what those rest on.
pub(super) fn synced_with<F>(dir: DirId, pending: &[(Tick, Change<F>)]) -> Vec<bool> {
    let mut needed: BTreeSet<(DirId, &OsStr)> = BTreeSet::new();
    let mut synced = vec![false; pending.len()];
    for (index, (_, change)) in pending.iter().enumerate().rev() {
        synced[index] =
            change.iter().any(|set| set.dir == dir || needed.contains(&(set.dir, &*set.name)));
        if synced[index] {
            needed.extend(change.iter().map(|set| (set.dir, &*set.name)));
        }
    }
    synced
}
