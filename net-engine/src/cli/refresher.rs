//! The process that reads the sources of secrets again while the command runs.
//!
//! The engine itself gives up executing programs and opening files before the command starts. What has to do
//! both stays beside it, takes nothing from anybody and ends with it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};

use super::renewal::Renewal;
use super::sources;

/// A file that moves more often while it is read is looked at with the next change.
const MAX_MOVES: usize = 4;

/// A look-up that others disturb as often is left to the next change.
const MAX_LOOKUPS: usize = 16;

/// What becomes of a watched directory itself: another may stand at its path then.
const MOVED: AddWatchFlags = AddWatchFlags::IN_MOVE_SELF.union(AddWatchFlags::IN_DELETE_SELF);

/// A device and a number: which file or directory something is.
type Identity = (u64, u64);

/// What is to be read again, with the secrets' numbers.
#[derive(Default)]
pub(super) struct Refresher {
    files: Vec<(u32, FileTask)>,
    commands: Vec<(u32, CommandTask)>,
}

/// A file that is read when it was written or replaced.
///
/// Who may move directories above it could make its path lead elsewhere. So what is taken comes from the very file
/// that was covered, or from below the very directory that was hidden, by way of descriptors of theirs; the path
/// tells when to look, and whether the file is gone.
pub(super) struct FileTask {
    /// As it was given, if it means the same in another process.
    path: PathBuf,
    /// What it leads to.
    file: PathBuf,
    covered: Option<Identity>,
    /// The directory that the command does not see.
    hidden: Option<(PathBuf, Identity)>,
    /// What was covered, once it was opened.
    covered_file: Option<File>,
    /// What is hidden, once it was opened.
    hidden_directory: Option<File>,
}

/// A command that runs again whenever its value's time is over.
struct CommandTask {
    command: String,
    ttl: Duration,
}

impl Refresher {
    pub(super) fn add_command(&mut self, number: u32, command: String, ttl: Duration) {
        self.commands.push((number, CommandTask { command, ttl }));
    }

    pub(super) fn add_file(&mut self, number: u32, task: FileTask) {
        self.files.push((number, task));
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.commands.is_empty()
    }

    /// Opens what files are read by. To be called before the command starts, which could be faster otherwise.
    pub(super) fn open(&mut self) {
        self.files.iter_mut().for_each(|(_, task)| task.open());
    }

    /// What [`open`](Self::open) has opened, and the work needs.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let opened = self.files.iter().flat_map(|(_, task)| [&task.covered_file, &task.hidden_directory]);
        opened.flatten().map(AsRawFd::as_raw_fd).collect()
    }

    /// Does it, in a process of its own, until nobody listens any more.
    pub(super) fn work(self, channel: OwnedFd) -> Infallible {
        let channel = &channel;
        thread::scope(|scope| {
            for (number, task) in self.commands {
                scope.spawn(move || task.repeat(number, channel.as_fd()));
            }
            if !self.files.is_empty() {
                let _ = watch(self.files, channel.as_fd());
            }
        });
        exit(0)
    }
}

impl CommandTask {
    /// Until nobody listens.
    fn repeat(&self, number: u32, channel: BorrowedFd<'_>) -> io::Result<Infallible> {
        let mut renewed = now();
        let mut wait = self.ttl;
        loop {
            thread::sleep(wait);
            let outcome = sources::read_command_alone(&self.command);
            let renewal = match outcome {
                Ok(value) => {
                    (renewed, wait) = (now(), self.ttl);
                    Renewal::Value(value)
                }
                Err(error) => {
                    wait = (self.ttl / 10).clamp(Duration::from_secs(1), Duration::from_secs(60));
                    // One more time as long as it was good for.
                    let left = (2 * self.ttl).saturating_sub(renewed.elapsed());
                    if left.is_zero() {
                        Renewal::Revoked(format!("{error:#}"))
                    } else {
                        let left = humantime::format_duration(Duration::from_secs(left.as_secs().max(1)));
                        Renewal::Failed(format!("{error:#}; the value stays for {left}"))
                    }
                }
            };
            renewal.send(number, channel)?;
        }
    }
}

/// Reads files whenever they may have changed, until nobody listens or the system tells of no changes.
fn watch(mut files: Vec<(u32, FileTask)>, channel: BorrowedFd<'_>) -> io::Result<()> {
    let Ok(events) = Inotify::init(InitFlags::IN_CLOEXEC) else {
        for (number, _) in &files {
            let why = "its file is not read again: the system has no more inotify instances";
            Renewal::Failed(why.to_owned()).send(*number, channel)?;
        }
        return Ok(());
    };
    for (number, task) in &mut files {
        if let Err(error) = task.listen(&events) {
            let why = format!("its file is not read again: its directory cannot be watched: {error}");
            Renewal::Failed(why).send(*number, channel)?;
        }
        // It may have changed since it was first read.
        task.follow(&events, *number, channel)?;
    }
    let failed = loop {
        let batch = match events.read_events() {
            Ok(batch) => batch,
            // A stop and a continuation do that (signal(7)).
            Err(Errno::EINTR) => continue,
            Err(error) => break error,
        };
        let has_moved = batch.iter().any(|event| event.mask.intersects(MOVED));
        for (number, task) in &mut files {
            if has_moved && let Err(why) = task.listen_anew(&events) {
                Renewal::Failed(format!("its file is not read again: {why}")).send(*number, channel)?;
            }
            if has_moved || task.is_among(&batch) {
                task.follow(&events, *number, channel)?;
            }
        }
    };
    for (number, _) in &files {
        let why = format!("its file is not read again: the system tells of no more changes: {failed}");
        Renewal::Failed(why).send(*number, channel)?;
    }
    Ok(())
}

impl FileTask {
    /// `path` leads to `file`, which has just been read, and is covered with the directory `hidden` if there is
    /// one.
    pub(super) fn new(path: PathBuf, file: PathBuf, hidden: Option<PathBuf>) -> Self {
        let identity_at = |path: &Path| fs::metadata(path).ok().map(|found| identity(&found));
        let covered = identity_at(&file);
        // A descriptor of the engine's is closed in the process that looks at paths, or is something else there.
        let path = if leads_through_descriptor(&path) { file.clone() } else { path };
        let hidden = hidden.and_then(|path| identity_at(&path).map(|identity| (path, identity)));
        Self { path, file, covered, hidden, covered_file: None, hidden_directory: None }
    }

    /// Opens what it is read by; what has become another one meanwhile stays closed, and is not read.
    fn open(&mut self) {
        let opened = |path: &Path, flags: OFlag, expected: Identity| {
            let file = File::options().read(true).custom_flags((flags | OFlag::O_NONBLOCK).bits()).open(path);
            file.ok().filter(|file| file.metadata().is_ok_and(|found| identity(&found) == expected))
        };
        self.covered_file = self.covered.and_then(|expected| opened(&self.file, OFlag::O_NOFOLLOW, expected));
        self.hidden_directory = self
            .hidden
            .as_ref()
            .and_then(|(path, expected)| opened(path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, *expected));
    }

    /// Where files may come to stand in its place.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let own = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let own = self.hidden_directory.as_ref().map_or_else(
            || own.unwrap_or_else(|| Path::new(".")).to_owned(),
            // Wherever it has gone.
            path_of,
        );
        [own].into_iter().chain(self.file.parent().map(Path::to_owned)).collect()
    }

    /// Asks to be told of changes; of a directory that is watched already nothing is changed.
    fn listen(&self, events: &Inotify) -> nix::Result<()> {
        let changes = MOVED
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        self.directories()
            .into_iter()
            .try_for_each(|directory| events.add_watch(&directory, changes).map(drop))
    }

    /// Asks again once a directory was moved or removed; why changes at its path are not heard of any more.
    fn listen_anew(&self, events: &Inotify) -> Result<(), String> {
        let is_at = |(path, own): &(PathBuf, Identity)| {
            fs::metadata(path).is_ok_and(|found| identity(&found) == *own)
        };
        if self.hidden.as_ref().is_some_and(|hidden| !is_at(hidden)) {
            return Err("its directory is another, which the command sees".to_owned());
        }
        self.listen(events).map_err(|error| format!("its directory was moved or removed: {error}"))
    }

    /// Tells what it says; once more where it has come to be elsewhere, which was not watched until then.
    fn follow(&mut self, events: &Inotify, number: u32, channel: BorrowedFd<'_>) -> io::Result<()> {
        for _ in 0..MAX_MOVES {
            let before = self.file.clone();
            self.read().send(number, channel)?;
            if self.file == before {
                break;
            }
            // What is watched already tells of the next change.
            let _ = self.listen(events);
        }
        Ok(())
    }

    /// Whether it may have changed, by what has happened in directories.
    fn is_among(&self, events: &[InotifyEvent]) -> bool {
        let names = [self.path.file_name(), self.file.file_name()];
        let is_named = |name: &OsString| names.iter().flatten().any(|own| *own == name.as_os_str());
        let is_lost = |event: &InotifyEvent| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        events.iter().any(|event| is_lost(event) || event.name.as_ref().is_some_and(is_named))
            // A link on the way was replaced.
            || self.place().is_some_and(|file| file != self.file)
    }

    /// Where it is.
    fn place(&self) -> Option<PathBuf> {
        match self.find_hidden() {
            Some(Ok(file)) => fs::read_link(path_of(&file)).ok(),
            Some(Err(_)) | None => fs::canonicalize(&self.path).ok(),
        }
    }

    /// Opens it below the hidden directory; `None` where it is in none, or leads out of it.
    fn find_hidden(&self) -> Option<Result<File, Errno>> {
        let directory = self.hidden_directory.as_ref()?;
        let name = self.path.file_name()?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut found = Err(Errno::EAGAIN);
        for _ in 0..MAX_LOOKUPS {
            found = openat2(directory, name, how);
            // Somebody has moved something, maybe elsewhere (openat2(2)).
            if !matches!(found, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        match found {
            Err(Errno::EXDEV | Errno::ENOSYS) => None,
            found => Some(found.map(File::from)),
        }
    }

    /// What it says now.
    fn read(&mut self) -> Renewal {
        const UNREADABLE: &str = "its file cannot be read";
        const GONE: &str = "its file is gone";
        let hidden = match self.find_hidden() {
            Some(Ok(file)) => Some(file),
            Some(Err(Errno::ENOENT)) => return Renewal::Revoked(GONE.to_owned()),
            Some(Err(error)) => return Renewal::Failed(format!("{UNREADABLE}: {}", io::Error::from(error))),
            None => None,
        };
        let metadata = match hidden.as_ref().map_or_else(|| fs::metadata(&self.path), File::metadata) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Renewal::Revoked(GONE.to_owned()),
            Err(error) => return Renewal::Failed(format!("{UNREADABLE}: {error}")),
        };
        if !metadata.is_file() {
            return Renewal::Failed("its path leads to no file any more; the value stays".to_owned());
        }
        let read = match (&hidden, &mut self.covered_file) {
            (Some(file), _) => sources::read_value(file),
            (None, Some(file)) if self.covered == Some(identity(&metadata)) => match file.rewind() {
                Ok(()) => sources::read_value(file),
                Err(error) => return Renewal::Failed(format!("{UNREADABLE}: {error}")),
            },
            (None, _) => {
                return Renewal::Failed(
                    "its file was replaced where the command sees the new one, whose value is not taken: keep it \
                     in a directory with nothing but secrets in it, or write into it"
                        .to_owned(),
                );
            }
        };
        let found = hidden.map_or_else(|| fs::canonicalize(&self.path), |file| fs::read_link(path_of(&file)));
        self.file = found.unwrap_or_default();
        match read {
            Ok(Some(value)) => Renewal::Value(value),
            Ok(None) => Renewal::Revoked("its file is empty".to_owned()),
            Err(error) => Renewal::Failed(format!("{error:#}")),
        }
    }
}

/// Whether a path means what this process has open (`/dev/fd/3`, `/dev/stdin`), by itself or by a link to such.
fn leads_through_descriptor(path: &Path) -> bool {
    let how =
        OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(AT_FDCWD, path, how).map(drop) {
        // Ordinary links that lead in a circle would not have been read (openat2(2)).
        Err(Errno::ELOOP) => true,
        Ok(()) | Err(_) => false,
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// A path to what is open, wherever it has gone.
fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[allow(clippy::disallowed_methods, reason = "the binary owns the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use tokio::time::timeout;

    use super::*;
    use crate::cli::renewal::Renewals;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Text for what arrives: `=value`, `-revoked`, `!failed`.
    async fn next(renewals: &Renewals) -> String {
        let arrived = timeout(PATIENCE, renewals.next()).await.expect("in time").expect("somebody sends");
        match arrived.1 {
            Renewal::Value(value) => format!("={}", String::from_utf8_lossy(value.expose())),
            Renewal::Failed(why) => format!("!{why}"),
            Renewal::Revoked(why) => format!("-{why}"),
        }
    }

    /// Until this arrives: a change may be told more than once.
    async fn until(renewals: &Renewals, expected: &str) {
        loop {
            let arrived = next(renewals).await;
            if arrived.starts_with(expected) {
                return;
            }
        }
    }

    /// Watches in a thread, which ends with the tests.
    fn watched(mut task: FileTask) -> Renewals {
        task.open();
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .expect("a pair");
        thread::spawn(move || watch(vec![(0, task)], theirs.as_fd()));
        Renewals::new(ours).expect("a reactor")
    }

    #[tokio::test]
    async fn a_file_of_its_own_directory_is_written_replaced_removed_and_comes_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        let (file, next_file) = (root.join("key"), root.join("key.new"));
        fs::write(&file, "one\n").expect("a file");
        let renewals = watched(FileTask::new(file.clone(), file.clone(), Some(root)));
        assert_eq!(next(&renewals).await, "=one");
        fs::write(&file, "two\n").expect("a file");
        until(&renewals, "=two").await;
        fs::write(&next_file, "three").expect("a file");
        fs::rename(&next_file, &file).expect("a move");
        until(&renewals, "=three").await;
        fs::remove_file(&file).expect("it goes");
        until(&renewals, "-its file is gone").await;
        fs::write(&file, "four").expect("a file");
        until(&renewals, "=four").await;
        fs::write(&file, "\n").expect("a file");
        until(&renewals, "-its file is empty").await;
    }

    #[tokio::test]
    async fn a_file_that_is_given_by_a_descriptor_is_read_where_it_is_once_that_is_closed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        let (file, link) = (root.join("key"), root.join("link"));
        fs::write(&file, "one").expect("a file");
        for by_link in [false, true] {
            let open = File::open(&file).expect("a file");
            let mut path = PathBuf::from(format!("/dev/fd/{}", open.as_raw_fd()));
            if by_link {
                symlink(&path, &link).expect("a link");
                path.clone_from(&link);
            }
            let task = FileTask::new(path, file.clone(), None);
            // As it is in the process that reads it again.
            drop(open);
            let renewals = watched(task);
            assert_eq!(next(&renewals).await, "=one", "by a link: {by_link}");
            fs::write(&file, "two").expect("a file");
            until(&renewals, "=two").await;
            fs::write(&file, "one").expect("a file");
            until(&renewals, "=one").await;
        }
        assert!(!leads_through_descriptor(&file) && !leads_through_descriptor(&root.join("none")));
    }

    #[tokio::test]
    async fn a_directory_that_is_moved_away_is_told_of() {
        for (is_hidden, expected) in [
            (true, "!its file is not read again: its directory is another"),
            (false, "!its file is not read again: its directory was moved or removed"),
        ] {
            let above = tempfile::tempdir().expect("a directory");
            let above = fs::canonicalize(above.path()).expect("a path");
            let own = above.join("secrets");
            fs::create_dir_all(&own).expect("a directory");
            let file = own.join("key");
            fs::write(&file, "one").expect("a file");
            let renewals = watched(FileTask::new(file.clone(), file, is_hidden.then(|| own.clone())));
            assert_eq!(next(&renewals).await, "=one");
            fs::rename(&own, above.join("old")).expect("a move");
            until(&renewals, expected).await;
        }
    }

    #[tokio::test]
    async fn versions_behind_a_link_are_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        for (version, value) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(root.join(version)).expect("a directory");
            fs::write(root.join(version).join("key"), value).expect("a file");
        }
        symlink("..1", root.join("..data")).expect("a link");
        symlink("..data/key", root.join("key")).expect("a link");
        let renewals = watched(FileTask::new(root.join("key"), root.join("..1/key"), Some(root.clone())));
        assert_eq!(next(&renewals).await, "=one");
        symlink("..2", root.join("..new")).expect("a link");
        fs::rename(root.join("..new"), root.join("..data")).expect("a move");
        until(&renewals, "=two").await;
        fs::write(root.join("..2/key"), "three").expect("a file");
        until(&renewals, "=three").await;
    }

    #[tokio::test]
    async fn what_replaces_a_file_where_the_command_sees_it_is_not_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        let (file, other) = (root.join("key"), root.join("other"));
        fs::write(&file, "one").expect("a file");
        let renewals = watched(FileTask::new(file.clone(), file.clone(), None));
        assert_eq!(next(&renewals).await, "=one");
        fs::write(&file, "two").expect("a file");
        until(&renewals, "=two").await;
        fs::write(&other, "three").expect("a file");
        fs::rename(&other, &file).expect("a move");
        until(&renewals, "!its file was replaced where the command sees the new one").await;
    }

    #[tokio::test]
    async fn what_comes_to_stand_at_its_path_is_not_taken_and_what_it_was_is() {
        for is_hidden in [true, false] {
            let directory = tempfile::tempdir().expect("a directory");
            let root = fs::canonicalize(directory.path()).expect("a path");
            let (above, moved) = (root.join("above"), root.join("moved"));
            let own = above.join("secrets");
            let file = own.join("key");
            fs::create_dir_all(&own).expect("a directory");
            fs::write(&file, "one").expect("a file");
            let renewals = watched(FileTask::new(file.clone(), file.clone(), is_hidden.then(|| own.clone())));
            assert_eq!(next(&renewals).await, "=one");
            // As a command may do that sees neither the file nor its directory.
            fs::rename(&above, &moved).expect("a move");
            fs::create_dir_all(&own).expect("a directory");
            fs::write(&file, "another's").expect("a file");
            fs::write(moved.join("secrets/key"), "two").expect("a file");
            let expected = if is_hidden { "=two" } else { "!its file was replaced" };
            loop {
                let arrived = next(&renewals).await;
                assert_ne!(arrived, "=another's", "hidden: {is_hidden}");
                if arrived.starts_with(expected) {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_link_that_leads_out_of_the_hidden_directory_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(directory.path()).expect("a path");
        let (own, other) = (root.join("secrets"), root.join("other"));
        let file = own.join("key");
        fs::create_dir(&own).expect("a directory");
        fs::write(&file, "one").expect("a file");
        fs::write(&other, "another's").expect("a file");
        let renewals = watched(FileTask::new(file.clone(), file.clone(), Some(own.clone())));
        assert_eq!(next(&renewals).await, "=one");
        symlink(&other, own.join("link")).expect("a link");
        fs::rename(own.join("link"), &file).expect("a move");
        let arrived = next(&renewals).await;
        assert!(arrived.starts_with("!its file was replaced"), "{arrived}");
    }

    #[tokio::test]
    async fn a_command_runs_again_and_its_failures_are_told_until_the_value_is_too_old() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("value");
        fs::write(&file, "one").expect("a file");
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .expect("a pair");
        let command = format!("cat {} 2>/dev/null", file.display());
        let task = CommandTask { command, ttl: Duration::from_secs(2) };
        thread::spawn(move || task.repeat(0, theirs.as_fd()));
        let renewals = Renewals::new(ours).expect("a reactor");
        assert_eq!(next(&renewals).await, "=one");
        fs::remove_file(&file).expect("it goes");
        until(&renewals, "!cmd: the command failed").await;
        until(&renewals, "-cmd: the command failed").await;
        fs::write(&file, "two").expect("a file");
        until(&renewals, "=two").await;
    }
}
