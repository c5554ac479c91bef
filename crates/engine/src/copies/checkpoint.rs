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

use std::{collections::BTreeMap, io::ErrorKind, ops::RangeBounds, path::Path, sync::Arc};

use olivine_vfs::File;

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
    values::values_name,
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
    /// Bytes of all its tables and value files.
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
        if keyspace.tree().appended.has_unapplied() {
            let what = format!(
                "{:?} has appended records that no batch covers, and they belong to no range; cover them \
                 with `Batch::applied_to`",
                keyspace.name()
            );
            return Err(Error::Invalid { field: "keyspace", what });
        }
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
        // Value files hold values of any keys; of a part only what is pointed to comes along.
        let relocates = part.is_some();
        if relocates {
            moment.catalog.keyspaces.values_mut().for_each(|record| record.values.clear());
        } else {
            for values in moment.values() {
                let (bytes, target) = (values.info.bytes, values_name(values.info.file));
                let how =
                    share(self, &values.path, bytes, &draft.dir().join(target), || values.file())?;
                made.add_bytes(bytes, how);
            }
        }
        // First, so that the memtables are not kept in memory by a long copy.
        for info in moment.write_memtables(self, bounds, relocates, draft.dir())? {
            made.add(info.bytes, Made::Written);
        }
        self.take_tables(&mut moment, bounds, relocates, draft.dir(), &mut made)?;
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
        relocates: bool,
        dir: &Path,
        made: &mut Checkpoint,
    ) -> Result<()> {
        let values: BTreeMap<_, _> =
            moment.values().into_iter().map(|file| (file.info.file, file)).collect();
        for (tree, level, table) in moment.tables() {
            let info = &table.info;
            // A file that is cut holds keys that do not show.
            let as_it_is = !relocates || info.values.is_empty() && !info.is_cut();
            if as_it_is && is_inside(&table, bounds) {
                let target = dir.join(table_name(info.id));
                let how = share(self, &table.path, info.bytes, &target, || table.table.file())?;
                made.add(info.bytes, how);
                continue;
            }
            if let Some(record) = moment.catalog.keyspaces.get_mut(&tree.id) {
                record.tables.remove(&info.id);
            }
            if bounds.is_above(&info.first_key) || bounds.is_below(&info.last_key) {
                continue;
            }
            let place = (tree.as_ref(), level, &table);
            if let Some(cut) = write_part(self, place, &values, bounds, moment.seqno, dir)? {
                made.add(cut.table.bytes, Made::Written);
                if let Some(values) = &cut.values {
                    made.add_bytes(values.bytes, Made::Written);
                }
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
    /// Counts a table.
    fn add(&mut self, bytes: u64, how: Made) {
        self.tables += 1;
        self.tables_shared += usize::from(how == Made::Shared);
        self.add_bytes(bytes, how);
    }

    fn add_bytes(&mut self, bytes: u64, how: Made) {
        self.bytes += bytes;
        if how == Made::Written {
            self.bytes_written += bytes;
        }
    }
}

/// Gives a file of the store a second name, or where that cannot be, copies it.
fn share(
    store: &Store,
    source: &Path,
    bytes: u64,
    target: &Path,
    open: impl FnOnce() -> Result<Arc<dyn File>>,
) -> Result<Made> {
    let vfs = store.environment.vfs().as_ref();
    match vfs.hard_link(source, target) {
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
            let budget = store.environment.budget();
            let whole = Whole { file: &open()?, path: source, bytes, budget };
            whole.copy_to(vfs, target, &mut |_| ())?;
            Ok(Made::Written)
        }
        Err(error) => Err(Error::io("link", source)(error)),
    }
}
