//! Names with addresses of their own, by `virtual.toml`; `peer.test` and `twin.test` share the real ones.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

const FLAGS: &[&str] = &["-v", "--config", "{dir}/virtual.toml"];

pub(crate) const ROWS: &[Row] = &[
    row(
        "virtual_answers",
        FLAGS,
        "dig +short A peer.test; dig +tcp +short AAAA peer.test; dig +short A twin.test; \
         getent ahostsv4 peer.test; getent ahostsv6 peer.test; dig +short -x $(dig +short AAAA peer.test); \
         dig AAAA v4.test",
        &[
            Exit(0),
            Out("198.18.0.1\nfd6e:6574:1::1\n198.18.0.2\n198.18.0.1 "),
            Out("fd6e:6574:1::1 "),
            Out("\npeer.test.\n"),
            Out("ANSWER: 0"),
            NotOut("192.31.196"),
            Upstream(&["dns udp peer.test"]),
        ],
    )
    .judged(),
    row(
        "virtual_server_speaks_first",
        FLAGS,
        "for kind in A AAAA; do python3 {dir}/guest.py banner $(dig +short $kind peer.test) 7000; done; \
         python3 {dir}/guest.py banner peer.test 7000",
        &[
            Exit(0),
            Out("220 peer.test ready | hello | at once\n220 peer.test ready | hello | at once\n220 peer.test"),
            Err(&["opened tcp peer.test (198.18.0.1:7000, which stands for 192.31.196.3): rule 1"]),
            Err(&["opened tcp peer.test ([fd6e:6574:1::1]:7000, which stands for 2001:4:112::3): rule 1"]),
        ],
    )
    .judged(),
    row(
        "virtual_names_of_one_address_have_their_own_rules",
        FLAGS,
        "for kind in A AAAA; do \
         python3 {dir}/guest.py dial $(dig +short $kind twin.test) 7000 10; \
         python3 {dir}/guest.py dial $(dig +short $kind twin.test) 7001 10; \
         python3 {dir}/guest.py dial $(dig +short $kind peer.test) 7001 10; done",
        &[
            Exit(0),
            Out("ECONNREFUSED fast\nconnected fast\nECONNREFUSED fast\n\
                 ECONNREFUSED fast\nconnected fast\nECONNREFUSED fast"),
            Err(&[DENIED, "twin.test (198.18.0.1:7000, which stands for 192.31.196.3)"]),
            Err(&[DENIED, "peer.test ([fd6e:6574:1::2]:7001, which stands for 2001:4:112::3)"]),
        ],
    )
    .judged(),
    row(
        "virtual_web",
        FLAGS,
        "for family in -4 -6; do curl -sS $family http://web.test/hello?{id}; \
         curl -sS $family https://web.test/hello?{id}; done",
        &[
            Exit(0),
            Out("hello from nginx\nhello from nginx\nhello from nginx\nhello from nginx"),
            Upstream(&["nginx 192.31.196.2:443", "{id}", "host=\"web.test\""]),
            Upstream(&["nginx 2001:4:112::2:443", "{id}", "host=\"web.test\""]),
        ],
    )
    .judged(),
    row(
        "virtual_address_shows_no_other_name",
        FLAGS,
        "curl -4sS -o /dev/null -w '%{http_code}\\n' -H 'Host: v4.test' http://web.test/hello?{id}; \
         curl -6sS --connect-to v4.test:443:web.test:443 https://v4.test/hello?{id}; echo $?",
        &[Out("403\n35"), Err(&[DENIED, "v4.test (198.18.0.1:80", "another name"]),
            Err(&[DENIED, "v4.test ([fd6e:6574:1::1]:443", "another name"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "virtual_address_of_nobody",
        FLAGS,
        "python3 {dir}/guest.py dial 198.18.99.99 7000 10; python3 {dir}/guest.py dial fd6e:6574:1::9999 7000 10",
        &[
            Exit(0),
            Out("ECONNREFUSED fast\nECONNREFUSED fast"),
            Err(&[DENIED, "198.18.99.99:7000", "given for no name"]),
            Err(&[DENIED, "[fd6e:6574:1::9999]:7000", "given for no name"]),
        ],
    )
    .judged(),
    row(
        "virtual_datagrams",
        FLAGS,
        "for kind in A AAAA; do python3 {dir}/guest.py say $(dig +short $kind peer.test) 7000 {id}; done",
        &[Exit(0), Out("{id} fast\n{id} fast"), Upstream(&["udp 7000", "{id}"])],
    )
    .judged(),
];
