//! What the figures were taken on: without it they say nothing.

use std::fs;
use std::num::NonZero;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

/// Programs that figures depend on, and how each is asked for its version.
const PROGRAMS: &[(&str, &str)] = &[
    ("pasta", "--version"),
    ("slirp4netns", "--version"),
    ("iperf3", "--version"),
    ("dnsperf", "-h"),
    ("nginx", "-v"),
    ("h2load", "--version"),
    ("openssl", "version"),
    ("rustc", "--version"),
];

/// The machine and the programs on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// As it calls itself.
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: f64,
    /// Its release.
    pub(crate) kernel: String,
    pub(crate) congestion_control: String,
    /// What each says of its version; an absent one is not here.
    pub(crate) programs: Vec<String>,
}

impl Machine {
    /// Reads what the kernel and the programs say; what cannot be read is `unknown`.
    pub(crate) fn describe() -> Self {
        let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned());
        let unknown = || "unknown".to_owned();
        let value = |text: Option<String>| text.unwrap_or_else(unknown);
        let memory = field("/proc/meminfo", "MemTotal").and_then(|text| {
            let kib: f64 = text.split_whitespace().next()?.parse().ok()?;
            Some(kib / f64::from(1 << 20))
        });
        Self {
            processor: value(field("/proc/cpuinfo", "model name")),
            processors: thread::available_parallelism().map_or(1, NonZero::get),
            memory_gib: memory.unwrap_or_default(),
            kernel: value(read("/proc/sys/kernel/osrelease").ok()),
            congestion_control: value(read("/proc/sys/net/ipv4/tcp_congestion_control").ok()),
            programs: PROGRAMS.iter().filter_map(|(program, flag)| version(program, flag)).collect(),
        }
    }
}

/// What follows `name:` in a file of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Some say first what they are; some say nothing of it but their licence below.
    let mut first = said.lines().filter(|line| !line.trim().is_empty()).take(2);
    let line =
        first.clone().find(|line| line.bytes().any(|byte| byte.is_ascii_digit())).or_else(|| first.next());
    let line = line?.trim();
    Some(if line.contains(program) { line.to_owned() } else { format!("{program}: {line}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_what_it_is() {
        let machine = Machine::describe();
        assert!(machine.processors > 0);
        assert!(machine.memory_gib > 0.1, "{machine:?}");
        assert!(machine.kernel.contains('.'), "{machine:?}");
    }
}
