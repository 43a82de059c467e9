//! The `net-engine` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    net_engine::cli::main()
}
