//! The guest holds a placeholder, upstream gets the value, and nobody else either.
//!
//! `SECRET_SOURCE` is `real-{id}` in the engine's environment.

use super::lines::VIOLATION;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "secret_in_a_header",
        &["--allow", "web.test", "--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "curl -sS -H \"X-Token: $TOKEN\" https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} ", "token=\"real-{id}\""])],
    ),
    row(
        "secret_in_a_bearer_header_v6",
        &["--allow", "peer.test", "--secret", "TOKEN=env:SECRET_SOURCE@peer.test"],
        "curl -sS -6 -H \"Authorization: Bearer $TOKEN\" https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https head", "/{id} ", "Authorization: Bearer real-{id}"])],
    ),
    row(
        "secret_in_basic",
        &["--allow", "peer.test", "--secret", "TOKEN=env:SECRET_SOURCE@peer.test"],
        "curl -sS -u \"user:$TOKEN\" https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https basic", "user:real-{id}"])],
    ),
    row(
        "secret_on_every_request_of_a_connection",
        &["--allow", "peer.test", "--secret", "TOKEN=env:SECRET_SOURCE@peer.test"],
        "curl -sS -H \"X-Token: $TOKEN\" https://peer.test/{id}-1 https://peer.test/{id}-2",
        &[
            Exit(0),
            Upstream(&["recorder https head", "/{id}-1 ", "X-Token: real-{id}"]),
            Upstream(&["recorder https head", "/{id}-2 ", "X-Token: real-{id}"]),
        ],
    ),
    row(
        "secret_from_a_file",
        &["--allow", "peer.test", "--secret", "TOKEN=file:{dir}/secret@peer.test"],
        "curl -sS -H \"X-Token: $TOKEN\" https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https head", "/{id} ", "X-Token: real-from-file\\r\\n"])],
    )
    .judged(),
    row(
        "secret_from_a_command",
        &["--allow", "peer.test", "--secret", "TOKEN=cmd:echo real-{id}@peer.test"],
        "curl -sS -H \"X-Token: $TOKEN\" https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https head", "/{id} ", "X-Token: real-{id}\\r\\n"])],
    ),
    row(
        "secret_for_a_pattern",
        &["--allow", "*.test", "--secret", "TOKEN=env:SECRET_SOURCE@*.test"],
        "curl -sS -H \"X-Token: $TOKEN\" https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https head", "/{id} ", "X-Token: real-{id}"])],
    ),
    row(
        "secret_stays_outside",
        &["--allow", "web.test", "--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'",
        &[Exit(0), Out("TOKEN="), NotOut("real-{id}"), NotOut("SECRET_SOURCE=")],
    )
    .judged(),
    row(
        "placeholder_to_another_host",
        &["--allow", "*.test", "--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "curl -sSf -H \"X-Token: $TOKEN\" https://peer.test/{id}",
        &[Fails, Err(&[VIOLATION, "TOKEN", "peer.test"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "placeholder_in_basic_to_another_host",
        &["--allow", "*.test", "--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "curl -sSf -u \"user:$TOKEN\" https://peer.test/{id}",
        &[Fails, Err(&[VIOLATION, "TOKEN", "peer.test"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "placeholder_in_a_target",
        &["--allow", "peer.test", "--secret", "TOKEN=env:SECRET_SOURCE@peer.test"],
        "curl -sSf \"https://peer.test/{id}?token=$TOKEN\"",
        &[Fails, Err(&[VIOLATION, "TOKEN"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "placeholder_over_plain_http",
        &["--allow", "peer.test", "--secret", "TOKEN=env:SECRET_SOURCE@peer.test"],
        "curl -sSf -H \"X-Token: $TOKEN\" http://peer.test/{id}",
        &[Fails, Err(&[VIOLATION, "TOKEN"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "no_placeholder_no_violation",
        &["--allow", "*.test", "--secret", "TOKEN=env:SECRET_SOURCE@web.test"],
        "curl -sS -H 'X-Token: something else' https://peer.test/{id}",
        &[Exit(0), Upstream(&["recorder https head", "/{id} ", "X-Token: something else"])],
    ),
];
