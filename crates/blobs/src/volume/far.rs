//! Extents that lie in a bucket, and reading them as if they were files.
//!
//! It must survive a bucket that does not answer, that answers late, and one that has lost what it was given.
//!
//! 1. What is read of the bucket is verified as what is read of the disk: by the checksums in the extent, by whoever reads.
//! 2. Memory grows with the extents that are far and with what the cache holds, not with what is asked for: a read takes
//!    4 MiB of the bucket at once, at most.
//! 3. Of several readers of one piece, one asks the bucket.
//! 4. What the cache holds has a hash in memory; a piece that is not what was put into it is fetched again.
//! 5. A bucket that is not the right one, or not there, has lost nothing: only one that knows this volume has.

use std::{
    collections::{BTreeMap, BTreeSet},
    error, fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use olivine_vfs::{File, Open, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// A bucket, or something like it: whole objects under names. Calls may wait for the network.
///
/// What is not there is told as `NotFound`; any other error says that it cannot be known now.
pub trait Far: Send + Sync + fmt::Debug {
    /// Stores an object of `bytes`, which `read` gives from an offset on, in place of any other of its name. When this fails,
    /// the object is there as a whole or not.
    fn put(
        &self,
        name: &str,
        bytes: u64,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<()>;

    /// Fills `buffer` with an object's bytes from `offset` on; returns fewer only where the object ends.
    fn read(&self, name: &str, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How long an object is; nothing if there is none.
    fn bytes(&self, name: &str) -> io::Result<Option<u64>>;

    /// Removes an object, if there is one.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// Bytes that are cached together, and at least asked for.
const PIECE_BYTES: usize = 64 << 10;

/// The most that is asked for at once.
const ASKED_BYTES_MAX: usize = 4 << 20;

/// What a far read did not come to.
#[derive(Debug)]
struct Trouble {
    is_lost: bool,
    what: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl error::Error for Trouble {}

/// What the bucket did since the volume was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FarWork {
    /// Requests for bytes of extents.
    pub reads: u64,
    /// Bytes that came.
    pub read_bytes: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Pieces that the cache had.
    pub hits: u64,
}

/// The bucket of a volume, and the cache in front of it.
#[derive(Debug)]
pub(super) struct Store {
    bucket: Arc<dyn Far>,
    /// What the names of this volume begin with.
    prefix: String,
    uuid: [u8; 16],
    cache: Cache,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    failed: AtomicU64,
    hits: AtomicU64,
}

impl Store {
    pub(super) fn new(
        bucket: Arc<dyn Far>,
        uuid: [u8; 16],
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        cache_bytes: Option<u64>,
    ) -> Store {
        use fmt::Write as _;
        let mut prefix = String::with_capacity(33);
        for byte in uuid {
            // A string takes whatever it is given.
            write!(prefix, "{byte:02x}").ok();
        }
        let cache = Cache::new(vfs, dir.join("tier.cache"), cache_bytes);
        let (reads, read_bytes, failed, hits) = Default::default();
        Store { bucket, prefix, uuid, cache, reads, read_bytes, failed, hits }
    }

    /// The name of an extent with these contents.
    pub(super) fn name(&self, number: u32, hash: u64) -> String {
        format!("{}/{number:010}-{hash:016x}", self.prefix)
    }

    fn mark(&self) -> String {
        format!("{}/VOLUME", self.prefix)
    }

    pub(super) fn work(&self) -> FarWork {
        FarWork {
            reads: self.reads.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            failed: self.failed.load(Relaxed),
            hits: self.hits.load(Relaxed),
        }
    }

    /// Has the bucket know this volume.
    pub(super) fn introduce(&self, path: &Path) -> Result<()> {
        let (name, uuid) = (self.mark(), self.uuid);
        match self.bucket.bytes(&name) {
            Ok(Some(16)) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(self.away(path, &error)),
        }
        let put = self.bucket.put(&name, 16, &mut |buffer, offset| {
            let left = uuid.get(offset as usize..).unwrap_or_default();
            let bytes = left.len().min(buffer.len());
            buffer[..bytes].copy_from_slice(&left[..bytes]);
            Ok(bytes)
        });
        put.map_err(|error| self.away(path, &error))
    }

    /// Stores an extent.
    pub(super) fn put(
        &self,
        name: &str,
        bytes: u64,
        path: &Path,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
    ) -> Result<()> {
        self.bucket.put(name, bytes, read).map_err(|error| self.away(path, &error))
    }

    /// How long an extent is in the bucket; nothing if it is not there.
    pub(super) fn bytes(&self, name: &str, path: &Path) -> Result<Option<u64>> {
        self.bucket.bytes(name).map_err(|error| self.away(path, &error))
    }

    pub(super) fn remove(&self, name: &str, path: &Path) -> Result<()> {
        // What is not there is removed; what is told as not there is the bucket itself.
        self.bucket.remove(name).map_err(|error| self.away(path, &error))
    }

    /// Whether the bucket has lost an extent: it knows the volume, and not the extent.
    pub(super) fn is_lost(&self, name: &str, bytes: u64, path: &Path) -> Result<bool> {
        if self.bytes(name, path)? == Some(bytes) {
            return Ok(false);
        }
        match self.bytes(&self.mark(), path)? {
            Some(_) => Ok(true),
            None => Err(Error::Away { path: path.into(), what: STRANGE.into() }),
        }
    }

    fn away(&self, path: &Path, error: &io::Error) -> Error {
        self.failed.fetch_add(1, Relaxed);
        Error::Away { path: path.into(), what: error.to_string() }
    }

    /// Reads of the bucket, past the cache.
    fn ask(&self, name: &str, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.reads.fetch_add(1, Relaxed);
        let trouble = |is_lost, what: String| {
            self.failed.fetch_add(1, Relaxed);
            io::Error::other(Trouble { is_lost, what })
        };
        match self.bucket.read(name, buffer, offset) {
            Ok(read) if read == buffer.len() => {
                self.read_bytes.fetch_add(read as u64, Relaxed);
                Ok(())
            }
            Ok(_) => Err(trouble(true, "the bucket has less of it than it was given".into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // An empty bucket is the wrong one, and one that is not there says the same.
                Err(match self.bucket.bytes(&self.mark()) {
                    Ok(Some(_)) => trouble(true, LOST.into()),
                    Ok(None) => trouble(false, STRANGE.into()),
                    Err(error) => trouble(false, error.to_string()),
                })
            }
            Err(error) => Err(trouble(false, error.to_string())),
        }
    }
}

pub(super) const LOST: &str = "the bucket has lost it";
const STRANGE: &str = "the bucket knows nothing of this volume; see whether it is the right one";

/// What a read that failed comes to.
pub(super) fn failed(path: &Path, offset: u64, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Trouble>()) {
        Some(Trouble { is_lost: true, what }) => Error::corrupt(path, offset, what.clone()),
        Some(Trouble { is_lost: false, what }) => {
            Error::Away { path: path.into(), what: what.clone() }
        }
        None => Error::io("read", path)(error),
    }
}

/// An extent in the bucket, read as a file is.
#[derive(Debug)]
pub(super) struct FarFile {
    pub(super) store: Arc<Store>,
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Whoever walks through all of it leaves the cache to others, and has what comes next.
    pub(super) ahead: Option<Mutex<Ahead>>,
}

/// What was asked for beyond what was needed.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    start: u64,
    bytes: Vec<u8>,
}

impl FarFile {
    fn walk(&self, ahead: &Mutex<Ahead>, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut done, mut at) = (0, offset);
        while done < buffer.len() {
            let skipped =
                at.checked_sub(ahead.start).and_then(|skipped| usize::try_from(skipped).ok());
            let at_hand =
                skipped.and_then(|skipped| ahead.bytes.get(skipped..)).unwrap_or_default();
            if at_hand.is_empty() {
                let bytes = (self.bytes - at).min(ASKED_BYTES_MAX as u64) as usize;
                let mut next = std::mem::take(&mut ahead.bytes);
                next.resize(bytes, 0);
                self.store.ask(&self.name, &mut next, at)?;
                *ahead = Ahead { start: at, bytes: next };
                continue;
            }
            let bytes = at_hand.len().min(buffer.len() - done);
            buffer[done..done + bytes].copy_from_slice(&at_hand[..bytes]);
            done += bytes;
            at += bytes as u64;
        }
        Ok(())
    }
}

impl File for FarFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.bytes.saturating_sub(offset);
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..bytes];
        match &self.ahead {
            Some(ahead) => self.walk(ahead, buffer, offset)?,
            None => self.store.cached(self, buffer, offset)?,
        }
        Ok(bytes)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A piece: the extent's number, and which of its pieces.
type Piece = (u32, u64);

/// Pieces of extents, in a file of bounded length.
#[derive(Debug)]
struct Cache {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    slots_max: usize,
    state: Mutex<CacheState>,
    /// Told when a piece that was asked for has come, or does not.
    come: Condvar,
}

#[derive(Debug, Default)]
struct CacheState {
    /// Nothing until there is something to keep, and when it could not be made.
    file: Option<Arc<dyn File>>,
    is_tried: bool,
    places: BTreeMap<Piece, usize>,
    slots: Vec<Slot>,
    /// Where to look next for what was not used for long.
    hand: usize,
    /// What somebody asks the bucket for.
    asked: BTreeSet<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    piece: Piece,
    hash: u64,
    is_used: bool,
}

impl Cache {
    /// A cache of so many bytes; nothing is kept where nothing may be written.
    fn new(vfs: Arc<dyn Vfs>, path: PathBuf, bytes: Option<u64>) -> Cache {
        let slots = bytes.unwrap_or(0) / PIECE_BYTES as u64;
        let slots_max = usize::try_from(slots).unwrap_or(usize::MAX).max(1);
        let state = CacheState { is_tried: bytes.is_none(), ..CacheState::default() };
        Cache { vfs, path, slots_max, state: Mutex::new(state), come: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache's file: what an earlier opening left is of no use, as its hashes are gone.
    fn file(&self, state: &mut CacheState) -> Option<Arc<dyn File>> {
        if !state.is_tried {
            state.is_tried = true;
            self.vfs.remove_file(&self.path).ok();
            state.file = self.vfs.open(&self.path, Open::Create).ok();
        }
        state.file.clone()
    }

    /// Puts a piece where the one was that was not used for longest, about.
    fn keep(&self, piece: Piece, bytes: &[u8]) {
        let mut state = self.state();
        let Some(file) = self.file(&mut state) else { return };
        let slot = Slot { piece, hash: xxh3_64(bytes), is_used: false };
        let at = if state.slots.len() < self.slots_max {
            state.slots.push(slot);
            state.slots.len() - 1
        } else {
            let at = state.turn();
            let old = state.slots[at].piece;
            if state.places.get(&old) == Some(&at) {
                state.places.remove(&old);
            }
            state.slots[at] = slot;
            at
        };
        // Whoever reads the old piece just now finds that it is another, and asks anew.
        if file.write_at(bytes, (at * PIECE_BYTES) as u64).is_ok() {
            state.places.insert(piece, at);
        }
    }
}

impl CacheState {
    /// A slot to be used anew.
    fn turn(&mut self) -> usize {
        loop {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if !std::mem::take(&mut self.slots[at].is_used) {
                return at;
            }
        }
    }
}

/// Pieces that this reader asks for; others may again when it is dropped.
struct Asking<'a> {
    cache: &'a Cache,
    number: u32,
    first: u64,
    count: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        for nth in self.first..self.first + self.count {
            state.asked.remove(&(self.number, nth));
        }
        self.cache.come.notify_all();
    }
}

/// Where the next piece comes from.
enum Next<'a> {
    Kept(Arc<dyn File>, usize, u64),
    Asked(Asking<'a>),
}

impl Store {
    /// Forgets what the cache has of an extent.
    pub(super) fn forget(&self, number: u32) {
        let mut state = self.cache.state();
        state.places.retain(|(of, _), _| *of != number);
    }

    fn cached(&self, file: &FarFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (piece_bytes, end) = (PIECE_BYTES as u64, offset + buffer.len() as u64);
        let mut at = offset;
        let mut fetched = Vec::new();
        while at < end {
            let nth = at / piece_bytes;
            let (from, length) = match self.next(file.number, nth, end.div_ceil(piece_bytes)) {
                Next::Kept(kept, slot, hash) => {
                    let length = (file.bytes - nth * piece_bytes).min(piece_bytes) as usize;
                    fetched.resize(length, 0);
                    let read = kept.read_at(&mut fetched, (slot * PIECE_BYTES) as u64);
                    if !read.is_ok_and(|read| read == length) || xxh3_64(&fetched) != hash {
                        self.cache.state().places.remove(&(file.number, nth));
                        continue;
                    }
                    self.hits.fetch_add(1, Relaxed);
                    (nth * piece_bytes, length)
                }
                Next::Asked(asking) => {
                    let from = nth * piece_bytes;
                    let to = file.bytes.min((nth + asking.count) * piece_bytes);
                    fetched.resize((to - from) as usize, 0);
                    self.ask(&file.name, &mut fetched, from)?;
                    for (piece, bytes) in (nth..).zip(fetched.chunks(PIECE_BYTES)) {
                        self.cache.keep((file.number, piece), bytes);
                    }
                    (from, fetched.len())
                }
            };
            let skipped = (at - from) as usize;
            let bytes = (length - skipped).min((end - at) as usize);
            let start = (at - offset) as usize;
            buffer[start..start + bytes].copy_from_slice(&fetched[skipped..skipped + bytes]);
            at += bytes as u64;
        }
        Ok(())
    }

    /// The piece `nth` of an extent if it is kept; else it is to be asked for now, with those after it that nobody has or
    /// asks for, up to piece `end`. Waits while somebody else asks for it.
    fn next(&self, number: u32, nth: u64, end: u64) -> Next<'_> {
        let cache = &self.cache;
        let mut state = cache.state();
        loop {
            if let Some(at) = state.places.get(&(number, nth)).copied() {
                let file = cache.file(&mut state);
                if let (Some(file), Some(slot)) = (file, state.slots.get_mut(at)) {
                    slot.is_used = true;
                    return Next::Kept(file, at, slot.hash);
                }
                state.places.remove(&(number, nth));
            }
            if !state.asked.contains(&(number, nth)) {
                break;
            }
            state = cache.come.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let most = end.min(nth + (ASKED_BYTES_MAX / PIECE_BYTES) as u64).max(nth + 1);
        let free = (nth..most).take_while(|nth| {
            let piece = (number, *nth);
            !state.places.contains_key(&piece) && !state.asked.contains(&piece)
        });
        let count = free.count() as u64;
        state.asked.extend((nth..nth + count).map(|nth| (number, nth)));
        Next::Asked(Asking { cache, number, first: nth, count })
    }
}
