//! The `flowgate` program.
fn main() {}
