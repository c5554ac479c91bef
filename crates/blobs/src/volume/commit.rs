//! The one way of a small record: queued, placed, written and synced with others, told.
//!
//! One thread writes the current extent. While it syncs, records queue up; they are its next group.
//!
//! It must survive any failed write or sync.
//!
//! 1. A record is told as stored only after a sync that began after its write had returned.
//! 2. A group is written only after the group before it was synced, so the first record of a group proves
//!    that all before it is durable.
//! 3. After a failed write or sync the extent is closed for good: nothing is written to it again, none of its
//!    group is told as stored, and the next extent says where it ended.

use std::{
    collections::VecDeque,
    fmt, mem,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use olivine_vfs::File;

use crate::error::{Error, Result};

use super::{
    Stored,
    extents::{ExtentHeader, Extents, HEADER_BYTES, Sort},
    place::Place,
    record::Void,
    room::{Purpose, Room},
};

/// A group ends with the record that reaches this.
pub(super) const GROUP_BYTES_MAX: usize = 4 << 20;

/// Records that wait may hold this much.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Told, in the volume's thread, what came of a record.
pub(super) type Done = Box<dyn FnOnce(Result<Stored>) + Send>;

/// A record that waits to be written.
pub(super) struct Waiting {
    /// The record; its checksums have no place yet.
    pub(super) record: Vec<u8>,
    pub(super) value_bytes: u64,
    pub(super) digest: Option<[u8; 16]>,
    pub(super) purpose: Purpose,
    pub(super) done: Done,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record of {} bytes", self.record.len())
    }
}

/// The records that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    /// Queues records, all of them before the next group is taken. What is too much is refused, and told so.
    pub(super) fn push(&self, records: impl IntoIterator<Item = Waiting>) {
        let mut refused = Vec::new();
        let mut line = self.line();
        let error = if line.is_closed { Error::Closed } else { Error::Busy };
        for waiting in records {
            if line.is_closed || WAITING_BYTES_MAX <= line.bytes {
                refused.push(waiting);
                continue;
            }
            line.bytes += waiting.record.len();
            line.waiting.push_back(waiting);
        }
        drop(line);
        self.bell.notify_one();
        for waiting in refused {
            (waiting.done)(Err(error.clone()));
        }
    }

    /// No more records are taken; the thread ends when those that wait are written.
    pub(super) fn close(&self) {
        self.line().is_closed = true;
        self.bell.notify_all();
    }

    /// The next group, once there is one; nothing when the queue is closed and empty.
    fn take(&self, group: &mut Vec<Waiting>) -> bool {
        let mut line = self.line();
        while line.waiting.is_empty() && !line.is_closed {
            line = self.bell.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        while bytes < GROUP_BYTES_MAX {
            let Some(waiting) = line.waiting.pop_front() else { break };
            bytes += waiting.record.len();
            group.push(waiting);
        }
        line.bytes -= bytes;
        0 < bytes
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The extent that is being written.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    /// What is durable ends here.
    pub(super) end: u64,
    /// The file ends here; behind `end` it is zeros.
    pub(super) length: u64,
    /// Whether something was written since it was opened.
    pub(super) is_written: bool,
}

/// Who writes.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) extents: Arc<Extents>,
    pub(super) room: Arc<Room>,
    pub(super) queue: Arc<Queue>,
    /// The volume's directory.
    pub(super) dir: PathBuf,
    pub(super) extent_bytes_max: u64,
    pub(super) ahead_bytes: u64,
    pub(super) tail: Option<Tail>,
    /// The last shared extent and where it ends: the next one says so.
    pub(super) before: (u32, u64),
    pub(super) buffer: Vec<u8>,
    /// Zeros to make the extent longer with.
    pub(super) zeros: Vec<u8>,
}

impl Committer {
    /// Writes until the queue is closed.
    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.queue));
        let (mut group, mut placed) = (Vec::new(), Vec::new());
        while self.queue.take(&mut group) {
            self.commit(&mut group, &mut placed);
            group.clear();
            placed.clear();
        }
        self.end();
    }

    /// Writes a group, and tells each of its records what came of it.
    fn commit(&mut self, group: &mut Vec<Waiting>, placed: &mut Vec<(Waiting, Place)>) {
        for waiting in mem::take(group) {
            match self.room.take(waiting.record.len() as u64, waiting.purpose) {
                Ok(()) => group.push(waiting),
                Err(error) => (waiting.done)(Err(error)),
            }
        }
        if group.is_empty() {
            return;
        }
        let bytes = group.iter().map(|waiting| waiting.record.len() as u64).sum();
        let mut tail = match self.tail_for(bytes) {
            Ok(tail) => tail,
            Err(error) => return self.refuse(group.drain(..), &error),
        };
        self.lay_out(&tail, group.drain(..), placed);
        match self.write(&mut tail) {
            Ok(()) => {
                self.tail = Some(tail);
                for (waiting, place) in placed.drain(..) {
                    (waiting.done)(Ok(Stored { place, digest: waiting.digest }));
                }
            }
            Err(error) => {
                // The tail is left behind: its extent is closed.
                self.extents.state().current = None;
                self.refuse(placed.drain(..).map(|(waiting, _)| waiting), &error);
            }
        }
    }

    fn refuse(&self, group: impl Iterator<Item = Waiting>, error: &Error) {
        if error.is_disk_full() {
            self.room.found_full();
        }
        let error = error.clone().or_full(&self.dir);
        for waiting in group {
            (waiting.done)(Err(error.clone()));
        }
    }

    /// Puts the records into the buffer, one behind the other, each bound to its place.
    fn lay_out(
        &mut self,
        tail: &Tail,
        group: impl Iterator<Item = Waiting>,
        placed: &mut Vec<(Waiting, Place)>,
    ) {
        let bonds = self.extents.bonds(tail.number);
        self.buffer.clear();
        self.buffer.shrink_to(2 * GROUP_BYTES_MAX);
        for mut waiting in group {
            let offset = tail.end + self.buffer.len() as u64;
            bonds.bind(&mut waiting.record, offset, self.buffer.is_empty());
            self.buffer.extend(&waiting.record);
            waiting.record = Vec::new();
            let place = Place { extent: tail.number, offset, bytes: waiting.value_bytes };
            placed.push((waiting, place));
        }
    }

    /// Writes and syncs the buffer.
    fn write(&mut self, tail: &mut Tail) -> Result<()> {
        let end = tail.end + self.buffer.len() as u64;
        if tail.length < end && 0 < self.ahead_bytes {
            let length = (end + self.ahead_bytes).min(end.max(self.extent_bytes_max));
            self.zeros.resize((length - end) as usize, 0);
            // What is to be written makes the file longer up to there.
            tail.file.write_at(&self.zeros, end).map_err(Error::io("lengthen", &tail.path))?;
            tail.length = length;
        }
        tail.file.write_at(&self.buffer, tail.end).map_err(Error::io("write", &tail.path))?;
        tail.file.sync().map_err(Error::io("sync", &tail.path))?;
        tail.end = end;
        tail.length = tail.length.max(end);
        tail.is_written = true;
        self.before = (tail.number, end);
        self.extents.state().ends.insert(tail.number, end);
        Ok(())
    }

    /// The extent that `bytes` go to: the one being written, or a new one when that is full.
    fn tail_for(&mut self, bytes: u64) -> Result<Tail> {
        if let Some(tail) = self.tail.take() {
            let is_empty = tail.end == HEADER_BYTES;
            if is_empty || tail.end.saturating_add(bytes) <= self.extent_bytes_max {
                return Ok(tail);
            }
            if tail.end < tail.length {
                // Gives back what it was made longer by. That need not last: the next one says where this one ends.
                tail.file.set_len(tail.end).ok();
            }
        }
        self.extents.state().current = None;
        let number = self.extents.take_number()?;
        self.begin(number).inspect_err(|_| self.extents.give_up(number))
    }

    fn begin(&mut self, number: u32) -> Result<Tail> {
        let Extents { uuid, salt, .. } = *self.extents;
        let header = ExtentHeader { sort: Sort::Shared, uuid, salt, number, before: self.before };
        let file = self.extents.create(number)?;
        let new = self.extents.new_path(number);
        file.write_at(&header.encode(), 0).map_err(Error::io("write", &new))?;
        file.sync().map_err(Error::io("sync", &new))?;
        self.extents.publish(number, Sort::Shared)?;
        let mut state = self.extents.state();
        state.ends.insert(number, HEADER_BYTES);
        state.current = Some(number);
        drop(state);
        self.before = (number, HEADER_BYTES);
        let path = self.extents.path(number, Sort::Shared);
        let (end, length) = (HEADER_BYTES, HEADER_BYTES);
        Ok(Tail { number, file, path, end, length, is_written: false })
    }

    /// Ends the current extent so that it proves its own end: what then does not verify is damage.
    fn end(&mut self) {
        let Some(tail) = self.tail.take().filter(|tail| tail.is_written) else { return };
        let void = Void { bytes: END_BYTES, begins_group: true };
        let void = self.extents.bonds(tail.number).void(void, tail.end);
        let end = tail.end + END_BYTES;
        let written =
            tail.file.set_len(tail.end).and_then(|()| tail.file.write_at(&void, tail.end));
        // When this fails, the next opening finds out where the extent ends, as after a power cut.
        if written.and_then(|()| tail.file.sync()).is_ok() {
            self.extents.state().ends.insert(tail.number, end);
        }
    }
}

/// Closes the queue when the thread ends, in whatever way: nobody waits for a thread that is not there.
struct Ending(Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.close();
        let mut left = Vec::new();
        while self.0.take(&mut left) {}
        for waiting in left {
            (waiting.done)(Err(Error::Closed));
        }
    }
}

/// The shortest void, which only proves that all before it is durable.
const END_BYTES: u64 = 10;
