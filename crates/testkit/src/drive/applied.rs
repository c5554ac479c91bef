//! The keyspace without a log, which a history applies batches to, each with its number as the position.
//!
//! What survives of it has nothing to do with what survives of the others: it is compared on its own.
//!
//! 1. A store that was opened holds exactly what the batches up to the position that it tells came to.
//! 2. That position is nowhere before the last one that the store called durable.

use super::{Driver, Stop};
use crate::{
    history::Value,
    oracle::{Bytes, Verdict},
};
use olivine_engine::{Batch, Db, Error, Keyspace, KeyspaceOptions};
use std::collections::BTreeMap;

/// The name of the keyspace without a log.
pub(crate) const UNLOGGED: &str = "without-a-log";

/// The one range that is applied.
const RANGE: &[u8] = b"all";

/// A position, and everything the keyspace holds.
pub type AppliedState = (u64, BTreeMap<Vec<u8>, Bytes>);

fn options() -> KeyspaceOptions {
    KeyspaceOptions { unlogged: true, ..KeyspaceOptions::default() }
}

/// The position that the keyspace tells, and the durable one.
fn positions(keyspace: &Keyspace) -> Result<(u64, u64), Error> {
    let number =
        |bytes: &[u8]| bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let found = keyspace.applied_positions()?;
    let one = found.iter().find(|position| position.range == RANGE);
    Ok(one.map_or((0, 0), |one| (number(&one.position), one.durable.as_deref().map_or(0, number))))
}

/// What the keyspace without a log holds, and as of which position.
pub fn read_applied(db: &Db) -> Result<AppliedState, Error> {
    let Some(keyspace) = db.find_keyspace(UNLOGGED) else { return Ok((0, BTreeMap::new())) };
    let position = positions(&keyspace)?.0;
    let entries = keyspace.iter()?.map(|entry| entry.map(|(key, value)| (key, value.into())));
    Ok((position, entries.collect::<Result<_, _>>()?))
}

impl From<Verdict> for Stop {
    fn from(verdict: Verdict) -> Stop {
        Stop::Differs(verdict.to_string())
    }
}

impl Driver {
    /// Applies one more batch to the keyspace without a log.
    pub(super) fn apply_next(&mut self, changes: &[(Vec<u8>, Option<Value>)]) -> Result<(), Stop> {
        let keyspace = self.db().keyspace_with(UNLOGGED, &options())?;
        let (position, mut state) = self.with_log(|log| log.applied.last());
        let mut batch = Batch::new();
        for (key, value) in changes {
            if let Some(value) = value.map(Value::spell) {
                batch.put(&keyspace, key, &value)?;
                state.insert(key.clone(), value.into());
            } else {
                batch.delete(&keyspace, key)?;
                state.remove(key);
            }
        }
        batch.applied(&keyspace, RANGE, &(position + 1).to_be_bytes())?;
        let visible = self.db().visible();
        let written = self.db().write(batch);
        if visible < self.db().visible() {
            self.with_log(|log| log.applied.push(state));
        }
        match written {
            Ok(_) | Err(Error::Busy { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes the position that the store calls durable.
    pub(super) fn note_applied(&self) -> Result<(), Stop> {
        if let Some(keyspace) = self.db().find_keyspace(UNLOGGED) {
            self.acknowledged.is_applied(positions(&keyspace)?.1);
        }
        Ok(())
    }

    /// What was found when the store was opened is what is gone on with, if it may be.
    pub(super) fn take_applied(&mut self, found: AppliedState) -> Result<(), Stop> {
        let floor = self.acknowledged.applied();
        self.with_log(|log| log.applied.check(&found, floor))?;
        self.with_log(|log| log.applied.cut(found.0));
        Ok(())
    }

    /// The live store holds what was applied last.
    pub(super) fn check_applied(&self) -> Result<(), Stop> {
        let found = read_applied(self.db())?;
        Ok(self.with_log(|log| log.applied.check(&found, log.applied.last().0))?)
    }
}
