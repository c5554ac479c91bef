//! Where queries over time series are answered: on threads that serve nobody, so many at once.
//!
//! How long a query takes is not known before it is answered. So there are lanes: in the first a query may run for a
//! moment, in the next for longer, in the last for as long as queries may. One whose moment is over goes on in the next
//! lane if that has a place; otherwise it gives up what it has come to, waits for a place there and begins anew. Whoever asks
//! for little waits for others that are new, and never for those that take a minute, however many there are.
//!
//! 1. In each lane never more than `threads` are answered at once, and `waiting_max` wait; one more is refused.
//! 2. A query that waits holds no memory but that of its text.
//! 3. A query whose asker has gone away is given up: it is told, and looks every few milliseconds. Its place is free
//!    for another when it has.
//! 4. What changes something is never begun anew, and has a lane of its own.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use olivine_command::{Code, Refusal};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::{settings::QuerySettings, time::Time};

/// How much time of a processor a query may take in each lane but the last. What is done within the first is most of what is
/// asked.
const MOMENTS: [Duration; 3] =
    [Duration::from_millis(2), Duration::from_millis(20), Duration::from_millis(200)];
/// And by the clock at most so many times as much: then a busy machine is the query's bad luck, and not that of those behind
/// it.
const CLOCK_FACTOR: u32 = 5;
/// How many lanes there are for what only reads.
const LANES: usize = MOMENTS.len() + 1;
/// The lane of what changes something.
const CHANGES: usize = LANES;
/// How long a query runs before it lets others have its core, once it is in another lane than the first: a thread that
/// wakes up is let wait for some milliseconds otherwise.
const STRETCH: Duration = Duration::from_millis(1);

/// The queries of a store.
pub(crate) struct Queries {
    lanes: Arc<[Lane; LANES + 1]>,
    threads: usize,
    waiting_max: usize,
    /// How many run.
    running: Arc<AtomicUsize>,
    time: Arc<Time>,
}

struct Lane {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Counts one while it lives.
struct One<'a>(&'a AtomicUsize);

impl<'a> One<'a> {
    fn of(count: &'a AtomicUsize) -> (One<'a>, usize) {
        let before = count.fetch_add(1, Relaxed);
        (One(count), before)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What something does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// It may be begun anew.
    Reads,
    Changes,
}

/// A query that runs.
pub(crate) struct Turn {
    given_up: AtomicBool,
    time: Arc<Time>,
    lanes: Arc<[Lane; LANES + 1]>,
    /// When it is to be looked whether its moment is over, and when it let others have its core last: nanoseconds of the
    /// clock.
    until: AtomicU64,
    rested: AtomicU64,
    at: Mutex<At>,
}

/// Where a query is.
struct At {
    lane: usize,
    place: Option<OwnedSemaphorePermit>,
    /// The thread that it began on, which may have others help it.
    thread: Option<ThreadId>,
    /// What that thread had taken of a processor when its moment began, and when that was.
    used: Duration,
    since: u64,
    /// Its moment was over, and there was no place in the next lane.
    is_put_off: bool,
}

/// Says that nobody waits for it any more, when it goes.
struct GivingUp(Arc<Turn>);

impl Drop for GivingUp {
    fn drop(&mut self) {
        self.0.given_up.store(true, Relaxed);
    }
}

impl Queries {
    pub(crate) fn new(settings: &QuerySettings, time: Arc<Time>) -> Queries {
        let threads = settings.threads.clamp(1, Semaphore::MAX_PERMITS);
        let lane = |_| Lane { places: Arc::new(Semaphore::new(threads)), waiting: 0.into() };
        let lanes = Arc::new(std::array::from_fn(lane));
        let waiting_max = settings.waiting_max;
        Queries { lanes, threads, waiting_max, running: Arc::default(), time }
    }

    /// How many are being answered.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Has a thread do something that may take long, and that asks its turn now and then whether to go on. What only
    /// reads may be done more than once, of which the last counts.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        does: Does,
        work: impl Fn(&Turn) -> T + Send + Sync + 'static,
    ) -> Result<T, Refusal> {
        let work = Arc::new(work);
        let mut lane = if does == Does::Reads { 0 } else { CHANGES };
        loop {
            let place = self.place(lane).await?;
            let turn = Arc::new(Turn::new(self, lane, place));
            let told = GivingUp(Arc::clone(&turn));
            let (work, running) = (Arc::clone(&work), Arc::clone(&self.running));
            let done = spawn_blocking(move || {
                // Over when the thread is, and not when nobody waits any more.
                let _one = One::of(&running);
                turn.begin();
                let done = work(&turn);
                turn.end().ok_or(done)
            });
            let done = done.await;
            drop(told);
            match done {
                Ok(Err(done)) => return Ok(done),
                Ok(Ok(next)) => lane = next,
                Err(_) => return Err(Refusal::new(Code::Failed, "the query panicked")),
            }
        }
    }

    /// A place in a lane, when there is one.
    async fn place(&self, lane: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let Lane { places, waiting } = &self.lanes[lane];
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(place);
        }
        let (_one, before) = One::of(waiting);
        if self.waiting_max <= before {
            let most = self.threads.saturating_add(self.waiting_max);
            let text = format!(
                "max-concurrent-queries limit exceeded({}, {most})",
                most.saturating_add(1)
            );
            return Err(Refusal::new(Code::Busy, text));
        }
        let ends = |_| Refusal::new(Code::Unavailable, "the node ends");
        Arc::clone(places).acquire_owned().await.map_err(ends)
    }
}

impl Turn {
    fn new(queries: &Queries, lane: usize, place: OwnedSemaphorePermit) -> Turn {
        let Queries { lanes, time, .. } = queries;
        let (used, since, place) = (Duration::ZERO, 0, Some(place));
        Turn {
            given_up: AtomicBool::new(false),
            time: Arc::clone(time),
            lanes: Arc::clone(lanes),
            until: AtomicU64::new(u64::MAX),
            rested: AtomicU64::new(0),
            at: Mutex::new(At { lane, place, thread: None, used, since, is_put_off: false }),
        }
    }

    /// It begins, on this thread.
    fn begin(&self) {
        let now = self.now();
        self.rested.store(now, Relaxed);
        let mut at = self.at();
        at.thread = Some(thread::current().id());
        self.begin_moment(&mut at, now);
    }

    fn begin_moment(&self, at: &mut At, now: u64) {
        if at.thread == Some(thread::current().id()) {
            at.used = olivine_vfs::thread_cpu();
        }
        at.since = now;
        let until = MOMENTS.get(at.lane).map_or(u64::MAX, |moment| now + nanos(*moment));
        self.until.store(until, Relaxed);
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        nanos(self.time.clock().now())
    }

    /// Set when nobody waits for it any more.
    pub(crate) fn given_up(&self) -> &AtomicBool {
        &self.given_up
    }

    /// Whether it is to end because its moment is over and others are before it. To be asked every few milliseconds, by
    /// each of its threads.
    pub(crate) fn is_put_off(&self) -> bool {
        let now = self.now();
        if self.until.load(Relaxed) <= now {
            return !self.moves_on(now);
        }
        let stretch = now.saturating_sub(self.rested.load(Relaxed));
        if nanos(STRETCH) <= stretch {
            self.rested.store(now, Relaxed);
            thread::yield_now();
        }
        false
    }

    /// Goes on where it is, if its moment is not over yet, or in the next lane, if there is a place.
    fn moves_on(&self, now: u64) -> bool {
        let mut at = self.at();
        if now < self.until.load(Relaxed) {
            // Another of its threads has seen to it.
            return true;
        }
        if at.is_put_off {
            return false;
        }
        if let Some(left) = at.left(now) {
            self.until.store(now + nanos(left), Relaxed);
            return true;
        }
        let next = at.lane + 1;
        let Ok(place) = Arc::clone(&self.lanes[next].places).try_acquire_owned() else {
            at.is_put_off = true;
            return false;
        };
        (at.lane, at.place) = (next, Some(place));
        self.begin_moment(&mut at, now);
        true
    }

    /// Lets go of its place. Returns the lane to begin anew in, if it was put off.
    fn end(&self) -> Option<usize> {
        let mut at = self.at();
        at.place = None;
        at.is_put_off.then_some(at.lane + 1)
    }
}

impl At {
    /// What is left of its moment.
    fn left(&self, now: u64) -> Option<Duration> {
        let moment = MOMENTS.get(self.lane)?;
        let is_late = nanos(*moment * CLOCK_FACTOR) <= now.saturating_sub(self.since);
        // A thread that helps does so because there is much to do.
        if is_late || self.thread != Some(thread::current().id()) {
            return None;
        }
        let used = olivine_vfs::thread_cpu().saturating_sub(self.used);
        moment.checked_sub(used).filter(|left| !left.is_zero())
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::{Clock as _, RealClock};
    use tokio::runtime;

    /// So many threads and queries that wait; and a clock to wait by.
    fn queries(threads: usize, waiting_max: usize) -> (Arc<Queries>, RealClock) {
        let settings = QuerySettings { threads, waiting_max, ..QuerySettings::default() };
        let clock = RealClock::new();
        let time = Arc::new(Time::new(Arc::new(clock), 0));
        (Arc::new(Queries::new(&settings, time)), clock)
    }

    /// Does nothing until it is put off or told to end, and says whether it was the latter.
    fn hostile(over: &Arc<AtomicBool>) -> impl Fn(&Turn) -> bool + Send + Sync + 'static {
        let over = Arc::clone(over);
        move |turn| {
            loop {
                if over.load(Relaxed) {
                    return true;
                }
                if turn.given_up().load(Relaxed) || turn.is_put_off() {
                    return false;
                }
                thread::yield_now();
            }
        }
    }

    /// Whoever asks for little does not wait until those are done who ask for everything, though there are many more of
    /// them than threads; and those are all done in the end.
    #[test]
    fn small_queries_pass_long_ones() {
        const LONG: usize = 12;
        const THREADS: usize = 2;
        let (queries, clock) = queries(THREADS, 100);
        let over = Arc::new(AtomicBool::new(false));
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let long: Vec<_> = (0..LONG)
            .map(|_| {
                let (queries, work) = (Arc::clone(&queries), hostile(&over));
                runtime.spawn(async move { queries.run(Does::Reads, work).await })
            })
            .collect();
        let waiting = |lane: usize| queries.lanes[lane].waiting.load(Relaxed);
        // All that can are in the last lane, the others wait there or before it.
        while waiting(0) != 0 || waiting(1) + waiting(2) + 2 * THREADS < LONG {
            clock.sleep(Duration::from_millis(1));
        }
        let mut worst = Duration::ZERO;
        for number in 0..100 {
            let began = clock.now();
            let done = runtime.block_on(queries.run(Does::Reads, move |_| number));
            assert_eq!(done.unwrap(), number);
            worst = worst.max(clock.now().saturating_sub(began));
        }
        let began = clock.now();
        runtime.block_on(queries.run(Does::Changes, |_| ())).unwrap();
        worst = worst.max(clock.now().saturating_sub(began));
        assert!(!over.load(Relaxed) && THREADS <= queries.running());
        // Far less than the long ones take, which is for ever.
        assert!(worst < Duration::from_secs(5), "{worst:?}");
        over.store(true, Relaxed);
        for long in long {
            assert!(runtime.block_on(long).unwrap().unwrap(), "one was put off for good");
        }
        assert_eq!(queries.running(), 0);
        for lane in &*queries.lanes {
            assert_eq!((lane.places.available_permits(), lane.waiting.load(Relaxed)), (THREADS, 0));
        }
    }

    /// While there is a place a query is done at the first attempt, however long it takes.
    #[test]
    fn a_query_that_is_alone_is_done_once() {
        let (queries, _) = queries(1, 0);
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let work = move |turn: &Turn| {
            counted.fetch_add(1, Relaxed);
            while turn.at().lane < LANES - 1 {
                assert!(!turn.is_put_off());
            }
        };
        runtime.block_on(queries.run(Does::Reads, work)).unwrap();
        assert_eq!(attempts.load(Relaxed), 1);
    }

    /// What changes something is done once, and what finds too many waiting is refused.
    #[test]
    fn changes_are_never_put_off_and_too_many_are_refused() {
        let (queries, clock) = queries(1, 1);
        let over = Arc::new(AtomicBool::new(false));
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let spawn = || {
            let (queries, work) = (Arc::clone(&queries), hostile(&over));
            runtime.spawn(async move { queries.run(Does::Changes, work).await })
        };
        let first = spawn();
        while queries.running() != 1 {
            clock.sleep(Duration::from_millis(1));
        }
        let second = spawn();
        while queries.lanes[CHANGES].waiting.load(Relaxed) != 1 {
            clock.sleep(Duration::from_millis(1));
        }
        let refused = runtime.block_on(queries.run(Does::Changes, |_| ())).unwrap_err();
        assert_eq!(refused.code, Code::Busy);
        assert_eq!(refused.text, "max-concurrent-queries limit exceeded(3, 2)");
        clock.sleep(2 * CLOCK_FACTOR * MOMENTS[0]);
        over.store(true, Relaxed);
        for one in [first, second] {
            assert!(runtime.block_on(one).unwrap().unwrap());
        }
    }

    /// Nobody waits any more: it ends, and its place is free.
    #[test]
    fn what_nobody_waits_for_is_given_up() {
        let (queries, clock) = queries(1, 1);
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let work = hostile(&Arc::default());
        let asked = Arc::clone(&queries);
        let one = runtime.spawn(async move { asked.run(Does::Changes, work).await });
        while queries.running() != 1 {
            clock.sleep(Duration::from_millis(1));
        }
        one.abort();
        runtime.block_on(queries.run(Does::Changes, |_| ())).unwrap();
    }
}
