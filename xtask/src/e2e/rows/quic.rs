//! HTTP/3 by a client that knows nothing of the engine: by the name it shows, or back over TCP.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "quic_allowed_by_name",
        &["--no-intercept", "--allow", "web.test"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /hello?{id} web.test v4",
        &[Exit(0), Out("200 hello over http3 200017"), Upstream(&["http3 web.test", "{id}"])],
    )
    .over_quic(),
    row(
        "quic_allowed_by_name_v6",
        &["--no-intercept", "--allow", "web.test"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /hello?{id} web.test v6",
        &[Exit(0), Out("200 hello over http3 200017"), Upstream(&["http3 web.test", "{id}"])],
    )
    .over_quic(),
    row(
        "quic_download_allowed_by_name",
        &["--no-intercept", "--allow", "web.test"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /blob",
        &[Exit(0), Out("200 100000000 bytes sha256 {sha}"), Upstream(&["http3 web.test", "/blob"])],
    )
    .over_quic()
    .only(Only::Once)
    .patient(),
    row(
        "quic_allowed_by_address",
        &["--no-intercept", "--allow", "192.31.196.2"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem 192.31.196.2 /hello?{id} web.test",
        &[Exit(0), Out("200 hello over http3"), Upstream(&["http3 web.test", "{id}"])],
    )
    .over_quic(),
    row(
        "quic_passed_on",
        &["--bypass", "web.test", "--allow", "web.test"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /hello?{id}",
        &[Exit(0), Out("200 hello over http3"), Upstream(&["http3 web.test", "{id}"])],
    )
    .over_quic(),
    row(
        "quic_denied_name",
        &["--bypass", "*.test", "--allow", "web.test"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /hello?{id} other.test v4; \
         python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /hello?{id} other.test v6",
        &[
            Exit(0),
            Out("EHOSTUNREACH fast\nEACCES fast"),
            Err(&[DENIED, "udp other.test (192.31.196.2:443)"]),
            NotUpstream("{id}"),
        ],
    )
    .over_quic()
    .judged(),
    row(
        "quic_denied_name_on_an_allowed_address",
        &["--bypass", "*.test", "--deny", "other.test", "--allow", "public"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem 192.31.196.2 /hello?{id}-other other.test; \
         python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem 192.31.196.2 /hello?{id}-web web.test",
        &[
            Exit(0),
            Out("EHOSTUNREACH fast\n200 hello over http3"),
            Err(&[DENIED, "udp other.test"]),
            Upstream(&["{id}-web"]),
            NotUpstream("{id}-other"),
        ],
    )
    .over_quic()
    .judged(),
    row(
        "quic_falls_back_to_tcp_where_tls_is_opened",
        &["--allow", "web.test"],
        "python3 {dir}/http3.py {dir}/aioquic {dir}/ca.pem web.test /hello?{id}-quic; \
         curl -sS https://web.test/hello?{id}-tcp",
        &[
            Exit(0),
            Out("ECONNREFUSED fast\nhello from nginx"),
            NotOut("http3"),
            Upstream(&["{id}-tcp"]),
            NotUpstream("{id}-quic"),
        ],
    )
    .over_quic()
    .judged(),
];
