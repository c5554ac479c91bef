//! Requests that took long: where their time went, and the last of them for who asks.
//!
//! 1. Time that a request takes to arrive is its sender's affair and not counted; from when it was taken up
//!    to when its answer was handed to the kernel is.
//! 2. A stage is told only where it can be told from the others.
//! 3. While nothing is slow, a batch costs a few readings of the clock and nothing else.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use olivine_command::Command;
use olivine_vfs::Clock;

use crate::log::{CLIENT_BYTES_MAX, LogFormat, Quoted, Utc, shown};

/// How many of them are kept.
const KEPT: usize = 128;

/// What a batch of requests goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Bytes become commands.
    Parse,
    /// The store carries them out; also waits there while it is behind its work.
    Apply,
    /// What they wrote, or saw, gets durable.
    Durable,
    /// The storage is another process: all that it does, and the way there and back.
    Storage,
    /// Answers are made and handed to the kernel; also waits for a peer that does not take them.
    Write,
}

impl Stage {
    const COUNT: usize = 5;

    const NAMED: [(&'static str, Stage); Stage::COUNT] = [
        ("parse", Stage::Parse),
        ("apply", Stage::Apply),
        ("durable", Stage::Durable),
        ("storage", Stage::Storage),
        ("write", Stage::Write),
    ];
}

/// Times the stages of one batch.
pub(crate) struct Watch<'a> {
    clock: &'a dyn Clock,
    began: Duration,
    last: Duration,
    stages: [Option<Duration>; Stage::COUNT],
}

impl<'a> Watch<'a> {
    pub(crate) fn start(clock: &'a dyn Clock) -> Watch<'a> {
        let began = clock.now();
        Watch { clock, began, last: began, stages: [None; Stage::COUNT] }
    }

    /// What was done since it was asked last belonged to this stage.
    pub(crate) fn passed(&mut self, stage: Stage) {
        let now = self.clock.now();
        let took = now.saturating_sub(self.last);
        *self.stages[stage as usize].get_or_insert_default() += took;
        self.last = now;
    }

    /// From its start to the end of the last stage.
    pub(crate) fn took(&self) -> Duration {
        self.last.saturating_sub(self.began)
    }

    /// When its last stage ended.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }

    fn micros(&self, stage: Stage) -> Option<u64> {
        self.stages[stage as usize].map(|took| took.as_micros() as u64)
    }
}

/// What slow requests are told by.
pub(crate) struct Slow {
    /// What takes that long is slow.
    threshold: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// A JSON object each, the newest last.
    lines: VecDeque<String>,
    count: u64,
}

impl Slow {
    pub(crate) fn new(threshold: Duration) -> Slow {
        Slow { threshold, kept: Mutex::default() }
    }

    /// Tells of a batch if it was slow.
    pub(crate) fn look(&self, door: &'static str, commands: &[Command<'_>], watch: &Watch<'_>) {
        if self.threshold <= watch.took() && !commands.is_empty() {
            self.tell(door, commands, watch);
        }
    }

    /// Tells of commands whose replies had to wait for the disk, if that was slow. Which they were is told by
    /// the coordinator that sent them.
    pub(crate) fn look_kept(
        &self,
        door: &'static str,
        commands: usize,
        took: Duration,
        clock: &dyn Clock,
    ) {
        if self.threshold <= took {
            let mut stages = [None; Stage::COUNT];
            stages[Stage::Durable as usize] = Some(took);
            let watch = Watch { clock, began: Duration::ZERO, last: took, stages };
            self.told(door, commands, "", None, &watch);
        }
    }

    #[cold]
    fn tell(&self, door: &'static str, commands: &[Command<'_>], watch: &Watch<'_>) {
        let mut names: Vec<&str> = Vec::new();
        for command in commands {
            if !names.contains(&command.name()) {
                names.push(command.name());
            }
        }
        let first_key = commands.iter().find_map(|command| command.first_key());
        self.told(door, commands.len(), &names.join(","), first_key, watch);
    }

    #[cold]
    fn told(
        &self,
        door: &'static str,
        commands: usize,
        names: &str,
        first_key: Option<&[u8]>,
        watch: &Watch<'_>,
    ) {
        let total = watch.took().as_micros() as u64;
        tracing::warn!(
            event = "slow_request",
            door,
            commands = commands as u64,
            names,
            first_key,
            total_micros = total,
            parse_micros = watch.micros(Stage::Parse),
            apply_micros = watch.micros(Stage::Apply),
            durable_micros = watch.micros(Stage::Durable),
            storage_micros = watch.micros(Stage::Storage),
            write_micros = watch.micros(Stage::Write),
        );
        let time = Utc(watch.clock.wall());
        let mut line = format!(
            "{{\"time\":\"{time}\",\"door\":\"{door}\",\"commands\":{commands},\"names\":\"{names}\""
        );
        if let Some(key) = first_key {
            let key = shown(key, CLIENT_BYTES_MAX);
            let _infallible = write!(line, ",\"first_key\":{}", Quoted(&key, LogFormat::Json));
        }
        let _infallible = write!(line, ",\"total_micros\":{total}");
        for (name, stage) in Stage::NAMED {
            if let Some(micros) = watch.micros(stage) {
                let _infallible = write!(line, ",\"{name}_micros\":{micros}");
            }
        }
        line.push_str("}\n");
        let mut kept = self.lock();
        kept.count += 1;
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The last of them as lines of JSON, the newest first.
    pub(crate) fn lines(&self) -> String {
        self.lock().lines.iter().rev().map(String::as_str).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::ManualClock;

    fn get(key: &[u8]) -> Command<'_> {
        Command::Get { key: key.into() }
    }

    #[test]
    fn a_slow_batch_is_told_with_where_its_time_went() {
        let (clock, slow) = (ManualClock::new(), Slow::new(Duration::from_millis(100)));
        let mut watch = Watch::start(&clock);
        for (stage, millis) in [
            (Stage::Parse, 1),
            (Stage::Apply, 20),
            (Stage::Durable, 30),
            (Stage::Apply, 40),
            (Stage::Write, 8),
        ] {
            clock.advance(Duration::from_millis(millis));
            watch.passed(stage);
        }
        let commands = [Command::Count, get(b"a\n\"b\""), get(b"c")];
        slow.look("json", &commands, &watch);
        assert_eq!((slow.count(), slow.lines()), (0, String::new()), "99 ms is not slow");
        clock.advance(Duration::from_millis(1));
        watch.passed(Stage::Write);
        slow.look("json", &commands, &watch);
        assert_eq!(
            slow.lines(),
            "{\"time\":\"1970-01-01T00:00:00.100Z\",\"door\":\"json\",\"commands\":3,\
             \"names\":\"count,get\",\"first_key\":\"a\\\\n\\\"b\\\"\",\"total_micros\":100000,\
             \"parse_micros\":1000,\"apply_micros\":60000,\"durable_micros\":30000,\
             \"write_micros\":9000}\n"
        );
    }

    #[test]
    fn the_last_are_kept_and_all_are_counted() {
        let (clock, slow) = (ManualClock::new(), Slow::new(Duration::ZERO));
        for number in 0..KEPT + 3 {
            let key = number.to_string();
            slow.look("line", &[get(key.as_bytes())], &Watch::start(&clock));
        }
        slow.look("line", &[], &Watch::start(&clock));
        assert_eq!(slow.count(), KEPT as u64 + 3);
        let lines = slow.lines();
        assert_eq!(lines.lines().count(), KEPT);
        assert!(lines.lines().next().unwrap().contains("\"first_key\":\"130\""));
        assert!(lines.lines().last().unwrap().contains("\"first_key\":\"3\""));
    }
}
