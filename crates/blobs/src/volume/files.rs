//! A volume that keeps a file for each object: the value alone, under a name made of the key.
//!
//! It must survive power cuts: a value is written under another name, synced, and renamed; then its directory is
//! synced.
//!
//! 1. A name stands for a whole value, the old one or the new one.
//! 2. What was told as stored is durable, its name included.
//! 3. Nothing says whose a file is, of which generation, or whether it rotted: that is the price of these layouts.
//!    What the index knows is compared, and that is the length.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use olivine_vfs::{EntryKind, File, Open, Vfs};

use crate::error::{Error, Result};

use super::{
    NewRecord, Stored,
    commit::Done,
    extents::read_at,
    names::path_of,
    options::Layout,
    place::Place,
    reading::{Reading, Source},
    record::{Kind, PIECE_BYTES, md5},
    room::{Purpose, Room},
};

/// This much is written at once.
const BATCH_BYTES: usize = 256 << 10;

/// Records that wait for the thread.
const WAITING_MAX: usize = 1024;

/// A volume of files.
#[derive(Debug)]
pub(super) struct Files {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::SyncSender<(Small, Done)>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) dir: PathBuf,
    pub(super) layout: Layout,
    subvolumes: u32,
    pub(super) room: Arc<Room>,
    /// Counts unfinished files: each has a name of its own.
    begun: AtomicU64,
    /// The directories of two levels that are known to be there, durably: a bit for each.
    made: Mutex<Vec<u64>>,
}

/// What the thread is to do.
struct Small {
    kind: Kind,
    key: Vec<u8>,
    value: Vec<u8>,
    wants_md5: bool,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct FileWriter {
    shared: Arc<Shared>,
    new: PathBuf,
    file: Arc<dyn File>,
    batch: Vec<u8>,
    position: u64,
    is_over: bool,
}

impl Files {
    /// Opens it; returns how many unfinished files were removed.
    pub(super) fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        (layout, subvolumes): (Layout, u32),
        room: Arc<Room>,
        read_only: bool,
    ) -> Result<(Files, u64)> {
        let shared = Shared {
            vfs,
            dir: dir.into(),
            layout,
            subvolumes,
            room,
            begun: AtomicU64::new(0),
            made: Mutex::default(),
        };
        let shared = Arc::new(shared);
        if read_only {
            return Ok((Files { shared, queue: Mutex::new(None), thread: Mutex::new(None) }, 0));
        }
        let leftovers = shared.clear_new()?;
        let (sender, receiver) = mpsc::sync_channel::<(Small, Done)>(WAITING_MAX);
        let worker = Arc::clone(&shared);
        let builder = thread::Builder::new().name("olivine-volume".into());
        let run = move || {
            for (small, done) in receiver {
                done(carry_out(&worker, &small));
            }
        };
        let thread = builder.spawn(run).map_err(Error::io("start a thread for", dir))?;
        let (queue, thread) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok((Files { shared, queue, thread }, leftovers))
    }

    /// Stores a small object, or deletes one, in the thread.
    pub(super) fn append(&self, record: &NewRecord<'_>, done: Done) {
        if record.kind == Kind::State {
            let what =
                format!("is state, which layout {} has no place for", self.shared.layout.name());
            return done(Err(Error::invalid("kind", what)));
        }
        let NewRecord { kind, key, value, wants_md5, .. } = *record;
        let small = Small { kind, key: key.to_vec(), value: value.to_vec(), wants_md5 };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match &*queue {
            None => Some((Error::Closed, done)),
            Some(queue) => match queue.try_send((small, done)) {
                Ok(()) => None,
                Err(mpsc::TrySendError::Full((_, done))) => Some((Error::Busy, done)),
                Err(mpsc::TrySendError::Disconnected((_, done))) => Some((Error::Closed, done)),
            },
        };
        drop(queue);
        if let Some((error, done)) = refused {
            done(Err(error));
        }
    }

    pub(super) fn begin(&self) -> Result<FileWriter> {
        FileWriter::begin(&self.shared)
    }

    pub(super) fn read(&self, place: &Place, key: &[u8]) -> Result<Reading> {
        let path = self.shared.path(key)?;
        let file = match self.shared.vfs.open(&path, Open::Read) {
            Err(error) if is_nothing(&error) => return Err(Error::Gone { path }),
            answer => answer.map_err(Error::io("open", &path))?,
        };
        let bytes = file.len().map_err(Error::io("measure", &path))?;
        if bytes != place.bytes {
            return Err(Error::Foreign { path, offset: 0 });
        }
        if (PIECE_BYTES as u64) < bytes {
            return Ok(Reading {
                expiry: None,
                md5: None,
                attributes: Vec::new(),
                bytes,
                source: Source::File { file, path },
            });
        }
        let mut buffer = vec![0; bytes as usize];
        let read = read_at(&*file, &path, &mut buffer, 0)?;
        if read < buffer.len() {
            return Err(Error::corrupt(
                path,
                read as u64,
                "the file ends earlier than its length says",
            ));
        }
        let source = Source::Whole { value: 0..buffer.len(), buffer };
        Ok(Reading { expiry: None, md5: None, attributes: Vec::new(), bytes, source })
    }

    pub(super) fn room(&self) -> &Room {
        &self.shared.room
    }

    pub(super) fn layout(&self) -> Layout {
        self.shared.layout
    }

    /// Does all that waits, and ends the thread.
    pub(super) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be dropped by who is told in that very thread.
        let is_other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = thread.filter(is_other) {
            // A panic in it was told when it happened, and what it had not told of is not stored.
            thread.join().ok();
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.close();
    }
}

fn carry_out(shared: &Arc<Shared>, small: &Small) -> Result<Stored> {
    let place = |bytes| Place { extent: 0, offset: 0, bytes };
    if small.kind == Kind::Tombstone {
        shared.remove(&small.key)?;
        return Ok(Stored { place: place(0), digest: None });
    }
    let mut writer = FileWriter::begin(shared)?;
    writer.write(&small.value)?;
    let bytes = writer.finish(&small.key)?;
    Ok(Stored { place: place(bytes), digest: small.wants_md5.then(|| md5(&small.value)) })
}

/// How many directories of two levels there are in a volume, or in each of its subvolumes.
const DIRS: usize = 1 << 16;

/// The number of a directory of two levels: both layouts name it by the first two bytes of an MD5.
fn number_of(names: &[&OsStr]) -> Option<usize> {
    let [first, second] = names else { return None };
    let (first, second) = (first.to_str()?, second.to_str()?);
    let low = second.get(second.len().checked_sub(2)?..)?;
    let number = |digits| u8::from_str_radix(digits, 16).ok();
    Some(u16::from_be_bytes([number(first)?, number(low)?]).into())
}

/// The number of a subvolume.
fn subvolume_of(name: &OsStr) -> Option<usize> {
    usize::from_str_radix(name.to_str()?.strip_prefix("sv")?, 16).ok()
}

/// Whether an error says that there is no such file.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Shared {
    pub(super) fn path(&self, key: &[u8]) -> Result<PathBuf> {
        Ok(self.dir.join(path_of(self.layout, self.subvolumes, key)?))
    }

    /// Where unfinished files are.
    fn new_dir(&self) -> PathBuf {
        self.dir.join("new")
    }

    fn clear_new(&self) -> Result<u64> {
        let dir = self.new_dir();
        match self.vfs.create_dir(&dir) {
            Ok(()) => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("create", dir)(error)),
        }
        let mut count = 0;
        for entry in self.vfs.list(&dir).map_err(Error::io("list", &dir))? {
            if entry.kind == EntryKind::File {
                let path = dir.join(&entry.name);
                self.vfs.remove_file(&path).map_err(Error::io("remove", &path))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Makes the directories above a file, durably.
    fn make_dirs_of(&self, path: &Path) -> Result<()> {
        let below = path.strip_prefix(&self.dir).unwrap_or(path);
        let mut dir = self.dir.clone();
        let names: Vec<_> = below.parent().into_iter().flat_map(Path::iter).collect();
        let number = self.number_of(&names);
        if number.is_some_and(|number| self.is_made(number)) {
            return Ok(());
        }
        for name in names {
            let parent = dir.clone();
            dir.push(name);
            match self.vfs.create_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(Error::io("create", &dir))?,
            }
            // Also when it was there: whoever made it may not have come to this.
            self.vfs.sync_dir(&parent).map_err(Error::io("sync", &parent))?;
        }
        if let Some(number) = number {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.resize(self.subvolumes as usize * DIRS / 64, 0);
            if let Some(word) = made.get_mut(number / 64) {
                *word |= 1 << (number % 64);
            }
        }
        Ok(())
    }

    /// The number among all directories of two levels, of the one that these names lead to; nothing if they lead
    /// elsewhere.
    fn number_of(&self, names: &[&OsStr]) -> Option<usize> {
        let (subvolume, names) = match names {
            [subvolume, names @ ..] if 1 < self.subvolumes => (subvolume_of(subvolume)?, names),
            names => (0, names),
        };
        Some(subvolume * DIRS + number_of(names)?)
    }

    fn is_made(&self, number: usize) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        let path = self.path(key)?;
        match self.vfs.remove_file(&path) {
            Err(error) if is_nothing(&error) => {}
            removed => removed.map_err(Error::io("remove", &path))?,
        }
        let dir = path.parent().unwrap_or(&self.dir);
        match self.vfs.sync_dir(dir) {
            Err(error) if is_nothing(&error) => Ok(()),
            synced => synced.map_err(Error::io("sync", dir)),
        }
    }
}

impl FileWriter {
    fn begin(shared: &Arc<Shared>) -> Result<FileWriter> {
        let number = shared.begun.fetch_add(1, Relaxed);
        let new = shared.new_dir().join(format!("{number:020}"));
        let file = shared.vfs.open(&new, Open::Create).map_err(Error::io("create", &new));
        let file = file.map_err(|error| shared.told(error))?;
        let shared = Arc::clone(shared);
        Ok(FileWriter { shared, new, file, batch: Vec::new(), position: 0, is_over: false })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = BATCH_BYTES - self.batch.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.batch.extend(now);
            bytes = later;
            if self.batch.len() == BATCH_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.shared.room.take(self.batch.len() as u64, Purpose::Store)?;
        let written = self.file.write_at(&self.batch, self.position);
        let written = written.map_err(Error::io("write", &self.new));
        written.map_err(|error| self.shared.told(error))?;
        self.position += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }

    /// Makes the value durable as that of `key`; returns its length.
    pub(super) fn finish(mut self, key: &[u8]) -> Result<u64> {
        self.flush()?;
        let path = self.shared.path(key)?;
        let vfs = &self.shared.vfs;
        self.file.sync().map_err(Error::io("sync", &self.new))?;
        let made = self.shared.make_dirs_of(&path);
        made.map_err(|error| self.shared.told(error))?;
        vfs.rename(&self.new, &path).map_err(Error::io("rename", &self.new))?;
        self.is_over = true;
        let dir = path.parent().unwrap_or(&self.shared.dir);
        vfs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        Ok(self.position)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.is_over {
            // What cannot be removed now is removed when the volume is opened again.
            self.shared.vfs.remove_file(&self.new).ok();
        }
    }
}

impl Shared {
    fn told(&self, error: Error) -> Error {
        if error.is_disk_full() {
            self.room.found_full();
        }
        error.or_full(&self.dir)
    }
}
