//! The atomics, locks and cells of std, or loom's when built with `--cfg loom`.
//!
//! Code whose correctness rests on memory order, or on who wakes whom, takes them from here, so that
//! loom can try its schedules.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::yield_now,
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::yield_now,
};

/// Tells the processor that this thread is waiting for another one.
pub(crate) fn spin_hint() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::hint::spin_loop();
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
