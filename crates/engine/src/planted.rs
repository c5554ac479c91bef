//! Bugs planted on purpose, to see that the tests of the engine notice them.
//!
//! Without the feature `planted` every question is answered `false` while compiling, and nothing of
//! this is left. With it, one build holds every bug, and at most one is active at a time.
//!
//! 1. No bug is active unless somebody planted it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A mistake that one could make, and that must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A write under `sync` is acknowledged before the sync.
    AckBeforeSync,
    /// A write under `os` is acknowledged before the kernel has it.
    AckBeforeHandOver,
    /// A node answers a write before the store has it for good.
    AnsweredBeforeKept,
    /// A master of blobs answers before its index has what it says for good.
    ObjectToldEarly,
    /// The directory is not synced after a table was made.
    TableNameUnsynced,
    /// The directory is not synced after a log segment was made.
    SegmentNameUnsynced,
    /// A table's contents are not synced.
    TableUnsynced,
    /// A table is published before the log is synced up to it.
    TableBeforeLog,
    /// An edit of the manifest is relied on before it is synced.
    EditUnsynced,
    /// `CURRENT` gets its name before its contents are synced.
    CurrentUnsynced,
    /// A compaction removes its inputs before the manifest names its outputs.
    InputsRemovedEarly,
    /// Log segments are released that some memtable still needs.
    SegmentsReleasedEarly,
    /// A tombstone is dropped although a level below holds the key.
    TombstoneDroppedEarly,
    /// Compaction drops versions that snapshots show.
    SnapshotIgnored,
    /// A filter is built on other keys than it is asked for.
    FilterOnWrongKeys,
    /// A filter is built on other prefixes than it is asked for.
    PrefixFilterOnWrongKeys,
    /// Closing does not sync.
    CloseUnsynced,
    /// What recovery read and could not prove durable is not made durable: a second crash takes it.
    RecoveredUnsynced,
    /// Sequence numbers that a recovered log holds are given out again.
    SeqnosReused,
    /// Dropping a keyspace is not recorded, so it comes back.
    DropUnrecorded,
    /// Files that a crash left are not removed.
    LeftoversKept,
    /// The log is cut at damage below what was proven durable.
    CutAtRot,
    /// The log's payloads are taken without their checksums.
    PayloadUnverified,
    /// Blocks of tables go into the cache without their checksums.
    BlockUnverified,
    /// A sync that failed is tried again and believed.
    SyncRetried,
    /// A write to the log that failed in its midst does not stop the writes after it.
    PartialWriteForgotten,
    /// A failed write of a table is taken for done.
    TableWriteUnchecked,
    /// An edit that found no room in its midst stays in the manifest, and others follow it.
    TornEditKept,
    /// A disk that was full once is not tried again.
    RoomNotTriedAgain,
    /// A write becomes visible before all of it is in the memtables.
    VisibleEarly,
    /// A value file's contents are not synced.
    ValuesUnsynced,
    /// A value file is taken for garbage although what points to it is only in memory.
    CollectedEarly,
    /// Values that stand apart are handed out without their checksums.
    ValueUnverified,
    /// The tables that replace a range are named one after the other.
    ReplacedHalf,
    /// A byte of a block changes between reading its entries and sealing it.
    CompactionByteFlipped,
    /// Log segments are released that hold appended records which nobody has covered.
    AppendedReleasedEarly,
    /// A compaction carries blocks as they are that hold keys of a deleted range.
    DeletedRangeCarried,
    /// A compaction carries one block more than no other input has keys in.
    TouchedBlockCarried,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Bug; 38] = [
        Bug::AckBeforeSync,
        Bug::AckBeforeHandOver,
        Bug::AnsweredBeforeKept,
        Bug::ObjectToldEarly,
        Bug::TableNameUnsynced,
        Bug::SegmentNameUnsynced,
        Bug::TableUnsynced,
        Bug::TableBeforeLog,
        Bug::EditUnsynced,
        Bug::CurrentUnsynced,
        Bug::InputsRemovedEarly,
        Bug::SegmentsReleasedEarly,
        Bug::TombstoneDroppedEarly,
        Bug::SnapshotIgnored,
        Bug::FilterOnWrongKeys,
        Bug::PrefixFilterOnWrongKeys,
        Bug::CloseUnsynced,
        Bug::RecoveredUnsynced,
        Bug::SeqnosReused,
        Bug::DropUnrecorded,
        Bug::LeftoversKept,
        Bug::CutAtRot,
        Bug::PayloadUnverified,
        Bug::BlockUnverified,
        Bug::SyncRetried,
        Bug::PartialWriteForgotten,
        Bug::TableWriteUnchecked,
        Bug::TornEditKept,
        Bug::RoomNotTriedAgain,
        Bug::VisibleEarly,
        Bug::ValuesUnsynced,
        Bug::CollectedEarly,
        Bug::ValueUnverified,
        Bug::ReplacedHalf,
        Bug::CompactionByteFlipped,
        Bug::AppendedReleasedEarly,
        Bug::DeletedRangeCarried,
        Bug::TouchedBlockCarried,
    ];
}

/// The active bug's place in `Bug::ALL` and one; 0 when there is none.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Whether `bug` is to be made here.
#[inline]
pub fn planted(bug: Bug) -> bool {
    cfg!(feature = "planted") && ACTIVE.load(Relaxed) == bug as usize + 1
}

/// Makes `bug` the active one, or none, in the whole process. False when no bug was built in.
pub fn plant(bug: Option<Bug>) -> bool {
    ACTIVE.store(bug.map_or(0, |bug| bug as usize + 1), Relaxed);
    cfg!(feature = "planted")
}
