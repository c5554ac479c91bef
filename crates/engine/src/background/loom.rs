//! Schedules of a thread that works and the threads that signal it, and end it.
//!
//! loom tries every schedule with at most three switches away from a thread that could go on; a signal
//! that is missed leaves the worker waiting for ever, which it reports.

use std::sync::Arc;

use loom::{
    model::Builder,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    thread,
};

use super::{Signal, work_until};

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A worker, and what it is told.
struct Model {
    signal: Signal,
    ending: AtomicBool,
    /// Units of work that wait.
    waits: AtomicU64,
    done: AtomicU64,
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            signal: Signal::default(),
            ending: AtomicBool::new(false),
            waits: AtomicU64::new(0),
            done: AtomicU64::new(0),
        })
    }

    fn work(&self) -> bool {
        let taken = self.waits.swap(0, AcqRel);
        self.done.fetch_add(taken, AcqRel);
        // The last one ends it, as the last handle of an environment does from this thread.
        if self.done.load(Acquire) == 2 {
            self.ending.store(true, Release);
        }
        0 < taken
    }

    fn give(&self) {
        self.waits.fetch_add(1, AcqRel);
        self.signal.ring();
    }

    fn run(&self) {
        work_until(&self.ending, &self.signal, || self.work(), || None);
    }
}

/// Whoever gives work and signals is heard, however the other one stands.
#[test]
fn no_signal_is_missed() {
    model(|| {
        let model = Model::new();
        let giver = thread::spawn({
            let model = Arc::clone(&model);
            move || model.give()
        });
        let worker = thread::spawn({
            let model = Arc::clone(&model);
            move || model.run()
        });
        model.give();
        giver.join().unwrap();
        worker.join().unwrap();
        assert_eq!(model.done.load(Acquire), 2);
    });
}

/// A worker that is told to end does, whether it works, looks or sleeps at that moment.
#[test]
fn a_worker_ends_when_it_is_told() {
    model(|| {
        let model = Model::new();
        let worker = thread::spawn({
            let model = Arc::clone(&model);
            move || model.run()
        });
        model.give();
        model.ending.store(true, Relaxed);
        model.signal.ring();
        worker.join().unwrap();
    });
}
