//! Where values are in memory: locked, once, and nowhere else when all connections are over.

use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Err, Exit, NotErr, NotOut, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

const FLAGS: &[&str] = &["--allow", "*.test", "--secret", "TOKEN=env:SECRET_SOURCE@*.test"];

/// What is said where the system locks no memory.
const UNLOCKED: &[&str] = &["warning: the system locks no memory for the values of secrets"];

pub(crate) const ROWS: &[Row] = &[
    row(
        "core_dump_holds_a_value_once",
        FLAGS,
        "for n in 1 2 3 4 5; do \
         curl -sS --http1.1 -H \"X-Token: $TOKEN\" -o {dir}/started/{id}.page 'https://web.test/hello?{id}[1-100]'; \
         curl -sS -H \"X-Token: $TOKEN\" -o {dir}/started/{id}.page 'https://h2.test/hello?{id}[1-100]'; \
         curl -sS -u \"user:$TOKEN\" -o {dir}/started/{id}.page 'https://h2.test/hello?{id}[1-10]'; \
         done; sleep 3; touch {dir}/started/{id}.over; \
         for i in $(seq 600); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; \
         cat {dir}/started/{id}.heard",
        &[
            Exit(0),
            Upstream(&["GET /hello?{id}100 HTTP/1.1", "token=\"real-{id}\""]),
            Upstream(&["GET /hello?{id}100 HTTP/2.0", "token=\"real-{id}\""]),
            Out("process net-engine"),
            Out(" MiB: 1 of the value"),
            Out("none encoded"),
            NotErr("locks no memory"),
        ],
    )
    .wrapped(&[
        "sh",
        "-c",
        "(python3 {dir}/core_dump.py $$ {dir}/started/{id} {dir}/clients; touch {dir}/started/{id}.done) \
         > {dir}/started/{id}.heard 2>&1 & exec \"$@\"",
        "sh",
    ])
    .judged()
    .needing(&[Need::Gdb, Need::Clients])
    .only(Only::Root),
    // In the other places it may stand in, over both protocols, in bodies that are held, that pass in pieces and that
    // are decoded, and in what comes back. Where it is missing upstream, the row says so before the dump does.
    row(
        "core_dump_holds_a_value_once_wherever_it_stood",
        &["--config", "{dir}/secret-everywhere.toml"],
        "quiet() { curl -sS -o {dir}/started/{id}.page \"$@\"; }; \
         json=\"{\\\"id\\\": \\\"{id}\\\", \\\"key\\\": \\\"$TOKEN\\\"}\"; \
         for n in 1 2 3; do for http in --http1.1 --http2; do \
         quiet $http \"https://h2.test/hello?{id}-query=$TOKEN&n=[1-50]\"; \
         quiet $http \"https://h2.test/hello/{id}-path/$TOKEN/[1-50]\"; \
         quiet $http -H 'Content-Type: application/json' -d \"$json\" 'https://echo.test/post?n=[1-10]'; \
         quiet $http -d \"{id}-form=$TOKEN\" 'https://echo.test/post?n=[1-10]'; \
         (head -c 3000000 /dev/zero | tr '\\0' x; echo \"$json\") | quiet $http -T - https://peer.test/{id}-put \
             -H 'Content-Type: application/json'; \
         echo \"$json\" | gzip | quiet $http --data-binary @- https://echo.test/post \
             -H 'Content-Type: application/json' -H 'Content-Encoding: gzip'; \
         quiet $http --compressed -H \"X-Token: $TOKEN\" 'https://echo.test/gzip?[1-10]'; \
         quiet $http \"https://echo.test/cookies/set?k=$TOKEN\"; \
         done; \
         python3 {dir}/with_secrets.py websocket {dir}/clients wss://ws.test/{id}; \
         done; sleep 3; touch {dir}/started/{id}.over; \
         for i in $(seq 600); do test -e {dir}/started/{id}.done && break; sleep 0.1; done; \
         cat {dir}/started/{id}.heard",
        &[
            Exit(0),
            Upstream(&["GET /hello?{id}-query=real-{id}&n=50 HTTP/1.1"]),
            Upstream(&["GET /hello?{id}-query=real-{id}&n=50 HTTP/2.0"]),
            Upstream(&["GET /hello/{id}-path/real-{id}/50 HTTP/1.1"]),
            Upstream(&["GET /hello/{id}-path/real-{id}/50 HTTP/2.0"]),
            Upstream(&["nginx body of", "POST /post?n=10 HTTP/1.1", ": \\\"real-{id}\\\"}"]),
            Upstream(&["nginx body of", "POST /post?n=10 HTTP/2.0", ": \\\"real-{id}\\\"}"]),
            Upstream(&["nginx body of", "POST /post?n=10 ", ": {id}-form=real-{id}"]),
            Upstream(&["nginx body of", "POST /post HTTP/2.0", ": \\\"real-{id}\\\"}"]),
            Upstream(&["GET /cookies/set?k=real-{id} "]),
            Upstream(&["websocket message", "in fragments real-{id}"]),
            Out("the same\n"),
            NotOut("another\n"),
            Out("process net-engine"),
            Out(" MiB: 1 of the value"),
            Out("none encoded"),
        ],
    )
    .wrapped(&[
        "sh",
        "-c",
        "(python3 {dir}/core_dump.py $$ {dir}/started/{id} {dir}/clients; touch {dir}/started/{id}.done) \
         > {dir}/started/{id}.heard 2>&1 & exec \"$@\"",
        "sh",
    ])
    .judged()
    .needing(&[Need::Gdb, Need::Clients, Need::Httpbin])
    .only(Only::Root),
    row(
        "value_that_cannot_be_locked_works_and_is_told",
        FLAGS,
        "curl -sS -H \"X-Token: $TOKEN\" https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} ", "token=\"real-{id}\""]), Err(UNLOCKED)],
    )
    .wrapped(&["sh", "-c", "ulimit -l 0; exec \"$@\"", "sh"])
    .judged()
    .only(Only::OrdinaryUser),
];
