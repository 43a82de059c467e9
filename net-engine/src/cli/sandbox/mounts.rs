//! What the command sees differently from the rest of the host's file system.

use std::fs::File;
use std::path::Path;
use std::{env, fs, io};

use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;

use super::mount_attributes::{Attribute, restrict};
use super::setup_error::{SetupError, Step};
use super::{SandboxPlan, covers, kernel_files};
use crate::cli::trust::SYSTEM_BUNDLES;

/// Directories of sockets behind which others act for the command. A name asked of a resolver of the
/// host would be answered past the engine, and no address would be pinned to it; on a bus are
/// resolvers too, and whoever starts programs outside.
const HIDDEN: &[&str] =
    &["/run/systemd/resolve", "/run/nscd", "/var/run/nscd", "/run/avahi-daemon", "/run/dbus", "/run/user"];

const PROC: &str = "/proc";

const REMEDY: &str = "mount namespaces must be allowed here, and /proc must not be masked by a container";

/// Prepares the mount namespace of process 1, which is not shared with anybody else.
pub(super) fn prepare(plan: &SandboxPlan) -> Result<(), SetupError> {
    const NONE: Option<&str> = None;
    let is_root = geteuid().is_root();
    let resolv_conf = fs::canonicalize("/etc/resolv.conf")
        .step("/etc/resolv.conf", "the file must exist, so that ours can stand in its place")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).step("mounts", REMEDY)?;
    if is_root {
        kernel_files::close_mounted()?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), PROC, Some("proc"), flags, NONE).step(PROC, REMEDY)?;
    if is_root {
        kernel_files::close_proc()?;
    }
    let hidden: Vec<&Path> = HIDDEN.iter().map(Path::new).filter(|path| path.is_dir()).collect();
    for directory in &hidden {
        mount(Some("tmpfs"), *directory, Some("tmpfs"), flags, Some("size=4k,mode=755"))
            .step("hidden directories", REMEDY)?;
    }
    if !plan.resolv_conf.exists() {
        return Err(SetupError::new(
            "TMPDIR",
            "the command does not see it",
            "set it to a directory outside of /run",
        ));
    }
    // The file that `/etc/resolv.conf` is a link to may be in a directory that has just been hidden.
    if !resolv_conf.exists() {
        File::create(&resolv_conf).step("/etc/resolv.conf", REMEDY)?;
    }
    bind(&plan.resolv_conf, &resolv_conf).step("/etc/resolv.conf", REMEDY)?;
    for directory in &hidden {
        restrict(directory, Attribute::ReadOnly).step("hidden directories", REMEDY)?;
    }
    if let Some(bundle) = &plan.ca_bundle {
        for path in SYSTEM_BUNDLES.iter().map(Path::new).filter(|path| path.is_file()) {
            bind(bundle, path).step("certificate bundle", REMEDY)?;
        }
    }
    covers::cover(plan)?;
    leave_hidden(&hidden).step("working directory", "start net-engine from another directory")
}

/// A working directory below a mount point stays below the mount: finds it anew by its path.
fn leave_hidden(directories: &[&Path]) -> io::Result<()> {
    // A directory without a path was removed, or is out of reach of every mount made here.
    let Ok(working) = env::current_dir() else { return Ok(()) };
    if directories.iter().chain(&[Path::new(PROC)]).any(|hidden| working.starts_with(hidden)) {
        env::set_current_dir(working)?;
    }
    Ok(())
}

pub(super) fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    // A symbolic link is followed: what it names is covered.
    let target = fs::canonicalize(target).map_err(|_| nix::Error::ENOENT)?;
    mount(Some(source), &target, NONE, MsFlags::MS_BIND, NONE)
}
