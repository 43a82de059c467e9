//! 1 GiB each way inside TLS that is opened and read as HTTP, byte-identical by checksum, in constant memory.

use crate::e2e::row::Expect::{Exit, GrowsBelow, Out};
use crate::e2e::row::{Only, Row, row};

/// What the engine may grow by, in MiB.
const GROWTH: u64 = 8;

const FLAGS: &[&str] = &["--intercept", "443,8444", "--allow", "web.test", "--allow", "peer.test"];
const WITH_SECRET: &[&str] = &[
    "--intercept",
    "443,8444",
    "--allow",
    "web.test",
    "--allow",
    "peer.test",
    "--secret",
    "TOKEN=env:SECRET_SOURCE@*.test",
];

/// Ten of them, that may stand in a body.
const WITH_BODIES: &[&str] = &[
    "--intercept",
    "443,8444",
    "--allow",
    "web.test",
    "--allow",
    "peer.test",
    "--config",
    "{dir}/ten-secrets.toml",
];

const EXPECT: &[crate::e2e::row::Expect] = &[Exit(0), Out("the same"), GrowsBelow(GROWTH)];

/// Downloads the file and says whether it is the same.
macro_rules! download {
    ($url:literal, $flags:literal) => {
        concat!(
            "curl -sS ",
            $flags,
            " -o /dev/null ",
            $url,
            "/hello && touch {dir}/started/{id}.mark && sleep 0.1 && \
             got=$(curl -sS ",
            $flags,
            " ",
            $url,
            "/giant | sha256sum) && \
             test \"$got\" = \"$(sha256sum < {dir}/www/giant)\" && echo the same"
        )
    };
}

macro_rules! upload {
    ($warm:literal, $url:literal, $flags:literal) => {
        concat!(
            "curl -sS ",
            $flags,
            " -o /dev/null ",
            $warm,
            " && touch {dir}/started/{id}.mark && sleep 0.1 && \
             got=$(curl -sS ",
            $flags,
            " -T {dir}/www/giant ",
            $url,
            "/{id}) && sum=$(sha256sum < {dir}/www/giant) && \
             test \"$got\" = \"1073741824 bytes sha256 ${sum%% *}\" && echo the same"
        )
    };
}

pub(crate) const ROWS: &[Row] = &[
    row("giant_download_http1", FLAGS, download!("https://web.test", "--http1.1"), EXPECT)
        .only(Only::OrdinaryUser),
    row("giant_download_http2", FLAGS, download!("https://web.test:8444", "--http2"), EXPECT)
        .only(Only::OrdinaryUser),
    row(
        "giant_upload_http1",
        FLAGS,
        upload!("https://peer.test/{id}", "https://peer.test", "--http1.1"),
        EXPECT,
    )
    .only(Only::OrdinaryUser),
    row(
        "giant_upload_http2",
        FLAGS,
        upload!("https://web.test:8444/hello", "https://web.test:8444/sink", "--http2"),
        EXPECT,
    )
    .only(Only::OrdinaryUser),
    row(
        "giant_upload_beside_a_secret",
        WITH_SECRET,
        upload!("https://peer.test/{id}", "https://peer.test", "--http1.1"),
        EXPECT,
    )
    .only(Only::OrdinaryUser),
    row(
        "giant_upload_through_ten_secrets",
        WITH_BODIES,
        upload!(
            "https://peer.test/{id}",
            "https://peer.test",
            "--http1.1 -H 'Content-Type: application/json'"
        ),
        EXPECT,
    )
    .judged()
    .only(Only::OrdinaryUser),
    // Values at both of its ends.
    row(
        "giant_upload_with_secrets_in_it",
        WITH_BODIES,
        "curl -sS -o /dev/null https://web.test:8444/hello && touch {dir}/started/{id}.mark && sleep 0.1 && \
         got=$( (printf %s \"$KEY_3\"; cat {dir}/www/giant; printf %s \"$KEY_7\") | \
             curl -sS --http2 -H 'Content-Type: text/plain' -T - https://web.test:8444/sink/{id}) && \
         sum=$( (printf the-real-value-3; cat {dir}/www/giant; printf the-real-value-7) | sha256sum) && \
         test \"$got\" = \"1073741856 bytes sha256 ${sum%% *}\" && echo the same",
        EXPECT,
    )
    .judged()
    .only(Only::OrdinaryUser),
];
