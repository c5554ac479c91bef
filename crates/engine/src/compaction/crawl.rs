//! Walks that met many deletions in a row, and when it pays to have them gone.
//!
//! Deletions at the front of a queue are stepped over again by every walk that begins there. What those
//! steps cost is summed up; once it is as much as merging the tables that hold the deletions would
//! cost, they are merged: at worst twice as much is spent as by who knew the future.
//!
//! 1. Noting costs a walk nothing unless it stepped over hundreds of deletions in a row.
//! 2. A merge that could drop nothing is not begun.

use std::sync::{
    PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::sync::Mutex;

/// Deletions in a row below which a walk says nothing.
pub(crate) const CRAWL_NOTED: u64 = 256;
/// Deletions stepped over that are worth what a flush or a merge costs however small it is.
pub(super) const CRAWL_LEAST: u64 = 50_000;
/// Deletions stepped over that are worth one entry merged.
pub(super) const CRAWL_FOR_ENTRY: u64 = 2;

/// What walks of a keyspace met.
#[derive(Debug, Default)]
pub(crate) struct Crawls {
    noted: Mutex<Option<Crawl>>,
    /// Deletions stepped over since they were last merged; looked at without the lock.
    steps: AtomicU64,
}

/// Where walks met deletions, and how many in all.
#[derive(Clone, Debug)]
pub(crate) struct Crawl {
    pub(super) first: Vec<u8>,
    pub(super) last: Vec<u8>,
    pub(super) steps: u64,
}

impl Crawls {
    /// A walk stepped over `steps` deletions in a row, from `first` to `last`. True when it is time to
    /// look whether they should go.
    pub(crate) fn note(&self, first: &[u8], last: &[u8], steps: u64) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let crawl = noted.get_or_insert_with(|| Crawl {
            first: first.to_vec(),
            last: last.to_vec(),
            steps: 0,
        });
        if first < crawl.first.as_slice() {
            crawl.first = first.to_vec();
        }
        if crawl.last.as_slice() < last {
            crawl.last = last.to_vec();
        }
        let before = crawl.steps;
        crawl.steps += steps;
        self.steps.store(crawl.steps, Relaxed);
        before / CRAWL_LEAST != crawl.steps / CRAWL_LEAST
    }

    /// What was noted, if it is enough to look at.
    pub(super) fn get(&self) -> Option<Crawl> {
        if self.steps.load(Relaxed) < CRAWL_LEAST {
            return None;
        }
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// So many steps have led to something.
    pub(super) fn pay(&self, steps: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(crawl) = noted.as_mut() {
            crawl.steps = crawl.steps.saturating_sub(steps);
            self.steps.store(crawl.steps, Relaxed);
        }
    }

    /// Deletions below `next` were merged, or all of them.
    pub(super) fn merged(&self, next: Option<&[u8]>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let left = noted.take().filter(|crawl| next.is_some_and(|next| next <= &*crawl.last));
        *noted = left.map(|mut crawl| {
            if let Some(next) = next.filter(|next| crawl.first.as_slice() < *next) {
                crawl.first = next.to_vec();
            }
            crawl
        });
        self.steps.store(noted.as_ref().map_or(0, |crawl| crawl.steps), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_add_up_until_their_deletions_are_merged() {
        let crawls = Crawls::default();
        assert!(!crawls.note(b"d", b"f", CRAWL_LEAST - 1));
        assert!(crawls.get().is_none());
        assert!(crawls.note(b"b", b"e", 1));
        let crawl = crawls.get().unwrap();
        assert_eq!((&*crawl.first, &*crawl.last, crawl.steps), (&b"b"[..], &b"f"[..], CRAWL_LEAST));
        crawls.merged(Some(b"c"));
        assert_eq!(crawls.get().unwrap().first, b"c");
        crawls.merged(Some(b"a"));
        assert_eq!(crawls.get().unwrap().first, b"c");
        crawls.merged(Some(b"g"));
        assert!(crawls.get().is_none());
    }
}
