//! What the disk gives to writers that do nothing else: records appended to one file, each acknowledged once it is
//! synced, with one sync for all that wait.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{histogram::Histogram, store::Result};

#[derive(Default)]
struct Waiting {
    /// Records that no sync has begun for.
    bytes: Vec<u8>,
    /// The group that `bytes` belongs to.
    group: u64,
    /// Groups before this one are on the disk.
    synced: u64,
    is_syncing: bool,
    failure: Option<String>,
}

/// A file that all writers share.
struct Shared {
    file: File,
    waiting: Mutex<Waiting>,
    done: Condvar,
}

impl Shared {
    /// Appends a record. Who finds no sync under way makes the next one, for all that came until it begins.
    fn append(&self, record: &[u8]) -> Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes.extend_from_slice(record);
        let group = waiting.group;
        while waiting.synced <= group {
            if let Some(failure) = &waiting.failure {
                return Err(failure.clone().into());
            }
            if waiting.is_syncing {
                waiting = self.done.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            waiting.is_syncing = true;
            waiting.group += 1;
            let bytes = std::mem::take(&mut waiting.bytes);
            drop(waiting);
            let outcome = (&self.file).write_all(&bytes).and_then(|()| self.file.sync_data());
            waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.is_syncing = false;
            waiting.synced = waiting.group;
            waiting.failure = outcome.err().map(|error| format!("the bare loop: {error}"));
            self.done.notify_all();
        }
        Ok(())
    }
}

/// Appends a second and how long each took, with so many threads for so long.
pub(crate) fn run(
    dir: &Path,
    threads: usize,
    record_bytes: usize,
    length: Duration,
) -> Result<(f64, Histogram)> {
    let path = dir.join("bare");
    let shared =
        Shared { file: File::create(&path)?, waiting: Mutex::default(), done: Condvar::new() };
    let record = vec![b'v'; record_bytes];
    let began = Instant::now();
    let write = || -> Result<(u64, Histogram)> {
        let (mut count, mut times) = (0, Histogram::new());
        while began.elapsed() < length {
            let before = Instant::now();
            shared.append(&record)?;
            times.record(before.elapsed());
            count += 1;
        }
        Ok((count, times))
    };
    let (mut count, mut times) = (0, Histogram::new());
    thread::scope(|scope| -> Result<()> {
        let writers: Vec<_> = (0..threads).map(|_| scope.spawn(write)).collect();
        for writer in writers {
            let (more, its) = writer.join().map_err(|_| "a writer panicked")??;
            count += more;
            times.merge(&its);
        }
        Ok(())
    })?;
    let per_second = count as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok((per_second, times))
}
