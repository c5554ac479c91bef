//! The `olivine` program as cargo builds it; what it does is the library's (`lib.rs`).
//!
//! 1. The exit code is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    olivine::run_program()
}
