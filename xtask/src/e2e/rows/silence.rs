//! Peers that stop talking: each phase ends in its named error, and a quiet stream stays open.

use super::lines::{GUEST_CLOSED, HANDSHAKE_TIMEOUT, HELLO_TIMEOUT, HELLO_TOO_LARGE, NOT_TLS, UPSTREAM_TLS};
use crate::e2e::row::Expect::{Err, Exit, Out};
use crate::e2e::row::{Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "push_after_95_quiet_seconds",
        &["--allow", "192.31.196.3:7004"],
        "python3 {dir}/guest.py quiet 192.31.196.3 7004 95",
        &[Exit(0), Out("at once")],
    )
    .patient(),
    row(
        "silent_guest_before_its_hello",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py silent nothing web.test 443 web.test",
        &[Exit(0), Out("in time"), Err(&[HELLO_TIMEOUT])],
    )
    .judged()
    .patient(),
    row(
        "silent_guest_within_its_hello",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py silent half web.test 443 web.test",
        &[Exit(0), Out("in time"), Err(&[HELLO_TIMEOUT])],
    )
    .judged()
    .patient(),
    row(
        "silent_guest_within_the_handshake",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py silent hello web.test 443 web.test",
        &[Exit(0), Out("in time"), Err(&[HANDSHAKE_TIMEOUT])],
    )
    .judged()
    .patient(),
    row(
        "silent_upstream_within_the_handshake",
        &["--allow", "peer.test", "--intercept", "443,7001"],
        "python3 {dir}/guest.py silent hello peer.test 7001 peer.test",
        &[Exit(0), Out("in time"), Err(&[UPSTREAM_TLS])],
    )
    .judged()
    .patient(),
    row(
        "guest_leaves_within_its_hello",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py junk closed web.test 443 web.test",
        &[Exit(0), Out("ended by"), Err(&[GUEST_CLOSED])],
    )
    .judged(),
    row(
        "hello_without_end",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py junk endless web.test 443 web.test",
        &[Exit(0), Out("ended by"), Err(&[HELLO_TOO_LARGE])],
    )
    .judged(),
    row(
        "no_tls_on_an_intercepted_port",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py junk text web.test 443 web.test",
        &[Exit(0), Out("ended by"), Err(&[NOT_TLS])],
    )
    .judged(),
];
