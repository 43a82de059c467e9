//! Many guests in one process: `net-engine/examples/guests`, which needs no network.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench_engine::quiet;
use crate::bench_engine::samples::{Measure, Samples, Unit};
use crate::bench_engine::system::System;
use crate::load::quantile;
use crate::process;
use crate::workspace::Workspace;

/// How many are attached, and to how many workers.
const HOUSES: [(usize, usize); 3] = [(1, 1), (10, 2), (100, 2)];

/// Takes all samples of a round. A failure is remarked.
pub(super) fn measure(workspace: &Workspace, round: usize, samples: &mut Samples) {
    if let Err(error) = attempt(workspace, samples) {
        let remark = format!("{round} guests: {error:#}");
        eprintln!("{remark}");
        samples.remarks.push(remark);
    }
}

fn attempt(workspace: &Workspace, samples: &mut Samples) -> Result<()> {
    let args = ["build", "--quiet", "--release", "-p", "net-engine", "--example", "guests"];
    process::run(workspace.cargo().args(args))?;
    let program = workspace.target.join("release/examples/guests");
    for (guests, workers) in HOUSES {
        if !quiet::wait()? {
            samples.disturbed += 1;
        }
        let said = run(&program, &["idle", &guests.to_string(), &workers.to_string()])?;
        let mut add = |name: &str, unit: Unit, value: f64| {
            add(samples, &format!("guests/{guests}/{name}"), unit, value)
        };
        add("start", Unit::Us, said.quantile("start", 0.5)?);
        add("start_max", Unit::Us, said.quantile("start", 1.0)?);
        add("memory", Unit::Bytes, said.quantile("resident", 0.5)?);
        add("wakeups", Unit::WakeupsPerS, said.quantile("wakeups", 0.5)?);
    }
    if !quiet::wait()? {
        samples.disturbed += 1;
    }
    let said = run(&program, &["neighbours"])?;
    for (rank, name) in [(0.5, "p50"), (0.99, "p99")] {
        let (alone, beside) = (said.quantile("alone", rank)?, said.quantile("beside", rank)?);
        add(samples, &format!("neighbour/alone_{name}"), Unit::Us, alone);
        add(samples, &format!("neighbour/beside_{name}"), Unit::Us, beside);
        add(samples, &format!("neighbour/{name}"), Unit::Times, beside / alone);
    }
    add(samples, "neighbour/noise", Unit::PerS, said.quantile("noise", 0.5)?);
    Ok(())
}

fn add(samples: &mut Samples, id: &str, unit: Unit, value: f64) {
    eprintln!("{id} {value:.3} {}", unit.label());
    samples.add(Measure::Whole(id.to_owned()), System::Ours1500, unit, value);
}

fn run(program: &Path, args: &[&str]) -> Result<Said> {
    process::output(Command::new(program).args(args)).map(Said)
}

/// What the program printed: lines of a name, a unit, and samples.
struct Said(String);

impl Said {
    fn quantile(&self, name: &str, rank: f64) -> Result<f64> {
        let samples = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let Some(samples) = samples else { bail!("nothing was said of `{name}`") };
        let values: Vec<f64> = samples
            .split(' ')
            .skip(1)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| samples.to_owned())?;
        quantile(&values, rank).with_context(|| format!("`{name}` has no sample"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_name() {
        let said = Said("start µs 1.0 3.0 2.0\nstart_late µs 9.0\nempty /s\n".to_owned());
        assert_eq!(said.quantile("start", 1.0).expect("it is there"), 3.0);
        for name in ["empty", "late", "st"] {
            assert!(said.quantile(name, 0.5).is_err(), "{name}");
        }
    }
}
