//! What rows share that run a script beside the engine, with rights over the network namespace of its command.

/// The words before the engine's: its script runs in the command's namespace, and what it says is in
/// `{id}.heard` once `{id}.done` is there. Below `{id}.own` are its `etc`, `run` and `lib`.
macro_rules! with_rights {
    ($script:expr) => {
        &[
            "sh",
            "-c",
            "script=$1; shift; \
             (umask 000; python3 {dir}/beside.py $$ {dir}/started/{id}.own \"$script\"; \
              touch {dir}/started/{id}.done) > {dir}/started/{id}.heard 2>&1 & exec \"$@\"",
            "sh",
            $script,
        ]
    };
}

/// The command's side of it: says what was heard, then runs `command`.
macro_rules! once_done {
    ($command:expr) => {
        concat!(
            "for i in $(seq 300); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; \
             cat {dir}/started/{id}.heard; ",
            $command
        )
    };
}

pub(super) use {once_done, with_rights};
