//! The `olivine` program.
fn main() {}
