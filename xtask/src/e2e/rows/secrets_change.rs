//! Values that change while the command runs: its next request has the new one, on the connection it has.
//!
//! A wrapper makes `{dir}/started/{id}.d/secret`, with `old-{id}` in it, and changes it once the guest has made
//! `{id}.go`; `{id}.done` tells the guest. What is in a directory of its own may be replaced.

use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

/// The flags of a row whose secret is the file.
const FLAGS: &[&str] =
    &["--allow", "peer.test", "--secret", "TOKEN=file:{dir}/started/{id}.d/secret@peer.test"];

/// Sends two requests over one connection, the second once the file has changed and the engine has had time to
/// see it.
const TWICE: &str = "python3 {dir}/with_secrets.py twice peer.test /{id} {dir}/started/{id}";

/// A wrapper that makes the file, and what changes it.
macro_rules! changed {
    ($before:literal, $change:literal) => {
        &[
            "sh",
            "-c",
            concat!(
                "cd {dir}/started && mkdir {id}.d && echo old-{id} > {id}.d/secret || exit; ",
                $before,
                "\n(n=0; until test -e {id}.go || test $n -gt 900; do sleep 0.1; n=$((n+1)); done; ",
                $change,
                "; touch {id}.done) & exec \"$@\""
            ),
            "sh",
        ]
    };
}

const OLD: &[&str] = &["recorder https head", "/{id}-1 ", "X-Token: old-{id}"];
const NEW: &[&str] = &["recorder https head", "/{id}-2 ", "X-Token: new-{id}"];

pub(crate) const ROWS: &[Row] = &[
    row(
        "secret_file_is_written",
        FLAGS,
        TWICE,
        &[Exit(0), Out("1: 200\n2: 200\n"), Out("one connection"), Upstream(OLD), Upstream(NEW)],
    )
    .wrapped(changed!("touch {id}.d/neighbour", "echo new-{id} > {id}.d/secret"))
    .judged()
    .only(Only::OncePerUser)
    .patient(),
    row(
        "secret_file_is_replaced",
        FLAGS,
        "python3 {dir}/with_secrets.py twice peer.test /{id} {dir}/started/{id}; cat {dir}/started/{id}.d/*",
        &[
            Exit(1),
            Out("1: 200\n2: 200\n"),
            Out("one connection"),
            NotOut("new-{id}"),
            NotOut("old-{id}"),
            Err(&["--secret TOKEN: a new value was taken over"]),
            Upstream(OLD),
            Upstream(NEW),
        ],
    )
    .wrapped(changed!("", "echo new-{id} > {id}.d/new; mv {id}.d/new {id}.d/secret"))
    .judged()
    .only(Only::OncePerUser)
    .patient(),
    row(
        "secret_file_is_removed",
        FLAGS,
        TWICE,
        &[
            Exit(0),
            Out("1: 200\n2: 403\n"),
            Err(&["--secret TOKEN: its file is gone"]),
            Err(&["violation", "TOKEN", "peer.test"]),
            Upstream(OLD),
            NotUpstream("/{id}-2 "),
        ],
    )
    .wrapped(changed!("", "rm {id}.d/secret"))
    .judged()
    .only(Only::OncePerUser)
    .patient(),
    row(
        "secret_file_is_replaced_in_sight",
        FLAGS,
        TWICE,
        &[
            Exit(0),
            Out("1: 200\n2: 200\n"),
            Err(&["--secret TOKEN: its file was replaced where the command sees the new one"]),
            Upstream(OLD),
            Upstream(&["recorder https head", "/{id}-2 ", "X-Token: old-{id}"]),
        ],
    )
    .wrapped(changed!("touch {id}.d/neighbour", "echo new-{id} > {id}.d/new; mv {id}.d/new {id}.d/secret"))
    .judged()
    .only(Only::OncePerUser)
    .patient(),
    row(
        "secret_from_a_command_that_runs_again",
        &["--config", "{dir}/started/{id}.toml"],
        TWICE,
        &[Exit(0), Out("1: 200\n2: 200\n"), Out("one connection"), Upstream(OLD), Upstream(NEW)],
    )
    .wrapped(changed!(
        "cat > {id}.toml <<'END'
allow = [\"peer.test\"]

[[secrets]]
env = \"TOKEN\"
source = \"cmd:cat {dir}/started/{id}.d/secret\"
ttl = \"1s\"
hosts = [\"peer.test\"]
END",
        "echo new-{id} > {id}.d/secret"
    ))
    .judged()
    .only(Only::OncePerUser)
    .patient(),
];
