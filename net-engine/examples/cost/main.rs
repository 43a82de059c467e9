//! A load for counting what the engine's data path costs: `cargo xtask cost` runs it.
//!
//! One engine with one worker thread; guest and upstream are on the main thread. One thread acts at a
//! time: the main thread goes on only when the worker has nothing left to do (`worker`), and the
//! worker sees what the guest sends all at once (`cable`). What the worker is asked to do, and in
//! which portions, thus does not depend on the machine, and neither do the counts. Past the first
//! few rounds the main thread allocates nothing.

#![allow(clippy::disallowed_methods, reason = "a program owns its clock")]

mod cable;
mod guest;
#[path = "../demo/loopback.rs"]
mod loopback;
mod scenario;
mod worker;

use std::process::ExitCode;

use anyhow::Result;

use crate::scenario::{Scenario, Stage};

const USAGE: &str = "\
Usage: cost <up|down|flows|packets|datagrams> <COUNT>

  up         COUNT MiB from the guest to upstream, on one connection
  down       COUNT MiB from upstream to the guest, on one connection
  flows      COUNT connections, each a request of 1 byte and a response of 1 KiB
  packets    COUNT requests of 64 bytes and their responses, on one connection
  datagrams  COUNT datagrams of 1,200 bytes and their answers, between two ports

Prints `worker <thread id>`. A part of the work comes before COUNT starts, whatever COUNT is: measure
two counts and take the difference.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let order = match words[..] {
        [scenario, count] => Scenario::parse(scenario).zip(count.parse().ok()),
        _ => None,
    };
    let Some((scenario, count)) = order else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match play(scenario, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(scenario: Scenario, count: usize) -> Result<()> {
    // Before any thread.
    loopback::ensure()?;
    let mut stage = Stage::build()?;
    println!("worker {}", stage.worker_id());
    stage.play(scenario, count)
}
