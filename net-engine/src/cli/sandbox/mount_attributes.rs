//! mount_setattr(2).
#![allow(unsafe_code, reason = "it has no safe wrapper; the block says why it is sound")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// What a mount is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attribute {
    /// Nothing below is written.
    ReadOnly,
    /// No device below is opened, on this mount and every one below it.
    NoDevicesBelow,
    /// Devices are opened again.
    Devices,
}

/// Changes an attribute of the mount at `path` and leaves the others as they are.
///
/// # Errors
/// `EINVAL` where nothing is mounted there, `ENOSYS` before Linux 5.12.
pub(super) fn restrict(path: &Path, attribute: Attribute) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (set, clear, flags) = match attribute {
        Attribute::ReadOnly => (libc::MOUNT_ATTR_RDONLY, 0, 0),
        Attribute::NoDevicesBelow => (libc::MOUNT_ATTR_NODEV, 0, libc::AT_RECURSIVE),
        Attribute::Devices => (0, libc::MOUNT_ATTR_NODEV, 0),
    };
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    // SAFETY: path and attributes outlive the call, and the size is that of the structure.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
