//! What the command line asks for, and the part of it that a child process is told.

use std::path::PathBuf;

use crate::{
    keys::KeyKind,
    store::{Durability, Result, Settings},
};

pub(crate) const HELP: &str = "\
Measures Olivine's engine, alone or beside its rivals, and prints one table.

usage: olivine-bench engine [options]
       olivine-bench chart FILE [--out DIR]
       olivine-bench server [options], which `olivine-bench server --help` tells
       olivine-bench series [options], which `olivine-bench series --help` tells
       olivine-bench chunks [--rows N] [--rounds R]

  --rivals LIST      rocksdb,fjall,lmdb, or `all`; none without it
  --only-rivals      leave Olivine out
  --n N              records in the store (2000000)
  --rounds R         repetitions; engines take turns (3)
  --seconds S        length of a phase of reads or synced writes (1.5)
  --workloads LIST   rows to measure, such as get_hot,put_sync/16,put_os (all)
  --memory BYTES     four fifths cache, one fifth memtable; Olivine gets it as one budget (335544320)
  --stall SECONDS    length of the row of puts into ten times the budget; 0 leaves it out (60)
  --dir DIR          where the stores are made, on the disk to be measured (target/bench-stores)
  --json FILE        also write every row of every round there, one JSON object a line
  --smoke            2000 records, one round, everything short: checks answers, not speed

rows (one process and store for each group of them):
  put_os put_os/2 put_os/user put_os/shared
      random puts handed to the kernel, of one thread, of two, with other kinds of keys; the process
      is killed afterwards, and another one looks for every acknowledged record
  fill_settle scan_full get_hot get_hot/2 get_missing seek_next10 get_small_cache reopen_clean
      random puts until nothing is due; then reads of the settled store, its cache warm
  get_beside_puts get_during_flush read_while_writing overwrite_zipf seek_deleted
      on the same store: reads beside writes, overwriting, ranges that begin among deleted records
  ycsb_a ycsb_b ycsb_c ycsb_e ycsb_f
      zipfian 0.99, two threads: 50 % updates, 5 % updates, reads alone, 95 % scans of up to 100 and
      5 % inserts, 50 % read-modify-writes; the store is settled before each
  bulk_load
      sorted input into an empty store, in the way the engine has for it, until nothing is due
  put_16k get_16k
      values of 16 KiB: put until nothing is due, then read; RocksDB with and without blob files
  queue queue_unknown_head
      push at the tail, pop at the head, at a steady depth; the consumer seeks from where it was, or
      from the smallest key
  get_hot/user seek_next10/user get_hot/shared seek_next10/shared
      the same reads with other kinds of keys
  put_sync/1 put_sync/8 put_sync/16 batch100 reopen_kill9
      puts that wait for the disk on so many threads; batches of 100; opening after kill -9
  put_sustained
      random puts of ten times a budget of 105 MiB until no work is left, and the bytes written for it
      until then (write_amp), and until nothing was due (due_amp);
      first round only, as are the next
  stall_puts reopen_big_kill9 reopen_big_clean
      random overwrites of a store of ten times its budget, each timed; opening that store

examples:
  olivine-bench engine --rivals all --json target/bench.json
  olivine-bench engine --rivals rocksdb,fjall --n 200000 --rounds 1 --workloads get_hot,put_os
  olivine-bench engine --smoke
  olivine-bench chart target/bench.json --out docs/img
";

/// How a run was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) rivals: Vec<String>,
    pub(crate) olivine: bool,
    pub(crate) records: u64,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) workloads: Vec<String>,
    pub(crate) memory_bytes: u64,
    pub(crate) stall_seconds: f64,
    pub(crate) dir: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) smoke: bool,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            rivals: Vec::new(),
            olivine: true,
            records: 2_000_000,
            rounds: 3,
            seconds: 1.5,
            workloads: Vec::new(),
            memory_bytes: 320 << 20,
            stall_seconds: 60.0,
            dir: PathBuf::from("target/bench-stores"),
            json: None,
            smoke: false,
        }
    }
}

impl Args {
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Args> {
        let mut args = Args::default();
        let words: Vec<String> = words.into_iter().collect();
        if words.iter().any(|word| word == "--smoke") {
            args.smoke = true;
            args.records = 2_000;
            args.rounds = 1;
            args.seconds = 0.05;
            args.stall_seconds = 0.3;
            args.memory_bytes = 4 << 20;
        }
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--smoke" {
                continue;
            }
            if word == "--only-rivals" {
                args.olivine = false;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value\n\n{HELP}"))?;
            match word.as_str() {
                "--rivals" => args.rivals = rivals(&value)?,
                "--n" => args.records = number(&word, &value)?,
                "--rounds" => args.rounds = number(&word, &value)?,
                "--seconds" => args.seconds = number(&word, &value)?,
                "--workloads" => args.workloads = list(&value),
                "--memory" => args.memory_bytes = number(&word, &value)?,
                "--stall" => args.stall_seconds = number(&word, &value)?,
                "--dir" => args.dir = PathBuf::from(value),
                "--json" => args.json = Some(PathBuf::from(value)),
                _ => return Err(format!("no option is called `{word}`\n\n{HELP}").into()),
            }
        }
        if args.records < 1000 || args.rounds == 0 || args.memory_bytes < 4 << 20 {
            return Err("`--n` is at least 1000, `--rounds` 1, `--memory` 4194304".into());
        }
        Ok(args)
    }

    /// Whether a row is wanted: by its name, or by the part before the `/`.
    pub(crate) fn wants(&self, workload: &str) -> bool {
        wanted(&self.workloads, workload)
    }
}

fn wanted(list: &[String], workload: &str) -> bool {
    let base = workload.split('/').next();
    list.is_empty() || list.iter().any(|name| name == workload || Some(name.as_str()) == base)
}

fn list(value: &str) -> Vec<String> {
    value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn number<N: std::str::FromStr>(option: &str, value: &str) -> Result<N> {
    value.parse().map_err(|_| format!("`{option}` takes a number, not {value:?}").into())
}

fn rivals(value: &str) -> Result<Vec<String>> {
    const KNOWN: [&str; 3] = ["rocksdb", "fjall", "lmdb"];
    if value == "all" {
        return Ok(KNOWN.map(str::to_owned).to_vec());
    }
    let rivals = list(value);
    match rivals.iter().find(|rival| !KNOWN.contains(&rival.as_str())) {
        None => Ok(rivals),
        Some(rival) => Err(format!("no rival is called {rival:?}; there are {KNOWN:?}").into()),
    }
}

/// What one child process does: one stage, on one store.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) engine: String,
    pub(crate) stage: String,
    pub(crate) kind: KeyKind,
    pub(crate) threads: u32,
    pub(crate) dir: PathBuf,
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    pub(crate) stall_seconds: f64,
    pub(crate) memory_bytes: u64,
    pub(crate) workloads: Vec<String>,
    pub(crate) smoke: bool,
}

impl Task {
    pub(crate) fn encode(&self) -> Vec<String> {
        let words = [
            self.engine.clone(),
            self.stage.clone(),
            self.kind.name().to_owned(),
            self.threads.to_string(),
            self.dir.to_string_lossy().into_owned(),
            self.records.to_string(),
            self.seconds.to_string(),
            self.stall_seconds.to_string(),
            self.memory_bytes.to_string(),
            self.workloads.join(","),
            self.smoke.to_string(),
        ];
        words.into()
    }

    pub(crate) fn decode(words: impl IntoIterator<Item = String>) -> Result<Task> {
        let mut words = words.into_iter();
        let mut next = |what| words.next().ok_or_else(|| format!("the task has no {what}"));
        Ok(Task {
            engine: next("engine")?,
            stage: next("stage")?,
            kind: next("kind of key")?.parse()?,
            threads: number("threads", &next("threads")?)?,
            dir: PathBuf::from(next("dir")?),
            records: number("records", &next("records")?)?,
            seconds: number("seconds", &next("seconds")?)?,
            stall_seconds: number("stall", &next("stall")?)?,
            memory_bytes: number("memory", &next("memory")?)?,
            workloads: list(&next("workloads")?),
            smoke: next("smoke")? == "true",
        })
    }

    pub(crate) fn wants(&self, workload: &str) -> bool {
        wanted(&self.workloads, workload)
    }

    /// The settings of this task's store: a fifth of the memory is the memtable, the rest cache.
    pub(crate) fn settings(&self, durability: Durability) -> Settings {
        let memtable_bytes = self.memory_bytes / 5;
        Settings {
            durability,
            cache_bytes: self.memory_bytes - memtable_bytes,
            memtable_bytes,
            budget_bytes: self.memory_bytes,
            large_values: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_checked() {
        let args = Args::parse(words("--rivals all --n 5000 --workloads get_hot,put_sync/16"));
        let args = args.unwrap();
        assert_eq!(args.rivals, ["rocksdb", "fjall", "lmdb"]);
        assert!(args.wants("get_hot/2") && args.wants("put_sync/16") && !args.wants("put_sync/1"));
        for bad in ["--n x", "--n", "--colour red", "--rivals mysql", "--rounds 0"] {
            assert!(Args::parse(words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_survives_the_command_line() {
        let task = Task {
            engine: "olivine".into(),
            stage: "main".into(),
            kind: KeyKind::Shared,
            threads: 2,
            dir: "/tmp/a b".into(),
            records: 10,
            seconds: 0.5,
            stall_seconds: 1.0,
            memory_bytes: 99,
            workloads: vec!["get_hot".into()],
            smoke: true,
        };
        let back = Task::decode(task.encode()).unwrap();
        assert_eq!(format!("{task:?}"), format!("{back:?}"));
    }
}
