//! The main job in ten scenes, without root and without a network.
//!
//! An in-process guest with a TCP/IP stack of its own talks through the engine to real servers on
//! loopback. Every scene prints what it did and the evidence; the exit status says whether all held.

#![allow(clippy::disallowed_methods, reason = "a program owns its clock")]

mod guest;
mod loopback;
mod scenes;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before any thread: an empty network namespace has a loopback that is down.
    if let Err(error) = loopback::ensure() {
        eprintln!("demo: no loopback network here: {error:#}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: no runtime: {error}");
            return ExitCode::from(2);
        }
    };
    let tasks = tokio::task::LocalSet::new();
    match runtime.block_on(tasks.run_until(scenes::play())) {
        Ok(0) => {
            println!("\nAll scenes held.");
            ExitCode::SUCCESS
        }
        Ok(failed) => {
            println!("\n{failed} scene(s) failed.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::from(2)
        }
    }
}
