//! Keyspaces without a log, and up to where what their owner applies has got.
//!
//! The owner has a log of its own, which holds what it writes here, and writes it again from where the
//! store lost it. So a batch says up to which position of that log it has been applied, for each *range*,
//! which is the owner's word for what it applies in one order: a part of the keys, or all of them. Range and
//! position are the owner's bytes.
//!
//! 1. A position travels with the memtable that holds the effects of its batch, and is named by the edit of
//!    the manifest that names the memtable's table.
//! 2. So after a crash each keyspace holds exactly the effects of the batches up to its positions.
//! 3. Sequence numbers are those of the store: before anything of them is durable, the log says that they
//!    were taken.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use crate::{
    batch::Batch,
    error::{Error, Result},
    key::Kind,
    keyspace::{Keyspace, State, Tree},
    options::Durability,
};

/// The longest name of a range, and the longest position, in bytes.
pub const POSITION_BYTES_MAX: usize = 1024;

/// Positions by range.
pub(crate) type Positions = BTreeMap<Vec<u8>, Vec<u8>>;

/// Up to where a range has been applied to a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedPosition {
    /// The range.
    pub range: Vec<u8>,
    /// The position whose effects reads show.
    pub position: Vec<u8>,
    /// The position whose effects a power cut leaves; `None` while it leaves none.
    pub durable: Option<Vec<u8>>,
}

/// Adds newer positions to older ones; an empty one means that the range is gone.
pub(crate) fn advance(positions: &mut Positions, newer: &Positions) {
    for (range, position) in newer {
        if position.is_empty() {
            positions.remove(range);
        } else {
            positions.insert(range.clone(), position.clone());
        }
    }
}

impl Batch {
    /// Says that with this batch `range` has been applied to the keyspace, whose log is off, up to
    /// `position`. An empty position forgets the range. A batch that writes to several keyspaces says so for
    /// each of them.
    pub fn applied(&mut self, keyspace: &Keyspace, range: &[u8], position: &[u8]) -> Result<()> {
        if !keyspace.tree().is_unlogged() {
            let what = format!(
                "{:?} has its log on; positions are for keyspaces made with `KeyspaceOptions::unlogged`",
                keyspace.name()
            );
            return Err(Error::Invalid { field: "keyspace", what });
        }
        for (field, bytes) in [("range", range.len()), ("position", position.len())] {
            if POSITION_BYTES_MAX < bytes {
                let what =
                    format!("is {bytes} bytes long, and may have at most {POSITION_BYTES_MAX}");
                return Err(Error::Invalid { field, what });
            }
        }
        self.add(keyspace, Kind::Position, range, position)
    }

    /// Refuses what keyspaces without a log cannot do, before anything is added.
    pub(crate) fn check_logged(&self, tree: &Tree, kind: Kind) -> Result<()> {
        let refuse = |what: String| Err(Error::Invalid { field: "keyspace", what });
        if tree.is_unlogged() && matches!(kind, Kind::Append | Kind::Applied) {
            return refuse(format!(
                "{:?} has its log off, and takes no appended records",
                tree.name
            ));
        }
        match self.trees().first() {
            Some(first) if first.is_unlogged() != tree.is_unlogged() => {
                let [on, off] = if tree.is_unlogged() {
                    [&first.name, &tree.name]
                } else {
                    [&tree.name, &first.name]
                };
                refuse(format!(
                    "{off:?} has its log off and {on:?} has it on; write to each by a batch of its own"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to wait for a sync of what is in no log.
    pub(crate) fn check_durability(&self, durability: Durability) -> Result<()> {
        match self.trees().first() {
            Some(tree) if durability == Durability::Sync && tree.is_unlogged() => {
                Err(unlogged(&tree.name))
            }
            _ => Ok(()),
        }
    }
}

/// The error of who would wait for a sync of what is in no log.
pub(crate) fn unlogged(keyspace: &str) -> Error {
    let what = format!(
        "cannot be waited for: keyspace {keyspace:?} has its log off, and a flush makes it durable; use `Os`"
    );
    Error::Invalid { field: "durability", what }
}

impl Keyspace {
    /// Up to where each range has been applied to this keyspace, in the order of the ranges.
    pub fn applied_positions(&self) -> Result<Vec<AppliedPosition>> {
        self.tree().check_there()?;
        // The state first: what a flush takes out of it is durable by then.
        let state = Arc::clone(&self.tree().state());
        let durable = self.tree().durable_positions();
        let shown = shown_positions(&state, durable.clone());
        Ok(shown
            .into_iter()
            .map(|(range, position)| {
                let durable = durable.get(&range).cloned();
                AppliedPosition { range, position, durable }
            })
            .collect())
    }
}

/// What a state shows above what is durable.
fn shown_positions(state: &State, durable: Positions) -> Positions {
    let mut shown = durable;
    for memtable in state.frozen.iter().rev().chain([&state.active]) {
        advance(&mut shown, &memtable.positions());
    }
    shown
}

impl Tree {
    /// Whether writes go to memory only.
    pub(crate) fn is_unlogged(&self) -> bool {
        self.rules.options.unlogged
    }

    /// Up to where each range has been applied, as the manifest says.
    pub(crate) fn durable_positions(&self) -> Positions {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what the manifest says by now.
    pub(crate) fn advance_positions(&self, newer: &Positions) {
        advance(&mut self.positions.lock().unwrap_or_else(PoisonError::into_inner), newer);
    }

    /// Up to where each range has been applied, as of this moment.
    pub(crate) fn shown_positions(&self) -> Positions {
        let state = Arc::clone(&self.state());
        shown_positions(&state, self.durable_positions())
    }
}
