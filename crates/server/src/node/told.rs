//! What a node tells when it starts and when it ends.

use std::time::Duration;

use olivine_engine::{Error, Event, RecoveryReport};
use olivine_vfs::Clock;

use super::{Half, Problem, Settings, Started};

/// A node, or a half of one, has started.
pub(super) fn started(settings: &Settings, memory_bytes: u64, started: &Started) {
    let (half, has_store) = match settings.half {
        Half::Both => ("both", true),
        Half::Storage(_) => ("storage", true),
        Half::Coordinator(_) => ("coordinator", false),
        Half::Blobs => ("blobs", false),
    };
    let durability = format!("{:?}", settings.durability).to_lowercase();
    tracing::info!(
        event = "node_started",
        version = env!("CARGO_PKG_VERSION"),
        half,
        process = std::process::id(),
        data_dir = &*settings.data_dir.to_string_lossy(),
        workers = settings.workers as u64,
        memory_bytes = has_store.then_some(memory_bytes),
        durability = has_store.then_some(&*durability),
        connections_max = settings.connections_max as u64,
        slow_millis = settings.slow.as_millis() as u64,
        insecure = settings.insecure,
    );
    for (door, address) in &started.doors {
        let address = address.to_string();
        tracing::info!(event = "door_opened", door = door.name(), address = &*address);
    }
    for (setting, why) in &started.skipped {
        let (door, address) = (setting.door.name(), setting.address.to_string());
        tracing::warn!(event = "door_skipped", door, address = &*address, why = &**why);
    }
    if let (Some(socket), Half::Storage(_)) = (&started.socket, &settings.half) {
        tracing::info!(event = "socket_opened", socket = &*socket.to_string_lossy());
    }
}

/// The store is open.
pub(super) fn opened(dir: &std::path::Path, report: &RecoveryReport, took: Duration) {
    tracing::info!(
        event = "store_opened",
        store = &*dir.to_string_lossy(),
        is_new = report.created,
        was_closed = report.clean,
        records_read_back = report.records,
        took_millis = took.as_millis() as u64,
    );
    if let Some(cut) = &report.cut {
        tracing::warn!(
            event = "log_cut",
            file = &*cut.path.to_string_lossy(),
            offset = cut.offset,
            bytes_dropped = cut.bytes_dropped,
            why = cut.why,
        );
    }
}

/// The store did something, or something happened to it. Called on the thread that did it.
pub(super) fn happened(event: &Event) {
    let millis = |took: &Duration| took.as_millis() as u64;
    match event {
        Event::Flushed { keyspace, bytes, took } => {
            let keyspace = keyspace.as_bytes();
            tracing::debug!(event = "flushed", keyspace, bytes, took_millis = millis(took));
        }
        Event::Compacted { keyspace, took } => {
            let keyspace = keyspace.as_bytes();
            tracing::debug!(event = "compacted", keyspace, took_millis = millis(took));
        }
        Event::CompactionHalted(error) => {
            tracing::error!(event = "compaction_halted", why = &*with_causes(error));
        }
        Event::LogHeld(held) => {
            let held = format!("{held:?}");
            tracing::warn!(event = "log_held", held = &*held);
        }
        Event::Refused(error) => {
            tracing::error!(event = "store_refuses_writes", why = &*with_causes(error));
        }
        _ => {}
    }
}

/// The store was closed, or not.
pub(super) fn closed(
    outcome: Result<(), Error>,
    clock: &dyn Clock,
    began: Duration,
) -> Result<(), Error> {
    let took_millis = clock.now().saturating_sub(began).as_millis() as u64;
    match &outcome {
        Ok(()) => tracing::info!(event = "store_closed", took_millis),
        Err(error) => tracing::error!(event = "close_failed", why = &*with_causes(error)),
    }
    outcome
}

/// Certificate and key were read again, or could not be.
pub(super) fn reloaded<T>(outcome: Result<T, Problem>) {
    match outcome {
        Ok(_) => tracing::info!(event = "certificate_read"),
        Err(problem) => {
            tracing::error!(event = "certificate_kept", why = &*with_causes(&problem));
        }
    }
}

/// A node did not start.
pub(super) fn not_started(problem: &Problem) {
    tracing::error!(event = "start_failed", why = &*with_causes(problem));
}

/// An error and what it came from, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
