//! Clients of every kind with default settings: through interception, passed on, and against bad upstreams.

use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Exit, Fails, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

/// Four rows a client, the first of them over every link.
///
/// Its command asks `$host` for something with `{id}` in it, and prints who issued the certificate it was
/// shown. Then follow what it prints of success, what its server sees, and its own words for a certificate
/// that has expired and for one of another host; those rows are `paired`, or `patient` where the client waits
/// before it tries again, as its own settings have it.
macro_rules! clients {
    ($($client:literal needs $needs:expr, fails $pace:ident, asks $host:literal: $command:expr, $page:literal, $seen:expr,
       $expired:literal, $other_host:literal;)*) => {
        pub(crate) const ROWS: &[Row] = &[$(
            row(
                concat!($client, "_intercepted"),
                &["--allow", $host],
                concat!("host=", $host, "; ", $command),
                &[Exit(0), Out($page), Out("net-engine"), NotOut("Upstream Test CA"), Upstream($seen)],
            ).needing($needs).paired(),
            row(
                concat!($client, "_passed_on"),
                &["--allow", $host, "--bypass", $host],
                concat!("host=", $host, "; ", $command),
                &[Exit(0), Out($page), Out("Upstream Test CA"), Upstream($seen)],
            ).needing($needs).only(Only::Once).paired(),
            row(
                concat!($client, "_meets_an_expired_upstream"),
                &["--allow", "expired.test"],
                concat!("host=expired.test; exec 2>&1; ", $command),
                &[Fails, Out($expired), NotUpstream("{id}")],
            ).needing($needs).only(Only::Once).$pace(),
            row(
                concat!($client, "_meets_an_upstream_of_another_host"),
                &["--allow", "wronghost.test"],
                concat!("host=wronghost.test; exec 2>&1; ", $command),
                &[Fails, Out($other_host), NotUpstream("{id}")],
            ).needing($needs).only(Only::Once).$pace(),
        )*];
    };
}

/// For clients that do not tell whom they were shown: asks in their place.
macro_rules! and_issuer {
    ($command:literal) => {
        concat!(
            $command,
            " && openssl s_client -connect $host:443 -servername $host </dev/null 2>/dev/null | grep issuer="
        )
    };
}

clients! {
    "curl_http1" needs &[], fails paired, asks "web.test":
        "curl -sSv https://$host/hello?{id} 2>&1",
        "hello from nginx", &["GET /hello?{id} HTTP/1.1"],
        "SSL certificate problem: certificate has expired",
        "no alternative certificate subject name matches target host name 'wronghost.test'";
    "curl_http2" needs &[], fails paired, asks "h2.test":
        "curl -sSv https://$host/hello?{id} 2>&1",
        "hello from nginx", &["GET /hello?{id} HTTP/2.0"],
        "SSL certificate problem: certificate has expired",
        "no alternative certificate subject name matches target host name 'wronghost.test'";
    "wget" needs &[Need::Wget], fails paired, asks "h2.test":
        and_issuer!("wget -O - https://$host/hello?{id}"),
        "hello from nginx", &["GET /hello?{id} HTTP/1.1"],
        "The certificate of ‘expired.test’ has expired",
        "The certificate's owner does not match hostname ‘wronghost.test’";
    "git" needs &[Need::Git], fails paired, asks "web.test":
        and_issuer!("cd {dir}/started && git clone --quiet https://$host/row/{id}/tiny.git {id}.git && cat {id}.git/hello"),
        "hello from a repository", &["POST /row/{id}/tiny.git/git-upload-pack HTTP/1.1"],
        "verification failed",
        "does not match target host name 'wronghost.test'";
    "pip" needs &[Need::Clients], fails patient, asks "web.test":
        and_issuer!("export PYTHONPATH={dir}/clients:{dir}/started/{id} && \
                     python3 -m pip install --target {dir}/started/{id} \
                     --index-url https://$host/row/{id}/simple tiny && python3 -m tiny"),
        "hello from a wheel", &["GET /row/{id}/simple/tiny/tiny-1.0.0-py3-none-any.whl HTTP/1.1"],
        "certificate has expired",
        "Hostname mismatch, certificate is not valid for 'wronghost.test'";
    "npm" needs &[Need::Node], fails patient, asks "web.test":
        and_issuer!("mkdir {dir}/started/{id} && cd {dir}/started/{id} && export HOME=$PWD && \
                     npm install --registry https://$host/row/{id}/npm tiny && \
                     node -e 'require(\"tiny\")'"),
        "hello from a module", &["GET /row/{id}/npm/tiny HTTP/1.1"],
        "CERT_HAS_EXPIRED",
        "ERR_TLS_CERT_ALTNAME_INVALID";
    "python_requests" needs &[Need::Clients], fails paired, asks "h2.test":
        "python3 {dir}/clients.py {dir}/clients requests $host {id}",
        "200 hello from nginx", &["GET /hello?{id} HTTP/1.1"],
        "certificate has expired",
        "Hostname mismatch, certificate is not valid for 'wronghost.test'";
    "python_httpx" needs &[Need::Clients], fails paired, asks "h2.test":
        "python3 {dir}/clients.py {dir}/clients httpx $host {id}",
        "HTTP/2 200 hello from nginx", &["GET /hello?{id} HTTP/2.0"],
        "certificate has expired",
        "Hostname mismatch, certificate is not valid for 'wronghost.test'";
    "python_aiohttp" needs &[Need::Clients], fails paired, asks "web.test":
        and_issuer!("python3 {dir}/clients.py {dir}/clients aiohttp $host {id}"),
        "200 hello from nginx", &["GET /hello?{id} HTTP/1.1"],
        "certificate has expired",
        "Hostname mismatch, certificate is not valid for 'wronghost.test'";
    "python_websockets" needs &[Need::Clients], fails paired, asks "ws.test":
        "python3 {dir}/clients.py {dir}/clients websockets $host {id}",
        "the same 5\nthe same 100000\nthe same 5\npong\nclosed with 1000", &["websocket /{id}"],
        "certificate has expired",
        "Hostname mismatch, certificate is not valid for 'wronghost.test'";
    "grpc" needs &[Need::Clients], fails paired, asks "grpc.test":
        and_issuer!("python3 {dir}/clients.py {dir}/clients grpc $host {id}"),
        "hello {id}\nhello {id}-0\nhello {id}-1\nhello {id}-2\n3 counted, StatusCode.OK\n3000006 bytes\n\
         StatusCode.UNIMPLEMENTED\nbefore its end: hello {id}\n", &["grpc called off {id}"],
        "CERTIFICATE_VERIFY_FAILED: certificate has expired",
        "Hostname Verification Check failed";
    "node_fetch" needs &[Need::Node], fails paired, asks "h2.test":
        and_issuer!("node {dir}/fetch.mjs https://$host/hello?{id}"),
        "200 hello from nginx", &["GET /hello?{id} HTTP/1.1"],
        "CERT_HAS_EXPIRED",
        "ERR_TLS_CERT_ALTNAME_INVALID";
    "java_httpclient" needs &[Need::Java], fails paired, asks "h2.test":
        "java {dir}/Fetch.java https://$host/hello?{id}",
        "HTTP_2 200 hello from nginx", &["GET /hello?{id} HTTP/2.0"],
        "CertificateExpiredException",
        "No subject alternative DNS name matching wronghost.test found";
    "chromium" needs &[Need::Chromium], fails paired, asks "h2.test":
        and_issuer!("sh {dir}/chromium.sh {dir}/started/{id} {dir}/ca.pem https://$host/hello?{id}"),
        "hello from nginx", &["GET /hello?{id} HTTP/2.0"],
        "net::ERR_CERT_DATE_INVALID",
        "net::ERR_CERT_COMMON_NAME_INVALID";
}
