//! Interim responses, from Node's servers to clients that show them.

use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Exit, NotOut, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "early_hints_to_curl_over_http2",
        &["--allow", "peer.test", "--intercept", "8443"],
        "curl -sSv --http2 https://peer.test:8443/{id} 2>&1",
        &[
            Exit(0),
            Out("< HTTP/2 103"),
            Out("< link: </style.css>; rel=preload; as=style"),
            Out("< HTTP/2 200"),
            Out("hello after a hint"),
            Upstream(&["early_hints /{id} HTTP/2.0"]),
        ],
    )
    .needing(&[Need::Node]),
    row(
        "early_hints_to_node_over_http2",
        &["--allow", "peer.test", "--intercept", "8443"],
        "node {dir}/early_hints.mjs https://peer.test:8443 /{id}",
        &[
            Exit(0),
            Out("before 103 </style.css>; rel=preload; as=style\nanswer 200\nhello after a hint"),
            Upstream(&["early_hints /{id} HTTP/2.0"]),
        ],
    )
    .needing(&[Need::Node])
    .only(Only::Once),
    row(
        "early_hints_of_http1_to_node_over_http2",
        &["--allow", "peer.test", "--intercept", "8444"],
        "node {dir}/early_hints.mjs https://peer.test:8444 /{id}",
        &[
            Exit(0),
            Out("before 103 </style.css>; rel=preload; as=style\nanswer 200\nhello after a hint"),
            Upstream(&["early_hints /{id} HTTP/1.1"]),
        ],
    )
    .needing(&[Need::Node])
    .only(Only::Once),
    row(
        "early_hints_of_http1_end_at_the_engine_over_http1",
        &["--allow", "peer.test", "--intercept", "8444"],
        "curl -sSv https://peer.test:8444/{id} 2>&1",
        &[Exit(0), NotOut("< HTTP/1.1 103"), Out("< HTTP/1.1 200"), Out("hello after a hint")],
    )
    .needing(&[Need::Node])
    .only(Only::Once),
];
