//! Filters of system calls.
//!
//! Both filters are lists of what is refused. A list of what is allowed would close more, but it
//! has to name every call that libc, the runtime and the crypto provider make on every version,
//! and what it forgets breaks connections in production; the calls that lead out are known.

use std::collections::BTreeMap;

use nix::errno::Errno;
use seccompiler::{BpfProgram, Error, SeccompAction, SeccompFilter, SeccompRule};

/// Makes these calls fail with `errno`, for the calling thread and all it starts. A call without
/// rules fails always, one with rules where any of them holds. Calls of another architecture
/// (32-bit programs) end the process: their numbers mean something else.
///
/// The process needs `no_new_privs`.
pub(super) fn refuse(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: Errno) -> Result<(), Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let action = SeccompAction::Errno((errno as i32).cast_unsigned());
    let filter: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?;
    seccompiler::apply_filter(&[without_x32(), filter].concat())
}

/// x32 is x86-64 with other numbers and passes for the same architecture: all of it is unknown.
#[cfg(target_arch = "x86_64")]
fn without_x32() -> BpfProgram {
    use nix::libc::{BPF_ABS, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, ENOSYS, SECCOMP_RET_ERRNO};
    use seccompiler::sock_filter;

    const X32_BIT: u32 = 0x4000_0000;
    /// Where the number of the call is in `seccomp_data`.
    const NUMBER_OFFSET: u32 = 0;
    let instruction = |code: u32, jf: u8, k: u32| sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf,
        k,
    };
    vec![
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, NUMBER_OFFSET),
        instruction(BPF_JMP | BPF_JGE | BPF_K, 1, X32_BIT),
        instruction(BPF_RET | BPF_K, 0, SECCOMP_RET_ERRNO | ENOSYS.cast_unsigned()),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32() -> BpfProgram {
    Vec::new()
}
