//! How a store fares: whether it takes writes, what holds them up, and what it tells as it happens.
//!
//! 1. Asking changes nothing and waits for nobody's work.
//! 2. Listeners are called on the thread that did the work, with no lock of the commit path held, and
//!    must not wait.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{appended::LogHeld, budget::ShareUse, db::Db, error::Error, key::SeqNo, store::Store};

/// Why writers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// Memtables fill their share of the memory budget until one is flushed.
    Memory,
    /// Tables pile up on level 0, and writers are slowed so that compaction keeps up.
    Slowed,
    /// So many tables stand on level 0 that writers wait until some are merged.
    Stopped,
    /// The log is twice as long as its bound until a memtable is flushed.
    Log,
    /// The disk is full; the store tries again by itself.
    Disk,
}

/// The snapshot that was taken first of those alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestSnapshot {
    /// The last write that it shows.
    pub seqno: SeqNo,
    /// How long it has been alive.
    pub age: Duration,
    /// Bytes written since: at most so much is kept for its sake.
    pub bytes_since: u64,
}

/// How a store fares.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Why writes are refused, until the store is opened again.
    pub refused: Option<Error>,
    /// Why writers wait just now.
    pub stall: Option<Stall>,
    /// Why there is no more compaction: a table could not be read.
    pub compaction_halted: Option<Error>,
    /// Whose appended records keep the log longer than its bound, because no batch covers them.
    pub log_held: Option<LogHeld>,
    /// The oldest snapshot alive.
    pub oldest_snapshot: Option<OldestSnapshot>,
    /// What each share of the memory budget holds and may hold, for the whole environment.
    pub memory: Vec<ShareUse>,
}

/// Something that a store did, or that happened to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A memtable became tables of so many bytes.
    Flushed {
        /// Of this keyspace.
        keyspace: String,
        /// Bytes of the tables.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// Tables were merged.
    Compacted {
        /// Of this keyspace.
        keyspace: String,
        /// How long it took.
        took: Duration,
    },
    /// A table could not be read, so there is no more compaction until the store is opened again.
    CompactionHalted(Error),
    /// Appended records keep the log longer than its bound; their owner should cover them.
    LogHeld(LogHeld),
    /// Something found no room on the disk; it is tried again.
    DiskFull,
    /// What had found no room has found some.
    RoomAgain,
    /// Writes are refused from now on.
    Refused(Error),
}

/// Is told what happens.
pub(crate) type EventListener = Arc<dyn Fn(&Event) + Send + Sync>;

impl Db {
    /// How the store fares.
    pub fn health(&self) -> Health {
        self.store().health()
    }

    /// Calls `listener` for whatever the store does behind its users, and for what happens to it. It is
    /// called on the thread that did it and must not wait.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        let listeners = &self.store().event_listeners;
        listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(listener));
    }
}

impl Store {
    /// Tells the listeners.
    pub(crate) fn tell(&self, event: &Event) {
        let listeners = self.event_listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for listener in listeners {
            listener(event);
        }
    }

    fn health(&self) -> Health {
        let now = self.environment.now();
        let written = self.counters.written_bytes();
        let oldest = self.snapshots.oldest();
        Health {
            refused: self.latch.check().err(),
            stall: self.stall(),
            compaction_halted: self.halted(),
            log_held: self.log_held(),
            oldest_snapshot: oldest.map(|(seqno, taken)| OldestSnapshot {
                seqno,
                age: now.saturating_sub(taken.at),
                bytes_since: written.saturating_sub(taken.written_bytes),
            }),
            memory: self.environment.budget().shares(),
        }
    }

    fn stall(&self) -> Option<Stall> {
        if self.is_disk_full() {
            Some(Stall::Disk)
        } else if self.environment.budget().is_full_of_memtables(4) {
            Some(Stall::Memory)
        } else if 1.0 <= self.pile() {
            Some(Stall::Stopped)
        } else if 0.0 < self.pile() {
            Some(Stall::Slowed)
        } else if 2 * self.options.log_bytes_bound() < self.counters.log_bytes.load(Relaxed) {
            Some(Stall::Log)
        } else {
            None
        }
    }
}
