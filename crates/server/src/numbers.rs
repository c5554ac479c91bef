//! What a node tells about itself, in numbers.
//!
//! 1. Every number is there from the start, at zero; those of a store that cannot be reached are left
//!    out.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use olivine_command::{Code, Command, Reply};

use crate::worker::Served;

/// What a node has done.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// So many requests were read.
    pub(crate) fn asked(&self, requests: usize) {
        self.requests.fetch_add(requests as u64, Relaxed);
    }

    /// A connection was taken.
    pub(crate) fn taken(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A connection was turned away.
    pub(crate) fn turned_away(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}

/// How a number is told to Prometheus.
struct Metric {
    /// What the store calls it, or the node.
    number: &'static str,
    name: &'static str,
    help: &'static str,
}

impl Metric {
    /// Counters only grow, and are called so.
    fn kind(&self) -> &'static str {
        if self.name.ends_with("_total") { "counter" } else { "gauge" }
    }
}

const fn metric(number: &'static str, name: &'static str, help: &'static str) -> Metric {
    Metric { number, name, help }
}

const METRICS: &[Metric] = &[
    metric("requests", "olivine_requests_total", "Requests read."),
    metric("connections", "olivine_connections_total", "Connections taken."),
    metric("refused", "olivine_connections_refused_total", "Connections turned away: too many."),
    metric("keys", "olivine_keys", "Keys there are."),
    metric("memtable_bytes", "olivine_memtable_bytes", "Memory of memtables."),
    metric("table_bytes", "olivine_table_bytes", "Bytes of tables."),
    metric("value_file_bytes", "olivine_value_file_bytes", "Bytes of value files."),
    metric("log_bytes", "olivine_log_bytes", "Bytes of the log that are needed."),
    metric("log_syncs", "olivine_log_syncs_total", "Syncs of the log."),
    metric("flushes", "olivine_flushes_total", "Memtables flushed."),
    metric("flushed_bytes", "olivine_flushed_bytes_total", "Bytes written by flushes."),
    metric("compactions", "olivine_compactions_total", "Compactions done."),
    metric(
        "compaction_written_bytes",
        "olivine_compaction_written_bytes_total",
        "Bytes written by compactions.",
    ),
    metric("stall_milliseconds", "olivine_stall_milliseconds_total", "Time that writers waited."),
    metric("disk_full", "olivine_disk_full", "Whether something waits for room on the disk."),
    metric(
        "disk_free_bytes",
        "olivine_disk_free_bytes",
        "Room left where the data directory lies.",
    ),
    metric(
        "last_backup_seconds",
        "olivine_last_backup_timestamp_seconds",
        "When the last backup over the network was made; 0 if none was.",
    ),
    metric("backups_under_way", "olivine_backups_under_way", "Backups being made."),
    metric("takes_writes", "olivine_takes_writes", "Whether the store takes writes."),
];

/// Why the node cannot be used, if so.
pub(crate) async fn ready(served: &Served) -> Result<(), (Code, String)> {
    match of_store(served).await? {
        numbers if numbers.contains(&("takes_writes".to_owned(), 0)) => {
            let why =
                "a write or a sync failed, and the store takes no more writes; start it again";
            Err((Code::Poisoned, why.to_owned()))
        }
        _ => Ok(()),
    }
}

/// What the store tells.
async fn of_store(served: &Served) -> Result<Vec<(String, u64)>, (Code, String)> {
    let now = served.shared.time.now();
    match served.router.carry_out(now, &[Command::Numbers]).await.pop() {
        Some(Reply::Numbers(numbers)) => Ok(numbers),
        Some(Reply::Refused(refusal)) => Err((refusal.code, refusal.text)),
        reply => Err((Code::Failed, format!("the store answered {reply:?}"))),
    }
}

/// Numbers as Prometheus reads them.
pub(crate) async fn metrics(served: &Served) -> String {
    let mut numbers = of_store(served).await.unwrap_or_default();
    let Counters { requests, connections, refused } = &served.shared.counters;
    for (name, number) in
        [("requests", requests), ("connections", connections), ("refused", refused)]
    {
        numbers.push((name.to_owned(), number.load(Relaxed)));
    }
    let mut text = String::new();
    for metric in METRICS {
        let Some((_, number)) = numbers.iter().find(|(name, _)| name == metric.number) else {
            continue;
        };
        let (name, help, kind) = (metric.name, metric.help, metric.kind());
        let _infallible =
            write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {number}\n");
    }
    let version = env!("CARGO_PKG_VERSION");
    let _infallible = write!(
        text,
        "# HELP olivine_build_info What is running.\n# TYPE olivine_build_info gauge\n\
         olivine_build_info{{version=\"{version}\"}} 1\n"
    );
    text
}
