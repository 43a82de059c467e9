//! The directory of one run, readable by every user a test runs as.

use std::io::{Seek as _, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::process::output;
use crate::programs;

/// How much the transfers move.
pub(crate) const BLOB_BYTES: usize = 100_000_000;

/// A directory below the temporary one; gone when dropped, unless kept.
pub(crate) struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes the directory.
    pub(crate) fn new(keep: bool) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("net-e2e-")
            .tempdir()
            .context("cannot create a directory")?
            .keep();
        let scratch = Self { dir, keep };
        scratch.open_to_all(&scratch.dir, 0o755)?;
        // Uploads and logs are written by servers that may not be us.
        for name in ["www", "nginx", "started"] {
            fs::create_dir_all(scratch.path(name))?;
            scratch.open_to_all(&scratch.path(name), 0o777)?;
        }
        scratch.write("upstream.log", b"")?;
        scratch.open_to_all(&scratch.path("upstream.log"), 0o666)?;
        Ok(scratch)
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory as text, for command lines.
    pub(crate) fn dir(&self) -> String {
        self.dir.display().to_string()
    }

    /// Writes a file that everybody may read.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        self.open_to_all(&path, 0o644)
    }

    /// Copies a program to where everybody may run it.
    pub(crate) fn copy_program(&self, program: &Path, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::copy(program, &path).with_context(|| format!("cannot copy {}", program.display()))?;
        self.open_to_all(&path, 0o755)
    }

    /// Copies a program of the system, to run with the rights of its owner.
    pub(crate) fn copy_setuid_program(&self, program: &str, name: &str) -> Result<()> {
        let program =
            env::split_paths(programs::PATH).map(|dir| dir.join(program)).find(|path| path.is_file());
        self.copy_program(&program.context("a program of the system is missing")?, name)?;
        self.open_to_all(&self.path(name), 0o4755)
    }

    /// Makes `www/blob`, [`BLOB_BYTES`] that no compression or repetition helps with, and returns
    /// its checksum.
    pub(crate) fn blob(&self) -> Result<String> {
        let path = self.path("www/blob");
        let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..BLOB_BYTES / 8 {
            // xorshift64 (Marsaglia 2003): any stream without a short period does.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&state.to_le_bytes())?;
        }
        file.flush()?;
        self.open_to_all(&path, 0o644)?;
        let line = output(Command::new("sha256sum").arg(&path))?;
        line.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
    }

    /// A file of 1 GiB that has the number of each MiB at its beginning, and takes little room on the disk.
    pub(crate) fn giant(&self) -> Result<()> {
        const MIB: u64 = 1 << 20;
        let path = self.path("www/giant");
        let mut file = fs::File::create(&path)?;
        for number in 0..1024_u64 {
            file.seek(std::io::SeekFrom::Start(number * MIB))?;
            file.write_all(&(!number).to_le_bytes())?;
        }
        file.set_len(1024 * MIB)?;
        self.open_to_all(&path, 0o644)
    }

    fn open_to_all(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot open {} to all users", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("kept {}", self.dir.display());
        } else if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}
