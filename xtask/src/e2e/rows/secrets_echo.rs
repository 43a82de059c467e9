//! A server that returns all it is sent: the guest never sees the value, whatever client asks and wherever it comes
//! back.
//!
//! `echoed.py` runs the client and searches all it prints for the value in every encoding that is promised to be
//! found; it is told the value by itself, in two halves that are no value.

use super::lines::VIOLATION;
use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

const FLAGS: &[&str] = &["--allow", "echo.test", "--secret", "TOKEN=env:SECRET_SOURCE@echo.test"];
const IN_A_BODY: &[&str] = &["--config", "{dir}/secret-in-a-body.toml"];
const IN_A_PATH: &[&str] = &["--config", "{dir}/secret-in-a-path.toml"];
const IN_A_QUERY: &[&str] = &["--config", "{dir}/secret-in-a-query.toml"];
const IN_A_WEBSOCKET: &[&str] = &["--config", "{dir}/secret-in-a-websocket.toml"];

/// What nginx writes down of a request with the value.
const SEEN: &[&str] = &["token=\"real-{id}\"", "host=\"echo.test\""];

const ECHO: &[Need] = &[Need::Httpbin];
const PYTHON: &[Need] = &[Need::Httpbin, Need::Clients];

/// A client whose output has no value in it and `$page` besides.
macro_rules! echo {
    ($name:literal, $needs:expr, $command:expr, $page:literal) => {
        echo!($name, $needs, FLAGS, $command, $page, Upstream(SEEN))
    };
    ($name:literal, $needs:expr, $flags:expr, $command:expr, $page:literal, $($more:expr),+) => {
        row(
            $name,
            $flags,
            concat!("python3 {dir}/echoed.py {id} sh -c '", $command, "'"),
            &[Exit(0), Out($page), Out("no value in what was printed"), NotOut("real-{id}"), $($more),+],
        )
        .needing($needs)
        .judged()
        .only(Only::OncePerUser)
        .paired()
    };
}

/// curl, with the placeholder in a header of its own, where nginx writes it down.
macro_rules! curl {
    ($rest:literal) => {
        concat!("curl -sSi -H \"X-Token: $TOKEN\" ", $rest)
    };
}

pub(crate) const ROWS: &[Row] = &[
    echo!("echo_of_headers_to_curl_http1", ECHO, curl!("--http1.1 https://echo.test/headers"), "netsec_"),
    echo!("echo_of_headers_to_curl_http2", ECHO, curl!("https://echo.test/headers"), "netsec_"),
    echo!("echo_of_anything", ECHO, curl!("https://echo.test/anything/{id}?a=b"), "netsec_"),
    echo!(
        "echo_in_a_location",
        ECHO,
        curl!("-H \"Accept: $TOKEN\" https://echo.test/redirect-to?url=/headers -L"),
        "302"
    ),
    echo!("echo_in_a_cookie", ECHO, curl!("-H \"Cookie: k=$TOKEN\" https://echo.test/cookies"), "netsec_"),
    echo!("echo_of_basic", ECHO, curl!("-u \"user:$TOKEN\" https://echo.test/headers"), "Basic "),
    echo!("echo_of_a_stream", ECHO, curl!("https://echo.test/stream/20"), "netsec_"),
    echo!("echo_in_gzip", ECHO, curl!("--compressed https://echo.test/gzip"), "\"X-Token\": \"netsec_"),
    echo!(
        "echo_in_gzip_http1",
        ECHO,
        curl!("--http1.1 --compressed https://echo.test/gzip"),
        "\"X-Token\": \"netsec_"
    ),
    echo!("echo_in_gzip_nobody_asked_for", ECHO, curl!("https://echo.test/gzip"), "\"X-Token\": \"netsec_"),
    echo!("echo_in_deflate", ECHO, curl!("--compressed https://echo.test/deflate"), "\"X-Token\": \"netsec_"),
    echo!(
        "echo_of_json_in_a_body",
        ECHO,
        IN_A_BODY,
        "curl -sSi --json \"{\\\"key\\\": \\\"$TOKEN\\\"}\" https://echo.test/post",
        "\"key\": \"netsec_",
        Upstream(&["nginx body of", "POST /post ", "key", ": \\\"real-{id}\\\"}"])
    ),
    echo!(
        "echo_of_a_form_in_a_body",
        ECHO,
        IN_A_BODY,
        "curl -sSi --http1.1 -d \"key=$TOKEN&{id}=1\" https://echo.test/post",
        "\"key\": \"netsec_",
        Upstream(&["nginx body of", "POST /post ", ": key=real-{id}&{id}=1"])
    ),
    echo!(
        "echo_of_a_known_password",
        ECHO,
        IN_A_PATH,
        "curl -sSi -u \"user:$TOKEN\" https://echo.test/basic-auth/user/$TOKEN",
        "\"authenticated\": true",
        Upstream(&["GET /basic-auth/user/real-{id} ", "host=\"echo.test\"", " 200"])
    ),
    echo!(
        "echo_of_a_known_user",
        ECHO,
        IN_A_PATH,
        "curl -sSi -u \"$TOKEN:pass\" https://echo.test/basic-auth/$TOKEN/pass",
        "\"user\": \"netsec_",
        Upstream(&["GET /basic-auth/real-{id}/pass ", "host=\"echo.test\"", " 200"])
    ),
    echo!(
        "echo_in_a_cookie_that_is_set",
        ECHO,
        IN_A_QUERY,
        "curl -sSi -L -b \"\" https://echo.test/cookies/set?k=$TOKEN",
        "\"k\": \"netsec_",
        Out("k=netsec_"),
        Upstream(&["GET /cookies/set?k=real-{id} ", "host=\"echo.test\""])
    ),
    // curl takes the field with it, and what was in the location.
    echo!(
        "echo_leads_to_another_host_with_a_header",
        ECHO,
        IN_A_QUERY,
        "curl -sSi -L -H \"X-Token: $TOKEN\" https://echo.test/redirect-to?url=https://peer.test/{id}",
        " 403",
        Upstream(SEEN),
        Err(&[VIOLATION, "TOKEN", "peer.test"]),
        NotUpstream("GET /{id} ")
    ),
    echo!(
        "echo_leads_to_another_host_with_a_target",
        ECHO,
        IN_A_QUERY,
        "curl -sSi -L \"https://echo.test/redirect-to?url=https://peer.test/{id}/$TOKEN\"",
        " 403",
        Upstream(&["GET /redirect-to?url=https://peer.test/{id}/real-{id} "]),
        Err(&[VIOLATION, "TOKEN", "peer.test"]),
        NotUpstream("GET /{id}/")
    ),
    echo!(
        "echo_in_a_websocket",
        &[Need::Clients],
        IN_A_WEBSOCKET,
        "python3 {dir}/with_secrets.py websocket {dir}/clients wss://ws.test/{id}",
        "the same\n",
        NotOut("another\n"),
        Out("closed with 1000"),
        Upstream(&["websocket message", "text real-{id}"]),
        Upstream(&["websocket message b", "bytes real-{id}"]),
        Upstream(&["websocket message", "in fragments real-{id}"])
    ),
    echo!(
        "echo_to_python_requests",
        PYTHON,
        "python3 {dir}/with_secrets.py requests {dir}/clients https://echo.test/headers",
        "200 "
    ),
    echo!(
        "echo_to_python_httpx",
        PYTHON,
        "python3 {dir}/with_secrets.py httpx {dir}/clients https://echo.test/headers",
        "HTTP/2 200 "
    ),
    echo!(
        "echo_to_node",
        &[Need::Httpbin, Need::Node],
        "node {dir}/fetch_token.mjs https://echo.test/headers",
        "200 "
    ),
];
