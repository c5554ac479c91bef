//! A volume: a directory that holds the bytes of objects, and says where each lies.
//!
//! It must survive power cuts at any moment, failing writes and syncs, a full disk, rotten bytes and places of
//! yesterday. What it is asked for comes with its place: a volume finds nothing by key.
//!
//! 1. What was told as stored is durable.
//! 2. What is read verified, or is refused.
//! 3. One opener at a time; another one is refused.
//! 4. An epoch that was left never comes back.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use olivine_vfs::{Clock, Guard, Lock, Vfs, make_dirs};

use crate::error::{Error, Result};

use identity::VolumeFile;
use packed::Packed;

mod commit;
mod extents;
mod identity;
mod options;
mod packed;
mod place;
mod reading;
mod record;
mod recover;
mod room;
mod scan;
mod scrub;
mod sole;
mod vacuum;
mod writer;

pub use identity::Identity;
pub use options::{Layout, VolumeOptions};
pub use place::Place;
pub use reading::Reading;
pub use record::{KEY_BYTES_MAX, Kind};
pub use recover::{Cut, Opened};
pub use scan::{Damage, Found, Record, Scan};
pub use scrub::Scrubbed;
pub use vacuum::{Moved, Rewritten};
pub use writer::Writer;

/// An open volume. It is closed, with all that waits written, when it is dropped.
#[derive(Debug)]
pub struct Volume {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    read_only: bool,
    file: Mutex<VolumeFile>,
    packed: Arc<Packed>,
    _lock: Option<Box<dyn Guard>>,
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// What it says of the key.
    pub kind: Kind,
    /// Whose it is: 1 to 4096 bytes.
    pub key: &'a [u8],
    /// Which of the key's generations it is.
    pub generation: u64,
    /// Its time of expiry in milliseconds since 1970, if it has one. Whoever reads heeds it.
    pub expiry: Option<u64>,
    /// The object's bytes; for other kinds what the caller wants to find again, at most 64 KiB.
    pub value: &'a [u8],
    /// Whether the MD5 of the value is kept with it.
    pub wants_md5: bool,
}

/// An object to be written piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Whose it is: 1 to 4096 bytes.
    pub key: &'a [u8],
    /// Which of the key's generations it is.
    pub generation: u64,
    /// Its time of expiry in milliseconds since 1970, if it has one. Whoever reads heeds it.
    pub expiry: Option<u64>,
    /// Whether the MD5 of the value is kept with it.
    pub wants_md5: bool,
    /// How long it will be, if that is known: then a long one need not wait in memory until it proves long.
    pub bytes: Option<u64>,
}

/// What was stored, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it lies.
    pub place: Place,
    /// The MD5 of its value, if it was asked for.
    pub digest: Option<[u8; 16]>,
}

/// An extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentInfo {
    /// Its number.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// Whether it holds more than one object.
    pub is_shared: bool,
    /// Whether nothing more will be written to it.
    pub is_sealed: bool,
}

/// What a volume takes, and what it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How many extents there are.
    pub extents: u64,
    /// Bytes in them, those of dead records included.
    pub bytes: u64,
    /// Bytes that the disk has left, where a disk has such a bound.
    pub room: Option<u64>,
    /// Whether new objects are refused for want of room.
    pub is_full: bool,
    /// Whether the volume was opened to be read only.
    pub is_read_only: bool,
}

impl Volume {
    /// Opens the volume in `dir`, or makes one there if the directory is empty or does not exist. `drawn` is chance
    /// for the uuid and the salt of a new one, and not used for any other.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        drawn: [u8; 32],
        options: &VolumeOptions,
    ) -> Result<(Volume, Opened)> {
        options.validate()?;
        if options.layout != Layout::Packed {
            return Err(Error::invalid("layout", "is not packed, the one there is as yet"));
        }
        if !options.read_only {
            make_dirs(&*vfs, dir).map_err(Error::io("create", dir))?;
        }
        let lock = lock(&*vfs, dir, options.read_only)?;
        let (file, is_new) = match VolumeFile::read(&*vfs, dir)? {
            Some(file) => (file, false),
            None => (make(&*vfs, dir, drawn, options)?, true),
        };
        if file.layout != options.layout {
            let (found, asked) = (file.layout.name(), options.layout.name());
            let what = format!(
                "its layout is {found}, not {asked}; open it as {found}, or export it into a new volume"
            );
            return Err(Error::Unusable { path: dir.into(), what });
        }
        let (packed, mut opened) = Packed::open(Arc::clone(&vfs), clock, dir, &file, options)?;
        opened.is_new = is_new;
        let volume = Volume {
            vfs,
            dir: dir.into(),
            read_only: options.read_only,
            file: Mutex::new(file),
            packed: Arc::new(packed),
            _lock: lock,
        };
        Ok((volume, opened))
    }

    /// Who this is.
    pub fn identity(&self) -> Identity {
        self.file().identity
    }

    /// Leaves the epoch for the next one, durably: grants of before are void. Returns the new one.
    pub fn advance_epoch(&self) -> Result<u64> {
        self.must_be_writable()?;
        let mut file = self.file();
        let mut changed = *file;
        changed.identity.epoch += 1;
        changed.write(&*self.vfs, &self.dir)?;
        *file = changed;
        Ok(changed.identity.epoch)
    }

    /// Appends a record, with others that wait. `done` is called in the volume's thread when it is durable, or
    /// before this returns when it is refused; it must not wait for anything.
    ///
    /// A put's value may have up to `packed_bytes_max`; a longer one is to be begun.
    pub fn append(
        &self,
        record: &NewRecord<'_>,
        done: impl FnOnce(Result<Stored>) + Send + 'static,
    ) {
        match self.check(record) {
            Ok(()) => self.packed.append(record, Box::new(done)),
            Err(error) => done(Err(error)),
        }
    }

    /// Appends a record, and waits until it is durable.
    pub fn append_and_wait(&self, record: &NewRecord<'_>) -> Result<Stored> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.append(record, move |stored| {
            // Nobody hears it only when the waiting one was ended.
            sender.send(stored).ok();
        });
        receiver.recv().unwrap_or(Err(Error::Closed))
    }

    /// Begins an object whose length is not known, or too long for `append`.
    pub fn begin(&self, head: &Head<'_>) -> Result<Writer> {
        self.must_be_writable()?;
        check_key(head.key)?;
        Writer::begin(&self.packed, head)
    }

    /// The object of `key` and `generation`, if it is what lies at `place`.
    pub fn read(&self, place: &Place, key: &[u8], generation: u64) -> Result<Reading> {
        check_key(key)?;
        self.packed.read(place, key, generation)
    }

    /// Walks the records of an extent from offset `from` on; 0 is the beginning. Of long values only the heads are
    /// read.
    pub fn scan(&self, extent: u32, from: u64) -> Result<Scan> {
        self.packed.scan(extent, from, false)
    }

    /// Up to `count` extents from number `from` on, in the order of their numbers.
    pub fn extents(&self, from: u32, count: usize) -> Result<Vec<ExtentInfo>> {
        self.packed.extents_from(from, count)
    }

    /// What the volume takes, and what it has left.
    pub fn usage(&self) -> Result<Usage> {
        self.packed.usage(self.read_only)
    }

    /// The number of the oldest extent, if there is any: a tombstone in it has nothing left to bury.
    pub fn oldest_extent(&self) -> Result<Option<u32>> {
        self.packed.oldest()
    }

    /// Moves the live records of a sealed extent into the current one: those from offset `from` on, up to about
    /// `bytes_max` of them (at most 16 MiB and one record). `is_live` is asked about all that were found at once, and answers for each.
    ///
    /// What was moved is durable in its new place, and is in its old one until the extent is removed. To be done by the
    /// caller, in this order: publish the new places; go on until there is no `next`; wait until no grant
    /// names an old place; remove the extent.
    pub fn rewrite_step(
        &self,
        extent: u32,
        from: u64,
        bytes_max: u64,
        is_live: impl FnOnce(&[Record]) -> Result<Vec<bool>>,
    ) -> Result<Rewritten> {
        self.must_be_writable()?;
        self.packed.rewrite_step(extent, from, bytes_max, is_live)
    }

    /// Reads what lies in an extent from offset `from` on, about `bytes_max` of it, and compares every checksum.
    pub fn scrub_step(&self, extent: u32, from: u64, bytes_max: u64) -> Result<Scrubbed> {
        self.packed.scrub_step(extent, from, bytes_max)
    }

    /// Removes a sealed extent, with whatever is in it. Nobody may hold a grant for a place in it any more.
    pub fn remove_extent(&self, extent: u32) -> Result<()> {
        self.must_be_writable()?;
        if self.packed.is_newest(extent) {
            // Its number must not come again when the volume is opened anew.
            let mut file = self.file();
            let mut changed = *file;
            changed.extent_min = changed.extent_min.max(extent.saturating_add(1));
            changed.write(&*self.vfs, &self.dir)?;
            *file = changed;
        }
        self.packed.remove(extent)
    }

    fn check(&self, record: &NewRecord<'_>) -> Result<()> {
        self.must_be_writable()?;
        check_key(record.key)?;
        let bytes_max = match record.kind {
            Kind::Put => self.packed.small_bytes_max.max(record::PIECE_BYTES as u64),
            Kind::Tombstone | Kind::State => record::PIECE_BYTES as u64,
        };
        if bytes_max < record.value.len() as u64 {
            let bytes = record.value.len();
            let what = format!("has {bytes} bytes, and may have {bytes_max}; begin a longer one");
            return Err(Error::invalid("value", what));
        }
        Ok(())
    }

    fn must_be_writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { path: self.dir.clone() }) } else { Ok(()) }
    }

    fn file(&self) -> MutexGuard<'_, VolumeFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let what = format!("has {} bytes, and may have 1 to {KEY_BYTES_MAX}", key.len());
    Err(Error::invalid("key", what))
}

/// Takes the lock; nothing where a disk that cannot be written has none.
fn lock(vfs: &dyn Vfs, dir: &Path, read_only: bool) -> Result<Option<Box<dyn Guard>>> {
    let path = dir.join("LOCK");
    match vfs.lock(&path) {
        Ok(Lock::Held(guard)) => Ok(Some(guard)),
        Ok(Lock::Busy { holder }) => Err(Error::Locked { path, holder }),
        Err(error) if read_only && error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            Ok(None)
        }
        Err(error) => Err(Error::io("lock", path)(error)),
    }
}

/// Makes a volume where there is nothing yet.
fn make(vfs: &dyn Vfs, dir: &Path, drawn: [u8; 32], options: &VolumeOptions) -> Result<VolumeFile> {
    let entries = vfs.list(dir).map_err(Error::io("list", dir))?;
    let ours = ["LOCK", "VOLUME.new"];
    let foreign = entries.iter().find(|entry| !ours.iter().any(|name| entry.name == *name));
    if let Some(entry) = foreign {
        let name = entry.name.to_string_lossy();
        let what =
            format!("there is no file \"VOLUME\" in it, but {name:?}; name an empty directory");
        return Err(Error::Unusable { path: dir.into(), what });
    }
    if options.read_only {
        let what = "there is no volume in it, and none is made to be read only".into();
        return Err(Error::Unusable { path: dir.into(), what });
    }
    let [uuid, rest] = [0, 16].map(|start| {
        let mut half = [0; 16];
        half.copy_from_slice(&drawn[start..start + 16]);
        half
    });
    let salt = u128::from_le_bytes(rest) as u64;
    let identity = Identity { uuid, epoch: 1 };
    let file = VolumeFile { identity, layout: options.layout, salt, extent_min: 1 };
    file.write(vfs, dir)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
