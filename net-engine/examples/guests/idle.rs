//! Guests that do nothing.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::house::House;

/// After the last one has started.
const SETTLE: Duration = Duration::from_millis(500);

/// How long they are watched.
const WATCH: Duration = Duration::from_secs(5);

/// What the engine calls its threads.
const WORKER: &str = "net-engine-";

pub(crate) struct Idle {
    /// From the call that attaches a guest to its first answer, of each.
    pub(crate) start_us: Vec<f64>,
    /// What one more guest holds, its in-process link included.
    pub(crate) resident_bytes: f64,
    /// Of all workers together.
    pub(crate) wakeups_per_second: f64,
}

pub(crate) fn measure(guests: usize, workers: usize) -> Result<Idle> {
    let mut house = House::build(workers)?;
    // What is made once for all comes with the first one.
    let first = house.attach()?;
    let before = resident_bytes()?;
    let mut tenants = vec![first];
    let mut start_us = Vec::with_capacity(guests);
    for _ in 0..guests {
        let began = Instant::now();
        tenants.push(house.attach()?);
        start_us.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let resident_bytes = resident_bytes()?.saturating_sub(before) / guests.max(1);
    thread::sleep(SETTLE);
    let woken = wakeups()?;
    thread::sleep(WATCH);
    let wakeups = wakeups()?.saturating_sub(woken);
    drop(tenants);
    Ok(Idle {
        start_us,
        resident_bytes: resident_bytes as f64,
        wakeups_per_second: wakeups as f64 / WATCH.as_secs_f64(),
    })
}

/// Of the whole process.
fn resident_bytes() -> Result<usize> {
    let kib: usize = field(&fs::read_to_string("/proc/self/status")?, "VmRSS:")?;
    Ok(kib << 10)
}

/// How often workers have gone to sleep so far: as often as they were woken.
fn wakeups() -> Result<usize> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.starts_with(WORKER) {
            sum += field(&fs::read_to_string(path.join("status"))?, "voluntary_ctxt_switches:")?;
        }
    }
    Ok(sum)
}

fn field(status: &str, name: &str) -> Result<usize> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("the kernel says nothing of {name}"))
}
