//! The rules of a file, taken over as it changes.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use net_core::Shaping;
use net_policy::Policy;
use nix::fcntl::{OFlag, openat};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::Mode;
use tokio::io::unix::AsyncFd;

use super::args::PolicyArgs;
use super::config::Config;
use super::sandbox::Cover;
use super::{plan, shaping};
use crate::Guest;
use crate::sys;

/// A larger file is a mistake.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A file that is looked at whenever it was written or replaced.
///
/// Who may write it rules over the command, so the command may not: its directory is hidden from it, which also
/// holds when the file is replaced by another. It is read by way of the directory that was opened at first,
/// wherever that has gone since.
pub(super) struct Watch {
    events: Inotify,
    directory: OwnedFd,
    place: Place,
    flags: PolicyArgs,
    /// What was taken over last.
    policy: Policy,
    shaping: Shaping,
    /// What the file said besides.
    others: toml::Table,
}

/// Where a file that is watched is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Canonical.
    pub(super) directory: PathBuf,
    file: OsString,
    /// As it was given.
    shown: PathBuf,
}

impl Place {
    /// Finds a file, which must be in a directory that can be hidden from the command.
    ///
    /// # Errors
    /// A symbolic link, or a directory that the command is started in.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let shown = path.display();
        let named = || format!("--watch: {shown}");
        if fs::symlink_metadata(path).with_context(named)?.is_symlink() {
            bail!("--watch: {shown} is a symbolic link: name the file it leads to");
        }
        let canonical = fs::canonicalize(path).with_context(named)?;
        let found = canonical.parent().zip(canonical.file_name());
        let (directory, file) = found.with_context(|| format!("--watch: {shown} is no file"))?;
        if std::env::current_dir().is_ok_and(|working| working.starts_with(directory)) {
            bail!(
                "--watch: {} is hidden from the command, which must not write its own rules: keep {shown} in a \
                 directory of its own, or start net-engine from another one",
                directory.display()
            );
        }
        Ok(Self { directory: directory.to_owned(), file: file.to_owned(), shown: path.to_owned() })
    }

    /// What must be hidden.
    pub(super) fn cover(&self) -> Cover {
        Cover { path: self.directory.clone(), field: "--watch".to_owned() }
    }
}

impl Watch {
    /// Watches from now on. Before the engine confines itself: the directory must still be open to it.
    ///
    /// # Errors
    /// The directory of the file cannot be watched.
    pub(super) fn new(place: Place, flags: PolicyArgs, policy: Policy, config: &Config) -> Result<Self> {
        let named = || format!("--watch: {} cannot be watched", place.directory.display());
        let events = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).with_context(named)?;
        // The directory, because editors replace the file by another one.
        let changes = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
        events.add_watch(&place.directory, changes).with_context(named)?;
        let directory = fs::File::open(&place.directory).with_context(named)?.into();
        let shaping = shaping::shaping(&flags.shaping, &config.shaping)?;
        Ok(Self { events, directory, place, flags, policy, shaping, others: config.others.clone() })
    }

    /// The directory that is read in again.
    pub(super) fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// What the file says now.
    fn read(&self) -> Result<(Policy, Shaping, Config)> {
        let shown = self.place.shown.display().to_string();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = openat(&self.directory, self.place.file.as_os_str(), flags, Mode::empty());
        let mut text = String::new();
        let read = file
            .map_err(std::io::Error::from)
            .and_then(|file| fs::File::from(file).take(MAX_FILE_BYTES).read_to_string(&mut text));
        read.with_context(|| format!("{shown}: cannot be read"))?;
        let config = Config::parse(&shown, &text)?;
        let shaping = shaping::shaping(&self.flags.shaping, &config.shaping)?;
        Ok((plan::policy(&self.flags, &config)?, shaping, config))
    }

    /// Whether the file is among what has changed. Takes all that has.
    fn has_changed(&self) -> bool {
        let mut has_changed = false;
        while let Ok(events) = self.events.read_events() {
            has_changed |= events.iter().any(|event| {
                // Events that were lost may have been of the file.
                event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    || event.name.as_ref() == Some(&self.place.file)
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
        let file = self.watch.place.shown.display().to_string();
        let (policy, shaping, config) = match self.watch.read() {
            Ok(read) => read,
            Err(error) => {
                eprintln!("net-engine: {error:#}; the rules stay as they were");
                return;
            }
        };
        if policy != self.watch.policy {
            let (rules, began) = (policy.rules().len(), crate::guest::now());
            let ended = match guest.swap_policy(policy.clone()).await {
                Ok(ended) => ended,
                Err(error) => {
                    eprintln!("net-engine: {file}: {error}; the rules stay as they were");
                    return;
                }
            };
            self.watch.policy = policy;
            let took = began.elapsed().as_secs_f64() * 1e3;
            eprintln!(
                "net-engine: {file}: {rules} rules taken over, {ended} connections ended, in {took:.1} ms"
            );
        }
        if shaping != self.watch.shaping {
            guest.swap_shaping(shaping).await;
            self.watch.shaping = shaping;
            let bounds = if shaping.is_unbounded() { "none".to_owned() } else { shaping.to_string() };
            eprintln!("net-engine: {file}: bounds taken over: {bounds}");
        }
        if self.watch.others != config.others {
            eprintln!("net-engine: {file}: what is neither a rule nor shaping holds from the next run on");
            self.watch.others = config.others;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_or_replaced_has_changed_and_its_neighbours_do_not_matter() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rules.toml");
        fs::write(&path, "").expect("a file");
        let place = Place::find(&path).expect("a place");
        let (flags, policy) = (PolicyArgs::default(), Policy::default());
        let watch = Watch::new(place, flags, policy, &Config::default()).expect("a watch");
        assert!(!watch.has_changed());
        fs::write(directory.path().join("other.toml"), "").expect("a file");
        assert!(!watch.has_changed());
        fs::write(&path, "allow = []\n").expect("a file");
        assert!(watch.has_changed() && !watch.has_changed());
        fs::rename(directory.path().join("other.toml"), &path).expect("a move");
        assert!(watch.has_changed());
        // Wherever the directory goes, and whatever comes in its place.
        fs::write(&path, "allow = [\"a.example\"]\n").expect("a file");
        let moved = directory.path().with_extension("moved");
        fs::rename(directory.path(), &moved).expect("a move");
        fs::create_dir(directory.path()).expect("a directory");
        fs::write(&path, "allow = [\"any\"]\n").expect("a file");
        let (policy, ..) = watch.read().expect("the file");
        assert_eq!(policy.rules()[0].to_string(), "allow a.example");
        fs::remove_dir_all(moved).expect("a directory");
    }

    #[test]
    fn a_link_is_refused_and_so_is_the_working_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, link) = (directory.path().join("rules.toml"), directory.path().join("link.toml"));
        fs::write(&path, "").expect("a file");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(Place::find(&path).is_ok());
        assert!(Place::find(&link).is_err_and(|error| error.to_string().contains("symbolic link")));
        let here = std::env::current_dir().expect("a directory").join("Cargo.toml");
        assert!(Place::find(&here).is_err_and(|error| error.to_string().contains("directory of its own")));
    }
}
