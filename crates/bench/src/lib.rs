//! Benchmarks of stores, side by side: the workloads, the processes they run in, and the table.
//!
//! A measurement is only worth something beside another one made in the same minutes on the same
//! disk, so everything here is written against `Store`, and every engine is a program that links
//! this library and hands over its own stores: `olivine-bench` for Olivine, `crates/rivals` for the
//! others. The parent (`run`) starts one child process for each engine and stage in a directory of
//! its own, engines in turns, and prints one table at the end.
//!
//! 1. All engines get the same keys, values, order of operations, memory and durability.
//! 2. A figure is never printed without its spread over the rounds.
//! 3. A workload that reads checks what it reads; a wrong answer ends the run.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark measures from outside: it has the real clock and disk, and prints"
)]

mod acks;
mod args;
mod bars;
mod blobs;
mod chains;
mod chart;
mod child;
mod chunks;
mod drive;
mod estimate;
mod histogram;
mod keys;
mod machine;
mod report;
mod resources;
mod row;
mod run;
mod series;
mod server;
mod shapes;
mod stages;
mod store;
mod workloads;

pub use child::child_main;
pub use run::main;
pub use store::{Durability, Facts, Failure, Result, Settings, Sorted, Store, Stores};
