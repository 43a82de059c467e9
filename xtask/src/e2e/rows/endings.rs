//! How streams begin and end: half-close, refusals as upstream gave them, who speaks first.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, Out, Upstream};
use crate::e2e::row::{Row, row};

/// Replaces the rules once the guest is ready, and writes down when.
const CHANGING_RULES: &[&str] = &[
    "sh",
    "-c",
    "f={dir}/started/{id}
     echo 'allow = [\"192.31.196.3\"]' > $f.toml
     ( until [ -e $f.mark ]; do sleep 0.05; done
       echo 'allow = [\"192.31.196.3:7000\"]' > $f.new
       date +%s.%N > $f.mark.new
       mv $f.new $f.toml
       mv $f.mark.new $f.mark.changed ) &
     exec \"$@\"",
    "sh",
];

pub(crate) const ROWS: &[Row] = &[
    row(
        "guest_ends_its_half_first",
        &["--allow", "peer.test:7002"],
        "python3 {dir}/guest.py ends_first peer.test 7002 {id}",
        &[Exit(0), Out("bytes sha256")],
    ),
    row(
        "upstream_ends_its_half_first",
        &["--allow", "peer.test:7003"],
        "python3 {dir}/guest.py ends_last peer.test 7003 {id}",
        &[Exit(0), Out("bye then end"), Upstream(&["after-end {id}"])],
    ),
    row(
        "upstream_refuses",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 192.31.196.2 9 10",
        &[Exit(0), Out("ECONNREFUSED fast")],
    ),
    row(
        "upstream_refuses_v6",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 2001:4:112::2 9 10",
        &[Exit(0), Out("ECONNREFUSED fast")],
    ),
    row(
        "upstream_refuses_on_an_intercepted_port",
        &["--allow", "public", "--intercept", "443,9"],
        "python3 {dir}/guest.py dial 192.31.196.2 9 10",
        &[Exit(0), Out("ECONNREFUSED fast")],
    ),
    row(
        "upstream_is_unreachable",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 192.52.193.1 80 10",
        &[Exit(0), Out("EHOSTUNREACH fast")],
    ),
    row(
        "upstream_is_unreachable_v6",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 2001:3::1 80 10",
        &[Exit(0), Out("ENETUNREACH fast")],
    ),
    row(
        "upstream_is_silent",
        &["--allow", "public"],
        "python3 {dir}/guest.py dial 192.175.48.1 80 4; curl -sS -m 4 'http://[2620:4f:8000::1]/'",
        &[Exit(28), Out("no answer slow")],
    )
    .patient(),
    row(
        "rules_that_change_end_what_they_deny_and_nothing_else",
        &["--config", "{dir}/started/{id}.toml", "--watch"],
        "python3 {dir}/guest.py carry_on 192.31.196.3 7000 7001 1000 {dir}/started/{id}.mark",
        &[
            Exit(0),
            Out("ended by reset while 1000 carry on"),
            Out("figure reload/1000"),
            Err(&["1 rules taken over", "1 connections ended"]),
            Err(&[DENIED, "192.31.196.3:7001"]),
        ],
    )
    .wrapped(CHANGING_RULES)
    .judged(),
    row(
        "rules_that_are_wrong_change_nothing",
        &["--config", "{dir}/started/{id}.toml", "--watch"],
        "echo 'alow = []' >> {dir}/started/{id}.toml; sleep 0.5; \
         curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Err(&["line 2", "alow", "the rules stay as they were"])],
    )
    .wrapped(&["sh", "-c", "echo 'allow = [\"192.31.196.2\"]' > {dir}/started/{id}.toml; exec \"$@\"", "sh"])
    .judged(),
    row(
        "server_first_by_address",
        &["--allow", "192.31.196.3"],
        "python3 {dir}/guest.py banner 192.31.196.3 7000",
        &[Exit(0), Out("220 peer.test ready | hello | at once")],
    ),
    row(
        "server_first_by_name",
        &["--allow", "peer.test"],
        "python3 {dir}/guest.py banner peer.test 7000",
        &[Exit(0), Out("220 peer.test ready | hello | at once")],
    ),
];
