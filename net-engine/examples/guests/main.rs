//! A load for measuring many guests in one process: `cargo xtask bench engine --axes guests` runs it.
//!
//! The guests are on in-process links, upstream is on loopback. First all of them are attached and left
//! alone: what each takes to start, holds and wakes the workers for. Then one talks to upstream, alone and
//! beside one that sends datagrams as fast as its link takes them, both on one worker.

#![allow(clippy::disallowed_methods, reason = "a program owns its clock")]

#[allow(dead_code, reason = "other programs use more of it")]
#[path = "../cost/cable.rs"]
mod cable;
#[allow(dead_code, reason = "other programs use more of it")]
#[path = "../cost/guest.rs"]
mod guest;
mod house;
mod idle;
#[path = "../demo/loopback.rs"]
mod loopback;
mod neighbours;

use std::process::ExitCode;

use anyhow::Result;

const USAGE: &str = "\
Usage: guests idle <GUESTS> <WORKERS>
       guests neighbours

  idle        attaches GUESTS to WORKERS threads and leaves them alone for five seconds
  neighbours  round trips of a guest, alone and beside a noisy one on the same worker

Prints a line for each measure: its name, its unit, and its samples.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let measured = match words[..] {
        ["idle", guests, workers] => {
            guests.parse().ok().zip(workers.parse().ok()).map(|(guests, workers)| idle(guests, workers))
        }
        ["neighbours"] => Some(neighbours()),
        _ => None,
    };
    match measured {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("guests: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn idle(guests: usize, workers: usize) -> Result<()> {
    // Before any thread.
    loopback::ensure()?;
    let found = idle::measure(guests, workers)?;
    print("start", "µs", found.start_us);
    print("resident", "bytes", [found.resident_bytes]);
    print("wakeups", "/s", [found.wakeups_per_second]);
    Ok(())
}

fn neighbours() -> Result<()> {
    loopback::ensure()?;
    let found = neighbours::measure()?;
    print("alone", "µs", found.alone_us);
    print("beside", "µs", found.beside_us);
    print("noise", "datagrams/s", [found.noise_per_second]);
    Ok(())
}

fn print(name: &str, unit: &str, samples: impl IntoIterator<Item = f64>) {
    let samples: Vec<_> = samples.into_iter().map(|sample| format!("{sample:.1}")).collect();
    println!("{name} {unit} {}", samples.join(" "));
}
