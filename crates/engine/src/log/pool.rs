//! Makes segments ready ahead of their use, and takes back those no longer needed.
//!
//! A segment is filled with zeros and synced before use, so that a sync of the log touches no file
//! metadata; a released one is renamed and used again as it is. Both happen in `step`, called by the
//! background without any lock of the log; a writer that finds nothing ready makes one itself.
//!
//! 1. A segment is handed out only after its name is durable.
//! 2. Numbers only grow, and are handed out in order; one that comes too late is given up.
//! 3. Only what recovery no longer needs is used again; what recovery discarded is removed.
//! 4. A full disk fails a call and changes nothing; any other failure latches the log.

use std::{
    collections::VecDeque,
    io,
    mem::take,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use olivine_vfs::Open;

use super::{Latch, LogDir, LogOptions, segment::Segment};
use crate::{
    error::{Error, Result},
    planted::{Bug, planted},
    sync::{Mutex, MutexGuard},
};

/// More released segments than these are removed.
const SPARES_MAX: usize = 2;

/// Zeros are written in pieces of this size. The page cache keeps them in folios as long as these, and
/// a small write pays for the length of the folio it falls into: with pieces of 1 MiB, a `pwrite` of
/// 200 bytes takes 1.5 us, with 16 KiB 0.5 us.
const ZEROS: usize = 16 << 10;

/// Segments that wait: to be written, or to be taken back.
#[derive(Debug)]
pub(crate) struct Pool {
    home: Arc<LogDir>,
    options: LogOptions,
    latch: Arc<Latch>,
    due: AtomicBool,
    state: Mutex<State>,
}

/// What recovery or the last life of the log left in the directory.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// The next number that was never given to a segment.
    pub(crate) next_number: u64,
    /// Released segments under their old names, and their lengths.
    pub(crate) released: Vec<(u64, u64)>,
    /// Segments that must not be used again.
    pub(crate) discarded: Vec<u64>,
    /// Spare files and their lengths.
    pub(crate) spares: Vec<(PathBuf, u64)>,
    /// Files that were being made.
    pub(crate) drafts: Vec<PathBuf>,
}

#[derive(Debug)]
struct State {
    next_number: u64,
    /// The last segment that was handed out.
    taken: u64,
    /// Ready to be written, by number.
    ready: VecDeque<Segment>,
    /// Whether the background makes one at this moment.
    making: bool,
    /// Whether the writer asked for one.
    wanted: bool,
    /// Length of the next one that is made.
    next_bytes: u32,
    spares: Vec<PathBuf>,
    retired: VecDeque<Retired>,
}

/// A file that the log is done with.
#[derive(Debug)]
enum Retired {
    /// Its records stand in tables: it may be written again.
    Reuse { number: u64 },
    /// Of no use.
    Remove { path: PathBuf },
}

/// What a step does.
enum Work {
    Retire(Retired),
    Make { number: u64, bytes: u32, spare: Option<PathBuf> },
}

impl Pool {
    pub(super) fn new(
        home: Arc<LogDir>,
        options: LogOptions,
        latch: Arc<Latch>,
        remains: Remains,
    ) -> Pool {
        let pool = Pool {
            home,
            options,
            latch,
            due: AtomicBool::new(false),
            state: Mutex::new(State {
                next_number: remains.next_number,
                taken: 0,
                ready: VecDeque::new(),
                making: false,
                wanted: false,
                next_bytes: options.first_bytes,
                spares: Vec::new(),
                retired: VecDeque::new(),
            }),
        };
        let mut state = pool.lock();
        for (path, bytes) in remains.spares {
            if options.recycle
                && bytes == u64::from(options.segment_bytes)
                && state.spares.len() < SPARES_MAX
            {
                state.spares.push(path);
            } else {
                state.retired.push_back(Retired::Remove { path });
            }
        }
        for (number, bytes) in remains.released {
            state.retired.push_back(pool.retired(number, bytes));
        }
        state.retired.extend(remains.drafts.into_iter().map(|path| Retired::Remove { path }));
        for number in remains.discarded {
            state.retired.push_back(Retired::Remove { path: pool.home.segment_path(number) });
        }
        pool.note_due(&state);
        drop(state);
        pool
    }

    /// For a log that nobody writes here: there is nothing to do, ever.
    pub(crate) fn idle(home: LogDir) -> Pool {
        let remains = Remains { next_number: 1, ..Remains::default() };
        Pool::new(Arc::new(home), LogOptions::default(), Arc::default(), remains)
    }

    /// Whether `step` would find something to do. Costs one load.
    pub(crate) fn is_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }

    /// Does one unit of background work: takes back one released segment, or makes one ready. `false`
    /// when nothing was to be done. `Full` leaves everything as it was.
    pub(crate) fn step(&self) -> Result<bool> {
        self.latch.check()?;
        let Some(work) = self.pick()? else {
            return Ok(false);
        };
        match work {
            Work::Retire(retired) => self.take_back(retired)?,
            Work::Make { number, bytes, spare } => {
                let made = self.make(number, bytes, spare);
                let mut state = self.lock();
                state.making = false;
                let segment = made?;
                if number < state.taken {
                    // The writer could not wait for it and went past its number.
                    state.retired.push_back(self.retired(number, u64::from(segment.bytes)));
                } else {
                    state.insert(segment);
                }
                self.note_due(&state);
            }
        }
        Ok(true)
    }

    /// Asks the background to make a segment ready.
    pub(super) fn want(&self) {
        let mut state = self.lock();
        state.wanted = true;
        self.note_due(&state);
    }

    /// A segment to be written, with room for `bytes` or the longest there is.
    pub(super) fn take(&self, bytes: u64) -> Result<Segment> {
        let (number, bytes, spare) = {
            let mut state = self.lock();
            if let Some(segment) = state.ready.pop_front() {
                state.taken = segment.number;
                return Ok(segment);
            }
            let number = state.draw()?;
            // From now on: what the background finishes under an earlier number comes too late.
            state.taken = number;
            let spare = state.spares.pop();
            // While the background is making a long one, a short one does for a moment.
            let usual = if state.making { self.options.first_bytes } else { state.next_bytes };
            let bytes = bytes.clamp(u64::from(usual), u64::from(self.options.segment_bytes)) as u32;
            if !state.making {
                state.next_bytes = grown(bytes, &self.options);
            }
            (number, bytes, spare)
        };
        self.make(number, bytes, spare)
    }

    /// Takes back segments that were taken and not written; `current` is the last one that was.
    pub(super) fn give_back(&self, segments: Vec<Segment>, current: u64) {
        let mut state = self.lock();
        state.taken = current;
        for segment in segments {
            state.insert(segment);
        }
    }

    /// Takes back a segment whose records are not needed any more, in a later `step`.
    pub(super) fn retire(&self, number: u64, bytes: u64) {
        let mut state = self.lock();
        state.retired.push_back(self.retired(number, bytes));
        self.note_due(&state);
    }

    /// Removes everything that waits; the log is closed.
    pub(super) fn clear(&self) -> Result<()> {
        self.trim()?;
        let retired = {
            let mut state = self.lock();
            let retired = take(&mut state.retired);
            state.wanted = false;
            self.note_due(&state);
            retired
        };
        for file in retired {
            match file {
                Retired::Reuse { number } => self.remove(&self.home.segment_path(number))?,
                Retired::Remove { path } => self.remove(&path)?,
            }
        }
        Ok(())
    }

    /// Removes the segments that wait to be written: nobody is about to.
    pub(crate) fn trim(&self) -> Result<()> {
        let (ready, spares) = {
            let mut state = self.lock();
            (take(&mut state.ready), take(&mut state.spares))
        };
        for segment in ready {
            self.remove(&self.home.segment_path(segment.number))?;
        }
        for path in spares {
            self.remove(&path)?;
        }
        Ok(())
    }

    fn pick(&self) -> Result<Option<Work>> {
        let mut state = self.lock();
        if let Some(retired) = state.retired.pop_front() {
            self.note_due(&state);
            return Ok(Some(Work::Retire(retired)));
        }
        if !state.must_make() {
            return Ok(None);
        }
        let number = state.draw()?;
        let spare = state.spares.pop();
        let bytes = state.next_bytes;
        state.next_bytes = grown(bytes, &self.options);
        state.making = true;
        state.wanted = false;
        self.note_due(&state);
        Ok(Some(Work::Make { number, bytes, spare }))
    }

    fn take_back(&self, retired: Retired) -> Result<()> {
        match retired {
            Retired::Remove { path } => self.remove(&path),
            Retired::Reuse { number } => {
                let path = self.home.segment_path(number);
                if SPARES_MAX <= self.lock().spares.len() {
                    return self.remove(&path);
                }
                let spare = self.home.spare_path(number);
                match self.home.vfs.rename(&path, &spare) {
                    Ok(()) => self.lock().spares.push(spare),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(self.failed(Error::io("rename", path)(error))),
                }
                Ok(())
            }
        }
    }

    fn make(&self, number: u64, bytes: u32, spare: Option<PathBuf>) -> Result<Segment> {
        let path = self.home.segment_path(number);
        if let Some(spare) = spare
            && let Some(segment) = self.reuse(number, spare, &path)?
        {
            return Ok(segment);
        }
        let draft = self.home.draft_path(number);
        self.fill(number, bytes, &draft, &path).map_err(|error| {
            // What was made of it is in the way of nothing, but takes room.
            self.home.vfs.remove_file(&draft).ok();
            self.home.vfs.remove_file(&path).ok();
            self.failed(error)
        })
    }

    /// Gives a spare file the number's name, or returns `None` when the file is gone.
    fn reuse(&self, number: u64, spare: PathBuf, path: &Path) -> Result<Option<Segment>> {
        match self.home.vfs.rename(&spare, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let error = self.failed(Error::io("rename", &spare)(error));
                self.lock().spares.push(spare);
                return Err(error);
            }
        }
        let synced = self.home.vfs.sync_dir(&self.home.path);
        synced.map_err(|error| self.latch.set(Error::io("sync", &self.home.path)(error)))?;
        let file = self.home.open(number, Open::Write).map_err(|error| self.latch.set(error))?;
        Ok(Some(Segment { number, file, bytes: self.options.segment_bytes }))
    }

    /// Makes a segment under another name, so that no crash leaves a short one.
    fn fill(&self, number: u64, bytes: u32, draft: &Path, path: &Path) -> Result<Segment> {
        let vfs = &self.home.vfs;
        let file = vfs.open(draft, Open::Create).map_err(Error::io("create", draft))?;
        let zeros = vec![0; ZEROS.min(bytes as usize)];
        let mut at = 0;
        while at < bytes as usize {
            let piece = &zeros[..zeros.len().min(bytes as usize - at)];
            file.write_at(piece, at as u64).map_err(Error::io("write", draft))?;
            at += piece.len();
        }
        file.sync().map_err(Error::io("sync", draft))?;
        vfs.rename(draft, path).map_err(Error::io("rename", draft))?;
        if planted(Bug::SegmentNameUnsynced) {
            return Ok(Segment { number, file, bytes });
        }
        vfs.sync_dir(&self.home.path).map_err(Error::io("sync", &self.home.path))?;
        Ok(Segment { number, file, bytes })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.home.vfs.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(Error::io("remove", path)(error)))
            }
            _ => Ok(()),
        }
    }

    fn retired(&self, number: u64, bytes: u64) -> Retired {
        if self.options.recycle && bytes == u64::from(self.options.segment_bytes) {
            Retired::Reuse { number }
        } else {
            Retired::Remove { path: self.home.segment_path(number) }
        }
    }

    /// Publishes whether `step` has something to do.
    fn note_due(&self, state: &State) {
        self.due.store(!state.retired.is_empty() || state.must_make(), Ordering::Release);
    }

    fn failed(&self, error: Error) -> Error {
        self.latch.set_unless_full(error, &self.home.path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn must_make(&self) -> bool {
        self.wanted && !self.making && self.ready.is_empty()
    }

    fn draw(&mut self) -> Result<u64> {
        let number = self.next_number;
        if u64::from(u32::MAX) < number {
            return Err(Error::Invalid {
                field: "log",
                what: "has used up its segment numbers".to_owned(),
            });
        }
        self.next_number += 1;
        Ok(number)
    }

    fn insert(&mut self, segment: Segment) {
        let at = self.ready.partition_point(|ready| ready.number < segment.number);
        self.ready.insert(at, segment);
    }
}

fn grown(bytes: u32, options: &LogOptions) -> u32 {
    bytes.saturating_mul(4).min(options.segment_bytes)
}
