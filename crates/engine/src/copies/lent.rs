//! A store at one moment, lent out file by file to somebody who makes a backup of it elsewhere.
//!
//! What memtables hold is written into a directory of the loan; all else is read from the store's own files.
//!
//! 1. Whatever is written, flushed or compacted meanwhile, all files are of one moment, and they stay as long
//!    as the loan lives.
//! 2. Nothing in the store is changed, and the directory goes with the loan. What a crash leaves of it, its
//!    owner removes: nothing in it is needed.
//! 3. A reading takes no more memory than was asked for, and less where memory is short.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_vfs::{File, Open};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    backup::{Offered, encoded, stored_table, stored_values},
    moment::Moment,
};
use crate::{
    budget::{Budget, Share},
    db::Db,
    environment::Environment,
    error::{Error, Result},
    iter::Bounds,
    store::table_name,
    values::LiveValues,
    version::LiveTable,
};

/// What the first file of a loan is called.
pub(super) const CATALOG: &str = "catalog";
/// What a reading may take at least.
const READ_BYTES_LEAST: u64 = 16 << 10;

/// A store at one moment, to be read file by file.
pub struct Loan {
    environment: Environment,
    store: u64,
    catalog: Vec<u8>,
    /// Behind the catalog, in this order.
    files: Vec<Lent>,
    offered: Vec<Offered>,
    dir: PathBuf,
    /// Files in the directory.
    written: Vec<PathBuf>,
}

/// Some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their hash: xxh3 with 64 bits, seed 0.
    pub hash: u64,
}

/// A file of a loan that is not its catalog.
enum Lent {
    /// Written for the loan.
    Own(PathBuf),
    Original(Original),
}

impl Db {
    /// Lends everything in the store as it is at this moment, while its writers go on. `dir`, which must not be
    /// there yet, is the loan's own.
    pub fn lend(&self, dir: impl AsRef<Path>) -> Result<Loan> {
        let (store, dir) = (self.store(), dir.as_ref().to_path_buf());
        let environment = store.environment.clone();
        let vfs = environment.vfs();
        vfs.create_dir(&dir).map_err(Error::io("create directory", &dir))?;
        let mut loan = Loan {
            environment: environment.clone(),
            store: store.id,
            catalog: Vec::new(),
            files: Vec::new(),
            offered: Vec::new(),
            dir,
            written: Vec::new(),
        };
        let mut moment = store.moment()?;
        let written = moment.write_memtables(store, &Bounds::all(), false, &loan.dir);
        // Also what was written before it failed goes with the loan.
        let names = vfs.list(&loan.dir).unwrap_or_default().into_iter();
        loan.written = names.map(|entry| loan.dir.join(entry.name)).collect();
        for info in written? {
            let path = loan.dir.join(table_name(info.id));
            loan.add(stored_table(store.id, &info), info.bytes, Lent::Own(path));
        }
        for file in Original::all_of(&moment) {
            loan.add(file.stored_name(store.id), file.bytes(), Lent::Original(file));
        }
        loan.catalog = encoded(&moment.catalog);
        let catalog = Offered { name: CATALOG.to_owned(), bytes: loan.catalog.len() as u64 };
        loan.offered.insert(0, catalog);
        Ok(loan)
    }
}

impl Loan {
    /// The number of the store.
    pub fn store(&self) -> u64 {
        self.store
    }

    /// Its files, the catalog first.
    pub fn files(&self) -> &[Offered] {
        &self.offered
    }

    /// At most so many bytes of a file, from an offset on; none of them at its end. Nothing if there is no such
    /// file.
    pub fn read(&self, file: u64, offset: u64, bytes: u64) -> Result<Option<Piece>> {
        let Some(nth) = usize::try_from(file).ok().filter(|nth| *nth < self.offered.len()) else {
            return Ok(None);
        };
        let left = self.offered[nth].bytes.saturating_sub(offset);
        let Some(nth) = nth.checked_sub(1) else {
            let start = offset.min(self.catalog.len() as u64) as usize;
            let taken = bytes.min(left) as usize;
            return Ok(Some(Piece::of(self.catalog[start..start + taken].to_vec())));
        };
        let most = bytes.min(left);
        let room = self.budget().grant(Share::Loading, READ_BYTES_LEAST.min(most), most);
        let mut piece = vec![0; room.bytes().min(most) as usize];
        let (open, path) = match &self.files[nth] {
            Lent::Own(path) => {
                let open = self.environment.vfs().open(path, Open::Read);
                (open.map_err(Error::io("open", path))?, path.as_path())
            }
            Lent::Original(original) => (original.open()?, original.path()),
        };
        let read = open.read_at(&mut piece, offset).map_err(Error::io("read", path))?;
        if read < piece.len() {
            let what = "the file ends too early";
            return Err(Error::corrupt(path, offset + read as u64, what));
        }
        Ok(Some(Piece::of(piece)))
    }

    fn add(&mut self, name: String, bytes: u64, file: Lent) {
        self.files.push(file);
        self.offered.push(Offered { name, bytes });
    }

    fn budget(&self) -> &Budget {
        self.environment.budget()
    }
}

impl Piece {
    fn of(bytes: Vec<u8>) -> Piece {
        Piece { hash: xxh3_64(&bytes), bytes }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let vfs = self.environment.vfs();
        for path in &self.written {
            // What cannot be removed now is removed by the owner of the directory.
            vfs.remove_file(path).ok();
        }
        vfs.remove_dir(&self.dir).ok();
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A file of the store, held so that it stays.
pub(super) enum Original {
    Table(Arc<LiveTable>),
    Values(Arc<LiveValues>),
}

impl Original {
    /// The files of a moment that are not the copy's own.
    pub(super) fn all_of(moment: &Moment) -> impl Iterator<Item = Original> {
        let tables = moment.tables().into_iter().map(|(_, _, table)| Original::Table(table));
        tables.chain(moment.values().into_iter().map(Original::Values))
    }

    pub(super) fn stored_name(&self, store: u64) -> String {
        match self {
            Original::Table(table) => stored_table(store, &table.info),
            Original::Values(values) => stored_values(store, &values.info),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Original::Table(table) => table.info.bytes,
            Original::Values(values) => values.info.bytes,
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Original::Table(table) => &table.path,
            Original::Values(values) => &values.path,
        }
    }

    pub(super) fn open(&self) -> Result<Arc<dyn File>> {
        match self {
            Original::Table(table) => table.table.file(),
            Original::Values(values) => values.file(),
        }
    }
}
