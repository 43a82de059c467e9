//! What the engine's data path costs, counted instead of timed.
//!
//! A small program (`net-engine/examples/cost`) puts a load on an engine, one thread at a time, so that
//! every run does the same work. It runs at two counts (`program`) and what one more unit costs is
//! the difference. Valgrind counts the worker thread's instructions and calls of the allocator
//! (`callgrind`), strace its system calls (`strace`); the figures are held against those of the
//! repository (`committed`).

mod callgrind;
mod committed;
mod figure;
mod program;
mod strace;

use std::fs;

use anyhow::{Context, Result, bail};

use self::committed::{Committed, Toolchain};
use self::figure::{Figure, Measure, Scenario};
use self::program::Program;
use crate::steps::Remarks;
use crate::workspace::Workspace;

/// Counts everything that can be counted here, prints it, and holds it against what is committed, or
/// commits it.
///
/// # Errors
/// When a figure lies outside the band, or, to be committed, is missing.
pub(crate) fn compare(workspace: &Workspace, accept: bool) -> Result<Compared> {
    let (figures, missing) = count(workspace)?;
    let toolchain = Toolchain::here()?;
    let path = workspace.root.join(committed::PATH);
    let committed = match fs::read_to_string(&path) {
        Ok(text) => Committed::parse(&text).with_context(|| format!("cannot read {}", path.display()))?,
        Err(error) if accept && error.kind() == std::io::ErrorKind::NotFound => Committed::default(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let verdicts: Vec<_> = figures.iter().map(|figure| (figure, committed.judge(*figure))).collect();
    for (_, verdict) in &verdicts {
        println!("{verdict}");
    }
    if accept {
        if !missing.is_empty() {
            bail!("nothing is accepted while something is missing:\n  {}", missing.join("\n  "));
        }
        fs::write(&path, Committed::of(toolchain, &figures).to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        let accepted = format!("accepted: {} holds these figures now", committed::PATH);
        return Ok(Compared { missing: Remarks::new(), differing: vec![accepted] });
    }
    let differs = committed.toolchain.difference(&toolchain);
    let mut differing = Remarks::new();
    let mut failed = Vec::new();
    for (figure, verdict) in verdicts.iter().filter(|(_, verdict)| !verdict.holds()) {
        match &differs {
            // The compiler and the C library write the instructions; we write the calls.
            Some(differs) if figure.measure == Measure::Instructions => {
                differing.push(format!("not a failure, for {differs}: {verdict}"));
            }
            Some(_) | None => failed.push(verdict.to_string()),
        }
    }
    if !failed.is_empty() {
        let held = format!("{} of {} figures left the band", failed.len(), figures.len());
        let how =
            "Where the new cost is meant, or is the better one: `cargo xtask cost --accept`, and say why.";
        let lines: Vec<_> = failed.into_iter().chain(missing).chain(differing).collect();
        bail!("{held}:\n  {}\n{how}", lines.join("\n  "));
    }
    Ok(Compared { missing, differing })
}

/// What there is to say where no figure has left the band.
pub(crate) struct Compared {
    /// What was not counted, and why.
    pub(crate) missing: Remarks,
    /// What another toolchain counts otherwise.
    pub(crate) differing: Remarks,
}

impl Compared {
    /// All of it.
    ///
    /// # Errors
    /// When something was not counted that is `required`.
    pub(crate) fn remarks(self, required: bool) -> Result<Remarks> {
        if required && !self.missing.is_empty() {
            bail!("not everything could be counted:\n  {}", self.missing.join("\n  "));
        }
        Ok([self.missing, self.differing].concat())
    }
}

/// The figures, and what could not be counted and why.
fn count(workspace: &Workspace) -> Result<(Vec<Figure>, Remarks)> {
    let mut missing = Remarks::new();
    let (valgrind, strace) = program::tools()?;
    let mut usable = |what: &str, tool: Result<(), String>| match tool {
        Ok(()) => true,
        Err(why) => {
            missing.push(format!("{what} were NOT counted: {why}"));
            false
        }
    };
    let with_valgrind = usable("instructions and allocations", valgrind);
    let with_strace = usable("system calls", strace);
    if !with_valgrind && !with_strace {
        return Ok((Vec::new(), missing));
    }
    let program = Program::build(workspace)?;
    let mut figures = Vec::new();
    for scenario in Scenario::ALL {
        if with_valgrind {
            let (few, many) = scenario.counts();
            let few = program.callgrind(scenario, few)?;
            let many = program.callgrind(scenario, many)?;
            figures.push(scenario.figure(Measure::Instructions, few.instructions, many.instructions));
            figures.push(scenario.figure(Measure::Allocations, few.allocations, many.allocations));
        }
        if with_strace {
            let (few, many) = scenario.counts();
            let few = program.strace(scenario, few)?;
            let many = program.strace(scenario, many)?;
            figures.push(scenario.figure(Measure::Syscalls, few.total(), many.total()));
            let by_name: Vec<_> =
                many.names().map(|name| (name, scenario.per_unit(few.of(name), many.of(name)))).collect();
            let often = by_name.iter().filter(|(_, count)| *count >= 0.05);
            let words: Vec<_> = often.map(|(name, count)| format!("{name} {count:.2}")).collect();
            println!("calls cost/{} {}", scenario.name(), words.join(", "));
        }
    }
    Ok((figures, missing))
}
