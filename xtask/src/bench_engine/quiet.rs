//! The machine's own state: wait for it to be quiet, keep it awake.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bench_engine::network::{LOAD, Network};

/// The share of CPU time that other work may take.
const QUIET: f64 = 0.10;

const WINDOW: Duration = Duration::from_millis(200);

/// After that a sample is taken anyway.
const PATIENCE: Duration = Duration::from_secs(4);

/// Waits until the machine is quiet; whether it was in the end.
pub(crate) fn wait() -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = Times::now()?;
    loop {
        thread::sleep(WINDOW);
        let after = Times::now()?;
        if after.busy_share_since(before) < QUIET {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        before = after;
    }
}

/// Clock ticks of all CPUs since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    busy: u64,
    all: u64,
}

impl Times {
    fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?).context("/proc/stat has an unexpected form")
    }

    /// proc_stat(5): `cpu user nice system idle iowait irq softirq steal guest guest_nice`, guests'
    /// time being part of user time.
    fn parse(text: &str) -> Option<Self> {
        let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> =
            fields.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let all = ticks.iter().sum();
        Some(Self { busy: all - ticks.get(3)? - ticks.get(4)?, all })
    }

    fn busy_share_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

/// Keeps every CPU from sleeping, at a priority below everything else; ends when dropped.
pub(crate) struct Awake(Vec<Child>);

impl Awake {
    pub(crate) fn new(network: &Network) -> Result<Self> {
        let cpus = thread::available_parallelism()?.get();
        let mut awake = Self(Vec::new());
        for cpu in 0..cpus {
            let mut command = network.host.command("chrt");
            command.args(["--idle", "0", "taskset", "--cpu-list", &cpu.to_string(), LOAD, "load", "spin"]);
            awake.0.push(command.stdin(Stdio::null()).spawn()?);
        }
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        let before = Times::parse("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1 1 1\n").expect("it is a line");
        assert_eq!(before, Times { busy: 20, all: 100 });
        let after = Times::parse("cpu  20 0 10 150 20 0 0 0 9 9\n").expect("it is a line");
        assert!((after.busy_share_since(before) - 0.1).abs() < 1e-9);
        assert_eq!(Times::parse("cpu0 1 2 3"), None);
    }
}
