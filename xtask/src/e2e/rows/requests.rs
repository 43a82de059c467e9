//! Rules for some requests: reads of one path, with curl as guest and nginx upstream.

use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

/// Allows GET of `/hello`, and nothing else.
const FLAGS: &[&str] = &["--config", "{dir}/requests.toml"];

pub(crate) const ROWS: &[Row] = &[
    row(
        "request_that_is_allowed",
        FLAGS,
        "curl -sS https://web.test/hello?{id} && curl -sS http://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx\nhello from nginx"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "request_by_another_method",
        FLAGS,
        "curl -sS -X POST -w '%{http_code}\\n' https://web.test/hello?{id} http://web.test/hello?{id}",
        &[
            Exit(0),
            Out("only other requests to the name are allowed\n403"),
            NotOut("hello from nginx"),
            NotUpstream("{id}"),
            Err(&["denied tcp web.test", "POST /hello: default (only other requests"]),
        ],
    )
    .judged(),
    row(
        "request_for_another_path",
        FLAGS,
        "for path in admin hello/../admin hello/%2e%2e/admin hello/..%2fadmin /hello hello/ hello%2f; do \
         curl -sS --path-as-is -o /dev/null -w '%{http_code}\\n' https://web.test/$path?{id} || exit; done \
         | sort | uniq -c | tr -d ' '",
        &[Exit(0), Out("7403"), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "request_in_another_spelling",
        FLAGS,
        "curl -sS --path-as-is https://web.test/x/../%68ello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    )
    .judged(),
    row(
        "request_that_cannot_be_seen",
        &["--config", "{dir}/requests.toml", "--bypass", "web.test"],
        "curl -sS --cacert {dir}/ca.pem https://web.test/hello?{id}",
        &[Fails, NotUpstream("{id}"), Err(&["denied tcp web.test", "none can be seen here"])],
    )
    .judged(),
];
