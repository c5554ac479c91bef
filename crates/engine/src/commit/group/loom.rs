//! Schedules of writers that wait for one another's sync.
//!
//! loom tries every schedule with at most three switches away from a thread that could go on; a wait
//! that nobody ends is a deadlock, which it reports.

use std::sync::Arc;

use loom::{
    model::Builder,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    thread,
};

use super::Group;
use crate::error::{Error, Result};

/// What a store has around its group.
struct Model {
    group: Group,
    visible: AtomicU64,
    durable: AtomicU64,
    syncing: AtomicBool,
    shut: AtomicBool,
    /// Whether the disk fails at the first sync.
    fails: bool,
}

impl Model {
    fn new(fails: bool) -> Model {
        Model {
            group: Group::default(),
            visible: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            syncing: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            fails,
        }
    }

    fn poisoned() -> Error {
        Error::Poisoned { cause: "the model's disk failed".into() }
    }

    fn check(&self) -> Result<()> {
        if self.shut.load(Acquire) { Err(Model::poisoned()) } else { Ok(()) }
    }

    /// One sync of everything that is visible when it begins.
    fn lead(&self) -> Result<usize> {
        assert!(!self.syncing.swap(true, Relaxed), "two syncs at a time");
        let reached = self.visible.load(Acquire);
        let outcome = if self.fails {
            self.shut.store(true, Release);
            self.group.wake_all();
            Err(Model::poisoned())
        } else {
            self.durable.fetch_max(reached, AcqRel);
            Ok(1)
        };
        self.syncing.store(false, Relaxed);
        outcome
    }

    /// Writes, and waits for the write to be durable.
    fn write(&self) -> Result<bool> {
        let seqno = self.visible.fetch_add(1, AcqRel) + 1;
        let is_durable = || seqno <= self.durable.load(Acquire);
        let led = self.group.join(is_durable, || self.check(), |_| self.lead())?;
        assert!(is_durable(), "a wait ended before its write was durable");
        Ok(led)
    }
}

fn writers(threads: usize, fails: bool) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Arc::new(Model::new(fails));
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let model = Arc::clone(&model);
                thread::spawn(move || model.write().is_ok())
            })
            .collect();
        let mine = model.write().is_ok();
        let all = others.into_iter().map(|other| other.join().unwrap()).fold(mine, |a, b| a | b);
        assert!(all != fails, "a write is durable when the disk works, and only then");
    });
}

#[test]
fn two_writers_share_syncs() {
    writers(2, false);
}

#[test]
fn three_writers_share_syncs() {
    writers(3, false);
}

#[test]
fn a_failed_sync_ends_every_wait() {
    writers(2, true);
    writers(3, true);
}
