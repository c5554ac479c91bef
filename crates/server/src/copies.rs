//! Copies of everything that are under way: lent to clients, who read them file by file and make backups of them.
//!
//! Everything is, today, the one store in the data directory: the names of its files begin with `store/`. What else
//! the directory comes to hold joins them under names of its own.
//!
//! 1. A copy that nobody reads is ended after a while, and so costs no disk space for ever; there are never more than
//!    `COPIES_MAX` at once.
//! 2. No two copies have the same number, also not of a node that was started again: it is the time at which one
//!    was begun, or the next after the last.
//! 3. Files are read, and memtables written out, on threads that serve nobody; of such work there is never more
//!    than `COPIES_MAX` at once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use olivine_command::{Code, Copying, Lent, LentFile, Piece, Refusal, Reply};
use olivine_engine::{Db, Loan};
use olivine_model::refused;
use olivine_vfs::{Clock, EntryKind, Vfs};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Copies under way at once.
const COPIES_MAX: usize = 4;
/// Bytes of a file that are handed over at once.
const PIECE_BYTES_MAX: u64 = 1 << 20;
/// What the names of the store's files begin with.
const STORE: &str = "store/";

/// The copies of a node.
pub(crate) struct Copies {
    db: Db,
    /// Where each has what was in memory, in a directory of its own.
    dir: PathBuf,
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    idle_max: Duration,
    held: Mutex<Held>,
    working: Semaphore,
}

#[derive(Default)]
struct Held {
    loans: BTreeMap<u64, Lease>,
    /// How many are being begun.
    beginning: usize,
    /// The latest number that was given out.
    latest: u64,
}

struct Lease {
    loan: Arc<Loan>,
    /// When it was last read.
    used: Duration,
}

impl Copies {
    /// None yet. What a crash left in `dir` is removed.
    pub(crate) fn new(
        db: Db,
        dir: PathBuf,
        vfs: &Arc<dyn Vfs>,
        clock: &Arc<dyn Clock>,
        idle_max: Duration,
    ) -> Copies {
        // What cannot be removed now stands in nobody's way: numbers are not given out twice.
        clear(vfs.as_ref(), &dir);
        let (vfs, clock) = (Arc::clone(vfs), Arc::clone(clock));
        let working = Semaphore::new(COPIES_MAX);
        Copies { db, dir, vfs, clock, idle_max, held: Mutex::default(), working }
    }

    /// Takes a step, accepted at the time `now`.
    pub(crate) async fn carry_out(self: &Arc<Copies>, now: u64, copying: Copying) -> Reply {
        let Ok(_permit) = self.working.acquire().await else {
            return Reply::Refused(Refusal::new(Code::Unavailable, "the node ends"));
        };
        let copies = Arc::clone(self);
        let done = spawn_blocking(move || match copying {
            Copying::Begin => copies.begin(now),
            Copying::Read { id, file, offset, bytes } => copies.read(id, file, offset, bytes),
            Copying::End { id, .. } => Ok(Reply::Done(copies.end(id))),
        });
        match done.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => Reply::Refused(refusal),
            Err(_) => Reply::Refused(Refusal::new(Code::Failed, "a step of a backup panicked")),
        }
    }

    /// Ends copies that nobody has read for some time.
    pub(crate) fn expire(&self) {
        let now = self.clock.now();
        let mut expired = Vec::new();
        {
            let mut held = self.held();
            let over = |lease: &Lease| lease.used + self.idle_max <= now;
            let ids: Vec<u64> =
                held.loans.iter().filter(|(_, lease)| over(lease)).map(|(id, _)| *id).collect();
            expired.extend(ids.iter().filter_map(|id| held.loans.remove(id)));
        }
        // Their files go outside of the lock.
        drop(expired);
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.held().loans.len()
    }

    fn begin(&self, now: u64) -> Result<Reply, Refusal> {
        let beginning = Beginning::new(self, now)?;
        let id = beginning.id;
        if let Err(error) = self.vfs.create_dir(&self.dir)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            let text = format!("cannot make the directory {}: {error}", self.dir.display());
            return Err(Refusal::new(Code::Failed, text));
        }
        let loan = self.db.lend(self.dir.join(id.to_string())).map_err(|error| refused(&error))?;
        let file = |file: &olivine_engine::Offered| LentFile {
            name: format!("{STORE}{}", file.name),
            bytes: file.bytes,
        };
        let lent = Lent {
            id,
            time: now,
            idle: self.idle_max.as_millis() as u64,
            store: loan.store(),
            files: loan.files().iter().map(file).collect(),
        };
        let lease = Lease { loan: Arc::new(loan), used: self.clock.now() };
        self.held().loans.insert(id, lease);
        Ok(Reply::Lent(lent))
    }

    fn read(&self, id: u64, file: u64, offset: u64, bytes: u64) -> Result<Reply, Refusal> {
        let loan = {
            let mut held = self.held();
            let Some(lease) = held.loans.get_mut(&id) else {
                return Ok(Reply::Piece(None));
            };
            lease.used = self.clock.now();
            Arc::clone(&lease.loan)
        };
        let piece = loan.read(file, offset, bytes.min(PIECE_BYTES_MAX));
        let piece = piece.map_err(|error| refused(&error))?;
        Ok(Reply::Piece(piece.map(|piece| Piece { bytes: piece.bytes, hash: piece.hash })))
    }

    fn end(&self, id: u64) -> bool {
        let ended = self.held().loans.remove(&id);
        ended.is_some()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy being begun: it has a number, and counts.
struct Beginning<'a> {
    copies: &'a Copies,
    id: u64,
}

impl<'a> Beginning<'a> {
    fn new(copies: &'a Copies, now: u64) -> Result<Beginning<'a>, Refusal> {
        let mut held = copies.held();
        if COPIES_MAX <= held.loans.len() + held.beginning {
            let idle = copies.idle_max.as_secs();
            let text = format!(
                "{COPIES_MAX} backups are under way, and there may not be more; wait for one to end. One that nobody \
                 reads ends after {idle} s"
            );
            return Err(Refusal::new(Code::Busy, text));
        }
        held.beginning += 1;
        held.latest = now.max(held.latest + 1);
        Ok(Beginning { copies, id: held.latest })
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.copies.held().beginning -= 1;
    }
}

/// Removes a directory of directories of files, as far as it can be.
fn clear(vfs: &dyn Vfs, dir: &Path) {
    for entry in vfs.list(dir).unwrap_or_default() {
        let path = dir.join(&entry.name);
        if entry.kind == EntryKind::Dir {
            clear(vfs, &path);
        } else {
            vfs.remove_file(&path).ok();
        }
    }
    vfs.remove_dir(dir).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_engine::{Environment, EnvironmentOptions, Options, Parts, Work};
    use olivine_vfs::{ManualClock, MemoryVfs};

    const IDLE: Duration = Duration::from_mins(5);

    struct Scene {
        vfs: Arc<dyn Vfs>,
        clock: Arc<ManualClock>,
        db: Db,
    }

    impl Scene {
        fn new() -> Scene {
            let (vfs, clock) = (Arc::new(MemoryVfs::new()), Arc::new(ManualClock::new()));
            let parts = Parts {
                vfs: Arc::clone(&vfs) as _,
                clock: Arc::clone(&clock) as _,
                work: Work::Stepped { seed: 1 },
            };
            let options = EnvironmentOptions { memory_bytes: 4 << 20 };
            let environment = Environment::with(parts, options).unwrap();
            let db = Db::open(&environment, "/store", Options::default()).unwrap();
            db.keyspace("a").unwrap().put(b"a", b"1").unwrap();
            Scene { vfs, clock, db }
        }

        fn copies(&self) -> Copies {
            let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
            Copies::new(self.db.clone(), "/lent".into(), &self.vfs, &clock, IDLE)
        }

        fn lent(&self) -> usize {
            self.vfs.list(Path::new("/lent")).map_or(0, |entries| entries.len())
        }
    }

    fn begun(copies: &Copies, now: u64) -> Lent {
        match copies.begin(now) {
            Ok(Reply::Lent(lent)) => lent,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_copy_ends_when_nobody_reads_it() {
        let scene = Scene::new();
        let copies = scene.copies();
        let (read, left) = (begun(&copies, 1_000), begun(&copies, 1_000));
        assert_eq!((read.id, left.id, read.idle), (1_000, 1_001, 300_000));
        assert_eq!((copies.count(), scene.lent()), (2, 2));
        for _ in 0..3 {
            scene.clock.sleep(IDLE * 9 / 10);
            copies.expire();
            assert_ne!(copies.read(read.id, 0, 0, 10), Ok(Reply::Piece(None)));
        }
        assert_eq!((copies.count(), scene.lent()), (1, 1));
        assert_eq!(copies.read(left.id, 0, 0, 10), Ok(Reply::Piece(None)), "it was left");
        assert!(!copies.end(left.id) && copies.end(read.id) && !copies.end(read.id));
        assert_eq!((copies.count(), scene.lent()), (0, 0));
    }

    #[test]
    fn there_are_never_more_than_some_and_numbers_are_given_once() {
        let scene = Scene::new();
        let copies = scene.copies();
        let all: Vec<u64> = (0..COPIES_MAX).map(|_| begun(&copies, 5).id).collect();
        let refusal = copies.begin(5).unwrap_err();
        assert_eq!(refusal.code, Code::Busy);
        assert!(refusal.text.starts_with("4 backups are under way"), "{refusal}");
        assert!(copies.end(all[0]));
        assert_eq!(begun(&copies, 5).id, all[COPIES_MAX - 1] + 1);
        // A node that was killed leaves what it had lent; the next one clears it away, and counts from its time on.
        assert_eq!(scene.lent(), COPIES_MAX);
        let next = scene.copies();
        assert_eq!(scene.lent(), 0);
        assert_eq!(begun(&next, 9_000).id, 9_000);
        assert_eq!(next.read(all[1], 0, 0, 1), Ok(Reply::Piece(None)));
    }

    /// A beginning that fails is not counted, and leaves nothing.
    #[test]
    fn what_cannot_be_begun_does_not_count() {
        let scene = Scene::new();
        let copies = scene.copies();
        let file = scene.vfs.open(Path::new("/lent"), olivine_vfs::Open::Create).unwrap();
        for now in 0..2 * COPIES_MAX as u64 {
            assert_ne!(copies.begin(now).unwrap_err().code, Code::Busy);
        }
        drop(file);
        scene.vfs.remove_file(Path::new("/lent")).unwrap();
        begun(&copies, 100);
    }
}
