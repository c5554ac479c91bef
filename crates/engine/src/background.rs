//! The threads that work behind the stores of an environment.
//!
//! 1. A thread does one unit of work at a time and looks again; it sleeps only after a round in
//!    which there was nothing to do, and a signal given during that round is never missed.
//! 2. Threads end when the last handle of their environment is dropped.

#[cfg(all(test, loom))]
mod loom;

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    environment::Inner,
    error::{Error, Result},
    sync::{
        AtomicBool, Condvar, Mutex,
        Ordering::Relaxed,
        thread::{self, JoinHandle},
        wait_timeout,
    },
};

/// A kind of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Frozen memtables become tables.
    Flush,
    /// Tables are merged.
    Compact,
    /// Log segments are made before they are needed; obsolete files go.
    Prepare,
    /// What ticketed and interval writers wrote is synced.
    Sync,
}

impl Duty {
    pub(crate) const ALL: [Duty; 4] = [Duty::Flush, Duty::Compact, Duty::Prepare, Duty::Sync];

    fn thread_name(self) -> &'static str {
        match self {
            Duty::Flush => "olivine-flush",
            Duty::Compact => "olivine-compact",
            Duty::Prepare => "olivine-prepare",
            Duty::Sync => "olivine-sync",
        }
    }
}

/// A bell that can be rung while nobody listens.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Signal {
    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
    }

    /// Waits until it was rung since the last wait returned, or for `most` at the longest.
    pub(crate) fn wait(&self, most: Option<Duration>) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        match most {
            None => {
                while !*rung {
                    rung = self.bell.wait(rung).unwrap_or_else(PoisonError::into_inner);
                }
            }
            // Woken for no reason, the thread looks once more than it need.
            Some(most) if !*rung => {
                rung = wait_timeout(&self.bell, &self.rung, rung, most);
            }
            Some(_) => {}
        }
        *rung = false;
    }
}

/// The threads of one environment.
pub(crate) struct Threads {
    signals: [Arc<Signal>; Duty::ALL.len()],
    ending: Arc<AtomicBool>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<Threads> {
        let threads = Threads {
            signals: Default::default(),
            ending: Arc::new(AtomicBool::new(false)),
            handles: Mutex::default(),
        };
        for duty in Duty::ALL {
            let inner = Arc::clone(inner);
            let signal = Arc::clone(&threads.signals[duty as usize]);
            let ending = Arc::clone(&threads.ending);
            let handle = thread::Builder::new()
                .name(duty.thread_name().into())
                .spawn(move || run(duty, &inner, &signal, &ending))
                .map_err(Error::io("start a thread for", duty.thread_name()))?;
            threads.handles.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
        Ok(threads)
    }

    pub(crate) fn signal(&self, duty: Duty) {
        self.signals[duty as usize].ring();
    }
}

fn run(duty: Duty, inner: &Inner, signal: &Signal, ending: &AtomicBool) {
    if matches!(duty, Duty::Flush | Duty::Compact | Duty::Prepare) {
        olivine_vfs::yield_to_foreground();
    }
    work_until(ending, signal, || inner.work(duty), || inner.due_in(duty));
}

/// Works until it is to end; waits for the signal when there is nothing to do, at most as long as `due`
/// says.
fn work_until(
    ending: &AtomicBool,
    signal: &Signal,
    work: impl Fn() -> bool,
    due: impl Fn() -> Option<Duration>,
) {
    while !ending.load(Relaxed) {
        if !work() {
            signal.wait(due());
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.ending.store(true, Relaxed);
        for signal in &self.signals {
            signal.ring();
        }
        let handles = self.handles.get_mut().unwrap_or_else(PoisonError::into_inner);
        for handle in handles.drain(..) {
            // The last handle may go away on one of these threads, with the store it worked for.
            if handle.thread().id() != thread::current().id() {
                handle.join().ok();
            }
        }
    }
}
