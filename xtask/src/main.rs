//! Everything a developer runs: `cargo xtask <verb>`.
//!
//! One file a verb (`task_<verb>.rs`); the other files are the nouns the verbs share. Nothing is
//! installed globally: tools go to `target/tools`, fuzz builds to `target/fuzz`.

#![forbid(unsafe_code)]

mod bench_engine;
mod bench_report;
mod cost;
mod e2e;
mod figures;
mod layers;
mod load;
mod module_order;
mod nightly;
mod peers;
mod process;
mod programs;
mod python;
mod space;
mod steps;
mod task_bench;
mod task_ci;
mod task_cost;
mod task_demo;
mod task_deny;
mod task_doc;
mod task_e2e;
mod task_fuzz;
mod task_layers;
mod task_limits;
mod task_load;
mod task_test;
mod tool;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Everything a developer runs.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:\n  cargo xtask demo            see the engine work, without root or network\n  \
                  cargo xtask test            everything a change must pass\n  \
                  cargo xtask test net-sni    the same for one crate\n  \
                  cargo xtask bench net-sni   figures, and ratios to the peers\n  \
                  cargo xtask bench engine    the whole engine beside pasta and slirp4netns\n  \
                  cargo xtask cost            instructions, allocations and system calls, counted"
)]
struct Xtask {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Test(task_test::Test),
    Demo(task_demo::Demo),
    E2e(task_e2e::E2e),
    Bench(task_bench::Bench),
    Cost(task_cost::Cost),
    Fuzz(task_fuzz::Fuzz),
    Layers(task_layers::Layers),
    Limits(task_limits::LimitsTable),
    Deny(task_deny::Deny),
    Doc(task_doc::Doc),
    Ci(task_ci::Ci),
    #[command(hide = true)]
    Load(task_load::Load),
}

fn main() -> ExitCode {
    let verb = Xtask::parse().verb;
    let done = if let Verb::Load(verb) = verb {
        // It runs where there is no cargo to ask, and no time to.
        verb.run()
    } else {
        Workspace::load().and_then(|workspace| run(verb, &workspace))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb, workspace: &Workspace) -> Result<()> {
    match verb {
        Verb::Test(verb) => verb.run(workspace),
        Verb::Demo(verb) => verb.run(workspace),
        Verb::E2e(verb) => verb.run(workspace),
        Verb::Bench(verb) => verb.run(workspace),
        Verb::Cost(verb) => verb.run(workspace),
        Verb::Fuzz(verb) => verb.run(workspace),
        Verb::Layers(verb) => verb.run(workspace),
        Verb::Limits(verb) => verb.run(workspace),
        Verb::Deny(verb) => verb.run(workspace),
        Verb::Doc(verb) => verb.run(workspace),
        Verb::Ci(verb) => verb.run(workspace),
        Verb::Load(verb) => verb.run(),
    }
}
