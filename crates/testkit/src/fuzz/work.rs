//! One thread's share of one target.
//!
//! 1. What is being parsed is told to the watch before it is parsed.

use super::{Input, PATIENCE, Plan, Tally, Target, mutate, shorter, tell, watch::Post};
use crate::caught::caught;
use olivine_vfs::{Clock, Random, RealClock};
use std::time::Duration;

/// Inputs that join the corpus of a run at most.
const JOINED_MAX: usize = 2_000;
/// Longer inputs do not join it.
const INPUT_BYTES_MAX: usize = 8 << 10;

/// Feeds the target with what comes of the inputs of `pool`.
pub(super) fn work(
    plan: &Plan,
    target: Target,
    mut pool: Vec<Input>,
    seed: u64,
    executions: u64,
    post: &Post,
) -> Tally {
    let (mut random, mut tally) = (Random::new(seed), Tally::default());
    for _ in 0..executions {
        let base = &pool[random.index(pool.len())];
        let other = &pool[random.index(pool.len())].bytes;
        let (seams, mut bytes) = (base.seams.clone(), base.bytes.clone());
        // Where everything has its place, most inputs keep it.
        let moves = seams.is_empty() || random.chance(1, 4);
        mutate(&mut random, &mut bytes, other, moves);
        if !random.chance(1, 8) {
            target.mend(&mut bytes, &seams);
        }
        post.begins(&bytes);
        tally.executions += 1;
        let answer = match caught(|| target.parse(&bytes)) {
            Ok(Ok(things)) => {
                tally.parsed += 1;
                format!("{things} parsed")
            }
            // What follows is particular to this input.
            Ok(Err(what)) => {
                let what = what.split(['"', '`', '\'']).next().unwrap_or_default();
                what.replace(|character: char| character.is_ascii_digit(), "")
            }
            Err(what) => {
                tally.panics += 1;
                let fails = |bytes: &[u8]| caught(|| target.parse(bytes).is_ok()).is_err();
                let bytes = if fails(&bytes) { shorter(bytes, fails) } else { bytes };
                tally.failures.push(tell(plan, target, &bytes, &what));
                break;
            }
        };
        if post.is_slow() {
            let took = time_of(target, &bytes);
            if PATIENCE < took {
                tally.hangs += 1;
                let what = format!("it takes {took:?}");
                tally.failures.push(tell(plan, target, &bytes, &what));
                break;
            }
        }
        let joins = pool.len() < JOINED_MAX && bytes.len() < INPUT_BYTES_MAX;
        if tally.answers.insert(answer) && joins {
            tally.joined += 1;
            pool.push(Input { bytes, seams });
        }
    }
    tally
}

/// How long an input takes that took long already: once more, since somebody else may have had the
/// processor.
fn time_of(target: Target, bytes: &[u8]) -> Duration {
    let watch = RealClock::new();
    let began = watch.now();
    std::hint::black_box(target.parse(bytes).is_ok());
    watch.now().saturating_sub(began)
}
