//! Hands out again, at opening, the appended records that no batch covers.
//!
//! The log was read once by then, to find what is covered and up to where it reaches; it is read again from
//! the first record that is not, as `updates.rs` reads it: the store is open, and its owner may write, and
//! cover, while records come.
//!
//! 1. Every record above what is covered comes once, in the order of writing.
//! 2. Memory is one record, however long the log is.
//! 3. Until it has come, or if it never does, a record stays.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{CARRIED, carried::decode_key};
use crate::{
    batch::Operations,
    db::Db,
    environment::Environment,
    error::{Error, Result},
    key::{Kind, SeqNo},
    keyspace::{Keyspace, Tree},
    options::Options,
};

/// Is given the store, the keyspace, and the number and the bytes of a record.
type Replay<'a> = &'a mut dyn FnMut(&Db, &Keyspace, SeqNo, &[u8]) -> Result<()>;

impl Db {
    /// As `Db::open`, and hands out again the appended records that no batch covers, oldest first. `replay`
    /// may write to the store, and cover what it was given so far (`Batch::applied_to`); an error of its own
    /// ends the opening. A store opened without this keeps the records for a later one, and with them the
    /// log.
    pub fn open_with(
        environment: &Environment,
        path: impl AsRef<Path>,
        options: Options,
        mut replay: impl FnMut(&Db, &Keyspace, SeqNo, &[u8]) -> Result<()>,
    ) -> Result<Db> {
        let db = Db::open(environment, path, options)?;
        db.hand_out(&mut replay)?;
        Ok(db)
    }

    fn hand_out(&self, replay: Replay<'_>) -> Result<()> {
        let store = self.store();
        // What comes was there at opening; what `replay` appends does not come.
        let waiting: BTreeMap<u32, Waiting> = store
            .trees()
            .into_iter()
            .filter_map(|tree| Some((tree.id, Waiting::of(tree)?)))
            .collect();
        let mut give = |id: u32, seqno: SeqNo, record: &[u8]| {
            let Some(waits) = waiting.get(&id).filter(|waits| waits.wants(seqno)) else {
                return Ok(());
            };
            waits.tree.appended.hand_out(seqno);
            replay(self, &Keyspace::new(Arc::clone(store), Arc::clone(&waits.tree)), seqno, record)
        };
        if let Some(carried) = store.find_tree(CARRIED) {
            for entry in Keyspace::new(Arc::clone(store), carried).iter()? {
                let (key, record) = entry?;
                let (seqno, id) = decode_key(&store.dir, &key)?;
                give(id, seqno, &record)?;
            }
        }
        let first =
            waiting.values().filter_map(|waits| waits.tree.appended.first_unapplied()).min();
        let last = waiting.values().map(|waits| waits.last).max().unwrap_or(0);
        if let Some(first) = first {
            let mut reading = store.read_log(first - 1)?;
            while let Some(record) = store.next_logged(&mut reading)? {
                if last < record.first_seq {
                    break;
                }
                for (seqno, operation) in (record.first_seq..).zip(Operations::new(&record.payload))
                {
                    let Ok(operation) = operation else { break };
                    if operation.kind == Kind::Append {
                        give(operation.keyspace, seqno, operation.value)?;
                    }
                }
            }
        }
        for waits in waiting.values() {
            waits.tree.appended.end_replay();
        }
        Ok(())
    }
}

/// A keyspace with records that wait to be handed out again.
struct Waiting {
    tree: Arc<Tree>,
    /// Covered when the store was opened.
    applied: SeqNo,
    last: SeqNo,
}

impl Waiting {
    fn of(tree: Arc<Tree>) -> Option<Waiting> {
        let last = tree.appended.unreplayed();
        let applied = tree.appended.applied();
        (last != 0).then_some(Waiting { tree, applied, last })
    }

    fn wants(&self, seqno: SeqNo) -> bool {
        self.applied < seqno && seqno <= self.last
    }
}

impl Db {
    /// Finds out, at opening, which records wait to be handed out again. What was carried here and is covered
    /// goes.
    pub(crate) fn note_unreplayed(&self) -> Result<()> {
        let store = self.store();
        let (carried, mut is_needed) = (store.find_tree(CARRIED), false);
        if let Some(carried) = &carried {
            let trees = store.lock_trees().clone();
            let mut cursor = Keyspace::new(Arc::clone(store), Arc::clone(carried)).cursor()?;
            cursor.seek_first()?;
            while cursor.valid() {
                let (seqno, id) = decode_key(&store.dir, cursor.key())?;
                let known = trees.get(&id);
                is_needed |= known.is_some_and(|tree| tree.appended.note_carried(seqno));
                cursor.next()?;
            }
        }
        for tree in store.trees() {
            tree.appended.begin_replay();
        }
        match carried {
            Some(carried) if !is_needed => match store.drop_tree(&carried) {
                // It goes another time.
                Err(Error::Full { .. }) => Ok(()),
                outcome => outcome,
            },
            _ => Ok(()),
        }
    }
}
