//! DNS, asked by dig: what resolves, over what, and what is refused.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "dig_udp",
        &["--allow", "web.test"],
        "dig +short A web.test; dig +short AAAA web.test",
        &[Exit(0), Out("192.31.196.2"), Out("2001:4:112::2"), Upstream(&["dns udp web.test"])],
    ),
    row(
        "dig_tcp",
        &["--allow", "web.test"],
        "dig +tcp +short A web.test; dig +tcp +short AAAA web.test",
        &[Exit(0), Out("192.31.196.2"), Out("2001:4:112::2")],
    ),
    row(
        "dig_follows_an_alias",
        &["--allow", "alias.test", "--allow", "web.test"],
        "dig A alias.test; curl -sS http://alias.test/hello?{id}",
        &[Exit(0), Out("CNAME"), Out("192.31.196.2"), Out("hello from nginx")],
    ),
    row("dig_no_such_name", &["--allow", "missing.test"], "dig A missing.test", &[Exit(0), Out("NXDOMAIN")]),
    row(
        "dig_no_such_type",
        &["--allow", "v4.test"],
        "dig AAAA v4.test",
        &[Exit(0), Out("NOERROR"), Out("ANSWER: 0")],
    ),
    row(
        "dig_truncated_over_udp_complete_over_tcp",
        &["--allow", "big.test"],
        "dig +ignore +bufsize=512 A big.test; dig +bufsize=512 A big.test",
        &[Exit(0), Out(" tc "), Out("ANSWER: 100")],
    ),
    row(
        "dig_denied_name",
        &["--allow", "web.test"],
        "dig A other.test; dig +tcp A other.test",
        &[Exit(0), Out("REFUSED"), Err(&[DENIED, "other.test"])],
    )
    .judged(),
    row(
        "denied_name_is_not_asked_upstream",
        &["--deny", "never-asked.test", "--allow", "public"],
        "dig A never-asked.test",
        &[Out("REFUSED"), NotUpstream("never-asked.test")],
    )
    .judged(),
    row(
        "rebinding_answer_is_refused",
        &["--allow", "rebind.test"],
        "dig A rebind.test; dig AAAA rebind.test; curl -sS http://rebind.test/hello?{id}",
        &[Fails, Out("REFUSED"), Err(&["rebind.test", "10.99.0.5"]), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "rebinding_behind_an_alias_is_refused",
        &["--allow", "*.test"],
        "dig A rebind-alias.test; curl -sS http://rebind-alias.test/hello?{id}",
        &[Fails, Out("REFUSED"), NotUpstream("{id}")],
    )
    .judged(),
    row(
        "one_private_address_among_public_ones_is_refused",
        &["--allow", "mixed.test"],
        "dig A mixed.test",
        &[Out("REFUSED"), Err(&["mixed.test", "10.99.0.5"])],
    )
    .judged(),
    row(
        "given_nameserver",
        &["--allow", "web.test:80", "--nameserver", "[2001:4:112::53]:53"],
        "curl -sS http://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    ),
    row(
        "nameserver_of_the_guest_s_choice",
        &["--allow", "web.test", "--allow", "192.31.196.53"],
        "dig @192.31.196.53 +short A web.test",
        &[Exit(0), Out("192.31.196.2")],
    ),
];
