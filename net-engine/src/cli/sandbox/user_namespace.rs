//! The user namespace of a sandbox.
#![allow(unsafe_code, reason = "fork has no safe wrapper; the block says why it is sound")]

use std::fs;
use std::fs::File;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Uid, fork, getegid, geteuid, read, write};

use super::setup_error::{SetupError, Step};

const STEP: &str = "user namespace";
const REMEDY: &str = "run as root, or have the kernel allow user namespaces: sysctl kernel.unprivileged_userns_clone, \
     user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns";
const READY: u8 = b'R';

/// Makes a user namespace in which the caller's ids mean what they mean outside.
///
/// A process can write its id maps only while it is dumpable, and a dumpable one is read by
/// everybody of the same user. So a process that ends right after does it: call this before any
/// secret is in memory, and before the process has threads.
pub(crate) fn make() -> Result<OwnedFd, SetupError> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .step(STEP, REMEDY)?;
    // SAFETY: the caller has no threads, so the child may do whatever the parent may.
    match unsafe { fork() }.step(STEP, REMEDY)? {
        ForkResult::Child => {
            drop(ours);
            let ready = match enter(geteuid(), getegid()) {
                Ok(()) => write(&theirs, &[READY]),
                Err(error) => write(&theirs, error.to_string().as_bytes()),
            };
            // The parent has opened the namespace when it closes its end.
            let _ = ready.and_then(|_| read(&theirs, &mut [0]));
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let mut text = [0; 1024];
            let length = read(&ours, &mut text).step(STEP, REMEDY)?;
            let namespace = match &text[..length] {
                [READY] => File::open(format!("/proc/{child}/ns/user")).step(STEP, REMEDY),
                [] => Err(SetupError::new(STEP, "no answer", REMEDY)),
                text => Err(SetupError::from_text(String::from_utf8_lossy(text).into_owned())),
            };
            drop(ours);
            waitpid(child, None).step(STEP, REMEDY)?;
            Ok(namespace?.into())
        }
    }
}

/// The caller keeps its ids: what it may read and write stays what it was.
fn enter(uid: Uid, gid: Gid) -> Result<(), SetupError> {
    unshare(CloneFlags::CLONE_NEWUSER).step(STEP, REMEDY)?;
    prctl::set_dumpable(true).step(STEP, REMEDY)?;
    for (map, line) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{uid} {uid} 1")),
        ("gid_map", format!("{gid} {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{map}"), line).step("user namespace maps", REMEDY)?;
    }
    Ok(())
}
