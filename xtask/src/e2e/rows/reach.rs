//! Allow and deny: by name, by address, by group, by port.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotUpstream, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "allow_name_http_v4",
        &["--allow", "web.test:80"],
        "curl -sS -4 http://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["nginx 192.31.196.2:80", "GET /hello?{id} "])],
    ),
    row(
        "allow_name_http_v6",
        &["--allow", "web.test:80"],
        "curl -sS -6 http://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["nginx 2001:4:112::2:80", "GET /hello?{id} "])],
    ),
    row(
        "allow_subdomains",
        &["--allow", "*.test:80"],
        "curl -sS http://v4.test/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    ),
    row(
        "opened_connections_are_told_with_v",
        &["-v", "--allow", "web.test"],
        "curl -sS http://web.test/hello?{id} && curl -sS https://web.test/hello?{id}",
        &[
            Exit(0),
            Err(&["opened tcp 192.31.196.2:80", "rule 1"]),
            Err(&["opened tcp web.test (192.31.196.2:443)"]),
        ],
    )
    .judged(),
    row(
        "a_scan_is_told_of_in_few_lines_and_each_of_it_counted",
        &["--allow", "web.test"],
        "python3 -c '
import socket
for port in range(10000, 13000):
    with socket.socket() as scanned:
        scanned.settimeout(0.5)
        scanned.connect_ex((\"192.31.196.2\", port))
'",
        &[Out("few lines\ntold of 3000\n")],
    )
    .judged()
    .only(Only::Once)
    .wrapped(&[
        "sh",
        "-c",
        // Each line is of one, and of more where it says so; where lines were left out it says how many.
        "umask 000; e={dir}/started/{id}.told; \"$@\" 2> $e; cat $e >&2; \
         test $(grep -c 'denied tcp' $e) -lt 1000 && echo few lines; \
         grep 'denied tcp' $e | sed 's/[()]//g' | awk '{ n += / more were left out$/ ? $4 + 0 : / more$/ ? $(NF - 1) + 1 : 1 } \
         END { print \"told of\", n }'",
        "sh",
    ]),
    row(
        "allow_address_v4",
        &["--allow", "192.31.196.2:80"],
        "curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "allow_address_v6",
        &["--allow", "[2001:4:112::2]:80"],
        "curl -sS 'http://[2001:4:112::2]/hello?{id}'",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "allow_cidr",
        &["--allow", "192.31.196.0/24"],
        "curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    ),
    row(
        "allow_group_private",
        &["--allow", "private"],
        "curl -sS http://10.99.0.5/hello?{id} && curl -sS 'http://[fd00:99::5]/hello?{id}'",
        &[Exit(0), Upstream(&["nginx 10.99.0.5:80", "{id}"]), Upstream(&["nginx fd00:99::5:80", "{id}"])],
    ),
    row(
        "nothing_is_allowed_by_default",
        &[],
        "curl -sS http://192.31.196.2/hello?{id}",
        &[Exit(7), Err(&[DENIED, "192.31.196.2", "80"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "public_does_not_reach_private",
        &["--allow", "public"],
        "curl -sS http://10.99.0.5/hello?{id}; curl -sS 'http://[::ffff:10.99.0.5]/hello?{id}'; \
         curl -sS http://169.254.169.254/{id}",
        &[Fails, Err(&[DENIED, "10.99.0.5"]), Err(&[DENIED, "169.254.169.254"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "deny_by_name",
        &["--deny", "other.test", "--allow", "public"],
        "curl -sS http://web.test/hello?{id}-web && curl -sS http://other.test/hello?{id}-other",
        &[Exit(6), Upstream(&["{id}-web"]), Err(&[DENIED, "other.test"]), NotUpstream("{id}-other")],
    )
    .judged(),
    row(
        "deny_by_server_name",
        &["--deny", "other.test", "--allow", "public"],
        "curl -sS --resolve other.test:443:192.31.196.2 https://other.test/hello?{id}",
        &[Fails, Err(&[DENIED, "other.test"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "deny_by_address",
        &["--deny", "192.31.196.2", "--allow", "public"],
        "curl -sS --max-time 5 http://192.31.196.2/hello?{id}",
        &[Exit(7), Err(&[DENIED, "192.31.196.2"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "deny_by_port",
        &["--allow", "web.test:443"],
        "curl -sS --max-time 5 http://web.test/hello?{id}",
        &[Exit(7), Err(&[DENIED, "80"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "denials_come_first",
        &["--allow", "web.test:80", "--deny", "public"],
        "curl -sS http://web.test/hello?{id}",
        &[Fails, Err(&[DENIED, "192.31.196.2"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "rules_of_a_file_keep_their_order",
        &["--config", "{dir}/ordered.toml"],
        "curl -sS http://web.test/hello?{id} && curl -sS -m 5 http://web.test:8080/{id}-other",
        &[
            Exit(7),
            Upstream(&["GET /hello?{id} "]),
            Err(&[DENIED, "8080", "nothing else"]),
            NotUpstream("{id}-other"),
        ],
    )
    .judged(),
    row(
        "a_name_opens_no_other_address",
        &["--allow", "web.test"],
        "curl -sS http://web.test/hello?{id}-web; curl -sS --max-time 5 http://192.31.196.3/{id}-peer",
        &[Exit(7), Upstream(&["{id}-web"]), Err(&[DENIED, "192.31.196.3"]), NotUpstream("{id}-peer")],
    )
    .judged(),
    row(
        "a_name_is_no_passport_for_an_address_it_never_had",
        &["--allow", "web.test"],
        "curl -sS --max-time 15 --resolve web.test:443:192.31.196.3 https://web.test/{id}",
        &[Fails, Err(&[DENIED, "192.31.196.3"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "allow_from_a_config_file",
        &["--config", "{dir}/allow-web.toml"],
        "curl -sS http://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    ),
];
