//! The `net-engine` binary.

fn main() {}
