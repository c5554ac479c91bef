//! Makes a backup of files that come from elsewhere, one after the other.
//!
//! 1. Nothing that comes is believed: a file gets its name after every block, entry and record of it
//!    verified, and the files must be those of the catalog that came with them.
//! 2. What was received whole stays when the rest does not come: the next try verifies it, and does not ask
//!    for it again.
//! 3. Memory is a piece of a file, beside the catalog.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use olivine_vfs::Open;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{
    BackupInfo, Backups, Contents, Found, OnProgress, Progress, SMALL_BYTES_MAX, Stored, Taking,
    restore::{Wanted, wanted},
};
use crate::{
    copies::{file::Whole, lent::CATALOG},
    error::{Error, Result},
    manifest::{Catalog, Edit},
    table::{Examiner, TableInfo},
};

/// A file that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The name it is stored under; that of the first is `catalog`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A store that can be had, file by file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The number of the store.
    pub store: u64,
    /// Of when it is, in seconds since 1970.
    pub time: u64,
    /// Its files, the catalog first, as [`Loan::files`](crate::Loan::files) tells them.
    pub files: Vec<Offered>,
}

/// Takes a piece of a file, and its hash.
pub type OnPiece<'a> = &'a mut dyn FnMut(&[u8], u64) -> Result<()>;

/// Who has the files of an offer.
pub trait Lender {
    /// Hands over a file in pieces, from front to back, each with its hash as [`Loan::read`](crate::Loan::read)
    /// told it; `file` counts from 0. Fails with whatever `each` fails with.
    fn fetch(&mut self, file: usize, bytes: u64, each: OnPiece<'_>) -> Result<()>;
}

impl Backups {
    /// Makes one backup more of a store that is elsewhere. Only files that no earlier backup has are
    /// fetched. It is durable when this returns, and every file that came was verified.
    pub fn receive(
        &self,
        offer: &Offer,
        lender: &mut dyn Lender,
        progress: OnProgress<'_>,
    ) -> Result<BackupInfo> {
        let _guard = self.lock()?;
        let found = self.find()?;
        self.check_same_store(&found, offer.store)?;
        let catalog = self.receive_catalog(offer, lender)?;
        let wanted = wanted(offer.store, &catalog);
        self.check_offered(offer, &wanted)?;
        self.sweep(&found, &wanted.keys().map(String::as_str).collect())?;
        let taking = Taking { backups: self, created: Vec::new(), kept: false };
        let mut receiving = Receiving { taking, offer, wanted, lender };
        receiving.run(&found, &catalog, progress)
    }

    fn receive_catalog(&self, offer: &Offer, lender: &mut dyn Lender) -> Result<Catalog> {
        let corrupt = |what: &str| Error::corrupt(self.dir.join(CATALOG), 0, what);
        let Some(first) = offer.files.first().filter(|file| file.name == CATALOG) else {
            return Err(corrupt("the store that is offered does not begin with its catalog"));
        };
        if SMALL_BYTES_MAX < first.bytes {
            return Err(corrupt("the catalog that is offered is too long to be one"));
        }
        let mut bytes = Vec::new();
        lender.fetch(0, first.bytes, &mut |piece, hash| {
            check_piece(&self.dir.join(CATALOG), piece, bytes.len() as u64, hash)?;
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        let edit = Edit::decode(&bytes).filter(|_| bytes.len() as u64 == first.bytes);
        let edit = edit.ok_or_else(|| corrupt("the catalog that came does not decode"))?;
        let mut catalog = Catalog::default();
        let applied = catalog.apply(&edit).and_then(|()| catalog.verify());
        applied.map_err(|what| corrupt(&what))?;
        if catalog.next_seqno == 0 {
            return Err(corrupt("the catalog that came has no next write"));
        }
        Ok(catalog)
    }

    /// Refuses an offer whose files are not those of its catalog.
    fn check_offered(&self, offer: &Offer, wanted: &BTreeMap<String, Wanted<'_>>) -> Result<()> {
        let files = &offer.files[1..];
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let fits = names.len() == files.len()
            && names.iter().copied().eq(wanted.keys().map(String::as_str))
            && files.iter().all(|file| file.bytes == wanted[&file.name].bytes());
        if fits {
            return Ok(());
        }
        let what = "the files that are offered are not those of the catalog that came";
        Err(Error::corrupt(self.dir.join(CATALOG), 0, what))
    }

    /// Proves the parts of a table that a walk over its entries does not read.
    fn check_layout(&self, store: u64, info: &TableInfo, path: &Path) -> Result<()> {
        let vfs = self.environment.vfs();
        let mut examiner = Examiner::open(vfs.as_ref(), path, store, info.id)?;
        if info.checksum != examiner.footer()?.checksum {
            return Err(Error::corrupt(path, 0, "it is not the table that the catalog names"));
        }
        let mut first = None;
        examiner.layout(&mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(()), Err)
    }

    /// Proves that a file is what the catalog says it is.
    fn check_contents(&self, store: u64, wanted: Wanted<'_>, path: &Path) -> Result<()> {
        match wanted {
            Wanted::Table(table) => {
                self.check_layout(store, table, path)?;
                self.check_entries(store, table, path)
            }
            Wanted::Values(values) => self.check_records(store, values, path),
        }
    }
}

/// A backup being received.
struct Receiving<'a, 'b> {
    taking: Taking<'a>,
    offer: &'a Offer,
    wanted: BTreeMap<String, Wanted<'a>>,
    lender: &'b mut dyn Lender,
}

impl Receiving<'_, '_> {
    fn run(
        &mut self,
        found: &Found,
        catalog: &Catalog,
        progress: OnProgress<'_>,
    ) -> Result<BackupInfo> {
        let (known, mut files, mut missing) = (found.known(), Vec::new(), Vec::new());
        let mut told = Progress::default();
        for (nth, file) in self.offer.files.iter().enumerate().skip(1) {
            if let Some(stored) = known.get(file.name.as_str()) {
                files.push(Stored::clone(stored));
            } else {
                told.bytes += file.bytes;
                missing.push(nth);
            }
        }
        let bytes_new = told.bytes;
        for nth in missing {
            let name = &self.offer.files[nth].name;
            let left = found.files.get(name) == Some(&self.offer.files[nth].bytes);
            let stored = if left { self.left(nth, &mut told, progress)? } else { None };
            files.push(match stored {
                Some(stored) => stored,
                None => self.fetch(nth, &mut told, progress)?,
            });
        }
        let (store, time) = (self.offer.store, self.offer.time);
        self.taking.publish(found, Contents { store, time, catalog, files, bytes_new })
    }

    /// A file that an earlier try has left, if it is sound.
    fn left(
        &self,
        nth: usize,
        told: &mut Progress,
        progress: OnProgress<'_>,
    ) -> Result<Option<Stored>> {
        let (backups, offered) = (self.taking.backups, &self.offer.files[nth]);
        let path = backups.dir.join(&offered.name);
        let vfs = backups.environment.vfs();
        let file = vfs.open(&path, Open::Read).map_err(Error::io("open", &path))?;
        let budget = backups.environment.budget();
        let whole = Whole { file: &file, path: &path, bytes: offered.bytes, budget };
        let sound = backups
            .check_contents(self.offer.store, self.wanted[&offered.name], &path)
            .and_then(|()| whole.pieces(&mut |_, _| Ok(())));
        match sound {
            Ok(hash) => {
                told.bytes_done += offered.bytes;
                progress(*told);
                let Offered { name, bytes } = offered.clone();
                Ok(Some(Stored { name, bytes, hash }))
            }
            Err(Error::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has a file come, and verifies it.
    fn fetch(
        &mut self,
        nth: usize,
        told: &mut Progress,
        progress: OnProgress<'_>,
    ) -> Result<Stored> {
        let (backups, vfs) = (self.taking.backups, self.taking.vfs());
        let Offered { name, bytes } = self.offer.files[nth].clone();
        let next = backups.dir.join(format!("{name}.next"));
        let to = vfs.open(&next, Open::Create).map_err(Error::io("create", &next))?;
        let (mut hasher, mut at) = (Xxh3::new(), 0);
        self.lender.fetch(nth, bytes, &mut |piece, hash| {
            check_piece(&next, piece, at, hash)?;
            let end = at + piece.len() as u64;
            if bytes < end {
                return Err(Error::corrupt(&next, bytes, "more came than was offered"));
            }
            hasher.update(piece);
            to.write_at(piece, at).map_err(Error::io("write", &next))?;
            to.start_write_back(at, end - at).map_err(Error::io("write", &next))?;
            at = end;
            told.bytes_done += piece.len() as u64;
            progress(*told);
            Ok(())
        })?;
        if at < bytes {
            return Err(Error::corrupt(&next, at, "less came than was offered"));
        }
        to.sync().map_err(Error::io("sync", &next))?;
        backups.check_contents(self.offer.store, self.wanted[&name], &next)?;
        // It stays under its name, whatever becomes of the rest.
        let path = backups.dir.join(&name);
        vfs.rename(&next, &path).map_err(Error::io("rename", &next))?;
        Ok(Stored { name, bytes, hash: hasher.digest() })
    }
}

fn check_piece(path: &Path, piece: &[u8], at: u64, hash: u64) -> Result<()> {
    if xxh3_64(piece) == hash {
        return Ok(());
    }
    Err(Error::corrupt(path, at, "it changed on the way; run it again"))
}
