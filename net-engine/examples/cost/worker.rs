//! The engine's thread as the kernel knows it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// What a worker waits in when it has nothing left to do.
#[cfg(target_arch = "x86_64")]
const WAIT: nix::libc::c_long = nix::libc::SYS_epoll_wait;
#[cfg(not(target_arch = "x86_64"))]
const WAIT: nix::libc::c_long = nix::libc::SYS_epoll_pwait;

/// The name the engine gives its first thread.
const NAME: &str = "net-engine-0";

/// Between two looks; under valgrind it is also what gives the worker its turn.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Longer than any round takes under valgrind on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one worker thread.
pub(crate) struct Worker {
    id: u32,
    /// Its state, third word.
    stat: File,
    /// The system call it is in, by number, first word; `running` outside one.
    syscall: File,
}

impl Worker {
    /// Finds it; it is the only thread besides the caller's.
    pub(crate) fn find() -> Result<Self> {
        let mut found = None;
        let mut others = 0;
        for entry in fs::read_dir("/proc/self/task")? {
            let path = entry?.path();
            if comm(&path)? == NAME {
                found = Some(path);
            } else {
                others += 1;
            }
        }
        let path = found.with_context(|| format!("there is no thread {NAME}"))?;
        if others != 1 {
            bail!("{others} threads besides the worker");
        }
        let id = path.file_name().and_then(|name| name.to_str()).context("a thread without an id")?;
        let open = |name: &str| {
            let path = path.join(name);
            File::open(&path).with_context(|| format!("cannot open {}", path.display()))
        };
        Ok(Self { id: id.parse()?, stat: open("stat")?, syscall: open("syscall")? })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the worker waits for something to happen. Whatever the caller did before (a frame,
    /// bytes on loopback) has woken it by now: the kernel does both in one go.
    pub(crate) fn rest(&self) -> Result<()> {
        let began = Instant::now();
        while !self.is_resting()? {
            if began.elapsed() > PATIENCE {
                bail!("the worker did not come to rest");
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn is_resting(&self) -> Result<bool> {
        // A tracer stops it at both ends of a call: only asleep inside is at rest.
        Ok(self.is_asleep()? && self.is_waiting()? && self.is_asleep()?)
    }

    fn is_asleep(&self) -> Result<bool> {
        let mut buffer = [0; 512];
        let len = self.stat.read_at(&mut buffer, 0)?;
        let after_name = buffer[..len].rsplit(|byte| *byte == b')').next();
        Ok(after_name.is_some_and(|rest| rest.starts_with(b" S ")))
    }

    fn is_waiting(&self) -> Result<bool> {
        let mut buffer = [0; 256];
        let len = self.syscall.read_at(&mut buffer, 0)?;
        let number =
            buffer[..len].split(|byte| *byte == b' ').next().and_then(|word| str::from_utf8(word).ok());
        Ok(number.and_then(|word| word.parse().ok()) == Some(WAIT))
    }
}

fn comm(task: &Path) -> Result<String> {
    Ok(fs::read_to_string(task.join("comm"))?.trim_end().to_owned())
}
