//! The extents of a packed volume: their names, their headers, and which there are.
//!
//! A *shared* extent takes records one behind the other until it is full or a write to it fails; then the next one
//! says where it ends. A *sole* extent holds one object. Both get their name when they are whole, so that what
//! stands under another name is a leftover.
//!
//! 1. A number names one extent ever.
//! 2. Memory grows with the shared extents (one per GiB) and those that are far, not with the sole ones.
//! 3. What lies behind the end of a shared extent was never acknowledged.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use olivine_vfs::{File, Open, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    bytes::Take,
    error::{Error, Result},
};

use super::{
    far::{Ahead, FarFile, Store, failed},
    marker::{MARKER_BYTES, Marker, Stage},
    record::Bonds,
};

/// Records begin here.
pub(super) const HEADER_BYTES: u64 = 64;

const MAGIC: [u8; 8] = *b"OLIVEXT\0";
const FORMAT: u32 = 1;

/// Extents in one directory.
const SHARD_EXTENTS: u32 = 10_000;

/// Files kept open for reading.
const HANDLES_MAX: usize = 256;

/// What an extent is for, which its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sort {
    Shared,
    Sole,
}

/// What an extent begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExtentHeader {
    pub(super) sort: Sort,
    pub(super) uuid: [u8; 16],
    pub(super) salt: u64,
    pub(super) number: u32,
    /// The shared extent before, 0 when there is none, and where that one ends.
    pub(super) before: (u32, u64),
}

/// A name in a shard's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Extent(u32, Sort),
    Marker(u32, Sort, Stage),
    Unfinished(u32),
    Other,
}

/// Which extents there are, and the open files of some.
#[derive(Debug)]
pub(super) struct Extents {
    pub(super) vfs: Arc<dyn Vfs>,
    /// The directory of the extents.
    pub(super) dir: PathBuf,
    pub(super) uuid: [u8; 16],
    pub(super) salt: u64,
    /// The bucket that extents may lie in, if there is one.
    pub(super) far: Option<Arc<Store>>,
    state: Mutex<State>,
    handles: Mutex<Handles>,
    /// The highest shard that is known to be there, durably.
    shard: Mutex<Option<u32>>,
}

/// The shared extents, and sums over the others.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Where each shared extent ends: what is durable of it.
    pub(super) ends: BTreeMap<u32, u64>,
    /// The shared one that is being written.
    pub(super) current: Option<u32>,
    /// The first number that was never used.
    pub(super) next: u32,
    pub(super) soles: u64,
    pub(super) sole_bytes: u64,
    /// Extents that are read from the bucket, and how long they are.
    pub(super) far: BTreeMap<u32, u64>,
    pub(super) far_bytes: u64,
}

#[derive(Debug, Default)]
struct Handles {
    open: BTreeMap<u32, (Arc<dyn File>, u64)>,
    uses: u64,
    /// Files that were removed so far.
    removals: u64,
}

impl ExtentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(self.sort.number().to_le_bytes());
        out.extend(self.uuid);
        out.extend(self.salt.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.before.0.to_le_bytes());
        out.extend(self.before.1.to_le_bytes());
        out.extend(xxh3_64(&out).to_le_bytes());
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// The header that `bytes` begin with, or what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<ExtentHeader, &'static str> {
        let early = "it ends within its header";
        let whole = bytes.get(..HEADER_BYTES as usize).ok_or(early)?;
        let (front, hash) = whole.split_at(whole.len() - 8);
        if Take(hash).u64() != Some(xxh3_64(front)) {
            return Err("the checksum of its header does not match");
        }
        let mut take = Take(front);
        if take.array() != Some(MAGIC) {
            return Err("it does not begin as extents do");
        }
        if take.u32() != Some(FORMAT) {
            return Err("it has a format that this release does not read");
        }
        let sort = take.u32().and_then(Sort::of_number).ok_or("its kind is not known")?;
        let mut rest = || {
            let (uuid, salt, number) = (take.array()?, take.u64()?, take.u32()?);
            Some(ExtentHeader { sort, uuid, salt, number, before: (take.u32()?, take.u64()?) })
        };
        rest().ok_or(early)
    }
}

impl Sort {
    fn number(self) -> u32 {
        match self {
            Sort::Shared => 1,
            Sort::Sole => 2,
        }
    }

    fn of_number(number: u32) -> Option<Sort> {
        [Sort::Shared, Sort::Sole].into_iter().find(|one| one.number() == number)
    }

    fn suffix(self) -> &'static str {
        match self {
            Sort::Shared => "ext",
            Sort::Sole => "sole",
        }
    }
}

impl State {
    /// An extent is there no more.
    fn forget(&mut self, number: u32, sort: Sort, bytes: u64) {
        match sort {
            Sort::Shared => drop(self.ends.remove(&number)),
            Sort::Sole => {
                self.soles = self.soles.saturating_sub(1);
                self.sole_bytes = self.sole_bytes.saturating_sub(bytes);
            }
        }
    }
}

/// What a name in a shard's directory stands for.
pub(super) fn named(name: &str) -> Named {
    let Some((digits, suffix)) = name.split_once('.') else { return Named::Other };
    let Some(number) = number(digits, 10) else { return Named::Other };
    if let Some((sort, stage)) = suffix.split_once('.') {
        let sort = [Sort::Shared, Sort::Sole].into_iter().find(|one| one.suffix() == sort);
        return match (sort, Stage::of_suffix(stage)) {
            (Some(sort), Some(stage)) => Named::Marker(number, sort, stage),
            _ => Named::Other,
        };
    }
    match suffix {
        "ext" => Named::Extent(number, Sort::Shared),
        "sole" => Named::Extent(number, Sort::Sole),
        "new" => Named::Unfinished(number),
        _ => Named::Other,
    }
}

/// The shard whose directory has this name.
pub(super) fn shard_named(name: &str) -> Option<u32> {
    number(name, 6)
}

fn number(digits: &str, count: usize) -> Option<u32> {
    let are_digits = digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_digit());
    if are_digits { digits.parse().ok() } else { None }
}

pub(super) fn shard_of(number: u32) -> u32 {
    number / SHARD_EXTENTS
}

impl Extents {
    pub(super) fn new(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        (uuid, salt): ([u8; 16], u64),
        far: Option<Arc<Store>>,
    ) -> Extents {
        let (state, handles, shard) = (Mutex::default(), Mutex::default(), Mutex::default());
        Extents { vfs, dir, uuid, salt, far, state, handles, shard }
    }

    pub(super) fn bonds(&self, number: u32) -> Bonds {
        Bonds::new(self.salt, number)
    }

    /// The header, if it is that of extent `number` of this volume; else what it is.
    pub(super) fn own(
        &self,
        header: ExtentHeader,
        number: u32,
        sort: Sort,
    ) -> Result<ExtentHeader, &'static str> {
        if (header.uuid, header.salt) != (self.uuid, self.salt) {
            return Err("it belongs to another volume");
        }
        if (header.number, header.sort) != (number, sort) {
            return Err("its header is that of another extent");
        }
        Ok(header)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shard_dir(&self, shard: u32) -> PathBuf {
        self.dir.join(format!("{shard:06}"))
    }

    pub(super) fn path(&self, number: u32, sort: Sort) -> PathBuf {
        self.shard_dir(shard_of(number)).join(format!("{number:010}.{}", sort.suffix()))
    }

    pub(super) fn new_path(&self, number: u32) -> PathBuf {
        self.shard_dir(shard_of(number)).join(format!("{number:010}.new"))
    }

    pub(super) fn marker_path(&self, number: u32, sort: Sort, stage: Stage) -> PathBuf {
        let (sort, stage) = (sort.suffix(), stage.suffix());
        self.shard_dir(shard_of(number)).join(format!("{number:010}.{sort}.{stage}"))
    }

    /// Whether an extent is read from the bucket.
    pub(super) fn is_far(&self, number: u32) -> bool {
        self.state().far.contains_key(&number)
    }

    /// Whether the file of an extent is here.
    pub(super) fn has_local(&self, number: u32, sort: Sort) -> Result<bool> {
        let path = self.path(number, sort);
        Ok(self.vfs.entry(&path).map_err(Error::io("look for", &path))?.is_some())
    }

    /// What stands in a marker.
    pub(super) fn marker(&self, number: u32, sort: Sort, stage: Stage) -> Result<Marker> {
        let path = self.marker_path(number, sort, stage);
        let file = match self.vfs.open(&path, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Gone { path });
            }
            answer => answer.map_err(Error::io("open", &path))?,
        };
        let mut bytes = [0; MARKER_BYTES + 1];
        let read = read_at(&*file, &path, &mut bytes, 0)?;
        let marker = Marker::decode(bytes.get(..read).unwrap_or_default());
        let own = marker.and_then(|marker| self.own(marker.header, number, sort).map(|_| marker));
        own.map_err(|what| Error::corrupt(&path, 0, what))
    }

    /// Has a marker say that its extent is further on, durably.
    pub(super) fn advance(&self, number: u32, sort: Sort, from: Stage, to: Stage) -> Result<()> {
        let source = self.marker_path(number, sort, from);
        let target = self.marker_path(number, sort, to);
        self.vfs.rename(&source, &target).map_err(Error::io("rename", &source))?;
        self.sync_shard(number)
    }

    pub(super) fn sync_shard(&self, number: u32) -> Result<()> {
        let dir = self.shard_dir(shard_of(number));
        self.vfs.sync_dir(&dir).map_err(Error::io("sync", &dir))
    }

    /// From now on an extent is read from the bucket.
    pub(super) fn turn_far(&self, number: u32, bytes: u64) {
        let mut state = self.state();
        if state.far.insert(number, bytes).is_none() {
            state.far_bytes += bytes;
        }
        drop(state);
        self.close_handle(number);
    }

    fn close_handle(&self, number: u32) {
        let mut handles = self.handles();
        handles.removals += 1;
        handles.open.remove(&number);
    }

    /// Removes the file of an extent that lies in the bucket.
    pub(super) fn drop_local(&self, number: u32, sort: Sort) -> Result<()> {
        let path = self.path(number, sort);
        match self.vfs.remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            answer => answer.map_err(Error::io("remove", &path))?,
        }
        self.sync_shard(number)
    }

    /// A far extent as a file; one that is walked through is read past the cache.
    pub(super) fn far_file(
        store: &Arc<Store>,
        number: u32,
        name: String,
        bytes: u64,
        is_walked: bool,
    ) -> Arc<dyn File> {
        let ahead = is_walked.then(|| Mutex::new(Ahead::default()));
        Arc::new(FarFile { store: Arc::clone(store), number, name, bytes, ahead })
    }

    /// An extent's file, to be walked through.
    pub(super) fn open_to_walk(&self, number: u32, sort: Sort) -> Result<Arc<dyn File>> {
        if self.is_far(number) {
            self.open_far(number, sort, true)
        } else {
            self.open(number, sort)
        }
    }

    fn open_far(&self, number: u32, sort: Sort, is_walked: bool) -> Result<Arc<dyn File>> {
        let marker = self.marker(number, sort, Stage::Far)?;
        let Some(store) = &self.far else {
            let path = self.marker_path(number, sort, Stage::Far);
            return Err(Error::Away { path, what: "no bucket was named".into() });
        };
        let name = store.name(number, marker.hash);
        Ok(Extents::far_file(store, number, name, marker.bytes, is_walked))
    }

    /// Which sort an extent is, if it is there.
    pub(super) fn sort_of(&self, number: u32) -> Sort {
        if self.state().ends.contains_key(&number) { Sort::Shared } else { Sort::Sole }
    }

    /// A number that no extent had.
    pub(super) fn take_number(&self) -> Result<u32> {
        let mut state = self.state();
        let number = state.next;
        let what = "has no number left for another extent; copy its objects into a new volume";
        let unusable = || Error::Unusable { path: self.dir.clone(), what: what.into() };
        state.next = number.checked_add(1).ok_or_else(unusable)?;
        Ok(number)
    }

    /// An unfinished extent's file, in whose place there is nothing yet.
    pub(super) fn create(&self, number: u32) -> Result<Arc<dyn File>> {
        self.make_shard(shard_of(number))?;
        let path = self.new_path(number);
        self.vfs.open(&path, Open::Create).map_err(Error::io("create", &path))
    }

    /// Gives an unfinished extent, which is synced, its name.
    pub(super) fn publish(&self, number: u32, sort: Sort) -> Result<()> {
        let (new, path) = (self.new_path(number), self.path(number, sort));
        self.vfs.rename(&new, &path).map_err(Error::io("rename", &new))?;
        let dir = self.shard_dir(shard_of(number));
        self.vfs.sync_dir(&dir).map_err(Error::io("sync", &dir))
    }

    /// Gives an unfinished extent up. What cannot be removed now is removed when the volume is opened again.
    pub(super) fn give_up(&self, number: u32) {
        self.vfs.remove_file(&self.new_path(number)).ok();
    }

    fn make_shard(&self, shard: u32) -> Result<()> {
        let mut highest = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
        if highest.is_some_and(|highest| shard <= highest) {
            return Ok(());
        }
        let dir = self.shard_dir(shard);
        match self.vfs.create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", &dir)(error));
            }
            _ => {}
        }
        self.vfs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        *highest = Some(shard);
        Ok(())
    }

    /// An extent's file, to read.
    pub(super) fn open(&self, number: u32, sort: Sort) -> Result<Arc<dyn File>> {
        let removals = {
            let mut handles = self.handles();
            handles.uses += 1;
            let now = handles.uses;
            if let Some((file, used)) = handles.open.get_mut(&number) {
                *used = now;
                return Ok(Arc::clone(file));
            }
            handles.removals
        };
        let path = self.path(number, sort);
        let file = if self.is_far(number) {
            self.open_far(number, sort, false)?
        } else {
            match self.vfs.open(&path, Open::Read) {
                // It may have been sent away just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !self.is_far(number) {
                        return Err(Error::Gone { path });
                    }
                    self.open_far(number, sort, false)?
                }
                answer => answer.map_err(Error::io("open", &path))?,
            }
        };
        self.keep_open(number, &file, removals);
        Ok(file)
    }

    /// Keeps a file open, unless it may have been removed meanwhile: then its room would not be given back.
    fn keep_open(&self, number: u32, file: &Arc<dyn File>, removals: u64) {
        let mut handles = self.handles();
        if handles.removals != removals {
            return;
        }
        if HANDLES_MAX <= handles.open.len() {
            let oldest = handles.open.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                handles.open.remove(&oldest);
            }
        }
        let now = handles.uses;
        handles.open.insert(number, (Arc::clone(file), now));
    }

    /// Removes an extent's file, durably.
    pub(super) fn remove(&self, number: u32, sort: Sort) -> Result<()> {
        if self.is_far(number) {
            self.advance(number, sort, Stage::Far, Stage::Gone)?;
            self.close_handle(number);
            let mut state = self.state();
            let bytes = state.far.remove(&number).unwrap_or_default();
            state.far_bytes -= bytes;
            state.forget(number, sort, bytes);
            return Ok(());
        }
        let up = self.marker_path(number, sort, Stage::Up);
        if self.vfs.entry(&up).map_err(Error::io("look for", &up))?.is_some() {
            // What was sent of it, if anything, is taken out of the bucket later.
            self.advance(number, sort, Stage::Up, Stage::Gone)?;
        }
        let path = self.path(number, sort);
        let bytes = match sort {
            Sort::Shared => 0,
            Sort::Sole => {
                let entry = self.vfs.entry(&path).map_err(Error::io("look for", &path))?;
                entry.ok_or_else(|| Error::Gone { path: path.clone() })?.bytes
            }
        };
        self.vfs.remove_file(&path).map_err(Error::io("remove", &path))?;
        self.close_handle(number);
        self.state().forget(number, sort, bytes);
        self.sync_shard(number)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shards that have directories, in order.
    pub(super) fn shards(&self) -> Result<Vec<u32>> {
        let entries = self.vfs.list(&self.dir).map_err(Error::io("list", &self.dir))?;
        let shards = entries.iter().filter_map(|entry| shard_named(entry.name.to_str()?));
        Ok(shards.collect())
    }
}

/// Fills `buffer` from `offset` as far as the file goes.
pub(super) fn read_at(
    file: &dyn File,
    path: &Path,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize> {
    file.read_at(buffer, offset).map_err(|error| failed(path, offset, error))
}
