//! Breaks the engine on purpose, and says what it must hold all the same.
//!
//! Scripts, histories drawn from seeds, an oracle that lives outside the store, and the tiers of
//! reliability that bring them together: `crash`, `faults`, `full`, `rot`, `kill`, `served`, `blobs`,
//! `memory`, `schedules`, `fuzz`. The program `reliability`
//! runs the tiers; `reliability --help` shows how. `planted` runs them against bugs made on purpose.
//!
//! 1. Every failure names the seed that repeats it.
//! 2. What the tiers would overlook proves nothing, so each has tests that show it wrong stores.

pub mod blobs;
pub mod caught;
pub mod crash;
pub mod drive;
pub mod faults;
pub mod full;
pub mod fuzz;
pub mod history;
pub mod kill;
pub mod live;
pub mod lying;
pub mod memory;
pub mod oracle;
pub mod planted;
pub mod report;
pub mod rot;
pub mod schedules;
pub mod script;
pub mod served;
pub mod settings;
pub mod shrink;

pub use history::{Gen, Op};
pub use live::reads_like_a_map;
pub use oracle::CommitLog;
pub use script::run_script;
