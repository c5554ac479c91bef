//! Every event that a node tells, by its name.
//!
//! 1. An event that is told is in the list, and one of the list is told somewhere (`tests.rs` looks).
//! 2. `docs/operating.md` has the same list.

use super::LogLevel;

/// A kind of event.
#[derive(Clone, Copy, Debug)]
pub struct EventKind {
    /// What lines call it.
    pub name: &'static str,
    /// How much it matters.
    pub level: LogLevel,
    /// What happened, and what to do if something is to be done.
    pub what: &'static str,
}

const fn error(name: &'static str, what: &'static str) -> EventKind {
    EventKind { name, level: LogLevel::Error, what }
}

const fn warn(name: &'static str, what: &'static str) -> EventKind {
    EventKind { name, level: LogLevel::Warn, what }
}

const fn info(name: &'static str, what: &'static str) -> EventKind {
    EventKind { name, level: LogLevel::Info, what }
}

const fn debug(name: &'static str, what: &'static str) -> EventKind {
    EventKind { name, level: LogLevel::Debug, what }
}

/// All of them, in the order in which one meets them.
pub const EVENTS: &[EventKind] = &[
    info("node_started", "a node, or a half of one, has started: with which settings"),
    error("start_failed", "it did not start: why"),
    info(
        "store_opened",
        "the store is open: whether it is new, was closed cleanly, and what was read back",
    ),
    warn(
        "log_cut",
        "the end of the store's log had never been written whole and was left out; nothing acknowledged is lost",
    ),
    info("volume_opened", "a volume of blobs is open: where, and what was found there"),
    info("door_opened", "a door is open: where"),
    warn("door_skipped", "a default port was taken, and its door is left out; name another port"),
    info("socket_opened", "the storage takes coordinators: where"),
    info("volume_there", "a volume of blobs in another process answers the master"),
    warn("volume_away", "it does not: why. See that it runs, and that both have the same key file"),
    warn("volumes_unknown", "the master's index failed, and how the volumes are is not known: why"),
    warn("master_refused", "a master that came to a volume has another key file"),
    error(
        "object_damaged",
        "bytes on a volume are not what was written: where, and whose they are as far as that can be told. What lies on another volume, too, is copied from there; else put the object again",
    ),
    info(
        "objects_healed",
        "copies of objects were missing or damaged and were made anew, or were moved; how many are still too few, and how many objects have no whole copy",
    ),
    error(
        "object_lost",
        "no volume that answers has a whole copy of an object, and it is not served: its key. Bring back a volume that has it, or put it again",
    ),
    warn("objects_unhealed", "objects could not be looked at: why. It is tried again"),
    info(
        "extent_removed",
        "nothing live was left in an extent of a volume, and its room is given back",
    ),
    info(
        "extent_sent_away",
        "an extent of a volume lies in the bucket now, which gave back what it was given, and its file is removed",
    ),
    warn(
        "bucket_away",
        "the bucket of a volume did not do what it was asked: why. What lies there cannot be read if that goes on; it is tried again",
    ),
    warn(
        "volume_untended",
        "what a volume does behind its requests failed: why. It is tried again",
    ),
    warn(
        "connections_refused",
        "so many connections were turned away since this was told last, at `--connections-max`",
    ),
    warn(
        "accept_failed",
        "connections could not be taken: why, and how often. Often files have run out: raise `ulimit -n`",
    ),
    warn(
        "waited_in_vain",
        "peers were not waited for any longer: at which door, how often, and which of the times of `--help` it was",
    ),
    warn(
        "coordinator_refused",
        "somebody who came to the storage was sent away: why, and how often. Another user, or no certificate",
    ),
    warn(
        "login_failed",
        "somebody at that address did not prove who they are; guessing is slowed down",
    ),
    info("certificate_read", "certificate and key were read again, as SIGHUP asked"),
    error(
        "certificate_kept",
        "they could not be read: why. The doors go on with those that they have",
    ),
    info("storage_reached", "the coordinator has a connection to its storage"),
    warn(
        "storage_lost",
        "the coordinator has none any more, or never had one; it tries again and again",
    ),
    error(
        "store_refuses_writes",
        "a write or a sync failed: why. Look at the disk, then start the node again",
    ),
    warn("disk_full", "the disk is full; the store tries again by itself. Make room"),
    info(
        "room_again",
        "what had found no room on the disk has found some, or nobody has tried to write since",
    ),
    error(
        "compaction_halted",
        "a table could not be read: why. Check the disk, then restore or repair",
    ),
    warn("log_held", "appended records keep the store's log longer than its bound: whose"),
    debug("flushed", "a memtable became tables"),
    debug("compacted", "tables were merged"),
    warn(
        "slow_request",
        "requests took longer than `--slow-millis`: which, and where the time went",
    ),
    error(
        "panicked",
        "a thread met something that cannot be; the connection it served is closed. Please report it",
    ),
    info("stopping", "the node ends: who asked, and how many connections there are"),
    info("drained", "all connections have ended"),
    warn(
        "cut_off",
        "so many connections had not ended within `--drain-time-max`, or by a second signal, and were closed",
    ),
    info("store_closed", "the store is closed; all of it is on the disk"),
    error(
        "close_failed",
        "the store could not be closed: why. What was acknowledged is there nevertheless",
    ),
    info("stopped", "the node has ended"),
    warn("lines_lost", "so many lines of this log could not be written before this one"),
];
