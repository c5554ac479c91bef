//! The atomics, locks, cells and threads of std; loom's when built with `--cfg loom`, shuttle's with
//! `--cfg shuttle`.
//!
//! Code whose correctness rests on memory order, or on who wakes whom, takes them from here, so that
//! loom can try its schedules. Whatever may be held, or waited for, while another thread gets its turn
//! comes from here too, so that shuttle can run a whole store: its threads take turns on one thread of
//! the system, which a lock of std would stop for good. Locks of the disks in memory are std's all the
//! same: they are held for a moment, in which nobody else gets a turn.
//!
//! 1. An ordinary build contains neither loom nor shuttle, and no other code than std's.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::{self, yield_now},
    thread_local,
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::yield_now,
};
#[cfg(loom)]
pub(crate) use std::{thread, thread_local};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::{self, yield_now},
    thread_local,
};

#[cfg(not(any(loom, shuttle)))]
pub(crate) use arc_swap::{ArcSwap, Guard as Swapped};

/// Stands in for `arc_swap`'s, which loom and shuttle cannot look into: a lock, held for no longer than
/// a clone.
#[cfg(any(loom, shuttle))]
#[derive(Debug)]
pub(crate) struct ArcSwap<T>(Mutex<std::sync::Arc<T>>);

/// What was loaded, as `arc_swap`'s guard gives it out.
#[cfg(any(loom, shuttle))]
pub(crate) struct Swapped<P>(P);

#[cfg(any(loom, shuttle))]
impl<P> std::ops::Deref for Swapped<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

#[cfg(any(loom, shuttle))]
impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
        ArcSwap(Mutex::new(std::sync::Arc::new(value)))
    }

    pub(crate) fn load(&self) -> Swapped<std::sync::Arc<T>> {
        Swapped(std::sync::Arc::clone(&self.0.lock().unwrap()))
    }

    pub(crate) fn store(&self, value: std::sync::Arc<T>) {
        // What was there goes when the lock is open again: its drop may take turns.
        let _old = std::mem::replace(&mut *self.0.lock().unwrap(), value);
    }
}

/// Waits on `bell` for at most `most`, with `guard` of `mutex` given up meanwhile. It may return for
/// no reason.
pub(crate) fn wait_timeout<'a, T>(
    bell: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    most: std::time::Duration,
) -> MutexGuard<'a, T> {
    use std::sync::PoisonError;
    if cfg!(shuttle) {
        // shuttle's wait never times out. Here the time is always over once the others had a turn.
        drop(guard);
        yield_now();
        return mutex.lock().unwrap_or_else(PoisonError::into_inner);
    }
    bell.wait_timeout(guard, most).unwrap_or_else(PoisonError::into_inner).0
}

/// Tells the processor that this thread is waiting for another one.
pub(crate) fn spin_hint() {
    #[cfg(not(any(loom, shuttle)))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::hint::spin_loop();
    #[cfg(shuttle)]
    shuttle::hint::spin_loop();
}

/// Stands in plain memory for the bytes beside it: loom complains when a read is not ordered after
/// the making of it.
#[cfg(loom)]
pub(crate) struct Tracked(loom::cell::UnsafeCell<()>);

#[cfg(loom)]
impl Tracked {
    pub(crate) fn new() -> Tracked {
        let cell = loom::cell::UnsafeCell::new(());
        cell.with_mut(|_| ());
        Tracked(cell)
    }

    pub(crate) fn read(&self) {
        self.0.with(|_| ());
    }
}
