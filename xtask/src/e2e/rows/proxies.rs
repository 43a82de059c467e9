//! Proxies on the way to upstream: microsocks and Dante for SOCKS 5, tinyproxy and Squid for CONNECT, stunnel before one
//! for TLS.

use super::lines::DENIED;
use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, NotUpstream, Out, Rejected, Upstream};
use crate::e2e::row::{Only, Row, rejected, row};

const NEEDS: &[Need] = &[Need::Proxies];

pub(crate) const ROWS: &[Row] = &[
    row(
        "socks5h_is_told_the_name",
        &["--allow", "web.test", "--proxy", "socks5h://192.31.196.2:1080"],
        "curl -sS -4 http://web.test/hello?{id} && curl -sS -4 https://web.test/hello?{id}-tls",
        &[
            Exit(0),
            Out("hello from nginx\nhello from nginx"),
            Upstream(&["GET /hello?{id} "]),
            Upstream(&["GET /hello?{id}-tls "]),
            Upstream(&["connected to web.test:80"]),
            Upstream(&["connected to web.test:443"]),
        ],
    )
    .judged()
    .needing(NEEDS),
    row(
        "socks5_is_told_the_address_and_speaks_ipv6",
        &["--allow", "v6.test", "--proxy", "socks5://[2001:4:112::2]:1080"],
        "curl -sS -6 http://v6.test/hello?{id} && curl -sS -6 https://v6.test/hello?{id}-tls",
        &[
            Exit(0),
            Out("hello from nginx\nhello from nginx"),
            Upstream(&["connected to 2001:4:112::2:80"]),
            Upstream(&["connected to 2001:4:112::2:443"]),
            NotUpstream("connected to v6.test"),
        ],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(NEEDS),
    row(
        "connect_is_told_the_name_and_tls_is_opened_behind_it",
        &["--allow", "v4.test", "--proxy", "http://192.31.196.2:3128", "--secret", "TOKEN=file:{dir}/secret@v4.test"],
        "curl -sS https://v4.test/hello?{id} -H \"X-Token: $TOKEN\"",
        &[
            Exit(0),
            Out("hello from nginx"),
            Upstream(&["GET /hello?{id} ", "token=\"real-from-file\""]),
            Upstream(&["CONNECT v4.test:443"]),
        ],
    )
    .judged()
    .needing(NEEDS),
    row(
        "connect_is_told_the_address_where_it_has_decided",
        &["--allow", "192.31.196.0/24", "--proxy", "http://[2001:4:112::2]:3128"],
        "curl -sS https://192.31.196.2/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["CONNECT 192.31.196.2:443"])],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "proxy_behind_tls_carries_tls_that_is_passed_on_and_opened",
        &["--allow", "web.test", "--bypass", "web.test", "--allow", "alias.test", "--proxy", "https://192.31.196.2:3130"],
        "curl -sS --cacert {dir}/ca.pem https://web.test/hello?{id} && curl -sS https://alias.test/hello?{id}-opened",
        &[
            Exit(0),
            Out("hello from nginx\nhello from nginx"),
            Upstream(&["GET /hello?{id} "]),
            Upstream(&["GET /hello?{id}-opened "]),
        ],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(NEEDS),
    row(
        "proxy_behind_tls_of_another_name_is_told_nothing",
        &["--allow", "web.test", "--config", "{dir}/proxy-other-name.toml"],
        "curl -sS -m 10 http://web.test/hello?{id}",
        &[Fails, NotUpstream("GET /hello?{id} "), Err(&["proxy https://localhost:3131", "no tls with it"])],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "proxy_credentials_are_the_engine_s_alone",
        &["--allow", "web.test", "--config", "{dir}/proxy-socks.toml"],
        "curl -sS http://web.test/hello?{id}; cat {dir}/proxy-password; cat {dir}/proxy-socks.toml; ps -ef; env",
        &[Out("hello from nginx"), NotOut("pa55w0rd"), Upstream(&["GET /hello?{id} "])],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(NEEDS),
    row(
        "proxy_of_http_knows_us",
        &["--allow", "web.test", "--config", "{dir}/proxy-http.toml"],
        "curl -sS https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "socks_with_a_wrong_password_says_what_helps",
        &["--allow", "web.test", "--config", "{dir}/proxy-socks-wrong.toml"],
        "curl -sS -m 10 http://web.test/hello?{id}",
        &[
            Exit(7),
            NotUpstream("GET /hello?{id} "),
            Err(&["failed", "proxy corp (socks5h://192.31.196.2:1081)", "check username and password"]),
        ],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "connect_without_a_password_says_what_helps",
        &["--allow", "web.test", "--proxy", "http://192.31.196.2:3129"],
        "curl -sS -m 10 https://web.test/hello?{id}",
        &[
            Exit(7),
            NotUpstream("GET /hello?{id} "),
            Err(&["failed", "proxy http://192.31.196.2:3129", "set username and password"]),
        ],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "squid_carries_what_is_opened_and_what_is_passed_on",
        &["--allow", "web.test", "--allow", "v4.test", "--bypass", "web.test", "--config", "{dir}/proxy-squid.toml"],
        "curl -sS --cacert {dir}/ca.pem https://web.test/hello?{id} && curl -sS https://v4.test/hello?{id}-opened && \
         curl -sS http://v4.test/hello?{id}-plain",
        &[
            Exit(0),
            Out("hello from nginx\nhello from nginx\nhello from nginx"),
            Upstream(&["GET /hello?{id} "]),
            Upstream(&["GET /hello?{id}-opened "]),
            Upstream(&["GET /hello?{id}-plain "]),
            Upstream(&["squid", "CONNECT web.test:443 m1ck 200"]),
            Upstream(&["squid", "CONNECT v4.test:80 m1ck 200"]),
        ],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(&[Need::Squid]),
    row(
        "squid_is_reached_over_ipv6",
        &["--allow", "v6.test", "--config", "{dir}/proxy-squid-v6.toml"],
        "curl -sS https://v6.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "]), Upstream(&["CONNECT v6.test:443 m1ck"])],
    )
    .judged()
    .only(Only::Once)
    .needing(&[Need::Squid]),
    row(
        "squid_that_does_not_know_us_says_what_helps",
        &["--allow", "web.test", "--config", "{dir}/proxy-squid-wrong.toml"],
        "curl -sS -m 10 https://web.test/hello?{id}",
        &[
            Exit(7),
            NotUpstream("GET /hello?{id} "),
            Err(&["failed", "proxy corp (http://192.31.196.2:3132)", "check username and password"]),
        ],
    )
    .judged()
    .only(Only::Once)
    .needing(&[Need::Squid]),
    row(
        "dante_carries_what_is_opened_and_a_server_that_speaks_first",
        &["--allow", "web.test", "--allow", "peer.test", "--config", "{dir}/proxy-dante.toml"],
        "curl -sS https://web.test/hello?{id} && python3 -c '
import socket
s = socket.create_connection((\"peer.test\", 7000), 10); print(s.recv(99))'",
        &[
            Exit(0),
            Out("hello from nginx"),
            Out("220 peer.test ready"),
            Upstream(&["GET /hello?{id} "]),
            Upstream(&["pass(1): tcp/connect", "username%m1ck", ".443"]),
        ],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(&[Need::Dante]),
    row(
        "dante_is_told_addresses_of_ipv6",
        &["--allow", "v6.test", "--config", "{dir}/proxy-dante-v6.toml"],
        "curl -sS https://v6.test/hello?{id}",
        &[
            Exit(0),
            Out("hello from nginx"),
            Upstream(&["GET /hello?{id} "]),
            Upstream(&["pass(1): tcp/connect", "username%m1ck", "2001:4:112::2.443"]),
        ],
    )
    .judged()
    .only(Only::Once)
    .needing(&[Need::Dante]),
    row(
        "dante_that_does_not_know_us_says_what_helps",
        &["--allow", "web.test", "--config", "{dir}/proxy-dante-wrong.toml"],
        "curl -sS -m 10 http://web.test/hello?{id}",
        &[
            Exit(7),
            NotUpstream("GET /hello?{id} "),
            Err(&["failed", "proxy corp (socks5h://192.31.196.2:1082)", "check username and password"]),
        ],
    )
    .judged()
    .only(Only::Once)
    .needing(&[Need::Dante]),
    row(
        "refusal_behind_socks_is_a_refusal",
        &["--allow", "public", "--proxy", "socks5://192.31.196.2:1080"],
        "python3 -c 'import socket; socket.create_connection((\"192.31.196.2\", 81), 10)'",
        &[Fails, Err(&["ConnectionRefusedError"]), Err(&["answered 5: connection refused"])],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(NEEDS),
    row(
        "proxy_that_is_not_there_is_a_network_that_is_not",
        &["--allow", "public", "--proxy", "http://192.31.196.2:1"],
        "python3 -c 'import socket; socket.create_connection((\"192.31.196.2\", 80), 10)'",
        &[Fails, Err(&["Network is unreachable"]), Err(&["proxy http://192.31.196.2:1", "cannot be reached"])],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(NEEDS),
    row(
        "server_that_speaks_first_is_heard_behind_a_proxy",
        &["--allow", "peer.test", "--proxy", "https://192.31.196.2:3130"],
        "python3 -c 'import socket; s = socket.create_connection((\"peer.test\", 7000), 10); print(s.recv(99))'",
        &[Exit(0), Out("220 peer.test ready")],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "blob_comes_whole_by_a_proxy_behind_tls",
        &["--allow", "peer.test", "--proxy", "https://192.31.196.2:3130"],
        "python3 -c '
import hashlib, socket
s, digest = socket.create_connection((\"peer.test\", 7005), 10), hashlib.sha256()
while chunk := s.recv(1 << 18): digest.update(chunk)
print(digest.hexdigest())'",
        &[Exit(0), Out("{sha}")],
    )
    .judged()
    .only(Only::Once)
    .needing(NEEDS),
    row(
        "echoes_do_not_go_past_a_proxy",
        &["--allow", "public", "--proxy", "socks5://192.31.196.2:1080"],
        "ping -c 1 -W 2 192.31.196.2",
        &[Fails, Err(&[DENIED, "192.31.196.2", "past its proxy"])],
    )
    .judged()
    .only(Only::OncePerUser)
    .needing(NEEDS),
    row(
        "this_machine_is_reached_directly",
        &["--allow", "host", "--proxy", "http://192.31.196.2:1"],
        "python3 -c 'import socket; s = socket.create_connection((\"host.internal\", 7000), 10); print(s.recv(99))'",
        &[Exit(0), Out("220 peer.test ready")],
    )
    .judged()
    .only(Only::OncePerUser),
    rejected(
        "password_in_a_proxy_s_url",
        &["--proxy", "http://me:pa55w0rd@192.31.196.2:3128"],
        &[Rejected(&["--proxy: a url has no place for a secret", "[[proxy]]"])],
    ),
    rejected(
        "proxy_of_an_unknown_scheme",
        &["--proxy", "socks4://192.31.196.2:1080"],
        &[Rejected(&["--proxy: a proxy's url begins with socks5://"])],
    ),
];
