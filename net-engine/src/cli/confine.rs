//! What the engine itself gives up once the sandbox stands: guest and upstream are hostile, and a
//! fault of ours must not become their program on this host.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use caps::CapSet;
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::seccomp;

/// The newest rights of Landlock that were thought about here; an older kernel has fewer.
const LANDLOCK: ABI = ABI::V7;

/// What the kernel could be made to enforce.
pub(super) struct Confinement {
    capabilities: bool,
    /// Whether it was applied, in words.
    seccomp: String,
    /// Likewise.
    landlock: String,
}

/// Confines this thread and every one it starts; best effort, for kernels differ.
///
/// Afterwards the process opens sockets, reads below `/etc` and `/run`, where `resolv.conf` is (it
/// is read for every query and may be replaced at any time), and removes `own_directory` and files in `socket_directories`. It
/// executes nothing, writes no file, makes no namespace and no mount, and looks into no other
/// process. Call it after the sandbox was forked, which would inherit all of this, and before there
/// are threads.
pub(super) fn confine(
    own_directory: &Path,
    watched_directory: Option<&Path>,
    socket_directories: &[PathBuf],
) -> Confinement {
    // A core dump has the secrets in it. A process that is not dumpable leaves none, nor has a limit
    // of this kind ever been refused.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // Refused only by kernels before 3.5, which have neither seccomp filters nor Landlock.
    let _ = prctl::set_no_new_privs();
    Confinement {
        capabilities: drop_capabilities().is_ok(),
        landlock: restrict_files(own_directory, watched_directory, socket_directories),
        // Last: the calls above are among those it could refuse.
        seccomp: match refuse_calls() {
            Ok(()) => "applied".to_owned(),
            Err(error) => format!("not applied ({error})"),
        },
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capabilities = if self.capabilities { "no capabilities" } else { "capabilities kept" };
        let Self { seccomp, landlock, .. } = self;
        write!(f, "confinement: {capabilities}, seccomp {seccomp}, Landlock {landlock}")
    }
}

/// An engine that root starts needs none of root's powers: what it opens, any user may open.
fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted]
        .into_iter()
        .try_for_each(|set| caps::clear(None, set))
}

fn restrict_files(
    own_directory: &Path,
    watched_directory: Option<&Path>,
    socket_directories: &[PathBuf],
) -> String {
    let resolv_conf = std::fs::canonicalize("/etc/resolv.conf").ok();
    // Directories, because what replaces the file is another one.
    let of_resolvers = ["/etc", "/run"].map(Path::new).into_iter();
    let readable = of_resolvers.chain(resolv_conf.as_deref().and_then(Path::parent)).chain(watched_directory);
    let enforce = || -> Result<_, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .scope(Scope::AbstractUnixSocket)?
            .create()?
            .add_rules(path_beneath_rules(readable, AccessFs::ReadFile))?
            .add_rules(path_beneath_rules([own_directory], AccessFs::ReadDir | AccessFs::RemoveFile))?
            // Removing a file is a right over the directory it is in.
            .add_rules(path_beneath_rules(socket_directories, AccessFs::RemoveFile))?
            // Removing a directory is a right over the one it is in.
            .add_rules(path_beneath_rules(own_directory.parent(), AccessFs::RemoveDir))?
            .restrict_self()
    };
    let outcome = match enforce() {
        Err(error) => return format!("not applied ({error})"),
        Ok(status) => match (status.ruleset, status.landlock) {
            (RulesetStatus::FullyEnforced, _) => "applied",
            (RulesetStatus::PartiallyEnforced, _) => "applied in part (the kernel knows fewer rights)",
            (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
                "not applied (the kernel was started without it)"
            }
            (RulesetStatus::NotEnforced, _) => "not applied (the kernel lacks it)",
        },
    };
    outcome.to_owned()
}

/// Refuses what an engine that somebody else has taken over would want.
fn refuse_calls() -> Result<(), seccompiler::Error> {
    // glibc falls back to `clone`, whose flags are not behind a pointer.
    seccomp::refuse(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), Errno::ENOSYS)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED_CALLS.iter().chain(REFUSED_CALLS_HERE).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, NAMESPACES.map(makes_namespace).into_iter().collect::<Result<_, _>>()?);
    seccomp::refuse(rules, Errno::EPERM)
}

/// `clone` with this flag.
fn makes_namespace(flag: libc::c_int) -> Result<SeccompRule, seccompiler::Error> {
    let flag = u64::from(flag.cast_unsigned());
    let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
    Ok(SeccompRule::new(vec![is_set])?)
}

const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

const REFUSED_CALLS: &[i64] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // Namespaces and mounts.
    libc::SYS_chroot,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    // Files past their paths, and devices.
    libc::SYS_fanotify_init,
    libc::SYS_mknodat,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Parts of the kernel that have much to be attacked and nothing that is used here.
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_quotactl,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    // The machine.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// Those that other architectures do not have.
#[cfg(target_arch = "x86_64")]
const REFUSED_CALLS_HERE: &[i64] =
    &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_mknod, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_CALLS_HERE: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::fs::File;
    use std::io::ErrorKind;
    use std::net::{TcpListener, UdpSocket};
    use std::process::Command;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};

    /// In a thread, which alone is bound.
    #[test]
    fn confinement_closes_and_leaves_open() {
        let directory = tempfile::tempdir().expect("a directory").keep();
        fs::write(directory.join("file"), "text").expect("a file");
        let had_resolv_conf = File::open("/etc/resolv.conf").is_ok();
        let confined = thread::spawn(move || {
            let report = confine(&directory, None, &[]).to_string();
            assert!(report.starts_with("confinement: no capabilities, seccomp "), "{report}");
            if report.contains("seccomp applied") {
                let executed = thread::spawn(|| Command::new("/bin/true").status()).join().expect("a thread");
                assert_eq!(executed.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
                assert_eq!(unshare(CloneFlags::CLONE_NEWUSER), Err(Errno::EPERM));
            }
            if report.contains("Landlock applied") {
                for path in ["/proc/self/status", "/usr/bin/env"].map(Path::new) {
                    let opened = File::open(path).map_err(|error| error.kind());
                    assert_eq!(opened.err(), Some(ErrorKind::PermissionDenied), "{}", path.display());
                }
                assert!(fs::write(directory.join("file"), "other").is_err());
                assert!(fs::write(directory.join("new"), "text").is_err());
            }
            assert_eq!(File::open("/etc/resolv.conf").is_ok(), had_resolv_conf);
            assert!(TcpListener::bind("127.0.0.1:0").is_ok());
            assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
            fs::remove_dir_all(&directory).expect("its own directory goes");
        });
        confined.join().expect("every assertion holds");
    }
}
