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

use commit::Done;
use files::Files;
use identity::VolumeFile;
use packed::Packed;
use room::Room;

mod commit;
mod extents;
mod far;
mod files;
pub(crate) mod fuzzing;
mod identity;
mod marker;
mod names;
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
mod tiering;
mod vacuum;
mod writer;

pub use far::{Far, FarWork};
pub use identity::Identity;
pub use names::{mkv_key, mkv_path, mkv_subvolume, smol_path};
pub use options::{Layout, VolumeOptions};
pub use place::Place;
pub use reading::{Reading, Stretch};
pub(crate) use record::record_bytes;
pub use record::{ATTRIBUTES_BYTES_MAX, KEY_BYTES_MAX, Kind};
pub use recover::{Cut, Opened};
pub use scan::{Damage, Found, Record, Scan};
pub use scrub::Scrubbed;
pub use tiering::SentAway;
pub use vacuum::{Moved, Rewritten};
pub use writer::Writer;

/// An open volume. It is closed, with all that waits written, when it is dropped.
#[derive(Debug)]
pub struct Volume {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    read_only: bool,
    file: Mutex<VolumeFile>,
    /// Appended at once; a longer value is to be begun.
    small_bytes_max: u64,
    body: Body,
    _lock: Option<Box<dyn Guard>>,
}

/// What keeps the objects, as the layout says.
#[derive(Clone, Debug)]
enum Body {
    Packed(Arc<Packed>),
    Files(Arc<Files>),
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
    /// What is known of the object beside its bytes, in the caller's words: at most 8 KiB. Layouts of files keep it not.
    pub attributes: &'a [u8],
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
    /// What is known of the object beside its bytes, in the caller's words: at most 8 KiB. Layouts of files keep it not.
    pub attributes: &'a [u8],
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
    /// Whether it lies in the bucket.
    pub is_far: bool,
}

/// What a volume takes, and what it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How many extents there are; none in the layouts that keep files.
    pub extents: u64,
    /// Bytes in them, those of dead records included.
    pub bytes: u64,
    /// How many of the extents lie in the bucket.
    pub far_extents: u64,
    /// Bytes in those.
    pub far_bytes: u64,
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
        Volume::open_tiered(vfs, clock, dir, drawn, options, None)
    }

    /// As `open`, with a bucket that extents may lie in. Without one a volume that has extents there is not opened.
    pub fn open_tiered(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        drawn: [u8; 32],
        options: &VolumeOptions,
        bucket: Option<Arc<dyn Far>>,
    ) -> Result<(Volume, Opened)> {
        options.validate()?;
        if !options.read_only {
            make_dir(&*vfs, dir)?;
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
        if let Some(asked) = options.subvolumes.filter(|asked| *asked != file.subvolumes) {
            let found = file.subvolumes;
            let what = format!(
                "its files are spread over {found} subvolumes, not {asked}; open it with {found}, or export it into a new volume"
            );
            return Err(Error::Unusable { path: dir.into(), what });
        }
        let room = Room::new(Arc::clone(&vfs), clock, dir.into(), options.room_bytes_min);
        let (body, mut opened) =
            Body::open(Arc::clone(&vfs), Arc::new(room), dir, &file, options, bucket)?;
        opened.is_new = is_new;
        let volume = Volume {
            vfs,
            dir: dir.into(),
            read_only: options.read_only,
            file: Mutex::new(file),
            small_bytes_max: options.packed_bytes_max,
            body,
            _lock: lock,
        };
        Ok((volume, opened))
    }

    /// Where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
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

    /// Whether objects lie packed in extents, and not in a file each.
    pub fn is_packed(&self) -> bool {
        matches!(self.body, Body::Packed(_))
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
            Ok(()) => self.body.append(record, Box::new(done)),
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
        check_attributes(head.attributes)?;
        Writer::begin(&self.body, head)
    }

    /// The object of `key` and `generation`, if it is what lies at `place`.
    pub fn read(&self, place: &Place, key: &[u8], generation: u64) -> Result<Reading> {
        check_key(key)?;
        match &self.body {
            Body::Packed(packed) => packed.read(place, key, generation),
            Body::Files(files) => files.read(place, key),
        }
    }

    /// Walks the records of an extent from offset `from` on; 0 is the beginning. Of long values only the heads are
    /// read.
    pub fn scan(&self, extent: u32, from: u64) -> Result<Scan> {
        self.packed()?.scan(extent, from, false)
    }

    /// Up to `count` extents from number `from` on, in the order of their numbers.
    pub fn extents(&self, from: u32, count: usize) -> Result<Vec<ExtentInfo>> {
        match &self.body {
            Body::Packed(packed) => packed.extents_from(from, count),
            Body::Files(_) => Ok(Vec::new()),
        }
    }

    /// What the volume takes, and what it has left.
    pub fn usage(&self) -> Result<Usage> {
        let (extents, bytes) = match &self.body {
            Body::Packed(packed) => packed.sums(),
            Body::Files(_) => (0, 0),
        };
        let (far_extents, far_bytes) = match &self.body {
            Body::Packed(packed) => packed.far_sums(),
            Body::Files(_) => (0, 0),
        };
        let room = self.body.room().free()?;
        let is_full = room.is_some_and(|room| room <= self.body.room().reserve());
        Ok(Usage {
            extents,
            bytes,
            far_extents,
            far_bytes,
            room,
            is_full,
            is_read_only: self.read_only,
        })
    }

    /// Whether there is such an extent.
    pub fn has_extent(&self, extent: u32) -> Result<bool> {
        Ok(self.extents(extent, 1)?.first().is_some_and(|info| info.number == extent))
    }

    /// The number of the oldest extent, if there is any: a tombstone in it has nothing left to bury.
    pub fn oldest_extent(&self) -> Result<Option<u32>> {
        Ok(self.extents(0, 1)?.first().map(|info| info.number))
    }

    /// Moves the live records of a sealed extent into the current one: those from offset `from` on, up to about
    /// `bytes_max` of them (at most 16 MiB and one record). `is_live` is asked about all that were found at once, and answers for each.
    ///
    /// What was moved is durable in its new place, and is in its old one until the extent is removed. To be done by the
    /// caller, in this order: publish the new places; go on until there is no `next`; wait until no grant
    /// names an old place; remove the extent. An object that was deleted between the question and the answer has its
    /// tombstone before its new copy: it is to be buried once more, or a rebuilt index might find the copy alone.
    pub fn rewrite_step(
        &self,
        extent: u32,
        from: u64,
        bytes_max: u64,
        is_live: impl FnOnce(&[Record]) -> Result<Vec<bool>>,
    ) -> Result<Rewritten> {
        self.must_be_writable()?;
        self.packed()?.rewrite_step(extent, from, bytes_max, is_live)
    }

    /// Reads what lies in an extent from offset `from` on, about `bytes_max` of it, and compares every checksum.
    pub fn scrub_step(&self, extent: u32, from: u64, bytes_max: u64) -> Result<Scrubbed> {
        self.packed()?.scrub_step(extent, from, bytes_max)
    }

    /// Whether an extent is read from the bucket, so that reading may wait for the network.
    pub fn is_far(&self, extent: u32) -> bool {
        match &self.body {
            Body::Packed(packed) => packed.extents.is_far(extent),
            Body::Files(_) => false,
        }
    }

    /// What the bucket did since the volume was opened; nothing where there is none.
    pub fn far_work(&self) -> Option<FarWork> {
        match &self.body {
            Body::Packed(packed) => packed.far_work(),
            Body::Files(_) => None,
        }
    }

    /// Sends a sealed extent into the bucket, has that give it back, and removes its file. `pace` is told how much was
    /// read, and may wait or give up: what was done so far is gone on with, or taken back, later.
    pub fn send_away(
        &self,
        extent: u32,
        pace: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<SentAway> {
        self.must_be_writable()?;
        self.packed()?.send_away(extent, pace)
    }

    /// Whether the bucket has lost an extent that was sent there.
    pub fn is_lost(&self, extent: u32) -> Result<bool> {
        self.packed()?.is_lost(extent)
    }

    /// When an extent's file was written to last, in milliseconds since 1970; nothing if that is not known.
    pub fn written(&self, extent: u32) -> Result<Option<u64>> {
        self.packed()?.written(extent)
    }

    /// Takes out of the bucket what nobody reads any more and could not be taken out before. Returns how many extents.
    pub fn sweep(&self) -> Result<u64> {
        self.must_be_writable()?;
        self.packed()?.sweep()
    }

    /// Removes a sealed extent, with whatever is in it. Nobody may hold a grant for a place in it any more.
    pub fn remove_extent(&self, extent: u32) -> Result<()> {
        self.must_be_writable()?;
        let packed = self.packed()?;
        if packed.is_newest(extent) {
            // Its number must not come again when the volume is opened anew.
            let mut file = self.file();
            let mut changed = *file;
            changed.extent_min = changed.extent_min.max(extent.saturating_add(1));
            changed.write(&*self.vfs, &self.dir)?;
            *file = changed;
        }
        packed.remove(extent)
    }

    fn check(&self, record: &NewRecord<'_>) -> Result<()> {
        self.must_be_writable()?;
        check_key(record.key)?;
        check_attributes(record.attributes)?;
        let bytes_max = match record.kind {
            Kind::Put => self.small_bytes_max.max(record::PIECE_BYTES as u64),
            Kind::Tombstone | Kind::State => record::PIECE_BYTES as u64,
        };
        if bytes_max < record.value.len() as u64 {
            let bytes = record.value.len();
            let what = format!("has {bytes} bytes, and may have {bytes_max}; begin a longer one");
            return Err(Error::invalid("value", what));
        }
        Ok(())
    }

    fn packed(&self) -> Result<&Arc<Packed>> {
        match &self.body {
            Body::Packed(packed) => Ok(packed),
            Body::Files(files) => {
                let what = format!("is {}, which has no extents", files.layout().name());
                Err(Error::invalid("layout", what))
            }
        }
    }

    fn must_be_writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { path: self.dir.clone() }) } else { Ok(()) }
    }

    fn file(&self) -> MutexGuard<'_, VolumeFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    fn open(
        vfs: Arc<dyn Vfs>,
        room: Arc<Room>,
        dir: &Path,
        file: &VolumeFile,
        options: &VolumeOptions,
        bucket: Option<Arc<dyn Far>>,
    ) -> Result<(Body, Opened)> {
        if file.layout == Layout::Packed {
            let (packed, opened) = Packed::open(vfs, room, dir, file, options, bucket)?;
            return Ok((Body::Packed(Arc::new(packed)), opened));
        }
        if bucket.is_some() {
            let what =
                format!("is {}, which has no extents to be put into a bucket", file.layout.name());
            return Err(Error::invalid("layout", what));
        }
        let (files, leftovers) =
            Files::open(vfs, dir, (file.layout, file.subvolumes), room, options.read_only)?;
        Ok((Body::Files(Arc::new(files)), Opened { leftovers, ..Opened::default() }))
    }

    fn append(&self, record: &NewRecord<'_>, done: Done) {
        match self {
            Body::Packed(packed) => packed.append(record, done),
            Body::Files(files) => files.append(record, done),
        }
    }

    fn room(&self) -> &Room {
        match self {
            Body::Packed(packed) => &packed.room,
            Body::Files(files) => files.room(),
        }
    }
}

impl Drop for Volume {
    /// Writers may outlive it; nothing is written through them any more that could be taken for stored.
    fn drop(&mut self) {
        match &self.body {
            Body::Packed(packed) => packed.close(),
            Body::Files(files) => files.close(),
        }
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let what = format!("has {} bytes, and may have 1 to {KEY_BYTES_MAX}", key.len());
    Err(Error::invalid("key", what))
}

fn check_attributes(attributes: &[u8]) -> Result<()> {
    let bytes = attributes.len();
    if bytes <= ATTRIBUTES_BYTES_MAX {
        return Ok(());
    }
    let what = format!("have {bytes} bytes, and may have {ATTRIBUTES_BYTES_MAX}");
    Err(Error::invalid("attributes", what))
}

/// Makes the directory, and those above it as far as they are not there, durably.
fn make_dir(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    let is_there = |dir: &Path| vfs.entry(dir).is_ok_and(|entry| entry.is_some());
    let missing = dir.ancestors().filter(|dir| !dir.as_os_str().is_empty());
    let missing: Vec<&Path> = missing.take_while(|dir| !is_there(dir)).collect();
    make_dirs(vfs, dir).map_err(Error::io("create", dir))?;
    // One that was there may have been made by an opening that a crash ended.
    let last = missing.is_empty().then_some(dir);
    for parent in missing.into_iter().chain(last).filter_map(Path::parent) {
        vfs.sync_dir(parent).map_err(Error::io("sync", parent))?;
    }
    Ok(())
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
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&drawn[..16]);
    let salt = salt_of(&drawn);
    let identity = Identity { uuid, epoch: 1 };
    let (layout, subvolumes) = (options.layout, options.subvolumes.unwrap_or(1));
    let file = VolumeFile { identity, layout, subvolumes, salt, extent_min: 1 };
    file.write(vfs, dir)?;
    Ok(file)
}

/// The salt of a volume that is made with this chance.
fn salt_of(drawn: &[u8; 32]) -> u64 {
    let mut salt = [0; 8];
    salt.copy_from_slice(&drawn[16..24]);
    u64::from_le_bytes(salt)
}

#[cfg(test)]
mod tests;
