//! Names as dnsmasq tells them, asked by the clients people have: dig, kdig, getent, curl and Python.

use super::lines::DENIED;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Row, row};

/// The resolver of these rows.
const SERVER: &str = "192.31.196.54";

pub(crate) const ROWS: &[Row] = &[
    row(
        "every_client_resolves",
        &["--nameserver", SERVER, "--allow", "web.case.test"],
        "getent ahosts web.case.test && dig +short AAAA web.case.test && curl -sS http://web.case.test/hello?{id} \
         && python3 -c 'import socket; print(\"python\", socket.getaddrinfo(\"web.case.test\", 80))'",
        &[
            Exit(0),
            Out("192.31.196.2"),
            Out("2001:4:112::2"),
            Out("hello from nginx"),
            Out("python [(<AddressFamily"),
        ],
    ),
    row(
        "addresses_of_a_rotating_name_stay_open",
        &["--nameserver", SERVER, "--allow", "rotating.case.test"],
        "for i in 1 2 3 4 5 6; do dig +short rotating.case.test; curl -sS -m 5 -o /dev/null \
         http://rotating.case.test/hello?{id} || exit 9; done",
        &[Exit(0), Out("192.31.196.2"), Out("192.31.196.3"), Upstream(&["nginx 192.31.196.2:80", "{id}"])],
    ),
    row(
        "an_answer_is_asked_for_once_while_it_lives",
        &["--nameserver", SERVER, "--allow", "*.case.test"],
        "dig +short TXT words.case.test; sleep 2; dig +noall +answer TXT words.case.test",
        // The server tells 30 to whoever asks it.
        &[Exit(0), Out("IN\tTXT\t\"in so many words\""), NotOut("\t30\tIN"), NotOut(" 30 ")],
    ),
    row(
        "a_ttl_of_nothing_still_opens_the_connection",
        &["--nameserver", SERVER, "--allow", "never-kept.case.test:80"],
        "dig +noall +answer never-kept.case.test; sleep 2; curl -sS http://never-kept.case.test/hello?{id}",
        &[Exit(0), Out("0\tIN\tA\t192.31.196.2"), Out("hello from nginx")],
    ),
    row(
        "an_alias_leads_out_of_the_names_and_opens_no_other",
        &["--nameserver", SERVER, "--allow", "leads-out.case.test"],
        "curl -sS http://leads-out.case.test/hello?{id}-alias; dig elsewhere.case.test; \
         curl -sS -m 5 http://elsewhere.case.test/hello?{id}-other",
        &[
            Fails,
            Out("hello from nginx"),
            Out("REFUSED"),
            Err(&[DENIED, "elsewhere.case.test"]),
            Upstream(&["{id}-alias"]),
            NotUpstream("{id}-other"),
        ],
    )
    .judged(),
    row(
        "no_name_leads_inside",
        &["--nameserver", SERVER, "--allow", "*.case.test"],
        "for name in inside leads-in mapped; do dig +noall +comments $name.case.test; \
         dig +noall +comments AAAA $name.case.test; curl -sS -m 5 http://$name.case.test/{id}; done",
        &[
            Fails,
            Out("REFUSED"),
            Out("EDE: 15 (Blocked)"),
            Err(&["leads-in.case.test", "10.99.0.5"]),
            NotUpstream("{id}"),
        ],
    )
    .judged(),
    row(
        "service_bindings_lead_nowhere_past_us",
        &["--nameserver", SERVER, "--allow", "*.case.test"],
        "dig +short HTTPS https.case.test",
        &[Exit(0), Out("alpn=\"h2\""), NotOut("h3"), NotOut("ipv4hint"), NotOut("ech=")],
    ),
    row(
        "http3_is_told_where_tls_is_not_opened",
        &["--nameserver", SERVER, "--allow", "*.case.test", "--no-intercept"],
        "dig +short HTTPS https.case.test",
        &[Exit(0), Out("alpn=\"h3,h2\""), NotOut("ipv4hint"), NotOut("ech=")],
    ),
    row(
        "types_nobody_knows_and_service_records_pass",
        &["--nameserver", SERVER, "--allow", "*.case.test"],
        "dig +short TYPE65280 strange.case.test; dig +short SRV _service._tcp.case.test",
        &[Exit(0), Out("C0FFEE"), Out("80 web.case.test.")],
    ),
    row(
        "a_long_answer_comes_whole_over_tcp",
        &["--nameserver", SERVER, "--allow", "many.case.test"],
        "dig +ignore +bufsize=512 many.case.test; dig many.case.test; dig +tcp many.case.test | grep -c IN.A",
        &[Exit(0), Out(" tc "), Out("ANSWER: 100"), Out("100")],
    ),
    row(
        "a_resolver_is_given_by_name",
        &["--nameserver", "resolver.test:53", "--allow", "words.case.test"],
        "dig +short TXT words.case.test",
        &[Exit(0), Out("in so many words")],
    ),
    row(
        "a_resolver_is_asked_over_tcp_where_that_is_wanted",
        &["--nameserver", "tcp://192.31.196.53", "--allow", "v6.test", "--allow", "v4.test"],
        "dig +short v4.test; dig +short AAAA v6.test",
        &[Exit(0), Out("192.31.196.2"), Out("2001:4:112::2"), Upstream(&["dns tcp v4.test"])],
    ),
    row(
        "dns_over_tls_is_answered_by_us",
        &["--nameserver", SERVER, "--allow", "web.case.test", "--name-constraints", "off"],
        "kdig +tls +tls-ca=$SSL_CERT_FILE +tls-host=dns.quad9.net @9.9.9.9 web.case.test; \
         kdig +tls +tls-ca=$SSL_CERT_FILE +tls-host=dns.quad9.net @9.9.9.9 other.case.test; \
         kdig +tls +tls-ca=$SSL_CERT_FILE @2620:fe::fe web.case.test",
        &[
            Exit(0),
            Out("192.31.196.2"),
            Out("REFUSED"),
            Out("TLS session"),
            Err(&[DENIED, "other.case.test"]),
        ],
    )
    .judged(),
    row(
        "dns_over_tls_is_refused_where_no_tls_is_opened",
        &["--nameserver", SERVER, "--allow", "any", "--no-intercept"],
        "kdig +tls +retry=0 @9.9.9.9 web.case.test",
        &[Fails, Err(&[DENIED, "9.9.9.9:853"])],
    )
    .judged(),
    row(
        "a_dead_resolver_costs_little",
        &["--nameserver", "192.175.48.1", "--nameserver", SERVER, "--allow", "web.case.test"],
        "getent ahosts web.case.test && getent ahosts web.case.test",
        &[Exit(0), Out("192.31.196.2")],
    ),
];
