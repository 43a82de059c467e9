//! 100 MB each way, byte-identical by checksum.

use crate::e2e::row::Expect::{Exit, Out, Upstream};
use crate::e2e::row::{Row, row};

const WHOLE: &str = "100000000 bytes sha256 {sha}";

pub(crate) const ROWS: &[Row] = &[
    row(
        "download_http",
        &["--allow", "web.test"],
        "curl -sS -4 http://web.test/blob | sha256sum",
        &[Exit(0), Out("{sha}")],
    ),
    row(
        "download_http_v6",
        &["--allow", "web.test"],
        "curl -sS -6 http://web.test/blob | sha256sum",
        &[Exit(0), Out("{sha}")],
    ),
    row(
        "download_https",
        &["--allow", "web.test"],
        "curl -sS https://web.test/blob | sha256sum",
        &[Exit(0), Out("{sha}")],
    ),
    row(
        "download_without_offloads",
        &["--no-offload", "--allow", "web.test"],
        "curl -sS http://web.test/blob | sha256sum",
        &[Exit(0), Out("{sha}")],
    )
    .judged(),
    row(
        "upload_without_offloads",
        &["--no-offload", "--allow", "peer.test"],
        "curl -sS -6 -T {dir}/www/blob http://peer.test/{id}",
        &[Exit(0), Out(WHOLE)],
    )
    .judged(),
    row(
        "upload_http",
        &["--allow", "peer.test"],
        "curl -sS -4 -T {dir}/www/blob http://peer.test/{id}",
        &[Exit(0), Out(WHOLE), Upstream(&["recorder http head", "PUT /{id} "])],
    ),
    row(
        "upload_http_v6",
        &["--allow", "peer.test"],
        "curl -sS -6 -T {dir}/www/blob http://peer.test/{id}",
        &[Exit(0), Out(WHOLE)],
    ),
    row(
        "upload_https",
        &["--allow", "peer.test"],
        "curl -sS -T {dir}/www/blob https://peer.test/{id}",
        &[Exit(0), Out(WHOLE), Upstream(&["recorder https head", "PUT /{id} "])],
    ),
    row(
        "upload_https_with_a_secret",
        &["--allow", "peer.test", "--secret", "TOKEN=env:SECRET_SOURCE@peer.test"],
        "curl -sS -H \"X-Token: $TOKEN\" -T {dir}/www/blob https://peer.test/{id}",
        &[Exit(0), Out(WHOLE), Upstream(&["recorder https head", "PUT /{id} ", "X-Token: real-{id}"])],
    ),
    row(
        "download_raw_tcp",
        &["--allow", "peer.test:7005"],
        "bash -c 'cat < /dev/tcp/peer.test/7005' | sha256sum",
        &[Exit(0), Out("{sha}")],
    ),
    row(
        "upload_raw_tcp",
        &["--allow", "peer.test:7002"],
        "python3 {dir}/guest.py upload peer.test 7002 {dir}/www/blob",
        &[Exit(0), Out(WHOLE)],
    ),
];
