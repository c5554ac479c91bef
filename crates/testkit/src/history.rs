//! Histories: lists of operations that a seed decides, and their text.
//!
//! The keys are few and come back often, so that overwrites, deletes and old versions meet; the odd
//! ones (empty, long, all zeros, all ones, prefixes of one another) are among them. Values are told
//! by a number and a length and spelled out only when they are written, so a history is small, can be
//! printed, shrunk and read back.
//!
//! 1. The same seed gives the same history.
//! 2. Any sub-list of a history can be run: an operation that finds nothing to act on does nothing.
//! 3. `Op::parse` reads back what `Op` displays.

use olivine_engine::Durability;
use olivine_vfs::Random;

mod generate;
mod text;

pub use generate::{Gen, Shape};

/// The names that keyspaces of a history have.
pub const KEYSPACES: [&str; 4] = ["main", "a", "users-2", "temporary_keyspace"];

/// How many snapshots, and how many cursors, a history holds at a time.
pub const SLOTS: usize = 3;

/// A value by number: the same number and length are the same bytes, another number other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Tells this value from the others of its history.
    pub id: u32,
    /// Its length in bytes.
    pub bytes: u32,
}

impl Value {
    /// The value spelled out: noise and repetition by turns, so that it compresses by about half.
    pub fn spell(self) -> Vec<u8> {
        let mut random = Random::new(u64::from(self.id));
        let mut spelled = Vec::with_capacity(self.bytes as usize + 16);
        while spelled.len() < self.bytes as usize {
            spelled.extend_from_slice(&random.next_u64().to_le_bytes());
            spelled.extend_from_slice(&[self.id as u8; 8]);
        }
        spelled.truncate(self.bytes as usize);
        spelled
    }
}

/// One change within a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which of [`KEYSPACES`].
    pub keyspace: usize,
    /// The key.
    pub key: Vec<u8>,
    /// What happens to it.
    pub what: What,
}

/// What a change does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It gets this value.
    Put(Value),
    /// It goes.
    Delete,
    /// This value is appended to the one it has.
    Append(Value),
    /// It gets this value and a time at which that expires: one that never comes, or one that has been.
    PutExpiring(Value, bool),
    /// It goes, with every key up to this one, which stays.
    DeleteTo(Vec<u8>),
}

/// The ends of a scan, or the prefix of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Everything.
    All,
    /// From the first key, included, to the second, not included.
    Between(Vec<u8>, Vec<u8>),
    /// After the first key, not included.
    After(Vec<u8>),
    /// Up to this key, included.
    To(Vec<u8>),
    /// Every key that begins so.
    Prefix(Vec<u8>),
}

impl Range {
    /// Whether `key` lies within.
    pub fn holds(&self, key: &[u8]) -> bool {
        match self {
            Range::All => true,
            Range::Between(low, high) => low[..] <= *key && *key < high[..],
            Range::After(low) => low[..] < *key,
            Range::To(high) => *key <= high[..],
            Range::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

/// One movement of a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// To the first key.
    First,
    /// To the last key.
    Last,
    /// To the first key not below this one.
    Seek(Vec<u8>),
    /// To the last key not above this one.
    SeekBack(Vec<u8>),
    /// To the next key.
    Next,
    /// To the key before.
    Prev,
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a batch, by a ticket or waiting for it.
    Write {
        /// What is written, in order.
        changes: Vec<Change>,
        /// How lasting it must be; `None` leaves it to the store.
        durability: Option<Durability>,
        /// Whether by `write_ticketed`.
        ticketed: bool,
    },
    /// Puts a value as a stream.
    Stream {
        /// Which of [`KEYSPACES`].
        keyspace: usize,
        /// The key.
        key: Vec<u8>,
        /// What to put.
        value: Value,
    },
    /// Replaces what a keyspace holds from one key on, up to another one, which stays.
    Replace {
        /// Which of [`KEYSPACES`].
        keyspace: usize,
        /// The first key of the range.
        from: Vec<u8>,
        /// The first key behind it.
        to: Vec<u8>,
        /// What it holds then, in order.
        entries: Vec<(Vec<u8>, Value)>,
    },
    /// Asks for everything visible to be durable.
    Sync,
    /// Flushes every memtable.
    Flush,
    /// Flushes, and compacts until nothing is due.
    Settle,
    /// Lets that many units of background work run.
    Step(usize),
    /// Moves the clock by that many milliseconds.
    Wait(u64),
    /// Creates a keyspace.
    Create(usize),
    /// Drops a keyspace.
    Drop(usize),
    /// Takes a snapshot into a slot.
    Snapshot(usize),
    /// Lets go of the snapshot in a slot.
    Release(usize),
    /// Reads some keys, now or as of a snapshot, one by one and together.
    Get {
        /// The snapshot's slot.
        at: Option<usize>,
        /// Which of [`KEYSPACES`].
        keyspace: usize,
        /// What to read.
        keys: Vec<Vec<u8>>,
    },
    /// Reads a range, now or as of a snapshot.
    Scan {
        /// The snapshot's slot.
        at: Option<usize>,
        /// Which of [`KEYSPACES`].
        keyspace: usize,
        /// What to read.
        range: Range,
        /// Whether from the last key to the first.
        backward: bool,
    },
    /// Opens a cursor that stays open while other operations go on.
    Cursor {
        /// Its slot.
        slot: usize,
        /// The snapshot's slot.
        at: Option<usize>,
        /// Which of [`KEYSPACES`].
        keyspace: usize,
        /// What it may see.
        range: Range,
    },
    /// Moves the cursor in a slot.
    Move(usize, Vec<Move>),
    /// Closes the store and opens it again.
    Reopen,
    /// Makes a checkpoint.
    Checkpoint,
    /// Takes a backup.
    Backup,
    /// Brings entries in past log and memtables, in whichever order they are named.
    Ingest {
        /// Which of [`KEYSPACES`].
        keyspace: usize,
        /// Keys and values.
        entries: Vec<(Vec<u8>, Value)>,
    },
    /// Reads the store from beside, as another process would.
    Follow,
}
