//! Where queries over time series are answered: on threads that serve nobody, so many at once.
//!
//! 1. Never more than `threads` are answered at once and `waiting_max` wait; one more is refused.
//! 2. A query whose asker has gone away is given up: it is told, and looks every few milliseconds. Its thread is free
//!    for another when it has.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use olivine_command::{Code, Refusal};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::settings::QuerySettings;

/// The queries of a store.
pub(crate) struct Queries {
    turns: Arc<Semaphore>,
    /// How many run.
    running: Arc<AtomicUsize>,
    /// How many run or wait, and how many may.
    count: AtomicUsize,
    most: usize,
}

/// Counts one of them while it lives.
struct One<C: Deref<Target = AtomicUsize>>(C);

impl<C: Deref<Target = AtomicUsize>> Drop for One<C> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Says that nobody waits for it any more, when it goes.
struct GivingUp(Arc<AtomicBool>);

impl Drop for GivingUp {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Queries {
    pub(crate) fn new(settings: &QuerySettings) -> Queries {
        let threads = settings.threads.clamp(1, Semaphore::MAX_PERMITS);
        let most = threads.saturating_add(settings.waiting_max);
        let turns = Arc::new(Semaphore::new(threads));
        Queries { turns, running: Arc::default(), count: AtomicUsize::new(0), most }
    }

    /// How many are being answered.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Has a thread do something that may take long, and that looks now and then whether it was given up.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let before = self.count.fetch_add(1, Relaxed);
        let _one = One(&self.count);
        if self.most <= before {
            let text =
                format!("max-concurrent-queries limit exceeded({}, {})", before + 1, self.most);
            return Err(Refusal::new(Code::Busy, text));
        }
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else {
            return Err(Refusal::new(Code::Unavailable, "the node ends"));
        };
        self.running.fetch_add(1, Relaxed);
        let one = One(Arc::clone(&self.running));
        let given_up = Arc::new(AtomicBool::new(false));
        let told = GivingUp(Arc::clone(&given_up));
        let work = move || {
            // Over when the thread is, and not when nobody waits any more.
            let _both = (turn, one);
            work(&given_up)
        };
        let done = spawn_blocking(work).await;
        drop(told);
        done.map_err(|_| Refusal::new(Code::Failed, "the query panicked"))
    }
}
