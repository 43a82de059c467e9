use std::fs;
use std::io;
use std::path::PathBuf;

use super::SandboxPlan;
use super::mount_attributes::{Attribute, restrict};
use super::mounts::bind;
use super::setup_error::{SetupError, Step};

/// A file or a directory that the command must not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cover {
    /// Canonical.
    pub(crate) path: PathBuf,
    /// What of the configuration names the file.
    pub(crate) field: String,
}

const REMEDY: &str =
    "nothing was started: keep it where a mount can hide it, or give a secret by env: or cmd:";

/// Puts an empty read-only file or directory over each one to be covered, in the mount namespace of the caller.
///
/// The command cannot take the mounts away: it has no capability here, and in a mount namespace of
/// its own the kernel locks the mounts of this more privileged one. What is covered is the file
/// under this path: a hard link to it, or another mount of its file system, shows it still.
pub(super) fn cover(plan: &SandboxPlan) -> Result<(), SetupError> {
    for Cover { path, field } in &plan.covers {
        let step = || format!("{field}: {} cannot be covered", path.display());
        match fs::symlink_metadata(path) {
            // Removed since it was read, or below a directory that the command does not see.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(SetupError::new(step(), error, REMEDY)),
            Ok(found) => {
                let empty = if found.is_dir() { &plan.empty_directory } else { &plan.empty };
                bind(empty, path).step(step(), REMEDY)?;
                restrict(path, Attribute::ReadOnly).step(step(), REMEDY)?;
            }
        }
    }
    Ok(())
}
