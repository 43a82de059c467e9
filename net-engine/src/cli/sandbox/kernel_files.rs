//! Files behind which is the host's kernel and not a disk.
//!
//! The command of root is root to them: it keeps its uid, and most of them ask for nothing else. A
//! line written into `/proc/sys/kernel/core_pattern` or `/sys/kernel/uevent_helper` runs a program
//! outside every namespace, and a disk's device is every file on it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, str};

use nix::mount::{MsFlags, mount};

use super::mount_attributes::{Attribute, restrict};
use super::mounts::bind;
use super::setup_error::{SetupError, Step};

const REMEDY: &str = "as root, net-engine needs Linux 5.12 and a mount namespace: run it as another user";

/// File systems of the kernel whose mounts become read-only.
const OF_THE_KERNEL: &[&str] = &[
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "efivarfs",
    "fusectl",
    "proc",
    "pstore",
    "resctrl",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// Devices that lead nowhere, where they are open to everybody.
const DEVICES_FOR_EVERYBODY: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/fuse",
    "/dev/kvm",
    "/dev/net/tun",
];

/// Closes what is mounted now: call it before a `/proc` of one's own is mounted.
pub(super) fn close_mounted() -> Result<(), SetupError> {
    let mountinfo = fs::read("/proc/self/mountinfo").step("mounts", REMEDY)?;
    for path in mounts_of(&mountinfo, OF_THE_KERNEL) {
        match restrict(&path, Attribute::ReadOnly) {
            Ok(()) => {}
            // Hidden by another mount, so nobody gets there.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {}
            Err(error) => return Err(SetupError::new(path.display(), error, REMEDY)),
        }
    }
    close_devices().step("/dev", REMEDY)
}

/// Closes `/proc`, once it is that of the sandbox: read-only but for the processes.
///
/// Side effect: the command cannot mount a `/proc` in namespaces of its own, for that one would be
/// open again.
pub(super) fn close_proc() -> Result<(), SetupError> {
    for entry in fs::read_dir("/proc").step("/proc", REMEDY)? {
        let entry = entry.step("/proc", REMEDY)?;
        let metadata = entry.metadata().step("/proc", REMEDY)?;
        let is_process = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        let is_writable = metadata.is_dir() || metadata.permissions().mode() & 0o222 != 0;
        // `self`, `net` and the like lead to processes.
        if !is_process && !metadata.is_symlink() && is_writable {
            let path = entry.path();
            bind(&path, &path).step(path.display(), REMEDY)?;
            restrict(&path, Attribute::ReadOnly).step(path.display(), REMEDY)?;
        }
    }
    Ok(())
}

fn close_devices() -> io::Result<()> {
    const EVERYBODY: u32 = 0o006;
    let is_device =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device());
    let is_open = |path: &Path| {
        is_device(path)
            && fs::metadata(path).is_ok_and(|found| found.permissions().mode() & EVERYBODY == EVERYBODY)
    };
    restrict(Path::new("/"), Attribute::NoDevicesBelow)?;
    for path in DEVICES_FOR_EVERYBODY.iter().map(Path::new).filter(|path| is_open(path)) {
        bind(path, path)?;
        restrict(path, Attribute::Devices)?;
    }
    let (terminals, multiplexer) = (Path::new("/dev/pts"), Path::new("/dev/ptmx"));
    match (terminals.is_dir(), is_device(multiplexer)) {
        (false, _) => Ok(()),
        // It is a link into the file system of terminals.
        (true, false) => restrict(terminals, Attribute::Devices),
        // It finds that file system beside itself, and nothing beside a mount over itself. So there
        // are new terminals with a multiplexer inside.
        (true, true) => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
            let options = Some("newinstance,ptmxmode=0666,mode=620");
            mount(Some("devpts"), terminals, Some("devpts"), flags, options)?;
            Ok(bind(Path::new("/dev/pts/ptmx"), multiplexer)?)
        }
    }
}

/// Where file systems of these types are mounted, in the words of proc_pid_mountinfo(5).
fn mounts_of(mountinfo: &[u8], types: &[&str]) -> Vec<PathBuf> {
    let of_line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let path = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let kind = str::from_utf8(kind).ok()?;
        types.contains(&kind).then(|| unescape(path))
    };
    mountinfo.split(|byte| *byte == b'\n').filter_map(of_line).collect()
}

/// Blanks and the like are three octal digits there.
fn unescape(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if *byte == b'\\' => {
                path.push(escaped);
                rest = &after[3..];
            }
            _ => {
                path.push(*byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_type() {
        let mountinfo = b"22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw\n\
                          23 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                          24 1 0:22 / /a\\040b\\134\\0 rw shared:1 master:2 - sysfs sysfs rw\n\n";
        let found = mounts_of(mountinfo, &["proc", "sysfs"]);
        assert_eq!(found, [Path::new("/proc"), Path::new("/a b\\\\0")]);
        assert!(mounts_of(b"22 1 0:21 / /proc rw", &["proc"]).is_empty());
    }
}
