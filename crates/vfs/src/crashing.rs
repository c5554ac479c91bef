//! A disk in memory that knows what a power cut would leave of it.
//!
//! It remembers for every file and every name what was synced and what happened since. At any moment
//! it can be asked for the disk as found after a crash right then; it goes on undisturbed, so that
//! one history yields many images.
//!
//! 1. What was synced is found: contents and length after `sync` of the file, names after `sync_dir`.
//! 2. What was not synced may be lost, kept, torn or reordered; closing a file syncs nothing, and
//!    syncing a file does not sync its name.
//! 3. A rename happens whole or not at all. A lost one leaves the old name and the replaced target.
//! 4. An image depends on the calls made so far, the survival and the seed, and on nothing else.
//! 5. An image is a disk of its own: no lock is held there, and everything found is durable.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
};

use rustix::io::Errno;

use crate::{
    Entry, File, Guard, Kind, Lock, Open, Random, Vfs,
    memory::holder,
    pages::Pages,
    tree::{Change, Tree},
};

use contents::Contents;
use survival::{Cut, Tick, apply_found, synced_with};

mod contents;
mod survival;

pub use survival::Survival;

/// A disk that forgets what was not synced. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct CrashingVfs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Mutex<Disk>,
    hook: Mutex<Hook>,
    events: AtomicU64,
}

#[derive(Debug)]
struct Disk {
    /// Names as they read.
    current: Tree<Node>,
    /// Names as they were synced.
    durable: Tree<Node>,
    /// Changes of names that are not synced, oldest first.
    pending: Vec<(Tick, Change<Node>)>,
    tick: Tick,
    /// The thread whose next sync of a file is lost.
    losing: Option<ThreadId>,
}

#[derive(Debug, Default)]
struct Node {
    contents: Mutex<Contents>,
    locked: AtomicBool,
}

/// A call that changes the disk or makes changes last.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// How many such calls came before, refused ones included.
    pub index: u64,
    /// What is called: never one of the kinds that only read.
    pub kind: Kind,
    /// Where in the call we are.
    pub phase: Phase,
    /// The path given, for an open file the one it was opened under.
    pub path: &'a Path,
}

/// Where in a call we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of it has happened.
    Before,
    /// A write of two bytes or more of which only a first part happened.
    Middle,
    /// It happened.
    After,
}

type OnEvent = Box<dyn FnMut(&Event<'_>, &CrashingVfs) + Send>;

#[derive(Default)]
struct Hook(Option<OnEvent>);

impl fmt::Debug for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Hook" } else { "no Hook" })
    }
}

impl CrashingVfs {
    /// An empty disk; only the directory `/` exists.
    pub fn new() -> CrashingVfs {
        CrashingVfs::found(Tree::new())
    }

    /// The disk as found after a power cut at this moment.
    pub fn crash(&self, survival: Survival, seed: u64) -> CrashingVfs {
        let disk = self.disk();
        let mut random = Random::new(seed);
        let cut = Cut::new(survival, || disk.unsynced(), &mut random);
        let mut tree = disk.durable.clone();
        apply_found(&mut tree, &disk.pending, &cut, &mut random);
        CrashingVfs::found(tree.map(|node| {
            let pages = node.contents().found(&cut, &mut random.fork());
            Arc::new(Node { contents: Mutex::new(Contents::durable(pages)), ..Node::default() })
        }))
    }

    /// Calls `hook` before and after every changing call, and in the middle of every write, in the
    /// thread that makes it, one event at a time. The hook takes images; it must not change this
    /// disk, and a hook set anew must not be set from within one.
    pub fn on_event(&self, hook: impl FnMut(&Event<'_>, &CrashingVfs) + Send + 'static) {
        self.hook().0 = Some(Box::new(hook));
    }

    /// Calls no hook any more.
    pub fn clear_on_event(&self) {
        self.hook().0 = None;
    }

    /// How many changing calls were made, refused ones included.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// The next sync of a file by this thread answers EIO, and what it should have written never reaches the disk:
    /// it reads on until a crash, and syncing again answers that all is well.
    pub fn lose_next_sync(&self) {
        self.disk().losing = Some(thread::current().id());
    }

    fn found(tree: Tree<Node>) -> CrashingVfs {
        let (pending, tick, losing) = (Vec::new(), 0, None);
        let disk = Disk { durable: tree.clone(), current: tree, pending, tick, losing };
        CrashingVfs {
            shared: Arc::new(Shared {
                disk: Mutex::new(disk),
                hook: Mutex::new(Hook::default()),
                events: AtomicU64::new(0),
            }),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hook(&self) -> MutexGuard<'_, Hook> {
        self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one changing call and tells of it.
    fn happen<T>(
        &self,
        kind: Kind,
        path: &Path,
        call: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let index = self.shared.events.fetch_add(1, Ordering::Relaxed);
        self.tell(index, kind, Phase::Before, path);
        let answer = call(&mut self.disk());
        self.tell(index, kind, Phase::After, path);
        answer
    }

    fn tell(&self, index: u64, kind: Kind, phase: Phase, path: &Path) {
        if let Some(hook) = &mut self.hook().0 {
            hook(&Event { index, kind, phase, path }, self);
        }
    }

    fn change_names(
        &self,
        kind: Kind,
        path: &Path,
        plan: impl FnOnce(&mut Tree<Node>) -> io::Result<Change<Node>>,
    ) -> io::Result<()> {
        self.happen(kind, path, |disk| {
            let change = plan(&mut disk.current)?;
            disk.change(change);
            Ok(())
        })
    }
}

impl Default for CrashingVfs {
    fn default() -> CrashingVfs {
        CrashingVfs::new()
    }
}

impl Vfs for CrashingVfs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let node = match how {
            Open::Read | Open::Write => Arc::clone(self.disk().current.file(path)?),
            Open::Create => self.happen(Kind::Create, path, |disk| disk.create(path))?,
        };
        let (disk, path, writable) = (self.clone(), path.to_owned(), how != Open::Read);
        Ok(Arc::new(CrashingFile { disk, node, path, writable }))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.disk().current.entry(path, |node| node.contents().current().len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk().current.list(dir, |node| node.contents().current().len())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change_names(Kind::CreateDir, path, |tree| tree.plan_create_dir(path))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.change_names(Kind::Rename, source, |tree| tree.plan_rename(source, target))
    }

    fn hard_link(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.change_names(Kind::HardLink, source, |tree| tree.plan_hard_link(source, target))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change_names(Kind::RemoveFile, path, |tree| tree.plan_remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change_names(Kind::RemoveDir, path, |tree| tree.plan_remove_dir(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.happen(Kind::SyncDir, dir, |disk| disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.happen(Kind::Lock, path, |disk| disk.lock(path))
    }
}

impl Disk {
    /// From the first to the last change that a crash may undo.
    fn unsynced(&self) -> Range<Tick> {
        let names = self.pending.first().map(|(tick, _)| *tick);
        let files = self.durable.files().chain(self.current.files());
        let contents = files.filter_map(|node| node.contents().first_tick());
        let first = names.into_iter().chain(contents).min();
        first.unwrap_or(self.tick)..self.tick + 1
    }

    fn next_tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    fn change(&mut self, change: Change<Node>) {
        self.current.apply(&change);
        let tick = self.next_tick();
        self.pending.push((tick, change));
    }

    fn create(&mut self, path: &Path) -> io::Result<Arc<Node>> {
        let node = Arc::new(Node::default());
        let change = self.current.plan_create(path, Arc::clone(&node))?;
        self.change(change);
        Ok(node)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let synced = synced_with(self.current.dir(dir)?, &self.pending);
        let mut index = 0;
        let durable = &mut self.durable;
        self.pending.retain(|(_, change)| {
            let lasts = synced[index];
            index += 1;
            if lasts {
                durable.apply(change);
            }
            !lasts
        });
        Ok(())
    }

    fn lock(&mut self, path: &Path) -> io::Result<Lock> {
        let found = self.current.file(path).map(Arc::clone);
        let node = match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(path)?,
            found => found?,
        };
        let mut contents = node.contents();
        if node.locked.swap(true, Ordering::AcqRel) {
            return Ok(Lock::Busy { holder: holder(contents.current()) });
        }
        let pid = format!("{}\n", process::id());
        contents.set_len(0, self.next_tick())?;
        contents.write_at(pid.as_bytes(), 0, self.next_tick())?;
        drop(contents);
        Ok(Lock::Held(Box::new(CrashingGuard { node })))
    }
}

impl Node {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct CrashingFile {
    disk: CrashingVfs,
    node: Arc<Node>,
    path: PathBuf,
    writable: bool,
}

impl CrashingFile {
    fn must_be_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(Errno::BADF.into()) }
    }

    /// Writes a first part, tells that half a write happened, and writes the rest as the same change.
    fn write_in_halves(&self, bytes: &[u8], offset: u64, index: u64) -> io::Result<()> {
        let part = 1 + Random::new(index).index(bytes.len() - 1);
        let tick = self.disk.disk().next_tick();
        Pages::end_of(bytes, offset)?;
        self.node.contents().write_at(&bytes[..part], offset, tick)?;
        self.disk.tell(index, Kind::Write, Phase::Middle, &self.path);
        self.node.contents().write_at(&bytes[part..], offset + part as u64, tick)
    }
}

impl File for CrashingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.node.contents().current().read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.must_be_writable()?;
        let index = self.disk.shared.events.fetch_add(1, Ordering::Relaxed);
        self.disk.tell(index, Kind::Write, Phase::Before, &self.path);
        let hooked = self.disk.hook().0.is_some();
        let answer = if hooked && 2 <= bytes.len() {
            self.write_in_halves(bytes, offset, index)
        } else {
            let mut disk = self.disk.disk();
            let tick = disk.next_tick();
            self.node.contents().write_at(bytes, offset, tick)
        };
        self.disk.tell(index, Kind::Write, Phase::After, &self.path);
        answer
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.happen(Kind::Sync, &self.path, |disk| {
            if disk.losing == Some(thread::current().id()) {
                disk.losing = None;
                self.node.contents().lose_unsynced();
                return Err(Errno::IO.into());
            }
            self.node.contents().sync();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.node.contents().current().len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.must_be_writable()?;
        self.disk.happen(Kind::SetLen, &self.path, |disk| {
            let tick = disk.next_tick();
            self.node.contents().set_len(bytes, tick)
        })
    }
}

#[derive(Debug)]
struct CrashingGuard {
    node: Arc<Node>,
}

impl Guard for CrashingGuard {}

impl Drop for CrashingGuard {
    fn drop(&mut self) {
        self.node.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
