//! The processes of a sandbox.
#![allow(unsafe_code, reason = "fork and sigwaitinfo have no safe wrapper; each block says why it is sound")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, read, setpgid, write};

use super::setup_error::{SetupError, Step};
use super::{LinkKind, SandboxPlan, command, mounts, namespaces};

/// A sandbox that is ready and waits to be started.
pub(crate) struct Sandbox {
    /// The process to signal and to wait for.
    pub(crate) keeper: Pid,
    channel: OwnedFd,
}

const TAP: u8 = b'T';
const PACKET: u8 = b'P';
const GO: u8 = b'G';

/// Prepares a sandbox; nothing of the command runs before [`Sandbox::start`].
///
/// Call it before the process has threads: it forks, and the child goes on running Rust.
pub(crate) fn spawn(
    plan: &SandboxPlan,
    user_namespace: &OwnedFd,
) -> Result<(Sandbox, OwnedFd, LinkKind), SetupError> {
    const STEP: &str = "sandbox";
    const REMEDY: &str = "the system refuses a new process";
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).step(STEP, REMEDY)?;
    // SAFETY: the caller has no threads, so the child may do whatever the parent may.
    match unsafe { fork() }.step(STEP, REMEDY)? {
        ForkResult::Child => {
            drop(ours);
            run_keeper(plan, user_namespace.as_fd(), &theirs)
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let (descriptor, kind) = receive_link(&ours)?;
            Ok((Sandbox { keeper: child, channel: ours }, descriptor, kind))
        }
    }
}

/// Splits a process off that does `work` with the other end of the channel that is returned, which carries
/// messages whole. It dies with this one and has nothing else open but stdio and `kept`, which `work` may own; what is
/// dumpable of this one is of it.
///
/// Call it before the process has threads.
pub(crate) fn spawn_aside(
    kept: Vec<RawFd>,
    work: impl FnOnce(OwnedFd) -> Infallible,
) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "a process for secrets";
    const REMEDY: &str = "the system refuses a new process";
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).step(STEP, REMEDY)?;
    let parent = getpid();
    let kept = kept.into_iter().chain([theirs.as_raw_fd()]).collect();
    // SAFETY: as in `spawn`.
    match unsafe { fork() }.step(STEP, REMEDY)? {
        ForkResult::Parent { .. } => Ok(ours),
        ForkResult::Child => {
            // Whatever happens, nothing of the parent's is dropped a second time.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let is_orphan = die_with_parent().is_err() || getppid() != parent;
                // The terminal's signals are for the command.
                let is_apart = setpgid(Pid::from_raw(0), Pid::from_raw(0)).is_ok();
                if !is_orphan && is_apart && close_all_but(kept).is_ok() {
                    match work(theirs) {}
                }
            }));
            std::process::exit(1)
        }
    }
}

/// Closes what this process has open, but for stdio and these descriptors. Nothing may use the others afterwards.
fn close_all_but(kept: BTreeSet<RawFd>) -> nix::Result<()> {
    let mut first = 3;
    let kept = kept.into_iter().map(RawFd::cast_unsigned).chain([libc::c_uint::MAX]);
    for next in kept.filter(|next| *next >= 3) {
        // SAFETY: the caller never returns to what owns these descriptors.
        if first < next && unsafe { libc::close_range(first, next - 1, 0) } != 0 {
            return Err(Errno::last());
        }
        first = next.saturating_add(1);
    }
    Ok(())
}

impl Sandbox {
    /// Lets the command run.
    pub(crate) fn start(&self) -> io::Result<()> {
        write(&self.channel, &[GO])?;
        Ok(())
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "no other control message was asked for")]
fn receive_link(channel: &OwnedFd) -> Result<(OwnedFd, LinkKind), SetupError> {
    const REMEDY: &str = "the process that prepares the sandbox ended early";
    let mut text = [0; 1024];
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        recvmsg::<()>(channel.as_raw_fd(), &mut parts, Some(&mut space), flags).step("sandbox", REMEDY)?;
    let descriptor = message.cmsgs().step("sandbox", REMEDY)?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    let length = message.bytes;
    match (text.first(), descriptor) {
        (Some(kind @ (&TAP | &PACKET)), Some(descriptor)) => {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            Ok((descriptor, if *kind == TAP { LinkKind::Tap } else { LinkKind::Packet }))
        }
        _ if length == 0 => Err(SetupError::new("sandbox", "no answer", REMEDY)),
        _ => Err(SetupError::from_text(String::from_utf8_lossy(&text[..length]).into_owned())),
    }
}

fn run_keeper(plan: &SandboxPlan, user_namespace: BorrowedFd<'_>, channel: &OwnedFd) -> ! {
    let ended = prepare(plan, user_namespace).and_then(|link| {
        // SAFETY: as in `spawn`; the keeper has one thread.
        match unsafe { fork() }.step("process 1", "the system refuses a new process")? {
            ForkResult::Child => run_init(plan, channel, link),
            ForkResult::Parent { child } => Ok(child),
        }
    });
    match ended {
        Ok(init) => std::process::exit(supervise(init)),
        Err(error) => give_up(channel, &error),
    }
}

fn prepare(plan: &SandboxPlan, user_namespace: BorrowedFd<'_>) -> Result<(OwnedFd, LinkKind), SetupError> {
    let link = namespaces::enter(plan, user_namespace)?;
    // After the ids have changed, which clears it.
    die_with_parent().step("sandbox", "the kernel lacks PR_SET_PDEATHSIG")?;
    Ok(link)
}

fn run_init(plan: &SandboxPlan, channel: &OwnedFd, (descriptor, kind): (OwnedFd, LinkKind)) -> ! {
    let prepared = die_with_parent()
        .step("process 1", "the kernel lacks PR_SET_PDEATHSIG")
        .and_then(|()| mounts::prepare(plan));
    if let Err(error) = prepared {
        give_up(channel, &error);
    }
    let kind = [if kind == LinkKind::Tap { TAP } else { PACKET }];
    let descriptors = [descriptor.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let sent = sendmsg::<()>(channel.as_raw_fd(), &[IoSlice::new(&kind)], &control, MsgFlags::empty(), None);
    let mut go = [0];
    // The engine that ends before it says go takes the sandbox with it.
    if sent.is_err() || read(channel, &mut go) != Ok(1) {
        std::process::exit(1);
    }
    drop(descriptor);
    if !plan.has_terminal {
        // What the command sends to its own group is not for the group that started the engine.
        // With a terminal the two are one, or the terminal would stop the command.
        let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    }
    // SAFETY: as in `spawn`; process 1 has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let error = match command::become_command(plan) {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let program = plan.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
            // Standard error may be closed; the exit status says it too.
            let _ = writeln!(io::stderr(), "net-engine: {program}: {}", io::Error::from(error));
            std::process::exit(if error == Errno::ENOENT { 127 } else { 126 });
        }
        Ok(ForkResult::Parent { child }) => std::process::exit(supervise(child)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "net-engine: no process for the command: {error}");
            std::process::exit(126);
        }
    }
}

/// Waits for `child`, passing signals on to it; its exit status, 128 and the number for a signal.
#[allow(clippy::wildcard_enum_match_arm, reason = "only an end ends the wait")]
fn supervise(child: Pid) -> i32 {
    let mut all = SigSet::all();
    // A debugger's and the terminal's business.
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT] {
        all.remove(signal);
    }
    if sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None).is_err() {
        return 126;
    }
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::Exited(pid, status) if pid == child => return status,
                WaitStatus::Signaled(pid, signal, _) if pid == child => return 128 + signal as i32,
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
        // SAFETY: an all-zero `siginfo_t` is a valid one, and both pointers outlive the call.
        let (signal, from_kernel) = unsafe {
            let mut info: libc::siginfo_t = zeroed();
            let signal = libc::sigwaitinfo(all.as_ref(), &raw mut info);
            (signal, info.si_code == libc::SI_KERNEL)
        };
        let Ok(signal) = Signal::try_from(signal) else { continue };
        // The terminal signals its whole foreground group: the command has heard it already.
        if signal != Signal::SIGCHLD && !from_kernel {
            // The command may have ended meanwhile, which the next wait reports.
            let _ = kill(child, signal);
        }
    }
}

fn die_with_parent() -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)
}

fn give_up(channel: &OwnedFd, error: &SetupError) -> ! {
    // Without a reader nobody is left to tell.
    let _ = write(channel, error.to_string().as_bytes());
    std::process::exit(2);
}
