//! The `net-engine` binary.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: net_engine::WipingAllocator = net_engine::WipingAllocator;

fn main() -> ExitCode {
    net_engine::cli::main()
}
