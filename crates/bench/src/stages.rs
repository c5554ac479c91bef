//! What a child process does with its store: fill it, read it, be killed beside it, open it again.
//!
//! 1. Every stage prints its rows as it goes, so that one that is killed has printed them.
//! 2. A stage that expects to be killed says `ready` first and never ends by itself.

mod large;
mod load;
mod queue;
mod ycsb;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    acks::Acks,
    args::Task,
    drive::{Pace, Tally, Until, drive},
    keys::{KeyKind, Random, Records, Zipf},
    resources::{Spent, Usage, disk_bytes},
    row::Row,
    store::{Durability, Result, Settings, Store, Stores},
    workloads::{
        Background, BatchPut, Draw, Get, Overwrite, Put, SeekDeleted, SeekTen, Target, scan,
    },
};

/// Bytes of key and value that one hashed record has.
const RECORD_BYTES: u64 = 116;

/// Runs the stage that `task` names.
pub(crate) fn run(stores: &dyn Stores, task: &Task) -> Result<()> {
    let stage = Stage { stores, task, records: Records::new(task.kind, task.records) };
    match task.stage.as_str() {
        "describe" => stage.describe(),
        "put_os" => stage.put_os(),
        "verify" => stage.verify(),
        "fill_read" => stage.fill_read(),
        "small_cache" => stage.small_cache(),
        "reopen_clean" => stage.reopen("reopen_clean"),
        "mixed" => stage.mixed(),
        "sync" => stage.sync(),
        "batch" => stage.batch(),
        "fill_log" => stage.fill_log(),
        "reopen_kill9" => stage.reopen("reopen_kill9"),
        "stall" => stage.stall(),
        "reopen_big_kill9" => stage.reopen("reopen_big_kill9"),
        "reopen_big_clean" => stage.reopen("reopen_big_clean"),
        "ycsb" => stage.ycsb(),
        "bulk_load" => stage.bulk_load(),
        "put_sustained" => stage.put_sustained(),
        "large" => stage.large(),
        "queue" => stage.queue(),
        other => Err(format!("no stage is called {other:?}").into()),
    }
}

struct Stage<'a> {
    stores: &'a dyn Stores,
    task: &'a Task,
    records: Records,
}

impl Stage<'_> {
    fn describe(&self) -> Result<()> {
        say(&format!("about\t{}", self.stores.describe(&self.task.engine)?))
    }

    fn open(&self, settings: &Settings) -> Result<Box<dyn Store>> {
        self.stores.open(&self.task.engine, &self.task.dir, settings)
    }

    fn open_os(&self) -> Result<Box<dyn Store>> {
        self.open(&self.task.settings(Durability::Os))
    }

    fn emit(&self, mut row: Row) -> Result<()> {
        row.set("disk_mb", disk_bytes(&self.task.dir) as f64 / 1e6);
        say(&row.encode())
    }

    /// Settles the store; how long that took, and what was used since `usage`.
    fn settle(&self, store: &dyn Store, usage: &Usage) -> Result<(Duration, Spent)> {
        let start = Instant::now();
        store.settle()?;
        Ok((start.elapsed(), usage.since_writing(&self.task.dir)))
    }

    /// `get_hot` as `get_hot/user` when keys are of another kind than the usual.
    fn named(&self, workload: &str) -> String {
        match self.task.kind {
            KeyKind::Hashed => workload.to_owned(),
            kind => format!("{workload}/{}", kind.name()),
        }
    }

    fn for_seconds(&self) -> Until {
        Until::Elapsed(Duration::from_secs_f64(self.task.seconds))
    }

    /// As many records as five memtables hold, and some.
    fn records_past_five_memtables(&self) -> u64 {
        let memtable = self.task.settings(Durability::Os).memtable_bytes;
        self.task.records.max(memtable * 26 / 5 / RECORD_BYTES)
    }

    /// Random puts handed to the kernel, then more of them until the process is killed.
    fn put_os(&self) -> Result<()> {
        let threads = self.task.threads;
        let count = match self.task.kind {
            KeyKind::Hashed => self.records_past_five_memtables() / u64::from(threads),
            _ => self.task.records,
        };
        let total = count * u64::from(threads);
        let store = self.open_os()?;
        let name = match threads {
            1 => self.named("put_os"),
            more => format!("put_os/{more}"),
        };
        let usage = Usage::start_writing(&self.task.dir);
        let pace = Pace::quick(threads, Until::Count(count));
        let tally = drive(pace, |thread| Put::new(&*store, &self.records, 0, thread, threads))?;
        let (settled, spent) = self.settle(&*store, &usage)?;
        let told = store.facts().told;
        let note = format!("{total} puts, then {:.1} s to settle; {told}", settled.as_secs_f64());
        self.emit(Row::rate(name, &tally).spent(&spent).note(note))?;

        let acks = Acks::create(&self.task.dir)?;
        for thread in 0..threads {
            acks.set(thread, 0)?;
        }
        thread::scope(|scope| {
            for thread in 1..threads {
                let (store, acks) = (&*store, &acks);
                scope.spawn(move || self.put_until_killed(store, acks, total, thread));
            }
            say("ready")?;
            self.put_until_killed(&*store, &acks, total, 0)
        })
    }

    fn put_until_killed(
        &self,
        store: &dyn Store,
        acks: &Acks,
        first: u64,
        thread: u32,
    ) -> Result<()> {
        let stride = u64::from(self.task.threads);
        for done in 0.. {
            let index = first + u64::from(thread) + done * stride;
            store.put(self.records.key(index).as_bytes(), self.records.value(index, 0))?;
            acks.set(thread, done + 1)?;
        }
        Ok(())
    }

    /// Looks for every record that the killed process was promised.
    fn verify(&self) -> Result<()> {
        let before = match self.task.kind {
            KeyKind::Hashed => {
                let threads = u64::from(self.task.threads);
                self.records_past_five_memtables() / threads * threads
            }
            _ => self.task.records,
        };
        let acks = Acks::read(&self.task.dir)?;
        let store = self.open_os()?;
        let (mut expected, mut lost) = (0_u64, 0_u64);
        let mut check = |index: u64| -> Result<()> {
            expected += 1;
            let mut right = false;
            store.get(self.records.key(index).as_bytes(), &mut |value| {
                right = value == self.records.value(index, 0);
            })?;
            lost += u64::from(!right);
            Ok(())
        };
        for index in 0..before {
            check(index)?;
        }
        for (thread, count) in acks.iter().enumerate() {
            for done in 0..*count {
                check(before + thread as u64 + done * u64::from(self.task.threads))?;
            }
        }
        let unsettled: u64 = acks.iter().sum();
        say(&format!(
            "kill9\t{}: {expected} acknowledged, {unsettled} of them after the last flush: \
             lost={lost}",
            self.named(&format!("put_os/{}", self.task.threads))
        ))?;
        store.close()?;
        if lost == 0 { Ok(()) } else { Err(format!("{lost} acknowledged records lost").into()) }
    }

    /// Fills a store, settles it, and reads it in every manner.
    fn fill_read(&self) -> Result<()> {
        let store = self.open_os()?;
        self.fill(&*store)?;
        self.reads(&*store)?;
        store.close()
    }

    fn fill(&self, store: &dyn Store) -> Result<()> {
        if !self.task.wants("fill_settle") || self.task.kind != KeyKind::Hashed {
            return load(store, &self.records, self.task.records);
        }
        let usage = Usage::start_writing(&self.task.dir);
        let pace = Pace::quick(1, Until::Count(self.task.records));
        let mut tally = drive(pace, |_| Put::new(store, &self.records, 0, 0, 1))?;
        let (settled, spent) = self.settle(store, &usage)?;
        let total = tally.busy + settled;
        tally.per_second = tally.operations as f64 / total.as_secs_f64();
        let told = store.facts().told;
        let note = format!("{:.2} s of it to settle; {told}", settled.as_secs_f64());
        self.emit(Row::rate("fill_settle", &tally).spent(&spent).note(note))
    }

    fn reads(&self, store: &dyn Store) -> Result<()> {
        // Reading everything once brings it into the cache.
        let start = Instant::now();
        let seen = scan(store)?;
        let first = start.elapsed();
        if seen != self.task.records {
            return Err(format!("a scan saw {seen} of {} records", self.task.records).into());
        }
        self.warm(store)?;
        let name = self.named("scan_full");
        if self.task.wants(&name) && self.task.kind == KeyKind::Hashed {
            let usage = Usage::start();
            let start = Instant::now();
            let seen = scan(store)?;
            let row = rate_of(&name, seen, start.elapsed()).spent(&usage.since());
            let note = format!("the first one took {:.2} s", first.as_secs_f64());
            self.emit(row.note(note))?;
        }
        for threads in [1, 2] {
            let name = match threads {
                1 => self.named("get_hot"),
                _ => "get_hot/2".to_owned(),
            };
            if threads == 1 || self.task.kind == KeyKind::Hashed {
                self.gets(store, &name, threads, Target::Present)?;
            }
        }
        if self.task.kind == KeyKind::Hashed {
            self.gets(store, "get_missing", 1, Target::Absent)?;
        }
        self.seeks(store)
    }

    /// Reads without measuring, until the cache holds what it can.
    fn warm(&self, store: &dyn Store) -> Result<()> {
        let count = self.task.records;
        let pace = Pace::quick(1, Until::Count(count / 4));
        let get = |_| Get::new(store, &self.records, count, Target::Present, 5);
        drive(pace, get).map(|_| ())
    }

    fn gets(&self, store: &dyn Store, name: &str, threads: u32, target: Target) -> Result<()> {
        if !self.task.wants(name) {
            return Ok(());
        }
        let facts = store.facts();
        let (tally, spent) = measure(Pace::quick(threads, self.for_seconds()), |thread| {
            let seed = u64::from(thread) + 100;
            Get::new(store, &self.records, self.task.records, target, seed)
        })?;
        let mut row = Row::rate(name, &tally).spent(&spent);
        let after = store.facts();
        let since = |now: Option<u64>, then: Option<u64>| Some(now? - then?);
        let hits = since(after.cache_hits, facts.cache_hits);
        let misses = since(after.cache_misses, facts.cache_misses);
        if let (Some(hits), Some(misses)) = (hits, misses)
            && 0 < hits + misses
        {
            let rate = hits as f64 * 100.0 / (hits + misses) as f64;
            row.note = format!("hit rate {rate:.2} %");
            row.set("hit_percent", rate);
        }
        self.emit(row)
    }

    fn seeks(&self, store: &dyn Store) -> Result<()> {
        let name = self.named("seek_next10");
        if !self.task.wants(&name) {
            return Ok(());
        }
        let (tally, spent) = measure(Pace::each_timed(1, self.for_seconds()), |_| SeekTen {
            store,
            records: &self.records,
            count: self.task.records,
            random: Random::new(9),
            ready: Vec::new(),
        })?;
        self.emit(Row::rate(name, &tally).spent(&spent))
    }

    /// Reads from a store that has an eighth of the cache.
    fn small_cache(&self) -> Result<()> {
        let mut settings = self.task.settings(Durability::Os);
        settings.cache_bytes /= 8;
        settings.budget_bytes = settings.cache_bytes + settings.memtable_bytes;
        let store = self.open(&settings)?;
        self.warm(&*store)?;
        self.gets(&*store, "get_small_cache", 1, Target::Present)?;
        store.close()
    }

    /// Opens a store and reads one record. The pages of its files are in the kernel's memory.
    fn reopen(&self, name: &str) -> Result<()> {
        let durability = Durability::Os;
        let settings = match name {
            "reopen_big_kill9" | "reopen_big_clean" => self.big_settings(),
            _ => self.task.settings(durability),
        };
        let usage = Usage::start();
        let start = Instant::now();
        let store = self.open(&settings)?;
        let opened = start.elapsed();
        let mut found = false;
        store.get(self.records.key(0).as_bytes(), &mut |_| found = true)?;
        let total = start.elapsed();
        let spent = usage.since();
        if !found {
            return Err("the first record is not there after reopening".into());
        }
        let mut note = format!(
            "{:.1} ms of it before the first get; {:.1} ms of processor time",
            opened.as_secs_f64() * 1e3,
            spent.cpu.as_secs_f64() * 1e3
        );
        if name == "reopen_kill9" {
            let seen = scan(&*store)?;
            write!(note, ", {seen} records")?;
            if seen != self.log_records() {
                return Err(format!("{seen} of {} records are there", self.log_records()).into());
            }
        }
        self.emit(Row::duration(name, total).spent(&spent).note(note))?;
        store.close()
    }

    /// Reads beside writes, flushes, and overwriting.
    fn mixed(&self) -> Result<()> {
        let store = self.open_os()?;
        scan(&*store)?;
        self.warm(&*store)?;
        let steady = |flush_every| Some((20_000, flush_every));
        self.read_beside(&*store, "get_beside_puts", steady(None))?;
        let every = Some(Duration::from_secs_f64((self.task.seconds / 4.0).min(0.1)));
        self.read_beside(&*store, "get_during_flush", steady(every))?;
        self.read_beside(&*store, "read_while_writing", None)?;
        self.overwrite(&*store)?;
        self.seek_deleted(&*store)?;
        store.close()
    }

    /// Gets beside one writing thread: with a rate and forced flushes, or as fast as it can.
    fn read_beside(
        &self,
        store: &dyn Store,
        name: &str,
        steady: Option<(u64, Option<Duration>)>,
    ) -> Result<()> {
        if !self.task.wants(name) {
            return Ok(());
        }
        let (per_second, flush_every) = steady.unwrap_or((0, None));
        let count = self.task.records;
        let background =
            Background { store, records: &self.records, count, per_second, flush_every };
        let (stop, puts) = (AtomicBool::new(false), AtomicU64::new(0));
        let flushes = AtomicU64::new(0);
        let before = store.facts();
        let start = Instant::now();
        let (tally, spent) = thread::scope(|scope| {
            let writer = scope.spawn(|| background.run(&stop, &puts, &flushes));
            let mut pace = Pace::each_timed(1, self.for_seconds());
            if steady.is_some()
                && let Until::Elapsed(seconds) = &mut pace.until
            {
                // The tail is what counts here, so it needs more of it.
                *seconds *= 2;
            }
            let measured =
                measure(pace, |_| Get::new(store, &self.records, count, Target::Present, 300));
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap_or_else(|_| Err("the writer panicked".into()))?;
            measured
        })?;
        let rate = puts.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
        let flushes = flushes.load(Ordering::Relaxed);
        let mut row = Row::rate(name, &tally).spent(&spent);
        row.set("beside_puts_per_second", rate);
        row.note = format!("beside {:.0} k puts/s", rate / 1e3);
        if flush_every.is_some() {
            write!(row.note, ", {flushes} flushes")?;
        }
        if let (Some(before), Some(after)) = (before.cache_misses, store.facts().cache_misses) {
            write!(row.note, ", {} blocks read", after - before)?;
        }
        // The cost per operation would count the writer's too.
        row.figures.remove("cpu_s_per_m");
        self.emit(row)?;
        store.settle()
    }

    fn overwrite(&self, store: &dyn Store) -> Result<()> {
        if !self.task.wants("overwrite_zipf") {
            return Ok(());
        }
        let zipf = Zipf::new(self.task.records, 0.99);
        let usage = Usage::start_writing(&self.task.dir);
        let pace = Pace::quick(1, Until::Count(self.task.records / 2));
        let tally = drive(pace, |_| Overwrite {
            store,
            records: &self.records,
            draw: Draw::Zipf(&zipf),
            random: Random::new(4),
            version: 0,
            ready: Vec::new(),
        })?;
        let (settled, spent) = self.settle(store, &usage)?;
        let told = store.facts().told;
        let note = format!("then {:.1} s to settle; {told}", settled.as_secs_f64());
        self.emit(Row::rate("overwrite_zipf", &tally).spent(&spent).note(note))
    }

    /// Deletes a twentieth of the records, all neighbours, and opens iterators inside of the gap.
    fn seek_deleted(&self, store: &dyn Store) -> Result<()> {
        if !self.task.wants("seek_deleted") {
            return Ok(());
        }
        let mut deleted = Vec::new();
        let middle = self.records.key(self.task.records / 2);
        store.range(middle.as_bytes(), self.task.records / 20, &mut |key, _| {
            deleted.push(key.to_vec());
        })?;
        for key in &deleted {
            store.delete(key)?;
        }
        let (tally, spent) = measure(Pace::each_timed(1, self.for_seconds()), |_| SeekDeleted {
            store,
            deleted: &deleted,
            random: Random::new(6),
            ready: Vec::new(),
        })?;
        let note = format!("inside a gap of {} deleted records", deleted.len());
        self.emit(Row::rate("seek_deleted", &tally).spent(&spent).note(note))
    }

    /// Puts that each wait for the disk, on 1, 8 and 16 threads.
    fn sync(&self) -> Result<()> {
        let store = self.open(&self.task.settings(Durability::Sync))?;
        let mut first = 0;
        for threads in [1, 8, 16] {
            let name = format!("put_sync/{threads}");
            if !self.task.wants(&name) {
                continue;
            }
            let seconds = Duration::from_secs_f64(self.task.seconds * 2.0);
            let pace = Pace::each_timed(threads, Until::Elapsed(seconds));
            let (tally, spent) =
                measure(pace, |thread| Put::new(&*store, &self.records, first, thread, threads))?;
            // Threads do not advance together; the next row begins beyond all of them.
            first += tally.operations * u64::from(threads);
            self.emit(Row::rate(name, &tally).spent(&spent))?;
        }
        store.close()
    }

    fn batch(&self) -> Result<()> {
        let store = self.open_os()?;
        let usage = Usage::start_writing(&self.task.dir);
        let pace = Pace::each_timed(1, Until::Count(self.task.records / 100));
        let tally = drive(pace, |_| BatchPut::new(&*store, &self.records, 100))?;
        let (settled, spent) = self.settle(&*store, &usage)?;
        let note = format!("batches a second; then {:.1} s to settle", settled.as_secs_f64());
        self.emit(Row::rate("batch100", &tally).spent(&spent).note(note))?;
        store.close()
    }

    /// Three quarters of a memtable of user data, which the engine's own bytes nearly fill up.
    fn log_records(&self) -> u64 {
        self.task.settings(Durability::Os).memtable_bytes * 3 / 4 / RECORD_BYTES
    }

    /// Puts a nearly full memtable into the log, and waits to be killed.
    fn fill_log(&self) -> Result<()> {
        let store = self.open_os()?;
        let pace = Pace::quick(1, Until::Count(self.log_records()));
        drive(pace, |_| Put::new(&*store, &self.records, 0, 0, 1))?;
        say("ready")?;
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// A budget of which ten are a gibibyte.
    fn big_settings(&self) -> Settings {
        let mut task = self.task.clone();
        task.memory_bytes = task.memory_bytes.min(105 << 20);
        task.settings(Durability::Os)
    }

    /// Puts into a store that has ten times the memory's size, each of them timed, until killed.
    fn stall(&self) -> Result<()> {
        let settings = self.big_settings();
        let store = self.open(&settings)?;
        let count = settings.budget_bytes * 10 / RECORD_BYTES;
        load(&*store, &self.records, count)?;
        let usage = Usage::start_writing(&self.task.dir);
        let seconds = Duration::from_secs_f64(self.task.stall_seconds);
        let tally = drive(Pace::each_timed(1, Until::Elapsed(seconds)), |_| Overwrite {
            store: &*store,
            records: &self.records,
            draw: Draw::Evenly(count),
            random: Random::new(8),
            version: 0,
            ready: Vec::new(),
        })?;
        let longest = tally.histogram.max().as_secs_f64();
        let told = store.facts().told;
        let note = format!("longest wait {:.0} ms, {count} records; {told}", longest * 1e3);
        let spent = usage.since_writing(&self.task.dir);
        self.emit(Row::rate("stall_puts", &tally).spent(&spent).note(note))?;
        say("ready")?;
        let more = Pace::quick(1, Until::Elapsed(Duration::from_mins(10)));
        drive(more, |_| Overwrite {
            store: &*store,
            records: &self.records,
            draw: Draw::Evenly(count),
            random: Random::new(8),
            version: 0,
            ready: Vec::new(),
        })?;
        Err("nobody killed this process".into())
    }
}

/// Fills without measuring.
fn load(store: &dyn Store, records: &Records, count: u64) -> Result<()> {
    let size = 1000.min(count as usize);
    let pace = Pace::quick(1, Until::Count(count / size as u64));
    drive(pace, |_| BatchPut::new(store, records, size))?;
    let rest = Pace::quick(1, Until::Count(count % size as u64));
    let first = count - count % size as u64;
    drive(rest, |_| Put::new(store, records, first, 0, 1))?;
    store.settle()
}

fn measure<A: crate::drive::Actor>(
    pace: Pace,
    actor: impl Fn(u32) -> A + Sync,
) -> Result<(Tally, Spent)> {
    let usage = Usage::start();
    let tally = drive(pace, actor)?;
    Ok((tally, usage.since()))
}

fn rate_of(name: &str, operations: u64, elapsed: Duration) -> Row {
    let mut row = Row::duration(name, elapsed);
    row.unit = crate::row::Unit::PerSecond;
    row.value = operations as f64 / elapsed.as_secs_f64();
    row.set("operations", operations as f64);
    row
}

/// One line to the parent, at once.
fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
