//! What the command sees differently from the rest of the host's file system.

use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::SandboxPlan;
use super::setup_error::{SetupError, Step};
use crate::cli::trust::SYSTEM_BUNDLES;

/// Sockets of resolvers on the host: a name asked there would be answered past the engine, and no
/// address would be pinned to it.
const RESOLVER_SOCKETS: &[&str] = &["/run/systemd/resolve", "/run/nscd", "/var/run/nscd"];

const REMEDY: &str = "mount namespaces must be allowed here, and /proc must not be masked by a container";

/// Prepares the mount namespace of process 1, which is not shared with anybody else.
pub(super) fn prepare(plan: &SandboxPlan) -> Result<(), SetupError> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).step("mounts", REMEDY)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NONE).step("/proc", REMEDY)?;
    for directory in RESOLVER_SOCKETS.iter().map(Path::new).filter(|path| path.is_dir()) {
        mount(Some("tmpfs"), directory, Some("tmpfs"), flags | MsFlags::MS_RDONLY, Some("size=4k"))
            .step("resolver sockets", REMEDY)?;
    }
    bind(&plan.resolv_conf, Path::new("/etc/resolv.conf"))
        .step("/etc/resolv.conf", "the file must exist, so that ours can stand in its place")?;
    if let Some(bundle) = &plan.ca_bundle {
        for path in SYSTEM_BUNDLES.iter().map(Path::new).filter(|path| path.is_file()) {
            bind(bundle, path).step("certificate bundle", REMEDY)?;
        }
    }
    Ok(())
}

fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    // A symbolic link is followed: what it names is covered.
    let target = std::fs::canonicalize(target).map_err(|_| nix::Error::ENOENT)?;
    mount(Some(source), &target, NONE, MsFlags::MS_BIND, NONE)
}
