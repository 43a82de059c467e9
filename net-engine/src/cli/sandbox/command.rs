//! The last steps of the process that becomes the command.
#![allow(
    unsafe_code,
    reason = "close_range and keyctl have no safe wrapper; each block says why it is sound"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::execvpe;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::SandboxPlan;
use crate::cli::seccomp;

/// Families of sockets that a network namespace contains, and AF_ALG, which leads nowhere. The
/// others may end outside: AF_VSOCK is the way from a virtual machine to its host.
const CONTAINED_FAMILIES: [libc::c_int; 6] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_ALG];

/// Of ioctl_tty(2), the same on all targets; libc's have a type that differs.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// What programs send to their process group as the terminal does: to stop it and to go on.
const JOB_CONTROL: [libc::c_int; 5] = [0, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];

/// Becomes the command, without capabilities and without a way to gain any.
pub(super) fn become_command(plan: &SandboxPlan) -> nix::Result<Infallible> {
    // CAP_NET_RAW stays in the bounding set: ping carries it as a file capability, and the kernel
    // refuses to execute a program whose capabilities are bounded away. `no_new_privs` below keeps
    // anybody from gaining it.
    for capability in caps::all().into_iter().filter(|capability| *capability != Capability::CAP_NET_RAW) {
        // A kernel older than the capability has nothing to drop.
        let _ = caps::drop(None, CapSet::Bounding, capability);
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|_| Errno::EPERM)?;
    }
    prctl::set_no_new_privs()?;
    leave_keyrings();
    // Nothing of ours is inherited but stdio: everything we open closes on exec, and this catches
    // what our caller left open.
    // SAFETY: marks descriptors that nothing uses before the exec below.
    if unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) } != 0 {
        return Err(Errno::last());
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    // A kernel without seccomp leaves open what the filter closes; `run -v` says so.
    let _ = refuse_ways_around(plan.has_terminal);
    let environment: Vec<CString> = plan
        .environment
        .iter()
        .filter_map(|(name, value)| {
            let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(pair).ok()
        })
        .collect();
    execvpe(plan.command.first().ok_or(Errno::ENOENT)?, &plan.command, &environment)
}

/// Trades the caller's session keyring for an empty one: possession of a keyring is possession of
/// its keys, and no namespace contains it.
fn leave_keyrings() {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // Where the kernel has no keyrings, or a container refuses the call, there is nothing to leave.
    // SAFETY: the null pointer asks for a keyring without a name.
    let _ =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
}

/// Refuses what leads around namespaces and the filter itself:
/// sockets that a network namespace does not contain; the kernel's keys, which know users and not
/// namespaces; typing into the caller's terminal, and signals to the process group where that is
/// shared with the caller; and io_uring, whose requests no filter sees.
fn refuse_ways_around(shares_group: bool) -> Result<(), seccompiler::Error> {
    let other_family = CONTAINED_FAMILIES
        .iter()
        .map(|family| argument(0, SeccompCmpOp::Ne, family.unsigned_abs().into()))
        .collect::<Result<_, _>>()?;
    // The kernel looks at 32 bits of the request.
    let ioctl = |request| -> Result<SeccompRule, seccompiler::Error> {
        Ok(SeccompRule::new(vec![argument(1, SeccompCmpOp::Eq, request)?])?)
    };
    let mut rules = BTreeMap::from([
        (libc::SYS_socket, vec![SeccompRule::new(other_family)?]),
        (libc::SYS_ioctl, vec![ioctl(TIOCSTI)?, ioctl(TIOCLINUX)?]),
        (libc::SYS_io_uring_setup, Vec::new()),
        (libc::SYS_add_key, Vec::new()),
        (libc::SYS_request_key, Vec::new()),
        (libc::SYS_keyctl, Vec::new()),
    ]);
    if shares_group {
        let other_signals = std::iter::once(argument(0, SeccompCmpOp::Eq, 0))
            .chain(JOB_CONTROL.map(|signal| argument(1, SeccompCmpOp::Ne, signal.unsigned_abs().into())))
            .collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_kill, vec![SeccompRule::new(other_signals)?]);
    }
    seccomp::refuse(rules, Errno::EPERM)
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)?)
}
