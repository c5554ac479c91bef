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

#[cfg(not(loom))]
pub(crate) use arc_swap::{ArcSwap, Guard as Swapped};

/// Stands in for `arc_swap`'s, which loom cannot look into: a lock, held for no longer than a clone.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct ArcSwap<T>(Mutex<std::sync::Arc<T>>);

/// What was loaded, as `arc_swap`'s guard gives it out.
#[cfg(loom)]
pub(crate) struct Swapped<P>(P);

#[cfg(loom)]
impl<P> std::ops::Deref for Swapped<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

#[cfg(loom)]
impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
        ArcSwap(Mutex::new(std::sync::Arc::new(value)))
    }

    pub(crate) fn load(&self) -> Swapped<std::sync::Arc<T>> {
        Swapped(std::sync::Arc::clone(&self.0.lock().unwrap()))
    }

    pub(crate) fn store(&self, value: std::sync::Arc<T>) {
        *self.0.lock().unwrap() = value;
    }
}

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
