//! Reading what secrets come from. Values are never part of an error.

use std::fs;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use net_secrets::{SecretSource, SecretValue};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use crate::LockedValue;

/// A larger value is a mistake.
pub(super) const MAX_VALUE_BYTES: usize = 64 << 10;

/// How long a command may take.
const COMMAND_TIME: Duration = Duration::from_secs(60);

/// How soon a command is looked at again that has closed its output and not ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const EMPTY: &str = "the value is empty";

const UNREADABLE: &str = "cannot be read: check the path, and that you may read it";

/// Reads a source; one trailing line break is dropped, as shells do. Also the file the value still
/// is in, if it is in one.
pub(super) fn read(source: &SecretSource) -> Result<(SecretValue, Option<PathBuf>)> {
    let mut place = None;
    let value = match source {
        SecretSource::Env(name) => {
            let value = std::env::var_os(name).with_context(|| {
                format!("env:{name}: the variable is not set where net-engine was started: export it there")
            })?;
            value_of(Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value)))?
        }
        SecretSource::File(path) => {
            let named = || format!("file:{}", path.display());
            let file = File::open(path).context(UNREADABLE).with_context(named)?;
            place = self::place(path, &file).with_context(named)?;
            read_value(file).with_context(named)?
        }
        SecretSource::Command(command) => return Ok((read_command(command)?, None)),
        SecretSource::DangerousValue(value) => return Ok((keep(value.expose())?, None)),
        _ => bail!("this kind of source is not supported here"),
    };
    Ok((value.context(EMPTY)?, place))
}

/// The value a file has, whatever its kind; `None` where it is empty. No more is read than a value may have.
pub(super) fn read_value(file: impl Read) -> Result<Option<SecretValue>> {
    // With room for all of it: what grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 3));
    file.take(MAX_VALUE_BYTES as u64 + 3).read_to_end(&mut bytes).context(UNREADABLE)?;
    value_of(bytes)
}

/// The value without one line break at its end; `None` where nothing is left.
fn value_of(mut bytes: Zeroizing<Vec<u8>>) -> Result<Option<SecretValue>> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    match bytes.len() {
        0 => Ok(None),
        1..=MAX_VALUE_BYTES => keep(&bytes).map(Some),
        _ => bail!("the value is larger than 64 KiB"),
    }
}

/// A value in memory of its own; the caller wipes `value`.
pub(super) fn keep(value: &[u8]) -> Result<SecretValue> {
    let locked = LockedValue::new(value).context("there is no memory for the value")?;
    Ok(SecretValue::stored(locked))
}

/// Reads a file; also its canonical path, by which somebody else could read it again. A pipe, a
/// device and a file without a name have none.
///
/// # Errors
/// The file cannot be read, or it cannot be told where it is: then nobody could hide it.
pub(super) fn read_file(path: &Path) -> Result<(Vec<u8>, Option<PathBuf>)> {
    let mut file = File::open(path).context(UNREADABLE)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context(UNREADABLE)?;
    let place = place(path, &file)?;
    Ok((bytes, place))
}

/// The canonical path of an open file, by which somebody else could open it: see [`read_file`].
pub(super) fn place(path: &Path, file: &File) -> Result<Option<PathBuf>> {
    let metadata = file.metadata().context(UNREADABLE)?;
    if !metadata.is_file() || metadata.nlink() == 0 {
        return Ok(None);
    }
    let is_same = |place: &PathBuf| {
        fs::metadata(place).is_ok_and(|found| (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()))
    };
    let place = fs::canonicalize(path).ok().filter(is_same);
    place.context("cannot be covered: give it by an absolute path that leads to it").map(Some)
}

/// What a shell command prints, within a minute: then it is ended.
pub(super) fn read_command(command: &str) -> Result<SecretValue> {
    let mut shell = shell(command);
    read_within(&mut shell, COMMAND_TIME, |child| child.kill())
}

/// The same in a process group of its own, which is ended with it: no terminal is asked for anything.
pub(super) fn read_command_alone(command: &str) -> Result<SecretValue> {
    let mut shell = shell(command);
    read_within(shell.process_group(0), COMMAND_TIME, |child| {
        let group = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(killpg(Pid::from_raw(group), Signal::SIGKILL)?)
    })
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit());
    shell
}

fn read_within(
    shell: &mut Command,
    time: Duration,
    end: impl FnOnce(&mut Child) -> io::Result<()>,
) -> Result<SecretValue> {
    let deadline = crate::guest::now() + time;
    let mut child = shell.stdout(Stdio::piped()).spawn().context("cmd: no shell")?;
    let outcome = outcome_by(deadline, time, &mut child);
    if outcome.is_err() {
        // One that has just ended needs no signal; in any case nothing of it is left.
        let _ = end(&mut child);
        let _ = child.wait();
    }
    let (read, status) = outcome?;
    if !status.success() {
        bail!("cmd: the command failed ({status})");
    }
    read.context("cmd: the command printed nothing")
}

/// What a command prints and how it ends, both before the deadline.
fn outcome_by(
    deadline: Instant,
    time: Duration,
    child: &mut Child,
) -> Result<(Option<SecretValue>, ExitStatus)> {
    let late = || anyhow!("cmd: the command did not end within {} s", time.as_secs());
    let output = child.stdout.take().context("cmd: no output")?;
    let (done, ended) = mpsc::channel();
    let reader = thread::spawn(move || {
        let read = read_value(output);
        // Nobody waits for it any more where it was too late.
        let _ = done.send(());
        read
    });
    ended.recv_timeout(time).map_err(|_| late())?;
    let read = reader.join().map_err(|_| anyhow!("cmd: its output could not be read"))??;
    // It may have closed its output and run on.
    loop {
        if let Some(status) = child.try_wait().context("cmd: it cannot be waited for")? {
            return Ok((read, status));
        }
        if crate::guest::now() >= deadline {
            return Err(late());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_found_where_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let canonical = fs::canonicalize(directory.path()).expect("a path");
        let (secret, link) = (canonical.join("secret"), canonical.join("link"));
        fs::write(&secret, "value\n").expect("a file");
        symlink("secret", &link).expect("a link");
        let open = File::open(&secret).expect("an open file");
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        for path in [&secret, &link, &descriptor] {
            let read = read_file(path).expect("it can be read");
            assert_eq!(read, (b"value\n".to_vec(), Some(secret.clone())), "{}", path.display());
        }
        fs::remove_file(&secret).expect("the file goes");
        assert_eq!(read_file(&descriptor).expect("it is open still").1, None, "removed");

        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"value").expect("room");
        drop(writer);
        let descriptor = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        assert_eq!(read_file(&descriptor).expect("a pipe"), (b"value".to_vec(), None));
        assert!(read_file(&secret).is_err());
    }

    #[test]
    fn a_command_is_read_to_its_end_and_not_for_ever() {
        // What it does, and what is read or said.
        const CASES: &[(&str, Result<&str, &str>)] = &[
            ("printf 'a value\r\n'", Ok("a value")),
            ("printf 'two\n\n'", Ok("two\n")),
            ("exit 3", Err("cmd: the command failed (exit status: 3)")),
            ("echo value; exit 3", Err("cmd: the command failed (exit status: 3)")),
            ("echo", Err("cmd: the command printed nothing")),
            ("yes", Err("the value is larger than 64 KiB")),
            ("trap '' PIPE; yes 2>/dev/null; sleep 100", Err("the value is larger than 64 KiB")),
            ("sleep 100 & sleep 100", Err("cmd: the command did not end within 1 s")),
            ("echo value; exec >&-; sleep 100", Err("cmd: the command did not end within 1 s")),
            ("echo value; exec >&-; sleep 0.1", Ok("value")),
        ];
        for (command, expected) in CASES {
            let mut shell = shell(command);
            let mut ended = None;
            let read = read_within(shell.process_group(0), Duration::from_secs(1), |child| {
                let group = i32::try_from(child.id()).map_err(io::Error::other)?;
                ended = Some(Pid::from_raw(group));
                Ok(killpg(Pid::from_raw(group), Signal::SIGKILL)?)
            });
            let read = read.map(|value| String::from_utf8_lossy(value.expose()).into_owned());
            let read = read.map_err(|error| error.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), *expected, "{command}");
            if let Some(process) = ended {
                assert_eq!(kill(process, None), Err(Errno::ESRCH), "{command}: it was waited for");
            }
        }
    }
}
