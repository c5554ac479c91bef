//! What a point read does, told place by place: a walk of its own beside the read path.
//!
//! 1. Places are asked in the order in which a read asks them, and the telling ends where the read does.
//! 2. The value told is the one that a read of the same moment returns.

use crate::{
    error::{Error, Result},
    key::{Kind, SeqNo, Stamp, split_expiry},
    keyspace::{Keyspace, LoggedMemtable},
    read::ReadFrom,
    table::{BlockLook, ReadHow, key_hash},
    value::Value,
    version::LiveTable,
};

/// Where a read looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The memtable that takes writes.
    ActiveMemtable,
    /// A memtable that waits for its flush; the newest is 0.
    FrozenMemtable(usize),
    /// A table, by its number and level.
    Table {
        /// The level it stands on.
        level: usize,
        /// Its number.
        table: u64,
    },
}

/// A version of the key that a read met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The write that made it.
    pub seqno: SeqNo,
    /// What it does: `put`, `delete`, `merge`, `expiring put`, `pointer`.
    pub kind: &'static str,
}

/// What one place had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The place.
    pub place: Place,
    /// Whether the key lies between the table's first and last; if not, the table is not asked.
    pub in_range: bool,
    /// What the table's filter said: `false` ends the look there. `None` where none was asked.
    pub filter: Option<bool>,
    /// The data blocks that were looked into.
    pub blocks: Vec<BlockLook>,
    /// The versions met, newest first.
    pub met: Vec<Met>,
    /// The newest deletion of a range that covers the key here.
    pub deleted_at: Option<SeqNo>,
}

/// What a read of a key did.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The last write that the read sees.
    pub seqno: SeqNo,
    /// The places, in the order in which they were asked. The last one settled it.
    pub looks: Vec<Look>,
    /// What the read returns.
    pub value: Option<Value>,
}

impl Look {
    fn at(place: Place) -> Look {
        let (blocks, met) = (Vec::new(), Vec::new());
        Look { place, in_range: true, filter: None, blocks, met, deleted_at: None }
    }
}

/// The telling, and what is known so far.
struct Telling<'a> {
    key: &'a [u8],
    hash: u64,
    seqno: SeqNo,
    covered: SeqNo,
    looks: Vec<Look>,
}

impl Keyspace {
    /// Tells what a read of `key` does: which memtables, tables, filters and blocks it asks, in which
    /// order, and where the answer comes from.
    pub fn explain(&self, key: &[u8]) -> Result<Explanation> {
        let (tree, store) = (self.tree(), self.store());
        tree.check_there()?;
        let state = tree.state();
        let seqno = store.visible();
        let mut telling =
            Telling { key, hash: key_hash(key), seqno, covered: 0, looks: Vec::new() };
        telling.tell(&state.memtables().map(|memtable| &**memtable).collect::<Vec<_>>(), || {
            let levels = state.version.levels.iter().enumerate();
            levels.flat_map(|(level, tables)| {
                tables.tables().iter().map(move |file| (level, &**file))
            })
        })?;
        let looks = telling.looks;
        let (value, _) = store.get_latest(tree, key, self.now(), ReadFrom::Disk)?;
        Ok(Explanation { seqno, looks, value })
    }
}

impl Telling<'_> {
    fn tell<'b, T: Iterator<Item = (usize, &'b LiveTable)>>(
        &mut self,
        memtables: &[&LoggedMemtable],
        tables: impl FnOnce() -> T,
    ) -> Result<()> {
        for (nth, memtable) in memtables.iter().enumerate() {
            let place = match nth {
                0 => Place::ActiveMemtable,
                nth => Place::FrozenMemtable(nth - 1),
            };
            if self.memtable(place, memtable) {
                return Ok(());
            }
        }
        for (level, file) in tables() {
            // Below level 0 the index of a level leads to the one table that may have the key.
            let passed = level != 0 && !file.holds(self.key);
            if !passed && self.table(level, file)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks a memtable; true when that settles it.
    fn memtable(&mut self, place: Place, memtable: &LoggedMemtable) -> bool {
        let mut look = Look::at(place);
        let covered = memtable.covering(self.key, self.seqno);
        look.deleted_at = (covered != 0).then_some(covered);
        self.covered = self.covered.max(covered);
        let mut bound = Some(Stamp::upper_bound(self.seqno));
        let mut settled = false;
        while let Some((stamp, value)) = bound.and_then(|bound| memtable.table.get(self.key, bound))
        {
            if stamp.seqno() < self.covered {
                break;
            }
            look.met.push(met(stamp, value));
            settled = stamp.kind() != Some(Kind::Merge);
            if settled {
                break;
            }
            bound = stamp.before();
        }
        self.looks.push(look);
        settled || self.covered != 0
    }

    /// Asks a table; true when that settles it.
    fn table(&mut self, level: usize, file: &LiveTable) -> Result<bool> {
        let mut look = Look::at(Place::Table { level, table: file.info.id });
        look.in_range = file.holds(self.key);
        if !look.in_range {
            self.looks.push(look);
            return Ok(false);
        }
        let newest = Stamp::upper_bound(self.seqno);
        let told = file.table.explain(self.key, self.hash, newest)?;
        look.filter = Some(told.filter);
        look.blocks = told.blocks;
        look.deleted_at = (told.covered != 0).then_some(told.covered);
        self.covered = self.covered.max(told.covered);
        let (mut bound, mut settled) = (Some(newest), false);
        while let Some(newest) = bound
            && let Some((stamp, value)) =
                file.table.get(self.key, self.hash, newest, ReadHow::DISK)?
        {
            if stamp.kind().is_none() {
                let what = format!("entry of unknown kind {:#x}", stamp.0);
                return Err(Error::corrupt(&file.path, 0, what));
            }
            if stamp.seqno() < self.covered {
                break;
            }
            look.met.push(met(stamp, &value));
            settled = stamp.kind() != Some(Kind::Merge);
            if settled {
                break;
            }
            bound = stamp.before();
        }
        self.looks.push(look);
        Ok(settled || self.covered != 0)
    }
}

fn met(stamp: Stamp, value: &[u8]) -> Met {
    let kind = match stamp.kind() {
        Some(Kind::Put) => "put",
        Some(Kind::Delete) => "delete",
        Some(Kind::Merge) => "merge",
        Some(Kind::PutExpiring) if split_expiry(value).is_some() => "expiring put",
        Some(Kind::Pointer) => "pointer",
        _ => "unknown",
    };
    Met { seqno: stamp.seqno(), kind }
}
