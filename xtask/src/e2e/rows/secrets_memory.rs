//! Where values are in memory: locked, once, and nowhere else when all connections are over.

use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Err, Exit, NotErr, Out, Upstream};
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
            NotErr("locks no memory"),
        ],
    )
    .wrapped(&[
        "sh",
        "-c",
        "(python3 {dir}/core_dump.py $$ {dir}/started/{id}; touch {dir}/started/{id}.done) \
         > {dir}/started/{id}.heard 2>&1 & exec \"$@\"",
        "sh",
    ])
    .judged()
    .needing(&[Need::Gdb])
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
