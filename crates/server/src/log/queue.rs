//! Lines that wait to be written, and the thread that writes them.
//!
//! 1. Adding a line costs a copy of it: nobody holds the lock while something is written.
//! 2. Lines are written in the order in which they were added, each whole.
//! 3. A line is written, or counted as lost.

use std::{
    fmt, io, mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Bytes of lines that may wait.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Lines that this process could not write.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines this process could not write.
pub(crate) fn lines_lost() -> u64 {
    LOST.load(Relaxed)
}

/// Where lines go.
pub(crate) trait Sink: Send {
    /// Writes whole lines. After an error those lines count as lost.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// Lines that wait.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// There are some, or there will be none any more.
    there: Condvar,
    /// All have been written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Lost since that was told last.
    lost: u64,
    is_writing: bool,
    has_ended: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Adds a line, its end included.
    pub(crate) fn add(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.has_ended || WAITING_BYTES_MAX < state.lines.len() + line.len() {
            state.lost += 1;
            LOST.fetch_add(1, Relaxed);
            return;
        }
        if state.lines.is_empty() {
            self.there.notify_one();
        }
        state.lines.extend_from_slice(line);
    }

    /// Returns when all lines are written, and whether they were, within that time.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let waits = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let waited = self.written.wait_timeout_while(self.lock(), patience, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The same, and the last of them.
    pub(crate) fn end(&self, patience: Duration) -> bool {
        self.lock().has_ended = true;
        self.there.notify_one();
        self.flush(patience)
    }

    /// Takes all lines, when there are some; nothing when there will be none.
    fn take(&self) -> Option<(Vec<u8>, u64)> {
        let waits = |state: &mut State| state.lines.is_empty() && !state.has_ended;
        let waited = self.there.wait_while(self.lock(), waits);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() {
            return None;
        }
        state.is_writing = true;
        Some((mem::take(&mut state.lines), mem::take(&mut state.lost)))
    }

    fn has_written(&self, lost: u64) {
        let mut state = self.lock();
        state.is_writing = false;
        state.lost += lost;
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all lines that come until there will be none. `told` makes a line of how many were lost.
pub(crate) fn write_all(queue: &Queue, mut sink: Box<dyn Sink>, told: impl Fn(u64) -> Vec<u8>) {
    while let Some((mut lines, lost)) = queue.take() {
        if lost != 0 {
            lines.extend_from_slice(&told(lost));
        }
        let newly_lost = if sink.write(&lines).is_ok() {
            0
        } else {
            // The line that tells of the earlier ones is no event, and what it told is told again.
            let count = lines.split(|byte| *byte == b'\n').count() as u64 - 1;
            let count = count - u64::from(lost != 0);
            LOST.fetch_add(count, Relaxed);
            count + lost
        };
        queue.has_written(newly_lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    /// Hands on what is written, when it is let.
    struct Gate {
        open: mpsc::Receiver<bool>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Sink for Gate {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            if self.open.recv().unwrap_or(true) {
                self.written.lock().unwrap().extend_from_slice(lines);
                return Ok(());
            }
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    /// A place that takes nothing holds nobody up, and how much it missed is told when it takes some.
    #[test]
    fn a_stuck_place_costs_lines_and_they_are_counted() {
        let (queue, written) = (Arc::new(Queue::default()), Arc::new(Mutex::new(Vec::new())));
        let (open, gate) = mpsc::channel();
        let sink = Box::new(Gate { open: gate, written: Arc::clone(&written) });
        let writing = Arc::clone(&queue);
        let told = |lost| format!("lost {lost}\n").into_bytes();
        let thread = thread::Builder::new().spawn(move || write_all(&writing, sink, told)).unwrap();

        let line = |number: usize| format!("{number:01023}\n").into_bytes();
        queue.add(&line(0));
        // It is being written, and waits for the gate.
        while !queue.lock().is_writing {
            thread::yield_now();
        }
        let fits = WAITING_BYTES_MAX / 1024;
        for number in 1..fits + 8 {
            queue.add(&line(number));
        }
        assert!(!queue.flush(Duration::ZERO), "nothing was written yet");
        open.send(false).unwrap();
        open.send(true).unwrap();
        drop(open);
        assert!(queue.end(Duration::from_secs(20)));
        thread.join().unwrap();
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), fits + 1);
        for (number, line) in lines[..fits].iter().enumerate() {
            assert_eq!(line.parse::<usize>().unwrap(), number + 1);
        }
        // The first, which the place refused, and seven for which there was no room.
        let lost: u64 = lines[fits].strip_prefix("lost ").unwrap().parse().unwrap();
        assert!((7..=8).contains(&lost), "{lost}");
        assert!(8 <= lines_lost());
    }
}
