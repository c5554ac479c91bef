//! Work on many groups, shared with another thread where it is much.
//!
//! 1. What comes of the groups is in their order, whoever did them; each is done by one thread from beginning to end.
//! 2. The error is that of the first group that has one.
//! 3. All queries together have no more helping threads than [`Helpers`] has.

use crate::{select::Context, settings::QueryError};
use std::{
    panic,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

/// Threads that queries may have besides those that ask them.
#[derive(Debug)]
pub struct Helpers {
    free: AtomicUsize,
    points_min: u64,
}

impl Helpers {
    /// So many of them, for queries that are expected to have more points than `points_min` still to read.
    pub fn new(count: usize, points_min: u64) -> Helpers {
        Helpers { free: AtomicUsize::new(count), points_min }
    }

    /// One that is free.
    fn take(&self) -> Option<Helper<'_>> {
        let taken = self.free.try_update(Relaxed, Relaxed, |free| free.checked_sub(1));
        taken.is_ok().then_some(Helper(self))
    }
}

/// One that was taken, until it is dropped.
struct Helper<'h>(&'h Helpers);

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Relaxed);
    }
}

/// Groups that are done before it is told from them what the others take.
const LOOKED_AT: usize = 2;

/// What comes of `count` groups, those left out of which nothing comes.
pub(crate) fn over<T: Send>(
    context: &Context<'_>,
    count: usize,
    work: &(dyn Fn(usize) -> Result<Option<T>, QueryError> + Sync),
) -> Result<Vec<T>, QueryError> {
    let before = context.budget.points();
    let mut found = Vec::new();
    for group in 0..count {
        let left = (count - group) as u64;
        let taken = context.budget.points().saturating_sub(before);
        if let Some(helpers) = context.settings().helpers
            && LOOKED_AT <= group
            && 1 < left
            && helpers.points_min < taken / group as u64 * left
            && let Some(_helper) = helpers.take()
        {
            found.extend(shared(group, count, work)?);
            return Ok(found);
        }
        found.extend(work(group)?);
    }
    Ok(found)
}

/// What one thread made of groups, or which of them failed.
type Done<T> = Result<Vec<(usize, T)>, (usize, QueryError)>;

/// The same of the groups from `from` on, done by this thread and another.
fn shared<T: Send>(
    from: usize,
    count: usize,
    work: &(dyn Fn(usize) -> Result<Option<T>, QueryError> + Sync),
) -> Result<Vec<T>, QueryError> {
    let next = AtomicUsize::new(from);
    let one = || -> Done<T> {
        let mut done = Vec::new();
        loop {
            let group = next.fetch_add(1, Relaxed);
            if count <= group {
                return Ok(done);
            }
            match work(group) {
                Ok(found) => done.extend(found.map(|found| (group, found))),
                Err(error) => {
                    // Nobody begins another; those before this one were begun already.
                    next.store(count, Relaxed);
                    return Err((group, error));
                }
            }
        }
    };
    let (ours, theirs) = thread::scope(|scope| {
        let helper =
            thread::Builder::new().name("olivine-query".to_owned()).spawn_scoped(scope, one);
        let ours = one();
        let theirs = match helper {
            Ok(helper) => helper.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
            // All was done here.
            Err(_) => Ok(Vec::new()),
        };
        (ours, theirs)
    });
    match (ours, theirs) {
        (Ok(mut done), Ok(more)) => {
            done.extend(more);
            done.sort_unstable_by_key(|(group, _)| *group);
            Ok(done.into_iter().map(|(_, found)| found).collect())
        }
        (Err(one), Err(other)) => Err(if one.0 < other.0 { one.1 } else { other.1 }),
        (Err((_, error)), Ok(_)) | (Ok(_), Err((_, error))) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn two_threads_share_groups_and_keep_their_order() {
        // Whoever does one of the first two waits for who does the other: one thread alone would wait for ever.
        let both = Barrier::new(2);
        let work = |group: usize| -> Result<Option<usize>, QueryError> {
            if group < 5 {
                both.wait();
            }
            Ok((group & 3 != 0).then_some(group))
        };
        let found = shared(3, 100, &work).expect("no group fails");
        let right: Vec<usize> = (3..100).filter(|group| group & 3 != 0).collect();
        assert_eq!(found, right);
    }

    #[test]
    fn the_first_error_is_told() {
        for first in 0..40 {
            let work = |group: usize| match group {
                group if first <= group => QueryError::wrong(group.to_string()),
                _ => Ok(Some(group)),
            };
            assert_eq!(shared(0, 40, &work), QueryError::wrong(first.to_string()));
        }
    }

    #[test]
    fn helpers_are_given_back() {
        let helpers = Helpers::new(1, 0);
        let taken = helpers.take();
        assert!(taken.is_some() && helpers.take().is_none());
        drop(taken);
        assert!(helpers.take().is_some());
        assert!(Helpers::new(0, 0).take().is_none());
    }
}
