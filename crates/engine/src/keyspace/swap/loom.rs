//! Schedules of a writer that freezes, a flush and a reader, around the state of a keyspace.
//!
//! loom tries every schedule with at most three switches away from a thread that could go on. A
//! memtable is the number of its newest write here; `arc_swap` is stood in for (`sync.rs`).

use std::sync::Arc;

use loom::{
    model::Builder,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
};

use super::Swap;

/// What a keyspace holds.
struct State {
    active: Arc<AtomicU64>,
    frozen: Vec<Arc<AtomicU64>>,
    /// The newest write in tables.
    tables: u64,
}

impl State {
    fn newest(&self) -> u64 {
        let memtables = self.frozen.iter().chain([&self.active]);
        memtables.map(|memtable| memtable.load(Relaxed)).fold(self.tables, u64::max)
    }
}

fn memtable() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}

struct Model {
    state: Swap<State>,
    visible: AtomicU64,
}

impl Model {
    fn new() -> Arc<Model> {
        let state = State { active: memtable(), frozen: Vec::new(), tables: 0 };
        Arc::new(Model { state: Swap::new(state), visible: AtomicU64::new(0) })
    }

    /// As a commit does: into the active memtable, then visible.
    fn write(&self, seqno: u64) {
        self.state.load().active.store(seqno, Relaxed);
        self.visible.store(seqno, Release);
    }

    fn freeze(&self) {
        self.state.change(|state| {
            let mut frozen = vec![Arc::clone(&state.active)];
            frozen.extend(state.frozen.iter().cloned());
            State { active: memtable(), frozen, tables: state.tables }
        });
    }

    /// As a flush does: the oldest frozen memtable becomes a table, if there is one.
    fn flush(&self) {
        let Some(oldest) = self.state.load().frozen.last().cloned() else { return };
        let written = oldest.load(Relaxed);
        self.state.change(|state| {
            let mut frozen = state.frozen.clone();
            frozen.retain(|known| !Arc::ptr_eq(known, &oldest));
            let tables = state.tables.max(written);
            State { active: Arc::clone(&state.active), frozen, tables }
        });
    }

    /// As a read does: the watermark first, then the state.
    fn read(&self) {
        let seqno = self.visible.load(Acquire);
        assert!(seqno <= self.state.load().newest(), "write {seqno} was visible and is not found");
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn what_is_visible_is_found_beside_a_freeze_and_a_flush() {
    check(|| {
        let model = Model::new();
        let spawn = |work: fn(&Model)| {
            let model = Arc::clone(&model);
            thread::spawn(move || work(&model))
        };
        let reader = spawn(Model::read);
        let flush = spawn(Model::flush);
        model.write(1);
        model.freeze();
        model.write(2);
        flush.join().unwrap();
        reader.join().unwrap();
        assert_eq!(model.state.load().newest(), 2);
    });
}

#[test]
fn no_change_is_lost() {
    check(|| {
        let model = Model::new();
        model.write(1);
        model.freeze();
        let flush = thread::spawn({
            let model = Arc::clone(&model);
            move || model.flush()
        });
        model.write(2);
        model.freeze();
        flush.join().unwrap();
        let state = model.state.load();
        assert_eq!((state.tables, state.frozen.len()), (1, 1));
        assert_eq!(state.newest(), 2);
    });
}
