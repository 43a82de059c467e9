//! What `ca export` writes and prints, taken by clients that otherwise trust nobody of ours.

use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Exit, NotOut, Out};
use crate::e2e::row::{Only, Row, row};

/// A row a runtime: an authority that is kept, exported for the runtime before the engine starts, then its client
/// without a word of `run`'s, which fails, and with what was printed.
macro_rules! kits {
    ($($kind:literal needs $needs:expr, asks $host:literal: $command:literal, $seen:literal;)*) => {
        pub(crate) const ROWS: &[Row] = &[$(
            row(
                concat!("kit_for_", $kind),
                &["--allow", $host, "--ca-dir", "{dir}/started/{id}.kept"],
                concat!(
                    "unset $(env | grep net-engine- | cut -d= -f1); export HOME={dir}/started/{id}.kit; ",
                    $command,
                    " > /dev/null 2>&1 && echo trusted before; . {dir}/started/{id}.kit/lines && ",
                    $command,
                ),
                &[Exit(0), NotOut("trusted before"), Out($seen)],
            )
            .wrapped(&[
                "sh",
                "-c",
                concat!(
                    "cd {dir}/started && mkdir {id}.kit && ../net-engine ca new --dir {id}.kept > /dev/null && \
                     ../net-engine ca export --dir {id}.kept --for ",
                    $kind,
                    " --out {id}.kit/anchors > {id}.kit/lines && exec \"$@\"",
                ),
                "sh",
            ])
            .judged()
            .needing($needs)
            .only(Only::Once)
            .paired(),
        )*];
    };
}

kits! {
    "python" needs &[Need::Clients], asks "h2.test":
        "python3 {dir}/clients.py {dir}/clients httpx h2.test {id}", "200 hello from nginx";
    "grpc" needs &[Need::Clients], asks "grpc.test":
        "python3 {dir}/clients.py {dir}/clients grpc grpc.test {id}", "3 counted, StatusCode.OK";
    "node" needs &[Need::Node], asks "h2.test":
        "node {dir}/fetch.mjs https://h2.test/hello?{id}", "200 hello from nginx";
    "java" needs &[Need::Java], asks "h2.test":
        "java {dir}/Fetch.java https://h2.test/hello?{id}", "200 hello from nginx";
    "nss" needs &[Need::Chromium], asks "h2.test":
        "chromium --headless --no-sandbox --dump-dom https://h2.test/hello?{id} | grep 'hello from nginx'",
        "hello from nginx";
}
