//! A server that returns all it is sent: the guest never sees the value, whatever client asks and wherever it comes
//! back.
//!
//! `echoed.py` runs the client and searches all it prints for the value in every encoding that is promised to be
//! found; it is told the value by itself, in two halves that are no value.

use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Exit, NotOut, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

const FLAGS: &[&str] = &["--allow", "echo.test", "--secret", "TOKEN=env:SECRET_SOURCE@echo.test"];

/// What nginx writes down of a request with the value.
const SEEN: &[&str] = &["token=\"real-{id}\"", "host=\"echo.test\""];

/// A row a client: what it asks, and what stands in its output besides.
macro_rules! echoes {
    ($($name:literal needs $needs:expr, $command:expr, $page:literal;)*) => {
        pub(crate) const ROWS: &[Row] = &[$(
            row(
                $name,
                FLAGS,
                concat!("python3 {dir}/echoed.py {id} sh -c '", $command, "'"),
                &[Exit(0), Out($page), Out("no value in what was printed"), NotOut("real-{id}"), Upstream(SEEN)],
            ).needing($needs).judged().only(Only::OncePerUser).paired(),
        )*];
    };
}

/// curl, with the placeholder in a header of its own, where nginx writes it down.
macro_rules! curl {
    ($rest:literal) => {
        concat!("curl -sSi -H \"X-Token: $TOKEN\" ", $rest)
    };
}

const ECHO: &[Need] = &[Need::Httpbin];
const PYTHON: &[Need] = &[Need::Httpbin, Need::Clients];

echoes! {
    "echo_of_headers_to_curl_http1" needs ECHO, curl!("--http1.1 https://echo.test/headers"), "netsec_";
    "echo_of_headers_to_curl_http2" needs ECHO, curl!("https://echo.test/headers"), "netsec_";
    "echo_of_anything" needs ECHO, curl!("https://echo.test/anything/{id}?a=b"), "netsec_";
    "echo_in_a_location" needs ECHO,
        curl!("-H \"Accept: $TOKEN\" https://echo.test/redirect-to?url=/headers -L"), "302";
    "echo_in_a_cookie" needs ECHO,
        curl!("-H \"Cookie: k=$TOKEN\" https://echo.test/cookies"), "netsec_";
    "echo_of_basic" needs ECHO, curl!("-u \"user:$TOKEN\" https://echo.test/headers"), "Basic ";
    "echo_of_a_stream" needs ECHO, curl!("https://echo.test/stream/20"), "netsec_";
    "echo_to_python_requests" needs PYTHON,
        "python3 {dir}/with_secrets.py requests {dir}/clients https://echo.test/headers", "200 ";
    "echo_to_python_httpx" needs PYTHON,
        "python3 {dir}/with_secrets.py httpx {dir}/clients https://echo.test/headers", "HTTP/2 200 ";
    "echo_to_node" needs &[Need::Httpbin, Need::Node],
        "node {dir}/fetch_token.mjs https://echo.test/headers", "200 ";
}
