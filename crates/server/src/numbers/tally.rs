//! What one worker counts.
//!
//! 1. One thread counts, so counting is a load and a store, and no other thread's cache is disturbed; any
//!    thread reads.
//! 2. Everything is there from the start, at zero.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use olivine_command::{Code, Command, Reply};

use crate::settings::Door;

/// Bounds of the buckets of durations, in microseconds.
pub(super) const BOUNDS_MICROS: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// A status of an answer is that it went well, or a code.
const STATUSES: usize = 1 + Code::ALL.len();

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// To be called by the one thread that counts.
    pub(crate) fn add(&self, number: u64) {
        self.0.store(self.read().wrapping_add(number), Relaxed);
    }

    fn take_away(&self, number: u64) {
        self.0.store(self.read().wrapping_sub(number), Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long the commands of a door took.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    /// The last bucket is what lies beyond all bounds.
    pub(super) buckets: [Count; BOUNDS_MICROS.len() + 1],
    pub(super) nanos: Count,
}

impl Durations {
    fn add(&self, count: u64, took: Duration) {
        let nanos = took.as_nanos() as u64;
        let bucket = BOUNDS_MICROS.iter().position(|micros| nanos <= micros * 1_000);
        self.buckets[bucket.unwrap_or(BOUNDS_MICROS.len())].add(count);
        self.nanos.add(nanos.saturating_mul(count));
    }
}

/// What the doors of blobs are asked, as labels call it.
pub(crate) const OPERATIONS: [&str; 6] = ["get", "put", "delete", "unlink", "list", "other"];

/// The doors of blobs.
pub(super) const BLOB_DOORS: [Door; 2] = [Door::Blob, Door::Volume];

/// The place in `OPERATIONS` of what a request is for.
pub(crate) fn operation(door: Door, method: &str, query: Option<&str>) -> usize {
    match method {
        // Behind the question mark of a volume stands the grant.
        "GET" if door == Door::Blob && query.is_some() => 4,
        "GET" | "HEAD" => 0,
        "PUT" => 1,
        "DELETE" => 2,
        "UNLINK" => 3,
        _ => 5,
    }
}

/// What one worker has done, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Tally {
    pub(crate) requests: Count,
    pub(crate) bytes_in: Count,
    pub(crate) bytes_out: Count,
    pub(super) commands: [[Count; STATUSES]; Command::NAMES.len()],
    pub(super) durations: [Durations; Door::ALL.len()],
    pub(super) blob_durations: [[Durations; OPERATIONS.len()]; BLOB_DOORS.len()],
    pub(super) connected: [Count; Door::ALL.len()],
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            requests: Count::default(),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            commands: array::from_fn(|_| array::from_fn(|_| Count::default())),
            durations: array::from_fn(|_| Durations::default()),
            blob_durations: array::from_fn(|_| array::from_fn(|_| Durations::default())),
            connected: array::from_fn(|_| Count::default()),
        }
    }
}

impl Tally {
    /// Commands were replied to: the first of them, as many as there are replies.
    pub(crate) fn replied(&self, commands: &[Command<'_>], replies: &[Reply]) {
        for (command, reply) in commands.iter().zip(replies) {
            let status = match reply {
                Reply::Refused(refusal) => refusal.code as usize,
                _ => 0,
            };
            self.commands[command.place()][status].add(1);
        }
    }

    /// So many commands had their answers after that time.
    pub(crate) fn took(&self, door: Door, commands: usize, took: Duration) {
        if 0 < commands {
            self.durations[door as usize].add(commands as u64, took);
        }
    }

    /// What a door of blobs was asked had its answer after that time.
    pub(crate) fn took_for(&self, door: Door, operation: usize, took: Duration) {
        let place = BLOB_DOORS.iter().position(|known| *known == door).unwrap_or_default();
        self.blob_durations[place][operation].add(1, took);
    }

    /// A connection of that door is there for as long as the guard.
    pub(crate) fn connected(&self, door: Door) -> Connected<'_> {
        let count = &self.connected[door as usize];
        count.add(1);
        Connected(count)
    }
}

/// What labels call a status.
pub(super) fn status_name(status: usize) -> &'static str {
    Code::ALL.iter().find(|code| **code as usize == status).map_or("ok", |code| code.name())
}

/// Counts one connection while it lives.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a Count);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.take_away(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_command::Refusal;

    #[test]
    fn every_status_has_a_place_and_a_name() {
        let names: Vec<&str> = (0..STATUSES).map(status_name).collect();
        assert_eq!(names[0], "ok");
        for code in Code::ALL {
            assert_eq!(names[code as usize], code.name());
        }
        let tally = Tally::default();
        let replies = Code::ALL.map(|code| Reply::Refused(Refusal::new(code, "")));
        tally.replied(&[const { Command::Count }; Code::ALL.len()], &replies);
        tally.replied(&[Command::Count, Command::Numbers], &[Reply::Count(1)]);
        let place = Command::Count.place();
        assert!(tally.commands[place].iter().all(|count| count.read() == 1));
        assert_eq!(tally.commands[Command::Numbers.place()][0].read(), 0, "it was not replied to");
    }

    #[test]
    fn a_duration_lies_below_its_bound() {
        let tally = Tally::default();
        for (micros, commands) in [(10, 1), (11, 2), (10_000_000, 4), (10_000_001, 8)] {
            tally.took(Door::Line, commands, Duration::from_micros(micros));
        }
        tally.took(Door::Line, 0, Duration::from_secs(1));
        let durations = &tally.durations[Door::Line as usize];
        let counts: Vec<u64> = durations.buckets.iter().map(Count::read).collect();
        assert_eq!((counts[0], counts[1], counts[18], counts[19]), (1, 2, 4, 8));
        assert_eq!(counts.iter().sum::<u64>(), 15);
        assert_eq!(durations.nanos.read(), (10 + 22 + 40_000_000 + 80_000_008) * 1_000);
    }

    #[test]
    fn connections_go() {
        let tally = Tally::default();
        let (one, two) = (tally.connected(Door::Json), tally.connected(Door::Json));
        assert_eq!(tally.connected[Door::Json as usize].read(), 2);
        drop((one, two));
        assert_eq!(tally.connected[Door::Json as usize].read(), 0);
    }
}
