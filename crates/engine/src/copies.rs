//! Copies of a store: checkpoints, backups, and what is brought back from them.
//!
//! ```text
//! store ─▶ moment ─▶ checkpoint: a store of its own, sharing tables by hard links
//!                 ├▶ backup: one set more in a directory of backups ─▶ restored: a store again
//!                 └▶ lent: read file by file ─▶ received: such a set, made elsewhere
//! ```
//!
//! 1. A copy shows the store at one moment, whatever is written, flushed or compacted meanwhile.
//! 2. Making one changes nothing in the store, and waits for nobody but, for microseconds, the commit lock.
//! 3. A copy is there whole, durably, under its name, or not at all.
//! 4. What a failed or crashed copy leaves has a name that the next one sweeps.

mod moment;

mod draft;
mod file;

mod lent;

mod backup;
mod checkpoint;

pub use backup::{
    BackupInfo, Backups, Damage, Lender, Offer, Offered, OnPiece, OnProgress, Progress, Pruned,
    Verified,
};
pub use checkpoint::Checkpoint;
pub use lent::{Loan, Piece};
