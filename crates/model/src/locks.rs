//! Keeps those apart who read a key in order to write it.
//!
//! Keys share a fixed number of locks by their hash.
//!
//! 1. Locks are taken in one order, so nobody waits in a circle.
//! 2. Nobody who holds one waits for the disk to sync; they are held for as long as reading the keys
//!    and handing one batch to the engine takes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

/// More of them make it rarer that two keys share one.
const LOCKS: usize = 1024;

pub(crate) struct Locks {
    locks: Box<[Mutex<()>]>,
}

/// Holds the locks of some keys.
pub(crate) struct Held<'a> {
    _guards: Vec<MutexGuard<'a, ()>>,
}

impl Locks {
    pub(crate) fn new() -> Locks {
        Locks { locks: (0..LOCKS).map(|_| Mutex::new(())).collect() }
    }

    /// Takes the locks of these keys.
    pub(crate) fn hold<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Held<'_> {
        let mut places: Vec<usize> = keys.map(|key| xxh3_64(key) as usize % LOCKS).collect();
        places.sort_unstable();
        places.dedup();
        let guard = |place: usize| self.locks[place].lock().unwrap_or_else(PoisonError::into_inner);
        Held { _guards: places.into_iter().map(guard).collect() }
    }
}
