//! The only way to the disk and to the clock.
//!
//! Everything above asks this crate for files, directories, time and sleep, so that a test can hand
//! it a disk that forgets, tears, fails or waits, and a clock that it moves by hand.
//!
//! What every implementation promises, and what it does not:
//!
//! 1. `write_at` hands the bytes over; only `File::sync` makes contents and length last through a
//!    power cut. Closing a file syncs nothing.
//! 2. `create`, `rename`, `hard_link` and `remove` last only after `sync_dir` of the directory concerned.
//! 3. After a failed `sync` nothing is known of the unsynced bytes; calling it again proves nothing.
//! 4. Reads see every write that returned before them, from any handle.

mod call;
mod clock;
mod crashing;
mod delaying;
mod failing;
mod file;
mod layer;
mod memory;
mod pages;
mod process;
mod random;
mod real;
mod recording;
mod tree;

pub use call::{Call, Kind};
pub use clock::{Clock, ManualClock};
pub use crashing::{CrashingVfs, Event, Phase, Survival};
pub use delaying::DelayingVfs;
pub use failing::{FailingVfs, Fault};
pub use file::{Entry, EntryKind, File, Guard, Lock, Open, Room, Vfs, make_dirs};
pub use memory::MemoryVfs;
pub use process::{
    Input, Interrupt, Interrupts, ProcessUse, begin_session, kill, limit_malloc_arenas, monotonic,
    open_files_max, process_use, resident_bytes, thread_cpu, user_id, yield_to_foreground,
    yield_to_smaller,
};
pub use random::Random;
pub use real::{Holder, Permissions, PidFile, RealClock, RealVfs, open_output, permissions};
pub use recording::RecordingVfs;

#[cfg(test)]
mod conformance;
