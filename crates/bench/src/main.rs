//! `olivine-bench`: measures Olivine's engine, alone or beside its rivals.

mod olivine;

use std::process::ExitCode;

fn main() -> ExitCode {
    olivine_bench::main(&olivine::Olivine)
}
