//! The program, and how it runs under what counts.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::callgrind::Counts;
use super::figure::Scenario;
use super::strace::Calls;
use crate::workspace::Workspace;
use crate::{process, programs};

/// Callgrind numbers threads as they are made; the program makes one, the worker.
const WORKER_SUFFIX: &str = "-02";

/// Runs under strace, of which the median counts: a timer that fires is a call.
const STRACE_RUNS: usize = 3;

/// The C library's copying without what only some processors have: what it takes is the machine's
/// choice, and callgrind counts `rep movsb` byte by byte.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

/// Whether valgrind and strace work here; why not, where they do not.
pub(crate) fn tools() -> Result<(Result<(), String>, Result<(), String>)> {
    let missing = programs::ensure(programs::COST)?;
    let probe = |program: &str, args: &[&str]| {
        if let Some((_, package)) = missing.iter().find(|(absent, _)| *absent == program) {
            return Err(format!("`{program}` is missing (Debian package {package})"));
        }
        let output = Command::new(program).args(args).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("`{program}` does not work here ({})", said.lines().next().unwrap_or_default()))
            }
            Err(error) => Err(format!("`{program}` cannot be started ({error})")),
        }
    };
    let valgrind = probe("valgrind", &["--tool=none", "--quiet", "true"]);
    let strace = probe("strace", &["-f", "-o", "/dev/null", "true"]);
    Ok((valgrind, strace))
}

/// The program, built.
pub(crate) struct Program {
    path: PathBuf,
    /// Where the tools write.
    dir: PathBuf,
}

impl Program {
    /// Builds it as a release is built.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        let args = ["build", "--quiet", "--release", "-p", "net-engine", "--example", "cost"];
        process::run(workspace.cargo().args(args))?;
        let dir = workspace.target.join("cost");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { path: workspace.target.join("release/examples/cost"), dir })
    }

    /// The worker's instructions and allocations.
    pub(crate) fn callgrind(&self, scenario: Scenario, count: u32) -> Result<Counts> {
        let profile = self.dir.join("callgrind.out");
        let worker = self.dir.join(format!("callgrind.out{WORKER_SUFFIX}"));
        remove(&worker)?;
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=callgrind", "--separate-threads=yes"]);
        valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
        self.run(valgrind, scenario, count)?;
        let text =
            fs::read_to_string(&worker).with_context(|| format!("cannot read {}", worker.display()))?;
        Counts::parse(&text).with_context(|| format!("{} has an unexpected form", worker.display()))
    }

    /// The worker's system calls: of several runs, the one in the middle.
    pub(crate) fn strace(&self, scenario: Scenario, count: u32) -> Result<Calls> {
        let mut runs =
            (0..STRACE_RUNS).map(|_| self.strace_once(scenario, count)).collect::<Result<Vec<_>>>()?;
        runs.sort_by_key(Calls::total);
        Ok(runs.swap_remove(STRACE_RUNS / 2))
    }

    fn strace_once(&self, scenario: Scenario, count: u32) -> Result<Calls> {
        let log = self.dir.join("strace.log");
        remove(&log)?;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-s", "0", "-o"]).arg(&log);
        let worker = self.run(strace, scenario, count)?;
        // Bytes of addresses may be anything; names of calls are ASCII.
        let bytes = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let calls = Calls::parse(&String::from_utf8_lossy(&bytes), worker);
        if calls.total() == 0 {
            bail!("{} has no call of thread {worker}", log.display());
        }
        Ok(calls)
    }

    /// Runs the program under `tool`; the worker's thread id.
    fn run(&self, mut tool: Command, scenario: Scenario, count: u32) -> Result<u32> {
        tool.arg(&self.path).args([scenario.name(), &count.to_string()]);
        tool.env("GLIBC_TUNABLES", TUNABLES).stdin(Stdio::null());
        let said = process::output(&mut tool)?;
        let id = said.lines().find_map(|line| line.strip_prefix("worker ")?.parse().ok());
        id.context("the program did not say which thread is the worker")
    }
}

/// A file of an earlier run is not mistaken for one of this.
fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
