//! The `net-engine` binary, behind feature `cli`.

mod args;
mod authority;
mod authority_store;
mod ca;
mod check;
mod config;
mod confine;
mod environment;
mod explain;
mod held_secrets;
mod host_ports;
mod key_log;
mod limits;
mod own_directory;
mod plan;
mod ports;
mod proxies;
mod publish;
mod refresher;
mod renewal;
mod report;
mod resolver;
mod run;
mod sandbox;
mod seccomp;
mod secret_action;
mod secret_places;
mod secret_settings;
mod shaping;
mod sources;
mod trust;
mod upstreams;
mod watch;
mod wiped_variables;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Args, Command};

/// Runs the binary: parses the command line and does what it says.
///
/// Call it from `main`, before anything has started a thread.
pub fn main() -> ExitCode {
    let Args { command } = match Args::try_parse() {
        Ok(args) => args,
        Err(error)
            if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            let text = error.to_string();
            // One line: what is wrong, and what about; usage and tips are in the help.
            let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let line = lines.join(" ");
            eprintln!("net-engine: {} (see --help)", line.trim_start_matches("error: "));
            return ExitCode::from(2);
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    let outcome = match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Ca { command } => ca::ca(&command),
    };
    match outcome {
        Ok(status) => status,
        Err(error) => {
            eprintln!("net-engine: {error:#}");
            ExitCode::from(2)
        }
    }
}
