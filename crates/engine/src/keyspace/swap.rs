//! A value that is replaced whole while others read it.
//!
//! 1. Readers never wait.
//! 2. A change is made of the value that the change before it made: none is lost.

#[cfg(all(test, loom))]
mod loom;

use std::sync::{Arc, PoisonError};

use crate::sync::{ArcSwap, Mutex, Swapped};

/// A value that is replaced whole.
#[derive(Debug)]
pub(super) struct Swap<T> {
    value: ArcSwap<T>,
    change: Mutex<()>,
}

impl<T> Swap<T> {
    pub(super) fn new(value: T) -> Swap<T> {
        Swap { value: ArcSwap::from_pointee(value), change: Mutex::new(()) }
    }

    /// The value of this moment.
    pub(super) fn load(&self) -> Swapped<Arc<T>> {
        self.value.load()
    }

    /// Swaps in what `change` makes of the value.
    pub(super) fn change(&self, change: impl FnOnce(&T) -> T) {
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(&self.value.load());
        self.value.store(Arc::new(next));
    }
}
