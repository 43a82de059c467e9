//! Clients that do not trust our authority: their own word for it, and what the engine's owner is told.

use super::lines::{DISTRUST, HANDSHAKE_REFUSED};
use crate::e2e::need::Need;
use crate::e2e::row::Expect::{self, Err, Fails, NotUpstream, Out};
use crate::e2e::row::{Only, Row, row};

/// Of a client that says by an alert why it leaves.
const TOLD: Expect = Err(&[HANDSHAKE_REFUSED, "h2.test", DISTRUST]);

/// A row for each TLS stack: its client without a word of `run`'s, what it says, and what the engine's owner is
/// told. Of those that send no alert only that the handshake was refused; nothing of wget, which
/// finishes its handshake and then asks for nothing.
macro_rules! strangers {
    ($($stack:literal needs $needs:expr, asks $host:literal: $command:literal, $says:literal, $told:expr;)*) => {
        pub(crate) const ROWS: &[Row] = &[$(
            row(
                concat!($stack, "_that_does_not_trust_the_authority"),
                &["--allow", $host],
                concat!(
                    "unset $(env | grep net-engine- | cut -d= -f1); export HOME={dir}/started/{id}; ",
                    $command,
                    " 2>&1"
                ),
                &[Fails, Out($says), $told, NotUpstream("{id}")],
            )
            .judged()
            .needing($needs)
            .only(Only::Once)
            .paired(),
        )*];
    };
}

strangers! {
    "openssl" needs &[], asks "h2.test":
        "curl -sS --cacert {dir}/ca.pem https://h2.test/hello?{id}",
        "self-signed certificate in certificate chain", TOLD;
    "gnutls" needs &[Need::Wget], asks "h2.test":
        "wget -O - --ca-certificate {dir}/ca.pem --ca-directory {dir}/www https://h2.test/hello?{id}",
        "The certificate of ‘h2.test’ is not trusted", NotUpstream("{id}");
    "node" needs &[Need::Node], asks "h2.test":
        "node {dir}/fetch.mjs https://h2.test/hello?{id}",
        "SELF_SIGNED_CERT_IN_CHAIN", Err(&[HANDSHAKE_REFUSED, "h2.test"]);
    "java" needs &[Need::Java], asks "h2.test":
        "java {dir}/Fetch.java https://h2.test/hello?{id}",
        "unable to find valid certification path to requested target", Err(&[HANDSHAKE_REFUSED, "h2.test"]);
    "boringssl" needs &[Need::Clients], asks "grpc.test":
        "python3 {dir}/clients.py {dir}/clients grpc grpc.test {id}",
        "CERTIFICATE_VERIFY_FAILED: self signed certificate in certificate chain", Err(&[HANDSHAKE_REFUSED, "grpc.test"]);
    "chromium" needs &[Need::Chromium], asks "h2.test":
        "chromium --headless --no-sandbox --dump-dom https://h2.test/hello?{id} 2>&1 | grep -o 'net::ERR_[A-Z_]*' && false",
        "net::ERR_CERT_AUTHORITY_INVALID", TOLD;
}
