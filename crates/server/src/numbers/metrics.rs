//! The table of all metrics, and how they are written for Prometheus.
//!
//! 1. A metric is in the table once, with its kind, its labels and what it means; `docs/operating.md` has the
//!    same table, which a test compares.
//! 2. Times are seconds and lengths bytes, as their names say; counters end in `_total`.

use std::{
    fmt::{Display, Write as _},
    sync::atomic::Ordering::Relaxed,
};

use olivine_command::Command;
use olivine_vfs::{ProcessUse, open_files_max, process_use};

use super::{
    Counters, of_store,
    tally::{BLOB_DOORS, BOUNDS_MICROS, Count, Durations, OPERATIONS, Tally, status_name},
    usable,
};
use crate::{
    log::lines_lost,
    settings::Door,
    worker::{Served, Shared},
};

/// One metric, or several that differ in their labels.
#[derive(Clone, Copy)]
pub struct Metric {
    /// What Prometheus calls it.
    pub name: &'static str,
    /// Its labels, separated by commas.
    pub labels: &'static str,
    /// What it means.
    pub help: &'static str,
    source: Source,
}

/// Where a metric comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A number that the store tells by this name, and what it is divided by.
    Store(&'static str, u64),
    /// Numbers of the store that differ in the labels behind that name.
    StoreLabelled(&'static str),
    /// Numbers of the store by these names, for the values of one label.
    StoreEach(&'static [(&'static str, &'static str)]),
    /// A histogram that the store tells by this name.
    StoreHistogram(&'static str),
    /// The node itself. One that has nothing to tell is left out.
    Node(fn(&Facts<'_>, &mut Samples<'_>)),
}

impl Metric {
    /// `counter`, `gauge` or `histogram`.
    pub fn kind(&self) -> &'static str {
        match self.source {
            _ if self.name.ends_with("_total") => "counter",
            Source::StoreHistogram(_) => "histogram",
            _ if self.name.ends_with("_duration_seconds") => "histogram",
            _ => "gauge",
        }
    }
}

/// What is known when numbers are asked for.
struct Facts<'a> {
    shared: &'a Shared,
    /// Nothing when the store cannot be reached.
    store: Option<Vec<(String, u64)>>,
    process: ProcessUse,
}

impl Facts<'_> {
    fn tallies(&self) -> &[Tally] {
        &self.shared.tallies
    }

    fn sum(&self, count: impl Fn(&Tally) -> &Count) -> u64 {
        self.tallies().iter().map(|tally| count(tally).read()).sum()
    }
}

/// The numbers of one metric as they are written.
struct Samples<'a> {
    name: &'static str,
    out: &'a mut String,
}

impl Samples<'_> {
    fn one(&mut self, value: impl Display) {
        self.write("", "", value);
    }

    fn labelled(&mut self, labels: &str, value: impl Display) {
        self.write("", labels, value);
    }

    /// `labels` are `name="value"`, and come from us alone.
    fn write(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let name = self.name;
        let _infallible = if labels.is_empty() {
            writeln!(self.out, "{name}{suffix} {value}")
        } else {
            writeln!(self.out, "{name}{suffix}{{{labels}}} {value}")
        };
    }
}

const fn store(name: &'static str, number: &'static str, help: &'static str) -> Metric {
    Metric { name, labels: "", help, source: Source::Store(number, 1) }
}

const fn store_seconds(
    name: &'static str,
    number: &'static str,
    parts: u64,
    help: &'static str,
) -> Metric {
    Metric { name, labels: "", help, source: Source::Store(number, parts) }
}

const fn node(
    name: &'static str,
    labels: &'static str,
    help: &'static str,
    tell: fn(&Facts<'_>, &mut Samples<'_>),
) -> Metric {
    Metric { name, labels, help, source: Source::Node(tell) }
}

/// All metrics, in the order in which they are written.
pub const METRICS: &[Metric] = &[
    node("olivine_build_info", "version", "Always 1; the label says what is running.", |_, out| {
        out.labelled(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
    }),
    node("olivine_ready", "", "1 while `/readyz` says that the node can be used.", |facts, out| {
        let is_usable = facts.store.as_deref().is_some_and(|numbers| usable(numbers).is_ok());
        out.one(u8::from(is_usable));
    }),
    node(
        "olivine_store_up",
        "",
        "1 while the store can be reached; 0 leaves out all that it would tell.",
        |facts, out| out.one(u8::from(facts.store.is_some())),
    ),
    store(
        "olivine_takes_writes",
        "takes_writes",
        "0 after a failed write or sync, until the store is opened again.",
    ),
    store("olivine_disk_full", "disk_full", "1 while something waits for room on the disk."),
    store(
        "olivine_compaction_halted",
        "compaction_halted",
        "1 after a table could not be read, until the store is opened again.",
    ),
    node("olivine_connected_clients", "door", "Connections that there are.", |facts, out| {
        for door in Door::ALL {
            let count = facts.sum(|tally| &tally.connected[door as usize]);
            out.labelled(&format!("door=\"{}\"", door.name()), count);
        }
    }),
    node("olivine_connections_total", "", "Connections taken.", |facts, out| {
        let Counters { connections, .. } = &facts.shared.counters;
        out.one(connections.load(Relaxed));
    }),
    node(
        "olivine_connections_refused_total",
        "",
        "Connections turned away, because there were `--connections-max`.",
        |facts, out| {
            let Counters { refused, .. } = &facts.shared.counters;
            out.one(refused.load(Relaxed));
        },
    ),
    node(
        "olivine_net_bytes_total",
        "direction",
        "Bytes of clients: those that came in, and those that went out.",
        |facts, out| {
            out.labelled("direction=\"in\"", facts.sum(|tally| &tally.bytes_in));
            out.labelled("direction=\"out\"", facts.sum(|tally| &tally.bytes_out));
        },
    ),
    node(
        "olivine_requests_total",
        "",
        "Requests read, wrong ones and those of the node itself included.",
        |facts, out| {
            out.one(facts.sum(|tally| &tally.requests));
        },
    ),
    node(
        "olivine_commands_total",
        "command, status",
        "Commands of clients that were answered, by what came of them: ok, or the code of the error.",
        commands,
    ),
    node(
        "olivine_command_duration_seconds",
        "door",
        "Time from when a command was taken up, with all that had arrived beside it, to when the answers of \
         those were handed to the kernel; over HTTP, to when its answer was made.",
        durations,
    ),
    node(
        "olivine_slow_requests_total",
        "",
        "Batches of requests that took longer than `--slow-millis`; the last are at `/slow`.",
        |facts, out| {
            out.one(facts.shared.slow.count());
        },
    ),
    node(
        "olivine_event_lines_lost_total",
        "",
        "Lines of the node's own log that could not be written.",
        |_, out| {
            out.one(lines_lost());
        },
    ),
    store(
        "olivine_keys",
        "keys",
        "Keys that there are, with those that have expired and were not swept yet.",
    ),
    store("olivine_memtable_bytes", "memtable_bytes", "Memory of memtables."),
    Metric {
        name: "olivine_table_files",
        labels: "level",
        help: "Tables on each level.",
        source: Source::StoreLabelled("table_files"),
    },
    store("olivine_table_bytes", "table_bytes", "Bytes of tables."),
    store("olivine_value_file_bytes", "value_file_bytes", "Bytes of value files."),
    store("olivine_log_bytes", "log_bytes", "Bytes of the store's log that are needed."),
    Metric {
        name: "olivine_log_sync_seconds",
        labels: "",
        help: "Time that syncs of the store's log took.",
        source: Source::StoreHistogram("log_sync"),
    },
    store("olivine_flushes_total", "flushes", "Memtables that became tables."),
    store(
        "olivine_flushed_bytes_total",
        "flushed_bytes",
        "Bytes of the tables that flushes wrote.",
    ),
    store("olivine_compactions_total", "compactions", "Compactions done."),
    Metric {
        name: "olivine_compaction_bytes_total",
        labels: "direction",
        help: "Bytes that compactions read and wrote.",
        source: Source::StoreEach(&[
            ("direction=\"read\"", "compaction_read_bytes"),
            ("direction=\"written\"", "compaction_written_bytes"),
        ]),
    },
    store_seconds(
        "olivine_stall_seconds_total",
        "stall_nanoseconds",
        1_000_000_000,
        "Time that writers were made to wait, summed over all of them.",
    ),
    store("olivine_block_cache_bytes", "block_cache_bytes", "Memory of cached blocks."),
    store("olivine_block_cache_hits_total", "block_cache_hits", "Blocks found in the cache."),
    store("olivine_block_cache_misses_total", "block_cache_misses", "Blocks read from the disk."),
    store("olivine_snapshots", "snapshots", "Snapshots alive."),
    store_seconds(
        "olivine_oldest_snapshot_age_seconds",
        "oldest_snapshot_milliseconds",
        1_000,
        "How long the oldest snapshot has been alive; 0 without one.",
    ),
    store("olivine_disk_size_bytes", "disk_bytes", "Size of the file system that the store is on."),
    store("olivine_disk_free_bytes", "disk_free_bytes", "Bytes of it that may still be filled."),
    store(
        "olivine_last_backup_timestamp_seconds",
        "last_backup_seconds",
        "When the last backup over the network was made; 0 if none was.",
    ),
    store("olivine_backups_under_way", "backups_under_way", "Backups being made."),
    store(
        "olivine_queries_running",
        "queries_running",
        "Queries over time series being answered; one that nobody waits for any more counts until it has stopped.",
    ),
    node(
        "olivine_blob_request_duration_seconds",
        "door, operation",
        "Time from when the head of a request for blobs was read to when its answer was made; the bodies of gets are \
         sent behind that, those of puts have come by then.",
        blob_durations,
    ),
    node(
        "olivine_blob_volumes",
        "state",
        "Volumes of blobs that the master of this process has, by whether they answer and take objects.",
        |facts, out| {
            let states = facts.shared.blobs.volumes();
            for (state, count) in ["writable", "full", "away"].into_iter().zip(states) {
                out.labelled(&format!("state=\"{state}\""), count);
            }
        },
    ),
    node(
        "olivine_volume_bytes",
        "",
        "Bytes of the volume of this process, those that nobody needs any more included.",
        |facts, out| out.one(facts.shared.blobs.usage().map_or(0, |usage| usage.bytes)),
    ),
    node("olivine_volume_far_bytes", "", "Bytes of them that lie in the bucket.", |facts, out| {
        out.one(facts.shared.blobs.usage().map_or(0, |usage| usage.far_bytes));
    }),
    node(
        "olivine_bucket_reads_total",
        "",
        "Requests to the bucket of the volume for bytes of extents.",
        |facts, out| out.one(facts.shared.blobs.far_work().reads),
    ),
    node("olivine_bucket_read_bytes_total", "", "Bytes that came of the bucket.", |facts, out| {
        out.one(facts.shared.blobs.far_work().read_bytes);
    }),
    node(
        "olivine_bucket_failed_total",
        "",
        "Requests to the bucket that failed, after they had been repeated.",
        |facts, out| out.one(facts.shared.blobs.far_work().failed),
    ),
    node(
        "olivine_bucket_cache_hits_total",
        "",
        "Pieces of 64 KiB of extents in the bucket that the cache had.",
        |facts, out| out.one(facts.shared.blobs.far_work().hits),
    ),
    node("olivine_volume_free_bytes", "", "Bytes that its disk has left.", |facts, out| {
        out.one(facts.shared.blobs.usage().and_then(|usage| usage.room).unwrap_or(0));
    }),
    node(
        "olivine_objects_damaged_total",
        "",
        "Damage that was found while the volume was read through.",
        |facts, out| out.one(facts.shared.blobs.damaged()),
    ),
    node(
        "olivine_objects_repaired_total",
        "",
        "Copies of objects that were missing or damaged, and for which others were made.",
        |facts, out| out.one(facts.shared.blobs.healed()[0]),
    ),
    node(
        "olivine_objects_moved_total",
        "",
        "Copies of objects that were moved to where they belong.",
        |facts, out| out.one(facts.shared.blobs.healed()[1]),
    ),
    node(
        "olivine_objects_thin",
        "",
        "Objects that lay on fewer volumes than they should when all were looked at last, and could not be copied then.",
        |facts, out| out.one(facts.shared.blobs.healed()[2]),
    ),
    node(
        "olivine_objects_lost",
        "",
        "Objects of which there was no whole copy then.",
        |facts, out| out.one(facts.shared.blobs.healed()[3]),
    ),
    node(
        "process_cpu_seconds_total",
        "",
        "Time on processors, of the process that answers.",
        |facts, out| {
            out.one(facts.process.cpu.as_secs_f64());
        },
    ),
    node("process_resident_memory_bytes", "", "Memory of it that is in memory.", |facts, out| {
        out.any(facts.process.resident_bytes);
    }),
    node("process_virtual_memory_bytes", "", "Memory that it has addresses for.", |facts, out| {
        out.any(facts.process.virtual_bytes);
    }),
    node("process_open_fds", "", "Files and sockets that it has open.", |facts, out| {
        out.any(facts.process.open_files);
    }),
    node("process_max_fds", "", "How many it may have.", |_, out| out.one(open_files_max())),
    node("process_start_time_seconds", "", "When it started, since 1970.", |facts, out| {
        out.any(facts.process.started.map(|started| started.as_secs_f64()));
    }),
];

impl Samples<'_> {
    /// What a system does not tell is left out.
    fn any(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(value);
        }
    }
}

fn commands(facts: &Facts<'_>, out: &mut Samples<'_>) {
    for (place, command) in Command::NAMES.iter().enumerate() {
        for status in 0..facts.tallies().first().map_or(0, |tally| tally.commands[place].len()) {
            let count = facts.sum(|tally| &tally.commands[place][status]);
            let status = status_name(status);
            out.labelled(&format!("command=\"{command}\",status=\"{status}\""), count);
        }
    }
}

fn durations(facts: &Facts<'_>, out: &mut Samples<'_>) {
    for door in Door::ALL {
        let labels = format!("door=\"{}\"", door.name());
        histogram(facts, &labels, |tally| &tally.durations[door as usize], out);
    }
}

fn blob_durations(facts: &Facts<'_>, out: &mut Samples<'_>) {
    for (place, door) in BLOB_DOORS.iter().enumerate() {
        for (nth, operation) in OPERATIONS.iter().enumerate() {
            let labels = format!("door=\"{}\",operation=\"{operation}\"", door.name());
            histogram(facts, &labels, |tally| &tally.blob_durations[place][nth], out);
        }
    }
}

fn histogram(
    facts: &Facts<'_>,
    labels: &str,
    of: impl Fn(&Tally) -> &Durations,
    out: &mut Samples<'_>,
) {
    let mut below = 0;
    for bucket in 0..=BOUNDS_MICROS.len() {
        below += facts.sum(|tally| &of(tally).buckets[bucket]);
        let bound = match BOUNDS_MICROS.get(bucket) {
            Some(micros) => (*micros as f64 / 1e6).to_string(),
            None => "+Inf".to_owned(),
        };
        out.write("_bucket", &format!("{labels},le=\"{bound}\""), below);
    }
    let nanos = facts.sum(|tally| &of(tally).nanos);
    out.write("_sum", labels, nanos as f64 / 1e9);
    out.write("_count", labels, below);
}

/// Writes what the store tells of a metric.
fn of_numbers(numbers: &[(String, u64)], source: Source, out: &mut Samples<'_>) {
    let named =
        |name: &str| numbers.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
    let labelled = |name: &str| {
        let name = format!("{name}{{");
        numbers.iter().filter_map(move |(known, number)| {
            let labels = known.strip_prefix(&name)?.strip_suffix('}')?;
            Some((labels, *number))
        })
    };
    match source {
        Source::Store(name, 1) => out.any(named(name)),
        Source::Store(name, parts) => out.any(named(name).map(|n| n as f64 / parts as f64)),
        Source::StoreLabelled(name) => {
            for (labels, number) in labelled(name) {
                out.labelled(labels, number);
            }
        }
        Source::StoreEach(each) => {
            for (labels, number) in each.iter().filter_map(|(l, name)| Some((l, named(name)?))) {
                out.labelled(labels, number);
            }
        }
        Source::StoreHistogram(name) => {
            let sum = named(&format!("{name}_nanoseconds"));
            let count = named(&format!("{name}_seconds_count"));
            let Some((sum, count)) = sum.zip(count) else { return };
            for (labels, number) in labelled(&format!("{name}_seconds_bucket")) {
                out.write("_bucket", labels, number);
            }
            out.write("_bucket", "le=\"+Inf\"", count);
            out.write("_sum", "", sum as f64 / 1e9);
            out.write("_count", "", count);
        }
        Source::Node(_) => {}
    }
}

/// All metrics as Prometheus reads them.
pub(crate) async fn metrics(served: &Served) -> String {
    let store = of_store(served).await.ok();
    let facts = Facts { shared: &served.shared, store, process: process_use() };
    let mut text = String::new();
    for metric in METRICS {
        let mut samples = String::new();
        let mut out = Samples { name: metric.name, out: &mut samples };
        match (metric.source, &facts.store) {
            (Source::Node(tell), _) => tell(&facts, &mut out),
            (source, Some(numbers)) => of_numbers(numbers, source, &mut out),
            (_, None) => {}
        }
        if !samples.is_empty() {
            let (name, help, kind) = (metric.name, metric.help, metric.kind());
            let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        }
    }
    text
}
