//! Tier B: a writing process is killed, and what it acknowledged must be there.
//!
//! The store lies on the machine's disk. A child process writes from several threads and tells every
//! acknowledgement through a pipe; the parent keeps the oracle, kills the child without warning, opens
//! the store and compares. Some children die while they recover what the one before left. Others are asked
//! to end (SIGTERM), and must do so within ten seconds, with the store closed and everything told.
//!
//! 1. The oracle lives in another process than the store, and knows only what came through the pipe.
//! 2. Each thread waits for one write before it begins the next: of every thread exactly what was
//!    acknowledged is there, and at most the one write that was under way.
//! 3. Only children started here are killed, each by its own handle.

use crate::oracle::described;
use olivine_engine::{
    Batch, Db, Durability, Environment, EnvironmentOptions, Keyspace, Options, Result,
};
use olivine_vfs::Random;
use std::{collections::BTreeMap, path::Path};

mod child;
mod parent;
mod report;

pub use child::{Orders, run_child};
pub use parent::{Plan, run};
pub use report::{Failure, Summary};

const KEYSPACES: [&str; 2] = ["left", "right"];

/// How many keys a thread writes in each keyspace.
const KEYS: u64 = 150;

/// The variable that tells a child which bug to make.
pub(crate) const PLANTED: &str = "OLIVINE_PLANTED";

/// What the child says when the store is open; acknowledgements follow.
const OPENED: u32 = u32::MAX;

/// Which durability the child asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every write waits for the disk.
    Sync,
    /// Every write is handed to the kernel.
    Os,
}

impl Mode {
    /// Its name among the arguments.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Sync => "sync",
            Mode::Os => "os",
        }
    }

    fn durability(self) -> Durability {
        match self {
            Mode::Sync => Durability::Sync,
            Mode::Os => Durability::Os,
        }
    }
}

/// One put or delete of a thread: keyspace, key, value.
type Change = (usize, Vec<u8>, Option<Vec<u8>>);

/// What a thread's keys hold.
type Held = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// The write that a thread makes at `number`: the same in the child and in the parent.
fn write_of(seed: u64, thread: u32, number: u64) -> Vec<Change> {
    let mut random = Random::new(seed ^ u64::from(thread) << 56 ^ number.wrapping_mul(0x9e37_79b9));
    let changes = if random.chance(1, 4) { random.between(2, 5) } else { 1 };
    let change = |_| {
        let key = format!("{thread:02}/{:03}", random.below(KEYS)).into_bytes();
        let bytes = match random.below(300) {
            0 => random.between(5_000, 40_000),
            1..30 => 0,
            _ => random.between(8, 300),
        };
        let value = (!random.chance(1, 6)).then(|| {
            let mut value = number.to_le_bytes().to_vec();
            value.resize(bytes as usize, thread as u8);
            value
        });
        (random.index(KEYSPACES.len()), key, value)
    };
    (0..changes).map(change).collect()
}

/// What the keys of a thread hold after one more write.
fn apply(held: &mut Held, changes: Vec<Change>) {
    for (keyspace, key, value) in changes {
        match value {
            Some(value) => held.insert((keyspace, key), value),
            None => held.remove(&(keyspace, key)),
        };
    }
}

/// How far a thread is, and what its keys hold there.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Writes made: the number of the next one.
    next: u64,
    held: Held,
}

impl Progress {
    /// Goes on to `next`.
    fn advance(&mut self, seed: u64, thread: u32, next: u64) {
        while self.next < next {
            apply(&mut self.held, write_of(seed, thread, self.next));
            self.next += 1;
        }
    }

    /// Compares what was found with what was acknowledged, and goes on to what is there: whether that
    /// is one write more.
    fn compare(
        &mut self,
        seed: u64,
        thread: u32,
        found: &Held,
    ) -> std::result::Result<bool, String> {
        if self.held == *found {
            return Ok(false);
        }
        let Some(what) = difference(&self.held, found) else { return Ok(false) };
        let acknowledged = self.next;
        self.advance(seed, thread, acknowledged + 1);
        if self.held == *found {
            return Ok(true);
        }
        Err(format!("thread {thread}, {acknowledged} writes acknowledged: {what}"))
    }
}

/// The first key in which two differ.
fn difference(expected: &Held, found: &Held) -> Option<String> {
    let keys = expected.keys().chain(found.keys());
    let key = keys.into_iter().find(|key| expected.get(*key) != found.get(*key))?;
    let what = described(expected.get(key).map(|v| &v[..]), found.get(key).map(|v| &v[..]));
    Some(format!("{}[{}]: {what}", KEYSPACES[key.0], key.1.escape_ascii()))
}

/// Opens the store so that it flushes and compacts while it is written.
fn open(dir: &Path, mode: Mode) -> Result<(Db, Vec<Keyspace>)> {
    let environment = Environment::new(EnvironmentOptions { memory_bytes: 32 << 20 })?;
    let options = Options {
        durability: mode.durability(),
        memtable_bytes_max: 128 << 10,
        segment_bytes: 128 << 10,
        table_bytes_max: 128 << 10,
        level_bytes_base: 512 << 10,
        ..Options::default()
    };
    let db = Db::open(&environment, dir, options)?;
    let keyspaces = KEYSPACES.iter().map(|name| db.keyspace(name)).collect::<Result<_>>()?;
    Ok((db, keyspaces))
}

/// Makes one write of a thread.
fn write(db: &Db, keyspaces: &[Keyspace], mode: Mode, changes: &[Change]) -> Result<()> {
    let mut batch = Batch::new();
    for (keyspace, key, value) in changes {
        match value {
            Some(value) => batch.put(&keyspaces[*keyspace], key, value)?,
            None => batch.delete(&keyspaces[*keyspace], key)?,
        }
    }
    db.write_with(batch, mode.durability()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(next: u64) -> Progress {
        let mut progress = Progress::default();
        progress.advance(7, 1, next);
        progress
    }

    #[test]
    fn what_was_acknowledged_or_one_write_more_is_right() {
        for next in 0..50 {
            assert_eq!(progress(next).compare(7, 1, &progress(next).held), Ok(false));
            let mut one_more = progress(next);
            let changed = progress(next + 1).held != progress(next).held;
            assert_eq!(one_more.compare(7, 1, &progress(next + 1).held), Ok(changed));
        }
    }

    #[test]
    fn one_acknowledged_write_less_is_seen() {
        let mut seen = 0;
        for next in 1..50 {
            let changed = progress(next).held != progress(next - 1).held;
            let found = progress(next).compare(7, 1, &progress(next - 1).held);
            assert!(found.is_err() || !changed, "after {next} writes");
            seen += u32::from(found.is_err());
        }
        assert!(30 < seen);
    }

    #[test]
    fn half_a_batch_is_seen() {
        let next = (0..10_000)
            .find(|number| 3 < write_of(7, 1, *number).len())
            .expect("there are batches");
        let mut found = progress(next);
        apply(&mut found.held, write_of(7, 1, next).into_iter().take(2).collect());
        assert!(progress(next).compare(7, 1, &found.held).is_err());
    }
}
