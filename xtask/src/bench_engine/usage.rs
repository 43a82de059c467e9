//! What the kernel knows of a running system.

use std::collections::BTreeMap;
use std::fs;
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::unistd::{SysconfVar, sysconf};

/// A process as `/proc/<pid>/stat` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    command: String,
    parent: u32,
    /// User and system time of all its threads, in clock ticks.
    ticks: u64,
}

/// What a system holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory, from the process's own status.
    pub(crate) rss_kib: f64,
    /// Resident memory, what is shared divided by who shares it; where we may read it.
    pub(crate) pss_kib: Option<f64>,
    pub(crate) descriptors: Option<usize>,
}

/// What process `pid` holds.
pub(crate) fn of(pid: u32) -> Result<Usage> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let status = read("status").context("the system's process is gone")?;
    Ok(Usage {
        rss_kib: kib(&status, "VmRSS:").context("a process without memory")?,
        pss_kib: read("smaps_rollup").ok().and_then(|rollup| kib(&rollup, "Pss:")),
        descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count),
    })
}

/// The CPU time that process `pid` and its descendants have used, those below a process called
/// `apart` left out.
pub(crate) fn cpu_time(pid: u32, apart: &str) -> Result<Duration> {
    let processes = processes()?;
    let ticks: u64 = family(&processes, pid, apart).iter().map(|stat| stat.ticks).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The process called `command` among `pid` and its descendants.
pub(crate) fn find(pid: u32, command: &str) -> Result<Option<u32>> {
    let processes = processes()?;
    Ok(processes
        .iter()
        .find(|(other, stat)| stat.command == command && is_below(&processes, **other, pid))
        .map(|(other, _)| *other))
}

fn processes() -> Result<BTreeMap<u32, Stat>> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is no part of the picture.
        let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        processes.insert(pid, parse_stat(&line).ok_or_else(|| anyhow!("unexpected stat: {line}"))?);
    }
    Ok(processes)
}

fn family<'p>(processes: &'p BTreeMap<u32, Stat>, pid: u32, apart: &str) -> Vec<&'p Stat> {
    let mut family = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        let Some(stat) = processes.get(&pid).filter(|stat| stat.command != apart) else { continue };
        family.push(stat);
        open.extend(processes.iter().filter(|(_, child)| child.parent == pid).map(|(child, _)| *child));
    }
    family
}

fn is_below(processes: &BTreeMap<u32, Stat>, pid: u32, ancestor: u32) -> bool {
    let mut at = pid;
    // Its own process is above this one's children: the walk ends there at the latest.
    while at != process::id() {
        if at == ancestor {
            return true;
        }
        match processes.get(&at) {
            Some(stat) if stat.parent != at && stat.parent != 0 => at = stat.parent,
            _ => return false,
        }
    }
    false
}

/// proc_pid_stat(5): the name stands in parentheses and may hold any byte, those included.
fn parse_stat(line: &str) -> Option<Stat> {
    let (head, tail) = line.rsplit_once(") ")?;
    let (_, command) = head.split_once(" (")?;
    // From the third field on: state, parent, …; user and system time are fields 14 and 15.
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        command: command.to_owned(),
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)?,
    })
}

/// The value of a line `key   123 kB`.
fn kib(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 41 42 42 0 -1 4194560 1 0 0 0 7 5 100 200 20 0 3 0 12345 1 2";

    #[test]
    fn stat_is_read_whatever_the_name() {
        for name in ["net-engine", "a b", "odd) name", "(", ") S 1"] {
            let stat = parse_stat(&format!("42 ({name}) {TAIL}")).expect(name);
            assert_eq!(stat, Stat { command: name.to_owned(), parent: 41, ticks: 12 }, "{name}");
        }
        for line in ["", "42 (cut) S 41", "42 (no number) S x 42 42 0 -1 0 1 0 0 0 7 5"] {
            assert_eq!(parse_stat(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_status_has_a_key_and_a_number() {
        let text = "VmPeak:\t 900 kB\nVmRSS:\t  123 kB\n";
        assert_eq!(kib(text, "VmRSS:"), Some(123.0));
        assert_eq!(kib(text, "Pss:"), None);
    }

    #[test]
    fn a_family_is_the_descendants_without_the_agent() {
        let stat = |command: &str, parent, ticks| Stat { command: command.to_owned(), parent, ticks };
        let processes = BTreeMap::from([
            (10, stat("net-engine", 1, 1)),
            (11, stat("net-engine", 10, 2)),
            (12, stat("load", 11, 4)),
            (13, stat("child", 12, 8)),
            (14, stat("other", 1, 16)),
        ]);
        let ticks: u64 = family(&processes, 10, "load").iter().map(|stat| stat.ticks).sum();
        assert_eq!(ticks, 3);
        assert!(is_below(&processes, 12, 10) && !is_below(&processes, 14, 10));
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = of(process::id()).expect("it runs");
        assert!(own.rss_kib > 0.0 && own.descriptors.is_some_and(|count| count > 2));
        cpu_time(process::id(), "load").expect("it runs");
    }
}
