//! How streams begin and end: half-close, refusals as upstream gave them, who speaks first.

use crate::e2e::row::Expect::{Exit, Out, Upstream};
use crate::e2e::row::{Row, row};

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
