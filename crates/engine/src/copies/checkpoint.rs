//! Checkpoints: the store of one moment as a directory that opens as a store of its own.
//!
//! Tables never change, so the copy shares them by hard links and costs next to nothing; where no link
//! is possible (another disk) they are copied. What is in memtables is written out as tables of the
//! copy. The copy has no log: opening it makes one, whose first record follows the moment.
//!
//! The copy has the number of its origin, since every checksum is bound to it, and its tables the same
//! numbers. The two live apart from then on; their files must never be mixed (`docs/operating.md`).
//!
//! 1. When a checkpoint returns it is durable: its tables, their names, CURRENT, its own name.
//! 2. A checkpoint of a range shows that range and holds no byte of a key beside it.

use std::{io::ErrorKind, ops::RangeBounds, path::Path};

use olivine_vfs::Vfs;

use super::{
    draft::Draft,
    file::Whole,
    moment::{Moment, write_part},
};
use crate::{
    db::Db,
    error::{Error, Result},
    iter::Bounds,
    key::SeqNo,
    keyspace::Keyspace,
    manifest::Manifest,
    store::{Store, table_name},
    version::LiveTable,
};

/// The number of a checkpoint's manifest.
const MANIFEST: u64 = 1;

/// What a checkpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last write in it.
    pub seqno: SeqNo,
    /// Tables in it.
    pub tables: usize,
    /// Tables that it shares with the store it was made of.
    pub tables_shared: usize,
    /// Bytes of all its tables.
    pub bytes: u64,
    /// Bytes that had to be written: what was in memtables, edges of a range, tables that could not be shared.
    pub bytes_written: u64,
}

impl Db {
    /// Makes the directory `path`, which must be new or empty, a store that holds what this one holds now.
    /// It is durable when this returns.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<Checkpoint> {
        self.store().checkpoint(path.as_ref(), None)
    }

    /// The same for a part of one keyspace: the store in `path` has this keyspace only, and of it the keys
    /// within `bounds`.
    pub fn checkpoint_range<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        bounds: impl RangeBounds<K>,
        path: impl AsRef<Path>,
    ) -> Result<Checkpoint> {
        self.check_own(keyspace)?;
        keyspace.tree().check_there()?;
        let part = Part { keyspace: keyspace.tree().id, bounds: Bounds::of(bounds) };
        self.store().checkpoint(path.as_ref(), Some(part))
    }
}

/// A part of one keyspace.
struct Part {
    keyspace: u32,
    bounds: Bounds,
}

impl Store {
    fn checkpoint(&self, target: &Path, part: Option<Part>) -> Result<Checkpoint> {
        let draft = Draft::begin(self.environment.vfs(), target)?;
        let mut moment = self.moment()?;
        let mut made = Checkpoint { seqno: moment.seqno, ..Checkpoint::default() };
        if let Some(part) = &part {
            moment.keep_only(part.keyspace);
        }
        let all = Bounds::all();
        let bounds = part.as_ref().map_or(&all, |part| &part.bounds);
        // First, so that the memtables are not kept in memory by a long copy.
        for info in moment.write_memtables(self, bounds, draft.dir())? {
            made.add(info.bytes, Made::Written);
        }
        self.take_tables(&mut moment, bounds, draft.dir(), &mut made)?;
        let (vfs, catalog) = (self.environment.vfs(), moment.catalog);
        Manifest::create(vfs, draft.dir(), self.id, MANIFEST, catalog)?;
        draft.finish()?;
        Ok(made)
    }

    /// Brings the tables of the store into `dir`, and takes out of the catalog what does not come along.
    fn take_tables(
        &self,
        moment: &mut Moment,
        bounds: &Bounds,
        dir: &Path,
        made: &mut Checkpoint,
    ) -> Result<()> {
        let vfs = self.environment.vfs().as_ref();
        for (tree, level, table) in moment.tables() {
            let info = &table.info;
            if is_inside(&table, bounds) {
                let how = share(vfs, &table, &dir.join(table_name(info.id)))?;
                made.add(info.bytes, how);
                continue;
            }
            if let Some(record) = moment.catalog.keyspaces.get_mut(&tree.id) {
                record.tables.remove(&info.id);
            }
            if bounds.is_above(&info.first_key) || bounds.is_below(&info.last_key) {
                continue;
            }
            if let Some(cut) = write_part(self, (&tree, level, &table), bounds, moment.seqno, dir)?
            {
                made.add(cut.bytes, Made::Written);
                moment.catalog.next_table = moment.catalog.next_table.max(cut.id + 1);
                moment.add(tree.id, level as u8, cut);
            }
        }
        Ok(())
    }
}

fn is_inside(table: &LiveTable, bounds: &Bounds) -> bool {
    !bounds.is_below(&table.info.first_key) && !bounds.is_above(&table.info.last_key)
}

/// How a table came into a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Shared,
    Written,
}

impl Checkpoint {
    fn add(&mut self, bytes: u64, how: Made) {
        self.tables += 1;
        self.bytes += bytes;
        match how {
            Made::Shared => self.tables_shared += 1,
            Made::Written => self.bytes_written += bytes,
        }
    }
}

/// Gives a table a second name, or where that cannot be, copies it.
fn share(vfs: &dyn Vfs, table: &LiveTable, target: &Path) -> Result<Made> {
    match vfs.hard_link(&table.path, target) {
        Ok(()) => Ok(Made::Shared),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::CrossesDevices
                    | ErrorKind::Unsupported
                    | ErrorKind::PermissionDenied
                    | ErrorKind::TooManyLinks
            ) =>
        {
            let file = table.table.file()?;
            let from = Whole { file: &file, path: &table.path, bytes: table.info.bytes };
            from.copy_to(vfs, target, &mut |_| ())?;
            Ok(Made::Written)
        }
        Err(error) => Err(Error::io("link", &table.path)(error)),
    }
}
