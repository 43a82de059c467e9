//! Running a command to its end, or to its deadline.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How a command ended and what it printed.
pub(crate) struct Finished {
    /// The exit status, as a shell gives it: 128 and the signal, if one ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    /// It had to be ended.
    pub(crate) timed_out: bool,
    /// By how much the engine's resident memory has grown at most since the guest made its mark.
    pub(crate) growth_kib: Option<u64>,
}

/// Runs `command` in a process group of its own, its output in files next to `log`; ends the
/// group at the deadline. The memory of the engine in it is watched from when `mark` is there on.
pub(crate) fn to_the_end(
    command: &mut Command,
    log: &Path,
    deadline: Duration,
    mark: &Path,
) -> Result<Finished> {
    let (out, err) = (log.with_extension("stdout"), log.with_extension("stderr"));
    // Files, because a process left behind would keep a pipe open.
    command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
    let began = Instant::now();
    let mut child = command.process_group(0).spawn().context("cannot start a test's command")?;
    let mut timed_out = false;
    let mut memory: Option<Growth> = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > deadline && !timed_out {
            timed_out = true;
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            let _ = child.kill();
        }
        match &mut memory {
            Some(growth) => growth.sample(),
            None if mark.exists() => memory = Growth::begin(child.id()),
            None => {}
        }
        thread::sleep(Duration::from_millis(10));
    };
    let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Finished {
        code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)),
        stdout: text(&out)?,
        stderr: text(&err)?,
        took: began.elapsed(),
        timed_out,
        growth_kib: memory.map(|growth| growth.most_kib.saturating_sub(growth.first_kib)),
    })
}

/// The resident memory of an engine over time.
struct Growth {
    /// The process's status file.
    status: PathBuf,
    first_kib: u64,
    most_kib: u64,
}

impl Growth {
    /// Finds the engine in a process group: its largest process.
    fn begin(group: u32) -> Option<Self> {
        let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let engines = processes.filter(|process| {
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            // pid (comm) state ppid pgrp
            let of_group = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2));
            stat.contains("(net-engine)") && of_group == Some(&group.to_string())
        });
        let engines = engines.map(|process| process.join("status"));
        let (first_kib, status) =
            engines.filter_map(|status| Some((resident_kib(&status)?, status))).max()?;
        Some(Self { status, first_kib, most_kib: first_kib })
    }

    fn sample(&mut self) {
        self.most_kib = self.most_kib.max(resident_kib(&self.status).unwrap_or_default());
    }
}

fn resident_kib(status: &Path) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_by_itself_by_a_signal_or_at_its_deadline() {
        let log = std::env::temp_dir().join(format!("net-e2e-run-{}", std::process::id()));
        let run = |script: &str, deadline| {
            let mut shell = Command::new("sh");
            to_the_end(shell.args(["-c", script]), &log, deadline, Path::new("/nowhere")).expect("sh runs")
        };
        let ended = run("echo out; echo err >&2; exit 7", Duration::from_secs(30));
        assert_eq!((ended.code, ended.timed_out), (Some(7), false));
        assert_eq!((&*ended.stdout, &*ended.stderr), ("out\n", "err\n"));
        assert_eq!(run("kill -TERM $$", Duration::from_secs(30)).code, Some(143));
        let stuck = run("sleep 60 & wait", Duration::from_millis(200));
        assert!(stuck.timed_out && stuck.took < Duration::from_secs(30));
        for extension in ["stdout", "stderr"] {
            let _ = fs::remove_file(log.with_extension(extension));
        }
    }
}
