//! Interception and bypass, with curl, openssl and Python as guests, nginx and s_server upstream.

use super::lines::UPSTREAM_TLS;
use crate::e2e::need::Need;
use crate::e2e::row::Expect::{Err, Exit, Fails, NotOut, NotUpstream, Out, Upstream};
use crate::e2e::row::{Only, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "https_curl_v4",
        &["--allow", "web.test"],
        "curl -sS -4 https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["nginx 192.31.196.2:443", "GET /hello?{id} "])],
    ),
    row(
        "https_curl_v6",
        &["--allow", "web.test"],
        "curl -sS -6 https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["nginx 2001:4:112::2:443", "GET /hello?{id} "])],
    ),
    row(
        "https_python",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py fetch https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "http_python",
        &["--allow", "web.test:80"],
        "python3 {dir}/guest.py fetch http://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    ),
    row(
        "tls12_s_client",
        &["--allow", "web.test"],
        "printf 'GET /hello?{id} HTTP/1.0\\r\\nHost: web.test\\r\\n\\r\\n' | openssl s_client -ign_eof \
         -verify_return_error -connect web.test:443 -servername web.test -tls1_2",
        &[Exit(0), Out("TLSv1.2"), Out("Verify return code: 0 (ok)"), Out("hello from nginx")],
    ),
    row(
        "tls13_s_client",
        &["--allow", "web.test"],
        "printf 'GET /hello?{id} HTTP/1.0\\r\\nHost: web.test\\r\\n\\r\\n' | openssl s_client -ign_eof \
         -verify_return_error -connect web.test:443 -servername web.test -tls1_3",
        &[Exit(0), Out("TLSv1.3"), Out("Verify return code: 0 (ok)"), Out("hello from nginx")],
    ),
    row(
        "tls12_s_server",
        &["--allow", "web.test", "--intercept", "443,4433"],
        "curl -sS https://web.test:4433/",
        &[Exit(0), Out("TLSv1.2")],
    ),
    row(
        "tls13_s_server",
        &["--allow", "web.test", "--intercept", "443,4434"],
        "curl -sS https://web.test:4434/",
        &[Exit(0), Out("TLSv1.3")],
    ),
    row(
        "http2_stays_http2",
        &["--allow", "web.test", "--intercept", "443,8444"],
        "curl -sS --http2 -w '%{http_version}\\n' https://web.test:8444/hello?{id}",
        &[Exit(0), Out("hello from nginx\n2"), Upstream(&["GET /hello?{id} HTTP/2.0"])],
    ),
    row(
        "guest_keys_are_exchanged_as_it_prefers",
        &["--allow", "web.test"],
        "python3 {dir}/clients.py {dir}/clients pyopenssl web.test {id}",
        &[Exit(0), Out("issuer net-engine sandbox authority by X25519MLKEM768"), Out("hello from nginx")],
    )
    .judged()
    .needing(&[Need::Clients])
    .only(Only::OncePerUser),
    row(
        "upstream_keys_are_exchanged_as_it_prefers",
        &["--allow", "web.test", "--intercept", "8445"],
        "curl -sS https://web.test:8445/{id}",
        &[Exit(0), Out("X25519MLKEM768"), Upstream(&["key exchange X25519MLKEM768 GET /{id} "])],
    )
    .judged()
    .needing(&[Need::Clients])
    .only(Only::OncePerUser),
    row(
        "leaf_is_verified_by_gnutls",
        &["--allow", "web.test"],
        "printf 'GET /hello?{id} HTTP/1.0\\r\\nHost: web.test\\r\\n\\r\\n' | gnutls-cli --port 443 web.test",
        &[
            Exit(0),
            Out("issuer `CN=net-engine sandbox authority'"),
            Out("The certificate is trusted"),
            Out("hello from nginx"),
        ],
    )
    .judged()
    .needing(&[Need::Gnutls])
    .only(Only::OncePerUser),
    row(
        "leaf_is_verified_by_a_strict_client",
        &["--allow", "192.31.196.2", "--allow", "web.test"],
        "for host in web.test 192.31.196.2; do python3 {dir}/guest.py strict https://$host/hello?{id} || exit; done",
        &[Exit(0), Out("hello from nginx\nhello from nginx")],
    )
    .judged()
    .only(Only::OncePerUser),
    row(
        "guest_whose_clock_is_two_hours_slow",
        &["--allow", "web.test"],
        "for client in 'curl -sS' 'wget -qO -'; do faketime -f -2h $client https://web.test/hello?{id} || exit; done",
        &[Exit(0), Out("hello from nginx\nhello from nginx")],
    )
    .judged()
    .needing(&[Need::Faketime, Need::Wget])
    .only(Only::OncePerUser),
    row(
        "guest_whose_clock_is_two_hours_fast",
        &["--allow", "web.test"],
        "for client in 'curl -sS' 'wget -qO -'; do faketime -f +2h $client https://web.test/hello?{id} || exit; done",
        &[Exit(0), Out("hello from nginx\nhello from nginx")],
    )
    .judged()
    .needing(&[Need::Faketime, Need::Wget])
    .only(Only::OncePerUser),
    row(
        "guest_whose_clock_is_far_off",
        &["--allow", "web.test"],
        "faketime -f -90d curl -sS https://web.test/hello?{id} 2>&1",
        &[Exit(60), Out("certificate is not yet valid"), NotUpstream("{id}")],
    )
    .judged()
    .needing(&[Need::Faketime])
    .only(Only::OncePerUser),
    row(
        "request_in_the_finished_flight",
        &["--allow", "web.test"],
        "python3 {dir}/guest.py finished_flight web.test 443 /hello?{id}",
        &[Exit(0), Out("one flight"), Out("200 OK"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "intercepted_leaf_is_ours",
        &["--allow", "web.test"],
        "openssl s_client -connect web.test:443 -servername web.test </dev/null 2>/dev/null \
         | openssl x509 -noout -issuer -ext subjectAltName",
        &[Exit(0), Out("issuer="), Out("DNS:web.test"), NotOut("Upstream Test CA")],
    )
    .judged(),
    row(
        "bypass_shows_the_real_certificate",
        &["--allow", "web.test", "--bypass", "web.test"],
        "openssl s_client -connect web.test:443 -servername web.test </dev/null 2>/dev/null \
         | openssl x509 -noout -issuer; \
         curl -sS --cacert {dir}/ca.pem https://web.test/hello?{id}",
        &[Exit(0), Out("Upstream Test CA"), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "bypass_is_for_that_name_alone",
        &["--allow", "*.test", "--bypass", "web.test"],
        "openssl s_client -connect other.test:443 -servername other.test </dev/null 2>/dev/null \
         | openssl x509 -noout -issuer",
        &[Exit(0), Out("issuer="), NotOut("Upstream Test CA")],
    )
    .judged(),
    row(
        "no_interception",
        &["--allow", "web.test", "--no-intercept"],
        "curl -sS --cacert {dir}/ca.pem https://web.test/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["GET /hello?{id} "])],
    ),
    row(
        "port_that_is_not_intercepted",
        &["--allow", "web.test"],
        "curl -sS --cacert {dir}/ca.pem https://web.test:8443/hello?{id}",
        &[Exit(0), Out("hello from nginx"), Upstream(&["nginx 192.31.196.2:8443", "{id}"])],
    ),
    row(
        "intercepted_port_of_choice",
        &["--allow", "web.test", "--intercept", "8443"],
        "curl -sS https://web.test:8443/hello?{id}",
        &[Exit(0), Out("hello from nginx")],
    ),
    row(
        "expired_upstream_is_seen_as_expired",
        &["--allow", "expired.test"],
        "curl -sS https://expired.test/hello?{id} 2>&1",
        &[Exit(60), Out("expired"), NotUpstream("{id}")],
    ),
    row(
        "self_signed_upstream_is_seen_as_untrusted",
        &["--allow", "selfsigned.test"],
        "curl -sS https://selfsigned.test/hello?{id} 2>&1",
        &[Exit(60), NotUpstream("{id}")],
    ),
    row(
        "upstream_fault_is_named",
        &["--allow", "expired.test"],
        "curl -sS https://expired.test/hello?{id}",
        &[Fails, Err(&[UPSTREAM_TLS, "expired.test"])],
    )
    .judged(),
];
