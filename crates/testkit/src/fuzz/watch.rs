//! Threads that parse, and one that sees to it that they go on.
//!
//! 1. An input that is parsed for longer than `PATIENCE` is timed once more when it is done.
//! 2. One that is not done after `GIVEN_UP` is a hang: it is told, and its thread left behind.

use super::{Input, PATIENCE, Plan, Tally, Target, tell, work::work};
use olivine_vfs::{Clock, RealClock};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

/// How long an input is waited for at most; much longer than `PATIENCE`, for machines with much to do.
const GIVEN_UP: Duration = Duration::from_secs(20);
/// How often the threads are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a thread is at, for who watches it.
#[derive(Debug, Default)]
pub(super) struct Post {
    executions: AtomicU64,
    input: Mutex<Vec<u8>>,
    slow: AtomicBool,
}

impl Post {
    /// The thread begins to parse `bytes`.
    pub(super) fn begins(&self, bytes: &[u8]) {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.clear();
        input.extend_from_slice(bytes);
        drop(input);
        self.executions.fetch_add(1, Release);
    }

    /// Whether it was seen to take long, since this was last asked.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Relaxed) && self.slow.swap(false, Relaxed)
    }
}

/// A thread as it was last seen.
struct Watched {
    post: Arc<Post>,
    /// Which execution it was at, and since when.
    at: u64,
    since: Duration,
}

/// Feeds one target from all threads, `each` times.
pub(super) fn fuzz(plan: &Plan, target: Target, inputs: &[Input], each: u64) -> Tally {
    let (send, receive) = channel();
    let (clock, mut tally) = (RealClock::new(), Tally::default());
    let mut watched: Vec<Option<Watched>> = (0..plan.threads)
        .map(|thread| {
            let post = start(plan, target, inputs, each, thread, &send);
            Some(Watched { post, at: 0, since: clock.now() })
        })
        .collect();
    drop(send);
    while watched.iter().any(Option::is_some) {
        match receive.recv_timeout(LOOK) {
            Ok((thread, done)) => {
                if watched[thread as usize].take().is_some() {
                    tally.add(done);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        for place in &mut watched {
            if let Some(what) = place.as_mut().and_then(|watched| look(watched, clock.now())) {
                tally.executions += what.at;
                tally.hangs += 1;
                let input = what.post.input.lock().unwrap_or_else(PoisonError::into_inner);
                tally.failures.push(tell(plan, target, &input, "it never ends"));
                drop(input);
                *place = None;
            }
        }
    }
    for post in watched.into_iter().flatten().map(|watched| watched.post) {
        tally.panics += 1;
        let input = post.input.lock().unwrap_or_else(PoisonError::into_inner);
        tally.failures.push(tell(plan, target, &input, "its thread died"));
    }
    tally
}

/// Looks at a thread, and answers it if it hangs.
fn look(watched: &mut Watched, now: Duration) -> Option<&Watched> {
    let at = watched.post.executions.load(Acquire);
    if at != watched.at {
        (watched.at, watched.since) = (at, now);
        return None;
    }
    let still = now.saturating_sub(watched.since);
    if PATIENCE <= still {
        watched.post.slow.store(true, Relaxed);
    }
    (GIVEN_UP <= still).then_some(watched)
}

/// Starts one thread; what it comes to is sent with its number.
fn start(
    plan: &Plan,
    target: Target,
    inputs: &[Input],
    each: u64,
    thread: u64,
    send: &Sender<(u64, Tally)>,
) -> Arc<Post> {
    let post = Arc::new(Post::default());
    let seed = plan.seed ^ (thread << 32) ^ (target.number() << 48);
    let (plan, inputs, send) = (plan.clone(), inputs.to_vec(), send.clone());
    let told = Arc::clone(&post);
    let run = move || {
        let tally = work(&plan, target, inputs, seed, each, &told);
        // Nobody listens any more to a thread that was given up.
        send.send((thread, tally)).ok();
    };
    let name = format!("fuzz-{}-{thread}", target.name());
    let spawned = thread::Builder::new().name(name).spawn(run);
    spawned.expect("the machine has a thread for us");
    post
}
