//! The rules of a file, taken over as it changes.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use super::args::PolicyArgs;
use super::config::Config;
use super::plan;
use crate::Guest;
use crate::link::sys;

/// A file that is looked at whenever it was written or replaced.
pub(super) struct Watch {
    events: Inotify,
    /// Where the file is.
    directory: PathBuf,
    file: OsString,
    path: PathBuf,
    flags: PolicyArgs,
    /// What it said last, but for its rules.
    others: toml::Table,
}

impl Watch {
    /// Watches from now on. Before the engine confines itself: the directory must still be open to it.
    ///
    /// # Errors
    /// The directory of the file cannot be watched.
    pub(super) fn new(path: &Path, flags: PolicyArgs, config: &Config) -> Result<Self> {
        let absolute = std::path::absolute(path)?;
        let (directory, file) =
            absolute.parent().zip(absolute.file_name()).context("--watch: --config names no file")?;
        let named = || format!("--watch: {} cannot be watched", directory.display());
        let events = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).with_context(named)?;
        // The directory, because editors replace the file by another one.
        let changes = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
        events.add_watch(directory, changes).with_context(named)?;
        let (directory, file) = (directory.to_owned(), file.to_owned());
        Ok(Self { events, directory, file, path: path.to_owned(), flags, others: config.others.clone() })
    }

    /// The directory that is read in again.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the file is among what has changed. Takes all that has.
    fn has_changed(&self) -> bool {
        let mut has_changed = false;
        while let Ok(events) = self.events.read_events() {
            has_changed |= events.iter().any(|event| {
                // Events that were lost may have been of the file.
                event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) || event.name.as_ref() == Some(&self.file)
            });
        }
        has_changed
    }
}

/// A [`Watch`] in a runtime.
pub(super) struct Watching {
    watch: Watch,
    /// Another descriptor of the same events, which says when there are some.
    ready: AsyncFd<OwnedFd>,
}

impl Watching {
    pub(super) fn new(watch: Watch) -> Result<Self> {
        let descriptor = watch.events.as_fd().try_clone_to_owned().context("--watch")?;
        let ready = sys::register_for_reading(descriptor).context("--watch")?;
        Ok(Self { watch, ready })
    }

    /// Waits until the file has changed.
    ///
    /// # Errors
    /// The runtime has ended.
    pub(super) async fn changed(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.ready.readable().await?;
            // All that there was is taken; what comes later says so again.
            let has_changed = self.watch.has_changed();
            ready.clear_ready();
            if has_changed {
                return Ok(());
            }
        }
    }

    /// Has the guest live by what the file says now, and says so. A file that is wrong changes nothing.
    pub(super) async fn take_over(&mut self, guest: &Guest) {
        let Watch { path, flags, others, .. } = &mut self.watch;
        let file = path.display().to_string();
        let read = Config::read(path).and_then(|(config, _)| Ok((plan::policy(flags, &config)?, config)));
        let (policy, config) = match read {
            Ok(read) => read,
            Err(error) => {
                eprintln!("net-engine: {error:#}; the rules stay as they were");
                return;
            }
        };
        let (rules, began) = (policy.rules().len(), crate::guest::now());
        let ended = guest.swap_policy(policy).await;
        let took = began.elapsed().as_secs_f64() * 1e3;
        eprintln!("net-engine: {file}: {rules} rules taken over, {ended} connections ended, in {took:.1} ms");
        if *others != config.others {
            eprintln!("net-engine: {file}: what is no rule holds from the next run on");
        }
        *others = config.others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_written_or_replaced_has_changed_and_its_neighbours_do_not_matter() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rules.toml");
        fs::write(&path, "").expect("a file");
        let watch = Watch::new(&path, PolicyArgs::default(), &Config::default()).expect("a watch");
        assert!(!watch.has_changed());
        fs::write(directory.path().join("other.toml"), "").expect("a file");
        assert!(!watch.has_changed());
        fs::write(&path, "allow = []\n").expect("a file");
        assert!(watch.has_changed() && !watch.has_changed());
        fs::rename(directory.path().join("other.toml"), &path).expect("a move");
        assert!(watch.has_changed());
    }
}
