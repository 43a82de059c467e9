//! Reading what secrets come from. Values are never part of an error.

use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use net_secrets::{SecretSource, SecretValue};
use zeroize::Zeroizing;

/// A larger value is a mistake.
const MAX_VALUE_BYTES: usize = 64 << 10;

const UNREADABLE: &str = "cannot be read: check the path, and that you may read it";

/// Reads a source; one trailing line break is dropped, as shells do. Also the file the value still
/// is in, if it is in one.
pub(super) fn read(source: &SecretSource) -> Result<(SecretValue, Option<PathBuf>)> {
    let mut place = None;
    let mut bytes = Zeroizing::new(match source {
        SecretSource::Env(name) => {
            let value = std::env::var_os(name).with_context(|| {
                format!("env:{name}: the variable is not set where net-engine was started: export it there")
            })?;
            std::os::unix::ffi::OsStringExt::into_vec(value)
        }
        SecretSource::File(path) => {
            let bytes;
            (bytes, place) = read_file(path).with_context(|| format!("file:{}", path.display()))?;
            bytes
        }
        SecretSource::Command(command) => run(command)?,
        SecretSource::DangerousValue(value) => return Ok((value.clone(), None)),
        _ => bail!("this kind of source is not supported here"),
    });
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        bail!("the value is empty");
    }
    if bytes.len() > MAX_VALUE_BYTES {
        bail!("the value is larger than 64 KiB");
    }
    Ok((SecretValue::new(std::mem::take(&mut *bytes)), place))
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

fn run(command: &str) -> Result<Vec<u8>> {
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cmd: no shell")?;
    if !output.status.success() {
        bail!("cmd: the command failed ({})", output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
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

        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(b"value").expect("room");
        drop(writer);
        let descriptor = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        assert_eq!(read_file(&descriptor).expect("a pipe"), (b"value".to_vec(), None));
        assert!(read_file(&secret).is_err());
    }
}
