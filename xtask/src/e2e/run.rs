//! Running a command to its end, or to its deadline.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
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
}

/// Runs `command` in a process group of its own, its output in files next to `log`; ends the
/// group at the deadline.
pub(crate) fn to_the_end(command: &mut Command, log: &Path, deadline: Duration) -> Result<Finished> {
    let (out, err) = (log.with_extension("stdout"), log.with_extension("stderr"));
    // Files, because a process left behind would keep a pipe open.
    command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
    let began = Instant::now();
    let mut child = command.process_group(0).spawn().context("cannot start a test's command")?;
    let mut timed_out = false;
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
        thread::sleep(Duration::from_millis(10));
    };
    let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Finished {
        code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)),
        stdout: text(&out)?,
        stderr: text(&err)?,
        took: began.elapsed(),
        timed_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_by_itself_by_a_signal_or_at_its_deadline() {
        let log = std::env::temp_dir().join(format!("net-e2e-run-{}", std::process::id()));
        let run = |script: &str, deadline| {
            let mut shell = Command::new("sh");
            to_the_end(shell.args(["-c", script]), &log, deadline).expect("sh runs")
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
