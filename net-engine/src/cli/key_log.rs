//! The keys of TLS sessions, in the format of NSS that Wireshark reads.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::OFlag;
use rustls::KeyLog;
use zeroize::Zeroizing;

use super::config::Written;

/// A file that only its owner reads, one line a secret.
#[derive(Debug)]
pub(super) struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    /// Opens or makes the file; also where it is.
    ///
    /// # Errors
    /// It cannot be opened, or others can read it.
    pub(super) fn open(file: &Written) -> Result<(Self, PathBuf)> {
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&file.text)
            .with_context(|| format!("{}: cannot be opened for writing", file.named()))?;
        let metadata = opened.metadata().with_context(|| file.named())?;
        if !metadata.is_file() {
            bail!("{}: is no file", file.named());
        }
        if metadata.mode() & 0o077 != 0 {
            bail!("{}: others can read it: chmod 600 it, or remove it", file.named());
        }
        let place = fs::canonicalize(&file.text).with_context(|| file.named())?;
        Ok((Self(Mutex::new(opened)), place))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line =
            Zeroizing::new(String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3));
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                // A string takes everything.
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        // One write a line: two engines may share the file. A full disk loses lines and no traffic.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn lines_of_a_file_that_nobody_else_reads() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = fs::canonicalize(directory.path()).expect("a path").join("keys");
        let written = |path: &PathBuf| Written { place: "x".to_owned(), text: path.display().to_string() };
        for _ in 0..2 {
            let (log, place) = KeyLogFile::open(&written(&path)).expect("a file");
            assert_eq!(place, path);
            log.log("CLIENT_RANDOM", &[0, 0xab], &[1]);
        }
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(text, "CLIENT_RANDOM 00ab 01\n".repeat(2));
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        let link = path.with_file_name("link");
        symlink(&path, &link).expect("a link");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its owner may");
        for path in [&path, &link, &directory.path().to_owned(), &"/dev/null".into()] {
            assert!(KeyLogFile::open(&written(path)).is_err(), "{}", path.display());
        }
    }
}
