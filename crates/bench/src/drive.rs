//! Runs an operation over and over, on one or several threads, and times it.
//!
//! Keys and values are made ready in chunks, outside of the time that counts: an operation of 300 ns
//! would otherwise be measured together with 50 ns of making up its key. A clock read costs 20 to 65 ns on
//! the machines this was written for, so operations that take about a microsecond are timed one in
//! eight; the rate always comes from whole chunks.
//!
//! 1. `Tally::per_second` counts only the time between the first and the last operation of a chunk.
//! 2. All threads start together.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::{histogram::Histogram, store::Result};

/// When a thread has done enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// That many operations on each thread.
    Count(u64),
    /// That much time since the start.
    Elapsed(Duration),
}

/// How a workload is driven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) threads: u32,
    pub(crate) until: Until,
    /// One operation in so many is timed by itself.
    pub(crate) timed_every: usize,
}

impl Pace {
    /// Operations of about a microsecond.
    pub(crate) fn quick(threads: u32, until: Until) -> Pace {
        Pace { threads, until, timed_every: 8 }
    }

    /// Operations of many microseconds, or whose worst matters.
    pub(crate) fn each_timed(threads: u32, until: Until) -> Pace {
        Pace { threads, until, timed_every: 1 }
    }
}

/// One thread's part of a workload.
pub(crate) trait Actor {
    /// Makes the next `count` operations ready.
    fn prepare(&mut self, count: usize);

    /// Does the operation that was made ready at `slot`.
    fn act(&mut self, slot: usize) -> Result<()>;
}

/// What was done, and how long it took.
pub(crate) struct Tally {
    pub(crate) operations: u64,
    /// Sum over the threads of their rates.
    pub(crate) per_second: f64,
    /// Longest time that a thread spent in its operations.
    pub(crate) busy: Duration,
    pub(crate) histogram: Histogram,
}

/// Drives one actor per thread until each is done.
pub(crate) fn drive<A: Actor>(pace: Pace, actor: impl Fn(u32) -> A + Sync) -> Result<Tally> {
    let barrier = Barrier::new(pace.threads as usize);
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let run = |thread| {
            let (actor, barrier) = (&actor, &barrier);
            move || {
                let mut actor = actor(thread);
                barrier.wait();
                drive_one(pace, &mut actor)
            }
        };
        let handles: Vec<_> = (1..pace.threads).map(|thread| scope.spawn(run(thread))).collect();
        let mut tallies = vec![run(0)()];
        for handle in handles {
            tallies.push(handle.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        }
        tallies
    });
    let mut sum =
        Tally { operations: 0, per_second: 0.0, busy: Duration::ZERO, histogram: Histogram::new() };
    for tally in tallies {
        let tally = tally?;
        sum.operations += tally.operations;
        sum.per_second += tally.per_second;
        sum.busy = sum.busy.max(tally.busy);
        sum.histogram.merge(&tally.histogram);
    }
    Ok(sum)
}

fn drive_one(pace: Pace, actor: &mut impl Actor) -> Result<Tally> {
    let chunk_max = if pace.timed_every == 1 { 16 } else { 256 };
    let mut histogram = Histogram::new();
    let (mut operations, mut busy) = (0_u64, Duration::ZERO);
    let start = Instant::now();
    loop {
        let chunk = match pace.until {
            Until::Count(count) => chunk_max.min((count - operations) as usize),
            Until::Elapsed(limit) if limit <= start.elapsed() => 0,
            Until::Elapsed(_) => chunk_max,
        };
        if chunk == 0 {
            break;
        }
        actor.prepare(chunk);
        let begin = Instant::now();
        for slot in 0..chunk {
            if slot % pace.timed_every == 0 {
                let before = Instant::now();
                actor.act(slot)?;
                histogram.record(before.elapsed());
            } else {
                actor.act(slot)?;
            }
        }
        busy += begin.elapsed();
        operations += chunk as u64;
    }
    let per_second = operations as f64 / busy.as_secs_f64().max(1e-9);
    Ok(Tally { operations, per_second, busy, histogram })
}
